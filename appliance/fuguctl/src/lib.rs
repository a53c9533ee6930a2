//! The workstation tool: checks an etc tree with the very code the appliance runs, makes and signs bundles, sends them.
//! Links no DPDK.
//!
//! [`run`] is the whole program but for the process around it. Read first: `docs/fuguctl.md`.

#![forbid(unsafe_code)]

mod args;
mod bundles;
mod check;
mod diff;
mod files;
mod http;
mod keys;
#[cfg(test)]
mod manual_tests;
mod pfctl;
mod pfctl_args;
mod pfctl_etc;
mod policy;
mod print;
mod remote;
mod why;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};
use std::time::SystemTime;

use args::Command;

/// What the process knows besides its arguments.
pub struct Environment {
    /// `$FUGU_TOKEN`.
    pub token: Option<String>,
    /// The time that a signature will carry.
    pub now: SystemTime,
}

/// Why a command did not do what was asked.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Failure {
    /// The checks refused it, or two rulesets differ; everything has been said already.
    Refused,
    /// The checks refused it, for this reason.
    RefusedFor(String),
    /// Wrong arguments, a file or a connection that does not work.
    Trouble(String),
    /// The appliance does not accept the proof.
    Unauthorized(String),
}

impl Failure {
    fn exit_code(&self) -> u8 {
        match self {
            Failure::Refused | Failure::RefusedFor(_) => 1,
            Failure::Trouble(_) => 2,
            Failure::Unauthorized(_) => 3,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Refused => Ok(()),
            Failure::RefusedFor(text) | Failure::Trouble(text) | Failure::Unauthorized(text) => {
                f.write_str(text)
            }
        }
    }
}

/// Standard output that is gone is trouble too.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Failure::Trouble(format!("cannot write: {error}"))
    }
}

/// Both ways out.
struct Output<'a> {
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

/// Runs one command and returns the exit status: 0 done, 1 refused by the checks or different, 2 usage, file or connection error, 3 not
/// authorized.
pub fn run(
    arguments: &[OsString],
    environment: &Environment,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let mut output = Output { out, err };
    let outcome = args::parse(arguments)
        .map_err(Failure::Trouble)
        .and_then(|command| execute(command, environment, &mut output));
    let outcome = outcome.and_then(|()| Ok(output.out.flush()?));
    let Err(failure) = outcome else {
        return 0;
    };
    let text = failure.to_string();
    if !text.is_empty() {
        // With standard error gone as well, the exit status is all that is left to say.
        writeln!(output.err, "fuguctl: {text}").unwrap_or_default();
    }
    failure.exit_code()
}

fn execute(
    command: Command,
    environment: &Environment,
    output: &mut Output<'_>,
) -> Result<(), Failure> {
    match command {
        Command::Help => Ok(output.out.write_all(args::HELP.as_bytes())?),
        Command::Version => Ok(writeln!(
            output.out,
            "fuguctl {}",
            env!("CARGO_PKG_VERSION")
        )?),
        Command::Check { tree, how } => check::command(&tree, how, output),
        Command::Diff {
            first,
            second,
            json,
        } => diff::command(&first, &second, json, output),
        Command::Pfctl(words) => pfctl::command(&words, output),
        Command::Why {
            tree,
            packet,
            capture,
            on,
            json,
        } => {
            let capture = capture.as_deref().zip(on.as_deref());
            why::command(&tree, &packet, capture, json, output)
        }
        Command::Build { tree, file } => bundles::build(&tree, &file, output),
        Command::Sign { key, file, to } => bundles::sign(&key, &file, &to, environment.now, output),
        Command::Verify { keys, file } => bundles::verify(&keys, &file, output),
        Command::Show { file, json } => bundles::show(&file, json, output),
        Command::Keygen {
            public,
            secret,
            comment,
        } => keys::generate(&public, &secret, &comment, output),
        Command::Push {
            url,
            file,
            token_file,
            json,
        } => {
            let token = remote::token(token_file.as_deref(), environment)?;
            remote::push(&url, &file, token.as_deref(), json, output)
        }
        Command::Status {
            url,
            token_file,
            json,
        } => {
            let token = remote::token(token_file.as_deref(), environment)?;
            remote::status(&url, token.as_deref(), json, output)
        }
    }
}
