//! pf.conf as text to a ruleset for a rig's box, and the places of rule counters from one generation to the next.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use net::KifId;
use pfconf::{EnvAddress, EnvInterface, Environment, NoFiles, Options};
use ruleset::{Action, Af, Rule, RuleSlot, Ruleset, Table, TableEntry, TableSlot, Timeouts};
use sync::{Overlay, OverlayEdit};

use crate::topology::Topology;

/// Compiles, or panics with what is wrong.
pub fn compile(text: &str, topology: &Topology) -> Ruleset {
    let env = environment(topology);
    let compiled = pfconf::compile(
        "pf.conf",
        text.as_bytes(),
        &NoFiles,
        &env,
        &Options::default(),
    );
    compiled
        .ruleset
        .unwrap_or_else(|| panic!("{text}\n{:#?}", compiled.diagnostics))
}

fn environment(topology: &Topology) -> Environment {
    let interface = |(n, port): (usize, &crate::topology::Port)| EnvInterface {
        name: port.name.clone(),
        kif: KifId(n as u16),
        groups: port.groups.clone(),
        addresses: port
            .addrs
            .iter()
            .map(|a| EnvAddress::new(a.addr, a.prefix_len))
            .collect(),
        loopback: false,
    };
    let group = |name: String| {
        let kif = topology.group_kif(&name);
        (name, kif)
    };
    Environment {
        interfaces: topology.ports.iter().enumerate().map(interface).collect(),
        kifs: topology.groups().into_iter().map(group).collect(),
        rtables: Some(topology.rtables()),
        ..Environment::minimal()
    }
}

/// Which rule counts where. Equal rules keep their slot over a reload, as the control core does it.
#[derive(Debug, Default)]
pub struct Slots {
    /// By slot, from 1: the rule as text, and its name in the running ruleset: `r` and its number, `s` for rules of the
    /// old scrub ruleset, `e` for those about frames.
    known: Vec<(String, Option<String>)>,
    /// Timeouts of rules that have their own, also of those that are gone but have states.
    timeouts: BTreeMap<RuleSlot, Timeouts>,
    /// Names of tables by slot.
    tables: Vec<String>,
    /// Tables as published last.
    published: Vec<Table>,
}

impl Slots {
    /// Gives every rule of a new generation its slot.
    pub fn assign(&mut self, ruleset: &mut Ruleset) {
        self.known.iter_mut().for_each(|k| k.1 = None);
        let mut placed = BTreeMap::new();
        for (number, rule) in ruleset.rules.iter_mut().enumerate() {
            // An anchor that is called twice has its rules twice, and they are the same.
            if let Some(slot) = placed.get(&(rule.anchor, rule.nr)) {
                rule.slot = *slot;
                continue;
            }
            rule.slot = self.slot("r", number, rule);
            placed.insert((rule.anchor, rule.nr), rule.slot);
            let own = ruleset.timeouts.for_rule(&rule.state.timeouts);
            if !rule.state.timeouts.is_empty() {
                self.timeouts.insert(rule.slot, own);
            }
        }
        for (number, scrub) in ruleset.scrub.iter_mut().enumerate() {
            scrub.rule.slot = self.slot("s", number, &scrub.rule);
        }
        for (number, ether) in ruleset.ether.iter_mut().enumerate() {
            ether.rule.slot = self.slot("e", number, &ether.rule);
        }
        ruleset.rule_timeouts = self.timeouts.iter().map(|(s, t)| (*s, *t)).collect();
    }

    fn slot(&mut self, kind: &str, number: usize, rule: &Rule) -> RuleSlot {
        let text = format!("{kind} {}", text_of(rule));
        let same = |k: &(String, Option<String>)| k.0 == text && k.1.is_none();
        let place = self.known.iter().position(same).unwrap_or_else(|| {
            self.known.push((text, None));
            self.known.len() - 1
        });
        self.known[place].1 = Some(format!("{kind}{number}"));
        RuleSlot(place as u32 + 1)
    }

    /// Gives tables their slots and contents from the policy before, and the ruleset its place after the others.
    pub fn settle(&mut self, ruleset: &mut Ruleset, load: u32, edits: &Arc<Overlay>) {
        let names = &mut self.tables;
        ruleset.settle_in(load, edits, |name| {
            let known = names.iter().position(|n| n == name).unwrap_or_else(|| {
                names.push(name.into());
                names.len() - 1
            });
            TableSlot(known as u16)
        });
        self.published = ruleset.tables.clone();
    }

    /// True if an address is in a table.
    pub fn contains(&self, table: &str, addr: IpAddr) -> bool {
        let (af, bits) = number(addr);
        self.table(table).contains(af, bits)
    }

    /// Where a table counts.
    pub fn table_slot(&self, table: &str) -> TableSlot {
        self.table(table).slot
    }

    fn table(&self, name: &str) -> &Table {
        let mut tables = self.published.iter();
        tables.find(|t| t.name == name).expect("a table")
    }

    /// Adds a prefix to a table, or takes it out.
    pub fn edit(&self, table: &str, prefix: &str, present: bool, now_s: u64) -> OverlayEdit {
        let (addr, len) = prefix.split_once('/').expect("address/bits");
        let (af, addr) = number(addr.parse().expect("an address"));
        let entry = TableEntry::new(af, addr, len.parse().expect("bits"), false);
        self.table(table).edit(&entry, present, now_s, usize::MAX)
    }

    /// Name of the rule that counts in `slot`.
    pub fn name(&self, slot: usize) -> String {
        let known = slot.checked_sub(1).and_then(|n| self.known.get(n));
        match (slot, known) {
            (0, _) => "default".into(),
            (_, Some((_, Some(name)))) => name.clone(),
            _ => format!("slot{slot}"),
        }
    }
}

fn number(addr: IpAddr) -> (Af, u128) {
    match addr {
        IpAddr::V4(a) => (Af::Inet, u128::from(a.to_bits())),
        IpAddr::V6(a) => (Af::Inet6, a.to_bits()),
    }
}

/// What makes two rules the same: everything but where they count and which line they are on.
fn text_of(rule: &Rule) -> String {
    let action = match rule.action {
        // How long an anchor is changes with the rules in it.
        Action::Anchor { .. } => Action::Anchor { end: 0 },
        Action::Translate { pass, .. } => Action::Translate { end: 0, pass },
        other => other,
    };
    let rule = Rule {
        slot: RuleSlot::DEFAULT_RULE,
        action,
        nr: 0,
        line: 0,
        ..rule.clone()
    };
    format!("{rule:?}")
}
