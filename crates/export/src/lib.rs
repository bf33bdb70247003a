//! What leaves the house, as bytes: edges of a slot become OTLP metrics, Prometheus text and remote writes, and flow logs.
//!
//! In flow answers to queries ([`reading`]: what to ask for the metrics that are on, and the answer as the bounded series of one slot). [`points`] makes the
//! numbers, with one trailing zero where a series went quiet; [`otlp`] writes them as deltas; [`cumulative`] adds them up for Prometheus, which reads them as
//! [`text`] or gets them by [`remote_write`]; [`flow_log`] writes the edges of a window one by one. Names, units and formulas are the model's
//! ([`edgescope_model::metric`]). Pure: who asks, sends and tries again is the server.
#![forbid(unsafe_code)]

pub mod cumulative;
pub mod flow_log;
pub mod otlp;
pub mod points;
pub mod reading;
pub mod remote_write;
pub mod text;

#[cfg(test)]
mod tests;

use std::sync::Arc;

/// Names and values, sorted by name.
pub type Labels = Arc<Vec<(String, String)>>;
