//! Rules for Ethernet frames (`ether`): asked of each frame that comes in for the box, before its packet goes anywhere, and
//! of each that leaves, after all; not of those that a bridge sends on, as on FreeBSD. What they block ends without an
//! answer.

use filter::Reason;
use filter::test_rule::facts;
use net::InterfaceId;
use nic::{Nic, PacketBuf};
use ruleset::{Action, Af, Direction, EveryRoute, TagId, ether};
use wire::ether::EtherType;

use crate::receive::{L2, interface_of};
use crate::screen::passage;
use crate::turn::Worker;

/// Bytes of an Ethernet header without tags.
const HEADER: usize = wire::ether::HEADER_LEN;

/// Type of a frame, and where its packet begins.
type Inside = (EtherType, usize);

impl<N: Nic> Worker<N> {
    /// Asks about a frame that has just come from a card; it gets the tag that rules give.
    pub(crate) fn ether_in(&mut self, n: usize, l2: &L2) -> Result<(), Reason> {
        let item = &self.batch.items[n];
        let inside = match l2 {
            _ if item.bridged.is_some() => return Ok(()),
            L2::Ip(Af::Inet, at) => (EtherType::IPV4, *at),
            L2::Ip(Af::Inet6, at) => (EtherType::IPV6, *at),
            L2::Arp(at) => (EtherType::ARP, *at),
            L2::Other | L2::Bridged | L2::Reserved => return Ok(()),
        };
        let (frame, on) = (self.batch.bufs[n].bytes(), interface_of(item));
        let tag = self.ask_ether(frame, inside, on, Direction::In, item.pd.tag);
        self.batch.items[n].pd.tag = tag.ok_or(Reason::Match)?;
        Ok(())
    }

    /// Whether a frame may leave, which has no tags of VLANs yet.
    #[inline]
    pub(crate) fn ether_lets_out(&self, frame: &[u8], on: InterfaceId, tag: TagId) -> bool {
        if self.config.ruleset.ether.is_empty() {
            return true;
        }
        let ethertype = frame.get(12..HEADER).unwrap_or_default();
        let ethertype = ethertype.iter().fold(0, |n, b| n << 8 | u16::from(*b));
        let inside = (EtherType(ethertype), HEADER);
        self.ask_ether(frame, inside, on, Direction::Out, tag)
            .is_some()
    }

    /// The tag of a frame from now on; none if it is blocked.
    fn ask_ether(
        &self,
        frame: &[u8],
        (ethertype, at): Inside,
        interface: InterfaceId,
        direction: Direction,
        tag: TagId,
    ) -> Option<TagId> {
        let ruleset = &self.config.ruleset;
        let header: Option<&[u8; HEADER]> = frame.first_chunk();
        let on = self.config.interfaces.get(interface);
        let (Some(on), Some(header)) = (on, header) else {
            return Some(tag);
        };
        if self.config.skips(interface) {
            return Some(tag);
        }
        let pd = filter::PacketDesc {
            tag,
            ..filter::PacketDesc::default()
        };
        let mut facts = facts(&pd, &passage(on, direction, None), 0);
        let addrs = frame.get(at..).and_then(|ip| addresses(ethertype, ip));
        if let Some((af, src, dst)) = addrs {
            (facts.af, facts.src, facts.dst) = (af, src, dst);
        }
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, ..] = *header;
        let described = ether::Frame {
            src: [s0, s1, s2, s3, s4, s5],
            dst: [d0, d1, d2, d3, d4, d5],
            ethertype: ethertype.0,
            is_ip: addrs.is_some(),
            facts,
        };
        let counters = &self.counters.filter;
        let (rule, tag) = ether::decide(ruleset, described, &EveryRoute, |rule| {
            counters.rule(rule.slot).evaluations.add(1);
        });
        if let Some(rule) = rule {
            let traffic = &counters.rule(rule.slot).traffic;
            traffic[direction.index()].one(frame.len() as u64);
        }
        let blocks = rule.is_some_and(|rule| matches!(rule.action, Action::Block(_)));
        (!blocks).then_some(tag)
    }
}

/// Family and addresses of an IP packet whose header is there.
fn addresses(ethertype: EtherType, ip: &[u8]) -> Option<(Af, u128, u128)> {
    match ethertype {
        EtherType::IPV4 => {
            let packet = wire::ipv4::Packet::new_checked(ip).ok()?;
            let bits = |a: core::net::Ipv4Addr| u128::from(a.to_bits());
            Some((Af::Inet, bits(packet.src()), bits(packet.dst())))
        }
        EtherType::IPV6 => {
            let packet = wire::ipv6::Packet::new_checked(ip).ok()?;
            Some((Af::Inet6, packet.src().to_bits(), packet.dst().to_bits()))
        }
        _ => None,
    }
}
