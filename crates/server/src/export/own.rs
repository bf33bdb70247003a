//! Edgescope's own state under the names that its predecessor's collectors and reducer gave to theirs (`ebpf_net.*`).

use super::counters::ExportCounters;
use crate::intake::Intake;
use crate::metrics::Metrics;
use chrono::{DateTime, Utc};
use edgescope_export::otlp::OwnPoint;
use edgescope_model::metric::Instrument;
use edgescope_model::metric::choice::Choice;
use edgescope_model::metric::internal::{Fate, Internal, kept};
use std::collections::HashMap;

/// An agent is silent without a word for so long, in seconds: three windows of ten and the time to ship.
const SILENT_S: i64 = 35;

/// One number with its labels.
type Value = (Vec<(String, String)>, f64);

/// Where they are read, and what they were: sums leave as increases.
pub struct OwnNumbers {
    on: Vec<&'static Internal>,
    before: HashMap<&'static str, f64>,
}

impl OwnNumbers {
    /// Those that are on.
    pub fn new(choice: &Choice) -> Self {
        Self { on: kept().filter(|internal| choice.has(internal.name)).collect(), before: HashMap::new() }
    }

    /// The numbers now.
    pub fn read(&mut self, metrics: &Metrics, intake: &Intake, now: DateTime<Utc>) -> Vec<OwnPoint> {
        let mut points = Vec::new();
        for internal in &self.on {
            let Fate::Kept { instrument, unit, brief } = internal.fate else { continue };
            for (labels, mut value) in values(internal.name, metrics, intake, now) {
                if instrument == Instrument::Sum {
                    value -= self.before.insert(internal.name, value).unwrap_or(0.0);
                }
                points.push(OwnPoint { name: internal.name, brief, unit, instrument, labels, value });
            }
        }
        points
    }
}

fn values(name: &str, metrics: &Metrics, intake: &Intake, now: DateTime<Utc>) -> Vec<Value> {
    let of = |value: f64| vec![(Vec::new(), value)];
    let count = |value: u64| of(value as f64);
    let export: &ExportCounters = &metrics.export;
    let otlp = |counted: fn(&ExportCounters, &str, &str) -> u64, outcomes: &[&str]| count(outcomes.iter().map(|o| counted(export, "otlp", o)).sum());
    let lost = ["rejected", "refused", "too_old"];
    match name.trim_start_matches("ebpf_net.") {
        "up" => of(1.0),
        "agg_root_truncation" => count(metrics.cut_total()),
        "connections" => count(metrics.connections("intake").get()),
        "message" => count(metrics.batches_total()),
        "pipeline_agent_connections" => of(intake.agents.there() as f64),
        "otlp_grpc.requests_sent" => otlp(ExportCounters::requests_of, &["taken"]),
        "otlp_grpc.requests_failed" => otlp(ExportCounters::requests_of, &["failed", "refused"]),
        "otlp_grpc.bytes_sent" => otlp(ExportCounters::bytes_of, &["taken"]),
        "otlp_grpc.bytes_failed" => otlp(ExportCounters::bytes_of, &["failed", "refused"]),
        "otlp_grpc.metrics_sent" => count(export.points_of("otlp")),
        "otlp_grpc.metrics_failed" => count(lost.iter().map(|reason| export.dropped_of("otlp", reason)).sum()),
        of_agents => agents(of_agents, intake, now),
    }
}

/// One number an agent that has not left.
fn agents(name: &str, intake: &Intake, now: DateTime<Utc>) -> Vec<Value> {
    let silence = |record: &crate::tables::AgentRecord| record.last_seen.map(|seen| now - seen);
    let here = intake.agents.records().into_iter().filter(|record| record.left_at.is_none());
    let one = |record: crate::tables::AgentRecord| {
        let value = match name {
            "clock_offset_ns" => record.clock_offset_s * 1e9,
            "collector_health" => f64::from(u8::from(silence(&record).is_none_or(|since| since.num_seconds() > SILENT_S))),
            "time_since_last_message_ns" => silence(&record)?.num_nanoseconds()? as f64,
            _ => return None,
        };
        let labels =
            [("id", &record.agent_id), ("az", &record.zone), ("env", &record.environment), ("version", &record.version), ("kernel", &record.kernel)];
        Some((labels.into_iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(), value))
    };
    here.filter_map(one).collect()
}
