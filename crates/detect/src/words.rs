//! What an alert says: its labels, its figures and its sentence.

use crate::rules::{Detector, Reading};
use crate::series::{EdgeKey, Part};
use edgescope_model::alert::Alert;
use std::collections::BTreeMap;

pub fn labels(edge: &EdgeKey) -> BTreeMap<String, String> {
    let role = if edge.from_client { "client" } else { "server" };
    let all = [
        ("source.namespace", edge.source_namespace.as_str()),
        ("source.workload", edge.source.as_str()),
        ("dest.namespace", edge.dest_namespace.as_str()),
        ("dest.workload", edge.dest.as_str()),
        ("role", role),
    ];
    all.into_iter().filter(|(_, v)| !v.is_empty()).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

pub fn edge_of(alert: &Alert) -> Option<EdgeKey> {
    let label = |key: &str| alert.labels.get(key).cloned().unwrap_or_default();
    let (source, dest) = (label("source.workload"), label("dest.workload"));
    let known = alert.labels.contains_key("role");
    known.then(|| EdgeKey {
        source_namespace: label("source.namespace"),
        source,
        dest_namespace: label("dest.namespace"),
        dest,
        from_client: label("role") == "client",
    })
}

/// Writes a reading into an alert.
pub fn fill(alert: &mut Alert, detector: Detector, edge: &EdgeKey, part: &Part, reading: &Reading, window_s: f64) {
    alert.value = reading.value;
    alert.threshold = reading.threshold;
    alert.baseline = reading.baseline;
    // A baseline that is held rests on what it rested on when it was taken.
    if reading.past > 0 {
        alert.baseline_s = (reading.past as f64 * window_s) as u32;
    }
    alert.samples = reading.samples as u64;
    let place = match part {
        Part::Whole => String::new(),
        Part::Zones(a, b) => format!(" from zone {a} to zone {b}"),
        Part::FromPod(p) => format!(" from pod {p}"),
        Part::ToPod(p) => format!(" to pod {p}"),
        Part::Pods(a, b) if a.is_empty() && b.is_empty() => String::new(),
        Part::Pods(a, b) => format!(" from pod {a} to pod {b}"),
    };
    let percent = |v: f64| format!("{:.1} %", 100.0 * v);
    let past = format!("baseline {} s", alert.baseline_s);
    let what = match detector {
        Detector::Retransmissions => {
            format!("{} of {:.0} segments sent again, threshold {}", percent(reading.value), reading.samples, percent(reading.threshold))
        }
        Detector::ConnectFailures => {
            format!(
                "{} of {:.0} connects failed, were given up or wait without an answer, threshold {}",
                percent(reading.value),
                reading.samples,
                percent(reading.threshold)
            )
        }
        Detector::Stalled => format!("{} of open socket time stalled, threshold {}", percent(reading.value), percent(reading.threshold)),
        Detector::RttShift => format!("round trip {:.1} ms, usual {:.1} ms", 1e3 * reading.value, 1e3 * reading.baseline.unwrap_or(0.0)),
        Detector::DnsFailures => format!(
            "{} of {:.0} questions got an error or no answer, threshold {}",
            percent(reading.value),
            reading.samples,
            percent(reading.threshold)
        ),
        Detector::TrafficDrop => format!("{:.0} B/s, usual {:.0} B/s", reading.value, reading.baseline.unwrap_or(0.0)),
    };
    alert.summary = format!("{} → {}{place}: {what} ({past})", edge.source, edge.dest);
}

/// FNV-1a: short, stable, good enough to tell a few thousand keys apart.
pub fn fingerprint(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
}
