//! `/livez`, `/readyz`, `/metrics`: for machines.

use super::error::ApiError;
use crate::state::AppState;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

/// The process runs.
pub async fn livez() -> &'static str {
    "ok\n"
}

/// The store takes data.
pub async fn readyz(State(state): State<Arc<AppState>>) -> Result<&'static str, ApiError> {
    match state.tables.writable().await {
        Ok(()) => Ok("ok\n"),
        Err(error) => Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string())),
    }
}

/// The server's numbers, as Prometheus reads them.
pub async fn metrics(State(state): State<Arc<AppState>>) -> Result<Response, ApiError> {
    let text = state.metrics.encode().map_err(|e| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, format!("cannot write metrics: {e}")))?;
    Ok(([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response())
}
