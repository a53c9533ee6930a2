//! Safe wrapper over DPDK that implements the nic traits.
