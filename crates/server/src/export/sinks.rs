//! The tasks that export: one a receiver, each with its own place in time.

use super::config::{ExportConfig, LegacyUnits};
use super::courier::{Answer, Courier, Delivery};
use super::feed::Feed;
use super::http::Poster;
use super::otlp::Receiver;
use super::own::OwnNumbers;
use crate::metrics::Metrics;
use bytes::Bytes;
use chrono::Utc;
use edgescope_export::cumulative::Cumulative;
use edgescope_export::otlp::{self, Sender, Span};
use edgescope_export::points::{Quiet, points};
use edgescope_export::reading::Plan;
use edgescope_export::remote_write::{self, Origin, SERIES_MAX, WriteRequest};
use edgescope_model::metric::labels::Aggregation;
use hyper::Uri;
use prost::Message as _;
use std::sync::Arc;

/// Sends metrics over OTLP until the server stops.
pub struct OtlpMetrics {
    pub feed: Feed,
    pub courier: Courier,
    pub receiver: Receiver,
    pub sender: Sender,
    pub config: ExportConfig,
    pub own: OwnNumbers,
    pub metrics: Arc<Metrics>,
    /// One a level, with what had points in its last slot.
    pub plans: Vec<(Plan, Quiet)>,
}

impl OtlpMetrics {
    pub async fn run(mut self) {
        for (plan, quiet) in &mut self.plans {
            if let Some(slot) = self.feed.before(plan, self.config.series_max).await {
                quiet.trail(&mut points(plan, &slot));
            }
        }
        while self.feed.ready().await {
            let (from, to) = self.feed.slot();
            if self.slot(Span { from, to }).await == Delivery::Stopped {
                return;
            }
            self.feed.done().await;
        }
    }

    async fn slot(&mut self, span: Span) -> Delivery {
        let deadline = self.feed.deadline();
        let original = self.config.legacy_units == LegacyUnits::Original;
        for at in 0..self.plans.len() {
            let (plan, quiet) = &mut self.plans[at];
            let Some(slot) = self.feed.read(plan, self.config.series_max).await else {
                if self.feed.stopping() {
                    return Delivery::Stopped;
                }
                continue;
            };
            let mut points = points(plan, &slot);
            quiet.trail(&mut points);
            for range in otlp::requests(&points) {
                // Made one at a time: all of them together would be ten times the points.
                let request = otlp::request(&self.sender, span, &points[range.clone()], original);
                let (bytes, receiver) = (request.encoded_len() as u64, &self.receiver);
                if self.courier.deliver(deadline, range.len() as u64, bytes, || receiver.metrics(&request)).await == Delivery::Stopped {
                    return Delivery::Stopped;
                }
            }
        }
        self.own_numbers(span).await
    }

    /// Edgescope's own numbers are as of now: they go with the newest slot alone.
    async fn own_numbers(&mut self, span: Span) -> Delivery {
        let now = Utc::now();
        if now - span.to > self.feed.fresh_for() {
            return Delivery::Over;
        }
        let points = self.own.read(&self.metrics, &self.feed.source().intake, now);
        if points.is_empty() {
            return Delivery::Over;
        }
        let request = otlp::own_request(&self.sender, span, &points);
        let receiver = &self.receiver;
        self.courier.deliver(self.feed.deadline(), points.len() as u64, request.encoded_len() as u64, || receiver.metrics(&request)).await
    }
}

/// Writes to Prometheus until the server stops.
pub struct RemoteWrite {
    pub feed: Feed,
    pub courier: Courier,
    pub poster: Poster,
    pub uri: Uri,
    pub origin: Origin,
    pub plan: Plan,
    pub series_max: usize,
    pub held: Cumulative,
}

/// What the protocol asks for beside the body.
const VERSION: &[(&str, &str)] = &[("x-prometheus-remote-write-version", "0.1.0")];

impl RemoteWrite {
    pub async fn run(mut self) {
        while self.feed.ready().await {
            if self.slot().await == Delivery::Stopped {
                return;
            }
            self.feed.done().await;
        }
    }

    async fn slot(&mut self) -> Delivery {
        let Some(slot) = self.feed.read(&self.plan, self.series_max).await else {
            return if self.feed.stopping() { Delivery::Stopped } else { Delivery::Over };
        };
        let change = self.held.add(&points(&self.plan, &slot));
        let series = remote_write::series(&self.origin, &self.held, &change, slot.from, slot.to);
        for (number, part) in series.chunks(SERIES_MAX).enumerate() {
            let metadata = if number == 0 { remote_write::metadata(self.plan.metrics()) } else { Vec::new() };
            let request = WriteRequest { timeseries: part.to_vec(), metadata };
            let body = match remote_write::body(&request) {
                Ok(body) => Bytes::from(body),
                Err(error) => {
                    tracing::error!(%error, "a remote write cannot be compressed");
                    self.feed.source().counters.dropped(self.feed.sink, "too_large", part.len() as u64);
                    continue;
                }
            };
            let (poster, uri) = (&self.poster, &self.uri);
            let send = || async {
                match poster.post(uri, "application/x-protobuf", Some("snappy"), VERSION, body.clone()).await {
                    Ok(reply) => reply.meaning(true),
                    Err(why) => Answer::Again { after: None, why },
                }
            };
            if self.courier.deliver(self.feed.deadline(), part.len() as u64, body.len() as u64, send).await == Delivery::Stopped {
                return Delivery::Stopped;
            }
        }
        Delivery::Over
    }
}

/// What OTLP sends, one plan a level.
pub fn plans(config: &ExportConfig, choice: &edgescope_model::metric::choice::Choice) -> Vec<(Plan, Quiet)> {
    config.aggregations.iter().map(|&level| (Plan::new(choice, level), Quiet::default())).collect()
}

/// What Prometheus gets: workloads and zones alone, since a scrape that sums over levels counts twice.
pub fn prometheus_plan(choice: &edgescope_model::metric::choice::Choice) -> Plan {
    Plan::new(choice, Aggregation::AzAz)
}
