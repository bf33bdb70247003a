//! `/dns/names`: what was asked of DNS.

use super::error::{ApiError, ErrorBody, Params};
use super::range;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::Utc;
use edgescope_model::asked::Asked;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

const LIMIT: usize = 50;
const LIMIT_MAX: usize = 1_000;

/// Of whom, and when.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct AskedParams {
    /// Start: RFC 3339, `now` or a distance from now such as `-15m`, which it is if absent. Minutes are taken whole.
    #[param(example = "-15m")]
    pub from: Option<String>,
    /// End; now if absent.
    #[param(example = "now")]
    pub to: Option<String>,
    /// Of this workload alone.
    pub workload: Option<String>,
    /// So many names at most: 50 if absent, at most 1,000.
    pub limit: Option<usize>,
}

/// Names that clients had answers of DNS about, the most asked first, and what came of them.
#[utoipa::path(get, path = "/dns/names", tag = "edges", params(AskedParams), responses((status = 200, body = Asked), (status = 400, body = ErrorBody)))]
pub async fn get(State(state): State<Arc<AppState>>, Params(params): Params<AskedParams>) -> Result<Json<Asked>, ApiError> {
    let range = range::read(params.from.as_deref(), params.to.as_deref(), "-15m")?;
    let limit = params.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MAX).contains(&limit) {
        return Err(ApiError::bad("limit", format!("{limit} is not 1 to {LIMIT_MAX}")));
    }
    Ok(Json(state.intake.questions.most(range, params.workload.as_deref(), limit, Utc::now())))
}
