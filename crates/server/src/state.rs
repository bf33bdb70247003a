//! What all handlers share.

use crate::access::Gate;
use crate::api::error::ApiError;
use crate::export::Scrape;
use crate::intake::Intake;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::tables::Tables;
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{Semaphore, SemaphorePermit};

/// A view of the UI asks a handful of questions at once; each waits this long for its turn.
pub const TURN_TIMEOUT: Duration = Duration::from_secs(5);

/// Shared by all handlers.
pub struct AppState {
    pub tables: Arc<dyn Tables>,
    pub metrics: Arc<Metrics>,
    pub gate: Arc<Gate>,
    pub intake: Arc<Intake>,
    pub live: Arc<Live>,
    /// What `/metrics/edges` reads; `None`: it is off.
    pub scrape: Option<Arc<Scrape>>,
    /// Turns at querying.
    pub turns: Semaphore,
    pub turn_timeout: Duration,
    pub request_timeout: Duration,
    /// Open to all beyond loopback, on purpose.
    pub insecure: bool,
    pub started_at: DateTime<Utc>,
    pub started: Instant,
}

impl AppState {
    /// Waits for a turn to query.
    ///
    /// # Errors
    /// 429 if all turns are taken for too long.
    pub async fn turn(&self) -> Result<SemaphorePermit<'_>, ApiError> {
        match tokio::time::timeout(self.turn_timeout, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => {
                self.metrics.refused("queries_max");
                Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too many queries at once").remedy("try again, or raise server.queries_max"))
            }
        }
    }
}
