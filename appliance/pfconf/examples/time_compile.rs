//! Time and memory of a compilation: `time_compile FILE…`.

use std::time::Instant;

use pfconf::{Environment, Files, Options, compile};

struct Disk;

impl Files for Disk {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(name).ok()
    }
}

fn main() {
    for file in std::env::args().skip(1) {
        let source = std::fs::read(&file).unwrap_or_default();
        let start = Instant::now();
        let compiled = compile(
            &file,
            &source,
            &Disk,
            &Environment::minimal(),
            &Options::default(),
        );
        let ms = start.elapsed().as_millis();
        let peak = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = peak
            .lines()
            .find(|l| l.starts_with("VmHWM"))
            .unwrap_or("")
            .to_string();
        println!(
            "{file}: {} rules, {} messages, {ms} ms, {peak}",
            compiled.rules.len(),
            compiled.diagnostics.len()
        );
    }
}
