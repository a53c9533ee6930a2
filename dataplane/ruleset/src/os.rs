//! Operating systems told by the way they open a TCP connection: a list of signatures of SYN segments, and what rules
//! ask of it (`os "OpenBSD"`).
//!
//! Read first: pf.conf(5) "OPERATING SYSTEM FINGERPRINTING"; pf.os(5).

use alloc::vec::Vec;

/// How many hops a SYN may have come.
const HOPS_MAX: u8 = 40;
/// Segment size of Ethernet: devices on the way lower what a host has said, its window stays.
const USUAL_MSS: u32 = 1460;
/// Headers of IPv4 and TCP without options.
const HEADERS: u32 = 40;

/// An option of a SYN segment that signatures know.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum SynOption {
    /// Padding.
    Nop = 1,
    /// Largest segment.
    Mss = 2,
    /// Window scale.
    WindowScale = 3,
    /// Selective acknowledgements permitted.
    Sack = 4,
    /// Timestamps.
    Timestamps = 5,
}

/// Options in the order of the segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OptionList {
    /// Three bits each; as many as fit into a TCP header.
    packed: u128,
    count: u8,
}

impl OptionList {
    /// Most options of a header: forty bytes of padding.
    pub const MAX: u8 = 40;

    /// Adds one behind the others; false if there is no room.
    pub fn push(&mut self, option: SynOption) -> bool {
        let fits = self.count < Self::MAX;
        if fits {
            self.packed = self.packed << 3 | option as u128;
            self.count += 1;
        }
        fits
    }
}

/// What a signature says of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Number {
    /// `*`
    Any,
    /// The number itself.
    Exactly(u16),
    /// `%n`
    MultipleOf(u16),
}

impl Number {
    fn matches(self, value: u16) -> bool {
        match self {
            Number::Any => true,
            Number::Exactly(n) => value == n,
            Number::MultipleOf(n) => n != 0 && value.is_multiple_of(n),
        }
    }
}

/// What a signature says of the window.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Window {
    /// A number.
    Bytes(Number),
    /// `Sn`: so many segments of the size that the SYN names.
    Segments(u16),
    /// `Tn`: so many packets that carry such segments.
    Packets(u16),
}

impl Window {
    fn matches(self, window: u16, mss: u16) -> bool {
        let is = |n: u16, unit: u32| u32::from(window) == u32::from(n) * unit;
        let mss_known = mss != 0;
        match self {
            Window::Bytes(number) => number.matches(window),
            Window::Segments(n) => mss_known && (is(n, mss.into()) || is(n, USUAL_MSS)),
            Window::Packets(n) => {
                mss_known && (is(n, u32::from(mss) + HEADERS) || is(n, USUAL_MSS + HEADERS))
            }
        }
    }
}

/// An operating system: class, version and subtype as numbers from 1; 0 is none, or in a rule any.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct System {
    /// As in `Linux`.
    pub class: u16,
    /// As in `2.6`.
    pub version: u16,
    /// As in `opera`.
    pub subtype: u16,
}

/// What a rule asks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum OsMatch {
    /// `os unknown`: no signature fits.
    Unknown,
    /// A class, with version and subtype if those are not 0.
    System(System),
}

/// A SYN segment, as far as signatures look at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Syn {
    /// Window.
    pub window: u16,
    /// Time to live or hop limit on arrival.
    pub ttl: u8,
    /// "Don't fragment"; true for IPv6.
    pub dont_fragment: bool,
    /// Bytes of the packet.
    pub size: u16,
    /// Its options.
    pub options: OptionList,
    /// Segment size; 0 without the option.
    pub mss: u16,
    /// Window scale; 0 without the option.
    pub wscale: u16,
    /// It has a timestamp, which is 0.
    pub zero_timestamp: bool,
}

/// A signature, and the systems that have it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Window.
    pub window: Window,
    /// Time to live at the origin.
    pub ttl: u8,
    /// "Don't fragment".
    pub dont_fragment: bool,
    /// Bytes of the packet.
    pub size: Number,
    /// Options.
    pub options: OptionList,
    /// Segment size.
    pub mss: Number,
    /// Window scale.
    pub wscale: Number,
    /// A timestamp of 0.
    pub zero_timestamp: bool,
    /// Who sends such segments.
    pub systems: Vec<System>,
}

impl Signature {
    fn matches(&self, syn: &Syn) -> bool {
        self.options == syn.options
            && self.dont_fragment == syn.dont_fragment
            && self.zero_timestamp == syn.zero_timestamp
            && self
                .ttl
                .checked_sub(syn.ttl)
                .is_some_and(|hops| hops <= HOPS_MAX)
            && self.size.matches(syn.size)
            && self.mss.matches(syn.mss)
            && self.wscale.matches(syn.wscale)
            && self.window.matches(syn.window, syn.mss)
    }

    /// The same but for the systems.
    pub fn is_like(&self, other: &Signature) -> bool {
        let key = |s: &Signature| {
            (
                (s.window, s.ttl, s.dont_fragment, s.size),
                (s.options, s.mss, s.wscale, s.zero_timestamp),
            )
        };
        key(self) == key(other)
    }
}

/// Place of a signature in its list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SignatureNr(pub u16);

/// A list of signatures; the first that fits counts. Empty where no rule asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fingerprints {
    /// In the order of the file.
    pub signatures: Vec<Signature>,
}

impl Fingerprints {
    /// True if no rule asks for an operating system.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.signatures.is_empty()
    }

    /// The signature that a SYN has.
    pub fn find(&self, syn: &Syn) -> Option<SignatureNr> {
        let place = self.signatures.iter().position(|s| s.matches(syn))?;
        u16::try_from(place).ok().map(SignatureNr)
    }

    /// True if what was found is what a rule asks for.
    pub fn matches(&self, found: Option<SignatureNr>, asked: OsMatch) -> bool {
        let signature = found.and_then(|nr| self.signatures.get(usize::from(nr.0)));
        match (signature, asked) {
            (found, OsMatch::Unknown) => found.is_none(),
            (None, OsMatch::System(_)) => false,
            (Some(found), OsMatch::System(asked)) => {
                let fits = |asked: u16, is: u16| asked == 0 || asked == is;
                found.systems.iter().any(|is| {
                    fits(asked.class, is.class)
                        && fits(asked.version, is.version)
                        && fits(asked.subtype, is.subtype)
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    fn syn() -> Syn {
        let mut options = OptionList::default();
        options.push(SynOption::Mss);
        Syn {
            window: 5840,
            ttl: 60,
            dont_fragment: true,
            size: 60,
            options,
            mss: 1460,
            wscale: 0,
            zero_timestamp: false,
        }
    }

    fn signature() -> Signature {
        Signature {
            window: Window::Segments(4),
            ttl: 64,
            dont_fragment: true,
            size: Number::Exactly(60),
            options: syn().options,
            mss: Number::Any,
            wscale: Number::Exactly(0),
            zero_timestamp: false,
            systems: vec![
                System {
                    class: 1,
                    version: 2,
                    subtype: 0,
                },
                System {
                    class: 1,
                    version: 3,
                    subtype: 4,
                },
            ],
        }
    }

    #[test]
    fn every_part_of_a_signature_counts() {
        assert!(signature().matches(&syn()));
        let changes: [fn(&mut Syn); 9] = [
            |s| s.window += 1,
            |s| s.ttl = 65,
            |s| s.ttl = 23,
            |s| s.dont_fragment = false,
            |s| s.size = 64,
            |s| s.wscale = 1,
            |s| s.zero_timestamp = true,
            |s| assert!(s.options.push(SynOption::Nop)),
            |s| s.mss = 0,
        ];
        for (n, change) in changes.into_iter().enumerate() {
            let mut other = syn();
            change(&mut other);
            assert!(!signature().matches(&other), "change {n}");
        }
        let mut far = syn();
        far.ttl = 24;
        assert!(signature().matches(&far));
    }

    #[test]
    fn windows_are_numbers_or_multiples_of_what_a_segment_or_packet_takes() {
        use Number::*;
        for (window, value, mss, expect) in [
            (Window::Bytes(Any), 7, 0, true),
            (Window::Bytes(Exactly(8192)), 8192, 0, true),
            (Window::Bytes(MultipleOf(1024)), 8192, 0, true),
            (Window::Bytes(MultipleOf(1024)), 8193, 0, false),
            (Window::Bytes(MultipleOf(0)), 0, 0, false),
            (Window::Segments(4), 5600, 1400, true),
            // The size was lowered on the way.
            (Window::Segments(4), 5840, 1400, true),
            (Window::Segments(4), 5841, 1400, false),
            (Window::Segments(4), 5840, 0, false),
            (Window::Packets(4), 5760, 1400, true),
            (Window::Packets(4), 6000, 1400, true),
            (Window::Packets(4), 6000, 0, false),
            (Window::Segments(60), 65535, 1460, false),
        ] {
            assert_eq!(
                window.matches(value, mss),
                expect,
                "{window:?} {value} {mss}"
            );
        }
    }

    #[test]
    fn a_rule_asks_for_a_class_a_version_a_subtype_or_for_none_that_is_known() {
        let list = Fingerprints {
            signatures: vec![signature()],
        };
        let found = list.find(&syn());
        assert_eq!(found, Some(SignatureNr(0)));
        let asked = |class, version, subtype| {
            OsMatch::System(System {
                class,
                version,
                subtype,
            })
        };
        for (asked, expect) in [
            (asked(1, 0, 0), true),
            (asked(1, 2, 0), true),
            (asked(1, 3, 4), true),
            (asked(1, 2, 4), false),
            (asked(2, 0, 0), false),
            (OsMatch::Unknown, false),
        ] {
            assert_eq!(list.matches(found, asked), expect, "{asked:?}");
        }
        assert!(list.matches(None, OsMatch::Unknown));
        assert!(!list.matches(None, asked(1, 0, 0)));
    }
}
