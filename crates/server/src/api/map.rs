//! `/map` and `/workloads`: who talks to whom, folded to workloads.

use super::edges::ask;
use super::error::{ApiError, ErrorBody, Params};
use super::range;
use crate::live::Health;
use crate::state::AppState;
use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use edgescope_model::query::{Coverage, EdgeQuery, EdgeRow, EdgeTable};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// Edges of a map without `limit`: more cannot be drawn.
const EDGES_DEFAULT: usize = 2_000;
/// Pairs of workloads that `/workloads` counts peers from.
const PAIRS_MAX: usize = 50_000;
const MEASURES: [&str; 7] =
    ["tcp.bytes", "tcp.bytes.rate", "tcp.retrans_rate", "tcp.rtt.p50", "tcp.rtt.p95", "tcp.connect_failure_rate", "tcp.stalled_share"];

/// Numbers of an edge or of one direction of a workload. Null: not measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Flow {
    pub bytes: Option<f64>,
    pub bytes_per_s: Option<f64>,
    pub retrans_rate: Option<f64>,
    pub rtt_p50_s: Option<f64>,
    pub rtt_p95_s: Option<f64>,
    pub connect_failure_rate: Option<f64>,
    pub stalled_share: Option<f64>,
}

/// One workload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapNode {
    /// `namespace/workload`, or the workload alone.
    pub id: String,
    pub workload: String,
    pub namespace: String,
    /// How its name was found.
    pub resolution_types: BTreeSet<String>,
    pub zones: BTreeSet<String>,
    pub health: Health,
}

/// One directed edge.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapEdge {
    /// Id of the node that the bytes come from.
    pub source: String,
    pub dest: String,
    #[serde(flatten)]
    pub flow: Flow,
    pub health: Health,
}

/// The graph of workloads.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MapAnswer {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub nodes: Vec<MapNode>,
    /// Most bytes first.
    pub edges: Vec<MapEdge>,
    /// Edges before the limit.
    pub edges_total: usize,
    pub coverage: Coverage,
}

/// One workload, what it sends and what it gets.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkloadRow {
    pub id: String,
    pub workload: String,
    pub namespace: String,
    pub zones: BTreeSet<String>,
    pub outbound: Flow,
    pub inbound: Flow,
    /// Workloads that it sends to or gets from.
    pub peers: usize,
    pub health: Health,
}

/// All workloads of a range, most bytes sent first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct WorkloadsAnswer {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub workloads: Vec<WorkloadRow>,
    /// Workloads before the limit.
    pub workloads_total: usize,
    /// Pairs of ends, those with least bytes, that were left out where workloads and their peers are counted: 0 up to 50,000 pairs.
    pub pairs_left_out: usize,
    pub coverage: Coverage,
}

/// Parameters of both.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct MapParams {
    /// Start, inclusive; `-15m` if absent.
    pub from: Option<String>,
    /// End, exclusive; now if absent.
    pub to: Option<String>,
    /// SQL expression over dimensions and measures.
    pub filter: Option<String>,
    /// Most edges, or workloads.
    pub limit: Option<usize>,
    /// Also loopback and Edgescope's own traffic.
    pub include_own: bool,
}

/// Where a group's columns are: ends first, then [`MEASURES`].
const ENDS: [&str; 8] = [
    "source.workload",
    "source.namespace",
    "source.zone",
    "source.resolution_type",
    "dest.workload",
    "dest.namespace",
    "dest.zone",
    "dest.resolution_type",
];
const PAIR: [&str; 4] = ["source.workload", "source.namespace", "dest.workload", "dest.namespace"];

/// The graph of workloads.
#[utoipa::path(get, path = "/map", tag = "edges", params(MapParams), responses((status = 200, body = MapAnswer), (status = 400, body = ErrorBody)))]
pub async fn map(State(state): State<Arc<AppState>>, Params(params): Params<MapParams>) -> Result<Json<MapAnswer>, ApiError> {
    let (from, to) = range::read(params.from.as_deref(), params.to.as_deref(), "-15m")?;
    let query = |group_by: &[&str], measures: &[&str], limit| {
        let totals = EdgeQuery::totals(from, to, group_by, measures);
        EdgeQuery { filter: params.filter.clone(), sort: Some("-tcp.bytes".to_owned()), limit: Some(limit), ..totals }
    };
    let pairs = ask(&state, query(&PAIR, &MEASURES, params.limit.unwrap_or(EDGES_DEFAULT)), params.include_own).await?;
    let ends = ask(&state, query(&ENDS, &["tcp.bytes"], PAIRS_MAX), params.include_own).await?;
    let now = state.live.now();
    let (hit, bad) = (now.hit_pairs(), now.hit_workloads());
    let edges: Vec<MapEdge> = pairs
        .rows
        .iter()
        .map(|row| MapEdge {
            source: id(&row.key[1], &row.key[0]),
            dest: id(&row.key[3], &row.key[2]),
            flow: flow(row),
            health: health(row, hit.get(&(row.key[0].clone(), row.key[2].clone()))),
        })
        .collect();
    let drawn: BTreeSet<&str> = edges.iter().flat_map(|e| [e.source.as_str(), e.dest.as_str()]).collect();
    let nodes = nodes(&ends, &bad).into_values().filter(|n| drawn.contains(n.id.as_str())).collect();
    let coverage = state.tables.coverage(from, to).await?;
    Ok(Json(MapAnswer { from, to, nodes, edges, edges_total: pairs.groups_total, coverage }))
}

/// All workloads, with what they send and get.
#[utoipa::path(get, path = "/workloads", tag = "edges", params(MapParams), responses((status = 200, body = WorkloadsAnswer), (status = 400, body = ErrorBody)))]
pub async fn workloads(State(state): State<Arc<AppState>>, Params(params): Params<MapParams>) -> Result<Json<WorkloadsAnswer>, ApiError> {
    let (from, to) = range::read(params.from.as_deref(), params.to.as_deref(), "-15m")?;
    let query = |group_by: &[&str], measures: &[&str]| {
        let totals = EdgeQuery::totals(from, to, group_by, measures);
        EdgeQuery { filter: params.filter.clone(), sort: Some("-tcp.bytes".to_owned()), limit: Some(PAIRS_MAX), ..totals }
    };
    let out = ask(&state, query(&PAIR[..2], &MEASURES), params.include_own).await?;
    let into = ask(&state, query(&PAIR[2..], &MEASURES), params.include_own).await?;
    let ends = ask(&state, query(&ENDS, &["tcp.bytes"]), params.include_own).await?;
    let flows = |table: &EdgeTable| table.rows.iter().map(|row| (id(&row.key[1], &row.key[0]), flow(row))).collect::<BTreeMap<_, _>>();
    let (out, into) = (flows(&out), flows(&into));
    let mut peers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in &ends.rows {
        let (source, dest) = (id(&row.key[1], &row.key[0]), id(&row.key[5], &row.key[4]));
        peers.entry(source.clone()).or_default().insert(dest.clone());
        peers.entry(dest).or_default().insert(source);
    }
    let bad = state.live.now().hit_workloads();
    let mut rows: Vec<WorkloadRow> = nodes(&ends, &bad)
        .into_values()
        .map(|n| WorkloadRow {
            outbound: out.get(&n.id).copied().unwrap_or_default(),
            inbound: into.get(&n.id).copied().unwrap_or_default(),
            peers: peers.get(&n.id).map_or(0, BTreeSet::len),
            id: n.id,
            workload: n.workload,
            namespace: n.namespace,
            zones: n.zones,
            health: n.health,
        })
        .collect();
    rows.sort_by(|a, b| b.outbound.bytes.unwrap_or(0.0).total_cmp(&a.outbound.bytes.unwrap_or(0.0)).then_with(|| a.id.cmp(&b.id)));
    let workloads_total = rows.len();
    rows.truncate(params.limit.unwrap_or(EDGES_DEFAULT));
    let pairs_left_out = ends.groups_total.saturating_sub(ends.rows.len());
    let coverage = state.tables.coverage(from, to).await?;
    Ok(Json(WorkloadsAnswer { from, to, workloads: rows, workloads_total, pairs_left_out, coverage }))
}

fn id(namespace: &str, workload: &str) -> String {
    if namespace.is_empty() { workload.to_owned() } else { format!("{namespace}/{workload}") }
}

/// All workloads of a table grouped by [`ENDS`], by id.
fn nodes(table: &EdgeTable, bad: &BTreeSet<String>) -> BTreeMap<String, MapNode> {
    let mut nodes = BTreeMap::new();
    for row in &table.rows {
        for end in row.key.chunks_exact(ENDS.len() / 2) {
            let [workload, namespace, zone, found] = end else { continue };
            let node = nodes.entry(id(namespace, workload)).or_insert_with(|| MapNode {
                id: id(namespace, workload),
                workload: workload.clone(),
                namespace: namespace.clone(),
                resolution_types: BTreeSet::new(),
                zones: BTreeSet::new(),
                health: if bad.contains(workload) { Health::Bad } else { Health::Ok },
            });
            node.zones.extend(Some(zone).filter(|z| !z.is_empty()).cloned());
            node.resolution_types.extend(Some(found).filter(|f| !f.is_empty()).cloned());
        }
    }
    nodes
}

/// Numbers of a row that was asked for [`MEASURES`].
fn flow(row: &EdgeRow) -> Flow {
    let at = |n: usize| row.totals.get(n).copied().flatten();
    Flow {
        bytes: at(0),
        bytes_per_s: at(1),
        retrans_rate: at(2),
        rtt_p50_s: at(3),
        rtt_p95_s: at(4),
        connect_failure_rate: at(5),
        stalled_share: at(6),
    }
}

fn health(row: &EdgeRow, hit: Option<&Health>) -> Health {
    let measured = row.totals.iter().skip(2).any(Option::is_some);
    hit.copied().unwrap_or(if measured { Health::Ok } else { Health::Unknown })
}
