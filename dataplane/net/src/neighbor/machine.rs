//! The machine of one neighbor: RFC 4861 section 7.3.2 and appendix C.
//!
//! Knows neither addresses nor time, only how long from now something is due.

/// Time a confirmed neighbor counts as reachable, in milliseconds (REACHABLE_TIME, RFC 4861 10).
pub const REACHABLE_MS: u64 = 30_000;

/// Time after the first use of a stale entry until it is probed, in milliseconds
/// (DELAY_FIRST_PROBE_TIME). Most upper layers confirm before.
pub const DELAY_MS: u64 = 5_000;

/// Time between questions about one neighbor, in milliseconds (RETRANS_TIMER).
pub const ASK_INTERVAL_MS: u64 = 1_000;

/// Questions before giving up (MAX_MULTICAST_SOLICIT, MAX_UNICAST_SOLICIT).
pub const ASK_MAX: u8 = 3;

/// Time an unused stale entry is kept, in milliseconds; OpenBSD keeps ARP entries 20 minutes.
pub const STALE_MS: u64 = 20 * 60 * 1000;

/// What is known about a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum State {
    /// Asked for; packets wait. → `Reachable` by an answer, `Stale` by hearsay, removed after
    /// [`ASK_MAX`] questions.
    Incomplete,
    /// Confirmed not long ago. → `Stale` after [`REACHABLE_MS`].
    Reachable,
    /// Known, not confirmed lately, not in use. → `Delay` when used, removed after [`STALE_MS`].
    Stale,
    /// Known and in use, waiting whether something confirms it. → `Probe` after [`DELAY_MS`].
    Delay,
    /// Known and in use, asked directly. → `Reachable` by an answer, removed after [`ASK_MAX`]
    /// questions.
    Probe,
}

/// What happens to a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A packet is to be sent to it.
    Use,
    /// What was due is due.
    Timer,
    /// It answered, or an upper layer saw it answer.
    Confirmed,
    /// Its address was heard without asking, and is the one known.
    HeardSame,
    /// Its address was heard without asking, and is new.
    HeardNew,
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// Everybody on the link.
    Everybody,
    /// The address that is known.
    Known,
}

/// What becomes of a neighbor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Nothing changes, not even what is due.
    Stay,
    /// It is in this state now; the next timer event is due in so many milliseconds.
    Become {
        state: State,
        /// Questions asked in this state.
        asked: u8,
        due_in_ms: u64,
        ask: Option<Ask>,
    },
    /// It is gone.
    Remove,
}

const fn become_(state: State, due_in_ms: u64) -> Next {
    Next::Become {
        state,
        asked: 0,
        due_in_ms,
        ask: None,
    }
}

const REACHABLE: Next = become_(State::Reachable, REACHABLE_MS);
const STALE: Next = become_(State::Stale, STALE_MS);

/// Asks once more, or gives up.
fn ask(state: State, asked: u8, ask: Ask) -> Next {
    if asked >= ASK_MAX {
        return Next::Remove;
    }
    Next::Become {
        state,
        asked: asked + 1,
        due_in_ms: ASK_INTERVAL_MS,
        ask: Some(ask),
    }
}

/// One step. `asked` counts the questions asked in this state.
pub(super) fn step(state: State, asked: u8, event: Event) -> Next {
    match (state, event) {
        (_, Event::Confirmed) => REACHABLE,

        (State::Incomplete, Event::Timer) => ask(state, asked, Ask::Everybody),
        (State::Incomplete, Event::HeardSame | Event::HeardNew) => STALE,
        (State::Incomplete, Event::Use) => Next::Stay, // asked for already

        (State::Reachable, Event::Timer) => STALE,
        (State::Stale, Event::Timer) => Next::Remove, // nobody used it
        (State::Delay, Event::Timer) => ask(State::Probe, 0, Ask::Known),
        (State::Probe, Event::Timer) => ask(state, asked, Ask::Known),

        (State::Stale, Event::Use) => become_(State::Delay, DELAY_MS),
        (State::Reachable | State::Delay | State::Probe, Event::Use) => Next::Stay,

        // A new address is used at once but must prove itself (RFC 4861 7.2.3, 7.2.5).
        (_, Event::HeardNew) => STALE,
        // That it speaks does not prove that it hears us.
        (_, Event::HeardSame) => Next::Stay,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use State::*;

    /// The whole table: what each event makes of each state (first question counted as asked once).
    #[test]
    fn every_state_and_event() {
        let becomes = |state, event| match step(state, 1, event) {
            Next::Stay => "stay",
            Next::Remove => "remove",
            Next::Become { state, ask, .. } => match (state, ask) {
                (Incomplete, Some(Ask::Everybody)) => "incomplete, ask everybody",
                (Probe, Some(Ask::Known)) => "probe, ask",
                (Reachable, None) => "reachable",
                (Stale, None) => "stale",
                (Delay, None) => "delay",
                other => panic!("{other:?}"),
            },
        };
        let (r, s, k, d) = ("reachable", "stale", "stay", "delay");
        let table = [
            (Incomplete, [k, "incomplete, ask everybody", r, s, s]),
            (Reachable, [k, s, r, k, s]),
            (Stale, [d, "remove", r, k, s]),
            (Delay, [k, "probe, ask", r, k, s]),
            (Probe, [k, "probe, ask", r, k, s]),
        ];
        let events = [
            Event::Use,
            Event::Timer,
            Event::Confirmed,
            Event::HeardSame,
            Event::HeardNew,
        ];
        for (state, row) in table {
            for (event, expected) in events.into_iter().zip(row) {
                assert_eq!(becomes(state, event), expected, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn questions_are_counted_and_spaced() {
        for (state, to) in [(Incomplete, Ask::Everybody), (Probe, Ask::Known)] {
            for asked in 0..ASK_MAX {
                let expected = Next::Become {
                    state,
                    asked: asked + 1,
                    due_in_ms: 1000,
                    ask: Some(to),
                };
                assert_eq!(step(state, asked, Event::Timer), expected);
            }
            assert_eq!(step(state, ASK_MAX, Event::Timer), Next::Remove);
        }
    }
}
