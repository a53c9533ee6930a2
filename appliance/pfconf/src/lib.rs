//! The pf.conf compiler: lex, parse, expand, resolve, check, lower, print. No side effects: interface names
//! and files it needs come in as arguments.

#![forbid(unsafe_code)]

pub mod diag;
