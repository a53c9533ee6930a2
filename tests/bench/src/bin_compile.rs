//! `bench-compile RUNS FILE`: what a ruleset costs the compiler (see `compile.rs`), as a table, and as JSON into a file.
//! A program of its own, whose memory nobody counts.

#![forbid(unsafe_code)]

mod calibrate;
mod compile;
mod spread;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &args[..] {
        [once, case] if once == "--once" => compile::once(case),
        [runs, file] => rows(runs.parse().unwrap_or(5), file),
        _ => Err("usage: bench-compile RUNS FILE".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => {
            eprintln!("bench-compile: {text}");
            ExitCode::FAILURE
        }
    }
}

fn rows(runs: usize, file: &str) -> Result<(), String> {
    let text = serde_json::to_string_pretty(&compile::rows(runs)).map_err(|e| e.to_string())?;
    std::fs::write(file, text).map_err(|e| format!("{file}: {e}"))
}
