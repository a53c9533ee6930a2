//! The built image in QEMU, its console driven like a person.
//!
//! Owns virtual machines ([`Vm`]) and their clean end: each ends only the processes it started, also when a test panics.
//! The Linux hosts around them are the crate `hosts`. It may not know what the appliance
//! prints beyond what a test passes to [`Vm::expect`].
//!
//! ```no_run
//! use std::time::Duration;
//! use vm_tests::{Options, Vm};
//! let mut vm = Vm::boot(&Options::default()).unwrap();
//! vm.expect("forwarding", Duration::from_secs(60)).unwrap();
//! vm.host(0).address("192.0.2.2/24").unwrap();
//! vm.type_line("pfctl -sr").unwrap();
//! println!("{}", vm.host(0).run(&["ping", "-c1", "192.0.2.1"]).unwrap().text);
//! ```
//!
//! Taps: QEMU opens a tap in the namespace of the test, then the tap is moved into the host's namespace, where it keeps
//! working. The machine is started paused, so "power on" is an exact moment ([`Vm::since_power_on`]).
//!
//! Read first: qemu(1), "QEMU QMP Reference Manual", ip-netns(8).

#![forbid(unsafe_code)]

mod console;
pub mod lab;
pub mod office;
pub mod pair;
pub mod peer;
mod qmp;
pub mod stream;
mod vm;

pub use console::Console;
pub use hosts::{Failure, Namespace, Output, Result, Running, repository, sweep};
pub use vm::{Disk, Firmware, NicModel, Options, Vm};

pub(crate) use hosts::{Context, scratch};

use std::path::{Path, PathBuf};

/// The built disk image: the newest `out/fugu-*-amd64.img`, or the one `FUGU_IMAGE` names.
///
/// # Errors
/// When there is none.
pub fn image() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("FUGU_IMAGE") {
        return Ok(path.into());
    }
    let entries = std::fs::read_dir(repository().join("out"))
        .into_iter()
        .flatten()
        .flatten();
    let images = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "img"));
    let newest = images.max_by_key(|path| path.metadata().and_then(|data| data.modified()).ok());
    newest.ok_or_else(|| Failure("no image in out/: run ci/build and ci/image".into()))
}

/// Why virtual machines cannot be tested here, as a sentence; None: they can.
#[must_use]
pub fn missing() -> Option<String> {
    if let Err(failure) = image() {
        return Some(failure.0);
    }
    if let Some(name) = hosts::missing_program(&["qemu-system-x86_64", "ip", "setpriv"]) {
        return Some(format!("no {name}: run ci/setup"));
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("no /dev/net/tun: taps cannot be made".into());
    }
    if let Err(failure) = Namespace::new("probe") {
        return Some(format!(
            "network namespaces cannot be made (not root?): {failure}"
        ));
    }
    None
}

/// Prints why a test is skipped and tells the caller to return.
#[must_use]
pub fn skip() -> bool {
    if let Some(why) = missing() {
        println!("skipped: {why}");
        return true;
    }
    false
}
