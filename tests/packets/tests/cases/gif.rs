//! Tunnels: rules are asked on the tunnel for what is inside and on the interface below for what is around it.

use packets::packet::raw;
use packets::packet::{Error, error};
use packets::{Packet, Rig, Topology, echo, everywhere, udp};

/// Inside is `sim0`, the other ends of both tunnels are behind `sim1`.
fn topology() -> Topology {
    Topology::new()
        .interface("sim0", &["10.0.0.1/24", "2001:db8:1::1/64"])
        .host(&["10.0.0.2", "2001:db8:1::2"])
        .interface("sim1", &["192.0.2.1/24", "2001:db8:f::1/64"])
        .host(&["192.0.2.2", "2001:db8:f::2"])
        .gif(
            "gif0",
            "192.0.2.1",
            "192.0.2.2",
            &["10.9.0.1/24", "2001:db8:9::1/64"],
        )
        .gif(
            "gif1",
            "2001:db8:f::1",
            "2001:db8:f::2",
            &["10.10.0.1/24", "2001:db8:10::1/64"],
        )
        .route("10.99.0.0/16", "10.9.0.2")
        .route("10.98.0.0/16", "10.10.0.2")
        .route("2001:db8:99::/48", "2001:db8:9::2")
        .route("2001:db8:98::/48", "2001:db8:10::2")
}

/// Inner source and destination, protocol of the inner, ends of the tunnel, and its name.
const PAIRS: [(&str, &str, u8, &str, &str, &str); 4] = [
    ("10.0.0.2", "10.99.0.7", 4, "192.0.2.1", "192.0.2.2", "gif0"),
    (
        "2001:db8:1::2",
        "2001:db8:99::7",
        41,
        "192.0.2.1",
        "192.0.2.2",
        "gif0",
    ),
    (
        "10.0.0.2",
        "10.98.0.7",
        4,
        "2001:db8:f::1",
        "2001:db8:f::2",
        "gif1",
    ),
    (
        "2001:db8:1::2",
        "2001:db8:98::7",
        41,
        "2001:db8:f::1",
        "2001:db8:f::2",
        "gif1",
    ),
];

fn end(addr: &str, port: u16) -> String {
    match addr.contains(':') {
        true => format!("[{addr}]:{port}"),
        false => format!("{addr}:{port}"),
    }
}

/// The frame's IP packet.
fn packet_of(frame: &[u8]) -> Vec<u8> {
    frame[14..].to_vec()
}

/// What leaves by `sim1` is `inner` within an outer packet between these ends.
fn expect_outer(rig: &mut Rig, inner: &Packet, protocol: u8, local: &str, remote: &str) {
    let frame = rig.take("sim1").expect("a packet leaves");
    let got = packet_of(&frame);
    // The box chooses the identification.
    let ident = u16::from_be_bytes([got[4], got[5]]);
    let mut expected = raw(local, remote, protocol, &inner.bytes()).tos(0);
    if !local.contains(':') {
        expected = expected.ident(ident);
    }
    assert_eq!(got, expected.bytes());
}

#[test]
fn packets_of_both_families_go_through_tunnels_of_both_and_back() {
    everywhere("pass", &topology(), |rig| {
        for (src, dst, protocol, local, remote, gif) in PAIRS {
            let there = udp(&end(src, 1000), &end(dst, 53)).data(40);
            rig.send("sim0", &there);
            expect_outer(rig, &there.hop(), protocol, local, remote);

            let back = there.answer();
            rig.send("sim1", &raw(remote, local, protocol, &back.bytes()));
            rig.expect("sim0", &back.hop());
            rig.expect_nothing_more();
            let config = rig.config();
            let number = config.interfaces.by_name(gif).unwrap().id;
            let inner = rig.states().into_iter().filter(|st| st.kif.0 == number.0);
            assert_eq!(inner.count(), 1, "{gif}: a state on the tunnel");
            rig.ignore_rest();
            rig.kill(Default::default());
        }
    });
}

#[test]
fn the_packet_inside_and_the_packet_around_it_are_counted_each_on_its_interface() {
    let mut rig = Rig::new("pass", &topology());
    let there = udp("10.0.0.2:1000", "10.99.0.7:53").data(40);
    rig.send("sim0", &there);
    expect_outer(&mut rig, &there.hop(), 4, "192.0.2.1", "192.0.2.2");
    rig.counted(
        "received generated consumed passed searches 3 sim0.in4.pass gif0.out4.pass sim1.out4.pass gif0.tx
         r0.evals 3 r0.in r0.out 2 r0.made 3",
    );
    rig.send(
        "sim1",
        &raw("192.0.2.2", "192.0.2.1", 4, &there.answer().bytes()),
    );
    rig.expect("sim0", &there.answer().hop());
    rig.counted(
        "received generated consumed passed searches 2 sim1.in4.pass gif0.in4.pass sim0.out4.pass gif0.rx
         r0.in 2 r0.out",
    );
    rig.finish();
}

#[test]
fn rules_of_the_tunnel_and_of_the_interface_below_both_decide() {
    let there = udp("10.0.0.2:1000", "10.99.0.7:53");
    for (policy, blocked) in [
        ("pass\nblock out on gif0 inet proto udp to port 53", true),
        ("pass\nblock out on sim1 proto ipencap", true),
        (
            "block\npass on sim0\npass on gif0\npass on sim1 proto ipencap",
            false,
        ),
        ("block\npass on sim0\npass on sim1", true),
    ] {
        let mut rig = Rig::new(policy, &topology());
        rig.send("sim0", &there);
        assert_eq!(rig.take("sim1").is_none(), blocked, "{policy}");
        rig.ignore_rest();
        rig.check_books();
    }
    let mut rig = Rig::new("pass\nblock in on gif0", &topology());
    rig.send(
        "sim1",
        &raw("192.0.2.2", "192.0.2.1", 4, &there.answer().bytes()),
    );
    rig.expect_nothing_more();
    rig.ignore_rest();
    rig.check_books();
}

#[test]
fn what_is_no_packet_of_a_tunnel_is_not_taken_apart() {
    let inner = udp("10.99.0.7:53", "10.0.0.2:1000");
    let mut rig = Rig::new("pass", &topology());
    // Of somebody else, and of the wrong protocol: for the local host, as any packet for us.
    let stranger = raw("192.0.2.9", "192.0.2.1", 4, &inner.bytes());
    rig.send("sim1", &stranger);
    rig.expect_host(&stranger);
    rig.ignore_rest();
    rig.mark();
    // The protocol says IPv6, the packet IPv4; and nothing at all.
    for payload in [inner.bytes(), Vec::new(), vec![0x60; 3]] {
        rig.send("sim1", &raw("192.0.2.2", "192.0.2.1", 41, &payload));
        rig.expect_nothing_more();
    }
    rig.check_books();
}

#[test]
fn inner_packets_too_large_for_the_tunnel_are_answered_with_its_mtu() {
    let mut rig = Rig::new("pass", &topology());
    rig.send(
        "sim0",
        &udp("[2001:db8:1::2]:1000", "[2001:db8:99::7]:53").data(1300),
    );
    let error = packet_of(&rig.take("sim0").expect("an error"));
    assert_eq!(
        (error[6], error[40], error[41]),
        (58, 2, 0),
        "packet too big"
    );
    assert_eq!(error[44..48], 1280u32.to_be_bytes());
    rig.ignore_rest();
    rig.check_books();
}

#[test]
fn outer_packets_too_large_for_their_way_leave_in_pieces_and_come_out_whole() {
    let topology = || topology().mtu("gif0", 1500);
    let mut rig = Rig::new("pass", &topology());
    let big = udp("10.0.0.2:1000", "10.99.0.7:53").data(1472);
    rig.send("sim0", &big);
    let pieces: Vec<_> = std::iter::from_fn(|| rig.take("sim1")).collect();
    assert_eq!(pieces.len(), 2, "1520 bytes in two pieces");
    let outer = raw("192.0.2.2", "192.0.2.1", 4, &big.answer().bytes());
    for piece in outer.pieces(1480) {
        rig.send("sim1", &piece);
    }
    rig.expect("sim0", &big.answer().hop());
    rig.ignore_rest();
    rig.check_books();
}

/// Sends `inner` by a tunnel and gives what leaves on the other side, IP packets.
fn through(rig: &mut Rig, inner: &Packet) -> Vec<Vec<u8>> {
    rig.send("sim0", inner);
    std::iter::from_fn(|| rig.take("sim1"))
        .map(|frame| packet_of(&frame))
        .collect()
}

/// `inner` does not go; its sender hears what there is room for.
fn is_told(rig: &mut Rig, inner: &Packet, room: u16) {
    assert_eq!(through(rig, inner).len(), 0, "{} bytes", inner.len());
    let answer = packet_of(&rig.take("sim0").expect("an error"));
    let said = match answer[0] >> 4 {
        4 => (answer[20..22] == [3, 4]).then(|| u16::from_be_bytes([answer[26], answer[27]])),
        _ => (answer[40..42] == [2, 0]).then(|| u16::from_be_bytes([answer[46], answer[47]])),
    };
    assert_eq!(said, Some(room), "{} bytes", inner.len());
    // Errors are few a second.
    rig.advance(1000);
}

/// A datagram of the client, with this many bytes of IP packet, by the tunnel of that name.
fn sized(gif: &str, is_ipv6: bool, bytes: usize) -> Packet {
    let (src, dst) = match (gif, is_ipv6) {
        ("gif0", false) => ("10.0.0.2", "10.99.0.7"),
        ("gif0", true) => ("2001:db8:1::2", "2001:db8:99::7"),
        (_, false) => ("10.0.0.2", "10.98.0.7"),
        (_, true) => ("2001:db8:1::2", "2001:db8:98::7"),
    };
    let headers = if is_ipv6 { 48 } else { 28 };
    let packet = udp(&end(src, 1000), &end(dst, 53)).data(bytes - headers);
    if is_ipv6 { packet } else { packet.df() }
}

/// A router on the way of `outer`, which the box has sent, says what the next link carries.
fn router_says(rig: &mut Rig, outer: &[u8], mtu: u16) {
    let (from, local, remote) = match outer[0] >> 4 {
        4 => ("192.0.2.2", "192.0.2.1", "192.0.2.2"),
        _ => ("2001:db8:f::2", "2001:db8:f::1", "2001:db8:f::2"),
    };
    let (protocol, payload) = match outer[0] >> 4 {
        4 => (outer[9], &outer[20..]),
        _ => (outer[6], &outer[40..]),
    };
    let about = raw(local, remote, protocol, payload);
    rig.send("sim1", &error(from, &about, Error::TooBig(mtu)));
    assert!(rig.take_host().is_some(), "the local host hears of it too");
}

#[test]
fn what_the_path_of_a_tunnel_carries_is_learned_from_errors_and_forgotten() {
    let topology = topology().mtu("gif1", 1460);
    for policy in ["pass", "block\npass on { sim0 gif1 }\npass out on sim1"] {
        let mut rig = Rig::new(policy, &topology);
        for (is_ipv6, room) in [(true, 1360), (false, 1360)] {
            let outer = through(&mut rig, &sized("gif1", is_ipv6, 1460));
            assert_eq!(outer.len(), 1, "everything fits so far");
            assert_eq!(outer[0].len(), 1500);
            router_says(&mut rig, &outer[0], 1400);
            is_told(&mut rig, &sized("gif1", is_ipv6, 1460), room);
            is_told(&mut rig, &sized("gif1", is_ipv6, 1361), room);
            assert_eq!(through(&mut rig, &sized("gif1", is_ipv6, 1360)).len(), 1);
            // More is not believed while less is; after ten minutes everything is tried again.
            router_says(&mut rig, &outer[0], 1480);
            is_told(&mut rig, &sized("gif1", is_ipv6, 1460), room);
            rig.advance(net::gif::PATH_LIFE_MS);
            rig.ignore_rest();
        }
        rig.check_books();
    }
}

#[test]
fn an_ipv6_packet_that_every_link_carries_goes_through_a_narrow_path_in_pieces() {
    let mut rig = Rig::new("pass", &topology());
    let small = sized("gif1", true, 1280);
    let outer = through(&mut rig, &small);
    assert_eq!(outer[0].len(), 1320);
    // No link of IPv6 is as narrow as that.
    router_says(&mut rig, &outer[0], 600);
    let pieces = through(&mut rig, &small);
    assert_eq!(pieces.len(), 2);
    assert!(
        pieces
            .iter()
            .all(|piece| piece.len() <= 1280 && piece[6] == 44)
    );
    // IPv4 can be made smaller by its sender.
    is_told(&mut rig, &sized("gif1", false, 1280), 1240);
    rig.ignore_rest();
    rig.check_books();
}

#[test]
fn outer_ipv6_packets_too_large_for_our_own_link_leave_in_pieces_and_come_out_whole() {
    let topology = || topology().mtu("gif1", 1500);
    let mut rig = Rig::new("pass", &topology());
    let big = sized("gif1", true, 1500);
    let pieces = through(&mut rig, &big);
    assert_eq!(pieces.len(), 2, "1540 bytes in two pieces");
    let outer = raw("2001:db8:f::2", "2001:db8:f::1", 41, &big.answer().bytes());
    for piece in outer.pieces(1448) {
        rig.send("sim1", &piece);
    }
    rig.expect("sim0", &big.answer().hop());
    rig.ignore_rest();
    rig.check_books();
}

#[test]
fn outer_ipv4_packets_that_must_not_be_cut_teach_what_there_is_room_for() {
    let topology = Topology::new()
        .interface("sim0", &["10.0.0.1/24", "2001:db8:1::1/64"])
        .host(&["10.0.0.2", "2001:db8:1::2"])
        .interface("sim1", &["192.0.2.1/24"])
        .host(&["192.0.2.2"])
        .gif(
            "gif0",
            "192.0.2.1",
            "192.0.2.2",
            &["10.9.0.1/24", "2001:db8:9::1/64"],
        )
        .tunneldf()
        .route("10.99.0.0/16", "10.9.0.2")
        .route("2001:db8:99::/48", "2001:db8:9::2")
        .mtu("gif0", 1500);
    let mut rig = Rig::new("pass", &topology);
    // Our own link has no room for the first; the next are answered.
    assert_eq!(through(&mut rig, &sized("gif0", true, 1500)).len(), 0);
    is_told(&mut rig, &sized("gif0", true, 1500), 1480);
    let outer = through(&mut rig, &sized("gif0", true, 1480));
    assert_eq!((outer[0].len(), outer[0][6] & 0x40), (1500, 0x40));
    router_says(&mut rig, &outer[0], 1290);
    is_told(&mut rig, &sized("gif0", true, 1300), 1280);
    is_told(&mut rig, &sized("gif0", false, 1300), 1270);
    // What its sender need not make smaller is cut here.
    let pieces = through(&mut rig, &sized("gif0", true, 1280));
    assert_eq!(pieces.len(), 2);
    assert!(
        pieces
            .iter()
            .all(|piece| piece.len() <= 1290 && piece[6] & 0x40 == 0)
    );
    rig.ignore_rest();
    rig.check_books();
}

#[test]
fn errors_about_other_packets_teach_nothing_and_blocked_ones_neither() {
    let topology = topology().mtu("gif1", 1460);
    let big = sized("gif1", true, 1460);
    let about = |src: &str, dst: &str, protocol| {
        error(
            "2001:db8:f::2",
            &raw(src, dst, protocol, &big.bytes()),
            Error::TooBig(1300),
        )
    };
    let (local, remote) = ("2001:db8:f::1", "2001:db8:f::2");
    let unreachable = error(
        remote,
        &raw(local, remote, 41, &big.bytes()),
        Error::Unreachable(1, 3),
    );
    for (policy, message) in [
        ("pass no state", about(local, "2001:db8:f::9", 41)),
        ("pass no state", about(local, remote, 17)),
        ("pass no state", unreachable),
        // There is no state that it belongs to.
        ("pass\nblock in on sim1", about(local, remote, 41)),
    ] {
        let mut rig = Rig::new(policy, &topology);
        rig.send("sim1", &message);
        assert_eq!(through(&mut rig, &big).len(), 1, "{policy}");
        rig.ignore_rest();
        rig.check_books();
    }
}

#[test]
fn a_tunnel_whose_way_leads_into_itself_ends() {
    // The other end of gif0 is behind gif0.
    let topology = Topology::new()
        .interface("sim0", &["10.0.0.1/24"])
        .host(&["10.0.0.2"])
        .gif("gif0", "10.0.0.1", "10.99.0.1", &["10.9.0.1/24"])
        .route("10.99.0.0/16", "10.9.0.2");
    let mut rig = Rig::new("pass no state", &topology);
    rig.send("sim0", &udp("10.0.0.2:1000", "10.99.0.7:53").data(1200));
    rig.expect_nothing_more();
    rig.ignore_rest();
    rig.check_books();
}

#[test]
fn a_ping_to_the_address_of_the_tunnel_reaches_the_box() {
    let mut rig = Rig::new("pass", &topology());
    let ping = echo("2001:db8:9::2", "2001:db8:9::1", 7, 1);
    rig.send("sim1", &raw("192.0.2.2", "192.0.2.1", 41, &ping.bytes()));
    rig.expect_host(&ping);
    rig.host_sends(&ping.answer());
    expect_outer(&mut rig, &ping.answer(), 41, "192.0.2.1", "192.0.2.2");
    rig.ignore_rest();
    rig.check_books();
}
