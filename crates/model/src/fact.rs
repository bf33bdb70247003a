//! A fact: what one batch adds to one edge in one window. The server's resolver makes them, the store commits them.

use crate::dims::EdgeDims;
use crate::histogram::Histogram;
use crate::signal::{Kind, Side, Signal, columns};
use std::collections::HashMap;
use std::sync::LazyLock;

/// One row: absent columns are null. Rows of one edge and window add up (see [`Kind`]).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FactRow {
    /// Start of the window, in whole seconds since the epoch, server time.
    pub window_start: i64,
    pub dims: EdgeDims,
    /// Sums, maxima and minima: `(column, stored value)`, ascending by column, one a column.
    pub values: Vec<(u16, u64)>,
    /// Histograms: `(column, histogram)`, ascending by column, one a column, none empty.
    pub histograms: Vec<(u16, Histogram)>,
}

static COLUMNS: LazyLock<Vec<(Signal, Side)>> = LazyLock::new(|| columns().collect());
static INDEX: LazyLock<HashMap<(u16, Side), u16>> =
    LazyLock::new(|| COLUMNS.iter().enumerate().map(|(at, (signal, side))| ((signal.id, *side), at as u16)).collect());

/// Signal and side of a column, by its position in [`columns`]; `None` beyond the last.
pub fn column_at(column: u16) -> Option<(Signal, Side)> {
    COLUMNS.get(usize::from(column)).copied()
}

/// Position in [`columns`] of a signal's side; `None` if the signal has no such side.
pub fn column_of(signal: &Signal, side: Side) -> Option<u16> {
    INDEX.get(&(signal.id, side)).copied()
}

impl FactRow {
    /// An empty row of an edge.
    pub fn new(window_start: i64, dims: EdgeDims) -> Self {
        Self { window_start, dims, ..Self::default() }
    }

    /// Value of a column that is not a histogram.
    pub fn value(&self, column: u16) -> Option<u64> {
        self.values.binary_search_by_key(&column, |&(c, _)| c).ok().map(|at| self.values[at].1)
    }

    /// Histogram of a column.
    pub fn histogram(&self, column: u16) -> Option<&Histogram> {
        self.histograms.binary_search_by_key(&column, |&(c, _)| c).ok().map(|at| &self.histograms[at].1)
    }

    /// Adds a value to a column as the signal's kind merges; sums saturate.
    pub fn add(&mut self, column: u16, kind: Kind, value: u64) {
        match self.values.binary_search_by_key(&column, |&(c, _)| c) {
            Ok(at) => self.values[at].1 = merged(kind, self.values[at].1, value),
            Err(at) => self.values.insert(at, (column, value)),
        }
    }

    /// Merges a histogram into a column; an empty one changes nothing.
    pub fn add_histogram(&mut self, column: u16, histogram: &Histogram) {
        if histogram.is_empty() {
            return;
        }
        match self.histograms.binary_search_by_key(&column, |&(c, _)| c) {
            Ok(at) => self.histograms[at].1.merge(histogram),
            Err(at) => self.histograms.insert(at, (column, histogram.clone())),
        }
    }

    /// Adds all of another row of the same edge and window. Columns that the catalogue does not know are left out.
    pub fn merge(&mut self, other: &Self) {
        for &(column, value) in &other.values {
            if let Some((signal, _)) = column_at(column) {
                self.add(column, signal.kind, value);
            }
        }
        for (column, histogram) in &other.histograms {
            self.add_histogram(*column, histogram);
        }
    }

    /// True if no column holds anything.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty() && self.histograms.is_empty()
    }
}

/// Two stored values of one column as one; histograms do not come this way and add.
pub fn merged(kind: Kind, a: u64, b: u64) -> u64 {
    match kind {
        Kind::Sum | Kind::Histogram => a.saturating_add(b),
        Kind::Max => a.max(b),
        Kind::Min => a.min(b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal::{TCP_BYTES, TCP_RETRANS, TCP_RTT, TCP_RTT_MAX, TCP_RTT_MIN};

    #[test]
    fn columns_are_found_both_ways() {
        for (at, (signal, side)) in columns().enumerate() {
            assert_eq!(column_of(&signal, side), Some(at as u16));
            assert_eq!(column_at(at as u16), Some((signal, side)));
        }
        assert_eq!(column_of(&TCP_RETRANS, Side::Sent), None);
    }

    #[test]
    fn rows_add_up_by_kind() {
        let column = |s| column_of(s, Side::Merged).unwrap();
        let row = |bytes, rtt_us: u64| {
            let mut row = FactRow::new(10, EdgeDims::default());
            row.add(column(&TCP_RTT_MAX), Kind::Max, rtt_us);
            row.add(column(&TCP_RTT_MIN), Kind::Min, rtt_us);
            row.add(column(&TCP_BYTES), Kind::Sum, bytes);
            let mut histogram = Histogram::default();
            histogram.record(rtt_us);
            row.add_histogram(column(&TCP_RTT), &histogram);
            row
        };
        let mut all = row(5, 100);
        all.merge(&row(7, 300));
        assert_eq!(all.value(column(&TCP_BYTES)), Some(12));
        assert_eq!(all.value(column(&TCP_RTT_MAX)), Some(300));
        assert_eq!(all.value(column(&TCP_RTT_MIN)), Some(100));
        assert_eq!(all.histogram(column(&TCP_RTT)).map(Histogram::count), Some(2));
        assert_eq!(all.value(column(&TCP_RETRANS)), None);
        assert!(all.values.is_sorted());
    }
}
