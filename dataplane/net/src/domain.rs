//! Which routing table belongs to which routing domain. Read first: rdomain(4) of OpenBSD.

/// A table and the domain whose interfaces its routes may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Domain {
    /// The table.
    pub rtable: u8,
    /// The domain that it belongs to.
    pub rdomain: u8,
}

impl Domain {
    /// Table 0 of domain 0.
    pub const MAIN: Domain = Domain {
        rtable: 0,
        rdomain: 0,
    };

    /// Whether it is the table that has the routes of the domain's interfaces.
    pub fn is_own_table(self) -> bool {
        self.rtable == self.rdomain
    }
}
