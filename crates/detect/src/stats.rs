//! The statistics that rules rest on.

/// Lower bound of the Wilson score interval (Wilson 1927) of `bad` in `all`, at `z` standard deviations.
pub fn wilson_lower(bad: f64, all: f64, z: f64) -> f64 {
    if all <= 0.0 {
        return 0.0;
    }
    let share = (bad / all).clamp(0.0, 1.0);
    let z2 = z * z;
    let centre = share + z2 / (2.0 * all);
    let spread = z * (share * (1.0 - share) / all + z2 / (4.0 * all * all)).sqrt();
    ((centre - spread) / (1.0 + z2 / all)).max(0.0)
}

/// Median and median absolute deviation, the latter scaled by 1.4826 to a normal's standard deviation; `None` without values.
pub fn median_and_deviation(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let mut sorted: Vec<f64> = values.collect();
    let centre = median(&mut sorted)?;
    let mut distances: Vec<f64> = sorted.iter().map(|v| (v - centre).abs()).collect();
    Some((centre, median(&mut distances)? * 1.4826))
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_needs_evidence() {
        assert!(wilson_lower(5.0, 100.0, 3.0) < 0.02, "five of a hundred may be chance");
        assert!(wilson_lower(50.0, 1000.0, 3.0) > 0.03);
        assert_eq!(wilson_lower(0.0, 0.0, 3.0), 0.0);
        assert!(wilson_lower(3.0, 2.0, 3.0) <= 1.0);
    }

    #[test]
    fn the_median_shrugs_off_one_outlier() {
        assert_eq!(median_and_deviation([1.0, 2.0, 3.0, 1000.0].into_iter()).map(|m| m.0), Some(2.5));
        assert_eq!(median_and_deviation(std::iter::empty()), None);
    }
}
