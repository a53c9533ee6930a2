//! Bridges in the words of ifconfig(8): what a bridge is made of, which stations are behind it, and forgetting them.
//!
//! Read first: ifconfig(8) of OpenBSD, its section on bridges.

use control::api::{Api, BridgePortView, BridgeView, InterfaceView, MadeOf, StationView, StpView};

use crate::duration::span;
use crate::json::without_json;
use crate::words::did_you_mean;
use crate::{listing, netchange};

/// net/if_bridge.h: what the flags of a member are called, by their bits.
const FLAGS: [(u32, &str); 8] = [
    (0x01, "LEARNING"),
    (0x02, "DISCOVER"),
    (0x04, "BLOCKNONIP"),
    (0x08, "STP"),
    (0x10, "EDGE"),
    (0x20, "AUTOEDGE"),
    (0x40, "PTP"),
    (0x80, "AUTOPTP"),
];
/// Nobody, as addresses of stations go.
const NOBODY: &str = "00:00:00:00:00:00";

/// Lines about a bridge, without their first tab.
pub(crate) fn lines(bridge: &BridgeView) -> Vec<String> {
    let mut lines = tree(&bridge.stp);
    lines.extend(bridge.ports.iter().flat_map(member));
    let span = |name: &String| format!("{name} flags=100<SPAN>");
    lines.extend(bridge.spans.iter().map(span));
    lines
}

fn tree(stp: &StpView) -> Vec<String> {
    let mut lines = vec![format!(
        "priority {} hellotime {} fwddelay {} maxage {} holdcnt {} proto {}",
        stp.priority, stp.hello_s, stp.forward_delay_s, stp.max_age_s, stp.hold_count, stp.protocol
    )];
    lines.push(match stp.root {
        Some(_) => format!("designated: id {} priority {}", stp.lladdr, stp.priority),
        None => format!("designated: id {NOBODY} priority 0"),
    });
    if let Some(root) = &stp.root
        && let Some(port) = &root.port
    {
        lines.push(format!(
            "root: id {} priority {} ifcost {} port {port}",
            root.lladdr, root.priority, root.cost
        ));
    }
    lines
}

fn member(port: &BridgePortView) -> [String; 2] {
    let set = FLAGS.iter().filter(|(_, word)| port.flags.contains(word));
    let bits: u32 = set.map(|(bit, _)| bit).sum();
    let mut second = format!(
        "\tport {} ifpriority {} ifcost {}",
        port.number, port.priority, port.cost
    );
    if !port.protected.is_empty() {
        let domains: Vec<String> = port.protected.iter().map(u8::to_string).collect();
        second += &format!(" protected {}", domains.join(","));
    }
    if let (Some(state), Some(role)) = (port.state, port.role) {
        second += &format!(" {state} role {role}");
    }
    let first = format!("{} flags={bits:x}<{}>", port.name, port.flags.join(","));
    [first, second]
}

/// The lines that end what `ifconfig bridge0` prints: its stations.
pub(crate) fn addresses(i: &InterfaceView, stations: &[StationView]) -> Vec<String> {
    let MadeOf::Bridge(bridge) = &i.made else {
        return Vec::new();
    };
    let first = format!(
        "Addresses (max cache: {}, timeout: {}):",
        bridge.max_addr, bridge.timeout_s
    );
    let own = stations.iter().filter(|s| s.bridge == i.name);
    let rest = own.map(|s| format!("\t{}", station(s)));
    std::iter::once(first).chain(rest).collect()
}

fn station(s: &StationView) -> String {
    let flags = if s.fixed { "1<STATIC>" } else { "0<>" };
    format!("{} {} {} flags={flags}", s.lladdr, s.member, s.age_s)
}

/// `ifconfig bridge0 addr`, `flush`, `flushall`, `deladdr ADDR`. None if it is something else that is wanted.
pub(crate) fn command(
    words: &[&str],
    as_json: bool,
    api: &mut dyn Api,
) -> Option<Result<String, String>> {
    let (name, what) = words.split_first()?;
    let all = api.interfaces();
    let is_bridge = |i: &&InterfaceView| matches!(i.made, MadeOf::Bridge(_));
    all.iter().filter(is_bridge).find(|i| i.name == *name)?;
    Some(match what {
        ["addr"] => {
            let mut list = api.stations();
            list.entries.retain(|s| s.bridge == *name);
            let row = |s: &StationView| station(s) + "\n";
            Ok(listing::text("ifconfig", &list, as_json, row))
        }
        ["flush"] => api.forget_stations(name, None).map(|_| String::new()),
        ["flushall"] => forget(name, None, words, api),
        ["deladdr", addr] => forget(name, Some(addr), words, api),
        _ => return None,
    })
}

/// Forgets learned stations, and has the configuration go on without static ones.
fn forget(
    bridge: &str,
    addr: Option<&str>,
    words: &[&str],
    api: &mut dyn Api,
) -> Result<String, String> {
    let wanted = addr.map(netconf::station);
    let is_it = |s: &StationView| wanted.is_none_or(|addr| addr == netconf::station(&s.lladdr));
    let stations = api.stations();
    let fixed = stations
        .entries
        .iter()
        .any(|s| s.bridge == bridge && s.fixed && is_it(s));
    let known = api
        .forget_stations(bridge, addr)
        .map_err(|text| format!("ifconfig: {text}"))?;
    match addr {
        _ if fixed => netchange::change("ifconfig", words, api),
        Some(addr) if !known => Err(format!("ifconfig: {addr}: {bridge} does not know it")),
        _ => Ok(String::new()),
    }
}

/// `bridge [BRIDGE]`: the stations of all bridges, or of one.
pub(crate) fn table(words: &[String], api: &mut dyn Api) -> Result<String, String> {
    let (asked, as_json) = without_json(words);
    let only = asked.first();
    if let Some(name) = only {
        let all = api.interfaces();
        let bridges = all.iter().filter(|i| matches!(i.made, MadeOf::Bridge(_)));
        let names: Vec<&str> = bridges.map(|i| i.name.as_str()).collect();
        if !names.contains(name) {
            let hint = did_you_mean(name, names);
            return Err(format!("bridge: '{name}' is not a bridge{hint}"));
        }
    }
    let mut list = api.stations();
    list.entries
        .retain(|s| only.is_none_or(|name| s.bridge == *name));
    if as_json {
        return Ok(listing::text("bridge", &list, true, |_| String::new()));
    }
    let row = |bridge: &str, station: &str, member: &str, age: &str, flags: &str| {
        let line = format!("{bridge:<10} {station:<17} {member:<10} {age:<8} {flags}");
        line.trim_end().to_string() + "\n"
    };
    let head = row("Bridge", "Station", "Member", "Age", "Flags");
    let rows = list.entries.iter().map(|s| {
        let (age, flags) = match s.fixed {
            true => ("-".to_string(), "STATIC"),
            false => (span(s.age_s.into()), ""),
        };
        row(&s.bridge, &s.lladdr, &s.member, &age, flags)
    });
    Ok(head + &rows.collect::<String>() + &listing::note("bridge", &list))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands;
    use crate::output::Output;
    use control::api::StpRootView;
    use control::fake::Fake;

    fn words(line: &str) -> Vec<String> {
        crate::words::split(line)
    }

    fn boxed() -> Fake {
        let stp = StpView {
            protocol: "rstp",
            priority: 32768,
            lladdr: "02:00:00:00:00:01".into(),
            hello_s: 2,
            forward_delay_s: 15,
            max_age_s: 20,
            hold_count: 6,
            ..StpView::default()
        };
        let ports = vec![
            BridgePortView {
                name: "vio0".into(),
                number: 1,
                flags: vec!["LEARNING", "DISCOVER"],
                ..BridgePortView::default()
            },
            BridgePortView {
                name: "vio1".into(),
                number: 2,
                flags: vec!["LEARNING", "DISCOVER", "STP", "AUTOEDGE"],
                protected: vec![1, 3],
                priority: 128,
                cost: 20_000,
                role: Some("root"),
                state: Some("forwarding"),
            },
        ];
        let bridge = BridgeView {
            members: vec!["vio0".into(), "vio1".into()],
            ports,
            spans: vec!["vio2".into()],
            max_addr: 100,
            timeout_s: 240,
            stp,
        };
        let mut api = Fake::default();
        api.interfaces.push(InterfaceView {
            name: "bridge0".into(),
            index: 5,
            up: true,
            link: true,
            mtu: 1500,
            groups: vec!["bridge".into()],
            made: MadeOf::Bridge(bridge),
            ..InterfaceView::default()
        });
        let station = |addr: &str, member: &str, age_s, fixed| StationView {
            bridge: "bridge0".into(),
            lladdr: addr.into(),
            member: member.into(),
            age_s,
            fixed,
        };
        api.stations = vec![
            station("02:00:00:00:00:0a", "vio1", 0, true),
            station("02:00:00:00:00:0b", "vio0", 61, false),
        ];
        api
    }

    #[test]
    fn a_bridge_as_openbsd_prints_it() {
        let mut api = boxed();
        let out = crate::net::ifconfig(&words("bridge0"), &mut api).unwrap();
        let expected = "\
bridge0: flags=41<UP,RUNNING> mtu 1500
\tindex 5 llprio 3
\tgroups: bridge
\tpriority 32768 hellotime 2 fwddelay 15 maxage 20 holdcnt 6 proto rstp
\tdesignated: id 00:00:00:00:00:00 priority 0
\tvio0 flags=3<LEARNING,DISCOVER>
\t\tport 1 ifpriority 0 ifcost 0
\tvio1 flags=2b<LEARNING,DISCOVER,STP,AUTOEDGE>
\t\tport 2 ifpriority 128 ifcost 20000 protected 1,3 forwarding role root
\tvio2 flags=100<SPAN>
\tAddresses (max cache: 100, timeout: 240):
\t\t02:00:00:00:00:0a vio1 0 flags=1<STATIC>
\t\t02:00:00:00:00:0b vio0 61 flags=0<>
";
        assert_eq!(out, expected, "\n{out}");
        let MadeOf::Bridge(bridge) = &mut api.interfaces[2].made else {
            panic!()
        };
        bridge.stp.root = Some(StpRootView {
            priority: 4096,
            lladdr: "02:00:00:00:00:99".into(),
            cost: 20_000,
            port: Some("vio1".into()),
        });
        assert_eq!(
            tree(&bridge.stp)[1..],
            [
                "designated: id 02:00:00:00:00:01 priority 32768",
                "root: id 02:00:00:00:00:99 priority 4096 ifcost 20000 port vio1"
            ]
        );
    }

    #[test]
    fn stations_are_listed_and_forgotten() {
        let api = &mut boxed();
        let listed = "\
Bridge     Station           Member     Age      Flags
bridge0    02:00:00:00:00:0a vio1       -        STATIC
bridge0    02:00:00:00:00:0b vio0       1m1s
";
        assert_eq!(table(&[], api).unwrap(), listed);
        let Ok(Output::Text(of_bridge)) = commands::run(&words("bridge bridge0 addr"), api) else {
            panic!("a text");
        };
        assert_eq!(
            of_bridge,
            "02:00:00:00:00:0a vio1 0 flags=1<STATIC>\n02:00:00:00:00:0b vio0 61 flags=0<>\n"
        );
        assert!(
            table(&words("bridge0 --json"), api)
                .unwrap()
                .contains("\"static\": true")
        );
        assert_eq!(
            table(&words("bridge"), api).unwrap_err(),
            "bridge: 'bridge' is not a bridge; did you mean 'bridge0'?"
        );
        let ifconfig = |line: &str, api: &mut Fake| crate::net::ifconfig(&words(line), api);
        assert_eq!(
            ifconfig("bridge0 deladdr 02:00:00:00:00:0c", api).unwrap_err(),
            "ifconfig: 02:00:00:00:00:0c: bridge0 does not know it"
        );
        // One that was learned goes at once, a static one with a change of the configuration.
        ifconfig("bridge0 deladdr 2:0:0:0:0:a", api).unwrap();
        assert_eq!(
            api.status.network_changes,
            ["ifconfig bridge0 deladdr 2:0:0:0:0:a"]
        );
        ifconfig("bridge0 flush", api).unwrap();
        assert_eq!(api.stations.len(), 1);
        ifconfig("bridge0 flushall", api).unwrap();
        assert_eq!(api.status.network_changes.len(), 2);
    }
}
