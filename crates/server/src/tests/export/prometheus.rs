//! A real Prometheus: it scrapes `/metrics/edges` and receives remote writes; what it knows is read back from its API.

use super::{Running, SLOT_S, config, filled, full_row};
use crate::export::ExportConfig;
use crate::tests::Bench;
use axum::http::StatusCode;
use edgescope_model::metric::{self, Instrument, Metric};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::net::TcpListener;

/// A Prometheus of this test's own.
struct Prometheus {
    child: Child,
    address: String,
    _dir: tempfile::TempDir,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Prometheus {
    /// Starts it; it scrapes an address if one is given.
    fn start(target: Option<SocketAddr>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let jobs: Vec<Value> = target
            .map(|target| json!({"job_name": "edges", "metrics_path": "/metrics/edges", "static_configs": [{"targets": [target.to_string()]}]}))
            .into_iter()
            .collect();
        let file = dir.path().join("prometheus.yml");
        std::fs::write(&file, json!({"global": {"scrape_interval": "1s"}, "scrape_configs": jobs}).to_string()).unwrap();
        let mut child = Command::new("prometheus")
            .arg(format!("--config.file={}", file.display()))
            .arg(format!("--storage.tsdb.path={}", dir.path().join("data").display()))
            .args(["--web.listen-address=127.0.0.1:0", "--web.enable-remote-write-receiver"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("Debian's package prometheus is installed (scripts/setup test)");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let told = lines.find(|line| line.contains("msg=\"Listening on\"")).expect("Prometheus says where it listens");
        let address = told.rsplit_once("address=").unwrap().1.trim().to_owned();
        // What it says on must be read, or it waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, address, _dir: dir }
    }

    async fn get(&self, path: &str) -> Value {
        let url = format!("http://{}/api/v1/{path}", self.address);
        let answer = super::receivers::get(&url).await;
        serde_json::from_slice(&answer).unwrap_or(Value::Null)
    }

    /// Series that match, newest value each: labels, value.
    async fn query(&self, query: &str) -> Vec<(Value, f64)> {
        let encoded: String =
            query.bytes().map(|b| if b.is_ascii_alphanumeric() || b == b'_' { (b as char).to_string() } else { format!("%{b:02X}") }).collect();
        let answer = self.get(&format!("query?query={encoded}")).await;
        let results = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        results.into_iter().map(|r| (r["metric"].clone(), r["value"][1].as_str().unwrap().parse().unwrap())).collect()
    }

    /// Waits until a query has an answer.
    async fn answers(&self, query: &str) -> Vec<(Value, f64)> {
        for _ in 0..600 {
            let answer = self.query(query).await;
            if !answer.is_empty() {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("Prometheus has no answer to {query}")
    }
}

/// A name that has samples: of histograms their count.
fn sampled(metric: &Metric) -> String {
    metric.prometheus_name() + if metric.instrument == Instrument::Histogram { "_count" } else { "" }
}

/// Every metric is there with its labels.
async fn has_everything(prometheus: &Prometheus) {
    for metric in metric::all() {
        let series = prometheus.answers(&format!("{{__name__=\"{}\",dest_workload_name=\"cart\"}}", sampled(metric))).await;
        let labels = &series[0].0;
        for (name, value) in [
            ("source_workload_name", "frontend"),
            ("source_availability_zone", "a"),
            ("dest_availability_zone", "b"),
            ("dest_image_version", "v2"),
            ("az_equal", "false"),
            ("aggregation", "az_az"),
            ("sf_product", "network-explorer"),
        ] {
            assert_eq!(labels[name].as_str(), Some(value), "{}: {name}", metric.name);
        }
        let own = metric.attributes();
        assert!(own.iter().all(|name| series.iter().all(|(labels, _)| labels.get(name.replace('.', "_")).is_some())), "{}: {own:?}", metric.name);
        assert_eq!(series.len(), metric.parts.len(), "{}", metric.name);
    }
}

/// A server's router behind a door, and its exports.
async fn served(bench: Bench, config: &ExportConfig) -> (Running, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = bench.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (Running::start(bench, config), address)
}

#[tokio::test]
async fn prometheus_scrapes_every_metric_with_type_unit_and_labels() {
    let (bench, first) = filled(1);
    *bench.tables.held() =
        crate::tests::memory::Held { rows: (0..6).map(|n| full_row(first.timestamp() + (n - 1) * SLOT_S)).collect(), ..Default::default() };
    let (config, _dir) = config(first, json!({"prometheus": {"scrape": true}, "disable": ["none"]}));
    let (running, address) = served(bench, &config).await;
    let prometheus = Prometheus::start(Some(address));
    has_everything(&prometheus).await;
    for metric in metric::all() {
        let family = metric.prometheus_family();
        let told = prometheus.get(&format!("metadata?metric={family}")).await;
        let told = &told["data"][&family][0];
        let kind = match metric.instrument {
            Instrument::Sum => "counter",
            Instrument::Gauge => "gauge",
            Instrument::Histogram => "histogram",
        };
        assert_eq!(told["type"].as_str(), Some(kind), "{family}: {told}");
        assert!(told["help"].as_str().unwrap().ends_with(&format!("(unit: {})", metric.unit)), "{family}: {told}");
        let unit = metric.prometheus_unit().filter(|unit| family.ends_with(unit)).unwrap_or_default();
        assert_eq!(told["unit"].as_str(), Some(unit), "{family}");
    }
    let p50 = prometheus.answers("histogram_quantile(0.5, tcp_rtt_seconds_bucket{dest_workload_name=\"cart\"})").await;
    assert!((0.000_512..=0.001_024).contains(&p50[0].1), "1 ms is in the bucket that ends at 1.024 ms: {p50:?}");
    running.stop().await;
}

#[tokio::test]
async fn promtool_has_no_complaint() {
    let (bench, first) = filled(1);
    bench.tables.held().rows = (0..3).map(|n| full_row(first.timestamp() + n * SLOT_S)).collect();
    let (config, _dir) = config(first, json!({"prometheus": {"scrape": true}, "disable": ["none"]}));
    let (running, _) = served(bench, &config).await;
    let mut text = Vec::new();
    for _ in 0..600 {
        let (status, headers, body) = running.bench.send("GET", "/metrics/edges", &[], None).await;
        assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8"));
        text = body;
        if text.windows(4).any(|w| w == b"cart") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut child =
        Command::new("promtool").args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(&text).unwrap();
    let said = child.wait_with_output().unwrap();
    let words = String::from_utf8_lossy(&said.stdout).into_owned() + &String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() && words.trim().is_empty(), "{words}");
    assert!(text.windows(4).any(|w| w == b"cart"));
    running.stop().await;
}

#[tokio::test]
async fn prometheus_receives_every_metric_by_remote_write() {
    let (bench, first) = filled(1);
    bench.tables.held().rows = vec![full_row(first.timestamp())];
    let prometheus = Prometheus::start(None);
    let url = format!("http://{}/api/v1/write", prometheus.address);
    let (config, _dir) = config(first, json!({"prometheus": {"scrape": false, "remote_write": {"url": url}}, "disable": ["none"]}));
    let running = Running::start(bench, &config);
    has_everything(&prometheus).await;
    let bytes = prometheus.query("tcp_bytes_total{job=\"edgescope\",instance=\"test\"}").await;
    assert_eq!(bytes.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [1_000_000.0]);
    let increase = prometheus.query("max_over_time(tcp_bytes_total[5m]) - min_over_time(tcp_bytes_total[5m])").await;
    assert_eq!(increase[0].1, 1_000_000.0, "the first slot counts, since it starts at zero");
    running.stop().await;
}
