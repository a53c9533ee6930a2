//! What nobody here made up: captures of others, and frames spoiled at random. Whatever arrives, no panic, no lost
//! buffer, books that balance after every turn, and one verdict per packet.

use std::path::{Path, PathBuf};

use packets::packet::{Error, error};
use packets::rig::{arp_frame, discovery};
use packets::{Rig, Spread, Topology, echo, raw, tcp, udp};
use simnic::capture;
use simnic::rng::Rng;
use wire::{arp, ether, icmp6, ipv6};

const POLICIES: [&str; 4] = [
    "pass no state",
    "block return",
    "set skip on sim1\npass allow-opts keep state (sloppy)",
    "table <t> { 10/8, !10.1/16, fe80::/10 }\nblock return\npass out\npass in on sim0 tag seen
     pass in on sim1 from <t>\nblock out quick fragment\nmatch out tagged seen",
];

const SPREADS: [Spread; 2] = [
    Spread::ONE,
    Spread {
        workers: 2,
        rss: false,
        order: 5,
    },
];

/// The conformance data beside the repository, if it is there.
fn shared() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    let path = std::env::var_os("FUGU_SHARED").map_or_else(beside, PathBuf::from);
    path.join("pcaps").is_dir().then_some(path)
}

/// All files below `dir`, in order.
fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    let entries = std::fs::read_dir(dir).expect("a readable directory");
    let mut paths: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, out);
        } else {
            out.push(path);
        }
    }
}

/// A network whose hosts are everybody.
fn anywhere() -> Topology {
    Topology::usual()
}

/// Gives one frame to a port: as it is, and, if it was for one station, as if it was for ours. Counts what was taken.
fn offer(rig: &mut Rig, port: &str, frame: &[u8]) -> i64 {
    let mut taken = i64::from(rig.offer_frame(port, frame));
    if frame.len() >= 6 && frame[0] & 1 == 0 {
        let mut ours = frame.to_vec();
        ours[..6].copy_from_slice(&rig.mac(port).0);
        taken += i64::from(rig.offer_frame(port, &ours));
    }
    rig.ignore_rest();
    taken
}

#[test]
fn captures_of_others_are_survived_and_accounted_for() {
    let Some(shared) = shared() else {
        println!("skipped: no ../shared");
        return;
    };
    let mut paths = Vec::new();
    files(&shared.join("pcaps"), &mut paths);
    let (mut captures, mut frames, mut unread) = (0, 0, 0);
    for (n, policy) in POLICIES.iter().enumerate() {
        for spread in SPREADS {
            let mut rig = Rig::with(policy, &anywhere(), spread);
            for path in &paths {
                let bytes = capture::load(path).expect("a readable file");
                let Ok(reader) = capture::Reader::new(&bytes) else {
                    continue;
                };
                let at = format!("{} under {policy:?}, {spread:?}", path.display());
                let (mut taken, mut seen) = (0, 0);
                rig.mark();
                let _named = Named(&at);
                for packet in reader {
                    let Some(frame) = packet
                        .ok()
                        .and_then(|p| p.ethernet().map(|f| f.into_owned()))
                    else {
                        unread += 1;
                        continue;
                    };
                    seen += 1;
                    taken += offer(&mut rig, ["sim0", "sim1"][(seen & 1) as usize], &frame);
                }
                let received = rig.changes().get("received").copied().unwrap_or(0);
                // The hosts answer for themselves.
                assert!(received >= taken, "{received} received of {taken}: {at}");
                rig.check_books();
                captures += usize::from(n == 0 && spread == Spread::ONE);
                frames += taken;
                rig.advance(100);
            }
            rig.ignore_rest();
            rig.finish();
        }
    }
    println!("{captures} captures, {frames} frames, {unread} packets without a frame");
    assert!(captures > 500, "{captures} captures read");
}

/// Says in what a panic happened.
struct Named<'a>(&'a str);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("in {}", self.0);
        }
    }
}

/// Frames of every kind that the box knows, to be spoiled.
fn good_frames(rig: &Rig) -> Vec<Vec<u8>> {
    let (a, b, a6, b6) = (
        "192.0.2.2",
        "198.51.100.2",
        "2001:db8:1::2",
        "2001:db8:2::2",
    );
    let (own, host) = (
        rig.mac("sim0"),
        rig.station("sim0", a.parse().expect("an address")),
    );
    let six = |ip: &str| -> std::net::Ipv6Addr { ip.parse().expect("an address") };
    let datagram = udp("192.0.2.2:1000", "198.51.100.2:53");
    let datagram6 = udp("[2001:db8:1::2]:1000", "[2001:db8:2::2]:53");
    let mut frames: Vec<Vec<u8>> = [
        datagram.clone(),
        datagram6.clone(),
        tcp("192.0.2.2:1000", "198.51.100.2:80", "S").wscale(7),
        tcp("[2001:db8:1::2]:1000", "[2001:db8:2::2]:80", "A").data(100),
        echo(a, b, 1, 1),
        echo(a6, b6, 1, 1),
        echo(a, "192.0.2.1", 1, 1),
        raw(a, b, 47, &[0; 30]),
        error(
            a,
            &udp("198.51.100.2:53", "192.0.2.2:1000"),
            Error::TooBig(1400),
        )
        .to(b),
        error(
            a6,
            &udp("[2001:db8:2::2]:53", "[2001:db8:1::2]:1000"),
            Error::TimeExceeded,
        )
        .to(b6),
        datagram.clone().options(&[7, 7, 4, 0, 0, 0, 0, 0]),
        datagram.clone().data(1472),
        datagram6
            .clone()
            .extension(0, &[0, 5, 2, 0, 0, 1, 0])
            .extension(43, &[0, 4, 0, 0, 0, 0, 0]),
        datagram6
            .clone()
            .extension(60, &[0, 1, 4, 0, 0, 0, 0])
            .extension(44, &[0, 0, 1, 0, 0, 0, 7]),
    ]
    .iter()
    .chain(&datagram.data(900).pieces(400))
    .chain(&datagram6.data(900).pieces(400))
    .map(|p| p.frame(host, own))
    .collect();
    frames.push(arp_frame(&arp::Repr {
        operation: arp::Operation::REQUEST,
        sender_ether: host,
        sender_ip: a.parse().expect("an address"),
        target_ether: ether::Addr([0; 6]),
        target_ip: "192.0.2.1".parse().expect("an address"),
    }));
    let group = ipv6::solicited_node(six("2001:db8:1::1"));
    let question = icmp6::Repr::NeighborSolicit(icmp6::NeighborSolicit {
        target: six("2001:db8:1::1"),
        source_link: Some(host),
    });
    let station = ether::Addr::multicast6(group);
    frames.push(discovery((host, six(a6)), (station, group), &question));
    frames
}

/// Changes a few bytes behind the station addresses, cuts, or lengthens.
fn spoil(frame: &mut Vec<u8>, rng: &mut Rng) {
    for _ in 0..1 + rng.below(4) {
        let at = 12 + rng.below(frame.len().saturating_sub(12).max(1) as u64) as usize;
        let at = at.min(frame.len().saturating_sub(1));
        match rng.below(8) {
            0 => frame.truncate(at.max(1)),
            1 => frame.extend(std::iter::repeat_n(rng.next_u64() as u8, at)),
            2 => frame[at] = [0, 0xff, 1, 0x7f, 0x80][rng.below(5) as usize],
            3 => frame[at] ^= 1 << rng.below(8),
            // Header bytes more often than data.
            4..=6 => {
                let near = (14 + rng.below(60) as usize).min(frame.len() - 1);
                frame[near] = rng.next_u64() as u8;
            }
            _ => {
                let from = rng.below(frame.len() as u64) as usize;
                let piece = frame[from..].to_vec();
                let at = at.min(frame.len());
                frame.splice(at..at, piece);
            }
        }
        frame.truncate(1900);
    }
    // Half of them with a right header checksum, or none would get past it.
    if rng.chance(0.5) && frame.len() >= 34 && frame[14] == 0x45 {
        wire::ipv4::Packet::new_unchecked(&mut frame[14..]).fill_checksum();
    }
}

#[test]
fn spoiled_frames_are_survived_and_accounted_for() {
    /// Frames per policy and spread.
    const FRAMES: usize = 20_000;
    let seed = std::env::var("FUGU_SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(20_261_121);
    println!("FUGU_SEED={seed}");
    for (n, policy) in POLICIES.iter().enumerate() {
        for spread in SPREADS {
            let mut rng = Rng::new(seed + n as u64);
            let mut rig = Rig::with(policy, &Topology::usual(), spread);
            let good = good_frames(&rig);
            rig.mark();
            let mut taken = 0;
            for _ in 0..FRAMES {
                let mut frame = good[rng.below(good.len() as u64) as usize].clone();
                spoil(&mut frame, &mut rng);
                let port = if rng.chance(0.8) { "sim0" } else { "sim1" };
                if port == "sim1" {
                    frame.resize(frame.len().max(6), 0);
                    frame[..6].copy_from_slice(&rig.mac("sim1").0);
                }
                taken += i64::from(rig.offer_frame(port, &frame));
                rig.ignore_rest();
            }
            let changes = rig.changes();
            assert!(changes["received"] >= taken && taken > FRAMES as i64 / 2);
            // Some of everything: otherwise the frames are spoiled too much to test anything.
            for name in [
                "passed",
                "drop:normalize",
                "drop:short",
                "drop:proto-cksum",
                "consumed",
            ] {
                assert!(
                    changes.get(name).is_some_and(|n| *n > 5),
                    "{name}: {changes:?}"
                );
            }
            rig.finish();
        }
    }
}
