//! One worker on the replay device with two interfaces: 0 towards the clients, 1 towards a gateway.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use filter::Shared;
use net::{
    IfAddr, Interface, InterfaceId, InterfaceTable, KifId, KifSet, Prefix, RouteTable, StaticRoute,
    Target,
};
use nic::{PacketBuf, RxQueue, TxQueue};
use ruleset::Ruleset;
use simnic::replay::{Loaded, Replay, ReplayNic};
use wire::ether;
use worker::{Config, ControlEnds, Worker, WorkerPort, WorkerSetup};

/// Frame without frame check sequence, the smallest there is.
pub(crate) const FRAME_BYTES: usize = 60;
/// Frames in the device's slab.
pub(crate) const FRAMES: usize = 32_768;

const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
const CLIENT_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];
const GATEWAY_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];
const CLIENT_GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 130);

/// A worker with everything around it.
pub(crate) struct Rig {
    pub(crate) worker: Worker<ReplayNic>,
    pub(crate) device: Replay,
    pub(crate) control: ControlEnds<<ReplayNic as nic::Nic>::Buf>,
    pub(crate) now_ms: u64,
}

fn interface(id: u16, addr: Ipv4Addr) -> Interface {
    let mut kifs = KifSet::EMPTY;
    kifs.insert(KifId(id));
    Interface {
        id: InterfaceId(id),
        name: format!("sim{id}").as_str().try_into().unwrap_or_default(),
        kind: net::Kind::Ethernet { port: id },
        mac: ether::Addr(MACS[usize::from(id)]),
        mtu: 1500,
        up: true,
        rdomain: 0,
        kifs,
        addrs: vec![IfAddr {
            addr: addr.into(),
            prefix_len: 25,
        }],
        groups: Vec::new(),
        description: String::new(),
    }
}

fn route(prefix: Ipv4Addr, len: u8, gateway: Ipv4Addr) -> StaticRoute {
    StaticRoute::new(
        Prefix::containing(IpAddr::V4(prefix), len),
        Target::Gateway(gateway.into(), None),
    )
}

impl Rig {
    /// A rig whose neighbors are known already.
    pub(crate) fn new(ruleset: Ruleset, states: usize) -> Self {
        let interfaces = InterfaceTable::build(vec![
            interface(0, Ipv4Addr::new(192, 0, 2, 1)),
            interface(1, Ipv4Addr::new(192, 0, 2, 129)),
        ])
        .expect("two good interfaces");
        let routes = [
            route(Ipv4Addr::new(10, 0, 0, 0), 8, CLIENT_GATEWAY),
            route(Ipv4Addr::new(0, 0, 0, 0), 0, GATEWAY),
        ];
        let routes = RouteTable::build(&interfaces, &routes).expect("two good routes");
        let slots = ruleset.rules.len() + 1;
        let (mut ends, mut control) = worker::connect::<ReplayNic>(1, slots);
        let device = Replay::new(FRAMES, &[0; FRAME_BYTES], 1);
        let ports = (0..2)
            .map(|n| {
                let (rx, tx) = device.queues(n);
                WorkerPort {
                    rx: Some(rx),
                    tx: Some(tx),
                }
            })
            .collect();
        let worker = Worker::new(WorkerSetup {
            id: 0,
            workers: 1,
            ends: ends.remove(0),
            ports,
            pool: device.pool(),
            states_capacity: states,
            shared: Arc::new(Shared::new(slots, states, 1, 1)),
            fragments_capacity: 1024,
            hash_seed: 0x1234_5678_9abc_def1,
            dice_seed: 7,
            secret: [3, 4],
            now_ms: 1000,
        });
        let control = control.remove(0);
        let config = Config::new(1, ruleset, interfaces, routes);
        control.config.publish(Arc::new(config));
        let mut rig = Rig {
            worker,
            device,
            control,
            now_ms: 1000,
        };
        rig.introduce();
        rig
    }

    /// Lets both neighbors ask for us, so that the worker knows them.
    pub(crate) fn introduce(&mut self) {
        for (port, mac, addr, ours) in [
            (0, CLIENT_MAC, CLIENT_GATEWAY, Ipv4Addr::new(192, 0, 2, 1)),
            (1, GATEWAY_MAC, GATEWAY, Ipv4Addr::new(192, 0, 2, 129)),
        ] {
            self.device.load(port, 1, |_, room| {
                room[..6].copy_from_slice(&[0xff; 6]);
                room[6..12].copy_from_slice(&mac);
                room[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
                room[22..28].copy_from_slice(&mac);
                room[28..32].copy_from_slice(&addr.octets());
                room[32..38].copy_from_slice(&[0; 6]);
                room[38..42].copy_from_slice(&ours.octets());
                Loaded {
                    len: 42,
                    rss_hash: None,
                }
            });
            self.drain();
        }
    }

    /// Turns until everything that was loaded has gone through; says how many turns.
    pub(crate) fn drain(&mut self) -> u64 {
        let mut turns = 0;
        while self.device.pending(0) + self.device.pending(1) > 0 {
            self.worker.turn(self.now_ms);
            turns += 1;
        }
        self.worker.turn(self.now_ms);
        turns
    }

    /// The device alone: every frame is received and sent again unseen, with a look at its first byte in between as any
    /// forwarder must have one.
    pub(crate) fn reflect(&mut self) {
        let (mut rx, mut tx) = (self.device.queues(0).0, self.device.queues(1).1);
        let mut burst = nic::Burst::new();
        while rx.receive(&mut burst) > 0 {
            for buf in &burst {
                std::hint::black_box(buf.bytes().first());
            }
            while tx.transmit(&mut burst) > 0 {}
            burst.clear();
        }
    }

    /// Turns without work, a thousand in each millisecond.
    pub(crate) fn idle(&mut self, turns: usize) {
        for n in 0..turns {
            self.now_ms += u64::from(n % 1000 == 0);
            self.worker.turn(self.now_ms);
        }
    }

    /// Loads up to one slab of packets, each written by `packet`.
    pub(crate) fn load(
        &mut self,
        port: usize,
        count: usize,
        packet: impl FnMut(usize) -> Packet,
    ) -> usize {
        let mut packet = packet;
        let mac = MACS[port];
        self.device.load(port, count, |n, room| {
            packet(n).write(mac, room);
            Loaded {
                len: FRAME_BYTES,
                rss_hash: None,
            }
        })
    }
}

/// An IPv4 packet of the smallest size.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Packet {
    pub(crate) src: u32,
    pub(crate) dst: u32,
    pub(crate) ports: (u16, u16),
    /// Flags, sequence, acknowledgement; none for UDP.
    pub(crate) tcp: Option<(u8, u32, u32)>,
}

impl Packet {
    fn write(&self, mac: [u8; 6], room: &mut [u8]) {
        let ip_len: u16 = if self.tcp.is_some() { 46 } else { 40 };
        room[..6].copy_from_slice(&mac);
        room[6..12].copy_from_slice(&CLIENT_MAC);
        room[12..18].copy_from_slice(&[8, 0, 0x45, 0, (ip_len >> 8) as u8, ip_len as u8]);
        room[18..24].copy_from_slice(&[0, 0, 0x40, 0, 64, if self.tcp.is_some() { 6 } else { 17 }]);
        room[24..26].fill(0);
        room[26..30].copy_from_slice(&self.src.to_be_bytes());
        room[30..34].copy_from_slice(&self.dst.to_be_bytes());
        let sum = wire::checksum::data(&room[14..34]);
        room[24..26].copy_from_slice(&sum.to_be_bytes());
        room[34..36].copy_from_slice(&self.ports.0.to_be_bytes());
        room[36..38].copy_from_slice(&self.ports.1.to_be_bytes());
        match self.tcp {
            None => room[38..42].copy_from_slice(&[0, 20, 0, 0]),
            Some((flags, seq, ack)) => {
                room[38..42].copy_from_slice(&seq.to_be_bytes());
                room[42..46].copy_from_slice(&ack.to_be_bytes());
                room[46..54].copy_from_slice(&[0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
            }
        }
    }
}
