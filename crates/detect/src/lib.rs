//! Detectors and the alert life cycle. Pure: windows in, transitions out.
//!
//! Every few seconds the server asks the store what [`Engine::query`] wants (and, where that is too much, [`query_failing`]), and gives the answer to [`Engine::round`] with the time.
//! Each edge is kept as slices (whole, by zone pair, by pod; `series`); each detector judges each slice by a rate with a denominator, against floors, its own
//! past and its peers (`rules`); what stays bad becomes an alert, what stays well resolves (`engine`); alerts that share something become one
//! incident (`incidents`). Out come [`Transition`]s to store. Windows are judged again in later rounds, so late rows count; the same rounds
//! give the same transitions. `docs/detection.md` has the figures.
#![forbid(unsafe_code)]

mod config;
mod engine;
mod incidents;
mod rules;
mod series;
mod words;

pub use config::{ConfigError, DetectorsConfig, DropRule, Life, RateRule, ShiftRule};
pub use engine::{Counters, Engine, Transition, WINDOWS_JUDGED};

use edgescope_model::query::{EdgeQuery, EdgeRow, EdgeTable};
use edgescope_model::time::{Time, window_start};
use std::collections::HashSet;

/// Most rows: pods times peers of a large environment. × 17 measures × 90 windows × 16 B = 490 MB in the first round, 65 MB in all others.
const ROWS_MAX: usize = 20_000;
/// Most rows of pairs that reach nobody, beside those.
const FAILING_ROWS_MAX: usize = 5_000;
/// Most rows of conversations with DNS servers, beside those.
const DNS_ROWS_MAX: usize = 5_000;
/// What rows are sorted by. Of all measures it loses least when rows are cut: long-lived connections make no connects, most pairs retransmit nothing, and
/// both of these would put other pairs in each round, so that sums over them jump. What it puts last is what [`query_failing`] asks for.
const ACTIVE: &str = "tcp.active";
/// Seconds of a window.
const WINDOW_S: i64 = 10;

/// The newest closed windows before `now`, as a round wants them; [`Engine::query`] asks for more at first. `now` is the watermark: the end of the
/// last window that is expected to be complete; later rows of the last [`WINDOWS_JUDGED`] windows are still used.
pub fn query(now: Time) -> EdgeQuery {
    query_windows(now, WINDOWS_JUDGED)
}

fn query_windows(now: Time, windows: i64) -> EdgeQuery {
    let to = window_start(now, WINDOW_S);
    let ends = ["source", "dest"].iter().flat_map(|side| series::END_DIMS.iter().map(move |d| format!("{side}.{d}")));
    EdgeQuery {
        from: to - chrono::Duration::seconds(WINDOW_S * windows),
        to,
        step_s: Some(WINDOW_S as u32),
        group_by: ends.chain(["role".to_owned()]).collect(),
        filter: Some("protocol = 'tcp'".to_owned()),
        measures: series::MEASURES.iter().map(|&m| m.to_owned()).collect(),
        compare_from: None,
        compare_to: None,
        sort: Some(format!("-{ACTIVE}")),
        limit: Some(ROWS_MAX),
    }
}

/// Names asked of DNS, beside a query: [`EdgeTable::join`] puts both answers together for a round.
pub fn query_dns(query: &EdgeQuery) -> EdgeQuery {
    query.of_dns(series::DNS_MEASURES, DNS_ROWS_MAX)
}

/// What to ask beside a query whose answer was cut: pairs whose connects all fail have no open connections, so they are the first to be cut.
/// `None` if nothing was.
pub fn query_failing(query: &EdgeQuery, answer: &EdgeTable) -> Option<EdgeQuery> {
    let failing = format!("{ACTIVE} = 0 AND tcp.connects > 0");
    let filter = query.filter.as_ref().map_or(failing.clone(), |asked| format!("({asked}) AND {failing}"));
    let query = EdgeQuery { filter: Some(filter), sort: Some("-tcp.connects".to_owned()), limit: Some(FAILING_ROWS_MAX), ..query.clone() };
    (rows_cut(answer) > 0).then_some(query)
}

/// Adds the rows of [`query_failing`] that a table does not have.
pub fn add_failing(table: &mut EdgeTable, failing: EdgeTable) {
    let known: HashSet<Vec<String>> = table.rows.iter().map(|row| row.key.clone()).collect();
    table.rows.extend(failing.rows.into_iter().filter(|row| !known.contains(&row.key)));
}

/// Rows that a table leaves out. Those that only their receiver tells of say nothing to detectors and come last: if they alone are left out, none are.
fn rows_cut(table: &EdgeTable) -> usize {
    let told = |row: &EdgeRow| row.totals.get(table.measure(ACTIVE)?).copied().flatten();
    if table.rows.last().is_some_and(|row| told(row).is_some()) { table.groups_total.saturating_sub(table.rows.len()) } else { 0 }
}
