//! What holds right now: open alerts and incidents, how many edges run, how much is seen. The detection loop writes it, the API reads it.

use chrono::{DateTime, Utc};
use edgescope_model::alert::{Alert, AlertState, Incident};
use edgescope_model::query::Coverage;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock};
use utoipa::ToSchema;

/// Counts of what runs now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Counts {
    /// Pairs of workloads that sent bytes in the last five minutes; own traffic and loopback left out.
    pub edges: usize,
    pub workloads: usize,
    pub agents: usize,
    pub alerts_firing: usize,
    pub alerts_pending: usize,
    pub incidents_open: usize,
}

/// How the detectors are doing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Rounds {
    /// End of the last round that succeeded.
    pub last_at: Option<DateTime<Utc>>,
    pub last_took_s: Option<f64>,
    /// Why the newest round failed; absent if it did not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

/// The state at one moment.
#[derive(Debug, Clone, Default)]
pub struct Now {
    /// Pending and firing, by id.
    pub alerts: BTreeMap<String, Alert>,
    /// Open ones, by id.
    pub incidents: BTreeMap<String, Incident>,
    pub counts: Counts,
    /// Of the last five minutes.
    pub coverage: Coverage,
    pub rounds: Rounds,
}

/// Health of an edge, as the detectors see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// Measured, and no alert is on it.
    Ok,
    /// Nothing that health could be told from: no agent at the sending end.
    Unknown,
    /// An alert on it is pending.
    Warning,
    /// An alert on it fires, or an open incident hits it.
    Bad,
}

/// The shared state.
#[derive(Debug, Default)]
pub struct Live(RwLock<Now>);

impl Live {
    /// A copy of the state.
    pub fn now(&self) -> Now {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes the state.
    pub fn update(&self, change: impl FnOnce(&mut Now)) {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner));
    }
}

impl Now {
    /// The incident to speak of first: the one that hits most, the older of two alike.
    pub fn main_incident(&self) -> Option<&Incident> {
        self.incidents.values().max_by_key(|i| (i.verdict.as_ref().map_or(0, |v| v.affected.len()), i.alerts.len(), std::cmp::Reverse(i.opened_at)))
    }

    /// Pairs of workloads that are hit, with how badly.
    pub fn hit_pairs(&self) -> BTreeMap<(String, String), Health> {
        let mut hit = BTreeMap::new();
        let mut add = |source: &str, dest: &str, health: Health| {
            for pair in [(source, dest), (dest, source)] {
                let held = hit.entry((pair.0.to_owned(), pair.1.to_owned())).or_insert(health);
                *held = (*held).max(health);
            }
        };
        for alert in self.alerts.values() {
            if let (Some(source), Some(dest)) = (alert.labels.get("source.workload"), alert.labels.get("dest.workload")) {
                add(source, dest, if alert.state == AlertState::Firing { Health::Bad } else { Health::Warning });
            }
        }
        for pair in self.incidents.values().filter_map(|i| i.verdict.as_ref()).flat_map(|v| &v.affected) {
            add(&pair.source, &pair.dest, Health::Bad);
        }
        hit
    }

    /// Workloads on either side of a hit pair.
    pub fn hit_workloads(&self) -> BTreeSet<String> {
        self.hit_pairs().into_iter().filter(|(_, health)| *health == Health::Bad).flat_map(|((source, dest), _)| [source, dest]).collect()
    }
}
