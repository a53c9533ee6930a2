//! Laggs: by which port frames leave, of which port they are taken, and the frames of link protocols.

use net::LaggProtocol::{self, Broadcast, Failover, Lacp, LoadBalance, RoundRobin};
use packets::{Rig, Topology, everywhere, udp};
use worker::FrameEnd;

/// `lagg0` of `sim0` and `sim1` with VLAN 22 on it, as in the oldest of our examples; `sim2` beside it.
fn topology(protocol: LaggProtocol) -> Topology {
    Topology::new()
        .interface("sim0", &[])
        .interface("sim1", &[])
        .interface("sim2", &["192.0.2.1/24"])
        .host(&["192.0.2.2"])
        .lagg("lagg0", protocol, &["sim0", "sim1"], &["10.0.0.1/24"])
        .host(&["10.0.0.2"])
        .vlan("vlan0", "lagg0", 22, &["192.168.1.5/24"])
        .host(&["192.168.1.2"])
}

const TO_VLAN: [&str; 2] = ["192.0.2.2:1000", "192.168.1.2:53"];

#[test]
fn failover_changes_ports_between_two_frames() {
    everywhere("pass", &topology(Failover), |rig| {
        let packet = udp(TO_VLAN[0], TO_VLAN[1]);
        for (send, port, idle) in [(0b01, "sim0", "sim1"), (0b10, "sim1", "sim0")] {
            rig.masks("lagg0").set(send, send);
            rig.wire(port);
            rig.wire(idle);
            rig.send("sim2", &packet);
            rig.expect("vlan0", &packet.hop());
            assert_eq!((rig.wire(port).len(), rig.wire(idle).len()), (1, 0));
        }
        // One connection, whatever the port.
        assert_eq!(rig.states().len(), 2);
        rig.masks("lagg0").set(0, 0);
        rig.mark();
        rig.send("sim2", &packet);
        rig.counted("received drop:interface-down searches sim2.in4.pass vlan0.out4.pass r0.in r0.out vlan0.tx lagg0.tx");
    });
}

#[test]
fn frames_of_a_port_that_is_not_heard_are_dropped() {
    everywhere("pass", &topology(Failover), |rig| {
        let answer = udp("10.0.0.2:53", "192.0.2.2:1000");
        let frame = answer.frame(rig.station("lagg0", answer.src), rig.mac("lagg0"));
        rig.send_frame("sim1", &frame);
        rig.counted("received drop:lagg-standby lagg0.rx");
        rig.send_frame("sim0", &frame);
        rig.expect("sim2", &answer.hop());
        rig.masks("lagg0").set(0b10, 0b10);
        rig.send_frame("sim1", &frame);
        rig.expect("sim2", &answer.hop());
    });
}

#[test]
fn all_ports_have_the_first_ones_address() {
    let rig = Rig::new("pass", &topology(Failover));
    assert_eq!(rig.mac("vlan0"), rig.mac("sim0"));
}

#[test]
fn flows_are_spread_over_ports_and_stay() {
    let mut rig = Rig::new("pass", &topology(LoadBalance));
    let mut used = [0; 2];
    for port in 1000..1040 {
        let packet = udp(&format!("192.0.2.2:{port}"), TO_VLAN[1]);
        rig.wire("sim0");
        for _ in 0..3 {
            rig.send("sim2", &packet);
            rig.expect("vlan0", &packet.hop());
        }
        match rig.wire("sim0").len() {
            0 => used[1] += 1,
            3 => used[0] += 1,
            n => panic!("{n} of 3 frames of a flow left by sim0"),
        }
    }
    assert!(used.iter().all(|n| *n > 5), "{used:?}");
    rig.finish();
}

#[test]
fn frames_leave_in_turn_or_by_all() {
    let packet = udp(TO_VLAN[0], TO_VLAN[1]);
    for (protocol, frames) in [(RoundRobin, (5, 5)), (Broadcast, (10, 10))] {
        let mut rig = Rig::new("pass", &topology(protocol));
        rig.wire("sim0");
        rig.wire("sim1");
        for _ in 0..10 {
            rig.send("sim2", &packet);
        }
        assert_eq!((rig.wire("sim0").len(), rig.wire("sim1").len()), frames);
        rig.ignore_rest();
        rig.finish();
    }
}

/// To the group of slow protocols, with LACP's type.
fn lacpdu(src: [u8; 6]) -> Vec<u8> {
    let mut frame = vec![0x01, 0x80, 0xc2, 0, 0, 0x02];
    frame.extend(src);
    frame.extend([0x88, 0x09, 1, 1]);
    frame.resize(124, 0);
    frame
}

#[test]
fn frames_of_lacp_reach_the_control_core_with_their_port_even_if_it_is_not_heard() {
    everywhere("block", &topology(Lacp), |rig| {
        rig.masks("lagg0").set(0b01, 0b01);
        let frame = lacpdu([2; 6]);
        for port in ["sim0", "sim1"] {
            rig.send_frame(port, &frame);
            rig.counted("received to_host lagg0.rx");
            assert_eq!(rig.control_frames(), [(port.to_string(), frame.clone())]);
        }
        // Nobody speaks it there.
        rig.send_frame("sim2", &frame);
        rig.counted("received drop:ethernet");
    });
}

#[test]
fn the_control_core_sends_by_a_port_or_by_an_interface() {
    let mut rig = Rig::new("block", &topology(Failover));
    let frame = lacpdu([2; 6]);
    rig.wire("sim1");
    rig.control_sends(FrameEnd::Port(1), &frame);
    assert_eq!(rig.wire("sim1"), std::slice::from_ref(&frame));
    rig.ignore_rest();
    rig.counted("from_host passed");
    rig.control_sends(FrameEnd::Interface(net::InterfaceId(4)), &frame);
    rig.wire("sim0")
        .iter()
        .for_each(|f| assert_eq!(&f[12..16], [0x81, 0, 0xe0, 22]));
    rig.ignore_rest();
    rig.counted("from_host passed vlan0.tx lagg0.tx");
    rig.finish();
}
