//! Bridges as people see them: members with what the spanning tree makes of them, and stations. Stations are asked of the
//! workers, each of which knows where they are.

use std::collections::HashMap;

use net::bridge::{Bridge, Member};
use net::fdb::Station;
use net::stp::{Protocol, Settings};
use net::{Interface, InterfaceId, Kind};
use wire::bpdu::BridgeId;
use wire::ether;
use worker::Mail;

use crate::api::{BridgePortView, BridgeView, StationView, StpRootView, StpView};
use crate::control::Control;
use crate::listed::Listed;
use crate::trees::{Tree, role_word, state_word};

/// Highest protected domain (bridge(4)).
const DOMAIN_MAX: u8 = 31;

impl Control {
    pub(crate) fn bridge_view(&self, interface: &Interface, bridge: &Bridge) -> BridgeView {
        let tree = self.trees.of(interface.id);
        let name = |id: InterfaceId| self.name_of(id);
        let members = bridge.members.iter().enumerate();
        BridgeView {
            members: bridge.members.iter().map(|m| name(m.id)).collect(),
            ports: members
                .map(|(n, member)| port_view(n, member, name(member.id), tree))
                .collect(),
            spans: bridge.spans.iter().map(|id| name(*id)).collect(),
            max_addr: bridge.max_addr,
            timeout_s: bridge.timeout_s,
            stp: self.stp_view(tree),
        }
    }

    fn name_of(&self, id: InterfaceId) -> String {
        let found = self.fleet.current().interfaces.get(id);
        found.map(|i| i.name.to_string()).unwrap_or_default()
    }

    /// A bridge that is down has no tree, and is shown as if nothing had been said about one.
    fn stp_view(&self, tree: Option<&Tree>) -> StpView {
        let settings = tree.map_or_else(
            || {
                Settings::new(BridgeId {
                    priority: net::stp::BRIDGE_PRIORITY,
                    addr: ether::Addr::ZERO,
                })
            },
            |tree| tree.words.settings,
        );
        let root = tree.filter(|tree| !tree.words.ports.is_empty());
        StpView {
            protocol: match settings.protocol {
                Protocol::Stp => "stp",
                Protocol::Rstp => "rstp",
            },
            priority: settings.id.priority,
            lladdr: settings.id.addr.to_string(),
            hello_s: settings.times.hello,
            forward_delay_s: settings.times.forward_delay,
            max_age_s: settings.times.max_age,
            hold_count: settings.hold_count,
            root: root.map(|tree| self.root_view(tree)),
            topology_changes: tree.map_or(0, |tree| tree.machine.topology_changes()),
        }
    }

    fn root_view(&self, tree: &Tree) -> StpRootView {
        let root = tree.machine.root();
        let port = tree.machine.root_port();
        StpRootView {
            priority: root.priority,
            lladdr: root.addr.to_string(),
            cost: tree.machine.root_cost(),
            port: port.and_then(|n| Some(self.name_of(tree.words.ports.get(n)?.0))),
        }
    }

    /// The stations behind all bridges, those that are configured first.
    pub(crate) fn station_views(&mut self) -> Listed<StationView> {
        let heard = self.fleet.stations(self.clock.as_ref());
        heard.with(|heard| self.seen(heard))
    }

    fn seen(&self, heard: Vec<(InterfaceId, Station)>) -> Vec<StationView> {
        let now_s = u32::try_from(self.clock.now_ms() / 1000).unwrap_or(u32::MAX);
        let mut latest: HashMap<(InterfaceId, ether::Addr), Station> = HashMap::new();
        for (bridge, station) in heard {
            if !self.is_true(bridge, &station, now_s) {
                continue;
            }
            let known = latest.entry((bridge, station.addr)).or_insert(station);
            if known.seen_s < station.seen_s {
                *known = station;
            }
        }
        let learned = latest.into_iter().map(|((bridge, addr), s)| {
            let age_s = now_s.saturating_sub(s.seen_s);
            (bridge, addr, s.member, age_s, false)
        });
        let mut all: Vec<_> = learned.collect();
        for (id, bridge) in self.bridges() {
            let fixed = bridge.statics.iter();
            all.extend(fixed.map(|(addr, member)| (id, *addr, *member, 0, true)));
        }
        all.sort_by_key(|(bridge, addr, .., fixed)| (*bridge, !fixed, *addr));
        // What is configured to be somewhere is nowhere else.
        all.dedup_by_key(|(bridge, addr, ..)| (*bridge, *addr));
        let view = |(bridge, addr, member, age_s, fixed): (_, ether::Addr, _, _, _)| StationView {
            bridge: self.name_of(bridge),
            lladdr: addr.to_string(),
            member: self.name_of(member),
            age_s,
            fixed,
        };
        all.into_iter().map(view).collect()
    }

    /// Whether a station is still there; workers sweep out what is not little by little.
    fn is_true(&self, id: InterfaceId, station: &Station, now_s: u32) -> bool {
        let config = self.fleet.current();
        let Some(bridge) = config.interfaces.bridges().of(id) else {
            return false;
        };
        let timeout_s = bridge.terms.timeout_s;
        let old = timeout_s != 0 && now_s.saturating_sub(station.seen_s) >= timeout_s;
        let place = bridge.place(station.member);
        !old && place.is_some_and(|place| bridge.ports.epoch(place) == station.epoch)
    }

    fn bridges(&self) -> Vec<(InterfaceId, Bridge)> {
        let interfaces = self.fleet.current().interfaces.iter();
        let bridges = interfaces.filter_map(|i| match &i.kind {
            Kind::Bridge(bridge) => Some((i.id, bridge.clone())),
            _ => None,
        });
        bridges.collect()
    }

    /// Has all workers forget what they have learned of a bridge, or one station of it. True if it was known.
    pub(crate) fn forget_stations_of(
        &mut self,
        bridge: &str,
        station: Option<&str>,
    ) -> Result<bool, String> {
        let interfaces = &self.fleet.current().interfaces;
        let found = interfaces.by_name(bridge);
        let is_bridge = |i: &&Interface| matches!(i.kind, Kind::Bridge(_));
        let id = found.filter(is_bridge).map(|i| i.id);
        let id = id.ok_or_else(|| format!("{bridge} is not a bridge"))?;
        let Some(text) = station else {
            self.fleet.tell_all(&Mail::FlushStations(id))?;
            return Ok(true);
        };
        let addr = netconf::station(text)
            .map(ether::Addr)
            .ok_or_else(|| format!("'{text}' is not a station address"))?;
        let mut known = self.fleet.stations(self.clock.as_ref());
        known.entries.retain(|(b, s)| (*b, s.addr) == (id, addr));
        self.fleet.tell_all(&Mail::ForgetStation(id, addr))?;
        if known.entries.is_empty() {
            // Nobody knows it, if all have said so.
            return known.all().map(|_| false);
        }
        Ok(true)
    }
}

/// The words and numbers of ifconfig(8) for a member.
fn port_view(n: usize, member: &Member, name: String, tree: Option<&Tree>) -> BridgePortView {
    let in_tree = tree.and_then(|tree| Some((tree, tree.place(member.id)?)));
    let settings = in_tree.map(|(tree, n)| tree.words.ports[n].1);
    let machine = in_tree.map(|(tree, n)| (&tree.machine, n));
    let flags = [
        (member.learn, "LEARNING"),
        (member.discover, "DISCOVER"),
        (member.block_non_ip, "BLOCKNONIP"),
        (member.stp, "STP"),
        (machine.is_some_and(|(m, n)| m.is_edge(n)), "EDGE"),
        (settings.is_some_and(|s| s.auto_edge), "AUTOEDGE"),
        (machine.is_some_and(|(m, n)| m.is_point_to_point(n)), "PTP"),
        (
            settings.is_some_and(|s| s.point_to_point.is_none()),
            "AUTOPTP",
        ),
    ];
    let set = flags.iter().filter_map(|(on, word)| on.then_some(*word));
    BridgePortView {
        name,
        number: machine.map_or(n, |(_, n)| n) as u16 + 1,
        flags: set.collect(),
        protected: (0..=DOMAIN_MAX)
            .filter(|bit| member.protected >> bit & 1 == 1)
            .collect(),
        priority: settings.map_or(0, |s| s.priority),
        cost: machine.map_or(0, |(m, n)| m.cost(n)),
        role: machine.map(|(m, n)| role_word(m.role(n))),
        state: machine.map(|(m, n)| state_word(m.state(n))),
    }
}
