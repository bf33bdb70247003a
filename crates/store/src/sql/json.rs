//! Arrow cells as JSON.

use datafusion::arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Float64Type, Int64Type, TimeUnit, TimestampMicrosecondType};
use datafusion::arrow::error::ArrowError;
use datafusion::arrow::util::display::{ArrayFormatter, FormatOptions};
use edgescope_model::time::from_micros;
use serde_json::Value;

/// Largest integer that a JavaScript number holds exactly.
const EXACT_MAX: u64 = (1 << 53) - 1;

/// The batch's cells, by row.
pub(crate) fn rows(batch: &RecordBatch) -> Result<Vec<Vec<Value>>, ArrowError> {
    let mut rows = vec![Vec::with_capacity(batch.num_columns()); batch.num_rows()];
    for column in batch.columns() {
        let cells = cells(column)?;
        rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
    }
    Ok(rows)
}

/// Bytes that a cell takes, about.
pub(crate) fn size(cell: &Value) -> usize {
    match cell {
        Value::String(text) => text.len() + 2,
        _ => 8,
    }
}

fn cells(column: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    let each = |value: &dyn Fn(usize) -> Value| (0..column.len()).map(|row| if column.is_null(row) { Value::Null } else { value(row) }).collect();
    Ok(match column.data_type() {
        DataType::Null => vec![Value::Null; column.len()],
        DataType::Boolean => each(&|row| column.as_boolean().value(row).into()),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => {
            let floats = cast(column, &DataType::Float64)?;
            each(&|row| floats.as_primitive::<Float64Type>().value(row).into())
        }
        DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => {
            let integers = cast(column, &DataType::Int64)?;
            each(&|row| {
                let integer = integers.as_primitive::<Int64Type>().value(row);
                if integer.unsigned_abs() > EXACT_MAX { integer.to_string().into() } else { integer.into() }
            })
        }
        DataType::Timestamp(..) => {
            let moments = cast(column, &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())))?;
            each(&|row| {
                from_micros(moments.as_primitive::<TimestampMicrosecondType>().value(row)).to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true).into()
            })
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
            let bytes = cast(column, &DataType::Binary)?;
            each(&|row| bytes.as_binary::<i32>().value(row).iter().map(|byte| format!("{byte:02x}")).collect::<String>().into())
        }
        _ => {
            let format = FormatOptions::default();
            let texts = ArrayFormatter::try_new(column, &format)?;
            each(&|row| texts.value(row).to_string().into())
        }
    })
}
