//! What drivers do differently from each other and do not tell.
//!
//! Everything that depends on the name of a driver is here, each with the reason. Facts are of DPDK 22.11,
//! found in the drivers' sources or by trial in QEMU.

/// How a driver differs from the plain case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Quirks {
    /// A verified checksum may be absent. virtio's "receive checksum" means that the host need not compute
    /// checksums at all; a forwarder would send such packets on with a wrong one.
    pub(crate) checksum_may_be_absent: bool,
    /// Packets come on all queues also without RSS: virtio hosts, packet sockets and peers of shared memory
    /// choose a queue by themselves, and what comes on a queue that nobody polls is lost.
    pub(crate) spreads_without_rss: bool,
    /// The number of receive queues must be a power of two (vmxnet3).
    pub(crate) rx_queues_power_of_two: bool,
    /// Rings that take buffers per receive queue: vmxnet3 fills a second one of the same size for the tails
    /// of long packets.
    pub(crate) rings_per_rx_queue: u32,
    /// Setting the MTU stops and starts the device while its queues are polled, and forgets that it runs
    /// (vmxnet3). That must not happen.
    pub(crate) mtu_restarts: bool,
}

impl Quirks {
    pub(crate) fn of(driver: &str) -> Quirks {
        let vmxnet3 = driver == "net_vmxnet3";
        let virtio = driver == "net_virtio" || driver == "net_virtio_user";
        let no_card = matches!(
            driver,
            "net_af_packet" | "net_memif" | "net_ring" | "net_null"
        );
        Quirks {
            checksum_may_be_absent: virtio,
            spreads_without_rss: virtio || no_card,
            rx_queues_power_of_two: vmxnet3,
            rings_per_rx_queue: if vmxnet3 { 2 } else { 1 },
            mtu_restarts: vmxnet3,
        }
    }

    /// How many receive queues to use of `wished`, where the device has `max`, with or without RSS.
    pub(crate) fn rx_queues(&self, wished: u16, max: u16, rss: bool) -> u16 {
        let spread = rss || self.spreads_without_rss;
        let count = if spread {
            wished.clamp(1, max.max(1))
        } else {
            1
        };
        if self.rx_queues_power_of_two {
            1 << count.ilog2()
        } else {
            count
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn receive_queues_are_what_wish_device_and_driver_allow() {
        for (driver, wished, max, rss, expected) in [
            ("net_ixgbe", 4, 128, true, 4),
            ("net_ixgbe", 4, 2, true, 2),
            ("net_ixgbe", 0, 128, true, 1),
            ("net_e1000_em", 4, 2, false, 1),
            ("net_virtio", 4, 2, false, 2),
            ("net_af_packet", 4, 0, false, 1),
            ("net_vmxnet3", 3, 16, true, 2),
            ("net_vmxnet3", 4, 16, true, 4),
        ] {
            let count = Quirks::of(driver).rx_queues(wished, max, rss);
            assert_eq!(count, expected, "{driver} {wished} of {max}");
        }
    }
}
