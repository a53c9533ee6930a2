//! IP options and extension headers: which need `allow-opts`, which never pass. Behaviors are named as PF's own tests
//! name them.

use packets::{Packet, Topology, echo, everywhere, raw};

use crate::{A, A6, B, B6};

/// Hop-by-hop options.
const HOP: u8 = 0;
/// Destination options.
const DEST: u8 = 60;
const ROUTING: u8 = 43;

/// Passes by an `allow-opts` rule only; or never, and for which reason.
fn check(packet: &Packet, fate: Result<bool, &str>) {
    let usual = Topology::usual();
    for allowed in [false, true] {
        let policy = if allowed { "pass allow-opts" } else { "pass" };
        let passes = match fate {
            Ok(needs) => allowed || !needs,
            Err(_) => false,
        };
        everywhere(policy, &usual, |rig| {
            rig.send("sim0", packet);
            if passes {
                rig.expect("sim1", &packet.hop());
            } else {
                let reason = fate.err().unwrap_or("ip-option");
                let changes = rig.changes();
                assert_eq!(
                    changes.get(&format!("drop:{reason}")),
                    Some(&1),
                    "{changes:?}"
                );
            }
            rig.expect_nothing_more();
        });
    }
}

fn ping4(options: &[u8]) -> Packet {
    echo(A, B, 1, 1).options(options)
}

fn ping6() -> Packet {
    echo(A6, B6, 1, 1)
}

#[test]
fn record_route_needs_allow_opts() {
    check(&ping4(&[7, 7, 4, 0, 0, 0, 0, 0]), Ok(true));
}

#[test]
fn a_header_of_padding_alone_needs_allow_opts() {
    check(&ping4(&[1, 1, 1, 0]), Ok(true));
}

#[test]
fn a_router_alert_outside_of_igmp_needs_allow_opts() {
    check(&ping4(&[148, 4, 0, 0]), Ok(true));
}

#[test]
fn options_that_are_malformed_never_pass() {
    check(&ping4(&[7, 1, 0, 0]), Err("ip-option"));
    check(&ping4(&[7, 5, 0, 0]), Err("ip-option"));
}

#[test]
fn icmp6_pad_max_ra_bad_hop_by_hop_options_need_allow_opts() {
    // Padding; the longest header there is of it; a router alert; an option that ends beyond the header.
    check(&ping6().extension(HOP, &[0, 1, 4, 0, 0, 0, 0]), Ok(true));
    let mut long = vec![31, 1, 252];
    long.resize(255, 0);
    check(&ping6().extension(HOP, &long), Ok(true));
    check(&ping6().extension(HOP, &[0, 5, 2, 0, 0, 1, 0]), Ok(true));
    check(
        &ping6().extension(HOP, &[0, 1, 9, 0, 0, 0, 0]),
        Err("ip-option"),
    );
}

#[test]
fn destination_options_and_routing_headers_need_allow_opts() {
    check(&ping6().extension(DEST, &[0, 1, 4, 0, 0, 0, 0]), Ok(true));
    check(
        &ping6().extension(ROUTING, &[0, 2, 0, 0, 0, 0, 0]),
        Ok(true),
    );
}

#[test]
fn headers_in_wrong_places_and_routing_type_0_never_pass() {
    let pad = [0, 1, 4, 0, 0, 0, 0];
    let hop_second = ping6().extension(DEST, &pad).extension(HOP, &pad);
    check(&hop_second, Err("ip-option"));
    let routing = [0, 2, 0, 0, 0, 0, 0];
    let twice = ping6()
        .extension(ROUTING, &routing)
        .extension(ROUTING, &routing);
    check(&twice, Err("ip-option"));
    let type0 = ping6().extension(ROUTING, &[0, 0, 0, 0, 0, 0, 0]);
    check(&type0, Err("ip-option"));
    // Also behind a fragment header.
    let hidden = ping6()
        .extension(44, &[0, 0, 0, 0, 0, 0, 7])
        .extension(ROUTING, &[0, 0, 0, 0, 0, 0, 0]);
    check(&hidden, Err("ip-option"));
}

#[test]
fn jumbograms_and_endless_chains_never_pass() {
    check(
        &ping6().extension(HOP, &[0, 0xc2, 4, 0, 1, 0, 0]),
        Err("ip-option"),
    );
    let mut endless = ping6();
    for _ in 0..25 {
        endless = endless.extension(DEST, &[0, 1, 4, 0, 0, 0, 0]);
    }
    check(&endless, Err("ip-option"));
}

#[test]
fn a_short_chain_in_a_whole_packet_never_passes() {
    let short = raw(A6, B6, DEST, &[58, 9, 0, 0, 0, 0, 0, 0]);
    check(&short, Err("short"));
}

/// A report in both families, as hosts send it, with these options.
fn report4(options: &[u8], ttl: u8) -> Packet {
    raw(A, "224.0.0.22", 2, &[0x22, 0, 0, 0, 0, 0, 0, 0])
        .ttl(ttl)
        .options(options)
}

fn report6(from: &str, hop: &[u8], ttl: u8) -> Packet {
    packets::packet::icmp_message(from, "ff02::16", 143, 0, [0, 0, 0, 0], &[])
        .ttl(ttl)
        .extension(HOP, hop)
}

/// Nobody here listens to these groups: what the rules let in is dropped as multicast.
fn listened(packet: &Packet, reason: &str) {
    everywhere("pass", &Topology::usual(), |rig| {
        rig.send("sim0", packet);
        rig.expect_nothing_more();
        let changes = rig.changes();
        assert_eq!(
            changes.get(&format!("drop:{reason}")),
            Some(&1),
            "{changes:?}"
        );
    });
}

#[test]
fn igmp_ra_and_mld_ra_pass_without_allow_opts() {
    const LINK: &str = "fe80::2";
    listened(&report4(&[148, 4, 0, 0], 1), "multicast");
    listened(&report6(LINK, &[0, 5, 2, 0, 0, 1, 0], 1), "multicast");
    // With more than the alert they do not.
    listened(
        &report4(&[148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0], 1),
        "ip-option",
    );
    // Nor malformed ones.
    listened(&report4(&[148, 9, 0, 0], 1), "ip-option");
    listened(&report6(LINK, &[0, 5, 9, 0, 0, 1, 0], 1), "ip-option");
}

#[test]
fn mld_from_beyond_the_link_is_dropped_and_counted() {
    listened(&report6("fe80::2", &[0, 5, 2, 0, 0, 1, 0], 2), "ip-option");
    listened(&report6(A6, &[0, 5, 2, 0, 0, 1, 0], 1), "ip-option");
    let all_hosts = raw(A, "224.0.0.1", 2, &[0x11, 0, 0, 0, 0, 0, 0, 0]);
    listened(&all_hosts.clone().ttl(2), "ip-option");
}
