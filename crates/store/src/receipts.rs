//! What arrived from which agent: the `agent_windows` table, and coverage from it.

use crate::batch::{AgentBatch, AgentFacts};
use crate::error::{Result, StoreError};
use crate::spec::{WINDOW, agent_windows};
use crate::table::{Head, Table};
use chrono::{DateTime, Duration, Utc};
use datafusion::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use datafusion::arrow::error::ArrowError;
use edgescope_model::query::Coverage;
use edgescope_model::time::from_micros;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use tokio::sync::Mutex;

/// A window that ended this long ago should have arrived: agents read within a second and a commit takes milliseconds; the rest is for slow paths.
const GRACE_S: i64 = 10;
/// An agent that was silent for this long before a range is not expected in it: it was taken away.
const FORGET_S: i64 = 3600;
/// Interval of an agent that has not said it.
const INTERVAL_S: i64 = 10;
/// An agent is silent when its last window ended this many intervals before the range's end.
const SILENT_INTERVALS: i64 = 3;

/// The table and what it says of each agent.
pub(crate) struct Receipts {
    pub table: Arc<Table>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    version: Option<u64>,
    files: HashSet<String>,
    agents: HashMap<String, Life>,
}

/// First start and last end of an agent's windows, microseconds.
#[derive(Debug, Clone, Copy)]
struct Life {
    first_us: i64,
    last_us: i64,
}

struct Row {
    agent: String,
    sequence: i64,
    start_us: i64,
    end_us: i64,
    losses: String,
}

impl Receipts {
    pub(crate) fn new(table: Arc<Table>) -> Self {
        Self { table, cache: Mutex::default() }
    }

    /// How much of what should have arrived between two moments did, as of `now`. `agents` are those that ever said hello.
    pub(crate) async fn coverage(&self, agents: &[AgentFacts], from: DateTime<Utc>, to: DateTime<Utc>, now: DateTime<Utc>) -> Result<Coverage> {
        let head = self.table.refresh().await?;
        let mut lives = self.lives(&head).await?;
        let mut intervals_us = HashMap::new();
        for agent in agents {
            let hello = Life { first_us: agent.first_seen.timestamp_micros(), last_us: agent.first_seen.timestamp_micros() };
            lives.entry(agent.agent_id.clone()).or_insert(hello);
            if agent.interval_ms > 0 {
                intervals_us.insert(agent.agent_id.as_str(), i64::from(agent.interval_ms) * 1000);
            }
        }
        let received = self.rows(&head, from.timestamp_micros(), to.timestamp_micros()).await?;
        let settled = to.min(now - Duration::seconds(GRACE_S));
        let forgotten = (from - Duration::seconds(FORGET_S)).timestamp_micros();
        let mut coverage = Coverage { losses: losses(&received), ..Coverage::default() };
        let (mut windows, mut expected) = (0, 0);
        for (agent, life) in &lives {
            if life.first_us >= to.timestamp_micros() || life.last_us < forgotten {
                continue;
            }
            let interval_us = intervals_us.get(agent.as_str()).copied().unwrap_or(INTERVAL_S * 1_000_000);
            coverage.agents_expected += 1;
            let wanted = grid(from.timestamp_micros().max(life.first_us), settled.timestamp_micros(), interval_us);
            let got: HashSet<i64> = received.iter().filter(|row| row.agent == *agent).map(|row| row.start_us.div_euclid(interval_us)).collect();
            coverage.agents_reporting += usize::from(!got.is_empty());
            expected += wanted.end - wanted.start;
            windows += wanted.filter(|window| got.contains(window)).count() as i64;
            if life.last_us + SILENT_INTERVALS * interval_us < settled.timestamp_micros() {
                coverage.silent.insert(agent.clone(), from_micros(life.last_us));
            }
        }
        coverage.fraction = match (expected, coverage.agents_reporting) {
            // Nothing is due yet: whoever reports is all that can be.
            (0, reporting) => f64::from(u8::from(reporting > 0)),
            _ => windows as f64 / expected as f64,
        };
        Ok(coverage)
    }

    /// When each agent's windows began and ended, over all that is kept.
    async fn lives(&self, head: &Head) -> Result<HashMap<String, Life>> {
        let mut cache = self.cache.lock().await;
        if cache.version != Some(head.version) {
            for file in head.files().iter() {
                if cache.files.contains(&file.path) {
                    continue;
                }
                for row in self.read(&file.path).await? {
                    let life = cache.agents.entry(row.agent).or_insert(Life { first_us: row.start_us, last_us: row.end_us });
                    *life = Life { first_us: life.first_us.min(row.start_us), last_us: life.last_us.max(row.end_us) };
                }
            }
            cache.files = head.files().iter().map(|file| file.path.clone()).collect();
            cache.version = Some(head.version);
        }
        Ok(cache.agents.clone())
    }

    /// Receipts of windows that start in a range, each sequence once: one can be written again when its facts' commit failed.
    async fn rows(&self, head: &Head, from_us: i64, to_us: i64) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        let mut seen = HashSet::new();
        for file in head.files().iter().filter(|file| file.overlaps(from_us, to_us)) {
            let read = self.read(&file.path).await?;
            rows.extend(read.into_iter().filter(|row| (from_us..to_us).contains(&row.start_us) && seen.insert((row.agent.clone(), row.sequence))));
        }
        Ok(rows)
    }

    async fn read(&self, path: &str) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        for batch in self.table.read(path).await? {
            rows.extend(from_batch(&batch).map_err(|e| StoreError::file(self.table.name(), path, e))?);
        }
        Ok(rows)
    }
}

/// Windows, as multiples of the interval, that begin at `from_us` or later and end by `to_us`.
fn grid(from_us: i64, to_us: i64, interval_us: i64) -> std::ops::Range<i64> {
    let first = -(-from_us).div_euclid(interval_us);
    first..to_us.div_euclid(interval_us).max(first)
}

fn losses(rows: &[Row]) -> BTreeMap<String, u64> {
    let mut all = BTreeMap::<String, u64>::new();
    for row in rows.iter().filter(|row| row.losses != "{}") {
        match serde_json::from_str::<BTreeMap<String, u64>>(&row.losses) {
            Ok(losses) => losses.into_iter().for_each(|(reason, count)| *all.entry(reason).or_default() += count),
            Err(_) => *all.entry("unreadable_receipt".to_owned()).or_default() += 1,
        }
    }
    all
}

pub(crate) fn to_batch(batches: &[&AgentBatch]) -> Result<RecordBatch, ArrowError> {
    let moments = |us: fn(&AgentBatch) -> DateTime<Utc>| {
        Arc::new(TimestampMicrosecondArray::from_iter_values(batches.iter().map(|b| us(b).timestamp_micros())).with_timezone("UTC"))
    };
    let longs = |long: fn(&AgentBatch) -> i64| Arc::new(Int64Array::from_iter_values(batches.iter().map(|b| long(b))));
    let losses = batches.iter().map(|b| serde_json::to_string(&b.receipt.losses).unwrap_or_else(|_| "{}".to_owned()));
    let columns: Vec<ArrayRef> = vec![
        moments(|b| b.receipt.window_start),
        moments(|b| b.receipt.window_end),
        Arc::new(StringArray::from_iter_values(batches.iter().map(|b| &b.agent_id))),
        longs(|b| i64::try_from(b.sequence).unwrap_or(i64::MAX)),
        moments(|b| b.receipt.received_at),
        longs(|b| b.rows.len() as i64),
        longs(|b| i64::try_from(b.receipt.sockets).unwrap_or(i64::MAX)),
        longs(|b| b.receipt.clock_offset_us),
        longs(|b| b.receipt.caught_up_us),
        Arc::new(StringArray::from_iter_values(losses)),
    ];
    RecordBatch::try_new(agent_windows().schema, columns)
}

fn from_batch(batch: &RecordBatch) -> Result<Vec<Row>, ArrowError> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")));
    let (starts, ends) =
        (column(WINDOW)?.as_primitive::<TimestampMicrosecondType>(), column("window_end")?.as_primitive::<TimestampMicrosecondType>());
    let (agents, sequences, losses) =
        (column("agent")?.as_string::<i32>(), column("sequence")?.as_primitive::<Int64Type>(), column("losses")?.as_string::<i32>());
    let row = |at| Row {
        agent: agents.value(at).to_owned(),
        sequence: sequences.value(at),
        start_us: starts.value(at),
        end_us: ends.value(at),
        losses: losses.value(at).to_owned(),
    };
    Ok((0..batch.num_rows()).map(row).collect())
}
