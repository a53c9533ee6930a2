//! `-o basic` changes no verdict: random rulesets, plain and optimized, are asked about random packets.

use net::KifSet;
use pfconf::{EnvAddress, EnvInterface, Environment, NoFiles, Optimization, Options, compile};
use ruleset::{Af, Direction, Facts, Fragment, Routes, Ruleset, TagId, evaluate};

struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % n
    }

    fn pick<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len())]
    }

    /// What rules of one superblock have in common.
    fn common(&mut self) -> (String, String) {
        let action = self.pick(&["block", "block return", "pass", "pass", "match"]);
        let quick = self.pick(&["", "", "", "quick"]);
        let tag = self.pick(&["", "", "", "tag A"]);
        (action.into(), format!("{quick} {tag}"))
    }

    fn rule(&mut self, action: &str, rest: &str) -> String {
        let (quick, tag) = rest.split_once(' ').unwrap();
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
            "10.0.0.0/30",
            "10.0.0.0/8",
            "!10.0.0.1",
            "<t>",
            "2001:db8::1",
            "2001:db8::/32",
            "0/0",
        ];
        let direction = self.pick(&["in", "in", "in", "", "out"]);
        let on = self.pick(&["", "", "", "on em0", "on em1", "on ! em0"]);
        let proto = self.pick(&["", "", "proto tcp", "proto udp"]);
        let port = |r: &mut Self| match proto {
            "" => "",
            _ => r.pick(&["", "", "port 80", "port 1:90", "port != 22"]),
        };
        let (src, dst) = match self.below(3) {
            0 => (self.pick(HOSTS), "any"),
            1 => ("any", self.pick(HOSTS)),
            _ => (self.pick(HOSTS), self.pick(HOSTS)),
        };
        let (sport, dport) = (port(self), port(self));
        let flags = match proto {
            "proto tcp" => self.pick(&["", "flags S/SA", "flags any"]),
            _ => "",
        };
        let tag = match tag {
            "" => self.pick(&["", "", "", "", "tagged A"]),
            tag => tag,
        };
        format!(
            "{action} {direction} {quick} {on} {proto} from {src} {sport} to {dst} {dport} {flags} {tag}\n"
        )
    }

    fn packet(&mut self) -> Facts {
        let v6 = self.below(4) == 0;
        let address = |r: &mut Self| match v6 {
            true => 0x2001_0db8 << 96 | r.below(3) as u128,
            false => 0x0a00_0000 + r.below(9) as u128,
        };
        let mut on = KifSet::EMPTY;
        on.insert(net::KifId(self.below(2) as u16));
        Facts {
            direction: [Direction::In, Direction::Out][self.below(2)],
            on,
            kif: net::KifId(0),
            loopback: false,
            received_on: None,
            af: if v6 { Af::Inet6 } else { Af::Inet },
            src: address(self),
            dst: address(self),
            proto: [6, 17, 1][self.below(3)],
            src_port: [22, 80, 90, 91][self.below(4)],
            dst_port: [22, 80, 90, 91][self.below(4)],
            tcp_flags: [0x02, 0x12, 0x10][self.below(3)],
            icmp_type: 8,
            icmp_code: 0,
            tos: 0,
            fragment: Fragment::No,
            tag: TagId::default(),
            dice: 0,
            unsolicited_reply: false,
        }
    }
}

struct NoRoutes;

impl Routes for NoRoutes {
    fn has_route(&self, _: Af, _: u128) -> bool {
        true
    }
    fn reverse_path_ok(&self, _: Af, _: u128) -> bool {
        true
    }
}

fn environment() -> Environment {
    let interface = |name: &str, kif| EnvInterface {
        name: name.into(),
        kif: net::KifId(kif),
        groups: Vec::new(),
        addresses: vec![EnvAddress::new("10.0.0.1".parse().unwrap(), 24)],
        loopback: false,
    };
    Environment {
        interfaces: vec![interface("em0", 0), interface("em1", 1)],
        ..Environment::minimal()
    }
}

/// Action, tag and state of the deciding rule.
fn verdict(ruleset: &Ruleset, facts: &Facts) -> String {
    let found = evaluate(ruleset, facts, &NoRoutes, |_| {});
    let rule = found.rule.map(|nr| &ruleset.rules[nr.0 as usize]);
    format!(
        "{:?} tag {:?}",
        rule.map(|r| (r.action, r.keep_state)),
        found.tag
    )
}

#[test]
fn an_optimized_ruleset_decides_as_the_one_written() {
    let seed = 0x1357_9bdf_0246_8ace;
    println!("seed {seed}");
    let mut random = Random(seed);
    let env = environment();
    let options = |optimization| Options {
        optimization,
        ..Options::default()
    };
    let mut dropped = 0;
    for round in 0..400 {
        let build =
            |text: &str, o| compile("r", text.as_bytes(), &NoFiles, &env, &options(o)).ruleset;
        // Families that contradict each other make a rule impossible; such a rule is left out.
        let mut candidates = Vec::new();
        let mut common = random.common();
        for _ in 0..2 + random.below(30) {
            if random.below(8) == 0 {
                common = random.common();
            }
            candidates.push(random.rule(&common.0, &common.1));
        }
        let possible = candidates
            .into_iter()
            .filter(|r| build(r, Optimization::None).is_some());
        let text = format!(
            "table <t> {{ 10.0.0.4/31 }}\n{}",
            possible.collect::<String>()
        );
        let plain = build(&text, Optimization::None).unwrap();
        let basic = build(&text, Optimization::Basic).unwrap();
        dropped += plain.rules.len() - basic.rules.len();
        for _ in 0..300 {
            let facts = random.packet();
            let (a, b) = (verdict(&plain, &facts), verdict(&basic, &facts));
            assert_eq!(a, b, "round {round} of seed {seed}: {facts:?}\n{text}");
        }
    }
    assert!(dropped > 100, "only {dropped} rules were saved");
}
