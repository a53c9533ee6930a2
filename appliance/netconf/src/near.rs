//! The nearest known word, for hints: "did you mean 'description'?".

/// Words longer than this are not compared.
const LENGTH_LIMIT: usize = 32;

/// The candidate that is at most two edits away, or one for words of up to four letters; the first of the nearest.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let typed: Vec<char> = word.chars().collect();
    if typed.len() > LENGTH_LIMIT {
        return None;
    }
    let allowed = if typed.len() <= 4 { 1 } else { 2 };
    candidates
        .into_iter()
        .map(|candidate| (distance(&typed, candidate), candidate))
        .filter(|(edits, _)| *edits <= allowed)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// `did you mean 'X'?`
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|near| format!("did you mean '{near}'?"))
}

/// Edits between two words: insert, remove, replace, or swap neighbors (optimal string alignment).
fn distance(typed: &[char], candidate: &str) -> usize {
    let other: Vec<char> = candidate.chars().take(LENGTH_LIMIT + 3).collect();
    let mut before = vec![0; other.len() + 1];
    let mut last: Vec<usize> = (0..=other.len()).collect();
    for i in 1..=typed.len() {
        let mut row = vec![i; other.len() + 1];
        for j in 1..=other.len() {
            let differs = usize::from(typed[i - 1] != other[j - 1]);
            let mut best = (last[j - 1] + differs).min(last[j] + 1).min(row[j - 1] + 1);
            let swapped =
                i > 1 && j > 1 && typed[i - 1] == other[j - 2] && typed[i - 2] == other[j - 1];
            if swapped {
                best = best.min(before[j - 2] + 1);
            }
            row[j] = best;
        }
        before = last;
        last = row;
    }
    last[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: [&str; 4] = ["description", "down", "group", "mtu"];

    #[test]
    fn near_misses_are_recognized_and_far_ones_are_not() {
        for (word, want) in [
            ("desciption", Some("description")),
            ("descritpion", Some("description")),
            ("dwon", Some("down")),
            ("mut", Some("mtu")),
            ("gruop", Some("group")),
            ("dn", None),
            ("vlan", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, WORDS), want, "{word}");
        }
    }

    #[test]
    fn a_very_long_word_is_near_nothing() {
        assert_eq!(nearest(&"x".repeat(1 << 16), WORDS), None);
    }
}
