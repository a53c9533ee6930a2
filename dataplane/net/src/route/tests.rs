//! Routes chosen, tables replaced, next hops by hash.

use super::*;
use crate::interface::tests::interface;

fn interfaces() -> InterfaceTable {
    let mut down = interface(3, "em3", &["203.0.113.1/24"]);
    down.up = false;
    InterfaceTable::build(vec![
        interface(0, "em0", &["192.0.2.1/24", "2001:db8::1/64"]),
        interface(1, "em1", &["10.0.0.1/8"]),
        interface(2, "lo0", &["127.0.0.1/8", "::1/128"]),
        down,
    ])
    .unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn via(prefix: &str, gateway: &str) -> StaticRoute {
    StaticRoute::new(prefix.parse().unwrap(), Target::Gateway(ip(gateway), None))
}

fn via_on(prefix: &str, gateway: &str, interface: u16) -> StaticRoute {
    StaticRoute::new(
        prefix.parse().unwrap(),
        Target::Gateway(ip(gateway), Some(InterfaceId(interface))),
    )
}

#[test]
fn the_longest_prefix_is_taken() {
    let reject = StaticRoute::new("172.16.0.0/12".parse().unwrap(), Target::Reject);
    let blackhole = StaticRoute::new("2001:db8:dead::/48".parse().unwrap(), Target::Blackhole);
    let statics = [
        via("0.0.0.0/0", "192.0.2.254"),
        via("172.16.5.0/24", "10.0.0.2"),
        via_on("::/0", "fe80::1", 0),
        reject,
        blackhole,
    ];
    let table = RouteTable::build(&interfaces(), &statics).unwrap();
    for (dst, gateway, interface, kind) in [
        ("8.8.8.8", Some("192.0.2.254"), 0, RouteKind::Static),
        ("192.0.2.7", None, 0, RouteKind::Connected),
        ("192.0.2.1", None, 0, RouteKind::Local),
        ("10.255.0.1", None, 1, RouteKind::Connected),
        ("127.0.0.1", None, 2, RouteKind::Local),
        ("172.16.5.9", Some("10.0.0.2"), 1, RouteKind::Static),
        ("172.16.6.9", None, 0, RouteKind::Reject),
        ("203.0.113.1", Some("192.0.2.254"), 0, RouteKind::Static), // em3 is down
        ("2001:db8::9", None, 0, RouteKind::Connected),
        ("2001:db8::1", None, 0, RouteKind::Local),
        ("2001:db8:dead::1", None, 0, RouteKind::Blackhole),
        ("2600::1", Some("fe80::1"), 0, RouteKind::Static),
    ] {
        let route = table.lookup(ip(dst)).unwrap();
        assert_eq!(route.gateway, gateway.map(ip), "{dst}");
        assert_eq!((route.interface.0, route.kind), (interface, kind), "{dst}");
        assert!(route.active && route.prefix.contains(ip(dst)), "{dst}");
    }
}

#[test]
fn without_a_default_there_may_be_no_route() {
    let table = RouteTable::build(&interfaces(), &[]).unwrap();
    assert_eq!(table.lookup(ip("8.8.8.8")), None);
    assert_eq!(table.lookup(ip("2600::1")), None);
    assert_eq!(table.lookup(ip("fe80::1")), None);
    assert_eq!(RouteTable::default().lookup(ip("10.0.0.1")), None);
}

#[test]
fn routes_over_a_down_interface_wait() {
    let statics = [via("198.51.100.0/24", "203.0.113.9")];
    let table = RouteTable::build(&interfaces(), &statics).unwrap();
    assert_eq!(table.lookup(ip("198.51.100.1")), None);
    let waiting: Vec<_> = table.iter().filter(|r| !r.active).collect();
    assert_eq!(waiting.len(), 3); // local and connected of em3, and the static one
}

#[test]
fn a_connected_network_beats_a_static_route_to_it() {
    let statics = [via("192.0.2.0/24", "10.0.0.2")];
    let table = RouteTable::build(&interfaces(), &statics).unwrap();
    assert_eq!(
        table.lookup(ip("192.0.2.7")).unwrap().kind,
        RouteKind::Connected
    );
    assert!(
        table
            .iter()
            .any(|r| r.kind == RouteKind::Static && !r.active)
    );
}

#[test]
fn routes_follow_the_links_where_there_is_a_choice() {
    let mut worse = via("0.0.0.0/0", "10.0.0.2");
    worse.priority = 20;
    let mut last = StaticRoute::new("2001:db8:5::/48".parse().unwrap(), Target::Blackhole);
    last.priority = 30;
    let statics = [
        via("0.0.0.0/0", "192.0.2.254"),
        worse,
        via("172.16.0.0/12", "192.0.2.254"),
        via("192.0.2.0/24", "10.0.0.3"),
        via_on("2001:db8:5::/48", "2001:db8::2", 0),
        last,
    ];
    let built = RouteTable::build(&interfaces(), &statics).unwrap();
    assert!(built.has_choices());
    let default = "8.8.8.8";
    for (links, wanted) in [
        // The link of em0, of em1; the gateway of each destination.
        (
            (true, true),
            [Some("192.0.2.254"), Some("192.0.2.254"), None],
        ),
        (
            (true, false),
            [Some("192.0.2.254"), Some("192.0.2.254"), None],
        ),
        // There is no other way to 172.16/12.
        (
            (false, true),
            [Some("10.0.0.2"), Some("192.0.2.254"), Some("10.0.0.3")],
        ),
        // Nothing is better than the other: as if all were there.
        (
            (false, false),
            [Some("192.0.2.254"), Some("192.0.2.254"), None],
        ),
    ] {
        let links = [links.0, links.1];
        let table = built.with_links(|id| links.get(usize::from(id.0)).copied().unwrap_or(true));
        for (dst, gateway) in [default, "172.16.1.1", "192.0.2.7"].into_iter().zip(wanted) {
            let route = table.lookup(ip(dst)).unwrap();
            assert_eq!(route.gateway, gateway.map(ip), "{dst} with {links:?}");
        }
        let kind = table.lookup(ip("2001:db8:5::1")).unwrap().kind;
        let dead_end = if links[0] {
            RouteKind::Static
        } else {
            RouteKind::Blackhole
        };
        assert_eq!(kind, dead_end, "{links:?}");
        // Our own address is ours whatever the link does.
        assert_eq!(
            table.lookup(ip("192.0.2.1")).unwrap().kind,
            RouteKind::Local
        );
        assert_eq!(table.iter().count(), built.iter().count());
    }
    let none = RouteTable::build(&interfaces(), &statics[2..3]).unwrap();
    assert!(!none.has_choices());
}

#[test]
fn a_way_without_a_link_leaves_its_flows_to_the_others() {
    let way = |gateway| StaticRoute {
        multipath: true,
        ..via("0.0.0.0/0", gateway)
    };
    let statics = [way("192.0.2.254"), way("10.0.0.2"), way("10.0.0.3")];
    let built = RouteTable::build(&interfaces(), &statics).unwrap();
    let gateways = |table: &RouteTable| -> Vec<Option<IpAddr>> {
        let route = *table.lookup(ip("8.8.8.8")).unwrap();
        (0..500)
            .map(|flow| table.way(&route, || flow).gateway)
            .collect()
    };
    let before = gateways(&built);
    let table = built.with_links(|id| id.0 != 0);
    assert_eq!(table.ways(table.lookup(ip("8.8.8.8")).unwrap()).len(), 2);
    for (before, now) in before.iter().zip(gateways(&table)) {
        assert_ne!(now, Some(ip("192.0.2.254")));
        assert!(*before == Some(ip("192.0.2.254")) || *before == now);
    }
    assert_eq!(gateways(&built.with_links(|_| true)), before);
}

#[test]
fn everything_wrong_is_said_at_once() {
    let statics = [
        via("0.0.0.0/0", "198.51.100.1"),
        via("10.1.0.0/16", "10.0.0.1"),
        via("::/0", "fe80::1"),
        via("::/1", "192.0.2.254"),
        via("10.2.0.0/16", "0.0.0.0"),
        via_on("10.3.0.0/16", "192.0.2.254", 1),
        via_on("10.4.0.0/16", "192.0.2.254", 9),
        via("10.5.0.0/16", "10.0.0.2"),
        via("10.5.0.0/16", "10.0.0.3"),
        via_on("2600::/16", "fe80::5054:ff:fe00:0", 0),
    ];
    let errors = RouteTable::build(&interfaces(), &statics).unwrap_err();
    let em = |n| crate::interface::Name::try_from(n).unwrap();
    let expected = [
        (0, RouteProblem::UnreachableGateway(ip("198.51.100.1"))),
        (1, RouteProblem::OwnGateway(ip("10.0.0.1"), em("em1"))),
        (2, RouteProblem::NeedsInterface(ip("fe80::1"))),
        (3, RouteProblem::MixedFamilies(ip("192.0.2.254"))),
        (4, RouteProblem::BadGateway(ip("0.0.0.0"))),
        (5, RouteProblem::UnreachableGateway(ip("192.0.2.254"))),
        (6, RouteProblem::NoInterface),
        (8, RouteProblem::Duplicate),
        (
            9,
            RouteProblem::OwnGateway(ip("fe80::5054:ff:fe00:0"), em("em0")),
        ),
    ];
    let found: Vec<_> = errors
        .iter()
        .map(|e| (e.position, e.problem.clone()))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(
        errors[0].to_string(),
        "route to 0.0.0.0/0: gateway 198.51.100.1 is in no network of an interface"
    );
}

#[test]
fn the_better_priority_wins_while_its_interface_is_up() {
    let with = |gateway, priority| StaticRoute {
        priority,
        ..via("198.51.100.0/24", gateway)
    };
    let statics = [with("10.0.0.2", 20), with("192.0.2.254", 8)];
    let table = RouteTable::build(&interfaces(), &statics).unwrap();
    let route = table.lookup(ip("198.51.100.1")).unwrap();
    assert_eq!((route.gateway, route.ways), (Some(ip("192.0.2.254")), 1));
    // em3 is down: the route over it waits, although it is better.
    let statics = [with("10.0.0.2", 20), with("203.0.113.9", 8)];
    let table = RouteTable::build(&interfaces(), &statics).unwrap();
    let route = table.lookup(ip("198.51.100.1")).unwrap();
    assert_eq!(route.gateway, Some(ip("10.0.0.2")));
}

#[test]
fn flows_are_spread_and_keep_their_way() {
    let with = |gateway: &str| StaticRoute {
        multipath: true,
        ..via("0.0.0.0/0", gateway)
    };
    let gateways = ["192.0.2.254", "192.0.2.253", "10.0.0.2", "10.0.0.3"];
    let all: Vec<_> = gateways.map(with).into();
    let tables: Vec<_> = [&all[..], &all[..3]]
        .map(|statics| RouteTable::build(&interfaces(), statics).unwrap())
        .into();
    let gateway = |table: &RouteTable, flow| {
        let route = *table.lookup(ip("198.51.100.1")).unwrap();
        table.way(&route, || flow).gateway.unwrap()
    };
    let route = tables[0].lookup(ip("8.8.8.8")).unwrap();
    assert_eq!((route.ways, tables[0].ways(route).len()), (4, 4));
    let mut counts = [0; 4];
    for flow in 0..4000 {
        let with_all = gateway(&tables[0], flow);
        assert_eq!(with_all, gateway(&tables[0], flow));
        let n = gateways.iter().position(|g| ip(g) == with_all).unwrap();
        counts[n] += 1;
        // Without the fourth, only its flows move.
        let without = gateway(&tables[1], flow);
        assert!(without == with_all || n == 3, "flow {flow}");
    }
    assert!(counts.iter().all(|n| (800..1200).contains(n)), "{counts:?}");
}

#[test]
fn ways_that_do_not_go_together_are_refused() {
    let with = |gateway: &str, multipath| StaticRoute {
        multipath,
        ..via("0.0.0.0/0", gateway)
    };
    let problems = |statics: &[StaticRoute]| {
        let errors = RouteTable::build(&interfaces(), statics).unwrap_err();
        let of = |e: RouteError| (e.position, e.problem);
        errors.into_iter().map(of).collect::<Vec<_>>()
    };
    let one_is_not_marked = [with("10.0.0.2", true), with("10.0.0.3", false)];
    assert_eq!(problems(&one_is_not_marked), [(1, RouteProblem::Duplicate)]);
    let twice = [with("10.0.0.2", true), with("10.0.0.2", true)];
    assert_eq!(problems(&twice), [(1, RouteProblem::Duplicate)]);
    let many: Vec<_> = (2..19)
        .map(|n| with(&format!("10.0.0.{n}"), true))
        .collect();
    assert_eq!(problems(&many), [(16, RouteProblem::TooManyWays)]);
}

#[test]
fn a_route_to_a_link_makes_its_destinations_neighbors() {
    let prefix = "198.51.100.0/24".parse().unwrap();
    let statics = [StaticRoute::new(prefix, Target::Link(InterfaceId(1)))];
    let table = RouteTable::build(&interfaces(), &statics).unwrap();
    let route = table.lookup(ip("198.51.100.1")).unwrap();
    assert_eq!((route.gateway, route.interface), (None, InterfaceId(1)));
}
