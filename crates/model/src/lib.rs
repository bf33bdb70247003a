//! The words of Edgescope as types, and nothing that does I/O.
//!
//! Everything above shares these: the **signal catalogue** ([`signal`]) that columns, API and docs follow; the **dimensions** and the key of
//! an edge ([`dims`]); **histograms** that merge ([`histogram`]); **time** as windows and as people write it ([`time`]); the one **query** type and
//! the trait that answers it ([`query`]); **alerts and incidents** ([`alert`]); the **verdict** ([`verdict`]); and the **wire protocol** ([`wire`], read by [`codec`]).
//! Agents fill observations in, the store turns them into edges, detectors and diagnose read edges through [`query::EdgeSource`].
#![forbid(unsafe_code)]

pub mod alert;
pub mod codec;
pub mod dims;
pub mod fact;
pub mod histogram;
pub mod query;
pub mod signal;
pub mod time;
pub mod verdict;

/// The wire protocol: messages and service generated from `proto/edgescope.proto`.
#[allow(clippy::all, clippy::pedantic, missing_debug_implementations)]
pub mod wire {
    tonic::include_proto!("edgescope.v1");
}
