//! What is in the box beside its workers: the control core, with its frames, letters and reports, and the local host.

use filter::Kill;
use nic::{BufferPool, PacketBuf};
use simnic::SimNic;
use state::State;
use worker::{Carried, FrameEnd, Lane, LogRecord, Mail, Report, Worker};

use super::frames::shown_ip;
use super::record::widened;
use super::{ROUNDS_MAX, Rig, guarded};
use crate::packet::Packet;

impl Rig {
    /// Takes what came up for the control core and the local host.
    pub(super) fn collect_for_host(&mut self) {
        for control in self.control.iter_mut().filter(|_| self.host_reads) {
            while let Some(carried) = control.to_host.pop() {
                let Carried { buf, more, .. } = carried;
                if let Some(FrameEnd::Port(port)) = carried.frame {
                    let on = carried.received_on.map(|on| usize::from(on.0));
                    let on = on.filter(|on| self.topology.is_vlan(*on));
                    let on = on.unwrap_or(usize::from(port));
                    let name = self.topology.ports[on].name.clone();
                    self.control_frames.push((name, buf.bytes().to_vec()));
                    continue;
                }
                self.for_host.extend_from_slice(buf.bytes());
                if !more {
                    let packet = std::mem::take(&mut self.for_host);
                    self.lens = widened(self.lens, packet.len());
                    self.to_host.push_back(packet);
                }
            }
        }
    }

    /// Frames of link protocols that the control core got, with their ports or VLANs, since the last call.
    pub fn control_frames(&mut self) -> Vec<(String, Vec<u8>)> {
        std::mem::take(&mut self.control_frames)
    }

    /// The control core sends a frame of a link protocol, by a card or by an interface.
    pub fn control_sends(&mut self, end: FrameEnd, frame: &[u8]) {
        let mut buf = self.pool.clone().allocate().expect("a buffer");
        buf.append(frame.len()).expect("room");
        buf.bytes_mut().copy_from_slice(frame);
        let carried = Carried {
            buf,
            received_on: None,
            rtable: 0,
            more: false,
            frame: Some(end),
            lane: Lane::Routed,
        };
        assert!(self.control[0].from_host.push(carried).is_ok());
        self.run();
    }

    /// The local host sends a packet.
    pub fn host_sends(&mut self, packet: &Packet) {
        self.host_sends_from(packet, 0);
    }

    /// The local host sends a packet in a routing table.
    pub fn host_sends_in(&mut self, rtable: u8, packet: &Packet) {
        self.give_host_packet(packet, rtable, 0);
    }

    /// As [`Rig::host_sends`], with `missing` bytes less room in front of the packet than usual.
    pub fn host_sends_from(&mut self, packet: &Packet, missing: usize) {
        self.give_host_packet(packet, 0, missing);
    }

    /// How many neighbors the first worker remembers.
    pub fn neighbors(&mut self) -> usize {
        let asked = self.control[0].mail.push(Mail::ListNeighbors);
        assert!(asked.is_ok());
        let mut found = 0;
        for _ in 0..ROUNDS_MAX {
            guarded(|| self.workers[0].turn(self.now_ms));
            while let Some(report) = self.control[0].reports.pop() {
                match report {
                    Report::Neighbor(_) => found += 1,
                    Report::NeighborsEnd => return found,
                    _ => {}
                }
            }
        }
        self.fail("the list of neighbors does not end")
    }

    /// The control core sends bytes by a lane.
    pub fn control_sends_by(&mut self, lane: Lane, bytes: &[u8]) {
        self.give_bytes(bytes, 0, 0, lane);
    }

    fn give_host_packet(&mut self, packet: &Packet, rtable: u8, missing: usize) {
        self.give_bytes(&packet.bytes(), rtable, missing, Lane::Routed);
    }

    fn give_bytes(&mut self, bytes: &[u8], rtable: u8, missing: usize, lane: Lane) {
        self.lens = widened(self.lens, bytes.len());
        let mut buf = self.pool.clone().allocate().expect("a buffer");
        buf.prepend(missing).expect("room in front");
        buf.append(bytes.len() - missing).expect("room");
        buf.bytes_mut().copy_from_slice(bytes);
        let carried = Carried {
            buf,
            received_on: None,
            rtable,
            more: false,
            frame: None,
            lane,
        };
        assert!(self.control[0].from_host.push(carried).is_ok());
        self.run();
    }

    /// Exactly this packet is next for the local host.
    pub fn expect_host(&mut self, packet: &Packet) {
        let (got, bytes) = (self.to_host.pop_front(), packet.bytes());
        self.check(got.as_ref() == Some(&bytes), || {
            let text = got.as_deref().map_or("nothing".into(), shown_ip);
            format!(
                "local host: expected\n  {}\ngot\n  {text}",
                shown_ip(&bytes)
            )
        });
    }

    /// What comes next for the control core or the local host, as it is.
    pub fn take_host(&mut self) -> Option<Vec<u8>> {
        self.to_host.pop_front()
    }

    /// All states of all workers.
    pub fn states(&self) -> Vec<State> {
        let of = |w: &Worker<SimNic>| -> Vec<State> {
            let states = w.states().iter_from(0);
            states.map(|(_, st)| st.into_owned()).collect()
        };
        self.workers.iter().flat_map(of).collect()
    }

    /// What was logged since the last call, worker by worker.
    pub fn logged(&mut self) -> Vec<LogRecord> {
        let mut records = Vec::new();
        for control in &mut self.control {
            while let Some(record) = control.log.pop() {
                records.push(record);
            }
        }
        records
    }

    /// Has states killed on every worker, in turns to come.
    pub fn kill_later(&mut self, kill: Kill) {
        for control in &mut self.control {
            assert!(control.mail.push(Mail::Kill(kill, 0)).is_ok());
        }
    }

    /// The control core asks the first worker.
    pub fn ask(&mut self, mail: Mail) {
        assert!(self.control[0].mail.push(mail).is_ok());
    }

    /// Places that the first worker has for states.
    pub fn states_capacity(&self) -> usize {
        self.workers[0].states().capacity()
    }

    /// What workers have reported since the last call.
    pub fn reports(&mut self) -> Vec<Report> {
        let mut reports = Vec::new();
        for control in &mut self.control {
            while let Some(report) = control.reports.pop() {
                reports.push(report);
            }
        }
        reports
    }

    /// Kills states on every worker, as a person asks for it. How many.
    pub fn kill(&mut self, kill: Kill) -> u64 {
        self.kill_later(kill);
        self.run();
        let killed = self.reports().into_iter().map(|report| match report {
            Report::Killed(report) if report.left == 0 => report.killed,
            _ => 0,
        });
        killed.sum()
    }
}
