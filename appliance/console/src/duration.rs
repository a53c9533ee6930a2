//! Lengths of time as OpenBSD's programs print them.

/// `00:01:05`: hours, minutes, seconds, as pfctl(8).
pub(crate) fn clock(seconds: u64) -> String {
    format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    )
}

/// `1d2h3m`, at most three units.
pub(crate) fn span(seconds: u64) -> String {
    let units = [(86_400, 'd'), (3600, 'h'), (60, 'm'), (1, 's')];
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, unit) in units {
        if rest >= size {
            parts.push(format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    parts.truncate(3);
    if parts.is_empty() {
        "0s".into()
    } else {
        parts.concat()
    }
}
