//! `why` and `trace`: packets explained.

use control::api::{Api, Question};

use crate::follow::Follow;
use crate::json::{self, without_json};
use crate::output::Output;

/// Packets of a trace that says nothing else.
const COUNT_DEFAULT: u32 = 10;
/// Its seconds.
const SECONDS_DEFAULT: u32 = 60;

/// `why PACKET`
pub(crate) fn why(words: &[String], api: &mut dyn Api) -> Result<String, String> {
    let (words, json) = without_json(words);
    let told = api
        .why(&Question::Words(words.join(" ")))
        .map_err(|why| format!("why: {why}"))?;
    Ok(match json {
        true => json::text(&told),
        false => told.text(),
    })
}

/// `trace [-c COUNT] [-t SECONDS] FILTER`
pub(crate) fn trace(words: &[String], api: &mut dyn Api) -> Result<Output, String> {
    let (words, json) = without_json(words);
    let (mut count, mut seconds) = (COUNT_DEFAULT, SECONDS_DEFAULT);
    let mut filter = Vec::new();
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let place = match *word {
            "-c" => &mut count,
            "-t" => &mut seconds,
            other => {
                filter.push(other);
                continue;
            }
        };
        let value = rest.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
        *place = value.ok_or_else(|| format!("trace: {word}: a number is missing after it"))?;
    }
    api.trace_start(&filter.join(" "), count, seconds)?;
    Ok(Output::Follow(Follow::Trace { json }))
}
