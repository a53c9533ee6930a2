use super::*;
use crate::key::Key;
use crate::table::StateTable;
use crate::ticks::ticks;
use crate::track::{Segment, TcpVerdict};

const SEED: HashSeed = HashSeed(77);

/// The two states of a UDP connection whose sides have both sent, through two interfaces.
fn udp_pair(table: &mut StateTable) -> [StateIdx; 2] {
    let peer = Peer {
        state: crate::track::TRAFFIC_MULTIPLE,
        ..Peer::default()
    };
    pair(table, PROTO_UDP, [peer; 2], Timeout::UdpMultiple)
}

fn pair(table: &mut StateTable, proto: u8, peer: [Peer; 2], timeout: Timeout) -> [StateIdx; 2] {
    let (client, server) = ((0x0a00_0001, 1000), (0xc633_6401, 53));
    let both = [Direction::In, Direction::Out].map(|direction| {
        let key = Key::new(direction, Af::Inet, proto, client, server);
        let st = State {
            wire: key,
            stack: key,
            direction,
            peer,
            timeout,
            ..State::default()
        };
        table.insert(&st, 60).unwrap()
    });
    table.link(both[0], both[1]);
    both
}

fn onwards(stamp: u32) -> Onwards {
    Onwards {
        interface: 3,
        exit: 5,
        lot: 0,
        is_bridged: false,
        stamp,
        beside: heapless::Vec::new(),
    }
}

fn ends(proto: u8, back: bool, interface: u16) -> Ends {
    let (client, server) = ([10, 0, 0, 1], [198, 51, 100, 1]);
    let (src, dst) = if back {
        (server, client)
    } else {
        (client, server)
    };
    let ports = if back {
        [0, 53, 3, 232]
    } else {
        [3, 232, 0, 53]
    };
    let [a, b, c, d] = src;
    let [e, f, g, h] = dst;
    Ends::inet(
        u64::from_ne_bytes([a, b, c, d, e, f, g, h]),
        u32::from_ne_bytes(ports),
        proto,
        interface,
    )
}

/// The flow that a packet with these ends finds.
fn find<'t>(table: &'t mut StateTable, ends: &Ends) -> Option<Entry<'t>> {
    let flows = table.flows();
    let hash = ends.hash(flows.seed());
    flows.confirm(flows.guess(hash), ends, hash)
}

/// A packet of 100 bytes wants to pass; how it leaves.
fn pass(table: &mut StateTable, ends: &Ends, stamp: u32, now: u32) -> Option<u16> {
    let mut entry = find(table, ends)?;
    entry.is_open(stamp).then(|| {
        entry.count(100, now);
        entry.way.exit
    })
}

#[test]
fn what_passed_a_flow_is_with_both_states_as_soon_as_anybody_looks() {
    let mut table = StateTable::new(8, SEED, 0, 0);
    let [a, b] = udp_pair(&mut table);
    table.remember(a, &onwards(1));
    let found = ends(PROTO_UDP, false, 3);
    assert!(find(&mut table, &found).is_some());
    for n in 1..=3 {
        let exit = pass(&mut table, &found, 1, ticks(1000 * n));
        assert_eq!(exit, Some(5));
    }
    let seen: Vec<_> = table
        .iter_from(0)
        .map(|(_, st)| (st.packets, st.bytes, st.last_seen))
        .collect();
    assert_eq!(seen, [([3, 0], [300, 0], 300); 2]);
    assert_eq!(table.peek(a).unwrap().packets, [0, 0], "only shown");
    let key = table.peek(a).unwrap().wire;
    assert_eq!(table.find_way(Direction::In, &key), Some(a));
    for idx in [a, b] {
        let st = table.get(idx).unwrap();
        assert_eq!(
            (st.packets, st.bytes, st.last_seen),
            ([3, 0], [300, 0], 300)
        );
    }
    assert_eq!(pass(&mut table, &found, 1, 0), None, "asleep");
    table.remember(a, &onwards(1));
    let number = find(&mut table, &found).unwrap().refuse();
    assert_eq!(
        pass(&mut table, &found, 1, 0),
        None,
        "nothing overtakes what it refused"
    );
    table.put_to_sleep(number);
}

#[test]
fn a_flow_serves_its_own_interface_and_stamp_alone() {
    let mut table = StateTable::new(8, SEED, 0, 0);
    let [a, b] = udp_pair(&mut table);
    table.remember(a, &onwards(1));
    assert!(find(&mut table, &ends(PROTO_UDP, false, 4)).is_none());
    assert!(find(&mut table, &ends(PROTO_UDP, true, 3)).is_none());
    assert!(find(&mut table, &ends(PROTO_TCP, false, 3)).is_none());
    let found = ends(PROTO_UDP, false, 3);
    assert_eq!(pass(&mut table, &found, 2, 0), None);
    // The other way is learned when a packet goes there, and the connection may move.
    table.remember(b, &onwards(1));
    assert!(find(&mut table, &ends(PROTO_UDP, true, 3)).is_some());
    let moved = Onwards {
        interface: 9,
        ..onwards(1)
    };
    table.remember(b, &moved);
    assert!(find(&mut table, &ends(PROTO_UDP, true, 3)).is_none());
    let found = ends(PROTO_UDP, true, 9);
    assert_eq!(pass(&mut table, &found, 1, 0), Some(5));
    assert_eq!(table.flows().len(), 1);
}

#[test]
fn a_flow_goes_with_either_state_and_with_their_link() {
    for goes in 0..3 {
        let mut table = StateTable::new(8, SEED, 0, 0);
        let both = udp_pair(&mut table);
        table.remember(both[0], &onwards(1));
        table.remember(both[1], &onwards(1));
        let found = ends(PROTO_UDP, true, 3);
        assert_eq!(pass(&mut table, &found, 1, 700), Some(5));
        match goes {
            2 => table.link(both[0], both[1]),
            n => assert_eq!(table.remove(both[n]).unwrap().packets, [0, 1]),
        }
        assert!(table.flows().is_empty());
        for back in [false, true] {
            assert!(find(&mut table, &ends(PROTO_UDP, back, 3)).is_none());
        }
        for (_, st) in table.iter_from(0) {
            assert_eq!((st.packets, st.flow), ([0, 1], InFlow::No));
        }
    }
}

#[test]
fn a_sweep_sees_when_the_last_packet_came() {
    let mut table = StateTable::new(8, SEED, 0, 0);
    let [a, _] = udp_pair(&mut table);
    table.remember(a, &onwards(1));
    let found = ends(PROTO_UDP, false, 3);
    for now in (0..300_000).step_by(500) {
        let exit = pass(&mut table, &found, 1, ticks(now));
        assert_eq!(exit, Some(5), "a sweep lets flows go on");
        table.sweep(now, 10, |_| 60, |_| panic!("purged at {now}"));
        table.scan(now, 10, 10, |_| 60, |_| panic!("found at {now}"));
        // A scan that has to know puts the flow to sleep, which the next packet ends.
        table.remember(a, &onwards(1));
    }
    for now in (300_000..370_000).step_by(500) {
        table.sweep(now, 10, |_| 60, |_| {});
    }
    assert!(table.is_empty() && table.flows().is_empty());
}

#[test]
fn states_that_ask_for_more_have_no_flow() {
    let open = |timeout: Timeout, change: &dyn Fn(&mut State)| {
        let mut table = StateTable::new(8, SEED, 0, 0);
        let peer = Peer {
            seq_lo: 10,
            seq_hi: 20,
            win_max: 100,
            state: TcpState::Established as u8,
            ..Peer::default()
        };
        let [a, b] = pair(&mut table, PROTO_TCP, [peer; 2], timeout);
        change(table.get_mut(b).unwrap());
        table.remember(a, &onwards(1));
        !table.flows().is_empty()
    };
    assert!(open(Timeout::TcpEstablished, &|_| {}));
    assert!(!open(Timeout::TcpOpening, &|_| {}));
    let changes: [&dyn Fn(&mut State); 7] = [
        &|st| st.flags |= StateFlags::LOG_ALL,
        &|st| st.flags |= StateFlags::SLOPPY,
        &|st| st.peer[1].state = TcpState::Closing as u8,
        &|st| st.peer[0].seq_hi += 1,
        &|st| st.peer[0].seq_diff = 1,
        &|st| st.stamps = 0,
        &|st| st.direction = Direction::In,
    ];
    for (n, change) in changes.iter().enumerate() {
        assert!(!open(Timeout::TcpEstablished, change), "change {n}");
    }
}

/// xorshift.
fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

/// A number near `base`, or anything.
fn near(seed: &mut u64, base: u32) -> u32 {
    match random(seed) % 4 {
        0 => base,
        1 => base.wrapping_add(random(seed) as u32 % 3000),
        2 => base.wrapping_sub(random(seed) as u32 % 70_000),
        _ => random(seed) as u32,
    }
}

#[test]
fn plain_segments_are_judged_as_all_segments_are() {
    let mut seed = 0x1234_5678_9abc_def1;
    let mut passed = 0;
    for n in 0..300_000 {
        let lo = if n % 50 == 0 {
            0
        } else {
            random(&mut seed) as u32
        };
        let mut peer = |lo| Peer {
            seq_lo: lo,
            seq_hi: near(&mut seed, lo),
            win_max: random(&mut seed) as u16,
            wscale: [0, 0x80, 0x82, 0x8e][random(&mut seed) as usize % 4],
            state: TcpState::Established as u8,
            seq_diff: 0,
        };
        let (src, dst) = (peer(lo), peer(lo ^ 0x5555));
        let plain = Plain {
            seq: near(&mut seed, src.seq_lo),
            ack: near(&mut seed, dst.seq_lo),
            window: random(&mut seed) as u16,
            payload: [0, 1, 1460][random(&mut seed) as usize % 3],
        };
        let segment = Segment {
            seq: plain.seq,
            ack: plain.ack,
            window: plain.window,
            flags: tcp::ACK,
            wscale: None,
            payload: plain.payload,
        };
        let (mut fast, mut full) = ((src, dst), (src, dst));
        let passes = tcp::track_plain(&mut fast.0, &mut fast.1, &plain);
        let (verdict, timeout) = tcp::track(&mut full.0, &mut full.1, &segment);
        if passes {
            passed += 1;
            let expected = (TcpVerdict::Pass, Timeout::TcpEstablished);
            assert_eq!((verdict, timeout), expected, "{src:?} {dst:?} {plain:?}");
            assert_eq!(fast, full, "{src:?} {dst:?} {plain:?}");
        } else {
            assert_eq!(fast, (src, dst), "what is refused changes nothing");
            let unheard = src.seq_lo == 0 || dst.seq_lo == 0;
            assert!(
                unheard || verdict != TcpVerdict::Pass,
                "{src:?} {dst:?} {plain:?}"
            );
        }
    }
    assert!(passed > 10_000, "{passed}");
}
