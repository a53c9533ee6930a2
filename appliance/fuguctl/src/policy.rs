//! The rules of a tree, compiled for the interfaces that its own files name: the machine is elsewhere.

use std::collections::BTreeMap;

use net::{KIF_MAX, KifId};
use netconf::{Diagnostic, InterfaceConfig, NetConfig, Severity};
use pfconf::{Compiled, EnvAddress, EnvInterface, Environment, Files, Options};

/// Main file of the rules.
const PF_CONF: &str = "pf.conf";

/// Where rulesets written for OpenBSD say their files are.
const ETC: &str = "/etc/";

/// Files of the tree under the names that rules give them.
struct Tree<'a>(&'a BTreeMap<String, Vec<u8>>);

impl Files for Tree<'_> {
    fn read(&self, name: &str) -> Option<Vec<u8>> {
        let inside = name.strip_prefix(ETC).unwrap_or(name);
        self.0.get(inside).cloned()
    }
}

/// Compiles `pf.conf`; the messages go to `diagnostics`.
pub(crate) fn compile(
    files: &BTreeMap<String, Vec<u8>>,
    conf: &NetConfig,
    diagnostics: &mut Vec<Diagnostic>,
) -> Option<Compiled> {
    let Some(source) = files.get(PF_CONF) else {
        let text = "there is no pf.conf in the bundle";
        diagnostics.push(Diagnostic {
            hint: Some("a box that passes everything says so: pass".into()),
            ..Diagnostic::whole_file("no-rules", PF_CONF, text)
        });
        return None;
    };
    // Room for the names of groups and lo0.
    if conf.interfaces.len() > KIF_MAX / 2 {
        let text = format!("more than {} interfaces", KIF_MAX / 2);
        diagnostics.push(Diagnostic::whole_file("too-many-names", "etc", text));
        return None;
    }
    let environment = environment(conf, diagnostics);
    let options = Options::default();
    let mut compiled = pfconf::compile(PF_CONF, source, &Tree(files), &environment, &options);
    diagnostics.append(&mut compiled.diagnostics);
    Some(compiled)
}

fn environment(conf: &NetConfig, diagnostics: &mut Vec<Diagnostic>) -> Environment {
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
    let mut interfaces = vec![loopback()];
    for interface in named {
        let found = EnvInterface {
            name: interface.name.clone(),
            kif: KifId(interfaces.len() as u16),
            groups: conf.groups_of(&interface.name, interface),
            addresses: interface
                .addresses
                .iter()
                .map(|a| EnvAddress::new(a.addr, a.prefix_len))
                .collect(),
            loopback: is_loopback(&interface.name),
        };
        match interface.name == interfaces[0].name {
            true => {
                interfaces[0] = EnvInterface {
                    kif: KifId(0),
                    ..found
                }
            }
            false => interfaces.push(found),
        }
    }
    let services = conf.services.entries();
    let protocols = conf.protocols.entries();
    Environment {
        interfaces,
        services: services
            .map(|(name, transport, port)| (name.to_string(), transport, port))
            .collect(),
        protocols: protocols
            .map(|(name, number)| (name.to_string(), number))
            .collect(),
        hosts: conf.hosts.clone().into_iter().collect(),
        ..Environment::default()
    }
}

/// `lo0` and its like.
fn is_loopback(name: &str) -> bool {
    let number = name.strip_prefix("lo").unwrap_or_default();
    !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
}

/// Every machine has it.
fn loopback() -> EnvInterface {
    let localhost = [
        (std::net::Ipv4Addr::LOCALHOST.into(), 8),
        (std::net::Ipv6Addr::LOCALHOST.into(), 128),
    ];
    EnvInterface {
        name: "lo0".into(),
        kif: KifId(0),
        groups: vec!["lo".into()],
        addresses: localhost
            .iter()
            .map(|(addr, bits)| EnvAddress::new(*addr, *bits))
            .collect(),
        loopback: true,
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
