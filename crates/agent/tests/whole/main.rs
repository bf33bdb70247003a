//! Whole agents against an intake of the tests' own: on a simulated node, and on this kernel.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so by its panic")]

mod containerd;
mod containers;
mod http2;
mod kernel;
mod nat;
mod nat_lab;
mod proxies;
mod ship;
mod support;
