//! Numbers of interfaces and of the names that rules use after `on`. Plain values; no tables here.

/// An interface as the dataplane numbers it: an index into the interface table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct InterfaceId(pub u16);

/// A name that a rule can use after `on`: an interface or a group, existing or not. PF calls this a *kif*.
/// Each interface belongs to its own name and to its groups. The number of an existing interface's own name is
/// that of the interface ([`InterfaceId`]); groups and names without an interface come after.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct KifId(pub u16);

/// Most names a ruleset and the interface table may use together.
pub const KIF_MAX: usize = 256;

/// The names that one interface answers to.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct KifSet([u64; KIF_MAX / 64]);

impl KifSet {
    /// Answers to nothing.
    pub const EMPTY: KifSet = KifSet([0; KIF_MAX / 64]);

    /// Adds a name. A number of [`KIF_MAX`] or more is ignored: no interface can answer to it.
    pub fn insert(&mut self, kif: KifId) {
        if let Some(word) = self.0.get_mut(usize::from(kif.0) / 64) {
            *word |= 1 << (kif.0 % 64);
        }
    }

    /// True if the interface answers to `kif`.
    #[inline]
    pub fn contains(&self, kif: KifId) -> bool {
        self.0
            .get(usize::from(kif.0) / 64)
            .is_some_and(|word| word >> (kif.0 % 64) & 1 == 1)
    }
}

impl KifSet {
    /// True if the two sets share a name.
    #[inline]
    pub fn intersects(&self, other: &KifSet) -> bool {
        self.0.iter().zip(other.0).any(|(a, b)| a & b != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_up_to_the_limit() {
        let mut set = KifSet::EMPTY;
        for n in [0, 63, 64, 255, 256, u16::MAX] {
            assert!(!set.contains(KifId(n)));
            set.insert(KifId(n));
            assert_eq!(set.contains(KifId(n)), usize::from(n) < KIF_MAX, "{n}");
        }
        assert!(!set.contains(KifId(1)));
        let mut other = KifSet::EMPTY;
        other.insert(KifId(1));
        assert!(!set.intersects(&other));
        other.insert(KifId(255));
        assert!(set.intersects(&other));
    }
}
