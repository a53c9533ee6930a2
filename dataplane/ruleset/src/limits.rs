//! `set timeout`, `set optimization` and `set limit`: values and PF's defaults.

/// A timeout class. Names and order are those of pf.conf(5); values are seconds unless the class says otherwise.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Timeout {
    /// `tcp.first`
    TcpFirst,
    /// `tcp.opening`
    TcpOpening,
    /// `tcp.established`
    TcpEstablished,
    /// `tcp.closing`
    TcpClosing,
    /// `tcp.finwait`
    TcpFinWait,
    /// `tcp.closed`
    TcpClosed,
    /// `tcp.tsdiff`
    TcpTsDiff,
    /// `udp.first`
    UdpFirst,
    /// `udp.single`
    UdpSingle,
    /// `udp.multiple`
    UdpMultiple,
    /// `icmp.first`
    IcmpFirst,
    /// `icmp.error`
    IcmpError,
    /// `other.first`
    OtherFirst,
    /// `other.single`
    OtherSingle,
    /// `other.multiple`
    OtherMultiple,
    /// `frag`
    Frag,
    /// `interval`
    Interval,
    /// `adaptive.start`, in states
    AdaptiveStart,
    /// `adaptive.end`, in states
    AdaptiveEnd,
    /// `src.track`
    SrcTrack,
}

impl Timeout {
    /// All classes, in the order that `pfctl -s timeouts` prints them.
    pub const ALL: [Timeout; 20] = [
        Timeout::TcpFirst,
        Timeout::TcpOpening,
        Timeout::TcpEstablished,
        Timeout::TcpClosing,
        Timeout::TcpFinWait,
        Timeout::TcpClosed,
        Timeout::TcpTsDiff,
        Timeout::UdpFirst,
        Timeout::UdpSingle,
        Timeout::UdpMultiple,
        Timeout::IcmpFirst,
        Timeout::IcmpError,
        Timeout::OtherFirst,
        Timeout::OtherSingle,
        Timeout::OtherMultiple,
        Timeout::Frag,
        Timeout::Interval,
        Timeout::AdaptiveStart,
        Timeout::AdaptiveEnd,
        Timeout::SrcTrack,
    ];

    /// The word in `pf.conf`.
    pub fn name(self) -> &'static str {
        match self {
            Timeout::TcpFirst => "tcp.first",
            Timeout::TcpOpening => "tcp.opening",
            Timeout::TcpEstablished => "tcp.established",
            Timeout::TcpClosing => "tcp.closing",
            Timeout::TcpFinWait => "tcp.finwait",
            Timeout::TcpClosed => "tcp.closed",
            Timeout::TcpTsDiff => "tcp.tsdiff",
            Timeout::UdpFirst => "udp.first",
            Timeout::UdpSingle => "udp.single",
            Timeout::UdpMultiple => "udp.multiple",
            Timeout::IcmpFirst => "icmp.first",
            Timeout::IcmpError => "icmp.error",
            Timeout::OtherFirst => "other.first",
            Timeout::OtherSingle => "other.single",
            Timeout::OtherMultiple => "other.multiple",
            Timeout::Frag => "frag",
            Timeout::Interval => "interval",
            Timeout::AdaptiveStart => "adaptive.start",
            Timeout::AdaptiveEnd => "adaptive.end",
            Timeout::SrcTrack => "src.track",
        }
    }
}

/// A value for every class.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Timeouts([u32; Timeout::ALL.len()]);

impl Timeouts {
    /// The value of a class: seconds, or states for the two adaptive classes.
    #[inline]
    pub fn get(&self, class: Timeout) -> u32 {
        self.0[class as usize]
    }

    /// Sets the value of a class.
    pub fn set(&mut self, class: Timeout, value: u32) {
        self.0[class as usize] = value;
    }
}

impl Timeouts {
    /// The timeouts of a rule with `own` ones; the others are these. A rule scales with its states only if it says so
    /// itself: otherwise its `adaptive.start` is 0, which stands for "as all states".
    pub fn for_rule(&self, own: &[(Timeout, u32)]) -> Timeouts {
        let mut timeouts = *self;
        timeouts.set(Timeout::AdaptiveStart, 0);
        timeouts.set(Timeout::AdaptiveEnd, 0);
        for (class, value) in own {
            timeouts.set(*class, *value);
        }
        timeouts
    }
}

/// `set optimization normal`; the adaptive values are 60 % and 120 % of the default state limit.
impl Default for Timeouts {
    fn default() -> Self {
        Timeouts([
            120, 30, 86400, 900, 45, 90, 30, 60, 30, 60, 20, 10, 60, 30, 60, 60, 10, 60000,
            120_000, 0,
        ])
    }
}

/// `set syncookies`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SynCookies {
    /// Never.
    #[default]
    Never,
    /// Every connection request is answered with a cookie.
    Always,
    /// Only during a flood.
    Adaptive {
        /// With more half-open states than this, a flood begins.
        start: u64,
        /// With fewer than this, cookies under way included, it ends.
        end: u64,
    },
}

impl SynCookies {
    /// `adaptive (start a%, end b%)` of a limit of states.
    pub fn adaptive(limit: u32, start_percent: u32, end_percent: u32) -> Self {
        let part = |percent: u32| u64::from(limit) * u64::from(percent) / 100;
        SynCookies::Adaptive {
            start: part(start_percent),
            end: part(end_percent),
        }
    }

    /// The same part of a lower limit, for a machine that has no room for more.
    pub fn scaled(self, limit: u32, lower: u32) -> Self {
        let limit = u64::from(limit.max(1));
        let scale = |mark: u64| (mark * u64::from(lower) + limit / 2) / limit;
        match self {
            SynCookies::Adaptive { start, end } => SynCookies::Adaptive {
                start: scale(start),
                end: scale(end),
            },
            other => other,
        }
    }
}

/// `set limit`. PF's defaults.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// States, over all cores.
    pub states: u32,
    /// Source nodes.
    pub src_nodes: u32,
    /// Fragments waiting for reassembly.
    pub frags: u32,
    /// Tables.
    pub tables: u32,
    /// Entries over all tables.
    pub table_entries: u32,
    /// Packets held by `set delay`.
    pub pktdelay_pkts: u32,
    /// Anchors.
    pub anchors: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            states: 100_000,
            src_nodes: 10_000,
            frags: 8_192,
            tables: 1_000,
            table_entries: 200_000,
            pktdelay_pkts: 10_000,
            anchors: 512,
        }
    }
}

impl Limits {
    /// Names after `set limit`, in the order in which they are shown.
    pub const NAMES: [&str; 7] = [
        "states",
        "src-nodes",
        "frags",
        "tables",
        "table-entries",
        "pktdelay-pkts",
        "anchors",
    ];

    /// All limits by name, in the order of [`Limits::NAMES`].
    pub fn named(&self) -> [(&'static str, u32); 7] {
        let mut all = *self;
        Self::NAMES.map(|name| (name, all.get_mut(name).map_or(0, |limit| *limit)))
    }

    /// The limit with a name, in small letters.
    pub fn get_mut(&mut self, name: &str) -> Option<&mut u32> {
        Some(match name {
            "states" => &mut self.states,
            "src-nodes" => &mut self.src_nodes,
            "frags" => &mut self.frags,
            "tables" => &mut self.tables,
            "table-entries" => &mut self.table_entries,
            "pktdelay-pkts" => &mut self.pktdelay_pkts,
            "anchors" => &mut self.anchors,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_name_of_a_limit_is_that_of_one_field() {
        let mut limits = super::Limits::default();
        for (n, name) in super::Limits::NAMES.into_iter().enumerate() {
            *limits.get_mut(name).unwrap() = n as u32;
        }
        let values = limits.named().map(|(_, value)| value);
        assert_eq!(values, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(limits.get_mut("eth-anchors"), None);
    }

    use super::*;

    #[test]
    fn defaults_are_those_of_the_manual() {
        let t = Timeouts::default();
        for (class, seconds) in [
            (Timeout::TcpFirst, 120),
            (Timeout::TcpEstablished, 86_400),
            (Timeout::TcpClosed, 90),
            (Timeout::UdpSingle, 30),
            (Timeout::IcmpError, 10),
            (Timeout::Interval, 10),
            (Timeout::AdaptiveEnd, 120_000),
            (Timeout::SrcTrack, 0),
        ] {
            assert_eq!(t.get(class), seconds, "{}", class.name());
        }
    }

    #[test]
    fn percent_marks_of_syncookies_are_right_for_very_small_and_very_large_limits() {
        for (limit, percents, start, end) in [
            (100_000, (25, 12), 25_000, 12_000),
            (1, (25, 12), 0, 0),
            (10, (25, 12), 2, 1),
            (u32::MAX, (100, 99), 4_294_967_295, 4_252_017_622),
            (50_000_000, (90, 10), 45_000_000, 5_000_000),
        ] {
            let marks = SynCookies::adaptive(limit, percents.0, percents.1);
            assert_eq!(marks, SynCookies::Adaptive { start, end }, "{limit}");
        }
    }

    #[test]
    fn marks_of_syncookies_follow_the_room_of_the_machine() {
        let without_limit = SynCookies::adaptive(u32::MAX, 25, 12);
        let fitted = without_limit.scaled(u32::MAX, 100_000);
        assert_eq!(fitted, SynCookies::adaptive(100_000, 25, 12));
        let same = SynCookies::adaptive(100_000, 25, 12).scaled(100_000, 100_000);
        assert_eq!(same, fitted);
        for mode in [SynCookies::Never, SynCookies::Always] {
            assert_eq!(mode.scaled(u32::MAX, 5), mode);
        }
    }

    #[test]
    fn every_class_has_its_own_place() {
        let mut t = Timeouts::default();
        for (n, class) in Timeout::ALL.into_iter().enumerate() {
            assert_eq!(class as usize, n);
            t.set(class, n as u32 + 1000);
        }
        for (n, class) in Timeout::ALL.into_iter().enumerate() {
            assert_eq!(t.get(class), n as u32 + 1000);
        }
    }
}
