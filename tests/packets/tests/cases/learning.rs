//! What the control core hears and says by itself: DHCP below the rules, router discovery by them, claims, and answers for
//! others.

use std::net::{Ipv4Addr, Ipv6Addr};

use net::{Fixed, InterfaceId, Listening, Published};
use packets::rig::{arp_frame, discovery};
use packets::{Rig, Spread, Topology, everywhere, udp};
use wire::{arp, ether, icmp6, ipv6};
use worker::{Egress, FrameEnd, Lane};

use crate::{A, at};

const SIM0: InterfaceId = InterfaceId(0);
const STRANGER: ether::Addr = ether::Addr([2, 9, 9, 9, 9, 9]);

fn ip4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn ip6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn hearing(listening: Listening) -> Topology {
    Topology::usual().listening(listening)
}

fn arp_message(operation: arp::Operation, sender_ip: &str, target_ip: &str) -> arp::Repr {
    arp::Repr {
        operation,
        sender_ether: STRANGER,
        sender_ip: ip4(sender_ip),
        target_ether: ether::Addr::BROADCAST,
        target_ip: ip4(target_ip),
    }
}

fn router_advert() -> Vec<u8> {
    let message = icmp6::Repr::RouterAdvert {
        hop_limit: 64,
        flags: 0,
        lifetime_s: 1800,
        reachable_ms: 0,
        retrans_ms: 0,
        source_link: Some(STRANGER),
    };
    let (src, dst) = (STRANGER.link_local(), ipv6::ALL_NODES);
    discovery(
        (STRANGER, src),
        (ether::Addr::multicast6(dst), dst),
        &message,
    )
}

#[test]
fn what_a_dhcp_server_says_is_below_the_rules_where_a_client_listens() {
    let heard = hearing(Listening::new(vec![SIM0], vec![], vec![]));
    everywhere("block", &heard, |rig| {
        // To an address that is not ours yet, and to everybody.
        for to in ["192.0.2.77", "255.255.255.255"] {
            let offer = udp("192.0.2.2:67", &at(to, 68)).data(300);
            rig.send("sim0", &offer);
            rig.expect_host(&offer);
            rig.counted("received to_host");
        }
        // Others go by the rules: from another port, and where nobody listens.
        rig.send("sim0", &udp("192.0.2.2:68", "192.0.2.77:67"));
        rig.counted("received drop:match searches sim0.in4.block r0.evals r0.in");
        rig.send("sim1", &udp("198.51.100.2:67", "198.51.100.1:68"));
        rig.counted("received drop:match searches sim1.in4.block r0.evals r0.in");
    });
}

#[test]
fn the_control_core_sends_below_the_rules_by_them_and_whole_frames() {
    let mut rig = Rig::with("block", &Topology::usual(), Spread::ONE);
    let mac = rig.mac("sim0");
    let discover = udp("0.0.0.0:68", "255.255.255.255:67").data(300);
    let egress = |lladdr| Egress::routed(SIM0, lladdr);
    let everybody = ether::Addr::BROADCAST;
    rig.control_sends_by(Lane::Below(egress(everybody)), &discover.bytes());
    rig.expect_frame("sim0", &discover.frame(mac, everybody));
    rig.counted("from_host passed");
    rig.control_sends_by(Lane::Link(egress(everybody)), &discover.bytes());
    rig.counted("from_host drop:match searches sim0.out4.block r0.evals r0.out");
    let claim = arp_frame(&arp_message(
        arp::Operation::REQUEST,
        "0.0.0.0",
        "192.0.2.77",
    ));
    rig.control_sends(FrameEnd::Interface(SIM0), &claim);
    rig.expect_frame("sim0", &claim);
    rig.counted("from_host passed");
    rig.control_sends(FrameEnd::Interface(InterfaceId(77)), &claim);
    rig.counted("from_host drop:interface-down");
}

#[test]
fn router_advertisements_go_by_the_rules_to_whoever_listens() {
    let listening = || Listening::new(vec![], vec![SIM0], vec![]);
    let mut rig = Rig::with("pass", &hearing(listening()), Spread::ONE);
    rig.send_frame("sim0", &router_advert());
    let heard = rig.take_host().expect("told");
    assert_eq!((heard[0] >> 4, heard[40]), (6, icmp6::kind::ROUTER_ADVERT));
    rig.counted("received to_host searches sim0.in6.pass r0.evals r0.in r0.made");
    let mut rig = Rig::with("block", &hearing(listening()), Spread::ONE);
    rig.send_frame("sim0", &router_advert());
    rig.counted("received drop:match searches sim0.in6.block r0.evals r0.in");
    // Nobody listens on the other link: consumed, as ever.
    let mut rig = Rig::with("pass", &hearing(listening()), Spread::ONE);
    rig.send_frame("sim1", &router_advert());
    rig.counted("received consumed searches sim1.in6.pass r0.evals r0.in r0.made");
}

#[test]
fn whoever_has_an_address_of_ours_or_wants_one_that_we_want_is_told_of() {
    let claimed = Listening::new(vec![], vec![], vec![(SIM0, "192.0.2.77".parse().unwrap())]);
    everywhere("pass", &hearing(claimed), |rig| {
        let reply = arp::Operation::REPLY;
        let request = arp::Operation::REQUEST;
        for (message, is_told) in [
            (arp_message(reply, "192.0.2.77", "0.0.0.0"), true),
            (arp_message(request, "192.0.2.77", "192.0.2.77"), true),
            (arp_message(request, "0.0.0.0", "192.0.2.77"), true),
            (arp_message(request, "192.0.2.1", "192.0.2.1"), true),
            (arp_message(request, "192.0.2.9", "192.0.2.78"), false),
            (arp_message(request, "0.0.0.0", "192.0.2.78"), false),
        ] {
            rig.send_frame("sim0", &arp_frame(&message));
            let told = rig.take_host();
            assert_eq!(told.is_some(), is_told, "{message:?}");
            if let Some(told) = told {
                let packet = arp::Packet::new_checked(&told[..]).unwrap();
                assert_eq!(arp::Repr::parse(&packet).unwrap(), message);
                rig.counted("received to_host");
            } else {
                rig.counted("received consumed");
            }
        }
    });
}

#[test]
fn the_group_of_an_address_that_we_want_is_listened_to() {
    let wanted = "2001:db8:1::77";
    let claimed = Listening::new(vec![], vec![], vec![(SIM0, wanted.parse().unwrap())]);
    let asks_too = {
        let target = ip6(wanted);
        let message = icmp6::Repr::NeighborSolicit(icmp6::NeighborSolicit {
            target,
            source_link: None,
        });
        let group = ipv6::solicited_node(target);
        let to = (ether::Addr::multicast6(group), group);
        discovery((STRANGER, Ipv6Addr::UNSPECIFIED), to, &message)
    };
    let mut rig = Rig::with("pass", &hearing(claimed), Spread::ONE);
    rig.send_frame("sim0", &asks_too);
    assert_eq!(
        rig.take_host().expect("told")[40],
        icmp6::kind::NEIGHBOR_SOLICIT
    );
    rig.counted("received to_host searches sim0.in6.pass r0.evals r0.in r0.made");
    let mut rig = Rig::with("pass", &Topology::usual(), Spread::ONE);
    rig.send_frame("sim0", &asks_too);
    rig.counted("received drop:multicast searches sim0.in6.pass r0.evals r0.in r0.made");
}

#[test]
fn a_flood_of_claims_does_not_fill_the_ring_of_the_local_host() {
    let mut rig = Rig::with("pass", &Topology::usual(), Spread::ONE);
    let claim = arp_frame(&arp_message(
        arp::Operation::REQUEST,
        "192.0.2.1",
        "192.0.2.1",
    ));
    for _ in 0..200 {
        rig.send_frame("sim0", &claim);
    }
    rig.ignore_rest();
    rig.counted("received 200 to_host 50 consumed 150");
}

#[test]
fn published_addresses_are_answered_for_and_no_others() {
    let elsewhere = ether::Addr([2, 0, 0, 0, 7, 7]);
    let published = vec![
        Published {
            interface: SIM0,
            addr: ip4("192.0.2.50").into(),
            link: None,
        },
        Published {
            interface: SIM0,
            addr: ip4("192.0.2.51").into(),
            link: Some(elsewhere),
        },
    ];
    let topology = hearing(Listening::default().publishing(published));
    everywhere("block", &topology, |rig| {
        let mac = rig.mac("sim0");
        for (asked, link) in [("192.0.2.50", mac), ("192.0.2.51", elsewhere)] {
            let host = rig.station("sim0", A.parse().unwrap());
            let mut question = arp_message(arp::Operation::REQUEST, A, asked);
            question.sender_ether = host;
            rig.send_frame("sim0", &arp_frame(&question));
            let reply = rig.take("sim0").expect("answered");
            let packet = arp::Packet::new_checked(&reply[14..]).unwrap();
            let reply = arp::Repr::parse(&packet).unwrap();
            assert_eq!((reply.sender_ether, reply.sender_ip), (link, ip4(asked)));
            rig.counted("received consumed generated passed");
        }
        let other = arp_message(arp::Operation::REQUEST, A, "192.0.2.52");
        rig.send_frame("sim0", &arp_frame(&other));
        rig.ignore_rest();
        rig.counted("received consumed");
        rig.send_frame(
            "sim1",
            &arp_frame(&arp_message(
                arp::Operation::REQUEST,
                "198.51.100.9",
                "192.0.2.50",
            )),
        );
        rig.counted("received consumed");
    });
}

#[test]
fn neighbors_that_are_set_are_never_asked_for_and_cannot_be_talked_away() {
    let station = ether::Addr([2, 0, 0, 0, 9, 9]);
    let fixed = Fixed {
        interface: SIM0,
        addr: A.parse().unwrap(),
        link: station,
    };
    let topology = hearing(Listening::default().knowing(vec![fixed]));
    everywhere("pass", &topology, |rig| {
        // Somebody says that the address is his.
        rig.send_frame(
            "sim0",
            &arp_frame(&arp_message(arp::Operation::REPLY, A, "192.0.2.1")),
        );
        rig.ignore_rest();
        rig.counted("received consumed");
        rig.host_sends(&udp("192.0.2.1:5000", &format!("{A}:6000")));
        let sent = rig.take("sim0").expect("no question is asked");
        assert_eq!(sent[..6], station.0);
        assert_eq!(sent[12..14], [0x08, 0x00]);
        rig.ignore_rest();
    });
}

#[test]
fn discovery_is_answered_for_published_addresses() {
    let target: Ipv6Addr = "2001:db8:1::50".parse().unwrap();
    let published = vec![Published {
        interface: SIM0,
        addr: target.into(),
        link: None,
    }];
    let topology = hearing(Listening::default().publishing(published));
    // By the group of the address, and asked itself whether it is still there.
    let group = ipv6::solicited_node(target);
    for to in [
        (ether::Addr::multicast6(group), group),
        (ether::Addr::ZERO, target),
    ] {
        let mut rig = Rig::with("pass", &topology, Spread::ONE);
        let mac = rig.mac("sim0");
        let to = if to.0 == ether::Addr::ZERO {
            (mac, to.1)
        } else {
            to
        };
        let message = icmp6::Repr::NeighborSolicit(icmp6::NeighborSolicit {
            target,
            source_link: Some(STRANGER),
        });
        let asker: Ipv6Addr = "2001:db8:1::9".parse().unwrap();
        rig.send_frame("sim0", &discovery((STRANGER, asker), to, &message));
        let reply = rig.take("sim0").expect("answered");
        // Flags of the advertisement: router and solicited, not override; the option is our station.
        assert_eq!(reply[..6], STRANGER.0);
        assert_eq!(
            (reply[54], reply[58] & 0xe0),
            (icmp6::kind::NEIGHBOR_ADVERT, 0xc0)
        );
        assert_eq!(reply[62..78], target.octets());
        assert_eq!(reply[80..86], mac.0);
        rig.ignore_rest();
    }
}
