//! Links that come and go: which routes are used, what is shown of them, and who else is told.

use super::*;
use crate::control::Event;

const UP: LinkState = LinkState::Up {
    speed_mbps: 1000,
    full_duplex: true,
};
const TWO_UPLINKS: [(&str, &str); 3] = [
    (
        "hostname.em0",
        "inet 192.0.2.1/24\n!route add 10.0.0.0/8 192.0.2.7\n",
    ),
    (
        "hostname.em1",
        "inet 198.51.100.1/24\n!route add -priority 20 default 198.51.100.254\n",
    ),
    ("pf.conf", "pass\n"),
];

fn boxed() -> Rig {
    let mut b = Rig::new();
    let [em0, em1, pf] = TWO_UPLINKS;
    b.push(&[em0, em1, pf, ("mygate", "192.0.2.254\n")])
        .unwrap();
    b
}

fn link(b: &mut Rig, port: u16, state: LinkState) {
    b.control.on_event(Event::Link { port, state });
}

/// The gateway towards an address that workers use.
fn gateway(b: &Rig, to: &str) -> Option<String> {
    let config = b.control.fleet.current();
    let route = config.routes.lookup(0, to.parse().unwrap())?;
    Some(route.gateway?.to_string())
}

fn flags(b: &mut Rig, through: &str) -> Vec<String> {
    let gateway: Option<IpAddr> = through.parse().ok();
    let routes = b.control.routes().into_iter();
    routes
        .filter(|r| r.gateway == gateway)
        .map(|r| r.flags)
        .collect()
}

#[test]
fn the_default_route_follows_the_link_and_comes_back() {
    let mut b = boxed();
    let (first, second) = ("192.0.2.254", "198.51.100.254");
    let way = |b: &Rig| gateway(b, "203.0.113.9").unwrap();
    assert_eq!(way(&b), first, "nobody has said anything of links");
    link(&mut b, 0, UP);
    link(&mut b, 1, UP);
    let generation = b.control.generation();
    assert_eq!(way(&b), first);
    assert_eq!(
        (flags(&mut b, first), flags(&mut b, second)),
        (vec!["UGS".into()], vec!["GS".into()])
    );
    link(&mut b, 0, LinkState::Down);
    assert_eq!(way(&b), second);
    // There is no other way to 10/8.
    assert_eq!(gateway(&b, "10.1.1.1").unwrap(), "192.0.2.7");
    assert_eq!(
        (flags(&mut b, first), flags(&mut b, second)),
        (vec!["GS".into()], vec!["UGS".into()])
    );
    assert_eq!(flags(&mut b, "192.0.2.7"), ["GS"]);
    // Rules, states and counters notice nothing: it is the same generation.
    assert_eq!(b.control.generation(), generation);
    link(&mut b, 0, UP);
    assert_eq!(way(&b), first);
    link(&mut b, 0, LinkState::Down);
    link(&mut b, 1, LinkState::Down);
    assert_eq!(way(&b), first, "no way is better than the other");
}

#[test]
fn a_new_configuration_knows_the_links() {
    let mut b = boxed();
    link(&mut b, 1, UP);
    assert_eq!(gateway(&b, "203.0.113.9").unwrap(), "198.51.100.254");
    let [em0, em1, _] = TWO_UPLINKS;
    let files = [
        em0,
        em1,
        ("mygate", "192.0.2.254\n"),
        ("pf.conf", "pass quick\n"),
    ];
    b.push(&files).unwrap();
    assert_eq!(gateway(&b, "203.0.113.9").unwrap(), "198.51.100.254");
}

#[test]
fn links_that_make_no_difference_publish_nothing() {
    let mut b = Rig::new();
    b.push(&[TWO_UPLINKS[0], ("pf.conf", "pass\n")]).unwrap();
    let before = Arc::as_ptr(b.control.fleet.current());
    for state in [UP, LinkState::Down, UP] {
        link(&mut b, 0, state);
        link(&mut b, 1, state);
    }
    assert_eq!(Arc::as_ptr(b.control.fleet.current()), before);
}

#[test]
fn routes_over_a_lagg_and_its_vlans_follow_its_ports() {
    let mut b = Rig::new();
    b.push(&[
        ("hostname.em0", "up\n"),
        ("hostname.em1", "inet 198.51.100.1/24\n"),
        ("hostname.trunk0", "trunkproto failover trunkport em0\n"),
        ("hostname.vlan5", "vnetid 5 parent trunk0\ninet 192.0.2.1/24\n"),
        ("hostname.vlan6", "vnetid 6 parent em1\ninet 203.0.113.1/24\n!route add -priority 30 default 203.0.113.2\n"),
        ("mygate", "192.0.2.254\n"),
        ("pf.conf", "pass\n"),
    ])
    .unwrap();
    let way = |b: &Rig| gateway(b, "10.1.1.1").unwrap();
    link(&mut b, 1, UP);
    assert_eq!(way(&b), "203.0.113.2");
    link(&mut b, 0, UP);
    assert_eq!(way(&b), "192.0.2.254");
    link(&mut b, 0, LinkState::Down);
    assert_eq!(way(&b), "203.0.113.2");
}

#[test]
fn addresses_of_a_vlan_are_announced_when_the_link_below_it_comes() {
    let mut b = Rig::new();
    b.push(&[
        ("hostname.em0", "up\n"),
        ("hostname.vlan5", "vnetid 5 parent em0\ninet 192.0.2.1/24\n"),
        ("pf.conf", "pass\n"),
    ])
    .unwrap();
    b.advance(20_000);
    while b.control.next_to_send().is_some() {}
    link(&mut b, 0, UP);
    b.advance(5_000);
    let said: Vec<Vec<u8>> = std::iter::from_fn(|| b.control.next_to_send())
        .map(|sent| sent.bytes)
        .collect();
    let own = [192, 0, 2, 1];
    // Sender and target of an ARP message are the address itself.
    let is_announcement = |bytes: &Vec<u8>| {
        bytes
            .windows(28)
            .any(|arp| arp[..2] == [0, 1] && arp[14..18] == own && arp[24..28] == own)
    };
    assert!(said.iter().any(is_announcement), "{said:02x?}");
}
