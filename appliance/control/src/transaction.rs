//! From the files of a bundle to a configuration that only waits to be published, or to everything that is wrong with
//! them. Nothing here changes the running box: names and rule slots are planned on copies.
//!
//! The order of things (anchors, flow 3): files → interfaces and routes → policy → limits → slots → one `Config`.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use filter::Shared;
use net::KifId;
use netconf::NetConfig;
use netconf::environment::{self, PF_CONF};
use pfconf::Bounds;
use pfconf::diag::{Diagnostic, Severity, has_errors};
use pfconf::lockout::{self, Door, LockedOut};
use ruleset::{Rule, RuleSlot, Timeouts};
use worker::Config;

use crate::anchors::Texts;
use crate::bridges::TreeWords;
use crate::fleet::Fleet;
use crate::layout::{Layout, lay_out};
use crate::learning::{Learned, Wants};
use crate::machine::PortFacts;
use crate::numbers::{Kifs, TableSlots, Tags};
use crate::policy::{self, RuleText};
use crate::settings::Settings;
use crate::slots::{Plan, RuleSlots};

/// What a check looks at beside the files.
pub(crate) struct Context<'a> {
    /// Ports of the machine.
    pub(crate) ports: &'a [PortFacts],
    /// Names and their numbers so far.
    pub(crate) kifs: &'a Kifs,
    /// Tags and their numbers so far.
    pub(crate) tags: &'a Tags,
    /// Slots of tables so far.
    pub(crate) table_slots: &'a TableSlots,
    /// What workers share: edits of tables.
    pub(crate) shared: &'a Shared,
    /// Rule slots as they are.
    pub(crate) slots: &'a RuleSlots,
    /// For counters and adopted generations.
    pub(crate) fleet: &'a Fleet,
    /// States that all workers together have room for.
    pub(crate) states_capacity: u64,
    /// For the management address.
    pub(crate) settings: &'a Settings,
    /// API port if the files name none.
    pub(crate) api_port: u16,
    /// Number of the configuration to be.
    pub(crate) generation: u32,
    /// What a compilation may grow to on this machine.
    pub(crate) bounds: Bounds,
    /// Key of `source-hash` where the rules give none; the same in every generation.
    pub(crate) random_key: [u32; 4],
    /// Anchors edited at run time.
    pub(crate) anchors: &'a Texts,
    /// Commands that changed the network at run time.
    pub(crate) changes: &'a [String],
    /// What interfaces have learned.
    pub(crate) learned: &'a Learned,
    /// False for the built-in policy, which is not told about lockouts.
    pub(crate) check_lockout: bool,
}

/// A configuration that passed every check, with what must change along with it.
pub(crate) struct Candidate {
    /// For the workers.
    pub(crate) config: Arc<Config>,
    /// For `show`: texts of the rules of all anchors.
    pub(crate) rules: Vec<RuleText>,
    /// For each rule of the ruleset its place in `rules`.
    pub(crate) numbers: Vec<u32>,
    /// Anchors edited at run time for which the files have rules as well.
    pub(crate) passed_over: Vec<String>,
    /// Name of the box.
    pub(crate) hostname: String,
    /// Port of the API.
    pub(crate) api_port: u16,
    /// Idle behavior of the workers, if the files set it: (after ms, backoff µs).
    pub(crate) idle: (Option<u32>, Option<u32>),
    /// What is to be learned and told.
    pub(crate) wants: Wants,
    /// Name servers of the files.
    pub(crate) nameservers: Vec<IpAddr>,
    /// MTU of each port.
    pub(crate) mtus: Vec<(u16, u16)>,
    /// Spanning trees of bridges.
    pub(crate) trees: Vec<TreeWords>,
    /// Names as they will be.
    pub(crate) kifs: Kifs,
    /// Tags as they will be.
    pub(crate) tags: Tags,
    /// Slots of tables as they will be.
    pub(crate) table_slots: TableSlots,
    /// Slots as they will be.
    pub(crate) plan: Plan,
    /// Timeouts of rules that have their own.
    pub(crate) rule_timeouts: Vec<(RuleSlot, Timeouts)>,
    /// `set loginterface`
    pub(crate) loginterface: Option<String>,
    /// `set debug`
    pub(crate) debug: String,
    /// Warnings and notices.
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Checks a tree of files. On refusal: all diagnostics of all files.
pub(crate) fn check(
    files: &BTreeMap<String, Vec<u8>>,
    cx: &Context<'_>,
) -> Result<Candidate, Vec<Diagnostic>> {
    let (conf, mut diagnostics) = netconf::parse_changed(files, cx.changes);
    let (mut kifs, mut tags) = (cx.kifs.clone(), cx.tags.clone());
    let layout = lay_out(
        &conf,
        cx.ports,
        cx.learned,
        &mut kifs,
        &mut tags,
        &mut diagnostics,
    );
    let policy = if files.contains_key(PF_CONF) {
        policy::compile(
            files,
            &conf,
            layout.as_ref(),
            &mut kifs,
            &cx.fleet.current().ruleset,
            cx.random_key,
            cx.bounds,
            cx.anchors,
            &mut diagnostics,
        )
    } else {
        diagnostics.push(environment::no_rules());
        None
    };
    let (Some(layout), Some(mut policy)) = (layout, policy) else {
        return Err(diagnostics);
    };
    if tags.renumber(&mut policy.ruleset).is_err() {
        diagnostics.push(refusal("too-many-tags", "more than 65535 tags since start"));
    }
    fits(&policy, cx, &mut diagnostics);
    diagnostics.extend(workers(&conf, cx));
    let plan = plan(&policy.texts, cx, &mut diagnostics);
    let mut table_slots = cx.table_slots.clone();
    let running = &cx.fleet.current().ruleset.tables;
    let has_edits = |slot| cx.shared.edits.concerns(slot);
    if !table_slots.number(&policy.ruleset.tables, running, has_edits) {
        let most = filter::limit::TABLE_SLOTS;
        let text = format!("more than {most} tables, those of the rules in force included");
        diagnostics.push(refusal("too-many-tables", text));
    }
    if has_errors(&diagnostics) {
        return Err(diagnostics);
    }
    let plan = plan.ok_or(Vec::new())?;
    Ok(assemble(
        conf,
        layout,
        policy,
        plan,
        kifs,
        tags,
        table_slots,
        diagnostics,
        cx,
    ))
}

fn refusal(code: &'static str, text: impl Into<String>) -> Diagnostic {
    Diagnostic::whole_file(code, PF_CONF, text)
}

/// Workers are made at start; a stored bundle is asked then.
fn workers(conf: &NetConfig, cx: &Context<'_>) -> Option<Diagnostic> {
    let running = cx.fleet.workers().len();
    let wanted = conf
        .fugu
        .workers
        .map(usize::from)
        .filter(|n| *n != running)?;
    let text = format!("workers = {wanted} takes effect at the next start; {running} run now");
    let mut notice = Diagnostic::whole_file("next-start", "fugu.conf", text);
    notice.severity = Severity::Notice;
    notice.hint = Some("never more than there are spare CPUs and transmit queues".into());
    Some(notice)
}

/// Limits of the machine. `pfconf` has checked those that the file itself sets.
fn fits(policy: &policy::Policy, cx: &Context<'_>, diagnostics: &mut Vec<Diagnostic>) {
    let limits = &policy.ruleset.limits;
    // Who asks for no limit knows that the machine has one.
    let asked = Some(limits.states).filter(|n| *n != u32::MAX);
    if asked.is_some_and(|n| u64::from(n) > cx.states_capacity) {
        let text = format!(
            "limit states {} is more than this machine has room for; {} are in force",
            limits.states, cx.states_capacity
        );
        diagnostics.push(Diagnostic {
            severity: Severity::Notice,
            ..refusal("states-limit", text)
        });
    }
    let tables = &policy.ruleset.tables;
    let entries: usize = tables.iter().map(|t| t.entries().len()).sum();
    let checks = [
        ("tables", tables.len(), limits.tables),
        // The main ruleset is none.
        (
            "anchors",
            policy.ruleset.anchors.len().saturating_sub(1),
            limits.anchors,
        ),
        ("table-entries", entries, limits.table_entries),
    ];
    for (name, used, limit) in checks {
        if used > limit as usize {
            let mut error = refusal("limit", format!("{used} {name}, but the limit is {limit}"));
            error.hint = Some(format!("set limit {name} {used}"));
            diagnostics.push(error);
        }
    }
}

fn plan(texts: &[RuleText], cx: &Context<'_>, diagnostics: &mut Vec<Diagnostic>) -> Option<Plan> {
    let keys: Vec<String> = texts.iter().map(RuleText::key).collect();
    let planned = cx.slots.plan(
        keys.iter().map(String::as_str),
        cx.fleet.adopted(),
        |slot| cx.fleet.states_on(slot),
    );
    match planned {
        Ok(plan) => Some(plan),
        Err(capacity) => {
            let text = format!(
                "{} rules do not fit: there are {capacity} places, some taken by states of earlier rules",
                texts.len()
            );
            diagnostics.push(refusal("too-many-rules", text));
            None
        }
    }
}

#[allow(
    clippy::too_many_arguments,
    reason = "takes everything apart and puts it together once"
)]
fn assemble(
    conf: NetConfig,
    layout: Layout,
    policy: policy::Policy,
    plan: Plan,
    kifs: Kifs,
    tags: Tags,
    table_slots: TableSlots,
    mut warnings: Vec<Diagnostic>,
    cx: &Context<'_>,
) -> Candidate {
    let policy::Policy {
        mut ruleset,
        texts,
        numbers,
        passed_over,
        loginterface,
        debug,
    } = policy;
    let slot = |n: u32| plan.slots.get(n as usize).copied().unwrap_or_default();
    for (rule, n) in ruleset.rules.iter_mut().zip(&numbers) {
        rule.slot = slot(*n);
    }
    for (n, rule) in ruleset.rules_beside() {
        rule.slot = slot(n);
    }
    ruleset.settle_in(cx.generation, &cx.shared.edits, |name| table_slots.of(name));
    let capacity = u32::try_from(cx.states_capacity).unwrap_or(u32::MAX);
    ruleset.fit_states(capacity);
    let rule_timeouts = own_timeouts(&ruleset.rules, &ruleset.timeouts);
    ruleset.rule_timeouts = rule_timeouts.clone();
    let gone = cx
        .slots
        .timeouts_beyond(&plan, |slot| cx.fleet.states_on(slot));
    ruleset.rule_timeouts.extend(gone);
    ruleset.rule_timeouts.sort_by_key(|(slot, _)| *slot);
    let api_port = conf.fugu.api_port.unwrap_or(cx.api_port);
    let config = Config::new(cx.generation, ruleset, layout.interfaces, layout.routes);
    if cx.check_lockout {
        let named = management_names(&config, &conf, cx.settings, cx.ports);
        let found = lockout(&config, &named, api_port, &kifs, &texts);
        warnings.extend(found);
    }
    Candidate {
        config: Arc::new(config),
        rules: texts,
        numbers,
        passed_over,
        hostname: conf.hostname,
        api_port,
        idle: (conf.fugu.idle_after_ms, conf.fugu.idle_backoff_us),
        wants: layout.wants,
        nameservers: conf.nameservers,
        mtus: layout.mtus,
        trees: layout.trees,
        kifs,
        tags,
        table_slots,
        plan,
        rule_timeouts,
        loginterface,
        debug,
        warnings,
    }
}

/// Sorted by slot.
fn own_timeouts(rules: &[Rule], general: &Timeouts) -> Vec<(RuleSlot, Timeouts)> {
    let own = rules
        .iter()
        .filter(|rule| !rule.state.timeouts.is_empty())
        .map(|rule| (rule.slot, general.for_rule(&rule.state.timeouts)));
    let mut all: Vec<(RuleSlot, Timeouts)> = own.collect();
    all.sort_by_key(|(slot, _)| *slot);
    // An anchor that is called twice has its rules twice.
    all.dedup_by_key(|(slot, _)| *slot);
    all
}

/// The interfaces for management: those of fugu.conf, or the cards that were chosen at the console, by what the files call
/// them.
fn management_names<'a>(
    config: &'a Config,
    conf: &'a NetConfig,
    settings: &'a Settings,
    ports: &[PortFacts],
) -> Vec<&'a str> {
    let called = |chosen: &'a str| {
        let port = ports.iter().position(|port| port.name == chosen);
        let mut interfaces = config.interfaces.iter();
        let found = port.and_then(|n| interfaces.find(|i| i.port().map(usize::from) == Some(n)));
        found.map_or(chosen, |interface| interface.name.as_str())
    };
    match conf.fugu.management.as_slice() {
        [] => settings
            .management
            .iter()
            .map(|m| called(&m.interface))
            .collect(),
        named => named.iter().map(String::as_str).collect(),
    }
}

fn lockout(
    config: &Config,
    names: &[&str],
    api_port: u16,
    kifs: &Kifs,
    texts: &[RuleText],
) -> Option<Diagnostic> {
    let wanted: Vec<KifId> = names.iter().filter_map(|name| kifs.find(name)).collect();
    let is_for_management = |interface: &&net::Interface| {
        let named = wanted.iter().any(|kif| interface.kifs.contains(*kif));
        interface.up && !interface.is_loopback() && (names.is_empty() || named)
    };
    let interfaces = config.interfaces.iter().filter(is_for_management);
    let doors = interfaces.flat_map(|i| {
        i.addrs.iter().map(|a| Door {
            kifs: i.kifs,
            kif: i.kifs.own(),
            addr: a.addr,
        })
    });
    let routes = RoutesOf(&config.routes);
    let LockedOut { rule } = lockout::knock(&config.ruleset, doors, api_port, &routes).err()?;
    let rule = rule.and_then(|nr| texts.get(nr.0 as usize));
    let place = rule.and_then(|text| text.origin.rsplit_once(':'));
    let place = place.and_then(|(file, line)| Some((file, line.parse().ok()?)));
    Some(environment::locked_out(names, api_port, place))
}

/// The route table as rules ask it.
struct RoutesOf<'a>(&'a net::RouteTables);

impl ruleset::Routes for RoutesOf<'_> {
    fn has_route(&self, rtable: u8, af: ruleset::Af, addr: u128) -> bool {
        let addr: std::net::IpAddr = match af {
            ruleset::Af::Inet => std::net::Ipv4Addr::from_bits(addr as u32).into(),
            ruleset::Af::Inet6 => std::net::Ipv6Addr::from_bits(addr).into(),
        };
        self.0.lookup(rtable, addr).is_some()
    }
    fn reverse_path_ok(&self, _: u8, _: ruleset::Af, _: u128) -> bool {
        true
    }
    // The connection that is asked about is one to the box.
    fn is_ours(&self, _: u8, _: ruleset::Af, _: u128) -> bool {
        true
    }
}
