//! The edges tables: commit, compact, roll up, expire, query.
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
pub use store::{LifeFilter, Store};
