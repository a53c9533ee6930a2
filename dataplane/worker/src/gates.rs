//! What gates ([`ruleset::Gate`]) say of a burst: its packets are asked of a table together, and counted together. Which
//! packets are asked, and of which of them the answer counts, `turn_away` says.
//!
//! May not know: states, flows, what else rules ask.

use filter::test_rule::count_gates;
use net::{InterfaceId, KifId};
use nic::{BURST_MAX, Burst, PacketBuf};
use ruleset::{Af, Direction, GATES_MAX, Gate, Ruleset};

use crate::counters::Counters;
use crate::flow::Seen;
use crate::lane::Lane;

/// Packets of a burst: bit n is the n-th.
pub(crate) type Places = u64;

const _: () = assert!(BURST_MAX <= Places::BITS as usize);

/// Kinds of packets of a burst that are told apart; others pass no gate.
const GROUPS_MAX: usize = 4;

/// Packets that have come in by one interface, of one family.
struct Group {
    on: InterfaceId,
    af: Af,
    /// Those that each gate ends.
    ended: [Places; GATES_MAX],
}

/// Packets of a burst that end at gates.
pub(crate) struct AtGates {
    groups: heapless::Vec<Group, GROUPS_MAX>,
    /// All of them.
    pub(crate) ended: Places,
}

/// The places in a set, ascending.
#[inline]
pub(crate) fn places(mut set: Places) -> impl Iterator<Item = usize> + Clone {
    core::iter::from_fn(move || {
        let place = (set != 0).then(|| set.trailing_zeros() as usize);
        set &= set.wrapping_sub(1);
        place
    })
}

impl AtGates {
    /// Asks about these packets.
    pub(crate) fn of(ruleset: &Ruleset, seen: &[Seen; BURST_MAX], asked: Places) -> AtGates {
        let mut at = AtGates {
            groups: heapless::Vec::new(),
            ended: 0,
        };
        let mut left = asked;
        for _ in 0..GROUPS_MAX {
            let Some(first) = places(left).next() else {
                break;
            };
            let group = left & alike(seen, first, left);
            left &= !group;
            let (on, af) = (seen[first].ends.interface(), seen[first].ends.af());
            let gates = ruleset.gates.on(KifId(on), af);
            if gates.is_empty() {
                continue;
            }
            let ended = pass(ruleset, gates, seen, (af, group));
            at.ended |= ended.iter().fold(0, |all, ended| all | ended);
            let on = InterfaceId(on);
            // There is room for as many.
            let _fits = at.groups.push(Group { on, af, ended });
        }
        at
    }

    /// Counts those of them that are in `turned_away`.
    pub(crate) fn count(
        &self,
        ruleset: &Ruleset,
        counters: &Counters,
        lane: &Lane,
        (bufs, seen): (&Burst<impl PacketBuf>, &[Seen; BURST_MAX]),
        turned_away: Places,
    ) {
        for group in &self.groups {
            let mut all = (0, 0);
            let ended = group.ended.map(|ended| {
                let ended = ended & turned_away;
                let bytes = places(ended).map(|place| u64::from(seen[place].bytes));
                let sums = (u64::from(ended.count_ones()), bytes.sum());
                all = (all.0 + sums.0, all.1 + sums.1);
                sums
            });
            if all.0 == 0 {
                continue;
            }
            let gates = ruleset.gates.on(KifId(group.on.0), group.af);
            count_gates(ruleset, &counters.filter, gates, &ended);
            let (on, way) = (group.on, Direction::In);
            let traffic = counters.filter.traffic(on, group.af, way, false);
            traffic.some(all.0, all.1);
            let here = turned_away & group.ended.iter().fold(0, |all, ended| all | ended);
            for link in lane.links(on).into_iter().flatten() {
                let frames = places(here).filter_map(|place| bufs.get(place));
                let bytes = frames.map(|buf| buf.len() as u64).sum();
                counters.frames(link, way, all.0, bytes);
            }
        }
    }
}

/// Packets that came in like that at place `first`, as far as those of `among` reach: others may be said to have, too. All are
/// compared, which is faster than to pick out those.
#[inline]
fn alike(seen: &[Seen; BURST_MAX], first: usize, among: Places) -> Places {
    let key = seen[first].ends.interface_and_family();
    let reach = (Places::BITS - among.leading_zeros()) as usize;
    let seen = seen.iter().take(reach).enumerate();
    seen.fold(0, |set, (n, seen)| {
        set | Places::from(seen.ends.interface_and_family() == key) << n
    })
}

/// Sends packets through gates, one after the other. Says which end where.
fn pass(
    ruleset: &Ruleset,
    gates: &[Gate],
    seen: &[Seen; BURST_MAX],
    (af, group): (Af, Places),
) -> [Places; GATES_MAX] {
    let mut left = group;
    let mut ended = [0; GATES_MAX];
    for (gate, ended) in gates.iter().zip(&mut ended) {
        *ended = ended_by(ruleset, gate, seen, (af, left));
        left &= !*ended;
    }
    ended
}

fn ended_by(
    ruleset: &Ruleset,
    gate: &Gate,
    seen: &[Seen; BURST_MAX],
    (af, group): (Af, Places),
) -> Places {
    let Some(table) = ruleset.table(gate.table) else {
        return 0;
    };
    let ends = places(group).map(|place| (place as u8, &seen[place].ends));
    let of_dst = gate.of_dst;
    match af {
        Af::Inet => table.members4(ends.map(|(n, ends)| (n, ends.inet_addr(of_dst)))),
        Af::Inet6 => table.members6(ends.map(|(n, ends)| (n, ends.both()[usize::from(of_dst)].0))),
    }
}
