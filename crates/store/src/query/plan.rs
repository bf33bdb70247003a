//! What a query needs, worked out before anything is read.

use super::filter::Filter;
use chrono::{DateTime, Utc};
use edgescope_model::dims::{Dim, EndField};
use edgescope_model::fact::column_of;
use edgescope_model::query::{EdgeQuery, QueryError};
use edgescope_model::signal::{Measure, Side, Signal};
use edgescope_model::time::Resolution;
use std::collections::BTreeSet;

/// Longest range that ten-second rows answer where one-minute rows could: 1,080 windows.
const TEN_SECONDS_RANGE_S: i64 = 3 * 3600;

/// A checked query.
pub(crate) struct Plan {
    pub dims: Vec<Dim>,
    /// The query's measures, then those that only its filter reads.
    pub measures: Vec<Measure>,
    pub filter: Filter,
    /// Catalogue columns to read.
    pub columns: BTreeSet<u16>,
    /// Only ten-second rows can answer: they alone have pods and addresses.
    pub ten_seconds_only: bool,
    /// Ten-second rows should answer as long as there are any: minutes have no steps so short.
    pub ten_seconds_rather: bool,
    pub step_s: Option<i64>,
}

/// A range in whole seconds: windows that start in `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub from_s: i64,
    pub to_s: i64,
}

impl Range {
    /// Rounded outwards to whole seconds.
    pub(crate) fn of(from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        Self { from_s: from.timestamp(), to_s: up(to) }
    }

    /// With the windows that it cuts in it whole, so that what is counted and the time by which a rate divides belong together. A window that still
    /// runs has no more than there was until now.
    pub(crate) fn aligned(self, window_s: i64, now: DateTime<Utc>) -> Self {
        let end_s = (self.to_s + window_s - 1).div_euclid(window_s) * window_s;
        Self { from_s: self.from_s.div_euclid(window_s) * window_s, to_s: end_s.min(self.to_s.max(up(now))) }
    }

    pub(crate) fn seconds(&self) -> i64 {
        self.to_s - self.from_s
    }

    /// Whether one-minute rows should answer, where both could.
    pub(crate) fn is_long(&self) -> bool {
        self.seconds() > TEN_SECONDS_RANGE_S
    }
}

fn up(moment: DateTime<Utc>) -> i64 {
    moment.timestamp() + i64::from(moment.timestamp_subsec_nanos() > 0)
}

impl Plan {
    pub(crate) fn of(query: &EdgeQuery) -> Result<Self, QueryError> {
        let (dims, mut measures) = query.check()?;
        let filter = query.filter.as_deref().filter(|text| !text.trim().is_empty()).map_or_else(|| Ok(Filter::default()), Filter::parse)?;
        measures.extend(filter.measures.reads.iter().map(|(_, measure)| *measure));
        let fine = |dim: &Dim| matches!(dim, Dim::Source(EndField::Pod | EndField::Ip) | Dim::Dest(EndField::Pod | EndField::Ip));
        let step_s = query.step_s.map(i64::from);
        Ok(Self {
            columns: measures.iter().flat_map(columns).collect(),
            ten_seconds_only: dims.iter().any(fine) || filter.dims.reads.iter().any(|(_, dim)| fine(dim)),
            ten_seconds_rather: step_s.is_some_and(|s| s < Resolution::Minute.seconds()),
            dims,
            measures,
            filter,
            step_s,
        })
    }
}

/// Columns that a measure is made of.
fn columns(measure: &Measure) -> Vec<u16> {
    match measure {
        Measure::Value(signal, side) | Measure::Rate(signal, side) => column_of(signal, *side).into_iter().collect(),
        Measure::Quantile(signal, _) | Measure::Count(signal) | Measure::Buckets(signal) => column_of(signal, Side::Merged).into_iter().collect(),
        Measure::Derived(derived) => derived.numerator.iter().chain(derived.denominator).filter_map(|(part, _)| part_column(part)).collect(),
    }
}

/// Column and signal of a part of a quotient.
pub(crate) fn part(name: &str) -> Option<(Signal, Side)> {
    match Measure::parse(name) {
        Ok(Measure::Value(signal, side)) => Some((signal, side)),
        _ => None,
    }
}

fn part_column(name: &str) -> Option<u16> {
    part(name).and_then(|(signal, side)| column_of(&signal, side))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::time::from_seconds;

    #[test]
    fn ranges_hold_whole_windows_and_no_future() {
        let range = Range { from_s: 130, to_s: 250 };
        for (window_s, now_s, aligned) in [(10, 1000, (130, 250)), (60, 1000, (120, 300)), (60, 255, (120, 255)), (60, 200, (120, 250))] {
            let got = range.aligned(window_s, from_seconds(now_s));
            assert_eq!((got.from_s, got.to_s), aligned, "windows of {window_s} s at {now_s}");
        }
    }
}
