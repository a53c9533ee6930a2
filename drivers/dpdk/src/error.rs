//! What can go wrong outside the packet path, in words an administrator can act on.

use core::ffi::CStr;
use core::fmt;
use std::error;

use nic::PortId;

/// A failed call of the control path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Error {
    /// [`crate::Eal::start`] was called a second time in this process.
    AlreadyStarted,
    /// An argument contains a zero byte or cannot be passed on; names the argument.
    BadArgument(String),
    /// `rte_eal_init` refused; its own messages went to the log.
    Eal(Errno),
    /// No such port, or it was taken away.
    NoSuchPort(PortId),
    /// The port is configured already and somebody still holds it or one of its queues.
    InUse(PortId),
    /// Frames of this MTU do not fit into one buffer of the pool.
    MtuTooLarge {
        /// The port.
        port: PortId,
        /// IP packet size asked for, in bytes.
        mtu: u16,
        /// Largest IP packet that a buffer holds, in bytes.
        limit: u16,
    },
    /// A call on a port failed.
    Port {
        /// The port.
        port: PortId,
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        errno: Errno,
    },
    /// A buffer pool could not be made.
    Pool {
        /// Name of the pool.
        name: String,
        /// Why it failed; `ENOMEM` means too few huge pages.
        errno: Errno,
    },
    /// A port over rings could not be made.
    Cable {
        /// Name of the ring or the port.
        name: String,
        /// Why it failed; `EEXIST` means that the name is taken.
        errno: Errno,
    },
    /// A thread could not be registered or pinned.
    Thread {
        /// What was attempted.
        what: &'static str,
        /// Why it failed.
        errno: Errno,
    },
}

/// An error number as DPDK gives it (positive; `errno` values and a few of its own).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub i32);

impl Errno {
    /// The error that the last failed DPDK call of this thread left in `rte_errno`.
    pub(crate) fn last() -> Errno {
        // SAFETY: reads a thread-local integer; has no precondition.
        Errno(unsafe { dpdk_sys::fugu_errno() })
    }

    /// `Ok` for a result of zero or more, the error for a negative one (DPDK's convention).
    pub(crate) fn check(result: i32) -> Result<u32, Errno> {
        u32::try_from(result).map_err(|_| Errno(result.saturating_neg()))
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: takes any integer and returns a zero-terminated string, static or in a buffer of this
        // thread; it is copied out before anything else of DPDK runs on this thread.
        let text = unsafe { CStr::from_ptr(dpdk_sys::rte_strerror(self.0)) };
        f.write_str(&text.to_string_lossy())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::AlreadyStarted => f.write_str("DPDK runs already in this process"),
            Error::BadArgument(argument) => write!(f, "DPDK argument {argument:?} is malformed"),
            Error::Eal(errno) => write!(f, "DPDK does not start: {errno}"),
            Error::NoSuchPort(port) => write!(f, "there is no port {}", port.0),
            Error::InUse(port) => write!(f, "port {} is in use", port.0),
            Error::MtuTooLarge { port, mtu, limit } => write!(
                f,
                "port {}: mtu {mtu} needs larger packet buffers; at most {limit} fits",
                port.0
            ),
            Error::Port { port, what, errno } => write!(f, "port {}: {what}: {errno}", port.0),
            Error::Pool { name, errno } => write!(f, "buffer pool {name}: {errno}"),
            Error::Cable { name, errno } => write!(f, "cable {name}: {errno}"),
            Error::Thread { what, errno } => write!(f, "{what}: {errno}"),
        }
    }
}

impl error::Error for Error {}
