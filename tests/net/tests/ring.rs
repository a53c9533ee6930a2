//! A ring of two bridges of ours and one of the kernel, with a host at each of ours.
//!
//! ```text
//!   host one --- ap1 [ first ] ap3 ---------- ap3 [ second ] ap1 --- host two
//!                        ap4 --- [ kernel ] --- ap4
//! ```
//!
//! The kernel speaks the old protocol only (IEEE 802.1D-1998), so the ports towards it wait as that one does; between ours
//! the rapid one agrees at once. The ports' driver reports no links: a cut is noticed when three messages are missing.

use hosts::Running;
use net_tests::{Etc, Failure, Namespace, Plan, Port, Result, Site, skip, until, until_within};
use std::time::{Duration, Instant};

const ONE: &str = "192.0.2.11";
const TWO: &str = "192.0.2.12";
/// Between two pings.
const PACE: Duration = Duration::from_millis(20);
/// Two delays of four seconds, and a busy machine.
const SETTLING: Duration = Duration::from_secs(60);

struct Ring {
    first: Site,
    second: Site,
    kernel: Namespace,
}

fn etc(priority: u16) -> Etc {
    let bridge = format!(
        "add ap1 add ap3 add ap4\nstp ap3 stp ap4\nspanpriority {priority} hellotime 1 fwddelay 4 maxage 6\nup\n"
    );
    Etc::with_rules("pass\n")
        .without("hostname.ap0")
        .with("hostname.ap1", "up\n")
        .with("hostname.ap3", "up\n")
        .with("hostname.ap4", "up\n")
        .with("hostname.bridge0", &bridge)
}

fn site(firewall: Namespace, priority: u16, cpus: &'static str, address: &str) -> Result<Site> {
    let plan = Plan {
        etc: etc(priority),
        cpus,
        ready: 2,
        ..Plan::default()
    };
    let site = Site::open_in(firewall, &plan)?;
    let host = site.host(Port::Inside);
    host.must("ip address flush dev eth0")?;
    host.address(&format!("{address}/24"))?;
    Ok(site)
}

fn open() -> Result<Ring> {
    let (one, two) = (Namespace::new("first")?, Namespace::new("second")?);
    let kernel = Namespace::new("kernel")?;
    one.connect_as("ap3", &two, "ap3")?;
    one.connect_as("ap4", &kernel, "p0")?;
    two.connect_as("ap4", &kernel, "p1")?;
    kernel.must("ip link add br0 type bridge stp_state 1 priority 61440")?;
    kernel.must("ip link set p0 master br0")?;
    kernel.must("ip link set p1 master br0")?;
    kernel.must("ip link set br0 up")?;
    Ok(Ring {
        first: site(one, 4096, "0", ONE)?,
        second: site(two, 8192, "1", TWO)?,
        kernel,
    })
}

impl Ring {
    fn host(&self) -> &Namespace {
        self.first.host(Port::Inside)
    }

    /// Whether a port of the kernel's forwards (3 in linux/if_bridge.h).
    fn kernel_forwards(&self, port: &str) -> Result<bool> {
        let path = format!("cat /sys/class/net/br0/brif/{port}/state");
        Ok(self.kernel.must(&path)?.trim() == "3")
    }

    /// Frames that the workers of both took in.
    fn frames(&self) -> Result<u64> {
        let mut all = 0;
        for site in [&self.first, &self.second] {
            let status = site.get("/v1/status")?;
            let workers = status["workers"].as_array().cloned().unwrap_or_default();
            all += workers
                .iter()
                .filter_map(|w| w["packets"].as_u64())
                .sum::<u64>();
        }
        Ok(all)
    }

    /// One ping comes back.
    fn reaches(&self) -> Result<Option<()>> {
        let got = self.host().run(&["ping", "-c1", "-W1", TWO])?;
        Ok(got.ok().then_some(()))
    }

    /// What is said to all reaches everybody once: ten questions and their answers are some dozens of frames.
    fn no_storm(&self, when: &str) -> Result<()> {
        let before = self.frames()?;
        self.host()
            .run(&["ping", "-b", "-c10", "-i0.2", "-W1", "192.0.2.255"])?;
        let frames = self.frames()? - before;
        println!("{when}: {frames} frames for ten pings of everybody, and what goes on beside");
        match frames {
            10..1000 => Ok(()),
            _ => Err(Failure(format!("{when}: {frames} frames"))),
        }
    }
}

/// The last thing that a program said of a member of its bridge.
fn role(site: &Site, member: &str) -> String {
    let said = site.program.said();
    let begin = format!("bridge0: {member}: ");
    let mut all = said
        .lines()
        .filter_map(|line| Some(line.split_once(&begin)?.1));
    all.next_back().unwrap_or_default().to_owned()
}

fn roles(ring: &Ring) -> [String; 4] {
    let (first, second) = (&ring.first, &ring.second);
    [
        role(first, "ap3"),
        role(first, "ap4"),
        role(second, "ap3"),
        role(second, "ap4"),
    ]
}

/// Answers that ping counted in the end.
fn received(ping: &mut Running) -> Result<u32> {
    loop {
        let line = ping.read_line(SETTLING)?;
        if let Some((_, rest)) = line.split_once(" packets transmitted, ") {
            let number = rest.split_once(" received").map(|(n, _)| n.parse());
            return number.and_then(|n| n.ok()).ok_or(Failure(line));
        }
    }
}

#[test]
fn a_ring_with_the_kernels_bridge_has_no_storm_and_heals() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let started = Instant::now();
    let ring = open()?;
    let opened = started.elapsed();
    until("a way between the hosts", || ring.reaches())?;
    println!(
        "both programs ran after {opened:.1?}, first ping after {:.1?}",
        started.elapsed()
    );
    let settled = [
        "designated, forwarding",
        "designated, forwarding",
        "root, forwarding",
        "alternate, discarding",
    ];
    until_within(SETTLING, "one port in reserve", || {
        let kernel = ring.kernel_forwards("p0")? && ring.kernel_forwards("p1")?;
        Ok((kernel && roles(&ring) == settled).then_some(()))
    })?;
    println!(
        "converged after {:.1?}: {:?}",
        started.elapsed(),
        roles(&ring)
    );
    ring.no_storm("a ring")?;

    // The cable between ours is cut; both hosts go on talking.
    let count = 700.to_string();
    let pace = PACE.as_secs_f64().to_string();
    let words = ["ping", "-q", "-n", "-i", &pace, "-c", &count, "-W1"];
    let other = ring.second.host(Port::Inside);
    let _talks = other.spawn(&[&words[..], &[ONE]].concat())?;
    let mut pings = ring.host().spawn(&[&words[..], &[TWO]].concat())?;
    std::thread::sleep(Duration::from_secs(2));
    let cut = Instant::now();
    ring.first.firewall().must("ip link set ap3 down")?;
    until_within(SETTLING, "the port in reserve", || {
        Ok((role(&ring.second, "ap4") == "root, forwarding").then_some(()))
    })?;
    println!("the reserve took over {:.1?} after the cut", cut.elapsed());
    let lost = 700 - received(&mut pings)?;
    println!(
        "{lost} of 700 pings lost, {:.1?} without a way",
        PACE * lost
    );
    // Three messages a second apart, and as much again for a busy machine.
    assert!((1..650).contains(&lost), "{lost}");
    ring.no_storm("a line")?;

    // The cable is back.
    ring.first.firewall().must("ip link set ap3 up")?;
    until_within(SETTLING, "the old order", || {
        Ok((roles(&ring) == settled).then_some(()))
    })?;
    until("a way between the hosts", || ring.reaches())?;
    ring.no_storm("a ring again")
}
