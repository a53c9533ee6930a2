//! Would these rules let anybody reach the management API? Asked of every tree before it is accepted; the answer is a warning,
//! because a box that is managed by its console alone is a legitimate wish. The rules themselves are asked, by the evaluator
//! that is their meaning; knows no interfaces but the doors it is given.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use net::{KifId, KifSet};
use ruleset::{Action, AddrSpec, Af, Facts, Routes, RuleNr, Ruleset, evaluate};

const PROTO_TCP: u8 = 6;
const SYN: u8 = 2;
/// Sources tried, per address; a box that lets in only the 257th prefix of its rules gets a warning in error.
const SOURCES_MAX: usize = 256;
/// A client's port.
const EPHEMERAL: u16 = 50_000;

/// An address of the box that management may be reached at.
#[derive(Clone, Copy, Debug)]
pub struct Door {
    /// Names that its interface answers to.
    pub kifs: KifSet,
    /// The interface's own name.
    pub kif: KifId,
    /// The address.
    pub addr: IpAddr,
}

/// Nobody gets in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LockedOut {
    /// The rule that stops a neighbor at the first door; none if there is no door at all.
    pub rule: Option<RuleNr>,
}

/// Tries to connect to the port at each door, from everywhere that the rules tell apart. Done at the first success.
pub fn knock(
    ruleset: &Ruleset,
    doors: impl IntoIterator<Item = Door>,
    port: u16,
    routes: &impl Routes,
) -> Result<(), LockedOut> {
    let mut first = None;
    for door in doors {
        for from in sources(ruleset, door.addr) {
            match stopped_by(ruleset, &door, from, port, routes) {
                None => return Ok(()),
                Some(rule) => first = first.or(Some(rule)),
            }
        }
    }
    Err(LockedOut { rule: first })
}

/// Address as rules see it.
fn bits(addr: IpAddr) -> (Af, u128) {
    match addr {
        IpAddr::V4(a) => (Af::Inet, a.to_bits().into()),
        IpAddr::V6(a) => (Af::Inet6, a.to_bits()),
    }
}

/// Who might connect: a neighbor, somebody far away, and everybody that a rule names.
fn sources(ruleset: &Ruleset, to: IpAddr) -> Vec<u128> {
    let (af, own) = bits(to);
    let far: IpAddr = match af {
        Af::Inet => Ipv4Addr::new(9, 9, 9, 9).into(),
        Af::Inet6 => Ipv6Addr::new(0x2620, 0xfe, 0, 0, 0, 0, 0, 0xfe).into(),
    };
    let mut out = vec![own ^ 1, bits(far).1];
    for rule in &ruleset.rules {
        if out.len() >= SOURCES_MAX {
            break;
        }
        match rule.src.addr {
            AddrSpec::Masked { af: of, addr, mask } if of == af => out.push(addr | (!mask & 1)),
            AddrSpec::Range { af: of, low, .. } if of == af => out.push(low),
            AddrSpec::Table(id) => {
                let table = ruleset.table(id);
                let entries = table.map(|t| t.entries()).unwrap_or_default();
                let inside = entries.iter().filter(|e| e.af == af && !e.negate);
                out.extend(inside.map(|e| e.addr));
            }
            _ => {}
        }
    }
    out.truncate(SOURCES_MAX);
    out
}

/// The rule that blocks a connection, if one does.
fn stopped_by(
    ruleset: &Ruleset,
    door: &Door,
    src: u128,
    port: u16,
    routes: &impl Routes,
) -> Option<RuleNr> {
    if ruleset.skips(&door.kifs) {
        return None;
    }
    let (af, dst) = bits(door.addr);
    let facts = Facts {
        on: door.kifs,
        kif: door.kif,
        received_on: Some(door.kifs),
        af,
        src,
        dst,
        proto: PROTO_TCP,
        src_port: EPHEMERAL,
        dst_port: port,
        tcp_flags: SYN,
        ..Facts::default()
    };
    let nr = evaluate(ruleset, &facts, routes, |_| ()).rule?;
    let rule = ruleset.rules.get(nr.0 as usize)?;
    matches!(rule.action, Action::Block(_)).then_some(nr)
}

#[cfg(test)]
mod tests {
    use ruleset::EveryRoute;

    use super::*;
    use crate::{EnvAddress, EnvInterface, Environment, NoFiles, Options, compile};

    #[test]
    fn somebody_gets_in_or_the_rule_is_named() {
        let mut env = Environment::minimal();
        let addr: IpAddr = "192.0.2.1".parse().unwrap();
        env.interfaces.push(EnvInterface {
            name: "em0".into(),
            kif: KifId(0),
            groups: Vec::new(),
            addresses: vec![EnvAddress::new(addr, 24)],
            loopback: false,
        });
        let mut kifs = KifSet::EMPTY;
        kifs.insert(KifId(0));
        let kif = KifId(0);
        for (text, want) in [
            ("pass", None),
            ("block", Some(0)),
            ("block\npass in proto tcp to port 80", None),
            (
                "block\npass in proto tcp from 203.0.113.0/24 to em0 port 80",
                None,
            ),
            (
                "block\npass in proto tcp to port 443\nblock in on em0",
                Some(2),
            ),
            ("block\nset skip on em0", None),
            ("table <a> { 198.51.100.7 }\nblock\npass in from <a>", None),
        ] {
            let compiled = compile("t", text.as_bytes(), &NoFiles, &env, &Options::default());
            let door = Door { kifs, kif, addr };
            let found = knock(&compiled.ruleset.unwrap(), [door], 80, &EveryRoute);
            let want = want.map(|nr| LockedOut {
                rule: Some(RuleNr(nr)),
            });
            assert_eq!(found.err(), want, "{text}");
        }
        let ruleset = Ruleset::default();
        assert_eq!(
            knock(&ruleset, [], 80, &EveryRoute),
            Err(LockedOut { rule: None })
        );
    }
}
