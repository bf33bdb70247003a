//! Measures from added-up columns, in shown units.

use super::plan::part;
use crate::merge::Merge;
use edgescope_model::fact::column_of;
use edgescope_model::signal::{Measure, Side, Signal};

/// A measure of one merged row; `seconds` is the time that the row stands for. `None`: no row had it.
pub(crate) fn measure(measure: &Measure, merge: &Merge, slot: usize, seconds: f64) -> Option<f64> {
    let value = |signal: &Signal, side| merge.value(column_of(signal, side)?, slot).map(|value| value as f64 * signal.unit.scale());
    let histogram = |signal: &Signal| merge.histogram(column_of(signal, Side::Merged)?, slot);
    match measure {
        Measure::Value(signal, side) => value(signal, *side),
        Measure::Rate(signal, side) => value(signal, *side).map(|value| value / seconds),
        Measure::Quantile(signal, q) => histogram(signal)?.quantile(*q).map(|value| value * signal.unit.scale()),
        Measure::Count(signal) => histogram(signal).map(|histogram| histogram.count() as f64),
        Measure::Derived(derived) => derived.quotient(|name| {
            let (signal, side) = part(name)?;
            value(&signal, side)
        }),
    }
}
