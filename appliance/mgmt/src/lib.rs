//! The way into the box over the network: the local host behind the dataplane (smoltcp in IP mode), HTTP/1.1 on
//! it, and the routes of the management API. Everything here is sans-io: packets, bytes and time come in as
//! arguments, so that a test is two stacks in one thread.
//!
//! Knows nothing of ports, workers or files; asks the control core through [`control::api::Api`] only. A panic in
//! here must not stop forwarding: the composition root catches it and makes a new [`Server`] (DESIGN D11).
//!
//! Read first: RFC 9112 (HTTP/1.1), RFC 4987 (SYN floods), `docs/api.md`.

#![forbid(unsafe_code)]

mod answers;
mod device;
mod guard;
pub mod host;
pub mod http;
pub mod metrics;
mod peek;
pub mod ping;
mod routes;
mod server;
mod syn;

pub use host::{HostConfig, HostCounters, LocalHost};
pub use server::{Server, ServerConfig, ServerCounters};
