//! Bridges of the configuration on the interfaces that the machine has.
//!
//! What a bridge lacks is a warning: a bundle must still load when a card has died.

use std::sync::Arc;

use net::bridge::{ArpRule, Bridge, MacRule, Member, SharedPorts};
use net::stp::{self, PortSettings, Protocol, Times};
use net::{IfAddr, Interface, InterfaceId, KifSet, Kind};
use netconf::{InterfaceConfig, NetConfig, StpProtocol};
use pfconf::diag::Diagnostic;
use sync::BridgePorts;
use wire::bpdu::BridgeId;
use wire::ether;

use crate::layout::at;
use crate::numbers::{Full, Kifs, Tags};

/// MTU of a bridge without members.
const MTU: u16 = 1500;

/// What bridges are built on and from.
pub(crate) struct Bridges<'a> {
    pub(crate) conf: &'a NetConfig,
    pub(crate) built: &'a mut Vec<Interface>,
    pub(crate) kifs: &'a mut Kifs,
    pub(crate) tags: &'a mut Tags,
    pub(crate) diagnostics: &'a mut Vec<Diagnostic>,
    /// Names of files that have been used.
    pub(crate) used: &'a mut Vec<String>,
}

impl Bridges<'_> {
    /// Builds all. Their members are there already.
    pub(crate) fn build(&mut self) -> Result<(), Full> {
        for file in &self.conf.interfaces {
            if let netconf::Kind::Bridge(bridge) = &file.kind {
                self.used.push(file.name.clone());
                self.bridge(file, bridge)?;
            }
        }
        Ok(())
    }

    fn bridge(&mut self, file: &InterfaceConfig, bridge: &netconf::Bridge) -> Result<(), Full> {
        let mut members = Vec::new();
        for member in &bridge.members {
            if let Some(id) = self.part(file, &member.port)? {
                members.push(Member {
                    id,
                    learn: member.learn,
                    discover: member.discover,
                    block_non_ip: member.block_non_ip || bridge.link1,
                    stp: member.stp,
                    protected: member.protected,
                });
            }
        }
        let mut spans = Vec::new();
        for span in &bridge.spans {
            spans.extend(self.part(file, span)?);
        }
        let mut statics = Vec::new();
        for station in &bridge.statics {
            let id = self.part(file, &station.port)?;
            statics.extend(id.map(|id| (ether::Addr(station.station), id)));
        }
        let mut rules = Vec::new();
        for rule in &bridge.rules {
            if let Some(member) = self.part(file, &rule.port)? {
                rules.push(self.rule(rule, member)?);
            }
        }
        let made = Bridge {
            ports: first_ports(&members),
            members,
            spans,
            max_addr: bridge.max_addr.min(net::fdb::STATIONS_MAX as u32),
            timeout_s: bridge.timeout,
            statics,
            rules,
            block_many_non_ip: bridge.link0,
        };
        self.add(file, bridge, made);
        Ok(())
    }

    /// The number of an interface that a bridge names; none if the machine has none of that name.
    fn part(
        &mut self,
        file: &InterfaceConfig,
        named: &netconf::Named,
    ) -> Result<Option<InterfaceId>, Full> {
        let name = &named.name;
        if !self.built.iter().any(|i| i.name == name.as_str()) {
            let text = format!(
                "this machine has no interface '{name}'; {} goes without it",
                file.name
            );
            self.diagnostics
                .push(at(&named.origin, "missing-interface", text));
            return Ok(None);
        }
        Ok(Some(InterfaceId(self.kifs.interface(name)?.0)))
    }

    fn rule(&mut self, rule: &netconf::MacRule, member: InterfaceId) -> Result<MacRule, Full> {
        let tag = match &rule.tag {
            Some(tag) => self.tags.number(tag)?.0,
            None => 0,
        };
        Ok(MacRule {
            block: rule.block,
            inbound: rule.inbound,
            outbound: rule.outbound,
            member,
            src: rule.src.map(ether::Addr),
            dst: rule.dst.map(ether::Addr),
            tag,
            arp: rule.arp.map(|arp| ArpRule {
                reverse: arp.reverse,
                request: arp.request,
                sender_ether: arp.sha.map(ether::Addr),
                sender_ip: arp.spa,
                target_ether: arp.tha.map(ether::Addr),
                target_ip: arp.tpa,
            }),
        })
    }

    fn add(&mut self, file: &InterfaceConfig, words: &netconf::Bridge, made: Bridge) {
        let parts = || {
            let names = words.members.iter().map(|m| &m.port.name);
            names.filter_map(|name| self.built.iter().find(|i| i.name == name.as_str()))
        };
        let mac = parts()
            .next()
            .map_or(ether::Addr::ZERO, |first| own_mac(first.mac));
        let least = parts().map(|i| i.mtu).min();
        let interface = Interface {
            id: InterfaceId::default(),
            name: crate::layout::name_of(&file.name),
            kind: Kind::Bridge(made),
            mac,
            mtu: file.mtu.or(least).unwrap_or(MTU),
            up: file.up,
            rdomain: 0,
            kifs: KifSet::EMPTY,
            addrs: addrs_of(file, mac),
            groups: self.conf.groups_of(&file.name, file),
            description: file.description.clone().unwrap_or_default(),
        };
        self.built.push(interface);
    }
}

fn addrs_of(file: &InterfaceConfig, mac: ether::Addr) -> Vec<IfAddr> {
    let addrs = file.addresses.iter().map(|a| IfAddr {
        addr: a.addr,
        prefix_len: a.prefix_len,
    });
    let mut addrs: Vec<IfAddr> = addrs.collect();
    if file.link_local && !addrs.iter().any(|a| a.addr.is_ipv6()) {
        addrs.push(IfAddr {
            addr: mac.link_local().into(),
            prefix_len: 64,
        });
    }
    addrs
}

/// A station address for the bridge itself: that of a member, as somebody who is not its maker gives them.
fn own_mac(mac: ether::Addr) -> ether::Addr {
    let [a, b, c, d, e, f] = mac.0;
    ether::Addr([(a | 2) ^ 0x08, b, c, d, e, f])
}

/// Members of the spanning tree pass nothing until it says so.
fn first_ports(members: &[Member]) -> SharedPorts {
    SharedPorts(Arc::new(BridgePorts::new(outside_of_tree(members))))
}

/// Members that take no part in the spanning tree, as bits by place.
pub(crate) fn outside_of_tree(members: &[Member]) -> u64 {
    let places = members.iter().enumerate().filter(|(_, m)| !m.stp);
    places.fold(0, |mask, (place, _)| mask | 1 << place)
}

/// The spanning tree of a bridge as its file wants it: settings, and those of each member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct TreeWords {
    pub(crate) bridge: InterfaceId,
    pub(crate) settings: stp::Settings,
    /// Members of the tree: place in the bridge, settings.
    pub(crate) ports: Vec<(InterfaceId, PortSettings)>,
}

/// The spanning trees of a configuration, also those that no member takes part in.
pub(crate) fn trees(conf: &NetConfig, interfaces: &net::InterfaceTable) -> Vec<TreeWords> {
    let files = conf.interfaces.iter();
    files
        .filter_map(|file| match &file.kind {
            netconf::Kind::Bridge(bridge) => tree(file, bridge, interfaces),
            _ => None,
        })
        .collect()
}

fn tree(
    file: &InterfaceConfig,
    words: &netconf::Bridge,
    interfaces: &net::InterfaceTable,
) -> Option<TreeWords> {
    let own = interfaces.by_name(&file.name).filter(|i| i.up)?;
    let members = words.members.iter().filter(|m| m.stp);
    let ports: Vec<(InterfaceId, PortSettings)> = members
        .filter_map(|m| {
            let settings = PortSettings {
                priority: m.priority,
                cost: m.cost,
                edge: m.edge == Some(true),
                auto_edge: m.edge.is_none(),
                point_to_point: m.point_to_point,
            };
            Some((interfaces.by_name(&m.port.name)?.id, settings))
        })
        .collect();
    let tree = &words.stp;
    let settings = stp::Settings {
        protocol: match tree.protocol {
            StpProtocol::Stp => Protocol::Stp,
            StpProtocol::Rstp => Protocol::Rstp,
        },
        times: Times {
            message_age: 0,
            max_age: tree.max_age.into(),
            hello: tree.hello.max(1).into(),
            forward_delay: tree.forward_delay.into(),
        },
        hold_count: tree.hold_count.max(1),
        ..stp::Settings::new(BridgeId {
            priority: tree.priority,
            addr: own.mac,
        })
    };
    Some(TreeWords {
        bridge: own.id,
        settings,
        ports,
    })
}

#[cfg(test)]
mod tests {
    use crate::layout::tests::lay;
    use net::Kind;

    #[test]
    fn the_seeds_bridge_is_laid_out() {
        let (layout, said) = lay(&[
            ("hostname.em0", "inet 216.123.123.123 255.255.252.0 NONE\n"),
            ("hostname.em1", "up media auto\n"),
            ("bridgename.bridge0", "add em1\nadd em0\nup\n"),
        ]);
        assert!(said.iter().all(|s| s.contains("media")), "{said:?}");
        let layout = layout.unwrap();
        let bridge = layout.interfaces.by_name("bridge0").unwrap();
        let Kind::Bridge(made) = &bridge.kind else {
            panic!("{bridge:?}")
        };
        let named = |name| layout.interfaces.by_name(name).unwrap();
        let ids: Vec<_> = made.members.iter().map(|m| m.id).collect();
        assert_eq!(ids, [named("em1").id, named("em0").id]);
        assert!(bridge.up && bridge.mtu == 1500);
        assert_eq!(made.ports.0.forwarding(), 0b11);
        let switch = layout.interfaces.bridges().of(bridge.id).unwrap();
        assert_eq!(switch.hosts, [named("em0").id]);
    }

    #[test]
    fn members_of_the_spanning_tree_wait_for_it() {
        let (layout, said) = lay(&[
            ("hostname.em0", "up\n"),
            ("hostname.em1", "up\n"),
            (
                "hostname.bridge0",
                "add em0 add em1\nstp em0\nmaxaddr 7 timeout 9\nadd em9\nup\n",
            ),
        ]);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("no interface 'em9'"), "{said:?}");
        let layout = layout.unwrap();
        let bridge = layout.interfaces.bridges().get(0).unwrap();
        assert_eq!(bridge.ports.forwarding(), 0b10);
        assert_eq!((bridge.terms.max_addr, bridge.terms.timeout_s), (7, 9));
        assert!(bridge.speaks_stp);
    }
}
