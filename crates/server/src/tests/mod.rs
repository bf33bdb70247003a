//! Tests of the whole server over tables in memory.

mod access;
mod api;
#[cfg(feature = "store")]
mod delta;
mod detection;
mod doors;
mod export;
mod intake;
#[cfg(feature = "kubernetes")]
mod kubernetes;
mod memory;

use crate::access::Gate;
use crate::auth::{Role, Tokens, new_token};
use crate::config::IntakeConfig;
use crate::export::ExportConfig;
use crate::intake::{Intake, Names};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::state::AppState;
use crate::tables::Tables;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode};
use chrono::Utc;
use edgescope_identity::directory::{Directory, Limits};
use edgescope_identity::rules::Rules;
use edgescope_model::dims::{EdgeDims, EndDims};
use edgescope_model::fact::{FactRow, column_of};
use edgescope_model::signal::{self, Side};
use http_body_util::BodyExt;
use memory::MemoryTables;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tower::ServiceExt;

/// A server without doors.
pub struct Bench {
    pub tables: Arc<MemoryTables>,
    pub state: Arc<AppState>,
    pub router: Router,
    /// One secret a role; empty without tokens.
    pub secrets: HashMap<Role, String>,
}

pub fn tokens() -> (Tokens, HashMap<Role, String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    let made: Vec<_> = Role::ALL.iter().map(|r| (*r, new_token(*r, &[], None).unwrap())).collect();
    std::fs::write(&path, made.iter().map(|(_, t)| t.line.clone() + "\n").collect::<String>()).unwrap();
    (Tokens::read(&path).unwrap(), made.into_iter().map(|(r, t)| (r, t.secret)).collect())
}

impl Bench {
    pub fn open() -> Self {
        Self::new(None, HashMap::new(), IntakeConfig::default())
    }

    pub fn guarded() -> Self {
        let (tokens, secrets) = tokens();
        Self::new(Some(tokens), secrets, IntakeConfig::default())
    }

    pub fn new(tokens: Option<Tokens>, secrets: HashMap<Role, String>, config: IntakeConfig) -> Self {
        // Every metric is on for scrapers.
        let everything = ExportConfig { disable: vec!["none".to_owned()], ..ExportConfig::default() };
        let tables = Arc::new(MemoryTables::default());
        let names = Arc::new(Names::new(Directory::new(Limits::default(), Rules::default())));
        let (counting, named) = (Arc::clone(&tables), Arc::clone(&names));
        let metrics = Arc::new(Metrics::new(vec![Box::new(move || counting.readings()), Box::new(move || named.readings())]));
        let state = Arc::new(AppState {
            gate: Arc::new(Gate::new(tokens, false, Vec::new(), Arc::clone(&metrics))),
            intake: Arc::new(Intake::new(&config, tables.clone(), Arc::clone(&metrics), Vec::new(), names)),
            tables: tables.clone(),
            metrics,
            live: Arc::new(Live::default()),
            scrape: crate::export::scrape(&everything).unwrap(),
            turns: Semaphore::new(8),
            request_timeout: Duration::from_secs(20),
            insecure: false,
            turn_timeout: Duration::from_millis(50),
            started_at: Utc::now(),
            started: Instant::now(),
        });
        Self { tables, router: crate::api::router(Arc::clone(&state)), state, secrets }
    }

    /// Sends a request; `headers` come on top of a local host.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: Option<Value>) -> (StatusCode, HeaderMap, Vec<u8>) {
        let mut request = Request::builder().method(method).uri(path).header("host", "localhost:8100");
        for (name, value) in headers {
            request.headers_mut().unwrap().remove(*name);
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |b| Body::from(b.to_string()));
        let answer = self.router.clone().oneshot(request.header("content-type", "application/json").body(body).unwrap()).await.unwrap();
        let (parts, body) = answer.into_parts();
        (parts.status, parts.headers, body.collect().await.unwrap().to_bytes().to_vec())
    }

    /// GETs JSON.
    pub async fn get(&self, path: &str) -> (StatusCode, Value) {
        let (status, _, body) = self.send("GET", path, &[], None).await;
        (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
    }
}

/// An end named by workload, node and zone.
pub fn end(workload: &str, node: &str, zone: &str) -> EndDims {
    EndDims {
        workload: workload.into(),
        pod: format!("{workload}-{node}"),
        node: node.into(),
        zone: zone.into(),
        resolution_type: "rule".into(),
        ..EndDims::default()
    }
}

/// A row with sums.
pub fn row(window_start: i64, source: EndDims, dest: EndDims, values: &[(signal::Signal, Side, u64)]) -> FactRow {
    let dims = EdgeDims { source, dest, protocol: "tcp".into(), port: 80, ..EdgeDims::default() };
    let mut row = FactRow::new(window_start, dims);
    for (signal, side, value) in values {
        row.add(column_of(signal, *side).unwrap(), signal.kind, *value);
    }
    row
}
