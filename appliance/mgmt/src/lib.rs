//! The local host behind the dataplane: smoltcp, HTTP/1.1, routes of the API.

#![forbid(unsafe_code)]
