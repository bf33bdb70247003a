//! The tables: names, columns, and what their rows are ordered and expired by. Fact columns follow the signal catalogue, dimension columns the
//! dimensions; none is written out by hand.

use datafusion::arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use edgescope_model::dims::Dim;
use edgescope_model::signal::{self, Kind};
use std::sync::Arc;

/// Version of all tables' layout; a table of a later one is refused.
pub(crate) const SCHEMA_VERSION: u32 = 1;
/// Table property that holds it.
pub(crate) const SCHEMA_PROPERTY: &str = "edgescope.schemaVersion";

/// Start of a fact's window.
pub(crate) const WINDOW: &str = "window_start";
/// An edge's key.
pub(crate) const EDGE: &str = "edge";
/// When a record was written.
pub(crate) const UPDATED: &str = "updated_at";

/// One table's shape.
#[derive(Debug, Clone)]
pub(crate) struct TableSpec {
    pub name: &'static str,
    pub schema: SchemaRef,
    /// Timestamp column that files are pruned, ordered and expired by.
    pub time: &'static str,
    /// Seconds of time that one compacted file spans at most.
    pub span_s: i64,
}

/// The type of every moment: microseconds, UTC.
pub(crate) fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
}

fn spec(name: &'static str, time: &'static str, span_s: i64, fields: Vec<Field>) -> TableSpec {
    TableSpec { name, schema: Arc::new(Schema::new(fields)), time, span_s }
}

fn moment(name: &str) -> Field {
    Field::new(name, timestamp(), false)
}

fn text(name: &str) -> Field {
    Field::new(name, DataType::Utf8, false)
}

fn long(name: &str) -> Field {
    Field::new(name, DataType::Int64, false)
}

/// A table of facts: window, edge, and a column for each of [`signal::columns`].
pub(crate) fn facts(name: &'static str, span_s: i64) -> TableSpec {
    let cells = signal::columns().map(|(signal, side)| {
        let cell = if signal.kind == Kind::Histogram { DataType::Binary } else { DataType::Int64 };
        Field::new(signal::column(&signal, side), cell, true)
    });
    spec(name, WINDOW, span_s, [moment(WINDOW), long(EDGE)].into_iter().chain(cells).collect())
}

/// Dimensions that have a column in `edge_dims`: all but the computed one, in the order of [`Dim::all`].
pub(crate) fn stored_dims() -> impl Iterator<Item = Dim> {
    Dim::all().filter(|dim| *dim != Dim::AzEqual)
}

/// `edge_dims`: key to dimensions. `rolled` is the key of the same edge in roll-ups; `updated_at` the last day it was active.
pub(crate) fn edge_dims() -> TableSpec {
    let dims = stored_dims().map(|dim| if dim == Dim::Port { Field::new(dim.column(), DataType::Int32, false) } else { text(&dim.column()) });
    spec("edge_dims", UPDATED, 30 * 86_400, [moment(UPDATED), long(EDGE), long("rolled")].into_iter().chain(dims).collect())
}

/// What makes an address's owner: all but how long. The same that the server takes the last word by, and when it began.
pub(crate) const ENDPOINT_KEY: [&str; 15] = [
    "address",
    "port",
    "agent",
    "from_time",
    "shared",
    "workload",
    "namespace",
    "pod",
    "process",
    "node",
    "zone",
    "region",
    "environment",
    "image",
    "resolution_type",
];

/// `endpoints`: who held an address from when to when, as an agent said.
pub(crate) fn endpoints() -> TableSpec {
    let owner = ["workload", "namespace", "pod", "process", "node", "zone", "region", "environment", "image", "resolution_type"].map(text);
    let mut fields = vec![moment(UPDATED), text("address"), Field::new("port", DataType::Int32, false), text("agent")];
    fields.extend(owner);
    fields.extend([moment("from_time"), Field::new("to_time", timestamp(), true), Field::new("shared", DataType::Boolean, false)]);
    spec("endpoints", UPDATED, 30 * 86_400, fields)
}

/// `agent_windows`: what arrived from an agent, a row a batch.
pub(crate) fn agent_windows() -> TableSpec {
    let fields = vec![
        moment(WINDOW),
        moment("window_end"),
        text("agent"),
        long("sequence"),
        moment("received_at"),
        long("rows"),
        long("sockets"),
        long("clock_offset_us"),
        long("caught_up_us"),
        text("losses"),
    ];
    spec("agent_windows", WINDOW, 6 * 3600, fields)
}

/// A table of records whose latest version counts: id, state, the whole as JSON.
pub(crate) fn records(name: &'static str) -> TableSpec {
    spec(name, UPDATED, 30 * 86_400, vec![moment(UPDATED), text("id"), text("state"), moment("since"), text("payload")])
}
