//! The control core: transactions, the running configuration, statistics. The only one that talks to workers.

#![forbid(unsafe_code)]
