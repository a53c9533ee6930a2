//! Tables as sets of addresses. Two tables differ if some address is in one and not in the other: how the addresses are cut
//! into prefixes, and prefixes that another one already says, make no difference. Negations are taken for what they mean.

use ruleset::Af;
use ruleset::table::prefix_mask;

use crate::policy::{Addr, Host};

/// Families in the order of a report.
const FAMILIES: [Af; 2] = [Af::Inet, Af::Inet6];

/// Runs of addresses, first and last, rising and apart.
type Runs = Vec<(u128, u128)>;

/// What the second table has more, and what it has less, as the fewest prefixes that say it.
pub(super) fn compare(a: &[Host], b: &[Host]) -> (Vec<String>, Vec<String>) {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    for af in FAMILIES {
        let (x, y) = (runs(a, af), runs(b, af));
        prefixes(&without(&y, &x), af, &mut added);
        prefixes(&without(&x, &y), af, &mut removed);
    }
    (added, removed)
}

/// The addresses in a table: those whose longest prefix is not negated.
fn runs(entries: &[Host], af: Af) -> Runs {
    let mut all: Vec<(u128, u8, bool)> = entries
        .iter()
        .filter_map(|h| match h.addr {
            Addr::Masked { af: of, addr, bits } if of == af => {
                Some((addr & prefix_mask(af, bits), bits, h.not))
            }
            _ => None,
        })
        .collect();
    // Wider prefixes before those inside them; of equal ones the first given counts, and the sort is stable.
    all.sort_by_key(|(addr, bits, _)| (*addr, *bits));
    all.dedup_by_key(|(addr, bits, _)| (*addr, *bits));
    let mut out = Runs::new();
    // Prefixes around the place reached: last address and sign.
    let mut open: Vec<(u128, bool)> = Vec::new();
    let mut from = 0;
    for (addr, bits, not) in all {
        while let Some((end, sign)) = open.last().copied().filter(|(end, _)| *end < addr) {
            put(&mut out, from, end, sign);
            from = end.saturating_add(1);
            open.pop();
        }
        if let (Some((_, sign)), true) = (open.last(), from < addr) {
            put(&mut out, from, addr - 1, *sign);
        }
        from = addr;
        open.push((last(addr, bits, af), !not));
    }
    while let Some((end, sign)) = open.pop() {
        put(&mut out, from, end, sign);
        // Past the last address of all there is nothing more to put.
        match end.checked_add(1) {
            Some(next) => from = next,
            None => break,
        }
    }
    out
}

fn last(addr: u128, bits: u8, af: Af) -> u128 {
    addr | (prefix_mask(af, af.bits()) & !prefix_mask(af, bits))
}

fn put(out: &mut Runs, low: u128, high: u128, inside: bool) {
    if !inside || low > high {
        return;
    }
    match out.last_mut() {
        Some(run) if run.1.checked_add(1) == Some(low) => run.1 = high,
        _ => out.push((low, high)),
    }
}

/// `a` without the addresses of `b`.
fn without(a: &Runs, b: &Runs) -> Runs {
    let mut out = Runs::new();
    let mut holes = b.iter().peekable();
    for (low, high) in a {
        let mut low = *low;
        let mut open = true;
        while holes.next_if(|hole| hole.1 < low).is_some() {}
        // A hole may reach into the next run, so it is looked at, not taken.
        let mut ahead = holes.clone();
        while let Some(hole) = ahead.next_if(|hole| hole.0 <= *high) {
            if hole.0 > low {
                out.push((low, hole.0 - 1));
            }
            match hole.1.checked_add(1) {
                Some(next) if hole.1 < *high => low = next,
                _ => open = false,
            }
        }
        if open {
            out.push((low, *high));
        }
    }
    out
}

/// The fewest prefixes that make up the runs.
fn prefixes(runs: &Runs, af: Af, out: &mut Vec<String>) {
    for (low, high) in runs {
        let mut at = *low;
        loop {
            let bits = widest(at, *high, af);
            let mut text = crate::print::ip_text(af, at);
            if bits < af.bits() {
                text += &format!("/{bits}");
            }
            out.push(text);
            let end = last(at, bits, af);
            if end >= *high {
                break;
            }
            at = end + 1;
        }
    }
}

/// Length of the widest prefix that begins at `low` and ends at `high` or before.
fn widest(low: u128, high: u128, af: Af) -> u8 {
    let mut bits = af.bits();
    while bits > 0 {
        let wider = bits - 1;
        if low & prefix_mask(af, wider) != low || last(low, wider, af) > high {
            break;
        }
        bits = wider;
    }
    bits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &str) -> Vec<Host> {
        let entry = |word: &str| {
            let (not, word) = match word.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, word),
            };
            let (addr, bits) = word
                .split_once('/')
                .map_or((word, None), |(a, b)| (a, Some(b)));
            let bits = bits.map(|b| b.parse().unwrap());
            let host = crate::resolve::literal(addr, bits).unwrap();
            Host { not, ..host }
        };
        text.split_whitespace().map(entry).collect()
    }

    #[test]
    fn tables_differ_by_the_addresses_in_them() {
        for (a, b, added, removed) in [
            ("10.0.0.0/8", "10.1.2.3/8", "", ""),
            ("10.0.0.0/24", "10.0.0.0/25 10.0.0.128/25", "", ""),
            ("10.0.0.0/24 10.0.0.7", "10.0.0.0/24", "", ""),
            ("10.0.0.0/24", "10.0.0.0/25", "", "10.0.0.128/25"),
            ("10.0.0.0/24", "10.0.0.0/24 !10.0.0.4", "", "10.0.0.4"),
            ("10.0.0.0/30 !10.0.0.1", "10.0.0.0/30", "10.0.0.1", ""),
            ("10.0.0.1 !10.0.0.0/8", "10.0.0.1", "", ""),
            ("10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.1"),
            ("", "0.0.0.0/0", "0.0.0.0/0", ""),
            ("0.0.0.0/0", "0.0.0.0/1 128.0.0.0/1", "", ""),
            ("::/0", "", "", "::/0"),
            ("::/0 !ffff::/16", "::/0", "ffff::/16", ""),
            ("2001:db8::/32", "2001:db8::/33", "", "2001:db8:8000::/33"),
            (
                "10.0.0.1 10.0.0.3",
                "10.0.0.0/29",
                "10.0.0.0 10.0.0.2 10.0.0.4/30",
                "",
            ),
            (
                "10.0.0.0/29",
                "10.0.0.1 10.0.0.3",
                "",
                "10.0.0.0 10.0.0.2 10.0.0.4/30",
            ),
        ] {
            let (more, less) = compare(&table(a), &table(b));
            assert_eq!(
                (more.join(" "), less.join(" ")),
                (added.into(), removed.into()),
                "{a} | {b}"
            );
        }
    }
}
