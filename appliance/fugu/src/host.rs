//! Between the local host and the workers: packets for the box come out of the workers' rings, what the box says goes
//! into them. And the management server on top, restarted if it dies.

use std::time::Duration;

use control::domains::Domains;
use control::{Control, ToSend};
use dpdk::{Mbuf, Pool};
use mgmt::{HostConfig, Server, ServerConfig};
use nic::{BufferPool, PacketBuf};
use sync::{Consumer, Producer};
use worker::{Carried, FrameEnd, Lane};

use crate::supervise::guarded;

/// The control thread's ends of a worker's packet rings.
pub(crate) struct HostEnds {
    /// Packets for the local host.
    pub(crate) to_host: Consumer<Carried<Mbuf>>,
    /// A packet for the local host whose other buffers have not come yet. A worker sends no more than 65535 bytes.
    pub(crate) begun: Vec<u8>,
    /// Packets of the local host.
    pub(crate) from_host: Producer<Carried<Mbuf>>,
}

/// The local host and its server.
pub(crate) struct Host {
    server: Server,
    ends: Vec<HostEnds>,
    pool: Pool,
    /// Configuration that addresses and port were taken from.
    generation: Option<u32>,
    /// Which routing table its packets go by.
    domains: Domains,
}

impl Host {
    /// One for the whole box. Hands its ping to the control core.
    pub(crate) fn new(ends: Vec<HostEnds>, pool: Pool, control: &mut Control) -> Host {
        Host {
            server: new_server(control),
            ends,
            pool,
            generation: None,
            domains: Domains::default(),
        }
    }

    /// Moves packets and lets the server work. True if anything moved.
    pub(crate) fn poll(&mut self, now: Duration, control: &mut Control) -> bool {
        self.follow(control);
        let came = self.take_in(control);
        let server = &mut self.server;
        if guarded("management server", || server.poll(now, control)).is_none() {
            self.server = new_server(control);
            self.generation = None;
        }
        self.give_out(control) | came
    }

    /// When the server has something to do by itself.
    pub(crate) fn poll_at(&mut self, now: Duration) -> Option<Duration> {
        self.server.poll_at(now)
    }

    /// Takes addresses and port from a new configuration.
    fn follow(&mut self, control: &Control) {
        if self.generation == Some(control.generation()) {
            return;
        }
        self.generation = Some(control.generation());
        self.server.host().set_addresses(&control.local_addresses());
        self.server.host().set_port(control.api_port());
        let before = std::mem::take(&mut self.domains);
        self.domains = control.domains().remembering(before);
    }

    fn take_in(&mut self, control: &mut Control) -> bool {
        let mut any = false;
        for end in &mut self.ends {
            while let Some(carried) = end.to_host.pop() {
                let Carried {
                    buf,
                    more,
                    frame,
                    received_on,
                    ..
                } = carried;
                any = true;
                if let Some(end_of_frame) = frame {
                    if let FrameEnd::Port(port) = end_of_frame {
                        control.hear_frame(port, received_on, buf.bytes());
                    }
                    continue;
                }
                if end.begun.is_empty() {
                    self.domains.hear(buf.bytes(), received_on);
                }
                let from = received_on.filter(|_| !more && end.begun.is_empty());
                if from.is_some_and(|interface| control.hear(interface, buf.bytes())) {
                    continue;
                }
                if !more && end.begun.is_empty() {
                    self.server.host().deliver(buf.bytes());
                    continue;
                }
                end.begun.extend_from_slice(buf.bytes());
                if !more {
                    self.server.host().deliver(&std::mem::take(&mut end.begun));
                }
            }
        }
        any
    }

    /// All go to the first worker, which hands over what is not its own. Order within a connection is kept.
    pub(crate) fn give_out(&mut self, control: &mut Control) -> bool {
        let Some(end) = self.ends.first_mut() else {
            return false;
        };
        let mut any = false;
        while end.from_host.room() > 0 {
            let own = control.next_to_send();
            let host = || {
                let bytes = self.server.host().next_packet()?;
                Some(ToSend {
                    bytes,
                    lane: Lane::Routed,
                    frame: None,
                })
            };
            let Some(ToSend { bytes, lane, frame }) = own.or_else(host) else {
                break;
            };
            any = true;
            let rtable = match (&frame, lane) {
                (None, Lane::Routed) => self.domains.table(&bytes),
                _ => 0,
            };
            // Without a buffer the packet is lost, as on a full wire; TCP sends it again.
            let Some(buf) = buffer_of(&mut self.pool, &bytes) else {
                continue;
            };
            // There is room, and nobody else puts anything in.
            end.from_host
                .push(Carried {
                    buf,
                    received_on: None,
                    rtable,
                    more: false,
                    frame,
                    lane,
                })
                .ok();
        }
        any
    }
}

fn buffer_of(pool: &mut Pool, packet: &[u8]) -> Option<Mbuf> {
    let mut buf = pool.allocate()?;
    buf.append(packet.len()).ok()?;
    buf.bytes_mut().copy_from_slice(packet);
    Some(buf)
}

fn new_server(control: &mut Control) -> Server {
    let config = ServerConfig {
        host: HostConfig {
            port: control.api_port(),
            ..HostConfig::default()
        },
        limits: mgmt::http::Limits {
            body: control.bundle_bytes_max(),
            ..mgmt::http::Limits::default()
        },
    };
    let mut server = Server::new(config, crate::clock::random_u64());
    control.set_pinger(Box::new(server.host().pinger()));
    server
}
