//! Which known word somebody may have meant who wrote another.

/// Longest word for which a near miss is searched.
const NEAR_LEN_MAX: usize = 32;

/// The candidate that differs least from `word`, if it differs so little that a slip is likely.
pub(crate) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    if word.len() > NEAR_LEN_MAX {
        return None;
    }
    let allowed = match word.chars().count() {
        0 | 1 => return None,
        2..=3 => 1,
        4..=7 => 2,
        _ => 3,
    };
    candidates
        .into_iter()
        .filter(|c| *c != word && c.len() <= NEAR_LEN_MAX)
        // Each surplus byte of a word of ASCII is an edit; the search need not look closer.
        .filter(|c| !c.is_ascii() || !word.is_ascii() || c.len().abs_diff(word.len()) <= allowed)
        .map(|c| (distance(word, c), c))
        .filter(|(d, c)| *d <= allowed && *d < c.chars().count())
        .min_by_key(|(d, _)| *d)
        .map(|(_, c)| c)
}

/// Insertions, deletions, substitutions and swaps of neighbors (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let same = usize::from(a[i - 1] != b[j - 1]);
            row[j] = (last[j] + 1).min(row[j - 1] + 1).min(last[j - 1] + same);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::RESERVED;

    #[test]
    fn slips_of_one_or_two_letters_are_recognized() {
        for (typed, meant) in [
            ("pas", Some("pass")),
            ("blcok", Some("block")),
            ("quik", Some("quick")),
            ("antispof", Some("antispoof")),
            ("xyzzy", None),
            ("q", None),
        ] {
            assert_eq!(nearest(typed, RESERVED.iter().copied()), meant, "{typed}");
        }
    }
}
