//! What a query needs, worked out before anything is read.

use super::filter::Filter;
use chrono::{DateTime, Utc};
use edgescope_model::dims::{Dim, EndField};
use edgescope_model::fact::column_of;
use edgescope_model::query::{EdgeQuery, QueryError};
use edgescope_model::signal::{Measure, Side, Signal};
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
    /// Only ten-second rows can answer: they alone have pods and addresses, or steps so short.
    pub ten_seconds_only: bool,
    pub step_s: Option<i64>,
}

/// A range in whole seconds: windows that start in `from..to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Range {
    pub from_s: i64,
    pub to_s: i64,
}

impl Range {
    /// Rounded up to whole seconds on both sides: windows start on whole seconds, so the same ones are in it.
    pub(crate) fn of(from: DateTime<Utc>, to: DateTime<Utc>) -> Self {
        let up = |moment: DateTime<Utc>| moment.timestamp() + i64::from(moment.timestamp_subsec_nanos() > 0);
        Self { from_s: up(from), to_s: up(to) }
    }

    pub(crate) fn seconds(&self) -> i64 {
        self.to_s - self.from_s
    }

    /// Whether one-minute rows should answer, where both could.
    pub(crate) fn is_long(&self) -> bool {
        self.seconds() > TEN_SECONDS_RANGE_S
    }
}

impl Plan {
    pub(crate) fn of(query: &EdgeQuery) -> Result<Self, QueryError> {
        let (dims, mut measures) = query.check()?;
        let filter = query.filter.as_deref().filter(|text| !text.trim().is_empty()).map_or_else(|| Ok(Filter::default()), Filter::parse)?;
        if query.compare_from.is_some() != query.compare_to.is_some() {
            return Err(QueryError::Store("compare_from and compare_to go together".to_owned()));
        }
        if let (Some(from), Some(to)) = (query.compare_from, query.compare_to)
            && from >= to
        {
            return Err(QueryError::Range { from, to });
        }
        measures.extend(filter.measures.reads.iter().map(|(_, measure)| *measure));
        let fine = |dim: &Dim| matches!(dim, Dim::Source(EndField::Pod | EndField::Ip) | Dim::Dest(EndField::Pod | EndField::Ip));
        let step_s = query.step_s.map(i64::from);
        Ok(Self {
            columns: measures.iter().flat_map(columns).collect(),
            ten_seconds_only: dims.iter().any(fine) || filter.dims.reads.iter().any(|(_, dim)| fine(dim)) || step_s.is_some_and(|s| s < 60),
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
        Measure::Quantile(signal, _) | Measure::Count(signal) => column_of(signal, Side::Merged).into_iter().collect(),
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
