//! What whole-product tests and benches stand on: the product's processes with typed starters and guards, an actor that makes
//! traffic and counts it, other witnesses, and waiting for conditions.
//!
//! In flows `$EDGESCOPE_BIN` (else the program built beside the test); out come a [`Server`] and [`Agent`]s that run as they would
//! for a user, an [`Api`] and the command line to read them by, and [`Actor`]s whose counters are the witness. Everything a test
//! starts or makes belongs to a guard that ends it, also when the test fails, and then shows the logs.
//!
//! | part | what it is for |
//! |---|---|
//! | [`program`] | finds the product, guards its processes, keeps their logs |
//! | [`scene`] | one test's directory and names |
//! | [`server`], [`agent`] | the product's long-running commands |
//! | [`api`] | questions, by HTTP and by the command line |
//! | [`demo`], [`shop`] | the demo, to its verdict or running on; what its services counted |
//! | [`actor`], [`traffic`] | traffic with known bytes and outcomes |
//! | [`witness`], [`capture`] | what the kernel and a capture say |
//! | [`replayed`] | a capture by `edgescope replay`, beside tcptrace and tshark |
//! | [`lab`], [`cgroup`], [`disk`] | namespaces, a cgroup, a file system of one's own |
//! | [`shipper`] | an agent of the test's own, that ships exactly what it is told |
//! | [`trace`] | system calls of a process, also failing ones |
//! | [`wait`] | conditions with deadlines |

// All of this serves tests: a failed expectation is how a test fails.
#![allow(clippy::expect_used, clippy::missing_panics_doc)]
#![forbid(unsafe_code)]

pub mod actor;
pub mod agent;
pub mod api;
pub mod capture;
pub mod cgroup;
pub mod demo;
pub mod disk;
pub mod lab;
pub mod program;
pub mod replayed;
pub mod scene;
pub mod server;
pub mod shipper;
pub mod shop;
pub mod trace;
pub mod traffic;
pub mod wait;
pub mod witness;

pub use actor::Actor;
pub use agent::{Agent, AgentSpec, Place};
pub use api::{Api, Edge, Edges, Question};
pub use cgroup::Cgroup;
pub use program::Process;
pub use scene::Scene;
pub use server::{Server, ServerSpec};
pub use wait::{holds_for, until};

/// Whether the long forms of tests are asked for (`EDGESCOPE_LONG=1`).
pub fn is_long() -> bool {
    std::env::var_os("EDGESCOPE_LONG").is_some_and(|v| v == "1")
}
