//! States: TCP windows and resets, timeouts, ICMP, limits, options of the state clause.

use packets::packet::{Error, error, icmp_message};
use packets::{Packet, Rig, Topology, echo, echo_reply, everywhere, raw, tcp, udp};
use state::TcpState;

use crate::{A, A6, B, B6, Family, INET, at, both};

/// A later packet from the inside, by rule 0's states.
const THERE: &str = "received passed searches sim0.in#.pass sim1.out#.pass r0.in r0.out";
/// A later packet from the outside.
const BACK: &str = "received passed searches sim1.in#.pass sim0.out#.pass r0.in r0.out";
/// From the outside, and it does not fit the state.
const BACK_REFUSED: &str = "received drop:state-mismatch searches sim1.in#.block";
/// From the inside likewise.
const THERE_REFUSED: &str = "received drop:state-mismatch searches sim0.in#.block";

fn usual() -> Topology {
    Topology::usual()
}

/// One TCP connection from the inside to the outside.
struct Connection {
    there: Packet,
    back: Packet,
    family: Family,
}

/// Initial sequence numbers.
const ISS_A: u32 = 1000;
const ISS_B: u32 = 5000;

impl Connection {
    fn of(family: Family, port: u16) -> Self {
        let (a, b) = (at(family.a, port), at(family.b, 80));
        Connection {
            there: tcp(&a, &b, ""),
            back: tcp(&b, &a, ""),
            family,
        }
    }

    fn there(&self, flags: &str, seq: u32, ack: u32) -> Packet {
        with(
            &self.there,
            flags,
            ISS_A.wrapping_add(seq),
            ISS_B.wrapping_add(ack),
        )
    }

    fn back(&self, flags: &str, seq: u32, ack: u32) -> Packet {
        with(
            &self.back,
            flags,
            ISS_B.wrapping_add(seq),
            ISS_A.wrapping_add(ack),
        )
    }

    /// A packet from the inside that must pass.
    fn passes_there(&self, rig: &mut Rig, packet: &Packet) {
        let counted = self.family.counted(THERE);
        rig.exchange("sim0", packet, &[("sim1", packet.hop())], &counted);
    }

    /// A packet from the outside that must pass.
    fn passes_back(&self, rig: &mut Rig, packet: &Packet) {
        let counted = self.family.counted(BACK);
        rig.exchange("sim1", packet, &[("sim0", packet.hop())], &counted);
    }

    fn refused_there(&self, rig: &mut Rig, packet: &Packet) {
        rig.exchange("sim0", packet, &[], &self.family.counted(THERE_REFUSED));
    }

    fn refused_back(&self, rig: &mut Rig, packet: &Packet) {
        rig.exchange("sim1", packet, &[], &self.family.counted(BACK_REFUSED));
    }

    /// The handshake; both sides are ESTABLISHED after it.
    fn opened(self, rig: &mut Rig) -> Self {
        let syn = self.there("S", 0, 0).ack(0);
        rig.send("sim0", &syn);
        rig.expect("sim1", &syn.hop());
        rig.mark();
        self.passes_back(rig, &self.back("SA", 0, 1));
        self.passes_there(rig, &self.there("A", 1, 1));
        self
    }
}

fn with(ends: &Packet, flags: &str, seq: u32, ack: u32) -> Packet {
    ends.clone().with_flags(flags).seq(seq).ack(ack)
}

/// (inside's state, outside's state) as all states of the box have them.
fn sides(rig: &Rig) -> (u8, u8) {
    let states = rig.states();
    assert_eq!(states.len(), 2, "{states:#?}");
    let of = |st: &state::State| (st.peer[0].state, st.peer[1].state);
    assert_eq!(of(&states[0]), of(&states[1]), "both states agree");
    of(&states[0])
}

const ESTABLISHED: u8 = TcpState::Established as u8;
const FIN_WAIT_2: u8 = TcpState::FinWait2 as u8;
const TIME_WAIT: u8 = TcpState::TimeWait as u8;

#[test]
fn a_tcp_connection_is_followed_from_handshake_to_close() {
    both("pass", &usual(), |rig, f| {
        let c = Connection::of(f, 1000).opened(rig);
        assert_eq!(sides(rig), (ESTABLISHED, ESTABLISHED));
        c.passes_there(rig, &c.there("PA", 1, 1).data(100));
        c.passes_back(rig, &c.back("A", 1, 101));
        c.passes_back(rig, &c.back("PA", 1, 101).data(1400));
        c.passes_there(rig, &c.there("A", 101, 1401));
        // The same again, as after a loss.
        c.passes_back(rig, &c.back("PA", 1, 101).data(1400));
        c.passes_there(rig, &c.there("FA", 101, 1401));
        c.passes_back(rig, &c.back("A", 1401, 102));
        c.passes_back(rig, &c.back("FA", 1401, 102));
        c.passes_there(rig, &c.there("A", 102, 1402));
        assert_eq!(sides(rig), (FIN_WAIT_2, FIN_WAIT_2));
        // tcp.closed: 90 seconds.
        rig.advance(87_000);
        assert_eq!(rig.states().len(), 2);
        rig.advance(8_000);
        assert_eq!(rig.states().len(), 0);
    });
}

#[test]
fn data_outside_the_window_is_dropped_and_changes_nothing() {
    both(
        "block\npass in on sim0\npass out on sim1",
        &usual(),
        |rig, f| {
            let c = Connection::of(f, 1000);
            rig.send("sim0", &c.there("S", 0, 0).ack(0).window(1000));
            rig.send("sim1", &c.back("SA", 0, 1).window(2000));
            rig.send("sim0", &c.there("A", 1, 1).window(1000));
            rig.ignore_rest();
            rig.mark();
            for (what, packet, fits) in [
                (
                    "the last byte that the inside takes",
                    c.back("A", 1, 1).data(1000),
                    true,
                ),
                ("one byte too much", c.back("A", 1001, 1).data(1), false),
                ("far beyond", c.back("A", 100_000, 1).data(10), false),
                (
                    "older than a window",
                    c.back("A", 0u32.wrapping_sub(1100), 1).data(10),
                    false,
                ),
                ("within the window before", c.back("A", 5, 1).data(10), true),
                (
                    "acknowledges what was never sent",
                    c.back("A", 1, 70_000).data(1),
                    false,
                ),
            ] {
                eprintln!("{what}");
                rig.mark();
                rig.send("sim1", &packet);
                let passed = rig.take("sim0").is_some();
                let mismatch = rig.changes().contains_key("drop:state-mismatch");
                assert_eq!((passed, mismatch), (fits, !fits), "{what}");
            }
            assert_eq!(sides(rig), (ESTABLISHED, ESTABLISHED));
            rig.mark();
            // What was wrong has moved nothing: the connection goes on.
            rig.send("sim0", &c.there("A", 1, 1001).data(500));
            assert!(rig.take("sim1").is_some());
        },
    );
}

#[test]
fn windows_are_scaled_once_both_sides_have_offered_it() {
    both("pass", &usual(), |rig, f| {
        // (shift of the inside, of the outside, whether a byte fits that only a window of 1000 << 7 takes)
        let offers = [(Some(7), Some(3), true), (Some(7), None, false)];
        for (port, (inside, outside, fits)) in (2000..).zip(offers) {
            let c = Connection::of(f, port);
            let scaled = |p: Packet, shift: Option<u8>| match shift {
                Some(shift) => p.wscale(shift),
                None => p,
            };
            rig.send("sim0", &scaled(c.there("S", 0, 0).ack(0), inside));
            rig.send("sim1", &scaled(c.back("SA", 0, 1), outside));
            rig.send("sim0", &c.there("A", 1, 1).window(1000));
            rig.ignore_rest();
            rig.mark();
            let far = c.back("A", 100_001, 1).data(1);
            rig.send("sim1", &far);
            assert_eq!(rig.take("sim0").is_some(), fits, "{inside:?} {outside:?}");
        }
    });
}

#[test]
fn a_reset_ends_the_connection_only_with_the_right_number() {
    both("pass", &usual(), |rig, f| {
        let c = Connection::of(f, 1000).opened(rig);
        c.passes_back(rig, &c.back("A", 1, 1).data(100));
        // Blind resets: inside the window is not enough.
        c.refused_back(rig, &c.back("R", 500, 0).ack(0));
        c.refused_back(rig, &c.back("RA", 99, 1));
        assert_eq!(sides(rig), (ESTABLISHED, ESTABLISHED));
        c.passes_back(rig, &c.back("RA", 101, 1));
        assert_eq!(sides(rig), (TIME_WAIT, TIME_WAIT));
    });
}

#[test]
fn a_new_syn_takes_the_place_of_a_connection_that_is_over() {
    both("pass", &usual(), |rig, f| {
        let c = Connection::of(f, 1000).opened(rig);
        c.passes_there(rig, &c.there("RA", 1, 1));
        assert_eq!(sides(rig), (TIME_WAIT, TIME_WAIT));
        let syn = c.there("S", 70_000, 0).ack(0);
        rig.exchange(
            "sim0",
            &syn,
            &[("sim1", syn.hop())],
            &f.counted(
                "received passed searches 2 sim0.in#.pass sim1.out#.pass
                 r0.evals 2 r0.in r0.out r0.made 2 r0.gone 2",
            ),
        );
        let answer = c.back("SA", 9000, 70_001);
        c.passes_back(rig, &answer);
    });
}

#[test]
fn a_syn_for_a_live_connection_does_not_replace_it() {
    both("pass", &usual(), |rig, f| {
        let c = Connection::of(f, 1000).opened(rig);
        rig.send("sim0", &c.there("S", 500_000, 0).ack(0));
        // The sender is asked whether it has forgotten the connection.
        rig.expect("sim0", &c.back("A", 1, 0).window(0).df().ident(0));
        let counted = "received generated passed searches drop:state-mismatch sim0.in#.block";
        rig.counted(&f.counted(counted));
        assert_eq!(sides(rig), (ESTABLISHED, ESTABLISHED));
        c.passes_there(rig, &c.there("A", 1, 1).data(10));
        c.refused_there(rig, &c.there("A", 500_000, 1).data(10));
    });
}

#[test]
fn a_half_open_end_of_old_is_reset_so_that_the_handshake_can_start_afresh() {
    both("pass", &usual(), |rig, f| {
        let c = Connection::of(f, 1000);
        let syn = c.there("S", 0, 0).ack(0);
        rig.send("sim0", &syn);
        rig.expect("sim1", &syn.hop());
        rig.mark();
        // The other end still has an old connection: it acknowledges something of that.
        let old = c.back("A", 700_000, 400_000);
        rig.send("sim1", &old);
        let reset = c.there("R", 400_000, 0).ack(0).window(0).df().ident(0);
        rig.expect("sim1", &reset);
        let counted = "received generated passed searches drop:state-mismatch sim1.in#.block";
        rig.counted(&f.counted(counted));
    });
}

#[test]
fn sloppy_states_check_no_windows() {
    both("pass keep state (sloppy)", &usual(), |rig, f| {
        let c = Connection::of(f, 1000).opened(rig);
        c.passes_back(rig, &c.back("A", 900_000, 1).data(1));
        c.passes_there(rig, &c.there("A", 900_000, 1).data(1));
        c.passes_back(rig, &c.back("RA", 1_700_000, 1));
        assert_eq!(sides(rig), (TIME_WAIT, TIME_WAIT));
    });
}

#[test]
fn sequence_numbers_wrap_around() {
    both("pass", &usual(), |rig, f| {
        let c = Connection::of(f, 1000);
        let near = |offset: u32| u32::MAX.wrapping_add(offset);
        rig.send("sim0", &c.there("S", 0, 0).seq(near(0)).ack(0));
        rig.send("sim1", &c.back("SA", 0, 0).seq(near(0)).ack(near(1)));
        rig.ignore_rest();
        rig.mark();
        c.passes_there(
            rig,
            &c.there("A", 0, 0).seq(near(1)).ack(near(1)).data(1000),
        );
        c.passes_back(rig, &c.back("A", 0, 0).seq(near(1)).ack(near(1001)));
        c.passes_there(rig, &c.there("FA", 0, 0).seq(near(1001)).ack(near(1)));
    });
}

/// States but those of neighbor discovery, which goes on meanwhile.
fn udp_states(rig: &Rig) -> usize {
    let is_udp = |st: &&state::State| st.wire.proto() == 17;
    rig.states().iter().filter(is_udp).count()
}

#[test]
fn udp_states_expire_by_their_class() {
    // (who sends, seconds that the state surely lives, seconds after which it is surely gone): udp.first,
    // udp.single, udp.multiple.
    let rows = [
        ("a", 58, 63),
        ("ab", 28, 33),
        ("aba", 58, 63),
        ("aa", 28, 33),
    ];
    both(
        "block in on sim1\npass in on sim0\npass out",
        &usual(),
        |rig, f| {
            for (port, (senders, lives, gone)) in (1000..).zip(rows) {
                let there = udp(&at(f.a, port), &at(f.b, 53));
                for sender in senders.chars() {
                    match sender {
                        'a' => rig.send("sim0", &there),
                        _ => rig.send("sim1", &there.answer()),
                    }
                }
                rig.ignore_rest();
                rig.advance(lives * 1000);
                assert_eq!(udp_states(rig), 2, "{senders}, after {lives} s");
                rig.advance((gone - lives) * 1000);
                assert_eq!(udp_states(rig), 0, "{senders}, after {gone} s");
                rig.mark();
                // Whoever answers now is a stranger.
                rig.exchange(
                "sim1",
                &there.answer(),
                &[],
                &f.counted("received drop:match searches sim1.in#.block r0.evals r1.evals r2.evals r0.in"),
            );
            }
        },
    );
}

#[test]
fn tcp_states_expire_by_their_class() {
    everywhere("pass", &usual(), |rig| {
        let c = Connection::of(INET, 1000);
        let syn = c.there("S", 0, 0).ack(0);
        // tcp.first: 120 seconds.
        rig.send("sim0", &syn);
        rig.ignore_rest();
        rig.advance(118_000);
        assert_eq!(rig.states().len(), 2);
        rig.advance(5_000);
        assert_eq!(rig.states().len(), 0);
        // tcp.opening: 30 seconds.
        rig.send("sim0", &syn);
        rig.send("sim1", &c.back("SA", 0, 1));
        rig.ignore_rest();
        rig.advance(28_000);
        assert_eq!(rig.states().len(), 2);
        rig.advance(5_000);
        assert_eq!(rig.states().len(), 0);
        // tcp.established: a day.
        rig.mark();
        let _open = Connection::of(INET, 1001).opened(rig);
        rig.advance(86_000_000);
        assert_eq!(rig.states().len(), 2);
        rig.advance(500_000);
        assert_eq!(rig.states().len(), 0);
        rig.ignore_rest();
    });
}

#[test]
fn rules_may_have_timeouts_of_their_own() {
    let policy =
        "set timeout udp.first 5\npass\npass proto udp to port 9 keep state (udp.first 20)";
    everywhere(policy, &usual(), |rig| {
        rig.send("sim0", &udp(&at(A, 1), &at(B, 8)));
        rig.send("sim0", &udp(&at(A, 1), &at(B, 9)));
        rig.ignore_rest();
        assert_eq!(rig.states().len(), 4);
        rig.advance(8_000);
        assert_eq!(rig.states().len(), 2);
        rig.advance(15_000);
        assert_eq!(rig.states().len(), 0);
    });
}

#[test]
fn echo_answers_pass_only_as_answers() {
    both("block\npass out\npass in on sim0", &usual(), |rig, f| {
        let ask = echo(f.a, f.b, 7, 1);
        rig.send("sim0", &ask);
        rig.expect("sim1", &ask.hop());
        rig.mark();
        let answer = ask.answer();
        rig.exchange(
            "sim1",
            &answer,
            &[("sim0", answer.hop())],
            &f.counted("received passed searches sim1.in#.pass sim0.out#.pass r1.in r2.out"),
        );
        for stranger in [
            // Another identifier, an answer to nothing, and a question the other way.
            echo_reply(f.b, f.a, 8, 1),
            echo_reply(f.far, f.a, 7, 1),
            echo(f.b, f.a, 7, 1),
        ] {
            rig.exchange(
                "sim1",
                &stranger,
                &[],
                &f.counted(
                    "received drop:match searches sim1.in#.block r0.evals r1.evals r2.evals r0.in",
                ),
            );
        }
    });
}

#[test]
fn an_unsolicited_echo_reply_matches_no_rule_that_keeps_state() {
    both("block\npass", &usual(), |rig, f| {
        rig.exchange(
            "sim0",
            &echo_reply(f.a, f.b, 7, 1),
            &[],
            &f.counted("received drop:match searches sim0.in#.block r0.evals r1.evals r0.in"),
        );
    });
    both("block\npass no state", &usual(), |rig, f| {
        let reply = echo_reply(f.a, f.b, 7, 1);
        rig.exchange(
            "sim0",
            &reply,
            &[("sim1", reply.hop())],
            &f.counted(
                "received passed searches 2 sim0.in#.pass sim1.out#.pass r0.evals 2 r1.evals 2 r1.in r1.out",
            ),
        );
    });
}

/// An error that belongs to a state, from the outside to the inside.
const ERROR_BACK: &str = "received passed searches 2 sim1.in#.pass sim0.out#.pass r1.in r2.out";

#[test]
fn errors_follow_the_state_of_the_packet_they_quote() {
    both(
        "block\npass out on sim1\npass in on sim0",
        &usual(),
        |rig, f| {
            let headers = if f.digit == "4" { 20 } else { 40 };
            let probe = udp(&at(f.a, 1000), &at(f.far, 53));
            let ping = echo(f.a, f.far, 7, 1);
            let syn = tcp(&at(f.a, 1000), &at(f.far, 80), "S");
            for packet in [probe, ping, syn] {
                rig.send("sim0", &packet);
                rig.expect("sim1", &packet.hop());
                rig.mark();
                for (from, what) in [
                    (f.router, Error::TimeExceeded),
                    (f.far, Error::Unreachable(3, 4)),
                    (f.router, Error::TooBig(1400)),
                ] {
                    // Whole, and cut to eight bytes beyond the IP header (RFC 792).
                    let whole = error(from, &packet.hop(), what);
                    let cut = whole.clone().data_cut(headers + 8);
                    for told in [whole, cut] {
                        rig.exchange(
                            "sim1",
                            &told,
                            &[("sim0", told.hop())],
                            &f.counted(ERROR_BACK),
                        );
                    }
                }
                // About a packet that was never sent.
                let never = udp(&at(f.a, 1001), &at(f.far, 54));
                rig.exchange(
                "sim1",
                &error(f.router, &never, Error::TimeExceeded),
                &[],
                &f.counted("received drop:match searches sim1.in#.block r0.evals r1.evals r2.evals r0.in"),
            );
                // To somebody else than the sender of what it quotes.
                let other = if f.digit == "4" {
                    "192.0.2.3"
                } else {
                    "2001:db8:1::3"
                };
                rig.exchange(
                    "sim1",
                    &error(f.router, &packet.hop(), Error::TimeExceeded).to(other),
                    &[],
                    &f.counted("received drop:state-mismatch sim1.in#.block"),
                );
            }
        },
    );
}

#[test]
fn an_error_about_a_segment_outside_the_window_is_dropped() {
    both("pass", &usual(), |rig, f| {
        let c = Connection::of(f, 1000).opened(rig);
        let quoted = c.there("A", 1, 1).data(10);
        c.passes_there(rig, &quoted);
        let good = error(f.b, &quoted.hop(), Error::Unreachable(3, 4));
        rig.exchange(
            "sim1",
            &good,
            &[("sim0", good.hop())],
            &f.counted("received passed searches 2 sim1.in#.pass sim0.out#.pass r0.in r0.out"),
        );
        let forged = error(
            f.b,
            &c.there("A", 500_000, 1).hop(),
            Error::Unreachable(3, 4),
        );
        rig.exchange(
            "sim1",
            &forged,
            &[],
            &f.counted("received drop:state-mismatch searches sim1.in#.block"),
        );
    });
}

#[test]
fn two_packets_of_one_burst_share_the_state_that_the_first_makes() {
    both("pass", &usual(), |rig, f| {
        let packet = udp(&at(f.a, 1000), &at(f.b, 53));
        rig.send_burst("sim0", &[packet.clone(), packet.clone(), packet.clone()]);
        for _ in 0..3 {
            rig.expect("sim1", &packet.hop());
        }
        assert_eq!(rig.states().len(), 2);
        assert_eq!(rig.changes()["r0.evals"], 2);
        assert_eq!(rig.changes()["r0.made"], 2);
    });
}

#[test]
fn the_limit_of_states_is_exact_over_all_workers() {
    everywhere("set limit states 6\npass", &usual(), |rig| {
        for port in 0..3 {
            let packet = udp(&at(A, 1), &at(B, port));
            rig.send("sim0", &packet);
            rig.expect("sim1", &packet.hop());
        }
        rig.mark();
        rig.exchange(
            "sim0",
            &udp(&at(A, 1), &at(B, 3)),
            &[],
            "received drop:memory searches sim0.in4.block r0.evals r0.in",
        );
        // When the others have gone there is room again.
        rig.advance(65_000);
        let packet = udp(&at(A, 1), &at(B, 3));
        rig.send("sim0", &packet);
        rig.expect("sim1", &packet.hop());
    });
}

#[test]
fn a_rule_may_limit_its_states() {
    let policy = "pass out\npass in keep state (max 2)";
    let mut rig = Rig::new(policy, &usual());
    for port in 0..2 {
        let packet = udp(&at(A, 1), &at(B, port));
        rig.send("sim0", &packet);
        rig.expect("sim1", &packet.hop());
    }
    rig.mark();
    rig.exchange(
        "sim0",
        &udp(&at(A, 1), &at(B, 3)),
        &[],
        "received drop:state-limit limit:max-states-per-rule searches sim0.in4.block r0.evals r1.evals r1.in",
    );
}

#[test]
fn if_bound_states_hold_on_their_interface_alone() {
    let topology = usual()
        .interface("sim2", &["10.9.0.1/24", "2001:db8:9::1/64"])
        .host(&["10.9.0.2", "2001:db8:9::2"]);
    for (policy, passes) in [
        (
            "block\npass in on sim0\npass out on sim1\npass out on sim0",
            true,
        ),
        (
            "block\npass in on sim0 keep state (if-bound)\npass out on sim1 keep state (if-bound)\npass out on sim0",
            false,
        ),
    ] {
        everywhere(policy, &topology, |rig| {
            let there = udp(&at(A, 1), &at(B, 1));
            rig.send("sim0", &there);
            rig.expect("sim1", &there.hop());
            // The answer takes another way in.
            let back = there.answer();
            rig.send("sim2", &back);
            assert_eq!(rig.take("sim0").is_some(), passes, "{policy}");
            rig.ignore_rest();
        });
    }
}

#[test]
fn a_bound_state_in_the_way_refuses_another_of_the_same_ends() {
    everywhere("pass keep state (if-bound)", &usual(), |rig| {
        let there = udp(&at(A, 1), &at(B, 1));
        rig.send("sim0", &there);
        rig.expect("sim1", &there.hop());
        rig.mark();
        // The same packet by the other interface.
        rig.exchange(
            "sim1",
            &there,
            &[],
            "received drop:state-insert searches sim1.in4.block r0.evals r0.in",
        );
    });
}

/// Record route with room for one address (RFC 791 3.1).
const RECORD_ROUTE: [u8; 8] = [7, 7, 4, 0, 0, 0, 0, 0];

#[test]
fn ip_options_need_allow_opts() {
    let policy = "pass\npass proto udp to port 9 allow-opts";
    everywhere(policy, &usual(), |rig| {
        for (to, passes) in [(8, false), (9, true)] {
            let packet = udp(&at(A, 1), &at(B, to)).options(&RECORD_ROUTE);
            rig.mark();
            rig.send("sim0", &packet);
            assert_eq!(rig.take("sim1").is_some(), passes, "port {to}");
            assert_eq!(rig.changes().contains_key("drop:ip-option"), !passes);
        }
        // A state made without options takes none later, one made by such a rule does.
        rig.send("sim0", &udp(&at(A, 2), &at(B, 8)));
        rig.ignore_rest();
        rig.mark();
        let later = udp(&at(A, 2), &at(B, 8)).options(&RECORD_ROUTE);
        rig.exchange(
            "sim0",
            &later,
            &[],
            "received drop:ip-option searches sim0.in4.block",
        );
        let later = udp(&at(A, 1), &at(B, 9)).options(&RECORD_ROUTE);
        rig.exchange(
            "sim0",
            &later,
            &[("sim1", later.hop())],
            "received passed searches sim0.in4.pass sim1.out4.pass r1.in r1.out",
        );
    });
    // IPv6: hop-by-hop and destination options.
    everywhere("pass", &usual(), |rig| {
        for number in [0, 60] {
            let packet = udp(&at(A6, 1), &at(B6, 8)).extension(number, &[0, 1, 4, 0, 0, 0, 0]);
            rig.mark();
            rig.exchange(
                "sim0",
                &packet,
                &[],
                "received drop:ip-option searches sim0.in6.block r0.evals r0.in",
            );
        }
    });
}

/// Router alert: IPv4 option (RFC 2113), and hop-by-hop option with two bytes of padding (RFC 2711).
const ROUTER_ALERT: [u8; 4] = [0x94, 4, 0, 0];
const ROUTER_ALERT6: [u8; 7] = [0, 5, 2, 0, 0, 1, 0];

#[test]
fn a_router_alert_passes_for_group_membership_alone() {
    let igmp = raw(A, "224.0.0.22", 2, &[0x16, 0, 9, 0xfd, 224, 0, 0, 251]).ttl(1);
    let mld = |src, kind| icmp_message(src, "ff02::16", kind, 0, [0; 4], &[0; 20]).ttl(1);
    let local = "fe80::aa";
    let rows = [
        ("IGMP", igmp.clone().options(&ROUTER_ALERT), "multicast"),
        ("IGMP without it", igmp.clone(), "multicast"),
        (
            "IGMP to all hosts from afar",
            igmp.clone().to("224.0.0.1").ttl(2),
            "ip-option",
        ),
        (
            "IGMP with another option",
            igmp.options(&RECORD_ROUTE),
            "ip-option",
        ),
        (
            "UDP with a router alert",
            udp(&at(A, 1), &at(B, 1)).options(&ROUTER_ALERT),
            "ip-option",
        ),
        (
            "MLD",
            mld(local, 143).extension(0, &ROUTER_ALERT6),
            "multicast",
        ),
        (
            "MLD of the first version",
            mld(local, 131).extension(0, &ROUTER_ALERT6),
            "multicast",
        ),
        (
            "MLD before there is an address",
            mld("::", 143).extension(0, &ROUTER_ALERT6),
            "multicast",
        ),
        ("MLD without it", mld(local, 143), "multicast"),
        (
            "MLD from afar",
            mld(local, 143).extension(0, &ROUTER_ALERT6).ttl(64),
            "ip-option",
        ),
        (
            "MLD of a global address",
            mld(A6, 143).extension(0, &ROUTER_ALERT6),
            "ip-option",
        ),
        (
            "echo with a router alert",
            echo(A6, B6, 1, 1).extension(0, &ROUTER_ALERT6),
            "ip-option",
        ),
        (
            "padding in a hop-by-hop header",
            mld(local, 143).extension(0, &[0, 1, 4, 0, 0, 0, 0]),
            "ip-option",
        ),
        (
            "a routing header of type 0",
            udp(&at(A6, 1), &at(B6, 1)).extension(
                43,
                &[
                    2, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9,
                ],
            ),
            "ip-option",
        ),
    ];
    everywhere("pass no state", &usual(), |rig| {
        for (what, packet, reason) in &rows {
            rig.mark();
            rig.send("sim0", packet);
            rig.expect_nothing_more();
            let dropped = rig
                .changes()
                .into_keys()
                .find(|name| name.starts_with("drop:"));
            assert_eq!(dropped, Some(format!("drop:{reason}")), "{what}");
        }
    });
}

#[test]
fn a_path_mtu_is_found_to_the_byte() {
    // FreeBSD icmp "fragmentation_needed": 1464 bytes of echo data pass a link of 1492, 1468 do not.
    let topology = usual().mtu("sim1", 1492);
    everywhere("pass", &topology, |rig| {
        let fits = echo(A, B, 7, 1).df().data(1464);
        rig.send("sim0", &fits);
        rig.expect("sim1", &fits.hop());
        let large = echo(A, B, 7, 2).df().data(1468);
        rig.send("sim0", &large);
        let told = error("192.0.2.1", &large.hop(), Error::TooBig(1492)).as_box_error(&large);
        rig.expect("sim0", &told);
    });
}

#[test]
fn echo_is_judged_on_either_interface() {
    // FreeBSD forward v4 and v6.
    for (policy, passes) in [
        ("block in on sim0", false),
        ("block out on sim1", false),
        ("block in on sim1", false),
        ("block out on sim0", false),
        ("block\npass in on sim0\npass out on sim1", true),
    ] {
        both(policy, &usual(), |rig, f| {
            let ask = echo(f.a, f.b, 7, 1);
            rig.send("sim0", &ask);
            let there = rig.take("sim1").is_some();
            rig.send("sim1", &ask.answer());
            assert_eq!(there && rig.take("sim0").is_some(), passes, "{policy}");
            rig.ignore_rest();
        });
    }
}

#[test]
fn a_fin_that_acknowledges_less_than_before_is_taken() {
    // OpenBSD pf_state "negack_fin": the acknowledgement lies below what was acknowledged already.
    both("pass", &usual(), |rig, f| {
        let c = Connection::of(f, 1000).opened(rig);
        c.passes_there(rig, &c.there("A", 1, 1).data(100));
        c.passes_back(rig, &c.back("A", 1, 101));
        c.passes_back(rig, &c.back("FA", 1, 51));
    });
}

#[test]
fn a_burst_that_replaces_a_connection_mixes_up_no_states() {
    both("pass", &usual(), |rig, f| {
        let (src, dst) = (at(f.a, 1000), at(f.far, 80));
        let old = tcp(&src, &dst, "S").seq(1000);
        rig.send("sim0", &old);
        rig.send("sim1", &tcp(&dst, &src, "RA").seq(0).ack(1001));
        rig.ignore_rest();
        assert_eq!(sides(rig), (TIME_WAIT, TIME_WAIT));
        rig.mark();
        // All in one burst: a last packet of the old connection, a new one of the same ends, twice, and a stranger
        // whose states take the places of the old ones.
        let last = tcp(&src, &dst, "A").seq(1001).ack(1);
        let new = tcp(&src, &dst, "S").seq(90_000);
        let stranger = udp(&at(f.a, 1000), &at(f.b, 53));
        let burst = [last, new.clone(), stranger.clone(), new.clone()];
        rig.send_burst("sim0", &burst);
        let mut got = Vec::new();
        while let Some(frame) = rig.take("sim1") {
            got.push(frame);
        }
        got.sort();
        let mac = rig.mac("sim1");
        let framed = |p: &Packet| p.hop().frame(mac, rig.station("sim1", p.dst));
        let mut wanted: Vec<Vec<u8>> = burst.iter().map(framed).collect();
        wanted.sort();
        assert_eq!(got, wanted);
        // And the stranger goes on to where it belongs.
        rig.mark();
        let counted = f.counted(THERE);
        rig.exchange("sim0", &stranger, &[("sim1", stranger.hop())], &counted);
    });
}
