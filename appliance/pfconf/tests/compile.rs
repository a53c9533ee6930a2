//! Text in, policy and messages out: the compiler through its public face.

use net::KifId;
use pfconf::pfctl::{Show, ShowHow, Source, Surroundings, show};
use pfconf::{
    Compiled, EnvAddress, EnvInterface, Environment, Files, NoFiles, Options, compile, diag,
};
use ruleset::{Action, AddrSpec, Af, BlockReply, IfMatch, KeepState, PortOp, Timeout};

fn interface(name: &str, kif: u16, addresses: &[(&str, u8)], groups: &[&str]) -> EnvInterface {
    EnvInterface {
        name: name.into(),
        kif: KifId(kif),
        groups: groups.iter().map(|g| g.to_string()).collect(),
        addresses: addresses
            .iter()
            .map(|(a, bits)| EnvAddress::new(a.parse().unwrap(), *bits))
            .collect(),
        loopback: name.starts_with("lo"),
    }
}

fn environment() -> Environment {
    let mut env = Environment::minimal();
    env.interfaces = vec![
        interface("lo0", 0, &[("127.0.0.1", 8), ("::1", 128)], &["lo"]),
        interface(
            "em0",
            1,
            &[("192.0.2.1", 24), ("2001:db8::1", 64)],
            &["egress"],
        ),
        interface("em1", 2, &[("10.0.0.1", 24)], &[]),
    ];
    env.kifs = vec![
        ("lo".into(), KifId::group(0)),
        ("egress".into(), KifId::group(1)),
    ];
    env
}

struct OneFile(&'static str, &'static str);

impl Files for OneFile {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        (name == self.0).then(|| self.1.into())
    }
}

fn run(source: &str) -> Compiled {
    compile(
        "pf.conf",
        source.as_bytes(),
        &NoFiles,
        &environment(),
        &Options::default(),
    )
}

fn printed(source: &str) -> Vec<String> {
    let compiled = run(source);
    assert_eq!(compiled.diagnostics, [], "{source}");
    compiled.rules.into_iter().map(|r| r.text).collect()
}

/// `line:col: text | hint` of every message.
fn said(source: &str) -> Vec<String> {
    let compiled = run(source);
    let errors = diag::has_errors(&compiled.diagnostics);
    assert_eq!(compiled.ruleset.is_none(), errors, "{source}");
    let line = |d: &pfconf::Diagnostic| {
        let hint = d.hint.as_deref().unwrap_or("");
        format!("{}:{}: {} | {hint}", d.line, d.column, d.text)
    };
    compiled.diagnostics.iter().map(line).collect()
}

#[test]
fn rules_are_printed_as_pfctl_prints_them() {
    for (source, expect) in [
        ("pass", "pass all flags S/SA"),
        ("block in", "block drop in all"),
        (
            "pass in on em0 inet proto tcp to 10.0.0.1 port www keep state",
            "pass in on em0 inet proto tcp from any to 10.0.0.1 port = 80 flags S/SA",
        ),
        (
            "pass in proto udp from any to em1 port { domain }",
            "pass in inet proto udp from any to 10.0.0.1 port = 53",
        ),
        (
            "pass out inet from em1:network",
            "pass out inet from 10.0.0.0/24 to any flags S/SA",
        ),
        (
            "pass from 10.0.0.1 - 10.0.0.9",
            "pass inet from 10.0.0.1 - 10.0.0.9 to any flags S/SA",
        ),
        ("pass proto tcp flags any", "pass proto tcp all flags any"),
        ("pass no state", "pass all no state"),
        ("block return in on ! em0", "block return in on ! em0 all"),
        (
            "block return-icmp (host-unr)",
            "block return-icmp(host-unr, 3) all",
        ),
        ("match in on em0 tag WAN", "match in on em0 all tag WAN"),
        (
            "pass out on egress ! tagged WAN",
            "pass out on egress all flags S/SA ! tagged WAN",
        ),
        ("pass quick proto icmp6 icmp6-type neighbrsol inet6", ""),
        (
            "pass inet6 proto icmp6 icmp6-type { neighbrsol }",
            "pass inet6 proto ipv6-icmp all icmp6-type neighbrsol",
        ),
        (
            "pass in probability 20%",
            "pass in all flags S/SA probability 20%",
        ),
        (
            "pass in on em0 from (em0:network) to (em0)",
            "pass in on em0 from (em0:network) to (em0) flags S/SA",
        ),
        (
            "pass keep state (max 100, if-bound, tcp.established 60)",
            "pass all flags S/SA keep state (max 100, if-bound, tcp.established 60, adaptive.start 60, adaptive.end 120)",
        ),
        (
            "block log (all) quick from urpf-failed to any",
            "block drop log (all) quick from urpf-failed to any",
        ),
        (
            "pass in received-on em1 label \"$if:$dstaddr:$nr\"",
            "pass in all received-on em1 flags S/SA label \"any:any:0\"",
        ),
    ] {
        if expect.is_empty() {
            assert!(!said(source).is_empty(), "{source}");
        } else {
            assert_eq!(printed(source), [expect], "{source}");
        }
    }
}

#[test]
fn the_print_of_a_ruleset_prints_itself() {
    let source = "
        table <t> const { 10.0.0.0/8, !10.1.0.0/16 }
        block return
        pass in on { em0 em1 } inet proto { tcp udp } from <t> to (em1) port { 22, 80:90 } tos ef
        pass out inet6 proto icmp6 icmp6-type echoreq code 0
        antispoof quick for em1 label spoof
        match in proto tcp from any os \"OpenBSD\" to any port != 22 tag \"a b\"
        pass from any port 1 >< 9 to any port 5 <> 8 proto tcp
    ";
    let source = &source.replace(
        "from any port 1 >< 9 to any port 5 <> 8 proto tcp",
        "proto tcp from any port 1 >< 9 to any port 5 <> 8",
    );
    let source = &source.replace("from any os \"OpenBSD\" to", "from any to");
    let first = run(source);
    let text: Vec<String> = first.rules.iter().map(|r| r.text.clone()).collect();
    assert_eq!(first.diagnostics, []);
    let again = format!("{}{}\n", first.options_text, text.join("\n"));
    let second = run(&again);
    assert_eq!(second.diagnostics, []);
    assert_eq!(
        second.rules.into_iter().map(|r| r.text).collect::<Vec<_>>(),
        text
    );
}

#[test]
fn names_become_numbers_for_the_dataplane() {
    let compiled = run("
        set skip on lo
        set timeout tcp.established 3600
        set limit states 1000
        table <t> persist { 10.0.0.0/8 }
        block return in
        pass in quick on em1 inet proto tcp from <t> to any port 80:90 tag LAN
        pass out on wan9 tagged LAN no state
        pass in on em0 from any to (em0)
        pass in on em0 inet from any to (em1)
    ");
    let ruleset = compiled.ruleset.unwrap();
    assert_eq!(compiled.rules.len(), ruleset.rules.len());
    assert_eq!(
        compiled.kif_names,
        [
            ("lo0", KifId(0)),
            ("em0", KifId(1)),
            ("em1", KifId(2)),
            ("lo", KifId::group(0)),
            ("egress", KifId::group(1)),
            ("wan9", KifId(3))
        ]
        .map(|(name, kif)| (name.to_string(), kif))
    );
    assert_eq!(ruleset.skip, [KifId::group(0)]);
    assert_eq!(ruleset.timeouts.get(Timeout::TcpEstablished), 3600);
    assert_eq!(ruleset.timeouts.get(Timeout::AdaptiveEnd), 1200);
    let [block, pass, out, dynamic, single] = ruleset.rules.as_slice() else {
        panic!("{:?}", ruleset.rules)
    };
    assert_eq!(block.action, Action::Block(BlockReply::Return));
    assert_eq!((block.keep_state, block.line), (KeepState::No, 6));
    assert_eq!(
        pass.on,
        Some(IfMatch::Kif {
            kif: KifId(2),
            negate: false
        })
    );
    assert_eq!(
        pass.dst.port.map(|p| (p.op, p.a, p.b)),
        Some((PortOp::Range, 80, 90))
    );
    assert_eq!((pass.flags.set, pass.flags.mask), (0x02, 0x12));
    assert_eq!(pass.keep_state, KeepState::Keep);
    assert!(matches!(pass.src.addr, AddrSpec::Table(id) if ruleset.table(id).unwrap().name == "t"));
    assert_eq!(out.tagged.map(|t| t.tag), Some(pass.tag));
    assert_eq!(
        out.on,
        Some(IfMatch::Kif {
            kif: KifId(3),
            negate: false
        })
    );
    let AddrSpec::Table(id) = dynamic.dst.addr else {
        panic!("{:?}", dynamic.dst)
    };
    assert!(ruleset.table(id).unwrap().contains(Af::Inet, 0xc000_0201));
    assert_eq!(
        single.dst.addr,
        AddrSpec::Masked {
            af: Af::Inet,
            addr: 0x0a00_0001,
            mask: 0xffff_ffff
        }
    );
}

#[test]
fn every_error_of_a_text_is_said_once_with_its_place_and_a_hint() {
    let messages = said(
        "
pas in all
pass in quik on em0
pass in proto { tcp, udp from any
pass in on em0 proto tcp to port 70000
block in on em0 proto tpc
pass in to $wan
pass inet proto icmp6
set skipp on lo
set limit statez 3
pass in all
",
    );
    let expect = [
        "2:1: syntax error at 'pas' | did you mean 'pass'?",
        "3:9: syntax error at 'quik' | did you mean 'quick'?",
        "4:26: syntax error at 'from' | expected a protocol",
        "5:34: illegal port value 70000 | 0 to 65535 are possible",
        "6:23: unknown protocol tpc | did you mean 'tcp'?",
        "7:12: macro 'wan' not defined | a macro is defined in a line above its use: NAME = \"value\"",
        "8:1: proto icmp6 doesn't match address family inet | ",
        "9:5: syntax error at 'skipp' | did you mean 'skip'?",
        "10:11: unable to set limit statez 3 | did you mean 'states'?",
    ];
    assert_eq!(messages, expect);
}

#[test]
fn what_the_dataplane_cannot_do_is_refused_and_named() {
    let messages = said("queue q on em0 bandwidth 1M default");
    let text = "1:1: queue is not supported yet | ";
    let times = messages.iter().filter(|m| *m == text).count();
    assert_eq!(times, 1, "{messages:?}");
}

#[test]
fn a_routing_table_that_does_not_exist_is_refused() {
    let mut env = environment();
    let said = |env: &Environment, source: &str| -> Vec<String> {
        let compiled = compile("t", source.as_bytes(), &NoFiles, env, &Options::default());
        let all = compiled.diagnostics.iter();
        all.map(|d| format!("{}:{}: {}", d.line, d.column, d.text))
            .collect()
    };
    let source = "pass in rtable 0\npass in on { em0 em1 } rtable 3";
    // Whoever does not know the tables does not judge.
    assert_eq!(said(&env, source), Vec::<String>::new());
    env.rtables = Some(vec![0, 3]);
    assert_eq!(said(&env, source), Vec::<String>::new());
    env.rtables = Some(vec![0]);
    assert_eq!(said(&env, source), ["2:31: rtable 3 does not exist"]);
}

#[test]
fn includes_macros_and_table_files_come_from_the_caller() {
    let files = OneFile("/etc/more.conf", "if = em1\npass in on $if");
    let source = b"include \"/etc/more.conf\"\nblock in on $if\n";
    let compiled = compile(
        "pf.conf",
        source,
        &files,
        &environment(),
        &Options::default(),
    );
    let rules: Vec<(&str, &str, u32)> = compiled
        .rules
        .iter()
        .map(|r| (r.text.as_str(), r.file.as_str(), r.line))
        .collect();
    assert_eq!(
        rules,
        [
            ("pass in on em1 all flags S/SA", "/etc/more.conf", 2),
            ("block drop in on em1 all", "pf.conf", 2),
        ]
    );
    let files = OneFile(
        "/etc/bad",
        "10.0.0.1 # one\n!10.1/16\n2001:db8::/32 em1:network",
    );
    let source = b"table <bad> persist file \"/etc/bad\"\nblock in from <bad>\n";
    let compiled = compile(
        "pf.conf",
        source,
        &files,
        &environment(),
        &Options::default(),
    );
    assert_eq!(compiled.diagnostics, []);
    assert_eq!(compiled.ruleset.unwrap().tables[0].entries().len(), 4);
    assert!(compiled.tables[0].persist && !compiled.tables[0].keeps_contents);
}

#[test]
fn a_file_that_includes_itself_ends() {
    let files = OneFile("a", "include \"a\"\n");
    let compiled = compile(
        "pf.conf",
        b"include \"a\"",
        &files,
        &environment(),
        &Options::default(),
    );
    assert_eq!(compiled.diagnostics.len(), 1);
    assert_eq!(compiled.diagnostics[0].code, "include-depth");
}

#[test]
fn macros_of_the_caller_win() {
    let options = Options {
        macros: vec![("if".into(), "em1".into())],
        ..Options::default()
    };
    let source = b"if = em0\npass on $if";
    let compiled = compile("pf.conf", source, &NoFiles, &environment(), &options);
    assert_eq!(compiled.rules[0].text, "pass on em1 all flags S/SA");
}

#[test]
fn a_macro_can_switch_lines_off() {
    assert_eq!(
        printed("off = \"#\"\n$off pass in\npass out"),
        ["pass out all flags S/SA"]
    );
    assert_eq!(
        printed("with = \"\"\n$with pass in"),
        ["pass in all flags S/SA"]
    );
}

#[test]
fn an_interface_nobody_knows_is_worth_a_warning() {
    let messages = said("pass in on em9");
    assert_eq!(
        messages,
        ["1:12: unknown interface or group 'em9' | known here: egress em0 em1 lo lo0"]
    );
}

#[test]
fn lists_that_explode_are_refused() {
    let list: String = (0..3000)
        .map(|n| format!("10.0.{}.{} ", n / 250, n % 250))
        .collect();
    let source = format!("pass proto tcp from {{ {list} }} to {{ {list} }} port {{ 1 2 3 4 }}");
    let messages = said(&source);
    assert!(messages[0].contains("more than"), "{}", messages[0]);
}

#[test]
fn braces_nest_up_to_a_limit() {
    let deep = format!(
        "pass from {}any{}",
        "{".repeat(100_000),
        "}".repeat(100_000)
    );
    assert!(said(&deep)[0].contains("levels of braces"));
    let anchors = "anchor {\n".repeat(100_000);
    assert!(!said(&anchors).is_empty());
}

#[test]
fn block_policy_acts_on_what_stands_below() {
    assert_eq!(
        printed("block\nset block-policy return\nblock\nblock drop"),
        ["block drop all", "block return all", "block drop all"]
    );
}

#[test]
fn loaded_anchors_stand_where_their_rules_do() {
    let files = OneFile(
        "a.conf",
        "pass in on em0\nanchor two\nload anchor two from \"b.conf\"",
    );
    let source = b"anchor one\nload anchor one from \"a.conf\"";
    let shown = |files: &OneFile| {
        let (env, options) = (environment(), Options::default());
        let around = Surroundings {
            files,
            env: &env,
            options: &options,
        };
        let source = Source {
            name: "stdin",
            text: source,
        };
        let how = ShowHow {
            recurse: true,
            ..ShowHow::default()
        };
        show(source, around, Show::Rules, how)
    };
    let out = shown(&files);
    assert_eq!(out.status, 1);
    let said = "a.conf:3: cannot load anchor from b.conf\n";
    assert!(out.stderr.starts_with(said), "{}", out.stderr);
    let out = shown(&OneFile("a.conf", "pass in on em0"));
    assert_eq!(
        out.stdout,
        "anchor \"one\" all {\n  pass in on em0 all flags S/SA\n}\n"
    );
}

#[test]
fn altq_is_refused_once_with_what_to_write_instead() {
    let messages = said(
        "altq on em0 cbq bandwidth 10Mb queue { a, b }
queue a bandwidth 60% priority 2 cbq(default)
queue b bandwidth 4Mb { c }
pass on em0 queue a
block qick
",
    );
    let expect = [
        "1:1: altq is not supported: write 'queue root on em0 bandwidth 10Mb' and each of its queues as 'queue NAME \
         parent root bandwidth N' (HFSC) | "
            .to_string(),
        "5:7: syntax error at 'qick' | did you mean 'quick'?".to_string(),
    ];
    assert_eq!(messages, expect);
}

#[test]
fn pipes_of_dummynet_are_refused_once_with_what_to_do_instead() {
    let instead = "bandwidth is shared by 'queue' and 'set queue NAME', packets are delayed by 'set delay MILLISECONDS'";
    for (rule, place, what) in [
        ("pass in dnpipe (1, 2)", "1:9", "dnpipe 1"),
        (
            "anchor a {\n pass proto { tcp udp } dnqueue 3\n}",
            "2:25",
            "dnqueue 3",
        ),
    ] {
        let expect = format!(
            "{place}: {what}: no program runs on the firewall that could make pipes of dummynet | {instead}"
        );
        let messages = said(rule);
        let found: Vec<_> = messages.iter().filter(|m| m.contains("dummynet")).collect();
        assert_eq!(found, [&expect], "{rule}");
    }
}

#[test]
fn queues_that_are_not_defined_are_refused_whether_the_box_queues_or_not() {
    let messages = said("pass in on em0 set queue (bulk, fast)\n");
    let hint = "queues must be defined above the rules that name them";
    assert_eq!(
        messages,
        [format!("1:27: queue bulk is not defined | {hint}")]
    );
}

#[test]
fn diverting_is_refused_with_what_to_do_instead() {
    for (rule, expect) in [
        (
            "pass in inet proto tcp divert-to 127.0.0.1 port 8025",
            "1:24: divert-to port 8025: no service of the firewall takes connections there | send them to a host that runs \
             the service: rdr-to ADDRESS port PORT",
        ),
        (
            "pass out inet proto tcp divert-reply",
            "1:25: divert-reply: no service of the firewall opens connections in the name of others | leave it out: \
             answers find their state without it",
        ),
        (
            "pass in inet proto udp divert-packet port 700",
            "1:24: divert-packet port 700: no program runs on the firewall that could read the packets | send a copy to a \
             host that reads them: dup-to ADDRESS",
        ),
    ] {
        assert_eq!(said(rule), [expect], "{rule}");
    }
}

/// What a box says to these rules whose em0 has these addresses and learns others.
fn learned(addresses: &[(&str, u8)], source: &str) -> (Vec<String>, Vec<String>) {
    let mut env = environment();
    let groups: &[&str] = if addresses.is_empty() {
        &[]
    } else {
        &["egress"]
    };
    env.interfaces[1] = interface("em0", 1, addresses, groups);
    env.learning = vec!["em0".into()];
    let compiled = compile(
        "pf.conf",
        source.as_bytes(),
        &NoFiles,
        &env,
        &Options::default(),
    );
    assert!(
        compiled.ruleset.is_some(),
        "{source}: {:?}",
        compiled.diagnostics
    );
    let said = compiled.diagnostics.iter().map(|d| {
        let hint = d.hint.clone().unwrap_or_default();
        format!(
            "{}:{}: {:?}: {} | {hint}",
            d.line, d.column, d.severity, d.text
        )
    });
    let rules = compiled.rules.into_iter().map(|r| r.text);
    (rules.collect(), said.collect())
}

#[test]
fn the_bare_name_of_an_interface_that_learns_its_addresses_follows_them() {
    // Before the first lease and after it, it is the same ruleset.
    for addresses in [&[][..], &[("192.0.2.77", 24)]] {
        for (source, rule) in [
            (
                "pass out on em0 from em0",
                "pass out on em0 from (em0) to any flags S/SA",
            ),
            (
                "block in on em0 inet from any to em0:network",
                "block drop in on em0 inet from any to (em0:network)",
            ),
            (
                "pass out from egress",
                "pass out from (egress) to any flags S/SA",
            ),
            (
                "match out on em0 inet from 10.0.0.0/24 nat-to em0",
                "match out on em0 inet from 10.0.0.0/24 to any nat-to (em0) round-robin",
            ),
        ] {
            let (rules, said) = learned(addresses, &format!("{source}\n"));
            assert_eq!(rules, [rule], "{addresses:?}");
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(
                said[0].contains("Warning") && said[0].contains("write ("),
                "{said:?}"
            );
        }
    }
    let (rules, said) = learned(&[], "antispoof for em0\n");
    assert_eq!(said, Vec::<String>::new());
    assert!(
        rules.contains(&"block drop in on ! em0 from (em0:network) to any".to_string()),
        "{rules:?}"
    );
    // Others are as they always were, and so are tables, which have no place for names.
    let (rules, said) = learned(&[], "pass out on em1 from em1\n");
    assert_eq!((rules.len(), said.len()), (1, 0));
    let mut env = environment();
    env.learning = vec!["em0".into()];
    env.interfaces[1].addresses.clear();
    let source = "table <t> { em0 }\n";
    let compiled = compile(
        "pf.conf",
        source.as_bytes(),
        &NoFiles,
        &env,
        &Options::default(),
    );
    assert!(compiled.ruleset.is_none(), "{source}");
}
