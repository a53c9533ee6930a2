//! Bytes of a packet that was described, or captured.

use std::net::IpAddr;

use filter::scrub::PRIORITY_DEFAULT;
use net::Interface;
use net::link::{TAG_LEN, write_tags};
use wire::{icmp, icmp6, ipv4, tcp, udp};
use worker::Config;

use crate::observe::Arrival;
use crate::words::{Described, Way};

const ETHERNET: usize = 14;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;

/// Where a described packet arrives, with its bytes.
pub fn arrival(described: &Described, config: &Config) -> Result<Arrival, String> {
    let packet = ip_packet(described);
    match (described.way, &described.interface) {
        (Way::In, Some(name)) => {
            let interface = interface(name, config)?;
            arriving(interface, &packet, config)
        }
        _ => Ok(Arrival::Own { packet }),
    }
}

/// A captured frame on an interface, addressed to it.
pub fn captured(name: &str, frame: &[u8], config: &Config) -> Result<Arrival, String> {
    let interface = interface(name, config)?;
    let packet = frame.get(ETHERNET..).ok_or("the frame is cut short")?;
    match frame[12..14] {
        [0x08, 0x00] | [0x86, 0xdd] => arriving(interface, packet, config),
        _ => Err("the frame carries neither IPv4 nor IPv6".into()),
    }
}

fn interface<'c>(name: &str, config: &'c Config) -> Result<&'c Interface, String> {
    config.interfaces.by_name(name).ok_or_else(|| {
        let names: Vec<&str> = config.interfaces.iter().map(|i| i.name.as_str()).collect();
        format!(
            "there is no interface '{name}'; there are: {}",
            names.join(" ")
        )
    })
}

fn arriving(interface: &Interface, packet: &[u8], config: &Config) -> Result<Arrival, String> {
    let arrival = config.interfaces.links().arrival(interface.id);
    let (port, tags) =
        arrival.ok_or_else(|| format!("nothing arrives on {}: it has no card", interface.name))?;
    let ethertype: [u8; 2] = match packet.first().map(|b| b >> 4) {
        Some(6) => [0x86, 0xdd],
        _ => [0x08, 0x00],
    };
    // Any station but our own.
    let from = [0x02, 0, 0, 0, 0, 0x01];
    let room = vec![0; tags.len() * TAG_LEN];
    let mut frame = [&room, &interface.mac.0[..], &from, &ethertype, packet].concat();
    write_tags(&mut frame, tags, PRIORITY_DEFAULT);
    Ok(Arrival::Wire { port, frame })
}

fn ip_packet(d: &Described) -> Vec<u8> {
    let head = match d.src.0 {
        IpAddr::V4(_) => 20,
        IpAddr::V6(_) => 40,
    };
    let transport = transport(d, usize::from(d.size).saturating_sub(head));
    let mut out = match (d.src.0, d.dst.0) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => {
            let mut head = vec![0x45, d.tos];
            head.extend(((20 + transport.len()) as u16).to_be_bytes());
            head.extend([0, 1, 0, 0, d.ttl, d.proto, 0, 0]);
            head.extend(src.octets());
            head.extend(dst.octets());
            ipv4::Packet::new_unchecked(&mut head[..]).fill_checksum();
            head
        }
        (src, dst) => {
            let mut head = vec![0x60 | d.tos >> 4, d.tos << 4, 0, 0];
            head.extend((transport.len() as u16).to_be_bytes());
            head.extend([d.proto, d.ttl]);
            for addr in [src, dst] {
                if let IpAddr::V6(addr) = addr {
                    head.extend(addr.octets());
                }
            }
            head
        }
    };
    out.extend(transport);
    out
}

fn transport(d: &Described, len: usize) -> Vec<u8> {
    let ports = [d.src.1.to_be_bytes(), d.dst.1.to_be_bytes()].concat();
    let (src, dst) = (d.src.0, d.dst.0);
    match d.proto {
        TCP => {
            let mut out = ports;
            out.extend([0, 0, 0, 1, 0, 0, 0, u8::from(d.flags & 16 != 0)]);
            out.extend([0x50, d.flags, 0xff, 0xff, 0, 0, 0, 0]);
            out.resize(len.max(20), 0);
            tcp::Packet::new_unchecked(&mut out[..]).fill_checksum(src, dst);
            out
        }
        UDP => {
            let mut out = ports;
            let len = len.max(8);
            out.extend((len as u16).to_be_bytes());
            out.extend([0, 0]);
            out.resize(len, 0);
            udp::Packet::new_unchecked(&mut out[..]).fill_checksum(src, dst);
            out
        }
        ICMP | ICMP6 => {
            let mut out = vec![d.icmp.0, d.icmp.1, 0, 0, 0, 1, 0, 1];
            out.resize(len.max(least(d)), 0);
            match (src, dst) {
                (IpAddr::V6(src), IpAddr::V6(dst)) => {
                    icmp6::Packet::new_unchecked(&mut out[..]).fill_checksum(src, dst);
                }
                _ => icmp::Packet::new_unchecked(&mut out[..]).fill_checksum(),
            }
            out
        }
        _ => vec![0; len],
    }
}

/// Neighbor discovery names an address.
fn least(d: &Described) -> usize {
    match (d.proto, d.icmp.0) {
        (ICMP6, 134) => 16,
        (ICMP6, 135 | 136) => 24,
        _ => 8,
    }
}
