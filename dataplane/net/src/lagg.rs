//! Which port of a lagg a frame leaves by.
//!
//! Read first: trunk(4), lagg(4); IEEE 802.1AX 6.2.4 (frames of a conversation keep their order).

use wire::ether::EtherType;

use crate::link::{HashFields, LaggProtocol, Ports, TAG_LEN};
use crate::neighbor::PROBE_PREFIX;

/// Bytes of an Ethernet header.
const HEADER: usize = 14;

/// What a lagg does with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// No port may send.
    Nowhere,
    /// It leaves by this port.
    Port(u16),
    /// It leaves by all ports that may send: bit n is the n-th of the lagg.
    All(u32),
}

impl Ports {
    /// Chooses for an untagged frame that is to get the first tag `vid` (0 for none). `round` counts frames.
    #[inline]
    pub fn choose(&self, frame: &[u8], vid: u16, round: u32) -> Choice {
        self.deal(|| lot(frame, vid, self.hash), round)
    }

    /// The ports of all lots, as long as they may send.
    pub fn homes(&self) -> Homes<'_> {
        match self.protocol {
            LaggProtocol::LoadBalance | LaggProtocol::Lacp => Homes {
                ports: &self.ports,
                mask: self.masks.send(),
            },
            LaggProtocol::Failover => {
                let first = self.masks.send().trailing_zeros();
                let port = self.ports.get(first as usize);
                port.map_or(Homes::default(), Homes::one)
            }
            LaggProtocol::RoundRobin | LaggProtocol::Broadcast | LaggProtocol::None => {
                Homes::default()
            }
        }
    }

    /// The same as [`Ports::choose`] for a frame whose lot is known.
    #[inline]
    pub fn deal(&self, lot: impl FnOnce() -> u8, round: u32) -> Choice {
        let members = u32::MAX
            .checked_shr(32 - self.ports.len() as u32)
            .unwrap_or(0);
        let mask = self.masks.send() & members;
        let n = match self.protocol {
            _ if mask == 0 => return Choice::Nowhere,
            LaggProtocol::None => return Choice::Nowhere,
            LaggProtocol::Broadcast => return Choice::All(mask),
            LaggProtocol::Failover => mask.trailing_zeros(),
            LaggProtocol::RoundRobin => nth(mask, round),
            LaggProtocol::LoadBalance | LaggProtocol::Lacp => {
                place(mask, self.ports.len() as u32, lot())
            }
        };
        self.ports
            .get(n as usize)
            .map_or(Choice::Nowhere, |port| Choice::Port(*port))
    }
}

/// Where lots lead, as of one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Homes<'p> {
    ports: &'p [u16],
    /// Those that may send; none where lots do not say the port.
    mask: u32,
}

impl<'p> Homes<'p> {
    /// All lots lead to one port.
    pub fn one(port: &'p u16) -> Self {
        Homes {
            ports: core::slice::from_ref(port),
            mask: 1,
        }
    }

    /// The port of this lot, if that may send.
    #[inline(always)]
    pub fn of(&self, lot: u8) -> Option<u16> {
        let place = (usize::from(lot) * self.ports.len()) >> 8;
        if self.mask >> (place & 31) & 1 == 0 {
            return None;
        }
        self.ports.get(place).copied()
    }
}

/// The place of a flow: of all ports, so that it stays where it is when another one fails, or, if its own has failed, of
/// those that are left.
#[inline]
fn place(mask: u32, ports: u32, lot: u8) -> u32 {
    let share = u32::from(lot) * ports;
    let (of_all, rest) = (share >> 8, share & 0xff);
    if mask >> of_all & 1 == 1 {
        of_all
    } else {
        nth(mask, (rest * mask.count_ones()) >> 8)
    }
}

/// One of 256 lots, for what is hashed of a frame that is to get the first tag `vid`: each port has its share of them.
pub fn lot(frame: &[u8], vid: u16, fields: HashFields) -> u8 {
    (flow_hash(frame, vid, fields) >> 24) as u8
}

/// The n-th bit that is set, counted round.
fn nth(mut mask: u32, n: u32) -> u32 {
    for _ in 0..n % mask.count_ones().max(1) {
        mask &= mask - 1;
    }
    mask.trailing_zeros()
}

/// The same for both directions of a conversation: what is hashed of the two ends is added up.
pub fn flow_hash(frame: &[u8], vid: u16, fields: HashFields) -> u32 {
    let mut sum = Sum(0);
    if fields.l2 {
        sum.add(frame.get(..6));
        sum.add(frame.get(6..12));
        sum.0 = sum.0.wrapping_add(u32::from(vid));
    }
    let packet = frame.get(HEADER..).unwrap_or_default();
    let ethertype = frame.get(12..HEADER).and_then(<[u8]>::first_chunk);
    let l4 = match ethertype.map(|b| EtherType(u16::from_be_bytes(*b))) {
        Some(EtherType::IPV4) => sum.add_ipv4(packet, fields),
        Some(EtherType::IPV6) => sum.add_ipv6(packet, fields),
        _ => None,
    };
    if let Some(ports) = l4.filter(|_| fields.l4) {
        sum.add(ports.get(..2));
        sum.add(ports.get(2..4));
    }
    // Spread what is mostly in the low bits.
    sum.0 = sum.0.wrapping_mul(0x9e37_79b1);
    sum.0 ^ sum.0 >> 15
}

/// Where the body of a frame begins that answers a question by a port of a lagg ([`crate::probe`]): an ARP reply to nobody's
/// address, or an advertisement to the address that such questions have.
pub fn probe_answer(frame: &[u8]) -> Option<usize> {
    let mut at = HEADER;
    while let Some([0x81, 0x00] | [0x88, 0xa8]) = frame.get(at - 2..at) {
        at += TAG_LEN;
    }
    let body = frame.get(at..)?;
    let is_answer = match frame.get(at - 2..at)? {
        [0x08, 0x06] => body.get(7) == Some(&2) && body.get(24..28) == Some(&[0; 4]),
        [0x86, 0xdd] => {
            let words = PROBE_PREFIX.map(u16::to_be_bytes);
            let is_ours = body.get(24..36) == Some(words.as_flattened());
            is_ours && body.get(6) == Some(&58) && body.get(40) == Some(&136)
        }
        _ => false,
    };
    is_answer.then_some(at)
}

struct Sum(u32);

impl Sum {
    /// Adds bytes, in words of two. Adding both ends to one sum makes it symmetric.
    fn add(&mut self, bytes: Option<&[u8]>) {
        for word in bytes.unwrap_or_default().chunks(2) {
            let value = word.iter().fold(0, |v, b| v << 8 | u32::from(*b));
            self.0 = self.0.wrapping_add(value.wrapping_mul(0x85eb_ca6b));
        }
    }

    /// The payload, if it begins with ports.
    fn add_ipv4<'a>(&mut self, packet: &'a [u8], fields: HashFields) -> Option<&'a [u8]> {
        if fields.l3 {
            self.add(packet.get(12..16));
            self.add(packet.get(16..20));
        }
        let header_len = usize::from(packet.first()? & 0x0f) * 4;
        let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
        let has_ports = fragment == 0 && matches!(packet.get(9)?, 6 | 17);
        packet.get(header_len..).filter(|_| has_ports)
    }

    fn add_ipv6<'a>(&mut self, packet: &'a [u8], fields: HashFields) -> Option<&'a [u8]> {
        if fields.l3 {
            self.add(packet.get(8..24));
            self.add(packet.get(24..40));
        }
        let has_ports = matches!(packet.get(6)?, 6 | 17);
        packet.get(40..).filter(|_| has_ports)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kif::InterfaceId;
    use alloc::sync::Arc;
    use sync::Masks;

    fn ports(protocol: LaggProtocol, send: u32) -> Ports {
        Ports {
            interface: InterfaceId(9),
            protocol,
            hash: HashFields::default(),
            ports: vec![4, 7, 5],
            masks: Arc::new(Masks::new(send, 0)),
            is_probed: false,
        }
    }

    #[test]
    fn every_port_has_its_share_of_the_lots_and_of_those_of_a_port_that_failed() {
        for ports in 1..=32 {
            let all = u32::MAX >> (32 - ports);
            let shares = |mask| {
                let mut shares = [0; 32];
                for lot in 0..=255 {
                    shares[place(mask, ports, lot) as usize] += 1;
                }
                shares
            };
            let fair = 256 / ports;
            let whole = shares(all);
            let is_fair = |n: &u32| (fair..=fair + 1).contains(n);
            assert!(whole[..ports as usize].iter().all(is_fair), "{whole:?}");
            if ports == 1 {
                continue;
            }
            let left = shares(all & !1);
            let grown = (0..32).map(|n| left[n] - if n == 0 { 0 } else { whole[n] });
            assert_eq!(left[0], 0);
            assert_eq!(grown.sum::<u32>(), whole[0], "{left:?}");
        }
    }

    fn udp(src: u8, dst: u8, ports: (u16, u16)) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, dst, 2, 0, 0, 0, 0, src, 8, 0];
        let mut packet = vec![
            0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0, 10, 0, 0, src, 10, 0, 0, dst,
        ];
        packet.extend(ports.0.to_be_bytes());
        packet.extend(ports.1.to_be_bytes());
        frame.extend(packet);
        frame
    }

    #[test]
    fn failover_takes_the_first_that_may_send() {
        for (mask, want) in [
            (0b111, Choice::Port(4)),
            (0b110, Choice::Port(7)),
            (0b100, Choice::Port(5)),
            (0b1000, Choice::Nowhere),
            (0, Choice::Nowhere),
        ] {
            assert_eq!(ports(LaggProtocol::Failover, mask).choose(&[], 0, 0), want);
        }
    }

    #[test]
    fn round_robin_and_broadcast() {
        let in_turn = ports(LaggProtocol::RoundRobin, 0b101);
        let chosen = [0, 1, 2, u32::MAX].map(|n| in_turn.choose(&[], 0, n));
        assert_eq!(chosen, [4, 5, 4, 5].map(Choice::Port));
        let all = ports(LaggProtocol::Broadcast, 0b1101);
        assert_eq!(all.choose(&[], 0, 0), Choice::All(0b101));
        assert_eq!(
            ports(LaggProtocol::None, 7).choose(&[], 0, 0),
            Choice::Nowhere
        );
    }

    #[test]
    fn both_directions_of_a_flow_have_one_port_and_flows_are_spread() {
        let balanced = ports(LaggProtocol::LoadBalance, 0b111);
        let mut used = [0; 3];
        for n in 0..300 {
            let there = balanced.choose(&udp(1, 2, (1000 + n, 53)), 5, 0);
            let back = balanced.choose(&udp(2, 1, (53, 1000 + n)), 5, 0);
            assert_eq!(there, back);
            let at = balanced
                .ports
                .iter()
                .position(|p| there == Choice::Port(*p));
            used[at.unwrap()] += 1;
        }
        assert!(used.iter().all(|n| *n > 60), "{used:?}");
    }

    #[test]
    fn a_flow_stays_when_another_port_fails() {
        let (all, two) = (
            ports(LaggProtocol::LoadBalance, 0b111),
            ports(LaggProtocol::LoadBalance, 0b101),
        );
        for n in 0..300 {
            let frame = udp(1, 2, (1000 + n, 53));
            match (all.choose(&frame, 0, 0), two.choose(&frame, 0, 0)) {
                (Choice::Port(7), Choice::Port(4 | 5)) => {}
                (before, after) => assert_eq!(before, after),
            }
        }
    }

    #[test]
    fn a_lot_has_its_home_where_it_is_dealt_while_that_may_send() {
        for mask in 0..8 {
            let of = |protocol| ports(protocol, mask);
            let (balanced, in_turn) = (of(LaggProtocol::LoadBalance), of(LaggProtocol::RoundRobin));
            let first = of(LaggProtocol::Failover);
            for lot in 0..=255 {
                let place = place(0b111, 3, lot);
                let home = (mask >> place & 1 == 1).then(|| balanced.ports[place as usize]);
                assert_eq!(balanced.homes().of(lot), home);
                if let Some(port) = home {
                    assert_eq!(balanced.deal(|| lot, 0), Choice::Port(port));
                }
                let first = (first.homes().of(lot), first.deal(|| lot, 0));
                match first.0 {
                    Some(port) => assert_eq!(first.1, Choice::Port(port)),
                    None => assert_eq!(first.1, Choice::Nowhere),
                }
                assert_eq!(in_turn.homes().of(lot), None);
                assert_eq!(Homes::one(&7).of(lot), Some(7));
            }
        }
    }

    #[test]
    fn fields_that_are_not_hashed_make_no_difference() {
        let l3 = HashFields {
            l2: false,
            l3: true,
            l4: false,
        };
        let one = flow_hash(&udp(1, 2, (1, 2)), 0, l3);
        assert_eq!(one, flow_hash(&udp(1, 2, (3, 4)), 9, l3));
        assert_ne!(one, flow_hash(&udp(1, 3, (1, 2)), 0, l3));
        // What is cut short is hashed as far as it goes.
        for len in 0..38 {
            flow_hash(&udp(1, 2, (1, 2))[..len], 0, HashFields::default());
        }
    }
}
