//! Measures from added-up columns, in shown units.

use super::plan::part;
use crate::merge::Merge;
use edgescope_model::fact::column_of;
use edgescope_model::histogram::Histogram;
use edgescope_model::signal::{Measure, Side, Signal};

/// A measure of one merged row; `seconds` is the time that the row stands for. `None`: no row had it.
pub(crate) fn measure(measure: &Measure, merge: &Merge, slot: usize, seconds: f64) -> Option<f64> {
    let value = |signal: &Signal, side| merge.value(column_of(signal, side)?, slot).map(|value| value as f64 * signal.unit.scale());
    let histogram = |signal: &Signal| merge.histogram(column_of(signal, Side::Merged)?, slot);
    match measure {
        Measure::Value(signal, side) => value(signal, *side),
        Measure::Rate(signal, side) => value(signal, *side).map(|value| value / seconds),
        Measure::Quantile(signal, q) => histogram(signal)?.quantile(*q).map(|value| value * signal.unit.scale()),
        Measure::Count(signal) | Measure::Buckets(signal) => histogram(signal).map(|histogram| histogram.count() as f64),
        Measure::Derived(derived) => derived.quotient(|name| {
            let (signal, side) = part(name)?;
            value(&signal, side)
        }),
    }
}

/// The histograms of one merged row that measures ask for as they are, in the order of the measures; an empty one: no row had it.
pub(crate) fn buckets(measures: &[Measure], merge: &Merge, slot: usize) -> Vec<Histogram> {
    let of = |signal: &Signal| merge.histogram(column_of(signal, Side::Merged)?, slot).cloned();
    let asked = measures.iter().filter_map(|measure| match measure {
        Measure::Buckets(signal) => Some(signal),
        _ => None,
    });
    asked.map(|signal| of(signal).unwrap_or_default()).collect()
}
