//! Connections for people: the worst first, what the capture holds, and what it cannot tell.

use crate::show;
use edgescope_replay::connection::{End, Outcome, Side};
use edgescope_replay::report::{DirectionReport, TcpReport, UdpReport};
use edgescope_replay::{CaptureReport, Report};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::ops::ControlFlow;

/// Columns of text before those of numbers.
const TEXT_COLUMNS: usize = 3;

/// The worst connections, as many as are asked for, and sums over all.
pub struct Table {
    limit: usize,
    tcp: BinaryHeap<Reverse<Row>>,
    udp: BinaryHeap<Reverse<Row>>,
    sums: Sums,
    capture: CaptureReport,
}

/// Failed, time lost in microseconds, retransmissions, bytes, and what would otherwise be chance: the order of bad to good.
type Badness = (bool, u64, u64, u64, Reverse<u64>);

#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    badness: Badness,
    cells: Vec<String>,
}

#[derive(Default)]
struct Sums {
    connects: u64,
    failed: u64,
    resets: u64,
    bytes: u64,
    segments: u64,
    retrans: u64,
    unseen: u64,
    spurious: u64,
    http_requests: u64,
    http_errors: u64,
    dns_requests: u64,
    dns_timeouts: u64,
    dns_errors: u64,
    // What could not be told, as numbers of connections.
    joined: u64,
    one_way: u64,
    gaps: u64,
    gap_bytes: u64,
    doubled: u64,
    oversized: u64,
}

impl Table {
    pub fn new(limit: usize) -> Self {
        Self { limit, tcp: BinaryHeap::new(), udp: BinaryHeap::new(), sums: Sums::default(), capture: CaptureReport::default() }
    }

    pub fn takes(&mut self, report: Report) -> ControlFlow<()> {
        match report {
            Report::Tcp(tcp) => {
                self.sums.add_tcp(&tcp);
                keep(&mut self.tcp, self.limit, tcp_row(&tcp));
            }
            Report::Udp(udp) => {
                self.sums.add_udp(&udp);
                keep(&mut self.udp, self.limit, udp_row(&udp));
            }
            Report::Capture(capture) => self.capture = *capture,
        }
        ControlFlow::Continue(())
    }

    pub fn text(self) -> String {
        let mut out = self.summary();
        let (tcp, udp) = (worst_first(self.tcp), worst_first(self.udp));
        if !tcp.is_empty() {
            let heads = ["client", "server", "state", "sent", "answered", "retrans", "rtt to server", "to client", "handshake", "lost", "speaks"];
            out += &format!("\nTCP, worst first\n{}", show::table(&heads.map(str::to_owned), &tcp, TEXT_COLUMNS));
            out += &more(tcp.len(), self.capture.tcp_connections);
        }
        if !udp.is_empty() {
            let heads = ["client", "server", "speaks", "sent", "datagrams", "answered", "datagrams", "answer in"];
            out += &format!("\nUDP, worst first\n{}", show::table(&heads.map(str::to_owned), &udp, TEXT_COLUMNS));
            out += &more(udp.len(), self.capture.udp_conversations);
        }
        let notes = self.sums.notes(&self.capture);
        if !notes.is_empty() {
            out += &format!("\nWHAT COULD NOT BE TOLD\n{}", notes.iter().map(|note| format!("- {note}\n")).collect::<String>());
        }
        out
    }

    fn summary(&self) -> String {
        let (capture, sums) = (&self.capture, &self.sums);
        let mut out = format!("{}: {} packets", show::safe(&capture.file), capture.packets);
        if let (Some(start), Some(end)) = (capture.start, capture.end) {
            let seconds = (end - start).as_seconds_f64();
            out += &format!(" in {}, from {}", show::seconds(seconds), start.format("%Y-%m-%d %H:%M:%S%.3f UTC"));
        }
        out += &format!("\n{} TCP connections", capture.tcp_connections);
        if capture.tcp_connections > 0 {
            let rate = if sums.segments > 0 { format!(" ({})", show::percent(sums.retrans as f64 / sums.segments as f64)) } else { String::new() };
            out += &format!(
                ": {} attempted, {} of them failed; {} reset; {} of payload; {} of {} segments sent again{rate}",
                sums.connects,
                sums.failed,
                sums.resets,
                show::bytes(sums.bytes as f64),
                sums.retrans,
                sums.segments
            );
        }
        if sums.retrans > 0 {
            out += &format!("; {} were lost before the capture point, {} need not have been sent", sums.unseen, sums.spurious);
        }
        out += &format!("\n{} UDP conversations\n", capture.udp_conversations);
        if sums.http_requests > 0 {
            out += &format!("{} HTTP requests, {} answered by 5xx\n", sums.http_requests, sums.http_errors);
        }
        if sums.dns_requests > 0 {
            out += &format!("{} DNS questions, {} without answer, {} answered by an error\n", sums.dns_requests, sums.dns_timeouts, sums.dns_errors);
        }
        out
    }
}

/// Keeps the row if it is among the worst.
fn keep(rows: &mut BinaryHeap<Reverse<Row>>, limit: usize, row: Row) {
    rows.push(Reverse(row));
    if rows.len() > limit {
        rows.pop();
    }
}

fn worst_first(rows: BinaryHeap<Reverse<Row>>) -> Vec<Vec<String>> {
    rows.into_sorted_vec().into_iter().map(|Reverse(row)| row.cells).collect()
}

fn more(shown: usize, all: u64) -> String {
    let hidden = all.saturating_sub(shown as u64);
    if hidden == 0 { String::new() } else { format!("and {hidden} more: --limit {all} shows them\n") }
}

fn tcp_row(report: &TcpReport) -> Row {
    let (there, back) = (&report.client_to_server, &report.server_to_client);
    let seconds = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), show::seconds);
    let unseen = there.retrans_unseen + back.retrans_unseen;
    let retrans = match report.retrans() {
        0 => "0".to_owned(),
        count if unseen > 0 => format!("{count} ({unseen} unseen)"),
        count => count.to_string(),
    };
    let cells = vec![
        end(report.client),
        end(report.server),
        state(report),
        payload(there),
        payload(back),
        retrans,
        seconds(there.rtt.p50),
        seconds(back.rtt.p50),
        seconds(report.connect.handshake),
        if report.lost_s > 0.0 { show::seconds(report.lost_s) } else { "0".to_owned() },
        speaks(report),
    ];
    let bytes = there.bytes_unique + back.bytes_unique;
    Row { badness: (report.has_failed(), (report.lost_s * 1e6) as u64, report.retrans(), bytes, Reverse(report.first_packet)), cells }
}

fn udp_row(report: &UdpReport) -> Row {
    let (there, back) = (&report.client_to_server, &report.server_to_client);
    let (speaks, bad, took) = match &report.dns {
        Some(dns) => {
            let errors = dns.nxdomain + dns.servfail + dns.refused + dns.errors_other;
            let said = format!("dns: {} asked, {} timed out, {errors} errors", dns.requests, dns.timeouts);
            (said, dns.timeouts + errors, dns.duration.p50.map_or_else(|| "–".to_owned(), show::seconds))
        }
        None => (report.tunnel.map_or_else(String::new, |kind| format!("{kind} (not opened)")), 0, "–".to_owned()),
    };
    let count = |datagrams: u64| datagrams.to_string();
    let cells = vec![
        end(report.client),
        end(report.server),
        speaks,
        show::bytes(there.bytes as f64),
        count(there.datagrams),
        show::bytes(back.bytes as f64),
        count(back.datagrams),
        took,
    ];
    Row { badness: (false, bad, 0, there.bytes + back.bytes, Reverse(report.first_packet)), cells }
}

fn end(at: SocketAddr) -> String {
    at.to_string()
}

/// Acknowledged bytes; where nobody acknowledged, those that passed.
fn payload(direction: &DirectionReport) -> String {
    show::bytes(direction.bytes.unwrap_or(direction.bytes_unique) as f64)
}

fn state(report: &TcpReport) -> String {
    let by = |side: Option<Side>| match side {
        Some(Side::Client) => " by client",
        Some(Side::Server) => " by server",
        None => "",
    };
    let began = match report.outcome {
        Outcome::Established => "",
        Outcome::Refused => return "refused".to_owned(),
        Outcome::Reset => return "reset in handshake".to_owned(),
        Outcome::TimedOut => return "connect timed out".to_owned(),
        Outcome::Cancelled => return "connect cancelled".to_owned(),
        Outcome::Unreachable => return "unreachable".to_owned(),
        Outcome::Pending => return "connecting".to_owned(),
        Outcome::Joined => "joined, ",
    };
    let ended = match report.ended {
        End::Closed => "closed".to_owned(),
        End::HalfClosed => "half closed".to_owned(),
        End::Reset => format!("reset{}", by(report.reset_by)),
        End::Evicted => "given up".to_owned(),
        End::Open | End::NeverOpen => "open".to_owned(),
    };
    format!("{began}{ended}")
}

fn speaks(report: &TcpReport) -> String {
    if let Some(http) = &report.http {
        let errors = if http.status_5xx > 0 { format!(", {} × 5xx", http.status_5xx) } else { String::new() };
        let took = http.duration.p50.map(|p50| format!(", {}", show::seconds(p50))).unwrap_or_default();
        return format!("http: {} requests{errors}{took}", http.requests);
    }
    report.dns.as_ref().map_or_else(String::new, |dns| format!("dns: {} asked, {} timed out", dns.requests, dns.timeouts))
}

impl Sums {
    fn add_tcp(&mut self, report: &TcpReport) {
        self.connects += report.connect.connects;
        self.failed += u64::from(report.has_failed());
        self.resets += u64::from(report.ended == End::Reset);
        self.joined += u64::from(report.outcome == Outcome::Joined);
        self.one_way += u64::from(report.one_way.is_some());
        for direction in [&report.client_to_server, &report.server_to_client] {
            self.bytes += direction.bytes_unique;
            self.segments += direction.segments;
            self.retrans += direction.retrans;
            self.unseen += direction.retrans_unseen;
            self.spurious += direction.retrans_spurious;
            self.doubled += direction.duplicates;
            self.oversized += direction.oversized_packets;
            if direction.packets > 0 {
                self.gaps += direction.gaps;
                self.gap_bytes += direction.gap_bytes;
            }
        }
        if let Some(http) = &report.http {
            self.http_requests += http.requests;
            self.http_errors += http.status_5xx;
        }
        if let Some(dns) = &report.dns {
            self.add_dns(dns);
        }
    }

    fn add_udp(&mut self, report: &UdpReport) {
        if let Some(dns) = &report.dns {
            self.add_dns(dns);
        }
    }

    fn add_dns(&mut self, dns: &edgescope_replay::report::DnsReport) {
        self.dns_requests += dns.requests;
        self.dns_timeouts += dns.timeouts;
        self.dns_errors += dns.servfail + dns.refused + dns.errors_other + dns.nxdomain;
    }

    fn notes(&self, capture: &CaptureReport) -> Vec<String> {
        let mut notes = Vec::new();
        let mut note = |count: u64, text: String| {
            if count > 0 {
                notes.push(text);
            }
        };
        if let Some(damage) = &capture.damage {
            note(1, format!("the capture is {damage}"));
        }
        note(self.gap_bytes, format!("{} in {} gaps were sent and not captured", show::bytes(self.gap_bytes as f64), self.gaps));
        note(self.one_way, format!("{} connections were captured in one direction only: no round trips, no acknowledged bytes", self.one_way));
        note(
            self.joined,
            format!("{} connections began before the capture: no handshake; who is the client was concluded from the ports", self.joined),
        );
        note(self.doubled, format!("{} packets were captured twice and counted once", self.doubled));
        note(
            self.oversized,
            format!("{} packets were captured before the network card cut them up: segments are counted by the handshake's size", self.oversized),
        );
        note(capture.evicted, format!("{} connections were reported before their end: raise --max-connections", capture.evicted));
        note(capture.packets_without_time, format!("{} packets have no time", capture.packets_without_time));
        note(capture.packets_back_in_time, format!("{} packets are older than the one before them", capture.packets_back_in_time));
        for (kind, count) in &capture.tunnels {
            note(*count, format!("{count} packets of a tunnel ({kind}) were not opened"));
        }
        for (why, count) in &capture.unread {
            note(*count, format!("{count} packets were passed over: {}", show::safe(why)));
        }
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_are_kept_and_come_first() {
        let mut rows = BinaryHeap::new();
        let row = |failed, lost_us, first| Row { badness: (failed, lost_us, 0, 0, Reverse(first)), cells: vec![first.to_string()] };
        for (failed, lost_us, first) in [(false, 5, 1), (true, 0, 2), (false, 9, 3), (false, 5, 4), (false, 0, 5)] {
            keep(&mut rows, 4, row(failed, lost_us, first));
        }
        assert_eq!(worst_first(rows).concat(), ["2", "3", "1", "4"], "failed, then time lost, then the earlier");
        assert_eq!(more(4, 5), "and 1 more: --limit 5 shows them\n");
    }
}
