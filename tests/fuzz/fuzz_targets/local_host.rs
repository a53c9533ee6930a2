//! The local host and the server on it: packets of any content, each preceded by its length, as the dataplane would
//! deliver them. What comes out are sound IP packets from our addresses.

#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use control::fake::Fake;
use libfuzzer_sys::fuzz_target;
use mgmt::{HostConfig, Server, ServerConfig};

/// Small buffers, so that an input is quickly run.
const CONFIG: ServerConfig = ServerConfig {
    host: HostConfig {
        port: 80,
        mtu: 1500,
        connections: 4,
        receive_buffer: 2048,
        send_buffer: 2048,
        half_open: Duration::from_secs(5),
        closing: Duration::from_secs(5),
    },
    limits: LIMITS,
};

const LIMITS: mgmt::http::Limits = mgmt::http::Limits {
    body: 1000,
    head_time: Duration::from_secs(10),
    idle_time: Duration::from_secs(15),
    body_stall: Duration::from_secs(10),
    body_time: Duration::from_secs(300),
    answer_stall: Duration::from_secs(15),
    linger_time: Duration::from_secs(2),
};

fuzz_target!(|data: &[u8]| {
    let ours = [
        IpAddr::from([192, 0, 2, 1]),
        IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]),
    ];
    let mut api = Fake::default();
    let mut server = Server::new(CONFIG, 7);
    server.host().set_addresses(&ours.map(|addr| (addr, 24)));
    let mut now = Duration::ZERO;
    let mut rest = data;
    while let Some((length, tail)) = rest.split_first() {
        let (packet, tail) = tail.split_at(tail.len().min(usize::from(*length)));
        rest = tail;
        server.host().deliver(&aimed(packet));
        now += Duration::from_millis(u64::from(*length));
        server.poll(now, &mut api);
        while let Some(sent) = server.host().next_packet() {
            assert!(ours.contains(&source(&sent)), "{sent:?}");
        }
    }
});

/// Most random packets would be dropped for their length, checksum or destination; half of the inputs are spared that.
fn aimed(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet.len() < 20 || packet[0] != 0x45 {
        return packet;
    }
    let length = packet.len() as u16;
    packet[2..4].copy_from_slice(&length.to_be_bytes());
    packet[16..20].copy_from_slice(&[192, 0, 2, 1]);
    packet[10..12].fill(0);
    let sum = checksum(&packet[..20], 0);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    if packet[9] == 6 && packet.len() >= 40 {
        packet[22..24].copy_from_slice(&80u16.to_be_bytes());
        packet[36..38].fill(0);
        let addresses: u32 = packet[12..20]
            .chunks(2)
            .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
            .sum();
        let sum = checksum(&packet[20..], addresses + 6 + u32::from(length) - 20);
        packet[36..38].copy_from_slice(&sum.to_be_bytes());
    }
    packet
}

/// RFC 1071.
fn checksum(bytes: &[u8], start: u32) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|w| u32::from(w[0]) << 8 | w.get(1).map_or(0, |b| u32::from(*b)));
    let mut sum = start + words.sum::<u32>();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn source(packet: &[u8]) -> IpAddr {
    if packet[0] >> 4 == 4 {
        <[u8; 4]>::try_from(&packet[12..16]).expect("IPv4").into()
    } else {
        <[u8; 16]>::try_from(&packet[8..24]).expect("IPv6").into()
    }
}
