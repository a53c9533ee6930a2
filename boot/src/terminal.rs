//! Owns which terminals a person may sit at: serial lines that exist, and the screen.
//!
//! It may not know what is said on them. The kernel takes the last `console=` as `/dev/console` even where that serial port
//! does not exist; then nobody would see anything, so standard input and output are moved to one that does.
//!
//! Read first: the kernel's `admin-guide/serial-console.rst`, `ABI/testing/sysfs-tty`.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

const TTY_CLASS: &str = "/sys/class/tty";
/// The one speed of loader, kernel and console, in bits per second.
const SPEED: u32 = 115_200;

/// Finds the terminals, and makes sure that standard input and output are one of them. `wanted`: names to use instead
/// of the kernel's.
pub(crate) fn settle(wanted: &[String]) -> (Vec<PathBuf>, String) {
    let found = choose(Path::new(TTY_CLASS), wanted);
    let mut remark = String::new();
    if let (Some(first), true) = (found.terminals.first(), found.move_there) {
        remark = match take_over(first) {
            Ok(()) => format!("{first} (the kernel's console is not there)"),
            Err(error) => format!("{first}: {error}"),
        };
    }
    let devices = found
        .terminals
        .iter()
        .map(|name| Path::new("/dev").join(name));
    (devices.collect(), remark)
}

#[derive(Debug, PartialEq, Eq)]
struct Choice {
    /// Names of usable terminals; serial lines come first.
    terminals: Vec<String>,
    /// `/dev/console` is none of them, or the caller wants others.
    move_there: bool,
}

fn choose(class: &Path, wanted: &[String]) -> Choice {
    let active = fs::read_to_string(class.join("console/active")).unwrap_or_default();
    let active: Vec<String> = active.split_whitespace().map(str::to_owned).collect();
    let names = if wanted.is_empty() { &active } else { wanted };
    // Console 0 of the screen is whichever is shown; 1 is the one that is shown.
    let real = |name: &String| {
        if name == "tty0" {
            "tty1".to_owned()
        } else {
            name.clone()
        }
    };
    let mut terminals: Vec<String> = names
        .iter()
        .map(real)
        .filter(|name| exists(class, name))
        .collect();
    terminals.sort_by_key(|name| is_screen(name));
    // The last active console is the one behind /dev/console.
    let default_works =
        wanted.is_empty() && active.last().is_some_and(|name| exists(class, &real(name)));
    Choice {
        terminals,
        move_there: !default_works,
    }
}

fn is_screen(name: &str) -> bool {
    name.strip_prefix("tty")
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

/// A serial port of type 0 is a name without hardware.
fn exists(class: &Path, name: &str) -> bool {
    let kind = fs::read_to_string(class.join(name).join("type")).unwrap_or_default();
    class.join(name).exists() && kind.trim() != "0"
}

fn take_over(name: &str) -> std::io::Result<()> {
    let terminal = OpenOptions::new()
        .read(true)
        .write(true)
        .open(Path::new("/dev").join(name))?;
    if !is_screen(name) {
        let mut settings = rustix::termios::tcgetattr(&terminal)?;
        settings.set_speed(SPEED)?;
        rustix::termios::tcsetattr(&terminal, rustix::termios::OptionalActions::Now, &settings)?;
    }
    rustix::stdio::dup2_stdin(&terminal)?;
    rustix::stdio::dup2_stdout(&terminal)?;
    rustix::stdio::dup2_stderr(&terminal)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(name: &str, active: &str, ports: &[(&str, &str)], wanted: &[&str]) -> Choice {
        let class = std::env::temp_dir().join(format!("fugu-tty-{name}-{}", std::process::id()));
        let put = |path: &str, text: &str| {
            let path = class.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("console/active", active);
        put("tty1/dev", "4:1\n");
        for (port, kind) in ports {
            put(&format!("{port}/type"), kind);
        }
        let wanted: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        let choice = choose(&class, &wanted);
        fs::remove_dir_all(&class).unwrap();
        choice
    }

    fn choice(terminals: &[&str], move_there: bool) -> Choice {
        Choice {
            terminals: terminals.iter().map(ToString::to_string).collect(),
            move_there,
        }
    }

    #[test]
    fn a_serial_line_that_is_there_stays_the_console() {
        let ports = [("ttyS0", "4\n"), ("ttyS1", "0\n")];
        assert_eq!(
            chosen("there", "tty0 ttyS0\n", &ports, &[]),
            choice(&["ttyS0", "tty1"], false)
        );
    }

    #[test]
    fn without_a_serial_port_the_screen_is_taken() {
        assert_eq!(
            chosen("none", "tty0 ttyS0\n", &[("ttyS0", "0\n")], &[]),
            choice(&["tty1"], true)
        );
    }

    #[test]
    fn the_administrator_may_choose_and_what_is_not_there_is_left_out() {
        let ports = [("ttyS0", "4\n"), ("ttyS1", "4\n")];
        let wanted = ["tty0", "ttyS1", "ttyS7"];
        assert_eq!(
            chosen("wanted", "tty0 ttyS0\n", &ports, &wanted),
            choice(&["ttyS1", "tty1"], true)
        );
    }
}
