//! fuguctl: see the library of this crate.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let environment = fuguctl::Environment {
        token: std::env::var("FUGU_TOKEN").ok(),
        now: std::time::SystemTime::now(),
    };
    let (mut out, mut err) = (std::io::stdout().lock(), std::io::stderr().lock());
    ExitCode::from(fuguctl::run(&arguments, &environment, &mut out, &mut err))
}
