//! Interfaces made of interfaces, addresses from elsewhere and routes of every kind, in `hostname.*` and `bridgename.*`.

use super::*;
use crate::tests::{good, ip, said, tree, understood};

fn names(named: &[Named]) -> Vec<&str> {
    named.iter().map(|named| named.name.as_str()).collect()
}

fn lagg(config: &NetConfig, name: &str) -> Lagg {
    match &config.interface(name).unwrap().kind {
        Kind::Lagg(lagg) => lagg.clone(),
        other => panic!("{other:?}"),
    }
}

fn bridge(config: &NetConfig) -> Bridge {
    match &config.interface("bridge0").unwrap().kind {
        Kind::Bridge(bridge) => bridge.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn vlans_read_in_every_form() {
    for (file, text, tpid, vid, prio) in [
        ("vlan5", "vnetid 5 parent em0 up", TPID_VLAN, 5, None),
        (
            "vlan5",
            "parent em0\nvnetid 4094\ninet 10.0.0.1/24",
            TPID_VLAN,
            4094,
            None,
        ),
        (
            "vlan5",
            "inet 10.0.0.1 255.255.255.0 NONE vlan 5 vlandev em0",
            TPID_VLAN,
            5,
            None,
        ),
        (
            "vlan0",
            "vlan 22 vlandev em0 192.168.1.5 netmask 255.255.255.0",
            TPID_VLAN,
            22,
            None,
        ),
        (
            "vlan5",
            "vnetid 5 parent em0 txprio 7",
            TPID_VLAN,
            5,
            Some(7),
        ),
        (
            "vlan5",
            "vnetid 5 parent em0 txprio packet",
            TPID_VLAN,
            5,
            None,
        ),
        ("svlan5", "vnetid 5 parent em0", TPID_SVLAN, 5, None),
        (
            "vlan5",
            "vlan 5 vlandev em0 vlanproto 802.1ad",
            TPID_SVLAN,
            5,
            None,
        ),
        ("em0.22", "inet 10.0.0.1/24", TPID_VLAN, 22, None),
    ] {
        let file = format!("hostname.{file}");
        let config = good(&[(&file, text), ("hostname.em0", "up\n")]);
        let [Kind::Vlan(vlan)] = &config
            .interfaces
            .iter()
            .filter(|i| i.name != "em0")
            .map(|i| i.kind.clone())
            .collect::<Vec<_>>()[..]
        else {
            panic!("{text}");
        };
        let parent = vlan.parent.as_ref().map(|p| p.name.as_str());
        assert_eq!(parent, Some("em0"), "{text}");
        assert_eq!(
            (vlan.tpid, vlan.vid, vlan.prio),
            (tpid, Some(vid), prio),
            "{text}"
        );
    }
}

#[test]
fn laggs_read_in_the_words_of_both_systems() {
    for (name, text, protocol) in [
        (
            "trunk0",
            "trunkport em0 trunkport em1\nup",
            LaggProtocol::RoundRobin,
        ),
        (
            "trunk0",
            "trunkproto failover trunkport em0 trunkport em1",
            LaggProtocol::Failover,
        ),
        (
            "trunk0",
            "trunkproto lacp trunkport em0 trunkport em1 lacpmode passive lacptimeout fast",
            LaggProtocol::Lacp,
        ),
        ("aggr0", "trunkport em0 trunkport em1", LaggProtocol::Lacp),
        (
            "lagg0",
            "laggport em0 laggport em1 192.0.2.1/24",
            LaggProtocol::Failover,
        ),
        (
            "lagg0",
            "laggproto loadbalance laggport em0 laggport em1 lagghash l3,l4",
            LaggProtocol::LoadBalance,
        ),
        (
            "lagg0",
            "laggproto broadcast laggport em0 laggport em1 laggport em2 -laggport em2",
            LaggProtocol::Broadcast,
        ),
    ] {
        let file = format!("hostname.{name}");
        let config = good(&[
            (&file, text),
            ("hostname.em0", "up\n"),
            ("hostname.em1", "up\n"),
        ]);
        let lagg = lagg(&config, name);
        assert_eq!(lagg.protocol, protocol, "{text}");
        assert_eq!(names(&lagg.ports), ["em0", "em1"], "{text}");
        assert_eq!(lagg.lacp.active, !text.contains("passive"), "{text}");
        assert_eq!(lagg.lacp.fast, text.contains("fast"), "{text}");
        assert_eq!(lagg.hash.l2, !text.contains("lagghash"), "{text}");
    }
}

#[test]
fn settings_of_laggs_that_no_system_has_are_in_fugu_conf() {
    let config = good(&[
        ("hostname.em0", "up\n"),
        ("hostname.em1", "up\n"),
        ("hostname.lagg0", "laggport em0 laggport em1\n"),
        (
            "fugu.conf",
            "lagg0 probe 192.0.2.1 interval 100ms misses 5\nlagg0 probe 2001:db8::1\nlagg0 failback no\n\
             lagg0 hold-time 2s\nlagg0 min-links 2\nlagg0 receive all\nroute-tables = 4\nworkers = 1\n",
        ),
    ]);
    let lagg = lagg(&config, "lagg0");
    let probes: Vec<_> = lagg
        .probes
        .iter()
        .map(|p| (p.target, p.interval_ms, p.misses))
        .collect();
    assert_eq!(
        probes,
        [(ip("192.0.2.1"), 100, 5), (ip("2001:db8::1"), 1000, 3)]
    );
    assert_eq!(
        (
            lagg.failback,
            lagg.hold_ms,
            lagg.min_links,
            lagg.receive_all
        ),
        (false, 2000, 2, true)
    );
    assert_eq!(config.fugu.route_tables, Some(4));
    for (text, want) in [
        ("em9 probe 192.0.2.1", "1: error: em9 is a card, not a lagg"),
        (
            "lagg7 failback no",
            "1: error: no interface 'lagg7' is configured",
        ),
        ("lagg7 failbak no", "1:7: error: unknown word 'failbak'"),
        (
            "lagg7 failback maybe",
            "1:16: error: 'maybe' is not yes or no",
        ),
        ("lagg7 probe em0", "1:13: error: 'em0' is not an address"),
        (
            "lagg7 probe 192.0.2.1 interval 5ms",
            "1:32: error: '5ms' is not a time from 10ms to 60000ms",
        ),
        (
            "lagg7 min-links 0",
            "1:17: error: '0' is not a number from 1 to 32",
        ),
    ] {
        assert_eq!(said("fugu.conf", text), [want], "{text}");
    }
}

#[test]
fn a_bridge_takes_every_word_that_openbsd_has() {
    let config = good(&[
        ("hostname.em0", "up\n"),
        ("hostname.em1", "up\n"),
        ("hostname.em2", "up\n"),
        (
            "hostname.bridge0",
            "add em0 add em1 addspan em2\nblocknonip em1 -learn em1\n-discover em0 stp em0\nmaxaddr 500 timeout 60\n\
             spanpriority 4096 proto stp fwddelay 10 hellotime 1 maxage 15 holdcnt 3\nifcost em0 200 ifpriority em0 16\n\
             edge em0 -autoptp em1\nstatic em1 0:1:2:3:4:5\nprotected em0 1,31\nlink1\n\
             rule block in on em0 src 0:1:2:3:4:5\nrule pass out on em1 dst 0:1:2:3:4:6 tag GOOD\n\
             rule block in/out on em1 arp request spa 10.0.0.1 sha 0:1:2:3:4:7\ngroup wire up\n",
        ),
    ]);
    let bridge = bridge(&config);
    assert_eq!(names(&bridge.spans), ["em2"]);
    let [em0, em1] = &bridge.members[..] else {
        panic!();
    };
    assert!(em0.learn && !em0.discover && em0.stp && em0.edge == Some(true));
    assert_eq!(
        (em0.cost, em0.priority, em0.protected),
        (Some(200), 16, 1 << 31 | 2)
    );
    assert!(em1.block_non_ip && !em1.learn && em1.point_to_point == Some(false));
    assert_eq!((bridge.max_addr, bridge.timeout), (500, 60));
    let stp = Stp {
        protocol: StpProtocol::Stp,
        priority: 4096,
        hello: 1,
        forward_delay: 10,
        max_age: 15,
        hold_count: 3,
    };
    assert_eq!(bridge.stp, stp);
    assert_eq!(bridge.statics[0].station, [0, 1, 2, 3, 4, 5]);
    assert!(bridge.link1 && !bridge.link0);
    let rules: Vec<_> = bridge
        .rules
        .iter()
        .map(|r| (r.block, r.inbound, r.outbound, r.port.name.as_str()))
        .collect();
    assert_eq!(
        rules,
        [
            (true, true, false, "em0"),
            (false, false, true, "em1"),
            (true, true, true, "em1")
        ]
    );
    assert_eq!(bridge.rules[1].tag.as_deref(), Some("GOOD"));
    assert_eq!(
        bridge.rules[2].arp,
        Some(ArpMatch {
            reverse: false,
            request: Some(true),
            sha: Some([0, 1, 2, 3, 4, 7]),
            spa: Some("10.0.0.1".parse().unwrap()),
            tha: None,
            tpa: None,
        })
    );
    let groups = config.groups_of("bridge0", config.interface("bridge0").unwrap());
    assert_eq!(groups, ["bridge", "wire"]);
}

#[test]
fn bridgename_and_hostname_are_about_one_bridge() {
    let config = good(&[
        ("bridgename.bridge0", "add em0\nadd em1\nup\n"),
        ("hostname.bridge0", "description wire\n"),
        ("hostname.em0", "inet 192.0.2.1 255.255.255.0 NONE\n"),
        (
            "hostname.em1",
            "up media auto\n".trim_end_matches("media auto\n"),
        ),
    ]);
    assert_eq!(config.interfaces.len(), 3);
    assert_eq!(bridge(&config).members.len(), 2);
    let bridge = config.interface("bridge0").unwrap();
    assert_eq!(bridge.description.as_deref(), Some("wire"));
}

#[test]
fn a_tunnel_has_two_ends_and_settings() {
    let config = good(&[
        ("hostname.em0", "inet 198.22.63.8/24\n"),
        (
            "hostname.gif0",
            "tunnel 198.22.63.8 209.51.181.2 tunnelttl 64 tunneldf tunneldomain 1 mtu 1480\n\
             inet6 2001:db8:b9c::2 2001:db8:b9c::1 prefixlen 128\n!route add -inet6 default 2001:db8:b9c::1\n",
        ),
    ]);
    let gif0 = config.interface("gif0").unwrap();
    let Kind::Gif(gif) = &gif0.kind else {
        panic!();
    };
    let tunnel = gif.tunnel.as_ref().unwrap();
    assert_eq!(
        (tunnel.src, tunnel.dst),
        (ip("198.22.63.8"), ip("209.51.181.2"))
    );
    assert_eq!(
        (gif.ttl, gif.dont_fragment, gif.domain),
        (Some(64), true, 1)
    );
    let address = &gif0.addresses[0];
    assert_eq!(
        (address.addr, address.prefix_len, address.dest),
        (ip("2001:db8:b9c::2"), 128, Some(ip("2001:db8:b9c::1")))
    );
    assert!(config.groups_of("gif0", gif0).contains(&"egress".into()));
}

#[test]
fn the_other_end_of_a_link_may_be_said_in_every_way() {
    for text in [
        "inet 10.0.0.1 10.0.0.2 netmask 255.255.255.252",
        "inet 10.0.0.1 255.255.255.252 NONE\ndest 10.0.0.2",
        "inet 10.0.0.1/30 dest 10.0.0.2",
        "inet 10.0.0.1 10.0.0.2",
    ] {
        let config = good(&[("hostname.em0", text)]);
        let address = &config.interfaces[0].addresses[0];
        assert_eq!(address.dest, Some(ip("10.0.0.2")), "{text}");
        let bits = if text.ends_with("1 10.0.0.2") { 32 } else { 30 };
        assert_eq!(address.prefix_len, bits, "{text}");
    }
}

#[test]
fn addresses_can_come_from_elsewhere() {
    for (text, dhcp, slaac) in [
        ("dhcp", true, None),
        ("dhcp NONE NONE NONE group wan", true, None),
        ("inet autoconf", true, None),
        ("inet6 autoconf", false, Some(Slaac { temporary: false })),
        (
            "inet6 autoconf temporary",
            false,
            Some(Slaac { temporary: true }),
        ),
        (
            "inet autoconf\ninet6 autoconf -temporary\nup",
            true,
            Some(Slaac { temporary: false }),
        ),
        ("rtsol", false, Some(Slaac { temporary: false })),
    ] {
        let config = good(&[("hostname.em0", text), ("mygate", "192.0.2.1\n")]);
        let em0 = &config.interfaces[0];
        assert_eq!((em0.dhcp, em0.slaac), (dhcp, slaac), "{text}");
    }
}

#[test]
fn other_options_of_an_interface_are_kept() {
    let config = good(&[(
        "hostname.em0",
        "lladdr 02:00:00:00:00:07 rdomain 3 rtlabel uplink priority 4 up inet 192.0.2.1/24\n!ifconfig $if mtu 1400\n",
    )]);
    let em0 = &config.interfaces[0];
    assert_eq!(em0.station, Some(Station::Given([2, 0, 0, 0, 0, 7])));
    assert_eq!(
        (em0.rdomain, em0.priority, em0.mtu),
        (3, Some(4), Some(1400))
    );
    assert_eq!(em0.route_label.as_deref(), Some("uplink"));
    let random = good(&[("hostname.em0", "lladdr random")]);
    assert_eq!(random.interfaces[0].station, Some(Station::Random));
    let lo1 = good(&[("hostname.lo1", "inet 10.255.0.1/32\n")]);
    assert_eq!(lo1.interfaces[0].kind, Kind::Loopback);
    let lo0 = good(&[("hostname.lo0", "inet 127.0.0.1/8\ninet6 ::1 128\n")]);
    assert!(
        lo0.interfaces[0].addresses.is_empty(),
        "it has these anyway"
    );
}

#[test]
fn routes_of_every_kind_are_read() {
    let gateway = |text: &str, interface: Option<&str>| NextHop::Gateway {
        addr: ip(text),
        interface: interface.map(str::to_string),
    };
    for (text, hop, table, priority, multipath) in [
        (
            "add -mpath -priority 12 default 10.0.0.9",
            gateway("10.0.0.9", None),
            0,
            12,
            true,
        ),
        (
            "-T 2 add default 10.0.0.9",
            gateway("10.0.0.9", None),
            2,
            8,
            false,
        ),
        (
            "add -fib 2 -label x -mtu 1400 default 10.0.0.9",
            gateway("10.0.0.9", None),
            2,
            8,
            false,
        ),
        (
            "add 10.9.0.0/16 -blackhole",
            NextHop::Blackhole,
            0,
            8,
            false,
        ),
        (
            "add -reject 10.9.0.0/16 127.0.0.1",
            NextHop::Reject,
            0,
            8,
            false,
        ),
        (
            "add -inet6 default -iface gif0",
            NextHop::Interface("gif0".into()),
            0,
            8,
            false,
        ),
        (
            "add 10.9.0.0/16 -iface 10.0.0.1",
            NextHop::Interface("em0".into()),
            0,
            8,
            false,
        ),
        (
            "add 10.9.0.0/16 -ifp em0 10.0.0.9",
            gateway("10.0.0.9", Some("em0")),
            0,
            8,
            false,
        ),
    ] {
        let text = format!("inet 10.0.0.1/24\n!route {text}\n");
        let (config, said) = understood(&[
            ("hostname.em0", &text),
            ("hostname.gif0", "tunnel 10.0.0.1 10.0.0.2\n"),
        ]);
        assert!(said.is_empty(), "{text}: {said:?}");
        let route = &config.routes[0];
        assert_eq!(route.hop, hop, "{text}");
        assert_eq!(
            (route.table, route.priority, route.multipath),
            (table, priority, multipath),
            "{text}"
        );
    }
}

/// Messages about several files, as `file:line:col: severity: text`.
fn all_said(files: &[(&str, &str)]) -> Vec<String> {
    let (_, said) = understood(files);
    said.iter().map(ToString::to_string).collect()
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let up = |name: &'static str| (name, "up\n");
    let (em0, em1) = (up("hostname.em0"), up("hostname.em1"));
    for (files, want) in [
        (
            vec![em0, ("hostname.vlan5", "vnetid 5\n")],
            vec!["hostname.vlan5: error: vlan5 has no parent"],
        ),
        (
            vec![em0, ("hostname.vlan5", "parent em0\n")],
            vec!["hostname.vlan5: error: vlan5 has no vnetid"],
        ),
        (
            vec![
                em0,
                ("hostname.vlan5", "vnetid 5 parent em0\n"),
                ("hostname.vlan6", "parent em0\nvnetid 5\n"),
            ],
            vec!["hostname.vlan6: error: VLAN 5 on em0 is vlan5 already, see hostname.vlan5"],
        ),
        (
            vec![em0, ("hostname.vlan5", "vnetid 5 parent em0 mtu 1501\n")],
            vec!["hostname.vlan5: error: mtu 1501 is more than 1500 of its parent"],
        ),
        (
            vec![em0, ("hostname.vlan5", "vnetid 5 parent lagg0\n")],
            vec!["hostname.vlan5:1: error: nothing makes the interface 'lagg0'"],
        ),
        (
            vec![("hostname.vlan5", "vnetid 5 parent em0\n")],
            vec!["hostname.vlan5:1: warning: em0 has no file of its own, so it stays down"],
        ),
        (
            vec![
                ("hostname.vlan5", "vnetid 5 parent vlan6\n"),
                ("hostname.vlan6", "vnetid 5 parent vlan5\n"),
            ],
            vec![
                "hostname.vlan5:1: error: vlan5 is made of itself",
                "hostname.vlan6:1: error: vlan6 is made of itself",
            ],
        ),
        (
            vec![("hostname.vlan5", "vnetid 5 parent vlan5\n")],
            vec!["hostname.vlan5:1: error: vlan5 is made of itself"],
        ),
        (
            vec![
                em0,
                ("hostname.vlan5", "vnetid 5 parent em0\n"),
                ("hostname.vlan6", "vnetid 6 parent vlan5\n"),
                ("hostname.vlan7", "vnetid 7 parent vlan6\n"),
            ],
            vec!["hostname.vlan7: error: vlan7: more than 2 tags"],
        ),
        (
            vec![
                em0,
                em1,
                ("hostname.lagg0", "laggport em0 laggport em1\n"),
                ("hostname.lagg1", "laggport em1\n"),
            ],
            vec!["hostname.lagg1:1: error: em1 is in lagg0 already, see hostname.lagg0:1"],
        ),
        (
            vec![
                em0,
                ("hostname.lagg0", "laggport em0\n"),
                ("hostname.vlan5", "vnetid 5 parent em0\n"),
            ],
            vec!["hostname.vlan5:1: error: em0 is a port of lagg0"],
        ),
        (
            vec![
                em0,
                ("hostname.lagg0", "laggport em0\n"),
                ("hostname.bridge0", "add em0\n"),
            ],
            vec!["hostname.lagg0:1: error: em0 is in bridge0 already, see hostname.bridge0:1"],
        ),
        (
            vec![
                ("hostname.em0", "inet 10.0.0.1/24\n"),
                ("hostname.lagg0", "laggport em0\n"),
            ],
            vec!["hostname.em0: warning: em0 is a port of lagg0: its addresses do nothing"],
        ),
        (
            vec![
                em0,
                ("hostname.gif0", "tunnel 10.0.0.1 10.0.0.2\n"),
                ("hostname.bridge0", "add em0 add gif0\n"),
            ],
            vec!["hostname.bridge0:1: error: gif0 is a tunnel, which a bridge cannot be made of"],
        ),
        (
            vec![
                em0,
                ("hostname.em1", "mtu 9000\n"),
                ("hostname.bridge0", "add em0 add em1\n"),
            ],
            vec![
                "hostname.bridge0:1: warning: em1 has mtu 9000, bridge0 has 1500: larger packets are lost between them",
            ],
        ),
        (
            vec![("hostname.lagg0", "up\n")],
            vec!["hostname.lagg0: warning: lagg0 has no port"],
        ),
        (
            vec![("hostname.gif0", "up\n")],
            vec!["hostname.gif0: error: gif0 has no tunnel"],
        ),
        (
            vec![
                ("hostname.em0", "inet 10.0.0.1/24\n"),
                ("hostname.gif0", "tunnel 10.0.0.3 10.0.0.2\n"),
            ],
            vec!["hostname.gif0:1: warning: 10.0.0.3 is no address of this machine"],
        ),
    ] {
        assert_eq!(all_said(&files), want, "{files:?}");
    }
}

#[test]
fn wrong_words_of_layers_are_placed_and_explained() {
    for (name, text, want) in [
        (
            "hostname.vlan5",
            "vnetid 4095 parent em9",
            "1:8: error: '4095' is not a number from 1 to 4094",
        ),
        (
            "hostname.vlan5",
            "vnetid 5 parent em9 vlanproto x",
            "1:31: error: 'x' is not a protocol of VLANs",
        ),
        (
            "hostname.lagg0",
            "laggproto failovr laggport em9",
            "1:11: error: 'failovr' is not a protocol of laggs",
        ),
        (
            "hostname.lagg0",
            "laggport em9 laggport em9",
            "1:23: error: em9 is a port of it already",
        ),
        (
            "hostname.aggr0",
            "trunkport em9 trunkproto failover",
            "1:26: error: an aggr interface speaks LACP only",
        ),
        (
            "hostname.bridge0",
            "add em9 add em9",
            "1:13: error: em9 is in it already",
        ),
        (
            "hostname.bridge0",
            "stp em1 add em9",
            "1:5: error: em1 is not a member yet",
        ),
        (
            "hostname.bridge0",
            "add em9 rule block on em9 source 1:2:3:4:5:6",
            "1:27: error: unknown word 'source'",
        ),
        (
            "hostname.bridge0",
            "add em9 rule drop on em9",
            "1:14: error: 'drop' where 'block or pass' was to be",
        ),
        (
            "hostname.bridge0",
            "add em9 static em9 1:2:3",
            "1:20: error: '1:2:3' is not a station address",
        ),
        (
            "hostname.bridge0",
            "add em9 laggport em8",
            "1:9: error: 'laggport' is for laggs and trunks; bridge0 is a bridge",
        ),
        (
            "hostname.gif0",
            "tunnel 203.0.113.1 2001:db8::1",
            "1:20: error: the ends of a tunnel are not of the same family",
        ),
        (
            "hostname.gif0",
            "tunnel 203.0.113.1 203.0.113.1",
            "1:20: error: '203.0.113.1' cannot be the end of this tunnel",
        ),
        (
            "hostname.em0",
            "lladdr 01:00:00:00:00:00",
            "1:8: error: this cannot be the address of one station",
        ),
        (
            "hostname.em0",
            "dest 10.0.0.1",
            "1:6: error: no address of this family stands before it",
        ),
        (
            "hostname.em0",
            "!ifconfig em1 up",
            "1:1: error: 'ifconfig' is not run: there is no shell",
        ),
    ] {
        assert_eq!(said(name, text)[0], want, "{name}: {text}");
    }
}

#[test]
fn what_does_not_work_yet_is_refused_where_it_stands() {
    let files = tree(&[
        (
            "hostname.em0",
            "inet 10.0.0.1/24 rdomain 1\ninet6 autoconf temporary\n",
        ),
        ("hostname.em1", "up\n"),
        (
            "hostname.trunk0",
            "trunkproto lacp trunkport em0 trunkport em1\n",
        ),
        ("hostname.vlan5", "vnetid 5 parent trunk0\n"),
        ("fugu.conf", "trunk0 probe 10.0.0.2\n"),
    ]);
    let (_, said) = parse(&files);
    let refused: Vec<String> = said
        .iter()
        .filter(|d| d.code == "not-supported-yet")
        .map(|d| format!("{}:{}:{}: {}", d.file, d.line, d.column, d.text))
        .collect();
    // Of these, what is still in the table.
    let wanted: Vec<String> = [
        ("fugu.conf:1:8", Feature::LaggProbe),
        ("hostname.em0:1:18", Feature::Rdomain),
        ("hostname.em0:2:7", Feature::Slaac),
        ("hostname.em0:2:16", Feature::SlaacTemporary),
        ("hostname.trunk0:0:0", Feature::Lacp),
        ("hostname.vlan5:0:0", Feature::Vlan),
    ]
    .into_iter()
    .filter_map(|(place, feature)| {
        let words = feature::lacking(feature)?;
        Some(format!("{place}: not supported yet: {words}"))
    })
    .collect();
    assert_eq!(refused, wanted);
}

#[test]
fn four_thousand_vlans_are_checked_in_no_time() {
    let mut files = tree(&[("hostname.em0", "up\n")]);
    for vid in 1..=4094u32 {
        let text = format!(
            "vnetid {vid} parent em0 inet 10.{}.{}.1/24\n",
            vid / 250,
            vid % 250
        );
        files.insert(format!("hostname.vlan{vid}"), text.into_bytes());
    }
    let (config, said) = parse_with(&files, &[], Reporter::lenient());
    assert_eq!(config.interfaces.len(), 4095);
    assert!(said.is_empty(), "{said:?}");
}
