//! From an answer of the tables to what a receiver reads.

use crate::cumulative::{Cumulative, Total};
use crate::otlp::{self, Sender, Span};
use crate::points::{Point, Quiet, Value, points};
use crate::reading::{OtherRange, Plan, Slot};
use crate::remote_write::{self, Origin};
use crate::text::{Format, expose};
use crate::{Labels, flow_log};
use edgescope_model::histogram::Histogram;
use edgescope_model::metric::choice::Choice;
use edgescope_model::metric::labels::Aggregation;
use edgescope_model::query::{EdgeQuery, EdgeRow, EdgeTable};
use edgescope_model::time::from_seconds;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use prost::Message as _;

type Dims<'a> = &'a [(&'a str, &'a str)];

fn plan(enable: &[&str]) -> Plan {
    let enable: Vec<String> = enable.iter().map(|&name| name.to_owned()).collect();
    Plan::new(&Choice::new(&enable, &[]).unwrap(), Aggregation::AzAz)
}

/// An answer with some dimensions and values of some edges; `rtt` fills `tcp.rtt`.
fn table(query: &EdgeQuery, rows: &[(Dims<'_>, &[(&str, f64)], &[u64])]) -> EdgeTable {
    let row = |(dims, values, rtt): &(Dims<'_>, &[(&str, f64)], &[u64])| {
        let value = |name: &String| values.iter().find(|(n, _)| n == name).map(|(_, value)| *value);
        let mut histogram = Histogram::default();
        rtt.iter().for_each(|us| histogram.record(*us));
        let asked = query.measures.iter().filter(|m| m.ends_with(".buckets"));
        EdgeRow {
            key: query.group_by.iter().map(|d| dims.iter().find(|(n, _)| n == d).map_or(String::new(), |(_, v)| (*v).to_owned())).collect(),
            totals: query.measures.iter().map(value).collect(),
            compare: Vec::new(),
            series: Vec::new(),
            buckets: asked.map(|m| if m == "tcp.rtt.buckets" { histogram.clone() } else { Histogram::default() }).collect(),
        }
    };
    EdgeTable {
        from: query.from,
        to: query.to,
        step_s: None,
        steps: Vec::new(),
        group_by: query.group_by.clone(),
        measures: query.measures.clone(),
        rows: rows.iter().map(row).collect(),
        groups_total: rows.len(),
        resolution_s: 10,
    }
}

fn slot_of(plan: &Plan, at: i64, rows: &[(Dims<'_>, &[(&str, f64)], &[u64])], series_max: usize) -> Slot {
    let query = plan.query(from_seconds(at), from_seconds(at + 30), None);
    plan.slot(&query, table(&query, rows), series_max).unwrap()
}

const CART: Dims<'_> = &[("source.workload", "frontend"), ("dest.workload", "cart"), ("source.zone", "a"), ("dest.zone", "b")];
const ADS: Dims<'_> = &[("source.workload", "frontend"), ("dest.workload", "ads")];

fn number(points: &[Point], name: &str, workload: &str) -> Option<f64> {
    let of = |point: &&Point| point.metric.name == name && point.labels.iter().any(|(n, v)| n == "dest.workload.name" && v == workload);
    match &points.iter().find(of)?.value {
        Value::Number(number) => Some(*number),
        Value::Buckets(_) => None,
    }
}

#[test]
fn numbers_follow_their_formulas_and_absent_is_no_point() {
    let plan = plan(&["tcp.rtt"]);
    let values = [("tcp.bytes", 3e6), ("tcp.active", 60.0), ("tcp.srtt", 0.5), ("tcp.srtt_samples", 10.0), ("tcp.retrans_syn", 2.0)];
    let points = points(&plan, &slot_of(&plan, 0, &[(CART, &values, &[100, 200, 200])], 10));
    let of = |name| number(&points, name, "cart");
    assert_eq!((of("tcp.bytes"), of("tcp.active"), of("tcp.rtt.average")), (Some(3e6), Some(2.0), Some(0.05)));
    assert_eq!(of("tcp.syn_timeouts"), Some(2.0), "one of two columns was there");
    assert_eq!((of("tcp.retrans"), of("udp.bytes")), (None, None));
    let rtt = points.iter().find(|p| p.metric.name == "tcp.rtt").unwrap();
    let Value::Buckets(buckets) = &rtt.value else { panic!("a histogram") };
    assert_eq!((buckets.counts[0], buckets.counts[1], buckets.count()), (1, 2, 3));
    assert!((buckets.sum - 0.0005).abs() < 0.00005, "{}", buckets.sum);
}

#[test]
fn what_exceeds_the_bound_is_summed_exactly() {
    let plan = plan(&["tcp.rtt_max"]);
    let bytes = |n: f64, max: f64| vec![("tcp.bytes", n), ("tcp.rtt_max", max)];
    let (large, small, least) = (bytes(100.0, 0.1), bytes(20.0, 0.9), bytes(3.0, 0.2));
    let shop: Dims<'_> = &[("source.workload", "shop"), ("dest.workload", "db")];
    let slot = slot_of(&plan, 0, &[(ADS, &small, &[]), (CART, &large, &[]), (shop, &least, &[])], 1);
    assert_eq!((slot.series.len(), slot.folded), (2, 2));
    let points = points(&plan, &slot);
    assert_eq!((number(&points, "tcp.bytes", "cart"), number(&points, "tcp.bytes", "(other)")), (Some(100.0), Some(23.0)));
    assert_eq!(number(&points, "tcp.rtt_max", "(other)"), Some(0.9), "a maximum is not added");
}

#[test]
fn edges_that_labels_do_not_tell_apart_are_one_series() {
    let plan = plan(&[]);
    let by = |found: &'static str| vec![("dest.workload", "10.0.0.1"), ("dest.resolution_type", found)];
    let (ip, prefix) = (by("ip"), by("prefix"));
    let slot = slot_of(&plan, 0, &[(&ip, &[("tcp.bytes", 1.0)], &[]), (&prefix, &[("tcp.bytes", 2.0)], &[])], 10);
    assert_eq!((slot.series.len(), number(&points(&plan, &slot), "tcp.bytes", "10.0.0.1")), (1, Some(3.0)));
}

#[test]
fn an_answer_of_another_range_is_refused() {
    let plan = plan(&[]);
    let query = plan.query(from_seconds(0), from_seconds(30), None);
    let other = EdgeTable { from: from_seconds(10), ..table(&query, &[]) };
    assert!(matches!(plan.slot(&query, other, 10), Err(OtherRange { .. })));
}

#[test]
fn a_series_that_goes_quiet_has_one_zero() {
    let plan = plan(&["tcp.rtt"]);
    let mut quiet = Quiet::default();
    let mut slot = |rows: &[(Dims<'_>, &[(&str, f64)], &[u64])], at| {
        let mut points = points(&plan, &slot_of(&plan, at, rows, 10));
        quiet.trail(&mut points);
        points
    };
    let values = [("tcp.bytes", 5.0), ("tcp.active", 30.0), ("tcp.srtt", 1.0), ("tcp.srtt_samples", 2.0)];
    slot(&[(CART, &values, &[100]), (ADS, &[("tcp.bytes", 1.0)], &[])], 0);
    let second = slot(&[(ADS, &[("tcp.bytes", 1.0)], &[])], 30);
    assert_eq!((number(&second, "tcp.bytes", "cart"), number(&second, "tcp.active", "cart")), (Some(0.0), Some(0.0)));
    assert_eq!(number(&second, "tcp.rtt.average", "cart"), None, "an average of nothing is not zero");
    assert!(second.iter().any(|p| matches!(&p.value, Value::Buckets(b) if b.count() == 0)));
    assert_eq!(number(&slot(&[], 60), "tcp.bytes", "cart"), None, "silence");
}

fn sender() -> Sender {
    Sender { version: "1".into(), instance_id: "i".into(), host: "h".into() }
}

#[test]
fn otlp_has_deltas_of_the_slot_under_the_conventions() {
    let plan = plan(&["tcp.rtt", "otel.all"]);
    let values = [("tcp.bytes", 5.0), ("tcp.active", 30.0), ("tcp.srtt", 1.0), ("tcp.srtt_samples", 2.0), ("tcp.connects_refused", 4.0)];
    let points = points(&plan, &slot_of(&plan, 30, &[(CART, &values, &[100])], 10));
    let span = Span { from: from_seconds(30), to: from_seconds(60) };
    let request = otlp::request(&sender(), span, &points, false);
    assert_eq!(otlp::count(&request), points.len() as u64);
    let resource = request.resource_metrics[0].resource.as_ref().unwrap();
    assert_eq!(
        resource.attributes.iter().map(|a| a.key.as_str()).collect::<Vec<_>>(),
        ["service.name", "service.version", "service.instance.id", "host.name"]
    );
    let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
    let metric = |name: &str| metrics.iter().find(|m| m.name == name).unwrap();
    let Some(Data::Sum(sum)) = &metric("tcp.bytes").data else { panic!("a sum") };
    assert_eq!((sum.is_monotonic, sum.aggregation_temporality, metric("tcp.bytes").unit.as_str()), (true, 1, "By"));
    let point = &sum.data_points[0];
    assert_eq!((point.start_time_unix_nano, point.time_unix_nano, point.value), (30_000_000_000, 60_000_000_000, Some(Number::AsInt(5))));
    let Some(Data::Gauge(gauge)) = &metric("tcp.rtt.average").data else { panic!("a gauge") };
    assert_eq!((metric("tcp.rtt.average").unit.as_str(), gauge.data_points[0].value), ("s", Some(Number::AsDouble(0.5))));
    let Some(Data::Histogram(rtt)) = &metric("tcp.rtt").data else { panic!("a histogram") };
    assert_eq!((rtt.data_points[0].bucket_counts.len(), rtt.data_points[0].explicit_bounds.len(), rtt.data_points[0].count), (19, 18, 1));
    let Some(Data::Sum(failures)) = &metric("system.network.tcp.connection.failures").data else { panic!("a sum") };
    assert!(failures.data_points[0].attributes.iter().any(|a| a.key == "error.type"));
    let original = otlp::request(&sender(), span, &points, true);
    let units: Vec<_> = original.resource_metrics[0].scope_metrics[0].metrics.iter().filter(|m| m.unit == "us").map(|m| m.name.as_str()).collect();
    assert_eq!(units, ["tcp.rtt.average"], "only what the original labelled so");
}

#[test]
fn requests_are_bounded_and_complete() {
    let plan = plan(&[]);
    let rows: Vec<_> = (0..3_000).map(|n| ([("source.workload".to_owned(), format!("w{n}"))], [("tcp.bytes", f64::from(n))])).collect();
    let dims: Vec<Vec<(&str, &str)>> = rows.iter().map(|(d, _)| d.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()).collect();
    let rows: Vec<_> = rows.iter().zip(&dims).map(|((_, values), dims)| (dims.as_slice(), values.as_slice(), [].as_slice())).collect();
    let points = points(&plan, &slot_of(&plan, 0, &rows, 10_000));
    let ranges = otlp::requests(&points);
    assert_eq!(ranges.iter().map(ExactSizeIterator::len).sum::<usize>(), 3_000);
    let span = Span { from: from_seconds(0), to: from_seconds(30) };
    for range in ranges {
        assert!(range.len() <= otlp::POINTS_MAX);
        assert!(otlp::request(&sender(), span, &points[range], false).encoded_len() <= 4 << 20);
    }
}

#[test]
fn counters_rise_and_quiet_series_go() {
    let plan = plan(&["tcp.rtt"]);
    let mut held = Cumulative::new(10);
    let of = |rows: &[(Dims<'_>, &[(&str, f64)], &[u64])]| points(&plan, &slot_of(&plan, 0, rows, 10));
    let first = held.add(&of(&[(CART, &[("tcp.bytes", 5.0), ("tcp.active", 30.0)], &[100])]));
    assert_eq!((first.born.len(), first.gone.len()), (3, 0));
    let second = held.add(&of(&[(CART, &[("tcp.bytes", 7.0)], &[100])]));
    assert!(second.born.is_empty());
    let totals: Vec<Total> = held.series().next().unwrap().1.values.iter().map(|(_, total)| total.clone()).collect();
    assert_eq!((&totals[0], &totals[1]), (&Total::Counter(12.0), &Total::Gauge(None)));
    assert!(matches!(&totals[2], Total::Histogram(b) if b.count() == 2));
    let gone: usize = (0..11).map(|_| held.add(&[]).gone.len()).sum();
    assert_eq!((gone, held.len()), (1, 0));
    let mut small = Cumulative::new(1);
    small.add(&of(&[(CART, &[("tcp.bytes", 5.0)], &[])]));
    let change = small.add(&of(&[(ADS, &[("tcp.bytes", 5.0)], &[])]));
    assert_eq!((change.evicted, small.len(), change.gone[0].0.iter().any(|(_, v)| v == "cart")), (1, 1, true), "the quiet one makes room");
}

#[test]
fn text_is_what_prometheus_reads() {
    let plan = plan(&["tcp.rtt"]);
    let mut held = Cumulative::new(10);
    let hostile: Dims<'_> = &[("source.workload", "a\"b\\c\nd"), ("dest.workload", "cart")];
    held.add(&points(&plan, &slot_of(&plan, 0, &[(hostile, &[("tcp.bytes", 5.0)], &[100, 300])], 10)));
    let text = expose(plan.metrics(), &held, Format::OpenMetrics);
    assert!(text.contains("# TYPE tcp_bytes counter\n# UNIT tcp_bytes bytes\ntcp_bytes_total{"), "{text}");
    assert!(text.contains("source_workload_name=\"a\\\"b\\\\c\\nd\"") && text.ends_with("# EOF\n"), "{text}");
    assert!(!text.contains("container_name"), "placeholders are left out");
    assert!(text.contains("le=\"0.000128\"} 1\n") && text.contains("le=\"+Inf\"} 2\n") && text.contains("tcp_rtt_seconds_count{"), "{text}");
    let old = expose(plan.metrics(), &held, Format::Prometheus);
    assert!(old.contains("# TYPE tcp_bytes_total counter\ntcp_bytes_total{") && !old.contains("UNIT") && !old.contains("EOF"), "{old}");
    assert_eq!(Format::asked("application/openmetrics-text;version=1.0.0,text/plain;q=0.5"), Format::OpenMetrics);
}

#[test]
fn remote_writes_start_at_zero_and_end_with_a_mark() {
    let plan = plan(&["tcp.rtt"]);
    let mut held = Cumulative::new(10);
    let origin = Origin { job: "edgescope".into(), instance: "i".into() };
    let (from, to) = (from_seconds(30), from_seconds(60));
    let change = held.add(&points(&plan, &slot_of(&plan, 30, &[(CART, &[("tcp.bytes", 5.0)], &[100])], 10)));
    let series = remote_write::series(&origin, &held, &change, from, to);
    let name = |s: &remote_write::TimeSeries| s.labels.iter().find(|l| l.name == "__name__").unwrap().value.clone();
    let bytes = series.iter().find(|s| name(s) == "tcp_bytes_total").unwrap();
    assert_eq!(bytes.samples.iter().map(|s| (s.value, s.timestamp)).collect::<Vec<_>>(), [(0.0, 30_001), (5.0, 60_000)]);
    assert_eq!(series.len(), 1 + 19 + 2, "the histogram has 19 buckets, sum and count");
    assert!(series.iter().all(|s| s.labels.is_sorted()));
    let again = remote_write::series(&origin, &held, &held_quiet(&mut Cumulative::new(1)), from, to);
    assert!(again.iter().all(|s| s.samples.len() == 1));
    let gone = (0..11).map(|_| held.add(&[])).last().unwrap();
    let ends = remote_write::series(&origin, &held, &gone, from, to);
    assert_eq!((ends.len(), ends[0].samples[0].value.to_bits()), (22, 0x7ff0_0000_0000_0002));
    let request = remote_write::WriteRequest { timeseries: series, metadata: remote_write::metadata(plan.metrics()) };
    let bytes = snap::raw::Decoder::new().decompress_vec(&remote_write::body(&request).unwrap()).unwrap();
    assert_eq!(remote_write::WriteRequest::decode(bytes.as_slice()).unwrap(), request);
}

fn held_quiet(held: &mut Cumulative) -> crate::cumulative::Change {
    held.add(&[])
}

#[test]
fn flow_logs_say_what_is_known_in_three_forms() {
    let query = flow_log::query(from_seconds(10), from_seconds(20), None, 10);
    let dims: Dims<'_> = &[
        ("source.workload", "front end"),
        ("dest.workload", "cart"),
        ("dest.ip", "10.0.0.7"),
        ("protocol", "tcp"),
        ("port", "80"),
        ("role", "client"),
    ];
    let values = [("tcp.bytes", 5.0), ("tcp.active", 20.0), ("tcp.srtt", 1.0), ("tcp.srtt_samples", 4.0), ("tcp.segments", 9.0)];
    let table = table(&query, &[(dims, &values, &[])]);
    let line: serde_json::Value = serde_json::from_str(&flow_log::json_line(&table, &table.rows[0])).unwrap();
    assert_eq!(
        (line["from"].as_str(), line["dest.ip"].as_str(), line["tcp.bytes"].as_f64()),
        (Some("1970-01-01T00:00:10Z"), Some("10.0.0.7"), Some(5.0))
    );
    assert!(line.get("tcp.retrans").is_none() && line.get("source.zone").is_none());
    assert_eq!(flow_log::legacy_line(&table, &table.rows[0]), "- front_end 10.0.0.7 cart 5 4 2 0.25 9 0 0 0 0");
    let request = flow_log::request(&sender(), &table, &table.rows, true);
    let record = &request.resource_logs[0].scope_logs[0].log_records[0];
    assert_eq!((record.severity_number, record.time_unix_nano, record.event_name.as_str()), (9, 20_000_000_000, "edgescope.flow"));
    assert!(record.body.is_some() && record.attributes.iter().any(|a| a.key == "tcp.bytes"));
    assert!(flow_log::request(&sender(), &table, &table.rows, false).resource_logs[0].scope_logs[0].log_records[0].body.is_none());
}

#[test]
fn labels_are_shared() {
    let plan = plan(&[]);
    let points = points(&plan, &slot_of(&plan, 0, &[(CART, &[("tcp.bytes", 5.0), ("tcp.active", 1.0)], &[])], 10));
    assert!(Labels::ptr_eq(&points[0].labels, &points[1].labels));
}
