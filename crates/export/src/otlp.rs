//! Points as OTLP metrics: sums and histograms as deltas from the slot's start, gauges at its end.

use crate::points::{Point, Value};
use chrono::{DateTime, Utc};
use edgescope_model::metric::{Instrument, Metric, bounds_s};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1 as proto;
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::resource::v1::Resource;
use std::ops::Range;

/// Points of one request.
pub const POINTS_MAX: usize = 2_000;
/// Estimated bytes of one request: a gRPC receiver takes 4 MiB unless told otherwise.
pub const BYTES_MAX: usize = 3 << 20;
/// What a point costs beside its labels: two times, a value, tags. A histogram has 19 counts and 18 bounds more.
const POINT_BYTES: usize = 64;
const HISTOGRAM_BYTES: usize = 320;

/// Who sends, by the semantic conventions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sender {
    pub version: String,
    /// Tells this server from others, also over restarts.
    pub instance_id: String,
    pub host: String,
}

/// A slot's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
}

/// A number of Edgescope's own, for `ebpf_net.*`.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnPoint {
    pub name: &'static str,
    pub brief: &'static str,
    pub unit: &'static str,
    pub instrument: Instrument,
    pub labels: Vec<(String, String)>,
    pub value: f64,
}

impl Sender {
    /// The resource that it sends for.
    pub fn resource(&self) -> Resource {
        let attributes = [
            ("service.name", "edgescope"),
            ("service.version", &self.version),
            ("service.instance.id", &self.instance_id),
            ("host.name", &self.host),
        ];
        Resource { attributes: attributes.into_iter().map(|(key, value)| text(key, value)).collect(), ..Resource::default() }
    }
}

/// Splits points, which are sorted by metric, into requests of bounded size.
pub fn requests(points: &[Point]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0);
    for (at, point) in points.iter().enumerate() {
        let labels: usize = point.labels.iter().map(|(name, value)| name.len() + value.len() + 10).sum();
        let cost = labels + if point.metric.instrument == Instrument::Histogram { HISTOGRAM_BYTES } else { POINT_BYTES };
        if at > start && (at - start >= POINTS_MAX || bytes + cost > BYTES_MAX) {
            ranges.push(start..at);
            (start, bytes) = (at, 0);
        }
        bytes += cost;
    }
    if start < points.len() {
        ranges.push(start..points.len());
    }
    ranges
}

/// One request. `original_units` labels averages as the original collector did.
pub fn request(sender: &Sender, span: Span, points: &[Point], original_units: bool) -> ExportMetricsServiceRequest {
    let mut metrics: Vec<proto::Metric> = Vec::new();
    let mut last: Option<&'static Metric> = None;
    for point in points {
        if !last.is_some_and(|last| std::ptr::eq(last, point.metric)) {
            metrics.push(empty(point.metric, original_units));
            last = Some(point.metric);
        }
        if let Some(data) = metrics.last_mut().and_then(|metric| metric.data.as_mut()) {
            add(data, point, span);
        }
    }
    enclosed(sender, metrics)
}

/// Edgescope's own numbers as one request.
pub fn own_request(sender: &Sender, span: Span, points: &[OwnPoint]) -> ExportMetricsServiceRequest {
    let metric = |point: &OwnPoint| {
        let attributes = point.labels.iter().map(|(name, value)| text(name, value)).collect();
        let number = number(attributes, span, point.value, point.unit, point.instrument);
        let data = match point.instrument {
            Instrument::Sum => Data::Sum(proto::Sum { data_points: vec![number], ..empty_sum() }),
            Instrument::Gauge | Instrument::Histogram => Data::Gauge(proto::Gauge { data_points: vec![number] }),
        };
        proto::Metric {
            name: point.name.to_owned(),
            description: point.brief.to_owned(),
            unit: point.unit.to_owned(),
            data: Some(data),
            ..proto::Metric::default()
        }
    };
    enclosed(sender, points.iter().map(metric).collect())
}

/// Number of points in a request.
pub fn count(request: &ExportMetricsServiceRequest) -> u64 {
    let metrics = request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics);
    let points = |metric: &proto::Metric| match &metric.data {
        Some(Data::Sum(sum)) => sum.data_points.len(),
        Some(Data::Gauge(gauge)) => gauge.data_points.len(),
        Some(Data::Histogram(histogram)) => histogram.data_points.len(),
        _ => 0,
    };
    metrics.map(points).sum::<usize>() as u64
}

fn enclosed(sender: &Sender, metrics: Vec<proto::Metric>) -> ExportMetricsServiceRequest {
    let scope = InstrumentationScope { name: "edgescope".to_owned(), version: sender.version.clone(), ..InstrumentationScope::default() };
    let scope_metrics = vec![proto::ScopeMetrics { scope: Some(scope), metrics, schema_url: String::new() }];
    let resource_metrics = vec![proto::ResourceMetrics { resource: Some(sender.resource()), scope_metrics, schema_url: String::new() }];
    ExportMetricsServiceRequest { resource_metrics }
}

fn empty_sum() -> proto::Sum {
    proto::Sum { data_points: Vec::new(), aggregation_temporality: proto::AggregationTemporality::Delta.into(), is_monotonic: true }
}

fn empty(metric: &Metric, original_units: bool) -> proto::Metric {
    let unit = metric.unit_original.filter(|_| original_units).unwrap_or(metric.unit);
    let data = match metric.instrument {
        Instrument::Sum => Data::Sum(empty_sum()),
        Instrument::Gauge => Data::Gauge(proto::Gauge::default()),
        Instrument::Histogram => {
            Data::Histogram(proto::Histogram { data_points: Vec::new(), aggregation_temporality: proto::AggregationTemporality::Delta.into() })
        }
    };
    proto::Metric {
        name: metric.name.to_owned(),
        description: metric.brief.to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
        ..proto::Metric::default()
    }
}

fn add(data: &mut Data, point: &Point, span: Span) {
    let own = point.metric.parts[point.part].attributes.iter().map(|(name, value)| text(name, value));
    let attributes = point.labels.iter().map(|(name, value)| text(name, value)).chain(own).collect();
    match (data, &point.value) {
        (Data::Sum(sum), Value::Number(value)) => sum.data_points.push(number(attributes, span, *value, point.metric.unit, Instrument::Sum)),
        (Data::Gauge(gauge), Value::Number(value)) => gauge.data_points.push(number(attributes, span, *value, point.metric.unit, Instrument::Gauge)),
        (Data::Histogram(histogram), Value::Buckets(buckets)) => histogram.data_points.push(proto::HistogramDataPoint {
            attributes,
            start_time_unix_nano: nanos(span.from),
            time_unix_nano: nanos(span.to),
            count: buckets.count(),
            sum: Some(buckets.sum),
            bucket_counts: buckets.counts.clone(),
            explicit_bounds: bounds_s(),
            ..proto::HistogramDataPoint::default()
        }),
        // An instrument and its value come from one formula; a test of the model holds them together.
        _ => {}
    }
}

/// Counts and bytes are whole numbers, all else is not.
fn number(attributes: Vec<KeyValue>, span: Span, value: f64, unit: &str, instrument: Instrument) -> proto::NumberDataPoint {
    use proto::number_data_point::Value::{AsDouble, AsInt};
    let (start, value) = match instrument {
        // Exact below 2^53, and never above 2^63: the cast saturates.
        Instrument::Sum if unit != "s" => (nanos(span.from), AsInt(value as i64)),
        Instrument::Sum => (nanos(span.from), AsDouble(value)),
        Instrument::Gauge | Instrument::Histogram => (0, AsDouble(value)),
    };
    proto::NumberDataPoint {
        attributes,
        start_time_unix_nano: start,
        time_unix_nano: nanos(span.to),
        value: Some(value),
        ..proto::NumberDataPoint::default()
    }
}

/// A text attribute.
pub fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, any_value::Value::StringValue(value.to_owned()))
}

/// An attribute.
pub fn attribute(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

/// Nanoseconds since the epoch; times before it are its start.
pub fn nanos(at: DateTime<Utc>) -> u64 {
    at.timestamp_nanos_opt().and_then(|ns| u64::try_from(ns).ok()).unwrap_or(0)
}
