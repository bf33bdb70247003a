//! The history of all edges: tables in Delta Lake format on a local directory, read with DataFusion, readable by any other engine.
//!
//! **In** go an agent's batches, resolved to edges ([`AgentBatch`]: fact rows, addresses, a receipt), through a [`Committer`] that commits together what
//! arrives together, or by [`Store::commit`]. It returns when the commit is durable: data file, log entry and their directories are synced. That is the
//! acknowledgement; there is no other log. Each batch is stored exactly once: `(agent, sequence)` is a Delta application transaction of the same commit,
//! compared with a fresh view before it and after each conflict, so that any number of processes may write to one directory.
//!
//! **Out** come answers: [`EdgeQuery`](edgescope_model::query::EdgeQuery) through [`EdgeSource`](edgescope_model::query::EdgeSource), which
//! [`Store`] implements; read-only SQL ([`Store::sql`]); [`Store::coverage`]; alerts, incidents, agents and endpoints, whose latest version counts.
//!
//! | table | a row is | kept |
//! |---|---|---|
//! | `edges_10s` | what one edge did in ten seconds, or a part of it: rows add up | `retention_10s_s` |
//! | `edges_1m` | the same by minute, without pods and addresses | `retention_1m_s` |
//! | `edge_dims` | the dimensions of an edge's key | two days longer than the facts |
//! | `endpoints` | who held an address, as an agent said | `retention_1m_s` |
//! | `agent_windows` | what arrived from an agent for a window, and what was lost | as long as any facts |
//! | `agents`, `alerts`, `incidents` | one version of a record | `retention_1m_s`, agents longer |
//!
//! In between works [`Store::maintain`]: it rolls up, compacts, expires, keeps under `max_bytes`, checkpoints, cleans the logs and vacuums.
//!
//! Parts: `durable` (a directory whose writes are on the disk), `table` (fresh views and commits), `files` (Parquet), `spec` (columns, from
//! the catalogue), `merge` (rows that add up: commits, roll-ups, compaction and queries all use it), `dims` (edges as integers), `commit`, `query`, `sql`,
//! `maintain`.
#![forbid(unsafe_code)]

mod batch;
mod commit;
mod committer;
mod config;
mod counters;
mod dim_cache;
mod dims;
mod durable;
mod endpoints;
mod error;
mod files;
mod maintain;
mod merge;
mod query;
mod readers;
mod receipts;
mod records;
mod rollup;
mod spec;
mod sql;
mod store;
mod table;
#[cfg(test)]
mod tests;

pub use batch::{AgentBatch, AgentFacts, Committed, EndpointRow, Receipt};
pub use committer::Committer;
pub use config::{QueryLimits, StoreConfig};
pub use counters::Counters;
pub use error::{Result, StoreError};
pub use sql::SqlTable;
pub use store::{LifeFilter, Store, TableSize};
