//! The store against a naive model: rows in a list, added up one by one.

use super::*;
use edgescope_model::dims::Dim;
use edgescope_model::fact::column_at;
use edgescope_model::query::{EdgeQuery, EdgeSource, EdgeTable};
use edgescope_model::signal::Unit;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// What a case stores: agent, window number, edge, column, value.
type Cell = (u8, i64, u64, u16, u64);

const GROUPINGS: [&[&str]; 6] =
    [&[], &["source.workload"], &["source.pod", "dest.pod"], &["port", "role"], &["az_equal", "source.zone"], &["dest.workload", "protocol"]];
const MEASURES: [&str; 12] = [
    "tcp.bytes",
    "tcp.bytes.sent",
    "tcp.bytes.received.rate",
    "tcp.rtt_max",
    "tcp.rtt_min",
    "tcp.rtt.p50",
    "tcp.rtt.p99",
    "tcp.rtt.count",
    "tcp.retrans_rate",
    "tcp.active",
    "tcp.connect_failure_rate",
    "tcp.path_loss",
];

fn fact((_, window, i, column, value): Cell) -> FactRow {
    let mut row = FactRow::new(T0 + 10 * window, edge(i));
    let (signal, _) = column_at(column).unwrap();
    if signal.kind == Kind::Histogram {
        let mut histogram = Histogram::default();
        histogram.record(value);
        row.add_histogram(column, &histogram);
    } else {
        row.add(column, signal.kind, value);
    }
    row
}

/// Group and step to everything of it in one row.
fn naive(cells: &[Cell], query: &EdgeQuery, step_s: Option<i64>) -> BTreeMap<(Vec<String>, i64), FactRow> {
    let dims: Vec<Dim> = query.group_by.iter().map(|name| Dim::parse(name).unwrap()).collect();
    let mut groups = BTreeMap::<_, FactRow>::new();
    for row in cells.iter().map(|cell| fact(*cell)) {
        let at = row.window_start - query.from.timestamp();
        if at < 0 || row.window_start >= query.to.timestamp() {
            continue;
        }
        let key = dims.iter().map(|dim| row.dims.get(*dim)).collect();
        groups.entry((key, step_s.map_or(0, |s| at / s))).or_default().merge(&row);
    }
    groups
}

/// A measure written out by hand, apart from the code under test.
fn expected(name: &str, row: &FactRow, seconds: f64) -> Option<f64> {
    use edgescope_model::signal as s;
    let value = |signal, side| row.value(column_of(signal, side).unwrap()).map(|v| v as f64);
    let merged = |signal| value(signal, Side::Merged);
    let zero = |signal| merged(signal).unwrap_or(0.0);
    let rtt = row.histogram(column_of(&TCP_RTT, Side::Merged).unwrap());
    assert_eq!(TCP_RTT.unit, Unit::Seconds);
    match name {
        "tcp.bytes" => merged(&TCP_BYTES),
        "tcp.bytes.sent" => value(&TCP_BYTES, Side::Sent),
        "tcp.bytes.received.rate" => value(&TCP_BYTES, Side::Received).map(|v| v / seconds),
        "tcp.rtt_max" => merged(&TCP_RTT_MAX).map(|v| v * 1e-6),
        "tcp.rtt_min" => merged(&s::TCP_RTT_MIN).map(|v| v * 1e-6),
        "tcp.rtt.p50" => rtt.and_then(|h| h.quantile(0.5)).map(|v| v * 1e-6),
        "tcp.rtt.p99" => rtt.and_then(|h| h.quantile(0.99)).map(|v| v * 1e-6),
        "tcp.rtt.count" => rtt.map(|h| h.count() as f64),
        "tcp.retrans_rate" => {
            let sent = value(&s::TCP_SEGMENTS, Side::Sent).filter(|v| *v > 0.0)?;
            Some((merged(&s::TCP_RETRANS)? - zero(&s::TCP_RETRANS_SYN) - zero(&s::TCP_RETRANS_SYNACK)) / sent)
        }
        "tcp.active" => merged(&s::TCP_ACTIVE).map(|v| v * 1e-3),
        "tcp.connect_failure_rate" => {
            let attempts = merged(&s::TCP_CONNECTS).filter(|v| *v > 0.0)?;
            Some(
                (merged(&s::TCP_CONNECT_TIMEOUTS)?
                    + zero(&s::TCP_CONNECTS_REFUSED)
                    + zero(&s::TCP_CONNECTS_UNREACHABLE)
                    + zero(&s::TCP_CONNECTS_RESET))
                    / attempts,
            )
        }
        "tcp.path_loss" => {
            let sent = value(&s::TCP_SEGMENTS, Side::Sent)?;
            let received = value(&s::TCP_SEGMENTS, Side::Received)?;
            (sent > 0.0).then(|| (sent - received) / sent)
        }
        other => panic!("no expectation for {other}"),
    }
}

fn same(got: Option<f64>, want: Option<f64>) -> bool {
    match (got, want) {
        (Some(got), Some(want)) => (got - want).abs() <= want.abs() * 1e-12,
        (got, want) => got == want,
    }
}

fn compare(table: &EdgeTable, cells: &[Cell], query: &EdgeQuery) -> Result<(), TestCaseError> {
    let seconds = (query.to - query.from).num_seconds() as f64;
    let totals = naive(cells, query, None);
    let keys: Vec<_> = table.rows.iter().map(|row| row.key.clone()).collect();
    prop_assert_eq!(&keys, &totals.keys().map(|(key, _)| key.clone()).collect::<Vec<_>>());
    for (row, total) in table.rows.iter().zip(totals.values()) {
        for (name, got) in query.measures.iter().zip(&row.totals) {
            let want = expected(name, total, seconds);
            prop_assert!(same(*got, want), "{} of {:?}: {:?}, not {:?}", name, row.key, got, want);
        }
    }
    let Some(step_s) = table.step_s.map(i64::from) else { return Ok(()) };
    let steps = naive(cells, query, Some(step_s));
    for row in &table.rows {
        for (at, start) in table.steps.iter().enumerate() {
            let want = steps.get(&(row.key.clone(), at as i64));
            let seconds = (query.to - *start).num_seconds().min(step_s) as f64;
            for (name, series) in query.measures.iter().zip(&row.series) {
                let want = want.and_then(|want| expected(name, want, seconds));
                prop_assert!(same(series[at], want), "{} of {:?} in step {}: {:?}, not {:?}", name, row.key, at, series[at], want);
            }
        }
    }
    Ok(())
}

fn columns() -> u16 {
    (0..).take_while(|at| column_at(*at).is_some()).count() as u16
}

fn cases() -> impl Strategy<Value = Vec<Vec<Cell>>> {
    let value = prop_oneof![0u64..50, 0u64..5_000_000, Just(0)];
    // A few columns often, so that quotients have both their parts.
    let column = prop_oneof![0..columns(), prop::sample::select(vec![0u16, 1, 2, 3, 4, 5, 6])];
    let cell = (0u8..3, 0i64..40, 0u64..8, column, value);
    prop::collection::vec(prop::collection::vec(cell, 1..40), 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn answers_equal_the_model(commits in cases(), grouping in 0usize..6, from in 0i64..10, windows in 1i64..50, step in prop::option::of(1i64..9), maintained in prop::collection::vec(any::<bool>(), 8)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let directory = tempfile::tempdir().unwrap();
            let store = open(&directory).await;
            let mut sequences = [0u64; 3];
            let mut all = Vec::new();
            for (commit, maintained) in commits.iter().zip(&maintained) {
                let batches: Vec<_> = (0..3u8).filter_map(|agent| {
                    let rows: Vec<_> = commit.iter().filter(|cell| cell.0 == agent).map(|cell| fact(*cell)).collect();
                    if rows.is_empty() { return None; }
                    sequences[usize::from(agent)] += 1;
                    Some(batch(&format!("agent-{agent}"), sequences[usize::from(agent)], rows))
                }).collect();
                store.commit(&batches).await.unwrap();
                all.extend(commit.iter().copied());
                if *maintained {
                    store.maintain_at(from_seconds(T0 + 7200)).await.unwrap();
                }
            }
            let mut query = EdgeQuery::totals(from_seconds(T0 + 10 * from), from_seconds(T0 + 10 * (from + windows)), GROUPINGS[grouping], &MEASURES);
            query.step_s = step.map(|s| 10 * s as u32);
            compare(&store.edges(&query).await.unwrap(), &all, &query)?;
            // Minutes and their sums over a whole day are the same; a pod is asked for only in ten-second rows.
            let whole = EdgeQuery { step_s: Some(240), ..EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 86_400), GROUPINGS[grouping], &MEASURES) };
            let table = store.edges(&whole).await.unwrap();
            prop_assert_eq!(table.resolution_s, if grouping == 2 { 10 } else { 60 });
            compare(&table, &all, &whole)?;
            Ok(())
        })?;
    }
}
