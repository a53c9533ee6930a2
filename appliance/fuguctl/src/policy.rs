//! The rules of a tree, compiled for the interfaces that its own files name: the machine is elsewhere.

use std::collections::BTreeMap;

use net::{KifId, KifSet, NAMES_MAX};
use netconf::environment::{self, LOOPBACK, PF_CONF, Tree};
use netconf::{DEFAULT_API_PORT, Diagnostic, InterfaceConfig, NetConfig, Severity};
use pfconf::lockout::{self, Door, LockedOut};
use pfconf::{Compiled, EnvInterface, Environment, Options};
use ruleset::{Af, Routes, Ruleset};

/// Compiles `pf.conf`; the messages go to `diagnostics`.
pub(crate) fn compile(
    files: &BTreeMap<String, Vec<u8>>,
    conf: &NetConfig,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Compiled> {
    let Some(source) = files.get(PF_CONF) else {
        diagnostics.push(environment::no_rules());
        return None;
    };
    // Room for lo0 and names that only rules have.
    if conf.interfaces.len() > NAMES_MAX / 2 {
        let text = format!("more than {} interfaces", NAMES_MAX / 2);
        diagnostics.push(Diagnostic::whole_file("too-many-names", "etc", text));
        return None;
    }
    let environment = environment_with_notices(conf, diagnostics);
    let options = Options {
        lint: true,
        ..Options::default()
    };
    let mut compiled = pfconf::compile(PF_CONF, source, &Tree(files), &environment, &options);
    diagnostics.append(&mut compiled.diagnostics);
    // What follows from an error is no message of its own.
    let sound = !netconf::has_errors(diagnostics);
    if let Some(ruleset) = compiled.ruleset.as_ref().filter(|_| sound) {
        diagnostics.extend(lockout(conf, &environment, ruleset, &compiled));
    }
    Some(compiled)
}

/// Every address has a route: which ones the machine really has, it knows itself.
struct AllRoutes;

impl Routes for AllRoutes {
    fn has_route(&self, _: u8, _: Af, _: u128) -> bool {
        true
    }
    fn reverse_path_ok(&self, _: u8, _: Af, _: u128) -> bool {
        true
    }
    // The connection that is asked about is one to the box.
    fn is_ours(&self, _: u8, _: Af, _: u128) -> bool {
        true
    }
}

/// The warning that nobody could reach the appliance any more. Without a word in `fugu.conf`, any interface will do; which one
/// was chosen at the console, only the machine knows.
fn lockout(
    conf: &NetConfig,
    environment: &Environment,
    ruleset: &Ruleset,
    compiled: &Compiled,
) -> Option<Diagnostic> {
    // A card without a name may be the one, and a tree without any interface is told about elsewhere.
    if conf.interfaces.is_empty() || !conf.interfaces.iter().all(|i| i.has_name()) {
        return None;
    }
    let names = &conf.fugu.management;
    let number = |name: &str| {
        let mut known = compiled.kif_names.iter();
        known.find(|(known, _)| known == name).map(|(_, kif)| *kif)
    };
    let is_up = |name: &str| conf.interface(name).is_some_and(|i| i.up);
    let for_management = |i: &&EnvInterface| {
        let named = names.iter().any(|n| *n == i.name || i.groups.contains(n));
        !i.loopback && is_up(&i.name) && (names.is_empty() || named)
    };
    let mut interfaces = environment
        .interfaces
        .iter()
        .filter(for_management)
        .peekable();
    if interfaces.peek().is_none() && !names.iter().any(|n| conf.interface(n).is_some()) {
        // That fugu.conf names something unknown is told elsewhere.
        return None;
    }
    let doors = interfaces.flat_map(|interface| {
        let mut kifs = KifSet::EMPTY;
        let groups = interface.groups.iter().map(String::as_str);
        for name in groups.chain([interface.name.as_str(), "all"]) {
            number(name).into_iter().for_each(|kif| kifs.insert(kif));
        }
        let kif = interface.kif;
        let addresses = interface.addresses.iter();
        addresses.map(move |a| Door {
            kifs,
            kif,
            addr: a.address,
        })
    });
    let port = conf.fugu.api_port.unwrap_or(DEFAULT_API_PORT);
    let LockedOut { rule } = lockout::knock(ruleset, doors, port, &AllRoutes).err()?;
    let rule = rule.and_then(|nr| compiled.rules.get(nr.0 as usize));
    let place = rule.map(|rule| (rule.file.as_str(), rule.line));
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Some(environment::locked_out(&names, port, place))
}

/// What a tree tells the rules; interfaces without a name are left out.
pub(crate) fn environment(conf: &NetConfig) -> Environment {
    environment_of(conf, conf.interfaces.iter().filter(|i| i.has_name()))
}

fn environment_with_notices(conf: &NetConfig, diagnostics: &mut Vec<Diagnostic>) -> Environment {
    let (nameless, named): (Vec<_>, Vec<_>) = conf.interfaces.iter().partition(|i| !i.has_name());
    diagnostics.extend(nameless.into_iter().map(notice_of_nameless));
    environment_of(conf, named)
}

/// What a tree tells the rules: its names, and these interfaces.
pub(crate) fn environment_of<'a>(
    conf: &NetConfig,
    named: impl IntoIterator<Item = &'a InterfaceConfig>,
) -> Environment {
    let mut interfaces = vec![environment::loopback(KifId(0))];
    for file in named {
        if file.name == LOOPBACK {
            interfaces[0] = environment::interface(conf, file, KifId(0));
        } else {
            let kif = KifId(interfaces.len() as u16);
            interfaces.push(environment::interface(conf, file, kif));
        }
    }
    Environment {
        interfaces,
        ..environment::names(conf)
    }
}

fn notice_of_nameless(interface: &InterfaceConfig) -> Diagnostic {
    let text =
        "only the machine knows the name of this interface; rules about it are checked there";
    Diagnostic {
        severity: Severity::Notice,
        ..Diagnostic::whole_file("interface-by-address", &interface.origin.file, text)
    }
}
