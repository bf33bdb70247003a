//! The agent: one on each node, from the kernel's readings to batches that a server has made durable.
//!
//! In flow cumulative counters of flows ([`source`]: the kernel through the probe, or a simulator) and facts about the node; out flow batches of observations to a
//! server's intake. Once a window, at its end in server time ([`clock`]), the [`observer`] reads everything, subtracts what has been told ([`delta`]), names the
//! local ends ([`naming`], with what [`runtimes`] say of containers), undoes what the node translates ([`nat`]) and what its userland proxies take over ([`proxies`]), lists the addresses that the node's workloads hold ([`inventory`]), turns counters into signals ([`measures`]) and puts
//! batches and new baseline into one durable file ([`spool`]). Beside it the [`ship`]per sends what the spool holds until the server says that it is
//! committed. An agent that is killed anywhere loses nothing and tells nothing twice; whatever is lost otherwise is counted by reason ([`metrics`]).
#![forbid(unsafe_code)]

mod asked;
mod backoff;
mod baseline_file;
pub mod clock;
pub mod cloud;
pub mod config;
pub mod counters;
#[cfg(test)]
mod crash_tests;
pub mod delta;
mod exchanges;
mod heard;
mod http;
mod http2;
pub mod inventory;
pub mod measures;
pub mod metrics;
pub mod naming;
pub mod nat;
mod netns;
pub mod observe;
pub mod observer;
mod page;
pub mod privileges;
pub mod proxies;
mod rebase;
mod run;
pub mod runtimes;
mod shared;
pub mod ship;
pub mod sim;
pub mod source;
pub mod spool;
#[cfg(test)]
mod testing;
mod word;

pub use config::{AgentConfig, ConfigError, ScopeConfig};
pub use metrics::Metrics;
pub use run::{AgentError, remove, run, run_source};
