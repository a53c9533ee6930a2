// What the fuzz target `net` does with its bytes, and the normal tests do with seeded random ones.
//
// The bytes are taken as an IP packet that is refused, discovered, or expired. Checked: nothing panics;
// what is sent because of it is well-formed, within its limit, and never answers an answer.

use std::hint::black_box;
use std::net::IpAddr;

use net::icmp_error::{self, ERROR_LEN_MAX, ErrorKind};
use net::{neighbor, reset, ttl};
use wire::{ipv4, ipv6};

/// Runs everything over the bytes. Returns how many packets were sent because of them.
pub(crate) fn run(data: &[u8]) -> usize {
    let mut count = 0;
    let kinds = [
        ErrorKind::NetUnreachable,
        ErrorKind::HostUnreachable,
        ErrorKind::PortUnreachable,
        ErrorKind::AdminProhibited,
        ErrorKind::FragmentationNeeded { mtu: 1280 },
        ErrorKind::TimeExceeded,
        ErrorKind::ReassemblyTimeExceeded,
        ErrorKind::ParamProblem { pointer: 6 },
    ];
    let sources: [IpAddr; 2] = [[192, 0, 2, 1].into(), [0xfd00, 0, 0, 0, 0, 0, 0, 1].into()];
    for kind in kinds {
        for src in sources {
            let mut out = [0xaa; ERROR_LEN_MAX];
            if let Some(len) = icmp_error::build(&mut out, src, data, kind) {
                sent(&out[..len]);
                count += 1;
                assert!(
                    !icmp_error::may_answer(&out[..len], kind),
                    "an error answered"
                );
            }
        }
    }
    let mut out = [0xaa; reset::RESET_LEN_MAX];
    for build in [reset::build4, reset::build6] {
        if let Some(len) = build(&mut out, data, 0) {
            sent(&out[..len]);
            count += 1;
            let mut again = [0; reset::RESET_LEN_MAX];
            assert_eq!(build(&mut again, &out[..len], 0), None, "a reset answered");
        }
    }
    black_box(neighbor::receive_discovery(data).is_ok());
    let mut copy = data.to_vec();
    if let Ok(mut packet) = ipv4::Packet::new_checked(&mut copy[..]) {
        let right = packet.verify_checksum();
        black_box(ttl::decrement4(&mut packet).is_ok());
        assert!(!right || packet.verify_checksum());
    }
    if let Ok(mut packet) = ipv6::Packet::new_checked(&mut copy[..]) {
        black_box(ttl::decrement6(&mut packet).is_ok());
    }
    count
}

/// What we send is what we would accept.
fn sent(packet: &[u8]) {
    match packet[0] >> 4 {
        4 => {
            let walk = ipv4::walk(packet).unwrap();
            assert_eq!(walk.end, packet.len());
            assert!(ipv4::Packet::new_checked(packet).unwrap().verify_checksum());
        }
        _ => assert_eq!(ipv6::walk(packet).unwrap().end, packet.len()),
    }
}
