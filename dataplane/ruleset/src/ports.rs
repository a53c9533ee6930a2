//! Operators on ports, as rules have them. Read first: pf.conf(5), "port".

/// Port operator of pf.conf(5).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PortOp {
    /// `= a`
    Eq,
    /// `!= a`
    Ne,
    /// `< a`
    Lt,
    /// `<= a`
    Le,
    /// `> a`
    Gt,
    /// `>= a`
    Ge,
    /// `a:b`, both included
    Range,
    /// `a >< b`, both excluded
    Inside,
    /// `a <> b`, outside, both excluded
    Outside,
}

/// Port operator with its values, host order.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PortRange {
    /// Operator.
    pub op: PortOp,
    /// First value.
    pub a: u16,
    /// Second value, for operators that have two.
    pub b: u16,
}

impl PortRange {
    /// True if `port` satisfies the operator.
    #[inline]
    pub fn matches(self, port: u16) -> bool {
        let (a, b) = (self.a, self.b);
        match self.op {
            PortOp::Eq => port == a,
            PortOp::Ne => port != a,
            PortOp::Lt => port < a,
            PortOp::Le => port <= a,
            PortOp::Gt => port > a,
            PortOp::Ge => port >= a,
            PortOp::Range => a <= port && port <= b,
            PortOp::Inside => a < port && port < b,
            PortOp::Outside => port < a || port > b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_operators_treat_their_ends_as_the_manual_says() {
        let ports = [79u16, 80, 81, 89, 90, 91];
        for (op, expect) in [
            (PortOp::Eq, [false, true, false, false, false, false]),
            (PortOp::Ne, [true, false, true, true, true, true]),
            (PortOp::Lt, [true, false, false, false, false, false]),
            (PortOp::Le, [true, true, false, false, false, false]),
            (PortOp::Gt, [false, false, true, true, true, true]),
            (PortOp::Ge, [false, true, true, true, true, true]),
            (PortOp::Range, [false, true, true, true, true, false]),
            (PortOp::Inside, [false, false, true, true, false, false]),
            (PortOp::Outside, [true, false, false, false, false, true]),
        ] {
            let range = PortRange { op, a: 80, b: 90 };
            assert_eq!(ports.map(|p| range.matches(p)), expect, "{op:?}");
        }
    }
}
