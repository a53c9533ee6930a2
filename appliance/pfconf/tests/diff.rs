//! Two rulesets compared by what they mean: what makes no difference, and what each difference is told as.

use net::KifId;
use pfconf::diff::{Change, Difference, Side, Unreadable, compare};
use pfconf::{EnvAddress, EnvInterface, Environment, NoFiles};

fn environment() -> Environment {
    let mut env = Environment::minimal();
    for (n, (name, address)) in [("em0", "192.0.2.1"), ("em1", "10.0.0.1")]
        .into_iter()
        .enumerate()
    {
        env.interfaces.push(EnvInterface {
            name: name.into(),
            kif: KifId(n as u16),
            groups: Vec::new(),
            addresses: vec![EnvAddress::new(address.parse().unwrap(), 24)],
            loopback: false,
        });
    }
    env
}

fn compared(a: &str, b: &str) -> Result<Difference, Unreadable> {
    let env = environment();
    let side = |text: &'static str, name| Side {
        name,
        text: text.as_bytes(),
        files: &NoFiles,
        env: &env,
    };
    // Tests may leak a few bytes.
    let leak = |text: &str| -> &'static str { Box::leak(text.to_string().into_boxed_str()) };
    compare(side(leak(a), "a"), side(leak(b), "b"))
}

/// One line per difference of rules: sign, anchor, fields, text, lines.
fn rules(a: &str, b: &str) -> Vec<String> {
    let found = compared(a, b).unwrap();
    let line = |r: &pfconf::diff::RuleChange| {
        let anchor = if r.anchor.is_empty() {
            String::new()
        } else {
            format!("[{}] ", r.anchor)
        };
        match &r.change {
            Change::Added(s) => format!("{anchor}+{} {}", s.place.line, s.text),
            Change::Removed(s) => format!("{anchor}-{} {}", s.place.line, s.text),
            Change::Changed {
                before,
                after,
                fields,
            } => {
                format!(
                    "{anchor}~{},{} {}",
                    before.place.line,
                    after.place.line,
                    fields.join(", ")
                )
            }
            Change::Moved { before, after } => {
                format!(
                    "{anchor}>{},{} {}",
                    before.place.line, after.place.line, after.text
                )
            }
        }
    };
    found.rules.iter().map(line).collect()
}

#[test]
fn what_is_written_differently_is_the_same() {
    for (a, b) in [
        (
            "pass in on em0\n",
            "# comment\nx = em0\n\npass in \\\n  on $x\n",
        ),
        (
            "wan = em0\npass in on $wan",
            "outside = em0\npass in on $outside",
        ),
        (
            "pass proto tcp to port { 22 80 }",
            "pass proto tcp to port { 80, 22 }",
        ),
        (
            "pass proto tcp to port { 22 80 }",
            "pass proto tcp to port 22\npass proto tcp to port 80",
        ),
        (
            "pass proto tcp to port 80",
            "pass proto tcp from any to any port http keep state",
        ),
        ("pass to em0", "pass to 192.0.2.1"),
        (
            "table <t> { 10.0.0.0/24 }\npass from <t>",
            "table <t> { 10.0.0.128/25 10.0.0.0/25 }\npass from <t>",
        ),
        ("set limit states 100000\npass", "pass"),
        (
            "set timeout tcp.first 120\npass",
            "set optimization normal\npass",
        ),
        (
            "set skip on { em0 em1 }",
            "set skip on em1\nset skip on em0",
        ),
        (
            "set limit states 5\nset debug crit",
            "set debug crit\nset limit states 5",
        ),
        (
            "pass in on em0\nblock in on em1",
            "block in on em1\npass in on em0",
        ),
        (
            "pass out on em0 nat-to { 192.0.2.1 192.0.2.3 }",
            "pass out on em0 nat-to { 192.0.2.3 192.0.2.1 }",
        ),
        (
            "anchor x {\n pass in\n}",
            "anchor \"x\" {\n\n  pass in all\n}\n# end",
        ),
        (
            "match out on em0 from { 10.0.0.0/24 10.0.1.0/24 } nat-to em0",
            "match out on em0 from { 10.0.1.0/24 10.0.0.0/24 } nat-to em0",
        ),
        (
            "nat on em0 from 10/8 to any -> em0\npass in",
            "no_ = em0\nnat on $no_ from 10.0.0.0/8 -> em0\npass in",
        ),
    ] {
        let found = compared(a, b).unwrap();
        assert!(found.is_empty(), "{a}\n---\n{b}\n{found:#?}");
    }
}

#[test]
fn rules_come_go_change_and_move() {
    for (a, b, want) in [
        (
            "pass in\n",
            "pass in\npass out\n",
            &["+2 pass out all flags S/SA"][..],
        ),
        ("block all\npass in\n", "pass in\n", &["-1 block drop all"]),
        (
            "block\npass in on em0 proto tcp to port 22\npass out\n",
            "block\npass in on em0 proto tcp to port 2222 label x\npass out\n",
            &["~2,2 to port, label"],
        ),
        (
            "pass in on em0\npass out on em0\nblock in quick from 10.9.9.9\n",
            "block in quick from 10.9.9.9\npass in on em0\npass out on em0\n",
            &[">3,1 block drop in quick inet from 10.9.9.9 to any"],
        ),
        // Nothing that it passed could tell.
        (
            "pass in on em0\npass out on em0\nblock in on em1\n",
            "block in on em1\npass in on em0\npass out on em0\n",
            &[],
        ),
        (
            "anchor x {\n pass in\n block out\n}\n",
            "anchor x {\n pass in\n block out quick\n}\n",
            &["[x] ~3,3 quick"],
        ),
        (
            "pass\n",
            "pass\nanchor y on em0 {\n block\n}\n",
            &["+2 anchor \"y\" on em0 all", "[y] +3 block drop all"],
        ),
        (
            "pass proto tcp to port { 22 80 443 }\n",
            "pass proto tcp to port { 443 22 }\n",
            &["-1 pass proto tcp from any to any port = 80 flags S/SA"],
        ),
        // The same label, at another place.
        (
            "block in proto udp label a\nblock\npass out\n",
            "block\npass out\npass in proto udp from 10/8 to port 53 label a\n",
            &["~1,3 action, address family, from, to port, state"],
        ),
    ] {
        assert_eq!(rules(a, b), want, "{a}---\n{b}");
    }
}

#[test]
fn tables_differ_by_addresses_and_flags() {
    let found = compared(
        "table <a> { 10.0.0.0/24 !10.0.0.7 }\ntable <b> persist\ntable <old> persist { 10.9.9.9 }\npass from <a>\npass from <b>",
        "table <new> persist { ::1 }\ntable <a> { 10.0.0.0/24 10.1.0.0/16 }\ntable <b> const persist\npass from <a>\npass from <b>",
    )
    .unwrap();
    let lines: Vec<String> = found
        .tables
        .iter()
        .map(|t| {
            let line = |p: &Option<pfconf::diff::Place>| p.as_ref().map_or(0, |p| p.line);
            format!(
                "{} {},{} +{} -{} {:?}",
                t.name,
                line(&t.before),
                line(&t.after),
                t.added.join(" "),
                t.removed.join(" "),
                t.flags
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "new 0,1 +::1 - None",
            "a 1,2 +10.0.0.7 10.1.0.0/16 - None",
            "b 2,3 + - Some((\"persist\", \"const persist\"))",
            "old 3,0 + -10.9.9.9 None",
        ]
    );
    assert!(found.rules.is_empty() && found.options.is_empty());
}

#[test]
fn options_differ_by_value_and_know_their_defaults() {
    let found = compared(
        "set limit states 5000\nset skip on em0\npass",
        "set debug crit\nset limit { states 7000, src-nodes 500 }\nset timeout tcp.closed 10\nset block-policy return\npass",
    )
    .unwrap();
    let lines: Vec<String> = found
        .options
        .iter()
        .map(|o| {
            let line = |p: &Option<pfconf::diff::Place>| p.as_ref().map_or(0, |p| p.line);
            format!(
                "{} {}>{} {},{}",
                o.name,
                o.before,
                o.after,
                line(&o.set_before),
                line(&o.set_after)
            )
        })
        .collect();
    assert_eq!(
        lines,
        [
            "block-policy drop>return 0,4",
            "debug err>crit 0,1",
            "skip on em0>none 2,0",
            "limit states 5000>7000 1,2",
            "limit src-nodes 10000>500 0,2",
            "timeout tcp.closed 90>10 0,3",
        ]
    );
}

#[test]
fn queues_and_limiters_are_compared_by_name() {
    let found = compared(
        "queue root on em0 bandwidth 10M\nqueue std parent root bandwidth 5M default\nqueue old parent root bandwidth 1M\n",
        "queue root on em0 bandwidth 10M\nqueue std parent root bandwidth 6M default\nstate limiter x id 1 limit 5\n",
    )
    .unwrap();
    let lines: Vec<String> = found
        .definitions
        .iter()
        .map(|c| match c {
            Change::Added(s) => format!("+{}", s.text),
            Change::Removed(s) => format!("-{}", s.text),
            Change::Changed { after, .. } => format!("~{}", after.text),
            Change::Moved { .. } => "moved".into(),
        })
        .collect();
    assert_eq!(
        lines,
        [
            "~queue std parent root bandwidth 6M default",
            "+state limiter x id 1 limit 5",
            "-queue old parent root bandwidth 1M",
        ]
    );
}

#[test]
fn a_ruleset_that_is_wrong_is_not_compared() {
    let Err(Unreadable::Second(said)) = compared("pass", "pass\nblok") else {
        panic!("the second is wrong");
    };
    assert_eq!((said[0].file.as_str(), said[0].line), ("b", 2));
    assert!(matches!(
        compared("blok", "blok"),
        Err(Unreadable::First(_))
    ));
}

#[test]
fn a_ruleset_and_its_print_mean_the_same() {
    for text in [
        "pass out on em0 route-to { 192.0.2.9 192.0.2.8 }\n",
        "wan = em0\ntable <t> { 10.0.0.1 !10.0.0.0/8 }\nset limit states 5\nset skip on em1\npass in on $wan from { <t> 10.1.0.0/16 } to any\n",
        "anchor x on em0 {\n pass in proto { tcp udp } to port { 53 80:90 } label \"$if $proto\"\n anchor {\n block\n }\n}\n",
        "nat on em0 inet from 10.0.0.0/8 to any -> { 192.0.2.1 192.0.2.3 } round-robin\nrdr pass on em0 proto tcp to port 80 -> 10.0.0.5\n",
        "queue root on em0 bandwidth 10M\nqueue std parent root bandwidth 5M default\nmatch out on em0 set queue std\n",
    ] {
        let env = environment();
        let printed =
            pfconf::pfctl::pfctl_nv("t", text.as_bytes(), &NoFiles, &env, &Default::default());
        assert_eq!(printed.status, 0, "{}", printed.stderr);
        let found = compared(text, &printed.stdout).unwrap();
        assert!(
            found.is_empty(),
            "{text}---\n{}\n{found:#?}",
            printed.stdout
        );
    }
}

#[test]
fn whatever_a_rule_may_say_has_a_name_when_it_changes() {
    let plain = "pass in on em0 inet proto tcp from any to any port 80";
    let more = [
        "log",
        "quick",
        "received-on em1",
        "user 5",
        "group 5",
        "flags any",
        "tos 4",
        "prio 3",
        "max-pkt-rate 10/1",
        "max-pkt-size 100",
        "set prio 3",
        "set tos 4",
        "set delay 5",
        "set queue q",
        "no state",
        "keep state (max 5)",
        "probability 5%",
        "scrub (no-df)",
        "allow-opts",
        "label x",
        "once",
        "tag x",
        "tagged x",
        "rtable 1",
        "divert-to 127.0.0.1 port 8",
        "rdr-to 10.0.0.5",
        "reply-to 192.0.2.9",
        "ridentifier 7",
    ];
    let queue = "queue q on em0 bandwidth 10M default\n";
    for option in more {
        let changed = match option {
            "log" | "quick" => plain.replace(" on ", &format!(" {option} on ")),
            _ => format!("{plain} {option}"),
        };
        let (a, b) = (format!("{queue}{plain}"), format!("{queue}{changed}"));
        let found = compared(&a, &b).unwrap();
        let [change] = found.rules.as_slice() else {
            panic!("{option}: {found:#?}");
        };
        let Change::Changed { fields, .. } = &change.change else {
            panic!("{option}: {change:?}");
        };
        let word = option.split([' ', '-']).next().unwrap();
        let named = fields
            .iter()
            .any(|f| f.contains(word) || f.contains("state") || f.contains("route"));
        assert!(!fields.is_empty() && named, "{option}: {fields:?}");
    }
}
