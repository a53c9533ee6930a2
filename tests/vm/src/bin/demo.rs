//! What `ci/demo` shows: the image from power-on to a reload under traffic, narrated line by line.
//!
//! It owns the story; machines, hosts and what they do are the library's. Exit status 0 only if every step was ok.

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{IsTerminal, stdin};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use vm_tests::office::{
    MANAGEMENT_URL, OUTSIDE, OUTSIDE6, Office, Side, TOKEN, demo_tree, last_line, one_line,
    say_and_hear,
};
use vm_tests::{Failure, Firmware, NicModel, Result, Running, repository, sweep};

const BOOT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(15);
/// Ctrl-].
const ESCAPE: u8 = 0x1d;
const USAGE: &str = "usage: demo [--hold] [--uefi]
  --hold  stay up afterwards, with the serial console on the terminal (Ctrl-] ends it)
  --uefi  start with UEFI instead of BIOS firmware";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(unknown) = arguments
        .iter()
        .find(|word| !["--hold", "--uefi"].contains(&word.as_str()))
    {
        eprintln!("demo: {unknown}?\n{USAGE}");
        return ExitCode::from(2);
    }
    let given = |word: &str| arguments.iter().any(|other| other == word);
    let mut story = Story { failed: 0 };
    if let Err(failure) = story.tell(given("--uefi"), given("--hold")) {
        story.failed += 1;
        println!("FAILED {failure}");
    }
    match story.failed {
        0 => println!("demo: every step was ok"),
        count => println!("demo: {count} FAILED"),
    }
    if story.failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

struct Story {
    failed: u32,
}

/// What a step has to say when it went well.
type Told = Result<String>;

impl Story {
    /// One step: a line with ok or FAILED, what was done, what came of it.
    fn step(&mut self, what: &str, work: impl FnOnce() -> Told) {
        let started = Instant::now();
        match work() {
            Ok(told) => println!(
                "ok     {what}: {told} ({:.1} s)",
                started.elapsed().as_secs_f32()
            ),
            Err(failure) => {
                self.failed += 1;
                println!("FAILED {what}: {failure}");
            }
        }
    }

    fn tell(&mut self, uefi: bool, hold: bool) -> Result<()> {
        if let Some(why) = vm_tests::missing() {
            return Err(Failure(why));
        }
        sweep()?;
        let firmware = if uefi { Firmware::Uefi } else { Firmware::Bios };
        let options = Office::options(firmware, NicModel::Virtio);
        println!("demo: image {}", sizes()?);
        println!(
            "demo: machine of {} MiB and {} processors, three virtio-net ports",
            options.memory_mib, options.cpus
        );
        let mut office = Office::open(&options)?;
        // Everything after this needs it, so a failure here ends the story.
        let said = office.vm.expect("forwarding nothing", BOOT)?;
        on(&office, "a new box, power-on to waiting for configuration");
        for line in said.lines().filter(|line| line.starts_with("boot: ")) {
            println!("       | {}", line.trim_end());
        }
        self.first_bundle(&office);
        office = office.power_cycle()?;
        office.vm.expect("forwarding:", BOOT)?;
        on(&office, "a power cut, and power-on to forwarding");
        let mut lasting = office.connect()?;
        self.second_bundle(&office, &mut lasting);
        for (command, wanted) in [
            ("pfctl -sr", "block return"),
            ("pfctl -ss", "ESTABLISHED"),
            ("pfctl -si", "Status"),
        ] {
            self.step(&format!("{command} on the serial console"), || {
                console(&mut office, command, wanted)
            });
        }
        if hold { stay(&mut office) } else { Ok(()) }
    }

    fn first_bundle(&mut self, office: &Office) {
        self.step("it forwards nothing", || nothing(office, 80));
        self.step("fuguctl push of the first bundle", || {
            office.accept("first")
        });
        self.step("ping through the firewall", || office.ping(OUTSIDE));
        self.step("ping through the firewall, IPv6", || office.ping(OUTSIDE6));
        self.step("a web page through the firewall", || office.page(80));
        self.step(
            "port 8080 is blocked with a reset, as the rules say",
            || office.refused(8080),
        );
    }

    fn second_bundle(&mut self, office: &Office, lasting: &mut Running) {
        let mut talk = |word: &str| say_and_hear(lasting, word, SOON);
        self.step("the stored bundle is in force: the page comes", || {
            office.page(80)
        });
        self.step("a connection that will last", || talk("before"));
        self.step("fuguctl push of the second bundle", || {
            office.accept("second")
        });
        self.step("port 8080 passes now", || office.page(8080));
        self.step("port 80 is blocked now", || office.refused(80));
        self.step("the connection from before goes on", || talk("after"));
        self.step(
            "a broken bundle is refused with file, line and column",
            || broken(office),
        );
        self.step("nothing has changed by it", || {
            office.page(8080).and_then(|_| office.refused(80))
        });
        self.step("the connection from before still goes on", || talk("still"));
    }
}

/// The machine said what was waited for just now.
fn on(office: &Office, what: &str) {
    println!(
        "ok     {what}: {:.1} s",
        office.vm.since_power_on().as_secs_f32()
    );
}

fn sizes() -> Told {
    let image = vm_tests::image()?;
    let base = image.with_extension("").display().to_string();
    let size = |suffix: &str| {
        std::fs::metadata(format!("{base}{suffix}"))
            .map(|data| data.len() as f64 / f64::from(1 << 20))
    };
    let (kernel, initrd) = (size("-kernel")?, size("-initrd")?);
    let name = image
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    Ok(format!(
        "{name}: kernel {kernel:.1} MiB + initramfs {initrd:.1} MiB = {:.1} MiB",
        kernel + initrd
    ))
}

fn nothing(office: &Office, port: u16) -> Told {
    let got = office.curl(port)?;
    if got.ok() {
        fail("the page came")
    } else {
        Ok(last_line(&got.text))
    }
}

fn broken(office: &Office) -> Told {
    let output = office.push("broken")?;
    let told = |line: &&str| line.contains("pf.conf:3:") || line.contains("pf.conf:4:");
    let errors: Vec<&str> = output
        .text
        .lines()
        .filter(told)
        .filter(|line| line.contains(": error: "))
        .collect();
    if output.status == Some(1) && errors.len() >= 2 {
        return Ok(errors.join(" | "));
    }
    fail(format!(
        "status {:?}: {}",
        output.status,
        one_line(&output.text)
    ))
}

fn console(office: &mut Office, command: &str, wanted: &str) -> Told {
    let said = office.vm.console().ask(command, SOON)?;
    let shown: String = said
        .lines()
        .skip(1)
        .map(|line| format!("\n       | {line}"))
        .collect();
    if said.contains(wanted) {
        Ok(shown)
    } else {
        fail(format!("no \"{wanted}\" in{shown}"))
    }
}

fn fail(why: impl Display) -> Told {
    Err(Failure(why.to_string()))
}

/// Leaves the machine running with its console on the terminal.
fn stay(office: &mut Office) -> Result<()> {
    let (inside, management) = (
        office.host(Side::Inside).name(),
        office.host(Side::Management).name(),
    );
    let fuguctl = repository().join("target/release/fuguctl");
    println!(
        "\ndemo: the machine stays up; its console is here, Ctrl-] ends it. From another terminal, for example:"
    );
    println!("  sudo ip netns exec {inside} curl http://{OUTSIDE}:8080/");
    println!("  sudo FUGU_TOKEN={TOKEN} ip netns exec {management} \\");
    println!(
        "    {} push {MANAGEMENT_URL} {}\n",
        fuguctl.display(),
        demo_tree("first").display()
    );
    let terminal = stdin().is_terminal();
    if terminal {
        stty(&["raw", "-echo"])?;
    }
    let line = office.vm.console();
    let ended = line
        .type_line("")
        .and_then(|()| line.attach(&mut stdin().lock(), ESCAPE));
    if terminal {
        stty(&["sane"])?;
    }
    println!();
    ended
}

fn stty(words: &[&str]) -> Result<()> {
    let status = Command::new("stty")
        .args(words)
        .stdin(Stdio::inherit())
        .status()?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure(format!("stty: {status}")))
    }
}
