//! Programs of everyday work through translation: bulk both ways, names whose answers come in pieces, and pings as large
//! as packets can be.

use hosts::lookup::{Record, asks, name_server};
use hosts::service;
use net_tests::clients::{WHOLE4, echoes, ping, say};
use net_tests::{
    BASE_RULES, Context, Failure, NAT_RULES, OUTSIDE, OUTSIDE6, OUTSIDE64, Plan, Port,
    ROUTER_INSIDE, ROUTER_INSIDE6, ROUTER_OUTSIDE, ROUTER_OUTSIDE6, Result, Site, serve_echo, skip,
    until,
};
use serde_json::Value;

/// Bytes that iperf3 moves each way.
const BULK: u64 = 20_000_000;
const BULK_PORT: u16 = 5201;
/// Echo data in pings that come in 6 and in 41 pieces.
const LARGE_PINGS: [usize; 2] = [8_000, 60_000];

/// Runs iperf3 inside until it moved so many bytes, to or from a server outside that is there for this alone; what arrived,
/// as its report says.
fn bulk(site: &Site, to: &str, bytes: u64, words: &[&str]) -> Result<Value> {
    let _server = service::bulk(site.host(Port::Outside), BULK_PORT)?;
    let client = site.host(Port::Inside);
    let (bytes, port) = (bytes.to_string(), BULK_PORT.to_string());
    let usual = ["iperf3", "-J", "-c", to, "-p", &port, "-n", &bytes];
    let said = client.run(&[&usual, words].concat())?;
    let report: Value = serde_json::from_str(&said.text).context(format!("{to}: {}", said.text))?;
    match report["error"].as_str() {
        Some(error) => Err(Failure(format!("iperf3 {to} {}: {error}", words.join(" ")))),
        None => Ok(report["end"].clone()),
    }
}

/// TCP and UDP, to the server and from it.
fn bulk_both_ways(site: &Site, to: &str) -> Result<()> {
    for way in [&[][..], &["-R"]] {
        let end = bulk(site, to, BULK, way)?;
        let received = &end["sum_received"];
        let (bytes, speed) = (received["bytes"].as_u64(), &received["bits_per_second"]);
        println!(
            "TCP {to} {way:?}: {} bytes, {:.0} Mbit/s, {} sent again",
            bytes.unwrap_or_default(),
            speed.as_f64().unwrap_or_default() * 1e-6,
            end["sum_sent"]["retransmits"]
        );
        // The receiver counts until the sender says that it has sent everything.
        assert!(bytes.is_some_and(|n| n > BULK / 2), "{to} {way:?}: {end}");
        let words = [&["-u", "-b", "100M", "-l", "1200"], way].concat();
        let end = bulk(site, to, BULK, &words)?;
        let (lost, sent) = (
            end["sum"]["lost_packets"].as_i64(),
            end["sum"]["packets"].as_i64(),
        );
        println!("UDP {to} {way:?}: {lost:?} of {sent:?} lost");
        let arrived = sent.zip(lost).map_or(0, |(sent, lost)| sent - lost);
        // Two cores may be shared with a compiler: hosts lose datagrams as well.
        assert!(arrived > BULK as i64 / 1200 / 2, "{to} {way:?}: {end}");
    }
    Ok(())
}

#[test]
fn bulk_flows_both_ways_through_translation() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(NAT_RULES)?;
    for to in [OUTSIDE, OUTSIDE6, OUTSIDE64] {
        bulk_both_ways(&site, to)?;
    }
    Ok(())
}

#[test]
fn bulk_flows_both_ways_through_translation_by_two_workers() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::open(&Plan::with_rules(NAT_RULES).with_two_workers())?;
    for to in [OUTSIDE, OUTSIDE6, OUTSIDE64] {
        // What is on the way when the sender has done is not counted: of four connections that is some megabytes.
        let (bytes, words) = (4 * BULK, ["-P4"]);
        for way in [&[][..], &["-R"]] {
            let end = bulk(&site, to, bytes, &[&words, way].concat())?;
            let received = end["sum_received"]["bytes"].as_u64();
            println!("4 connections {to} {way:?}: {received:?} bytes");
            assert!(received.is_some_and(|n| n > bytes / 2), "{to}: {end}");
        }
    }
    Ok(())
}

#[test]
fn answers_of_name_servers_arrive_in_pieces() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(NAT_RULES)?;
    let (outside, inside) = (site.host(Port::Outside), site.host(Port::Inside));
    {
        let (_server, records) = name_server(outside)?;
        asks(inside, OUTSIDE, in_whole(&records))?;
        asks(inside, OUTSIDE64, in_whole(&records))?;
        asks(inside, OUTSIDE6, &records)?;
    }
    let (_server, records) = name_server(inside)?;
    asks(outside, ROUTER_OUTSIDE, in_whole(&records))?;
    asks(outside, ROUTER_OUTSIDE6, &records)
}

/// Records whose answers come whole from DPDK, see [`net_tests::clients::WHOLE4`].
fn in_whole(records: &[Record]) -> &[Record] {
    &records[..2]
}

/// Pings of every size from inside.
fn large_pings(site: &Site, to: &[&str], sizes: &[usize]) -> Result<()> {
    for (to, size) in to
        .iter()
        .flat_map(|to| sizes.iter().map(move |size| (*to, size)))
    {
        let said = ping(site.host(Port::Inside), to, &["-s", &size.to_string()])?;
        println!("{size} bytes to {to}: {}", hosts::last_line(&said));
    }
    Ok(())
}

#[test]
fn pings_of_many_pieces_are_answered() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(BASE_RULES)?;
    large_pings(&site, &[OUTSIDE6, ROUTER_INSIDE6], &LARGE_PINGS)?;
    large_pings(&site, &[OUTSIDE, ROUTER_INSIDE], &[WHOLE4])
}

#[test]
fn pings_of_many_pieces_are_translated() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let plan = Plan::with_rules(NAT_RULES);
    for plan in [plan.clone(), plan.with_two_workers()] {
        let site = Site::open(&plan)?;
        large_pings(&site, &[OUTSIDE6], &LARGE_PINGS)?;
        large_pings(&site, &[OUTSIDE, OUTSIDE64], &[WHOLE4])?;
    }
    Ok(())
}

#[test]
fn datagrams_of_many_pieces_change_their_family() -> Result<()> {
    if skip() {
        return Ok(());
    }
    let site = Site::with_rules(NAT_RULES)?;
    let echo = serve_echo(site.host(Port::Outside), 7)?;
    let inside = site.host(Port::Inside);
    // The first teaches everybody their neighbors.
    echoes(inside, OUTSIDE64, 7, &[1, WHOLE4])?;
    for size in [8_000, 60_000] {
        // The host outside gets IPv4 pieces; what it answers would come joined, see `WHOLE4`.
        let before = echo.heard();
        say(inside, OUTSIDE64, 7, size)?;
        until(format!("{size} bytes"), || {
            Ok((echo.heard() > before).then_some(()))
        })?;
        println!("{size} bytes came from IPv6 to IPv4 in pieces");
    }
    Ok(())
}
