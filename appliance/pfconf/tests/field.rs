//! Rulesets as administrators have them: of two decades, in both dialects, with the habits of their time. They load
//! with as many rules as their authors meant, or are refused for the reason given here.

use net::KifId;
use pfconf::{Compiled, EnvAddress, EnvInterface, Environment, Files, Options, compile};

struct Tree;

impl Files for Tree {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        (name == "/etc/mail/nospamd")
            .then(|| b"# never greylisted\n198.51.100.0/24 # a friend\n203.0.113.7\n".to_vec())
    }
}

fn interface(name: &str, kif: u16, address: &str, bits: u8, groups: &[&str]) -> EnvInterface {
    EnvInterface {
        name: name.into(),
        kif: KifId(kif),
        groups: groups.iter().map(|g| g.to_string()).collect(),
        addresses: vec![EnvAddress::new(address.parse().unwrap(), bits)],
        loopback: false,
    }
}

fn run(source: &str) -> Compiled {
    let mut env = Environment::minimal();
    env.interfaces = vec![
        interface("fxp0", 0, "216.28.123.2", 22, &["egress"]),
        interface("em0", 1, "192.168.0.64", 16, &[]),
        interface("em1", 2, "10.1.0.1", 24, &[]),
    ];
    env.kifs = vec![
        ("egress".into(), KifId::group(0)),
        ("em".into(), KifId::group(1)),
        ("fxp".into(), KifId::group(2)),
    ];
    compile(
        "pf.conf",
        source.as_bytes(),
        &Tree,
        &env,
        &Options::default(),
    )
}

/// How many rules a text makes; panics with its messages if it does not load.
fn rules(source: &str) -> usize {
    let compiled = run(source);
    let loaded = compiled.ruleset.is_some();
    assert!(loaded, "{source}\n{:#?}", compiled.diagnostics);
    compiled.rules.len()
}

/// The messages of a text that is refused.
fn refused(source: &str) -> Vec<String> {
    let compiled = run(source);
    assert!(compiled.ruleset.is_none(), "{source}");
    compiled
        .diagnostics
        .iter()
        .map(|d| d.text.clone())
        .collect()
}

/// A bridge with a second uplink; one macro in front of the rules switches slicing on and off.
const SLICED_BRIDGE: &str = r#"
wired = "fxp0"
inner = "em1"
dsl = "em0"
dsl_gw="192.168.0.1"
sliced="{ 22 80 110 143 443 }"
hosts = "{ 216.28.123.34/32   216.28.123.35/32 }"
on_dsl = "SWITCH"

table <own> persist { 216.28.123.0/24 216.28.124.0/24 216.28.125.0/24 216.29.126.0/24 }

$on_dsl nat on $dsl from $hosts to any port $sliced -> ($dsl)

pass quick on { $wired $inner } from <own> to <own>
$on_dsl pass in quick on $inner route-to ($dsl $dsl_gw) proto { tcp udp } from $hosts \
    to !<own>  port $sliced modulate state label "IN $srcaddr:$dstport"
$on_dsl pass out quick on $wired route-to ($dsl $dsl_gw) proto { tcp udp } from $dsl \
    to any port $sliced modulate state label "OUT $srcaddr:$dstport"
pass on $wired modulate state
"#;

#[test]
fn a_macro_in_front_of_rules_comments_them_out() {
    let off = SLICED_BRIDGE.replace("SWITCH", "#");
    // Two for own hosts, one for the rest.
    assert_eq!(rules(&off), 3);
    let on = SLICED_BRIDGE.replace("SWITCH", "");
    // And the translation for two hosts and five ports, two protocols for each on the way in, five ports twice out.
    assert_eq!(rules(&on), 3 + 2 * 5 + 2 * 2 * 5 + 2 * 5);
}

#[test]
fn labels_are_filled_in_rule_by_rule() {
    let compiled = run(&SLICED_BRIDGE.replace("SWITCH", ""));
    let labels: Vec<_> = compiled
        .rules
        .iter()
        .filter_map(|r| r.label.clone())
        .collect();
    assert_eq!(
        labels.first().map(String::as_str),
        Some("IN 216.28.123.34:22")
    );
    assert!(
        labels.contains(&"OUT 192.168.0.64:443".to_string()),
        "{labels:?}"
    );
    assert_eq!(labels.len(), 30);
}

#[test]
fn rules_by_operating_system_are_as_a_list_of_signatures_gives_them() {
    let source = r#"
wired="fxp0"
pass in quick proto tcp from any os "Linux" to $wired keep state label "Linux"
pass in quick proto tcp from any os "Windows" to $wired keep state label "Windows"
pass in quick proto tcp from any os unknown to $wired keep state label "unknown"
"#;
    assert_eq!(rules(source), 3);
}

#[test]
fn who_tries_too_often_lands_in_a_table() {
    let source = r#"
inside = "10.1.0.0/24"
services = "{ 22, 25, 80 }"
table <bruteforce> persist
block quick from <bruteforce>
pass inet proto tcp from any to $inside port $services \
        flags S/SA keep state \
        (max-src-conn 100, max-src-conn-rate 15/5, \
         overload <bruteforce> flush global)
"#;
    assert_eq!(rules(source), 4);
}

#[test]
fn a_mail_gateway_loads_but_for_the_diversion_to_a_daemon_that_is_not_here() {
    let tables =
        "table <spamd-white> persist\ntable <nospamd> persist file \"/etc/mail/nospamd\"\n";
    let rest = "pass in on egress proto tcp from <nospamd> to any port smtp\n\
        pass in log on egress proto tcp from <spamd-white> to any port smtp\n\
        pass out log on egress proto tcp to any port smtp\n";
    assert_eq!(rules(&format!("{tables}{rest}")), 3);
    let diverted =
        "pass in on egress inet proto tcp to any port smtp \\\n    divert-to 127.0.0.1 port 8025\n";
    let said = refused(&format!("{tables}{diverted}{rest}"));
    let expect = ["divert-to port 8025: no service of the firewall takes connections there"];
    assert_eq!(said, expect);
}

#[test]
fn priorities_load_with_one_value_and_with_two() {
    let source = "wired = \"fxp0\"\npass proto tcp to port ssh set prio 6\n\
        match out on $wired proto tcp from $wired set prio (3, 7)\n\
        match in on $wired proto tcp to $wired set prio (3, 7)\n";
    assert_eq!(rules(source), 3);
}

/// A tree of queues; the last line names one that is not there.
const QUEUES: &str = r#"
wired = "fxp0"
queue main on $wired bandwidth 20M
queue defq parent main bandwidth 3600K default
queue web parent main bandwidth 4000K
queue ssh parent main bandwidth 4000K
queue ssh_interactive parent ssh bandwidth 800K
queue ssh_bulk parent ssh bandwidth 3200K
match log quick on $wired proto tcp to port ssh \
    queue (ssh_bulk, ssh_interactive)
match in quick on $wired proto tcp to port www queue http
"#;

#[test]
fn a_queue_that_is_not_there_is_named() {
    let said = refused(QUEUES);
    assert!(
        said.iter()
            .any(|text| text.contains("queue http is not defined")),
        "{said:?}"
    );
}

#[test]
fn the_old_order_of_anchors_translation_and_filter_loads() {
    let source = r#"
wired = "fxp0"
nat-anchor "ftp-proxy/*"
rdr-anchor "ftp-proxy/*"
nat on $wired from 10.1.0.0/24 to any -> ($wired)
rdr pass on $wired proto tcp from any to $wired port 21 -> 127.0.0.1 port 8021
anchor "ftp-proxy/*"
block in on $wired all
pass out keep state
"#;
    assert_eq!(rules(source), 7);
}

#[test]
fn a_pair_at_the_border_loads() {
    let source = r#"
wired = "fxp0"
servers = "{ 10.1.0.80, 10.1.0.81 }"
table <firewalls> const { 10.1.0.2, 10.1.0.3 }
set block-policy return
pass out quick from <firewalls>
block quick from any to <firewalls>
pass in on $wired from any to $servers
pass out on em1 from any to $servers no state
"#;
    assert_eq!(rules(source), 6);
}

#[test]
fn altq_is_refused_with_the_queue_that_does_the_same() {
    let said = refused(
        "altq on fxp0 cbq bandwidth 20Mb queue { a b }\nqueue a bandwidth 60%\nqueue b bandwidth 40% cbq(default)\n",
    );
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("queue root on fxp0 bandwidth 20M"),
        "{said:?}"
    );
}
