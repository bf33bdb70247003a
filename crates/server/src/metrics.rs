//! The server's own numbers: everything lost is counted, with a reason (`/metrics`, prefix `edgescope_server_`).

use crate::export::counters::ExportCounters;
use crate::tables::{Reading, ReadingKind};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Metric, Registry};
use std::collections::BTreeSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Most reasons of loss that agents may name; what comes after is summed under `other`. Agents know about thirty.
const LOSS_REASONS_MAX: usize = 200;
/// Bounds of durations, in seconds: from a cached answer to the time limit.
const SECONDS: [f64; 12] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 20.0, 30.0, 60.0];

/// One label.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Reason {
    pub reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Route {
    pub route: String,
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DoorLabel {
    door: String,
}

type Reasons = Family<Reason, Counter>;

/// All of them. Cheap to clone handles live inside; share by `Arc`.
pub struct Metrics {
    registry: Registry,
    connections: Family<DoorLabel, Counter>,
    connection_failures: Reasons,
    pub accept_failures: Counter,
    requests: Family<Route, Counter>,
    pub request_seconds: Histogram,
    refused: Reasons,
    batches: Reasons,
    hellos: Reasons,
    leaves: Reasons,
    pub rows: Counter,
    pub observations: Counter,
    losses: Reasons,
    loss_reasons: Mutex<BTreeSet<String>>,
    kernel_drops: Reasons,
    drop_reasons: Mutex<BTreeSet<String>>,
    cut: Reasons,
    /// Of all reasons, and of all outcomes: families cannot be added up.
    all_cut: AtomicU64,
    all_batches: AtomicU64,
    /// What exports count of themselves.
    pub export: Arc<ExportCounters>,
    pub batch_bytes: Counter,
    pub ship_seconds: Histogram,
    pub commit_seconds: Histogram,
    pub pending_bytes: Gauge,
    pub names_awaited: Counter,
    pub names_missing: Counter,
    pub agents: Gauge,
    pub agents_conflicting: Counter,
    pub rounds: Counter,
    pub round_failures: Counter,
    pub round_seconds: Histogram,
    pub detection_slices: Gauge,
    pub detection_turned_away: Gauge,
    pub diagnose_seconds: Histogram,
    pub alerts_firing: Gauge,
    /// Alerts and incidents that were never stored.
    pub alerts_forgotten: Counter,
    /// Share of what should have been seen in the last minutes that was.
    pub coverage: Gauge<f64, AtomicU64>,
    pub incidents_open: Gauge,
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// Registers everything; what `sources` read is taken at each scrape.
    pub fn new(sources: Vec<Source>) -> Self {
        let mut r = Registry::with_prefix("edgescope_server");
        let seconds = || Histogram::new(SECONDS);
        let metrics = Self {
            connections: family(&mut r, "connections", "Connections accepted, by door"),
            connection_failures: family(&mut r, "connection_failures", "Connections that ended before their time, by reason"),
            accept_failures: counter(&mut r, "accept_failures", "Connections that could not be accepted"),
            requests: family(&mut r, "requests", "Requests answered, by route and status"),
            request_seconds: histogram(&mut r, "request_seconds", "Time to answer a request", seconds()),
            refused: family(&mut r, "requests_refused", "Requests refused before any work, by reason"),
            batches: family(&mut r, "batches", "Batches of agents, by what became of them"),
            hellos: family(&mut r, "hellos", "Greetings of agents, by what became of them"),
            leaves: family(&mut r, "leaves", "Farewells of agents, by what became of them"),
            rows: counter(&mut r, "rows", "Rows committed"),
            observations: counter(&mut r, "observations", "Observations in committed batches"),
            losses: family(&mut r, "agent_losses", "What agents reported as lost, by reason"),
            loss_reasons: Mutex::default(),
            kernel_drops: family(&mut r, "agent_kernel_drops", "Packets that the kernels of agents' nodes dropped, by the kernel's reason"),
            drop_reasons: Mutex::default(),
            cut: family(&mut r, "values_cut", "Values of agents shortened or left out, by reason"),
            all_cut: AtomicU64::default(),
            all_batches: AtomicU64::default(),
            export: Arc::default(),
            batch_bytes: counter(&mut r, "batch_bytes", "Bytes of batches after decompression"),
            ship_seconds: histogram(&mut r, "ship_seconds", "Time from a batch's arrival to its acknowledgement", seconds()),
            commit_seconds: histogram(&mut r, "commit_seconds", "Time that a batch waited for its durable commit", seconds()),
            pending_bytes: gauge(&mut r, "pending_bytes", "Bytes of batches that wait for names or for their commit"),
            names_awaited: counter(&mut r, "names_awaited", "Batches that waited for the name of a remote address"),
            names_missing: counter(&mut r, "names_missing", "Remote addresses that stayed without a name after waiting"),
            agents: gauge(&mut r, "agents", "Agents known, those that left included"),
            agents_conflicting: counter(
                &mut r,
                "agents_conflicting",
                "Batches and farewells refused since another boot of the same agent id is at work",
            ),
            rounds: counter(&mut r, "detection_rounds", "Rounds of the detectors"),
            round_failures: counter(&mut r, "detection_round_failures", "Rounds of the detectors that failed"),
            round_seconds: histogram(&mut r, "detection_round_seconds", "Time of a round, queries included", seconds()),
            detection_slices: gauge(&mut r, "detection_slices", "Series that the detectors follow"),
            detection_turned_away: gauge(&mut r, "detection_turned_away", "Series and alerts that the detectors had no room for, since the start"),
            diagnose_seconds: histogram(&mut r, "diagnose_seconds", "Time of a diagnosis, query included", seconds()),
            alerts_firing: gauge(&mut r, "alerts_firing", "Alerts that fire now"),
            alerts_forgotten: counter(&mut r, "alerts_forgotten", "Alerts and incidents forgotten since the store did not take them for too long"),
            coverage: gauge(&mut r, "coverage_ratio", "Share of what should have been seen in the last five minutes that was"),
            incidents_open: gauge(&mut r, "incidents_open", "Incidents that are open now"),
            registry: Registry::default(),
        };
        metrics.export.register(&mut r);
        r.register_collector(Box::new(Readings(sources)));
        Self { registry: r, ..metrics }
    }

    /// Counter of one door's connections.
    pub fn connections(&self, door: &str) -> Counter {
        self.connections.get_or_create(&DoorLabel { door: door.to_owned() }).clone()
    }

    /// Counts a request. `route` is a pattern of the router, never the path that was sent.
    pub fn request(&self, route: &str, status: u16, took: Duration) {
        self.requests.get_or_create(&Route { route: route.to_owned(), status }).inc();
        self.request_seconds.observe(took.as_secs_f64());
    }

    /// Counts a request that was refused before any work.
    pub fn refused(&self, reason: &'static str) {
        inc(&self.refused, reason);
    }

    /// Counts what became of a batch.
    pub fn batch(&self, outcome: &'static str) {
        self.all_batches.fetch_add(1, Ordering::Relaxed);
        inc(&self.batches, outcome);
    }

    /// Counts what became of a greeting.
    pub fn hello(&self, outcome: &'static str) {
        inc(&self.hellos, outcome);
    }

    /// Counts what became of a farewell.
    pub fn leave(&self, outcome: &'static str) {
        inc(&self.leaves, outcome);
    }

    /// Counts a connection that failed.
    pub fn connection_failed(&self, reason: &'static str) {
        inc(&self.connection_failures, reason);
    }

    /// How many connections failed.
    #[cfg(test)]
    pub fn connections_failed(&self, reason: &'static str) -> u64 {
        self.connection_failures.get_or_create(&Reason { reason: reason.to_owned() }).get()
    }

    /// How many batches came to an end.
    pub fn batches(&self, outcome: &'static str) -> u64 {
        self.batches.get_or_create(&Reason { reason: outcome.to_owned() }).get()
    }

    /// Counts values that were shortened or left out.
    pub fn cut(&self, reason: &'static str, by: u64) {
        self.all_cut.fetch_add(by, Ordering::Relaxed);
        self.cut.get_or_create(&Reason { reason: reason.to_owned() }).inc_by(by);
    }

    /// How many values were shortened or left out.
    pub fn cut_total(&self) -> u64 {
        self.all_cut.load(Ordering::Relaxed)
    }

    /// How many batches came to an end.
    pub fn batches_total(&self) -> u64 {
        self.all_batches.load(Ordering::Relaxed)
    }

    /// Counts what an agent lost.
    pub fn loss(&self, reason: &str, by: u64) {
        count_bounded(&self.losses, &self.loss_reasons, reason, by);
    }

    /// Counts what an agent's kernel dropped.
    pub fn kernel_drop(&self, reason: &str, by: u64) {
        count_bounded(&self.kernel_drops, &self.drop_reasons, reason, by);
    }

    /// The text that Prometheus reads.
    ///
    /// # Errors
    /// If a metric cannot be written as text.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

/// The reasons are the agent's words, so their number is bounded.
fn count_bounded(family: &Reasons, known: &Mutex<BTreeSet<String>>, reason: &str, by: u64) {
    let label = {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(reason) && known.len() < LOSS_REASONS_MAX {
            known.insert(reason.to_owned());
        }
        if known.contains(reason) { reason } else { "other" }
    };
    family.get_or_create(&Reason { reason: label.to_owned() }).inc_by(by);
}

fn inc(family: &Reasons, reason: &str) {
    family.get_or_create(&Reason { reason: reason.to_owned() }).inc();
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge<G: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> G {
    let gauge = G::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn histogram(registry: &mut Registry, name: &str, help: &str, histogram: Histogram) -> Histogram {
    registry.register(name, help, histogram.clone());
    histogram
}

fn family<L>(registry: &mut Registry, name: &str, help: &str) -> Family<L, Counter>
where
    L: EncodeLabelSet + Clone + std::hash::Hash + Eq + Send + Sync + fmt::Debug + 'static,
{
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

/// Reads numbers that others count.
pub type Source = Box<dyn Fn() -> Vec<Reading> + Send + Sync>;

struct Readings(Vec<Source>);

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "readings of {} sources", self.0.len())
    }
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for Reading { name, help, kind, value } in self.0.iter().flat_map(|source| source()) {
            match kind {
                ReadingKind::Counter => {
                    let counter = ConstCounter::new(value);
                    counter.encode(encoder.encode_descriptor(&name, &help, None, counter.metric_type())?)?;
                }
                ReadingKind::Gauge => {
                    let gauge = ConstGauge::new(value);
                    gauge.encode(encoder.encode_descriptor(&name, &help, None, gauge.metric_type())?)?;
                }
            }
        }
        Ok(())
    }
}
