//! Interfaces that stand on others: VLANs, laggs and tunnels of the configuration, on those that the machine has. What is missing is a
//! warning: the other ports of a lagg are the point of it.

use net::gif::Tunnel;
use net::link::{HashFields, LacpRules, SharedMasks};
use net::{
    Gif, Interface, InterfaceId, Kind, Lagg, LaggProtocol, Tpid, Vlan, failover, lacp, probe,
};
use netconf::{InterfaceConfig, NetConfig, Station};
use pfconf::diag::{Diagnostic, Severity};
use wire::ether;

use crate::layout::{at, described, rtable};
use crate::numbers::{Full, Kifs};

/// What is built, and what its ports must be told.
pub(crate) struct Layers<'a> {
    pub(crate) conf: &'a NetConfig,
    pub(crate) built: &'a mut Vec<Interface>,
    /// Largest IP packet by port.
    pub(crate) mtus: &'a mut [(u16, u16)],
    pub(crate) kifs: &'a mut Kifs,
    pub(crate) diagnostics: &'a mut Vec<Diagnostic>,
    /// Names of files that have been used.
    pub(crate) used: &'a mut Vec<String>,
}

impl Layers<'_> {
    /// Builds all: laggs first, then VLANs from below upwards, and tunnels, which stand on no interface but on routes. What stands on something that is not there is left out.
    pub(crate) fn build(&mut self) -> Result<(), Full> {
        let files = self.conf.interfaces.iter();
        for file in files.clone() {
            if let netconf::Kind::Lagg(lagg) = &file.kind {
                self.lagg(file, lagg)?;
            }
        }
        let mut waiting: Vec<(&InterfaceConfig, &netconf::Vlan)> = files
            .filter_map(|file| match &file.kind {
                netconf::Kind::Vlan(vlan) => Some((file, vlan)),
                _ => None,
            })
            .collect();
        // Each round builds one layer.
        loop {
            let before = waiting.len();
            let mut rest = Vec::new();
            for (file, vlan) in waiting {
                let parent = vlan.parent.as_ref().and_then(|p| self.place(&p.name));
                match parent {
                    Some(parent) => self.vlan(file, vlan, parent)?,
                    None => rest.push((file, vlan)),
                }
            }
            waiting = rest;
            if waiting.is_empty() || waiting.len() == before {
                break;
            }
        }
        for file in &self.conf.interfaces {
            if let netconf::Kind::Gif(gif) = &file.kind {
                self.gif(file, gif);
            }
        }
        for (file, vlan) in waiting {
            self.used.push(file.name.clone());
            if let Some(parent) = &vlan.parent {
                let (name, parent_name) = (&file.name, &parent.name);
                let text =
                    format!("this machine has no interface '{parent_name}'; {name} has no effect");
                let warning = at(&parent.origin, "missing-interface", text);
                self.diagnostics.push(warning);
            }
        }
        Ok(())
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.built.iter().position(|i| i.name == name)
    }

    fn error(&mut self, origin: &netconf::Origin, code: &'static str, text: String) {
        let mut error = at(origin, code, text);
        error.severity = Severity::Error;
        self.diagnostics.push(error);
    }

    fn vlan(
        &mut self,
        file: &InterfaceConfig,
        vlan: &netconf::Vlan,
        parent: usize,
    ) -> Result<(), Full> {
        let parent = &self.built[parent];
        let kind = Kind::Vlan(Vlan {
            parent: InterfaceId(self.kifs.interface(&parent.name)?.0),
            tpid: match vlan.tpid {
                netconf::TPID_SVLAN => Tpid::Service,
                _ => Tpid::Customer,
            },
            vid: vlan.vid.unwrap_or(0),
            prio: vlan.prio,
        });
        let mtu = file.mtu.unwrap_or(parent.mtu);
        let (parent_mtu, parent_name) = (parent.mtu, parent.name.clone());
        let mac = station_of(file, parent.mac);
        if mtu > parent_mtu {
            let text = format!("mtu {mtu} is more than {parent_mtu} of {parent_name}");
            self.error(&file.origin, "bad-mtu", text);
        }
        self.add(file, kind, mac, mtu.min(parent_mtu));
        Ok(())
    }

    fn lagg(&mut self, file: &InterfaceConfig, lagg: &netconf::Lagg) -> Result<(), Full> {
        let mut members = Vec::new();
        for named in &lagg.ports {
            let Some(place) = self.place(&named.name) else {
                let (name, port) = (&file.name, &named.name);
                let text =
                    format!("this machine has no interface '{port}'; {name} goes without it");
                let warning = at(&named.origin, "missing-interface", text);
                self.diagnostics.push(warning);
                continue;
            };
            if !self.built[place].up {
                let text = format!("{} is down: {} cannot use it", named.name, file.name);
                let mut warning = at(&named.origin, "port-down", text);
                warning.hint = Some(format!("write up into hostname.{}", named.name));
                self.diagnostics.push(warning);
            }
            members.push(place);
        }
        let first = members.first().map(|place| &self.built[*place]);
        let mac = station_of(file, first.map_or(ether::Addr::ZERO, |port| port.mac));
        let least = members.iter().map(|place| self.built[*place].mtu).min();
        let mtu = file.mtu.or(least).unwrap_or(1500);
        let mut ids = Vec::new();
        for place in members {
            self.make_alike(place, mac, mtu);
            ids.push(InterfaceId(self.kifs.interface(&self.built[place].name)?.0));
        }
        let kind = Kind::Lagg(Lagg {
            rules: rules(lagg),
            lacp: LacpRules {
                mode: match lagg.lacp.active {
                    true => lacp::Mode::Active,
                    false => lacp::Mode::Passive,
                },
                rate: match lagg.lacp.fast {
                    true => lacp::Rate::Fast,
                    false => lacp::Rate::Slow,
                },
                system_priority: lagg.lacp.system_priority,
            },
            targets: lagg.probes.iter().map(target).collect(),
            members: ids,
            hash: HashFields {
                l2: lagg.hash.l2,
                l3: lagg.hash.l3,
                l4: lagg.hash.l4,
            },
            masks: SharedMasks::default(),
        });
        self.add(file, kind, mac, mtu);
        Ok(())
    }

    fn gif(&mut self, file: &InterfaceConfig, gif: &netconf::Gif) {
        let Some(tunnel) = &gif.tunnel else {
            return;
        };
        let kind = Kind::Gif(Gif {
            tunnel: Tunnel {
                local: tunnel.src,
                remote: tunnel.dst,
                ttl: gif.ttl,
                dont_fragment: gif.dont_fragment,
            },
            rtable: rtable(gif.domain),
        });
        // No frame has it; the link-local address is made of it, and must not be that of the other end.
        let mac = self.built.first().map_or(ether::Addr::ZERO, |i| i.mac);
        let mtu = file.mtu.unwrap_or(net::gif::MTU_DEFAULT);
        self.add(file, kind, mac, mtu);
    }

    /// All ports of a lagg have its address and its MTU.
    fn make_alike(&mut self, place: usize, mac: ether::Addr, mtu: u16) {
        let port = &mut self.built[place];
        (port.mac, port.mtu) = (mac, mtu);
        let number = port.port();
        if let Some((_, of_port)) = self.mtus.iter_mut().find(|(n, _)| Some(*n) == number) {
            *of_port = mtu;
        }
    }

    fn add(&mut self, file: &InterfaceConfig, kind: Kind, mac: ether::Addr, mtu: u16) {
        self.used.push(file.name.clone());
        let made = described(self.conf, &file.name, kind, mac, mtu, Some(file));
        self.built.push(made);
    }
}

/// The station address that a file asks for, or else this one.
pub(crate) fn station_of(file: &InterfaceConfig, otherwise: ether::Addr) -> ether::Addr {
    match file.station {
        Some(Station::Given(mac)) => ether::Addr(mac),
        // As made up as any, and the same after every apply: hosts on the link must not notice one.
        Some(Station::Random) => {
            let [_, _, _, a, b, c] = otherwise.0;
            ether::Addr([0xfe, 0xe1, 0xba, a ^ 0x5a, b ^ 0xa5, c])
        }
        None => otherwise,
    }
}

fn rules(lagg: &netconf::Lagg) -> failover::Rules {
    failover::Rules {
        protocol: match lagg.protocol {
            netconf::LaggProtocol::Failover => LaggProtocol::Failover,
            netconf::LaggProtocol::LoadBalance => LaggProtocol::LoadBalance,
            netconf::LaggProtocol::RoundRobin => LaggProtocol::RoundRobin,
            netconf::LaggProtocol::Broadcast => LaggProtocol::Broadcast,
            netconf::LaggProtocol::Lacp => LaggProtocol::Lacp,
            netconf::LaggProtocol::Disabled => LaggProtocol::None,
        },
        receive_all: lagg.receive_all,
        min_links: lagg.min_links,
        failback: lagg.failback,
        hold_ms: lagg.hold_ms.into(),
    }
}

fn target(probe: &netconf::Probe) -> probe::Target {
    probe::Target {
        addr: probe.target,
        interval_ms: probe.interval_ms.into(),
        misses: probe.misses,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::tests::{lay, lay_on};

    #[test]
    fn the_tunnel_of_the_seed_becomes_an_interface_with_its_mtu() {
        let (layout, said) = lay(&[
            ("hostname.em0", "inet 192.0.2.1/24\n"),
            ("mygate", "2001:db8::1\n"),
            (
                "hostname.gif0",
                "tunnel 192.0.2.1 198.51.100.9\ninet6 2001:db8::2 prefixlen 128\ndest 2001:db8::1\n",
            ),
        ]);
        assert_eq!(said, Vec::<String>::new());
        let layout = layout.unwrap();
        let gif0 = layout.interfaces.by_name("gif0").unwrap();
        let Kind::Gif(gif) = &gif0.kind else {
            panic!("{:?}", gif0.kind);
        };
        assert_eq!(gif.tunnel.remote.to_string(), "198.51.100.9");
        assert_eq!((gif.tunnel.ttl, gif0.mtu, gif0.up), (Some(64), 1280, true));
        assert!(layout.interfaces.links().is_tunnel(gif0.id));
        // The other end is reached through it, and so is what is behind it.
        let to = |addr: &str| layout.routes.lookup(0, addr.parse().unwrap());
        for addr in ["2001:db8::1", "2001:db8:99::1"] {
            assert_eq!(to(addr).map(|r| r.interface), Some(gif0.id), "{addr}");
        }
    }

    const LAGG: (&str, &str) = (
        "rc.conf",
        "cloned_interfaces=\"lagg0 vlan0\"\nifconfig_em0=\"up\"\nifconfig_em1=\"up\"\n\
         ifconfig_lagg0=\"laggproto failover laggport em0 laggport em1\"\n\
         ifconfig_vlan0=\"vlan 22 vlandev lagg0 192.168.1.5 netmask 255.255.255.0\"\n",
    );

    #[test]
    fn the_oldest_example_becomes_a_vlan_on_a_lagg_of_two_ports() {
        let (layout, said) = lay(&[LAGG]);
        assert_eq!(said, Vec::<String>::new());
        let layout = layout.unwrap();
        let table = &layout.interfaces;
        let named = |name| table.by_name(name).unwrap();
        let (lagg, vlan) = (named("lagg0"), named("vlan0"));
        let Kind::Lagg(made) = &lagg.kind else {
            panic!("{lagg:?}")
        };
        assert_eq!(made.members, [named("em0").id, named("em1").id]);
        assert_eq!(made.rules, failover::Rules::default());
        let Kind::Vlan(tag) = &vlan.kind else {
            panic!("{vlan:?}")
        };
        assert_eq!((tag.parent, tag.vid), (lagg.id, 22));
        assert_eq!((lagg.mac, vlan.mac), (named("em0").mac, named("em0").mac));
        assert_eq!((lagg.up, vlan.up, vlan.mtu), (true, true, 1500));
        assert_eq!(vlan.groups, ["vlan"]);
        assert_eq!(named("em1").mac, named("em0").mac);
    }

    #[test]
    fn a_lagg_goes_on_without_a_port_that_the_machine_lacks() {
        let (layout, said) = lay(&[
            ("hostname.em1", "up\n"),
            ("hostname.em0", "down\n"),
            (
                "hostname.trunk0",
                "trunkproto failover trunkport em7 trunkport em1 trunkport em0\nmtu 1400\n",
            ),
            ("hostname.vlan5", "vnetid 5 parent em9\ninet 10.0.0.1/24\n"),
            ("hostname.em7", "up\n"),
            ("hostname.em9", "up\n"),
        ]);
        let layout = layout.unwrap();
        let trunk = layout.interfaces.by_name("trunk0").unwrap();
        assert_eq!(trunk.mac, layout.interfaces.by_name("em1").unwrap().mac);
        assert_eq!(layout.mtus, [(0, 1400), (1, 1400)]);
        assert!(layout.interfaces.by_name("vlan5").is_none());
        let wanted = [
            "this machine has no interface 'em7'; trunk0 goes without it",
            "em0 is down: trunk0 cannot use it",
            "this machine has no interface 'em9'; vlan5 has no effect",
        ];
        for text in wanted {
            assert!(said.iter().any(|s| s.contains(text)), "{text}: {said:?}");
        }
    }

    #[test]
    fn four_thousand_vlans_are_laid_out() {
        let mut files = vec![("hostname.em0".to_string(), "up\n".to_string())];
        for vid in 1..=4000 {
            let text = format!(
                "vnetid {vid} parent em0\ninet 10.{}.{}.1/24\n",
                vid / 250,
                vid % 250
            );
            files.push((format!("hostname.vlan{vid}"), text));
        }
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(n, t)| (n.as_str(), t.as_str()))
            .collect();
        let mut kifs = Kifs::default();
        let (layout, said) = lay_on(&files, &mut kifs);
        assert_eq!(said, Vec::<String>::new());
        assert_eq!(layout.unwrap().interfaces.iter().count(), 4003);
    }

    #[test]
    fn a_vlan_on_a_vlan_has_the_mtu_of_its_parent_or_less() {
        let (layout, said) = lay(&[
            ("hostname.em0", "up\nmtu 1400\n"),
            ("hostname.svlan1", "vnetid 7 parent em0\n"),
            (
                "hostname.vlan1",
                "vnetid 22 parent svlan1\ninet 10.0.0.1/24\n",
            ),
        ]);
        assert_eq!(said, Vec::<String>::new());
        let layout = layout.unwrap();
        let vlan = layout.interfaces.by_name("vlan1").unwrap();
        assert_eq!(vlan.mtu, 1400);
        assert_eq!(layout.interfaces.way(vlan.id).unwrap().tags().len(), 2);
    }
}
