//! Tables in memory, for the server's own tests: slow and simple. Unlike the store they neither align ranges to windows nor compare nor roll up, read of
//! filters only `=` and `<>` joined by `AND`, sort by measures alone, and know no SQL.

use crate::tables::{AgentBatch, AgentRecord, Committed, Reading, ReadingKind, SqlAnswer, Tables, TablesError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use edgescope_identity::directory::Claimed;
use edgescope_model::alert::{Alert, Incident};
use edgescope_model::dims::Dim;
use edgescope_model::fact::{FactRow, column_of};
use edgescope_model::histogram::Histogram;
use edgescope_model::query::{Coverage, EdgeQuery, EdgeRow, EdgeSource, EdgeTable, QueryError};
use edgescope_model::signal::{Measure, Side, Signal};
use edgescope_model::time::from_seconds;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Everything, in the order in which it came.
#[derive(Debug, Default)]
pub struct Held {
    pub rows: Vec<FactRow>,
    pub batches: Vec<AgentBatch>,
    pub sequences: HashMap<String, u64>,
    pub agents: BTreeMap<String, AgentRecord>,
    pub claims: Vec<Claimed>,
    pub alerts: Vec<Alert>,
    pub incidents: Vec<Incident>,
    /// What the next writes answer, instead of being done.
    pub failure: Option<TablesError>,
    pub coverage: Option<Coverage>,
    /// Queries panic, as code that meets what nobody thought of does.
    pub panics: bool,
}

/// Tables in memory.
#[derive(Debug, Default)]
pub struct MemoryTables {
    held: Mutex<Held>,
    /// Commits wait while somebody holds this.
    pub commit_gate: tokio::sync::Mutex<()>,
}

impl MemoryTables {
    pub fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writes(&self) -> Result<MutexGuard<'_, Held>, TablesError> {
        let held = self.held();
        match &held.failure {
            Some(failure) => Err(failure.clone()),
            None => Ok(held),
        }
    }
}

#[async_trait]
impl EdgeSource for MemoryTables {
    async fn edges(&self, query: &EdgeQuery) -> Result<EdgeTable, QueryError> {
        let (dims, measures) = query.check()?;
        let panics = self.held().panics;
        assert!(!panics, "told to panic");
        let rows = self.held().rows.clone();
        let inside =
            |row: &FactRow, from: DateTime<Utc>, to: DateTime<Utc>| row.window_start >= from.timestamp() && row.window_start < to.timestamp();
        let conditions = conditions(query.filter.as_deref())?;
        let mut groups: BTreeMap<Vec<String>, Vec<FactRow>> = BTreeMap::new();
        for row in rows.iter().filter(|r| inside(r, query.from, query.to)) {
            if conditions.iter().all(|(dim, equal, value)| (row.dims.get(*dim) == *value) == *equal) {
                groups.entry(dims.iter().map(|d| row.dims.get(*d)).collect()).or_default().push(row.clone());
            }
        }
        let step_s = query.step_s.map(i64::from);
        let first = step_s.map(|s| query.from.timestamp().div_euclid(s) * s);
        let steps: Vec<i64> = first.zip(step_s).map(|(f, s)| (f..query.to.timestamp()).step_by(s as usize).collect()).unwrap_or_default();
        let seconds = (query.to - query.from).num_seconds() as f64;
        let answer = |(key, rows): (Vec<String>, Vec<FactRow>)| {
            let all = sum(rows.iter());
            let of_step = |m: &Measure, start: i64| {
                value(
                    m,
                    &sum(rows.iter().filter(|r| r.window_start.div_euclid(step_s.unwrap_or(1)) * step_s.unwrap_or(1) == start)),
                    step_s.unwrap_or(1) as f64,
                )
            };
            let totals: Vec<_> = measures.iter().map(|m| value(m, &all, seconds)).collect();
            let series = measures.iter().filter(|_| step_s.is_some()).map(|m| steps.iter().map(|s| of_step(m, *s)).collect()).collect();
            let buckets = measures.iter().filter_map(|m| buckets(m, &all)).collect();
            EdgeRow { key, totals, compare: Vec::new(), series, buckets }
        };
        let mut rows: Vec<EdgeRow> = groups.into_iter().map(answer).collect();
        if let Some(at) = query.sort.as_ref().and_then(|s| query.measures.iter().position(|m| *m == s.trim_start_matches('-'))) {
            rows.sort_by(|a, b| b.totals[at].unwrap_or(0.0).total_cmp(&a.totals[at].unwrap_or(0.0)));
        }
        let groups_total = rows.len();
        rows.truncate(query.limit.unwrap_or(usize::MAX));
        let steps = steps.into_iter().map(from_seconds).collect();
        Ok(EdgeTable {
            from: query.from,
            to: query.to,
            step_s: query.step_s,
            steps,
            group_by: query.group_by.clone(),
            measures: query.measures.clone(),
            rows,
            groups_total,
            resolution_s: 10,
        })
    }
}

/// `(a = 'x') AND b <> 'y'`: enough for the tests.
fn conditions(filter: Option<&str>) -> Result<Vec<(Dim, bool, String)>, QueryError> {
    let parts = filter.unwrap_or_default().split(" AND ").map(|p| p.trim().trim_matches(['(', ')'])).filter(|p| !p.is_empty());
    let one = |part: &str| {
        let (name, equal, value) = match part.split_once("<>") {
            Some((name, value)) => (name, false, value),
            None => part.split_once('=').map(|(n, v)| (n, true, v)).ok_or_else(|| QueryError::Filter(format!("cannot read '{part}'")))?,
        };
        let dim = Dim::parse(name.trim()).map_err(|e| QueryError::Filter(e.to_string()))?;
        Ok((dim, equal, value.trim().trim_matches('\'').to_owned()))
    };
    parts.map(one).collect()
}

fn sum<'a>(rows: impl Iterator<Item = &'a FactRow>) -> FactRow {
    let mut all = FactRow::default();
    rows.for_each(|row| all.merge(row));
    all
}

fn value(measure: &Measure, row: &FactRow, seconds: f64) -> Option<f64> {
    let stored = |s: &Signal, side| column_of(s, side).and_then(|c| row.value(c)).map(|v| v as f64 * s.unit.scale());
    let histogram = |s| column_of(s, Side::Merged).and_then(|c| row.histogram(c));
    match measure {
        Measure::Value(s, side) => stored(s, *side),
        Measure::Rate(s, side) => stored(s, *side).map(|v| v / seconds),
        Measure::Quantile(s, q) => histogram(s)?.quantile(*q).map(|v| v * s.unit.scale()),
        Measure::Count(s) | Measure::Buckets(s) => histogram(s).map(|h| h.count() as f64),
        Measure::Derived(derived) => derived.quotient(|name| match Measure::parse(name) {
            Ok(Measure::Value(signal, side)) => stored(&signal, side),
            _ => None,
        }),
    }
}

/// The histogram that a measure asks for as it is; empty if the row has none.
fn buckets(measure: &Measure, row: &FactRow) -> Option<Histogram> {
    let Measure::Buckets(signal) = measure else { return None };
    Some(column_of(signal, Side::Merged).and_then(|c| row.histogram(c)).cloned().unwrap_or_default())
}

#[async_trait]
impl Tables for MemoryTables {
    async fn commit(&self, batch: AgentBatch) -> Result<Committed, TablesError> {
        let _gate = self.commit_gate.lock().await;
        let mut held = self.writes()?;
        if held.sequences.get(&batch.agent_id).is_some_and(|s| *s >= batch.sequence) {
            return Ok(Committed::Before);
        }
        held.sequences.insert(batch.agent_id.clone(), batch.sequence);
        held.claims.extend(batch.claims.iter().cloned());
        held.rows.extend(batch.rows.iter().cloned());
        held.batches.push(batch);
        Ok(Committed::Now)
    }

    async fn committed_sequence(&self, agent_id: &str) -> Result<u64, TablesError> {
        Ok(self.held().sequences.get(agent_id).copied().unwrap_or(0))
    }

    async fn put_agent(&self, agent: &AgentRecord, claims: &[Claimed]) -> Result<(), TablesError> {
        let _gate = self.commit_gate.lock().await;
        let mut held = self.writes()?;
        held.agents.insert(agent.agent_id.clone(), agent.clone());
        held.claims.extend(claims.iter().cloned());
        Ok(())
    }

    async fn agents(&self) -> Result<Vec<AgentRecord>, TablesError> {
        Ok(self.held().agents.values().cloned().collect())
    }

    async fn claims(&self, _since_us: i64) -> Result<Vec<Claimed>, TablesError> {
        Ok(self.held().claims.clone())
    }

    async fn coverage(&self, _from: DateTime<Utc>, _to: DateTime<Utc>) -> Result<Coverage, TablesError> {
        let held = self.held();
        let all = Coverage { fraction: 1.0, agents_reporting: held.agents.len(), agents_expected: held.agents.len(), ..Coverage::default() };
        Ok(held.coverage.clone().unwrap_or(all))
    }

    async fn put_alerts(&self, alerts: &[Alert]) -> Result<(), TablesError> {
        let mut held = self.writes()?;
        held.alerts.retain(|a| alerts.iter().all(|new| new.id != a.id));
        held.alerts.extend(alerts.iter().cloned());
        Ok(())
    }

    async fn alerts(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Alert>, TablesError> {
        Ok(self.held().alerts.iter().filter(|a| a.since < to && a.resolved_at.is_none_or(|r| r >= from)).cloned().collect())
    }

    async fn put_incidents(&self, incidents: &[Incident]) -> Result<(), TablesError> {
        let mut held = self.writes()?;
        held.incidents.retain(|i| incidents.iter().all(|new| new.id != i.id));
        held.incidents.extend(incidents.iter().cloned());
        Ok(())
    }

    async fn incidents(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Incident>, TablesError> {
        Ok(self.held().incidents.iter().filter(|i| i.since < to && i.closed_at.is_none_or(|c| c >= from)).cloned().collect())
    }

    async fn sql(&self, query: &str) -> Result<SqlAnswer, TablesError> {
        Err(TablesError::Refused(format!("tables in memory answer no SQL: {query}")))
    }

    async fn writable(&self) -> Result<(), TablesError> {
        self.writes().map(drop)
    }

    fn readings(&self) -> Vec<Reading> {
        let rows = self.held().rows.len() as f64;
        vec![Reading { name: "store_rows".to_owned(), help: "Rows held".to_owned(), kind: ReadingKind::Gauge, value: rows }]
    }
}
