//! Bundles: a .tgz of an etc tree, signify signatures, limits. Parsing only.

#![forbid(unsafe_code)]
