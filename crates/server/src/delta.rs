//! The tables of [`crate::tables`] as the store keeps them: Delta Lake on a directory.

use crate::tables::{AgentBatch, AgentRecord, Committed, Reading, ReadingKind, SqlAnswer, Tables, TablesError};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use edgescope_identity::directory::Claimed;
use edgescope_model::alert::{Alert, Incident};
use edgescope_model::dims::EndDims;
use edgescope_model::query::{Coverage, EdgeQuery, EdgeSource, EdgeTable, QueryError};
use edgescope_model::time::from_micros;
use edgescope_store::{AgentFacts, Committer, EndpointRow, LifeFilter, Receipt, Store, StoreConfig, StoreError};
use std::collections::HashMap;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// An answer to "can it write?" holds for so long.
const WRITABLE_FOR: Duration = Duration::from_secs(5);
/// A failed write is told of for so long, or until another succeeds: a commit may fail where the trial does not, and while nothing is written none can succeed.
const FAILURE_FOR: Duration = Duration::from_secs(30);
/// What a trial writes: a commit of a quiet second.
const TRIAL_BYTES: usize = 64 << 10;
/// How long known addresses are taken back at a start: agents repeat what they still hold.
const CLAIMS_DAYS: i64 = 30;

/// The store behind the server.
pub struct DeltaTables {
    store: Arc<Store>,
    committer: Committer,
    path: PathBuf,
    /// The last trial and what it said.
    trial: tokio::sync::Mutex<Option<(Instant, Result<(), TablesError>)>>,
    /// When and why the last write failed; absent if it did not.
    failure: Mutex<Option<(Instant, TablesError)>>,
}

impl DeltaTables {
    /// Opens the store.
    ///
    /// # Errors
    /// If its directory cannot be used.
    pub async fn open(config: &StoreConfig) -> Result<Arc<Self>, StoreError> {
        let store = Store::open(config).await?;
        let committer = Committer::start(Arc::clone(&store));
        Ok(Arc::new(Self { store, committer, path: PathBuf::from(&config.path), trial: tokio::sync::Mutex::default(), failure: Mutex::default() }))
    }

    /// The store itself.
    pub fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Remembers how a write ended, for [`Tables::writable`].
    fn noted<T>(&self, result: Result<T, TablesError>) -> Result<T, TablesError> {
        let failure = match &result {
            Ok(_) => None,
            // Being busy is not being broken, nor is refusing what makes no sense.
            Err(TablesError::Busy(_) | TablesError::Refused(_)) => return result,
            Err(error) => Some((Instant::now(), error.clone())),
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        result
    }

    async fn put_claims(&self, claims: &[Claimed]) -> Result<(), TablesError> {
        let rows: Vec<EndpointRow> = claims.iter().map(endpoint_of).collect();
        self.noted(self.store.put_endpoints(&rows).await.map_err(|e| write_error(&e)))
    }
}

#[async_trait]
impl EdgeSource for DeltaTables {
    async fn edges(&self, query: &EdgeQuery) -> Result<EdgeTable, QueryError> {
        self.store.edges(query).await
    }
}

#[async_trait]
impl Tables for DeltaTables {
    async fn commit(&self, batch: AgentBatch) -> Result<Committed, TablesError> {
        let batch = edgescope_store::AgentBatch {
            agent_id: batch.agent_id,
            sequence: batch.sequence,
            rows: batch.rows,
            endpoints: batch.claims.iter().map(endpoint_of).collect(),
            receipt: Receipt {
                window_start: from_micros(batch.window_start_us),
                window_end: from_micros(batch.window_end_us),
                received_at: Utc::now(),
                sockets: batch.sockets,
                clock_offset_us: batch.clock_offset_us,
                caught_up_us: batch.caught_up_us,
                losses: batch.losses,
            },
        };
        match self.noted(self.committer.commit(batch).await.map_err(|e| write_error(&e)))? {
            edgescope_store::Committed::Now => Ok(Committed::Now),
            edgescope_store::Committed::Before => Ok(Committed::Before),
        }
    }

    async fn committed_sequence(&self, agent_id: &str) -> Result<u64, TablesError> {
        self.store.committed_sequence(agent_id).await.map_err(|e| read_error(&e))
    }

    async fn put_agent(&self, agent: &AgentRecord, claims: &[Claimed]) -> Result<(), TablesError> {
        self.put_claims(claims).await?;
        self.noted(self.store.put_agent(facts_of(agent)).await.map_err(|e| write_error(&e)))
    }

    async fn agents(&self) -> Result<Vec<AgentRecord>, TablesError> {
        let agents = self.store.agents().await.map_err(|e| read_error(&e))?;
        let mut last_windows = self.store.last_windows().await.map_err(|e| read_error(&e))?;
        let record = |facts: AgentFacts| {
            let last_window_end = last_windows.remove(&facts.agent_id);
            AgentRecord { last_window_end, ..record_of(facts) }
        };
        Ok(agents.into_iter().map(record).collect())
    }

    async fn claims(&self, since_us: i64) -> Result<Vec<Claimed>, TablesError> {
        let rows = self.store.endpoints_since(Utc::now() - chrono::Duration::days(CLAIMS_DAYS)).await.map_err(|e| read_error(&e))?;
        let mut claims = latest(rows);
        claims.retain(|claim| claim.open || claim.until_us >= since_us);
        Ok(claims)
    }

    async fn coverage(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Coverage, TablesError> {
        self.store.coverage(from, to).await.map_err(|e| read_error(&e))
    }

    async fn put_alerts(&self, alerts: &[Alert]) -> Result<(), TablesError> {
        self.noted(self.store.put_alerts(alerts).await.map_err(|e| write_error(&e)))
    }

    async fn alerts(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Alert>, TablesError> {
        self.store.alerts(&between(from, to)).await.map_err(|e| read_error(&e))
    }

    async fn put_incidents(&self, incidents: &[Incident]) -> Result<(), TablesError> {
        self.noted(self.store.put_incidents(incidents).await.map_err(|e| write_error(&e)))
    }

    async fn incidents(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Incident>, TablesError> {
        self.store.incidents(&between(from, to)).await.map_err(|e| read_error(&e))
    }

    async fn sql(&self, query: &str) -> Result<SqlAnswer, TablesError> {
        let answer = self.store.sql(query).await.map_err(|error| match error {
            QueryError::Timeout(_) | QueryError::Memory(_) => TablesError::Limit(error.to_string()),
            QueryError::Sql(_) => TablesError::Refused(error.to_string()),
            other => TablesError::Read(other.to_string()),
        })?;
        Ok(SqlAnswer { columns: answer.columns, rows: answer.rows, truncated: answer.truncated })
    }

    async fn writable(&self) -> Result<(), TablesError> {
        let mut trial = self.trial.lock().await;
        if let Some((at, said)) = &*trial
            && at.elapsed() < WRITABLE_FOR
        {
            return said.clone();
        }
        let path = self.path.clone();
        let tried = tokio::task::spawn_blocking(move || try_to_write(&path)).await;
        let said = match tried {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(TablesError::Write(error.to_string())),
            Err(error) => Err(TablesError::Write(format!("the trial failed: {error}"))),
        };
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let said = said.and_then(|()| still_failing(failure, Instant::now()));
        *trial = Some((Instant::now(), said.clone()));
        said
    }

    fn readings(&self) -> Vec<Reading> {
        readings(&self.store)
    }
}

/// Gauges among the store's counters; the others only rise.
const GAUGES: [&str; 5] = ["commit_us_last", "bytes", "disk_bytes", "files", "edges"];

fn readings(store: &Store) -> Vec<Reading> {
    let counters = serde_json::to_value(store.counters()).unwrap_or_default();
    let all = counters.as_object().into_iter().flatten();
    all.filter_map(|(name, value)| {
        let kind = if GAUGES.contains(&name.as_str()) { ReadingKind::Gauge } else { ReadingKind::Counter };
        Some(Reading { name: format!("store_{name}"), help: name.replace('_', " "), kind, value: value.as_f64()? })
    })
    .collect()
}

/// What a failed write says of now, after a good trial.
fn still_failing(failure: Option<(Instant, TablesError)>, now: Instant) -> Result<(), TablesError> {
    match failure {
        Some((at, error)) if now.saturating_duration_since(at) < FAILURE_FOR => Err(error),
        _ => Ok(()),
    }
}

/// Writes a little beside the tables, syncs it and removes it.
fn try_to_write(dir: &Path) -> std::io::Result<()> {
    let path = dir.join(format!(".writable-{}", std::process::id()));
    let tried = (|| {
        let mut file = std::fs::File::create(&path)?;
        file.write_all(&[0; TRIAL_BYTES])?;
        file.sync_all()
    })();
    let removed = std::fs::remove_file(&path);
    tried.and(removed)
}

fn write_error(error: &StoreError) -> TablesError {
    match error {
        StoreError::Busy => TablesError::Busy(error.to_string()),
        StoreError::Invalid(_) => TablesError::Refused(error.to_string()),
        _ => TablesError::Write(error.to_string()),
    }
}

fn read_error(error: &StoreError) -> TablesError {
    TablesError::Read(error.to_string())
}

fn between(from: DateTime<Utc>, to: DateTime<Utc>) -> LifeFilter {
    LifeFilter { from: Some(from), to: Some(to), ..LifeFilter::default() }
}

fn endpoint_of(claim: &Claimed) -> EndpointRow {
    EndpointRow {
        address: claim.address,
        port: claim.port,
        owner: (*claim.owner).clone(),
        agent_id: claim.agent.clone(),
        from: from_micros(claim.from_us),
        to: (!claim.open).then(|| from_micros(claim.until_us)),
        shared: claim.shared,
    }
}

/// The last word on each claim; rows come oldest first. An owner may have held an address several times: a row takes the place of what it overlaps, and
/// of what was open before it.
fn latest(rows: Vec<EndpointRow>) -> Vec<Claimed> {
    let mut last: HashMap<(String, IpAddr, u16, bool, EndDims), Vec<Claimed>> = HashMap::new();
    for row in rows {
        let (from_us, until_us) = (row.from.timestamp_micros(), row.to.unwrap_or(row.from).timestamp_micros());
        let claim = Claimed {
            agent: row.agent_id.clone(),
            address: row.address,
            port: row.port,
            owner: Arc::new(row.owner.clone()),
            shared: row.shared,
            from_us,
            until_us,
            open: row.to.is_none(),
        };
        let held = last.entry((row.agent_id, row.address, row.port, row.shared, row.owner)).or_default();
        held.retain(|former| {
            let later = former.from_us >= claim.from_us;
            if later { !claim.open && former.from_us > claim.until_us } else { !former.open }
        });
        held.push(claim);
    }
    last.into_values().flatten().collect()
}

fn facts_of(agent: &AgentRecord) -> AgentFacts {
    AgentFacts {
        agent_id: agent.agent_id.clone(),
        boot_id: agent.boot_id.clone(),
        version: agent.version.clone(),
        kernel: agent.kernel.clone(),
        node: agent.node.clone(),
        zone: agent.zone.clone(),
        region: agent.region.clone(),
        environment: agent.environment.clone(),
        interval_ms: agent.interval_s.saturating_mul(1_000),
        hooks: agent.hooks.clone(),
        scope: agent.scope.clone(),
        clock_offset_us: (agent.clock_offset_s * 1e6) as i64,
        first_seen: agent.first_seen.unwrap_or_default(),
        last_seen: agent.last_seen.unwrap_or_default(),
        left_at: agent.left_at,
    }
}

fn record_of(facts: AgentFacts) -> AgentRecord {
    AgentRecord {
        simulated: crate::intake::is_simulated(&facts.hooks),
        interval_s: facts.interval_ms.div_ceil(1_000),
        clock_offset_s: facts.clock_offset_us as f64 / 1e6,
        first_seen: Some(facts.first_seen),
        last_seen: Some(facts.last_seen),
        left_at: facts.left_at,
        agent_id: facts.agent_id,
        boot_id: facts.boot_id,
        version: facts.version,
        kernel: facts.kernel,
        node: facts.node,
        zone: facts.zone,
        region: facts.region,
        environment: facts.environment,
        hooks: facts.hooks,
        scope: facts.scope,
        ..AgentRecord::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_is_told_of_for_a_while_only() {
        let at = Instant::now();
        let failure = Some((at, TablesError::Write("no space left".to_owned())));
        assert!(still_failing(failure.clone(), at + FAILURE_FOR - Duration::from_millis(1)).is_err());
        assert_eq!(still_failing(failure, at + FAILURE_FOR), Ok(()));
        assert_eq!(still_failing(None, at), Ok(()));
    }

    #[test]
    fn an_address_held_twice_is_two_claims() {
        let row = |from, to: Option<i64>| EndpointRow {
            address: IpAddr::from([10, 0, 0, 1]),
            port: 0,
            owner: EndDims::default(),
            agent_id: "a".to_owned(),
            from: from_micros(from),
            to: to.map(from_micros),
            shared: false,
        };
        let read = |rows| latest(rows).iter().map(|c| (c.from_us, c.until_us, c.open)).collect::<Vec<_>>();
        assert_eq!(read(vec![row(1, None), row(1, Some(5)), row(9, None)]), [(1, 5, false), (9, 9, true)]);
        assert_eq!(read(vec![row(1, None), row(9, None), row(1, Some(5))]), [(9, 9, true), (1, 5, false)], "in any order");
        assert_eq!(read(vec![row(9, None), row(1, Some(12))]), [(1, 12, false)], "it was found to reach back further");
    }
}
