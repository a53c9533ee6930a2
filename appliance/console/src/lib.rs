//! Line editor and commands of the serial console.

#![forbid(unsafe_code)]
