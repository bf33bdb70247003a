//! The catalogue's further signals under the catalogue's names: what the original collector had no metric for. Off unless enabled.

use super::{Category, Formula, Instrument, Metric, Set, legacy};
use crate::signal::{CATALOGUE, Kind, Signal, Unit};
use std::collections::HashSet;

/// One for each signal whose name no legacy metric bears.
pub fn metrics() -> Vec<Metric> {
    let taken: HashSet<_> = legacy::metrics().iter().map(|metric| metric.name).collect();
    CATALOGUE.iter().filter(|signal| !taken.contains(signal.name)).filter_map(metric).collect()
}

/// `None`: its name begins with no category, which a test refuses.
fn metric(signal: &'static Signal) -> Option<Metric> {
    let category = Category::of(signal.name)?;
    let (instrument, formula) = match (signal.kind, signal.unit) {
        (Kind::Sum, Unit::SocketSeconds) => (Instrument::Gauge, Formula::Level(signal.name)),
        (Kind::Sum, _) => (Instrument::Sum, Formula::Sum(std::slice::from_ref(&signal.name))),
        (Kind::Max | Kind::Min, _) => (Instrument::Gauge, Formula::Value(signal.name)),
        (Kind::Histogram, _) => (Instrument::Histogram, Formula::Histogram(signal.name)),
    };
    // Socket-seconds divided by seconds are sockets.
    let unit = if signal.unit == Unit::SocketSeconds { "1" } else { signal.unit.symbol() };
    Some(Metric::plain(signal.name, Set::Own, category, instrument, unit, formula).brief(signal.brief).off())
}
