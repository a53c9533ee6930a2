//! Files laid out on ports: numbers, interfaces, routes, and what is said of what does not fit.

use super::*;
use std::collections::BTreeMap;

fn port(name: &str, last: u8) -> PortFacts {
    PortFacts {
        name: name.into(),
        mac: [2, 0, 0, 0, 0, last],
        mtu: 1500,
        mtu_max: 2000,
        driver: "net_sim".into(),
        device: "sim".into(),
    }
}

pub(crate) fn lay(files: &[(&str, &str)]) -> (Option<Layout>, Vec<String>) {
    lay_on(files, &mut Kifs::default())
}

pub(crate) fn lay_on(files: &[(&str, &str)], kifs: &mut Kifs) -> (Option<Layout>, Vec<String>) {
    let files: BTreeMap<String, Vec<u8>> = files
        .iter()
        .map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()))
        .collect();
    let (conf, said) = netconf::parse(&files);
    assert!(!netconf::has_errors(&said), "{said:?}");
    let mut diagnostics = Vec::new();
    let ports = [port("em0", 1), port("em1", 2)];
    let layout = lay_out(
        &conf,
        &ports,
        &Learned::default(),
        kifs,
        &mut Tags::default(),
        &mut diagnostics,
    );
    (
        layout,
        diagnostics.iter().map(ToString::to_string).collect(),
    )
}

#[test]
fn ports_come_first_in_their_order_and_lo0_last() {
    let (layout, said) = lay(&[
        ("hostname.em1", "inet 192.0.2.1/24\ngroup lan\n"),
        (
            "hostname.em0",
            "inet 198.51.100.2/24\ninet6 2001:db8::2 64\nmtu 1400\n",
        ),
        ("mygate", "198.51.100.1\n"),
    ]);
    let layout = layout.unwrap();
    assert_eq!(said, Vec::<String>::new());
    let names: Vec<&str> = layout.interfaces.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["em0", "em1", "lo0"]);
    let em0 = layout.interfaces.by_name("em0").unwrap();
    assert_eq!(em0.groups, ["egress"]);
    assert!(em0.up && em0.mtu == 1400 && em0.link_local().is_some());
    assert_eq!(layout.mtus, [(0, 1400), (1, 1500)]);
    let route = layout
        .routes
        .lookup(0, "203.0.113.9".parse().unwrap())
        .unwrap();
    assert_eq!(route.gateway, Some("198.51.100.1".parse().unwrap()));
}

#[test]
fn a_name_and_all_its_groups_are_names_for_rules() {
    let conf = netconf::parse(&BTreeMap::new()).0;
    let mut kifs = Kifs::default();
    let layout = lay_out(
        &conf,
        &[port("em0", 1)],
        &Learned::default(),
        &mut kifs,
        &mut Tags::default(),
        &mut Vec::new(),
    )
    .unwrap();
    let em0 = layout.interfaces.by_name("em0").unwrap();
    for (name, answers) in [("em0", true), ("all", true), ("lo", false)] {
        assert_eq!(
            em0.kifs.contains(kifs.find(name).unwrap()),
            answers,
            "{name}"
        );
    }
    assert!(!em0.up, "a port without a file stays down");
}

#[test]
fn a_file_may_be_bound_to_a_station_address() {
    let (layout, said) = lay(&[("hostname.02:00:00:00:00:02", "inet 192.0.2.1/24\n")]);
    assert_eq!(
        layout
            .unwrap()
            .interfaces
            .by_name("em1")
            .unwrap()
            .addrs
            .len(),
        1
    );
    assert_eq!(said, Vec::<String>::new());
}

#[test]
fn a_name_stays_with_its_card_and_pushes_a_driver_s_name_aside() {
    // The second card is em0 for the rules; what the driver calls so gets a number that nobody has.
    let (layout, said) = lay(&[(
        "hostname.02:00:00:00:00:02",
        "name em0\ninet 192.0.2.1/24\n",
    )]);
    assert_eq!(said, Vec::<String>::new());
    let interfaces = layout.unwrap().interfaces;
    let names: Vec<&str> = interfaces.iter().map(|i| i.name.as_str()).collect();
    assert_eq!(names, ["em2", "em0", "lo0"]);
    let em0 = interfaces.by_name("em0").unwrap();
    assert_eq!((em0.port(), em0.addrs.len(), em0.up), (Some(1), 1, true));
    // Bound by the driver's name, both at once, and with a VLAN on it.
    let (layout, said) = lay(&[
        ("hostname.em0", "name em1\ninet 192.0.2.1/24\n"),
        ("hostname.em1", "name wan0\n"),
        ("hostname.vlan5", "vnetid 5 parent wan0\n"),
    ]);
    assert_eq!(said, Vec::<String>::new());
    let interfaces = layout.unwrap().interfaces;
    let mut ports: Vec<_> = interfaces
        .iter()
        .map(|i| (i.name.as_str(), i.port()))
        .collect();
    ports.sort_unstable();
    let want = [
        ("em1", Some(0)),
        ("lo0", None),
        ("vlan5", None),
        ("wan0", Some(1)),
    ];
    assert_eq!(ports, want);
}

#[test]
fn a_card_with_another_address_is_told_with_those_that_there_are() {
    let (layout, said) = lay(&[("hostname.02:00:00:00:00:09", "name dmz0\nup\n")]);
    assert_eq!(
        said,
        [
            "hostname.02:00:00:00:00:09: warning: this machine has no card with the address 02:00:00:00:00:09; \
             the file has no effect"
        ]
    );
    assert!(layout.unwrap().interfaces.by_name("dmz0").is_none());
}

#[test]
fn what_the_machine_lacks_is_a_warning() {
    let (layout, said) = lay(&[
        (
            "hostname.em7",
            "inet 192.0.2.1/24\n!route add -net 10.0.0.0/8 192.0.2.9\n",
        ),
        ("hostname.em0", "inet 198.51.100.2/24\n"),
    ]);
    assert!(layout.is_some());
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].contains("no interface 'em7'") && said[0].contains("warning"),
        "{said:?}"
    );
    assert!(
        said[1].starts_with("hostname.em7:2: warning: not in force:"),
        "{said:?}"
    );
}

#[test]
fn tables_domains_and_labels_come_from_the_files() {
    let (layout, said) = lay(&[
        (
            "hostname.em0",
            "rdomain 4 rtlabel inside\ninet 192.0.2.1/24\n!route -T 4 add default 192.0.2.4 -label away\n",
        ),
        (
            "hostname.em1",
            "inet 192.0.2.1/24\n!route -T 7 add default 192.0.2.7\n!route add -T 0 10.0.0.0/8 192.0.2.9\n",
        ),
    ]);
    assert_eq!(said, Vec::<String>::new());
    let routes = layout.unwrap().routes;
    let domains: Vec<(u8, u8)> = routes.iter().map(|(d, _)| (d.rtable, d.rdomain)).collect();
    assert_eq!(domains, [(0, 0), (4, 4), (7, 0)]);
    for (rtable, dst, gateway, label) in [
        (0, "10.1.1.1", Some("192.0.2.9"), None),
        (0, "192.0.2.3", None, None),
        (4, "10.1.1.1", Some("192.0.2.4"), Some("away")),
        (4, "192.0.2.3", None, Some("inside")),
        (7, "10.1.1.1", Some("192.0.2.7"), None),
    ] {
        let route = routes.lookup(rtable, dst.parse().unwrap()).unwrap();
        let gateway = gateway.map(|g| g.parse().unwrap());
        let found = (route.gateway, routes.label(route.label));
        assert_eq!(found, (gateway, label), "{dst} in {rtable}");
    }
    assert_eq!(routes.lookup(0, "172.16.0.1".parse().unwrap()), None);
}

#[test]
fn routes_over_an_interface_of_low_priority_are_worse() {
    let (layout, said) = lay(&[
        (
            "hostname.em0",
            "inet 192.0.2.1/24\npriority 5\n!route add default 192.0.2.254\n",
        ),
        (
            "hostname.em1",
            "inet 198.51.100.1/24\n!route add -priority 12 default 198.51.100.254\n\
             !route add 192.0.2.0/24 198.51.100.9 -priority 8\n",
        ),
    ]);
    assert_eq!(said, Vec::<String>::new());
    let routes = layout.unwrap().routes;
    let to = |dst: &str| routes.lookup(0, dst.parse().unwrap()).unwrap().gateway;
    // 8 + 5 against 12, and 4 + 5 against 8.
    assert_eq!(to("203.0.113.9"), Some("198.51.100.254".parse().unwrap()));
    assert_eq!(to("192.0.2.9"), Some("198.51.100.9".parse().unwrap()));
    assert_eq!(to("192.0.2.1"), None, "our own address is ours");
}

#[test]
fn loopback_interfaces_have_addresses() {
    let (layout, said) = lay(&[
        ("hostname.em0", "inet 192.0.2.1/24\n"),
        (
            "hostname.lo0",
            "inet 127.0.0.1/8\ninet alias 10.9.9.9/32\ninet6 2001:db8::9 128\n",
        ),
        (
            "hostname.lo1",
            "rdomain 4\ninet 10.9.9.9/32\ndescription services\n",
        ),
    ]);
    assert_eq!(said, Vec::<String>::new());
    let layout = layout.unwrap();
    let lo0 = layout.interfaces.by_name("lo0").unwrap();
    let addrs: Vec<String> = lo0.addrs.iter().map(|a| a.addr.to_string()).collect();
    assert_eq!(addrs, ["127.0.0.1", "::1", "10.9.9.9", "2001:db8::9"]);
    assert!(lo0.up && lo0.mtu == LOOPBACK_MTU && lo0.groups == ["lo"]);
    let lo1 = layout.interfaces.by_name("lo1").unwrap();
    assert_eq!(
        (lo1.rdomain, lo1.groups.join(" "), lo1.addrs.len()),
        (4, "lo".into(), 1)
    );
    for (rtable, id) in [(0, lo0.id), (4, lo1.id)] {
        let addr = "10.9.9.9".parse().unwrap();
        assert_eq!(layout.interfaces.local(rtable, addr), Some(id));
    }
}

#[test]
fn an_mtu_beyond_the_card_is_an_error() {
    let (_, said) = lay(&[("hostname.em0", "inet 198.51.100.2/24\nmtu 9000\n")]);
    assert!(
        said[0].contains("error: mtu 9000 is more than 2000 of em0"),
        "{said:?}"
    );
}
