//! What the sender of a blocked packet hears (pf.conf(5), "block").

use ruleset::{Af, BlockReply};
use state::track::tcp::RST;

use crate::describe::{Kind, PacketDesc};

/// An answer to make.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Response {
    /// Nothing.
    None,
    /// A TCP reset; `ttl` 0 means the default.
    Reset {
        /// Time to live of the reset.
        ttl: u8,
    },
    /// An ICMP or ICMPv6 message.
    Icmp {
        /// Type.
        icmp_type: u8,
        /// Code.
        code: u8,
    },
}

/// Port unreachable, for both families.
const PORT_UNREACHABLE: [(u8, u8); 2] = [(3, 3), (1, 4)];

/// The answer that `reply` asks for, if this packet may be answered at all: errors, fragments and redirects never
/// are.
pub fn response(reply: BlockReply, pd: &PacketDesc) -> Response {
    const REDIRECT6: u8 = 137;
    let unanswerable = matches!(pd.kind, Kind::IcmpError | Kind::Fragment)
        || (pd.is_neighbor_discovery && pd.icmp.0 == REDIRECT6);
    let resettable = pd.kind == Kind::Tcp && pd.segment.flags & RST == 0;
    match reply {
        _ if unanswerable => Response::None,
        BlockReply::Drop => Response::None,
        BlockReply::Return if resettable => Response::Reset { ttl: 0 },
        BlockReply::Return => icmp(PORT_UNREACHABLE[pd.af.index()]),
        BlockReply::ReturnRst { ttl } if resettable => Response::Reset { ttl },
        BlockReply::ReturnRst { .. } => Response::None,
        BlockReply::ReturnIcmp { v4, v6 } => icmp(match pd.af {
            Af::Inet => v4,
            Af::Inet6 => v6,
        }),
    }
}

fn icmp((icmp_type, code): (u8, u8)) -> Response {
    Response::Icmp { icmp_type, code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_policy_answers_each_kind_of_packet_as_the_manual_says() {
        let tcp = PacketDesc {
            kind: Kind::Tcp,
            ..PacketDesc::default()
        };
        let mut rst = tcp;
        rst.segment.flags = RST;
        let udp6 = PacketDesc {
            kind: Kind::Udp,
            af: Af::Inet6,
            ..tcp
        };
        let error = PacketDesc {
            kind: Kind::IcmpError,
            ..tcp
        };
        let unreachable = |t, c| Response::Icmp {
            icmp_type: t,
            code: c,
        };
        let icmp = BlockReply::ReturnIcmp {
            v4: (3, 13),
            v6: (1, 1),
        };
        for (name, reply, pd, expect) in [
            ("drop", BlockReply::Drop, &tcp, Response::None),
            (
                "return, tcp",
                BlockReply::Return,
                &tcp,
                Response::Reset { ttl: 0 },
            ),
            ("return, rst", BlockReply::Return, &rst, unreachable(3, 3)),
            ("return, udp", BlockReply::Return, &udp6, unreachable(1, 4)),
            ("return, error", BlockReply::Return, &error, Response::None),
            (
                "return-rst",
                BlockReply::ReturnRst { ttl: 9 },
                &tcp,
                Response::Reset { ttl: 9 },
            ),
            (
                "return-rst, udp",
                BlockReply::ReturnRst { ttl: 9 },
                &udp6,
                Response::None,
            ),
            ("return-icmp", icmp, &tcp, unreachable(3, 13)),
            ("return-icmp6", icmp, &udp6, unreachable(1, 1)),
        ] {
            assert_eq!(response(reply, pd), expect, "{name}");
        }
    }
}
