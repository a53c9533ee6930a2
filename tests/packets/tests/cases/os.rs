//! Rules that ask for the sender's operating system.

use packets::{Packet, Topology, raw, tcp};
use wire::tcp as header;

use crate::{Family, at, both};

/// Options in the order of Linux: segment size, selective acknowledgements, timestamps, padding, window scale.
fn linux_options(timestamp: u8) -> [u8; 20] {
    [
        2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, timestamp, 0, 0, 0, 0, 1, 3, 3, 7,
    ]
}

/// A SYN with number 1000, this window and these options.
fn syn(f: Family, port: u16, window: u16, options: &[u8]) -> Packet {
    let mut bytes = vec![0; header::HEADER_LEN + options.len()];
    let mut packet = header::Packet::new_unchecked(&mut bytes[..]);
    packet.set_src_port(port);
    packet.set_dst_port(80);
    packet.set_seq(1000);
    packet.set_flags(header::SYN);
    packet.set_window(window);
    packet.set_header_len(header::HEADER_LEN + options.len());
    packet.option_bytes_mut().copy_from_slice(options);
    let ends = [f.a, f.b].map(|a| a.parse().expect("an address"));
    packet.fill_checksum(ends[0], ends[1]);
    raw(f.a, f.b, 6, &bytes).df()
}

/// A SYN as Linux sends it.
fn linux(f: Family, port: u16) -> Packet {
    syn(f, port, 64_240, &linux_options(77))
}

const POLICY: &str = "block\npass in on sim0 proto tcp from any os \"Linux\"\npass out";

#[test]
fn a_rule_for_an_operating_system_matches_its_syn_and_no_other() {
    both(POLICY, &Topology::usual(), |rig, f| {
        let first = linux(f, 1000);
        rig.send("sim0", &first);
        rig.expect("sim1", &first.hop());
        rig.mark();
        for other in [
            syn(f, 1001, 8192, &linux_options(77)),
            syn(f, 1001, 64_240, &linux_options(0)),
            syn(f, 1001, 64_240, &[]),
            linux(f, 1001).ttl(128),
            linux(f, 1001).ttl(20),
        ] {
            rig.send("sim0", &other);
            rig.expect_nothing_more();
            assert_eq!(rig.changes()["drop:match"], 1);
            rig.mark();
        }
        // What follows belongs to the state, whatever it looks like.
        let ack = tcp(&at(f.b, 80), &at(f.a, 1000), "SA").seq(9).ack(1001);
        rig.send("sim1", &ack);
        rig.expect("sim0", &ack.hop());
        rig.mark();
    });
}

#[test]
fn os_unknown_matches_what_no_signature_fits() {
    let policy = "pass\nblock return in on sim0 proto tcp from any os unknown";
    both(policy, &Topology::usual(), |rig, f| {
        let first = linux(f, 1000);
        rig.send("sim0", &first);
        rig.expect("sim1", &first.hop());
        rig.mark();
        rig.send("sim0", &tcp(&at(f.a, 1001), &at(f.b, 80), "S").window(1));
        assert_eq!(rig.changes()["drop:match"], 1);
        rig.ignore_rest();
        rig.mark();
    });
}
