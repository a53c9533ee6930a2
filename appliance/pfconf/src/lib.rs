//! The pf.conf compiler: lex, parse, expand, resolve, check, lower, print. No side effects.

#![forbid(unsafe_code)]
