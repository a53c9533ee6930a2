//! What users of a firewall do all day, through the real program: downloads, datagrams, ping, traceroute, and finding out
//! how large a packet may be. IPv4 and IPv6.

use net_tests::clients::{
    download, echoes, forget_paths, has_learned, one_router_on_the_way, ping, serve_large,
};
use net_tests::{
    BASE_RULES, Etc, INSIDE, INSIDE6, OUTSIDE, OUTSIDE6, Plan, Port, ROUTER_INSIDE, ROUTER_INSIDE6,
    Result, Site, serve_echo, skip,
};

/// Of the narrow link.
const NARROW: usize = 1300;

#[test]
fn ten_megabytes_arrive_unharmed() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(BASE_RULES)?;
    let (_web, content) = serve_large(site.host(Port::Outside))?;
    for from in [OUTSIDE, OUTSIDE6] {
        download(&site, site.host(Port::Inside), from, &content)?;
    }
    Ok(())
}

#[test]
fn two_workers_carry_the_same_download() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::open(&Plan::default().with_two_workers())?;
    let workers = site.get("/v1/status")?["workers"]
        .as_array()
        .map_or(0, Vec::len);
    assert_eq!(workers, 2);
    let (_web, content) = serve_large(site.host(Port::Outside))?;
    // Several connections, so that both workers own some.
    for from in [OUTSIDE, OUTSIDE6, OUTSIDE, OUTSIDE6] {
        download(&site, site.host(Port::Inside), from, &content)?;
    }
    let status = site.get("/v1/status")?;
    let packets: Vec<u64> = status["workers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|worker| worker["packets"].as_u64())
        .collect();
    println!("packets by worker: {packets:?}");
    assert!(packets.iter().all(|count| *count > 0), "{packets:?}");
    Ok(())
}

#[test]
fn datagrams_of_every_size_come_back() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(BASE_RULES)?;
    let echo = serve_echo(site.host(Port::Outside), 7)?;
    let sizes = [0, 1, 17, 18, 19, 512, 1400, 1452];
    for to in [OUTSIDE, OUTSIDE6] {
        echoes(site.host(Port::Inside), to, 7, &sizes)?;
    }
    assert_eq!(echo.heard(), 2 * sizes.len() as u64);
    println!("{} datagrams there and back", echo.heard());
    Ok(())
}

#[test]
fn ping_and_traceroute_see_the_firewall_as_a_router() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(BASE_RULES)?;
    for (to, router) in [(OUTSIDE, ROUTER_INSIDE), (OUTSIDE6, ROUTER_INSIDE6)] {
        let said = ping(site.host(Port::Inside), to, &[])?;
        println!("{to}: {}", hosts::last_line(&said));
        // The router counts as a hop.
        assert!(said.contains("ttl=63"), "{said}");
        // The firewall itself answers as well.
        site.inside(&["ping", "-c1", "-W2", router])?;
        one_router_on_the_way(&site, router, to)?;
    }
    Ok(())
}

#[test]
fn senders_learn_how_large_a_packet_may_be() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let rules = format!("{BASE_RULES}pass in on ap0 proto tcp to port 80\npass out on ap1\n");
    let narrow = format!("inet 192.0.2.1/24\ninet6 2001:db8:1::1/64\nmtu {NARROW}\n");
    let site = Site::open(&Plan {
        etc: Etc::with_rules(&rules).with("hostname.ap0", &narrow),
        ..Plan::default()
    })?;
    for (to, wanted) in [
        (OUTSIDE, "Frag needed and DF set (mtu = 1300)"),
        (OUTSIDE6, "Packet too big: mtu=1300"),
    ] {
        let said = site
            .host(Port::Inside)
            .run(&["ping", "-c1", "-W2", "-M", "do", "-s1400", to])?
            .text;
        assert!(said.contains(wanted), "{said}");
        println!("{to}: {wanted}");
        assert!(has_learned(&site, Port::Inside, to, NARROW)?, "{to}");
        forget_paths(site.host(Port::Inside))?;
    }
    // The server is inside: it is the one who has to learn.
    let (_web, content) = serve_large(site.host(Port::Inside))?;
    for from in [INSIDE, INSIDE6] {
        download(&site, site.host(Port::Outside), from, &content)?;
    }
    let too_large = site.reason("mtu")?;
    println!("{too_large} packets were too large");
    assert!(too_large >= 4, "{too_large}");
    Ok(())
}
