//! Durations as they are summed up: a histogram for the quantiles, exact minimum, maximum and mean.

use edgescope_model::histogram::Histogram;
use serde::Serialize;

/// Durations in nanoseconds.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    histogram: Histogram,
    count: u64,
    sum_ns: u128,
    min_ns: Option<u64>,
    max_ns: u64,
}

/// What durations come to, in seconds; absent where there are none. `p50` and `p95` are within 6.25 % of the truth, see
/// [`edgescope_model::histogram`]; the others are exact.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    pub samples: u64,
    pub min: Option<f64>,
    pub avg: Option<f64>,
    pub max: Option<f64>,
    pub p50: Option<f64>,
    pub p95: Option<f64>,
}

impl Samples {
    pub fn record(&mut self, ns: u64) {
        self.histogram.record(ns / 1_000);
        self.count += 1;
        self.sum_ns += u128::from(ns);
        self.min_ns = Some(self.min_ns.map_or(ns, |min| min.min(ns)));
        self.max_ns = self.max_ns.max(ns);
    }

    pub fn min_ns(&self) -> Option<u64> {
        self.min_ns
    }

    pub fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    pub fn spread(&self) -> Spread {
        let Some(min_ns) = self.min_ns else { return Spread::default() };
        // A bucket is wider than what was seen in it.
        let quantile = |q| self.histogram.quantile(q).map(|us| (us * 1e-6).clamp(seconds(min_ns), seconds(self.max_ns)));
        Spread {
            samples: self.count,
            min: Some(seconds(min_ns)),
            avg: Some(self.sum_ns as f64 / self.count as f64 * 1e-9),
            max: Some(seconds(self.max_ns)),
            p50: quantile(0.50),
            p95: quantile(0.95),
        }
    }
}

/// Nanoseconds as seconds.
pub fn seconds(ns: u64) -> f64 {
    ns as f64 * 1e-9
}
