//! The date in a signature: `2026-11-21T22:15:16Z`, to the second, always UTC.

use std::fmt;

const DAY: u64 = 86_400;

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Date(pub u64);

impl Date {
    /// Parses the one form signify writes: `YYYY-MM-DDThh:mm:ssZ`, years 1970 to 9999.
    pub fn parse(text: &str) -> Option<Date> {
        let b = text.as_bytes();
        if b.len() != 20 {
            return None;
        }
        let marks = [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'Z'),
        ];
        if marks.iter().any(|(at, c)| b[*at] != *c) {
            return None;
        }
        let year = number(&b[0..4], 1970, 9999)?;
        let month = number(&b[5..7], 1, 12)?;
        let day = number(&b[8..10], 1, month_length(year, month))?;
        let seconds = number(&b[11..13], 0, 23)? * 3600
            + number(&b[14..16], 0, 59)? * 60
            + number(&b[17..19], 0, 60)?;
        Some(Date(days_before(year, month, day) * DAY + seconds))
    }
}

fn number(digits: &[u8], low: u64, high: u64) -> Option<u64> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let n = digits.iter().fold(0, |n, d| n * 10 + u64::from(*d - b'0'));
    (low..=high).contains(&n).then_some(n)
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_length(year: u64, month: u64) -> u64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to the given day.
fn days_before(year: u64, month: u64, day: u64) -> u64 {
    let past = year - 1;
    let leaps = past / 4 - past / 100 + past / 400;
    // 1969 full years hold 477 leap days.
    let years = (year - 1970) * 365 + leaps - 477;
    let months: u64 = (1..month).map(|m| month_length(year, m)).sum();
    years + months + day - 1
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut days, rest) = (self.0 / DAY, self.0 % DAY);
        // 400 Gregorian years are 146097 days; the rest is walked, at most 400 steps.
        let mut year = 1970 + days / 146_097 * 400;
        days %= 146_097;
        while days >= 365 + u64::from(is_leap(year)) {
            days -= 365 + u64::from(is_leap(year));
            year += 1;
        }
        let mut month = 1;
        while days >= month_length(year, month) {
            days -= month_length(year, month);
            month += 1;
        }
        let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
        let day = days + 1;
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_dates_read_and_print() {
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-21T22:15:16Z", 1_795_299_316),
            ("9999-12-31T23:59:59Z", 253_402_300_799),
        ] {
            assert_eq!(Date::parse(text), Some(Date(seconds)), "{text}");
            assert_eq!(Date(seconds).to_string(), text);
        }
    }

    #[test]
    fn other_forms_and_impossible_days_are_refused() {
        for text in [
            "2026-11-21 22:15:16Z",
            "2026-11-21T22:15:16",
            "2026-11-21T22:15:16+",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-11-21T24:00:00Z",
            "1969-12-31T23:59:59Z",
            "+026-11-21T22:15:16Z",
            "",
            "2026-11-21T22:15:1\u{e9}",
        ] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_agree(seconds in 0u64..=253_402_300_799) {
            prop_assert_eq!(Date::parse(&Date(seconds).to_string()), Some(Date(seconds)));
        }
    }
}
