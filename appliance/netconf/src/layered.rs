//! Words of VLANs, laggs and tunnels, of OpenBSD and FreeBSD. Read first: vlan(4), trunk(4), lagg(4), gif(4).

use crate::feature::Feature;
use crate::kind::{Gif, Lagg, TPID_SVLAN, TPID_VLAN, Vlan};
use crate::names_of::VID_MAX;
use crate::reading::{DOMAINS, Reading, Special};
use crate::source::{Word, printable};
use crate::{Kind, LaggHash, LaggProtocol, Named, Origin, Tunnel, near};

pub(crate) const VLAN_WORDS: [&str; 11] = [
    "vnetid",
    "-vnetid",
    "parent",
    "-parent",
    "vlan",
    "vlandev",
    "-vlandev",
    "vlanprio",
    "vlanpcp",
    "vlanproto",
    "txprio",
];

pub(crate) const LAGG_WORDS: [&str; 11] = [
    "trunkproto",
    "trunkport",
    "-trunkport",
    "laggproto",
    "laggport",
    "-laggport",
    "lagghash",
    "lacpmode",
    "lacptimeout",
    "lacp_fast_timeout",
    "-lacp_fast_timeout",
];

pub(crate) const GIF_WORDS: [&str; 10] = [
    "tunnel",
    "-tunnel",
    "deletetunnel",
    "giftunnel",
    "tunnelttl",
    "tunneldf",
    "-tunneldf",
    "tunneldomain",
    "-tunneldomain",
    "tunnelfib",
];

/// Highest priority of 802.1p.
const PRIO_MAX: u32 = 7;

/// A VLAN whose name says all: `em0.22`.
pub(crate) fn vlan_on(parent: &str, vid: u16, origin: &Origin) -> Kind {
    Kind::Vlan(Vlan {
        vid: Some(vid),
        parent: Some(Named {
            name: parent.to_string(),
            origin: origin.clone(),
        }),
        ..Vlan::default()
    })
}

impl<'l> Reading<'l, '_> {
    fn vlan(&mut self, change: impl FnOnce(&mut Vlan)) {
        if let Kind::Vlan(vlan) = &mut self.interface.kind {
            change(vlan);
        }
    }

    pub(crate) fn vlan_word(&mut self, word: Word<'l>) -> Special {
        Some(match word.text {
            "vnetid" | "vlan" => self.number(word.text, 1..=VID_MAX, |i, n| {
                if let Kind::Vlan(vlan) = &mut i.kind {
                    vlan.vid = Some(n as u16);
                }
            }),
            "parent" | "vlandev" => self.parent(word.text),
            "-parent" | "-vlandev" => {
                self.vlan(|vlan| vlan.parent = None);
                Some(())
            }
            "-vnetid" => {
                self.vlan(|vlan| vlan.vid = None);
                Some(())
            }
            "vlanprio" | "vlanpcp" | "txprio" => self.txprio(word),
            "vlanproto" => self.vlanproto(),
            _ => return None,
        })
    }

    fn parent(&mut self, what: &str) -> Option<()> {
        let named = self.named(what)?;
        self.vlan(|vlan| vlan.parent = Some(named));
        Some(())
    }

    fn txprio(&mut self, word: Word<'l>) -> Option<()> {
        if self.take("packet") {
            self.vlan(|vlan| vlan.prio = None);
            return Some(());
        }
        self.needs(word, Feature::VlanPrio);
        self.number(word.text, 0..=PRIO_MAX, |i, n| {
            if let Kind::Vlan(vlan) = &mut i.kind {
                vlan.prio = Some(n as u8);
            }
        })
    }

    /// FreeBSD's way to say 802.1ad.
    fn vlanproto(&mut self) -> Option<()> {
        let word = self.argument("vlanproto")?;
        let tpid = match word.text.to_ascii_lowercase().as_str() {
            "802.1q" | "dot1q" | "0x8100" => TPID_VLAN,
            "802.1ad" | "dot1ad" | "qinq" | "0x88a8" => TPID_SVLAN,
            _ => {
                let text = format!("'{}' is not a protocol of VLANs", printable(word.text));
                self.error(
                    word,
                    "bad-word",
                    text,
                    Some("802.1q or 802.1ad".to_string()),
                );
                return None;
            }
        };
        self.vlan(|vlan| vlan.tpid = tpid);
        Some(())
    }

    fn lagg(&mut self, change: impl FnOnce(&mut Lagg)) {
        if let Kind::Lagg(lagg) = &mut self.interface.kind {
            change(lagg);
        }
    }

    pub(crate) fn lagg_word(&mut self, word: Word<'l>) -> Special {
        Some(match word.text {
            "trunkproto" | "laggproto" => self.laggproto(word.text),
            "trunkport" | "laggport" => self.laggport(word.text),
            "-trunkport" | "-laggport" => self.no_laggport(word.text),
            "lagghash" => self.lagghash(),
            "lacpmode" => self.either("lacpmode", ["active", "passive"], |lagg, active| {
                lagg.lacp.active = active
            }),
            "lacptimeout" => self.either("lacptimeout", ["fast", "slow"], |lagg, fast| {
                lagg.lacp.fast = fast;
            }),
            "lacp_fast_timeout" => {
                self.lagg(|lagg| lagg.lacp.fast = true);
                Some(())
            }
            "-lacp_fast_timeout" => {
                self.lagg(|lagg| lagg.lacp.fast = false);
                Some(())
            }
            _ => return None,
        })
    }

    fn laggproto(&mut self, what: &str) -> Option<()> {
        const PROTOCOLS: [(&str, LaggProtocol); 6] = [
            ("failover", LaggProtocol::Failover),
            ("loadbalance", LaggProtocol::LoadBalance),
            ("roundrobin", LaggProtocol::RoundRobin),
            ("broadcast", LaggProtocol::Broadcast),
            ("lacp", LaggProtocol::Lacp),
            ("none", LaggProtocol::Disabled),
        ];
        let word = self.argument(what)?;
        let names = PROTOCOLS.map(|(name, _)| name);
        let Some((_, protocol)) = PROTOCOLS.iter().find(|(name, _)| *name == word.text) else {
            let text = format!("'{}' is not a protocol of laggs", printable(word.text));
            let near = near::hint(word.text, names);
            let hint = near.or_else(|| Some(format!("known: {}", names.join(" "))));
            self.error(word, "bad-word", text, hint);
            return Some(());
        };
        if self.interface.name.starts_with("aggr") && *protocol != LaggProtocol::Lacp {
            let text = "an aggr interface speaks LACP only".to_string();
            let hint = "call it trunk0 or lagg0 for other protocols".to_string();
            self.error(word, "bad-word", text, Some(hint));
        }
        self.lagg(|lagg| lagg.protocol = *protocol);
        Some(())
    }

    fn laggport(&mut self, what: &str) -> Option<()> {
        let word = self.peek();
        let named = self.named(what)?;
        let mut twice = false;
        let name = named.name.clone();
        self.lagg(|lagg| {
            twice = lagg.ports.iter().any(|port| port.name == named.name);
            if !twice {
                lagg.ports.push(named);
            }
        });
        if let Some(word) = word.filter(|_| twice) {
            let text = format!("{name} is a port of it already");
            self.error(word, "duplicate-port", text, None);
        }
        Some(())
    }

    fn no_laggport(&mut self, what: &str) -> Option<()> {
        let named = self.named(what)?;
        self.lagg(|lagg| lagg.ports.retain(|port| port.name != named.name));
        Some(())
    }

    /// `l2,l3,l4`
    fn lagghash(&mut self) -> Option<()> {
        let word = self.argument("lagghash")?;
        let mut hash = LaggHash {
            l2: false,
            l3: false,
            l4: false,
        };
        for part in word.text.split(',') {
            match part {
                "l2" => hash.l2 = true,
                "l3" => hash.l3 = true,
                "l4" => hash.l4 = true,
                _ => {
                    let text = format!("'{}' is not a list of layers", printable(word.text));
                    self.error(word, "bad-word", text, Some("l2,l3,l4".to_string()));
                    return Some(());
                }
            }
        }
        self.lagg(|lagg| lagg.hash = hash);
        Some(())
    }

    /// One of two words; `set` gets whether it is the first.
    fn either(
        &mut self,
        what: &str,
        words: [&str; 2],
        set: impl FnOnce(&mut Lagg, bool),
    ) -> Option<()> {
        let word = self.argument(what)?;
        if words.contains(&word.text) {
            let first = word.text == words[0];
            self.lagg(|lagg| set(lagg, first));
        } else {
            let text = format!("'{}' is not a value of {what}", printable(word.text));
            let hint = format!("{} or {}", words[0], words[1]);
            self.error(word, "bad-word", text, Some(hint));
        }
        Some(())
    }

    fn gif(&mut self, change: impl FnOnce(&mut Gif)) {
        if let Kind::Gif(gif) = &mut self.interface.kind {
            change(gif);
        }
    }

    pub(crate) fn gif_word(&mut self, word: Word<'l>) -> Special {
        Some(match word.text {
            "tunnel" | "giftunnel" => {
                // FreeBSD lets the family stand before the ends.
                let _said = self.take("inet") || self.take("inet6");
                self.ends(word.text)
            }
            "-tunnel" | "deletetunnel" => {
                self.gif(|gif| gif.tunnel = None);
                Some(())
            }
            "tunnelttl" if self.take("copy") => {
                self.gif(|gif| gif.ttl = None);
                Some(())
            }
            "tunnelttl" => self.number("tunnelttl", 1..=255, |i, n| {
                if let Kind::Gif(gif) = &mut i.kind {
                    gif.ttl = Some(n as u8);
                }
            }),
            "tunneldf" => {
                self.gif(|gif| gif.dont_fragment = true);
                Some(())
            }
            "-tunneldf" => {
                self.gif(|gif| gif.dont_fragment = false);
                Some(())
            }
            "tunneldomain" | "tunnelfib" => self.tunneldomain(word),
            "-tunneldomain" => {
                self.gif(|gif| gif.domain = 0);
                Some(())
            }
            _ => return None,
        })
    }

    fn tunneldomain(&mut self, word: Word<'l>) -> Option<()> {
        self.number(word.text, DOMAINS, |i, n| {
            if let Kind::Gif(gif) = &mut i.kind {
                gif.domain = n as u16;
            }
        })?;
        if matches!(&self.interface.kind, Kind::Gif(gif) if gif.domain != 0) {
            self.needs(word, Feature::RouteTable);
        }
        Some(())
    }

    /// Both ends of a tunnel.
    pub(crate) fn ends(&mut self, what: &str) -> Option<()> {
        let (src, src_word) = self.ip(what)?;
        let (dst, dst_word) = self.ip(what)?;
        let group = |addr: std::net::IpAddr| addr.is_unspecified() || addr.is_multicast();
        if src.is_ipv4() != dst.is_ipv4() {
            let text = "the ends of a tunnel are not of the same family".to_string();
            self.error(dst_word, "mixed-families", text, None);
        } else if group(src) || group(dst) || src == dst {
            let word = if group(src) { src_word } else { dst_word };
            let text = format!(
                "'{}' cannot be the end of this tunnel",
                printable(word.text)
            );
            self.error(word, "bad-address", text, None);
        }
        let origin = self.line.origin_of(src_word);
        self.gif(|gif| gif.tunnel = Some(Tunnel { src, dst, origin }));
        Some(())
    }
}
