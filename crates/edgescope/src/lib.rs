//! What of the program is no wiring: its configuration, a library of its own so that it can be fuzzed (`tests/fuzz.rs`). In flow a file's text, variables and
//! flags; out flows a checked [`config::Config`], or an error with its place.
#![forbid(unsafe_code)]

pub mod config;
