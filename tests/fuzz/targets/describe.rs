// What the fuzz target `describe` does with its bytes, and the normal tests do with seeded random ones.
//
// The bytes are taken as a frame whose IP packet begins behind the Ethernet header, or behind that and a VLAN tag.
// Checked: nothing panics, and what later stages rely on: offsets lie inside the frame in their order, a piece lies
// inside its packet, the key of the other direction is the same connection.

use filter::describe::{Kind, PacketDesc, describe_quoted, describe4, describe6, fragment};
use ruleset::Direction;

/// Where the IP packet may begin.
const STARTS: [usize; 2] = [14, 18];

/// Runs everything over the bytes. Returns how many packets could be described.
pub(crate) fn run(data: &[u8]) -> usize {
    let mut count = 0;
    for at in STARTS {
        for verify in [false, true] {
            let mut pd = PacketDesc::default();
            if describe4(&mut pd, data, at, verify, 0).is_ok() {
                described(data, &pd);
                count += 1;
            }
        }
        let mut pd = PacketDesc::default();
        if describe6(&mut pd, data, at, 0).is_ok() {
            described(data, &pd);
            count += 1;
        }
    }
    count
}

fn described(frame: &[u8], pd: &PacketDesc) {
    let (ip, l4) = (usize::from(pd.ip_at), usize::from(pd.l4_at));
    let end = ip + usize::from(pd.ip_len);
    assert!(ip < l4 && l4 <= end && end <= frame.len(), "{pd:?}");
    let mut copy = frame.to_vec();
    assert_eq!(pd.l4(&mut copy).len(), end - l4);
    let (there, back) = (pd.key(Direction::In), pd.key(Direction::Out));
    assert_eq!(there.mirrored(), back);
    assert_eq!(back.mirrored(), there);
    match fragment(frame, pd) {
        Some(piece) => {
            let (at, len) = (usize::from(piece.at), usize::from(piece.len));
            assert!(ip < at && at + len <= end, "{piece:?}");
        }
        None => assert!(pd.kind != Kind::Fragment, "{pd:?}"),
    }
    if pd.kind == Kind::IcmpError {
        std::hint::black_box(describe_quoted(frame, pd).is_ok());
    }
}
