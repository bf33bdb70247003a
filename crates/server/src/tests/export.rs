//! Exports against receivers of the official protocol buffers: what arrives, and what happens where they fail.

mod prometheus;
mod receivers;

use super::{Bench, end, row};
use crate::export::{self, ExportConfig};
use chrono::{DateTime, Utc};
use edgescope_model::dims::EndDims;
use edgescope_model::fact::FactRow;
use edgescope_model::histogram::Histogram;
use edgescope_model::metric::{self, Instrument};
use edgescope_model::signal::{Kind, Side, TCP_BYTES, column, columns};
use edgescope_model::time::{from_seconds, window_start};
use receivers::{Collector, Reply, attribute};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Seconds of a slot in these tests.
const SLOT_S: i64 = 10;

/// Exports that run over tables in memory, from a mark in the past: what is there is exported at once.
struct Running {
    bench: Bench,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Running {
    fn start(bench: Bench, config: &ExportConfig) -> Self {
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for task in export::tasks(config, &bench.state, &stop).unwrap() {
            tasks.spawn(task);
        }
        Self { bench, stop, tasks }
    }

    async fn stop(self) -> Bench {
        self.stop.send_replace(true);
        self.tasks.join_all().await;
        self.bench
    }

    /// Waits until a counter of the exports has a value.
    async fn counted(&self, line: &str, at_least: u64) {
        let value = || {
            let text = self.bench.state.metrics.encode().unwrap();
            let found = text.lines().find_map(|l| l.strip_prefix(line).map(|v| v.trim().parse::<f64>().unwrap()));
            (found.unwrap_or(0.0) as u64 >= at_least).then_some(()).ok_or(text)
        };
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            while value().is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        assert!(
            waited.await.is_ok(),
            "{line} did not reach {at_least}:\n{}",
            value().unwrap_err().lines().filter(|l| l.contains("export")).collect::<Vec<_>>().join("\n")
        );
    }
}

/// The last `slots` complete slots of frontend → cart, with 100, 200, … bytes.
fn filled(slots: i64) -> (Bench, DateTime<Utc>) {
    let bench = Bench::open();
    let first = window_start(Utc::now(), SLOT_S).timestamp() - slots * SLOT_S;
    for slot in 0..slots {
        let values = [(TCP_BYTES, Side::Merged, 100 * (slot as u64 + 1))];
        bench.tables.held().rows.push(row(first + slot * SLOT_S, end("frontend", "n1", "a"), end("cart", "n2", "b"), &values));
    }
    (bench, from_seconds(first))
}

/// A configuration, and the directory with a mark: every receiver has everything until `mark`.
fn config(mark: DateTime<Utc>, changes: serde_json::Value) -> (ExportConfig, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("export.json");
    let sinks: BTreeMap<&str, DateTime<Utc>> = ["otlp", "remote_write", "flow_logs", "flow_log_file"].into_iter().map(|sink| (sink, mark)).collect();
    std::fs::write(&path, json!({"instance_id": "test", "exported_until": sinks}).to_string()).unwrap();
    let mut tree = json!({"interval_s": SLOT_S, "wait_s": 1, "state_file": path, "prometheus": {"scrape": false}, "disable": ["ebpf_net.all"]});
    for (key, value) in changes.as_object().unwrap() {
        tree[key] = value.clone();
    }
    let config: ExportConfig = serde_json::from_value(tree).unwrap();
    config.check().unwrap();
    (config, dir)
}

#[tokio::test]
async fn each_slot_arrives_once_by_grpc_also_over_a_restart() {
    let (bench, first) = filled(3);
    // Of slots that are not over yet: the second run has something to send that the first had not.
    for ahead in 3..8 {
        let values = [(TCP_BYTES, Side::Merged, 100 * (ahead as u64 + 1))];
        bench.tables.held().rows.push(row(first.timestamp() + ahead * SLOT_S, end("frontend", "n1", "a"), end("cart", "n2", "b"), &values));
    }
    let collector = Collector::grpc(vec![]).await;
    let (config, _dir) = config(first, json!({"otlp": {"endpoint": collector.url, "headers": {"authorization": "Bearer secret"}}}));
    let running = Running::start(bench, &config);
    collector.slots("tcp.bytes", 3).await;
    let bench = running.stop().await;
    let before = collector.sums("tcp.bytes", "cart").len();
    let running = Running::start(bench, &config);
    collector.slots("tcp.bytes", before + 1).await;
    running.stop().await;
    let sums = collector.sums("tcp.bytes", "cart");
    let expected = |n: i64| ((first.timestamp() + n * SLOT_S, first.timestamp() + (n + 1) * SLOT_S), 100 * (n + 1));
    assert_eq!(sums, (0..sums.len() as i64).map(expected).collect::<Vec<_>>(), "slot after slot, without gap or repetition");
    let request = &collector.requests()[0];
    assert_eq!(request.authorization.as_deref(), Some("Bearer secret"));
    assert_eq!(request.encoding.as_deref(), Some("gzip"));
    let resource = request.metrics.resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(attribute(&resource.attributes, "service.instance.id"), Some("test"));
}

#[tokio::test]
async fn a_receiver_that_fails_gets_everything_once_it_recovers() {
    let (bench, first) = filled(2);
    let replies = vec![Reply::Status(503, Some("1")), Reply::Status(429, None), Reply::Taken];
    let collector = Collector::http(replies).await;
    let (config, _dir) = config(first, json!({"otlp": {"endpoint": collector.url, "protocol": "http"}}));
    let running = Running::start(bench, &config);
    collector.slots("tcp.bytes", 2).await;
    running.counted("edgescope_server_export_requests_total{sink=\"otlp\",outcome=\"failed\"}", 2).await;
    running.stop().await;
    assert_eq!(collector.sums("tcp.bytes", "cart").iter().map(|s| s.1).collect::<Vec<_>>(), [100, 200], "nothing lost, nothing twice");
    assert_eq!(collector.requests()[0].encoding.as_deref(), Some("gzip"));
}

#[tokio::test]
async fn what_a_receiver_rejects_or_refuses_is_counted_and_not_sent_again() {
    let (bench, first) = filled(3);
    let collector = Collector::http(vec![Reply::Partly(1), Reply::Status(400, None), Reply::Taken]).await;
    let (config, _dir) = config(first, json!({"otlp": {"endpoint": collector.url, "protocol": "http", "compression": "none"}}));
    let running = Running::start(bench, &config);
    running.counted("edgescope_server_export_dropped_points_total{sink=\"otlp\",reason=\"rejected\"}", 1).await;
    running.counted("edgescope_server_export_dropped_points_total{sink=\"otlp\",reason=\"refused\"}", 1).await;
    running.counted("edgescope_server_export_requests_total{sink=\"otlp\",outcome=\"taken\"}", 2).await;
    running.stop().await;
    let arrived: Vec<_> = collector.sums("tcp.bytes", "cart").iter().map(|s| s.1).collect();
    assert_eq!(arrived, [100, 300], "the refused one is not tried again");
}

#[tokio::test]
async fn by_grpc_a_full_receiver_is_waited_for_and_a_refusal_is_final() {
    let (bench, first) = filled(3);
    let replies = vec![Reply::Unavailable, Reply::Full(1), Reply::Taken, Reply::Invalid, Reply::Partly(1)];
    let collector = Collector::grpc(replies).await;
    let (config, _dir) = config(first, json!({"otlp": {"endpoint": collector.url}}));
    let running = Running::start(bench, &config);
    running.counted("edgescope_server_export_requests_total{sink=\"otlp\",outcome=\"failed\"}", 2).await;
    running.counted("edgescope_server_export_dropped_points_total{sink=\"otlp\",reason=\"refused\"}", 1).await;
    running.counted("edgescope_server_export_dropped_points_total{sink=\"otlp\",reason=\"rejected\"}", 1).await;
    running.stop().await;
    assert_eq!(collector.sums("tcp.bytes", "cart").iter().map(|s| s.1).collect::<Vec<_>>(), [100, 300]);
}

#[tokio::test]
async fn a_receiver_that_hangs_or_is_gone_holds_nothing_up_but_its_own_slots() {
    let (bench, first) = filled(2);
    let collector = Collector::http(vec![Reply::Hang, Reply::Taken]).await;
    let gone = receivers::closed_port().await;
    let dir = tempfile::tempdir().unwrap();
    let lines = dir.path().join("flows.jsonl");
    let changes = json!({
        "otlp": {"endpoint": collector.url, "protocol": "http", "timeout_s": 1},
        "prometheus": {"scrape": false, "remote_write": {"url": format!("http://{gone}/api/v1/write")}},
        "flow_logs": {"file": lines},
    });
    let (config, _marks) = config(first, changes);
    let running = Running::start(bench, &config);
    collector.slots("tcp.bytes", 2).await;
    running.counted("edgescope_server_export_requests_total{sink=\"remote_write\",outcome=\"failed\"}", 2).await;
    running.counted("edgescope_server_export_points_total{sink=\"flow_log_file\"}", 2).await;
    let bench = running.stop().await;
    let written: Vec<serde_json::Value> = std::fs::read_to_string(&lines).unwrap().lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(written.iter().map(|l| l["tcp.bytes"].as_f64().unwrap()).collect::<Vec<_>>(), [100.0, 200.0]);
    assert_eq!((written[0]["source.workload"].as_str(), written[0]["protocol"].as_str()), (Some("frontend"), Some("tcp")));
    let marks: serde_json::Value = serde_json::from_slice(&std::fs::read(config.state_file.unwrap()).unwrap()).unwrap();
    let until = |sink: &str| marks["exported_until"][sink].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!(until("remote_write"), first, "what nobody took is still to be sent");
    assert!(until("otlp") >= first + chrono::Duration::seconds(2 * SLOT_S));
    drop(bench);
}

#[tokio::test]
async fn what_is_too_old_is_given_up_and_counted() {
    let (bench, first) = filled(4);
    let gone = receivers::closed_port().await;
    let changes = json!({"backlog_max_s": 15, "otlp": {"endpoint": format!("http://{gone}"), "protocol": "http"}});
    let (config, _dir) = config(first - chrono::Duration::seconds(600), changes);
    let running = Running::start(bench, &config);
    running.counted("edgescope_server_export_dropped_slots_total{sink=\"otlp\",reason=\"before_start\"}", 60).await;
    running.counted("edgescope_server_export_dropped_points_total{sink=\"otlp\",reason=\"too_old\"}", 1).await;
    running.stop().await;
}

/// A row in which every column holds something.
fn full_row(window: i64) -> FactRow {
    let mut row = row(window, end("frontend", "n1", "a"), EndDims { image: "v2".into(), ..end("cart", "n2", "b") }, &[]);
    for (at, (signal, side)) in columns().enumerate() {
        let column_at = u16::try_from(at).unwrap();
        if signal.kind == Kind::Histogram {
            let mut histogram = Histogram::default();
            histogram.record(1_000);
            row.add_histogram(column_at, &histogram);
        } else {
            assert!(!column(&signal, side).is_empty());
            row.add(column_at, signal.kind, 1_000_000);
        }
    }
    row
}

#[tokio::test]
async fn every_metric_arrives_with_name_type_unit_and_dimensions_over_otlp() {
    let (bench, first) = filled(1);
    *bench.tables.held() = super::memory::Held { rows: vec![full_row(first.timestamp())], ..Default::default() };
    let collector = Collector::grpc(vec![]).await;
    let changes = json!({"otlp": {"endpoint": collector.url}, "flow_logs": {"otlp": true, "legacy_body": true}, "disable": ["none"], "aggregations": ["az_az", "id_id"]});
    let (config, _dir) = config(first, changes);
    let running = Running::start(bench, &config);
    running.counted("edgescope_server_export_points_total{sink=\"flow_logs\"}", 1).await;
    collector.slots("ebpf_net.up", 1).await;
    running.stop().await;
    let arrived = collector.described();
    for metric in metric::all() {
        let kind = match metric.instrument {
            Instrument::Sum => "Sum",
            Instrument::Gauge => "Gauge",
            Instrument::Histogram => "Histogram",
        };
        let (got_kind, unit, attributes) = arrived.get(metric.name).unwrap_or_else(|| panic!("{} did not arrive", metric.name));
        assert_eq!((*got_kind, unit.as_str()), (kind, metric.unit), "{}", metric.name);
        for name in metric::labels::END_LABELS.iter().flat_map(|l| [format!("source.{}", l.name), format!("dest.{}", l.name)]) {
            assert!(attributes.contains(&name), "{} lacks {name}", metric.name);
        }
        let own: BTreeSet<_> = metric.attributes().into_iter().chain(metric::labels::EDGE_LABELS.map(|(name, _)| name)).map(str::to_owned).collect();
        assert!(own.is_subset(attributes), "{}: {own:?}", metric.name);
    }
    for internal in metric::internal::kept()
        .filter(|i| !matches!(i.name, "ebpf_net.clock_offset_ns" | "ebpf_net.collector_health" | "ebpf_net.time_since_last_message_ns"))
    {
        assert!(arrived.contains_key(internal.name), "{}", internal.name);
    }
    let logs = collector.logs();
    let record = &logs[0].resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!(attribute(&record.attributes, "dest.workload"), Some("cart"));
    assert!(record.body.is_some());
}

#[tokio::test]
async fn a_series_that_went_quiet_over_a_restart_still_has_its_zero() {
    let (bench, first) = filled(1);
    let collector = Collector::grpc(vec![]).await;
    let (config, _dir) = config(first + chrono::Duration::seconds(SLOT_S), json!({"otlp": {"endpoint": collector.url}}));
    let running = Running::start(bench, &config);
    collector.slots("tcp.bytes", 1).await;
    running.stop().await;
    assert_eq!(collector.sums("tcp.bytes", "cart").iter().map(|s| s.1).collect::<Vec<_>>(), [0]);
}
