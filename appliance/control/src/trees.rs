//! The spanning trees of the box's bridges: runs `net::stp`, and writes what members may do where workers read it.
//!
//! Frames come from the workers and go back to them; a change of a port's state takes effect without a new
//! configuration. A tree outlives a new configuration that wants it as it is.

use std::collections::VecDeque;

use net::bridge::Switch;
use net::stp::{Event, PortRole, PortState, SpanningTree, path_cost};
use net::{InterfaceId, InterfaceTable};
use nic::LinkState;
use wire::bpdu::{Bpdu, FRAME_MAX};
use wire::ether;
use worker::FrameEnd;

use crate::bridges::{TreeWords, outside_of_tree};

/// Frames that wait for the workers.
const OUTGOING_MAX: usize = 256;

/// One bridge's.
pub(crate) struct Tree {
    pub(crate) words: TreeWords,
    pub(crate) machine: SpanningTree,
    /// What was said of each port last.
    said: Vec<(PortRole, PortState)>,
}

/// All of them.
#[derive(Default)]
pub(crate) struct Trees {
    trees: Vec<Tree>,
    outgoing: VecDeque<(FrameEnd, Vec<u8>)>,
}

impl Trees {
    /// Takes over from a configuration that is about to be published: its workers must find the states as they are.
    pub(crate) fn follow(
        &mut self,
        wanted: &[TreeWords],
        interfaces: &InterfaceTable,
        links: &[LinkState],
        now_ms: u64,
    ) {
        let mut old = std::mem::take(&mut self.trees);
        for words in wanted {
            let kept = old.iter().position(|t| t.words == *words);
            let tree = match kept {
                Some(n) => old.swap_remove(n),
                None => begin(words, interfaces, links, now_ms),
            };
            self.trees.push(tree);
        }
        self.settle(interfaces);
    }

    /// Whether there is any.
    pub(crate) fn is_empty(&self) -> bool {
        self.trees.is_empty()
    }

    /// That of a bridge.
    pub(crate) fn of(&self, bridge: InterfaceId) -> Option<&Tree> {
        self.trees.iter().find(|tree| tree.words.bridge == bridge)
    }

    /// Lets time pass.
    pub(crate) fn poll(&mut self, interfaces: &InterfaceTable, now_ms: u64) {
        for tree in &mut self.trees {
            tree.machine.poll(now_ms);
        }
        self.settle(interfaces);
    }

    /// The link of a port has changed.
    pub(crate) fn on_link(
        &mut self,
        interfaces: &InterfaceTable,
        port: u16,
        link: LinkState,
        now_ms: u64,
    ) {
        let Some(id) = interfaces.by_port(port).map(|i| i.id) else {
            return;
        };
        for tree in &mut self.trees {
            if let Some(n) = tree.place(id) {
                tree.machine.handle(now_ms, n, event_of(link));
            }
        }
        self.settle(interfaces);
    }

    /// A frame came in by a port. True if it is a message of a tree here.
    pub(crate) fn hear(
        &mut self,
        interfaces: &InterfaceTable,
        port: u16,
        frame: &[u8],
        now_ms: u64,
    ) -> bool {
        let Some(payload) = frame.get(ether::HEADER_LEN..) else {
            return false;
        };
        let (Some(id), Ok(bpdu)) = (
            interfaces.by_port(port).map(|i| i.id),
            Bpdu::parse_llc(payload),
        ) else {
            return false;
        };
        let mut heard = false;
        for tree in &mut self.trees {
            if let Some(n) = tree.place(id) {
                tree.machine.handle(now_ms, n, Event::Heard(bpdu));
                heard = true;
            }
        }
        self.settle(interfaces);
        heard
    }

    /// The next frame for the workers.
    pub(crate) fn next_frame(&mut self) -> Option<(FrameEnd, Vec<u8>)> {
        self.outgoing.pop_front()
    }

    /// What the machines want told: to the workers, to the neighbors, to the log.
    fn settle(&mut self, interfaces: &InterfaceTable) {
        for tree in &mut self.trees {
            while let Some((n, bpdu)) = tree.machine.poll_transmit() {
                let id = tree.words.ports[n].0;
                let mac = interfaces.get(id).map_or(ether::Addr::ZERO, |i| i.mac);
                let mut frame = [0; FRAME_MAX];
                let len = bpdu.emit_frame(mac, &mut frame);
                if self.outgoing.len() < OUTGOING_MAX {
                    let end = FrameEnd::Interface(id);
                    self.outgoing.push_back((end, frame[..len].to_vec()));
                }
            }
            if let Some(bridge) = interfaces.bridges().of(tree.words.bridge) {
                tree.write(bridge);
            }
            tree.say(interfaces);
        }
    }
}

fn begin(words: &TreeWords, interfaces: &InterfaceTable, links: &[LinkState], now_ms: u64) -> Tree {
    let settings: Vec<_> = words.ports.iter().map(|(_, settings)| *settings).collect();
    let mut machine = SpanningTree::new(words.settings, &settings, now_ms);
    for (n, (id, _)) in words.ports.iter().enumerate() {
        for (port, link) in (0..).zip(links) {
            if link.is_up() && interfaces.by_port(port).is_some_and(|i| i.id == *id) {
                machine.handle(now_ms, n, event_of(*link));
            }
        }
    }
    Tree {
        said: vec![(PortRole::Disabled, PortState::Discarding); words.ports.len()],
        words: words.clone(),
        machine,
    }
}

fn event_of(link: LinkState) -> Event {
    match link {
        LinkState::Down => Event::LinkDown,
        LinkState::Up {
            speed_mbps,
            full_duplex,
        } => Event::LinkUp {
            cost: path_cost(speed_mbps),
            point_to_point: full_duplex,
        },
    }
}

impl Tree {
    pub(crate) fn place(&self, id: InterfaceId) -> Option<usize> {
        self.words.ports.iter().position(|(port, _)| *port == id)
    }

    /// Writes what members may do. First what was learned is forgotten, then states change.
    fn write(&self, bridge: &Switch) {
        let outside = outside_of_tree(&bridge.members);
        let (mut learning, mut forwarding) = (outside, outside);
        for (n, (id, _)) in self.words.ports.iter().enumerate() {
            let Some(place) = bridge.place(*id) else {
                continue;
            };
            let state = self.machine.state(n);
            learning |= u64::from(state >= PortState::Learning) << place;
            forwarding |= u64::from(state == PortState::Forwarding) << place;
            bridge.ports.set_epoch(place, self.machine.epoch(n));
        }
        bridge.ports.set(learning, forwarding);
    }

    fn say(&mut self, interfaces: &InterfaceTable) {
        for (n, (id, _)) in self.words.ports.iter().enumerate() {
            let now = (self.machine.role(n), self.machine.state(n));
            if self.said[n] == now {
                continue;
            }
            self.said[n] = now;
            let name = |id: InterfaceId| interfaces.get(id).map_or("?", |i| i.name.as_str());
            log::info!(
                "{}: {}: {}, {}",
                name(self.words.bridge),
                name(*id),
                role_word(now.0),
                state_word(now.1)
            );
        }
    }
}

/// As OpenBSD's ifconfig(8) says it.
pub(crate) fn role_word(role: PortRole) -> &'static str {
    match role {
        PortRole::Disabled => "disabled",
        PortRole::Root => "root",
        PortRole::Designated => "designated",
        PortRole::Alternate => "alternate",
        PortRole::Backup => "backup",
    }
}

/// As OpenBSD's ifconfig(8) says it.
pub(crate) fn state_word(state: PortState) -> &'static str {
    match state {
        PortState::Discarding => "discarding",
        PortState::Learning => "learning",
        PortState::Forwarding => "forwarding",
    }
}
