//! Numbers of one slot: each metric's formula over each series, and one trailing zero where a series went quiet.

use crate::Labels;
use crate::reading::{Plan, Series, Slot};
use edgescope_model::histogram::Histogram;
use edgescope_model::metric::{Formula, Instrument, Metric, bucket_counts};
use edgescope_model::signal::Unit;
use std::collections::HashMap;

/// One number, or one histogram, of one series in one slot.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    pub metric: &'static Metric,
    /// Which of the metric's parts.
    pub part: usize,
    pub labels: Labels,
    pub value: Value,
}

/// What a point says of its slot.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// In the metric's unit; of a sum the increase within the slot.
    Number(f64),
    Buckets(Buckets),
}

/// A histogram's increase within the slot.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Buckets {
    /// One a bound of [`edgescope_model::metric::bounds`], and one above the last.
    pub counts: Vec<u64>,
    /// Seconds; each value counts as the middle of its stored bucket.
    pub sum: f64,
}

impl Buckets {
    fn of(histogram: &Histogram) -> Self {
        Self { counts: bucket_counts(histogram), sum: histogram.sum() * Unit::Seconds.scale() }
    }

    pub fn count(&self) -> u64 {
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }
}

/// The points of a slot, by metric, then by series.
pub fn points(plan: &Plan, slot: &Slot) -> Vec<Point> {
    let seconds = (slot.to - slot.from).num_seconds() as f64;
    let mut points = Vec::new();
    for metric in plan.metrics() {
        for (at, part) in metric.parts.iter().enumerate() {
            let formula = Placed::new(plan, &part.formula, seconds);
            let of = |series: &Series| {
                let value = formula.value(series)?;
                Some(Point { metric, part: at, labels: Labels::clone(&series.labels), value })
            };
            points.extend(slot.series.iter().filter_map(of));
        }
    }
    points
}

/// A formula with the places of its measures.
enum Placed {
    Sum(Vec<usize>),
    Quotient(usize, usize),
    /// A value divided by a constant.
    Scaled(usize, f64),
    Mean(usize),
    Buckets(usize),
    /// A measure that the plan lacks; a test of the model holds that there is none.
    Missing,
}

impl Placed {
    fn new(plan: &Plan, formula: &Formula, seconds: f64) -> Self {
        let placed = match *formula {
            Formula::Sum(columns) => columns.iter().map(|column| plan.value_at(column)).collect::<Option<_>>().map(Self::Sum),
            Formula::Level(column) => plan.value_at(column).map(|at| Self::Scaled(at, seconds)),
            Formula::Value(column) => plan.value_at(column).map(|at| Self::Scaled(at, 1.0)),
            Formula::Mean { sum, count } => plan.value_at(sum).zip(plan.value_at(count)).map(|(sum, count)| Self::Quotient(sum, count)),
            Formula::MeanOf(signal) => plan.buckets_at(&format!("{signal}.buckets")).map(Self::Mean),
            Formula::Histogram(signal) => plan.buckets_at(&format!("{signal}.buckets")).map(Self::Buckets),
        };
        placed.unwrap_or(Self::Missing)
    }

    fn value(&self, series: &Series) -> Option<Value> {
        let value = |at: &usize| series.values.get(*at).copied().flatten();
        let number = match self {
            Self::Sum(places) => {
                let known: Vec<f64> = places.iter().filter_map(value).collect();
                (!known.is_empty()).then(|| known.iter().sum())
            }
            Self::Quotient(sum, count) => value(sum).zip(value(count)).filter(|(_, count)| *count > 0.0).map(|(sum, count)| sum / count),
            Self::Scaled(at, by) => value(at).map(|value| value / by),
            Self::Mean(at) => series.buckets.get(*at).and_then(Histogram::mean).map(|us| us * Unit::Seconds.scale()),
            Self::Buckets(at) => {
                let histogram = series.buckets.get(*at).filter(|histogram| !histogram.is_empty())?;
                return Some(Value::Buckets(Buckets::of(histogram)));
            }
            Self::Missing => None,
        };
        number.map(Value::Number)
    }
}

/// What had a point in the slot before.
#[derive(Debug, Default)]
pub struct Quiet {
    before: HashMap<Labels, Vec<(&'static Metric, usize)>>,
}

impl Quiet {
    /// Adds one zero for each series and metric that had a point before and has none now, and remembers those that have one. Averages, maxima and minima get
    /// none: zero would be a false value.
    pub fn trail(&mut self, points: &mut Vec<Point>) {
        let mut now: HashMap<Labels, Vec<(&'static Metric, usize)>> = HashMap::new();
        for point in points.iter().filter(|point| !point.metric.parts[point.part].formula.is_mean()) {
            now.entry(Labels::clone(&point.labels)).or_default().push((point.metric, point.part));
        }
        for (labels, had) in std::mem::take(&mut self.before) {
            let has = now.get(&labels);
            for (metric, part) in had {
                if !has.is_some_and(|has| has.iter().any(|(m, p)| std::ptr::eq(*m, metric) && *p == part)) {
                    points.push(Point { metric, part, labels: Labels::clone(&labels), value: zero(metric) });
                }
            }
        }
        self.before = now;
        // Metrics stand in one list, so that their addresses are their order.
        points.sort_by(|a, b| {
            std::ptr::from_ref(a.metric).cmp(&std::ptr::from_ref(b.metric)).then(a.part.cmp(&b.part)).then_with(|| a.labels.cmp(&b.labels))
        });
    }
}

fn zero(metric: &Metric) -> Value {
    match metric.instrument {
        Instrument::Histogram => Value::Buckets(Buckets::of(&Histogram::default())),
        Instrument::Sum | Instrument::Gauge => Value::Number(0.0),
    }
}
