//! `user` and `group`: whose socket a packet comes from or goes to. All sockets of the box are root's; packets that are
//! forwarded have none here, and their user is `unknown`.
//!
//! Read first: pf.conf(5), "user".

use crate::ports::PortOp;

/// The number that stands for `unknown`.
pub const UNKNOWN: u32 = u32::MAX;
/// root and wheel.
const ROOT: u32 = 0;

/// `user` or `group` with its operator.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IdRange {
    /// Operator.
    pub op: PortOp,
    /// First value.
    pub a: u32,
    /// Second value, for operators that have two.
    pub b: u32,
}

impl IdRange {
    /// True if `id` satisfies the operator. An unknown id satisfies `=` and `!=` only.
    fn matches(self, id: u32) -> bool {
        let (a, b) = (self.a, self.b);
        if id == UNKNOWN && !matches!(self.op, PortOp::Eq | PortOp::Ne) {
            return false;
        }
        match self.op {
            PortOp::Eq => id == a,
            PortOp::Ne => id != a,
            PortOp::Lt => id < a,
            PortOp::Le => id <= a,
            PortOp::Gt => id > a,
            PortOp::Ge => id >= a,
            PortOp::Range => a <= id && id <= b,
            PortOp::Inside => a < id && id < b,
            PortOp::Outside => id < a || id > b,
        }
    }
}

/// Which packets a rule's `user` and `group` leave over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Owner {
    /// All: the rule does not ask.
    #[default]
    Anybody,
    /// Those of the box's own sockets.
    Box,
    /// Those that belong to no socket here.
    Others,
    /// None.
    Nobody,
}

impl Owner {
    /// What these options leave over; several must hold all.
    pub fn of(options: &[IdRange]) -> Owner {
        let holds = |id| options.iter().all(|option| option.matches(id));
        match (options.is_empty(), holds(ROOT), holds(UNKNOWN)) {
            (true, ..) => Owner::Anybody,
            // It still asks for a protocol with sockets, but the parser has seen to that.
            (_, true, true) => Owner::Anybody,
            (_, true, false) => Owner::Box,
            (_, false, true) => Owner::Others,
            (_, false, false) => Owner::Nobody,
        }
    }

    /// Whether a packet is left over. `ours` is asked only where it matters.
    #[inline]
    pub fn matches(self, ours: impl FnOnce() -> bool) -> bool {
        match self {
            Owner::Anybody => true,
            Owner::Box => ours(),
            Owner::Others => !ours(),
            Owner::Nobody => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators_leave_over_what_the_manual_says() {
        for (op, a, b, expect) in [
            (PortOp::Eq, 0, 0, Owner::Box),
            (PortOp::Ne, 0, 0, Owner::Others),
            (PortOp::Eq, 1000, 0, Owner::Nobody),
            (PortOp::Ne, 1000, 0, Owner::Anybody),
            (PortOp::Eq, UNKNOWN, 0, Owner::Others),
            (PortOp::Ne, UNKNOWN, 0, Owner::Box),
            // An unknown user is not above or below anybody.
            (PortOp::Ge, 0, 0, Owner::Box),
            (PortOp::Gt, 0, 0, Owner::Nobody),
            (PortOp::Lt, 1000, 0, Owner::Box),
            (PortOp::Outside, 5, 9, Owner::Box),
        ] {
            assert_eq!(Owner::of(&[IdRange { op, a, b }]), expect, "{op:?} {a} {b}");
        }
        let root = IdRange {
            op: PortOp::Eq,
            a: 0,
            b: 0,
        };
        let unknown = IdRange {
            op: PortOp::Eq,
            a: UNKNOWN,
            b: 0,
        };
        assert_eq!(Owner::of(&[root, unknown]), Owner::Nobody);
        assert_eq!(Owner::of(&[]), Owner::Anybody);
    }
}
