//! Ports: what there are, how they are set up, what they say of themselves.
//!
//! Owns everything between "DPDK found a device" and "here are its queues". Adapts to what the device
//! has: one queue, odd ring sizes, no RSS are all fine. Read first: DPDK programmer's guide, "Poll Mode
//! Driver", and `rte_ethdev.h`.

use core::ffi::{CStr, c_char};
use core::fmt;
use core::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nic::{LinkState, PortId, PortInfo};

use crate::eal::Eal;
use crate::error::{Errno, Error};
use crate::mempool::Pool;
use crate::queue::{RxQueue, TxQueue};
use crate::quirks::Quirks;

const PORTS_MAX: usize = dpdk_sys::RTE_MAX_ETHPORTS as usize;

/// Ethernet header and one 802.1Q tag: what a frame carries beside the IP packet, in bytes.
const FRAME_OVERHEAD: u16 = 14 + 4;

/// "Device or resource busy".
const EBUSY: i32 = 16;

/// Ethernet header and frame check sequence, in bytes.
const HEADER_AND_CHECK: u16 = 14 + 4;

/// `RTE_ETH_SPEED_NUM_UNKNOWN`.
const SPEED_UNKNOWN: u32 = u32::MAX;

/// Two bytes that, repeated, make the Toeplitz hash symmetric: both directions of a connection get the
/// same value, because the key looks alike 16 bits further on.
const RSS_PATTERN: [u8; 2] = [0x6d, 0x5a];

/// The RSS key; drivers take its first 40 or 52 bytes.
pub const RSS_KEY: [u8; 64] = {
    let mut key = [0; 64];
    let mut at = 0;
    while at < key.len() {
        key[at] = RSS_PATTERN[at % 2];
        at += 1;
    }
    key
};

/// Bytes of the key of most cards.
const RSS_KEY_USUAL: u8 = 40;

/// Which ports somebody has configured.
static CLAIMED: [AtomicBool; PORTS_MAX] = [const { AtomicBool::new(false) }; PORTS_MAX];

/// How a port is to be set up. Numbers are wishes: the port gets what its device can do of them.
#[derive(Clone, Debug)]
pub struct PortConfig {
    /// Receive queues.
    pub rx_queues: u16,
    /// Transmit queues.
    pub tx_queues: u16,
    /// Descriptors per receive queue. Each holds a buffer of the pool.
    pub rx_desc: u16,
    /// Descriptors per transmit queue.
    pub tx_desc: u16,
    /// Largest IP packet, in bytes.
    pub mtu: u16,
    /// Spread flows over the receive queues by symmetric hash, and report the hash where it can be
    /// trusted: see [`Port::reports_hash`].
    pub rss: bool,
    /// Receive frames for any address.
    pub promiscuous: bool,
    /// Let the card verify checksums, where that is safe for a forwarder (not on virtio: a host then
    /// hands over packets whose checksum it never computed).
    pub rx_checksum: bool,
    /// Promise that all buffers sent on a queue come from one pool; frees them faster where supported.
    pub tx_one_pool: bool,
}

impl Default for PortConfig {
    fn default() -> PortConfig {
        PortConfig {
            rx_queues: 1,
            tx_queues: 1,
            rx_desc: 1024,
            tx_desc: 1024,
            mtu: 1500,
            rss: true,
            promiscuous: true,
            rx_checksum: true,
            tx_one_pool: false,
        }
    }
}

/// Counters of a port since it was started or reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PortStats {
    /// Packets received.
    pub rx_packets: u64,
    /// Bytes received.
    pub rx_bytes: u64,
    /// Packets that arrived broken.
    pub rx_errors: u64,
    /// Packets lost because the receive queues were full.
    pub rx_missed: u64,
    /// Failures to refill the receive queues: the buffer pool ran dry.
    pub rx_no_buffer: u64,
    /// Packets dropped because they did not fit into one buffer.
    pub rx_oversize: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Bytes sent.
    pub tx_bytes: u64,
    /// Packets that could not be sent.
    pub tx_errors: u64,
}

/// The queues of a started port, each once.
#[derive(Debug)]
pub struct Queues {
    /// Receive queues, by number.
    pub rx: Vec<RxQueue>,
    /// Transmit queues, by number.
    pub tx: Vec<TxQueue>,
}

/// All ports DPDK found, by number.
pub fn list(_eal: Eal) -> Vec<PortInfo> {
    ids().filter_map(|id| describe(id).ok()).collect()
}

/// Most buffers that a port set up like this holds in its rings at once. A pool needs these, and what
/// bursts, queues and the caches of threads hold beside them.
pub fn buffers(info: &PortInfo, config: &PortConfig) -> u32 {
    let rings = Quirks::of(&info.driver).rings_per_rx_queue;
    let rx_queues = u32::from(config.rx_queues.min(info.rx_queues_max).max(1));
    let tx_queues = u32::from(config.tx_queues.min(info.tx_queues_max).max(1));
    rx_queues * u32::from(config.rx_desc) * rings + tx_queues * u32::from(config.tx_desc)
}

fn ids() -> impl Iterator<Item = PortId> {
    // SAFETY: takes any number; reads the table of ports.
    let next = |from: u16| unsafe { dpdk_sys::rte_eth_find_next(from) };
    let valid = |port: u16| Some(port).filter(|&port| usize::from(port) < PORTS_MAX);
    core::iter::successors(valid(next(0)), move |&port| valid(next(port + 1))).map(PortId)
}

/// A started port: the handle for everything but packets. It and its queues share the device, which is
/// stopped when the last of them is dropped.
pub struct Port {
    started: Arc<Started>,
}

/// What a port and its queues share.
pub(crate) struct Started {
    pub(crate) id: PortId,
    pub(crate) oversize: Arc<AtomicU64>,
    /// The card's flow hash means what software would compute.
    pub(crate) symmetric_hash: bool,
    /// Changing the MTU would restart the device under its queues.
    mtu_restarts: bool,
    /// Largest IP packet that a buffer of the pool holds.
    mtu_limit: u16,
    /// DPDK does not serialize control calls on one port.
    control: Mutex<()>,
}

impl Drop for Started {
    fn drop(&mut self) {
        // SAFETY: no queue of the port exists any more, so nobody polls it.
        let result = unsafe { dpdk_sys::rte_eth_dev_stop(self.id.0) };
        if let Err(errno) = Errno::check(result) {
            log::warn!("port {}: does not stop: {errno}", self.id.0);
        }
        release(self.id);
    }
}

fn release(id: PortId) {
    CLAIMED[usize::from(id.0)].store(false, Ordering::SeqCst);
}

/// Marks a port as taken; gives it back when dropped, unless kept.
struct Claim(PortId);

impl Claim {
    fn new(id: PortId) -> Result<Claim, Error> {
        let slot = CLAIMED
            .get(usize::from(id.0))
            .ok_or(Error::NoSuchPort(id))?;
        if slot.swap(true, Ordering::SeqCst) {
            return Err(Error::InUse(id));
        }
        Ok(Claim(id))
    }

    fn keep(self) {
        core::mem::forget(self);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        release(self.0);
    }
}

impl Port {
    /// Sets a port up, starts it, and hands out its queues. Receive buffers come from `pool`.
    pub fn configure(
        _eal: Eal,
        id: PortId,
        config: &PortConfig,
        pool: &Pool,
    ) -> Result<(Port, Queues), Error> {
        let claim = Claim::new(id)?;
        let device = Device::new(id)?;
        let plan = Plan::new(id, &device, config, pool)?;
        plan.apply(id, &device, pool)?;
        claim.keep();
        let started = Arc::new(Started {
            id,
            oversize: Arc::new(AtomicU64::new(0)),
            symmetric_hash: plan.has_symmetric_hash(id),
            mtu_restarts: device.quirks().mtu_restarts,
            mtu_limit: mtu_limit(pool),
            control: Mutex::new(()),
        });
        let queues = Queues {
            rx: (0..plan.rx_queues)
                .map(|queue| RxQueue::new(&started, queue))
                .collect(),
            tx: (0..plan.tx_queues)
                .map(|queue| TxQueue::new(&started, queue))
                .collect(),
        };
        let port = Port { started };
        if config.promiscuous
            && let Err(error) = port.set_promiscuous(true)
        {
            log::warn!("{error}");
        }
        Ok((port, queues))
    }

    /// The port's number.
    pub fn id(&self) -> PortId {
        self.started.id
    }

    /// True if received packets carry a flow hash: the symmetric Toeplitz hash over addresses, and over
    /// ports of all whole TCP and UDP packets. A card that leaves one of these out, or keeps a key of its
    /// own, may still spread flows, but its hash would name another owner than the next card's, so it is
    /// hidden.
    pub fn reports_hash(&self) -> bool {
        self.started.symmetric_hash
    }

    /// What the port is, with its present address and MTU.
    pub fn info(&self) -> Result<PortInfo, Error> {
        let _lock = self.lock();
        describe(self.id())
    }

    /// What the card says of the link now. Does not wait for negotiation to finish.
    pub fn link(&self) -> LinkState {
        let _lock = self.lock();
        let mut link = MaybeUninit::<dpdk_sys::rte_eth_link>::zeroed();
        // SAFETY: the call writes one `rte_eth_link`, of which all-zero is a valid value.
        let (result, link) = unsafe {
            let result = dpdk_sys::rte_eth_link_get_nowait(self.id().0, link.as_mut_ptr());
            (result, link.assume_init())
        };
        if result < 0 || link.link_status() == 0 {
            return LinkState::Down;
        }
        let known = link.link_speed != SPEED_UNKNOWN;
        LinkState::Up {
            speed_mbps: if known { link.link_speed } else { 0 },
            full_duplex: link.link_duplex() != 0,
        }
    }

    /// The port's counters.
    pub fn stats(&self) -> Result<PortStats, Error> {
        let _lock = self.lock();
        let mut stats = MaybeUninit::<dpdk_sys::rte_eth_stats>::zeroed();
        // SAFETY: the call writes one `rte_eth_stats`, which is all integers.
        let (result, stats) = unsafe {
            let result = dpdk_sys::rte_eth_stats_get(self.id().0, stats.as_mut_ptr());
            (result, stats.assume_init())
        };
        self.check("reading counters", result)?;
        Ok(PortStats {
            rx_packets: stats.ipackets,
            rx_bytes: stats.ibytes,
            rx_errors: stats.ierrors,
            rx_missed: stats.imissed,
            rx_no_buffer: stats.rx_nombuf,
            rx_oversize: self.started.oversize.load(Ordering::Relaxed),
            tx_packets: stats.opackets,
            tx_bytes: stats.obytes,
            tx_errors: stats.oerrors,
        })
    }

    /// Everything the driver counts, by its own names.
    pub fn xstats(&self) -> Result<Vec<(String, u64)>, Error> {
        let _lock = self.lock();
        let names = self.xstat_names()?;
        let mut values = vec![dpdk_sys::rte_eth_xstat { id: 0, value: 0 }; names.len()];
        // SAFETY: the call writes at most `values.len()` entries.
        let result = unsafe {
            dpdk_sys::rte_eth_xstats_get(self.id().0, values.as_mut_ptr(), values.len() as u32)
        };
        let count = self.check("reading extended counters", result)? as usize;
        // The id of a value is the index of its name.
        let named = values.iter().take(count).filter_map(|value| {
            let name = names.get(usize::try_from(value.id).ok()?)?;
            Some((text(&name.name), value.value))
        });
        Ok(named.collect())
    }

    fn xstat_names(&self) -> Result<Vec<dpdk_sys::rte_eth_xstat_name>, Error> {
        let what = "reading names of extended counters";
        // SAFETY: with no array the call only says how many there are.
        let result =
            unsafe { dpdk_sys::rte_eth_xstats_get_names(self.id().0, core::ptr::null_mut(), 0) };
        let count = self.check(what, result)?;
        let mut names = vec![dpdk_sys::rte_eth_xstat_name { name: [0; 64] }; count as usize];
        // SAFETY: the call writes at most `count` entries.
        let result =
            unsafe { dpdk_sys::rte_eth_xstats_get_names(self.id().0, names.as_mut_ptr(), count) };
        let written = self.check(what, result)?;
        names.truncate(written as usize);
        Ok(names)
    }

    /// Sets all counters of the card to zero.
    pub fn reset_stats(&self) -> Result<(), Error> {
        let _lock = self.lock();
        // SAFETY: the port exists; DPDK allows this at any time.
        let result = unsafe { dpdk_sys::rte_eth_stats_reset(self.id().0) };
        self.started.oversize.store(0, Ordering::Relaxed);
        self.check("resetting counters", result).map(drop)
    }

    /// Changes the largest IP packet, in bytes. Many cards cannot while they run: set a port up with the
    /// largest MTU that it may ever need, and let smaller ones be a matter of software.
    pub fn set_mtu(&self, mtu: u16) -> Result<(), Error> {
        let _lock = self.lock();
        check_mtu(self.id(), mtu, self.started.mtu_limit)?;
        if self.started.mtu_restarts {
            return self.check("setting the mtu", -EBUSY).map(drop);
        }
        // SAFETY: the port exists; drivers that cannot do it while running say so.
        let result = unsafe { dpdk_sys::rte_eth_dev_set_mtu(self.id().0, mtu) };
        self.check("setting the mtu", result).map(drop)
    }

    /// Receive frames for any address, or only for the port's own.
    pub fn set_promiscuous(&self, on: bool) -> Result<(), Error> {
        let _lock = self.lock();
        let id = self.id().0;
        // SAFETY: the port exists; DPDK allows this at any time.
        let result = unsafe {
            if on {
                dpdk_sys::rte_eth_promiscuous_enable(id)
            } else {
                dpdk_sys::rte_eth_promiscuous_disable(id)
            }
        };
        self.check("setting promiscuous mode", result).map(drop)
    }

    /// Receive frames for all multicast addresses, or only for those listened to.
    pub fn set_allmulticast(&self, on: bool) -> Result<(), Error> {
        let _lock = self.lock();
        let id = self.id().0;
        // SAFETY: the port exists; DPDK allows this at any time.
        let result = unsafe {
            if on {
                dpdk_sys::rte_eth_allmulticast_enable(id)
            } else {
                dpdk_sys::rte_eth_allmulticast_disable(id)
            }
        };
        self.check("setting all-multicast mode", result).map(drop)
    }

    /// Brings the link up or takes it down, where the driver can.
    pub fn set_link(&self, up: bool) -> Result<(), Error> {
        let _lock = self.lock();
        let id = self.id().0;
        // SAFETY: the port exists; DPDK allows this on a running port.
        let result = unsafe {
            if up {
                dpdk_sys::rte_eth_dev_set_link_up(id)
            } else {
                dpdk_sys::rte_eth_dev_set_link_down(id)
            }
        };
        self.check("setting the link", result).map(drop)
    }

    /// Changes the station address.
    pub fn set_mac(&self, mac: [u8; 6]) -> Result<(), Error> {
        let _lock = self.lock();
        // SAFETY: the call reads six bytes at the pointer.
        let result = with_mac(mac, |address| unsafe {
            dpdk_sys::rte_eth_dev_default_mac_addr_set(self.id().0, address)
        });
        self.check("setting the station address", result).map(drop)
    }

    /// Receives frames for one more address (a shared one of a cluster).
    pub fn add_mac(&self, mac: [u8; 6]) -> Result<(), Error> {
        let _lock = self.lock();
        // SAFETY: the call reads six bytes at the pointer.
        let result = with_mac(mac, |address| unsafe {
            dpdk_sys::rte_eth_dev_mac_addr_add(self.id().0, address, 0)
        });
        self.check("adding a station address", result).map(drop)
    }

    /// Takes back [`Port::add_mac`].
    pub fn remove_mac(&self, mac: [u8; 6]) -> Result<(), Error> {
        let _lock = self.lock();
        // SAFETY: the call reads six bytes at the pointer.
        let result = with_mac(mac, |address| unsafe {
            dpdk_sys::rte_eth_dev_mac_addr_remove(self.id().0, address)
        });
        self.check("removing a station address", result).map(drop)
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        // The lock protects no data of ours, so a panic elsewhere spoils nothing.
        self.started
            .control
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn check(&self, what: &'static str, result: i32) -> Result<u32, Error> {
        check(self.id(), what, result)
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Port({})", self.id().0)
    }
}

/// What the device says of itself.
struct Device {
    info: dpdk_sys::rte_eth_dev_info,
    driver: String,
}

impl Device {
    fn new(id: PortId) -> Result<Device, Error> {
        let mut info = MaybeUninit::<dpdk_sys::rte_eth_dev_info>::zeroed();
        // SAFETY: the call writes one `rte_eth_dev_info`, of which all-zero is a valid value (integers and
        // nullable pointers); it refuses numbers of ports that do not exist.
        let (result, info) = unsafe {
            let result = dpdk_sys::rte_eth_dev_info_get(id.0, info.as_mut_ptr());
            (result, info.assume_init())
        };
        check(id, "asking the device", result).map_err(|_| Error::NoSuchPort(id))?;
        let driver = if info.driver_name.is_null() {
            String::new()
        } else {
            // SAFETY: drivers point to their static, zero-terminated name.
            unsafe { CStr::from_ptr(info.driver_name) }
                .to_string_lossy()
                .into_owned()
        };
        Ok(Device { info, driver })
    }

    fn quirks(&self) -> Quirks {
        Quirks::of(&self.driver)
    }

    /// Largest IP packet the device takes, in bytes. Some name no largest MTU, only a longest frame, which
    /// DPDK then compares with header and check sequence added.
    fn mtu_max(&self) -> u16 {
        if self.info.max_mtu != u16::MAX {
            return self.info.max_mtu;
        }
        let longest = self
            .info
            .max_rx_pktlen
            .saturating_sub(u32::from(HEADER_AND_CHECK));
        u16::try_from(longest).unwrap_or(u16::MAX)
    }
}

fn describe(id: PortId) -> Result<PortInfo, Error> {
    let device = Device::new(id)?;
    let mut name = [0 as c_char; dpdk_sys::RTE_ETH_NAME_MAX_LEN as usize];
    // SAFETY: the buffer has the size that DPDK asks for, and comes back zero-terminated.
    let result = unsafe { dpdk_sys::rte_eth_dev_get_name_by_port(id.0, name.as_mut_ptr()) };
    check(id, "asking for the name", result)?;
    Ok(PortInfo {
        id,
        device: clipped(&text(&name)),
        driver: clipped(&device.driver),
        mac: mac(id)?,
        mtu: mtu(id)?,
        rx_queues_max: device.info.max_rx_queues,
        tx_queues_max: device.info.max_tx_queues,
    })
}

fn mac(id: PortId) -> Result<[u8; 6], Error> {
    let mut mac = [0u8; 6];
    let mut result = 0;
    with_mac_mut(&mut mac, |address| {
        // SAFETY: the call writes six bytes at the pointer.
        result = unsafe { dpdk_sys::rte_eth_macaddr_get(id.0, address) };
    });
    check(id, "asking for the station address", result)?;
    Ok(mac)
}

fn mtu(id: PortId) -> Result<u16, Error> {
    let mut mtu = 0;
    // SAFETY: the call writes one u16.
    let result = unsafe { dpdk_sys::rte_eth_dev_get_mtu(id.0, &raw mut mtu) };
    check(id, "asking for the mtu", result)?;
    Ok(mtu)
}

/// DPDK wants addresses at even places in memory.
#[repr(C, align(2))]
struct MacAddress([u8; 6]);

fn with_mac(mac: [u8; 6], call: impl FnOnce(*mut dpdk_sys::rte_ether_addr) -> i32) -> i32 {
    let mut address = MacAddress(mac);
    call((&raw mut address).cast())
}

fn with_mac_mut(mac: &mut [u8; 6], call: impl FnOnce(*mut dpdk_sys::rte_ether_addr)) {
    let mut address = MacAddress(*mac);
    call((&raw mut address).cast());
    *mac = address.0;
}

/// A zero-terminated C array as text.
fn text(array: &[c_char]) -> String {
    let bytes: Vec<u8> = array
        .iter()
        .take_while(|&&c| c != 0)
        .map(|&c| c as u8)
        .collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn clipped<const N: usize>(text: &str) -> heapless::String<N> {
    let mut out = heapless::String::new();
    for c in text.chars() {
        if out.push(c).is_err() {
            break;
        }
    }
    out
}

fn check(port: PortId, what: &'static str, result: i32) -> Result<u32, Error> {
    Errno::check(result).map_err(|errno| Error::Port { port, what, errno })
}

fn mtu_limit(pool: &Pool) -> u16 {
    pool.data_room().saturating_sub(FRAME_OVERHEAD)
}

fn check_mtu(port: PortId, mtu: u16, limit: u16) -> Result<(), Error> {
    if mtu > limit {
        Err(Error::MtuTooLarge { port, mtu, limit })
    } else {
        Ok(())
    }
}

/// What of a wish the device can do.
struct Plan {
    rx_queues: u16,
    tx_queues: u16,
    rx_desc: u16,
    tx_desc: u16,
    mtu: u16,
    rss_fields: u64,
    rx_offloads: u64,
    tx_offloads: u64,
}

impl Plan {
    fn new(id: PortId, device: &Device, wish: &PortConfig, pool: &Pool) -> Result<Plan, Error> {
        check_mtu(id, wish.mtu, mtu_limit(pool))?;
        let (info, quirks) = (&device.info, device.quirks());
        let (rx_desc, tx_desc) = adjusted_descriptors(id, wish)?;
        let rss_fields = if wish.rss {
            info.flow_type_rss_offloads & dpdk_sys::FUGU_RSS_FLOW
        } else {
            0
        };
        let mut rx_offloads = 0;
        if rss_fields != 0 {
            rx_offloads |= dpdk_sys::FUGU_OFFLOAD_RX_RSS_HASH;
        }
        if wish.rx_checksum && !quirks.checksum_may_be_absent {
            rx_offloads |= dpdk_sys::FUGU_OFFLOAD_RX_CHECKSUM;
        }
        let tx_offloads = if wish.tx_one_pool {
            dpdk_sys::FUGU_OFFLOAD_TX_FAST_FREE
        } else {
            0
        };
        Ok(Plan {
            rx_queues: quirks.rx_queues(wish.rx_queues, info.max_rx_queues, rss_fields != 0),
            tx_queues: wish.tx_queues.clamp(1, info.max_tx_queues.max(1)),
            rx_desc,
            tx_desc,
            // A device may carry less than was asked for; `Port::info` tells.
            mtu: wish
                .mtu
                .clamp(info.min_mtu, device.mtu_max().max(info.min_mtu)),
            rss_fields,
            rx_offloads: rx_offloads & info.rx_offload_capa,
            tx_offloads: tx_offloads & info.tx_offload_capa,
        })
    }

    fn apply(&self, id: PortId, device: &Device, pool: &Pool) -> Result<(), Error> {
        self.set_modes(id, device)?;
        self.set_up_rx(id, device, pool)?;
        self.set_up_tx(id, device)?;
        // SAFETY: the port is configured and all its queues are set up.
        let result = unsafe { dpdk_sys::rte_eth_dev_start(id.0) };
        check(id, "starting", result).map(drop)
    }

    fn set_modes(&self, id: PortId, device: &Device) -> Result<(), Error> {
        let mut key = RSS_KEY;
        // SAFETY: the structure is integers, nullable pointers and unions of such: all-zero is valid, and
        // means defaults.
        let mut conf = unsafe { MaybeUninit::<dpdk_sys::rte_eth_conf>::zeroed().assume_init() };
        conf.rxmode.mtu = u32::from(self.mtu);
        conf.rxmode.offloads = self.rx_offloads;
        conf.txmode.offloads = self.tx_offloads;
        if self.rss_fields != 0 {
            conf.rxmode.mq_mode = dpdk_sys::RTE_ETH_MQ_RX_RSS;
            conf.rx_adv_conf.rss_conf.rss_hf = self.rss_fields;
            // Some drivers name no size and read the usual one all the same.
            let size = match device.info.hash_key_size {
                0 => RSS_KEY_USUAL,
                size => size,
            };
            if usize::from(size) <= key.len() {
                conf.rx_adv_conf.rss_conf.rss_key = key.as_mut_ptr();
                conf.rx_adv_conf.rss_conf.rss_key_len = size;
            }
        }
        // SAFETY: the port is not started (it is claimed, and was stopped when last released), `conf` is
        // copied, and `key` lives until the call returns.
        let result = unsafe {
            dpdk_sys::rte_eth_dev_configure(id.0, self.rx_queues, self.tx_queues, &raw const conf)
        };
        check(id, "configuring", result).map(drop)
    }

    /// Whether the card, now configured, hashes as software does: it must read back our key, and cover
    /// ports of TCP and UDP in both families.
    fn has_symmetric_hash(&self, id: PortId) -> bool {
        if self.rx_offloads & dpdk_sys::FUGU_OFFLOAD_RX_RSS_HASH == 0 {
            return false;
        }
        let mut key = [0u8; RSS_KEY.len()];
        let mut conf = dpdk_sys::rte_eth_rss_conf {
            rss_key: key.as_mut_ptr(),
            rss_key_len: key.len() as u8,
            rss_hf: 0,
        };
        // SAFETY: the call writes the structure and at most as many bytes of key as the card has, 52 in
        // all drivers that are linked.
        let result = unsafe { dpdk_sys::rte_eth_dev_rss_hash_conf_get(id.0, &raw mut conf) };
        let usual = usize::from(RSS_KEY_USUAL);
        result == 0
            && key[..usual] == RSS_KEY[..usual]
            && conf.rss_hf & dpdk_sys::FUGU_RSS_PORTS == dpdk_sys::FUGU_RSS_PORTS
    }

    fn set_up_rx(&self, id: PortId, device: &Device, pool: &Pool) -> Result<(), Error> {
        let mut conf = device.info.default_rxconf;
        conf.offloads = self.rx_offloads;
        // With several queues, a full one must not hold up the others.
        conf.rx_drop_en = u8::from(self.rx_queues > 1);
        for queue in 0..self.rx_queues {
            // SAFETY: the port is configured with this queue and not started; `conf` is copied; the pool
            // is one of mbufs and lives until the process ends.
            let result = unsafe {
                dpdk_sys::rte_eth_rx_queue_setup(
                    id.0,
                    queue,
                    self.rx_desc,
                    node(id),
                    &raw const conf,
                    pool.as_ptr(),
                )
            };
            check(id, "setting up a receive queue", result)?;
        }
        Ok(())
    }

    fn set_up_tx(&self, id: PortId, device: &Device) -> Result<(), Error> {
        let mut conf = device.info.default_txconf;
        conf.offloads = self.tx_offloads;
        for queue in 0..self.tx_queues {
            // SAFETY: the port is configured with this queue and not started; `conf` is copied.
            let result = unsafe {
                dpdk_sys::rte_eth_tx_queue_setup(
                    id.0,
                    queue,
                    self.tx_desc,
                    node(id),
                    &raw const conf,
                )
            };
            check(id, "setting up a transmit queue", result)?;
        }
        Ok(())
    }
}

/// Memory node of the device; DPDK's "any" where it has none.
fn node(id: PortId) -> u32 {
    // SAFETY: takes any number of a port; -1 means any node, which set-up calls take as all bits set.
    unsafe { dpdk_sys::rte_eth_dev_socket_id(id.0) as u32 }
}

fn adjusted_descriptors(id: PortId, wish: &PortConfig) -> Result<(u16, u16), Error> {
    let (mut rx, mut tx) = (wish.rx_desc, wish.tx_desc);
    // SAFETY: the call reads and writes the two numbers.
    let result =
        unsafe { dpdk_sys::rte_eth_dev_adjust_nb_rx_tx_desc(id.0, &raw mut rx, &raw mut tx) };
    check(id, "choosing ring sizes", result)?;
    Ok((rx, tx))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rss_key_repeats_every_sixteen_bits() {
        assert!(RSS_KEY.chunks(2).all(|pair| pair == [0x6d, 0x5a]));
    }

    #[test]
    fn a_port_can_be_claimed_once_at_a_time() {
        let id = PortId(31);
        let first = Claim::new(id).unwrap();
        assert_eq!(Claim::new(id).err(), Some(Error::InUse(id)));
        drop(first);
        assert!(Claim::new(id).is_ok());
        assert_eq!(
            Claim::new(PortId(32)).err(),
            Some(Error::NoSuchPort(PortId(32)))
        );
    }

    #[test]
    fn text_ends_at_the_first_zero() {
        assert_eq!(
            text(&[b'a' as c_char, b'b' as c_char, 0, b'c' as c_char]),
            "ab"
        );
        assert_eq!(clipped::<2>("abc"), "ab");
    }
}
