//! What exports count of themselves.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Where to, and what became of it or why it was lost.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct To {
    sink: String,
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Lost {
    sink: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Sink {
    sink: String,
}

/// All of them. A point is a number or histogram, a remote-write sample series, or a flow record.
#[derive(Debug, Default)]
pub struct ExportCounters {
    requests: Family<To, Counter>,
    bytes: Family<To, Counter>,
    points: Family<Sink, Counter>,
    dropped: Family<Lost, Counter>,
    dropped_slots: Family<Lost, Counter>,
    late_agents: Family<Sink, Counter>,
    folded: Family<Sink, Gauge>,
    lag_seconds: Family<Sink, Gauge>,
}

impl ExportCounters {
    pub fn register(&self, r: &mut Registry) {
        r.register("export_requests", "Requests to receivers of exports, by what became of them", self.requests.clone());
        r.register("export_bytes", "Bytes of these requests, compressed where they are", self.bytes.clone());
        r.register("export_points", "Points that receivers took", self.points.clone());
        r.register("export_dropped_points", "Points that no receiver will get, by reason", self.dropped.clone());
        r.register("export_dropped_slots", "Slots of which nothing, or not all, was exported, by reason", self.dropped_slots.clone());
        r.register("export_late_agents", "Agents that were not waited for any more, once for each slot that lacks them", self.late_agents.clone());
        r.register("export_folded_series", "Edges of the newest slot that are summed as (other)", self.folded.clone());
        r.register("export_lag_seconds", "Age of the oldest slot that its receiver did not take yet", self.lag_seconds.clone());
    }

    /// Counts a request and its bytes: `taken`, `failed` (and to be tried again) or `refused`.
    pub fn request(&self, sink: &str, outcome: &str, bytes: u64) {
        self.requests.get_or_create(&to(sink, outcome)).inc();
        self.bytes.get_or_create(&to(sink, outcome)).inc_by(bytes);
    }

    pub fn points(&self, sink: &str, count: u64) {
        self.points.get_or_create(&Sink { sink: sink.to_owned() }).inc_by(count);
    }

    pub fn dropped(&self, sink: &str, reason: &str, count: u64) {
        if count > 0 {
            self.dropped.get_or_create(&Lost { sink: sink.to_owned(), reason: reason.to_owned() }).inc_by(count);
        }
    }

    pub fn dropped_slots(&self, sink: &str, reason: &str, count: u64) {
        if count > 0 {
            self.dropped_slots.get_or_create(&Lost { sink: sink.to_owned(), reason: reason.to_owned() }).inc_by(count);
        }
    }

    pub fn late(&self, sink: &str, agents: u64) {
        self.late_agents.get_or_create(&Sink { sink: sink.to_owned() }).inc_by(agents);
    }

    pub fn folded(&self, sink: &str, series: usize) {
        self.folded.get_or_create(&Sink { sink: sink.to_owned() }).set(series as i64);
    }

    pub fn lag(&self, sink: &str, seconds: i64) {
        self.lag_seconds.get_or_create(&Sink { sink: sink.to_owned() }).set(seconds);
    }

    /// How many requests ended so.
    pub fn requests_of(&self, sink: &str, outcome: &str) -> u64 {
        self.requests.get_or_create(&to(sink, outcome)).get()
    }

    pub fn bytes_of(&self, sink: &str, outcome: &str) -> u64 {
        self.bytes.get_or_create(&to(sink, outcome)).get()
    }

    pub fn points_of(&self, sink: &str) -> u64 {
        self.points.get_or_create(&Sink { sink: sink.to_owned() }).get()
    }

    pub fn dropped_of(&self, sink: &str, reason: &str) -> u64 {
        self.dropped.get_or_create(&Lost { sink: sink.to_owned(), reason: reason.to_owned() }).get()
    }

    pub fn dropped_slots_of(&self, sink: &str, reason: &str) -> u64 {
        self.dropped_slots.get_or_create(&Lost { sink: sink.to_owned(), reason: reason.to_owned() }).get()
    }
}

fn to(sink: &str, outcome: &str) -> To {
    To { sink: sink.to_owned(), outcome: outcome.to_owned() }
}
