//! Ratios of pairs, and what can be said of them.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fmt;

/// Resamples of the bootstrap: the interval's ends are then steady in the third digit.
const RESAMPLES: usize = 10_000;
/// Fixed, so that the same ratios give the same interval.
const SEED: u64 = 20_251_122;

/// What the interval says of a criterion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Met,
    NotMet,
    /// The interval has both: more pairs are needed.
    Open,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Decision::Met => "met",
            Decision::NotMet => "NOT MET",
            Decision::Open => "not decided",
        })
    }
}

/// Ratios of pairs: a value with the agent by one without.
#[derive(Default)]
pub struct Ratios {
    logs: Vec<f64>,
    without: Vec<f64>,
}

impl Ratios {
    pub fn add(&mut self, with: f64, without: f64) {
        self.logs.push((with / without).ln());
        self.without.push(without);
    }

    pub fn extend(&mut self, more: Ratios) {
        self.logs.extend(more.logs);
        self.without.extend(more.without);
    }

    pub fn len(&self) -> usize {
        self.logs.len()
    }

    /// Geometric mean.
    pub fn mean(&self) -> f64 {
        mean(&self.logs).exp()
    }

    /// 95 % bootstrap interval of the geometric mean.
    pub fn interval(&self) -> (f64, f64) {
        let mut rng = StdRng::seed_from_u64(SEED);
        let count = self.logs.len();
        let mut resample = || (0..count).map(|_| self.logs[rng.random_range(0..count)]).sum::<f64>() / count as f64;
        let mut means: Vec<f64> = (0..RESAMPLES).map(|_| resample()).collect();
        means.sort_by(f64::total_cmp);
        let at = |share: f64| means[((RESAMPLES - 1) as f64 * share) as usize].exp();
        (at(0.025), at(0.975))
    }

    /// Whether the ratio is at least `min`.
    pub fn decide(&self, min: f64) -> Decision {
        match self.interval() {
            (low, _) if low >= min => Decision::Met,
            (_, high) if high < min => Decision::NotMet,
            _ => Decision::Open,
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

impl fmt::Display for Ratios {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.logs.is_empty() {
            return f.write_str("no pairs");
        }
        let (low, high) = self.interval();
        write!(f, "{:.4} (95 % {low:.4} to {high:.4}), without it {:.4e}/s", self.mean(), mean(&self.without))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratios(of: impl Fn(usize) -> f64) -> Ratios {
        let mut ratios = Ratios::default();
        (0..40).for_each(|i| ratios.add(1_000.0 * of(i), 1_000.0));
        ratios
    }

    #[test]
    fn the_interval_decides() {
        let noise = |i: usize| if i.is_multiple_of(2) { 0.005 } else { -0.005 };
        assert_eq!(ratios(|i| 1.0 + noise(i)).decide(0.99), Decision::Met);
        assert_eq!(ratios(|i| 0.98 + noise(i)).decide(0.99), Decision::NotMet);
        assert_eq!(ratios(|i| 0.991 + noise(i) * 10.0).decide(0.99), Decision::Open);
        let (low, high) = ratios(|i| 1.0 + noise(i)).interval();
        assert!(low < 1.0 && 1.0 < high && high - low < 0.01);
    }
}
