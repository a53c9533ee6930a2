//! The spanning trees of the box's bridges: runs `net::stp`, and writes what members may do where workers read it.
//!
//! Frames come from the workers and go back to them; a change of a port's state takes effect without a new
//! configuration. A tree outlives a new configuration that wants it as it is.

use std::collections::VecDeque;

use net::bridge::Switch;
use net::link::Out;
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
    /// The link of each member, as the machine knows it.
    links: Vec<LinkState>,
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
                Some(n) => {
                    let mut tree = old.swap_remove(n);
                    tree.follow_links(interfaces, links, now_ms);
                    tree
                }
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

    /// Links of ports have changed; `links` are all of them as they are now, by port number.
    pub(crate) fn on_links(
        &mut self,
        interfaces: &InterfaceTable,
        links: &[LinkState],
        now_ms: u64,
    ) {
        for tree in &mut self.trees {
            tree.follow_links(interfaces, links, now_ms);
        }
        self.settle(interfaces);
    }

    /// A frame came in by an interface. True if it is a message of a tree here.
    pub(crate) fn hear(
        &mut self,
        interfaces: &InterfaceTable,
        on: InterfaceId,
        frame: &[u8],
        now_ms: u64,
    ) -> bool {
        let Some(payload) = frame.get(ether::HEADER_LEN..) else {
            return false;
        };
        let Ok(bpdu) = Bpdu::parse_llc(payload) else {
            return false;
        };
        let mut heard = false;
        for tree in &mut self.trees {
            if let Some(n) = tree.place(on) {
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
    let mut tree = Tree {
        machine: SpanningTree::new(words.settings, &settings, now_ms),
        links: vec![LinkState::Down; words.ports.len()],
        said: vec![(PortRole::Disabled, PortState::Discarding); words.ports.len()],
        words: words.clone(),
    };
    tree.follow_links(interfaces, links, now_ms);
    tree
}

/// The link of a member: that of the port that carries it, or the best of a lagg's.
fn link_of(interfaces: &InterfaceTable, id: InterfaceId, links: &[LinkState]) -> LinkState {
    let link = |port: u16| links.get(usize::from(port)).copied().unwrap_or_default();
    let speed = |link: &LinkState| match link {
        LinkState::Down => None,
        LinkState::Up { speed_mbps, .. } => Some(*speed_mbps),
    };
    match interfaces.way(id).map(|way| way.out) {
        Some(Out::Port(port)) => link(port),
        Some(Out::Lagg(n)) => {
            let ports = interfaces.links().lagg(n).map(|lagg| lagg.ports.as_slice());
            let each = ports.unwrap_or_default().iter().map(|port| link(*port));
            each.max_by_key(speed).unwrap_or_default()
        }
        Some(Out::Nowhere | Out::Tunnel(_)) | None => LinkState::Down,
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

    fn follow_links(&mut self, interfaces: &InterfaceTable, links: &[LinkState], now_ms: u64) {
        for (n, (id, _)) in self.words.ports.iter().enumerate() {
            let now = link_of(interfaces, *id, links);
            if now != self.links[n] {
                self.links[n] = now;
                self.machine.handle(now_ms, n, event_of(now));
            }
        }
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
