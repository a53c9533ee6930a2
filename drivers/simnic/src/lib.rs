//! In-memory network card with seeded loss, reorder and link flaps, and capture files in and out.

#![forbid(unsafe_code)]
