//! The exported tables against the lists of the original (opentelemetry-network v0.10.2), copied here as data.
#![allow(clippy::unwrap_used)]

use edgescope_model::metric::labels::{EDGE_LABELS, END_LABELS};
use edgescope_model::metric::{Instrument, Metric, Set, all, internal::INTERNAL, legacy};
use std::collections::BTreeSet;

/// Name, OTLP type, unit that the original sends, on by default.
const FLOW: [(&str, &str, &str, bool); 22] = [
    ("tcp.bytes", "Sum", "By", true),
    ("tcp.active", "Gauge", "1", true),
    ("tcp.packets", "Sum", "1", true),
    ("tcp.retrans", "Sum", "1", true),
    ("tcp.syn_timeouts", "Sum", "1", true),
    ("tcp.new_sockets", "Sum", "1", true),
    ("tcp.resets", "Sum", "1", true),
    ("tcp.rtt.num_measurements", "Gauge", "1", false),
    ("tcp.rtt.average", "Gauge", "us", true),
    ("udp.bytes", "Sum", "By", true),
    ("udp.packets", "Sum", "1", true),
    ("udp.active", "Gauge", "1", true),
    ("udp.drops", "Sum", "1", true),
    ("dns.client.duration.average", "Gauge", "us", true),
    ("dns.server.duration.average", "Gauge", "us", true),
    ("dns.active_sockets", "Gauge", "1", true),
    ("dns.responses", "Sum", "1", true),
    ("dns.timeouts", "Sum", "1", true),
    ("http.client.duration.average", "Gauge", "us", true),
    ("http.server.duration.average", "Gauge", "us", true),
    ("http.active_sockets", "Gauge", "1", true),
    ("http.status_code", "Sum", "1", true),
];

/// Documented name, emitted name.
const MISMATCHES: [(&str, &str); 5] = [
    ("tcp.syn.timeouts", "tcp.syn_timeouts"),
    ("http.client.duration_average", "http.client.duration.average"),
    ("http.server.duration_average", "http.server.duration.average"),
    ("dns.client.duration_average", "dns.client.duration.average"),
    ("dns.server.duration_average", "dns.server.duration.average"),
];

/// Dimensions that exist as `source.X` and `dest.X`; whether only where endpoints are told apart.
const END_DIMENSIONS: [(&str, bool); 12] = [
    ("workload.name", false),
    ("workload.uid", false),
    ("availability_zone", false),
    ("resolution_type", false),
    ("image_version", false),
    ("environment", false),
    ("namespace.name", false),
    ("process.name", false),
    ("container.name", false),
    ("id", true),
    ("ip", true),
    ("pod", true),
];

/// Name after `ebpf_net.`, on by default.
const INTERNALS: [(&str, bool); 40] = [
    ("agg_root_truncation", false),
    ("bpf_log", true),
    ("client_handle_pool", false),
    ("client_handle_pool_fraction", false),
    ("clock_offset_ns", false),
    ("codetiming_avg_ns", false),
    ("codetiming_count", false),
    ("codetiming_max_ns", false),
    ("codetiming_min_ns", false),
    ("codetiming_sum_ns", false),
    ("collector_health", true),
    ("collector_log_count", false),
    ("connections", false),
    ("disconnects", false),
    ("entrypoint_info", false),
    ("message", false),
    ("otlp_grpc.bytes_failed", true),
    ("otlp_grpc.bytes_sent", true),
    ("otlp_grpc.metrics_failed", true),
    ("otlp_grpc.metrics_sent", true),
    ("otlp_grpc.requests_failed", true),
    ("otlp_grpc.requests_sent", true),
    ("otlp_grpc.unknown_response_tags", true),
    ("pipeline_agent_connections", false),
    ("pipeline_message_error", false),
    ("prometheus.big_items_dropped", false),
    ("prometheus.bytes_discarded", false),
    ("prometheus.bytes_ingested", false),
    ("prometheus.bytes_written", false),
    ("prometheus.failed_scrapes", false),
    ("rpc_latency_ns", false),
    ("rpc_queue_buf_utilization", false),
    ("rpc_queue_buf_utilization_fraction", false),
    ("rpc_queue_elem_utilization_fraction", false),
    ("rpc_write_stalls", false),
    ("span_utilization", false),
    ("span_utilization_fraction", false),
    ("span_utilization_max", false),
    ("time_since_last_message_ns", false),
    ("up", true),
];

fn sent(metric: &Metric) -> (&str, &str, &str, bool) {
    let instrument = match metric.instrument {
        Instrument::Sum => "Sum",
        Instrument::Gauge => "Gauge",
        Instrument::Histogram => "Histogram",
    };
    (metric.name, instrument, metric.unit_original.unwrap_or(metric.unit), metric.on)
}

#[test]
fn the_22_flow_metrics_are_the_originals() {
    let ours: Vec<_> = all().iter().filter(|m| m.set == Set::Legacy).collect();
    assert_eq!(ours.iter().map(|m| sent(m)).collect::<Vec<_>>(), FLOW);
    for metric in &ours {
        let right = if metric.unit_original.is_some() { "s" } else { metric.unit };
        assert_eq!(metric.unit, right, "{}: averages are seconds", metric.name);
    }
    let status = ours.iter().find(|m| m.name == "http.status_code").unwrap();
    assert_eq!(status.attributes(), ["status_code"]);
    let values: Vec<_> = status.parts.iter().flat_map(|p| p.attributes).map(|(_, value)| *value).collect();
    assert_eq!(values, ["200", "400", "500", "other"]);
}

#[test]
fn names_of_the_documents_are_understood() {
    for mismatch in MISMATCHES {
        assert!(legacy::ALIASES.contains(&mismatch), "{mismatch:?}");
    }
    let emitted: BTreeSet<_> = all().iter().map(|m| m.name).chain(INTERNAL.iter().map(|i| i.name)).collect();
    for (_, name) in legacy::ALIASES {
        assert!(emitted.contains(name), "{name}");
    }
}

#[test]
fn the_dimensions_are_the_originals() {
    assert_eq!(END_LABELS.map(|l| (l.name, l.of_endpoint)), END_DIMENSIONS);
    assert_eq!(EDGE_LABELS.map(|(name, _)| name), ["az_equal", "aggregation", "sf_product"]);
}

#[test]
fn each_of_the_40_internal_metrics_is_kept_or_explained() {
    let ours: Vec<_> = INTERNAL.iter().map(|i| (i.name.strip_prefix("ebpf_net.").unwrap(), i.on)).collect();
    assert_eq!(ours, INTERNALS);
    assert_eq!(ours.iter().filter(|(_, on)| *on).count(), 10);
}

#[test]
fn each_known_defect_is_decided() {
    assert_eq!(legacy::DEFECTS.len(), 11);
}
