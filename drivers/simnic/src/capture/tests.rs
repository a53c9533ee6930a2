//! Captures of every format read and written, and what is wrong with bad ones.

use super::*;

fn written() -> Vec<u8> {
    let mut writer = Writer::new(Vec::new()).unwrap();
    writer.write(1_700_000_000_123_456_789, &[1; 60]).unwrap();
    writer.write(0, &[]).unwrap();
    writer.into_inner()
}

fn read(bytes: &[u8]) -> Result<Vec<Packet<'_>>, CaptureError> {
    Reader::new(bytes)?.collect()
}

#[test]
fn what_is_written_is_read_back() {
    let bytes = written();
    let packets = read(&bytes).unwrap();
    assert_eq!(packets.len(), 2);
    assert_eq!(packets[0].time_ns, Some(1_700_000_000_123_456_000));
    assert_eq!(
        (packets[0].data, packets[0].original_len),
        (&[1; 60][..], 60)
    );
    assert_eq!(packets[0].ethernet().unwrap(), &[1; 60][..]);
    assert_eq!((packets[1].data, packets[1].time_ns), (&[][..], Some(0)));
}

/// A classic capture of one packet with the bytes 9, 9, put together by hand.
fn classic(magic: u32, big: bool, padding: usize) -> Vec<u8> {
    let u32 = |n: u32| {
        if big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    };
    let mut bytes = u32(magic).to_vec();
    bytes.extend(if big { [0, 2, 0, 4] } else { [2, 0, 4, 0] });
    for field in [0, 0, 65535, 0xf000_0001, 5, 7, 2, 3] {
        bytes.extend(u32(field));
    }
    bytes.extend(vec![0; padding]);
    bytes.extend([9, 9]);
    bytes
}

#[test]
fn all_kinds_of_classic_captures_are_read() {
    for big in [false, true] {
        for (magic, padding, time_ns) in [
            (0xa1b2_c3d4, 0, 5_000_007_000),
            (0xa1b2_3c4d, 0, 5_000_000_007),
            (0xa1b2_cd34, 8, 5_000_007_000),
        ] {
            let expected = Packet {
                time_ns: Some(time_ns),
                link_type: LINKTYPE_ETHERNET,
                original_len: 3,
                data: &[9, 9],
            };
            assert_eq!(read(&classic(magic, big, padding)).unwrap(), [expected]);
        }
    }
}

struct Ng {
    big: bool,
    bytes: Vec<u8>,
}

impl Ng {
    fn new(big: bool) -> Ng {
        let mut ng = Ng {
            big,
            bytes: Vec::new(),
        };
        let version = if big { [0, 1, 0, 0] } else { [1, 0, 0, 0] };
        let magic = ng.u32(0x1a2b_3c4d);
        ng.block(
            PcapNg::SECTION,
            &[&magic[..], &version, &[0xff; 8]].concat(),
        );
        ng
    }

    fn u32(&self, n: u32) -> [u8; 4] {
        if self.big {
            n.to_be_bytes()
        } else {
            n.to_le_bytes()
        }
    }

    fn words(&self, words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|&word| self.u32(word)).collect()
    }

    fn block(&mut self, kind: u32, body: &[u8]) {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = self.u32(12 + body.len() as u32);
        let kind = self.u32(kind);
        self.bytes
            .extend([&kind[..], &length, &body, &length].concat());
    }

    /// An interface with a limit of four bytes per packet.
    fn interface(&mut self, options: &[u8]) {
        let link_type = if self.big { [0, 1, 0, 0] } else { [1, 0, 0, 0] };
        let snap = self.u32(4);
        self.block(
            PcapNg::INTERFACE,
            &[&link_type[..], &snap, options].concat(),
        );
    }

    fn packet(&mut self, interface: u32, high: u32, low: u32, data: &[u8]) {
        let mut body = self.words(&[interface, high, low, data.len() as u32, 99]);
        body.extend(data);
        self.block(PcapNg::PACKET, &body);
    }
}

#[test]
fn sections_interfaces_and_all_packet_blocks_are_read() {
    for big in [false, true] {
        let mut ng = Ng::new(big);
        ng.interface(&[]);
        // if_tsresol = nanoseconds, then a comment that is not for us.
        let resolution = if big {
            [0, 9, 0, 1, 9, 0, 0, 0]
        } else {
            [9, 0, 1, 0, 9, 0, 0, 0]
        };
        ng.interface(&resolution);
        ng.block(0xbad, &[1, 2, 3, 4]);
        ng.packet(0, 0, 7, &[1, 2, 3]);
        ng.packet(1, 1, 7, &[4]);
        let mut simple = ng.words(&[99]);
        simple.extend([5, 6, 7, 8]);
        ng.block(PcapNg::PACKET_SIMPLE, &simple);
        let mut old = if big {
            vec![0, 1, 0, 0]
        } else {
            vec![1, 0, 0, 0]
        };
        old.extend(ng.words(&[0, 3, 1, 1]));
        old.push(8);
        ng.block(PcapNg::PACKET_OLD, &old);

        let packets = read(&ng.bytes).unwrap();
        let seen: Vec<_> = packets
            .iter()
            .map(|p| (p.time_ns, p.data.to_vec()))
            .collect();
        let expected = [
            (Some(7_000), vec![1, 2, 3]),
            (Some((1 << 32) + 7), vec![4]),
            (None, vec![5, 6, 7, 8]),
            (Some(3), vec![8]),
        ];
        assert_eq!(seen, expected, "big endian: {big}");
    }
}

#[test]
fn a_section_begins_with_its_own_order_and_no_interfaces() {
    let mut ng = Ng::new(false);
    ng.interface(&[]);
    ng.packet(0, 0, 0, &[1]);
    let mut second = Ng::new(true);
    second.packet(0, 0, 0, &[1]);
    let bytes = [ng.bytes.clone(), second.bytes].concat();
    let mut reader = Reader::new(&bytes).unwrap();
    assert!(reader.next().unwrap().is_ok());
    // After the section header of 28 bytes and the block header of 8.
    let offset = ng.bytes.len() + 28 + 8;
    let error = CaptureError {
        offset,
        fault: Fault::Interface(0),
    };
    assert_eq!(reader.next(), Some(Err(error)));
    assert_eq!(reader.next(), None, "nothing after an error");
}

#[test]
fn faults_are_named_with_their_place() {
    let classic = written();
    let with = |at: usize, byte: u8| {
        let mut bytes = Ng::new(false).bytes;
        bytes[at] = byte;
        bytes
    };
    for (bytes, message) in [
        (vec![], "at byte 0: not a pcap or pcapng capture"),
        (vec![0; 100], "at byte 0: not a pcap or pcapng capture"),
        (vec![0x1f, 0x8b, 8], "at byte 0: compressed with gzip"),
        (
            classic[..23].to_vec(),
            "at byte 0: the capture ends within the file header",
        ),
        (
            classic[..39].to_vec(),
            "at byte 24: the capture ends within a packet record",
        ),
        (
            classic[..99].to_vec(),
            "at byte 24: the capture ends within a packet record",
        ),
        (with(12, 2), "at byte 8: unknown format version 2"),
        (with(8, 0), "at byte 0: not a pcap or pcapng capture"),
        (with(4, 27), "at byte 0: a block cannot have a length of 27"),
        (with(4, 8), "at byte 0: a block cannot have a length of 8"),
        (with(4, 32), "at byte 0: the capture ends within a block"),
        (
            with(24, 32),
            "at byte 0: a block cannot have a length of 32",
        ),
    ] {
        assert_eq!(read(&bytes).unwrap_err().to_string(), message);
    }
}

#[test]
fn captures_without_ethernet_get_a_header() {
    let packet = |link_type, data| Packet {
        time_ns: None,
        link_type,
        original_len: 0,
        data,
    };
    let v4 = [&[0; 12][..], &[0x08, 0x00, 0x45, 1]].concat();
    for (link_type, data) in [
        (101, &[0x45, 1][..]),
        (12, &[0x45, 1]),
        (0, &[2, 0, 0, 0, 0x45, 1]),
        (
            113,
            &[
                0, 0, 0, 1, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x00, 0x45, 1,
            ],
        ),
    ] {
        assert_eq!(
            packet(link_type, data).ethernet().unwrap(),
            v4,
            "{link_type}"
        );
    }
    for (link_type, data) in [
        (101, &[][..]),
        (0, &[0, 0]),
        (113, &[0; 15]),
        (999, &[0; 99]),
    ] {
        assert!(packet(link_type, data).ethernet().is_none(), "{link_type}");
    }
}

#[test]
fn damaged_captures_give_an_error_or_packets_but_no_panic() {
    let mut ng = Ng::new(false);
    ng.interface(&[
        9, 0, 1, 0, 0xff, 0, 0, 0, 14, 0, 8, 0, 1, 2, 3, 4, 5, 6, 7, 8,
    ]);
    ng.packet(0, u32::MAX, u32::MAX, &[1, 2, 3]);
    let originals = [written(), ng.bytes];
    let seed = 11;
    let mut rng = crate::rng::Rng::new(seed);
    for round in 0..20_000 {
        let mut bytes = originals[round % 2].clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] = rng.next_u64() as u8;
        }
        bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
        let Ok(reader) = Reader::new(&bytes) else {
            continue;
        };
        // A packet takes at least one byte, so this ends; seed 11.
        assert!(reader.count() <= bytes.len(), "seed {seed}, round {round}");
    }
}
