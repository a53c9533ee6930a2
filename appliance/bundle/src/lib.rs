//! Bundles: an etc tree as `.tgz`, optionally signed with signify (`signify -S -z`).
//!
//! Owns the archive format, its limits, the signature in the gzip header and the replay rule. Bytes come in, values go
//! out: no clock, no randomness, and no I/O except in [`tree`], which the workstation tool uses to read a directory.
//! Knows nothing of what the files mean.
//!
//! Order of use on the appliance: [`signature::verify`] over the bytes as received, [`replay::admit`], and only then
//! [`Bundle::open`], so that no decompressor ever sees what an unknown key has signed.
//!
//! Read first: `docs/bundle.md`, signify(1), RFC 1952 (gzip), pax(1) for ustar.

#![forbid(unsafe_code)]

mod archive;
mod base64;
mod date;
mod gzip;
mod limits;
mod pack;
mod path;
mod refused;
pub mod replay;
pub mod signature;
pub mod tree;

pub use archive::{Bundle, digest_of};
pub use date::Date;
pub use limits::Limits;
pub use pack::pack;
pub use refused::{Refused, Why};
pub use tree::build;
