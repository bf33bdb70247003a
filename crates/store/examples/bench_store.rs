//! What the store costs: `benches/store/run`, or `bench_store DIRECTORY [commits]`.
//!
//! Two data sets, each committed as 200 agents' batches of 5,000 rows in all, synced, with the background work in between: one of 18 mostly quiet
//! columns, to be compared with an earlier trial of the same tables, and one as agents send today, a histogram in every row. Of each the latency of commits,
//! bytes a row of `edges_10s` alone, and the time of questions over all rows.

use chrono::{DateTime, Duration, Utc};
use edgescope_model::dims::{EdgeDims, EndDims, Role};
use edgescope_model::fact::{FactRow, column_of};
use edgescope_model::histogram::Histogram;
use edgescope_model::query::{EdgeQuery, EdgeSource};
use edgescope_model::signal::{self, Kind, Side, Signal};
use edgescope_model::time::from_seconds;
use edgescope_store::{AgentBatch, Receipt, Store, StoreConfig};
use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

const AGENTS: u64 = 200;
const EDGES: u64 = 5_000;
/// Commits of a run without the argument: two million rows.
const COMMITS: u64 = 400;
/// Commits between two background runs.
const COMMITS_A_RUN: u64 = 5;
/// Times a question is asked, after once to warm up; the median is told.
const ASKED: usize = 5;
/// What an earlier trial on two cores gave.
const EARLIER_COMMIT: &str = "11 ms when compacted";
const EARLIER_BYTES: &str = "4.5 B a row, 18 quiet columns";
const EARLIER_GROUP_BY: &str = "21 ms by integer key";

/// A small generator of repeatable numbers (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// What the rows are like.
#[derive(Clone, Copy)]
enum Rows {
    /// 18 columns that are zero in most rows, no histogram.
    Quiet,
    /// As a shop's agents send: sums, maxima, and a histogram of round trips.
    Today,
}

impl Rows {
    fn name(self) -> &'static str {
        match self {
            Self::Quiet => "quiet",
            Self::Today => "today",
        }
    }

    fn method(self) -> &'static str {
        match self {
            Self::Quiet => "18 columns, no histogram: bytes vary, the others are zero but in one row of 20",
            Self::Today => "15 columns and a histogram of 5 to 55 round trips in each row",
        }
    }

    fn fact(self, window_s: i64, i: u64, numbers: &mut Numbers) -> FactRow {
        match self {
            Self::Quiet => quiet(window_s, i, numbers),
            Self::Today => today(window_s, i, numbers),
        }
    }
}

fn edge(i: u64) -> EdgeDims {
    let end = |workload: u64, pod: u64| EndDims {
        workload: format!("service-{workload}"),
        namespace: "shop".to_owned(),
        node: format!("node-{}", pod % AGENTS),
        zone: format!("zone-{}", pod % 3),
        region: "region-1".to_owned(),
        environment: "production".to_owned(),
        process: "server".to_owned(),
        resolution_type: "kubernetes".to_owned(),
        pod: format!("service-{workload}-{pod}"),
        ..EndDims::default()
    };
    EdgeDims { source: end(i % 70, i), dest: end(i % 90, i / 3), protocol: "tcp".to_owned(), port: 8000 + (i % 90) as u16, role: Role::Client }
}

fn quiet(window_s: i64, i: u64, numbers: &mut Numbers) -> FactRow {
    let mut row = FactRow::new(window_s, edge(i));
    let busy = numbers.below(20) == 0;
    for (at, (signal, side)) in signal::columns().filter(|(signal, _)| signal.kind != Kind::Histogram).take(18).enumerate() {
        let value = match at {
            0 => (1 + numbers.below(20)) * 1_000,
            _ if busy => numbers.below(4),
            _ => 0,
        };
        if let Some(column) = column_of(&signal, side) {
            row.add(column, signal.kind, value);
        }
    }
    row
}

fn today(window_s: i64, i: u64, numbers: &mut Numbers) -> FactRow {
    let mut row = FactRow::new(window_s, edge(i));
    let mut add = |signal: &Signal, side, value| {
        if let Some(column) = column_of(signal, side) {
            row.add(column, signal.kind, value);
        }
    };
    let requests = 20 + numbers.below(200);
    for side in [Side::Merged, Side::Sent, Side::Received] {
        add(&signal::TCP_BYTES, side, requests * (700 + i % 400));
        add(&signal::TCP_SEGMENTS, side, requests);
    }
    add(&signal::TCP_ACTIVE, Side::Merged, 10_000 * (1 + i % 8));
    add(&signal::TCP_BUSY, Side::Merged, requests * 900);
    add(&signal::TCP_SRTT, Side::Merged, 900 + numbers.below(300));
    add(&signal::TCP_SRTT_SAMPLES, Side::Merged, 1 + i % 8);
    add(&signal::TCP_RTT_MIN, Side::Merged, 500 + i % 100);
    add(&signal::TCP_RTT_MAX, Side::Merged, 40_000 + numbers.below(10_000));
    if numbers.below(20) == 0 {
        add(&signal::TCP_RETRANS, Side::Merged, 1 + numbers.below(3));
    }
    let mut rtt = Histogram::default();
    (0..requests / 4).for_each(|_| rtt.record(600 + i % 900 + numbers.below(400)));
    if let Some(column) = column_of(&signal::TCP_RTT, Side::Merged) {
        row.add_histogram(column, &rtt);
    }
    row
}

/// One window's batches: each agent tells of its share of the edges.
fn window(rows: Rows, start: DateTime<Utc>, sequence: u64, numbers: &mut Numbers) -> Vec<AgentBatch> {
    let share = EDGES / AGENTS;
    let batch = |agent: u64| AgentBatch {
        agent_id: format!("agent-{agent}"),
        sequence,
        rows: (agent * share..(agent + 1) * share).map(|i| rows.fact(start.timestamp(), i, numbers)).collect(),
        endpoints: Vec::new(),
        receipt: Receipt {
            window_start: start,
            window_end: start + Duration::seconds(10),
            received_at: start + Duration::seconds(11),
            sockets: 100,
            clock_offset_us: 0,
            caught_up_us: 0,
            losses: BTreeMap::new(),
        },
    };
    (0..AGENTS).map(batch).collect()
}

/// A directory that is empty at first and gone at last.
struct Scratch(PathBuf);

impl Scratch {
    fn new(path: PathBuf) -> std::io::Result<Self> {
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir_all(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("left {}: {error}", self.0.display());
        }
    }
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn percentile(values: &[f64], p: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len().saturating_sub(1) as f64 * p).round() as usize).copied().unwrap_or(f64::NAN)
}

/// A line of the report: what, how much, and what it was earlier.
fn line(what: &str, value: &str, earlier: &str) {
    let earlier = if earlier.is_empty() { String::new() } else { format!("   (earlier: {earlier})") };
    println!("  {what:<44} {value}{earlier}");
}

/// Where and with what this is measured.
fn surroundings(directory: &Path) -> std::io::Result<()> {
    let built = if cfg!(debug_assertions) { "dev (this crate opt-level 1, dependencies 2)" } else { "release" };
    let directory = directory.canonicalize()?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let mounts = mounts.lines().filter_map(|mount| {
        let mut fields = mount.split(' ').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    let file_system = mounts.filter(|(point, _)| directory.starts_with(point)).max_by_key(|(point, _)| point.len());
    println!("built      {built}");
    println!("disk       {}", file_system.map_or("unknown".to_owned(), |(point, kind)| format!("{kind} at {point}")));
    println!("cores      {}", std::thread::available_parallelism().map_or(0, usize::from));
    println!("load       {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    Ok(())
}

/// Commits all windows with the background work in between; says what that cost.
async fn fill(store: &Store, rows: Rows, first: DateTime<Utc>, commits: u64) -> Result<(), Box<dyn Error>> {
    let mut numbers = Numbers(7);
    let (mut latencies, mut background) = (Vec::new(), Vec::new());
    for commit in 0..commits {
        let batches = window(rows, first + Duration::seconds(10 * commit as i64), commit + 1, &mut numbers);
        let started = Instant::now();
        store.commit(&batches).await?;
        latencies.push(milliseconds(started));
        if commit % COMMITS_A_RUN == COMMITS_A_RUN - 1 {
            let started = Instant::now();
            store.maintain().await?;
            background.push(milliseconds(started));
        }
    }
    let compacted = &latencies[latencies.len() / 2..];
    let spread = |values: &[f64]| {
        let [p50, p95, p99, max] = [0.5, 0.95, 0.99, 1.0].map(|p| percentile(values, p));
        format!("p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms, max {max:.1} ms")
    };
    line("commit, synced, first half", &spread(&latencies[..latencies.len() / 2]), "");
    line("commit, synced, second half", &spread(compacted), EARLIER_COMMIT);
    line(&format!("background run, after each {COMMITS_A_RUN} commits"), &spread(&background), "");
    // What lay in other spans is merged with them by the next run.
    for _ in 0..3 {
        store.maintain().await?;
    }
    Ok(())
}

async fn sizes(store: &Store) -> Result<(), Box<dyn Error>> {
    for size in store.sizes().await?.into_iter().filter(|size| size.table.starts_with("edges_")) {
        let earlier = if size.table == "edges_10s" { EARLIER_BYTES } else { "" };
        let each = size.bytes as f64 / size.rows.max(1) as f64;
        let all = format!("{each:.2} B a row: {} rows, {:.1} MB in {} files", size.rows, size.bytes as f64 / 1e6, size.files);
        line(&format!("{} compacted", size.table), &all, earlier);
    }
    Ok(())
}

/// The median time of an answer, warmed up; the last one's number of rows.
async fn median<F: Future<Output = Result<usize, Box<dyn Error>>>>(ask: impl Fn() -> F) -> Result<String, Box<dyn Error>> {
    let mut rows = ask().await?;
    let mut times = Vec::new();
    for _ in 0..ASKED {
        let started = Instant::now();
        rows = ask().await?;
        times.push(milliseconds(started));
    }
    Ok(format!("{:.0} ms, {rows} groups", percentile(&times, 0.5)))
}

async fn questions(store: &Arc<Store>, first: DateTime<Utc>, to: DateTime<Utc>) -> Result<(), Box<dyn Error>> {
    const BY_KEY: &str = "SELECT edge, sum(tcp_bytes) FROM edges_10s GROUP BY edge";
    let pods =
        |by: &[&str], measures: &[&str]| EdgeQuery { filter: Some("source.pod <> ''".to_owned()), ..EdgeQuery::totals(first, to, by, measures) };
    let workloads = ["source.workload", "dest.workload"];
    let long = EdgeQuery::totals(first, first + Duration::seconds(12 * 3600), &workloads, &["tcp.bytes", "tcp.rtt.p95"]);
    let recent = EdgeQuery {
        step_s: Some(10),
        ..EdgeQuery::totals(to - Duration::seconds(900), to, &["source.pod", "dest.pod"], &["tcp.bytes.rate", "tcp.retrans_rate", "tcp.rtt.p95"])
    };
    let time = median(|| async { Ok(store.sql(BY_KEY).await?.rows.len()) }).await?;
    line("SQL: sum of bytes of all rows by edge", &time, EARLIER_GROUP_BY);
    let queries = [
        ("the same as EdgeQuery, by pods", pods(&["source.pod", "dest.pod"], &["tcp.bytes"]), EARLIER_GROUP_BY),
        ("all rows by workloads, bytes and retrans", pods(&workloads, &["tcp.bytes", "tcp.retrans"]), ""),
        ("all rows by workloads, with p95", pods(&workloads, &["tcp.bytes", "tcp.rtt.p95"]), ""),
        ("the same from minutes", long, ""),
        ("15 minutes by pods in steps of 10 s", recent, ""),
    ];
    for (name, query, earlier) in queries {
        let time = median(|| async { Ok(store.edges(&query).await?.groups_total) }).await?;
        line(name, &time, earlier);
    }
    Ok(())
}

async fn measure(directory: &Path, rows: Rows, commits: u64) -> Result<(), Box<dyn Error>> {
    let scratch = Scratch::new(directory.join(rows.name()))?;
    let config = StoreConfig { path: scratch.0.display().to_string(), maintenance_interval_s: 0, ..StoreConfig::default() };
    let store = Store::open(&config).await?;
    println!("\n{}: {} rows, {} commits of {EDGES} rows and {AGENTS} transaction ids", rows.name(), commits * EDGES, commits);
    println!("  {}", rows.method());
    let first = from_seconds(Utc::now().timestamp() / 3600 * 3600 - 3600 * (commits as i64 / 360 + 1));
    fill(&store, rows, first, commits).await?;
    sizes(&store).await?;
    questions(&store, first, first + Duration::seconds(10 * commits as i64)).await?;
    drop(store);
    let started = Instant::now();
    let store = Store::open(&config).await?;
    line("open", &format!("{:.0} ms, {} edges known", milliseconds(started), store.counters().edges), "");
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = PathBuf::from(arguments.next().ok_or("usage: bench_store DIRECTORY [commits]")?);
    let commits = arguments.next().map_or(Ok(COMMITS), |text| text.parse())?;
    std::fs::create_dir_all(&directory)?;
    surroundings(&directory)?;
    for rows in [Rows::Quiet, Rows::Today] {
        measure(&directory, rows, commits).await?;
    }
    Ok(())
}
