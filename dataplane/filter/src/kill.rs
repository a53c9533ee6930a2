//! Which states are to be killed (pfctl -k, -F states, `flush` of an overload). A plain value that travels between
//! cores; all that is given must apply.

use ruleset::{Af, Direction, KifId, RuleSlot};
use state::{State, StateFlags};

/// An address range and a port, as one side of a state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Side {
    /// Family; none is any address.
    pub af: Option<Af>,
    /// Address, masked; host order, IPv4 in the low 32 bits.
    pub addr: u128,
    /// Bits that count.
    pub mask: u128,
    /// Port, host order; none is any.
    pub port: Option<u16>,
}

impl Side {
    fn covers(&self, af: Af, (addr, port): (u128, u16)) -> bool {
        self.af.is_none_or(|a| a == af)
            && addr & self.mask == self.addr
            && self.port.is_none_or(|p| p == port)
    }
}

/// Which states. Without anything: all.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Kill {
    /// Made by this rule.
    pub rule: Option<RuleSlot>,
    /// Bound to this interface (`if-bound`). A floating state is on none.
    pub kif: Option<KifId>,
    /// Floating: bound to no interface.
    pub floating: bool,
    /// With this number.
    pub id: Option<u64>,
    /// Of this protocol.
    pub proto: Option<u8>,
    /// Made by a packet of this direction.
    pub direction: Option<Direction>,
    /// Begun by this side.
    pub src: Option<Side>,
    /// Addressed to this side.
    pub dst: Option<Side>,
    /// With this address at this end (0 or 1) of the key on the wire.
    pub end: Option<(u8, Af, u128)>,
}

/// Kills that a filter asks its worker for during one packet.
pub type Kills = heapless::Vec<Kill, 4>;

impl Kill {
    /// True if the state is to go.
    pub fn covers(&self, st: &State) -> bool {
        // Who began: what its side of the box sees (pfctl(8), -k).
        let (key, src, dst) = match st.direction {
            Direction::In => (&st.wire, 0, 1),
            Direction::Out => (&st.stack, 1, 0),
        };
        let bound = st.flags.contains(StateFlags::IF_BOUND);
        self.rule.is_none_or(|slot| slot == st.rule)
            && self.kif.is_none_or(|kif| bound && kif == st.kif)
            && !(self.floating && bound)
            && self.id.is_none_or(|id| id == st.id)
            && self.proto.is_none_or(|p| p == st.wire.proto())
            && self.direction.is_none_or(|d| d == st.direction)
            && self.src.is_none_or(|s| s.covers(key.af(), key.end(src)))
            && self.dst.is_none_or(|s| s.covers(key.af(), key.end(dst)))
            && self.end.is_none_or(|(end, af, addr)| {
                af == st.wire.af() && st.wire.end(end.into()).0 == addr
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use state::Key;

    fn state(direction: Direction) -> State {
        let wire = Key::new(direction, Af::Inet, 6, (1, 1000), (2, 80));
        State {
            wire,
            stack: wire,
            direction,
            rule: RuleSlot(3),
            kif: KifId(1),
            id: 77,
            ..State::default()
        }
    }

    fn side(addr: u128, port: Option<u16>) -> Option<Side> {
        Some(Side {
            af: Some(Af::Inet),
            addr,
            mask: u128::MAX,
            port,
        })
    }

    #[test]
    fn everything_that_is_given_must_apply() {
        for direction in [Direction::In, Direction::Out] {
            let st = state(direction);
            let any = Side {
                af: None,
                addr: 0,
                mask: 0,
                port: None,
            };
            let none = Kill::default();
            let cases = [
                ("all", none, true),
                (
                    "rule",
                    Kill {
                        rule: Some(RuleSlot(3)),
                        ..none
                    },
                    true,
                ),
                (
                    "other rule",
                    Kill {
                        rule: Some(RuleSlot(4)),
                        ..none
                    },
                    false,
                ),
                (
                    "interface that it is not bound to",
                    Kill {
                        kif: Some(KifId(1)),
                        ..none
                    },
                    false,
                ),
                (
                    "floating",
                    Kill {
                        floating: true,
                        ..none
                    },
                    true,
                ),
                (
                    "id",
                    Kill {
                        id: Some(77),
                        ..none
                    },
                    true,
                ),
                (
                    "source",
                    Kill {
                        src: side(1, None),
                        ..none
                    },
                    true,
                ),
                (
                    "source is no destination",
                    Kill {
                        src: side(2, None),
                        ..none
                    },
                    false,
                ),
                (
                    "both",
                    Kill {
                        src: side(1, Some(1000)),
                        dst: side(2, Some(80)),
                        ..none
                    },
                    true,
                ),
                (
                    "port",
                    Kill {
                        dst: side(2, Some(81)),
                        ..none
                    },
                    false,
                ),
                (
                    "any source",
                    Kill {
                        src: Some(any),
                        dst: side(2, None),
                        ..none
                    },
                    true,
                ),
                (
                    "protocol",
                    Kill {
                        proto: Some(17),
                        ..none
                    },
                    false,
                ),
                (
                    "direction",
                    Kill {
                        direction: Some(direction.opposite()),
                        ..none
                    },
                    false,
                ),
            ];
            for (name, kill, expected) in cases {
                assert_eq!(kill.covers(&st), expected, "{name} {direction:?}");
            }
        }
        let bound = State {
            flags: StateFlags::IF_BOUND,
            ..state(Direction::In)
        };
        let on = |n| Kill {
            kif: Some(KifId(n)),
            ..Kill::default()
        };
        assert!(on(1).covers(&bound) && !on(2).covers(&bound));
        let floating = Kill {
            floating: true,
            ..Kill::default()
        };
        assert!(!floating.covers(&bound));
        // The source of what comes in stands where the destination of what goes out stands.
        let end = Kill {
            end: Some((0, Af::Inet, 1)),
            ..Kill::default()
        };
        assert!(end.covers(&state(Direction::In)) && !end.covers(&state(Direction::Out)));
    }
}
