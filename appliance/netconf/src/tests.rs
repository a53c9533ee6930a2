//! Whole trees in, configuration and messages out.

use super::*;
use proptest::prelude::*;

pub(crate) fn tree(files: &[(&str, &str)]) -> BTreeMap<String, Vec<u8>> {
    files
        .iter()
        .map(|(name, text)| (name.to_string(), text.as_bytes().to_vec()))
        .collect()
}

pub(crate) fn good(files: &[(&str, &str)]) -> NetConfig {
    let (config, diagnostics) = understood(files);
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    config
}

/// With what Fugu cannot do yet.
pub(crate) fn understood(files: &[(&str, &str)]) -> (NetConfig, Vec<Diagnostic>) {
    parse_with(&tree(files), &[], Reporter::lenient())
}

/// What is said about one file, as `line:col: severity: text`, beside a sound interface.
pub(crate) fn said(name: &str, text: &str) -> Vec<String> {
    let mut files = tree(&[("hostname.em9", "inet 203.0.113.1/24\n"), (name, text)]);
    files.retain(|_, bytes| !bytes.is_empty());
    let (_, diagnostics) = parse_with(&files, &[], Reporter::lenient());
    diagnostics
        .iter()
        .map(|d| {
            let line = d.to_string();
            line.strip_prefix(&format!("{name}:"))
                .map_or(line.clone(), |rest| rest.trim_start().to_string())
        })
        .collect()
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

#[test]
fn a_router_s_tree_is_understood() {
    let config = good(&[
        ("myname", "fw1.example.org\n"),
        ("mygate", "# uplink\n192.0.2.1\nfe80::1%em0\n"),
        (
            "hostname.em0",
            "inet 192.0.2.2 255.255.255.0 NONE description \"to the provider\" group wan\n\
             inet alias 192.0.2.3 0xffffffff\n\
             inet6 2001:db8::2 64\nup\n",
        ),
        (
            "hostname.em1",
            "inet 10.0.0.1/24\nmtu 9000 -inet6\n!route add -inet 10.9.0.0/16 10.0.0.9\n",
        ),
        (
            "hosts",
            "127.0.0.1 localhost\n10.0.0.9 core CORE.example.org\n2001:db8::9 core\n",
        ),
        (
            "resolv.conf",
            "lookup file bind\nnameserver 192.0.2.53 # theirs\nnameserver 192.0.2.53\n",
        ),
        (
            "fugu.conf",
            "management = em1\nidle-backoff-us=50\nworkers = 2\napi-port = 8080\n",
        ),
        ("pf.conf", "pass\n"),
        ("tables/bad", "192.0.2.99\n"),
    ]);
    assert_eq!(config.hostname, "fw1.example.org");
    let em0 = config.interface("em0").unwrap();
    assert!(em0.up);
    assert_eq!(em0.description.as_deref(), Some("to the provider"));
    let addresses: Vec<_> = em0
        .addresses
        .iter()
        .map(|a| (a.addr, a.prefix_len, a.alias, a.origin.line))
        .collect();
    assert_eq!(
        addresses,
        [
            (ip("192.0.2.2"), 24, false, 1),
            (ip("192.0.2.3"), 32, true, 2),
            (ip("2001:db8::2"), 64, false, 3),
        ]
    );
    assert_eq!(config.groups_of("em0", em0), ["egress", "wan"]);
    let em1 = config.interface("em1").unwrap();
    assert_eq!(em1.mtu, Some(9000));
    assert!(
        config.groups_of("em1", em1).is_empty(),
        "a card has no group of its driver"
    );
    let gateways: Vec<_> = config
        .gateways
        .iter()
        .map(|g| (g.addr, g.interface.as_deref()))
        .collect();
    assert_eq!(
        gateways,
        [(ip("192.0.2.1"), None), (ip("fe80::1"), Some("em0"))]
    );
    assert_eq!(
        config.routes,
        [StaticRoute {
            dest: ip("10.9.0.0"),
            prefix_len: 16,
            hop: NextHop::Gateway {
                addr: ip("10.0.0.9"),
                interface: None,
            },
            table: 0,
            priority: 8,
            multipath: false,
            label: None,
            mtu: None,
            origin: Origin {
                file: "hostname.em1".into(),
                line: 3
            },
        }]
    );
    assert_eq!(config.hosts["core"], [ip("10.0.0.9"), ip("2001:db8::9")]);
    assert_eq!(config.hosts["core.example.org"], [ip("10.0.0.9")]);
    assert_eq!(config.nameservers, [ip("192.0.2.53")]);
    assert_eq!(
        config.fugu,
        FuguConf {
            management: vec!["em1".into()],
            idle_backoff_us: Some(50),
            idle_after_ms: None,
            workers: Some(2),
            api_port: Some(8080),
            ..FuguConf::default()
        }
    );
}

#[test]
fn address_lines_read_in_every_form() {
    for (text, addr, bits, broadcast) in [
        ("inet 10.1.2.3 255.255.255.0", "10.1.2.3", 24, None),
        (
            "inet 10.1.2.3 255.255.255.0 10.1.2.255",
            "10.1.2.3",
            24,
            Some("10.1.2.255"),
        ),
        ("inet 10.1.2.3 24 NONE up", "10.1.2.3", 24, None),
        ("inet 10.1.2.3/22", "10.1.2.3", 22, None),
        ("inet 10.1.2.3/31", "10.1.2.3", 31, None),
        ("inet alias 10.1.2.3 0xffffff00", "10.1.2.3", 24, None),
        (
            "inet 10.1.2.3 netmask 255.255.0.0 broadcast 10.1.255.255",
            "10.1.2.3",
            16,
            Some("10.1.255.255"),
        ),
        ("inet6 2001:db8::1", "2001:db8::1", 64, None),
        ("inet6 2001:db8::1 48 up", "2001:db8::1", 48, None),
        ("inet6 2001:db8::1/128", "2001:db8::1", 128, None),
        (
            "inet6 alias 2001:db8::1 prefixlen 56",
            "2001:db8::1",
            56,
            None,
        ),
        ("inet6 fe80::1%em0 64", "fe80::1", 64, None),
    ] {
        let config = good(&[("hostname.em0", text)]);
        let [address] = &config.interfaces[0].addresses[..] else {
            panic!("{text}");
        };
        assert_eq!(
            (address.addr, address.prefix_len),
            (ip(addr), bits),
            "{text}"
        );
        assert_eq!(
            address.broadcast,
            broadcast.map(|b| b.parse().unwrap()),
            "{text}"
        );
        assert_eq!(address.alias, text.contains("alias"), "{text}");
    }
}

#[test]
fn options_read_and_the_last_word_counts() {
    let config = good(&[(
        "hostname.em0",
        "# nothing\n\nup\ndown\ngroup a group b\n-group a\ndescription x\n-description\ninet6 eui64\n",
    )]);
    let em0 = &config.interfaces[0];
    assert!(!em0.up);
    assert_eq!(em0.groups, ["b"]);
    assert_eq!(em0.description, None);
    assert!(em0.link_local);
    let bare = good(&[("hostname.em0", "")]);
    assert!(bare.interfaces[0].up);
}

#[test]
fn a_file_for_a_station_address_says_so() {
    let config = good(&[("hostname.00:1B:21:0a:0b:0c", "inet 10.0.0.1/8\n")]);
    let interface = &config.interfaces[0];
    assert_eq!(interface.name, "00:1b:21:0a:0b:0c");
    assert_eq!(interface.lladdr, Some([0, 0x1b, 0x21, 0x0a, 0x0b, 0x0c]));
}

#[test]
fn routes_read_in_every_form() {
    for (text, dest, bits, gateway, scope) in [
        (
            "!route add default 10.0.0.9",
            "0.0.0.0",
            0,
            "10.0.0.9",
            None,
        ),
        (
            "! route -n add -net 10.2.0.0/16 10.0.0.9",
            "10.2.0.0",
            16,
            "10.0.0.9",
            None,
        ),
        (
            "!/sbin/route -q add -net 10.2.0.0 10.0.0.9 255.255.0.0",
            "10.2.0.0",
            16,
            "10.0.0.9",
            None,
        ),
        (
            "!route add -net 10.2.0.0 -netmask 255.255.0.0 10.0.0.9",
            "10.2.0.0",
            16,
            "10.0.0.9",
            None,
        ),
        (
            "!route add 10.2.3.4 10.0.0.9",
            "10.2.3.4",
            32,
            "10.0.0.9",
            None,
        ),
        (
            "!route add -host 10.2.3.0 10.0.0.9",
            "10.2.3.0",
            32,
            "10.0.0.9",
            None,
        ),
        (
            "!route add -inet6 default 2001:db8::9",
            "::",
            0,
            "2001:db8::9",
            None,
        ),
        (
            "!route add -inet6 default fe80::9%em0",
            "::",
            0,
            "fe80::9",
            Some("em0"),
        ),
        (
            "!route add -inet6 default fe80::9%\\$if",
            "::",
            0,
            "fe80::9",
            Some("em0"),
        ),
        (
            "!route add -inet6 2001:db8:1:: 2001:db8::9 -prefixlen 48",
            "2001:db8:1::",
            48,
            "2001:db8::9",
            None,
        ),
    ] {
        let text = format!("inet 10.0.0.1/24\ninet6 2001:db8::1\n{text}\n");
        let config = good(&[("hostname.em0", &text)]);
        let [route] = &config.routes[..] else {
            panic!("{text}");
        };
        assert_eq!((route.dest, route.prefix_len), (ip(dest), bits), "{text}");
        assert_eq!(route.hop.gateway(), Some(ip(gateway)), "{text}");
        assert_eq!(route.hop.interface(), scope, "{text}");
    }
}

#[test]
fn wrong_interface_lines_are_placed_and_explained() {
    for (text, want) in [
        ("inet 10.0.0.1", "1:14: error: no netmask after 10.0.0.1"),
        ("inet 10.0.0.1 up", "1:15: error: no netmask after 10.0.0.1"),
        (
            "inet 10.0.0.300 24",
            "1:6: error: '10.0.0.300' is not an IPv4 address",
        ),
        (
            "inet 010.0.0.1 24",
            "1:6: error: '010.0.0.1' is not an IPv4 address",
        ),
        (
            "inet 2001:db8::1 64",
            "1:6: error: '2001:db8::1' is not an IPv4 address",
        ),
        (
            "inet6 10.0.0.1",
            "1:7: error: '10.0.0.1' is not an IPv6 address",
        ),
        (
            "inet 10.0.0.1/33",
            "1:15: error: '33' is not a prefix length from 1 to 32",
        ),
        (
            "inet 10.0.0.1 255.0.255.0",
            "1:15: error: '255.0.255.0' is not a netmask",
        ),
        (
            "inet 10.0.0.1 24 10.0.0",
            "1:18: error: '10.0.0' is not a broadcast address",
        ),
        (
            "inet 10.0.0.1/24 10.0.1.255",
            "1:18: warning: the broadcast address of 10.0.0.1/24 is 10.0.0.255",
        ),
        (
            "inet 10.0.0.0/24",
            "1:6: warning: 10.0.0.0 is the network's own address of its /24",
        ),
        (
            "inet 10.0.0.255/24",
            "1:6: warning: 10.0.0.255 is the broadcast address of its /24",
        ),
        (
            "inet 127.0.0.1/8",
            "1:6: error: '127.0.0.1/8' cannot be the address of an interface",
        ),
        (
            "inet 10.0.0.1/0",
            "1:6: error: '10.0.0.1/0' cannot be the address of an interface",
        ),
        (
            "inet6 ff02::1 64",
            "1:7: error: 'ff02::1' cannot be the address of an interface",
        ),
        (
            "inet6 2001:db8::1 129",
            "1:19: error: '129' is not a prefix length from 1 to 128",
        ),
        ("inet", "1:5: error: 'inet' needs something after it"),
        ("inet alias", "1:11: error: 'inet' needs something after it"),
        (
            "up vnetid 5 parent em1",
            "1:4: error: 'vnetid' is for VLANs; em0 is a card",
        ),
        ("inet -alias", "1:6: error: '-alias' is not an IPv4 address"),
        ("nwid home", "1:1: error: 'nwid' is not supported yet"),
        ("mtu", "1:4: error: 'mtu' needs something after it"),
        (
            "mtu 65536",
            "1:5: error: '65536' is not a size between 68 and 9216",
        ),
        (
            "group lan1",
            "1:7: error: 'lan1' cannot be the name of a group",
        ),
        ("desciption x", "1:1: error: unknown word 'desciption'"),
        (
            "description \"open",
            "1:13: error: this quote is not closed",
        ),
        (
            "media autoselect",
            "1:1: notice: 'media' has no effect here",
        ),
        (
            "!ping -c 1 10.0.0.1",
            "1:1: error: 'ping' is not run: there is no shell",
        ),
        ("!", "1:2: error: '!' is not followed by a command"),
        ("!route", "1:7: error: 'route' needs something after it"),
        (
            "!route delete default",
            "1:8: error: 'delete' is not supported yet",
        ),
        ("!route add default", "1:19: error: the gateway is missing"),
        ("!route add", "1:11: error: the destination is missing"),
        (
            "!route add 10.2.0.0 10.0.0.9",
            "1:12: error: this network has no prefix length",
        ),
        (
            "!route add -net 10.2.3.4 10.0.0.9",
            "1:17: error: this network has no prefix length",
        ),
        (
            "!route add 10.2.0.0/33 10.0.0.9",
            "1:21: error: '33' is not a prefix length or netmask",
        ),
        (
            "!route add 10.2.0.0/16 2001:db8::1",
            "1:24: error: destination and gateway are not of the same family",
        ),
        (
            "!route add -inet6 10.2.0.0/16 203.0.113.9",
            "1:31: error: destination and gateway are not of the same family",
        ),
        (
            "!route add 10.2.0.1/16 203.0.113.9",
            "1:12: warning: host bits are set; taken as 10.2.0.0/16",
        ),
        (
            "!route add default fe80::1",
            "1:20: error: a link-local gateway needs its interface",
        ),
        (
            "!route add default fe80::1%em0\u{14}",
            "1:20: error: 'fe80::1%em0\u{fffd}' does not name an interface after '%'",
        ),
        (
            "!route add default 0.0.0.0",
            "1:20: error: '0.0.0.0' cannot be a gateway",
        ),
        (
            "!route add default 10.0.0.1 24 x",
            "1:32: error: 'x' is one word too many",
        ),
        (
            "!route add -expire 5 default 127.0.0.1",
            "1:12: error: '-expire' is not supported yet",
        ),
        (
            "!route add -T 256 default 127.0.0.1",
            "1:15: error: '256' is not a number from 0 to 255",
        ),
        (
            "!route add -foo default 127.0.0.1",
            "1:12: error: unknown option '-foo' of route",
        ),
        (
            "!route add -netmask",
            "1:20: error: '-netmask' needs something after it",
        ),
        (
            "!route add default 192.0.2.1",
            "1: warning: the gateway 192.0.2.1 is in no network of an interface",
        ),
        (
            "!route add default 203.0.113.1",
            "1: warning: the gateway 203.0.113.1 is this machine itself",
        ),
        (
            "!route add default fe80::1%em7",
            "1: error: no interface 'em7' is configured",
        ),
        (
            "mtu 1279\ninet6 2001:db8::1",
            "error: mtu 1279 is too small for IPv6, which needs 1280",
        ),
        (
            "inet 10.0.0.1/24\ninet alias 10.0.0.1/32",
            "2:12: error: 10.0.0.1 is in this file twice",
        ),
    ] {
        assert_eq!(said("hostname.em0", text), [want], "{text}");
    }
}

#[test]
fn hints_name_what_was_probably_meant() {
    for (name, text, want) in [
        (
            "hostname.em0",
            "desciption x",
            "did you mean 'description'?",
        ),
        (
            "hostname.em0",
            "inet 2001:db8::1 64",
            "write inet6 for an IPv6 address",
        ),
        (
            "hostname.em0",
            "inet 10.0.0.1",
            "write 'inet 10.0.0.1 255.255.255.0' or 'inet 10.0.0.1/24'",
        ),
        (
            "hostname.em0",
            "!route add default fe80::1%em7",
            "known here: em0",
        ),
        ("fugu.conf", "managment = em0", "did you mean 'management'?"),
        ("services", "x 80/tpc", "did you mean 'tcp'?"),
        ("mygates", "192.0.2.1", "did you mean 'mygate'?"),
        ("pf.cnf", "pass", "did you mean 'pf.conf'?"),
    ] {
        let (_, diagnostics) = parse(&tree(&[(name, text)]));
        let hints: Vec<_> = diagnostics
            .iter()
            .filter_map(|d| d.hint.as_deref())
            .collect();
        assert_eq!(hints, [want], "{name}: {text}");
    }
}

#[test]
fn the_word_that_is_wrong_is_underlined() {
    let (_, diagnostics) = parse(&tree(&[("hostname.em0", "up\tvlan 5\n")]));
    assert_eq!(diagnostics[0].excerpt(), " 1 | up\tvlan 5\n   |   \t^^^^");
}

#[test]
fn wrong_small_files_are_placed_and_explained() {
    for (name, text, want) in [
        ("myname", "fw_1 x", "1:6: error: 'x' is one word too many"),
        ("myname", "-fw", "1:1: error: '-fw' cannot be a host name"),
        ("myname", "a\nb", "2:1: error: one name is enough"),
        (
            "mygate",
            "gateway",
            "1:1: error: 'gateway' is not the address of a gateway",
        ),
        (
            "mygate",
            "203.0.113.9\n203.0.113.8",
            "2:1: error: a second IPv4 gateway; the first is in line 1",
        ),
        (
            "mygate",
            "fe80::1",
            "1:1: error: a link-local gateway needs its interface",
        ),
        (
            "mygate",
            "fe80::1%",
            "1:1: error: a link-local gateway needs its interface",
        ),
        (
            "mygate",
            "224.0.0.1",
            "1:1: error: '224.0.0.1' cannot be a gateway",
        ),
        (
            "mygate",
            "192.0.2.1",
            "1: warning: the gateway 192.0.2.1 is in no network of an interface",
        ),
        (
            "hosts",
            "10.0.0 a",
            "1:1: error: '10.0.0' is not an address",
        ),
        ("hosts", "10.0.0.1", "1:9: error: no name after 10.0.0.1"),
        (
            "hosts",
            "10.0.0.1 a b..c",
            "1:12: error: 'b..c' cannot be a host name",
        ),
        (
            "hosts",
            "fe80::1%lo0 localhost",
            "1:1: notice: an address with an interface is left out",
        ),
        (
            "resolv.conf",
            "nameserver",
            "1:11: error: '' is not an address",
        ),
        (
            "resolv.conf",
            "nameservr 1.1.1.1",
            "1:1: warning: unknown word 'nameservr'",
        ),
        (
            "services",
            "www",
            "1:4: error: the name must be followed by PORT/TRANSPORT, like 80/tcp",
        ),
        (
            "services",
            "www 80",
            "1:5: error: '80' is not a port and a transport",
        ),
        (
            "services",
            "www 0/tcp",
            "1:5: error: '0' is not a port from 1 to 65535",
        ),
        (
            "services",
            "www 65536/tcp",
            "1:5: error: '65536' is not a port from 1 to 65535",
        ),
        (
            "services",
            "www 80/ip",
            "1:8: error: unknown transport 'ip'",
        ),
        (
            "protocols",
            "x",
            "1:2: error: the name must be followed by NUMBER",
        ),
        (
            "protocols",
            "x 256",
            "1:3: error: '256' is not a number from 0 to 255",
        ),
        (
            "fugu.conf",
            "management em0",
            "1:1: error: not of the form 'key = value'",
        ),
        (
            "fugu.conf",
            "= 1",
            "1:1: error: not of the form 'key = value'",
        ),
        (
            "fugu.conf",
            "workers =",
            "1:10: error: no value for 'workers'",
        ),
        (
            "fugu.conf",
            "workers = 0",
            "1:11: error: '0' is not a number from 1 to 128",
        ),
        (
            "fugu.conf",
            "workers=1 2",
            "1:11: error: '2' is one word too many",
        ),
        (
            "fugu.conf",
            "workers=1\nworkers=2",
            "2:1: error: 'workers' is set twice; the first is in line 1",
        ),
        (
            "fugu.conf",
            "api-port = http",
            "1:12: error: 'http' is not a number from 1 to 65535",
        ),
        (
            "fugu.conf",
            "management = em9, em/8",
            "1:19: error: 'em/8' is not the name of an interface",
        ),
        (
            "fugu.conf",
            "management = em8",
            "warning: management: no interface 'em8' is configured",
        ),
        (
            "fugu.conf",
            "color = red",
            "1:1: error: unknown key 'color'",
        ),
        (
            "hostname.carp5",
            "up",
            "error: interfaces of the kind 'carp' are not supported yet",
        ),
        (
            "hostname.em0.bak",
            "up",
            "warning: not read: 'em0.bak' is not the name of an interface",
        ),
        (
            "hostname",
            "up",
            "warning: nothing reads a file of this name",
        ),
        (
            "rc.conf",
            "x=y",
            "1:1: notice: left aside, not of the network: x",
        ),
    ] {
        assert_eq!(said(name, text), [want], "{name}: {text}");
    }
}

#[test]
fn files_of_the_tree_go_before_the_built_in_tables() {
    let config = good(&[
        ("hostname.em0", ""),
        ("services", "www 8081/tcp\nmine 999/udp ours\n"),
        ("protocols", "mine 254 ours\n"),
    ]);
    assert_eq!(config.services.port("www"), Some(8081));
    assert_eq!(config.services.port("http"), Some(80));
    assert_eq!(config.services.name(8081, 6), Some("www"));
    assert_eq!(config.services.port("ours"), Some(999));
    assert_eq!(config.protocols.number("ours"), Some(254));
    assert_eq!(config.protocols.name(254), Some("mine"));
}

#[test]
fn interfaces_that_collide_are_named_both() {
    let (_, diagnostics) = parse(&tree(&[
        ("hostname.em0", "inet 10.0.0.1/24\n"),
        ("hostname.em1", "inet 10.0.0.1/24\n"),
        ("hostname.em2", "inet 10.0.0.129/25\n"),
        ("hostname.em3", "inet6 fe80::1/64\n"),
        ("hostname.em4", "inet6 fe80::1/64\n"),
    ]));
    let said: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "hostname.em1:1: error: 10.0.0.1 is on em0 too, see hostname.em0:1",
            "hostname.em2:1: warning: 10.0.0.128/25 overlaps 10.0.0.0/24 of em0, see hostname.em0:1",
        ]
    );
}

#[test]
fn a_second_default_route_is_noticed() {
    let (_, diagnostics) = parse(&tree(&[
        (
            "hostname.em0",
            "inet 10.0.0.1/24\n!route add default 10.0.0.8\n",
        ),
        ("mygate", "10.0.0.9\n"),
    ]));
    let said: Vec<_> = diagnostics.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        ["hostname.em0:2: warning: there is a default route already, see mygate:1"]
    );
}

#[test]
fn all_errors_of_all_files_come_in_one_run() {
    let (_, diagnostics) = parse(&tree(&[
        ("hostname.em0", "inet x\nup\ninet y\n"),
        ("mygate", "z\n"),
        ("fugu.conf", "q\n"),
    ]));
    let places: Vec<_> = diagnostics
        .iter()
        .map(|d| (d.file.as_str(), d.line))
        .collect();
    assert_eq!(
        places,
        [
            ("fugu.conf", 1),
            ("hostname.em0", 1),
            ("hostname.em0", 3),
            ("mygate", 1)
        ]
    );
}

#[test]
fn bytes_that_are_no_text_are_refused_and_never_reach_a_terminal() {
    let files = BTreeMap::from([("mygate".to_string(), b"1.2.3.4\n\xff".to_vec())]);
    let (_, diagnostics) = parse(&files);
    assert_eq!(
        diagnostics[0].to_string(),
        "mygate:2: error: not text in UTF-8"
    );
    let (_, diagnostics) = parse(&tree(&[("hostname.em0", "\x1b[2Jx\n")]));
    let shown = format!("{}{}", diagnostics[0], diagnostics[0].excerpt());
    assert!(!shown.contains('\x1b'));
    assert!(
        shown.contains("hostname.em0:1:1: error: unknown word"),
        "{shown}"
    );
}

#[test]
fn a_tree_without_interfaces_is_worth_a_warning() {
    let (_, diagnostics) = parse(&tree(&[("pf.conf", "pass\n")]));
    assert_eq!(
        diagnostics[0].to_string(),
        "etc: warning: no hostname.IF file: no interface gets an address"
    );
}

const NAMES: [&str; 16] = [
    "rad.conf",
    "bridgename.bridge0",
    "hostname.em0",
    "hostname.gif0",
    "hostname.lagg0",
    "hostname.vlan0",
    "rc.conf",
    "rc.conf.local",
    "hostname.00:00:00:00:00:01",
    "mygate",
    "myname",
    "hosts",
    "resolv.conf",
    "services",
    "protocols",
    "fugu.conf",
];

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..120), NAMES.len())) {
        let files = NAMES.iter().map(|n| n.to_string()).zip(contents).collect();
        for diagnostic in parse(&files).1 {
            prop_assert!(!diagnostic.excerpt().contains('\x1b'));
        }
    }

    #[test]
    fn arbitrary_words_never_panic(
        name in prop::sample::select(&NAMES[..]),
        words in prop::collection::vec("interface|prefix|\\{|\\}|dns|vnetid|parent|laggport|add|rule|static|on|ifconfig_em0=|vlans_em0=|static_routes=|route_|-T|inet6?|alias|!route|add|default|-net(mask)?|10\\.0\\.0\\.[0-9]{1,3}(/[0-9]{1,3})?|fe80::1%?(em0)?|[0-9]{1,6}|=|,|é|\"|'|#|\n|[ -~]{0,6}", 0..24),
    ) {
        let text = words.join(" ");
        let (_, diagnostics) = parse(&tree(&[(name, &text)]));
        for diagnostic in diagnostics {
            prop_assert!(diagnostic.column == 0 || diagnostic.length > 0);
            prop_assert!(diagnostic.excerpt().len() < 4096);
        }
    }

    #[test]
    fn arbitrary_file_names_never_panic(name in "(hostname\\.)?.{0,24}") {
        let files = BTreeMap::from([(name, b"up\n".to_vec())]);
        std::hint::black_box(parse(&files));
    }
}

#[test]
fn what_follows_from_an_error_is_no_message_of_its_own() {
    let codes = |hostname: &str| -> Vec<&'static str> {
        let files = std::collections::BTreeMap::from([
            ("hostname.em0".to_string(), hostname.as_bytes().to_vec()),
            ("mygate".to_string(), b"192.0.2.254\n".to_vec()),
        ]);
        crate::parse(&files).1.iter().map(|d| d.code).collect()
    };
    assert_eq!(codes("inet 198.51.100.1/24\n"), ["unreachable-gateway"]);
    assert_eq!(codes("inet 192.0.2.1\n").len(), 1);
    let files = std::collections::BTreeMap::from([
        ("hostname.em0".to_string(), b"up\n".to_vec()),
        ("hostnam.em1".to_string(), b"up\n".to_vec()),
    ]);
    let said = crate::parse(&files).1;
    assert_eq!(said.len(), 1, "{said:?}");
    assert_eq!(
        (said[0].code, said[0].file.as_str()),
        ("unread-file", "hostnam.em1")
    );
}
