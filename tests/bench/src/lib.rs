//! Cycles per packet on a replay device.

#![forbid(unsafe_code)]
