//! What ifconfig(8) prints of interfaces that are made of others: VLANs as OpenBSD, laggs as the system whose name they bear.
//! Bridges are [`crate::bridge`]'s.

use control::api::{InterfaceView, LacpSystemView, LacpView, LaggPortView, MadeOf};

/// Lines below the first ones of an interface, without their tabs. `all` are all interfaces.
pub(crate) fn lines(i: &InterfaceView, all: &[InterfaceView]) -> Vec<String> {
    let mut lines = match &i.made {
        MadeOf::Card | MadeOf::Loopback | MadeOf::Bridge(_) => Vec::new(),
        MadeOf::Vlan {
            parent, vid, prio, ..
        } => {
            let prio = prio.map_or("packet".to_string(), |n| n.to_string());
            // The first line is OpenBSD's, the second FreeBSD's, which people's notes and scripts know.
            vec![
                format!("encap: vnetid {vid} parent {parent} txprio {prio} rxprio outer"),
                format!("vlan: {vid} parent interface: {parent}"),
            ]
        }
        MadeOf::Lagg {
            protocol,
            ports,
            hash,
            lacp,
        } => lagg(i, protocol, hash.as_deref(), lacp.as_ref(), ports),
        MadeOf::Gif { local, remote, .. } => {
            let family = if local.is_ipv4() { "inet" } else { "inet6" };
            vec![format!("tunnel: {family} {local} -> {remote}")]
        }
    };
    if i.made == MadeOf::Card
        && let Some(lagg) = all.iter().find(|other| has_port(other, &i.name))
    {
        lines.push(match is_trunk(&lagg.name) {
            true => format!("trunk: trunkdev {}", lagg.name),
            false => format!("lagg: laggdev {}", lagg.name),
        });
    }
    lines
}

fn has_port(i: &InterfaceView, name: &str) -> bool {
    matches!(&i.made, MadeOf::Lagg { ports, .. } if ports.iter().any(|p| p.name == name))
}

/// OpenBSD's names; `lagg0` is FreeBSD's.
fn is_trunk(name: &str) -> bool {
    !name.starts_with("lagg")
}

fn lagg(
    i: &InterfaceView,
    protocol: &str,
    hash: Option<&str>,
    lacp: Option<&LacpView>,
    ports: &[LaggPortView],
) -> Vec<String> {
    let ports = ports.iter().enumerate();
    if is_trunk(&i.name) {
        let port = |(n, p): (usize, &LaggPortView)| {
            let set = flags(n, p, protocol);
            let words: Vec<String> = set.iter().map(|(_, word)| word.to_lowercase()).collect();
            format!("\t{} port {}", p.name, words.join(","))
        };
        let mut lines = vec![format!("trunk: trunkproto {protocol}")];
        if let Some(LacpView { actor, partner }) = lacp {
            lines.push(format!("trunk id: [({},0000,0000),", system(actor)));
            lines.push(format!("\t ({},0000,0000)]", system(partner)));
        }
        lines.extend(ports.map(port));
        return lines;
    }
    let port = |(n, p): (usize, &LaggPortView)| {
        let set = flags(n, p, protocol);
        let bits: u32 = set.iter().map(|(bit, _)| bit).sum();
        let words: Vec<&str> = set.iter().map(|(_, word)| *word).collect();
        format!("laggport: {} flags={bits:x}<{}>", p.name, words.join(","))
    };
    let hash = hash.map(|fields| format!(" lagghash {fields}"));
    let mut lines = vec![format!("laggproto {protocol}{}", hash.unwrap_or_default())];
    lines.extend(ports.map(port));
    if let Some(LacpView { actor, partner }) = lacp {
        let (actor, partner) = (system(actor), system(partner));
        lines.push(format!("lag id: [({actor},0000,0000),"));
        lines.push(format!("\t ({partner},0000,0000)]"));
    }
    lines
}

/// As both systems write one: priority, address, key.
fn system(system: &LacpSystemView) -> String {
    let LacpSystemView {
        priority,
        lladdr,
        key,
    } = system;
    format!("{priority:04X},{lladdr},{key:04X}")
}

/// net/if_lagg.h: MASTER 1, ACTIVE 4, COLLECTING 8, DISTRIBUTING 0x10. Only failover knows a master, the first port.
fn flags(n: usize, port: &LaggPortView, protocol: &str) -> Vec<(u32, &'static str)> {
    let lacp = protocol == "lacp";
    let all = [
        (n == 0 && protocol == "failover", 0x1, "MASTER"),
        (port.sends, 0x4, "ACTIVE"),
        (lacp && port.heard, 0x8, "COLLECTING"),
        (lacp && port.sends, 0x10, "DISTRIBUTING"),
    ];
    let set = all.iter().filter(|(on, ..)| *on);
    set.map(|(_, bit, word)| (*bit, *word)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(name: &str, made: MadeOf) -> InterfaceView {
        InterfaceView {
            name: name.into(),
            made,
            ..InterfaceView::default()
        }
    }

    fn port(name: &str, sends: bool) -> LaggPortView {
        LaggPortView {
            name: name.into(),
            ready: true,
            sends,
            heard: sends,
        }
    }

    #[test]
    fn laggs_as_both_systems_print_them() {
        for (name, protocol, want) in [
            (
                "lagg0",
                "failover",
                [
                    "laggproto failover",
                    "laggport: em0 flags=5<MASTER,ACTIVE>",
                    "laggport: em4 flags=0<>",
                ],
            ),
            (
                "lagg0",
                "lacp",
                [
                    "laggproto lacp",
                    "laggport: em0 flags=1c<ACTIVE,COLLECTING,DISTRIBUTING>",
                    "laggport: em4 flags=0<>",
                ],
            ),
            (
                "trunk0",
                "failover",
                [
                    "trunk: trunkproto failover",
                    "\tem0 port master,active",
                    "\tem4 port ",
                ],
            ),
        ] {
            let made = MadeOf::Lagg {
                protocol: protocol.into(),
                ports: vec![port("em0", true), port("em4", false)],
                hash: None,
                lacp: None,
            };
            let all = [view("em0", MadeOf::Card), view(name, made)];
            assert_eq!(lines(&all[1], &all), want, "{name} {protocol}");
            let member = lines(&all[0], &all);
            assert!(member[0].ends_with(&format!("dev {name}")), "{member:?}");
        }
    }

    #[test]
    fn a_vlan_names_its_number_and_its_parent() {
        let made = MadeOf::Vlan {
            parent: "lagg0".into(),
            vid: 22,
            service: false,
            prio: None,
        };
        let out = lines(&view("vlan0", made), &[]);
        assert_eq!(
            out,
            [
                "encap: vnetid 22 parent lagg0 txprio packet rxprio outer",
                "vlan: 22 parent interface: lagg0"
            ]
        );
    }

    #[test]
    fn lacp_names_its_hash_and_both_systems() {
        let system = |lladdr: &str, key| LacpSystemView {
            priority: 0x8000,
            lladdr: lladdr.into(),
            key,
        };
        let made = MadeOf::Lagg {
            protocol: "lacp".into(),
            ports: vec![port("em0", true)],
            hash: Some("l3,l4".into()),
            lacp: Some(LacpView {
                actor: system("02:00:00:00:00:01", 4),
                partner: system("02:00:00:00:00:02", 0x1a),
            }),
        };
        assert_eq!(
            lines(&view("lagg0", made.clone()), &[]),
            [
                "laggproto lacp lagghash l3,l4",
                "laggport: em0 flags=1c<ACTIVE,COLLECTING,DISTRIBUTING>",
                "lag id: [(8000,02:00:00:00:00:01,0004,0000,0000),",
                "\t (8000,02:00:00:00:00:02,001A,0000,0000)]",
            ]
        );
        assert_eq!(
            lines(&view("trunk0", made), &[]),
            [
                "trunk: trunkproto lacp",
                "trunk id: [(8000,02:00:00:00:00:01,0004,0000,0000),",
                "\t (8000,02:00:00:00:00:02,001A,0000,0000)]",
                "\tem0 port active,collecting,distributing",
            ]
        );
    }
}
