//! Detectors and the alert life cycle. Pure: windows in, transitions out.
//!
//! Every few seconds the server asks the store what [`Engine::query`] wants, and gives the answer to [`Engine::round`] with the time.
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

use edgescope_model::query::EdgeQuery;
use edgescope_model::time::{Time, window_start};

/// Most rows: pods times peers of a large environment.
const ROWS_MAX: usize = 20_000;
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
        filter: None,
        measures: series::MEASURES.iter().map(|&m| m.to_owned()).collect(),
        compare_from: None,
        compare_to: None,
        sort: Some("-tcp.active".to_owned()),
        limit: Some(ROWS_MAX),
    }
}
