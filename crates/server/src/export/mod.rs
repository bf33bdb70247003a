//! Exports: OTLP metrics, Prometheus (scrape and remote write) and flow logs.
//!
//! Each receiver has a task with its own place in time ([`feed`]): it waits until a slot is complete, reads it from the tables by one query, has
//! [`edgescope_export`] turn it into messages, and sends them ([`courier`]: tried again with growing waits until the receiver takes, refuses or the slot is too
//! old). Only then the next slot is read, and the receiver's mark ([`mark`]) moves on. Nothing is queued in memory beyond one slot: the tables are the queue.
//! `docs/export.md` says what that promises.

pub mod config;
pub mod counters;
mod courier;
mod feed;
mod flow_logs;
mod http;
mod mark;
mod otlp;
mod own;
pub mod scrape;
mod secret;
mod sinks;

pub use config::{ExportConfig, ExportConfigError};
pub use http::TrustError;
pub use mark::MarkError;
pub use scrape::Scrape;

use crate::seldom::Seldom;
use crate::state::AppState;
use courier::Courier;
use edgescope_export::cumulative::Cumulative;
use edgescope_export::flow_log::WINDOW_S;
use edgescope_export::otlp::Sender;
use edgescope_export::remote_write::Origin;
use edgescope_model::metric::choice::Choice;
use feed::{Feed, Source};
use flow_logs::{Destination, FlowLogs, Lines};
use futures::future::BoxFuture;
use http::Poster;
use hyper::Uri;
use mark::Marks;
use otlp::Receiver;
use own::OwnNumbers;
use sinks::{OtlpMetrics, RemoteWrite};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Exports that cannot start.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Config(#[from] ExportConfigError),
    #[error(transparent)]
    Choice(#[from] edgescope_model::metric::choice::ChoiceError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Mark(#[from] MarkError),
}

/// What `/metrics/edges` reads, if it is on.
///
/// # Errors
/// If a list names no metric.
pub fn scrape(config: &ExportConfig) -> Result<Option<Arc<Scrape>>, ExportError> {
    let plan = sinks::prometheus_plan(&config.choice()?);
    Ok(config.prometheus.scrape.then(|| Arc::new(Scrape::new(plan, config.prometheus.series_max))))
}

/// The tasks that export, each until `stop` turns true.
///
/// # Errors
/// If a file that the configuration names cannot be used.
pub fn tasks(config: &ExportConfig, state: &Arc<AppState>, stop: &watch::Sender<bool>) -> Result<Vec<BoxFuture<'static, ()>>, ExportError> {
    config.check()?;
    let exports = Exports::new(config, state, stop)?;
    let mut tasks: Vec<BoxFuture<'static, ()>> = Vec::new();
    if let Some(endpoint) = &config.otlp.endpoint {
        tasks.push(Box::pin(exports.otlp(endpoint)?.run()));
        if config.flow_logs.otlp {
            tasks.push(Box::pin(exports.otlp_flow_logs(endpoint)?.run()));
        }
    }
    if let Some(url) = &config.prometheus.remote_write.url {
        tasks.push(Box::pin(exports.remote_write(url)?.run()));
    }
    if let Some(path) = &config.flow_logs.file {
        let to = Destination::Lines(Lines::new(path, config.flow_logs.file_bytes_max));
        let feed = exports.feed("flow_log_file", WINDOW_S as u32, true);
        tasks.push(Box::pin(FlowLogs { feed, config: config.flow_logs.clone(), to }.run()));
    }
    if let Some(scrape) = state.scrape.clone() {
        let (source, interval_s, stopping) = (exports.source.clone(), config.interval_s, stop.subscribe());
        let feed = {
            let stop = stopping.clone();
            // From the slot before: who scrapes first has something at once.
            move || {
                let started = chrono::Utc::now() - chrono::Duration::seconds(interval_s.into());
                Feed::new(Source { started, ..source }, "scrape", interval_s, false, stop)
            }
        };
        tasks.push(Box::pin(scrape.run(stopping, feed)));
    }
    Ok(tasks)
}

/// What the tasks are made of.
struct Exports<'a> {
    config: &'a ExportConfig,
    state: &'a Arc<AppState>,
    stop: &'a watch::Sender<bool>,
    choice: Choice,
    source: Source,
    sender: Sender,
}

impl<'a> Exports<'a> {
    fn new(config: &'a ExportConfig, state: &'a Arc<AppState>, stop: &'a watch::Sender<bool>) -> Result<Self, ExportError> {
        let sends = config.otlp.endpoint.is_some() || config.prometheus.remote_write.url.is_some() || config.flow_logs.file.is_some();
        // Who sends nothing has nothing to remember.
        let marks = Arc::new(Marks::open(config.state_file.clone().filter(|_| sends))?);
        let sender = Sender { version: env!("CARGO_PKG_VERSION").to_owned(), instance_id: marks.instance_id(), host: host_name() };
        let counters = Arc::clone(&state.metrics.export);
        let source = Source::new(Arc::clone(&state.tables), Arc::clone(&state.intake), counters, marks, config.wait_s, config.backlog_max_s);
        Ok(Self { config, state, stop, choice: config.choice()?, source, sender })
    }

    fn feed(&self, sink: &'static str, seconds: u32, marked: bool) -> Feed {
        Feed::new(self.source.clone(), sink, seconds, marked, self.stop.subscribe())
    }

    fn courier(&self, sink: &'static str) -> Courier {
        let counters = Arc::clone(&self.source.counters);
        Courier { sink, counters, pace: self.source.pace, stop: self.stop.subscribe(), told: Seldom::default() }
    }

    fn otlp(&self, endpoint: &str) -> Result<OtlpMetrics, ExportError> {
        Ok(OtlpMetrics {
            feed: self.feed("otlp", self.config.interval_s, true),
            courier: self.courier("otlp"),
            receiver: Receiver::new(&self.config.otlp, endpoint)?,
            sender: self.sender.clone(),
            config: self.config.clone(),
            own: OwnNumbers::new(&self.choice),
            metrics: Arc::clone(&self.state.metrics),
            plans: sinks::plans(self.config, &self.choice),
        })
    }

    fn otlp_flow_logs(&self, endpoint: &str) -> Result<FlowLogs, ExportError> {
        let receiver = Receiver::new(&self.config.otlp, endpoint)?;
        let to = Destination::Otlp { courier: Box::new(self.courier("flow_logs")), receiver, sender: self.sender.clone() };
        Ok(FlowLogs { feed: self.feed("flow_logs", WINDOW_S as u32, true), config: self.config.flow_logs.clone(), to })
    }

    fn remote_write(&self, url: &str) -> Result<RemoteWrite, ExportError> {
        let config = &self.config.prometheus.remote_write;
        let uri: Uri = url.parse().map_err(|_| ExportConfigError::Url { key: "export.prometheus.remote_write.url", value: url.to_owned() })?;
        let headers = config.headers.map().unwrap_or_default();
        let timeout = Duration::from_secs(u64::from(config.timeout_s));
        Ok(RemoteWrite {
            feed: self.feed("remote_write", self.config.interval_s, true),
            courier: self.courier("remote_write"),
            poster: Poster::new(&uri, config.ca_file.as_deref(), "export.prometheus.remote_write.ca_file", headers, timeout)?,
            uri,
            origin: Origin { job: "edgescope".to_owned(), instance: self.sender.instance_id.clone() },
            plan: sinks::prometheus_plan(&self.choice),
            series_max: self.config.prometheus.series_max,
            held: Cumulative::new(self.config.prometheus.series_max.saturating_mul(2).saturating_add(1)),
        })
    }
}

/// The host's name, as the kernel has it; empty if it cannot be read.
fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_owned()).unwrap_or_default()
}
