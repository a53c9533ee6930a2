//! Why packets are dropped. PF's reasons keep their names and numbers, since these travel in log headers; ours
//! come after them. One list, from which the enum, the names and the counters come.

macro_rules! reasons {
    ($($variant:ident = $name:literal, $doc:literal;)*) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[repr(u8)]
        pub enum Reason {
            $(#[doc = $doc] $variant,)*
        }

        impl Reason {
            /// All reasons, in the order of their numbers.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)*];
            /// How many there are.
            pub const COUNT: usize = Reason::ALL.len();

            /// The name that counters and logs use.
            pub fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)* }
            }

            /// What it means, in one sentence.
            pub fn help(self) -> &'static str {
                match self { $(Reason::$variant => $doc,)* }
            }
        }
    };
}

reasons! {
    Match = "match", "A rule said block.";
    BadOffset = "bad-offset", "A header was not where an offset said.";
    Fragment = "fragment", "A fragment that cannot be part of a datagram.";
    Short = "short", "The packet ends within a header.";
    Normalize = "normalize", "A header broke its own rules.";
    Memory = "memory", "A limit or a table is full.";
    BadTimestamp = "bad-timestamp", "A TCP timestamp went backwards.";
    Congestion = "congestion", "The box has more to do than it can.";
    IpOption = "ip-option", "IP options without allow-opts.";
    ProtoCksum = "proto-cksum", "A checksum is wrong.";
    BadState = "state-mismatch", "The packet does not fit its state: wrong sequence numbers.";
    StateInsert = "state-insert", "A state with the same ends exists.";
    StateLimit = "state-limit", "The rule has as many states as it may.";
    SrcLimit = "src-limit", "The source has as many states as it may.";
    SynProxy = "synproxy", "Handled by synproxy.";
    Translate = "translate", "No address or port to translate to.";
    NoRoute = "no-route", "No route to the destination.";
    // Ours.
    Ethernet = "ethernet", "Neither IPv4, IPv6 nor ARP, or the Ethernet header is cut short.";
    Vlan = "unknown-vlan", "A VLAN that no interface is configured for.";
    OtherHost = "other-host", "The station address belongs to another host.";
    InterfaceDown = "interface-down", "The interface is not up.";
    Martian = "martian", "A source address that cannot be on the wire.";
    Ttl = "ttl", "The time to live or hop limit has run out.";
    Mtu = "mtu", "Too large for the way out, and not to be fragmented.";
    Multicast = "multicast", "Multicast or broadcast that nobody here listens to.";
    Neighbor = "no-neighbor", "The next hop does not answer, or too many packets wait for it.";
    Loop = "loop", "A packet of the box itself found no way out of it.";
    TxFull = "tx-full", "The card did not take the packet in time.";
    NoBuffer = "no-buffer", "The pool of packet buffers is empty.";
    HandoffFull = "handoff-full", "The core that owns the connection did not keep up.";
    HostFull = "host-full", "The management plane did not keep up.";
    Arp = "arp", "An ARP packet that makes no sense.";
    Discarding = "discarding", "The spanning tree lets no frames pass this member of a bridge.";
    LinkLocal = "link-local", "A frame of a protocol between neighbors on a link, which no bridge forwards.";
    OwnStation = "own-station", "A frame from a station address of the box itself came in: there is a loop, or somebody lies.";
    NonIp = "non-ip", "Neither IP nor ARP, on a member of a bridge with blocknonip.";
    BridgeRule = "bridge-rule", "A rule of a bridge said block.";
    SameSide = "same-side", "The station is on the side of the bridge that the frame came from.";
    NoMember = "no-member", "No other member of the bridge may have the frame.";
    Span = "span", "A frame came in by an interface that only hears copies.";
    Oversize = "oversize", "Received in more than one buffer.";
    Standby = "lagg-standby", "It came by a port of a lagg that is not heard now.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_pf_are_kept() {
        for (reason, number) in [
            (Reason::Match, 0),
            (Reason::Memory, 5),
            (Reason::IpOption, 8),
            (Reason::BadState, 10),
            (Reason::StateLimit, 12),
            (Reason::NoRoute, 16),
        ] {
            assert_eq!(reason as u8, number, "{}", reason.name());
        }
    }

    #[test]
    fn names_are_unique() {
        for (n, a) in Reason::ALL.iter().enumerate() {
            assert_eq!(*a as usize, n);
            assert!(
                Reason::ALL[..n].iter().all(|b| a.name() != b.name()),
                "{}",
                a.name()
            );
        }
    }
}
