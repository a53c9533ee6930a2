//! May this bundle follow the ones before it? Keeps an old bundle, once validly signed, from being brought back by
//! whoever recorded it.
//!
//! The rule: **the floor is the highest signature date ever accepted**, to the second as signify writes it. A signed
//! bundle is accepted only if its date is later than the floor. The very bytes that are running already are no change
//! and no error, whatever their date. Dates are those of the signing machine; the clock of the appliance plays no part,
//! so a box without a clock is protected as well.

use std::fmt;

use crate::Date;

/// What to do with a bundle that passed the signature check.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// New: check and apply it, and then make its date the floor.
    New,
    /// These bytes are running: answer "no change".
    NoChange,
}

/// The bundle is not newer than one accepted before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Replay {
    /// Date of the refused signature.
    pub date: Date,
    /// The floor: date of the newest signature accepted so far.
    pub floor: Date,
}

/// Judges a signed bundle. `floor`: the highest date accepted so far, `None` on a new box. `running`: digest of the
/// upload that is in force.
pub fn admit(
    date: Date,
    digest: &[u8; 32],
    floor: Option<Date>,
    running: Option<&[u8; 32]>,
) -> Result<Admission, Replay> {
    if running == Some(digest) {
        return Ok(Admission::NoChange);
    }
    match floor {
        Some(floor) if date <= floor => Err(Replay { date, floor }),
        _ => Ok(Admission::New),
    }
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "signed at {}, not later than {} which was accepted before: an old bundle, or the signing clock is wrong; sign it again",
            self.date, self.floor
        )
    }
}

impl std::error::Error for Replay {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_later_dates_or_the_running_bytes_are_admitted() {
        let (old, floor, new) = (Date(99), Date(100), Date(101));
        let (running, other) = ([1; 32], [2; 32]);
        let cases = [
            (new, &other, Some(floor), Ok(Admission::New)),
            (
                floor,
                &other,
                Some(floor),
                Err(Replay { date: floor, floor }),
            ),
            (old, &other, Some(floor), Err(Replay { date: old, floor })),
            (floor, &running, Some(floor), Ok(Admission::NoChange)),
            (old, &running, Some(floor), Ok(Admission::NoChange)),
            (old, &other, None, Ok(Admission::New)),
        ];
        for (date, digest, floor, want) in cases {
            assert_eq!(admit(date, digest, floor, Some(&running)), want, "{date:?}");
        }
        assert_eq!(admit(old, &running, None, None), Ok(Admission::New));
    }

    #[test]
    fn the_refusal_names_both_dates() {
        let text = admit(Date(0), &[0; 32], Some(Date(60)), None)
            .unwrap_err()
            .to_string();
        assert!(text.contains("1970-01-01T00:00:00Z"), "{text}");
        assert!(text.contains("1970-01-01T00:01:00Z"), "{text}");
    }
}
