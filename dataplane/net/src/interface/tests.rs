//! Tables of interfaces: what they find, and what they refuse. Other tests have their interfaces from here.

use super::*;

/// An interface for tests: `addrs` as `address/length`, Ethernet address `52:54:00:00:00:id`.
pub(crate) fn interface(id: u16, name: &str, addrs: &[&str]) -> Interface {
    let addr = |text: &&str| {
        let (addr, len) = text.split_once('/').unwrap();
        IfAddr {
            addr: addr.parse().unwrap(),
            prefix_len: len.parse().unwrap(),
        }
    };
    Interface {
        id: InterfaceId(id),
        name: Name::try_from(name).unwrap(),
        kind: match name.starts_with("lo") {
            true => Kind::Loopback,
            false => Kind::Ethernet { port: id },
        },
        mac: ether::Addr([0x52, 0x54, 0, 0, 0, id as u8]),
        mtu: 1500,
        up: true,
        rdomain: 0,
        kifs: KifSet::EMPTY,
        addrs: addrs.iter().map(addr).collect(),
        groups: Vec::new(),
        description: String::new(),
    }
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn table() -> InterfaceTable {
    let mut down = interface(3, "em3", &["203.0.113.1/24"]);
    down.up = false;
    InterfaceTable::build(vec![
        interface(
            0,
            "em0",
            &["192.0.2.1/24", "192.0.2.9/24", "2001:db8::1/64"],
        ),
        interface(1, "em1", &["10.0.0.1/8", "fe80::1/64"]),
        interface(2, "lo0", &["127.0.0.1/8", "::1/128", "198.51.100.1/32"]),
        down,
    ])
    .unwrap()
}

#[test]
fn found_by_number_port_and_name() {
    let table = table();
    assert_eq!(table.get(InterfaceId(1)).unwrap().name, "em1");
    assert_eq!(table.by_port(1).unwrap().name, "em1");
    assert_eq!(table.by_name("lo0").unwrap().id, InterfaceId(2));
    assert!(table.get(InterfaceId(4)).is_none() && table.by_port(4).is_none());
    assert!(table.by_name("em9").is_none());
    assert_eq!(table.iter().count(), 4);
}

#[test]
fn destinations() {
    use Destination::*;
    let table = table();
    for (on, dst, expected) in [
        (0, "192.0.2.1", Local),
        (1, "192.0.2.9", Local), // whatever interface it came in on
        (0, "198.51.100.1", Local),
        (0, "127.0.0.1", Local),
        (0, "127.0.0.2", Invalid),
        (0, "192.0.2.255", Broadcast),
        (0, "10.255.255.255", Broadcast), // of another link: still never forwarded
        (0, "255.255.255.255", Broadcast),
        (0, "0.0.0.0", Invalid),
        (0, "240.0.0.1", Invalid),
        (0, "224.0.0.1", Joined),
        (0, "224.0.0.5", Multicast),
        (0, "169.254.1.1", LinkScope),
        (0, "192.0.2.2", Remote),
        (0, "203.0.113.1", Remote), // em3 is down
        (0, "2001:db8::1", Local),
        (1, "2001:db8::1", Local),
        (0, "2001:db8::2", Remote),
        (0, "fe80::5054:ff:fe00:0", Local),
        (1, "fe80::5054:ff:fe00:0", LinkScope),
        (1, "fe80::1", Local),
        (0, "fe80::1", LinkScope),
        (0, "ff02::1", Joined),
        (0, "ff02::2", Joined),
        (0, "ff02::1:ff00:1", Joined),
        (0, "ff02::1:ff00:7", Multicast),
        (2, "ff02::5", Multicast),
        (0, "ff05::2", Multicast),
        (0, "::", Invalid),
        (0, "::ffff:192.0.2.1", Invalid),
    ] {
        assert_eq!(
            table.classify(0, InterfaceId(on), ip(dst)),
            expected,
            "{dst} on {on}"
        );
    }
}

#[test]
fn local_is_an_own_address_that_needs_no_scope() {
    let table = table();
    assert_eq!(table.local(0, ip("192.0.2.9")), Some(InterfaceId(0)));
    assert_eq!(table.local(0, ip("2001:db8::1")), Some(InterfaceId(0)));
    for other in [
        "192.0.2.255",
        "192.0.2.2",
        "203.0.113.1",
        "fe80::1",
        "2001:db8::2",
    ] {
        assert_eq!(table.local(0, ip(other)), None, "{other}");
    }
}

#[test]
fn an_address_is_ours_in_its_own_routing_domain() {
    let addrs = &["192.0.2.1/24", "2001:db8::1/64"];
    let mut em1 = interface(1, "em1", addrs);
    em1.rdomain = 7;
    let table = InterfaceTable::build(vec![interface(0, "em0", addrs), em1]).unwrap();
    for (rdomain, owner) in [
        (0, Some(InterfaceId(0))),
        (7, Some(InterfaceId(1))),
        (1, None),
    ] {
        for addr in ["192.0.2.1", "2001:db8::1"] {
            assert_eq!(table.local(rdomain, ip(addr)), owner, "{addr} in {rdomain}");
        }
        let broadcast = table.classify(rdomain, InterfaceId(0), ip("192.0.2.255"));
        let expected = match owner {
            Some(_) => Destination::Broadcast,
            None => Destination::Remote,
        };
        assert_eq!(broadcast, expected, "in {rdomain}");
    }
}

#[test]
fn link_local_comes_with_inet6() {
    let table = table();
    let link_local = |name| table.by_name(name).unwrap().link_local();
    assert_eq!(
        link_local("em0"),
        Some("fe80::5054:ff:fe00:0".parse().unwrap())
    );
    assert_eq!(link_local("em1"), Some("fe80::1".parse().unwrap())); // as configured
    assert_eq!(link_local("lo0"), None);
    assert_eq!(link_local("em3"), None); // no inet6
}

#[test]
fn source_addresses() {
    let interface = interface(
        0,
        "em0",
        &[
            "192.0.2.1/24",
            "10.0.0.1/8",
            "2001:db8::1/64",
            "2001:db8:1::1/64",
            "fe80::9/64",
        ],
    );
    for (dst, src) in [
        ("10.9.9.9", "10.0.0.1"),
        ("203.0.113.1", "192.0.2.1"),
        ("2001:db8:1::7", "2001:db8:1::1"),
        ("2001:db8:9::7", "2001:db8::1"),
        ("fe80::77", "fe80::9"),
        ("ff02::1", "fe80::9"),
    ] {
        assert_eq!(interface.source(ip(dst)), Some(ip(src)), "{dst}");
    }
    assert_eq!(
        super::tests::interface(0, "em0", &[]).source(ip("10.0.0.1")),
        None
    );
}

#[test]
fn broken_sets_are_refused() {
    let build = |interfaces| InterfaceTable::build(interfaces).map(|_| ()).unwrap_err();
    let name = |text| Name::try_from(text).unwrap();
    let em0 = || interface(0, "em0", &["192.0.2.1/24"]);
    assert_eq!(
        build(vec![em0(), interface(1, "em0", &[])]),
        InterfaceError::DuplicateName(name("em0"))
    );
    assert_eq!(
        build(vec![em0(), interface(0, "em7", &[])]),
        InterfaceError::Port(name("em7"), 0)
    );
    let mut same_number = interface(0, "em7", &[]);
    same_number.kind = Kind::Ethernet { port: 7 };
    assert_eq!(
        build(vec![em0(), same_number]),
        InterfaceError::WrongId(name("em7"))
    );
    let mut same_port = interface(1, "em1", &[]);
    same_port.kind = Kind::Ethernet { port: 0 };
    assert_eq!(
        build(vec![em0(), same_port]),
        InterfaceError::Port(name("em1"), 0)
    );
    let mut high_port = em0();
    high_port.kind = Kind::Ethernet { port: PORTS_MAX };
    assert_eq!(
        build(vec![high_port]),
        InterfaceError::Port(name("em0"), PORTS_MAX)
    );
    assert_eq!(
        build(vec![em0(), interface(1, "em1", &["192.0.2.1/32"])]),
        InterfaceError::DuplicateAddr(name("em1"), ip("192.0.2.1"))
    );
    let mut small = interface(0, "em0", &["2001:db8::1/64"]);
    small.mtu = 1279;
    assert_eq!(build(vec![small]), InterfaceError::Mtu(name("em0"), 1279));
    let too_many = (0..=INTERFACES_MAX as u16)
        .map(|n| interface(n, &format!("lo{n}"), &[]))
        .collect();
    assert_eq!(build(too_many), InterfaceError::TooMany);
    for addr in [
        "224.0.0.1/24",
        "0.0.0.0/0",
        "192.0.2.255/24",
        "10.0.0.1/33",
        "127.0.0.1/8",
        "ff02::1/64",
    ] {
        let error = build(vec![interface(0, "em0", &[addr])]);
        assert!(matches!(error, InterfaceError::Addr(..)), "{addr}: {error}");
    }
}
