//! What the store costs: `cargo run --release -p edgescope-store --example bench_store [commits] [rows]`.
//!
//! Prints the latency of durable commits of 5,000 rows from 200 agents while the background work runs, bytes a row of some two million rows with
//! histograms, and the time of group-bys over all of them. The rows look like a shop's: most columns null or small, every row with a histogram.

use chrono::{DateTime, Duration, Utc};
use edgescope_model::dims::{EdgeDims, EndDims, Role};
use edgescope_model::fact::{FactRow, column_of};
use edgescope_model::histogram::Histogram;
use edgescope_model::query::{EdgeQuery, EdgeSource};
use edgescope_model::signal::{self, Side, Signal};
use edgescope_model::time::from_seconds;
use edgescope_store::{AgentBatch, Receipt, Store, StoreConfig};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Instant;

const AGENTS: u64 = 200;
const EDGES: u64 = 5_000;

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

fn fact(window_s: i64, i: u64, numbers: &mut Numbers) -> FactRow {
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
fn window(start: DateTime<Utc>, sequence: u64, numbers: &mut Numbers) -> Vec<AgentBatch> {
    let share = EDGES / AGENTS;
    let batch = |agent: u64| AgentBatch {
        agent_id: format!("agent-{agent}"),
        sequence,
        rows: (agent * share..(agent + 1) * share).map(|i| fact(start.timestamp(), i, numbers)).collect(),
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

fn percentile(sorted: &[f64], p: f64) -> f64 {
    sorted[((sorted.len() - 1) as f64 * p).round() as usize]
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let commits: u64 = arguments.next().map_or(Ok(400), |text| text.parse())?;
    let directory = tempfile::tempdir()?;
    let config = StoreConfig { path: directory.path().display().to_string(), maintenance_interval_s: 0, ..StoreConfig::default() };
    let store = Store::open(&config).await?;
    let first = from_seconds(Utc::now().timestamp() / 3600 * 3600 - 3600 * (commits as i64 / 360 + 1));
    let mut numbers = Numbers(7);

    let (mut latencies, mut background) = (Vec::new(), Vec::new());
    for commit in 0..commits {
        let batches = window(first + Duration::seconds(10 * commit as i64), commit + 1, &mut numbers);
        let started = Instant::now();
        store.commit(&batches).await?;
        latencies.push(started.elapsed().as_secs_f64() * 1e3);
        if commit % 5 == 4 {
            let started = Instant::now();
            store.maintain().await?;
            background.push(started.elapsed().as_secs_f64() * 1e3);
        }
    }
    latencies.sort_by(f64::total_cmp);
    background.sort_by(f64::total_cmp);
    let rows = commits * EDGES;
    println!("commits                {commits} of {EDGES} rows and {AGENTS} application transactions each, synced");
    println!(
        "commit latency         p50 {:.1} ms, p95 {:.1} ms, p99 {:.1} ms, max {:.1} ms",
        percentile(&latencies, 0.5),
        percentile(&latencies, 0.95),
        percentile(&latencies, 0.99),
        percentile(&latencies, 1.0)
    );
    println!("background run         p50 {:.0} ms, max {:.0} ms, after each 5 commits", percentile(&background, 0.5), percentile(&background, 1.0));
    store.maintain().await?;

    let size = |table: &str| -> std::io::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(directory.path().join(table))? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    };
    let counters = store.counters();
    println!("rows                   {rows} of ten seconds, {} of a minute", counters.rolled_rows);
    println!(
        "active data            {:.1} MB in {} files, all tables: {:.1} bytes a ten-second row",
        counters.bytes as f64 / 1e6,
        counters.files,
        counters.bytes as f64 / rows as f64
    );
    println!("on disk, not vacuumed  edges_10s {:.1} MB, edges_1m {:.1} MB", size("edges_10s")? as f64 / 1e6, size("edges_1m")? as f64 / 1e6);

    let to = first + Duration::seconds(10 * commits as i64);
    let pods = |measures: &[&str]| EdgeQuery {
        filter: Some("source.pod <> ''".to_owned()),
        ..EdgeQuery::totals(first, to, &["source.workload", "dest.workload"], measures)
    };
    let recent = EdgeQuery {
        step_s: Some(10),
        ..EdgeQuery::totals(to - Duration::seconds(900), to, &["source.pod", "dest.pod"], &["tcp.bytes.rate", "tcp.retrans_rate", "tcp.rtt.p95"])
    };
    let queries = [
        ("sums of all ten-second rows by workloads", pods(&["tcp.bytes", "tcp.retrans"])),
        ("the same with p95 of round trips", pods(&["tcp.bytes", "tcp.rtt.p95"])),
        (
            "the same from minutes",
            EdgeQuery::totals(first, first + Duration::seconds(12 * 3600), &["source.workload", "dest.workload"], &["tcp.bytes", "tcp.rtt.p95"]),
        ),
        ("15 minutes by pods in steps of 10 s", recent),
    ];
    for (name, query) in queries {
        let mut times = Vec::new();
        let mut groups = 0;
        for _ in 0..5 {
            let started = Instant::now();
            groups = store.edges(&query).await?.groups_total;
            times.push(started.elapsed().as_secs_f64() * 1e3);
        }
        times.sort_by(f64::total_cmp);
        println!("query                  {:.0} ms  {name}, {groups} groups", percentile(&times, 0.5));
    }
    drop(store);
    let started = Instant::now();
    let store = Store::open(&config).await?;
    println!("open                   {:.0} ms, {} edges known", started.elapsed().as_secs_f64() * 1e3, store.counters().edges);
    Ok(())
}
