//! `pfctl -sT` and `-t TABLE -T COMMAND`. Read first: pfctl(8), -T.

use control::api::{Api, Count, TableTraffic, TableView};

use super::Options;
use crate::duration::clock;
use crate::words::did_you_mean;
use crate::{json, pfchange};

/// Columns of the words before packets and bytes.
const IN: [&str; 4] = ["In/Block:", "In/Match:", "In/Pass:", "In/XPass:"];
const OUT: [&str; 4] = ["Out/Block:", "Out/Match:", "Out/Pass:", "Out/XPass:"];

/// `-t TABLE -T COMMAND`
pub(super) fn command(options: &Options, api: &mut dyn Api) -> Result<String, String> {
    let name = options
        .table
        .as_deref()
        .ok_or("pfctl: -T: the table is missing; name it with -t")?;
    let own = match options.anchor.as_str() {
        "" => name.to_string(),
        anchor => format!("{name}@{anchor}"),
    };
    match options.table_command.as_deref() {
        Some("show") => {}
        Some(command) => {
            let how = (options.verbose, options.json);
            return pfchange::table(&own, command, &options.words, how, api);
        }
        None => return Err("pfctl: -t: what to do with it is missing; -T show".into()),
    }
    let table = api.table(&own).ok_or_else(|| {
        let names = api.table_summaries();
        let hint = did_you_mean(name, names.iter().map(|t| t.name.as_str()));
        format!("pfctl: '{name}': Table does not exist.{hint}")
    })?;
    if options.json {
        return Ok(json::text(&table));
    }
    let elements = table.entries.iter().zip(&table.ages_s).zip(&table.counts);
    let lines = elements.map(|((e, age), counts)| element(e, *age, counts, options.verbose));
    Ok(lines.collect())
}

/// Addresses stand in the fourth column, so that a `!` before them fits.
fn element(entry: &str, age_s: u64, counts: &Option<[[Count; 3]; 2]>, verbose: u8) -> String {
    let pad = if entry.starts_with('!') { "  " } else { "   " };
    let mut out = format!("{pad}{entry}\n");
    if verbose == 0 {
        return out;
    }
    out += &format!("\tCleared:     {} ago\n", clock(age_s));
    // As in PF: what has counted nothing yet has no counters.
    if let Some([input, output]) = counts {
        out += &traffic(&IN, input);
        out += &traffic(&OUT, output);
    }
    out
}

fn traffic(words: &[&str], counts: &[Count]) -> String {
    let line = |(word, c): (&&str, &Count)| {
        format!(
            "\t{word:<12} [ Packets: {:<18} Bytes: {:<18} ]\n",
            c.packets, c.bytes
        )
    };
    words.iter().zip(counts).map(line).collect()
}

fn by_column(t: &TableTraffic) -> [Count; 4] {
    [t.block, t.matched, t.pass, t.xpass]
}

/// A table of `-sT`.
pub(super) fn summary(t: &TableView, verbose: u8) -> String {
    let s = &t.stats;
    match verbose {
        0 => format!("{}\n", t.name),
        1 => format!("{}\t{}\n", t.flags, t.name),
        _ => {
            format!(
                "{}\t{}\n\tAddresses:   {}\n\tCleared:     {} ago\n\
                 \tReferences:  [ Anchors: {:<18} Rules: {:<18} ]\n\
                 \tEvaluations: [ NoMatch: {:<18} Match: {:<18} ]\n",
                t.flags,
                t.name,
                s.addresses,
                clock(s.age_s),
                s.anchors,
                s.rules,
                s.no_matches,
                s.matches
            ) + &traffic(&IN, &by_column(&s.input))
                + &traffic(&OUT, &by_column(&s.output))
        }
    }
}
