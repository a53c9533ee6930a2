//! Packets of established connections take the express, and nobody can tell: two boxes, one without it, get the same
//! packets; what leaves them, what they count and what their states say must be the same, whatever is in between.

use packets::{Packet, Rig, Spread, Topology, tcp, udp};
use simnic::rng::Rng;

use crate::{A, A6, B, B6};

/// Steps of one random conversation.
const STEPS: usize = 400;
/// Connections at a time.
const TALKS: usize = 6;

/// Rules under which there are flows, and some under which there are none.
const POLICIES: &[&str] = &[
    "pass",
    "block\npass in on sim0 proto { tcp udp }\npass out on sim1 proto { tcp udp }",
    "set state-policy if-bound\npass\npass in on sim1 proto udp",
    "match out on sim1 nat-to 198.51.100.1\npass",
    "match in on sim0 to 198.51.100.2 rdr-to 198.51.100.254\nmatch out on sim1 nat-to 198.51.100.1\npass",
    "match in on sim0 to 198.51.100.2 rdr-to 198.51.100.254\npass",
    "pass in on sim0 from any to any keep state (sloppy)\npass out on sim1 keep state (sloppy)",
    "pass in on sim0 keep state (sloppy)\npass out on sim1",
    "match log (all) proto udp\npass\nmatch tag T",
    "pass modulate state",
    "pass scrub (reassemble tcp min-ttl 10 max-mss 500)",
    "pass keep state (max 100, source-track rule, max-src-conn 50)",
    "set skip on sim1\npass",
    "table <t> counters { 192.0.2.2 }\npass from <t>\npass",
    "set timeout { udp.single 2 udp.multiple 5 tcp.established 8 }\npass",
    "set syncookies always\npass\npass out on sim1 flags any",
    "pass in on sim0 no state\npass",
];

/// A client on `sim0`, a server on `sim1`, and what each of them knows.
#[derive(Clone, Debug)]
pub(crate) struct Talk {
    is_tcp: bool,
    /// The ends as the client sees them: its own, the server's.
    pub(crate) near: [String; 2],
    /// The ends as the server sees them, once something has come: the client's, its own.
    pub(crate) far: Option<[String; 2]>,
    /// Next number of each side, and the next it expects of the other.
    seq: [u32; 2],
    pub(crate) expects: [u32; 2],
    /// Steps of the handshake done.
    stage: u8,
}

/// The ends of a frame, as `address:port`, with the number behind its last byte if it is TCP.
pub(crate) fn ends(frame: &[u8]) -> Option<([String; 2], u32)> {
    use wire::{ipv4, ipv6};
    let ip = frame.get(14..)?;
    let (src, dst, proto, l4) = match frame.get(12..14)? {
        [8, 0] => {
            let packet = ipv4::Packet::new_checked(ip).ok()?;
            let l4 = ip.get(packet.header_len()..usize::from(packet.total_len()))?;
            (
                packet.src().to_string(),
                packet.dst().to_string(),
                packet.protocol(),
                l4,
            )
        }
        _ => {
            let packet = ipv6::Packet::new_checked(ip).ok()?;
            let of = |addr| format!("[{addr}]");
            let l4 = ip.get(40..)?;
            (of(packet.src()), of(packet.dst()), packet.next_header(), l4)
        }
    };
    let port = |at: usize| Some(u16::from_be_bytes([*l4.get(at)?, *l4.get(at + 1)?]));
    let ends = [format!("{src}:{}", port(0)?), format!("{dst}:{}", port(2)?)];
    if proto != 6 {
        return Some((ends, 0));
    }
    let segment = wire::tcp::Packet::new_checked(l4).ok()?;
    let len = l4.len() - segment.header_len();
    let more = (segment.flags() & 3).count_ones();
    Some((ends, segment.seq().wrapping_add(len as u32 + more)))
}

impl Talk {
    pub(crate) fn new(rng: &mut Rng, n: u64) -> Talk {
        let (a, b) = match rng.below(4) {
            0 => (format!("[{A6}]"), format!("[{B6}]")),
            _ => (A.into(), B.into()),
        };
        let start = |rng: &mut Rng| match rng.below(3) {
            0 => u32::MAX - rng.below(3000) as u32,
            _ => rng.next_u64() as u32,
        };
        Talk {
            is_tcp: rng.chance(0.6),
            near: [
                format!("{a}:{}", 2000 + n),
                format!("{b}:{}", 7000 + rng.below(3)),
            ],
            far: None,
            seq: [start(rng), start(rng)],
            expects: [0; 2],
            stage: 0,
        }
    }

    /// The next packet of one side: 0 is the client.
    pub(crate) fn next(&mut self, rng: &mut Rng) -> (&'static str, Packet) {
        let side = match (self.is_tcp, self.stage) {
            (true, 0 | 2) => 0,
            (true, 1) => 1,
            _ => rng.below(2) as usize,
        };
        let side = if self.far.is_none() { 0 } else { side };
        let far = self.far.clone().unwrap_or_default();
        let (port, [src, dst]) = match side {
            0 => ("sim0", self.near.clone()),
            _ => ("sim1", [far[1].clone(), far[0].clone()]),
        };
        let packet = match self.is_tcp {
            true => self.segment(rng, side, &src, &dst),
            false => udp(&src, &dst).data(size(rng)),
        };
        (port, packet.ttl(ttl(rng)).tos(rng.below(256) as u8))
    }

    fn segment(&mut self, rng: &mut Rng, side: usize, src: &str, dst: &str) -> Packet {
        let (flags, len) = match (self.stage, rng.below(200)) {
            (0, _) => ("S", 0),
            (1, _) => ("SA", 0),
            (2, _) => ("A", 0),
            (_, 0) => ("FA", 0),
            (_, 1) => ("R", 0),
            (_, 2) => ("S", 0),
            (_, 3) => ("UA", 5),
            (_, 4..60) => ("A", 0),
            (_, 60..120) => ("PA", size(rng)),
            _ => ("A", size(rng)),
        };
        let seq = match rng.below(60) {
            0 => rng.next_u64() as u32,
            1 => self.seq[side].wrapping_sub(rng.below(100_000) as u32),
            2 => self.seq[side].wrapping_add(rng.below(100_000) as u32),
            _ => self.seq[side],
        };
        let ack = match rng.below(60) {
            0 => rng.next_u64() as u32,
            _ => self.expects[side],
        };
        let more = flags.contains(['S', 'F']);
        if seq == self.seq[side] {
            self.seq[side] = seq.wrapping_add(len as u32 + u32::from(more));
        }
        self.stage = (self.stage + 1).min(3);
        let packet = tcp(src, dst, flags).seq(seq).ack(ack).data(len);
        let packet = packet.window([0, 1, 1000, 65535][rng.below(4) as usize]);
        match flags {
            "S" | "SA" => packet.wscale(7).mss(1460),
            _ => packet,
        }
    }
}

fn size(rng: &mut Rng) -> usize {
    match rng.below(30) {
        0 => 1600,
        n => [0, 1, 5, 100, 1400][n as usize % 5],
    }
}

fn ttl(rng: &mut Rng) -> u8 {
    match rng.below(30) {
        0 => 1,
        1 => 2,
        2 => 255,
        _ => 64,
    }
}

/// What left a port. Of one connection the order is kept; which of two connections comes first may differ.
fn left(rig: &mut Rig, port: &str) -> Vec<Vec<u8>> {
    let mut frames: Vec<Vec<u8>> = core::iter::from_fn(|| rig.take(port)).collect();
    frames.sort_by_key(|frame| ends(frame).map(|(ends, _)| ends));
    frames
}

pub(crate) fn states(rig: &Rig) -> Vec<String> {
    let of = |mut st: state::State| {
        // Caches of the long way: flows keep theirs with the next hop.
        (st.flow, st.egress) = Default::default();
        format!("{st:?}")
    };
    rig.states().into_iter().map(of).collect()
}

/// Both boxes, of which the second has no express.
pub(crate) struct Pair(pub(crate) [Rig; 2]);

impl Pair {
    fn new(policy: &str, spread: Spread) -> Pair {
        let with = Topology::usual();
        let without = Topology::usual().without_express();
        Pair([&with, &without].map(|topology| Rig::with(policy, topology, spread)))
    }

    pub(crate) fn each(&mut self, act: impl Fn(&mut Rig)) {
        self.0.iter_mut().for_each(act);
    }

    /// What left by a port, the same from both.
    pub(crate) fn agree(&mut self, port: &str, what: &str) -> Vec<Vec<u8>> {
        let [with, without] = self.0.each_mut().map(|rig| left(rig, port));
        assert_eq!(with, without, "{port} after {what}");
        with
    }

    /// What the box has got for itself, the same in both.
    pub(crate) fn agree_on_host(&mut self, what: &str) {
        let [with, without] = self.0.each_mut().map(|rig| {
            let mut packets: Vec<_> = core::iter::from_fn(|| rig.take_host()).collect();
            packets.sort();
            packets
        });
        assert_eq!(with, without, "host after {what}");
    }

    fn agree_on_counts(&self, what: &str) {
        let [with, without] = &self.0;
        assert_eq!(with.tally(), without.tally(), "{what}");
        assert_eq!(states(with), states(without), "{what}");
    }
}

fn converse(policy: &str, spread: Spread, seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let mut boxes = Pair::new(policy, spread);
    let mut begun = 0;
    let mut talks: Vec<Talk> = Vec::new();
    for step in 0..STEPS {
        let what = format!("step {step} of seed {seed} under {policy:?}, {spread:?}");
        if talks.len() < TALKS || rng.below(40) == 0 {
            begun += 1;
            if talks.len() == TALKS {
                talks.remove(rng.below(TALKS as u64) as usize);
            }
            talks.push(Talk::new(&mut rng, begun));
        }
        let burst = match rng.below(4) {
            0 => 1 + rng.below(20),
            _ => 1,
        };
        // The ends that the other side sees are learned from one packet at a time.
        let fresh = talks.iter().position(|talk| talk.far.is_none());
        let burst = if fresh.is_some() { 1 } else { burst };
        for _ in 0..burst {
            let at = fresh.unwrap_or(rng.below(talks.len() as u64) as usize);
            let (port, packet) = talks[at].next(&mut rng);
            boxes.each(|rig| rig.arrive(port, &packet));
        }
        boxes.each(Rig::run);
        for (side, port) in [(0, "sim0"), (1, "sim1")] {
            for frame in boxes.agree(port, &what) {
                let Some((ends, next)) = ends(&frame) else {
                    continue;
                };
                if let (1, Some(at)) = (side, fresh) {
                    talks[at].far = Some(ends.clone());
                }
                let is_its = |talk: &&mut Talk| match side {
                    0 => talk.near == [ends[1].clone(), ends[0].clone()],
                    _ => talk.far.as_ref() == Some(&ends),
                };
                if let Some(talk) = talks.iter_mut().find(is_its) {
                    talk.expects[side] = next;
                }
            }
        }
        boxes.agree_on_host(&what);
        boxes.agree_on_counts(&what);
        match rng.below(60) {
            0 => boxes.each(|rig| rig.reload(policy)),
            1 => boxes.each(|rig| rig.advance(9_000)),
            2 => boxes.each(|rig| {
                rig.kill(filter::Kill::default());
            }),
            3..8 => {
                let ms = rng.below(3000);
                boxes.each(|rig| rig.advance(ms));
            }
            _ => {}
        }
        boxes.agree_on_counts(&what);
    }
    boxes.each(Rig::ignore_rest);
    boxes.0.iter().map(Rig::served).max().unwrap_or(0)
}

#[test]
fn nobody_can_tell_that_a_packet_took_the_express() {
    for (n, policy) in POLICIES.iter().enumerate() {
        let served = converse(policy, Spread::ONE, n as u64);
        println!("{served} packets served under {policy:?}");
        assert!(
            n > 5 || served > 100,
            "{served} packets served under {policy:?}"
        );
    }
}

#[test]
fn nor_with_several_workers() {
    for (n, spread) in Spread::ALL.into_iter().enumerate() {
        for policy in [POLICIES[0], POLICIES[4], POLICIES[5]] {
            let served = converse(policy, spread, 100 + n as u64);
            assert!(served > 100, "{served} served under {policy:?}, {spread:?}");
        }
    }
}
