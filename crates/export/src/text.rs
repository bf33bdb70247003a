//! The current series as text for a scrape: OpenMetrics 1.0 where it is asked for, else the older Prometheus format.

use crate::cumulative::{Cumulative, Total};
use crate::points::Buckets;
use edgescope_model::metric::{Instrument, Metric, bounds_s};
use std::fmt::Write as _;

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    OpenMetrics,
    Prometheus,
}

impl Format {
    /// What an `Accept` header asks for.
    pub fn asked(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Everything that is known now, family by family.
pub fn expose(metrics: &[&'static Metric], held: &Cumulative, format: Format) -> String {
    let labels: Vec<String> = held.series().map(|(labels, _)| label_text(labels)).collect();
    let mut text = String::with_capacity(held.len() * metrics.len() * 256);
    for metric in metrics {
        head(&mut text, metric, format);
        for ((_, held), labels) in held.series().zip(&labels) {
            for ((of, part), total) in &held.values {
                if std::ptr::eq(*of, *metric) {
                    sample(&mut text, metric, *part, total, labels);
                }
            }
        }
    }
    if format == Format::OpenMetrics {
        text.push_str("# EOF\n");
    }
    text
}

fn head(text: &mut String, metric: &Metric, format: Format) {
    let family = match format {
        Format::OpenMetrics => metric.prometheus_family(),
        // The older format names the family as its samples.
        Format::Prometheus => metric.prometheus_name(),
    };
    let kind = match metric.instrument {
        Instrument::Sum => "counter",
        Instrument::Gauge => "gauge",
        Instrument::Histogram => "histogram",
    };
    let _ = writeln!(text, "# HELP {family} {}", help(metric).replace('\\', "\\\\").replace('\n', "\\n"));
    let _ = writeln!(text, "# TYPE {family} {kind}");
    if let (Format::OpenMetrics, Some(unit)) = (format, metric.prometheus_unit().filter(|unit| family.ends_with(unit))) {
        let _ = writeln!(text, "# UNIT {family} {unit}");
    }
}

/// What the family says of itself. The unit is in the words, since legacy names do not end in it.
pub fn help(metric: &Metric) -> String {
    format!("{} (unit: {})", metric.brief, metric.unit)
}

fn sample(text: &mut String, metric: &Metric, part: usize, total: &Total, labels: &str) {
    let name = metric.prometheus_name();
    let own: String =
        metric.parts[part].attributes.iter().map(|(name, value)| format!(",{}=\"{}\"", name.replace('.', "_"), escaped(value))).collect();
    match total {
        Total::Counter(value) | Total::Gauge(Some(value)) => drop(writeln!(text, "{name}{{{labels}{own}}} {value}")),
        Total::Gauge(None) => {}
        Total::Histogram(buckets) => {
            for (bound, count) in cumulative(buckets) {
                let _ = writeln!(text, "{name}_bucket{{{labels}{own},le=\"{bound}\"}} {count}");
            }
            let _ = writeln!(text, "{name}_sum{{{labels}{own}}} {}", buckets.sum);
            let _ = writeln!(text, "{name}_count{{{labels}{own}}} {}", buckets.count());
        }
    }
}

/// Counts at or below each bound; the last bound is `+Inf`.
pub(crate) fn cumulative(buckets: &Buckets) -> Vec<(String, u64)> {
    let bounds = bounds_s().into_iter().map(|bound| bound.to_string()).chain(["+Inf".to_owned()]);
    let mut sum = 0u64;
    let counts = buckets.counts.iter().map(|count| {
        sum = sum.saturating_add(*count);
        sum
    });
    bounds.zip(counts).collect()
}

/// Labels that say something: Prometheus takes an absent one for an empty one, so placeholders would only cost.
pub(crate) fn telling<'a>(labels: &'a [(String, String)]) -> impl Iterator<Item = (String, &'a str)> + 'a {
    labels.iter().filter(|(_, value)| value != "-").map(|(name, value)| (name.replace('.', "_"), value.as_str()))
}

fn label_text(labels: &[(String, String)]) -> String {
    telling(labels).map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect::<Vec<_>>().join(",")
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
