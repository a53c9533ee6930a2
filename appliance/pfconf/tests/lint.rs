//! Warnings about rulesets that are right but hardly meant, and their silence about rulesets that are meant.

use net::KifId;
use pfconf::{EnvAddress, EnvInterface, EnvRoute, Environment, NoFiles, Options, compile};

/// Two uplinks, em0 with the default routes and em1 with a second one of IPv4; em2 and a route behind it are inside.
fn environment() -> Environment {
    let mut env = Environment::minimal();
    for (n, (name, group, addresses)) in [
        ("lo0", "lo", &["127.0.0.1"][..]),
        ("em0", "egress", &["192.0.2.2", "2001:db8::2"]),
        ("em1", "backup", &["198.51.100.2"]),
        ("em2", "lan", &["10.0.0.1", "2001:db8:1::1"]),
    ]
    .into_iter()
    .enumerate()
    {
        let prefix = |a: &&str| if a.contains(':') { 64 } else { 24 };
        env.interfaces.push(EnvInterface {
            name: name.into(),
            kif: KifId(n as u16),
            groups: vec![group.into()],
            addresses: addresses
                .iter()
                .map(|a| EnvAddress::new(a.parse().unwrap(), prefix(a)))
                .collect(),
            loopback: n == 0,
        });
    }
    for (dest, prefix_len, gateway) in [
        ("0.0.0.0", 0, "192.0.2.1"),
        ("::", 0, "2001:db8::1"),
        ("0.0.0.0", 0, "198.51.100.1"),
        ("203.0.113.0", 24, "198.51.100.9"),
        ("10.1.0.0", 16, "10.0.0.9"),
    ] {
        env.routes.push(EnvRoute {
            dest: dest.parse().unwrap(),
            prefix_len,
            gateway: gateway.parse().unwrap(),
            interface: None,
        });
    }
    env
}

fn lint(source: &str) -> Vec<pfconf::Diagnostic> {
    let (env, options) = (
        environment(),
        Options {
            lint: true,
            ..Options::default()
        },
    );
    let compiled = compile("pf.conf", source.as_bytes(), &NoFiles, &env, &options);
    // What the dataplane cannot do yet is no matter here.
    let said = compiled.diagnostics.into_iter();
    let said: Vec<_> = said
        .filter(|d| !matches!(d.code, "unsupported" | "divert" | "dummynet"))
        .collect();
    assert!(!pfconf::diag::has_errors(&said), "{source}\n{said:#?}");
    said
}

/// Line and code of each warning.
fn found(source: &str) -> Vec<(u32, &'static str)> {
    lint(source).iter().map(|d| (d.line, d.code)).collect()
}

#[test]
fn rules_that_never_decide_are_named_with_the_rule_that_hides_them() {
    for (source, lines) in [
        (
            "pass in quick on em0\npass in on em0 proto tcp to port 22",
            &[2][..],
        ),
        (
            "pass in quick on em0\nblock in quick on em0 proto udp",
            &[2],
        ),
        (
            "block in on em2 proto tcp from 10.0.0.1\npass in on em2 flags any",
            &[1],
        ),
        ("block in proto udp\npass in", &[1]),
        ("block in proto icmp\npass in no state", &[1]),
        ("pass in quick on egress\nblock in on em0 proto udp", &[2]),
        ("block quick\nanchor x in on em0", &[2]),
        ("anchor x {\n pass in quick\n pass in proto tcp\n}", &[3]),
        (
            "pass in quick from { 10.0.0.0/8 192.0.2.0/24 }\npass in from { 10.1.0.0/16 192.0.2.7 }",
            &[2],
        ),
        (
            "pass in quick proto tcp to port 1:1023\npass in proto tcp to port { 22 8080 }",
            &[2],
        ),
        ("block quick proto udp\nmatch proto udp tag x", &[2]),
    ] {
        let want: Vec<(u32, &str)> = lines.iter().map(|l| (*l, "shadowed-rule")).collect();
        assert_eq!(found(source), want, "{source}");
    }
    let said = &lint("pass in quick\npass in proto tcp to port { 22 80 }")[0];
    assert_eq!(
        said.text,
        "no packet reaches this rule: pf.conf:1 takes them all"
    );
    assert_eq!(said.hint.as_deref(), Some("pass in quick all flags S/SA"));
    let said = &lint("pass in quick proto tcp to port 22\npass in proto tcp to port { 22 80 }")[0];
    assert_eq!(
        said.text,
        "no packet reaches 1 of the 2 rules that this line makes: pf.conf:1 takes them all"
    );
    assert!(
        said.hint.as_ref().unwrap().contains("port = 22"),
        "{said:?}"
    );
}

#[test]
fn rules_that_decide_something_are_not_called_shadowed() {
    for source in [
        // The beginning of many a pf.conf.
        "block return\npass\nblock return in on ! lo0 proto tcp to port 6000:6010",
        "block all\npass out\npass in on em0 proto tcp to port 22",
        // Not the same packets.
        "pass in quick on em1\npass in on em0",
        "pass in quick on lan\npass in on em0",
        "pass in quick inet\npass in",
        "pass in quick from 10.0.0.0/8\npass in from 10.0.0.0/7",
        "pass in quick proto tcp\nblock in proto tcp",
        "pass in quick from <t>\ntable <t> persist\npass in from 10.0.0.1",
        // A match that ends the walk leaves the decision with the rule before it.
        "block in proto udp\nmatch in quick tag x\npass in no state",
        // Only sometimes.
        "block in quick probability 10%\npass in",
        "pass in quick tagged x\npass in tag x",
        // Marks and logs on the way.
        "block in tag x\npass in no state",
        "block in log\npass in no state",
        // A packet that has been rewritten in between is another packet.
        "block in quick to 10.0.0.5\nmatch in on em0 rdr-to 10.0.0.5\npass in to 10.0.0.5",
        "match in on em0\npass in",
    ] {
        let shadowed: Vec<_> = found(source)
            .into_iter()
            .filter(|f| f.1 == "shadowed-rule")
            .collect();
        assert_eq!(shadowed, [], "{source}");
    }
}

#[test]
fn tcp_without_state_wants_a_rule_for_the_answers() {
    for (source, lines) in [
        ("block\npass in proto tcp to port 80 no state", &[2][..]),
        ("block\npass in no state", &[2]),
        ("block\npass proto tcp to port 80 no state", &[2]),
        (
            "block\npass in proto tcp to port { 80 443 } no state\npass out proto tcp from port 80 no state",
            &[2],
        ),
        // Answers are no first packets.
        (
            "block\npass in proto tcp to port 80 no state\npass out proto tcp from port 80",
            &[2],
        ),
        // Correct ones.
        ("block\npass in proto tcp to port 80\npass out", &[]),
        (
            "block\npass in proto tcp to port 80 no state\npass out proto tcp from port 80 no state",
            &[],
        ),
        (
            "block\npass in proto tcp to port 80 no state\npass out proto tcp flags any",
            &[],
        ),
        ("block in\npass in proto tcp to port 80 no state", &[]),
        ("pass in proto tcp to port 80 no state", &[]),
        ("block\npass no state", &[]),
        ("block\npass in proto udp to port 53 no state", &[]),
        ("block in on em1\npass in on em0 proto tcp no state", &[]),
    ] {
        let said: Vec<u32> = found(source)
            .into_iter()
            .filter(|f| f.1 == "stateless-tcp")
            .map(|f| f.0)
            .collect();
        assert_eq!(said, lines, "{source}");
    }
    let said = &lint("block\npass in on em0 proto tcp to 10.0.0.5 port 80 no state")[0];
    assert_eq!(
        said.hint.as_deref(),
        Some(
            "leave out 'no state', or add: pass out on em0 inet proto tcp from 10.0.0.5 port = 80 to any no state"
        )
    );
}

#[test]
fn a_label_of_two_statements_is_told_once() {
    assert_eq!(
        found(
            "block\npass in proto { tcp udp } label a\npass out label a\npass in on em0 proto icmp label b"
        ),
        [(3, "label-twice")]
    );
    assert_eq!(
        found("block\npass in proto { tcp udp } label a\npass out label \"$if\""),
        []
    );
}

#[test]
fn tables_that_stay_empty_are_told_once() {
    for (source, want) in [
        (
            "block in quick from <nobody>\nblock out quick to <nobody>",
            &[(1, "empty-table")][..],
        ),
        ("table <t>\nblock in from <t>", &[(2, "empty-table")]),
        ("table <t> const\nblock in from <t>", &[(2, "empty-table")]),
        ("anchor x {\n block in from <t>\n}", &[(2, "empty-table")]),
        (
            "pass out on em0 nat-to <t> round-robin",
            &[(1, "empty-table")],
        ),
        ("table <t> persist\nblock in from <t>", &[]),
        ("table <t> { 10.0.0.1 }\nblock in from <t>", &[]),
        ("table <t> {}\nblock in from <t>", &[]),
        (
            "pass in proto tcp keep state (max-src-conn 5, overload <t>)\nblock in quick from <t>",
            &[],
        ),
    ] {
        assert_eq!(found(source), want, "{source}");
    }
    let said = &lint("table <badhosts> persist\nblock in from <badhost>")[0];
    assert_eq!(said.hint.as_deref(), Some("did you mean <badhosts>?"));
}

#[test]
fn a_second_uplink_wants_reply_to() {
    for (source, lines) in [
        ("pass in on em1 proto tcp to port 22", &[1][..]),
        ("pass in on backup inet proto { tcp udp } to port 22", &[1]),
        ("pass in on em1 from ! 10.0.0.0/8", &[1]),
        (
            "table <t> { 203.0.113.0/25 192.0.2.0/24 }\npass in on em1 from <t>",
            &[2],
        ),
        ("anchor x on em1 {\n pass in on em1\n}", &[2]),
        // Correct ones.
        ("pass in on em0 proto tcp to port 22", &[]),
        ("pass in on em2 proto tcp to port 22", &[]),
        ("pass in on em1 reply-to 198.51.100.1", &[]),
        ("pass out on em1", &[]),
        ("block in on em1", &[]),
        ("pass in on em1 inet6", &[]),
        ("pass in on em1 no state", &[]),
        ("pass in proto tcp to port 22", &[]),
        // Answers to these find the way.
        ("pass in on em1 from em1:network", &[]),
        ("pass in on em1 from (em1:network)", &[]),
        ("pass in on em1 from 198.51.100.77", &[]),
        ("pass in on em1 from 203.0.113.128/25", &[]),
        (
            "table <t> { 203.0.113.0/25 198.51.100.0/28 }\npass in on em1 from <t>",
            &[],
        ),
        // A gateway that rules route to makes an uplink.
        (
            "pass in on em2 route-to 10.0.0.200\npass in on em2 proto tcp to port 22",
            &[2],
        ),
        (
            "pass in on lan inet6 route-to 2001:db8:1::9\npass in on em2 inet6",
            &[2],
        ),
    ] {
        let said: Vec<u32> = found(source)
            .into_iter()
            .filter(|f| f.1 == "no-reply-to")
            .map(|f| f.0)
            .collect();
        assert_eq!(said, lines, "{source}");
    }
    let said = &lint("pass in on em1")[0];
    assert_eq!(
        said.text,
        "connections come in on em1, but their answers leave by em0, where the default route is"
    );
    assert_eq!(said.hint.as_deref(), Some("add: reply-to 198.51.100.1"));
}

#[test]
fn nothing_is_said_unless_it_is_asked_for() {
    let source = "pass in quick\npass in proto tcp label a\npass out label a\nblock in from <x>\n";
    let env = environment();
    let compiled = compile("t", source.as_bytes(), &NoFiles, &env, &Options::default());
    assert_eq!(compiled.diagnostics, []);
    assert!(!lint(source).is_empty());
}

/// Rulesets as people have them: no warning at all.
#[test]
fn sound_rulesets_stay_without_a_warning() {
    for source in [
        "set skip on lo\nblock return\npass\nblock return in on ! lo0 proto tcp to port 6000:6010\n\
         block return out log proto { tcp udp } user 55\n",
        "table <bruteforce> persist\nset block-policy drop\nset skip on lo\nantispoof quick for em0\n\
         match in all scrub (no-df max-mss 1440)\nmatch out on egress inet from !(egress:network) nat-to (egress:0)\n\
         block in log\nblock in quick from <bruteforce>\npass out quick\n\
         pass in on em2\npass in on egress proto tcp to (egress) port ssh keep state (max-src-conn-rate 5/30, overload <bruteforce> flush global)\n\
         pass in on egress inet proto icmp icmp-type echoreq\n",
        "nat on em0 inet from 10.0.0.0/24 to any -> (em0)\nrdr on em0 inet proto tcp to port 80 -> 10.0.0.5\n\
         block in all\nblock out all\npass out quick on em0 keep state\npass in quick on em2 from 10.0.0.0/24 to any keep state\n\
         pass in quick on em0 proto tcp to 10.0.0.5 port 80 flags S/SA keep state\n",
        "block all\nanchor \"ftp-proxy/*\"\npass in quick on em2 inet proto tcp to port ftp divert-to 127.0.0.1 port 8021\n\
         pass in on em2\npass out\n",
    ] {
        assert_eq!(lint(source), [], "{source}");
    }
}
