//! fugu: see the library of this crate. As process 1 it prepares the machine first; otherwise it is told what to use on
//! the command line.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    if std::process::id() == 1 {
        return fugu::as_process_one();
    }
    let words: Vec<String> = std::env::args().skip(1).collect();
    match fugu::args::parse(&words) {
        Ok(fugu::args::Parsed::Run(options)) => fugu::on_workstation(*options),
        Ok(fugu::args::Parsed::Say(text)) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("fugu: {why}\nfugu --help tells more.");
            ExitCode::from(64)
        }
    }
}
