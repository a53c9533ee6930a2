//! Commands that go on printing until they end or somebody types ^C.

use control::api::{Api, Explanation};

use crate::json;
use crate::killing::Waiting;
use crate::tcpdump::Dump;

/// What is followed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Follow {
    /// Watched packets.
    Trace {
        /// As JSON.
        json: bool,
    },
    /// Logged packets.
    Log(Dump),
    /// A kill of states.
    Kill(Waiting),
}

impl Follow {
    /// What there is to print now; none when it is over.
    pub(crate) fn poll(&mut self, api: &mut dyn Api) -> Option<String> {
        match self {
            Follow::Trace { json } => {
                let told = api.trace_poll()?;
                let text = |e: &Explanation| match *json {
                    true => json::text(e),
                    false => e.text() + "\n",
                };
                Some(told.iter().map(text).collect())
            }
            Follow::Log(dump) => dump.poll(api),
            Follow::Kill(waiting) => waiting.poll(api),
        }
    }

    /// Somebody has typed ^C. What is to be said of that.
    pub(crate) fn stop(&mut self, api: &mut dyn Api) -> String {
        match self {
            Follow::Trace { .. } => {
                api.trace_stop();
                String::new()
            }
            Follow::Log(_) => String::new(),
            Follow::Kill(waiting) => waiting.left(api),
        }
    }
}
