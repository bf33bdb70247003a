//! How a store is configured.

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Where the tables are and how much they may hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StoreConfig {
    /// A local directory; made if missing.
    pub path: String,
    /// Seconds that ten-second rows are kept.
    pub retention_10s_s: u64,
    /// Seconds that one-minute rows are kept; alerts and incidents as long.
    pub retention_1m_s: u64,
    /// Most bytes of data files; over it the oldest rows go, with a notice. Files that were replaced or dropped stay on the disk until nobody can
    /// be reading them, about fifteen minutes. 0: no limit.
    pub max_bytes: u64,
    /// Most edges of one environment that are active today or were yesterday (UTC), the forms without pods that roll-ups use included; what exceeds
    /// them is summed under "other". Edges with an end that has no name but its address or prefix have half as many places each, beside these.
    pub series_max: usize,
    /// Seconds between two runs of the background work (roll-up, compaction, expiry). 0: only when asked.
    pub maintenance_interval_s: u64,
    pub query: QueryLimits,
}

/// Bounds of one query.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QueryLimits {
    /// Seconds until a query is given up.
    pub timeout_s: u64,
    /// MiB of memory that a query may hold.
    pub memory_mib: u64,
    /// Most rows that the SQL end point returns.
    pub rows_max: usize,
    /// Most queries at one time; others wait within their time-out.
    pub concurrent_max: usize,
}

impl Default for StoreConfig {
    fn default() -> Self {
        const DAY_S: u64 = 86_400;
        Self {
            path: "./data".to_owned(),
            retention_10s_s: 2 * DAY_S,
            retention_1m_s: 30 * DAY_S,
            // About four weeks of a thousand edges at 60 bytes a row.
            max_bytes: 20 << 30,
            // An edge takes some 200 bytes in memory and its pods' names as much again: 20,000 are 8 MB for each environment.
            series_max: 20_000,
            maintenance_interval_s: 10,
            query: QueryLimits::default(),
        }
    }
}

impl Default for QueryLimits {
    fn default() -> Self {
        Self { timeout_s: 30, memory_mib: 512, rows_max: 10_000, concurrent_max: 8 }
    }
}

impl QueryLimits {
    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        usize::try_from(self.memory_mib << 20).unwrap_or(usize::MAX)
    }
}
