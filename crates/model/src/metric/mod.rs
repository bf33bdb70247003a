//! What leaves the house: every exported metric with its names, type, unit and formula over the catalogue.
//!
//! The catalogue ([`crate::signal`]) stays the single source: a metric here is a formula over its columns, and there is no other way to a number. Three
//! sets: [`legacy`], the flow metrics of the eBPF collector that people come from, under their exact names; [`own`], the catalogue's further signals under
//! the catalogue's names; [`otel`], the names proposed to the semantic conventions. [`labels`] says which dimensions a point carries, [`choice`] which
//! metrics are on, [`internal`] what became of the collector's own metrics. All of it is pure: `docs/signals.md` is written from it.

pub mod choice;
pub mod internal;
pub mod labels;
pub mod legacy;
pub mod otel;
pub mod own;

use crate::histogram::Histogram;
use crate::signal::Unit;
use std::fmt;
use std::sync::LazyLock;

/// How a receiver adds points up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Instrument {
    /// Only rises; over OTLP as deltas, to Prometheus as a counter.
    Sum,
    Gauge,
    /// Explicit buckets ([`bounds`]); over OTLP as deltas.
    Histogram,
}

/// What turns on and off together, as `<category>.all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Category {
    Tcp,
    Udp,
    Dns,
    Http,
    /// Packets that kernels dropped, of any protocol.
    Kernel,
    /// The proposed names of the semantic conventions.
    Otel,
    /// Edgescope's own state, under the collector's names.
    EbpfNet,
}

impl Category {
    pub const ALL: [Self; 7] = [Self::Tcp, Self::Udp, Self::Dns, Self::Http, Self::Kernel, Self::Otel, Self::EbpfNet];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Dns => "dns",
            Self::Http => "http",
            Self::Kernel => "kernel",
            Self::Otel => "otel",
            Self::EbpfNet => "ebpf_net",
        }
    }

    /// Category of a signal: what its name begins with; gRPC's calls are requests of HTTP.
    pub fn of(name: &str) -> Option<Self> {
        let head = match name.split('.').next().unwrap_or_default() {
            "grpc" => "http",
            head => head,
        };
        Self::ALL.into_iter().find(|category| category.as_str() == head)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where a metric's name comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Set {
    Legacy,
    Own,
    Otel,
}

/// How a number is made of columns. What no row had counts as zero beside what one had; where none of the columns was there, there is no point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Formula {
    /// Sum of columns.
    Sum(&'static [&'static str]),
    /// A sum of socket-seconds divided by the slot's seconds: how many were open, on average.
    Level(&'static str),
    /// One sum divided by another.
    Mean {
        sum: &'static str,
        count: &'static str,
    },
    /// Mean of a histogram, each value taken as the middle of its bucket: within 6.25 % of the true one.
    MeanOf(&'static str),
    /// A maximum or minimum.
    Value(&'static str),
    Histogram(&'static str),
}

impl Formula {
    /// The measures that a query must ask for.
    pub fn measures(&self) -> Vec<String> {
        match *self {
            Self::Sum(columns) => columns.iter().map(|&column| column.to_owned()).collect(),
            Self::Level(column) | Self::Value(column) => vec![column.to_owned()],
            Self::Mean { sum, count } => vec![sum.to_owned(), count.to_owned()],
            Self::MeanOf(signal) | Self::Histogram(signal) => vec![format!("{signal}.buckets")],
        }
    }

    /// Whether an average of nothing would be told as zero: such a metric has no trailing zero.
    pub const fn is_mean(&self) -> bool {
        matches!(self, Self::Mean { .. } | Self::MeanOf(_) | Self::Value(_))
    }
}

impl fmt::Display for Formula {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Sum(columns) => f.write_str(&columns.join(" + ")),
            Self::Level(column) => write!(f, "{column} ÷ seconds of the slot"),
            Self::Mean { sum, count } => write!(f, "{sum} ÷ {count}"),
            Self::MeanOf(signal) => write!(f, "mean of {signal}"),
            Self::Value(column) => f.write_str(column),
            Self::Histogram(signal) => f.write_str(signal),
        }
    }
}

/// One point of a metric: what it carries beside the edge's labels, and its formula.
#[derive(Debug, Clone, PartialEq)]
pub struct Part {
    pub attributes: &'static [(&'static str, &'static str)],
    pub formula: Formula,
}

/// One exported metric.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// As OTLP has it.
    pub name: &'static str,
    pub set: Set,
    pub category: Category,
    pub instrument: Instrument,
    /// UCUM.
    pub unit: &'static str,
    /// The wrong unit under which the collector sent it, for receivers set up for that.
    pub unit_original: Option<&'static str>,
    /// Whether it is sent unless a list says otherwise.
    pub on: bool,
    pub brief: &'static str,
    /// One point of an edge each.
    pub parts: Vec<Part>,
}

impl Metric {
    /// One without attributes of its own.
    pub(crate) fn plain(name: &'static str, set: Set, category: Category, instrument: Instrument, unit: &'static str, formula: Formula) -> Self {
        let parts = vec![Part { attributes: &[], formula }];
        Self { name, set, category, instrument, unit, unit_original: None, on: true, brief: "", parts }
    }

    pub(crate) fn brief(self, brief: &'static str) -> Self {
        Self { brief, ..self }
    }

    pub(crate) fn off(self) -> Self {
        Self { on: false, ..self }
    }

    /// Name of the family in Prometheus: dots become underscores. Legacy names stay as they are; others end in their unit, as Prometheus' own rules ask.
    pub fn prometheus_family(&self) -> String {
        let stem = self.name.replace('.', "_");
        let unit = match self.prometheus_unit() {
            Some(unit) if self.set != Set::Legacy => unit,
            _ => return stem,
        };
        if stem.ends_with(unit) { stem } else { format!("{stem}_{unit}") }
    }

    /// Name under which Prometheus stores it: a counter ends in `_total`.
    pub fn prometheus_name(&self) -> String {
        let family = self.prometheus_family();
        if self.instrument == Instrument::Sum { family + "_total" } else { family }
    }

    /// The unit as Prometheus names it; `None` for counts.
    pub fn prometheus_unit(&self) -> Option<&'static str> {
        match self.unit {
            "s" => Some("seconds"),
            "By" => Some("bytes"),
            _ => None,
        }
    }

    /// The attributes that its points carry beside the edge's labels.
    pub fn attributes(&self) -> Vec<&'static str> {
        let mut names: Vec<_> = self.parts.iter().flat_map(|part| part.attributes).map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

static ALL: LazyLock<Vec<Metric>> = LazyLock::new(|| legacy::metrics().into_iter().chain(own::metrics()).chain(otel::metrics()).collect());

/// Every metric of edges, in the order of the docs.
pub fn all() -> &'static [Metric] {
    &ALL
}

/// Upper bounds of exported buckets in stored units (microseconds), ascending: the octaves from 128 µs to 16.8 s. They are borders of the stored buckets, so
/// that exported counts are exact. A stored value is cut down to whole microseconds, so the true one is at or below the bound above it.
pub fn bounds() -> impl Iterator<Item = u64> {
    (7..=24).map(|octave| 1 << octave)
}

/// Counts of the exported buckets, not cumulative: one a bound, and one above the last.
pub fn bucket_counts(histogram: &Histogram) -> Vec<u64> {
    let bounds: Vec<u64> = bounds().collect();
    let mut counts = vec![0u64; bounds.len() + 1];
    for &(bucket, count) in histogram.pairs() {
        let at = bounds.partition_point(|bound| *bound <= crate::histogram::bucket_lower(bucket));
        counts[at] = counts[at].saturating_add(count);
    }
    counts
}

/// Bounds in seconds.
pub fn bounds_s() -> Vec<f64> {
    bounds().map(|bound| bound as f64 * Unit::Seconds.scale()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::query::MEASURES_MAX;
    use crate::signal::{CATALOGUE, Kind, Measure, by_name};
    use std::collections::BTreeSet;

    #[test]
    fn every_name_is_there_once_also_in_prometheus() {
        let names: BTreeSet<_> = all().iter().map(|m| m.name).collect();
        assert_eq!(names.len(), all().len());
        let prometheus: BTreeSet<_> = all().iter().map(Metric::prometheus_family).collect();
        assert_eq!(prometheus.len(), all().len());
    }

    #[test]
    fn formulas_are_made_of_columns_of_the_right_kind() {
        for (metric, part) in all().iter().flat_map(|m| m.parts.iter().map(move |p| (m, p))) {
            let kinds: Vec<Kind> = match part.formula {
                Formula::Sum(columns) => columns.iter().map(|c| by_name(c).unwrap_or_else(|| panic!("{}: {c}", metric.name)).kind).collect(),
                Formula::Level(c) | Formula::MeanOf(c) | Formula::Value(c) | Formula::Histogram(c) => {
                    vec![by_name(c).unwrap_or_else(|| panic!("{}: {c}", metric.name)).kind]
                }
                Formula::Mean { sum, count } => [sum, count].map(|c| by_name(c).unwrap_or_else(|| panic!("{}: {c}", metric.name)).kind).to_vec(),
            };
            let right = |kind: &Kind| match part.formula {
                Formula::Sum(_) | Formula::Level(_) | Formula::Mean { .. } => *kind == Kind::Sum,
                Formula::MeanOf(_) | Formula::Histogram(_) => *kind == Kind::Histogram,
                Formula::Value(_) => matches!(kind, Kind::Max | Kind::Min),
            };
            assert!(kinds.iter().all(right), "{}: {:?}", metric.name, part.formula);
            assert_eq!(metric.instrument == Instrument::Histogram, matches!(part.formula, Formula::Histogram(_)), "{}", metric.name);
            assert!(part.formula.measures().iter().all(|m| Measure::parse(m).is_ok()), "{}", metric.name);
        }
    }

    #[test]
    fn every_signal_leaves_under_some_name() {
        let used: BTreeSet<String> = all().iter().flat_map(|m| m.parts.iter().flat_map(|p| p.formula.measures())).collect();
        for signal in CATALOGUE {
            let measure = if signal.kind == Kind::Histogram { format!("{}.buckets", signal.name) } else { signal.name.to_owned() };
            assert!(used.contains(&measure), "{} is exported by nothing", signal.name);
        }
        assert!(used.len() <= MEASURES_MAX, "{} measures do not fit into one query", used.len());
    }

    #[test]
    fn buckets_are_counted_exactly() {
        let mut histogram = Histogram::default();
        for us in [0, 127, 128, 255, 1_000, 20_000_000] {
            histogram.record(us);
        }
        let counts = bucket_counts(&histogram);
        assert_eq!((counts[0], counts[1], counts[3], counts[18]), (2, 2, 1, 1), "below 128 µs, 256 µs, 1.024 ms, above all");
        assert_eq!((counts.len(), counts.iter().sum::<u64>()), (19, 6));
        assert_eq!(bounds_s()[0], 0.000128);
    }

    #[test]
    fn prometheus_names_follow_its_rules_where_no_legacy_binds_them() {
        let name = |name: &str| all().iter().find(|m| m.name == name).map(Metric::prometheus_name);
        assert_eq!(name("tcp.bytes").as_deref(), Some("tcp_bytes_total"));
        assert_eq!(name("tcp.rtt.average").as_deref(), Some("tcp_rtt_average"));
        assert_eq!(name("tcp.rtt").as_deref(), Some("tcp_rtt_seconds"));
        assert_eq!(name("tcp.busy").as_deref(), Some("tcp_busy_seconds_total"));
        assert_eq!(name("tcp.retrans_bytes").as_deref(), Some("tcp_retrans_bytes_total"));
        assert_eq!(name("system.network.tcp.rtt.duration").as_deref(), Some("system_network_tcp_rtt_duration_seconds"));
    }
}
