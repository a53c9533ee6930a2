//! Owns questions to a name server whose answers have one, three and more pieces, and that the answers are right.
//!
//! Read first: dnsmasq(8), dig(1).

use crate::{Failure, Namespace, Result, Running, service};

/// A name and the strings of its TXT record.
pub type Record = (&'static str, Vec<String>);

/// A TXT record of `count` strings, each full.
fn strings(count: usize) -> Vec<String> {
    let letter = |n: usize| char::from(b'a' + (n % 26) as u8);
    (0..count)
        .map(|n| letter(n).to_string().repeat(255))
        .collect()
}

/// A name server whose answers have about 300, 1600, 3600 and 7200 bytes.
///
/// # Errors
/// When it does not start.
pub fn name_server(host: &Namespace) -> Result<(Running, Vec<Record>)> {
    let counts = [
        ("small.test", 1),
        ("medium.test", 6),
        ("large.test", 14),
        ("huge.test", 28),
    ];
    let records = counts.map(|(name, count)| (name, strings(count))).to_vec();
    Ok((service::names(host, &records)?, records))
}

/// Asks for each record by UDP, once.
///
/// # Errors
/// When an answer is missing or another.
pub fn asks(client: &Namespace, server: &str, records: &[Record]) -> Result<()> {
    let at = format!("@{server}");
    for (name, strings) in records {
        let usual = "+bufsize=8000 +notcp +ignore +tries=1 +timeout=10 +nocookie";
        let words: Vec<&str> = ["dig", &at, name, "TXT"]
            .into_iter()
            .chain(usual.split(' '))
            .collect();
        let said = client.run(&words)?.text;
        let size = said
            .lines()
            .find_map(|line| line.strip_prefix(";; MSG SIZE  rcvd: "));
        println!(
            "{server} {name}: {} bytes",
            size.unwrap_or("no answer of any")
        );
        let all: Vec<String> = strings.iter().map(|s| format!("\"{s}\"")).collect();
        if !said.contains("(UDP)") || !said.contains(&all.join(" ")) {
            return Err(Failure(format!("{server} {name}: {said}")));
        }
    }
    Ok(())
}
