//! What workers, and the control core and a worker, say to each other. Every ring has a limit; a full one costs a
//! counted drop, never a wait.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::net::IpAddr;

use filter::Kill;
use filter::reassemble::Piece;
use net::InterfaceId;
use net::fdb::Station;
use net::neighbor::{Neighbor, Update};
use nic::{Nic, PacketBuf};
use ruleset::TagId;
use state::State;
use sync::{Consumer, Producer, Publisher, Subscriber, published, ring};
use wire::ether;

use crate::alias::{ALIAS_RING, AliasLetter};
use crate::config::Config;
use crate::counters::Counters;
use crate::log::LogRecord;
use crate::reassemble::Train;
use crate::verdict::Egress;
use crate::watch::{StepRecord, Watched};

/// Packets waiting on the way from one worker to another.
pub const HANDOFF_RING: usize = 1024;
/// Packets waiting on the way to and from the local host.
pub const HOST_RING: usize = 512;
/// Kills waiting on the way from one worker to another.
pub const KILL_RING: usize = 64;
/// Kills of the control core that a worker has in hand.
pub const KILLS_AT_WORK: usize = 16;
/// Questions of the control core waiting at a worker.
pub const MAIL_RING: usize = 64;
/// Log records waiting at the control core.
pub const LOG_RING: usize = 1024;
/// Steps of watched packets waiting at the control core.
pub const STEP_RING: usize = 1024;
/// Answers waiting at the control core.
pub const REPORT_RING: usize = 1024;

/// A packet on its way to another core, with what cannot be read from its bytes.
pub struct Carried<B> {
    /// The packet. Between workers a whole frame; to and from the local host it begins with the IP header, unless `frame`
    /// says otherwise. An ARP message that the control core asked to be told of begins with its
    /// first byte, which is 0.
    pub buf: B,
    /// Where it came in; none if the box made it.
    pub received_on: Option<InterfaceId>,
    /// Routing table that it goes by.
    pub rtable: u8,
    /// Only to the local host: the packet does not end here, the bytes of the next buffer in the ring follow.
    pub more: bool,
    /// To and from the control core: it is a frame of a link protocol, whole, and not a packet.
    pub frame: Option<FrameEnd>,
    /// Only from the local host, for packets: which way it is to go.
    pub lane: Lane,
}

/// Which way a packet of the control core goes out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Lane {
    /// Where the routes lead; the rules are asked.
    #[default]
    Routed,
    /// By this interface to this station; the rules are asked. For what is of a link: router discovery.
    Link(Egress),
    /// By this interface to this station, below the rules: DHCP without an address.
    Below(Egress),
}

/// Where a frame of a link protocol came in, or is to go out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FrameEnd {
    /// By this port, whatever lagg it is a member of.
    Port(u16),
    /// By this interface: tags are written and a port is chosen as for its packets. Only outwards.
    Interface(InterfaceId),
}

/// From worker to worker.
pub enum Handoff<B> {
    /// A packet of a connection that the other one owns, with the tag that rules for frames have given it.
    Packet(Carried<B>, TagId),
    /// Such a packet as a card has received it on this interface: plain to the end of its headers, and with nothing to be said
    /// that the frame and the interface do not say.
    Frame(B, InterfaceId),
    /// A piece of a datagram whose head comes next, behind its other pieces.
    Piece(Piece<B>),
    /// That head, what is known of the datagram, and how many pieces came before it.
    Train(Carried<B>, Train, u16),
    /// What another worker learned of a neighbor.
    Neighbor(Update),
    /// A neighbor that another worker wants to know. The answer would come to this one, and only the worker that has
    /// asked lets it in.
    Ask(Question),
    /// Does the other one know this neighbor? It may have learned it from a question that only it heard, and the rules
    /// may not let us ask.
    Wanted(Question),
    /// Where a station is behind a bridge.
    Station(InterfaceId, Station),
}

/// A neighbor to be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    /// Where it is.
    pub interface: InterfaceId,
    /// Who it is.
    pub ip: IpAddr,
    /// Its station address, if the question is whether it is still there.
    pub to: Option<ether::Addr>,
}

/// From the control core to a worker.
#[derive(Clone, Copy, Debug)]
pub enum Mail {
    /// Report the states from place `from` on, at most `count`.
    ListStates {
        /// Place in the table to begin at.
        from: u32,
        /// Most states to report.
        count: u32,
    },
    /// Report all neighbors.
    ListNeighbors,
    /// Tell every step of the packets that match, until so many were told.
    Watch(Watched),
    /// Kill states; what is reported of it bears this number. At most [`KILLS_AT_WORK`] are taken in before they are done,
    /// the rest waits, and all other mail behind it.
    Kill(Kill, u64),
    /// Forget a neighbor.
    Forget(InterfaceId, IpAddr),
    /// Report all stations behind bridges.
    ListStations,
    /// Forget a station behind a bridge.
    ForgetStation(InterfaceId, ether::Addr),
    /// Forget all that was learned of a bridge.
    FlushStations(InterfaceId),
}

/// From a worker to the control core. A state is large beside the rest, and is what the ring is there for: workers do
/// not allocate.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug)]
pub enum Report {
    /// A state.
    State(State),
    /// No more states for this question; go on at this place if there is one.
    StatesEnd {
        /// Place to go on at; none at the end of the table.
        next: Option<u32>,
    },
    /// A neighbor.
    Neighbor(Neighbor),
    /// No more neighbors.
    NeighborsEnd,
    /// How far a kill of the control core is.
    Killed(KillReport),
    /// A station behind a bridge.
    Station(InterfaceId, Station),
    /// No more stations.
    StationsEnd,
}

/// How far a kill of the control core is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KillReport {
    /// Number that it was given.
    pub order: u64,
    /// States killed up to now.
    pub killed: u64,
    /// Places of the state table that are still to be looked at. 0: it is done, and nothing more is reported of it.
    pub left: u32,
    /// Places that there are.
    pub places: u32,
}

/// The ends that a worker holds.
pub struct Ends<B> {
    /// New configurations.
    pub config: Subscriber<Config>,
    /// Questions.
    pub mail: Consumer<Mail>,
    /// Answers.
    pub reports: Producer<Report>,
    /// Logged packets.
    pub log: Producer<LogRecord>,
    /// Steps of watched packets.
    pub steps: Producer<StepRecord>,
    /// Packets for the local host.
    pub to_host: Producer<Carried<B>>,
    /// Packets of the local host.
    pub from_host: Consumer<Carried<B>>,
    /// Rings to the other workers, by number; none for itself.
    pub to_workers: ToWorkers<B>,
    /// Rings from the other workers.
    pub from_workers: Vec<Consumer<Handoff<B>>>,
    /// States to be killed by the other workers, by number; none for itself. A letter is three times as long as a packet's,
    /// and would make each packet's as long.
    pub kills_out: Vec<Option<Producer<Kill>>>,
    /// States that the other workers want killed.
    pub kills_in: Vec<Consumer<Kill>>,
    /// Letters about connections to the other workers, by number; none for itself.
    pub alias_out: Vec<Option<Producer<AliasLetter>>>,
    /// Letters of the other workers.
    pub alias_in: Vec<Consumer<AliasLetter>>,
    /// What it counts.
    pub counters: Arc<Counters>,
}

/// The ends that the control core holds for one worker.
pub struct ControlEnds<B> {
    /// Publishes configurations.
    pub config: Publisher<Config>,
    /// Asks.
    pub mail: Producer<Mail>,
    /// Hears.
    pub reports: Consumer<Report>,
    /// Logged packets.
    pub log: Consumer<LogRecord>,
    /// Steps of watched packets.
    pub steps: Consumer<StepRecord>,
    /// Packets for the local host.
    pub to_host: Consumer<Carried<B>>,
    /// Packets of the local host.
    pub from_host: Producer<Carried<B>>,
    /// What the worker counts.
    pub counters: Arc<Counters>,
}

/// Both ends of everything, worker by worker.
pub type AllEnds<B> = (Vec<Ends<B>>, Vec<ControlEnds<B>>);

/// One worker's rings to all the others.
pub type ToWorkers<B> = Vec<Option<Producer<Handoff<B>>>>;

/// Makes all rings between `workers` workers and the control core. `rule_slots` places for rule counters each.
pub fn connect<N: Nic>(workers: usize, rule_slots: usize) -> AllEnds<N::Buf>
where
    N::Buf: PacketBuf,
{
    let packets = mesh(workers, HANDOFF_RING);
    let aliases = mesh(workers, ALIAS_RING);
    let kills = mesh(workers, KILL_RING);
    packets
        .into_iter()
        .zip(aliases)
        .zip(kills)
        .map(|((packets, aliases), kills)| connect_one(packets, aliases, kills, rule_slots))
        .unzip()
}

/// One worker's ends of rings to and from all the others.
type MeshEnds<T> = (Vec<Option<Producer<T>>>, Vec<Consumer<T>>);

/// A ring from every worker to every other one.
fn mesh<T: Send>(workers: usize, size: usize) -> Vec<MeshEnds<T>> {
    let mut ends: Vec<MeshEnds<T>> = (0..workers).map(|_| (Vec::new(), Vec::new())).collect();
    for from in 0..workers {
        for to in 0..workers {
            let tx = (from != to).then(|| {
                let (tx, rx) = ring(size);
                ends[to].1.push(rx);
                tx
            });
            ends[from].0.push(tx);
        }
    }
    ends
}

fn connect_one<B: Send>(
    (to_workers, from_workers): MeshEnds<Handoff<B>>,
    (alias_out, alias_in): MeshEnds<AliasLetter>,
    (kills_out, kills_in): MeshEnds<Kill>,
    rule_slots: usize,
) -> (Ends<B>, ControlEnds<B>) {
    let (publisher, subscriber) = published();
    let (mail_tx, mail_rx) = ring(MAIL_RING);
    let (report_tx, report_rx) = ring(REPORT_RING);
    let (log_tx, log_rx) = ring(LOG_RING);
    let (steps_tx, steps_rx) = ring(STEP_RING);
    let (to_host_tx, to_host_rx) = ring(HOST_RING);
    let (from_host_tx, from_host_rx) = ring(HOST_RING);
    let counters = Arc::new(Counters::new(rule_slots));
    let ends = Ends {
        config: subscriber,
        mail: mail_rx,
        reports: report_tx,
        log: log_tx,
        steps: steps_tx,
        to_host: to_host_tx,
        from_host: from_host_rx,
        to_workers,
        from_workers,
        kills_out,
        kills_in,
        alias_out,
        alias_in,
        counters: counters.clone(),
    };
    let control = ControlEnds {
        config: publisher,
        mail: mail_tx,
        reports: report_rx,
        log: log_rx,
        steps: steps_rx,
        to_host: to_host_rx,
        from_host: from_host_tx,
        counters,
    };
    (ends, control)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What packets cross between two cores.
    #[test]
    fn a_packet_on_its_way_to_another_core_takes_two_lines_at_most() {
        // A buffer is a handle of up to 16 bytes.
        assert!(size_of::<Handoff<[u64; 2]>>() <= 128);
        assert!(size_of::<AliasLetter>() <= 16);
    }
}
