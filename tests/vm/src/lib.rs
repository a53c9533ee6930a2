//! The built image in QEMU, its console driven like a person.

#![forbid(unsafe_code)]
