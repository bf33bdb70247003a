//! What is said of each connection and of the capture: the objects of `edgescope replay --json`.
//!
//! Names with a dot are those of the signal catalogue, in its shown units: seconds, bytes, counts. What could not be told is null.

use crate::capture::Damage;
use crate::connection::{Connection, End, Outcome, Side};
use crate::rtt::{Spread, seconds};
use crate::sender::Sender;
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;

/// One line of the output.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Report {
    Tcp(Box<TcpReport>),
    Udp(Box<UdpReport>),
    /// The last line.
    Capture(Box<CaptureReport>),
}

/// A TCP connection.
#[derive(Debug, Serialize)]
pub struct TcpReport {
    pub client: SocketAddr,
    pub server: SocketAddr,
    /// No SYN was captured: who is the client was concluded from the ports.
    pub client_inferred: bool,
    /// The SYN passed after its own answer: the capture lacks a copy of it.
    pub syn_missed: bool,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub first_packet: u64,
    pub outcome: Outcome,
    pub ended: End,
    pub reset_by: Option<Side>,
    #[serde(flatten)]
    pub connect: ConnectReport,
    /// The parts of the handshake on either side of the capture point.
    pub handshake_to_server: Option<f64>,
    pub handshake_to_client: Option<f64>,
    pub client_to_server: DirectionReport,
    pub server_to_client: DirectionReport,
    /// Time that went by in time-outs, stalls, closed windows and failed connects.
    pub lost_s: f64,
    pub http: Option<HttpReport>,
    pub dns: Option<DnsReport>,
    /// The only end whose packets were captured.
    pub one_way: Option<Side>,
    /// What could not be told of this connection.
    pub notes: Vec<String>,
}

/// Signals of the connection's beginning and end.
#[derive(Debug, Serialize)]
pub struct ConnectReport {
    #[serde(rename = "tcp.active")]
    pub active: f64,
    #[serde(rename = "tcp.connects")]
    pub connects: u64,
    #[serde(rename = "tcp.connects_established")]
    pub established: u64,
    #[serde(rename = "tcp.connect_timeouts")]
    pub timeouts: u64,
    #[serde(rename = "tcp.connects_cancelled")]
    pub cancelled: u64,
    #[serde(rename = "tcp.connects_refused")]
    pub refused: u64,
    #[serde(rename = "tcp.connects_unreachable")]
    pub unreachable: u64,
    #[serde(rename = "tcp.connects_reset")]
    pub reset: u64,
    #[serde(rename = "tcp.accepts")]
    pub accepts: u64,
    #[serde(rename = "tcp.closes")]
    pub closes: u64,
    #[serde(rename = "tcp.handshake")]
    pub handshake: Option<f64>,
}

/// One direction: an edge in the sense of the catalogue. Round trips are those from the capture point to the receiver and back.
#[derive(Debug, Serialize)]
pub struct DirectionReport {
    /// Payload bytes that the receiver acknowledged.
    #[serde(rename = "tcp.bytes")]
    pub bytes: Option<u64>,
    #[serde(rename = "tcp.segments")]
    pub segments: u64,
    #[serde(rename = "tcp.retrans")]
    pub retrans: u64,
    #[serde(rename = "tcp.retrans_syn")]
    pub retrans_syn: u64,
    #[serde(rename = "tcp.retrans_synack")]
    pub retrans_synack: u64,
    #[serde(rename = "tcp.retrans_bytes")]
    pub retrans_bytes: u64,
    #[serde(rename = "tcp.retrans_spurious")]
    pub retrans_spurious: u64,
    #[serde(rename = "tcp.rto")]
    pub time_outs: u64,
    #[serde(rename = "tcp.out_of_order")]
    pub out_of_order: u64,
    #[serde(rename = "tcp.rtt")]
    pub rtt: Spread,
    #[serde(rename = "tcp.rtt_min")]
    pub rtt_min: Option<f64>,
    #[serde(rename = "tcp.rtt_max")]
    pub rtt_max: Option<f64>,
    #[serde(rename = "tcp.stalled")]
    pub stalled: f64,
    #[serde(rename = "tcp.resets")]
    pub resets: u64,
    pub packets: u64,
    pub packets_with_payload: u64,
    /// Payload bytes of all packets.
    pub bytes_sent: u64,
    /// The same, each byte once.
    pub bytes_unique: u64,
    pub bytes_unacknowledged: u64,
    pub retrans_fast: u64,
    pub retrans_rto: u64,
    pub retrans_probe: u64,
    pub retrans_fin: u64,
    /// Retransmissions whose first copy never passed: lost before the capture point.
    pub retrans_unseen: u64,
    pub retrans_unseen_bytes: u64,
    /// Late or sent again, where nothing with payload had passed above: only the sender's bare numbers told that it was missing.
    pub unseen_tail: u64,
    /// Round trips, among those of `tcp.rtt`, during which something older passed late or once more: tcptrace leaves them out.
    #[serde(skip)]
    pub crossed: Spread,
    pub rtt_skipped_retransmitted: u64,
    pub rtt_skipped_held_back: u64,
    /// Segments by which the receiver said that it has no room, and for how long it had none.
    pub zero_windows: u64,
    pub zero_window_s: f64,
    /// Largest window that the receiver offered; not scaled where the handshake was not captured.
    pub window_max_bytes: u64,
    pub window_scale: Option<u8>,
    pub gaps: u64,
    pub gap_bytes: u64,
    pub duplicates: u64,
    pub keepalives: u64,
    pub oversized_packets: u64,
    pub cut_packets: u64,
}

/// HTTP/1 on a connection. Times are from the first byte of a request to the first of its answer, at the capture point.
#[derive(Debug, Serialize)]
pub struct HttpReport {
    #[serde(rename = "http.requests")]
    pub requests: u64,
    #[serde(rename = "http.status_2xx")]
    pub status_2xx: u64,
    #[serde(rename = "http.status_3xx")]
    pub status_3xx: u64,
    #[serde(rename = "http.status_4xx")]
    pub status_4xx: u64,
    #[serde(rename = "http.status_5xx")]
    pub status_5xx: u64,
    #[serde(rename = "http.status_other")]
    pub status_other: u64,
    #[serde(rename = "http.unanswered")]
    pub unanswered: u64,
    #[serde(rename = "http.client.duration")]
    pub duration: Spread,
    /// Payload that was not captured, or came too late.
    pub unread_bytes: u64,
}

/// DNS between two ports. Times are from a question to its answer, at the capture point.
#[derive(Debug, Serialize)]
pub struct DnsReport {
    #[serde(rename = "dns.requests")]
    pub requests: u64,
    #[serde(rename = "dns.responses")]
    pub responses: u64,
    #[serde(rename = "dns.nxdomain")]
    pub nxdomain: u64,
    #[serde(rename = "dns.servfail")]
    pub servfail: u64,
    #[serde(rename = "dns.refused")]
    pub refused: u64,
    #[serde(rename = "dns.errors_other")]
    pub errors_other: u64,
    #[serde(rename = "dns.timeouts")]
    pub timeouts: u64,
    #[serde(rename = "dns.client.duration")]
    pub duration: Spread,
    /// Messages on DNS's port that are none, or that go the wrong way.
    pub unreadable: u64,
    /// Questions that were forgotten since too many waited.
    pub untracked: u64,
}

/// A UDP conversation: datagrams between two ports with less than a minute between them.
#[derive(Debug, Serialize)]
pub struct UdpReport {
    pub client: SocketAddr,
    pub server: SocketAddr,
    pub start: DateTime<Utc>,
    pub end: DateTime<Utc>,
    pub first_packet: u64,
    pub client_to_server: UdpDirectionReport,
    pub server_to_client: UdpDirectionReport,
    pub tunnel: Option<&'static str>,
    pub dns: Option<DnsReport>,
}

#[derive(Debug, Default, Clone, Serialize)]
pub struct UdpDirectionReport {
    #[serde(rename = "udp.bytes")]
    pub bytes: u64,
    #[serde(rename = "udp.datagrams")]
    pub datagrams: u64,
}

/// The capture as a whole.
#[derive(Debug, Default, Serialize)]
pub struct CaptureReport {
    pub file: String,
    pub start: Option<DateTime<Utc>>,
    pub end: Option<DateTime<Utc>>,
    pub packets: u64,
    pub tcp_packets: u64,
    pub udp_packets: u64,
    pub tcp_connections: u64,
    pub udp_conversations: u64,
    /// Connections that were reported before their end, since too many were open at once.
    pub evicted: u64,
    /// Packets that belong to no connection, by reason.
    pub unread: BTreeMap<String, u64>,
    /// Tunnels by kind: their packets are not opened.
    pub tunnels: BTreeMap<&'static str, u64>,
    pub packets_without_time: u64,
    /// Packets with an earlier time than the one before.
    pub packets_back_in_time: u64,
    /// Where the capture could not be read further.
    pub damage: Option<Damage>,
}

/// Nanoseconds since 1970 as a time; what no calendar holds is its end.
pub fn time(ns: u64) -> DateTime<Utc> {
    DateTime::from_timestamp_nanos(i64::try_from(ns).unwrap_or(i64::MAX))
}

impl TcpReport {
    /// `capture_end_ns` is the time of the last packet of the capture; the connection has been told of its end.
    pub fn new(connection: &Connection, capture_end_ns: u64, is_evicted: bool) -> Self {
        let outcome = connection.outcome(capture_end_ns);
        let ended = connection.end(is_evicted);
        let parts = connection.handshake_parts_ns();
        let [client, server] = &connection.senders;
        let duration_ns = connection.last_ns.saturating_sub(connection.first_ns);
        let failed_s = if has_failed(outcome) { seconds(duration_ns) } else { 0.0 };
        let scales = connection.window_scales();
        let [client_window, server_window] = connection.windows_max();
        Self {
            client: connection.ends[0],
            server: connection.ends[1],
            client_inferred: connection.is_inferred,
            syn_missed: connection.is_syn_missed,
            start: time(connection.first_ns),
            end: time(connection.last_ns),
            first_packet: connection.first_packet,
            outcome,
            ended,
            reset_by: connection.reset_by(),
            connect: ConnectReport {
                active: if connection.was_accepted() || outcome == Outcome::Joined { seconds(duration_ns) } else { 0.0 },
                connects: u64::from(connection.began()),
                established: u64::from(connection.began() && connection.was_accepted()),
                timeouts: u64::from(outcome == Outcome::TimedOut),
                cancelled: u64::from(outcome == Outcome::Cancelled),
                refused: u64::from(outcome == Outcome::Refused),
                unreachable: u64::from(outcome == Outcome::Unreachable),
                reset: u64::from(outcome == Outcome::Reset),
                accepts: u64::from(connection.was_accepted()),
                closes: u64::from(matches!(ended, End::Closed | End::Reset)),
                handshake: connection.handshake_ns().map(seconds),
            },
            handshake_to_server: parts.map(|parts| seconds(parts.0)),
            handshake_to_client: parts.map(|parts| seconds(parts.1)),
            client_to_server: DirectionReport::new(client, server_window, scales.map(|scales| scales[1])),
            server_to_client: DirectionReport::new(server, client_window, scales.map(|scales| scales[0])),
            lost_s: failed_s + connection.senders.iter().map(lost_s).sum::<f64>(),
            http: connection.app.http(),
            dns: connection.app.dns(capture_end_ns),
            one_way: one_way(connection),
            notes: notes(connection, is_evicted),
        }
    }

    pub fn has_failed(&self) -> bool {
        has_failed(self.outcome)
    }

    /// Segments that were sent again, both directions.
    pub fn retrans(&self) -> u64 {
        self.client_to_server.retrans + self.server_to_client.retrans
    }
}

fn has_failed(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Refused | Outcome::Reset | Outcome::TimedOut | Outcome::Unreachable)
}

/// A stall is full of time-outs: the longer of the two.
fn lost_s(sender: &Sender) -> f64 {
    let counts = &sender.counts;
    seconds(counts.time_out_wait_ns.max(counts.stalled_ns)) + seconds(counts.zero_window_ns)
}

/// An attempt without an answer is none.
fn one_way(connection: &Connection) -> Option<Side> {
    let silent = connection.senders.iter().position(|sender| sender.counts.packets == 0)?;
    (connection.was_accepted() || !connection.began()).then_some([Side::Server, Side::Client][silent])
}

fn notes(connection: &Connection, is_evicted: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let mut note = |says: bool, text: String| {
        if says {
            notes.push(text);
        }
    };
    let of = |what: fn(&Sender) -> u64| connection.senders.iter().map(what).sum::<u64>();
    if let Some(side) = one_way(connection) {
        let side = if side == Side::Client { "client" } else { "server" };
        note(true, format!("only packets from the {side} were captured: what it was acknowledged and its round trips are unknown"));
    }
    let gaps = connection
        .senders
        .iter()
        .filter(|sender| sender.counts.packets > 0)
        .map(Sender::gaps)
        .fold((0, 0), |all, gap| (all.0 + gap.count, all.1 + gap.bytes));
    note(gaps.0 > 0, format!("{} bytes in {} gaps were not captured", gaps.1, gaps.0));
    note(!connection.began(), "it began before the capture".to_owned());
    note(connection.is_inferred, "client and server were concluded from the ports".to_owned());
    note(is_evicted, "it was reported early: too many connections were open at once".to_owned());
    let duplicates = of(|sender| sender.counts.duplicates);
    note(duplicates > 0, format!("{duplicates} packets were captured twice and counted once"));
    let oversized = of(|sender| sender.counts.oversized);
    note(oversized > 0, format!("{oversized} packets were captured before the network card cut them into segments"));
    let strange = of(|sender| sender.counts.strange);
    note(strange > 0, format!("{strange} packets have numbers that no window reaches and were passed over"));
    let untimed = of(Sender::untimed);
    note(untimed > 0, format!("{untimed} segments were not timed: too many waited for their acknowledgement"));
    notes
}

impl DirectionReport {
    fn new(sender: &Sender, window_max_bytes: u64, window_scale: Option<u8>) -> Self {
        let counts = &sender.counts;
        let rtt = sender.trips.spread();
        let gaps = sender.gaps();
        Self {
            bytes: sender.bytes_acknowledged(),
            segments: counts.segments,
            retrans: counts.retrans,
            retrans_syn: counts.retrans_syn,
            retrans_synack: counts.retrans_synack,
            retrans_bytes: counts.retrans_bytes,
            retrans_spurious: counts.retrans_spurious,
            time_outs: counts.time_outs,
            out_of_order: counts.out_of_order,
            rtt_min: rtt.min,
            rtt_max: rtt.max,
            rtt,
            stalled: seconds(counts.stalled_ns),
            resets: counts.resets,
            packets: counts.packets,
            packets_with_payload: counts.data_packets,
            bytes_sent: counts.bytes_sent,
            bytes_unique: counts.bytes_unique,
            bytes_unacknowledged: sender.bytes_unacknowledged(),
            retrans_fast: counts.retrans_fast,
            retrans_rto: counts.retrans_time_out,
            retrans_probe: counts.retrans_probe,
            retrans_fin: counts.retrans_fin,
            retrans_unseen: counts.retrans_unseen,
            retrans_unseen_bytes: counts.retrans_unseen_bytes,
            unseen_tail: counts.unseen_tail,
            crossed: sender.crossed.spread(),
            rtt_skipped_retransmitted: counts.trips_ambiguous,
            rtt_skipped_held_back: counts.trips_held_back,
            zero_windows: counts.zero_windows,
            zero_window_s: seconds(counts.zero_window_ns),
            window_max_bytes,
            window_scale,
            gaps: gaps.count,
            gap_bytes: gaps.bytes,
            duplicates: counts.duplicates,
            keepalives: counts.keepalives,
            oversized_packets: counts.oversized,
            cut_packets: counts.cut,
        }
    }
}
