//! Raw DPDK bindings: allow-list, one C shim for inline functions, layout asserts. No logic.
