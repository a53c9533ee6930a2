//! The way from `pf.conf` and what it may refer to, to a policy: the one place that calls the compiler.

use std::collections::BTreeMap;

use netconf::NetConfig;
use netconf::environment::{self, PF_CONF, Tree};
use pfconf::diag::Diagnostic;
use pfconf::{Bounds, EnvAddress, EnvInterface, Environment, Options, PrintedRule};
use ruleset::{Ruleset, Table, TableFlags};

use crate::anchors::{self, Texts};
use crate::layout::{ALL, Layout};
use crate::numbers::{Full, Kifs};

/// A rule as people see it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct RuleText {
    /// Canonical text.
    pub(crate) text: String,
    /// Label.
    pub(crate) label: Option<String>,
    /// `pf.conf:12`
    pub(crate) origin: String,
    /// Path of the anchor that it is a rule of; empty for the main ruleset.
    pub(crate) anchor: String,
    /// Number among the rules of its anchor.
    pub(crate) nr: u32,
    /// The anchor that it calls.
    pub(crate) calls: Option<String>,
}

impl RuleText {
    /// What it is known by over generations.
    pub(crate) fn key(&self) -> String {
        match self.anchor.as_str() {
            "" => self.text.clone(),
            anchor => format!("{anchor}: {}", self.text),
        }
    }
}

/// What the rules mean, and how they are shown.
pub(crate) struct Policy {
    /// For the workers.
    pub(crate) ruleset: Ruleset,
    /// For people: every rule of every anchor once.
    pub(crate) texts: Vec<RuleText>,
    /// For each rule of the ruleset its place in `texts`.
    pub(crate) numbers: Vec<u32>,
    /// Anchors edited at run time for which the bundle has rules as well.
    pub(crate) passed_over: Vec<String>,
    /// `set loginterface`
    pub(crate) loginterface: Option<String>,
    /// `set debug`
    pub(crate) debug: String,
}

/// Compiles `pf.conf`. Names that only the rules use get numbers from `kifs`; tables that the rules leave open keep what
/// they hold in `before`.
#[allow(clippy::too_many_arguments, reason = "the one seam between two worlds")]
pub(crate) fn compile(
    files: &BTreeMap<String, Vec<u8>>,
    conf: &NetConfig,
    layout: Option<&Layout>,
    kifs: &mut Kifs,
    before: &Ruleset,
    random_key: [u32; 4],
    bounds: Bounds,
    anchors: &Texts,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Policy> {
    let source = files.get(PF_CONF)?;
    let environment = match environment_of(conf, layout, kifs) {
        Ok(environment) => environment,
        Err(Full) => {
            diagnostics.push(too_many_names());
            return None;
        }
    };
    let options = Options {
        random_key,
        bounds,
        lint: true,
        anchors: anchors.iter().map(anchors::given).collect(),
        ..Options::default()
    };
    let compiled = pfconf::compile(PF_CONF, source, &Tree(files), &environment, &options);
    diagnostics.extend(compiled.diagnostics);
    if kifs.adopt(&compiled.kif_names) == Err(Full) {
        diagnostics.push(too_many_names());
        return None;
    }
    let mut ruleset = compiled.ruleset?;
    for (table, info) in ruleset.tables.iter_mut().zip(&compiled.tables) {
        let kept = before.tables.iter().find(|t| t.name == info.name);
        if let Some(kept) = kept.filter(|_| info.keeps_contents) {
            *table = table.clone().with_contents_of(kept);
        }
    }
    // What somebody made by hand, or the rules before made to last, stays (pf.conf(5), TABLES, "persist").
    let stays = |t: &&Table| {
        t.flags.contains(TableFlags::PERSIST)
            && !ruleset.tables.iter().any(|new| new.name == t.name)
    };
    let staying: Vec<Table> = before.tables.iter().filter(stays).cloned().collect();
    ruleset.tables.extend(staying);
    Some(Policy {
        ruleset,
        texts: compiled
            .rules
            .into_iter()
            .map(|rule| text_of(rule, &compiled.anchors))
            .collect(),
        numbers: compiled.numbers,
        passed_over: compiled.passed_over,
        loginterface: compiled.control.log_interface,
        debug: compiled.control.debug,
    })
}

fn too_many_names() -> Diagnostic {
    Diagnostic::whole_file("too-many-names", PF_CONF, Full.to_string())
}

fn text_of(rule: PrintedRule, anchors: &[String]) -> RuleText {
    let anchor = anchors.get(usize::from(rule.anchor));
    RuleText {
        anchor: anchor.cloned().unwrap_or_default(),
        nr: rule.nr,
        calls: rule.calls,
        text: rule.text,
        label: rule.label,
        origin: format!("{}:{}", rule.file, rule.line),
    }
}

/// Interfaces of the machine first, then those that only the files know: rules about a card that has died still mean
/// something.
fn environment_of(
    conf: &NetConfig,
    layout: Option<&Layout>,
    kifs: &mut Kifs,
) -> Result<Environment, Full> {
    let mut interfaces = Vec::new();
    for i in layout.iter().flat_map(|l| l.interfaces.iter()) {
        interfaces.push(EnvInterface {
            name: i.name.to_string(),
            kif: kifs.interface(&i.name)?,
            groups: i.groups.clone(),
            addresses: i
                .addrs
                .iter()
                .map(|a| EnvAddress::new(a.addr, a.prefix_len))
                .collect(),
            loopback: i.is_loopback(),
        });
    }
    for file in conf.interfaces.iter().filter(|c| c.has_name()) {
        if !interfaces.iter().any(|i| i.name == file.name) {
            let kif = kifs.interface(&file.name)?;
            interfaces.push(environment::interface(conf, file, kif));
        }
    }
    kifs.group(ALL)?;
    let names = environment::names(conf);
    // A file that is bound to a station address does not know the name of its card.
    let wants = layout.map(|l| &l.wants);
    let here = wants.iter().flat_map(|w| w.dhcp.iter().chain(&w.slaac));
    let learning = names.learning.iter().chain(here).cloned().collect();
    Ok(Environment {
        kifs: kifs.iter().map(|(name, kif)| (name.into(), kif)).collect(),
        interfaces,
        learning,
        ..names
    })
}
