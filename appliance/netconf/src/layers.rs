//! Interfaces made of interfaces, seen over all files: what is missing, what is used twice, what goes round in a circle, and
//! what of it Fugu cannot do yet. Whether a card of a name is in the machine is for the caller to say.

use std::collections::BTreeMap;

use pfconf::diag::{Diagnostic, Severity};

use crate::feature::Feature;
use crate::source::{Reporter, at};
use crate::{
    InterfaceConfig, Kind, LaggProtocol, Named, NetConfig, Origin, TPID_SVLAN, Vlan, names_of,
};

/// Tags of a frame: a service tag and a customer tag.
const TAGS_MAX: usize = 2;

/// How far a chain of VLANs is followed; one that is longer is wrong in any case.
const TAGS_WALKED: usize = 16;

/// MTU of a card whose file does not say it.
const MTU_USUAL: u16 = 1500;

/// All interfaces by name.
type ByName<'a> = BTreeMap<&'a str, &'a InterfaceConfig>;

/// Everything about layers.
pub(crate) fn whole(config: &NetConfig, reporter: &mut Reporter) {
    let by_name: ByName = config
        .interfaces
        .iter()
        .map(|i| (i.name.as_str(), i))
        .collect();
    // A file bound to a station address may be that of any card.
    let sure = config.interfaces.iter().all(|i| i.has_name());
    for interface in &config.interfaces {
        complete(interface, reporter);
        features(interface, &by_name, reporter);
        for named in interface.kind.below() {
            below(interface, named, &by_name, sure, reporter);
        }
        mtus(interface, &by_name, reporter);
    }
    circles(config, &by_name, reporter);
    used_twice(config, reporter);
    same_vlan(config, reporter);
    same_tunnel(config, reporter);
}

fn error(origin: &Origin, code: &'static str, text: String) -> Diagnostic {
    at(origin, Severity::Error, code, text)
}

fn with_hint(mut diagnostic: Diagnostic, hint: impl Into<String>) -> Diagnostic {
    diagnostic.hint = Some(hint.into());
    diagnostic
}

/// Refuses a kind of interface that does not work yet.
fn features(interface: &InterfaceConfig, by_name: &ByName<'_>, reporter: &mut Reporter) {
    let feature = match &interface.kind {
        Kind::Ethernet | Kind::Loopback => return,
        Kind::Vlan(vlan) if vlan.tpid == TPID_SVLAN || on_vlan(vlan, by_name) => Feature::QinQ,
        Kind::Vlan(_) => Feature::Vlan,
        Kind::Lagg(lagg) => match lagg.protocol {
            LaggProtocol::Failover => Feature::LaggFailover,
            LaggProtocol::Lacp => Feature::Lacp,
            _ => Feature::LaggBalance,
        },
        Kind::Bridge(_) => Feature::Bridge,
        Kind::Gif(_) => Feature::Gif,
    };
    if let Some(text) = reporter.refusal(feature) {
        reporter.push(error(&interface.origin, "not-supported-yet", text));
    }
}

fn on_vlan(vlan: &Vlan, by_name: &ByName<'_>) -> bool {
    let parent = vlan.parent.as_ref();
    let parent = parent.and_then(|parent| by_name.get(parent.name.as_str()));
    parent.is_some_and(|parent| matches!(parent.kind, Kind::Vlan(_)))
}

/// What an interface cannot be without.
fn complete(interface: &InterfaceConfig, reporter: &mut Reporter) {
    let (name, origin) = (&interface.name, &interface.origin);
    // What is missing may be what was wrong.
    if reporter.has_errors_in(&origin.file) {
        return;
    }
    match &interface.kind {
        Kind::Vlan(vlan) => {
            if vlan.parent.is_none() {
                let text = format!("{name} has no parent");
                let hint = "write: parent em0";
                reporter.push(with_hint(error(origin, "missing-parent", text), hint));
            }
            if vlan.vid.is_none() {
                let text = format!("{name} has no vnetid");
                let hint = "write: vnetid N, the number of the VLAN";
                reporter.push(with_hint(error(origin, "missing-vnetid", text), hint));
            }
        }
        Kind::Lagg(lagg) if lagg.ports.is_empty() => {
            let text = format!("{name} has no port");
            reporter.push(at(origin, Severity::Warning, "no-ports", text));
        }
        Kind::Bridge(bridge) if bridge.members.is_empty() => {
            let text = format!("{name} has no member");
            reporter.push(at(origin, Severity::Warning, "no-ports", text));
        }
        Kind::Gif(gif) if gif.tunnel.is_none() => {
            let text = format!("{name} has no tunnel");
            let hint = "write: tunnel OUR-ADDRESS THEIR-ADDRESS";
            reporter.push(with_hint(error(origin, "missing-tunnel", text), hint));
        }
        _ => {}
    }
}

/// Whether `interface` can stand on `named`.
fn below(
    interface: &InterfaceConfig,
    named: &Named,
    by_name: &ByName<'_>,
    sure: bool,
    reporter: &mut Reporter,
) {
    let name = &named.name;
    if *name == interface.name {
        return;
    }
    let Some(lower) = by_name.get(name.as_str()) else {
        let text;
        if names_of::is_made(name) {
            text = format!("nothing makes the interface '{name}'");
            let hint = format!("write hostname.{name}");
            reporter.push(with_hint(
                error(&named.origin, "unknown-interface", text),
                hint,
            ));
        } else if sure {
            text = format!("{name} has no file of its own, so it stays down");
            let hint = format!("write hostname.{name} with the word: up");
            let warning = at(&named.origin, Severity::Warning, "port-is-down", text);
            reporter.push(with_hint(warning, hint));
        }
        return;
    };
    let fits = matches!(
        (&interface.kind, &lower.kind),
        (Kind::Lagg(_), Kind::Ethernet)
            | (
                Kind::Vlan(_) | Kind::Bridge(_),
                Kind::Ethernet | Kind::Lagg(_) | Kind::Vlan(_)
            )
    );
    if !fits {
        let (lower, upper) = (
            names_of::called(&lower.kind),
            names_of::called(&interface.kind),
        );
        let text = format!("{name} is {lower}, which {upper} cannot be made of");
        reporter.push(error(&named.origin, "wrong-kind", text));
    } else if matches!(interface.kind, Kind::Lagg(_)) && !lower.addresses.is_empty() {
        let text = format!(
            "{name} is a port of {}: its addresses do nothing",
            interface.name
        );
        let hint = format!("write them to hostname.{}", interface.name);
        let warning = at(&lower.origin, Severity::Warning, "address-on-port", text);
        reporter.push(with_hint(warning, hint));
    }
}

/// Sizes of packets that do not go together.
fn mtus(interface: &InterfaceConfig, by_name: &ByName<'_>, reporter: &mut Reporter) {
    let mtu_of = |named: &Named| Some(mtu(by_name.get(named.name.as_str())?, by_name));
    let below = interface.kind.below();
    match &interface.kind {
        Kind::Vlan(_) => {
            let parent = below.first().and_then(|parent| mtu_of(parent));
            let too_large = interface.mtu.zip(parent).filter(|(own, of)| own > of);
            if let Some((own, of)) = too_large {
                let text = format!("mtu {own} is more than {of} of its parent");
                reporter.push(error(&interface.origin, "bad-mtu", text));
            }
        }
        Kind::Lagg(_) | Kind::Bridge(_) => {
            let first = below.first().and_then(|first| mtu_of(first));
            let own = interface.mtu.or(first);
            for port in below {
                if let (Some(own), Some(other)) = (own, mtu_of(port))
                    && own != other
                {
                    let text = format!(
                        "{} has mtu {other}, {} has {own}: larger packets are lost between them",
                        port.name, interface.name
                    );
                    reporter.push(at(&port.origin, Severity::Warning, "mixed-mtu", text));
                }
            }
        }
        _ => {}
    }
}

/// Its own, or that of what it stands on.
fn mtu(interface: &InterfaceConfig, by_name: &ByName<'_>) -> u16 {
    let mut at = interface;
    // As deep as any chain that is no circle.
    for _ in 0..=TAGS_MAX + 1 {
        if let Some(mtu) = at.mtu {
            return mtu;
        }
        let below = at.kind.below();
        match below.first().and_then(|n| by_name.get(n.name.as_str())) {
            Some(lower) => at = lower,
            None => break,
        }
    }
    MTU_USUAL
}

/// An interface that stands on itself, and VLANs on VLANs on VLANs.
fn circles(config: &NetConfig, by_name: &ByName<'_>, reporter: &mut Reporter) {
    for interface in &config.interfaces {
        let own = interface.kind.below();
        match tags(interface, by_name) {
            Some(tags) if tags > TAGS_MAX => {
                let text = format!("{}: more than {TAGS_MAX} tags", interface.name);
                reporter.push(error(&interface.origin, "too-many-tags", text));
            }
            Some(_) if own.iter().all(|named| named.name != interface.name) => {}
            _ => {
                let text = format!("{} is made of itself", interface.name);
                let place = own.first().map_or(&interface.origin, |named| &named.origin);
                reporter.push(error(place, "circle", text));
            }
        }
    }
}

/// Tags of a frame of this interface; `None` where the way down comes back to it.
fn tags(interface: &InterfaceConfig, by_name: &ByName<'_>) -> Option<usize> {
    let mut tags = 0;
    let mut at = interface;
    while let Kind::Vlan(vlan) = &at.kind
        && tags <= TAGS_WALKED
    {
        tags += 1;
        let parent = vlan.parent.as_ref().map_or("", |parent| &parent.name);
        if parent == interface.name {
            return None;
        }
        match by_name.get(parent) {
            Some(lower) => at = lower,
            None => break,
        }
    }
    Some(tags)
}

/// A port of a lagg is nothing else; a member of a bridge is in one bridge.
fn used_twice(config: &NetConfig, reporter: &mut Reporter) {
    let mut user: BTreeMap<&str, (&InterfaceConfig, &Named)> = BTreeMap::new();
    let exclusive = |i: &&InterfaceConfig| matches!(i.kind, Kind::Lagg(_) | Kind::Bridge(_));
    for interface in config.interfaces.iter().filter(exclusive) {
        for named in interface.kind.below() {
            if let Some((first, place)) = user.get(named.name.as_str()) {
                let text = format!(
                    "{} is in {} already, see {}",
                    named.name,
                    first.name,
                    place_of(&place.origin)
                );
                reporter.push(error(&named.origin, "used-twice", text));
            } else {
                user.insert(&named.name, (interface, named));
            }
        }
    }
    for interface in &config.interfaces {
        let Kind::Vlan(Vlan {
            parent: Some(parent),
            ..
        }) = &interface.kind
        else {
            continue;
        };
        if let Some((lagg, _)) = user.get(parent.name.as_str())
            && matches!(lagg.kind, Kind::Lagg(_))
        {
            let text = format!("{} is a port of {}", parent.name, lagg.name);
            let hint = format!("write: parent {}", lagg.name);
            reporter.push(with_hint(error(&parent.origin, "used-twice", text), hint));
        }
    }
}

fn place_of(origin: &Origin) -> String {
    match origin.line {
        0 => origin.file.clone(),
        line => format!("{}:{line}", origin.file),
    }
}

/// Two interfaces for the same tag on one parent.
fn same_vlan(config: &NetConfig, reporter: &mut Reporter) {
    let mut seen: BTreeMap<(&str, u16, u16), &InterfaceConfig> = BTreeMap::new();
    for interface in &config.interfaces {
        let Kind::Vlan(Vlan {
            parent: Some(parent),
            vid: Some(vid),
            tpid,
            ..
        }) = &interface.kind
        else {
            continue;
        };
        match seen.get(&(parent.name.as_str(), *tpid, *vid)) {
            Some(first) => {
                let text = format!(
                    "VLAN {vid} on {} is {} already, see {}",
                    parent.name,
                    first.name,
                    place_of(&first.origin)
                );
                reporter.push(error(&interface.origin, "duplicate-vlan", text));
            }
            None => {
                seen.insert((&parent.name, *tpid, *vid), interface);
            }
        }
    }
}

/// Two tunnels between the same ends, and a tunnel from an address that is not ours.
fn same_tunnel(config: &NetConfig, reporter: &mut Reporter) {
    let mut seen = BTreeMap::new();
    for interface in &config.interfaces {
        let Kind::Gif(gif) = &interface.kind else {
            continue;
        };
        let Some(tunnel) = &gif.tunnel else {
            continue;
        };
        if let Some(first) = seen.insert((gif.domain, tunnel.src, tunnel.dst), &interface.name) {
            let text = format!("{first} is the tunnel between these ends already");
            reporter.push(error(&tunnel.origin, "duplicate-tunnel", text));
        }
        let mut all = config.interfaces.iter().flat_map(|i| &i.addresses);
        let asks = config.asks_for_addresses();
        if !asks && !all.any(|a| a.addr == tunnel.src) && !reporter.has_errors() {
            let text = format!("{} is no address of this machine", tunnel.src);
            reporter.push(at(&tunnel.origin, Severity::Warning, "odd-tunnel", text));
        }
    }
}
