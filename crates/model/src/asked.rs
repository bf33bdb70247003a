//! What was asked of DNS, and what came of it.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Names that clients had answers about in a range of time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Asked {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Nothing is remembered of before; this server remembers an hour, of the agents that speak to it.
    pub kept_from: DateTime<Utc>,
    /// The most answers first.
    pub names: Vec<AskedName>,
    /// Of how many these are the first.
    pub names_total: usize,
}

/// Answers about one name that reached one workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AskedName {
    pub namespace: String,
    /// Who asked.
    pub workload: String,
    /// In lower case, without the final dot; empty: all that are not told apart, since there were too many.
    pub name: String,
    /// Answers of any code.
    pub answers: u64,
    /// Answers that there is no such name.
    pub nxdomain: u64,
    /// Answers with any other error.
    pub failures: u64,
}
