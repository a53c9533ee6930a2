//! Output in the columns of OpenBSD, and errors in words.

use super::*;
use control::fake::Fake;

fn words(line: &str) -> Vec<String> {
    crate::words::split(line)
}

#[test]
fn ifconfig_as_openbsd_prints_it() {
    let mut api = Fake::default();
    api.interfaces[0].description = "uplink".into();
    api.interfaces[0]
        .addresses
        .push(("fe80::1".parse().unwrap(), 64));
    api.interfaces[1].link = false;
    let out = ifconfig(&[], &mut api).unwrap();
    let expected = "\
vio0: flags=8843<UP,BROADCAST,RUNNING,SIMPLEX,MULTICAST> mtu 1500
\tlladdr 52:54:00:00:00:01
\tdescription: uplink
\tindex 1 priority 0 llprio 3
\tdevice: 0000:00:03.0 net_virtio
\tgroups: egress
\tmedia: Ethernet autoselect (1000baseT full-duplex)
\tstatus: active
\tinet 192.0.2.1 netmask 0xffffff00 broadcast 192.0.2.255
\tinet6 2001:db8::1 prefixlen 64
\tinet6 fe80::1%vio0 prefixlen 64 scopeid 0x1
vio1: flags=8803<UP,BROADCAST,SIMPLEX,MULTICAST> mtu 1500
\tlladdr 52:54:00:00:00:02
\tindex 2 priority 0 llprio 3
\tdevice: 0000:00:04.0 net_virtio
\tmedia: Ethernet autoselect
\tstatus: no carrier
";
    assert_eq!(out, expected, "\n{out}");
    assert!(
        ifconfig(&words("vio1"), &mut api)
            .unwrap()
            .starts_with("vio1: ")
    );
    assert!(
        ifconfig(&words("egress"), &mut api)
            .unwrap()
            .starts_with("vio0: ")
    );
    api.interfaces[0].up = false;
    assert!(
        ifconfig(&words("vio0"), &mut api)
            .unwrap()
            .starts_with("vio0: flags=8802<BROADCAST,SIMPLEX,MULTICAST> mtu")
    );
}

#[test]
fn routes_of_both_families_and_of_one() {
    let mut api = Fake::default();
    let out = route(&words("show"), &mut api).unwrap();
    let expected = "\
Routing tables

Internet:
Destination        Gateway            Flags   Refs      Use   Mtu  Prio Iface
default            192.0.2.254        UGS        -        -     -     8 vio0
192.0.2/24         link#1             UCn        -        -     -     4 vio0

Internet6:
Destination                        Gateway                        Flags   Refs      Use   Mtu  Prio Iface
2001:db8::/64                      link#1                         UCn        -        -     -     4 vio0
";
    assert_eq!(out, expected, "\n{out}");
    assert!(
        !route(&words("show -inet"), &mut api)
            .unwrap()
            .contains("Internet6")
    );
    assert!(
        !route(&words("show -inet6"), &mut api)
            .unwrap()
            .contains("default")
    );
    assert_eq!(netstat(&words("-rn"), &mut api).unwrap(), expected);
    assert_eq!(route(&words("-T 0 -n show"), &mut api).unwrap(), expected);
    assert_eq!(netstat(&words("-rn -T 0"), &mut api).unwrap(), expected);
    api.routes[0].rtable = 4;
    api.routes[1].label = Some("lab".into());
    for (asked, default, network) in [
        ("show", false, true),
        ("-T 4 show", true, false),
        ("show -T 4 -inet", true, false),
        ("show -label lab", false, true),
        ("show -label other", false, false),
        ("-T 9 show", false, false),
    ] {
        let out = route(&words(asked), &mut api).unwrap();
        let shown = (out.contains("default"), out.contains("192.0.2/24"));
        assert_eq!(shown, (default, network), "{asked}\n{out}");
    }
    for (asked, says) in [
        ("-T", "route: -T needs a number after it"),
        (
            "-T 256 show",
            "route: -T: '256' is not the number of a routing table, 0 to 255",
        ),
        ("show -label", "route: show: -label needs a name after it"),
    ] {
        assert_eq!(route(&words(asked), &mut api).unwrap_err(), says);
    }
}

#[test]
fn networks_are_abbreviated_as_netstat_does() {
    for (addr, len, shown) in [
        ("0.0.0.0", 0, "default"),
        ("10.0.0.0", 8, "10/8"),
        ("172.16.0.0", 12, "172.16/12"),
        ("192.0.2.128", 25, "192.0.2.128/25"),
        ("192.0.2.1", 32, "192.0.2.1"),
        ("::", 0, "default"),
        ("2001:db8::", 32, "2001:db8::/32"),
    ] {
        assert_eq!(network(addr.parse().unwrap(), len), shown);
    }
}

#[test]
fn interface_counters() {
    let mut api = Fake::default();
    api.interfaces[1].up = false;
    api.interfaces[1].hw_missed = 3;
    api.interfaces[1].hw_errors = 2;
    let out = netstat(&words("-i"), &mut api).unwrap();
    let expected = "\
Name    Mtu   Network     Address              Ipkts Ifail    Opkts Ofail Colls
vio0    1500  <Link>      52:54:00:00:00:01      100     0       50     0     0
vio0    1500  192.0.2/24  192.0.2.1              100     0       50     0     0
vio0    1500  2001:db8::/64 2001:db8::1            100     0       50     0     0
vio1*   1500  <Link>      52:54:00:00:00:02      100     5       50     0     0
";
    assert_eq!(out, expected, "\n{out}");
}

#[test]
fn neighbors_of_each_family() {
    let mut api = Fake::default();
    let out = neighbors("arp", true, &words("-a"), &mut api).unwrap();
    let expected = "\
Host                                 Ethernet Address   Netif Expire    Flags
192.0.2.254                          52:54:00:00:00:fe   vio0 19m30s         
192.0.2.9                            (incomplete)        vio0 2s             
";
    assert_eq!(out, expected, "\n{out}");
    let out = neighbors("ndp", false, &words("-an"), &mut api).unwrap();
    let expected = "\
Neighbor                             Linklayer Address  Netif Expire    S Flags
2001:db8::1                          52:54:00:00:00:01   vio0 permanent R     l
";
    assert_eq!(out, expected, "\n{out}");
    let out = neighbors("arp", true, &words("192.0.2.9"), &mut api).unwrap();
    assert_eq!(out.lines().count(), 2);
    for (published, line) in [
        (
            false,
            "192.0.2.9                            52:54:00:00:00:09   vio0 permanent      ",
        ),
        (
            true,
            "192.0.2.9                            52:54:00:00:00:09   vio0 permanent     p",
        ),
    ] {
        api.neighbors[1] = NeighborView {
            lladdr: Some("52:54:00:00:00:09".into()),
            expires_s: None,
            state: "static".into(),
            published,
            ..api.neighbors[1].clone()
        };
        let out = neighbors("arp", true, &words("192.0.2.9"), &mut api).unwrap();
        assert_eq!(out.lines().nth(1), Some(line));
    }
    let set = words("-s 192.0.2.9 52:54:00:00:00:09 pub");
    neighbors("arp", true, &set, &mut api).unwrap();
    assert_eq!(
        api.status.network_changes,
        ["arp -s 192.0.2.9 52:54:00:00:00:09 pub"]
    );
}

#[test]
fn everything_has_json() {
    let api = &mut Fake::default();
    for out in [
        ifconfig(&words("vio0 --json"), api),
        route(&words("show -inet --json"), api),
        netstat(&words("-i --json"), api),
        netstat(&words("-s --json"), api),
        neighbors("arp", true, &words("-a --json"), api),
    ] {
        let out = out.unwrap();
        assert!(
            serde_json::from_str::<serde_json::Value>(&out).is_ok(),
            "{out}"
        );
    }
}

#[test]
fn errors_name_the_word_that_is_wrong() {
    let api = &mut Fake::default();
    for (got, says) in [
        (
            ifconfig(&words("vio"), api),
            "ifconfig: 'vio': no such interface; did you mean 'vio0'?",
        ),
        (
            route(&words(""), api),
            "route: a word is missing; route show [-inet | -inet6]",
        ),
        (
            route(&words("shwo"), api),
            "route: 'shwo' is not understood; did you mean 'show'?",
        ),
        (
            route(&words("show -inet4"), api),
            "route: show: '-inet4' is not understood; did you mean '-inet'?",
        ),
        (
            netstat(&words("-x"), api),
            "netstat: '-x' is not understood; netstat -i, -r or -s",
        ),
        (
            netstat(&words(""), api),
            "netstat: an option is missing; -i for interfaces, -r for routes, -s for statistics",
        ),
        (
            neighbors("arp", true, &words("-x"), api),
            "arp: '-x' is neither -a nor an address",
        ),
        (
            neighbors("arp", true, &words("192.0.2.77"), api),
            "arp: 192.0.2.77 -- no entry",
        ),
    ] {
        assert_eq!(got, Err(says.to_string()));
    }
}

#[test]
fn spans_of_time() {
    for (seconds, shown) in [
        (0, "0s"),
        (59, "59s"),
        (1170, "19m30s"),
        (3600, "1h"),
        (93_784, "1d2h3m"),
    ] {
        assert_eq!(span(seconds), shown);
    }
}
