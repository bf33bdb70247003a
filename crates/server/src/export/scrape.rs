//! `/metrics/edges`: the current series for Prometheus. They are added up from the first scrape on, so that nobody pays for what nobody reads.

use super::feed::Feed;
use crate::api::error::ApiError;
use crate::state::AppState;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use edgescope_export::cumulative::Cumulative;
use edgescope_export::points::points;
use edgescope_export::reading::Plan;
use edgescope_export::text::{Format, expose};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::watch;

/// What a scrape reads.
pub struct Scrape {
    plan: Plan,
    series_max: usize,
    held: RwLock<Cumulative>,
    /// Whether anybody scraped yet.
    wanted: watch::Sender<bool>,
}

impl Scrape {
    pub fn new(plan: Plan, series_max: usize) -> Self {
        // As many again that are quiet, for as long as they are remembered, and `(other)`.
        let held = RwLock::new(Cumulative::new(series_max.saturating_mul(2).saturating_add(1)));
        Self { plan, series_max, held, wanted: watch::Sender::new(false) }
    }

    /// Adds up slots from the first scrape until the server stops.
    pub async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>, feed: impl FnOnce() -> Feed) {
        let mut wanted = self.wanted.subscribe();
        tokio::select! {
            _ = stop.wait_for(|&stop| stop) => return,
            asked = wanted.wait_for(|&wanted| wanted) => if asked.is_err() { return },
        }
        let mut feed = feed();
        while feed.ready().await {
            if let Some(slot) = feed.read(&self.plan, self.series_max).await {
                let points = points(&self.plan, &slot);
                let change = self.held.write().unwrap_or_else(PoisonError::into_inner).add(&points);
                feed.source().counters.dropped(feed.sink, "series_max", change.evicted as u64);
            } else if feed.stopping() {
                return;
            }
            feed.done().await;
        }
    }

    fn text(&self, format: Format) -> String {
        self.wanted.send_if_modified(|wanted| !std::mem::replace(wanted, true));
        expose(self.plan.metrics(), &self.held.read().unwrap_or_else(PoisonError::into_inner), format)
    }
}

/// The current series, as the scraper wants them.
pub async fn get(State(state): State<Arc<AppState>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let Some(scrape) = state.scrape.clone() else {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "edges are not served to Prometheus").remedy("set export.prometheus.scrape: true"));
    };
    let _turn = state.turn().await?;
    let format = Format::asked(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default());
    let text = tokio::task::spawn_blocking(move || scrape.text(format))
        .await
        .map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write the series: {e}")))?;
    Ok(([(CONTENT_TYPE, format.content_type())], text).into_response())
}
