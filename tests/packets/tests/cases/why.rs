//! `why` predicts the dataplane: what it says of a packet is what then happens to it.

use std::net::IpAddr;

use explain::{Explanation, RuleName};
use filter::PacketDesc;
use packets::packet::icmp_message;
use packets::rig::Spread;
use packets::{Packet, Rig, Topology};
use ruleset::{Af, RuleNr};
use simnic::rng::Rng;

/// Packets of the short run; `FUGU_WHY_PACKETS` says otherwise.
const PACKETS: usize = 3_000;
/// Packets sent to one ruleset.
const PER_RULESET: usize = 100;
/// Wrong answers that are shown, each of another ruleset.
const WRONG_SHOWN: usize = 800;
/// Packets that left and may still be answered, or complained about.
const LEFT_KEPT: usize = 16;

const PORTS: [u16; 4] = [22, 53, 80, 445];
const INTERFACES: [&str; 2] = ["sim0", "sim1"];

/// Addresses of one family that rules and packets have.
struct Cast {
    word: &'static str,
    icmp: &'static str,
    hosts: [&'static str; 6],
    /// A network around some of them.
    network: &'static str,
    /// The box on `sim1`, where translation hides others.
    own: &'static str,
    /// Another host that translation leads to.
    inner: &'static str,
    /// Gateways on each interface.
    gateways: [&'static str; 2],
}

const CASTS: [Cast; 2] = [
    Cast {
        word: "inet",
        icmp: "icmp",
        hosts: [
            "192.0.2.2",
            "198.51.100.2",
            "203.0.113.9",
            "10.9.9.9",
            "198.51.100.1",
            "192.0.2.1",
        ],
        network: "192.0.2.0/24",
        own: "198.51.100.1",
        inner: "192.0.2.2",
        gateways: ["192.0.2.2", "198.51.100.254"],
    },
    Cast {
        word: "inet6",
        icmp: "icmp6",
        hosts: [
            "2001:db8:1::2",
            "2001:db8:2::2",
            "2001:db8:ffff::9",
            "64:ff9b::cb00:7109",
            "2001:db8:2::1",
            "2001:db8:1::1",
        ],
        network: "2001:db8:1::/64",
        own: "2001:db8:2::1",
        inner: "2001:db8:1::2",
        gateways: ["2001:db8:1::2", "2001:db8:2::fe"],
    },
];

fn pick<T: Copy>(rng: &mut Rng, of: &[T]) -> T {
    of[rng.below(of.len() as u64) as usize]
}

fn one_in(rng: &mut Rng, n: u64) -> bool {
    rng.below(n) == 0
}

/// A rule of a kind that reads no chance.
fn rule(rng: &mut Rng, depth: usize) -> String {
    let anchor = depth < 2 && one_in(rng, 8);
    if !anchor && one_in(rng, 4) {
        return translation(rng);
    }
    let action = pick(rng, &["pass", "pass", "block", "block return", "match"]);
    let mut text = String::from(if anchor { "anchor" } else { action });
    let direction = pick(rng, &["", "", " in", " out"]);
    text += direction;
    if (anchor || action != "match") && one_in(rng, 6) {
        text += " quick";
    }
    text += pick(rng, &["", "", "", " on sim0", " on sim1", " on ! sim0"]);
    let cast = &CASTS[rng.below(2) as usize];
    let (selects, proto) = selectors(rng, cast);
    text += &selects;
    if anchor {
        let rules = 1 + rng.below(3);
        let body: String = (0..rules).map(|_| rule(rng, depth + 1)).collect();
        return format!("{text} {{\n{body}}}\n");
    }
    if one_in(rng, 6) {
        text += pick(rng, &[" tagged A", " ! tagged A"]);
    }
    if one_in(rng, 6) {
        text += " tag A";
    }
    if action == "pass" {
        text += &keeping(rng, proto);
        if direction == " in" && !text.contains("no state") && one_in(rng, 6) {
            let gateway = pick(rng, &cast.gateways);
            text += &format!(
                " {} {gateway}",
                pick(rng, &["route-to", "reply-to", "dup-to"])
            );
        }
    }
    text + "\n"
}

/// Family, protocol and ends; and the protocol again.
fn selectors(rng: &mut Rng, cast: &Cast) -> (String, &'static str) {
    let proto = pick(rng, &["", "tcp", "udp", cast.icmp]);
    let mut text = format!(" {}", cast.word);
    if !proto.is_empty() {
        text += &format!(" proto {proto}");
    }
    text += &match rng.below(8) {
        0 | 1 => format!(" from {}", pick(rng, &cast.hosts)),
        2 => format!(" from {}", cast.network),
        3 => " from <t>".into(),
        _ => " from any".into(),
    };
    text += &match rng.below(8) {
        0 | 1 => format!(" to {}", pick(rng, &cast.hosts)),
        2 => " to ! <t>".into(),
        _ => " to any".into(),
    };
    if matches!(proto, "tcp" | "udp") && one_in(rng, 2) {
        text += &format!(" port {}", pick(rng, &PORTS));
    }
    (text, proto)
}

/// How a rule keeps state.
fn keeping(rng: &mut Rng, proto: &str) -> String {
    match rng.below(12) {
        0 | 1 => " no state".into(),
        2 => format!(" keep state (max {})", 1 + rng.below(4)),
        3 => format!(
            " keep state (max-src-states {}, source-track rule)",
            1 + rng.below(3)
        ),
        4 => format!(
            " keep state (max-src-nodes {}, source-track rule)",
            1 + rng.below(2)
        ),
        5 => " keep state (sloppy)".into(),
        6 => " keep state (if-bound)".into(),
        7 if proto == "tcp" => " modulate state".into(),
        8 => " allow-opts".into(),
        _ => String::new(),
    }
}

/// A rule that changes ends.
fn translation(rng: &mut Rng) -> String {
    let cast = &CASTS[rng.below(2) as usize];
    let action = pick(rng, &["match", "pass"]);
    let (selects, proto) = selectors(rng, cast);
    let port = match proto {
        "tcp" | "udp" if one_in(rng, 2) => format!(" port {}", pick(rng, &PORTS)),
        _ => String::new(),
    };
    match rng.below(8) {
        0..=2 => {
            let fixed = if one_in(rng, 4) { " static-port" } else { "" };
            format!("{action} out on sim1{selects} nat-to {}{fixed}\n", cast.own)
        }
        3 | 4 => format!("{action} in on sim1{selects} rdr-to {}{port}\n", cast.inner),
        5 => {
            let (inner, own) = (cast.inner, cast.own);
            format!("{action} on sim1 {} from {inner} to any binat-to {own}\n", cast.word)
        }
        6 => "pass in on sim0 inet6 from any to 64:ff9b::/96 af-to inet from 198.51.100.1\n".into(),
        _ => "pass in inet from any to 203.0.113.0/24 af-to inet6 from 2001:db8:2::1 to 2001:db8:ffff::/96\n"
            .into(),
    }
}

fn policy(rng: &mut Rng) -> String {
    let table =
        "table <t> { 192.0.2.0/24 ! 192.0.2.2 203.0.113.9 2001:db8:1::/64 2001:db8:ffff::9 }";
    let set = match rng.below(6) {
        0 => "set reassemble no\n",
        1 => "set limit states 8\n",
        2 => "set state-policy if-bound\n",
        3 => "set block-policy return\n",
        _ => "",
    };
    let count = 1 + rng.below(12);
    let rules: String = (0..count).map(|_| rule(rng, 0)).collect();
    format!("{set}{table}\n{rules}")
}

/// What is asked about, and sent.
#[derive(Debug)]
enum Question {
    Words(String),
    /// As a capture has it.
    Frame(&'static str, Packet),
    /// Likewise: a piece of a datagram.
    Piece(&'static str, Packet),
}

/// A packet that left the box.
struct Left {
    port: &'static str,
    af: Af,
    pd: PacketDesc,
    ip: Vec<u8>,
}

impl Left {
    fn of(port: &'static str, frame: &[u8]) -> Option<Left> {
        let mut pd = PacketDesc::default();
        match frame.get(12..14)? {
            [0x08, 0x00] => filter::describe::describe4(&mut pd, frame, 14, false, 0).ok()?,
            [0x86, 0xdd] => filter::describe::describe6(&mut pd, frame, 14, 0).ok()?,
            _ => return None,
        }
        Some(Left {
            port,
            af: pd.af,
            pd,
            ip: frame[14..].to_vec(),
        })
    }

    fn end(&self, addr: u128, port: u16) -> String {
        let addr: IpAddr = match self.af {
            Af::Inet => std::net::Ipv4Addr::from_bits(addr as u32).into(),
            Af::Inet6 => std::net::Ipv6Addr::from_bits(addr).into(),
        };
        match port {
            0 => addr.to_string(),
            port => std::net::SocketAddr::new(addr, port).to_string(),
        }
    }

    /// What its receiver answers.
    fn answer(&self, rng: &mut Rng) -> Option<Packet> {
        let (src, dst) = (
            self.end(self.pd.dst, self.pd.ports.1),
            self.end(self.pd.src, self.pd.ports.0),
        );
        match self.pd.proto {
            6 => {
                let flags = pick(rng, &["SA", "SA", "A", "RA", "FA"]);
                let ack = self.pd.segment.seq.wrapping_add(1);
                Some(
                    packets::tcp(&src, &dst, flags)
                        .seq(self.pd.segment.ack.max(77))
                        .ack(ack),
                )
            }
            17 => Some(packets::udp(&src, &dst).data(4)),
            1 | 58 if matches!(self.pd.icmp.0, 8 | 128) => {
                let at = usize::from(self.pd.l4_at) - 14 + 4;
                let ident = u16::from_be_bytes([*self.ip.get(at)?, *self.ip.get(at + 1)?]);
                Some(packets::echo_reply(&src, &dst, ident, 1))
            }
            _ => None,
        }
    }

    /// What a router beyond says of it.
    fn error(&self, rng: &mut Rng) -> Packet {
        let from = match self.af {
            Af::Inet => "203.0.113.77",
            Af::Inet6 => "2001:db8:ffff::77",
        };
        let to = self.end(self.pd.src, 0);
        let (kind, code, rest) = match (self.af, rng.below(3)) {
            (Af::Inet, 0) => (3, 4, [0, 0, 5, 0]),
            (Af::Inet, 1) => (3, 1, [0; 4]),
            (Af::Inet, _) => (11, 0, [0; 4]),
            (Af::Inet6, 0) => (2, 0, [0, 0, 5, 0]),
            (Af::Inet6, 1) => (1, 3, [0; 4]),
            (Af::Inet6, _) => (3, 0, [0; 4]),
        };
        let quote = self.ip.len().min(48 + rng.below(100) as usize);
        icmp_message(from, &to, kind, code, rest, &self.ip[..quote])
    }
}

/// A packet: in words, or as bytes.
fn question(rng: &mut Rng, left: &[Left]) -> Question {
    match rng.below(10) {
        0..=1 if !left.is_empty() => {
            let about = &left[rng.below(left.len() as u64) as usize];
            match about.answer(rng) {
                Some(answer) => Question::Frame(about.port, answer),
                None => Question::Words(words(rng)),
            }
        }
        2 if !left.is_empty() => {
            let about = &left[rng.below(left.len() as u64) as usize];
            Question::Frame(about.port, about.error(rng))
        }
        3 => piece(rng),
        _ => Question::Words(words(rng)),
    }
}

/// A first or a last piece; the others never come.
fn piece(rng: &mut Rng) -> Question {
    let cast = &CASTS[rng.below(2) as usize];
    let at = |addr: &str| std::net::SocketAddr::new(addr.parse().unwrap(), 53).to_string();
    let (a, b) = (at(pick(rng, &cast.hosts)), at(pick(rng, &cast.hosts)));
    let whole = packets::udp(&a, &b)
        .ident(rng.below(65536) as u16)
        .data(1000);
    let mut pieces = whole.pieces(512);
    let n = rng.below(pieces.len() as u64) as usize;
    Question::Piece(pick(rng, &INTERFACES), pieces.swap_remove(n))
}

/// A packet in words.
fn words(rng: &mut Rng) -> String {
    let port = pick(rng, &INTERFACES);
    let cast = &CASTS[rng.below(2) as usize];
    let (a, b) = (pick(rng, &cast.hosts), pick(rng, &cast.hosts));
    let (p, q) = (pick(rng, &PORTS), pick(rng, &PORTS));
    let ttl = if one_in(rng, 20) { " ttl 1" } else { "" };
    let at = |addr: &str, port| std::net::SocketAddr::new(addr.parse().unwrap(), port).to_string();
    match rng.below(4) {
        0 => format!("in on {port} {} {a} > {b}{ttl}", cast.icmp),
        1 => format!("in on {port} udp {} > {}{ttl}", at(a, p), at(b, q)),
        _ => {
            let flags = pick(rng, &["S", "S", "S", "A", "SA", "R", "FA"]);
            format!(
                "in on {port} tcp {} > {} flags {flags}{ttl}",
                at(a, p),
                at(b, q)
            )
        }
    }
}

fn ask(rig: &Rig, question: &Question) -> Explanation {
    let name = |nr: RuleNr| RuleName {
        text: format!("rule {}", nr.0),
        origin: String::new(),
    };
    let states = rig.states();
    let on = explain::Box {
        config: rig.config(),
        states: &states,
        shared: rig.shared(),
        rule: &name,
        now_ms: rig.now_ms(),
    };
    match question {
        Question::Words(words) => explain::describe(words, &on),
        Question::Frame(port, packet) | Question::Piece(port, packet) => {
            explain::capture(port, &captured(packet), &on)
        }
    }
    .expect("a packet")
}

/// The frame as somebody else captured it.
fn captured(packet: &Packet) -> Vec<u8> {
    packet.frame(
        wire::ether::Addr([2, 0, 0, 0, 0, 7]),
        wire::ether::Addr([2, 0, 0, 0, 0, 8]),
    )
}

/// What became of a packet.
struct Outcome {
    /// What may be said of it.
    verdicts: Vec<String>,
    /// Rules that counted it, with the direction.
    rules: Vec<String>,
    /// What left.
    left: Vec<Left>,
    /// It waits in the box: for its other pieces, or for the station address of the next hop.
    waits: bool,
    /// All counters that changed.
    counted: String,
}

/// Sends the packet and says what happened.
fn send(rig: &mut Rig, question: &Question) -> Outcome {
    let arrival = match question {
        Question::Words(words) => {
            let described = explain::words::parse(words).unwrap();
            explain::packet::arrival(&described, &rig.config())
        }
        Question::Frame(port, packet) | Question::Piece(port, packet) => {
            explain::packet::captured(port, &captured(packet), &rig.config())
        }
    };
    let Ok(explain::Arrival::Wire { port, frame }) = arrival else {
        panic!("it comes in");
    };
    rig.mark();
    rig.send_frame(INTERFACES[usize::from(port)], &frame);
    let changes = rig.changes();
    let waits = changes.contains_key("waiting");
    // The error that a packet brings about may be dropped as well, for a reason of its own.
    let dropped = changes.keys().filter_map(|name| name.strip_prefix("drop:"));
    let mut verdicts: Vec<String> = dropped.map(Into::into).collect();
    let is_piece = matches!(question, Question::Piece(..));
    if waits && !is_piece {
        // Whatever became of the question for the next hop's station address.
        verdicts = vec!["pass".into()];
    } else if verdicts.is_empty() {
        let of: &[&str] = match () {
            _ if changes.contains_key("to_host") => &["local"],
            _ if waits => &["gather", "pass"],
            _ if changes.contains_key("passed") => &["pass"],
            _ => &["consumed"],
        };
        verdicts.extend(of.iter().map(|verdict| (*verdict).into()));
    }
    let rules = changes.keys().filter_map(|name| {
        let (rule, what) = name.split_once('.')?;
        matches!(what, "in" | "out").then(|| format!("{rule} {what}"))
    });
    let rules = rules.filter(|name| name.starts_with('r')).collect();
    let mut left = Vec::new();
    for port in INTERFACES {
        while let Some(frame) = rig.take(port) {
            left.extend(Left::of(port, &frame));
        }
    }
    rig.ignore_rest();
    Outcome {
        verdicts,
        rules,
        left,
        waits,
        counted: packets::tally::written(&changes),
    }
}

/// Whether the answer agrees with what happened; if not, how.
fn agrees(told: &Explanation, outcome: &Outcome) -> Result<(), String> {
    let said = told.reason.unwrap_or(told.verdict);
    let verdicts = &outcome.verdicts;
    if !verdicts.iter().any(|v| v == said) {
        return Err(format!("{verdicts:?} instead of {said}"));
    }
    for decision in &told.decisions {
        let Some(rule) = decision.rule else { continue };
        let counted = format!("r{rule} {}", decision.direction);
        if !outcome.rules.contains(&counted) {
            return Err(format!("{:?} instead of {counted}", outcome.rules));
        }
    }
    let ports: Vec<&str> = outcome.left.iter().map(|left| left.port).collect();
    let by = told.out.as_deref().unwrap_or_default();
    let leaves = told.verdict == "pass" && told.reason.is_none() && !outcome.waits;
    if leaves && !ports.contains(&by) {
        return Err(format!("by {ports:?} instead of {by}"));
    }
    Ok(())
}

/// How often each verdict was given: a test that only blocks says nothing.
type Verdicts = std::collections::BTreeMap<String, usize>;

/// Sends packets to one ruleset. The first answer that is wrong ends it.
fn one_ruleset(
    rng: &mut Rng,
    spread: Spread,
    packets: usize,
    seen: &mut Verdicts,
) -> Result<(), String> {
    let policy = policy(rng);
    let mut rig = Rig::with(&policy, &Topology::usual(), spread);
    let mut left: Vec<Left> = Vec::new();
    for _ in 0..packets {
        let question = question(rng, &left);
        let told = ask(&rig, &question);
        let outcome = send(&mut rig, &question);
        if let Err(how) = agrees(&told, &outcome) {
            rig.ignore_rest();
            let (text, counted) = (told.text(), &outcome.counted);
            return Err(format!(
                "{how}\n{spread:?}\n{policy}\n{question:?}\n{text}counted: {counted}\n"
            ));
        }
        *seen.entry(outcome.verdicts[0].clone()).or_default() += 1;
        left.extend(outcome.left);
        left.drain(..left.len().saturating_sub(LEFT_KEPT));
    }
    rig.ignore_rest();
    rig.finish();
    Ok(())
}

#[test]
fn what_why_says_is_what_happens() {
    let count = std::env::var("FUGU_WHY_PACKETS").ok();
    let count = count.and_then(|n| n.parse().ok()).unwrap_or(PACKETS);
    let seed = std::env::var("FUGU_SEED").ok();
    let seed = seed.and_then(|n| n.parse().ok()).unwrap_or(20_261_122);
    let mut rng = Rng::new(seed);
    let (mut asked, mut seen) = (0, Verdicts::new());
    let mut wrong: Vec<String> = Vec::new();
    for spread in Spread::ALL.iter().cycle() {
        if asked >= count {
            break;
        }
        let packets = PER_RULESET.min(count - asked);
        wrong.extend(one_ruleset(&mut rng, *spread, packets, &mut seen).err());
        asked += packets;
        if wrong.len() == WRONG_SHOWN {
            break;
        }
    }
    assert!(wrong.is_empty(), "seed {seed}\n{}", wrong.join("\n"));
    println!("{asked} packets, seed {seed}: {seen:?}");
    for verdict in ["pass", "local", "match"] {
        let times = seen.get(verdict).copied().unwrap_or(0);
        assert!(times > count / 50, "{verdict}: {times} of {asked}");
    }
}

#[test]
fn a_connection_that_is_over_makes_room_for_the_next_in_what_why_says_too() {
    let mut rig = Rig::new("pass", &Topology::usual());
    let words = |text: &str| Question::Words(text.into());
    let syn = words("in on sim0 tcp 192.0.2.2:1000 > 198.51.100.2:80 flags S");
    send(&mut rig, &syn);
    let reset = words("in on sim1 tcp 198.51.100.2:80 > 192.0.2.2:1000 flags RA");
    send(&mut rig, &reset);
    let told = ask(&rig, &syn);
    agrees(&told, &send(&mut rig, &syn)).expect("what happens");
    rig.finish();
}
