//! The few statistics that both evidence and onset rest on. All take plain numbers.

/// A retransmission seldom comes alone (one lost segment is often followed by another, and probed for twice), so counts vary more than
/// a binomial says. Log-likelihoods are divided by this; measured on simulated bursts (docs/detection.md).
pub const OVERDISPERSION: f64 = 2.0;

/// Log-likelihood ratio of `k` of `n` at rate `p1` against rate `p0`, natural logarithm, not yet divided for overdispersion.
pub fn binomial_log_ratio(k: f64, n: f64, p1: f64, p0: f64) -> f64 {
    if n <= 0.0 {
        return 0.0;
    }
    let (p1, p0) = (p1.clamp(1e-9, 1.0 - 1e-6), p0.clamp(1e-9, 1.0 - 1e-6));
    let k = k.clamp(0.0, n);
    k * (p1 / p0).ln() + (n - k) * ((1.0 - p1) / (1.0 - p0)).ln()
}

/// Median; `None` when empty. Sorts its argument.
pub fn median(values: &mut [f64]) -> Option<f64> {
    quantile(values, 0.5)
}

/// The `q` quantile (nearest rank, interpolated); `None` when empty. Sorts its argument.
pub fn quantile(values: &mut [f64], q: f64) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    let at = q.clamp(0.0, 1.0) * last as f64;
    let (low, high) = (values[at.floor() as usize], values[at.ceil() as usize]);
    Some(low + (high - low) * at.fract())
}

/// Median absolute deviation from `centre`, scaled to be a standard deviation for normal noise.
pub fn spread(values: &[f64], centre: f64) -> Option<f64> {
    let mut distances: Vec<f64> = values.iter().map(|v| (v - centre).abs()).collect();
    median(&mut distances).map(|mad| mad * 1.4826)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_favours_the_nearer_rate() {
        assert!(binomial_log_ratio(5.0, 100.0, 0.05, 0.001) > 10.0);
        assert!(binomial_log_ratio(0.0, 100.0, 0.05, 0.001) < -4.0);
        assert_eq!(binomial_log_ratio(0.0, 0.0, 0.05, 0.001), 0.0);
        // All of them failing is finite.
        assert!(binomial_log_ratio(10.0, 10.0, 1.0, 0.001).is_finite());
    }

    #[test]
    fn quantiles_interpolate() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0]), Some(2.0));
        assert_eq!(quantile(&mut [0.0, 10.0, 20.0], 0.75), Some(15.0));
        assert_eq!(spread(&[1.0, 1.0, 4.0], 1.0), Some(0.0));
    }
}
