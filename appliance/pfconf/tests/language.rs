//! One production after the other: what a line is printed as, or what is said of it, in the words of pfctl. Cases of both
//! systems; those of whole rulesets are in `corpus`.

use std::net::IpAddr;

use net::KifId;
use pfconf::pfctl::pfctl_nv;
use pfconf::{EnvAddress, EnvInterface, Environment, Files, Options};

struct NoFile;

impl Files for NoFile {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        (name == "list").then(|| b"10.9.0.0/16 !10.9.1.0/24\n".to_vec())
    }
}

fn environment(freebsd: bool) -> Environment {
    let mut env = Environment {
        users: vec![("root".into(), 0)],
        freebsd,
        ..Environment::minimal()
    };
    for (n, (name, addresses)) in [
        ("lo0", &["127.0.0.1", "::1"][..]),
        ("em0", &["192.0.2.1", "2001:db8::1"]),
        ("em1", &["10.0.0.1"]),
    ]
    .into_iter()
    .enumerate()
    {
        let address = |text: &&str| {
            let ip: IpAddr = text.parse().unwrap();
            EnvAddress::new(ip, if ip.is_ipv4() { 24 } else { 64 })
        };
        env.interfaces.push(EnvInterface {
            name: name.into(),
            kif: KifId(n as u16),
            groups: vec![name.trim_end_matches(char::is_numeric).into()],
            addresses: addresses.iter().map(address).collect(),
            loopback: n == 0,
        });
    }
    env
}

fn run(text: &str, freebsd: bool) -> (String, String) {
    let (env, options) = (environment(freebsd), Options::default());
    let out = pfctl_nv("stdin", text.as_bytes(), &NoFile, &env, &options);
    (out.stdout, out.stderr)
}

#[track_caller]
fn printed(cases: &[(&str, &str)], freebsd: bool) {
    for (text, want) in cases {
        let (stdout, stderr) = run(text, freebsd);
        assert_eq!(stderr, "", "{text}");
        assert_eq!(stdout, format!("{want}\n"), "{text}");
        let (again, stderr) = run(&stdout, freebsd);
        assert_eq!((again, stderr), (stdout, String::new()), "{text}, again");
    }
}

/// pfctl's lines without `stdin:1: `, and without the two that follow the cause.
#[track_caller]
fn refused(cases: &[(&str, &[&str])], freebsd: bool) {
    for (text, want) in cases {
        let (_, stderr) = run(text, freebsd);
        let said: Vec<&str> = stderr
            .lines()
            .map(|line| line.strip_prefix("stdin:1: ").unwrap_or(line))
            .filter(|line| !line.starts_with("skipping rule"))
            .filter(|line| *line != "rule expands to no valid combination")
            .collect();
        assert_eq!(said, *want, "{text}");
    }
}

#[test]
fn options_are_printed_as_they_take_effect() {
    printed(
        &[
            ("set skip on lo0", "set skip on { lo0 }"),
            ("set skip on { lo0, em1 }", "set skip on { lo0 em1 }"),
            ("set skip on none", "set skip on none"),
            ("set hostid 0x10", "set hostid 0x00000010"),
            ("set hostid 16", "set hostid 0x00000010"),
            ("set loginterface all", "set loginterface all"),
            ("set syncookies adaptive", "set syncookies adaptive"),
            (
                "set syncookies adaptive (end 5% start 40%)",
                "set syncookies adaptive (start 40%, end 5%)",
            ),
            (
                "set syncookies adaptive (start 30%)",
                "set syncookies adaptive (start 30%, end 15%)",
            ),
            (
                "set timeout { tcp.first 5, frag 9 }",
                "set timeout tcp.first 5\nset timeout frag 9",
            ),
            ("set require-order no", "set require-order no"),
        ],
        false,
    );
    refused(
        &[
            (
                "set skip on ! lo0",
                &[
                    "skip on ! <interface> is not supported",
                    "error setting skip interface(s)",
                ],
            ),
            ("set hostid 0", &["hostid must be non-zero"]),
            ("set hostid x1", &["x1 is not a number"]),
            (
                "set limit foo 5",
                &["pfctl: Bad pool name.", "unable to set limit foo 5"],
            ),
            (
                "set timeout foo 5",
                &["pfctl: illegal timeout name", "unknown timeout foo"],
            ),
            (
                "set optimization fast",
                &[
                    "pfctl: unknown state timeouts hint",
                    "unknown optimization fast",
                ],
            ),
            (
                "set reassemble maybe",
                &["invalid value 'maybe', expected 'yes' or 'no'"],
            ),
            (
                "set syncookies always (start 5%)",
                &[
                    "pfctl: syncookies start/end only apply to adaptive",
                    "error setting syncookies",
                ],
            ),
            (
                "set syncookies adaptive (start 5%, end 9%)",
                &[
                    "pfctl: start must be higher than end",
                    "error setting syncookies",
                ],
            ),
            (
                "set syncookies adaptive (start 101%)",
                &["illegal percentage value"],
            ),
            (
                "set ruleset-optimization more",
                &["unknown ruleset-optimization more"],
            ),
        ],
        false,
    );
}

#[test]
fn lists_of_a_table_are_one_list_in_the_print() {
    printed(
        &[
            (
                "table <t> { 10.0.0.1 } { !10.0.0.2, 10/8 } counters",
                "table <t> counters { 10.0.0.1 !10.0.0.2 10.0.0.0/8 }",
            ),
            ("table <t> { }", "table <t> { }"),
            ("table <t> { } file \"list\"", "table <t> file \"list\""),
            (
                "table <t> { 10.0.0.1 weight 3 } file \"list\" { ::1 }",
                "table <t> { 10.0.0.1 } file \"list\" { ::1 }",
            ),
        ],
        false,
    );
    let name = "n".repeat(32);
    let text = format!("table <{name}>");
    refused(
        &[
            (&text, &["table name too long, max 31 chars"]),
            ("table <t> fast", &["invalid table option 'fast'"]),
            (
                "table <t> { 10.0.0.1 - 10.0.0.9 }",
                &["address ranges are not permitted inside tables"],
            ),
        ],
        false,
    );
}

#[test]
fn options_of_rules_are_printed_in_pfs_order() {
    printed(
        &[
            (
                "match in proto tcp scrub (max-mss 5 reassemble tcp, random-id no-df)",
                "match in proto tcp all scrub (no-df random-id reassemble tcp max-mss 5)",
            ),
            (
                "pass in ! received-on em1 set (tos 0, delay 5, prio (1 2)) tos 0",
                "pass in all !received-on em1 flags S/SA set (prio(1, 2), tos 0x00, delay 5)",
            ),
            (
                "pass in inet divert-packet port 700",
                "pass in inet all flags S/SA scrub (reassemble tcp) divert-packet port 700",
            ),
            ("pass proto icmp max-pkt-rate 0/1", "pass proto icmp all"),
            (
                "anchor x scrub (no-df) allow-opts",
                "anchor \"x\" all scrub (no-df) allow-opts",
            ),
            (
                "pass in proto tcp to port 25:35 rdr-to 10.0.0.9 port 80:*",
                "pass in inet proto tcp from any to any port 25:35 flags S/SA rdr-to 10.0.0.9 port 80:90",
            ),
            (
                "pass from (em0:network)/24",
                "pass from (em0:network) to any flags S/SA",
            ),
            (
                "block return-icmp (0x3) inet",
                "block return-icmp(port-unr) inet all",
            ),
        ],
        false,
    );
}

#[test]
fn contradictions_are_said_in_pfctls_words() {
    refused(
        &[
            ("match once", &["'once' only applies to pass/block rules"]),
            ("pass user root", &["user only applies to tcp/udp"]),
            ("pass group 5", &["group only applies to tcp/udp"]),
            (
                "pass inet6 scrub (no-df)",
                &["address family inet6 does not support scrub options no-df, random-id"],
            ),
            (
                "pass out inet6 af-to inet from 192.0.2.1",
                &["af-to can only be used with direction in"],
            ),
            (
                "pass in inet af-to inet from 192.0.2.1",
                &["must indicate different address family with af-to"],
            ),
            (
                "pass on em0 route-to 10.0.0.9",
                &["direction must be explicit with rules that specify routing"],
            ),
            (
                "pass in route-to (em0)",
                &["route spec requires :peer with dynamic interface addresses"],
            ),
            (
                "pass in inet reply-to { (em0 192.0.2.9) (self) }",
                &["route spec requires :peer with dynamic interface addresses"],
            ),
            (
                "match out inet nat-to { (em0) (em1 192.0.2.9) }",
                &["a next hop with its interface and other targets in one translation"],
            ),
            (
                "pass in inet route-to 2001:db8::9",
                &["af mismatch in routing spec"],
            ),
            (
                "match out inet nat-to 2001:db8::9",
                &["af mismatch in translation spec"],
            ),
            (
                "match out nat-to { 192.0.2.9 2001:db8::9 }",
                &["translation spec contains addresses with different address families"],
            ),
            (
                "pass in inet6 af-to inet from 2001:db8::9",
                &["translation spec contains addresses that don't match target address family"],
            ),
            (
                "match out nat-to { 192.0.2.9 192.0.2.8 } bitmask",
                &["pool type is not valid for multiple translation or routing addresses"],
            ),
            (
                "pass out inet6 route-to { <t> (em0 192.0.2.9) <u> } least-states",
                &["multiple tables or dynamic interfaces not supported for translation or routing"],
            ),
            (
                "match out nat-to <t> bitmask",
                &["tables are not supported by pool type"],
            ),
            (
                "match in proto tcp to port 9 rdr-to 10.0.0.9 port 9:8",
                &["invalid rdr-to port range"],
            ),
            (
                "match in on em0 from 10.0.0.9 binat-to 192.0.2.9",
                &["binat-to cannot be specified with a direction"],
            ),
            (
                "match on em0 from 10/8 binat-to 192.0.2.9",
                &["source and redir addresess must have a matching network mask in binat-rule"],
            ),
            (
                "match on em0 from <t> binat-to 192.0.2.9",
                &["invalid use of table <t> as the source address of a binat-to rule"],
            ),
            (
                "pass in from ::1 divert-to 127.0.0.1 port 9",
                &["divert-to address family mismatch"],
            ),
            (
                "pass proto tcp from any port 9 <> 3",
                &["invalid port range"],
            ),
            (
                "pass proto tcp to port 0x10000",
                &["illegal port value 65536"],
            ),
            (
                "pass to urpf-failed",
                &["\"urpf-failed\" is not permitted in a destination address"],
            ),
            (
                "pass from 10.0.0.0/129",
                &[
                    "netmask is too large: /129",
                    "could not parse host specification",
                ],
            ),
            (
                "pass from nowhere/24",
                &[
                    "no IP address found for nowhere/24",
                    "could not parse host specification",
                ],
            ),
            ("pass from (9x)", &["invalid interface name '9x'"]),
            (
                "pass from (em0:foo)",
                &["interface em0:foo has bad modifier"],
            ),
            (
                "pass proto tcp keep state (max-src-conn-rate 0/1)",
                &["'max-src-conn-rate' values must be > 0"],
            ),
            ("pass keep state (frag 1)", &["illegal state timeout frag"]),
            ("pass keep state (foo 1)", &["illegal timeout name foo"]),
            (
                "block return-icmp (transit)",
                &["unknown icmp code transit"],
            ),
            (
                "block return-rst (ttl 256) proto tcp",
                &["illegal ttl value 256"],
            ),
            ("match scrub (min-ttl 256)", &["illegal min-ttl value 256"]),
            (
                "match scrub (no-df no-df)",
                &["no-df cannot be respecified"],
            ),
            (
                "match scrub (reassemble udp)",
                &["scrub reassemble supports only tcp, not 'udp'"],
            ),
            ("match scrub ()", &["syntax error"]),
            ("pass label a label b", &["label cannot be redefined"]),
            (
                "anchor x route-to 10.0.0.9",
                &["cannot specify route handling on anchors"],
            ),
            ("load anchor from \"x\"", &["anchor name is missing"]),
            ("queue a on em9 bandwidth 5M", &["not an interface"]),
            ("queue a on em0 bandwidth 10%", &["no bandwidth in % yet"]),
            ("queue a on em0 bandwidth 10X", &["unknown unit \"X\""]),
            (
                "queue a on em0 default",
                &["no bandwidth or flow specification"],
            ),
            (
                "queue a on em0 bandwidth 5M burst 9M for 5s",
                &["time in scspec must be in ms"],
            ),
            (
                "include \"none\"",
                &[
                    "pfctl: pushfile: none: No such file or directory",
                    "failed to include file none",
                ],
            ),
        ],
        false,
    );
}

#[test]
fn binat_makes_each_inward_rule_where_its_outward_rule_stands() {
    printed(
        &[(
            "match on em0 proto { tcp udp } from 10.0.0.9 binat-to 192.0.2.9",
            "match out on em0 inet proto tcp from 10.0.0.9 to any nat-to 192.0.2.9 static-port\n\
             match in on em0 inet proto tcp from any to 192.0.2.9 rdr-to 10.0.0.9\n\
             match in on em0 inet proto udp from any to 192.0.2.9 rdr-to 10.0.0.9\n\
             match out on em0 inet proto udp from 10.0.0.9 to any nat-to 192.0.2.9 static-port\n\
             match in on em0 inet proto udp from any to 192.0.2.9 rdr-to 10.0.0.9",
        )],
        false,
    );
}

#[test]
fn lists_are_taken_apart_in_the_order_of_the_system() {
    let text = "block proto tcp from { 10.0.0.2 10.0.0.3 } port { 8 9 } to { 10.0.0.4 10.0.0.5 }";
    let order = |freebsd: bool| -> Vec<String> {
        let (stdout, _) = run(text, freebsd);
        let words = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            [6, 9, 11].map(|n| words[n].to_string()).join(" ")
        };
        stdout.lines().map(words).collect()
    };
    let want = |order: [&str; 4]| -> Vec<String> {
        let of = |src: &str| order.map(|rest| format!("10.0.0.{src} {rest}"));
        [of("2"), of("3")].concat()
    };
    assert_eq!(
        order(false),
        want(["8 10.0.0.4", "9 10.0.0.4", "8 10.0.0.5", "9 10.0.0.5"])
    );
    assert_eq!(
        order(true),
        want(["8 10.0.0.4", "8 10.0.0.5", "9 10.0.0.4", "9 10.0.0.5"])
    );
}

#[test]
fn freebsds_rules_are_printed_as_freebsd_does() {
    printed(
        &[
            ("pass in proto icmp", "pass in proto icmp all keep state"),
            (
                "pass in proto udp to port 29 allow-opts no state",
                "pass in proto udp from any to any port = msg-icp no state allow-opts",
            ),
            (
                "pass proto tcp to port { 6667 != 80 > 22 } label a label b ridentifier 5 dnqueue (1 2)",
                "pass proto tcp from any to any port = ircd flags S/SA keep state label \"a\" label \"b\" ridentifier 5 dnqueue(1, 2)\n\
                 pass proto tcp from any to any port != http flags S/SA keep state label \"a\" label \"b\" ridentifier 5 dnqueue(1, 2)\n\
                 pass proto tcp from any to any port > 22 flags S/SA keep state label \"a\" label \"b\" ridentifier 5 dnqueue(1, 2)",
            ),
            (
                "pass in proto tcp divert-to 127.0.0.1 port 25 set prio 3 max-pkt-size 9",
                "pass in proto tcp all flags S/SA max-pkt-size 9 set ( prio 3 ) keep state divert-to 25",
            ),
            (
                "pass in route-to (em0 192.0.2.9) inet from any to 10/8",
                "pass in route-to (em0 192.0.2.9) inet from any to 10.0.0.0/8 flags S/SA keep state",
            ),
            (
                "ether anchor x in on em0 {\n ether pass on { em0 em1 } from { 00:01:02:03:04:05 00:01:02:03:04:06/24 } label l dnpipe 3\n}",
                "ether anchor \"x\" in on em0 l3 all {\n  \
                 ether pass on em0 from 00:01:02:03:04:05 l3 all label \"l\" dnpipe 3\n  \
                 ether pass on em0 from 00:01:02:03:04:06/24 l3 all label \"l\" dnpipe 3\n  \
                 ether pass on em1 from 00:01:02:03:04:05 l3 all label \"l\" dnpipe 3\n  \
                 ether pass on em1 from 00:01:02:03:04:06/24 l3 all label \"l\" dnpipe 3\n}",
            ),
            (
                "scrub in no-df, random-id rtable 3",
                "scrub in all no-df random-id fragment reassemble rtable 3",
            ),
            (
                "nat on em0 from { 10.0.0.9 ::1 } to any -> { 192.0.2.9 192.0.2.8 }",
                "nat on em0 inet from 10.0.0.9 to any -> { 192.0.2.9, 192.0.2.8 } round-robin",
            ),
        ],
        true,
    );
    refused(
        &[
            (
                "no nat pass on em0 from any to any",
                &["\"pass\" not valid with \"no\""],
            ),
            (
                "nat on em0 from any to any",
                &["translation rule requires '-> address'"],
            ),
            (
                "rdr on em0 to any port 80 -> 10.0.0.9",
                &["dst port only applies to tcp/udp/sctp"],
            ),
            (
                "rdr on em0 proto tcp to any port > 80 -> 10.0.0.9",
                &["invalid port operator for rdr destination port"],
            ),
            (
                "rdr on em0 proto tcp to any port 80 -> 10.0.0.9 static-port",
                &["the 'static-port' option is only valid with nat rules"],
            ),
            (
                "nat on em0 inet from any to any -> ::1",
                &["no translation address with matching address family found."],
            ),
            (
                "pass in route-to (em0 2001:db8::9) inet",
                &["no routing address with matching address family found."],
            ),
            ("scrub in quick", &["scrub rules do not support 'quick'"]),
            (
                "scrub in reassemble tcp",
                &["reassemble tcp rules can not specify direction"],
            ),
            (
                "pass label a label b label c label d label e label f",
                &["label can only be used 5 times"],
            ),
        ],
        true,
    );
}

#[test]
fn one_statement_of_freebsd_makes_a_file_freebsds() {
    let (stdout, stderr) = run("pass proto tcp to port 80\nscrub all\n", false);
    assert_eq!(stderr, "");
    assert_eq!(
        stdout,
        "scrub all fragment reassemble\npass proto tcp from any to any port = http flags S/SA keep state\n"
    );
    let (stdout, _) = run("pass in on em0 route-to 192.0.2.9\n", false);
    assert_eq!(
        stdout,
        "pass in on em0 inet all flags S/SA route-to 192.0.2.9\n"
    );
}
