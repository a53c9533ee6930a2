//! The real binary over af_packet between network namespaces.

#![forbid(unsafe_code)]
