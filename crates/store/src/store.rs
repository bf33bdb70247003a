//! The store: its tables, opened together.

use crate::batch::{AgentFacts, EndpointRow};
use crate::config::StoreConfig;
use crate::counters::{Counters, Counting, add, set};
use crate::dim_cache::DimCache;
use crate::durable::{Durable, Faults};
use crate::error::{Result, StoreError};
use crate::readers::Readers;
use crate::receipts::Receipts;
use crate::records::{Records, Version};
use crate::table::Table;
use crate::{commit, endpoints, maintain, spec};
use chrono::{DateTime, Utc};
use edgescope_model::alert::{Alert, AlertState, Incident};
use edgescope_model::query::Coverage;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Semaphore};

/// What time it is.
pub(crate) type Clock = fn() -> DateTime<Utc>;

/// All tables of one directory. Share it by `Arc`; any number of processes may have the same directory open.
pub struct Store {
    pub(crate) config: StoreConfig,
    pub(crate) counting: Counting,
    pub(crate) facts_10s: Arc<Table>,
    pub(crate) facts_1m: Arc<Table>,
    pub(crate) dims: DimCache,
    pub(crate) endpoints: Arc<Table>,
    pub(crate) receipts: Receipts,
    pub(crate) agents: Records,
    pub(crate) alerts: Records,
    pub(crate) incidents: Records,
    /// One commit of facts at a time in a process; others gather behind it.
    pub(crate) commit_turn: Mutex<()>,
    pub(crate) maintenance_turn: Mutex<maintain::Turn>,
    pub(crate) readers: Readers,
    clock: Clock,
    pub(crate) queries: Semaphore,
}

/// What one table holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableSize {
    pub table: &'static str,
    /// Active data files, their rows and bytes.
    pub files: usize,
    pub rows: u64,
    pub bytes: u64,
    /// All its files on the disk: also those that nothing names any more, and the log.
    pub disk_bytes: u64,
}

/// Which alerts or incidents to list; what is absent does not limit.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LifeFilter {
    /// Only those that were not over before this moment.
    pub from: Option<DateTime<Utc>>,
    /// Only those that began before this moment.
    pub to: Option<DateTime<Utc>>,
    /// Only those that are not resolved or closed.
    pub open: bool,
    pub limit: Option<usize>,
}

impl Store {
    /// Opens the tables of `store.path`, making what is missing, and starts the background work.
    pub async fn open(config: &StoreConfig) -> Result<Arc<Self>> {
        Self::open_with(config, None, Utc::now).await
    }

    /// Opens with a disk that may fail and a clock of one's own: for tests.
    pub(crate) async fn open_with(config: &StoreConfig, faults: Option<Faults>, clock: Clock) -> Result<Arc<Self>> {
        let durable = Durable::new(faults);
        let root = directory(&durable, &config.path).await?;
        let open = |spec| async { Table::open(&durable, &root, spec).await.map(Arc::new) };
        // The span of a compacted file bounds what one compaction holds in memory: an hour of 20,000 edges in ten-second rows is 7 million rows
        // at worst, a quarter of a day in one-minute rows the same.
        let (facts_10s, facts_1m, edge_dims, endpoints) = futures::try_join!(
            open(spec::facts("edges_10s", 3600)),
            open(spec::facts("edges_1m", 6 * 3600)),
            open(spec::edge_dims()),
            open(spec::endpoints())
        )?;
        let (windows, agents, alerts, incidents) = futures::try_join!(
            open(spec::agent_windows()),
            open(spec::records("agents")),
            open(spec::records("alerts")),
            open(spec::records("incidents"))
        )?;
        let receipts = Receipts::new(windows, Arc::clone(&facts_10s));
        let store = Arc::new(Self {
            config: config.clone(),
            counting: Counting::default(),
            facts_10s,
            facts_1m,
            dims: DimCache::open(edge_dims).await?,
            endpoints,
            receipts,
            agents: Records::new(agents),
            alerts: Records::new(alerts),
            incidents: Records::new(incidents),
            commit_turn: Mutex::new(()),
            maintenance_turn: Mutex::default(),
            readers: Readers::default(),
            clock,
            queries: Semaphore::new(config.query.concurrent_max.max(1)),
        });
        if config.maintenance_interval_s > 0 {
            tokio::spawn(maintain::run(Arc::downgrade(&store), Duration::from_secs(config.maintenance_interval_s)));
        }
        Ok(store)
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        (self.clock)()
    }

    /// All tables.
    pub(crate) fn tables(&self) -> [&Arc<Table>; 8] {
        [
            &self.facts_10s,
            &self.facts_1m,
            &self.dims.table,
            &self.endpoints,
            &self.receipts.table,
            &self.agents.table,
            &self.alerts.table,
            &self.incidents.table,
        ]
    }

    /// What each table holds now.
    pub async fn sizes(&self) -> Result<Vec<TableSize>> {
        let mut sizes = Vec::new();
        for table in self.tables() {
            let files = table.refresh().await?.files();
            sizes.push(TableSize {
                table: table.name(),
                files: files.len(),
                rows: files.iter().map(|file| file.rows).sum(),
                bytes: files.iter().map(|file| file.bytes).sum(),
                disk_bytes: table.disk_bytes().await?,
            });
        }
        Ok(sizes)
    }

    /// What the store counted so far; gauges as of the last commit or background run.
    pub fn counters(&self) -> Counters {
        set(&self.counting.edges, self.dims.read().len() as u64);
        set(&self.counting.unreadable_dims, self.dims.unreadable());
        self.counting.snapshot()
    }

    /// Adds or changes an agent's facts; `first_seen` stays as it was first given.
    pub async fn put_agent(&self, facts: AgentFacts) -> Result<()> {
        let known = self.agents().await?.into_iter().find(|known| known.agent_id == facts.agent_id);
        let facts = AgentFacts { first_seen: known.map_or(facts.first_seen, |known| known.first_seen.min(facts.first_seen)), ..facts };
        let version = Version::of(&facts.agent_id, "known", facts.first_seen, &facts)?;
        self.agents.put(vec![version], self.now()).await
    }

    /// Every agent that said hello, by id.
    pub async fn agents(&self) -> Result<Vec<AgentFacts>> {
        let mut agents = self.agents.latest().await?.iter().map(Version::record).collect::<Result<Vec<AgentFacts>>>()?;
        agents.sort_by(|a, b| a.agent_id.cmp(&b.agent_id));
        Ok(agents)
    }

    /// End of each agent's last window that is stored, by agent.
    pub async fn last_windows(&self) -> Result<HashMap<String, DateTime<Utc>>> {
        let _reading = self.readers.enter();
        self.receipts.last_windows().await
    }

    /// How much of what should have been seen between two moments was.
    pub async fn coverage(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Coverage> {
        self.coverage_at(from, to, self.now()).await
    }

    pub(crate) async fn coverage_at(&self, from: DateTime<Utc>, to: DateTime<Utc>, now: DateTime<Utc>) -> Result<Coverage> {
        let _reading = self.readers.enter();
        self.receipts.coverage(&self.agents().await?, from, to, now).await
    }

    /// Stores who holds which addresses.
    pub async fn put_endpoints(&self, rows: &[EndpointRow]) -> Result<()> {
        commit::append(&self.endpoints, !rows.is_empty(), || endpoints::to_batch(rows, self.now())).await.map(drop)
    }

    /// What was said of addresses since a moment, the oldest first: for a directory to start from.
    pub async fn endpoints_since(&self, since: DateTime<Utc>) -> Result<Vec<EndpointRow>> {
        let _reading = self.readers.enter();
        let head = self.endpoints.refresh().await?;
        let mut rows = Vec::new();
        for file in head.files().iter().filter(|file| file.overlaps(since.timestamp_micros(), i64::MAX)) {
            for batch in self.endpoints.read(&file.path).await? {
                let (read, unreadable) = endpoints::from_batch(&batch).map_err(|e| StoreError::file(self.endpoints.name(), &file.path, e))?;
                rows.extend(read);
                add(&self.counting.unreadable_endpoints, unreadable);
            }
        }
        rows.retain(|(updated, _)| *updated >= since);
        rows.sort_by_key(|(updated, _)| *updated);
        Ok(rows.into_iter().map(|(_, row)| row).collect())
    }

    /// Stores alerts as they are now; the latest version of an id counts.
    pub async fn put_alerts(&self, alerts: &[Alert]) -> Result<()> {
        let state = |state| match state {
            AlertState::Pending => "pending",
            AlertState::Firing => "firing",
            AlertState::Resolved => "resolved",
        };
        let versions = alerts.iter().map(|alert| Version::of(&alert.id, state(alert.state), alert.since, alert)).collect::<Result<_>>()?;
        self.alerts.put(versions, self.now()).await
    }

    /// Alerts, the latest first.
    pub async fn alerts(&self, filter: &LifeFilter) -> Result<Vec<Alert>> {
        let mut alerts: Vec<Alert> = self.alerts.latest().await?.iter().map(Version::record).collect::<Result<_>>()?;
        alerts.retain(|alert| filter.passes(alert.since, alert.resolved_at, alert.state == AlertState::Resolved));
        alerts.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.id.cmp(&b.id)));
        alerts.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(alerts)
    }

    /// Stores incidents as they are now; the latest version of an id counts.
    pub async fn put_incidents(&self, incidents: &[Incident]) -> Result<()> {
        let state = |incident: &Incident| if incident.closed_at.is_some() { "closed" } else { "open" };
        let versions =
            incidents.iter().map(|incident| Version::of(&incident.id, state(incident), incident.since, incident)).collect::<Result<_>>()?;
        self.incidents.put(versions, self.now()).await
    }

    /// Incidents, the latest first.
    pub async fn incidents(&self, filter: &LifeFilter) -> Result<Vec<Incident>> {
        let mut incidents: Vec<Incident> = self.incidents.latest().await?.iter().map(Version::record).collect::<Result<_>>()?;
        incidents.retain(|incident| filter.passes(incident.since, incident.closed_at, incident.closed_at.is_some()));
        incidents.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.id.cmp(&b.id)));
        incidents.truncate(filter.limit.unwrap_or(usize::MAX));
        Ok(incidents)
    }
}

impl LifeFilter {
    fn passes(&self, since: DateTime<Utc>, over_at: Option<DateTime<Utc>>, over: bool) -> bool {
        let ended = over_at.is_some_and(|at| self.from.is_some_and(|from| at < from));
        !ended && self.to.is_none_or(|to| since < to) && !(self.open && over)
    }
}

/// The absolute directory of `store.path`, made if missing.
async fn directory(durable: &Durable, path: &str) -> Result<PathBuf> {
    let fail = |reason: String| StoreError::Path { path: path.to_owned(), reason };
    if let Some((scheme, _)) = path.split_once("://") {
        return Err(fail(format!("{scheme}:// is not supported by this build: give a local directory")));
    }
    let absolute = std::path::absolute(path).map_err(|e| fail(e.to_string()))?;
    durable.make(absolute.clone()).await.map_err(|e| fail(format!("cannot make the directory: {e}")))?;
    absolute.canonicalize().map_err(|e| fail(e.to_string()))
}
