//! Random rulesets for property tests, each rule of which is possible.

#[path = "../../../../tests/fuzz/targets/verdicts.rs"]
pub(crate) mod verdicts;

use pfconf::{
    Compiled, EnvAddress, EnvInterface, Environment, NoFiles, Optimization, Options, compile,
};
use verdicts::Random;

const HOSTS: &[&str] = &[
    "any",
    "any",
    "10.0.0.1",
    "10.0.0.2",
    "10.0.0.3",
    "10.0.0.4",
    "10.0.0.5",
    "10.0.0.6",
    "10.0.0.7",
    "10.0.0.8",
    "10.0.0.0/30",
    "10.0.0.0/8",
    "10.0.0.2 - 10.0.0.5",
    "!10.0.0.1",
    "!10.0.0.0/30",
    "<t>",
    "!<t>",
    "<u>",
    "(em0)",
    "em1",
    "no-route",
    "2001:db8::1",
    "2001:db8::2",
    "2001:db8::/32",
    "0/0",
    "::/0",
];

const PORTS: &[&str] = &[
    "",
    "",
    "",
    "port 80",
    "port 81",
    "port 1:90",
    "port != 22",
    "port > 79",
    "port <= 80",
    "port 22 >< 90",
    "port 22 <> 90",
];

const ACTIONS: &[&str] = &[
    "block",
    "block return",
    "block return-icmp(host-unr)",
    "pass",
    "pass",
    "match",
];

const QUICK: &[&str] = &["", "", "", "quick", "log", "log (matches) quick"];

const ON: &[&str] = &[
    "", "", "", "on em0", "on em1", "on ! em0", "on g", "on ! g", "on any",
];

const PROTOCOLS: &[&str] = &[
    "",
    "",
    "",
    "proto tcp",
    "proto tcp",
    "proto udp",
    "proto { tcp udp }",
    "inet proto icmp",
    "inet6 proto icmp6",
    "proto gre",
    "inet",
    "inet6",
];

const MORE: &[&str] = &[
    "",
    "",
    "",
    "",
    "tag A",
    "tag B",
    "tagged A",
    "! tagged B",
    "allow-opts",
    "label x",
    "received-on em1",
    "! received-on em0",
    "tos lowdelay",
    "fragment",
    "scrub (max-mss 1400)",
    "scrub (no-df min-ttl 5)",
    "set tos ef",
    "set (prio 3, delay 5)",
    "rtable 1",
];

/// The pieces of a rule.
#[derive(Clone, Copy)]
struct Pieces {
    action: &'static str,
    quick: &'static str,
    direction: &'static str,
    on: &'static str,
    proto: &'static str,
    src: &'static str,
    src_port: &'static str,
    dst: &'static str,
    dst_port: &'static str,
    own: &'static str,
    more: &'static str,
}

impl Pieces {
    fn new(random: &mut Random) -> Pieces {
        let any = "any";
        let mut rule = Pieces {
            action: random.pick(ACTIONS),
            quick: random.pick(QUICK),
            direction: random.pick(&["in", "in", "in", "", "out"]),
            on: random.pick(ON),
            proto: random.pick(PROTOCOLS),
            src: any,
            src_port: "",
            dst: any,
            dst_port: "",
            own: "",
            more: random.pick(MORE),
        };
        for _ in 0..random.below(4) {
            rule.change(random);
        }
        rule
    }

    /// Another value of one criterion, so that the rule still may change places with the one before.
    fn change(&mut self, random: &mut Random) {
        let tcp = self.proto == "proto tcp";
        let ports = tcp || self.proto == "proto udp";
        match random.below(12) {
            0..3 => self.src = random.pick(HOSTS),
            3..6 => self.dst = random.pick(HOSTS),
            6 if ports => self.src_port = random.pick(PORTS),
            7 | 8 if ports => self.dst_port = random.pick(PORTS),
            9 => {
                self.own = match self.proto {
                    "proto tcp" => random.pick(&["", "flags S/SA", "flags any", "no state"]),
                    "inet proto icmp" => random.pick(&["", "icmp-type 8", "icmp-type 3 code 1"]),
                    "inet6 proto icmp6" => random.pick(&["", "icmp6-type 128", "icmp6-type 3"]),
                    _ => "",
                }
            }
            10 => self.on = random.pick(ON),
            11 => self.more = random.pick(MORE),
            _ => self.direction = random.pick(&["in", "in", "", "out"]),
        }
    }

    fn text(&self) -> String {
        let Pieces {
            action,
            direction,
            quick,
            on,
            proto,
            ..
        } = self;
        let Pieces {
            src,
            src_port,
            dst,
            dst_port,
            own,
            more,
            ..
        } = self;
        format!(
            "{action} {direction} {quick} {on} {proto} from {src} {src_port} to {dst} {dst_port} {own} {more}\n"
        )
    }
}

pub(crate) fn environment() -> Environment {
    let interface = |name: &str, kif, address: &str| EnvInterface {
        name: name.into(),
        kif: net::KifId(kif),
        groups: vec!["g".into()],
        addresses: vec![EnvAddress::new(address.parse().unwrap(), 24)],
        loopback: false,
    };
    Environment {
        interfaces: vec![
            interface("em0", 0, "10.0.0.1"),
            interface("em1", 1, "10.0.0.2"),
        ],
        ..Environment::minimal()
    }
}

pub(crate) fn build(text: &str, env: &Environment, optimization: Optimization) -> Compiled {
    let options = Options {
        optimization,
        ..Options::default()
    };
    compile("r", text.as_bytes(), &NoFiles, env, &options)
}

pub(crate) const TABLES: &str =
    "table <t> { 10.0.0.4/31 }\ntable <u> { 10.0.0.0/8 !10.0.0.2 2001:db8::1 }\n";

/// A text of rules of which each is possible: families that contradict each other make a rule impossible.
pub(crate) fn text(random: &mut Random, env: &Environment) -> String {
    let mut text = TABLES.to_string();
    let mut rule = Pieces::new(random);
    for _ in 0..2 + random.below(30) {
        match random.below(5) {
            0 => rule = Pieces::new(random),
            _ => rule.change(random),
        }
        let line = rule.text();
        if build(&format!("{TABLES}{line}"), env, Optimization::None)
            .ruleset
            .is_some()
        {
            text += &line;
        }
    }
    text
}

pub(crate) fn number(variable: &str, otherwise: u64) -> u64 {
    match std::env::var(variable) {
        Ok(text) => text.parse().expect("a number"),
        Err(_) => otherwise,
    }
}
