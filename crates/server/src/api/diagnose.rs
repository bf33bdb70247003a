//! `/diagnose`: is it the network?

use super::error::{ApiError, ErrorBody, Params};
use super::range;
use crate::diagnosis::{self, DiagnosisError};
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use chrono::Utc;
use edgescope_model::verdict::Verdict;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Longest range: beyond a day the steps are too wide to date anything.
const RANGE_S_MAX: i64 = 86_400;

/// What to diagnose.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct DiagnoseParams {
    /// Start, inclusive; `-15m` if absent. Ten minutes before it serve as the baseline.
    pub from: Option<String>,
    /// End, exclusive; now if absent.
    pub to: Option<String>,
    /// Only trouble that touches this workload.
    pub workload: Option<String>,
}

/// The verdict on a range, with its evidence.
#[utoipa::path(get, path = "/diagnose", tag = "alerts", params(DiagnoseParams), responses((status = 200, body = Verdict), (status = 400, body = ErrorBody)))]
pub async fn get(State(state): State<Arc<AppState>>, Params(params): Params<DiagnoseParams>) -> Result<Json<Verdict>, ApiError> {
    let (from, to) = range::read(params.from.as_deref(), params.to.as_deref(), "-15m")?;
    if (to - from).num_seconds() > RANGE_S_MAX {
        return Err(ApiError::bad("from", "the range is longer than a day").remedy("ask for the hours around the trouble"));
    }
    let now = Utc::now();
    // Windows that are still on their way would read as traffic that stopped.
    let settled = state.intake.agents.watermark(now).unwrap_or(now);
    let to = if to > settled && settled > from { settled } else { to };
    let _turn = state.turn().await?;
    Ok(Json(diagnosis::verdict(&state.tables, &state.metrics, from, to, params.workload).await?))
}

impl From<DiagnosisError> for ApiError {
    fn from(error: DiagnosisError) -> Self {
        match error {
            DiagnosisError::Query(error) => error.into(),
            DiagnosisError::Tables(error) => error.into(),
            DiagnosisError::Failed(error) => Self::new(StatusCode::INTERNAL_SERVER_ERROR, format!("the diagnosis failed: {error}")),
        }
    }
}
