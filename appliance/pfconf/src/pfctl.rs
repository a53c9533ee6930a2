//! What `pfctl` prints where no kernel is needed. The same compiler, other clothes.

use crate::environment::Known;
use crate::print::print_rules;
use crate::{Environment, Files, Front, Options};

/// Output of a run of pfctl.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Exit status.
    pub status: i32,
}

/// What `pfctl -o none -nv -f FILE` prints; `name` is FILE, or `stdin`.
pub fn pfctl_nv(
    name: &str,
    source: &[u8],
    files: &dyn Files,
    env: &Environment,
    options: &Options,
) -> Output {
    let front = Front::read(name, source, files, env, options);
    let mut stdout = front.built.output.clone();
    let stderr = front.messages.pfctl(&front.sources);
    if front.messages.has_errors() {
        return Output {
            stdout,
            stderr,
            status: 1,
        };
    }
    if let Some((text, _)) = front.built.queues.contradiction() {
        return Output {
            stdout,
            stderr: format!("{stderr}pfctl: {text}\n"),
            status: 1,
        };
    }
    stdout += &front.built.queues.text();
    stdout += &print_rules(&front.built.rules, &Known::new(env));
    Output {
        stdout,
        stderr,
        status: 0,
    }
}
