//! What `ci/demo` shows: the image from power-on to a reload under traffic, narrated line by line.
//!
//! It owns the story; machines and hosts are the library's. Exit status 0 only if every step was ok.
//!
//! ```text
//!   outside 192.0.2.2 --- vio0 [ Fugu ] vio1 --- inside 10.0.1.2
//!                               vio2 --- management 172.16.0.2
//! ```

#![forbid(unsafe_code)]

use std::fmt::Display;
use std::io::{IsTerminal, stdin};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use vm_tests::service::{Web, echo};
use vm_tests::{Failure, Firmware, Namespace, NicModel, Options, Result, Vm, repository, sweep};

const BOOT: Duration = Duration::from_secs(120);
const SOON: Duration = Duration::from_secs(15);
const TOKEN: &str = "demo-token-of-ci-demo";
const OUTSIDE: &str = "192.0.2.2";
const MANAGEMENT_URL: &str = "http://172.16.0.1";
const PAGE: &str = "a page from outside";
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
        let options = Options {
            firmware,
            nics: vec![NicModel::Virtio; 3],
            seed: Some(seed()),
            ..Options::default()
        };
        let mut vm = Vm::boot(&options)?;
        println!("demo: image {}", sizes()?);
        println!(
            "demo: machine with {} MiB of memory, {} processors, three virtio-net ports",
            options.memory_mib, options.cpus
        );
        // Everything after this needs it, so a failure here ends the story.
        let said = vm.expect("forwarding", BOOT)?;
        println!(
            "ok     power-on to forwarding: {:.1} s",
            vm.since_power_on().as_secs_f32()
        );
        for line in said.lines().filter(|line| line.starts_with("boot: ")) {
            println!("       | {}", line.trim_end());
        }
        hosts(&vm)?;
        let web = Web::serve(
            vm.host(0),
            &[80, 8080],
            &[("index.html", PAGE.as_bytes().to_vec())],
        )?;
        let echo_server = echo(vm.host(0), 7)?;
        self.traffic(&mut vm)?;
        if hold {
            stay(&mut vm)?;
        }
        drop((web, echo_server));
        Ok(())
    }

    fn traffic(&mut self, vm: &mut Vm) -> Result<()> {
        let [inside, management] = [vm.host(1), vm.host(2)];
        self.step("a new box forwards nothing", || nothing(inside, 80));
        self.step("fuguctl push of the first bundle", || {
            push(management, "first")
        });
        self.step("ping through the firewall", || ping(inside, OUTSIDE));
        self.step("ping through the firewall, IPv6", || {
            ping(inside, "2001:db8:1::2")
        });
        self.step("a web page through the firewall", || page(inside, 80));
        self.step(
            "port 8080 is blocked with a reset, as the rules say",
            || refused(inside, 8080),
        );
        let mut lasting = inside.spawn(&["socat", "-", &format!("TCP4:{OUTSIDE}:7")])?;
        self.step("a connection that will last", || {
            say_and_hear(&mut lasting, "before")
        });
        self.step("fuguctl push of the second bundle", || {
            push(management, "second")
        });
        self.step("port 8080 passes now", || page(inside, 8080));
        self.step("port 80 is blocked now", || refused(inside, 80));
        self.step("the connection from before goes on", || {
            say_and_hear(&mut lasting, "after")
        });
        self.step(
            "a broken bundle is refused with file, line and column",
            || broken(management),
        );
        self.step("nothing has changed by it", || {
            page(inside, 8080).and_then(|_| refused(inside, 80))
        });
        for (command, wanted) in [
            ("pfctl -sr", "block return"),
            ("pfctl -ss", "ESTABLISHED"),
            ("pfctl -si", "Status"),
        ] {
            self.step(&format!("{command} on the serial console"), || {
                console(vm, command, wanted)
            });
        }
        Ok(())
    }
}

fn hosts(vm: &Vm) -> Result<()> {
    let sides = [
        (
            0,
            ["192.0.2.2/24", "2001:db8:1::2/64"],
            ["192.0.2.1", "2001:db8:1::1"],
        ),
        (
            1,
            ["10.0.1.2/24", "2001:db8:2::2/64"],
            ["10.0.1.1", "2001:db8:2::1"],
        ),
    ];
    for (nr, addresses, gateways) in sides {
        for (address, gateway) in addresses.into_iter().zip(gateways) {
            vm.host(nr).address(address)?;
            vm.host(nr).route("default", gateway)?;
        }
    }
    vm.host(2).address("172.16.0.2/24")
}

/// A seed disk that says who may manage the box, and from where. A tar archive of one file.
fn seed() -> Vec<u8> {
    let text = format!("fugu.mgmt=vio2:172.16.0.1/24\nfugu.token={TOKEN}\n");
    let mut block = vec![0; 512];
    let mut put = |at: usize, bytes: &[u8]| block[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"FUGU-SEED");
    put(100, b"0000644\0");
    put(124, format!("{:011o}\0", text.len()).as_bytes());
    put(156, b"0");
    put(257, b"ustar\x0000");
    put(148, b"        ");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend_from_slice(text.as_bytes());
    block.resize(2048, 0);
    block
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

fn tree(name: &str) -> PathBuf {
    repository().join("tests/vm/demo").join(name)
}

/// Runs `fuguctl push` of a demo bundle on the management host: everything it said, and its exit status.
fn fuguctl_push(management: &Namespace, name: &str) -> Result<(String, Option<i32>)> {
    let output = management
        .command(
            &repository()
                .join("target/release/fuguctl")
                .display()
                .to_string(),
        )
        .args(["push", MANAGEMENT_URL])
        .arg(tree(name))
        .env("FUGU_TOKEN", TOKEN)
        .stdin(Stdio::null())
        .output()?;
    let said = [output.stdout, output.stderr].concat();
    Ok((
        String::from_utf8_lossy(&said).trim().to_owned(),
        output.status.code(),
    ))
}

fn push(management: &Namespace, name: &str) -> Told {
    let (said, status) = fuguctl_push(management, name)?;
    if status == Some(0) {
        Ok(one_line(&said))
    } else {
        fail(format!("status {status:?}: {said}"))
    }
}

fn broken(management: &Namespace) -> Told {
    let (said, status) = fuguctl_push(management, "broken")?;
    let told = |line: &&str| line.contains("pf.conf:3:") || line.contains("pf.conf:4:");
    let errors: Vec<&str> = said
        .lines()
        .filter(told)
        .filter(|line| line.contains(": error: "))
        .collect();
    if status == Some(1) && errors.len() >= 2 {
        return Ok(errors.join(" | "));
    }
    fail(format!("status {status:?}: {said}"))
}

/// Fetches the page; what curl tells about the connection comes after it.
fn curl(host: &Namespace, port: u16) -> Result<vm_tests::Output> {
    host.run(&[
        "curl",
        "-sSv",
        "--max-time",
        "5",
        &format!("http://{OUTSIDE}:{port}/"),
    ])
}

fn page(host: &Namespace, port: u16) -> Told {
    let got = curl(host, port)?;
    if got.ok() && got.text.starts_with(PAGE) {
        Ok(format!("\"{PAGE}\""))
    } else {
        fail(last_line(&got.text))
    }
}

/// A reset came back: the connection was refused, not lost.
fn refused(host: &Namespace, port: u16) -> Told {
    let got = curl(host, port)?;
    if got.text.contains("Connection refused") {
        Ok("connection refused".into())
    } else {
        fail(last_line(&got.text))
    }
}

fn nothing(host: &Namespace, port: u16) -> Told {
    let got = curl(host, port)?;
    if got.ok() {
        fail("the page came")
    } else {
        Ok(last_line(&got.text))
    }
}

fn ping(host: &Namespace, address: &str) -> Told {
    let got = host.run(&["ping", "-c", "3", "-i", "0.2", "-W", "3", address])?;
    if got.ok() {
        Ok(last_line(&got.text))
    } else {
        fail(one_line(&got.text))
    }
}

fn say_and_hear(connection: &mut vm_tests::Running, word: &str) -> Told {
    connection.write_line(word)?;
    let heard = connection.read_line(SOON)?;
    if heard == word {
        Ok(format!("said and heard \"{word}\""))
    } else {
        fail(format!("heard \"{heard}\""))
    }
}

fn console(vm: &mut Vm, command: &str, wanted: &str) -> Told {
    let said = vm.console().ask(command, SOON)?;
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

fn last_line(text: &str) -> String {
    text.lines()
        .rev()
        .find(|line| !line.trim().is_empty())
        .unwrap_or_default()
        .trim()
        .to_owned()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Leaves the machine running with its console on the terminal.
fn stay(vm: &mut Vm) -> Result<()> {
    println!(
        "\ndemo: the machine stays up; its console is here, Ctrl-] ends it. From another terminal, for example:"
    );
    println!(
        "  sudo ip netns exec {} curl http://{OUTSIDE}:8080/",
        vm.host(1).name()
    );
    println!(
        "  sudo FUGU_TOKEN={TOKEN} ip netns exec {} {} push {MANAGEMENT_URL} {}\n",
        vm.host(2).name(),
        repository().join("target/release/fuguctl").display(),
        tree("first").display()
    );
    let terminal = stdin().is_terminal();
    if terminal {
        stty(&["raw", "-echo"])?;
    }
    let ended = vm
        .console()
        .type_line("")
        .and_then(|()| vm.console().attach(&mut stdin().lock(), ESCAPE));
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
