//! Laggs that speak LACP against bonding of Linux (802.3ad).
//!
//! ```text
//!   client 172.16.0.2 --- [ Fugu ] lagg0 192.0.2.1 === 192.0.2.2 bond0 [ Linux ] --- server 10.0.3.2
//! ```

use hosts::{Failure, Result};
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use vm_tests::pair::{Pair, wait};
use vm_tests::peer::skip;
use vm_tests::stream::{Datagrams, Transfer, median_and_worst};

/// Pulls in the test; `FUGU_LINK_PULLS` changes it.
const PULLS: usize = 16;
/// How long a cable is out once both sides have noticed.
const OUT: Duration = Duration::from_millis(300);
const SERVER: &str = "10.0.3.2";
const RULES: &str = "
block return log
pass in quick on vio2 proto tcp to 172.16.0.1 port 80
pass in on vio2 to 10.0.3.0/24
pass out on lagg0
pass in on lagg0 to 172.16.0.2
pass out on vio2
";

/// One of the two ends.
#[derive(Debug, Clone, Copy)]
struct Speech {
    active: bool,
    fast: bool,
}

/// The bond, made anew.
fn bond(pair: &mut Pair, speech: Speech) -> Result<()> {
    let (active, rate) = (
        if speech.active { "on" } else { "off" },
        if speech.fast { "fast" } else { "slow" },
    );
    pair.peer.run("ip link del bond0")?;
    pair.peer.setup(&format!(
        "ip link add bond0 type bond mode 802.3ad miimon 100 xmit_hash_policy layer3+4 lacp_rate {rate} lacp_active {active}
         ip link set eth0 down
         ip link set eth1 down
         ip link set eth0 master bond0
         ip link set eth1 master bond0
         ip link set bond0 up
         ip address add 192.0.2.2/24 dev bond0
         ip route add 172.16.0.0/24 via 192.0.2.1"
    ))
}

fn lagg(pair: &Pair, speech: Speech) -> Result<()> {
    lagg_with(pair, speech, "")
}

/// The same with another rule.
fn lagg_with(pair: &Pair, speech: Speech, rule: &str) -> Result<()> {
    let lines = format!(
        "laggproto lacp laggport vio0 laggport vio1\nlacpmode {}\nlacptimeout {}\ninet 192.0.2.1/24\n\
         !route add 10.0.3.0/24 192.0.2.2\n",
        if speech.active { "active" } else { "passive" },
        if speech.fast { "fast" } else { "slow" },
    );
    pair.configure(&[
        ("hostname.vio0", "up\n"),
        ("hostname.vio1", "up\n"),
        ("hostname.lagg0", &lines),
        ("pf.conf", &format!("{RULES}{rule}")),
    ])
}

/// Ports of `lagg0` that send and that are heard.
fn fugu_ports(pair: &Pair) -> Result<Vec<String>> {
    let all = pair.api("/v1/interfaces")?;
    let all = all.as_array().cloned().unwrap_or_default();
    let lagg = all.iter().find(|interface| interface["name"] == "lagg0");
    let ports = lagg.and_then(|lagg| lagg["made"]["lagg"]["ports"].as_array().cloned());
    let used = |port: &serde_json::Value| port["sends"] == true && port["heard"] == true;
    let name = |port: &serde_json::Value| port["name"].as_str().unwrap_or_default().to_owned();
    let ports = ports.ok_or_else(|| Failure("no lagg0 in /v1/interfaces".into()))?;
    Ok(ports.iter().filter(|port| used(port)).map(name).collect())
}

/// Ports of `bond0` that take and send frames, by their bits in what it says of itself.
fn linux_ports(pair: &mut Pair) -> Result<Vec<String>> {
    const USED: u32 = 0x30;
    let text = pair.peer.must("cat /proc/net/bonding/bond0")?;
    let mut ports = Vec::new();
    for part in text.split("Slave Interface: ").skip(1) {
        let name = part.lines().next().unwrap_or_default();
        let own = part.split("details actor lacp pdu:").nth(1);
        let state = own.and_then(|own| own.split("port state: ").nth(1));
        let state = state.and_then(|state| state.lines().next()?.trim().parse::<u32>().ok());
        let up = part.contains("MII Status: up");
        if up && state.is_some_and(|state| state & USED == USED) {
            ports.push(name.to_owned());
        }
    }
    Ok(ports)
}

/// Waits until both sides use these of the two cables.
fn agree(pair: &mut Pair, cables: &[usize]) -> Result<()> {
    let names =
        |what: &str| -> Vec<String> { cables.iter().map(|nr| format!("{what}{nr}")).collect() };
    let (ours, theirs) = (names("vio"), names("eth"));
    let mut seen = (Vec::new(), Vec::new());
    let agreed = wait("both sides use the same cables", || {
        seen = (fugu_ports(pair)?, linux_ports(pair)?);
        Ok((seen == (ours.clone(), theirs.clone())).then_some(()))
    });
    agreed.map_err(|failure| {
        let bond = pair.peer.must("cat /proc/net/bonding/bond0");
        Failure(format!(
            "{failure}: wanted {cables:?}, have {seen:?}; {bond:?}"
        ))
    })
}

/// Pulls or plugs a cable: both ends see it.
fn cable(pair: &mut Pair, nr: usize, up: bool) -> Result<()> {
    pair.vm.set_link(nr, up)?;
    pair.peer.set_link(nr, up)
}

fn pair() -> Result<Pair> {
    let mut pair = Pair::boot(2)?;
    pair.peer.setup("ip address add 10.0.3.1/24 dev eth2")?;
    pair.server().address("10.0.3.2/24")?;
    pair.server().route("default", "10.0.3.1")?;
    Ok(pair)
}

fn ping(pair: &Pair) -> Result<String> {
    let words = ["ping", "-c", "3", "-i", "0.2", "-W", "10", SERVER];
    let output = pair.client().run(&words)?;
    if output.ok() {
        return Ok(hosts::last_line(&output.text));
    }
    Err(Failure(format!("ping: {output:?}")))
}

const SLOW: Speech = Speech {
    active: true,
    fast: false,
};
const FAST: Speech = Speech {
    active: true,
    fast: true,
};
const PASSIVE: Speech = Speech {
    active: false,
    fast: false,
};

#[test]
fn a_lagg_and_a_bond_agree_whoever_begins_and_however_often_they_speak() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let mut pair = pair()?;
    for (ours, theirs) in [(SLOW, SLOW), (FAST, PASSIVE), (PASSIVE, FAST)] {
        bond(&mut pair, theirs)?;
        lagg(&pair, ours)?;
        let started = Instant::now();
        agree(&mut pair, &[0, 1])?;
        println!(
            "{ours:?} {theirs:?}: agreed after {:.1} s",
            started.elapsed().as_secs_f32()
        );
        println!("{}", ping(&pair)?);
        let bond = pair.peer.must("cat /proc/net/bonding/bond0")?;
        // Both ports in one aggregator, with the lagg's address as the partner's.
        assert!(bond.contains("Number of ports: 2"), "{bond}");
        assert!(
            bond.contains("Partner Mac Address: 52:54:00:00:00:01"),
            "{bond}"
        );
        let text = pair
            .vm
            .console()
            .ask("ifconfig lagg0", Duration::from_secs(20))?;
        for port in ["vio0", "vio1"] {
            let line = format!("laggport: {port} flags=1c<ACTIVE,COLLECTING,DISTRIBUTING>");
            assert!(text.contains(&line), "{text}");
        }
    }
    // Two that wait for each other: nothing goes.
    bond(&mut pair, PASSIVE)?;
    lagg(&pair, PASSIVE)?;
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(fugu_ports(&pair)?, Vec::<String>::new());
    Ok(())
}

#[test]
fn links_pulled_by_turns_lose_little_and_never_leave_both_out() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let pulls = std::env::var("FUGU_LINK_PULLS");
    let pulls = pulls
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(PULLS);
    let mut pair = pair()?;
    bond(&mut pair, FAST)?;
    lagg(&pair, FAST)?;
    agree(&mut pair, &[0, 1])?;
    println!("{}", ping(&pair)?);
    let end = |port| SocketAddr::new(SERVER.parse().expect("an address"), port);
    let download = Transfer::download(pair.client(), pair.server(), end(5201))?;
    let stream = Datagrams::start(pair.client(), pair.server(), end(9))?;
    let mut marks = vec![stream.next()];
    for nr in 0..pulls {
        let pulled = nr % 2;
        cable(&mut pair, pulled, false)?;
        agree(&mut pair, &[1 - pulled])?;
        std::thread::sleep(OUT);
        marks.push(stream.next());
        cable(&mut pair, pulled, true)?;
        agree(&mut pair, &[0, 1])?;
        marks.push(stream.next());
    }
    let arrived = stream.finish()?;
    println!("a download of {} bytes survived", download.finish()?);
    let lost: Vec<u64> = marks
        .windows(2)
        .map(|ends| arrived.lost(ends[0], ends[1]))
        .collect();
    let of = |first: usize| -> Vec<u64> { lost.iter().copied().skip(first).step_by(2).collect() };
    for (what, lost) in [("pulled", of(0)), ("plugged", of(1))] {
        let (median, worst) = median_and_worst(&lost);
        println!(
            "{pulls} times {what}: lost of 1000 a second: median {median}, worst {worst}: {lost:?}"
        );
    }
    println!("{} of {} datagrams arrived", arrived.at.len(), arrived.sent);
    // Whatever a switch costs here, between two of them everything goes: most arrive.
    assert!(arrived.at.len() as u64 * 2 > arrived.sent);
    Ok(())
}

/// Rounds of the impatient test.
const TURNS: usize = 8;

#[test]
fn one_cable_in_and_the_other_out_at_the_same_moment_is_always_the_one_that_is_in() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let mut pair = pair()?;
    bond(&mut pair, FAST)?;
    lagg(&pair, FAST)?;
    agree(&mut pair, &[0, 1])?;
    cable(&mut pair, 1, false)?;
    agree(&mut pair, &[0])?;
    let mut took = Vec::new();
    for turn in 0..TURNS {
        let plugged = (turn + 1) % 2;
        cable(&mut pair, plugged, true)?;
        cable(&mut pair, 1 - plugged, false)?;
        let started = Instant::now();
        agree(&mut pair, &[plugged])?;
        took.push(started.elapsed().as_millis() as u64);
        println!("{}", ping(&pair)?);
    }
    let (median, worst) = median_and_worst(&took);
    println!(
        "both sides use the other cable after: median {median} ms, worst {worst} ms: {took:?}"
    );
    Ok(())
}

#[test]
fn a_dead_cable_a_stranger_and_a_new_configuration_do_not_disturb_the_rest() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let mut pair = pair()?;
    bond(&mut pair, FAST)?;
    lagg(&pair, FAST)?;
    agree(&mut pair, &[0, 1])?;
    // Only one end sees that the cable is out: the other hears nothing any more and gives the port up.
    for nr in [0, 1] {
        pair.peer.set_link(nr, false)?;
        agree(&mut pair, &[1 - nr])?;
        println!("{}", ping(&pair)?);
        pair.peer.set_link(nr, true)?;
        agree(&mut pair, &[0, 1])?;
        pair.vm.set_link(nr, false)?;
        agree(&mut pair, &[1 - nr])?;
        println!("{}", ping(&pair)?);
        pair.vm.set_link(nr, true)?;
        agree(&mut pair, &[0, 1])?;
    }
    // The same configuration with another rule: nobody notices.
    let end = SocketAddr::new(SERVER.parse().expect("an address"), 9);
    let stream = Datagrams::start(pair.client(), pair.server(), end)?;
    std::thread::sleep(OUT);
    let first = stream.next();
    for rule in ["pass in on lagg0 proto tcp to port 22\n", ""] {
        lagg_with(&pair, FAST, rule)?;
    }
    std::thread::sleep(OUT);
    let last = stream.next();
    let arrived = stream.finish()?;
    println!(
        "two new configurations: {} of {} lost",
        arrived.lost(first, last),
        last - first
    );
    assert_eq!(fugu_ports(&pair)?, ["vio0", "vio1"]);
    // A port of a switch that is no member of the aggregation any more, and does not speak.
    pair.peer
        .setup("ip link set eth1 nomaster\nip link set eth1 up")?;
    wait("a port that nobody speaks on is given up", || {
        Ok((fugu_ports(&pair)? == ["vio0"]).then_some(()))
    })?;
    println!("{}", ping(&pair)?);
    // The other port becomes one of another bond: another partner is not taken beside the first.
    pair.peer.setup(
        "ip link add bond1 type bond mode 802.3ad miimon 100 lacp_rate fast
         ip link set eth1 down
         ip link set eth1 master bond1
         ip link set bond1 up",
    )?;
    std::thread::sleep(Duration::from_secs(6));
    assert_eq!(fugu_ports(&pair)?, ["vio0"]);
    println!("{}", ping(&pair)?);
    Ok(())
}
