//! The rules of a tree, compiled for the interfaces that its own files name: the machine is elsewhere.

use std::collections::BTreeMap;

use net::{KIF_MAX, KifId};
use netconf::environment::{self, LOOPBACK, PF_CONF, Tree};
use netconf::{Diagnostic, InterfaceConfig, NetConfig, Severity};
use pfconf::{Compiled, Environment, Options};

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
    // Room for the names of groups and lo0.
    if conf.interfaces.len() > KIF_MAX / 2 {
        let text = format!("more than {} interfaces", KIF_MAX / 2);
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
    Some(compiled)
}

/// What a tree tells the rules; interfaces without a name are left out.
pub(crate) fn environment(conf: &NetConfig) -> Environment {
    environment_of(conf, conf.interfaces.iter().filter(|i| i.lladdr.is_none()))
}

fn environment_with_notices(conf: &NetConfig, diagnostics: &mut Vec<Diagnostic>) -> Environment {
    let (nameless, named): (Vec<_>, Vec<_>) =
        conf.interfaces.iter().partition(|i| i.lladdr.is_some());
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
