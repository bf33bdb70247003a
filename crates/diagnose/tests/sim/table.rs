//! The company's traffic as the answer to a query, as a store would give it.

use super::names::Asking;
use super::traffic::{Side, Traffic};
use super::{WINDOW_S, start};
use edgescope_model::query::{EdgeQuery, EdgeRow, EdgeTable};
use edgescope_testbed::topology::Topology;

/// Measures that the destination's agent tells.
const BY_DEST: [&str; 5] = ["tcp.bytes.received", "tcp.segments.received", "tcp.accepts", "tcp.accept_overflow", "tcp.resets.received"];

/// Of the filters, only those are known that tell DNS from TCP.
pub fn answer(topology: &Topology, traffic: &Traffic, names: &[Asking], query: &EdgeQuery) -> EdgeTable {
    let first = (query.from - start()).num_seconds() / WINDOW_S;
    let last = (query.to - start()).num_seconds() / WINDOW_S;
    let steps = (first..last).map(|w| start() + chrono::Duration::seconds(w * WINDOW_S)).collect();
    let mut rows = Vec::new();
    let asks = |what: &str| query.filter.as_deref().is_none_or(|filter| filter.contains(what));
    for asking in names.iter().filter(|_| asks("port = 53")) {
        let key = query.group_by.iter().map(|d| value(topology, d, asking.client, asking.resolver, "client")).collect();
        let reports = |w: i64| usize::try_from(w).ok().filter(|&w| traffic.reports_at(topology.pods[asking.client].node, w));
        let said = |name: &str, w: i64| reports(w).and_then(|w| asking.windows.get(w)?.values.get(name).copied());
        let series = query.measures.iter().map(|m| (first..last).map(|w| said(m, w)).collect()).collect();
        rows.push(EdgeRow { key, totals: Vec::new(), compare: Vec::new(), series, buckets: Vec::new() });
    }
    let conversations = if asks("protocol = 'tcp'") { topology.conversations() } else { Vec::new() };
    for (i, talk) in conversations.iter().enumerate() {
        for (from, to, role) in [(talk.client, talk.server, "client"), (talk.server, talk.client, "server")] {
            let key = query.group_by.iter().map(|d| value(topology, d, from, to, role)).collect();
            let series =
                query.measures.iter().map(|m| (first..last).map(|w| measure(topology, traffic, i, w, m, from, to, role)).collect()).collect();
            let row = EdgeRow { key, totals: Vec::new(), compare: Vec::new(), series, buckets: Vec::new() };
            if row.series.iter().flatten().any(Option::is_some) {
                rows.push(row);
            }
        }
    }
    EdgeTable {
        from: query.from,
        to: query.to,
        step_s: query.step_s,
        steps,
        group_by: query.group_by.clone(),
        measures: query.measures.clone(),
        groups_total: rows.len(),
        rows,
        resolution_s: 10,
    }
}

fn value(topology: &Topology, dim: &str, from: usize, to: usize, role: &str) -> String {
    let Some((side, field)) = dim.split_once('.') else { return role.to_owned() };
    let pod = &topology.pods[if side == "source" { from } else { to }];
    match field {
        "workload" => pod.workload.clone(),
        "pod" => pod.name.clone(),
        "node" => topology.nodes[pod.node].name.clone(),
        "zone" => topology.spec.zones[pod.zone].clone(),
        "namespace" => topology.spec.namespace.clone(),
        _ => String::new(),
    }
}

#[allow(clippy::too_many_arguments)]
fn measure(topology: &Topology, traffic: &Traffic, i: usize, window: i64, name: &str, from: usize, to: usize, role: &str) -> Option<f64> {
    let window = usize::try_from(window).ok()?;
    let pair = traffic.pairs[i].get(window)?;
    let teller = if BY_DEST.contains(&name) { to } else { from };
    if !traffic.reports_at(topology.pods[teller].node, window) {
        return None;
    }
    let side: &Side = if role == "client" { &pair.there } else { &pair.back };
    side.values.get(name).copied()
}
