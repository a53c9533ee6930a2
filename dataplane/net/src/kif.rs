//! Numbers of interfaces and of the names that rules use after `on`. Plain values; no tables here.

/// An interface as the dataplane numbers it: an index into the interface table.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct InterfaceId(pub u16);

/// A name that a rule can use after `on`: an interface or a group, existing or not. PF calls this a *kif*. Interfaces and
/// groups are numbered apart: the number of an interface's own name is that of the interface ([`InterfaceId`]), also of
/// one that does not exist; groups have the highest bit set ([`KifId::group`]).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct KifId(pub u16);

/// Most names of interfaces that a ruleset and the interface table may use together.
pub const NAMES_MAX: usize = 8192;

/// Most groups that a ruleset and the interface table may use together.
pub const GROUPS_MAX: usize = 256;

/// Distinguishes groups from interfaces.
const GROUP: u16 = 0x8000;

impl KifId {
    /// No name at all.
    pub const NONE: KifId = KifId(GROUP - 1);

    /// The group with this number, below [`GROUPS_MAX`].
    pub const fn group(number: u16) -> KifId {
        KifId(GROUP | number)
    }

    /// Number of the group, if this is one.
    #[inline]
    pub const fn group_number(self) -> Option<u16> {
        match self.0 & GROUP {
            0 => None,
            _ => Some(self.0 & !GROUP),
        }
    }

    /// Whether a name that nothing has yet is one of a group: names of interfaces end with a digit, those of groups must not
    /// (ifconfig(8), `group`).
    pub fn is_group_name(name: &str) -> bool {
        !name.ends_with(|c: char| c.is_ascii_digit())
    }
}

/// The names that one interface answers to: its own and those of its groups.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KifSet {
    groups: [u64; GROUPS_MAX / 64],
    own: KifId,
}

impl Default for KifSet {
    fn default() -> Self {
        KifSet::EMPTY
    }
}

impl KifSet {
    /// Answers to nothing.
    pub const EMPTY: KifSet = KifSet {
        groups: [0; GROUPS_MAX / 64],
        own: KifId::NONE,
    };

    /// Adds a group, or sets the own name. The number of a group beyond [`GROUPS_MAX`] is ignored: nothing can answer to it.
    pub fn insert(&mut self, kif: KifId) {
        match kif.group_number() {
            None => self.own = kif,
            Some(n) => {
                if let Some(word) = self.groups.get_mut(usize::from(n) / 64) {
                    *word |= 1 << (n % 64);
                }
            }
        }
    }

    /// True if the interface answers to `kif`.
    #[inline]
    pub fn contains(&self, kif: KifId) -> bool {
        match kif.group_number() {
            None => self.own == kif && kif != KifId::NONE,
            Some(n) => self
                .groups
                .get(usize::from(n) / 64)
                .is_some_and(|word| word >> (n % 64) & 1 == 1),
        }
    }

    /// Its own name.
    pub fn own(&self) -> KifId {
        self.own
    }

    /// The same without its own name.
    pub fn groups_only(mut self) -> KifSet {
        self.own = KifId::NONE;
        self
    }

    /// Its groups that are in `other` too; without a name of its own.
    pub fn groups_among(mut self, other: &KifSet) -> KifSet {
        for (word, mask) in self.groups.iter_mut().zip(other.groups) {
            *word &= mask;
        }
        self.groups_only()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_one_name_and_groups_up_to_the_limit() {
        let mut set = KifSet::EMPTY;
        assert!(!set.contains(KifId::NONE));
        for n in [0, 63, 64, 255, 256, 0x7fff] {
            let group = KifId::group(n);
            assert!(!set.contains(group));
            set.insert(group);
            assert_eq!(set.contains(group), usize::from(n) < GROUPS_MAX, "{n}");
            assert_eq!(group.group_number(), Some(n));
        }
        assert!(!set.contains(KifId::group(1)) && !set.contains(KifId(63)));
        set.insert(KifId(4000));
        assert!(set.contains(KifId(4000)) && set.own() == KifId(4000));
        assert!(!set.groups_only().contains(KifId(4000)));
        let mut mask = KifSet::EMPTY;
        mask.insert(KifId::group(64));
        let some = set.groups_among(&mask);
        assert!(some.contains(KifId::group(64)) && !some.contains(KifId::group(63)));
    }

    #[test]
    fn names_of_interfaces_end_with_a_digit() {
        for (name, is_group) in [
            ("em0", false),
            ("vlan4000", false),
            ("em", true),
            ("egress", true),
            ("", true),
        ] {
            assert_eq!(KifId::is_group_name(name), is_group, "{name}");
        }
    }
}
