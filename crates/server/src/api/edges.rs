//! `/edges`: the one query.

use super::error::{ApiError, Body, ErrorBody, Params};
use super::range;
use crate::intake::own::without_own;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use edgescope_model::query::{Coverage, EdgeQuery, EdgeSource, EdgeTable};
use edgescope_model::time::{Time, parse_duration};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// What a GET without `group_by` groups by.
const DEFAULT_GROUP_BY: &str = "source.workload,dest.workload";
/// What a GET without `measures` answers.
const DEFAULT_MEASURES: &str = "tcp.bytes,tcp.bytes.rate,tcp.rtt.p50,tcp.rtt.p95,tcp.rtt_max,tcp.retrans,tcp.retrans_rate,tcp.connects,tcp.connect_timeouts,tcp.connect_failure_rate,tcp.active";
/// Rows of a GET without `limit`; `groups_total` tells how many there are.
const DEFAULT_LIMIT: usize = 1_000;

/// A table of edges and how much of what should have been seen was seen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EdgesAnswer {
    #[serde(flatten)]
    pub table: EdgeTable,
    pub coverage: Coverage,
    /// Loopback and Edgescope's own traffic are left out.
    pub own_hidden: bool,
}

/// A query in a body: [`EdgeQuery`] written out, since what is flattened cannot refuse unknown fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EdgesRequest {
    /// Inclusive.
    pub from: DateTime<Utc>,
    /// Exclusive.
    pub to: DateTime<Utc>,
    /// Seconds of one step of the series; absent: totals only.
    #[serde(default)]
    pub step_s: Option<u32>,
    /// Dimension names; empty: one group of all edges.
    #[serde(default)]
    pub group_by: Vec<String>,
    /// SQL expression over dimension and measure names, such as `source.zone = 'a' AND tcp.retrans > 0`.
    #[serde(default)]
    pub filter: Option<String>,
    /// Measure names (see the catalogue).
    pub measures: Vec<String>,
    /// Totals of the same groups over another range, for comparison.
    #[serde(default)]
    pub compare_from: Option<DateTime<Utc>>,
    #[serde(default)]
    pub compare_to: Option<DateTime<Utc>>,
    /// A measure or dimension name; `-` in front sorts descending.
    #[serde(default)]
    pub sort: Option<String>,
    /// Most groups returned; `groups_total` tells how many there are.
    #[serde(default)]
    pub limit: Option<usize>,
    /// Also loopback and Edgescope's own traffic.
    #[serde(default)]
    pub include_own: bool,
}

impl EdgesRequest {
    fn query(self) -> EdgeQuery {
        let Self { from, to, step_s, group_by, filter, measures, compare_from, compare_to, sort, limit, include_own: _ } = self;
        EdgeQuery { from, to, step_s, group_by, filter, measures, compare_from, compare_to, sort, limit }
    }
}

/// A query in the address. Lists are comma-separated.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct EdgesParams {
    /// Start, inclusive: RFC 3339, `now` or a distance from now; `-15m` if absent.
    #[param(example = "-15m")]
    pub from: Option<String>,
    /// End, exclusive; now if absent.
    pub to: Option<String>,
    /// Dimension names; the pairs of workloads if absent, one row if empty.
    #[param(example = "source.workload,dest.workload")]
    pub group_by: Option<String>,
    /// SQL expression over dimensions and measures.
    #[param(example = "dest.workload = 'cartservice'")]
    pub filter: Option<String>,
    /// Measure names.
    #[param(example = "tcp.bytes,tcp.rtt.p95")]
    pub measures: Option<String>,
    /// Length of a step of the series (`10s`, `1m`); totals only if absent.
    #[param(example = "1m")]
    pub step: Option<String>,
    /// Compare with the range of the same length that ended so long earlier (`1h`, `1d`).
    #[param(example = "1d")]
    pub compare: Option<String>,
    /// A measure or dimension; `-` in front sorts descending.
    #[param(example = "-tcp.bytes")]
    pub sort: Option<String>,
    /// Most rows.
    pub limit: Option<usize>,
    /// Also loopback and Edgescope's own traffic.
    pub include_own: bool,
}

impl EdgesParams {
    fn query(self) -> Result<EdgeQuery, ApiError> {
        let (from, to) = range::read(self.from.as_deref(), self.to.as_deref(), "-15m")?;
        let list = |text: &str| text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect();
        let duration = |field, text: &str| parse_duration(text).map_err(|e| ApiError::bad(field, e.to_string()));
        let step = self.step.as_deref().map(|s| duration("step", s)).transpose()?;
        let step_s = step.map(|s| u32::try_from(s.num_seconds()).map_err(|_| ApiError::bad("step", "step is too long"))).transpose()?;
        let back = self.compare.as_deref().map(|c| duration("compare", c)).transpose()?;
        let earlier =
            |t: Time| back.map(|b| t.checked_sub_signed(b).ok_or_else(|| ApiError::bad("compare", "compare reaches back too far"))).transpose();
        Ok(EdgeQuery {
            from,
            to,
            step_s,
            group_by: list(self.group_by.as_deref().unwrap_or(DEFAULT_GROUP_BY)),
            filter: self.filter,
            measures: list(self.measures.as_deref().unwrap_or(DEFAULT_MEASURES)),
            compare_from: earlier(from)?,
            compare_to: earlier(to)?,
            sort: self.sort,
            limit: Some(self.limit.unwrap_or(DEFAULT_LIMIT)),
        })
    }
}

/// Asks for edges, with the query in the address.
#[utoipa::path(get, path = "/edges", tag = "edges", params(EdgesParams), responses((status = 200, body = EdgesAnswer), (status = 400, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub async fn get(State(state): State<Arc<AppState>>, Params(params): Params<EdgesParams>) -> Result<Json<EdgesAnswer>, ApiError> {
    let include_own = params.include_own;
    answer(&state, params.query()?, include_own).await
}

/// Asks for edges, with the query in the body.
#[utoipa::path(post, path = "/edges", tag = "edges", request_body = EdgesRequest, responses((status = 200, body = EdgesAnswer), (status = 400, body = ErrorBody), (status = 429, body = ErrorBody)))]
pub async fn post(State(state): State<Arc<AppState>>, Body(request): Body<EdgesRequest>) -> Result<Json<EdgesAnswer>, ApiError> {
    let include_own = request.include_own;
    answer(&state, request.query(), include_own).await
}

async fn answer(state: &AppState, query: EdgeQuery, include_own: bool) -> Result<Json<EdgesAnswer>, ApiError> {
    let table = ask(state, query, include_own).await?;
    let coverage = state.tables.coverage(table.from, table.to).await?;
    Ok(Json(EdgesAnswer { table, coverage, own_hidden: !include_own }))
}

/// Runs a query in its turn, without own traffic unless told.
pub async fn ask(state: &AppState, mut query: EdgeQuery, include_own: bool) -> Result<EdgeTable, ApiError> {
    query.check()?;
    if !include_own {
        query.filter = Some(without_own(query.filter.as_deref()));
    }
    let _turn = state.turn().await?;
    Ok(EdgeSource::edges(&*state.tables, &query).await?)
}
