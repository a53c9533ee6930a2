//! Which rule of a format a packet broke.
//!
//! One value per rule, so that a firewall can count and explain. May not know what is done about it.

use core::fmt;

macro_rules! malformed {
    ($($name:ident = $text:literal,)*) => {
        /// The rule that malformed bytes broke. `Display` says it in words with its source.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Malformed {
            $(#[doc = $text] $name,)*
        }

        impl Malformed {
            /// Every rule, in the order of their numbers (`rule as usize` is the index here).
            pub const ALL: &'static [Malformed] = &[$(Malformed::$name,)*];

            /// The rule in words, with the section that states it.
            pub const fn text(self) -> &'static str {
                match self {
                    $(Malformed::$name => $text,)*
                }
            }

            /// The rule's name as an identifier, for counters and metrics labels.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Malformed::$name => stringify!($name),)*
                }
            }
        }
    };
}

malformed! {
    EtherShort = "Ethernet header shorter than 14 bytes (IEEE 802.3 3.1.1)",
    SlowShort = "slow-protocol PDU shorter than 110 bytes (IEEE 802.1AX 6.4.2)",
    SlowFormat = "slow-protocol PDU with an unknown subtype or layout (IEEE 802.1AX 6.4.2.3)",
    VlanShort = "VLAN tag shorter than 4 bytes (IEEE 802.1Q 9.3)",
    ArpShort = "ARP packet shorter than its addresses (RFC 826)",
    ArpFormat = "ARP not for IPv4 over Ethernet: hardware, protocol or address lengths (RFC 826)",
    BpduShort = "bridge protocol data unit shorter than its type needs (IEEE 802.1D-2004 9.3.4)",
    BpduFormat = "bridge protocol data unit with another LLC header, protocol, version or type (IEEE 802.1D-2004 9.3.4)",
    BpduAge = "configuration of a bridge that is as old as it may get (IEEE 802.1D-2004 9.3.4)",
    Ip4Short = "IPv4 header shorter than 20 bytes (RFC 791 3.1)",
    Ip4Version = "IPv4 version field is not 4 (RFC 1122 3.2.1.1)",
    Ip4HeaderLength = "IPv4 header length below 5 words or beyond the packet (RFC 791 3.1)",
    Ip4TotalLength = "IPv4 total length below the header length or beyond the bytes received (RFC 791 3.1)",
    Ip4Checksum = "IPv4 header checksum wrong (RFC 1122 3.2.1.2)",
    Ip4Option = "IPv4 option length below 2 or beyond the header (RFC 791 3.1)",
    Ip4Fragment = "IPv4 fragment not a multiple of 8 bytes, or beyond 65535 bytes (RFC 791 3.2)",
    Ip4HeaderChain = "more than 20 authentication headers in one IPv4 packet",
    Ip4ExtShort = "authentication header beyond the end of the IPv4 packet (RFC 4302 2)",
    Ip6Short = "IPv6 header shorter than 40 bytes (RFC 8200 3)",
    Ip6Version = "IPv6 version field is not 6 (RFC 8200 3)",
    Ip6PayloadLength = "IPv6 payload length beyond the bytes received (RFC 8200 3)",
    Ip6ExtShort = "IPv6 extension header beyond the end of the packet (RFC 8200 4)",
    Ip6ExtChain = "more than 20 IPv6 extension headers in one packet",
    Ip6ExtOrder = "IPv6 hop-by-hop options not directly after the IPv6 header (RFC 8200 4.1)",
    Ip6ExtRepeated = "IPv6 routing header more than once (RFC 8200 4.1)",
    Ip6Option = "IPv6 option beyond the end of its extension header (RFC 8200 4.2)",
    Ip6Jumbo = "IPv6 jumbogram (RFC 2675), which no port here can carry",
    Ip6RoutingType0 = "IPv6 routing header type 0 (RFC 5095 3)",
    Ip6Fragment = "IPv6 fragment not a multiple of 8 bytes, beyond 65535 bytes, or within a fragment (RFC 8200 4.5)",
    IcmpShort = "ICMP header shorter than 8 bytes (RFC 792)",
    IcmpChecksum = "ICMP checksum wrong (RFC 1122 3.2.2)",
    Icmp6Short = "ICMPv6 message shorter than its type needs (RFC 4443 2.1, RFC 4861 4)",
    Icmp6Checksum = "ICMPv6 checksum wrong (RFC 4443 2.3)",
    NdOption = "neighbor discovery option with length 0 or beyond the message (RFC 4861 4.6)",
    TcpShort = "TCP header shorter than 20 bytes (RFC 9293 3.1)",
    TcpDataOffset = "TCP data offset below 5 words or beyond the segment (RFC 9293 3.1)",
    TcpFlags = "TCP flags that no conversation uses (RFC 9293 3.1): SYN with RST or FIN, or none of SYN, ACK and RST, or FIN, PSH or URG without ACK",
    TcpOption = "TCP option length below 2, beyond the header, or wrong for its kind (RFC 9293 3.2)",
    TcpChecksum = "TCP checksum wrong (RFC 9293 3.1)",
    UdpShort = "UDP header shorter than 8 bytes (RFC 768)",
    UdpLength = "UDP length below 8 or beyond the packet (RFC 768)",
    UdpChecksum = "UDP checksum wrong, or absent over IPv6 (RFC 768, RFC 8200 8.1)",
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl core::error::Error for Malformed {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_positions_in_all() {
        for (n, &rule) in Malformed::ALL.iter().enumerate() {
            assert_eq!(rule as usize, n);
            assert!(!rule.text().is_empty());
        }
    }

    #[test]
    fn display_cites_the_source() {
        assert_eq!(
            Malformed::Ip4Version.to_string(),
            "IPv4 version field is not 4 (RFC 1122 3.2.1.1)"
        );
        assert_eq!(Malformed::Ip4Version.name(), "Ip4Version");
    }
}
