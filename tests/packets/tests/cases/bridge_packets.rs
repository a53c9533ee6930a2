//! Bridges and PF: in on the member that a packet came by, out on each that it leaves by; the box's own address in a
//! bridge; packets that leave it another way.

use net::InterfaceId;
use packets::packet::{Error, error};
use packets::{Packet, Rig, Topology, echo, echo_reply, everywhere, tcp, udp};
use wire::ether::Addr;

/// A station behind `sim0`.
pub(crate) const A: Addr = Addr([2, 0xaa, 0, 0, 0, 0xa]);
/// A station behind `sim1`.
pub(crate) const B: Addr = Addr([2, 0xaa, 0, 0, 0, 0xb]);
/// A station behind `sim2`.
pub(crate) const C: Addr = Addr([2, 0xaa, 0, 0, 0, 0xc]);

const A4: &str = "192.0.2.2";
const B4: &str = "192.0.2.3";
const A6: &str = "2001:db8:1::2";
const B6: &str = "2001:db8:1::3";

/// A bridge of two members without addresses.
pub(crate) fn two() -> Topology {
    Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &[])
        .bridge("bridge0", &["sim0", "sim1"], &[])
}

/// A bridge of three.
pub(crate) fn three() -> Topology {
    Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &[])
        .interface("sim2", &[])
        .bridge("bridge0", &["sim0", "sim1", "sim2"], &[])
}

/// A packet in a frame from one station to another.
pub(crate) fn between(packet: &Packet, src: Addr, dst: Addr) -> Vec<u8> {
    packet.frame(src, dst)
}

fn at(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Both families, with the digit that counters have.
const FAMILIES: [(&str, &str, &str); 2] = [(A4, B4, "4"), (A6, B6, "6")];

/// One frame in, these out, and what is counted; `#` is the digit of the family.
fn through(
    rig: &mut Rig,
    from: &str,
    frame: &[u8],
    out: &[(&str, Vec<u8>)],
    digit: &str,
    counted: &str,
) {
    rig.send_frame(from, frame);
    for (port, frame) in out {
        rig.expect_frame(port, frame);
    }
    rig.counted(&counted.replace('#', digit));
}

/// Both stations have said something.
fn introduced(rig: &mut Rig) {
    let hello = |src: Addr| {
        let mut frame = vec![0; 60];
        frame[..6].fill(0xff);
        frame[6..12].copy_from_slice(&src.0);
        frame[12..14].copy_from_slice(&[0x88, 0xb5]);
        frame
    };
    rig.send_frame("sim0", &hello(A));
    rig.send_frame("sim1", &hello(B));
    rig.ignore_rest();
    rig.mark();
}

#[test]
fn a_connection_has_a_state_on_each_side_and_keeps_its_stations_and_its_ttl() {
    for (a, b, digit) in FAMILIES {
        everywhere("pass", &two(), |rig| {
            introduced(rig);
            let there = between(&tcp(&at(a, 1000), &at(b, 80), "S").ttl(1), A, B);
            through(
                rig,
                "sim0",
                &there,
                &[("sim1", there.clone())],
                digit,
                "received passed searches 2 sim0.in#.pass sim1.out#.pass r0.evals 2 r0.in r0.out r0.made 2",
            );
            let back = tcp(&at(b, 80), &at(a, 1000), "SA").ack(1);
            let back = between(&back, B, A);
            through(
                rig,
                "sim1",
                &back,
                &[("sim0", back.clone())],
                digit,
                "received passed searches sim1.in#.pass sim0.out#.pass r0.in r0.out",
            );
            // The established path: one look-up.
            let on = tcp(&at(a, 1000), &at(b, 80), "A").seq(1).ack(1);
            let on = between(&on, A, B);
            through(
                rig,
                "sim0",
                &on,
                &[("sim1", on.clone())],
                digit,
                "received passed searches sim0.in#.pass sim1.out#.pass r0.in r0.out",
            );
        });
    }
}

#[test]
fn pf_is_asked_on_the_member_that_it_comes_in_by_and_on_the_one_that_it_leaves_by() {
    let policy = "pass\nblock in on sim0 proto udp to port 1\nblock out on sim1 proto udp to port 2\nblock in on bridge0";
    everywhere(policy, &two(), |rig| {
        introduced(rig);
        let packet = |port| between(&udp(&at(A4, 1000), &at(B4, port)), A, B);
        through(
            rig,
            "sim0",
            &packet(1),
            &[],
            "4",
            "received drop:match searches sim0.in4.block r0.evals r1.evals r1.in r2.evals r3.evals",
        );
        rig.send_frame("sim0", &packet(2));
        let changes = rig.changes();
        assert_eq!(changes.get("drop:match"), Some(&1));
        assert_eq!(changes.get("sim1.out4.block"), Some(&1));
        rig.expect_nothing_more();
        rig.send_frame("sim0", &packet(3));
        rig.expect_frame("sim1", &packet(3));
        rig.expect_nothing_more();
    });
}

#[test]
fn a_packet_for_all_is_judged_on_each_member_that_it_leaves_by() {
    // A floating state of one member would speak for the others, as in PF.
    let policy = "pass no state\nblock out on sim1 proto udp to port 9";
    everywhere(policy, &three(), |rig| {
        // Nobody knows B yet.
        let packet = |port| between(&udp(&at(A4, 1000), &at(B4, port)), A, B);
        let free = packet(8);
        rig.send_frame("sim0", &free);
        rig.expect_frame("sim1", &free);
        rig.expect_frame("sim2", &free);
        let changes = rig.changes();
        for (name, n) in [
            ("sim1.out4.pass", 1),
            ("sim2.out4.pass", 1),
            ("sim0.in4.pass", 1),
        ] {
            assert_eq!(changes.get(name), Some(&n), "{name}");
        }
        let blocked = packet(9);
        rig.mark();
        rig.send_frame("sim0", &blocked);
        rig.expect_frame("sim2", &blocked);
        rig.expect_nothing_more();
        let changes = rig.changes();
        assert_eq!(changes.get("sim1.out4.block"), Some(&1));
        assert_eq!(changes.get("sim2.out4.pass"), Some(&1));
    });
}

#[test]
fn what_is_blocked_is_answered_on_the_bridge_without_any_address() {
    for (a, b, digit) in FAMILIES {
        everywhere("block return", &two(), |rig| {
            introduced(rig);
            let syn = tcp(&at(a, 1000), &at(b, 80), "S").seq(7);
            let reset = tcp(&at(b, 80), &at(a, 1000), "RA")
                .window(0)
                .ident(0)
                .df()
                .seq(0)
                .ack(8);
            through(
                rig,
                "sim0",
                &between(&syn, A, B),
                &[("sim0", between(&reset, B, A))],
                digit,
                "received drop:match generated passed searches sim0.in#.block r0.evals r0.in",
            );
            let datagram = udp(&at(a, 1000), &at(b, 53));
            rig.send_frame("sim0", &between(&datagram, A, B));
            let told = rig.take("sim0").expect("an answer");
            assert_eq!(told[..6], A.0);
            assert_eq!(told[6..12], B.0);
            rig.expect_nothing_more();
        });
    }
}

#[test]
fn what_is_too_large_for_a_member_is_cut_or_refused() {
    let topology = two().mtu("sim1", 1300);
    everywhere("pass", &topology, |rig| {
        introduced(rig);
        let large = udp(&at(A4, 1000), &at(B4, 1)).data(1400);
        rig.send_frame("sim0", &between(&large, A, B));
        for piece in large.pieces(1280) {
            rig.expect_frame("sim1", &between(&piece, A, B));
        }
        rig.expect_nothing_more();
        let whole = large.clone().df();
        rig.send_frame("sim0", &between(&whole, A, B));
        let told = error(B4, &whole, Error::TooBig(1300)).as_box_error(&whole);
        rig.expect_frame("sim0", &between(&told, B, A));
        rig.expect_nothing_more();
    });
}

#[test]
fn pieces_are_joined_for_the_rules_and_cut_again() {
    let policy = "block\npass proto udp to port 53";
    everywhere(policy, &two(), |rig| {
        introduced(rig);
        for (port, passes) in [(53, true), (54, false)] {
            let large = udp(&at(A4, 1000), &at(B4, port)).ident(port).data(3000);
            let pieces = large.pieces(1480);
            for piece in &pieces {
                rig.send_frame("sim0", &between(piece, A, B));
            }
            for piece in pieces.iter().filter(|_| passes) {
                rig.expect_frame("sim1", &between(piece, A, B));
            }
            rig.expect_nothing_more();
        }
    });
}

/// The set-up of "Stupid Bridge Tricks": a bridge of `sim0` (inside) and `sim1` (towards the old uplink, with an
/// address), and `sim2` with a second uplink.
fn tricks() -> Topology {
    Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &["192.0.2.1/24", "2001:db8:1::1/64"])
        .interface("sim2", &["198.51.100.64/24"])
        .host(&["198.51.100.1"])
        .behind(&["0.0.0.0/0"])
        .bridge("bridge0", &["sim0", "sim1"], &[])
        .route("0.0.0.0/0", "192.0.2.254")
}

/// The box knows where A is, and A the box.
fn met(rig: &mut Rig) {
    let own = rig.mac("sim1");
    let ping = echo(A4, "192.0.2.1", 1, 1);
    // A asks who the box is; the answer comes by the member that A is behind.
    let mut question = vec![0; 42];
    question[..6].fill(0xff);
    question[6..12].copy_from_slice(&A.0);
    question[12..14].copy_from_slice(&[8, 6]);
    question[14..22].copy_from_slice(&[0, 1, 8, 0, 6, 4, 0, 1]);
    question[22..28].copy_from_slice(&A.0);
    question[28..32].copy_from_slice(&[192, 0, 2, 2]);
    question[38..42].copy_from_slice(&[192, 0, 2, 1]);
    rig.send_frame("sim0", &question);
    let answer = rig.take("sim0").expect("an answer");
    assert_eq!((&answer[..6], &answer[6..12]), (&A.0[..], &own.0[..]));
    rig.expect_frame("sim1", &question);
    rig.send_frame("sim0", &between(&ping, A, own));
    rig.expect_host(&ping);
    rig.expect_nothing_more();
    // Workers that did not hear the question are told when they need to know.
    for port in 1..32 {
        rig.host_sends(&udp(&at("192.0.2.1", port), &at(A4, 7)));
    }
    rig.ignore_rest();
    rig.mark();
}

#[test]
fn an_address_on_a_member_is_there_for_both_sides() {
    let policy = "block\npass in on sim1 proto icmp\npass out on sim1";
    everywhere(policy, &tricks(), |rig| {
        met(rig);
        let pong = echo_reply("192.0.2.1", A4, 1, 1);
        rig.host_sends(&pong);
        let own = rig.mac("sim1");
        // Out on the interface with the address, by the member that the station is behind.
        rig.expect_frame("sim0", &between(&pong, own, A));
        rig.counted("from_host passed searches sim1.out4.pass r1.out");
    });
}

#[test]
fn a_neighbor_is_looked_for_on_all_members() {
    everywhere("pass", &tricks(), |rig| {
        rig.host_sends(&udp("192.0.2.1:1", "192.0.2.77:1"));
        for port in ["sim0", "sim1"] {
            let question = rig.take(port).expect("a question");
            assert_eq!(question[..6], [0xff; 6], "{port}");
            assert_eq!(question[38..42], [192, 0, 2, 77]);
        }
        rig.expect_nothing_more();
        rig.ignore_rest();
    });
}

#[test]
fn chosen_traffic_leaves_the_bridge_by_another_uplink_and_comes_back() {
    let policy = "match out on sim2 from 192.0.2.0/24 nat-to (sim2)\npass\n\
                  pass in quick on sim0 proto tcp from 192.0.2.2 to any port 80 route-to 198.51.100.1 label DSL-1";
    everywhere(policy, &tricks(), |rig| {
        met(rig);
        let syn = tcp(&at(A4, 1000), "203.0.113.9:80", "S");
        rig.send_frame("sim0", &between(&syn, A, B));
        let out = rig.take("sim2").expect("by the second uplink");
        assert_eq!(
            out[..6],
            rig.station("sim2", "198.51.100.1".parse().unwrap()).0
        );
        assert_eq!(out[6..12], rig.mac("sim2").0);
        assert_eq!(
            out[26..30],
            [198, 51, 100, 64],
            "its source is the uplink's"
        );
        assert_eq!(out[22], 63, "it was routed");
        rig.expect_nothing_more();
        let port = u16::from_be_bytes([out[34], out[35]]);
        let answer = tcp("203.0.113.9:80", &format!("198.51.100.64:{port}"), "SA").ack(1);
        rig.send("sim2", &answer);
        let back = rig.take("sim0").expect("back to A");
        assert_eq!(
            (&back[..6], &back[6..12]),
            (&A.0[..], &rig.mac("sim1").0[..])
        );
        assert_eq!(back[30..34], [192, 0, 2, 2]);
        rig.expect_nothing_more();
        // Everything else stays on the bridge.
        let other = between(&tcp(&at(A4, 1001), "203.0.113.9:81", "S"), A, B);
        rig.send_frame("sim0", &other);
        rig.expect_frame("sim1", &other);
        rig.expect_nothing_more();
    });
}

#[test]
fn an_address_on_the_bridge_itself() {
    let topology = Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &[])
        .bridge("bridge0", &["sim0", "sim1"], &["192.0.2.1/24"]);
    everywhere("block\npass in on bridge0", &topology, |rig| {
        let own = rig.config().interfaces.get(InterfaceId(2)).unwrap().mac;
        let ping = echo(A4, "192.0.2.1", 1, 1);
        rig.send_frame("sim0", &between(&ping, A, own));
        rig.expect_host(&ping);
        rig.counted("received to_host searches bridge0.in4.pass r0.evals r1.evals r1.in r1.made");
    });
}

#[test]
fn a_rule_of_the_bridge_tags_for_pf() {
    let policy = "block\npass in on sim0 tagged friend\npass out on sim1";
    let topology = two().bridged(|b| {
        b.rules.push(net::bridge::MacRule {
            block: false,
            inbound: true,
            outbound: false,
            member: InterfaceId(0),
            src: Some(A),
            dst: None,
            tag: 1,
            arp: None,
        });
    });
    everywhere(policy, &topology, |rig| {
        introduced(rig);
        let packet = udp(&at(A4, 1), &at(B4, 1));
        through(
            rig,
            "sim0",
            &between(&packet, C, B),
            &[],
            "4",
            "received drop:match searches sim0.in4.block r0.evals r1.evals r2.evals r0.in",
        );
        rig.send_frame("sim0", &between(&packet, A, B));
        rig.expect_frame("sim1", &between(&packet, A, B));
        rig.expect_nothing_more();
    });
}
