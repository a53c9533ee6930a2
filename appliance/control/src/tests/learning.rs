//! A lease, from the first question to rules, routes and groups, over configurations, and its end.

use std::net::Ipv4Addr;

use net::InterfaceId;
use wire::{ipv4, proto, udp};

use super::*;

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const RULES: &str = "block\npass out on egress from (em0)\n";
const LEARNING: [(&str, &str); 3] = [
    ("hostname.em0", "inet autoconf\n"),
    ("hostname.em1", "inet 192.0.2.1/24\n"),
    ("pf.conf", RULES),
];

/// What the server answers to a client's packet: OFFER or ACK of `addr` for so many seconds.
fn answer(asked: &[u8], kind: u8, addr: &str, seconds: u32) -> Vec<u8> {
    let addr: Ipv4Addr = addr.parse().unwrap();
    let mut body = asked[28..268].to_vec();
    body[0] = 2;
    body[16..20].copy_from_slice(&addr.octets());
    body.extend([53, 1, kind, 1, 4, 255, 255, 255, 0]);
    for option in [54, 3, 6] {
        body.extend([option, 4]);
        body.extend(SERVER.octets());
    }
    body.extend([51, 4]);
    body.extend(seconds.to_be_bytes());
    body.push(255);
    let header = ipv4::Repr {
        src: SERVER,
        dst: Ipv4Addr::BROADCAST,
        protocol: proto::UDP,
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
        src_port: 67,
        dst_port: 68,
        payload_len: body.len() as u16,
    };
    repr.emit(&mut datagram);
    datagram.payload_mut().copy_from_slice(&body);
    datagram.fill_checksum(SERVER.into(), Ipv4Addr::BROADCAST.into());
    bytes
}

impl Rig {
    pub(super) fn advance(&mut self, ms: u64) {
        for n in 0..ms {
            self.control.clock.pause();
            if n % 100 == 0 {
                self.control.on_event(crate::Event::Tick);
            }
        }
        self.control.on_event(crate::Event::Tick);
    }

    /// The next packet of the DHCP client.
    fn dhcp_said(&mut self) -> Vec<u8> {
        loop {
            let sent = self.control.next_to_send().expect("something to send");
            if sent.frame.is_none() && sent.bytes[0] >> 4 == 4 {
                return sent.bytes;
            }
        }
    }

    /// Takes a lease of `addr`.
    fn lease(&mut self, addr: &str, seconds: u32) {
        let discover = self.dhcp_said();
        let offer = answer(&discover, 2, addr, seconds);
        assert!(self.control.hear(InterfaceId(0), &offer));
        let request = self.dhcp_said();
        let ack = answer(&request, 5, addr, seconds);
        assert!(self.control.hear(InterfaceId(0), &ack));
        self.advance(2000);
    }

    /// Addresses and groups of `em0`, and the gateway of the default route.
    fn em0(&self) -> (Vec<String>, Vec<String>, Option<IpAddr>) {
        let config = self.control.fleet.current();
        let em0 = config.interfaces.by_name("em0").unwrap();
        let route = config.routes.lookup(0, "203.0.113.9".parse().unwrap());
        let addrs = em0
            .addrs
            .iter()
            .map(|a| format!("{}/{}", a.addr, a.prefix_len));
        (
            addrs.collect(),
            em0.groups.clone(),
            route.and_then(|r| r.gateway),
        )
    }
}

#[test]
fn a_lease_is_in_force_over_configurations_and_to_its_end() {
    let mut b = Rig::new();
    b.push(&LEARNING).unwrap();
    assert_eq!(b.em0(), (vec![], vec![], None));
    let before = b.control.generation();
    b.lease("198.51.100.77", 60);
    let leased = || {
        let egress = vec!["egress".to_string()];
        (
            vec!["198.51.100.77/24".to_string()],
            egress,
            Some(SERVER.into()),
        )
    };
    assert_eq!(b.em0(), leased());
    assert!(b.control.generation() > before);
    assert!(b.control.is_forwarding());
    let status = b.control.status();
    assert_eq!(
        (status.nameservers, status.leases[0].state),
        (vec![SERVER.into()], "bound")
    );
    // Another bundle leaves it alone; one that does not ask for a lease has none.
    let other = [LEARNING[0], LEARNING[1], ("pf.conf", "pass\n")];
    b.push(&other).unwrap();
    assert_eq!(b.em0(), leased());
    b.push(&[LEARNING[1], ("hostname.em0", "up\n"), LEARNING[2]])
        .unwrap();
    assert_eq!(b.em0().0, [""; 0]);
    // Back again, it asks anew; and nobody renews it.
    b.push(&LEARNING).unwrap();
    b.lease("198.51.100.77", 60);
    assert_eq!(b.em0(), leased());
    b.advance(60_000);
    assert_eq!(b.em0(), (vec![], vec![], None));
}

#[test]
fn no_server_gives_the_box_an_address_that_it_has_elsewhere() {
    let mut b = Rig::new();
    b.push(&LEARNING).unwrap();
    b.lease("192.0.2.1", 60);
    assert_eq!(b.em0().0, [""; 0]);
    let config = b.control.fleet.current().clone();
    let em1 = config.interfaces.by_name("em1").unwrap();
    assert!(em1.owns("192.0.2.1".parse().unwrap()));
}

#[test]
fn nobody_on_a_link_makes_more_than_a_generation_a_second() {
    let files = [
        ("hostname.em0", "inet6 autoconf\n"),
        LEARNING[1],
        ("pf.conf", "pass out on em0 from (em0)\n"),
    ];
    let mut b = Rig::new();
    b.push(&files).unwrap();
    let before = b.control.generation();
    // A router that is there and not there, two hundred times in two seconds.
    for n in 0..200u16 {
        let said = autoconf::router::Advertisement {
            lifetime_s: 1800 * (n % 2),
            ..Default::default()
        };
        let src = "fe80::9".parse().unwrap();
        let all = "ff02::1".parse().unwrap();
        let packet = autoconf::router::build_advertisement(src, all, &said);
        assert!(b.control.hear(InterfaceId(0), &packet.bytes));
        b.advance(10);
    }
    let made = b.control.generation() - before;
    assert!((1..=4).contains(&made), "{made} generations");
}
