//! Rows of the `endpoints` table.

use crate::batch::EndpointRow;
use crate::spec;
use chrono::{DateTime, Utc};
use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int32Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use datafusion::arrow::datatypes::{Int32Type, TimestampMicrosecondType};
use datafusion::arrow::error::ArrowError;
use edgescope_model::dims::EndDims;
use edgescope_model::time::from_micros;
use std::sync::Arc;

type Get = fn(&EndDims) -> &String;
type Set = fn(&mut EndDims) -> &mut String;

/// The owner's columns.
const OWNER: [(&str, Get, Set); 10] = [
    ("workload", |d| &d.workload, |d| &mut d.workload),
    ("namespace", |d| &d.namespace, |d| &mut d.namespace),
    ("pod", |d| &d.pod, |d| &mut d.pod),
    ("process", |d| &d.process, |d| &mut d.process),
    ("node", |d| &d.node, |d| &mut d.node),
    ("zone", |d| &d.zone, |d| &mut d.zone),
    ("region", |d| &d.region, |d| &mut d.region),
    ("environment", |d| &d.environment, |d| &mut d.environment),
    ("image", |d| &d.image, |d| &mut d.image),
    ("resolution_type", |d| &d.resolution_type, |d| &mut d.resolution_type),
];

fn moments(of: impl Iterator<Item = Option<DateTime<Utc>>>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter(of.map(|moment| moment.map(|m| m.timestamp_micros()))).with_timezone("UTC"))
}

pub(crate) fn to_batch(rows: &[EndpointRow], now: DateTime<Utc>) -> Result<RecordBatch, ArrowError> {
    let mut columns: Vec<ArrayRef> = vec![
        moments(rows.iter().map(|_| Some(now))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| row.address.to_string()))),
        Arc::new(Int32Array::from_iter_values(rows.iter().map(|row| i32::from(row.port)))),
        Arc::new(StringArray::from_iter_values(rows.iter().map(|row| &row.agent_id))),
    ];
    for (_, get, _) in OWNER {
        columns.push(Arc::new(StringArray::from_iter_values(rows.iter().map(|row| get(&row.owner)))));
    }
    columns.push(moments(rows.iter().map(|row| Some(row.from))));
    columns.push(moments(rows.iter().map(|row| row.to)));
    columns.push(Arc::new(BooleanArray::from_iter(rows.iter().map(|row| Some(row.shared)))));
    RecordBatch::try_new(spec::endpoints().schema, columns)
}

/// Rows with the moment each was written, and how many were left out since their address cannot be read.
type Read = (Vec<(DateTime<Utc>, EndpointRow)>, u64);

pub(crate) fn from_batch(batch: &RecordBatch) -> Result<Read, ArrowError> {
    let column = |name: &str| batch.column_by_name(name).ok_or_else(|| ArrowError::SchemaError(format!("no column {name}")));
    let moment = |name: &str| Ok::<_, ArrowError>(column(name)?.as_primitive::<TimestampMicrosecondType>());
    let (updated, from, to) = (moment(spec::UPDATED)?, moment("from_time")?, moment("to_time")?);
    let (addresses, agents, ports) =
        (column("address")?.as_string::<i32>(), column("agent")?.as_string::<i32>(), column("port")?.as_primitive::<Int32Type>());
    let shared = column("shared")?.as_boolean();
    let (mut rows, mut unreadable) = (Vec::with_capacity(batch.num_rows()), 0);
    for at in 0..batch.num_rows() {
        let Ok(address) = addresses.value(at).parse() else {
            unreadable += 1;
            continue;
        };
        let mut owner = EndDims::default();
        for (name, _, set) in OWNER {
            *set(&mut owner) = column(name)?.as_string::<i32>().value(at).to_owned();
        }
        let row = EndpointRow {
            address,
            port: u16::try_from(ports.value(at)).unwrap_or(0),
            owner,
            agent_id: agents.value(at).to_owned(),
            from: from_micros(from.value(at)),
            to: to.is_valid(at).then(|| from_micros(to.value(at))),
            shared: shared.value(at),
        };
        rows.push((from_micros(updated.value(at)), row));
    }
    Ok((rows, unreadable))
}
