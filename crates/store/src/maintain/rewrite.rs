//! How rows of several files become the rows of one.

use crate::merge::Merge;
use crate::spec::TableSpec;
use datafusion::arrow::array::{Array, AsArray, RecordBatch, UInt64Array};
use datafusion::arrow::compute::SortColumn;
use datafusion::arrow::compute::{concat_batches, lexsort_to_indices, take_record_batch};
use datafusion::arrow::datatypes::TimestampMicrosecondType;
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::row::{OwnedRow, RowConverter, SortField};
use std::collections::HashMap;

/// What rows of one key mean together.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rewrite {
    /// Facts: they add up.
    AddUp,
    /// Versions by these columns: the latest counts.
    Latest(&'static [&'static str]),
}

/// Rows on their way into one file.
pub(crate) enum Rewriting {
    AddUp(Merge),
    Latest(&'static [&'static str], Vec<RecordBatch>),
}

impl Rewrite {
    pub(crate) fn start(self) -> Rewriting {
        match self {
            Self::AddUp => Rewriting::AddUp(Merge::all()),
            Self::Latest(keys) => Rewriting::Latest(keys, Vec::new()),
        }
    }
}

impl Rewriting {
    /// Takes rows of one more file in.
    pub(crate) fn add(&mut self, batch: RecordBatch) -> Result<(), ArrowError> {
        match self {
            Self::AddUp(merge) => merge.add_batch(&batch, |window_s, edge| Some((window_s, edge))),
            Self::Latest(_, batches) => {
                batches.push(batch);
                Ok(())
            }
        }
    }

    /// All rows, ordered by the table's time, in pieces that each lie within one span of the table's.
    pub(crate) fn finish(self, spec: &TableSpec) -> Result<Vec<RecordBatch>, ArrowError> {
        let rows = match self {
            Self::AddUp(merge) => merge.into_batch(&spec.schema)?,
            Self::Latest(keys, batches) => latest(spec, keys, &concat_batches(&spec.schema, &batches)?)?,
        };
        cut(spec, &rows)
    }
}

fn latest(spec: &TableSpec, keys: &[&str], rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let column = |name: &str| rows.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")));
    let keys = keys.iter().map(|name| column(name).cloned()).collect::<Result<Vec<_>, _>>()?;
    let converter = RowConverter::new(keys.iter().map(|key| SortField::new(key.data_type().clone())).collect())?;
    let keys = converter.convert_columns(&keys)?;
    let moments = column(spec.time)?.as_primitive::<TimestampMicrosecondType>();
    let mut last = HashMap::<OwnedRow, usize>::new();
    for row in 0..rows.num_rows() {
        last.entry(keys.row(row).owned())
            .and_modify(|kept| {
                if moments.value(row) >= moments.value(*kept) {
                    *kept = row
                }
            })
            .or_insert(row);
    }
    let mut kept: Vec<u64> = last.into_values().map(|row| row as u64).collect();
    kept.sort_unstable();
    let kept = take_record_batch(rows, &UInt64Array::from(kept))?;
    let sort = |name: &str| kept.column_by_name(name).map(|values| SortColumn { values: values.clone(), options: None });
    let order = lexsort_to_indices(&sort(spec.time).into_iter().collect::<Vec<_>>(), None)?;
    take_record_batch(&kept, &order)
}

fn cut(spec: &TableSpec, rows: &RecordBatch) -> Result<Vec<RecordBatch>, ArrowError> {
    let moments = rows.column_by_name(spec.time).ok_or_else(|| ArrowError::SchemaError(format!("no column {}", spec.time)))?;
    let span = |row: usize| moments.as_primitive::<TimestampMicrosecondType>().value(row).div_euclid(spec.span_s * 1_000_000);
    let (mut pieces, mut start) = (Vec::new(), 0);
    for row in 1..=rows.num_rows() {
        if row == rows.num_rows() || span(row) != span(start) {
            pieces.push(rows.slice(start, row - start));
            start = row;
        }
    }
    Ok(pieces)
}
