//! Composition root of the appliance.

#![forbid(unsafe_code)]
