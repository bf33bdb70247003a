//! Rows that add up: facts of one time and one edge (or group) become one row, each column as its signal's kind merges. Commits, roll-ups,
//! compaction and queries all add rows with this.

use crate::spec::{EDGE, WINDOW, timestamp};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BinaryBuilder, Int64Array, RecordBatch, TimestampMicrosecondArray};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Int64Type, SchemaRef, TimestampMicrosecondType};
use datafusion::arrow::error::ArrowError;
use datafusion::common::HashMap;
use edgescope_model::fact::{FactRow, column_at};
use edgescope_model::histogram::Histogram;
use edgescope_model::signal::{self, Kind};
use std::sync::Arc;

/// Stored values are counts, so no value is negative.
const NULL: i64 = -1;
const SECOND_US: i64 = 1_000_000;
/// Marks an input row that is left out.
const SKIP: u32 = u32::MAX;

/// Rows by `(time, edge)`: time in seconds and an edge's key, or whatever else two integers the caller groups by.
pub(crate) struct Merge {
    columns: Vec<Column>,
    /// Index into `columns` by position in the catalogue.
    places: Vec<Option<u16>>,
    index: HashMap<(i64, i64), u32>,
    keys: Vec<(i64, i64)>,
    /// Bytes in histograms' buckets, about.
    histogram_bytes: usize,
    /// Cells that could not be read as a histogram.
    pub unreadable: u64,
}

struct Column {
    /// Position in the catalogue's columns, and name in the table.
    at: u16,
    name: String,
    cells: Cells,
}

enum Cells {
    /// [`NULL`] where no row had it.
    Values(Kind, Vec<i64>),
    /// Empty where no row had it.
    Histograms(Vec<Histogram>),
}

impl Merge {
    /// Room for all columns of the catalogue.
    pub(crate) fn all() -> Self {
        Self::of((0..).map_while(|at| column_at(at).map(|_| at)))
    }

    /// Room for these columns of the catalogue.
    pub(crate) fn of(columns: impl IntoIterator<Item = u16>) -> Self {
        let column = |at| {
            let (signal, side) = column_at(at)?;
            let cells = if signal.kind == Kind::Histogram { Cells::Histograms(Vec::new()) } else { Cells::Values(signal.kind, Vec::new()) };
            Some(Column { at, name: signal::column(&signal, side), cells })
        };
        let columns: Vec<Column> = columns.into_iter().filter_map(column).collect();
        let mut places = vec![None; columns.iter().map(|column| usize::from(column.at) + 1).max().unwrap_or(0)];
        columns.iter().enumerate().for_each(|(place, column)| places[usize::from(column.at)] = Some(place as u16));
        Self { columns, places, index: HashMap::new(), keys: Vec::new(), histogram_bytes: 0, unreadable: 0 }
    }

    /// Number of merged rows.
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Memory held, about.
    pub(crate) fn bytes(&self) -> usize {
        let cell = |column: &Column| match column.cells {
            Cells::Values(..) => size_of::<i64>(),
            Cells::Histograms(_) => size_of::<Histogram>(),
        };
        // A key is held twice, in the index with a slot number and a control byte, at a load of 7/8 or less.
        self.keys.len() * (self.columns.iter().map(cell).sum::<usize>() + 64) + self.histogram_bytes
    }

    /// Keys of the merged rows, in the order of their slots.
    pub(crate) fn keys(&self) -> &[(i64, i64)] {
        &self.keys
    }

    /// Value of a catalogue column in a slot.
    pub(crate) fn value(&self, column: u16, slot: usize) -> Option<u64> {
        match &self.column(column)?.cells {
            Cells::Values(_, values) => u64::try_from(values[slot]).ok(),
            Cells::Histograms(_) => None,
        }
    }

    /// Histogram of a catalogue column in a slot.
    pub(crate) fn histogram(&self, column: u16, slot: usize) -> Option<&Histogram> {
        match &self.column(column)?.cells {
            Cells::Histograms(histograms) => Some(&histograms[slot]).filter(|h| !h.is_empty()),
            Cells::Values(..) => None,
        }
    }

    fn column(&self, at: u16) -> Option<&Column> {
        let place = (*self.places.get(usize::from(at))?)?;
        self.columns.get(usize::from(place))
    }

    fn cells_mut(&mut self, at: u16) -> Option<&mut Cells> {
        let place = (*self.places.get(usize::from(at))?)?;
        self.columns.get_mut(usize::from(place)).map(|column| &mut column.cells)
    }

    fn slot(&mut self, key: (i64, i64)) -> u32 {
        let next = self.keys.len() as u32;
        let slot = *self.index.entry(key).or_insert(next);
        if slot == next {
            self.keys.push(key);
            for column in &mut self.columns {
                match &mut column.cells {
                    Cells::Values(_, values) => values.push(NULL),
                    Cells::Histograms(histograms) => histograms.push(Histogram::default()),
                }
            }
        }
        slot
    }

    /// Adds a row that is not in a table yet. Values above `i64::MAX` count as that: 9 exabytes in one window.
    pub(crate) fn add_row(&mut self, edge: i64, row: &FactRow) {
        let slot = self.slot((row.window_start, edge)) as usize;
        for &(column, value) in &row.values {
            if let Some(Cells::Values(kind, values)) = self.cells_mut(column) {
                add(*kind, &mut values[slot], i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
        for (column, histogram) in &row.histograms {
            if let Some(Cells::Histograms(histograms)) = self.cells_mut(*column) {
                let grown = add_histogram(&mut histograms[slot], histogram);
                self.histogram_bytes += grown;
            }
        }
    }

    /// Adds the rows of a fact table's batch. `place` gives each `(window in seconds, edge)` its place, or leaves it out.
    pub(crate) fn add_batch(&mut self, batch: &RecordBatch, mut place: impl FnMut(i64, i64) -> Option<(i64, i64)>) -> Result<(), ArrowError> {
        let windows = typed(batch, WINDOW, &timestamp())?;
        let windows = windows.as_primitive::<TimestampMicrosecondType>().values();
        let edges = typed(batch, EDGE, &DataType::Int64)?;
        let edges = edges.as_primitive::<Int64Type>().values();
        let places = windows.iter().zip(edges.iter()).map(|(us, edge)| place(us.div_euclid(SECOND_US), *edge));
        let slots: Vec<u32> = places.map(|key| key.map_or(SKIP, |key| self.slot(key))).collect();
        for column in &mut self.columns {
            match &mut column.cells {
                Cells::Values(kind, values) => {
                    let cells = typed(batch, &column.name, &DataType::Int64)?;
                    add_values(*kind, values, &slots, cells.as_primitive::<Int64Type>());
                }
                Cells::Histograms(histograms) => {
                    let cells = typed(batch, &column.name, &DataType::Binary)?;
                    let cells = cells.as_binary::<i32>();
                    for (row, &slot) in slots.iter().enumerate() {
                        if slot == SKIP || cells.is_null(row) {
                            continue;
                        }
                        let into = &mut histograms[slot as usize];
                        let before = into.pairs().len();
                        match into.merge_bytes(cells.value(row)) {
                            Some(()) => self.histogram_bytes += (into.pairs().len() - before) * size_of::<(u16, u64)>(),
                            None => self.unreadable += 1,
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Adds another's rows, with their keys changed by `place`. Both have the same columns.
    pub(crate) fn absorb(&mut self, other: &Self, mut place: impl FnMut((i64, i64)) -> (i64, i64)) {
        let slots: Vec<u32> = other.keys.iter().map(|key| self.slot(place(*key))).collect();
        self.unreadable += other.unreadable;
        for (column, from) in self.columns.iter_mut().zip(&other.columns) {
            match (&mut column.cells, &from.cells) {
                (Cells::Values(kind, values), Cells::Values(_, from)) => {
                    for (&slot, &value) in slots.iter().zip(from).filter(|(_, value)| **value != NULL) {
                        add(*kind, &mut values[slot as usize], value);
                    }
                }
                (Cells::Histograms(histograms), Cells::Histograms(from)) => {
                    for (&slot, histogram) in slots.iter().zip(from) {
                        self.histogram_bytes += add_histogram(&mut histograms[slot as usize], histogram);
                    }
                }
                _ => {}
            }
        }
    }

    /// The rows as batches of a fact table, ordered by window and edge.
    pub(crate) fn into_batch(self, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
        let mut order: Vec<usize> = (0..self.keys.len()).collect();
        order.sort_unstable_by_key(|&slot| self.keys[slot]);
        let windows = TimestampMicrosecondArray::from_iter_values(order.iter().map(|&slot| self.keys[slot].0 * SECOND_US)).with_timezone("UTC");
        let edges = Int64Array::from_iter_values(order.iter().map(|&slot| self.keys[slot].1));
        let mut columns: Vec<ArrayRef> = vec![Arc::new(windows), Arc::new(edges)];
        columns.extend(self.columns.iter().map(|column| column.cells.array(&order)));
        RecordBatch::try_new(Arc::clone(schema), columns)
    }
}

impl Cells {
    fn array(&self, order: &[usize]) -> ArrayRef {
        match self {
            Self::Values(_, values) => Arc::new(Int64Array::from_iter(order.iter().map(|&slot| Some(values[slot]).filter(|v| *v != NULL)))),
            Self::Histograms(histograms) => {
                let mut cells = BinaryBuilder::new();
                for histogram in order.iter().map(|&slot| &histograms[slot]) {
                    if histogram.is_empty() { cells.append_null() } else { cells.append_value(histogram.to_bytes()) }
                }
                Arc::new(cells.finish())
            }
        }
    }
}

/// A column as the type it should have; a reader may have chosen another form of it.
fn typed(batch: &RecordBatch, name: &str, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let column = batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")))?;
    if column.data_type() == wanted { Ok(Arc::clone(column)) } else { cast(column, wanted) }
}

fn add(kind: Kind, into: &mut i64, value: i64) {
    *into = match kind {
        _ if *into == NULL => value,
        Kind::Sum | Kind::Histogram => into.saturating_add(value),
        Kind::Max => value.max(*into),
        Kind::Min => value.min(*into),
    };
}

fn add_values(kind: Kind, into: &mut [i64], slots: &[u32], cells: &Int64Array) {
    if cells.null_count() == cells.len() {
        return;
    }
    for (row, &slot) in slots.iter().enumerate() {
        if slot != SKIP && cells.is_valid(row) {
            add(kind, &mut into[slot as usize], cells.value(row));
        }
    }
}

/// Merges and says by how many bytes the buckets grew.
fn add_histogram(into: &mut Histogram, from: &Histogram) -> usize {
    let before = into.pairs().len();
    into.merge(from);
    (into.pairs().len() - before) * size_of::<(u16, u64)>()
}
