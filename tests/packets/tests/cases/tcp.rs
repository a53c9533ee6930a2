//! TCP: modulated numbers, challenges, what is counted as half open.

use packets::packet::{Error, error};
use packets::{Packet, Rig, Topology, tcp};
use wire::tcp as header;

use crate::{Family, at, both};

/// Initial sequence numbers of the two hosts.
pub(crate) const ISS_A: u32 = 1000;
pub(crate) const ISS_B: u32 = 5000;

/// The two ends of a connection, with segments from each side.
#[derive(Clone)]
pub(crate) struct Ends {
    there: Packet,
    back: Packet,
}

impl Ends {
    pub(crate) fn of(f: Family, port: u16) -> Self {
        let (a, b) = (at(f.a, port), at(f.b, 80));
        Ends {
            there: tcp(&a, &b, ""),
            back: tcp(&b, &a, ""),
        }
    }

    /// From the inside, with these numbers.
    pub(crate) fn there(&self, flags: &str, seq: u32, ack: u32) -> Packet {
        self.there.clone().with_flags(flags).seq(seq).ack(ack)
    }

    /// From the outside, with these numbers.
    pub(crate) fn back(&self, flags: &str, seq: u32, ack: u32) -> Packet {
        self.back.clone().with_flags(flags).seq(seq).ack(ack)
    }
}

/// The TCP header of a frame with an untagged Ethernet header; its checksum must be right.
pub(crate) fn segment_of(frame: &[u8]) -> header::Repr {
    let ip = &frame[14..];
    let is4 = ip[0] >> 4 == 4;
    let at = if is4 { 20 } else { 40 };
    let (src, dst): (std::net::IpAddr, std::net::IpAddr) = if is4 {
        let view = wire::ipv4::Packet::new_checked(ip).expect("IPv4");
        (view.src().into(), view.dst().into())
    } else {
        let view = wire::ipv6::Packet::new_checked(ip).expect("IPv6");
        (view.src().into(), view.dst().into())
    };
    let view = header::Packet::new_checked(&ip[at..]).expect("TCP");
    assert!(view.verify_checksum(src, dst), "{ip:x?}");
    header::Repr::parse(&view).expect("TCP options")
}

/// What left next by a port.
pub(crate) fn took(rig: &mut Rig, port: &str) -> header::Repr {
    let frame = rig
        .take(port)
        .unwrap_or_else(|| panic!("nothing left by {port}"));
    segment_of(&frame)
}

/// A server that answers by cookies while it is flooded chooses its number anew when the SYN comes again and it has room.
#[test]
fn a_server_may_answer_with_another_number_while_nobody_has_acknowledged_the_first() {
    const ANEW: u32 = 0x9000_0000;
    both("pass", &Topology::usual(), |rig, f| {
        let e = Ends::of(f, 1000);
        let syn = e.there("S", ISS_A, 0).wscale(7);
        // The first answer is lost behind the box.
        for number in [ISS_B, ANEW] {
            rig.send("sim0", &syn);
            rig.expect("sim1", &syn.hop());
            let answer = e.back("SA", number, ISS_A + 1).wscale(5);
            rig.send("sim1", &answer);
            rig.expect("sim0", &answer.hop());
        }
        rig.mark();
        let answer = e.back("SA", ANEW, ISS_A + 1).wscale(5);
        rig.exchange(
            "sim1",
            &answer,
            &[("sim0", answer.hop())],
            &f.counted("received passed searches sim1.in#.pass sim0.out#.pass r0.in r0.out"),
        );
        for (from, segment) in [
            ("sim0", e.there("A", ISS_A + 1, ANEW + 1)),
            ("sim1", e.back("PA", ANEW + 1, ISS_A + 1).data(1400)),
            ("sim0", e.there("PA", ISS_A + 1, ANEW + 1401).data(1400)),
        ] {
            let to = if from == "sim0" { "sim1" } else { "sim0" };
            let counted = "received passed searches FROM.in#.pass TO.out#.pass r0.in r0.out";
            let counted = counted.replace("FROM", from).replace("TO", to);
            rig.exchange(from, &segment, &[(to, segment.hop())], &f.counted(&counted));
        }
        // Once it is acknowledged no other will do.
        let late = e.back("SA", ISS_B, ISS_A + 1);
        let refused = "received searches sim1.in#.block drop:state-mismatch";
        rig.exchange("sim1", &late, &[], &f.counted(refused));
    });
}

#[test]
fn modulate_v4_and_v6_rewrite_the_sequence_number_of_a_syn_and_everything_that_follows() {
    both(
        "pass in on sim0 modulate state\npass out on sim1",
        &Topology::usual(),
        |rig, f| {
            let e = Ends::of(f, 1000);
            rig.send("sim0", &e.there("S", ISS_A, 0));
            let syn = took(rig, "sim1");
            let shift_a = syn.seq.wrapping_sub(ISS_A);
            assert_ne!(shift_a, 0);
            // Again, as after a loss: the same number.
            rig.send("sim0", &e.there("S", ISS_A, 0));
            assert_eq!(took(rig, "sim1").seq, syn.seq);
            // The answer acknowledges the number that the server saw.
            rig.send("sim1", &e.back("SA", ISS_B, syn.seq.wrapping_add(1)));
            let answer = took(rig, "sim0");
            assert_eq!(answer.ack, ISS_A + 1);
            let shift_b = answer.seq.wrapping_sub(ISS_B);
            assert_ne!(shift_b, 0, "the other side's numbers are shifted as well");
            rig.send("sim0", &e.there("A", ISS_A + 1, answer.seq.wrapping_add(1)));
            let ack = took(rig, "sim1");
            assert_eq!((ack.seq, ack.ack), (syn.seq.wrapping_add(1), ISS_B + 1));
            // Data both ways.
            rig.send(
                "sim1",
                &e.back("PA", ISS_B + 1, syn.seq.wrapping_add(1)).data(501),
            );
            let data = took(rig, "sim0");
            assert_eq!(
                (data.seq, data.ack),
                (answer.seq.wrapping_add(1), ISS_A + 1)
            );
            let ack = e
                .there("PA", ISS_A + 1, answer.seq.wrapping_add(502))
                .data(77);
            rig.send("sim0", &ack);
            assert_eq!(took(rig, "sim1").ack, ISS_B + 502);
            // An error about the data, from behind: the quotation gets the number that the sender knows.
            let seen = e.there("PA", ack_seq(&syn), ISS_B + 502).data(77).hop();
            rig.send("sim1", &error(f.b, &seen, Error::Unreachable(1, 3)));
            let frame = rig.take("sim0").expect("the error");
            let quoted = &frame[14
                + if f.digit == "4" {
                    20 + 8 + 20
                } else {
                    40 + 8 + 40
                }..];
            assert_eq!(quoted[4..8], (ISS_A + 1).to_be_bytes());
            rig.expect_nothing_more();
            rig.mark();
        },
    );
}

fn ack_seq(syn: &header::Repr) -> u32 {
    syn.seq.wrapping_add(1)
}

#[test]
fn modulate_leaves_a_connection_alone_that_was_picked_up_in_the_middle() {
    both(
        "pass flags any modulate state",
        &Topology::usual(),
        |rig, f| {
            let e = Ends::of(f, 1000);
            let data = e.there("PA", 77, 88).data(10);
            rig.send("sim0", &data);
            rig.expect("sim1", &data.hop());
            let answer = e.back("A", 88, 87);
            rig.send("sim1", &answer);
            rig.expect("sim0", &answer.hop());
            rig.expect_nothing_more();
            rig.mark();
        },
    );
}

#[test]
fn a_syn_on_an_established_connection_is_dropped_and_challenged() {
    both("pass", &Topology::usual(), |rig, f| {
        let e = Ends::of(f, 1000);
        rig.send("sim0", &e.there("S", ISS_A, 0));
        rig.send("sim1", &e.back("SA", ISS_B, ISS_A + 1));
        rig.send("sim0", &e.there("PA", ISS_A + 1, ISS_B + 1).data(9));
        rig.ignore_rest();
        rig.mark();
        // The client has forgotten everything.
        rig.send("sim0", &e.there("S", 777_777, 0));
        let challenge = took(rig, "sim0");
        assert_eq!(
            (
                challenge.flags,
                challenge.seq,
                challenge.ack,
                challenge.window
            ),
            (header::ACK, ISS_B + 1, ISS_A + 10, 0)
        );
        let counted = "received generated passed searches drop:state-mismatch sim0.in#.block";
        rig.counted(&f.counted(counted));
        // It says so, and then may begin anew.
        let reset = e.there("R", ISS_A + 10, 0);
        rig.send("sim0", &reset);
        rig.expect("sim1", &reset.hop());
        let syn = e.there("S", 777_777, 0);
        rig.send("sim0", &syn);
        rig.expect("sim1", &syn.hop());
        rig.expect_nothing_more();
        rig.mark();
    });
}

#[test]
fn reassemble_tcp_shifts_timestamps_refuses_impossible_ones_and_keeps_the_time_to_live() {
    let policy = "match in on sim0 scrub (reassemble tcp)\npass";
    both(policy, &Topology::usual(), |rig, f| {
        let e = Ends::of(f, 1000);
        rig.send("sim0", &e.there("S", ISS_A, 0).timestamps(100, 0));
        let (stamp, echo) = took(rig, "sim1").timestamps.expect("timestamps");
        let shift_a = stamp.wrapping_sub(100);
        assert!(shift_a != 0 && echo == 0);
        let answer = e.back("SA", ISS_B, ISS_A + 1).timestamps(5000, stamp);
        rig.send("sim1", &answer);
        let (stamp, echo) = took(rig, "sim0").timestamps.expect("timestamps");
        let shift_b = stamp.wrapping_sub(5000);
        assert!(shift_b != 0 && echo == 100);
        let there = |value: u32| {
            let packet = e.there("PA", ISS_A + 1, ISS_B + 1).data(5);
            packet.timestamps(value, shift_b.wrapping_add(5000))
        };
        // A lower time to live than the sender has shown is raised to that.
        rig.send("sim0", &there(101).ttl(3));
        let frame = rig.take("sim1").expect("the data");
        assert_eq!(frame[14 + if f.digit == "4" { 8 } else { 7 }], 63);
        let shown = segment_of(&frame).timestamps;
        assert_eq!(shown, Some((shift_a.wrapping_add(101), 5000)));
        // The other side echoes it; from then on nothing older comes.
        let echo = e.back("A", ISS_B + 1, ISS_A + 6);
        rig.send("sim1", &echo.timestamps(5001, shift_a.wrapping_add(101)));
        rig.ignore_rest();
        rig.mark();
        let refused = f.counted("received searches drop:bad-timestamp sim0.in#.block");
        let far = 101 + 31 * 1100 + 1100;
        for bad in [
            there(100),
            there(far),
            e.there("PA", ISS_A + 1, ISS_B + 1).data(5),
        ] {
            rig.exchange("sim0", &bad, &[], &refused);
        }
        rig.send("sim0", &there(102));
        assert_eq!(
            took(rig, "sim1").timestamps,
            Some((shift_a.wrapping_add(102), 5000))
        );
        rig.mark();
    });
}
