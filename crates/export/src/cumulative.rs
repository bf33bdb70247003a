//! Deltas added up since the start, as Prometheus wants them: counters and histograms that only rise, gauges as they were last.

use crate::Labels;
use crate::points::{Buckets, Point, Value};
use edgescope_model::metric::{Instrument, Metric};
use std::collections::{BTreeMap, HashSet};

/// Slots without a point after which a series is forgotten: five minutes of 30 s slots, after which Prometheus calls it stale anyway.
const IDLE_SLOTS_MAX: u32 = 10;

/// One metric's place in a series.
pub type Place = (&'static Metric, usize);

/// The current series, by labels.
#[derive(Debug, Default)]
pub struct Cumulative {
    series: BTreeMap<Labels, Held>,
    /// Series at once; the one that is quiet for longest makes room.
    series_max: usize,
}

/// What is known of one series.
#[derive(Debug, Default)]
pub struct Held {
    /// In the order in which metrics came.
    pub values: Vec<(Place, Total)>,
    idle_slots: u32,
}

/// The value of one metric.
#[derive(Debug, Clone, PartialEq)]
pub enum Total {
    Counter(f64),
    /// `None`: it had no point in the newest slot.
    Gauge(Option<f64>),
    Histogram(Buckets),
}

/// What one slot changed beside the values.
#[derive(Debug, Default, PartialEq)]
pub struct Change {
    /// Places that had no value before.
    pub born: HashSet<(Labels, usize)>,
    /// Series that are forgotten, with the places that they had.
    pub gone: Vec<(Labels, Vec<Place>)>,
    /// Series forgotten since there was no room for them.
    pub evicted: usize,
}

impl Cumulative {
    pub fn new(series_max: usize) -> Self {
        Self { series: BTreeMap::new(), series_max }
    }

    /// The series, by labels.
    pub fn series(&self) -> impl Iterator<Item = (&Labels, &Held)> {
        self.series.iter()
    }

    pub fn len(&self) -> usize {
        self.series.len()
    }

    pub fn is_empty(&self) -> bool {
        self.series.is_empty()
    }

    /// Adds the points of one slot, without trailing zeros: a counter that stands still says the same.
    pub fn add(&mut self, points: &[Point]) -> Change {
        let mut change = Change::default();
        for held in self.series.values_mut() {
            held.idle_slots += 1;
            held.values.iter_mut().for_each(|(_, total)| {
                if let Total::Gauge(value) = total {
                    *value = None;
                }
            });
        }
        for point in points {
            let held = self.series.entry(Labels::clone(&point.labels)).or_default();
            held.idle_slots = 0;
            if let Some(at) = held.add(point) {
                change.born.insert((Labels::clone(&point.labels), at));
            }
        }
        self.forget(&mut change);
        change
    }

    fn forget(&mut self, change: &mut Change) {
        let idle: Vec<Labels> =
            self.series.iter().filter(|(_, held)| held.idle_slots > IDLE_SLOTS_MAX).map(|(labels, _)| Labels::clone(labels)).collect();
        for labels in idle {
            self.drop_series(&labels, change);
        }
        if self.series.len() > self.series_max {
            let mut quiet: Vec<(u32, Labels)> = self.series.iter().map(|(labels, held)| (held.idle_slots, Labels::clone(labels))).collect();
            quiet.sort_by(|a, b| b.cmp(a));
            for (_, labels) in quiet.into_iter().take(self.series.len() - self.series_max) {
                self.drop_series(&labels, change);
                change.evicted += 1;
            }
        }
    }

    fn drop_series(&mut self, labels: &Labels, change: &mut Change) {
        if let Some(held) = self.series.remove(labels) {
            change.gone.push((Labels::clone(labels), held.values.into_iter().map(|(place, _)| place).collect()));
        }
    }
}

impl Held {
    /// Adds a point; its position, if it is the first of its place.
    fn add(&mut self, point: &Point) -> Option<usize> {
        let same = |(metric, part): &Place| std::ptr::eq(*metric, point.metric) && *part == point.part;
        match self.values.iter_mut().find(|(place, _)| same(place)) {
            Some((_, total)) => {
                total.add(&point.value);
                None
            }
            None => {
                let mut total = Total::zero(point.metric);
                total.add(&point.value);
                self.values.push(((point.metric, point.part), total));
                Some(self.values.len() - 1)
            }
        }
    }
}

impl Total {
    fn zero(metric: &Metric) -> Self {
        match metric.instrument {
            Instrument::Sum => Self::Counter(0.0),
            Instrument::Gauge => Self::Gauge(None),
            Instrument::Histogram => Self::Histogram(Buckets::default()),
        }
    }

    fn add(&mut self, value: &Value) {
        match (self, value) {
            (Self::Counter(sum), Value::Number(value)) => *sum += value,
            (Self::Gauge(held), Value::Number(value)) => *held = Some(*value),
            (Self::Histogram(sum), Value::Buckets(buckets)) => {
                sum.counts.resize(buckets.counts.len(), 0);
                sum.counts.iter_mut().zip(&buckets.counts).for_each(|(sum, count)| *sum = sum.saturating_add(*count));
                sum.sum += buckets.sum;
            }
            // An instrument and its value come from one formula; a test of the model holds them together.
            _ => {}
        }
    }
}
