//! Prometheus remote write 1.0: cumulative samples as protocol buffers, compressed with snappy.

use crate::Labels;
use crate::cumulative::{Change, Cumulative, Place, Total};
use crate::points::Buckets;
use crate::text::{cumulative, help, telling};
use chrono::{DateTime, Utc};
use edgescope_model::metric::{Instrument, Metric};
use prost::Message;

/// Series of one request: the number that Prometheus itself sends by default.
pub const SERIES_MAX: usize = 2_000;
/// What says that a series ends: a NaN of these bits.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// The message of the protocol, version 1.0.
#[derive(Clone, PartialEq, Message)]
pub struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    pub metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TimeSeries {
    /// Sorted by name.
    #[prost(message, repeated, tag = "1")]
    pub labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Message)]
pub struct Label {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub struct Sample {
    #[prost(double, tag = "1")]
    pub value: f64,
    /// Milliseconds since the epoch.
    #[prost(int64, tag = "2")]
    pub timestamp: i64,
}

#[derive(Clone, PartialEq, Eq, Message)]
pub struct Metadata {
    #[prost(enumeration = "MetricType", tag = "1")]
    pub r#type: i32,
    #[prost(string, tag = "2")]
    pub metric_family_name: String,
    #[prost(string, tag = "4")]
    pub help: String,
    #[prost(string, tag = "5")]
    pub unit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum MetricType {
    Unknown = 0,
    Counter = 1,
    Gauge = 2,
    Histogram = 3,
}

/// Who sends: labels on every series, beside the edge's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    pub job: String,
    pub instance: String,
}

/// The series of one slot. A counter that is new gets a zero at the slot's start, so that its first increase counts; a series that is forgotten, and a gauge
/// without a value, get the mark that ends it.
pub fn series(origin: &Origin, held: &Cumulative, change: &Change, from: DateTime<Utc>, to: DateTime<Utc>) -> Vec<TimeSeries> {
    let (start_ms, end_ms) = (from.timestamp_millis() + 1, to.timestamp_millis());
    let mut out = Vec::new();
    for (labels, series) in held.series() {
        let base = base(origin, labels);
        for (at, (place, total)) in series.values.iter().enumerate() {
            let born = change.born.contains(&(Labels::clone(labels), at));
            let samples = |value: f64| {
                let first = born.then_some(Sample { value: 0.0, timestamp: start_ms });
                first.into_iter().chain([Sample { value, timestamp: end_ms }]).collect::<Vec<_>>()
            };
            match total {
                Total::Counter(value) => out.push(one(&base, place, "", None, samples(*value))),
                Total::Gauge(value) => out.push(one(&base, place, "", None, vec![Sample { value: value.unwrap_or_else(stale), timestamp: end_ms }])),
                Total::Histogram(buckets) => histogram(&mut out, &base, place, buckets, samples),
            }
        }
    }
    for (labels, places) in &change.gone {
        let base = base(origin, labels);
        for place in places {
            ended(&mut out, &base, place, end_ms);
        }
    }
    out
}

fn stale() -> f64 {
    f64::from_bits(STALE)
}

fn base(origin: &Origin, labels: &Labels) -> Vec<Label> {
    let mut all: Vec<Label> = telling(labels).map(|(name, value)| Label { name, value: value.to_owned() }).collect();
    all.push(Label { name: "job".to_owned(), value: origin.job.clone() });
    all.push(Label { name: "instance".to_owned(), value: origin.instance.clone() });
    all
}

fn one(base: &[Label], (metric, part): &Place, suffix: &str, le: Option<String>, samples: Vec<Sample>) -> TimeSeries {
    let mut labels = base.to_vec();
    labels.push(Label { name: "__name__".to_owned(), value: metric.prometheus_name() + suffix });
    labels.extend(metric.parts[*part].attributes.iter().map(|(name, value)| Label { name: name.replace('.', "_"), value: (*value).to_owned() }));
    labels.extend(le.map(|value| Label { name: "le".to_owned(), value }));
    labels.sort();
    TimeSeries { labels, samples }
}

fn histogram(out: &mut Vec<TimeSeries>, base: &[Label], place: &Place, buckets: &Buckets, samples: impl Fn(f64) -> Vec<Sample>) {
    out.extend(cumulative(buckets).into_iter().map(|(bound, count)| one(base, place, "_bucket", Some(bound), samples(count as f64))));
    out.push(one(base, place, "_sum", None, samples(buckets.sum)));
    out.push(one(base, place, "_count", None, samples(buckets.count() as f64)));
}

fn ended(out: &mut Vec<TimeSeries>, base: &[Label], place: &Place, at_ms: i64) {
    let end = vec![Sample { value: stale(), timestamp: at_ms }];
    if place.0.instrument == Instrument::Histogram {
        histogram(out, base, place, &Buckets { counts: vec![0; edgescope_model::metric::bounds().count() + 1], sum: 0.0 }, |_| end.clone());
    } else {
        out.push(one(base, place, "", None, end));
    }
}

/// What the metrics are, to be sent now and then.
pub fn metadata(metrics: &[&'static Metric]) -> Vec<Metadata> {
    let one = |metric: &&'static Metric| Metadata {
        r#type: match metric.instrument {
            Instrument::Sum => MetricType::Counter,
            Instrument::Gauge => MetricType::Gauge,
            Instrument::Histogram => MetricType::Histogram,
        }
        .into(),
        metric_family_name: metric.prometheus_name(),
        help: help(metric),
        unit: metric.prometheus_unit().unwrap_or_default().to_owned(),
    };
    metrics.iter().map(one).collect()
}

/// The body of a request.
///
/// # Errors
/// If the message is too large for snappy, 4 GiB.
pub fn body(request: &WriteRequest) -> Result<Vec<u8>, snap::Error> {
    snap::raw::Encoder::new().compress_vec(&request.encode_to_vec())
}
