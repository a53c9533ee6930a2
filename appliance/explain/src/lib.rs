//! Why a packet passes, or does not. The packet goes through a real worker on ports in memory, with the running
//! policy and copies of the states that might be its own; the worker tells its steps, and words are put to them here.
//! Nothing is judged a second time, so what is printed is what the box would do.
//!
//! Read first: [`worker::watch`] for what workers tell. `words` reads descriptions, `packet` makes bytes of them,
//! `observe` runs them, `tell` writes the answer. Knows no console and no HTTP.

#![forbid(unsafe_code)]

pub mod observe;
pub mod packet;
pub mod tell;
pub mod words;

use std::sync::Arc;

use filter::Shared;
use ruleset::RuleNr;
use state::State;
use worker::Config;

pub use observe::{Arrival, Observed, observe};
pub use tell::{Explanation, Line, tell};
pub use words::{Described, Way};

/// How people call a rule.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RuleName {
    /// Canonical text.
    pub text: String,
    /// `pf.conf:12`
    pub origin: String,
}

/// A box as far as a packet meets it.
pub struct Box<'a> {
    /// What runs.
    pub config: Arc<Config>,
    /// States that packets may belong to.
    pub states: &'a [State],
    /// What its workers count together: limits are reached when they are.
    pub shared: &'a Shared,
    /// Names of rules.
    pub rule: &'a dyn Fn(RuleNr) -> RuleName,
    /// Milliseconds since start, as the states count them.
    pub now_ms: u64,
}

/// Explains a packet that is described in words.
pub fn describe(text: &str, on: &Box<'_>) -> Result<Explanation, String> {
    let described = words::parse(text)?;
    let arrival = packet::arrival(&described, &on.config)?;
    let tag = match &described.tagged {
        None => ruleset::TagId::default(),
        Some(name) => tag(name, on)?,
    };
    let observed = observe(on, &arrival, tag)?;
    Ok(tell(&observed, on))
}

/// Explains a captured frame that comes in on an interface. It is addressed to the box, whoever had it before.
pub fn capture(interface: &str, frame: &[u8], on: &Box<'_>) -> Result<Explanation, String> {
    let arrival = packet::captured(interface, frame, &on.config)?;
    let tag = ruleset::TagId::default();
    let observed = observe(on, &arrival, tag)?;
    Ok(tell(&observed, on))
}

fn tag(name: &str, on: &Box<'_>) -> Result<ruleset::TagId, String> {
    let tags = &on.config.ruleset.tags;
    let found = tags.iter().position(|t| t == name);
    let found = found.ok_or_else(|| format!("no rule knows the tag '{name}'"))?;
    Ok(ruleset::TagId(found as u16 + 1))
}
