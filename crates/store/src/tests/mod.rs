//! Tests of the whole store on a real directory, against a naive model in memory.

mod commit;
mod faults;
mod limits;
mod maintain;
mod model;
mod query;

use crate::{AgentBatch, Receipt, Store, StoreConfig};
use edgescope_model::dims::{EdgeDims, EndDims, Role};
use edgescope_model::fact::{FactRow, column_of};
use edgescope_model::histogram::Histogram;
use edgescope_model::signal::{Kind, Side, TCP_BYTES, TCP_RTT, TCP_RTT_MAX};
use edgescope_model::time::from_seconds;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Start of the tests' time: a whole day, so that windows, minutes and spans start with it.
pub(super) const T0: i64 = 1_800_000_000 / 86_400 * 86_400;

pub(super) fn config(directory: &tempfile::TempDir) -> StoreConfig {
    StoreConfig { path: directory.path().display().to_string(), maintenance_interval_s: 0, ..StoreConfig::default() }
}

pub(super) async fn open(directory: &tempfile::TempDir) -> Arc<Store> {
    open_with(&config(directory)).await
}

/// Opens with a clock that stands a little after [`T0`].
pub(super) async fn open_with(config: &StoreConfig) -> Arc<Store> {
    Store::open_with(config, None, clock).await.unwrap()
}

pub(super) fn clock() -> chrono::DateTime<chrono::Utc> {
    from_seconds(T0 + 100)
}

/// Edge number `i`: workloads and zones repeat, pods do not.
pub(super) fn edge(i: u64) -> EdgeDims {
    let end = |workload: String, pod: String, zone: u64| EndDims {
        workload,
        pod,
        zone: if zone == 2 { String::new() } else { format!("zone-{zone}") },
        node: format!("node-{zone}"),
        environment: "test".to_owned(),
        resolution_type: "rule".to_owned(),
        ..EndDims::default()
    };
    EdgeDims {
        source: end(format!("client-{}", i % 2), format!("client-{i}"), i % 3),
        dest: end("server".to_owned(), format!("server-{}", i / 2), i % 2),
        protocol: "tcp".to_owned(),
        port: 7000 + (i % 3) as u16,
        role: if i.is_multiple_of(2) { Role::Client } else { Role::Server },
    }
}

/// A row with a sum, a maximum and a histogram.
pub(super) fn row(window_s: i64, dims: EdgeDims, bytes: u64) -> FactRow {
    let mut row = FactRow::new(window_s, dims);
    row.add(column_of(&TCP_BYTES, Side::Merged).unwrap(), Kind::Sum, bytes);
    row.add(column_of(&TCP_RTT_MAX, Side::Merged).unwrap(), Kind::Max, bytes);
    let mut rtt = Histogram::default();
    rtt.record(bytes);
    row.add_histogram(column_of(&TCP_RTT, Side::Merged).unwrap(), &rtt);
    row
}

pub(super) fn batch(agent: &str, sequence: u64, rows: Vec<FactRow>) -> AgentBatch {
    let window = rows.first().map_or(T0, |row| row.window_start);
    AgentBatch {
        agent_id: agent.to_owned(),
        sequence,
        rows,
        endpoints: Vec::new(),
        receipt: Receipt {
            window_start: from_seconds(window),
            window_end: from_seconds(window + 10),
            received_at: from_seconds(window + 11),
            sockets: 7,
            clock_offset_us: 0,
            caught_up_us: 0,
            losses: BTreeMap::new(),
        },
    }
}

/// Sum of all bytes stored between two moments, in seconds after [`T0`].
pub(super) async fn bytes(store: &Store, from_s: i64, to_s: i64) -> u64 {
    use edgescope_model::query::{EdgeQuery, EdgeSource};
    let query = EdgeQuery::totals(from_seconds(T0 + from_s), from_seconds(T0 + to_s), &[], &["tcp.bytes"]);
    let table = store.edges(&query).await.unwrap();
    table.rows.first().and_then(|row| row.totals[0]).unwrap_or(0.0) as u64
}
