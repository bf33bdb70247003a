//! What to ask of the tables for one slot, and the answer as a bounded list of series.

use crate::Labels;
use chrono::{DateTime, Utc};
use edgescope_model::dims::{Dim, EndField};
use edgescope_model::histogram::Histogram;
use edgescope_model::metric::Metric;
use edgescope_model::metric::choice::Choice;
use edgescope_model::metric::labels::{self, Aggregation, OTHER};
use edgescope_model::query::{EdgeQuery, EdgeRow, EdgeTable, LIMIT_MAX};
use edgescope_model::signal::{Kind, Measure};
use std::collections::HashMap;
use std::sync::Arc;

/// What ranks series: the measures whose sum is an edge's bytes.
const BYTES: [&str; 2] = ["tcp.bytes", "udp.bytes"];

/// What is asked for, the same in every slot.
#[derive(Debug, Clone)]
pub struct Plan {
    aggregation: Aggregation,
    dims: Vec<Dim>,
    metrics: Vec<&'static Metric>,
    measures: Vec<String>,
    /// How values of each measure merge; `None` for histograms.
    kinds: Vec<Option<Kind>>,
}

/// An answer that is not of the slot that was asked for.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "asked for {asked_from} to {asked_to}, answered for {from} to {to}: is export.interval_s a whole number of windows, and are the rows still kept?"
)]
pub struct OtherRange {
    pub asked_from: DateTime<Utc>,
    pub asked_to: DateTime<Utc>,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

/// The series of one slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Slot {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Most bytes first; what exceeds the bound is the last, as `(other)`.
    pub series: Vec<Series>,
    /// Series that are summed under `(other)`.
    pub folded: usize,
    /// Groups beyond what one answer holds: in no series.
    pub beyond: usize,
}

/// One edge, as far as its labels tell edges apart.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub labels: Labels,
    /// In the order of the plan's measures; of histograms the number of values.
    pub values: Vec<Option<f64>>,
    /// In the order of those measures that are histograms.
    pub buckets: Vec<Histogram>,
}

impl Plan {
    /// What these metrics need at this level.
    pub fn new(choice: &Choice, aggregation: Aggregation) -> Self {
        let metrics = choice.metrics();
        let mut measures: Vec<String> = BYTES.map(str::to_owned).to_vec();
        for measure in metrics.iter().flat_map(|metric| &metric.parts).flat_map(|part| part.formula.measures()) {
            if !measures.contains(&measure) {
                measures.push(measure);
            }
        }
        let kinds = measures.iter().map(|measure| kind(measure)).collect();
        Self { aggregation, dims: labels::group_by(aggregation), metrics, measures, kinds }
    }

    pub fn metrics(&self) -> &[&'static Metric] {
        &self.metrics
    }

    /// The question.
    pub fn query(&self, from: DateTime<Utc>, to: DateTime<Utc>, filter: Option<String>) -> EdgeQuery {
        EdgeQuery {
            step_s: None,
            group_by: self.dims.iter().map(ToString::to_string).collect(),
            filter,
            measures: self.measures.clone(),
            sort: Some(format!("-{}", BYTES[0])),
            limit: Some(LIMIT_MAX),
            ..EdgeQuery::totals(from, to, &[], &[])
        }
    }

    /// The answer as series: those with the same labels added up, the largest `series_max` kept, the rest under `(other)`.
    ///
    /// # Errors
    /// If the answer is of another range: its sums would be of other windows.
    pub fn slot(&self, query: &EdgeQuery, table: EdgeTable, series_max: usize) -> Result<Slot, OtherRange> {
        if (table.from, table.to) != (query.from, query.to) {
            return Err(OtherRange { asked_from: query.from, asked_to: query.to, from: table.from, to: table.to });
        }
        let beyond = table.groups_total.saturating_sub(table.rows.len());
        let mut all: HashMap<Labels, Series> = HashMap::with_capacity(table.rows.len());
        for row in table.rows {
            let labels = Arc::new(labels::labels(self.aggregation, &self.dims, &row.key));
            self.add(&mut all, labels, row);
        }
        let mut series: Vec<Series> = all.into_values().collect();
        // Equal ones by their labels, so that the same answer makes the same slot.
        series.sort_by(|a, b| bytes(b).total_cmp(&bytes(a)).then_with(|| a.labels.cmp(&b.labels)));
        let rest = series.split_off(series_max.min(series.len()));
        let folded = rest.len();
        if let Some(other) = rest.into_iter().reduce(|sum, next| self.merge(sum, next)) {
            series.push(Series { labels: Arc::new(self.other()), ..other });
        }
        Ok(Slot { from: query.from, to: query.to, series, folded, beyond })
    }

    fn add(&self, all: &mut HashMap<Labels, Series>, labels: Labels, row: EdgeRow) {
        let next = Series { labels: Arc::clone(&labels), values: row.totals, buckets: row.buckets };
        let sum = match all.remove(&labels) {
            Some(held) => self.merge(held, next),
            None => next,
        };
        all.insert(labels, sum);
    }

    /// Two series as one.
    fn merge(&self, mut a: Series, b: Series) -> Series {
        for ((value, other), kind) in a.values.iter_mut().zip(b.values).zip(&self.kinds) {
            *value = match (*value, other) {
                (Some(a), Some(b)) => Some(merged_shown(kind.unwrap_or(Kind::Sum), a, b)),
                (a, b) => a.or(b),
            };
        }
        for (histogram, other) in a.buckets.iter_mut().zip(&b.buckets) {
            histogram.merge(other);
        }
        a
    }

    fn other(&self) -> Vec<(String, String)> {
        let workload = |dim: &Dim| matches!(dim, Dim::Source(EndField::Workload) | Dim::Dest(EndField::Workload));
        let key: Vec<String> = self.dims.iter().map(|dim| if workload(dim) { OTHER.to_owned() } else { String::new() }).collect();
        labels::labels(self.aggregation, &self.dims, &key)
    }

    /// Position of a measure in a series' values.
    pub(crate) fn value_at(&self, measure: &str) -> Option<usize> {
        self.measures.iter().position(|m| m == measure)
    }

    /// Position of a histogram in a series' buckets.
    pub(crate) fn buckets_at(&self, measure: &str) -> Option<usize> {
        let at = self.value_at(measure)?;
        self.kinds[at].is_none().then(|| self.kinds[..at].iter().filter(|kind| kind.is_none()).count())
    }
}

fn kind(measure: &str) -> Option<Kind> {
    match Measure::parse(measure) {
        Ok(Measure::Value(signal, _)) => Some(signal.kind),
        _ => None,
    }
}

/// Two values of one measure as one, in shown units.
fn merged_shown(kind: Kind, a: f64, b: f64) -> f64 {
    match kind {
        Kind::Sum | Kind::Histogram => a + b,
        Kind::Max => a.max(b),
        Kind::Min => a.min(b),
    }
}

fn bytes(series: &Series) -> f64 {
    series.values.iter().take(BYTES.len()).flatten().sum()
}
