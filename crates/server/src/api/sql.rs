//! `/sql`: free questions over the tables, read-only.

use super::error::{ApiError, Body, ErrorBody};
use crate::state::AppState;
use crate::tables::SqlAnswer;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Longest query text, in bytes.
const SQL_BYTES_MAX: usize = 16 << 10;

/// A SELECT.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlRequest {
    pub sql: String,
}

/// Answers a SELECT over the tables, within limits of time, memory and rows.
#[utoipa::path(post, path = "/sql", tag = "edges", request_body = SqlRequest, responses((status = 200, body = SqlAnswer), (status = 400, body = ErrorBody), (status = 422, body = ErrorBody)))]
pub async fn post(State(state): State<Arc<AppState>>, Body(request): Body<SqlRequest>) -> Result<Json<SqlAnswer>, ApiError> {
    if request.sql.len() > SQL_BYTES_MAX {
        return Err(ApiError::bad("sql", format!("the query has {} bytes, at most {SQL_BYTES_MAX}", request.sql.len())));
    }
    let _turn = state.turn().await?;
    Ok(Json(state.tables.sql(&request.sql).await?))
}
