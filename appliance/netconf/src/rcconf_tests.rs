//! `rc.conf` as FreeBSD's administrators have it, and every line that the articles print which Fugu is made after.

use super::*;
use crate::tests::{good, ip, said, understood};

/// Addresses of an interface in short.
fn addresses(config: &NetConfig, name: &str) -> Vec<String> {
    let interface = config.interface(name).unwrap_or_else(|| panic!("{name}"));
    let one = |a: &InterfaceAddress| {
        let dest = a.dest.map_or(String::new(), |dest| format!(" -> {dest}"));
        let alias = if a.alias { " alias" } else { "" };
        format!("{}/{}{dest}{alias}", a.addr, a.prefix_len)
    };
    interface.addresses.iter().map(one).collect()
}

fn texts(said: &[Diagnostic]) -> Vec<String> {
    said.iter().map(ToString::to_string).collect()
}

#[test]
fn failover_of_two_cards_as_printed() {
    let config = good(&[(
        "rc.conf",
        "cloned_interfaces=\"lagg0\" \nifconfig_bge0=\"up\" \nifconfig_bge1=\"up\" \n\
         ifconfig_lagg0=\"laggproto failover laggport bge1 laggport bge0 192.168.1.5 netmask 255.255.255.0\" \n",
    )]);
    let Kind::Lagg(lagg) = &config.interface("lagg0").unwrap().kind else {
        panic!();
    };
    assert_eq!(lagg.protocol, LaggProtocol::Failover);
    let ports: Vec<&str> = lagg.ports.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(ports, ["bge1", "bge0"], "the first is the master");
    assert_eq!(lagg.ports[0].origin.line, 4);
    assert_eq!(addresses(&config, "lagg0"), ["192.168.1.5/24"]);
}

#[test]
fn vlan_on_a_failover_pair_as_printed() {
    let config = good(&[(
        "rc.conf",
        "cloned_interfaces=\"lagg0 vlan0\" \nifconfig_em0=\"up\" \nifconfig_em1=\"up\" \n\
         ifconfig_lagg0=\"laggproto failover laggport em0 laggport em1\" \n\
         ifconfig_vlan0=\"vlan 22 vlandev lagg0 192.168.1.5 netmask 255.255.255.0\" \n",
    )]);
    let Kind::Vlan(vlan) = &config.interface("vlan0").unwrap().kind else {
        panic!();
    };
    assert_eq!(vlan.vid, Some(22));
    assert_eq!(vlan.parent.as_ref().unwrap().name, "lagg0");
    assert_eq!(addresses(&config, "vlan0"), ["192.168.1.5/24"]);
}

#[test]
fn bridge_with_a_second_uplink_as_printed() {
    let (config, said) = understood(&[
        ("hostname.fxp0", "inet 216.123.123.123 255.255.252.0 NONE\n"),
        ("hostname.em1", "up media auto\n"),
        ("bridgename.bridge0", "add em1\nadd fxp0\nup\n"),
        ("hostname.em0", "inet 192.168.1.64 255.255.0.0 NONE\n"),
        ("rc.conf", "pf=YES                  # Packet filter / NAT\n"),
    ]);
    assert_eq!(
        texts(&said),
        ["hostname.em1:1:4: notice: 'media' has no effect here"]
    );
    let Kind::Bridge(bridge) = &config.interface("bridge0").unwrap().kind else {
        panic!();
    };
    let members: Vec<&str> = bridge
        .members
        .iter()
        .map(|m| m.port.name.as_str())
        .collect();
    assert_eq!(members, ["em1", "fxp0"]);
    assert_eq!(addresses(&config, "em0"), ["192.168.1.64/16"]);
    assert_eq!(addresses(&config, "fxp0"), ["216.123.123.123/22"]);
}

/// The quotes are those that the article has.
#[test]
fn tunnel_to_the_ipv6_world_as_printed() {
    let (config, said) = understood(&[(
        "rc.conf",
        "gif_interfaces=”gif0″\ngifconfig_gif0=”198.22.63.8 209.51.181.2″\nipv6_network_interfaces=”gif0 lo0″\n\
         ifconfig_gif0_ipv6=”inet6 2001:470:1f10:b9c::2 2001:470:1f10:b9c::1 prefixlen 128″\n\
         ipv6_defaultrouter=”2001:470:1f10:b9c::1″\n",
    )]);
    assert_eq!(
        texts(&said),
        [
            "rc.conf:1:16: warning: typographic quotes, taken as plain ones",
            "rc.conf:2: warning: 198.22.63.8 is no address of this machine",
        ]
    );
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
        addresses(&config, "gif0"),
        ["2001:470:1f10:b9c::2/128 -> 2001:470:1f10:b9c::1"]
    );
    assert_eq!(config.gateways[0].addr, ip("2001:470:1f10:b9c::1"));
    assert!(
        config
            .groups_of("gif0", gif0)
            .contains(&"egress".to_string())
    );
}

/// The commands that the article types, as lines of a file.
#[test]
fn the_same_tunnel_in_a_file_of_its_own() {
    let config = good(&[
        ("hostname.em0", "inet 198.22.63.8/24\n"),
        (
            "hostname.gif0",
            "tunnel 198.22.63.8 209.51.181.2\ninet6 2001:470:1f10:b9c::2 2001:470:1f10:b9c::1 prefixlen 128\n\
             !route -n add -inet6 default 2001:470:1f10:b9c::1\n",
        ),
    ]);
    assert_eq!(
        config.routes[0].hop.gateway(),
        Some(ip("2001:470:1f10:b9c::1"))
    );
}

/// Flags of daemons with quotes in quotes are not for us; the group of the third article is.
#[test]
fn other_printed_lines_do_no_harm() {
    let (_, said) = understood(&[
        ("hostname.em0", "up group mygroup\n"),
        (
            "rc.conf.local",
            "spamd_flags=\"-v -G 2:8:864 -n \"mailwalla 17.25\" -c 1200 -w 1 -y em1 -Y em1 -Y 158.36.191.225\"\n\
             spamdlogd_flags=\"-i em1 -Y 158.36.191.225\"\nftpprooxy_flags=\"-R 172.21.33.5\"\n",
        ),
    ]);
    assert_eq!(
        texts(&said),
        [
            "rc.conf.local:2:1: notice: left aside, not of the network: spamdlogd_flags ftpprooxy_flags"
        ]
    );
}

#[test]
fn a_router_of_freebsd_is_understood() {
    let (config, said) = understood(&[(
        "rc.conf",
        "hostname=\"fw.example.org\"\nkeymap=us\nsshd_enable=\"YES\"\ngateway_enable=\"YES\"\npf_enable=YES\n\
         wan=em0\nvlans_em1=\"10 dmz\"\ncreate_args_dmz=\"vlan 20\"\n\
         ifconfig_${wan}=x\n",
    )]);
    assert_eq!(config.hostname, "fw.example.org");
    assert!(
        texts(&said)
            .iter()
            .any(|t| t.starts_with("rc.conf:9:1: error: not of the form")),
        "{said:?}"
    );
    let config = good(&[(
        "rc.conf",
        "ifconfig_em0=\"inet 192.0.2.2 netmask 255.255.255.0\"\n\
         ifconfig_em0_ipv6=\"inet6 2001:db8::2 prefixlen 64\"\n\
         ifconfig_em0_alias0=\"inet 192.0.2.3 netmask 0xffffffff\"\n\
         ifconfig_em0_alias1=\"inet6 2001:db8::3 prefixlen 128\"\n\
         ifconfig_em0_descr=\"to the provider\"\n\
         ifconfig_em1=\"up\"\nvlans_em1=\"10 dmz\"\ncreate_args_dmz=\"vlan 20\"\n\
         ifconfig_em1_10=\"inet 10.0.10.1/24\"\nifconfig_dmz=\"inet 10.0.20.1/24\"\n\
         ipv4_addrs_em2=\"10.0.30.1/24 10.0.30.5-7/32\"\n\
         defaultrouter=\"192.0.2.1\"\nipv6_defaultrouter=\"fe80::1%em0\"\n\
         static_routes=\"lab vpn\"\nroute_lab=\"-net 10.9.0.0/16 10.0.10.9\"\nroute_vpn=\"10.8.0.0/16 10.0.20.9\"\n\
         ipv6_static_routes=\"lab\"\nipv6_route_lab=\"2001:db8:9:: -prefixlen 48 2001:db8::9\"\n\
         rtadvd_enable=YES\nrtadvd_interfaces=em0\n",
    )]);
    assert_eq!(
        addresses(&config, "em0"),
        [
            "192.0.2.2/24",
            "192.0.2.3/32 alias",
            "2001:db8::3/128 alias",
            "2001:db8::2/64"
        ]
    );
    assert_eq!(addresses(&config, "em1.10"), ["10.0.10.1/24"]);
    assert_eq!(addresses(&config, "dmz"), ["10.0.20.1/24"]);
    assert_eq!(
        addresses(&config, "em2"),
        [
            "10.0.30.1/24",
            "10.0.30.5/32 alias",
            "10.0.30.6/32 alias",
            "10.0.30.7/32 alias"
        ]
    );
    let Kind::Vlan(dmz) = &config.interface("dmz").unwrap().kind else {
        panic!();
    };
    assert_eq!(
        (dmz.vid, dmz.parent.as_ref().unwrap().name.as_str()),
        (Some(20), "em1")
    );
    assert_eq!(
        config.interface("em0").unwrap().description.as_deref(),
        Some("to the provider")
    );
    let gateways: Vec<_> = config.gateways.iter().map(|g| g.addr).collect();
    assert_eq!(gateways, [ip("192.0.2.1"), ip("fe80::1")]);
    let routes: Vec<_> = config
        .routes
        .iter()
        .map(|r| format!("{}/{} {:?}", r.dest, r.prefix_len, r.hop.gateway()))
        .collect();
    assert_eq!(
        routes,
        [
            "10.9.0.0/16 Some(10.0.10.9)",
            "10.8.0.0/16 Some(10.0.20.9)",
            "2001:db8:9::/48 Some(2001:db8::9)"
        ]
    );
    assert_eq!(config.adverts[0].interface.name, "em0");
}

#[test]
fn other_variables_of_the_network_are_understood() {
    for (text, name, want) in [
        ("ifconfig_em0=DHCP", "em0", vec![]),
        ("ifconfig_em0=\"SYNCDHCP mtu 1400\"", "em0", vec![]),
        (
            "ipv6_ifconfig_em0=\"2001:db8::1 prefixlen 64\"",
            "em0",
            vec!["2001:db8::1/64"],
        ),
        (
            "ipv6_ifconfig_em0=\"2001:db8::1/64\"\nipv6_ifconfig_em0_alias0=\"2001:db8::2/64\"",
            "em0",
            vec!["2001:db8::1/64", "2001:db8::2/64 alias"],
        ),
        (
            "ifconfig_em0_name=wan0\nifconfig_wan0=\"inet 192.0.2.1/24\"",
            "wan0",
            vec!["192.0.2.1/24"],
        ),
        (
            "cloned_interfaces=\"em0.5\"\nifconfig_em0=up\nifconfig_em0_5=\"inet 192.0.2.1/24\"",
            "em0.5",
            vec!["192.0.2.1/24"],
        ),
        (
            "ifconfig_em0=\"inet 192.0.2.1/24\"\nifconfig_lo0=\"inet 127.0.0.1\"",
            "em0",
            vec!["192.0.2.1/24"],
        ),
        (
            "ifconfig_em0=\"inet 192.0.2.1/24\"\nifconfig_em0_aliases=\"inet 192.0.2.2/32 \\\n  inet6 2001:db8::1/64\"",
            "em0",
            vec!["192.0.2.1/24", "192.0.2.2/32 alias", "2001:db8::1/64 alias"],
        ),
        (
            "ifconfig_em0=\"inet 192.0.2.1/24 description \\\"to the office\\\" group lan\"",
            "em0",
            vec!["192.0.2.1/24"],
        ),
    ] {
        let config = good(&[("rc.conf", text)]);
        assert_eq!(addresses(&config, name), want, "{text}");
    }
    let config = good(&[(
        "rc.conf",
        "ifconfig_em0=DHCP\nifconfig_em0_ipv6=\"inet6 accept_rtadv\"",
    )]);
    let em0 = config.interface("em0").unwrap();
    assert!(em0.dhcp && em0.slaac.is_some() && em0.link_local);
    let config = good(&[("rc.conf", "ifconfig_em0_name=wan0\nifconfig_wan0=up")]);
    assert_eq!(config.interfaces[0].card.as_deref(), Some("em0"));
}

#[test]
fn wrong_variables_are_placed_and_explained() {
    for (text, want) in [
        (
            "ifconfig_em0=\"inet 10.0.0.1/24\nmtu 12\"",
            "2:5: error: '12' is not a size between 68 and 9216",
        ),
        (
            "ifconfig_em0=\"inet 10.0.0.1/24 \\\n   metu 1500\"",
            "2:4: error: unknown word 'metu'",
        ),
        (
            "ifconifg_em0=\"inet 10.0.0.1/24\"",
            "1:1: warning: nothing reads a variable 'ifconifg_em0'",
        ),
        ("static_routes=\"a\"", "1:16: error: route_a is not set"),
        (
            "route_a=\"-net 10.9.0.0/16 203.0.113.9\"",
            "1:1: warning: route_a is not in static_routes, so it is no route",
        ),
        (
            "ipv6_defaultrouter=203.0.113.9",
            "1:20: error: ipv6_defaultrouter is for the other family",
        ),
        (
            "ifconfig_em9=\"up\"",
            "1: error: em9 is configured in hostname.em9 too",
        ),
        (
            "cloned_interfaces=\"tap0\"",
            "1:20: error: interfaces of the kind 'tap' are not supported yet",
        ),
        (
            "pf_enable=NO",
            "1:1: warning: the rules are in force whatever this says",
        ),
        (
            "firewall_enable=YES",
            "1:1: warning: the only packet filter here is pf",
        ),
        (
            "static_arp_pairs=\"a\"",
            "1:19: error: static_arp_a is not set",
        ),
        (
            "ipv4_addrs_em0=\"10.0.0.1-300/24\"",
            "1:17: error: '10.0.0.1-300/24' is not ADDR/BITS or A-B/BITS",
        ),
        (
            "rtadvd_enable=YES",
            "1:1: error: which interfaces is not said",
        ),
        (
            "pf_enable=YES\npf_enable=YES",
            "2:1: warning: pf_enable was set in line 1 already; this counts",
        ),
    ] {
        assert_eq!(said("rc.conf", text), [want], "{text}");
    }
}

#[test]
fn the_local_file_overrides() {
    let config = good(&[
        ("rc.conf", "net=192.0.2\nifconfig_em0=\"inet $net.1/24\"\n"),
        ("rc.conf.local", "ifconfig_em0=\"inet $net.2/24\"\n"),
    ]);
    assert_eq!(addresses(&config, "em0"), ["192.0.2.2/24"]);
    assert_eq!(
        config.interfaces[0].addresses[0].origin.file,
        "rc.conf.local"
    );
}
