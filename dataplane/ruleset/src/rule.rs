//! One rule after expansion: every list is gone, every name is a number.

use alloc::boxed::Box;

use net::KifId;

use crate::actions::Actions;
use crate::facts::{Af, Direction, Fragment};
use crate::limiter::{RuleLimits, SourceTrack};
use crate::limits::Timeout;
use crate::os::OsMatch;
use crate::owner::Owner;
use crate::pool::Pool;
use crate::ports::PortRange;
use crate::route::RouteOption;
use crate::table::TableId;

/// Number of a rule in its ruleset, from 0, as `pfctl -vvsr` prints it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RuleNr(pub u32);

/// Where the counters of a rule live. The same rule keeps its slot from one generation to the next, so that
/// counters survive a reload and a state goes on counting on the rule that made it. Slot 0 is PF's default rule.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct RuleSlot(pub u32);

impl RuleSlot {
    /// Slot of the default rule: pass, no state.
    pub const DEFAULT_RULE: RuleSlot = RuleSlot(0);
}

/// Number of an anchor in [`crate::Ruleset::anchors`]; 0 is the main ruleset.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct AnchorId(pub u16);

impl AnchorId {
    /// The rules outside of all anchors.
    pub const MAIN: AnchorId = AnchorId(0);
}

/// Number of a tag; 0 is no tag.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TagId(pub u16);

/// What the rule does.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Action {
    /// `pass`
    Pass,
    /// `block`
    Block(BlockReply),
    /// `match`: applies parameters, decides nothing.
    Match,
    /// `nat`, `rdr`, `binat` and their `no` forms in the old syntax: the first that matches ends translation.
    Translate {
        /// Number of the first filter rule.
        end: u32,
        /// `rdr pass`: filter rules are not asked.
        pass: bool,
    },
    /// `anchor`: the rules after this one up to `end` are tested only if it matches.
    Anchor {
        /// Number of the first rule after the anchor's own.
        end: u32,
    },
}

/// What a blocked packet's sender hears.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BlockReply {
    /// `block drop`: nothing.
    Drop,
    /// `block return`: RST for TCP, port unreachable for everything else.
    Return,
    /// `block return-rst (ttl n)`: RST for TCP. 0 means the default TTL.
    ReturnRst {
        /// TTL of the reset.
        ttl: u8,
    },
    /// `block return-icmp (code, code6)`: type and code for each family.
    ReturnIcmp {
        /// ICMP type and code.
        v4: (u8, u8),
        /// ICMPv6 type and code.
        v6: (u8, u8),
    },
}

/// `on` and `received-on`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IfMatch {
    /// `on name`, `on ! name`
    Kif {
        /// The interface or group.
        kif: KifId,
        /// With `!`.
        negate: bool,
    },
    /// `on any`: every interface but loopback.
    Any,
    /// `on rdomain n`, `on ! rdomain n`: every interface of the domain.
    Rdomain {
        /// The domain.
        rdomain: u8,
        /// With `!`.
        negate: bool,
    },
}

/// Which addresses.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum AddrSpec {
    /// `any`
    #[default]
    Any,
    /// Address and mask, host order, IPv4 in the low 32 bits.
    Masked {
        /// Family the address belongs to.
        af: Af,
        /// Address, already masked.
        addr: u128,
        /// Bits that count.
        mask: u128,
    },
    /// `a - b`, both included.
    Range {
        /// Family the addresses belong to.
        af: Af,
        /// Lowest.
        low: u128,
        /// Highest.
        high: u128,
    },
    /// `<table>`
    Table(TableId),
    /// `route "label"`: the route to the address has this label, by its place in [`crate::Ruleset::route_labels`].
    RouteLabel(u16),
    /// `no-route`
    NoRoute,
    /// `urpf-failed`
    UrpfFailed,
    /// Matches nothing: a dynamic `(if)` without an address.
    Never,
}

/// `from` or `to`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Endpoint {
    /// Addresses.
    pub addr: AddrSpec,
    /// With `!` before the address.
    pub negate: bool,
    /// Ports; none matches all.
    pub port: Option<PortRange>,
}

/// `flags set/mask`. `flags any` has an empty mask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct TcpFlagsMatch {
    /// Flags that must be set among `mask`.
    pub set: u8,
    /// Flags that count.
    pub mask: u8,
}

/// `icmp-type`, `icmp6-type`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct IcmpMatch {
    /// Type.
    pub icmp_type: u8,
    /// Code; none matches all.
    pub code: Option<u8>,
}

/// State clause. `match` and `block` rules have `No`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum KeepState {
    /// `no state`, or a rule that cannot keep one.
    #[default]
    No,
    /// `keep state`
    Keep,
    /// `modulate state`
    Modulate,
    /// `synproxy state`
    Synproxy,
}

/// Options in the parentheses of a state clause.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StateOptions {
    /// `if-bound`; floating otherwise.
    pub if_bound: bool,
    /// `sloppy`
    pub sloppy: bool,
    /// `no-sync`
    pub no_sync: bool,
    /// `pflow`
    pub pflow: bool,
    /// `max n`; 0 is no limit.
    pub max: u32,
    /// `source-track` and what implies it.
    pub source: Option<SourceTrack>,
    /// Timeouts that this rule overrides.
    pub timeouts: alloc::vec::Vec<(Timeout, u32)>,
}

/// `tagged`, `! tagged`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct TagMatch {
    /// The tag.
    pub tag: TagId,
    /// With `!`.
    pub negate: bool,
}

/// One rule. Fields of `None` match everything.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// Where its counters live; given by the control core when the ruleset is published.
    pub slot: RuleSlot,
    /// The anchor whose rules it is one of. An anchor that is called from several places is there several times:
    /// rules of equal `anchor` and `nr` are the same rule.
    pub anchor: AnchorId,
    /// Its number among the rules of its anchor, from 0, as `pfctl -vvsr` and pflog show it.
    pub nr: u32,
    /// The anchor rule that this copy of it is called by; none in the main ruleset.
    pub caller: Option<RuleNr>,
    /// Line of `pf.conf` (or of the included file) it came from, from 1.
    pub line: u32,
    /// Stop here.
    pub quick: bool,
    /// `in` or `out`.
    pub direction: Option<Direction>,
    /// `on`.
    pub on: Option<IfMatch>,
    /// `received-on`.
    pub received_on: Option<IfMatch>,
    /// `inet` or `inet6`.
    pub af: Option<Af>,
    /// IP protocol.
    pub proto: Option<u8>,
    /// `from`
    pub src: Endpoint,
    /// `to`
    pub dst: Endpoint,
    /// `os`
    pub os: Option<OsMatch>,
    /// `flags`; applies to TCP only.
    pub flags: TcpFlagsMatch,
    /// `icmp-type` or `icmp6-type`.
    pub icmp: Option<IcmpMatch>,
    /// `user`, `group`
    pub owner: Owner,
    /// `tos`, compared with the DSCP bits.
    pub tos: Option<u8>,
    /// `prio`, 0 to 7.
    pub prio: Option<u8>,
    /// `fragment`: matches only pieces of datagrams.
    pub fragment: Fragment,
    /// `probability`, as a fraction of u32::MAX; none always matches.
    pub probability: Option<u32>,
    /// `tagged`
    pub tagged: Option<TagMatch>,
    /// `tag`; 0 for none.
    pub tag: TagId,
    /// What it does to packets that it lets through, and which are logged.
    pub actions: Actions,
    /// `log (to pflogN)`: that number.
    pub log_to: u8,
    /// `af-to`: the family that packets get. `nat` has their new sources, `rdr` the prefix of their destinations.
    pub new_family: Option<Af>,
    /// `nat-to`
    pub nat: Option<Box<Pool>>,
    /// `rdr-to`
    pub rdr: Option<Box<Pool>>,
    /// `route-to`, `reply-to`, `dup-to`
    pub route: Option<Box<RouteOption>>,
    /// `allow-opts`
    pub allow_opts: bool,
    /// State clause.
    pub keep_state: KeepState,
    /// Options of the state clause.
    pub state: StateOptions,
    /// What ends its matching for a while, or for ever.
    pub limits: RuleLimits,
}

impl Rule {
    /// A rule that matches every packet.
    pub fn new(action: Action) -> Self {
        Rule {
            action,
            slot: RuleSlot::DEFAULT_RULE,
            anchor: AnchorId::MAIN,
            nr: 0,
            caller: None,
            line: 0,
            quick: false,
            direction: None,
            on: None,
            received_on: None,
            af: None,
            proto: None,
            src: Endpoint::default(),
            dst: Endpoint::default(),
            os: None,
            flags: TcpFlagsMatch::default(),
            icmp: None,
            owner: Owner::Anybody,
            tos: None,
            prio: None,
            fragment: Fragment::No,
            probability: None,
            tagged: None,
            tag: TagId::default(),
            actions: Actions::default(),
            log_to: 0,
            new_family: None,
            nat: None,
            rdr: None,
            route: None,
            allow_opts: false,
            keep_state: KeepState::No,
            state: StateOptions::default(),
            limits: RuleLimits::default(),
        }
    }

    /// It changes addresses or ports.
    #[inline]
    pub fn translates(&self) -> bool {
        self.nat.is_some() || self.rdr.is_some()
    }

    /// It lets packets pass and keeps a state of the ordinary kind, and nothing else comes of it: no other ends, no way of
    /// their own, no change of their headers, no record, no limit.
    pub fn is_plain(&self) -> bool {
        let names_table = |end: &Endpoint| matches!(end.addr, AddrSpec::Table(_));
        let options = StateOptions {
            if_bound: self.state.if_bound,
            ..StateOptions::default()
        };
        self.action == Action::Pass
            && self.keep_state == KeepState::Keep
            && self.state == options
            && !(self.translates() || self.new_family.is_some() || self.route.is_some())
            && !(self.allow_opts || names_table(&self.src) || names_table(&self.dst))
            && self.tag == TagId::default()
            && self.actions.is_empty()
            && self.limits.is_empty()
    }
}
