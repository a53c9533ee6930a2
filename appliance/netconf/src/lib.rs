//! hostname.IF, mygate, myname, hosts and the other small files of an etc tree, and built-in services and protocols.

#![forbid(unsafe_code)]
