//! SQL functions over histogram cells: `histogram_merge` (aggregate), `histogram_quantile`, `histogram_count`.

use datafusion::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type};
use datafusion::common::ScalarValue;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Accumulator, ColumnarValue, Volatility, create_udaf, create_udf};
use datafusion::prelude::SessionContext;
use edgescope_model::histogram::Histogram;
use std::sync::Arc;

/// Makes the functions known to a session.
pub(crate) fn register(context: &SessionContext) {
    context.register_udaf(create_udaf(
        "histogram_merge",
        vec![DataType::Binary],
        Arc::new(DataType::Binary),
        Volatility::Immutable,
        Arc::new(|_| Ok(Box::<Merging>::default())),
        Arc::new(vec![DataType::Binary]),
    ));
    let quantile = Arc::new(|args: &[ColumnarValue]| {
        let args = ColumnarValue::values_to_arrays(args)?;
        let q = cast(&args[1], &DataType::Float64)?;
        let q = q.as_primitive::<Float64Type>();
        let values = histograms(&args[0])?.into_iter().zip(q.iter()).map(|(histogram, q)| histogram?.quantile(q?));
        Ok(ColumnarValue::Array(Arc::new(values.collect::<Float64Array>())))
    });
    context.register_udf(create_udf(
        "histogram_quantile",
        vec![DataType::Binary, DataType::Float64],
        DataType::Float64,
        Volatility::Immutable,
        quantile,
    ));
    let count = Arc::new(|args: &[ColumnarValue]| {
        let args = ColumnarValue::values_to_arrays(args)?;
        let counts = histograms(&args[0])?.into_iter().map(|histogram| i64::try_from(histogram?.count()).ok());
        Ok(ColumnarValue::Array(Arc::new(counts.collect::<Int64Array>())))
    });
    context.register_udf(create_udf("histogram_count", vec![DataType::Binary], DataType::Int64, Volatility::Immutable, count));
}

/// The column's histograms; null where null.
fn histograms(column: &ArrayRef) -> Result<Vec<Option<Histogram>>> {
    let bytes = cast(column, &DataType::Binary)?;
    bytes.as_binary::<i32>().iter().map(|cell| cell.map(read).transpose()).collect()
}

fn read(cell: &[u8]) -> Result<Histogram> {
    Histogram::from_bytes(cell).ok_or_else(|| DataFusionError::Execution("the value is no histogram".to_owned()))
}

#[derive(Debug, Default)]
struct Merging {
    merged: Histogram,
}

impl Accumulator for Merging {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        histograms(&values[0])?.iter().flatten().for_each(|histogram| self.merged.merge(histogram));
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Binary((!self.merged.is_empty()).then(|| self.merged.to_bytes())))
    }

    fn size(&self) -> usize {
        size_of_val(self) + size_of_val(self.merged.pairs())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.evaluate()?])
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        self.update_batch(states)
    }
}
