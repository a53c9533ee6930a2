//! Conversation scripts against a worker on simnic.

#![forbid(unsafe_code)]
