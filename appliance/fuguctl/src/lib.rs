//! The workstation tool: check, bundle, push, status. Links no DPDK.

#![forbid(unsafe_code)]
