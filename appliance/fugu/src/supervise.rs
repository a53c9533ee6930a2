//! A panic in HTTP or the console costs that part, not the firewall (DESIGN D11).

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".into())
}

/// Runs a part; if it panics, logs that and says so by `None`. The caller makes the part anew.
///
/// What the part shares with others stays sound: the control core changes nothing before its last, infallible step.
pub(crate) fn guarded<T>(part: &str, work: impl FnOnce() -> T) -> Option<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(value) => Some(value),
        Err(panic) => {
            log::error!(
                "{part} died and is started again: {}",
                panic_text(panic.as_ref())
            );
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_caught_and_its_words_are_kept() {
        assert_eq!(guarded("part", || 7), Some(7));
        assert_eq!(guarded("part", || -> u8 { panic!("n is {}", 3) }), None);
        let panic = catch_unwind(|| panic!("plain")).unwrap_err();
        assert_eq!(panic_text(panic.as_ref()), "plain");
    }
}
