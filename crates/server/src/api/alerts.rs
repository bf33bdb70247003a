//! `/alerts` and `/incidents`.

use super::error::{ApiError, ErrorBody, Params};
use super::range;
use crate::state::AppState;
use axum::Json;
use axum::extract::{Path, State};
use chrono::{DateTime, Utc};
use edgescope_model::alert::{Alert, AlertState, Incident};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Alerts or incidents of an answer without `limit`.
const LIMIT_DEFAULT: usize = 1_000;
/// How far back an id is looked for: as long as alerts are kept.
const KEPT: &str = "-30d";

/// Alerts of a range, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AlertsAnswer {
    pub alerts: Vec<Alert>,
    /// Before the limit.
    pub total: usize,
}

/// Incidents of a range, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncidentsAnswer {
    pub incidents: Vec<Incident>,
    /// Before the limit.
    pub total: usize,
}

/// An incident with its alerts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct IncidentAnswer {
    #[serde(flatten)]
    pub incident: Incident,
    pub alerts_full: Vec<Alert>,
}

/// Parameters of both lists.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct AlertsParams {
    /// Open at or after this moment; `-1d` if absent.
    pub from: Option<String>,
    /// Open before this moment; now if absent.
    pub to: Option<String>,
    /// Only in this state: `pending`, `firing` or `resolved`; for incidents `open` or `closed`.
    pub state: Option<String>,
    /// Only of this detector.
    pub detector: Option<String>,
    /// Most rows.
    pub limit: Option<usize>,
}

/// Alerts of a range, newest first. Pending ones are held in memory only and have no history.
#[utoipa::path(get, path = "/alerts", tag = "alerts", params(AlertsParams), responses((status = 200, body = AlertsAnswer), (status = 400, body = ErrorBody)))]
pub async fn alerts(State(state): State<Arc<AppState>>, Params(params): Params<AlertsParams>) -> Result<Json<AlertsAnswer>, ApiError> {
    let (from, to) = range::read(params.from.as_deref(), params.to.as_deref(), "-1d")?;
    let wanted = params.state.as_deref().map(alert_state).transpose()?;
    let mut alerts = known_alerts(&state, from, to).await?;
    alerts.retain(|a| wanted.is_none_or(|s| a.state == s) && params.detector.as_ref().is_none_or(|d| a.detector == *d));
    let total = alerts.len();
    alerts.truncate(params.limit.unwrap_or(LIMIT_DEFAULT));
    Ok(Json(AlertsAnswer { alerts, total }))
}

/// One alert.
#[utoipa::path(get, path = "/alerts/{id}", tag = "alerts", params(("id" = String, Path)), responses((status = 200, body = Alert), (status = 404, body = ErrorBody)))]
pub async fn alert(State(state): State<Arc<AppState>>, Path(id): Path<String>) -> Result<Json<Alert>, ApiError> {
    let (from, to) = range::read(Some(KEPT), None, KEPT)?;
    let found = known_alerts(&state, from, to).await?.into_iter().find(|a| a.id == id);
    found.map(Json).ok_or_else(|| ApiError::missing("alert", &id))
}

/// Incidents of a range, newest first, each with its last verdict.
#[utoipa::path(get, path = "/incidents", tag = "alerts", params(AlertsParams), responses((status = 200, body = IncidentsAnswer), (status = 400, body = ErrorBody)))]
pub async fn incidents(State(state): State<Arc<AppState>>, Params(params): Params<AlertsParams>) -> Result<Json<IncidentsAnswer>, ApiError> {
    let (from, to) = range::read(params.from.as_deref(), params.to.as_deref(), "-1d")?;
    let open = match params.state.as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("closed") => Some(false),
        Some(other) => return Err(ApiError::bad("state", format!("no state '{other}': choose open or closed"))),
    };
    let mut incidents = known_incidents(&state, from, to).await?;
    incidents.retain(|i| open.is_none_or(|o| i.closed_at.is_none() == o));
    let total = incidents.len();
    incidents.truncate(params.limit.unwrap_or(LIMIT_DEFAULT));
    Ok(Json(IncidentsAnswer { incidents, total }))
}

/// One incident, with its alerts and verdict.
#[utoipa::path(get, path = "/incidents/{id}", tag = "alerts", params(("id" = String, Path)), responses((status = 200, body = IncidentAnswer), (status = 404, body = ErrorBody)))]
pub async fn incident(State(state): State<Arc<AppState>>, Path(id): Path<String>) -> Result<Json<IncidentAnswer>, ApiError> {
    let (from, to) = range::read(Some(KEPT), None, KEPT)?;
    let found = known_incidents(&state, from, to).await?.into_iter().find(|i| i.id == id);
    let incident = found.ok_or_else(|| ApiError::missing("incident", &id))?;
    let mut alerts_full = known_alerts(&state, from, to).await?;
    alerts_full.retain(|a| incident.alerts.contains(&a.id));
    Ok(Json(IncidentAnswer { incident, alerts_full }))
}

fn alert_state(text: &str) -> Result<AlertState, ApiError> {
    match text {
        "pending" => Ok(AlertState::Pending),
        "firing" => Ok(AlertState::Firing),
        "resolved" => Ok(AlertState::Resolved),
        other => Err(ApiError::bad("state", format!("no state '{other}': choose pending, firing or resolved"))),
    }
}

/// Stored ones, and in place of them what is newer in memory.
async fn known_alerts(state: &AppState, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Alert>, ApiError> {
    let live = state.live.now().alerts;
    let mut alerts = state.tables.alerts(from, to).await?;
    alerts.retain(|a| !live.contains_key(&a.id));
    alerts.extend(live.into_values().filter(|a| a.since < to));
    alerts.sort_by(|a, b| b.since.cmp(&a.since).then_with(|| a.id.cmp(&b.id)));
    Ok(alerts)
}

async fn known_incidents(state: &AppState, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Incident>, ApiError> {
    let live = state.live.now().incidents;
    let mut incidents = state.tables.incidents(from, to).await?;
    incidents.retain(|i| !live.contains_key(&i.id));
    incidents.extend(live.into_values().filter(|i| i.since < to));
    incidents.sort_by(|a, b| b.opened_at.cmp(&a.opened_at).then_with(|| a.id.cmp(&b.id)));
    Ok(incidents)
}
