//! Since when: the span of steps that is told from its past by the largest likelihood ratio.

use crate::stats::{OVERDISPERSION, binomial_log_ratio};
use std::ops::Range;

/// What a unit says about when saturates around here: a single heavy flow must not outvote all others.
const UNIT_CAP: f64 = 30.0;
/// What a unit's change must be worth before it counts at all: about one in 50 quiet units exceeds it.
const UNIT_MIN: f64 = 4.0;
/// Opportunities that the assumed base rate weighs, next to those seen in the unit's own past.
const PRIOR_WEIGHT: f64 = 100.0;

/// Steps that are the newest of the past: a minute of 10 s windows.
const RECENT_STEPS: usize = 6;

/// Bad events `k` of `n` opportunities by step, cumulative, so that any span is two subtractions.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    k: Vec<f64>,
    n: Vec<f64>,
}

/// What counts as a change of one kind of rate.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Rate taken for normal where a unit has no past.
    pub normal: f64,
    /// Least rate worth speaking of.
    pub rate_min: f64,
    /// Least factor over the unit's own past.
    pub ratio_min: f64,
    /// Fewest bad events in a unit.
    pub events_min: f64,
}

impl Counts {
    /// From `(k, n)` by step; a missing step (NaN in either) adds nothing.
    pub fn new(steps: impl Iterator<Item = (f64, f64)>) -> Self {
        let (mut k, mut n) = (vec![0.0], vec![0.0]);
        let (mut k_sum, mut n_sum) = (0.0, 0.0);
        for (bad, all) in steps {
            if !bad.is_nan() && !all.is_nan() {
                k_sum += bad;
                n_sum += all;
            }
            k.push(k_sum);
            n.push(n_sum);
        }
        Self { k, n }
    }

    /// `(k, n)` over a span; never negative, and never more bad than all (an outcome may fall into the step after its attempt).
    pub fn over(&self, steps: Range<usize>) -> (f64, f64) {
        let last = self.k.len() - 1;
        let (start, end) = (steps.start.min(last), steps.end.min(last));
        let n = self.n[end] - self.n[start];
        ((self.k[end] - self.k[start]).clamp(0.0, n.max(0.0)), n.max(0.0))
    }

    /// Whether nothing bad ever happened.
    pub fn is_clean(&self) -> bool {
        self.k.windows(2).all(|w| w[1] <= w[0])
    }

    /// The rate that is normal for this unit at `start`, from its own past: all of it or the newest of it, whichever is lower, so that an earlier
    /// trouble that has passed does not count as normal.
    pub fn normal(&self, start: usize, rule: &Rule) -> f64 {
        let rate = |(k, n): (f64, f64)| (k + rule.normal * PRIOR_WEIGHT) / (n + PRIOR_WEIGHT);
        rate(self.over(0..start)).min(rate(self.over(start.saturating_sub(RECENT_STEPS)..start))).max(rule.normal)
    }
}

/// Steps that are unlike those before, and by how much.
#[derive(Debug, Clone, PartialEq)]
pub struct Span {
    pub steps: Range<usize>,
    /// Sum over units of the log-likelihood ratio.
    pub score: f64,
}

/// The most telling span whose start lies in `starts`; `None` if no unit changed.
pub fn find_span(units: &[Counts], rule: &Rule, starts: Range<usize>, steps: usize) -> Option<Span> {
    let suspects: Vec<&Counts> = units.iter().filter(|c| !c.is_clean()).collect();
    let score = |span: Range<usize>| suspects.iter().map(|c| unit_score(c, rule, span.clone())).sum::<f64>();
    let best_start = |end: usize| {
        let candidates = starts.clone().filter(|&s| s < end).map(|s| (score(s..end), s));
        // Of equals the latest: an empty step before the first bad one is not yet bad.
        candidates.max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)))
    };
    let (first, start) = best_start(steps)?;
    if first <= 0.0 {
        return None;
    }
    let ends = (start + 1..=steps).map(|e| (score(start..e), e));
    let end = ends.max_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1))).map_or(steps, |(_, e)| e);
    let (score, start) = best_start(end).unwrap_or((first, start));
    Some(Span { steps: start..end, score })
}

fn unit_score(counts: &Counts, rule: &Rule, span: Range<usize>) -> f64 {
    let normal = counts.normal(span.start, rule);
    let (k, n) = counts.over(span);
    if n <= 0.0 || k < rule.events_min || k / n < rule.rate_min.max(normal * rule.ratio_min) {
        return 0.0;
    }
    let ratio = binomial_log_ratio(k, n, k / n, normal) / OVERDISPERSION;
    let counted = (ratio - UNIT_MIN).max(0.0);
    // Soft, so that of two starts the better one still wins.
    counted / (1.0 + counted / UNIT_CAP)
}

/// Where within its first step the trouble began, as a fraction of a step after `span.start` (below 0: in the step before), from the pooled rates of the
/// guilty units: a step that is bad for a third of its time has a third of the rate.
pub fn refine(units: &[&Counts], normal: f64, span: &Range<usize>) -> f64 {
    let pooled = |steps: Range<usize>| {
        let (k, n) = units.iter().map(|c| c.over(steps.clone())).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        (n > 0.0).then(|| k / n)
    };
    let Some(full) = pooled(span.start + 1..span.end).filter(|_| span.end > span.start + 1) else { return 0.0 };
    let share = |step: usize| pooled(step..step + 1).map_or(0.0, |rate| ((rate - normal) / (full - normal).max(1e-9)).clamp(0.0, 1.0));
    let before = if span.start > 0 { share(span.start - 1) } else { 0.0 };
    // A tenth of the full rate in the step before is more than noise leaves there.
    if before > 0.1 { -before } else { 1.0 - share(span.start) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: Rule = Rule { normal: 0.001, rate_min: 0.005, ratio_min: 3.0, events_min: 3.0 };

    fn counts(series: &[(f64, f64)]) -> Counts {
        Counts::new(series.iter().copied())
    }

    #[test]
    fn finds_where_a_rate_changes_and_where_it_heals() {
        let mut series = vec![(0.0, 200.0); 8];
        series.extend([(10.0, 200.0); 5]);
        series.extend([(0.0, 200.0); 4]);
        let span = find_span(&[counts(&series), counts(&[(0.0, 100.0); 17])], &RULE, 0..17, 17).expect("changed");
        assert_eq!(span.steps, 8..13);
    }

    #[test]
    fn a_rate_that_was_always_so_is_no_change() {
        assert_eq!(find_span(&[counts(&[(10.0, 200.0); 20])], &RULE, 3..20, 20), None);
    }

    #[test]
    fn without_a_past_the_assumed_rate_stands_for_it() {
        let span = find_span(&[counts(&[(10.0, 200.0); 6])], &RULE, 0..6, 6).expect("bad from the start");
        assert_eq!(span.steps, 0..6);
    }

    #[test]
    fn a_missing_step_is_not_a_good_one() {
        let series = [(0.0, 100.0), (f64::NAN, 100.0), (5.0, 100.0)];
        assert_eq!(counts(&series).over(0..3), (5.0, 200.0));
    }

    #[test]
    fn the_first_step_tells_when_in_it() {
        let mut series = vec![(0.0, 200.0); 8];
        series.push((3.0, 200.0));
        series.extend([(10.0, 200.0); 4]);
        let c = counts(&series);
        assert!((refine(&[&c], 0.0, &(8..13)) - 0.7).abs() < 0.01);
        assert!((refine(&[&c], 0.0, &(9..13)) + 0.3).abs() < 0.01);
    }
}
