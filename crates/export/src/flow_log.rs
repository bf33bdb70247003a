//! Flow logs: the edges of one window, each a record. As JSON lines, or as OTLP logs with the same names for attributes.

use crate::otlp::{Sender, Span, attribute, nanos, text};
use chrono::{DateTime, SecondsFormat, Utc};
use edgescope_model::dims::Dim;
use edgescope_model::query::{EdgeQuery, EdgeRow, EdgeTable};
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs, SeverityNumber};
use serde_json::{Map, Value};

/// Seconds of a window.
pub const WINDOW_S: i64 = 10;
/// Records of one OTLP request: 26 dimensions and the measures of one are about 1.5 KiB.
pub const RECORDS_MAX: usize = 1_000;
/// What a record tells of a flow, in shown units.
pub const MEASURES: [&str; 27] = [
    "tcp.bytes",
    "tcp.segments",
    "tcp.retrans",
    "tcp.retrans_syn",
    "tcp.retrans_synack",
    "tcp.srtt",
    "tcp.srtt_samples",
    "tcp.rtt_max",
    "tcp.active",
    "tcp.stalled",
    "tcp.connects",
    "tcp.connects_established",
    "tcp.connect_timeouts",
    "tcp.connects_refused",
    "tcp.connects_unreachable",
    "tcp.accepts",
    "tcp.closes",
    "tcp.resets",
    "udp.bytes",
    "udp.datagrams",
    "udp.drops",
    "dns.requests",
    "dns.responses",
    "dns.timeouts",
    "http.requests",
    "http.status_5xx",
    "http.unanswered",
];

/// The question for one window.
pub fn query(from: DateTime<Utc>, to: DateTime<Utc>, filter: Option<String>, edges_max: usize) -> EdgeQuery {
    EdgeQuery {
        group_by: Dim::all().map(|dim| dim.to_string()).collect(),
        measures: MEASURES.map(str::to_owned).to_vec(),
        filter,
        sort: Some("-tcp.bytes".to_owned()),
        limit: Some(edges_max),
        ..EdgeQuery::totals(from, to, &[], &[])
    }
}

/// One flow as a line of JSON, without its line end. What is unknown is left out.
pub fn json_line(table: &EdgeTable, row: &EdgeRow) -> String {
    let mut record = Map::new();
    let time = |at: DateTime<Utc>| Value::from(at.to_rfc3339_opts(SecondsFormat::Secs, true));
    record.insert("from".to_owned(), time(table.from));
    record.insert("to".to_owned(), time(table.to));
    record.extend(known_dims(table, row).map(|(name, value)| (name.to_owned(), Value::from(value))));
    record.extend(known_values(table, row).map(|(name, value)| (name.to_owned(), Value::from(value))));
    Value::Object(record).to_string()
}

/// The original collector's line: `src.ip src.workload dst.ip dst.workload bytes active_rtts active_sockets rtt_avg delivered retrans syn_timeouts new_sockets
/// resets`, between spaces, with `-` for what is unknown; `rtt_avg` in seconds. Spaces in names become underscores, so that the columns hold.
pub fn legacy_line(table: &EdgeTable, row: &EdgeRow) -> String {
    let dim = |name: &str| {
        let value = table.dim(name).and_then(|at| row.key.get(at)).map_or("", String::as_str);
        if value.is_empty() { "-".to_owned() } else { value.replace(char::is_whitespace, "_") }
    };
    let value = |name: &str| table.measure(name).and_then(|at| row.totals[at]);
    // From a positive zero: the sum of nothing would be written as -0.
    let sum = |names: &[&str]| names.iter().filter_map(|name| value(name)).fold(0.0, |sum, value| sum + value);
    let rtt = value("tcp.srtt").zip(value("tcp.srtt_samples")).filter(|(_, samples)| *samples > 0.0).map_or(0.0, |(sum, samples)| sum / samples);
    let seconds = (table.to - table.from).num_seconds() as f64;
    let words = [
        dim("source.ip"),
        dim("source.workload"),
        dim("dest.ip"),
        dim("dest.workload"),
        sum(&["tcp.bytes"]).to_string(),
        sum(&["tcp.srtt_samples"]).to_string(),
        (sum(&["tcp.active"]) / seconds).to_string(),
        rtt.to_string(),
        sum(&["tcp.segments"]).to_string(),
        sum(&["tcp.retrans"]).to_string(),
        sum(&["tcp.retrans_syn", "tcp.retrans_synack"]).to_string(),
        sum(&["tcp.connects"]).to_string(),
        sum(&["tcp.resets"]).to_string(),
    ];
    words.join(" ")
}

/// Some rows as OTLP logs; `legacy_body` puts [`legacy_line`] into the body of TCP flows.
pub fn request(sender: &Sender, table: &EdgeTable, rows: &[EdgeRow], legacy_body: bool) -> ExportLogsServiceRequest {
    let span = Span { from: table.from, to: table.to };
    let record = |row: &EdgeRow| {
        let tcp = table.dim("protocol").is_some_and(|at| row.key[at] == "tcp");
        let body = (legacy_body && tcp).then(|| AnyValue { value: Some(any_value::Value::StringValue(legacy_line(table, row))) });
        let window = attribute("window_s", any_value::Value::IntValue((span.to - span.from).num_seconds()));
        let dims = known_dims(table, row).map(|(name, value)| text(name, value));
        let values = known_values(table, row).map(|(name, value)| attribute(name, any_value::Value::DoubleValue(value)));
        LogRecord {
            time_unix_nano: nanos(span.to),
            observed_time_unix_nano: nanos(span.to),
            severity_number: SeverityNumber::Info.into(),
            severity_text: "INFO".to_owned(),
            event_name: "edgescope.flow".to_owned(),
            body,
            attributes: std::iter::once(window).chain(dims).chain(values).collect(),
            ..LogRecord::default()
        }
    };
    let scope = InstrumentationScope { name: "edgescope".to_owned(), version: sender.version.clone(), ..InstrumentationScope::default() };
    let scope_logs = vec![ScopeLogs { scope: Some(scope), log_records: rows.iter().map(record).collect(), schema_url: String::new() }];
    ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource: Some(sender.resource()), scope_logs, schema_url: String::new() }] }
}

fn known_dims<'a>(table: &'a EdgeTable, row: &'a EdgeRow) -> impl Iterator<Item = (&'a str, &'a str)> {
    table.group_by.iter().zip(&row.key).filter(|(_, value)| !value.is_empty()).map(|(name, value)| (name.as_str(), value.as_str()))
}

fn known_values<'a>(table: &'a EdgeTable, row: &'a EdgeRow) -> impl Iterator<Item = (&'a str, f64)> {
    table.measures.iter().zip(&row.totals).filter_map(|(name, value)| value.map(|value| (name.as_str(), value)))
}
