//! The client against a server of a few lines, in simulated time.

use super::*;
use crate::Way;
use wire::{ipv4, udp};

const MAC: ether::Addr = ether::Addr([2, 0, 0, 0, 0, 1]);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);

/// What the client said: kind, conversation, requested address, server, own address, way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Said {
    kind: u8,
    xid: u32,
    requested: Option<Ipv4Addr>,
    server: Option<Ipv4Addr>,
    client: Ipv4Addr,
    is_broadcast: bool,
}

fn read(sent: &Outgoing) -> Said {
    let ip = ipv4::Packet::new_checked(&sent.bytes[..]).unwrap();
    let datagram = udp::Packet::new_checked(ip.payload()).unwrap();
    assert!(ip.verify_checksum() && datagram.verify_checksum(ip.src().into(), ip.dst().into()));
    assert_eq!(
        (datagram.src_port(), datagram.dst_port()),
        (CLIENT_PORT, SERVER_PORT)
    );
    let body = datagram.payload();
    assert!(body.len() >= 300);
    let option = |kind: u8| {
        let mut at = 240;
        while body[at] != 255 {
            if body[at] == kind {
                return Some(&body[at + 2..at + 2 + usize::from(body[at + 1])]);
            }
            at += 2 + usize::from(body[at + 1]);
        }
        None
    };
    let addr = |kind| option(kind).map(|o| Ipv4Addr::from_octets(o.try_into().unwrap()));
    let is_broadcast = sent.way == Way::Below(ether::Addr::BROADCAST);
    assert_eq!(is_broadcast, ip.dst().is_broadcast());
    Said {
        kind: option(53).unwrap()[0],
        xid: u32::from_be_bytes(body[4..8].try_into().unwrap()),
        requested: addr(50),
        server: addr(54),
        client: Ipv4Addr::from_octets(body[12..16].try_into().unwrap()),
        is_broadcast,
    }
}

fn said(actions: &[Action]) -> Said {
    match actions {
        [Action::Send(sent)] => read(sent),
        other => panic!("{other:?}"),
    }
}

fn message(kind: Kind, xid: u32) -> Message {
    Message {
        kind,
        xid,
        client: MAC,
        your: OURS,
        server: Some(SERVER),
        mask: Some(Ipv4Addr::new(255, 255, 255, 0)),
        routers: vec![SERVER],
        routes: vec![],
        nameservers: vec![Ipv4Addr::new(192, 0, 2, 53)],
        lease_s: Some(1000),
        renew_s: None,
        rebind_s: None,
    }
}

fn client() -> Client {
    Client::new(MAC, "fugu")
}

/// A client that got a lease of 1000 seconds at time 0.
fn bound() -> Client {
    let mut client = client();
    let xid = said(&client.on(0, 7, &Event::Up)).xid;
    client.on(0, 7, &Event::Heard(&message(Kind::Offer, xid)));
    let check = client.on(0, 7, &Event::Heard(&message(Kind::Ack, xid)));
    assert_eq!(check, [Action::Check(OURS)]);
    assert_eq!(client.lease(), None, "not before it was checked");
    assert!(client.on(0, 7, &Event::Unique).is_empty());
    client
}

#[test]
fn discover_offer_request_ack() {
    let mut client = client();
    let first = said(&client.on(0, 7, &Event::Up));
    let expected = Said {
        kind: 1,
        xid: 7,
        requested: None,
        server: None,
        client: Ipv4Addr::UNSPECIFIED,
        is_broadcast: true,
    };
    assert_eq!(first, expected);
    let offer = message(Kind::Offer, 7);
    let request = said(&client.on(10, 9, &Event::Heard(&offer)));
    let expected = Said {
        kind: 3,
        requested: Some(OURS),
        server: Some(SERVER),
        ..expected
    };
    assert_eq!(request, expected);
    client.on(20, 9, &Event::Heard(&message(Kind::Ack, 7)));
    client.on(1000, 9, &Event::Unique);
    let lease = client.lease().unwrap();
    assert_eq!(
        (lease.addr, lease.prefix_len, lease.gateway),
        (OURS, 24, Some(SERVER))
    );
    assert_eq!(lease.nameservers, [Ipv4Addr::new(192, 0, 2, 53)]);
    let times = (lease.renew_ms, lease.rebind_ms, lease.expires_ms);
    assert_eq!(times, (20 + 500_000, 20 + 875_000, Some(20 + 1_000_000)));
}

#[test]
fn questions_are_repeated_ever_more_rarely() {
    let mut client = client();
    client.on(0, 1000, &Event::Up);
    let mut waits = vec![];
    let mut now = 0;
    for _ in 0..6 {
        waits.push(client.due_ms() - now);
        now = client.due_ms();
        let again = said(&client.on(now, 1000, &Event::Timer));
        assert_eq!((again.kind, again.xid), (1, 1000), "the same conversation");
    }
    assert_eq!(waits, [4000, 8000, 16_000, 32_000, 64_000, 64_000]);
}

#[test]
fn a_request_without_an_answer_ends_in_a_new_search() {
    let mut client = client();
    client.on(0, 7, &Event::Up);
    client.on(0, 7, &Event::Heard(&message(Kind::Offer, 7)));
    let mut kinds = vec![];
    for _ in 0..5 {
        let now = client.due_ms();
        kinds.push(said(&client.on(now, 8, &Event::Timer)).kind);
    }
    assert_eq!(kinds, [3, 3, 3, 1, 1]);
}

#[test]
fn renewed_by_its_server_then_by_any_then_over() {
    let mut client = bound();
    let mut log = vec![];
    while client.lease().is_some() {
        let now = client.due_ms();
        let said = said(&client.on(now, 9, &Event::Timer));
        log.push((now / 1000, said.kind, said.is_broadcast, said.client));
    }
    // Half of what remains until 875, then until 1000, never less than a minute; at 1000 it is over.
    let ours = OURS;
    let nobody = Ipv4Addr::UNSPECIFIED;
    let expected = [
        (500, 3, false, ours),
        (687, 3, false, ours),
        (781, 3, false, ours),
        (841, 3, false, ours),
        (875, 3, true, ours),
        (937, 3, true, ours),
        (997, 3, true, ours),
        (1000, 1, true, nobody),
    ];
    assert_eq!(log, expected);
    assert_eq!(client.wanted, Some(OURS), "asked for again");
}

#[test]
fn an_answer_prolongs_the_lease() {
    let mut client = bound();
    let request = said(&client.on(500_000, 9, &Event::Timer));
    assert!(client.lease().is_some(), "in use while it is renewed");
    let mut ack = message(Kind::Ack, request.xid);
    ack.lease_s = Some(2000);
    client.on(500_100, 9, &Event::Heard(&ack));
    assert_eq!(client.lease().unwrap().expires_ms, Some(2_500_100));
    assert_eq!(client.due_ms(), 1_500_100);
}

#[test]
fn a_refusal_ends_the_lease_at_once() {
    let mut client = bound();
    let request = said(&client.on(500_000, 9, &Event::Timer));
    let again = client.on(500_100, 11, &Event::Heard(&message(Kind::Nak, request.xid)));
    assert_eq!((said(&again).kind, said(&again).requested), (1, None));
    assert_eq!(client.lease(), None);
}

#[test]
fn an_address_that_somebody_has_is_declined() {
    let mut client = client();
    client.on(0, 7, &Event::Up);
    client.on(0, 7, &Event::Heard(&message(Kind::Offer, 7)));
    client.on(0, 7, &Event::Heard(&message(Kind::Ack, 7)));
    let no = said(&client.on(500, 8, &Event::Conflict));
    assert_eq!(
        (no.kind, no.requested, no.server),
        (4, Some(OURS), Some(SERVER))
    );
    assert_eq!((client.lease(), client.due_ms()), (None, 10_500));
    assert_eq!(said(&client.on(10_500, 9, &Event::Timer)).kind, 1);
}

#[test]
fn a_link_that_comes_back_is_asked_whether_the_address_is_right() {
    let mut client = bound();
    assert!(client.on(1000, 9, &Event::Down).is_empty());
    let request = said(&client.on(5000, 9, &Event::Up));
    let shown = (
        request.kind,
        request.requested,
        request.server,
        request.is_broadcast,
    );
    assert_eq!(shown, (3, Some(OURS), None, true));
    assert!(client.lease().is_some(), "in use meanwhile");
    // Nobody answers: it stays ours.
    let mut asked = 1;
    while !matches!(client.state(), State::Bound(_)) {
        let now = client.due_ms();
        asked += client.on(now, 10, &Event::Timer).len();
    }
    assert_eq!((asked, client.due_ms()), (3, 500_000));
    // Another network: no.
    let request = said(&client.on(60_000, 12, &Event::Up));
    client.on(60_010, 13, &Event::Heard(&message(Kind::Nak, request.xid)));
    assert_eq!(client.lease(), None);
}

#[test]
fn messages_for_others_and_of_others_change_nothing() {
    let mut client = client();
    client.on(0, 7, &Event::Up);
    let before = client.state().clone();
    let mut other = message(Kind::Offer, 7);
    other.client = ether::Addr([2, 0, 0, 0, 0, 2]);
    for wrong in [
        other,
        message(Kind::Offer, 8),
        message(Kind::Ack, 7),
        message(Kind::Nak, 7),
    ] {
        assert!(
            client.on(1, 9, &Event::Heard(&wrong)).is_empty(),
            "{wrong:?}"
        );
        assert_eq!(*client.state(), before);
    }
    // A bound client asks nothing, so nobody answers it.
    let mut client = bound();
    client.on(1, 9, &Event::Heard(&message(Kind::Nak, 7)));
    assert!(client.lease().is_some());
}

#[test]
fn offers_that_cannot_be_are_not_taken() {
    let good = message(Kind::Offer, 7);
    let with = |change: fn(&mut Message)| {
        let mut m = good.clone();
        change(&mut m);
        m
    };
    for wrong in [
        with(|m| m.your = Ipv4Addr::UNSPECIFIED),
        with(|m| m.your = Ipv4Addr::new(224, 0, 0, 1)),
        with(|m| m.your = Ipv4Addr::new(127, 0, 0, 1)),
        with(|m| m.your = Ipv4Addr::new(192, 0, 2, 255)),
        with(|m| m.mask = Some(Ipv4Addr::new(255, 0, 255, 0))),
        with(|m| m.mask = Some(Ipv4Addr::UNSPECIFIED)),
        with(|m| m.lease_s = None),
        with(|m| m.lease_s = Some(0)),
        with(|m| m.server = None),
    ] {
        assert_eq!(lease_of(&wrong, 0), None, "{wrong:?}");
    }
    let classful = lease_of(&with(|m| m.mask = None), 0).unwrap();
    assert_eq!(classful.prefix_len, 24);
    let endless = lease_of(&with(|m| m.lease_s = Some(u32::MAX)), 0).unwrap();
    assert_eq!(endless.expires_ms, None);
    let odd = lease_of(
        &with(|m| (m.renew_s, m.rebind_s) = (Some(900), Some(2000))),
        0,
    )
    .unwrap();
    assert_eq!((odd.renew_ms, odd.rebind_ms), (500_000, 875_000));
    let own_router = lease_of(&with(|m| m.routers = vec![OURS, SERVER]), 0).unwrap();
    assert_eq!(own_router.gateway, Some(SERVER));
}

/// A server's message as bytes.
fn packet(options: &[(u8, &[u8])]) -> Vec<u8> {
    let mut body = vec![0; 240];
    body[..3].copy_from_slice(&[2, 1, 6]);
    body[4..8].copy_from_slice(&7u32.to_be_bytes());
    body[16..20].copy_from_slice(&OURS.octets());
    body[28..34].copy_from_slice(&MAC.0);
    body[236..240].copy_from_slice(&[99, 130, 83, 99]);
    for (kind, data) in options {
        body.extend_from_slice(&[*kind, data.len() as u8]);
        body.extend_from_slice(data);
    }
    body.push(255);
    let header = ipv4::Repr {
        src: SERVER,
        dst: Ipv4Addr::BROADCAST,
        protocol: wire::proto::UDP,
        ttl: 64,
        tos: 0,
        ident: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        payload_len: (8 + body.len()) as u16,
    };
    let mut bytes = vec![0; 28 + body.len()];
    header.emit(&mut ipv4::Packet::new_unchecked(&mut bytes[..]));
    let mut datagram = udp::Packet::new_unchecked(&mut bytes[20..]);
    let repr = udp::Repr {
        src_port: SERVER_PORT,
        dst_port: CLIENT_PORT,
        payload_len: body.len() as u16,
    };
    repr.emit(&mut datagram);
    datagram.payload_mut().copy_from_slice(&body);
    datagram.fill_checksum(SERVER.into(), Ipv4Addr::BROADCAST.into());
    bytes
}

#[test]
fn options_of_a_server_are_read() {
    let routes = [
        24, 10, 1, 2, 192, 0, 2, 9, // 10.1.2.0/24
        0, 192, 0, 2, 1, // default
        33, 1, 1, 1, 1, // nonsense ends it
    ];
    let found = parse(&packet(&[
        (53, &[5]),
        (54, &SERVER.octets()),
        (1, &[255, 255, 255, 0]),
        (3, &[192, 0, 2, 1, 192, 0, 2, 2]),
        // In two parts (RFC 3396).
        (6, &[192, 0, 2, 53, 192, 0]),
        (6, &[2, 54]),
        (51, &1000u32.to_be_bytes()),
        (121, &routes),
    ]))
    .unwrap();
    assert_eq!(
        (found.kind, found.xid, found.client, found.your),
        (Kind::Ack, 7, MAC, OURS)
    );
    assert_eq!(found.routers, [SERVER, Ipv4Addr::new(192, 0, 2, 2)]);
    let servers = [Ipv4Addr::new(192, 0, 2, 53), Ipv4Addr::new(192, 0, 2, 54)];
    assert_eq!(found.nameservers, servers);
    let shown: Vec<String> = found
        .routes
        .iter()
        .map(|(p, g)| format!("{p} {g}"))
        .collect();
    assert_eq!(shown, ["10.1.2.0/24 192.0.2.9", "0.0.0.0/0 192.0.2.1"]);
    assert_eq!((found.lease_s, found.renew_s), (Some(1000), None));
}

#[test]
fn no_bytes_panic() {
    let good = packet(&[
        (53, &[2]),
        (54, &SERVER.octets()),
        (121, &[24, 10, 1, 2, 192, 0, 2, 9]),
    ]);
    let mut seed = 0x5eed_0068_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let mut read = 0;
    for _ in 0..20_000 {
        let mut bytes = good.clone();
        for _ in 0..1 + next() % 3 {
            let at = 28 + next() as usize % (bytes.len() - 28);
            bytes[at] = next() as u8;
        }
        // No checksum: it would keep most of them out.
        bytes[26..28].fill(0);
        bytes.truncate(28 + next() as usize % (bytes.len() - 27));
        let len = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&len.to_be_bytes());
        bytes[24..26].copy_from_slice(&(len - 20).to_be_bytes());
        ipv4::Packet::new_unchecked(&mut bytes[..]).fill_checksum();
        read += u32::from(parse(&bytes).is_some());
    }
    assert!(read > 100, "{read}");
}
