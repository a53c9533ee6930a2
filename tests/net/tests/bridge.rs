//! The real program as a transparent bridge between real hosts: nobody sees a hop, the rules hold, and a spanning tree of
//! the kernel's finds its loops through it.

use hosts::last_line;
use net_tests::clients::{download_at, echoes, ping, serve_large, url_at};
use net_tests::{Etc, Failure, Plan, Port, Result, Site, serve_echo, skip, until};

/// `ap0` and `ap1` are one link.
const RULES: &str = "\
block return log
pass in quick on ap2 proto tcp to 172.16.0.1 port 80
pass in on ap1
pass in on ap0 inet6 proto icmp6
pass in on ap0 proto tcp to port 8080
pass out on { ap0 ap1 }
";
const INSIDE: &str = "192.0.2.7";
const INSIDE6: &str = "2001:db8:1::7";
const OUTSIDE: &str = "192.0.2.2";
const OUTSIDE6: &str = "2001:db8:1::2";

fn etc(bridge: &str) -> Etc {
    Etc::with_rules(RULES)
        .with("hostname.ap0", "up\n")
        .with("hostname.ap1", "up\n")
        .with("bridgename.bridge0", bridge)
}

/// The inside host is on the network of the outside one.
fn open(bridge: &str) -> Result<Site> {
    let site = Site::open(&Plan {
        etc: etc(bridge),
        ..Plan::default()
    })?;
    let inside = site.host(Port::Inside);
    inside.address(&format!("{INSIDE}/24"))?;
    inside.address(&format!("{INSIDE6}/64"))?;
    for to in [OUTSIDE, OUTSIDE6] {
        until(format!("an answer of {to}"), || {
            let got = inside.run(&["ping", "-c1", "-W1", to])?;
            Ok(got.ok().then_some(()))
        })?;
    }
    Ok(site)
}

#[test]
fn two_hosts_do_not_see_the_bridge_between_them() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = open("add ap0\nadd ap1\nup\n")?;
    let inside = site.host(Port::Inside);
    for to in [OUTSIDE, OUTSIDE6] {
        let said = ping(inside, to, &[])?;
        println!("{to}: {}", last_line(&said));
        assert!(said.contains("ttl=64"), "a hop: {said}");
    }
    let (_web, content) = serve_large(site.host(Port::Outside))?;
    for from in [OUTSIDE, OUTSIDE6] {
        download_at(&site, inside, &url_at(from, 80, "large"), &content)?;
    }
    let _echo = serve_echo(site.host(Port::Outside), 7)?;
    for to in [OUTSIDE, OUTSIDE6] {
        echoes(inside, to, 7, &[0, 18, 1400])?;
    }
    // The rules hold in the other direction.
    let refused = site
        .host(Port::Outside)
        .run(&["ping", "-c1", "-W1", INSIDE])?;
    assert!(!refused.ok(), "{}", refused.text);
    let [passed, _] = site.interface_packets("ap1", 0, 0)?;
    println!("{passed} packets of the inside");
    assert!(passed > 100, "{passed}");
    Ok(())
}

#[test]
fn a_spanning_tree_of_the_kernel_blocks_its_loop_through_the_bridge() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::open(&Plan {
        etc: etc("add ap0\nadd ap1\nstp ap0\nstp ap1\nup\n"),
        ..Plan::default()
    })?;
    // Both ends of the bridge are ports of one kernel's bridge with its spanning tree: a loop.
    let (outside, inside) = (site.host(Port::Outside), site.host(Port::Inside));
    let run = |host: &net_tests::Namespace, words: &str| -> Result<String> {
        let got = host.run(&words.split(' ').collect::<Vec<_>>())?;
        match got.ok() {
            true => Ok(got.text),
            false => Err(Failure(format!("{words}: {}", got.text))),
        }
    };
    run(inside, "ip link set eth0 down")?;
    run(
        inside,
        &format!("ip link set eth0 netns {} name eth1", outside.name()),
    )
    .or_else(|_| {
        run(inside, "ip link set eth0 name eth1")?;
        run(
            inside,
            &format!("ip link set eth1 netns {}", outside.name()),
        )
    })?;
    run(outside, "ip address flush dev eth0")?;
    run(
        outside,
        "ip link add br0 type bridge stp_state 1 priority 4096 forward_delay 400 hello_time 100 max_age 800",
    )?;
    run(outside, "ip link set eth0 master br0")?;
    run(outside, "ip link set eth1 master br0")?;
    run(outside, "ip link set eth1 up")?;
    run(outside, "ip link set br0 up")?;
    let started = std::time::Instant::now();
    until("one way through and one in reserve", || {
        let said = site.program.said();
        let settled = said.contains("bridge0: ap0: root, forwarding")
            && said.contains("bridge0: ap1: alternate, discarding");
        let other = said.contains("bridge0: ap1: root, forwarding")
            && said.contains("bridge0: ap0: alternate, discarding");
        Ok((settled || other).then_some(()))
    })?;
    println!("converged after {:.1} s", started.elapsed().as_secs_f64());
    // No storm: what is said to all comes once.
    let before = frames(&site)?;
    run(outside, "ip address add 192.0.2.2/24 dev br0")?;
    outside.run(&["ping", "-b", "-c5", "-i0.2", "-W1", "192.0.2.255"])?;
    let after = frames(&site)?;
    println!("{} frames in two seconds", after - before);
    assert!(after - before < 500, "a storm: {before} to {after}");
    Ok(())
}

/// Frames that the workers took in.
fn frames(site: &Site) -> Result<u64> {
    let status = site.get("/v1/status")?;
    let workers = status["workers"].as_array().cloned().unwrap_or_default();
    Ok(workers.iter().filter_map(|w| w["packets"].as_u64()).sum())
}
