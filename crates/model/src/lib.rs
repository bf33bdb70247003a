//! The words of Edgescope as types, and nothing that does I/O.
//!
//! Everything above shares these: the **signal catalogue** ([`signal`]) that columns, API and docs follow; the **dimensions** and the key of
//! an edge ([`dims`]); **histograms** that merge ([`histogram`]); the **metrics** that leave the house and their names ([`metric`]); **time** as windows and as people write it ([`time`]); the one **query** type and
//! the trait that answers it ([`query`]); **alerts and incidents** ([`alert`]); the **verdict** ([`verdict`]); and the **wire protocol** ([`wire`], read by [`codec`]).
//! Agents fill observations in, the store turns them into edges, detectors and diagnose read edges through [`query::EdgeSource`].
#![forbid(unsafe_code)]

pub mod alert;
pub mod asked;
pub mod codec;
pub mod dims;
pub mod fact;
pub mod histogram;
pub mod metric;
pub mod query;
pub mod signal;
pub mod time;
pub mod verdict;
pub mod why;

/// The wire protocol: messages and service generated from `proto/edgescope.proto`.
#[allow(clippy::all, clippy::pedantic, missing_debug_implementations)]
pub mod wire {
    tonic::include_proto!("edgescope.v1");

    /// Highest sequence that an agent may give: whoever adds a number of batches to it stays within 64 bits, the tables within their signed ones. At
    /// a batch a second it lasts 10^11 years; what is above comes from no agent, and taken, every true batch after it would count as stored already.
    pub const SEQUENCE_MAX: u64 = 1 << 62;

    /// Longest window of an agent, in seconds. Detectors judge the last two minutes: four windows of this length, of which the newest is still on its
    /// way. Longer ones would leave nothing to judge, with all agents there.
    pub const INTERVAL_S_MAX: u32 = 30;
}
