//! A line as words and pipes, and the nearest thing to a word that is wrong.

/// Splits at blanks; double quotes hold a word together.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut begun) = (false, false);
    for c in line.chars() {
        match c {
            '"' => {
                quoted = !quoted;
                begun = true;
            }
            ' ' if !quoted => {
                if std::mem::take(&mut begun) {
                    words.push(std::mem::take(&mut word));
                }
            }
            c => {
                word.push(c);
                begun = true;
            }
        }
    }
    if begun {
        words.push(word);
    }
    words
}

/// Splits at `|` outside quotes.
pub(crate) fn pipe(line: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        quoted ^= c == '"';
        if c == '|' && !quoted {
            parts.push(String::new());
        } else if let Some(last) = parts.last_mut() {
            last.push(c);
        }
    }
    parts
}

/// `; did you mean 'x'?` for the candidate that differs least from `word`, if one is near enough to be meant.
pub(crate) fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> String {
    let near = candidates
        .into_iter()
        .map(|c| (distance(word, c), c))
        .filter(|(d, c)| *d <= 1 + c.len().min(word.len()) / 4)
        .min();
    near.map_or(String::new(), |(_, c)| format!("; did you mean '{c}'?"))
}

/// Insertions, deletions, replacements and swaps of neighbors between two words.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_and_quotes() {
        for (line, words) in [
            ("", &[][..]),
            ("  pfctl   -sr ", &["pfctl", "-sr"]),
            ("a \"b c\" d", &["a", "b c", "d"]),
            ("a \"\" \"open", &["a", "", "open"]),
        ] {
            assert_eq!(split(line), words, "{line:?}");
        }
        assert_eq!(
            pipe("a | match \"x|y\" |count"),
            ["a ", " match \"x|y\" ", "count"]
        );
    }

    #[test]
    fn near_misses_are_found_and_far_ones_are_not_guessed() {
        let names = ["pfctl", "ping", "ifconfig", "route", "reboot", "arp"];
        for (word, hint) in [
            ("pfclt", "; did you mean 'pfctl'?"),
            ("ipconfig", "; did you mean 'ifconfig'?"),
            ("rout", "; did you mean 'route'?"),
            ("pign", "; did you mean 'ping'?"),
            ("configure", ""),
            ("x", ""),
        ] {
            assert_eq!(did_you_mean(word, names), hint, "{word}");
        }
    }
}
