//! The signal catalogue: every measured series, once. Columns, API, command line, UI and docs follow it.
//!
//! Stored values are unsigned integers in the signal's stored unit (microseconds, socket-milliseconds, bytes, …); [`Unit::scale`] turns them into
//! what is shown (seconds, socket-seconds, bytes). Rows add up: a sum adds, a max and a min compare, a histogram merges.
//!
//! **Two ends.** An observation at a local end L of a conversation with R carries what L *sent*, which belongs to the edge L→R, and what L *received*, which
//! belongs to R→L. A signal that both ends can see ([`Ends::Both`]) has three columns: `X` (the one that stands for the edge: the
//! sender's where an agent owns the source address, else the receiver's), `X.sent` and `X.received`.
//! A signal of which each end sees a part of its own ([`Ends::Each`]) has the same columns, and its `X` is both together.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How values of a signal merge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    Sum,
    Max,
    Min,
    Histogram,
}

/// Which end of an edge can see the signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Ends {
    /// Only the source of the edge.
    Sender,
    /// Only the destination of the edge.
    Receiver,
    /// Both; see the module's words on which stands.
    Both,
    /// Each a part that the other cannot see: they add up.
    Each,
}

impl Ends {
    /// Whether the signal has a column for each end beside its own.
    pub const fn are_told_apart(self) -> bool {
        matches!(self, Self::Both | Self::Each)
    }
}

/// What a stored integer means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Shown in bytes.
    Bytes,
    /// A plain count of segments, connections, resets, …
    Count,
    /// Stored in microseconds, shown in seconds.
    Seconds,
    /// Stored in socket-milliseconds, shown in socket-seconds.
    SocketSeconds,
    /// A quotient, 0..=1 for shares.
    Ratio,
}

impl Unit {
    /// Factor from stored to shown.
    pub const fn scale(self) -> f64 {
        match self {
            Self::Bytes | Self::Count | Self::Ratio => 1.0,
            Self::Seconds => 1e-6,
            Self::SocketSeconds => 1e-3,
        }
    }

    /// UCUM symbol of the shown unit.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Bytes => "By",
            Self::Count | Self::Ratio => "1",
            Self::Seconds | Self::SocketSeconds => "s",
        }
    }
}

/// One measured series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Signal {
    /// Number on the wire; never reused.
    pub id: u16,
    pub name: &'static str,
    pub kind: Kind,
    pub ends: Ends,
    pub unit: Unit,
    pub brief: &'static str,
}

impl Signal {
    /// The measures that can be asked of it, as [`Measure::parse`] reads them.
    pub fn measures(&self) -> Vec<String> {
        let suffixes: &[&str] = match self.kind {
            Kind::Histogram => &[".p50", ".p90", ".p95", ".p99", ".count"],
            Kind::Sum => &["", ".rate"],
            Kind::Max | Kind::Min => &[""],
        };
        let sides: &[&str] = if self.ends.are_told_apart() && self.kind != Kind::Histogram { &["", ".sent", ".received"] } else { &[""] };
        sides.iter().flat_map(|side| suffixes.iter().map(move |suffix| format!("{}{side}{suffix}", self.name))).collect()
    }
}

macro_rules! catalogue {
    ($($constant:ident = $id:literal, $name:literal, $kind:ident, $ends:ident, $unit:ident, $brief:literal;)*) => {
        $(#[doc = $brief] pub const $constant: Signal = Signal { id: $id, name: $name, kind: Kind::$kind, ends: Ends::$ends, unit: Unit::$unit, brief: $brief };)*
        /// Every signal, in the order of the docs.
        pub const CATALOGUE: &[Signal] = &[$($constant),*];
    };
}

catalogue! {
    TCP_BYTES = 1, "tcp.bytes", Sum, Both, Bytes, "payload bytes: acknowledged at the sender, received in order at the receiver";
    TCP_SEGMENTS = 2, "tcp.segments", Sum, Both, Count, "segments with payload, retransmissions included";
    TCP_RETRANS = 3, "tcp.retrans", Sum, Sender, Count, "segments sent again, those of SYN and SYN-ACK included";
    TCP_RETRANS_SYN = 4, "tcp.retrans_syn", Sum, Sender, Count, "SYN segments sent again";
    TCP_RETRANS_SYNACK = 5, "tcp.retrans_synack", Sum, Sender, Count, "SYN-ACK segments sent again";
    TCP_RETRANS_BYTES = 6, "tcp.retrans_bytes", Sum, Sender, Bytes, "payload bytes sent again";
    TCP_RTO = 7, "tcp.rto", Sum, Sender, Count, "retransmission time-outs";
    TCP_RETRANS_SPURIOUS = 8, "tcp.retrans_spurious", Sum, Sender, Count, "retransmissions that the receiver reported as duplicates (DSACK)";
    TCP_OUT_OF_ORDER = 9, "tcp.out_of_order", Sum, Receiver, Count, "segments that arrived out of order";
    TCP_RTT = 10, "tcp.rtt", Histogram, Sender, Seconds, "round-trip time, one raw sample a round trip";
    TCP_RTT_MAX = 11, "tcp.rtt_max", Max, Sender, Seconds, "longest round-trip time; delayed acknowledgements sit in it";
    TCP_RTT_MIN = 12, "tcp.rtt_min", Min, Sender, Seconds, "shortest round-trip time";
    TCP_SRTT = 13, "tcp.srtt", Sum, Sender, Seconds, "sum of smoothed round-trip times read at window ends";
    TCP_SRTT_SAMPLES = 14, "tcp.srtt_samples", Sum, Sender, Count, "number of smoothed round-trip times in tcp.srtt";
    TCP_ACTIVE = 15, "tcp.active", Sum, Sender, SocketSeconds, "open connections, as socket-seconds";
    TCP_STALLED = 16, "tcp.stalled", Sum, Sender, SocketSeconds, "connections with unacknowledged data and RTO backoff >= 2 or no ACK for 3 s, as socket-seconds";
    TCP_BLOCKED_RWND = 17, "tcp.blocked_rwnd", Sum, Sender, Seconds, "time blocked by the receiver's window";
    TCP_BLOCKED_SNDBUF = 18, "tcp.blocked_sndbuf", Sum, Sender, Seconds, "time blocked by the send buffer";
    TCP_BUSY = 19, "tcp.busy", Sum, Sender, Seconds, "time with data in flight or to send";
    TCP_CONNECTS = 20, "tcp.connects", Sum, Sender, Count, "connections attempted";
    TCP_CONNECTS_ESTABLISHED = 21, "tcp.connects_established", Sum, Sender, Count, "attempts that succeeded";
    TCP_CONNECT_TIMEOUTS = 22, "tcp.connect_timeouts", Sum, Sender, Count, "attempts that timed out, or that the client gave up after a SYN retransmission";
    TCP_CONNECTS_CANCELLED = 23, "tcp.connects_cancelled", Sum, Sender, Count, "attempts that ended without an answer before any retransmission: given up by the client, or never sent for want of a port";
    TCP_CONNECTS_REFUSED = 24, "tcp.connects_refused", Sum, Sender, Count, "attempts answered by a reset";
    TCP_CONNECTS_UNREACHABLE = 25, "tcp.connects_unreachable", Sum, Sender, Count, "attempts answered by ICMP unreachable, or whose next hop or device was gone";
    TCP_CONNECTS_RESET = 26, "tcp.connects_reset", Sum, Sender, Count, "attempts reset after they were answered";
    TCP_HANDSHAKE = 27, "tcp.handshake", Histogram, Sender, Seconds, "time from SYN to established, at the client";
    TCP_ACCEPTS = 28, "tcp.accepts", Sum, Receiver, Count, "connections established at the server";
    TCP_CLOSES = 29, "tcp.closes", Sum, Sender, Count, "connections closed";
    TCP_RESETS = 30, "tcp.resets", Sum, Both, Count, "reset segments, from source to destination";
    TCP_RESPONSE_TIME = 32, "tcp.response_time", Sum, Sender, Seconds, "from the last of a request to the last of its answer, at the server, of the answers in tcp.responses";
    TCP_RESPONSES = 33, "tcp.responses", Sum, Sender, Count, "answers whose time was taken: the last of each window and of each connection, without retransmissions";
    TCP_ACCEPT_OVERFLOW = 31, "tcp.accept_overflow", Sum, Receiver, Count, "handshakes dropped since the server's accept queue was full; before Linux 6.11 all that its listener drops";
    UDP_BYTES = 34, "udp.bytes", Sum, Both, Bytes, "payload bytes: sent at the sender, arrived at the receiver's socket";
    UDP_DATAGRAMS = 35, "udp.datagrams", Sum, Both, Count, "datagrams: sent at the sender, arrived at the receiver's socket";
    UDP_DROPS = 36, "udp.drops", Sum, Receiver, Count, "datagrams that arrived and were dropped, since the receiver's queue was full";
    UDP_ACTIVE = 37, "udp.active", Sum, Sender, SocketSeconds, "conversations, as seconds: datagrams either way that are less than 10 s apart make one";
    DNS_REQUESTS = 38, "dns.requests", Sum, Both, Count, "questions, repeated ones included: asked at the client, arrived at the server";
    DNS_RESPONSES = 39, "dns.responses", Sum, Both, Count, "answers of any code: arrived at the client, given at the server";
    DNS_NXDOMAIN = 40, "dns.nxdomain", Sum, Both, Count, "answers that there is no such name (NXDOMAIN)";
    DNS_SERVFAIL = 41, "dns.servfail", Sum, Both, Count, "answers that the server could not find out (SERVFAIL)";
    DNS_REFUSED = 42, "dns.refused", Sum, Both, Count, "answers that the server will not say (REFUSED)";
    DNS_ERRORS_OTHER = 43, "dns.errors_other", Sum, Both, Count, "answers with another code than NOERROR and those above";
    DNS_TIMEOUTS = 44, "dns.timeouts", Sum, Sender, Count, "questions that had no answer after 5 s";
    DNS_CLIENT_DURATION = 45, "dns.client.duration", Histogram, Sender, Seconds, "from question to answer, at the client";
    DNS_SERVER_DURATION = 46, "dns.server.duration", Histogram, Receiver, Seconds, "from question to answer, at the server: without the way";
    DNS_ACTIVE = 47, "dns.active", Sum, Sender, SocketSeconds, "conversations with a DNS server, as seconds";
    HTTP_REQUESTS = 48, "http.requests", Sum, Both, Count, "requests of HTTP/1 and HTTP/2 in clear text: sent at the client, arrived at the server";
    HTTP_STATUS_2XX = 49, "http.status_2xx", Sum, Both, Count, "answers with a status of 200 to 299";
    HTTP_STATUS_3XX = 50, "http.status_3xx", Sum, Both, Count, "answers with a status of 300 to 399";
    HTTP_STATUS_4XX = 51, "http.status_4xx", Sum, Both, Count, "answers with a status of 400 to 499";
    HTTP_STATUS_5XX = 52, "http.status_5xx", Sum, Both, Count, "answers with a status of 500 to 599";
    HTTP_STATUS_OTHER = 53, "http.status_other", Sum, Both, Count, "answers with another final status, 101 among them";
    HTTP_CLIENT_DURATION = 54, "http.client.duration", Histogram, Sender, Seconds, "from the start of a request to the start of its answer, at the client";
    HTTP_SERVER_DURATION = 55, "http.server.duration", Histogram, Receiver, Seconds, "from the start of a request to the start of its answer, at the server: without the way";
    HTTP_ACTIVE = 56, "http.active", Sum, Sender, SocketSeconds, "connections of flows that carried requests, as socket-seconds";
    HTTP_UNANSWERED = 57, "http.unanswered", Sum, Sender, Count, "requests whose connection or stream ended before their answer";
    GRPC_REQUESTS = 58, "grpc.requests", Sum, Both, Count, "calls of gRPC in clear text, which are among http.requests: begun at the client, arrived at the server";
    GRPC_STATUS_OK = 59, "grpc.status_ok", Sum, Both, Count, "calls that ended with OK";
    GRPC_STATUS_UNAVAILABLE = 60, "grpc.status_unavailable", Sum, Both, Count, "calls that ended with UNAVAILABLE";
    GRPC_STATUS_DEADLINE = 61, "grpc.status_deadline", Sum, Both, Count, "calls that ended with DEADLINE_EXCEEDED, by the server's word";
    GRPC_STATUS_OTHER = 62, "grpc.status_other", Sum, Both, Count, "calls that ended with another status";
    GRPC_STATUS_NONE = 63, "grpc.status_none", Sum, Both, Count, "calls that ended without a status: reset by either side, as a client does whose deadline has passed, or with their connection";
    KERNEL_DROPS_POLICY = 64, "kernel.drops_policy", Sum, Each, Count, "packets that a kernel dropped since someone wants it so: a filter, a BPF program, a security rule";
    KERNEL_DROPS_QUEUE = 65, "kernel.drops_queue", Sum, Each, Count, "packets that a kernel dropped for want of room: a queue, buffer or window, memory; what finds a UDP socket's queue or an accept queue full is not among them";
    KERNEL_DROPS_INVALID = 66, "kernel.drops_invalid", Sum, Each, Count, "packets that a kernel dropped as broken (checksum, header) or as none of their connection";
    KERNEL_DROPS_OTHER = 67, "kernel.drops_other", Sum, Each, Count, "packets that a kernel dropped for any other reason: no route, no neighbour";
    TCP_RESETS_NO_LISTENER = 68, "tcp.resets_no_listener", Sum, Sender, Count, "resets that the source sent since nobody listened (Linux 6.10)";
    TCP_RESETS_ABORTED = 69, "tcp.resets_aborted", Sum, Sender, Count, "resets by which the source gave a connection up: closed with unread data or without lingering, keepalive, memory (Linux 6.10)";
}

/// A quotient of sums taken from the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct Derived {
    pub name: &'static str,
    pub unit: Unit,
    pub brief: &'static str,
    /// `(column, sign)`; columns that are absent and not required count as zero.
    pub numerator: &'static [(&'static str, i8)],
    pub denominator: &'static [(&'static str, i8)],
    /// Columns without which there is no quotient: what nobody could see is not zero.
    pub required: &'static [&'static str],
}

impl Derived {
    /// The quotient of parts in shown units; `None` if a required one is absent, or nothing is below the line.
    pub fn quotient(&self, value: impl Fn(&str) -> Option<f64>) -> Option<f64> {
        let sum = |parts: &[(&str, i8)]| parts.iter().map(|(name, sign)| value(name).unwrap_or(0.0) * f64::from(*sign)).sum::<f64>();
        if self.required.iter().any(|name| value(name).is_none()) {
            return None;
        }
        let below = sum(self.denominator);
        (below > 0.0).then(|| sum(self.numerator) / below)
    }
}

/// Quotients that the query layer computes; no column holds them.
pub const DERIVED: &[Derived] = &[
    Derived {
        name: "tcp.retrans_rate",
        unit: Unit::Ratio,
        brief: "data segments sent again ÷ data segments sent",
        numerator: &[("tcp.retrans", 1), ("tcp.retrans_syn", -1), ("tcp.retrans_synack", -1)],
        denominator: &[("tcp.segments.sent", 1)],
        required: &["tcp.retrans"],
    },
    Derived {
        name: "tcp.connect_timeout_rate",
        unit: Unit::Ratio,
        brief: "connect time-outs ÷ attempts",
        numerator: &[("tcp.connect_timeouts", 1)],
        denominator: &[("tcp.connects", 1)],
        required: &["tcp.connect_timeouts"],
    },
    Derived {
        name: "tcp.connect_failure_rate",
        unit: Unit::Ratio,
        brief: "attempts that timed out, were refused, unreachable or reset ÷ attempts",
        numerator: &[("tcp.connect_timeouts", 1), ("tcp.connects_refused", 1), ("tcp.connects_unreachable", 1), ("tcp.connects_reset", 1)],
        denominator: &[("tcp.connects", 1)],
        required: &["tcp.connect_timeouts"],
    },
    Derived {
        name: "tcp.stalled_share",
        unit: Unit::Ratio,
        brief: "stalled socket-seconds ÷ open socket-seconds",
        numerator: &[("tcp.stalled", 1)],
        denominator: &[("tcp.active", 1)],
        required: &["tcp.stalled"],
    },
    Derived {
        name: "tcp.rwnd_share",
        unit: Unit::Ratio,
        brief: "time blocked by the receiver's window ÷ busy time",
        numerator: &[("tcp.blocked_rwnd", 1)],
        denominator: &[("tcp.busy", 1)],
        required: &["tcp.blocked_rwnd"],
    },
    Derived {
        name: "tcp.srtt_mean",
        unit: Unit::Seconds,
        brief: "mean smoothed round-trip time",
        numerator: &[("tcp.srtt", 1)],
        denominator: &[("tcp.srtt_samples", 1)],
        required: &["tcp.srtt"],
    },
    Derived {
        name: "tcp.response_time_mean",
        unit: Unit::Seconds,
        brief: "mean time that the server takes to answer",
        numerator: &[("tcp.response_time", 1)],
        denominator: &[("tcp.responses", 1)],
        required: &["tcp.response_time"],
    },
    Derived {
        name: "dns.timeout_rate",
        unit: Unit::Ratio,
        brief: "questions without an answer ÷ questions",
        numerator: &[("dns.timeouts", 1)],
        denominator: &[("dns.requests", 1)],
        required: &["dns.timeouts"],
    },
    Derived {
        name: "dns.failure_rate",
        unit: Unit::Ratio,
        brief: "questions without an answer, or answered with SERVFAIL, REFUSED or another error than NXDOMAIN ÷ questions",
        numerator: &[("dns.timeouts", 1), ("dns.servfail", 1), ("dns.refused", 1), ("dns.errors_other", 1)],
        denominator: &[("dns.requests", 1)],
        required: &["dns.servfail"],
    },
    Derived {
        name: "http.error_rate",
        unit: Unit::Ratio,
        brief: "answers of HTTP with a status of 500 to 599, and requests without an answer ÷ requests",
        numerator: &[("http.status_5xx", 1), ("http.unanswered", 1)],
        denominator: &[("http.requests", 1)],
        required: &["http.status_5xx"],
    },
    Derived {
        name: "grpc.error_rate",
        unit: Unit::Ratio,
        brief: "calls of gRPC that ended with another status than OK ÷ calls",
        numerator: &[("grpc.status_unavailable", 1), ("grpc.status_deadline", 1), ("grpc.status_other", 1)],
        denominator: &[("grpc.requests", 1)],
        required: &["grpc.status_other"],
    },
    Derived {
        name: "tcp.path_loss",
        unit: Unit::Ratio,
        brief: "data segments sent but not received ÷ sent; over a minute or more, where both ends have an agent",
        numerator: &[("tcp.segments.sent", 1), ("tcp.segments.received", -1)],
        denominator: &[("tcp.segments.sent", 1)],
        required: &["tcp.segments.sent", "tcp.segments.received"],
    },
];

/// Which end's word is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// What stands for the edge.
    Merged,
    Sent,
    Received,
}

/// What a query asks of a signal.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Measure {
    /// A sum, max or min.
    Value(Signal, Side),
    /// A sum divided by the seconds of the range or step: bytes per second, open sockets.
    Rate(Signal, Side),
    /// A quantile (0..=1) of a histogram.
    Quantile(Signal, f64),
    /// Number of values in a histogram.
    Count(Signal),
    /// The histogram itself, in [`crate::query::EdgeRow::buckets`]; its total is the number of values.
    Buckets(Signal),
    Derived(Derived),
}

/// A measure that the catalogue does not know.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "no measure '{0}': write a catalogue name (tcp.bytes), with .sent or .received, .rate for a sum, .p50/.p90/.p95/.p99/.count/.buckets for a histogram; `edgescope config --catalogue` lists all"
)]
pub struct UnknownMeasure(pub String);

impl Measure {
    /// Reads `tcp.bytes`, `tcp.bytes.sent`, `tcp.bytes.rate`, `tcp.rtt.p95`, `tcp.rtt.count`, `tcp.rtt.buckets`, `tcp.retrans_rate`.
    pub fn parse(text: &str) -> Result<Self, UnknownMeasure> {
        let unknown = || UnknownMeasure(text.to_owned());
        if let Some(derived) = DERIVED.iter().find(|d| d.name == text) {
            return Ok(Self::Derived(*derived));
        }
        if let Some((signal, side)) = sided(text) {
            return if signal.kind == Kind::Histogram { Err(unknown()) } else { Ok(Self::Value(signal, side)) };
        }
        let (stem, suffix) = text.rsplit_once('.').ok_or_else(unknown)?;
        let (signal, side) = sided(stem).ok_or_else(unknown)?;
        match (signal.kind, suffix) {
            (Kind::Sum, "rate") => Ok(Self::Rate(signal, side)),
            (Kind::Histogram, "count") => Ok(Self::Count(signal)),
            (Kind::Histogram, "buckets") => Ok(Self::Buckets(signal)),
            (Kind::Histogram, _) => {
                let percent: u32 = suffix.strip_prefix('p').and_then(|p| p.parse().ok()).filter(|p| (1..100).contains(p)).ok_or_else(unknown)?;
                Ok(Self::Quantile(signal, f64::from(percent) / 100.0))
            }
            _ => Err(unknown()),
        }
    }

    /// Unit of the shown value.
    pub const fn unit(&self) -> Unit {
        match self {
            Self::Value(s, _) | Self::Rate(s, _) | Self::Quantile(s, _) => s.unit,
            Self::Count(_) | Self::Buckets(_) => Unit::Count,
            Self::Derived(d) => d.unit,
        }
    }
}

/// The signal with this name.
pub fn by_name(name: &str) -> Option<Signal> {
    CATALOGUE.iter().find(|s| s.name == name).copied()
}

/// The signal with this wire number.
pub fn by_id(id: u32) -> Option<Signal> {
    CATALOGUE.iter().find(|s| u32::from(s.id) == id).copied()
}

/// A column's name split into signal and side: `tcp.bytes.sent`.
fn sided(text: &str) -> Option<(Signal, Side)> {
    if let Some(signal) = by_name(text) {
        return Some((signal, Side::Merged));
    }
    let (stem, side) = match text.rsplit_once('.')? {
        (stem, "sent") => (stem, Side::Sent),
        (stem, "received") => (stem, Side::Received),
        _ => return None,
    };
    let signal = by_name(stem)?;
    signal.ends.are_told_apart().then_some((signal, side))
}

/// Name of the stored column: dots become underscores (`tcp_bytes_sent`).
pub fn column(signal: &Signal, side: Side) -> String {
    let stem = signal.name.replace('.', "_");
    match side {
        Side::Merged => stem,
        Side::Sent => stem + "_sent",
        Side::Received => stem + "_received",
    }
}

/// Every stored column: signal, side.
pub fn columns() -> impl Iterator<Item = (Signal, Side)> {
    CATALOGUE.iter().flat_map(|&signal| {
        let sides: &[Side] = if signal.ends.are_told_apart() { &[Side::Merged, Side::Sent, Side::Received] } else { &[Side::Merged] };
        sides.iter().map(move |&side| (signal, side))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_names_and_columns_are_unique() {
        let ids: HashSet<_> = CATALOGUE.iter().map(|s| s.id).collect();
        assert_eq!(ids.len(), CATALOGUE.len());
        let names: HashSet<_> = CATALOGUE.iter().map(|s| s.name).chain(DERIVED.iter().map(|d| d.name)).collect();
        assert_eq!(names.len(), CATALOGUE.len() + DERIVED.len());
        let all: Vec<_> = columns().map(|(s, side)| column(&s, side)).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }

    #[test]
    fn derived_parts_are_columns() {
        for derived in DERIVED {
            for (part, _) in derived.numerator.iter().chain(derived.denominator) {
                assert!(sided(part).is_some(), "{}: {part}", derived.name);
            }
            for part in derived.required {
                assert!(derived.numerator.iter().chain(derived.denominator).any(|(name, _)| name == part), "{}: {part}", derived.name);
            }
        }
    }

    #[test]
    fn a_quotient_needs_what_nobody_may_guess() {
        let of = |name: &str| *DERIVED.iter().find(|d| d.name == name).unwrap();
        let loss = of("tcp.path_loss");
        let values = |received| move |name: &str| if name == "tcp.segments.sent" { Some(100.0) } else { received };
        assert_eq!(loss.quotient(values(Some(99.0))), Some(0.01));
        assert_eq!(loss.quotient(values(None)), None, "no agent at the receiver: unknown, not all lost");
        let retrans = of("tcp.retrans_rate");
        assert_eq!(
            retrans.quotient(|name| [("tcp.retrans", 2.0), ("tcp.segments.sent", 100.0)].iter().find(|(n, _)| *n == name).map(|(_, v)| *v)),
            Some(0.02)
        );
        assert_eq!(retrans.quotient(|name| (name == "tcp.retrans").then_some(2.0)), None, "nothing is divided by nothing");
    }

    #[test]
    fn measures_parse() {
        assert_eq!(Measure::parse("tcp.bytes.sent"), Ok(Measure::Value(TCP_BYTES, Side::Sent)));
        assert_eq!(Measure::parse("tcp.bytes.received.rate"), Ok(Measure::Rate(TCP_BYTES, Side::Received)));
        assert_eq!(Measure::parse("tcp.rtt.p95"), Ok(Measure::Quantile(TCP_RTT, 0.95)));
        assert_eq!(Measure::parse("tcp.rtt.buckets"), Ok(Measure::Buckets(TCP_RTT)));
        for bad in ["tcp.rtt", "tcp.bytes.p95", "tcp.retrans.sent", "tcp.rtt.p0", "tcp.bytes.buckets", "tcp.rtt_max.rate", "bytes", ""] {
            assert!(Measure::parse(bad).is_err(), "{bad}");
        }
    }
}
