//! Owns a host behind the access port of a switch: its frames carry no tag, those on the other side do.
//!
//! ```text
//!   host: eth0 (tap) == a thread that puts tags on and takes them off == switch: trunk (tap)
//! ```
//!
//! The kernel's own VLANs would do; not every kernel has them.
//!
//! Read first: IEEE 802.1Q clause 9, the kernel's `networking/tuntap.rst`.

use crate::{Context, Failure, Namespace, Result};
use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;

/// TUNSETIFF asks for a name of 16 bytes and flags: IFF_TAP and IFF_NO_PI. On the device that is its standard input.
const MAKE_TAP: &str = "import fcntl, struct, sys; \
     fcntl.ioctl(0, 0x400454ca, struct.pack('16sH22x', sys.argv[1].encode(), 0x1002))";
const TPID: [u8; 2] = [0x81, 0x00];
/// Two station addresses.
const ADDRESSES: usize = 12;
const TAG: usize = 4;
const FRAME_MAX: usize = 2048;

/// A host's cable to an access port; pulled when the value goes away.
#[derive(Debug)]
pub struct AccessPort {
    /// Namespaces and devices.
    ends: [(String, String); 2],
    threads: Vec<JoinHandle<()>>,
}

impl AccessPort {
    /// Makes `eth0` of `host` and `trunk` of `switch`, and connects them by a VLAN.
    ///
    /// # Errors
    /// When taps are not to be had.
    pub fn connect(host: &Namespace, switch: &Namespace, trunk: &str, vid: u16) -> Result<Self> {
        let (plain, tagged) = (tap(host, "eth0")?, tap(switch, trunk)?);
        let tag = tag(vid);
        let out = relay(plain.try_clone()?, tagged.try_clone()?, move |frame| {
            put_on(frame, tag)
        });
        let back = relay(tagged, plain, move |frame| take_off(frame, tag));
        let end = |host: &Namespace, device: &str| (host.name().to_owned(), device.to_owned());
        Ok(Self {
            ends: [end(host, "eth0"), end(switch, trunk)],
            threads: vec![out, back],
        })
    }
}

impl Drop for AccessPort {
    fn drop(&mut self) {
        for (host, device) in &self.ends {
            // Whoever reads from it wakes up with an error. It may have gone with its host.
            let words = ["-n", host, "link", "delete", device];
            Command::new("ip").args(words).output().ok();
        }
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}

/// A tap of a host, up; its other end is the file.
fn tap(host: &Namespace, name: &str) -> Result<File> {
    let path = "/dev/net/tun";
    // It belongs to the host in whose name it is opened.
    let file = host.inside(|| {
        let mut options = File::options();
        options.read(true).write(true).open(path).context(path)
    })?;
    let made = Command::new("python3")
        .args(["-c", MAKE_TAP, name])
        .stdin(Stdio::from(file.try_clone()?))
        .output()
        .context("python3")?;
    if !made.status.success() {
        let why = String::from_utf8_lossy(&made.stderr).into_owned();
        return Err(Failure(format!("tap {name}: {why}")));
    }
    host.ip(&["link", "set", name, "up"])?;
    Ok(file)
}

fn tag(vid: u16) -> [u8; TAG] {
    let [high, low] = vid.to_be_bytes();
    [TPID[0], TPID[1], high, low]
}

/// Moves frames until one of the ends has gone. `change` leaves nothing of a frame that is not to pass.
fn relay(
    mut from: File,
    mut to: File,
    change: impl Fn(&mut Vec<u8>) + Send + 'static,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut room = [0; FRAME_MAX];
        let mut frame = Vec::with_capacity(FRAME_MAX + TAG);
        while let Ok(length @ 1..) = from.read(&mut room) {
            frame.clear();
            frame.extend_from_slice(&room[..length]);
            change(&mut frame);
            // A frame that is not taken is lost, as on a full wire.
            if !frame.is_empty() {
                to.write_all(&frame).ok();
            }
        }
    })
}

fn put_on(frame: &mut Vec<u8>, tag: [u8; TAG]) {
    if frame.len() < ADDRESSES {
        return frame.clear();
    }
    frame.splice(ADDRESSES..ADDRESSES, tag);
}

/// Only frames of this VLAN get to the host.
fn take_off(frame: &mut Vec<u8>, tag: [u8; TAG]) {
    let Some(found) = frame.get(ADDRESSES..ADDRESSES + TAG) else {
        return frame.clear();
    };
    // Without the priority, which is the upper four bits of the third byte.
    let vid = [found[0], found[1], found[2] & 0x0f, found[3]];
    if vid != tag {
        return frame.clear();
    }
    frame.drain(ADDRESSES..ADDRESSES + TAG);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_go_on_and_off_and_other_vlans_stay_outside() {
        let plain: Vec<u8> = (0..60).collect();
        let mut frame = plain.clone();
        put_on(&mut frame, tag(22));
        assert_eq!(frame[12..18], [0x81, 0, 0, 22, 12, 13]);
        frame[14] |= 0xe0;
        let mut other = frame.clone();
        take_off(&mut frame, tag(22));
        assert_eq!(frame, plain);
        take_off(&mut other, tag(23));
        assert!(other.is_empty());
        let mut short = vec![0; 11];
        put_on(&mut short, tag(22));
        assert!(short.is_empty());
    }

    #[test]
    fn two_hosts_of_a_vlan_see_each_other_over_a_cable_with_tags() -> Result<()> {
        let hosts = ["one", "two", "switch"].map(Namespace::new);
        let [Ok(one), Ok(two), Ok(switch)] = hosts else {
            println!("skipped: no network namespaces (not root?)");
            return Ok(());
        };
        switch.ip(&["link", "add", "br0", "type", "bridge"])?;
        switch.ip(&["link", "set", "br0", "up"])?;
        let mut cables = Vec::new();
        for (n, host) in [&one, &two].into_iter().enumerate() {
            let trunk = format!("trunk{n}");
            cables.push(AccessPort::connect(host, &switch, &trunk, 22)?);
            switch.ip(&["link", "set", &trunk, "master", "br0"])?;
            host.address(&format!("192.0.2.{}/24", n + 1))?;
        }
        let said = one.run(&["ping", "-c2", "-i0.2", "-W5", "192.0.2.2"])?;
        assert!(said.ok(), "{}", said.text);
        Ok(())
    }
}
