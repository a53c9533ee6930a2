//! New rules while connections go on: what is new obeys them, what is old is left alone.

use net_tests::{
    Context, Crowd, Etc, Failure, OUTSIDE, OUTSIDE6, PATIENCE, Port, Result, Site, TOKEN, skip,
};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

const CROWD_PORT: u16 = 7000;
const RELOADS: usize = 100;
const CONNECTIONS: usize = 1000;

const OPEN: &str = "\
block return
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
pass quick inet6 proto icmp6 icmp6-type { neighbrsol, neighbradv }
pass in on ap1 proto tcp to port { 80, 7000 }
pass out on ap0
";
/// The verdict flipped.
const SHUT: &str = "\
block return
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
pass quick inet6 proto icmp6 icmp6-type { neighbrsol, neighbradv }
pass in on ap1 proto tcp to port 81
pass out on ap0
";
/// Two mistakes.
const BROKEN: &str = "\
block return
pass in on ap1 proto tcp to port 99999
pass in on ap1 proto tcp too any port 80
";

fn crowd(site: &Site, to: &str, size: usize) -> Result<Crowd> {
    let to = SocketAddr::new(to.parse().context(to)?, CROWD_PORT);
    Crowd::start(site.host(Port::Inside), site.host(Port::Outside), to, size)
}

/// How a new connection ends.
fn dial(site: &Site, to: &str, port: u16) -> Result<Option<ErrorKind>> {
    Ok(site
        .dial(to, port, PATIENCE)?
        .err()
        .map(|error| error.kind()))
}

#[test]
fn a_second_bundle_flips_the_verdict_and_old_connections_go_on() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(OPEN)?;
    let ports = [80, 81];
    let _listening: Vec<TcpListener> = site.host(Port::Outside).inside(|| {
        ports
            .iter()
            .map(|port| TcpListener::bind(("::", *port)).context(port))
            .collect()
    })?;
    let crowds = [crowd(&site, OUTSIDE, 1)?, crowd(&site, OUTSIDE6, 1)?];
    for (rules, open, shut) in [(SHUT, 81, 80), (OPEN, 80, 81), (SHUT, 81, 80)] {
        let started = Instant::now();
        site.accept(&Etc::with_rules(rules))?;
        println!("pushed and in force after {:?}", started.elapsed());
        for to in [OUTSIDE, OUTSIDE6] {
            assert_eq!(dial(&site, to, open)?, None, "{to}");
            assert_eq!(
                dial(&site, to, shut)?,
                Some(ErrorKind::ConnectionRefused),
                "{to}"
            );
        }
        crowds.iter().try_for_each(Crowd::must_go_on)?;
    }
    for crowd in crowds {
        println!("{} bytes each way", crowd.finish()?);
    }
    Ok(())
}

#[test]
fn a_broken_bundle_is_refused_with_places_and_nothing_changes() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(OPEN)?;
    let talk = crowd(&site, OUTSIDE, 1)?;
    let before = site.policy()?;
    let refused = site.get("/v1/status")?["uploads_refused"].as_u64();
    let output =
        site.push(&Etc::with_rules(BROKEN).with("hostname.ap0", "inet 192.0.2.999/24\n"))?;
    println!("{}", output.text);
    assert_eq!(output.status, Some(1), "{}", output.text);
    for place in ["pf.conf:2:", "pf.conf:3:", "hostname.ap0:1:"] {
        let told = |line: &str| {
            let rest = line.strip_prefix(place)?;
            let (column, rest) = rest.split_once(": error: ")?;
            Some(column.parse::<u32>().is_ok() && !rest.is_empty())
        };
        assert!(
            output.text.lines().any(|line| told(line) == Some(true)),
            "no {place} in {}",
            output.text
        );
    }
    assert_eq!(site.policy()?, before);
    let now = site.get("/v1/status")?["uploads_refused"].as_u64();
    assert_eq!(now, refused.map(|count| count + 1));
    talk.must_go_on()?;
    talk.finish()?;
    Ok(())
}

/// The states of the crowd: id to the whole state.
fn states(site: &Site) -> Result<BTreeMap<u64, Value>> {
    let states = site.get("/v1/states?limit=10000")?;
    let all = states.as_array().into_iter().flatten();
    let ours = all.filter(|state| state["dst"]["port"] == CROWD_PORT);
    Ok(ours
        .filter_map(|state| Some((state["id"].as_u64()?, state.clone())))
        .collect())
}

/// A different bundle each time, so that each is a reload: even ones let the crowd's port pass, odd ones do not.
fn reload(site: &Site, n: usize) -> Result<Duration> {
    let rules = if n.is_multiple_of(2) { OPEN } else { SHUT };
    let bundle = Etc::with_rules(&format!("{rules}# number {n}\n")).pack()?;
    let started = Instant::now();
    let reply = site.upload(&bundle, Some(TOKEN))?;
    let told: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if reply.status == 200 && told["result"] == "applied" {
        return Ok(started.elapsed());
    }
    Err(Failure(format!("reload {n}: {reply:?}")))
}

#[test]
fn a_hundred_reloads_harm_none_of_a_thousand_connections() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(OPEN)?;
    let started = Instant::now();
    let crowd = crowd(&site, OUTSIDE, CONNECTIONS)?;
    crowd.must_go_on()?;
    println!(
        "{CONNECTIONS} connections after {:.2} s",
        started.elapsed().as_secs_f32()
    );
    let before = states(&site)?;
    assert_eq!(before.len(), 2 * CONNECTIONS, "one state on each interface");
    let generation = site.get("/v1/status")?["generation"].as_u64();

    let (started, rounds) = (Instant::now(), crowd.rounds());
    let mut slowest = Duration::ZERO;
    for n in 0..RELOADS {
        slowest = slowest.max(reload(&site, n)?);
        if n % 10 == 9 {
            // Data moves all the time; here it is made sure that all of them have since the last look.
            crowd.must_go_on()?;
            assert_eq!(
                dial(&site, OUTSIDE, CROWD_PORT)?,
                Some(ErrorKind::ConnectionRefused),
                "after reload {n}"
            );
        }
    }
    let took = started.elapsed();
    println!(
        "{RELOADS} reloads in {:.2} s, slowest {slowest:?}, {} rounds of all connections meanwhile",
        took.as_secs_f32(),
        crowd.rounds() - rounds
    );
    let status = site.get("/v1/status")?;
    assert_eq!(
        status["generation"].as_u64(),
        generation.map(|number| number + RELOADS as u64)
    );
    // The last rules block the port. A state that had been tested against them again would be gone or made anew.
    let after = states(&site)?;
    assert!(
        before.keys().eq(after.keys()),
        "{} states before, {} after",
        before.len(),
        after.len()
    );
    let moved = |id: &u64| {
        before[id]["counts"][0]["packets"].as_u64() < after[id]["counts"][0]["packets"].as_u64()
    };
    assert!(before.keys().all(moved), "every state went on counting");
    crowd.must_go_on()?;
    println!("{} bytes each way", crowd.finish()?);
    Ok(())
}
