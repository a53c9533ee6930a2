//! What the console and the HTTP server may ask of the control core: plain values in, plain values out. They
//! format; the control core knows. Everything a `show` command prints comes from a type of this module, so the
//! text and the `--json` of a command never disagree.
//!
//! Two implementations: the control core itself, and the fake that tests of console and HTTP use.

mod network;

use std::net::IpAddr;

use pfconf::diag::Diagnostic;
use serde::{Serialize, Serializer};

pub use self::network::{
    BridgePortView, BridgeView, InterfaceView, LacpSystemView, LacpView, LaggPortView, MadeOf,
    NeighborView, RouteView, StationView, StpRootView, StpView,
};
pub use crate::killing::{KillView, NotKilled};
pub use crate::listed::Listed;
pub use crate::pflog::LoggedPacket;
pub use explain::Explanation;

/// How somebody proves that he may change something.
#[derive(Clone, PartialEq, Eq)]
pub enum Proof {
    /// Typed at the serial console: whoever holds the cable is trusted.
    Console,
    /// `Authorization: Bearer …`; compared with the stored hash in constant time.
    Bearer(String),
    /// Nothing but what the bundle itself carries: its signify signature must be by a trusted key.
    Signature,
}

/// Tokens stay out of logs.
impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Proof::Console => "Console",
            Proof::Bearer(_) => "Bearer(…)",
            Proof::Signature => "Signature",
        })
    }
}

/// An accepted bundle.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Applied {
    /// Number of the running policy.
    pub generation: u32,
    /// `sha256:` and 64 hexadecimal digits of the upload as received.
    pub digest: String,
    /// False if this very bundle was running already.
    pub changed: bool,
    /// Warnings and notices.
    pub warnings: Vec<Diagnostic>,
}

/// Why a bundle was not accepted. Nothing has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Refused {
    /// No valid proof: wrong token, unknown key, bad signature, nothing at all. The text names no secret.
    Unauthorized(String),
    /// Signed, but not newer than what was accepted before.
    Replayed(String),
    /// Larger than the limit.
    TooLarge(String),
    /// Files of the bundle are wrong; every message there is.
    Invalid(Vec<Diagnostic>),
    /// The configuration is fine, but could not be stored or does not fit this machine.
    Failed(String),
}

/// One page of `GET /v1/status`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Status {
    /// Version of the program.
    pub version: String,
    /// `myname`.
    pub hostname: String,
    /// True once packets are forwarded.
    pub forwarding: bool,
    /// Number of the running policy; 0 blocks everything but management.
    pub generation: u32,
    /// Digest of the running bundle, if there is one.
    pub digest: Option<String>,
    /// Paths of anchors that were edited at run time.
    pub anchors_edited: Vec<String>,
    /// Commands that changed the network at run time, in their order: what the box is beyond its bundle.
    pub network_changes: Vec<String>,
    /// How the running bundle came: `console`, `token`, `signify:KEYID`, `boot`, `seed`.
    pub origin: String,
    /// Seconds since start.
    pub uptime_s: u64,
    /// Current states.
    pub states: u64,
    /// `set limit states`.
    pub states_limit: u64,
    /// Packet workers.
    pub workers: Vec<WorkerStatus>,
    /// Packet buffers in the pool and in use.
    pub buffers_total: u64,
    /// Packet buffers in use.
    pub buffers_used: u64,
    /// Uploads refused since start.
    pub uploads_refused: u64,
    /// Reason of the previous death, if the previous run died.
    pub epitaph: Option<String>,
    /// Name servers: of the files first, then learned ones.
    pub nameservers: Vec<IpAddr>,
    /// What DHCP clients have.
    pub leases: Vec<LeaseView>,
}

/// The DHCP client of an interface.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LeaseView {
    /// Interface.
    pub interface: String,
    /// `selecting`, `bound`, `renewing` ...
    pub state: &'static str,
    /// Its address and prefix length, while it has one.
    pub addr: Option<(IpAddr, u8)>,
    /// Who gave it.
    pub server: Option<IpAddr>,
    /// Seconds until it is over; none if it never is.
    pub expires_s: Option<u64>,
}

/// One packet worker.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct WorkerStatus {
    /// Number, from 0.
    pub id: u16,
    /// CPU it is pinned to.
    pub cpu: u16,
    /// Packets received.
    pub packets: u64,
    /// Share of turns that found work since the last question, 0 to 1.
    pub busy: f64,
    /// Asleep because nothing arrives.
    pub idle: bool,
    /// It has not turned for seconds: packets that came to it wait, or are lost.
    pub stalled: bool,
    /// Generation it has adopted.
    pub generation: u32,
}

/// Packets and bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes of IP packets.
    pub bytes: u64,
}

/// A rule with its counters, as `pfctl -vvsr` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RuleView {
    /// Number among the rules of its anchor, from 0.
    pub nr: u32,
    /// Path of the anchor that it is a rule of; empty for the main ruleset.
    pub anchor: String,
    /// Path of the anchor that it calls, with `/*` if it calls those below.
    pub calls: Option<String>,
    /// Canonical text.
    pub text: String,
    /// Label.
    pub label: Option<String>,
    /// File and line it came from: `pf.conf:12`.
    pub origin: String,
    /// Times it was looked at.
    pub evaluations: u64,
    /// In.
    pub input: Count,
    /// Out.
    pub output: Count,
    /// States it has now.
    pub states: u64,
    /// States it has made.
    pub states_total: u64,
}

/// One side of a state.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StateEnd {
    /// Address.
    pub addr: IpAddr,
    /// Port, or ICMP id.
    pub port: u16,
    /// Routing domain.
    #[serde(skip_serializing_if = "is_main")]
    pub rdomain: u8,
}

fn is_main(rdomain: &u8) -> bool {
    *rdomain == 0
}

/// A state, as `pfctl -ss` and `-vss` show it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct StateView {
    /// `all`, or the interface it is bound to.
    pub interface: String,
    /// IP protocol number.
    pub proto: u8,
    /// `in` or `out`.
    pub direction: &'static str,
    /// Who began, as seen on the wire.
    pub src: StateEnd,
    /// Who was addressed, as seen on the wire.
    pub dst: StateEnd,
    /// `src` as the other side of the firewall knows it, if it is translated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translated_src: Option<StateEnd>,
    /// The same of `dst`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub translated_dst: Option<StateEnd>,
    /// Both sides' states in pfctl's words, the originator's first: `ESTABLISHED:ESTABLISHED`, `MULTIPLE:SINGLE`.
    pub peers: (String, String),
    /// `(seq_lo, seq_hi - seq_lo, wscale)` of both sides, for TCP: pfctl's `[lo + len](+diff) wscale n`.
    pub windows: Option<[(u32, u32, u8); 2]>,
    /// Seconds since creation.
    pub age_s: u64,
    /// Seconds until it expires if nothing comes.
    pub expires_s: u64,
    /// In its own direction, and back.
    pub counts: [Count; 2],
    /// Rule number in the running policy; none if the rule is gone.
    pub rule: Option<u32>,
    /// Path of the anchor of that rule; empty for the main ruleset.
    pub anchor: Option<String>,
    /// Options of the state clause, in their words: `sloppy`, `pflow`, `no-sync`.
    pub flags: Vec<&'static str>,
    /// 64-bit id.
    pub id: u64,
    /// Worker that owns it.
    pub worker: u16,
}

/// `pfctl -si`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct PfInfo {
    /// Always true: there is no `pfctl -d` yet.
    pub enabled: bool,
    /// Seconds since the filter was enabled.
    pub since_s: u64,
    /// `set debug`.
    pub debug: String,
    /// Current states.
    pub states: u64,
    /// States of TCP connections whose handshake is not complete.
    pub half_open: u64,
    /// State table: look-ups, insertions, removals.
    pub searches: u64,
    /// Insertions.
    pub inserts: u64,
    /// Removals.
    pub removals: u64,
    /// PF's reason counters in PF's order and with PF's names, then ours: (name, packets).
    #[serde(serialize_with = "as_map")]
    pub reasons: Vec<(String, u64)>,
    /// PF's limit counters with PF's names: (name, times).
    #[serde(serialize_with = "as_map")]
    pub limits: Vec<(String, u64)>,
    /// The `set loginterface` interface, if set: name, then [v4, v6] × bytes in/out and packets in pass/block, out pass/block.
    pub loginterface: Option<InterfaceView>,
}

/// Named numbers as one object, in their order.
fn as_map<S: Serializer>(list: &[(String, u64)], to: S) -> Result<S::Ok, S::Error> {
    to.collect_map(list.iter().map(|(name, n)| (name, n)))
}

/// An anchor.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct AnchorView {
    /// Path, `outer/inner`.
    pub path: String,
    /// Rules of its own.
    pub rules: u32,
    /// Its rules were edited at run time: they are not those of the bundle, and a restart forgets them.
    pub edited: bool,
}

/// A table.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct TableView {
    /// Name.
    pub name: String,
    /// pfctl's letters: const, persist, active, `-`, referenced, `-`, counters.
    pub flags: String,
    /// Elements as printed: `10.0.0.0/8`, `!10.1.0.0/16`.
    pub entries: Vec<String>,
    /// For each element, seconds since it came or was cleared.
    pub ages_s: Vec<u64>,
    /// For each element of a table with `counters`, in and out: packets by block, match and pass; none if there were none.
    pub counts: Vec<Option<[[Count; 3]; 2]>>,
    /// What the table counts as a whole.
    pub stats: TableStats,
}

/// What a table counts as a whole.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TableStats {
    /// Elements.
    pub addresses: u64,
    /// Anchors whose rules name it.
    pub anchors: u32,
    /// Rules that name it.
    pub rules: u32,
    /// Seconds since it came or was cleared.
    pub age_s: u64,
    /// Look-ups of rules that did not find the address in it.
    pub no_matches: u64,
    /// Look-ups that did.
    pub matches: u64,
    /// Packets that came in.
    pub input: TableTraffic,
    /// Packets that went out.
    pub output: TableTraffic,
}

/// Packets that counted on a table.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TableTraffic {
    /// By block rules.
    pub block: Count,
    /// By match rules.
    #[serde(rename = "match")]
    pub matched: Count,
    /// By pass rules.
    pub pass: Count,
    /// Of states whose address is in the table no more.
    pub xpass: Count,
}

/// Which states are to be killed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Killing {
    /// `pfctl -F states`
    All,
    /// `pfctl -k from -k to`: addresses or networks.
    Hosts {
        /// Who began.
        from: String,
        /// Who was addressed; none is anybody.
        to: Option<String>,
    },
    /// `pfctl -k label -k L`
    Label(String),
    /// `pfctl -k id -k ID`
    Id(u64),
    /// `pfctl -k key -k 'tcp 10.0.0.1:80 <- 192.0.2.9:51000'`
    Key(String),
}

/// A source node, as `pfctl -sS` shows it.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct SourceView {
    /// The source.
    pub addr: IpAddr,
    /// `nat-to`, `rdr-to`, `route-to` for what a pool chose, `limiter`; empty for limits of a rule.
    pub kind: &'static str,
    /// What a pool chose.
    pub redirect: Option<IpAddr>,
    /// Id of its source limiter.
    pub limiter: Option<u8>,
    /// States.
    pub states: u32,
    /// Completed connections among them.
    pub connections: u32,
    /// Connections of late.
    pub rate: f64,
    /// In how many seconds; 0 if the rule has no rate.
    pub rate_seconds: u32,
    /// Seconds since it was made.
    pub age_s: u32,
    /// Seconds until it goes; 0 while it has states.
    pub expires_s: u32,
    /// Packets of its states that are gone.
    pub packets: u64,
    /// Bytes of its states that are gone.
    pub bytes: u64,
    /// Its rule's number.
    pub rule: Option<u32>,
}

/// A limiter.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct LimiterView {
    /// `state` or `source`.
    pub kind: &'static str,
    /// Name.
    pub name: String,
    /// Number.
    pub id: u8,
    /// States, of all or of each source.
    pub limit: u32,
    /// States now; 0 for source limiters.
    pub in_use: u32,
    /// Sources now; 0 for state limiters.
    pub sources: u64,
    /// States let through.
    pub admitted: u64,
    /// Refused: as many states as there may be.
    pub hard_limited: u64,
    /// Refused: too many in too short a time.
    pub rate_limited: u64,
    /// Refused: as many sources as there may be.
    pub address_limited: u64,
}

/// What is to be done with a table.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TableEdit {
    /// Adds addresses; makes the table if there is none.
    Add(Vec<String>),
    /// Takes addresses out.
    Delete(Vec<String>),
    /// These addresses and no others.
    Replace(Vec<String>),
    /// No addresses.
    Flush,
    /// No table, unless rules name it: then no addresses.
    Kill,
    /// Takes out what came, or was cleared, longer than so many seconds ago.
    Expire(u64),
    /// What was counted is forgotten, and these addresses are as if they had come now; without any the table and all its
    /// addresses.
    Zero(Vec<String>),
    /// Asks which addresses are in it.
    Test(Vec<String>),
}

/// What became of it.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct TableEdited {
    /// Addresses that were named, or that there were.
    pub asked: usize,
    /// Addresses added.
    pub added: usize,
    /// Addresses taken out.
    pub deleted: usize,
    /// Addresses that got or lost their `!`.
    pub changed: usize,
    /// The table was made.
    pub created: bool,
    /// For each address that was tested, the element that covers it.
    pub matches: Vec<Option<String>>,
}

/// Answer to one echo request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PingReply {
    /// An answer: bytes, sequence, TTL, time.
    Answer {
        /// Bytes of ICMP.
        bytes: usize,
        /// Sequence number.
        seq: u16,
        /// TTL or hop limit it arrived with.
        ttl: u8,
        /// Round trip.
        rtt: std::time::Duration,
    },
    /// Nothing came in time.
    Timeout {
        /// Sequence number.
        seq: u16,
    },
}

/// Sends the echo requests behind [`Api::ping_start`]: the local host's side of it, handed to the control core at start.
pub trait Pinger: Send {
    /// See [`Api::ping_start`].
    fn start(&mut self, to: IpAddr, count: u16) -> Result<(), String>;
    /// See [`Api::ping_poll`].
    fn poll(&mut self) -> Option<Vec<PingReply>>;
    /// See [`Api::ping_stop`].
    fn stop(&mut self);
}

/// A sample for `/metrics`.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Sample {
    /// Metric name, e.g. `fugu_pf_drops_total`.
    pub name: &'static str,
    /// `counter` or `gauge`.
    pub kind: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// Value.
    pub value: f64,
}

/// A packet that somebody wants to know about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Question {
    /// In words; see `explain::words`.
    Words(String),
    /// A captured Ethernet frame, as if it came in on this interface.
    Frame {
        /// The interface.
        interface: String,
        /// The frame.
        frame: Vec<u8>,
    },
}

/// What a person or a program may ask of the running box.
pub trait Api {
    /// Health and identity.
    fn status(&mut self) -> Status;
    /// Checks a bundle and, if all is well, makes it the running one. All or nothing.
    fn apply_bundle(&mut self, bundle: &[u8], proof: &Proof) -> Result<Applied, Refused>;
    /// Checks the proof alone, before a body is read: true if an upload could be accepted with it.
    fn may_upload(&mut self, proof: &Proof) -> bool;
    /// True if `proof` may read status and metrics: a valid token, or the console.
    fn may_read(&mut self, proof: &Proof) -> bool;
    /// `pfctl -sr` and `-vvsr`: the rules of the main ruleset, then those of the anchors.
    fn rules(&mut self) -> Vec<RuleView>;
    /// `pfctl -sA`: all anchors, in the order of their paths.
    fn anchors(&mut self) -> Vec<AnchorView>;
    /// `pfctl -a path -f -`: gives an anchor other rules, and changes nothing else. Not stored.
    fn set_anchor(&mut self, path: &str, rules: &[u8], proof: &Proof) -> Result<Applied, Refused>;
    /// Gives an anchor the rules of the bundle back.
    fn reset_anchor(&mut self, path: &str, proof: &Proof) -> Result<Applied, Refused>;
    /// `ifconfig IF …`, `route add …`: one more change of the network, until the next apply. Empty: takes all back.
    fn change_network(&mut self, command: &str, proof: &Proof) -> Result<Applied, Refused>;
    /// `ifconfig -g GROUP carpdemote N`: adds to the demotion of a group, or takes from it; the count is what it is then.
    fn demote_group(&mut self, group: &str, by: i16) -> Result<u16, String>;
    /// Logged packets from this serial on, as far as they are still kept, and the serial of the next one to come.
    fn pflog(&mut self, since: u64) -> (Vec<LoggedPacket>, u64);
    /// `pfctl -ss`: at most `limit` states. Asks the workers; may take milliseconds.
    fn states(&mut self, limit: usize) -> Listed<StateView>;
    /// `why`: what would happen to a packet, by the code that would do it. Changes nothing.
    fn why(&mut self, question: &Question) -> Result<Explanation, String>;
    /// `trace`: begins to watch live packets. `filter` is as in `explain::filter`; so many packets, so many seconds.
    fn trace_start(&mut self, filter: &str, count: u32, seconds: u32) -> Result<(), String>;
    /// What was seen since the last call; none when the trace is over.
    fn trace_poll(&mut self) -> Option<Vec<Explanation>>;
    /// Ends it.
    fn trace_stop(&mut self);
    /// `pfctl -si`.
    fn pf_info(&mut self) -> PfInfo;
    /// `pfctl -sT`, `-t name -T show`.
    fn tables(&mut self) -> Vec<TableView>;
    /// One of them, if there is one of this name.
    fn table(&mut self, name: &str) -> Option<TableView>;
    /// All without elements, which may be many.
    fn table_summaries(&mut self) -> Vec<TableView>;
    /// `pfctl -k`, `-F states`: begins to kill states, `on` an interface if one is given (`all`: bound to none), and says
    /// how far that is after a moment. It goes on by itself.
    fn kill_states(&mut self, which: &Killing, on: Option<&str>) -> Result<KillView, NotKilled>;
    /// How far a kill is. None if it is forgotten: as many have ended since as are remembered.
    fn kill_progress(&mut self, kill: u32) -> Option<KillView>;
    /// `pfctl -s kills`: kills under way, and the last that were done; the oldest first.
    fn kills(&mut self) -> Vec<KillView>;
    /// `pfctl -K`, `-F Sources`: how many source nodes were killed. None is everybody.
    fn kill_sources(&mut self, from: Option<&str>, to: Option<&str>) -> Result<u64, String>;
    /// `pfctl -s Sources`
    fn sources(&mut self) -> Vec<SourceView>;
    /// State limiters, then source limiters.
    fn limiters(&mut self) -> Vec<LimiterView>;
    /// `pfctl -t name -T …`
    fn edit_table(&mut self, name: &str, edit: &TableEdit) -> Result<TableEdited, String>;
    /// `pfctl -sm`, `-st`: (name, value).
    fn limits(&mut self) -> Vec<(String, u64)>;
    /// Timeouts: (name, seconds or states).
    fn timeouts(&mut self) -> Vec<(String, u64)>;
    /// `ifconfig`, `netstat -i`.
    fn interfaces(&mut self) -> Vec<InterfaceView>;
    /// `route show`.
    fn routes(&mut self) -> Vec<RouteView>;
    /// `arp -a`, `ndp -a`. Asks the workers.
    fn neighbors(&mut self) -> Listed<NeighborView>;
    /// `arp -d`, `ndp -d`: has all workers forget a neighbor that was learned; how many entries it had.
    fn forget_neighbor(&mut self, addr: IpAddr) -> Result<u64, String>;
    /// `ifconfig bridge0 addr`: the stations behind all bridges. Asks the workers.
    fn stations(&mut self) -> Listed<StationView>;
    /// `ifconfig bridge0 flush`, `deladdr`: forgets what was learned of a bridge, or one station. True if it was known.
    fn forget_stations(&mut self, bridge: &str, station: Option<&str>) -> Result<bool, String>;
    /// Everything for `/metrics`.
    fn metrics(&mut self) -> Vec<Sample>;
    /// Begins a ping from the box; answers are fetched with [`Api::ping_poll`].
    fn ping_start(&mut self, to: IpAddr, count: u16) -> Result<(), String>;
    /// Answers since the last call; none ends the ping.
    fn ping_poll(&mut self) -> Option<Vec<PingReply>>;
    /// Ends a running ping early.
    fn ping_stop(&mut self);
    /// Sets the management address from the wizard: interface, address, prefix length, gateway. Stored.
    fn set_management(
        &mut self,
        interface: &str,
        addr: IpAddr,
        prefix_len: u8,
        gateway: Option<IpAddr>,
    ) -> Result<(), String>;
    /// Stores the hash of a bearer token; an empty one removes it.
    fn set_token(&mut self, token: &str) -> Result<(), String>;
    /// Trusts a signify public key (the text of a `.pub` file).
    fn trust_key(&mut self, public: &str) -> Result<String, String>;
    /// Trusted keys: (key id, comment).
    fn trusted_keys(&mut self) -> Vec<(String, String)>;
    /// Distrusts a key by id.
    fn distrust_key(&mut self, key_id: &str) -> Result<(), String>;
    /// The date that a signed bundle must be later than, as signatures write it; none on a box that has accepted none.
    fn replay_floor(&mut self) -> Option<String>;
    /// Forgets that date: the next signed bundle may be of any.
    fn reset_replay_floor(&mut self) -> Result<(), String>;
    /// True while nothing was configured yet: the console offers the wizard.
    fn needs_wizard(&mut self) -> bool;
    /// The last log lines, oldest first.
    fn log_lines(&mut self) -> Vec<String>;
    /// Restarts the box (or ends the process on a workstation).
    fn reboot(&mut self);
    /// Stops the box.
    fn halt(&mut self);
}
