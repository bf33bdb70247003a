//! Alerts and incidents: what detectors raise and what people see.

use crate::verdict::{Culprit, Verdict};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// Life of an alert: pending (seen, not yet for long enough), firing, resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    Pending,
    Firing,
    Resolved,
}

/// One firing of a detector on one group of edges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Alert {
    /// Stable: detector, key and start.
    pub id: String,
    pub detector: String,
    /// Measure that the detector looks at.
    pub signal: String,
    pub state: AlertState,
    /// What it fires on: dimension name to value.
    pub labels: BTreeMap<String, String>,
    /// Start of the first bad window.
    pub since: DateTime<Utc>,
    /// When it began to fire.
    pub fired_at: Option<DateTime<Utc>>,
    pub resolved_at: Option<DateTime<Utc>>,
    /// Latest value, in shown units.
    pub value: f64,
    pub threshold: f64,
    pub baseline: Option<f64>,
    /// Seconds of past that the baseline rests on.
    pub baseline_s: u32,
    /// Opportunities behind the value: segments, attempts, socket-seconds.
    pub samples: u64,
    /// One sentence with the numbers.
    pub summary: String,
    pub incident: Option<String>,
}

/// Alerts that share a component, with one verdict.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Incident {
    pub id: String,
    pub opened_at: DateTime<Utc>,
    pub since: DateTime<Utc>,
    pub closed_at: Option<DateTime<Utc>>,
    /// Ids of its alerts.
    pub alerts: Vec<String>,
    /// What they share, as far as known before the verdict.
    pub component: Culprit,
    pub verdict: Option<Verdict>,
    /// When the verdict was last made.
    pub diagnosed_at: Option<DateTime<Utc>>,
}
