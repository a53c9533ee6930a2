//! DPDK's ports: started, named as on BSD, their queues dealt out to workers.

use std::sync::Arc;

use control::machine::{HwStats, PortFacts, Ports};
use dpdk::{DpdkNic, Eal, Pool, PoolConfig, Port, PortConfig};
use nic::{LinkState, PortInfo};
use worker::WorkerPort;

use crate::sizing::Sizes;

/// Largest IP packet before a bundle says otherwise.
const MTU: u16 = 1500;

/// All ports, for the control core and for whoever polls links.
#[derive(Clone)]
pub(crate) struct Nics {
    ports: Arc<Vec<(Port, PortFacts)>>,
    pool: Pool,
}

/// Queues of one worker, by port number.
pub(crate) type Share = Vec<WorkerPort<DpdkNic>>;

/// Names for ports in their order: driver's BSD name and a number of its own.
pub(crate) fn names(infos: &[PortInfo]) -> Vec<String> {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    let mut name = |info: &PortInfo| {
        let driver = nic::bsd_name(&info.driver);
        let n = match counts.iter_mut().find(|(known, _)| *known == driver) {
            Some((_, n)) => {
                *n += 1;
                *n
            }
            None => {
                counts.push((driver, 0));
                0
            }
        };
        format!("{driver}{n}")
    };
    infos.iter().map(&mut name).collect()
}

/// How many workers the ports can serve: every worker needs a transmit queue on every port.
pub(crate) fn workers_max(infos: &[PortInfo]) -> usize {
    infos
        .iter()
        .map(|i| usize::from(i.tx_queues_max))
        .min()
        .unwrap_or(1)
        .max(1)
}

impl Nics {
    /// Starts all ports with a transmit queue, and if possible a receive queue, for each worker.
    pub(crate) fn start(
        eal: Eal,
        infos: &[PortInfo],
        workers: usize,
        sizes: &Sizes,
    ) -> Result<(Nics, Vec<Share>), String> {
        let config = PoolConfig {
            mbufs: sizes.buffers,
            ..PoolConfig::default()
        };
        let pool = Pool::new(eal, &config).map_err(|error| error.to_string())?;
        let mut shares: Vec<Share> = (0..workers).map(|_| Vec::new()).collect();
        let mut ports = Vec::new();
        for (info, name) in infos.iter().zip(names(infos)) {
            let config = PortConfig {
                rx_queues: (workers as u16).min(info.rx_queues_max).max(1),
                tx_queues: workers as u16,
                rx_desc: sizes.descriptors,
                tx_desc: sizes.descriptors,
                mtu: MTU.min(info.mtu),
                ..PortConfig::default()
            };
            let (port, queues) = Port::configure(eal, info.id, &config, &pool)
                .map_err(|error| format!("{name}: {error}"))?;
            deal(&mut shares, queues);
            let facts = facts(&port, info, name, pool.data_room());
            ports.push((port, facts));
        }
        Ok((
            Nics {
                ports: Arc::new(ports),
                pool,
            },
            shares,
        ))
    }

    /// The buffers that all ports use.
    pub(crate) fn pool(&self) -> &Pool {
        &self.pool
    }
}

fn deal(shares: &mut [Share], queues: dpdk::Queues) {
    let (mut rx, mut tx) = (queues.rx.into_iter(), queues.tx.into_iter());
    for share in shares {
        share.push(WorkerPort {
            rx: rx.next(),
            tx: tx.next(),
        });
    }
}

fn facts(port: &Port, info: &PortInfo, name: String, data_room: u16) -> PortFacts {
    /// Ethernet header and a VLAN tag.
    const FRAME: u16 = 18;
    // After the start the driver may know better.
    let info = port.info().unwrap_or_else(|_| info.clone());
    PortFacts {
        name,
        mac: info.mac,
        mtu: info.mtu.min(MTU),
        mtu_max: data_room.saturating_sub(FRAME),
        driver: info.driver.to_string(),
        device: info.device.to_string(),
    }
}

impl Ports for Nics {
    fn list(&self) -> Vec<PortFacts> {
        self.ports.iter().map(|(_, facts)| facts.clone()).collect()
    }

    fn link(&self, port: u16) -> LinkState {
        self.ports
            .get(usize::from(port))
            .map(|(port, _)| port.link())
            .unwrap_or_default()
    }

    fn stats(&self, port: u16) -> HwStats {
        let stats = self
            .ports
            .get(usize::from(port))
            .and_then(|(port, _)| port.stats().ok());
        let s = stats.unwrap_or_default();
        HwStats {
            rx_packets: s.rx_packets,
            rx_bytes: s.rx_bytes,
            tx_packets: s.tx_packets,
            tx_bytes: s.tx_bytes,
            missed: s.rx_missed + s.rx_no_buffer,
            errors: s.rx_errors + s.rx_oversize + s.tx_errors,
        }
    }

    fn set_mtu(&self, port: u16, mtu: u16) -> Result<(), String> {
        let (port, _) = self.ports.get(usize::from(port)).ok_or("no such port")?;
        port.set_mtu(mtu).map_err(|error| error.to_string())
    }

    fn set_mac(&self, port: u16, mac: [u8; 6]) -> Result<(), String> {
        let (port, _) = self.ports.get(usize::from(port)).ok_or("no such port")?;
        port.set_mac(mac).map_err(|error| error.to_string())
    }

    fn buffers(&self) -> (u64, u64) {
        (self.pool.size().into(), self.pool.in_use().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nic::PortId;

    #[test]
    fn each_kind_of_card_is_numbered_from_zero() {
        let info = |driver: &str, tx| PortInfo {
            id: PortId(0),
            device: heapless_text("x"),
            driver: heapless_text32(driver),
            mac: [0; 6],
            mtu: 1500,
            rx_queues_max: 4,
            tx_queues_max: tx,
        };
        let infos = [
            info("net_virtio", 8),
            info("net_e1000_em", 1),
            info("net_virtio", 4),
        ];
        assert_eq!(names(&infos), ["vio0", "em0", "vio1"]);
        assert_eq!(workers_max(&infos), 1);
        assert_eq!(workers_max(&infos[2..]), 4);
    }

    fn heapless_text(text: &str) -> heapless::String<64> {
        heapless::String::try_from(text).unwrap()
    }

    fn heapless_text32(text: &str) -> heapless::String<32> {
        heapless::String::try_from(text).unwrap()
    }
}
