//! The 22 flow metrics of the OpenTelemetry network collector (v0.10.2), under their exact names, types and default set, in correct units.

use super::{Category, Formula, Instrument, Metric, Part, Set};
use Category::{Dns, Http, Tcp, Udp};
use Instrument::{Gauge, Sum};

/// Names that its documents give to metrics which its code calls otherwise: `(documented, emitted)`. Both are understood where a metric is named.
pub const ALIASES: &[(&str, &str)] = &[
    ("tcp.syn.timeouts", "tcp.syn_timeouts"),
    ("http.client.duration_average", "http.client.duration.average"),
    ("http.server.duration_average", "http.server.duration.average"),
    ("dns.client.duration_average", "dns.client.duration.average"),
    ("dns.server.duration_average", "dns.server.duration.average"),
    ("ebpf_net.otlp_grpc.failed_requests", "ebpf_net.otlp_grpc.requests_failed"),
    ("ebpf_net.otlp_grpc.successful_requests", "ebpf_net.otlp_grpc.requests_sent"),
    ("ebpf_net.pipeline_metric_bytes_discarded", "ebpf_net.prometheus.bytes_discarded"),
    ("ebpf_net.pipeline_metric_bytes_written", "ebpf_net.prometheus.bytes_written"),
];

/// The label of `http.status_code` and its values, which stand for classes.
const STATUS_CODE: [&[(&str, &str)]; 4] =
    [&[("status_code", "200")], &[("status_code", "400")], &[("status_code", "500")], &[("status_code", "other")]];

/// Known errors of the original, and what is done here: number in its list, what it does, what Edgescope does.
pub const DEFECTS: &[(&str, &str)] = &[
    ("averages are labelled microseconds, their values are seconds", "seconds, labelled `s`; `export.legacy_units: original` labels them `us` again"),
    ("`tcp.active` counts reports, about three a socket in a slot", "open sockets: socket-seconds divided by the slot"),
    (
        "where both ends have agents, the one that reports first stands for the edge, so that `tcp.retrans` means one thing now and another then",
        "the sender's columns stand where its agent covers the source; `tcp.retrans` is always what the sender sent again. Each end's word stays in the API",
    ),
    (
        "the receiver's round-trip time is thrown away, one value serves both directions, maxima are averaged",
        "each edge has its sender's samples; `tcp.rtt` is a histogram, `tcp.rtt_max` a true maximum",
    ),
    (
        "time-outs of SYN-ACK are never counted on kernels since 4.4",
        "`tcp.syn_timeouts` counts SYN and SYN-ACK sent again, each on the edge of its sender",
    ),
    ("only A and AAAA over short UDP; clear-text HTTP/1 only", "see the signals `dns.*` and `http.*`"),
    ("address translation is undone for IPv4 alone", "the same for IPv6"),
    ("`tcp.new_sockets` leaves out sockets older than the agent", "kept: attempts are counted when they are made"),
    (
        "loopback and own traffic are left out, there is no port",
        "left out of exports; in the API when asked for (`include_own`). Flow logs carry port and protocol",
    ),
    (
        "one zero when a series goes quiet, then silence",
        "kept; for averages, maxima and minima there is silence at once, since zero would be a false value",
    ),
    ("`none` is documented to turn everything on, and does not", "`disable: [none]` turns everything on, and what `enable` says holds after it"),
];

/// The metrics, in the order of the original's documents.
pub fn metrics() -> Vec<Metric> {
    let plain = |name, category, instrument, unit, formula| Metric::plain(name, Set::Legacy, category, instrument, unit, formula);
    let count = |name, category, columns, brief| plain(name, category, Sum, "1", Formula::Sum(columns)).brief(brief);
    let bytes = |name, category, columns, brief| plain(name, category, Sum, "By", Formula::Sum(columns)).brief(brief);
    let level = |name, category, column, brief| plain(name, category, Gauge, "1", Formula::Level(column)).brief(brief);
    let average = |name, category, formula, brief| {
        let metric = plain(name, category, Gauge, "s", formula).brief(brief);
        Metric { unit_original: Some("us"), ..metric }
    };
    vec![
        bytes("tcp.bytes", Tcp, &["tcp.bytes"], "TCP payload bytes"),
        level("tcp.active", Tcp, "tcp.active", "open TCP connections"),
        count("tcp.packets", Tcp, &["tcp.segments"], "TCP segments with payload, retransmissions included"),
        count("tcp.retrans", Tcp, &["tcp.retrans"], "TCP segments sent again, those of SYN and SYN-ACK included"),
        count("tcp.syn_timeouts", Tcp, &["tcp.retrans_syn", "tcp.retrans_synack"], "time-outs of SYN and SYN-ACK: each was sent again"),
        count("tcp.new_sockets", Tcp, &["tcp.connects"], "TCP connections attempted"),
        count("tcp.resets", Tcp, &["tcp.resets"], "TCP resets, from source to destination"),
        plain("tcp.rtt.num_measurements", Tcp, Gauge, "1", Formula::Sum(&["tcp.srtt_samples"])).brief("round-trip times in tcp.rtt.average").off(),
        average(
            "tcp.rtt.average",
            Tcp,
            Formula::Mean { sum: "tcp.srtt", count: "tcp.srtt_samples" },
            "mean of the smoothed round-trip times of open connections",
        ),
        bytes("udp.bytes", Udp, &["udp.bytes"], "UDP payload bytes"),
        count("udp.packets", Udp, &["udp.datagrams"], "UDP datagrams"),
        level("udp.active", Udp, "udp.active", "UDP conversations"),
        count("udp.drops", Udp, &["udp.drops"], "UDP datagrams dropped since the receiver's queue was full"),
        average(
            "dns.client.duration.average",
            Dns,
            Formula::MeanOf("dns.client.duration"),
            "mean time from a DNS question to its answer, at the client",
        ),
        average(
            "dns.server.duration.average",
            Dns,
            Formula::MeanOf("dns.server.duration"),
            "mean time from a DNS question to its answer, at the server",
        ),
        level("dns.active_sockets", Dns, "dns.active", "sockets with DNS questions"),
        count("dns.responses", Dns, &["dns.responses"], "DNS answers"),
        count("dns.timeouts", Dns, &["dns.timeouts"], "DNS questions without an answer in time"),
        average(
            "http.client.duration.average",
            Http,
            Formula::MeanOf("http.client.duration"),
            "mean time from a request to its response, at the client",
        ),
        average(
            "http.server.duration.average",
            Http,
            Formula::MeanOf("http.server.duration"),
            "mean time from a request to its response, at the server",
        ),
        level("http.active_sockets", Http, "http.active", "sockets with HTTP requests"),
        Metric { parts: status_codes(), ..count("http.status_code", Http, &[], "HTTP responses, by class of status") },
    ]
}

/// Classes as the original has them: 3xx and what has no class are `other`.
fn status_codes() -> Vec<Part> {
    let columns: [&[&str]; 4] = [&["http.status_2xx"], &["http.status_4xx"], &["http.status_5xx"], &["http.status_3xx", "http.status_other"]];
    STATUS_CODE.into_iter().zip(columns).map(|(attributes, columns)| Part { attributes, formula: Formula::Sum(columns) }).collect()
}
