//! The environment abstraction layer: started once per process, never torn down.
//!
//! Owns the command line that DPDK sees and the way of its messages into `log`. Knows nothing of ports.
//! Read first: DPDK "EAL parameters" (Linux).

use core::ffi::{c_char, c_int};
use std::ffi::CString;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Errno, Error};
use crate::lcore;

/// Set by the first [`Eal::start`], whether or not it succeeds: DPDK cannot be initialized twice.
static STARTED: AtomicBool = AtomicBool::new(false);

/// Target of DPDK's messages in the `log` facade.
pub const LOG_TARGET: &str = "dpdk";

/// What DPDK is to be started with.
#[derive(Clone, Debug)]
pub struct EalConfig {
    /// CPU that the calling thread counts as running on; the first one it may run on if not given. Worker
    /// threads are not DPDK's: they register themselves with [`lcore::Registration`].
    pub main_cpu: Option<usize>,
    /// Memory to take at start, in MiB. Without it, pages are taken as pools and rings are made; with
    /// `no_huge` it is the limit and should be given.
    pub memory_mib: Option<u32>,
    /// Virtual devices, e.g. `net_af_packet0,iface=veth0`.
    pub vdevs: Vec<String>,
    /// Keep no files in `/var/run` or the huge page mount. On by default: one process, one instance.
    pub in_memory: bool,
    /// Leave PCI devices alone (on a workstation).
    pub no_pci: bool,
    /// Use ordinary pages. Real cards do not work then, virtual devices do.
    pub no_huge: bool,
    /// PCI addresses to use; all that are bound to a userspace driver if empty.
    pub pci_allow: Vec<String>,
    /// Least severe messages that DPDK writes to the log.
    pub log_level: log::LevelFilter,
    /// Names this instance's files where `in_memory` is off.
    pub file_prefix: Option<String>,
    /// Further EAL parameters, passed on as they are.
    pub extra: Vec<String>,
}

impl Default for EalConfig {
    fn default() -> EalConfig {
        EalConfig {
            main_cpu: None,
            memory_mib: None,
            vdevs: Vec::new(),
            in_memory: true,
            no_pci: false,
            no_huge: false,
            pci_allow: Vec::new(),
            log_level: log::LevelFilter::Info,
            file_prefix: None,
            extra: Vec::new(),
        }
    }
}

impl EalConfig {
    /// The command line, program name first.
    fn arguments(&self, main_cpu: usize) -> Vec<String> {
        let mut arguments = vec![
            "fugu".to_owned(),
            format!("--lcores=0@{main_cpu}"),
            "--no-telemetry".to_owned(),
            format!("--log-level={}", dpdk_level(self.log_level)),
        ];
        for (wanted, flag) in [
            (self.in_memory && !self.no_huge, "--in-memory"),
            // Ordinary pages imply DPDK's old memory model, which does not know `--in-memory`; there are
            // no page files then, and this keeps the rest off the disk.
            (self.in_memory && self.no_huge, "--no-shconf"),
            (self.no_pci, "--no-pci"),
            (self.no_huge, "--no-huge"),
        ] {
            if wanted {
                arguments.push(flag.to_owned());
            }
        }
        if let Some(mib) = self.memory_mib {
            arguments.extend(["-m".to_owned(), mib.to_string()]);
        }
        if let Some(prefix) = &self.file_prefix {
            arguments.push(format!("--file-prefix={prefix}"));
        }
        arguments.extend(self.pci_allow.iter().map(|pci| format!("--allow={pci}")));
        arguments.extend(self.vdevs.iter().map(|vdev| format!("--vdev={vdev}")));
        arguments.extend(self.extra.iter().cloned());
        arguments
    }
}

/// Proof that DPDK runs in this process. Costs nothing to pass around.
#[derive(Clone, Copy, Debug)]
pub struct Eal(());

impl Eal {
    /// Starts DPDK. Works once per process, also if it failed: DPDK leaves half-built state behind.
    ///
    /// DPDK pins the calling thread to its main CPU while it starts, and later threads would inherit that;
    /// the caller's own CPU mask is put back before this returns.
    pub fn start(config: &EalConfig) -> Result<Eal, Error> {
        let mask = lcore::affinity()?;
        let main_cpu = match config.main_cpu {
            Some(cpu) => cpu,
            None => lcore::first(&mask),
        };
        let arguments = zero_terminated(config.arguments(main_cpu))?;
        if STARTED.swap(true, Ordering::SeqCst) {
            return Err(Error::AlreadyStarted);
        }
        log_to_facade();
        let outcome = initialize(arguments);
        lcore::set_affinity(&mask)?;
        outcome.map(|()| Eal(()))
    }
}

fn zero_terminated(arguments: Vec<String>) -> Result<Vec<CString>, Error> {
    arguments
        .into_iter()
        .map(|argument| CString::new(argument.clone()).map_err(|_| Error::BadArgument(argument)))
        .collect()
}

fn initialize(arguments: Vec<CString>) -> Result<(), Error> {
    // DPDK keeps pointers into its arguments and permutes the array: both are given away for good. This
    // happens once per process.
    let mut vector: Vec<*mut c_char> = arguments.into_iter().map(CString::into_raw).collect();
    let count = c_int::try_from(vector.len())
        .map_err(|_| Error::BadArgument("too many arguments".to_owned()))?;
    vector.push(core::ptr::null_mut());
    // SAFETY: `vector` holds `count` zero-terminated strings that are never freed, and a final null as C's
    // argv does; it is leaked itself. `STARTED` makes this the only call in the process.
    let result = unsafe { dpdk_sys::rte_eal_init(count, vector.leak().as_mut_ptr()) };
    if result < 0 {
        return Err(Error::Eal(Errno::last()));
    }
    Ok(())
}

/// DPDK's number for a level of the facade.
fn dpdk_level(level: log::LevelFilter) -> u32 {
    match level {
        log::LevelFilter::Off => dpdk_sys::RTE_LOG_EMERG,
        log::LevelFilter::Error => dpdk_sys::RTE_LOG_ERR,
        log::LevelFilter::Warn => dpdk_sys::RTE_LOG_WARNING,
        log::LevelFilter::Info => dpdk_sys::RTE_LOG_INFO,
        log::LevelFilter::Debug | log::LevelFilter::Trace => dpdk_sys::RTE_LOG_DEBUG,
    }
}

/// The facade's level for a number of DPDK.
fn facade_level(level: u32) -> log::Level {
    match level {
        0..=dpdk_sys::RTE_LOG_ERR => log::Level::Error,
        dpdk_sys::RTE_LOG_WARNING => log::Level::Warn,
        dpdk_sys::RTE_LOG_NOTICE | dpdk_sys::RTE_LOG_INFO => log::Level::Info,
        _ => log::Level::Debug,
    }
}

fn log_to_facade() {
    // SAFETY: the sink is a function for the rest of the process, and keeps the contract of
    // `fugu_log_sink`: it reads only the bytes it is given, and does not unwind.
    let result = unsafe { dpdk_sys::fugu_log_to(Some(sink)) };
    if result != 0 {
        log::warn!(target: LOG_TARGET, "DPDK's messages go to standard error: {}", Errno(result));
    }
}

/// Receives a piece of DPDK's log; usually one line.
extern "C" fn sink(level: u32, text: *const c_char, length: usize) {
    // SAFETY: the shim passes a buffer of `length` bytes that is valid during this call.
    let bytes = unsafe { core::slice::from_raw_parts(text.cast::<u8>(), length) };
    // A logger that panics must not unwind into C.
    let logged = std::panic::catch_unwind(|| {
        for line in String::from_utf8_lossy(bytes).lines() {
            if !line.trim().is_empty() {
                log::log!(target: LOG_TARGET, facade_level(level), "{}", line.trim_end());
            }
        }
    });
    drop(logged);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_follow_the_configuration() {
        let config = EalConfig {
            memory_mib: Some(128),
            vdevs: vec!["net_null0".to_owned()],
            no_pci: true,
            no_huge: true,
            extra: vec!["--legacy-mem".to_owned()],
            ..EalConfig::default()
        };
        assert_eq!(
            config.arguments(3),
            [
                "fugu",
                "--lcores=0@3",
                "--no-telemetry",
                "--log-level=7",
                "--no-shconf",
                "--no-pci",
                "--no-huge",
                "-m",
                "128",
                "--vdev=net_null0",
                "--legacy-mem",
            ]
        );
    }

    #[test]
    fn a_zero_byte_is_refused_before_anything_starts() {
        let config = EalConfig {
            vdevs: vec!["net_null0\0".to_owned()],
            ..EalConfig::default()
        };
        assert_eq!(
            Eal::start(&config).unwrap_err(),
            Error::BadArgument("--vdev=net_null0\0".to_owned())
        );
        assert!(!STARTED.load(Ordering::SeqCst));
    }
}
