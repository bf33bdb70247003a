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
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::Mutex;

/// A window that ended this long ago should have arrived: agents read within a second and a commit takes milliseconds; the rest is for slow paths.
const GRACE_S: i64 = 10;
/// An agent that was silent for this long before a range is not expected in it: it was taken away without a word. Nothing tells that from an agent that died
/// with its node, so it is as long as somebody may need to hear of it: a night and the day after.
const EXPECTED_FOR_S: i64 = 86_400;
/// A greeting so long before an agent's first receipt means that those in between are gone.
const RECEIPTS_GONE_S: i64 = 3600;
/// Interval of an agent that has not said it.
const INTERVAL_S: i64 = 10;
/// Shortest interval that an agent is taken at its word for: it makes the number of windows of a range.
const INTERVAL_MIN_US: i64 = 1_000_000;

/// The table and what it says of each agent.
pub(crate) struct Receipts {
    pub table: Arc<Table>,
    /// Where the facts go, with which a receipt begins to count.
    facts: Arc<Table>,
    cache: Mutex<Cache>,
}

#[derive(Default)]
struct Cache {
    version: Option<u64>,
    files: HashSet<String>,
    agents: HashMap<String, Life>,
    /// Receipts whose facts were not stored when they were read.
    waiting: Vec<Waiting>,
}

/// First start and last end of an agent's windows, microseconds.
#[derive(Debug, Clone, Copy)]
struct Life {
    first_us: i64,
    last_us: i64,
}

/// A receipt, of what of it is read.
struct Row<'a> {
    agent: &'a str,
    sequence: i64,
    start_us: i64,
    end_us: i64,
    caught_up_us: i64,
    losses: &'a str,
}

/// A receipt whose facts are not stored.
struct Waiting {
    agent: String,
    sequence: i64,
    start_us: i64,
    end_us: i64,
}

/// An agent of which windows are due in a range, and what came.
struct Expected {
    life: Life,
    /// It said in the range or before that it ends, and is not back.
    has_left: bool,
    interval_us: i64,
    wanted: Range<i64>,
    /// A bit for each of the wanted windows.
    got: Vec<u64>,
    reports: bool,
}

impl Expected {
    fn new(life: Life, left_us: Option<i64>, interval_us: i64, from_us: i64, settled_us: i64) -> Self {
        let wanted = grid(from_us.max(life.first_us), settled_us.min(left_us.unwrap_or(i64::MAX)), interval_us);
        let got = vec![0; usize::try_from(wanted.end - wanted.start).unwrap_or(0).div_ceil(64)];
        Self { life, has_left: left_us.is_some(), interval_us, wanted, got, reports: false }
    }

    /// A window, and those before it that it tells with it: an agent that was away for a moment (a new version) and whose kernel counted on missed nothing.
    /// One that was away for longer told when too roughly for those to count as seen.
    fn take(&mut self, start_us: i64, caught_up_us: i64) {
        self.reports = true;
        let window = start_us.div_euclid(self.interval_us);
        let back = -(-caught_up_us.max(0)).div_euclid(self.interval_us);
        let back = if (0..=Coverage::SILENT_INTERVALS).contains(&back) { back } else { 0 };
        for window in (window - back..=window).filter(|window| self.wanted.contains(window)) {
            let bit = (window - self.wanted.start) as usize;
            self.got[bit / 64] |= 1 << (bit % 64);
        }
    }
}

impl Receipts {
    pub(crate) fn new(table: Arc<Table>, facts: Arc<Table>) -> Self {
        Self { table, facts, cache: Mutex::default() }
    }

    /// How much of what should have arrived between two moments did, as of `now`. `agents` are those that ever said hello.
    pub(crate) async fn coverage(&self, agents: &[AgentFacts], from: DateTime<Utc>, to: DateTime<Utc>, now: DateTime<Utc>) -> Result<Coverage> {
        let head = self.table.refresh().await?;
        let (from_us, to_us) = (from.timestamp_micros(), to.timestamp_micros());
        let settled_us = to_us.min((now - Duration::seconds(GRACE_S)).timestamp_micros());
        let mut lives = self.lives(&head).await?;
        let (mut intervals_us, mut left_us) = (HashMap::new(), HashMap::new());
        for agent in agents {
            let hello_us = agent.first_seen.timestamp_micros();
            let life = lives.entry(agent.agent_id.clone()).or_insert(Life { first_us: hello_us, last_us: hello_us });
            if life.first_us - hello_us > RECEIPTS_GONE_S * 1_000_000 {
                // So long before its first receipt: those of then are gone, and what they spoke of with them.
                life.first_us = hello_us;
            }
            if agent.interval_ms > 0 {
                intervals_us.insert(agent.agent_id.as_str(), (i64::from(agent.interval_ms) * 1000).max(INTERVAL_MIN_US));
            }
            if let Some(left_at) = agent.left_at.filter(|left_at| *left_at < to) {
                left_us.insert(agent.agent_id.as_str(), left_at.timestamp_micros());
            }
        }
        let mut left = BTreeMap::new();
        let due = |life: &Life| life.first_us < to_us && life.last_us >= from_us - EXPECTED_FOR_S * 1_000_000;
        let mut expected: HashMap<&str, Expected> = HashMap::new();
        for (agent, life) in lives.iter().filter(|(_, life)| due(life)) {
            let interval_us = intervals_us.get(agent.as_str()).copied().unwrap_or(INTERVAL_S * 1_000_000);
            // Windows well after it left: it is back, whatever became of its greeting.
            let left_us = left_us.get(agent.as_str()).copied().filter(|left_us| life.last_us <= left_us + interval_us);
            if let Some(left_us) = left_us {
                left.insert(agent.clone(), from_micros(left_us));
            }
            if left_us.is_none_or(|left_us| left_us > from_us) {
                expected.insert(agent, Expected::new(*life, left_us, interval_us, from_us, settled_us));
            }
        }
        let losses = self.receive(&head, from_us..to_us, &mut expected).await?;
        Ok(Coverage { left, ..sum_up(&expected, losses, settled_us) })
    }

    /// Gives each agent the windows of a range whose receipts are there and whose facts are stored; returns what was lost, by reason.
    async fn receive(&self, head: &Head, range_us: Range<i64>, expected: &mut HashMap<&str, Expected>) -> Result<BTreeMap<String, u64>> {
        let mut losses = BTreeMap::new();
        // One can be written again, when its facts' commit failed.
        let mut counted = HashSet::new();
        for file in head.files().iter().filter(|file| file.overlaps(range_us.start, range_us.end)) {
            let batches = self.table.read(&file.path).await?;
            let highest = self.highest(agents_of(&batches).map_err(|e| StoreError::file(self.table.name(), &file.path, e))?).await?;
            for batch in &batches {
                let take = |row: Row<'_>| {
                    if !range_us.contains(&row.start_us) || !is_stored(row.agent, row.sequence, &highest) {
                        return;
                    }
                    if let Some(agent) = expected.get_mut(row.agent) {
                        agent.take(row.start_us, row.caught_up_us);
                    }
                    if row.losses != "{}" && counted.insert((row.agent.to_owned(), row.sequence)) {
                        add_losses(&mut losses, row.losses);
                    }
                };
                each(batch, take).map_err(|e| StoreError::file(self.table.name(), &file.path, e))?;
            }
        }
        Ok(losses)
    }

    /// When each agent's windows began and ended, over all that is kept.
    async fn lives(&self, head: &Head) -> Result<HashMap<String, Life>> {
        let mut cache = self.cache.lock().await;
        if cache.version != Some(head.version) {
            for file in head.files().iter() {
                if cache.files.contains(&file.path) {
                    continue;
                }
                let fail = |e| StoreError::file(self.table.name(), &file.path, e);
                let batches = self.table.read(&file.path).await?;
                let highest = self.highest(agents_of(&batches).map_err(fail)?).await?;
                for batch in &batches {
                    each(batch, |row| cache.take(&row, &highest)).map_err(fail)?;
                }
                cache.files.insert(file.path.clone());
            }
            cache.files = head.files().iter().map(|file| file.path.clone()).collect();
            cache.version = Some(head.version);
        }
        if !cache.waiting.is_empty() {
            let highest = self.highest(cache.waiting.iter().map(|row| row.agent.clone()).collect()).await?;
            cache.settle(&highest);
        }
        Ok(cache.agents.clone())
    }

    /// The highest sequence of each of the agents whose facts are stored.
    async fn highest(&self, agents: HashSet<String>) -> Result<HashMap<String, i64>> {
        self.facts.refresh().await?;
        let mut highest = HashMap::new();
        for agent in agents {
            let sequence = self.facts.transaction(&agent).await?.unwrap_or(0);
            highest.insert(agent, sequence);
        }
        Ok(highest)
    }

    /// End of each agent's last window whose facts are stored.
    pub(crate) async fn last_windows(&self) -> Result<HashMap<String, DateTime<Utc>>> {
        let head = self.table.refresh().await?;
        Ok(self.lives(&head).await?.into_iter().map(|(agent, life)| (agent, from_micros(life.last_us))).collect())
    }

    /// Forgets agents whose last window ended before a moment; their files go by themselves.
    pub(crate) async fn forget(&self, before: DateTime<Utc>) {
        let before_us = before.timestamp_micros();
        let mut cache = self.cache.lock().await;
        cache.agents.retain(|_, life| life.last_us >= before_us);
        cache.waiting.retain(|row| row.end_us >= before_us);
    }
}

impl Cache {
    fn take(&mut self, row: &Row<'_>, highest: &HashMap<String, i64>) {
        if is_stored(row.agent, row.sequence, highest) {
            self.live(row.agent, row.start_us, row.end_us);
        } else {
            self.waiting.push(Waiting { agent: row.agent.to_owned(), sequence: row.sequence, start_us: row.start_us, end_us: row.end_us });
        }
    }

    fn live(&mut self, agent: &str, first_us: i64, last_us: i64) {
        match self.agents.get_mut(agent) {
            Some(life) => *life = Life { first_us: life.first_us.min(first_us), last_us: life.last_us.max(last_us) },
            None => drop(self.agents.insert(agent.to_owned(), Life { first_us, last_us })),
        }
    }

    /// Lets those count whose facts are stored by now. Of those that wait one a sequence is enough: each attempt writes one.
    fn settle(&mut self, highest: &HashMap<String, i64>) {
        let mut waiting = HashMap::new();
        for row in std::mem::take(&mut self.waiting) {
            if is_stored(&row.agent, row.sequence, highest) {
                self.live(&row.agent, row.start_us, row.end_us);
            } else {
                waiting.insert((row.agent.clone(), row.sequence), row);
            }
        }
        self.waiting = waiting.into_values().collect();
    }
}

/// Receipts are committed before facts: while facts fail, nothing is covered.
fn is_stored(agent: &str, sequence: i64, highest: &HashMap<String, i64>) -> bool {
    highest.get(agent).is_some_and(|highest| sequence <= *highest)
}

fn sum_up(expected: &HashMap<&str, Expected>, losses: BTreeMap<String, u64>, settled_us: i64) -> Coverage {
    let mut coverage = Coverage { losses, agents_expected: expected.len(), ..Coverage::default() };
    let (mut windows, mut wanted) = (0, 0);
    for (agent, seen) in expected {
        coverage.agents_reporting += usize::from(seen.reports);
        wanted += seen.wanted.end - seen.wanted.start;
        windows += seen.got.iter().map(|bits| i64::from(bits.count_ones())).sum::<i64>();
        if !seen.has_left && seen.life.last_us + Coverage::SILENT_INTERVALS * seen.interval_us < settled_us {
            coverage.silent.insert((*agent).to_owned(), from_micros(seen.life.last_us));
        }
    }
    coverage.fraction = match (wanted, coverage.agents_reporting) {
        // Nothing is due yet: whoever reports is all that can be.
        (0, reporting) => f64::from(u8::from(reporting > 0)),
        _ => windows as f64 / wanted as f64,
    };
    coverage
}

/// Windows, as multiples of the interval, that begin at `from_us` or later and end by `to_us`.
fn grid(from_us: i64, to_us: i64, interval_us: i64) -> Range<i64> {
    let first = -(-from_us).div_euclid(interval_us);
    first..to_us.div_euclid(interval_us).max(first)
}

fn add_losses(all: &mut BTreeMap<String, u64>, losses: &str) {
    let mut add = |reason: String, count| {
        let sum = all.entry(reason).or_default();
        *sum = sum.saturating_add(count);
    };
    match serde_json::from_str::<BTreeMap<String, u64>>(losses) {
        Ok(losses) => losses.into_iter().for_each(|(reason, count)| add(reason, count)),
        Err(_) => add("unreadable_receipt".to_owned(), 1),
    }
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

/// Who sent the receipts.
fn agents_of(batches: &[RecordBatch]) -> Result<HashSet<String>, ArrowError> {
    let mut agents = HashSet::new();
    for batch in batches {
        each(batch, |row| {
            if !agents.contains(row.agent) {
                agents.insert(row.agent.to_owned());
            }
        })?;
    }
    Ok(agents)
}

/// Gives every row of a batch away, by reference: there are as many as windows of all agents.
fn each(batch: &RecordBatch, mut take: impl FnMut(Row<'_>)) -> Result<(), ArrowError> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")));
    let (starts, ends) =
        (column(WINDOW)?.as_primitive::<TimestampMicrosecondType>(), column("window_end")?.as_primitive::<TimestampMicrosecondType>());
    let (agents, sequences, losses) =
        (column("agent")?.as_string::<i32>(), column("sequence")?.as_primitive::<Int64Type>(), column("losses")?.as_string::<i32>());
    let caught_up = column("caught_up_us")?.as_primitive::<Int64Type>();
    for at in 0..batch.num_rows() {
        let (start_us, end_us) = (starts.value(at), ends.value(at));
        let caught_up_us = caught_up.value(at);
        take(Row { agent: agents.value(at), sequence: sequences.value(at), start_us, end_us, caught_up_us, losses: losses.value(at) });
    }
    Ok(())
}
