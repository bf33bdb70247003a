//! Which counter of a flow is which signal of which side.
//!
//! Absent means "not seen"; zero means "seen, and nothing happened". So a signal is sent with zeros whenever what it is a share of was there: retransmissions
//! with segments, connect outcomes with attempts, and the basic ones whenever the flow did anything at all.

use crate::counters::{Counter, Cumulative, Totals};
use crate::delta::Delta;
use crate::exchanges::{self, Vocabulary};
use edgescope_model::histogram::Histogram;
use edgescope_model::signal::{self, Signal};
use edgescope_model::wire::Measure;
use edgescope_probe::Protocol;

/// When a counter is sent although it is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum With {
    /// Whenever the flow is told of.
    Always,
    /// If this counter is above zero.
    Any(Counter),
    /// Never.
    Nothing,
}

struct Row {
    signal: Signal,
    counter: Counter,
    with: With,
}

const fn row(signal: Signal, counter: Counter, with: With) -> Row {
    Row { signal, counter, with }
}

/// What the local end sent by TCP.
const SENT: &[Row] = &[
    row(signal::TCP_BYTES, Counter::bytes_sent, With::Always),
    row(signal::TCP_SEGMENTS, Counter::segs_sent, With::Always),
    row(signal::TCP_RETRANS, Counter::retrans_segs, With::Any(Counter::segs_sent)),
    row(signal::TCP_RETRANS_SYN, Counter::retrans_syn, With::Any(Counter::connect_attempts)),
    row(signal::TCP_RETRANS_SYNACK, Counter::retrans_synack, With::Any(Counter::accepts)),
    row(signal::TCP_RETRANS_BYTES, Counter::retrans_bytes, With::Any(Counter::segs_sent)),
    row(signal::TCP_RTO, Counter::rto, With::Any(Counter::segs_sent)),
    row(signal::TCP_RETRANS_SPURIOUS, Counter::spurious, With::Any(Counter::segs_sent)),
    row(signal::TCP_SRTT, Counter::srtt_us_sum, With::Nothing),
    row(signal::TCP_SRTT_SAMPLES, Counter::srtt_samples, With::Nothing),
    row(signal::TCP_RESPONSE_TIME, Counter::response_us, With::Any(Counter::responses)),
    row(signal::TCP_RESPONSES, Counter::responses, With::Nothing),
    row(signal::TCP_ACTIVE, Counter::active_ms, With::Always),
    row(signal::TCP_STALLED, Counter::stalled_ms, With::Any(Counter::active_ms)),
    row(signal::TCP_BLOCKED_RWND, Counter::blocked_rwnd_us, With::Any(Counter::busy_us)),
    row(signal::TCP_BLOCKED_SNDBUF, Counter::blocked_sndbuf_us, With::Any(Counter::busy_us)),
    row(signal::TCP_BUSY, Counter::busy_us, With::Any(Counter::segs_sent)),
    row(signal::TCP_CONNECTS, Counter::connect_attempts, With::Nothing),
    row(signal::TCP_CONNECTS_ESTABLISHED, Counter::connect_established, With::Any(Counter::connect_attempts)),
    row(signal::TCP_CONNECT_TIMEOUTS, Counter::connect_timeout, With::Any(Counter::connect_attempts)),
    row(signal::TCP_CONNECTS_CANCELLED, Counter::connect_cancelled, With::Any(Counter::connect_attempts)),
    row(signal::TCP_CONNECTS_REFUSED, Counter::connect_refused, With::Any(Counter::connect_attempts)),
    row(signal::TCP_CONNECTS_UNREACHABLE, Counter::connect_unreachable, With::Any(Counter::connect_attempts)),
    row(signal::TCP_CONNECTS_RESET, Counter::connect_reset, With::Any(Counter::connect_attempts)),
    row(signal::TCP_CLOSES, Counter::closes, With::Nothing),
    row(signal::TCP_RESETS, Counter::resets_sent, With::Always),
    row(signal::TCP_RESETS_NO_LISTENER, Counter::resets_no_listener, With::Any(Counter::resets_explained)),
    row(signal::TCP_RESETS_ABORTED, Counter::resets_aborted, With::Any(Counter::resets_explained)),
];

/// What the local kernel dropped of what the local end sent. Not every kernel tells: no zeros.
const SENT_DROPS: &[Row] = &[
    row(signal::KERNEL_DROPS_POLICY, Counter::sent_drops_policy, With::Nothing),
    row(signal::KERNEL_DROPS_QUEUE, Counter::sent_drops_queue, With::Nothing),
    row(signal::KERNEL_DROPS_INVALID, Counter::sent_drops_invalid, With::Nothing),
    row(signal::KERNEL_DROPS_OTHER, Counter::sent_drops_other, With::Nothing),
];

/// And of what was on its way to the local end.
const RECEIVED_DROPS: &[Row] = &[
    row(signal::KERNEL_DROPS_POLICY, Counter::received_drops_policy, With::Nothing),
    row(signal::KERNEL_DROPS_QUEUE, Counter::received_drops_queue, With::Nothing),
    row(signal::KERNEL_DROPS_INVALID, Counter::received_drops_invalid, With::Nothing),
    row(signal::KERNEL_DROPS_OTHER, Counter::received_drops_other, With::Nothing),
];

/// What the local end received by TCP.
const RECEIVED: &[Row] = &[
    row(signal::TCP_BYTES, Counter::bytes_received, With::Always),
    row(signal::TCP_SEGMENTS, Counter::segs_received, With::Always),
    row(signal::TCP_OUT_OF_ORDER, Counter::out_of_order, With::Any(Counter::segs_received)),
    row(signal::TCP_ACCEPTS, Counter::accepts, With::Nothing),
    row(signal::TCP_RESETS, Counter::resets_received, With::Always),
    row(signal::TCP_ACCEPT_OVERFLOW, Counter::accept_overflow, With::Any(Counter::accepts)),
];

/// What the local end sent by UDP.
const UDP_SENT: &[Row] = &[
    row(signal::UDP_BYTES, Counter::bytes_sent, With::Always),
    row(signal::UDP_DATAGRAMS, Counter::segs_sent, With::Always),
    row(signal::UDP_ACTIVE, Counter::active_ms, With::Always),
];

/// What reached the local end by UDP.
const UDP_RECEIVED: &[Row] = &[
    row(signal::UDP_BYTES, Counter::bytes_received, With::Always),
    row(signal::UDP_DATAGRAMS, Counter::segs_received, With::Always),
    row(signal::UDP_DROPS, Counter::receive_drops, With::Always),
];

/// What a flow is spoken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spoken {
    pub protocol: Protocol,
    pub service_port: u16,
}

/// RFC 1035.
pub const DNS_PORT: u16 = 53;

impl Spoken {
    /// What its requests and answers are called, if the kernel side knows them.
    fn vocabulary(self) -> Option<&'static Vocabulary> {
        match self.protocol {
            _ if self.service_port == DNS_PORT => Some(&exchanges::DNS),
            Protocol::Tcp => Some(&exchanges::HTTP),
            Protocol::Udp => None,
        }
    }
}

/// What happened in flows of one local end, far end, port, protocol and role.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sum {
    pub counted: Cumulative,
    pub rtt_us_max: Option<u32>,
    pub rtt_us_min: Option<u32>,
}

impl Sum {
    pub fn add(&mut self, delta: &Delta) {
        self.counted.add(&delta.counted);
        self.rtt_us_max = self.rtt_us_max.max(delta.rtt_us_max);
        self.rtt_us_min = [self.rtt_us_min, delta.rtt_us_min].into_iter().flatten().min();
    }

    /// Measures of what the local end sent.
    pub fn sent(&self, spoken: Spoken, server: bool) -> Vec<Measure> {
        let mut measures = match spoken.protocol {
            Protocol::Tcp => self.sent_by_tcp(),
            Protocol::Udp => table(UDP_SENT, &self.counted.totals),
        };
        measures.extend(table(SENT_DROPS, &self.counted.totals));
        if let Some(vocabulary) = spoken.vocabulary().filter(|_| !server) {
            measures.extend(vocabulary.at_client(&self.counted));
        }
        measures
    }

    /// Measures of what the local end received.
    pub fn received(&self, spoken: Spoken, server: bool) -> Vec<Measure> {
        let rows = match spoken.protocol {
            Protocol::Tcp => RECEIVED,
            Protocol::Udp => UDP_RECEIVED,
        };
        let mut measures = table(rows, &self.counted.totals);
        measures.extend(table(RECEIVED_DROPS, &self.counted.totals));
        if let Some(vocabulary) = spoken.vocabulary().filter(|_| server) {
            measures.extend(vocabulary.at_server(&self.counted));
        }
        measures
    }

    fn sent_by_tcp(&self) -> Vec<Measure> {
        // The catalogue's retransmissions hold those of SYN-ACKs, which the kernel counts apart.
        let mut totals = self.counted.totals;
        totals.0[Counter::retrans_segs as usize] += totals.get(Counter::retrans_synack);
        let mut measures = table(SENT, &totals);
        measures.extend(histogram(signal::TCP_RTT, &self.counted.rtt));
        measures.extend(histogram(signal::TCP_HANDSHAKE, &self.counted.handshake));
        measures.extend(self.rtt_us_max.map(|us| value(signal::TCP_RTT_MAX, us.into())));
        measures.extend(self.rtt_us_min.map(|us| value(signal::TCP_RTT_MIN, us.into())));
        measures
    }
}

fn table(rows: &[Row], totals: &Totals) -> Vec<Measure> {
    let told = |row: &&Row| {
        totals.get(row.counter) > 0
            || match row.with {
                With::Always => true,
                With::Any(counter) => totals.get(counter) > 0,
                With::Nothing => false,
            }
    };
    rows.iter().filter(told).map(|row| value(row.signal, totals.get(row.counter))).collect()
}

pub fn value(signal: Signal, value: u64) -> Measure {
    Measure { signal: signal.id.into(), value, ..Measure::default() }
}

pub fn histogram(signal: Signal, histogram: &Histogram) -> Option<Measure> {
    let pairs = histogram.pairs();
    (!pairs.is_empty()).then(|| Measure {
        signal: signal.id.into(),
        buckets: pairs.iter().map(|&(bucket, _)| bucket.into()).collect(),
        counts: pairs.iter().map(|&(_, count)| count).collect(),
        ..Measure::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::NAMES;
    use edgescope_model::signal::{CATALOGUE, Ends};
    use std::collections::HashSet;

    const TCP: Spoken = Spoken { protocol: Protocol::Tcp, service_port: 80 };
    const UDP: Spoken = Spoken { protocol: Protocol::Udp, service_port: 443 };

    #[test]
    fn every_signal_and_every_counter_has_its_place() {
        let tcp = [signal::TCP_RTT, signal::TCP_HANDSHAKE, signal::TCP_RTT_MAX, signal::TCP_RTT_MIN];
        let sent: HashSet<u16> = SENT.iter().chain(UDP_SENT).chain(SENT_DROPS).map(|row| row.signal.id).chain(tcp.map(|signal| signal.id)).collect();
        let received: HashSet<u16> = RECEIVED.iter().chain(UDP_RECEIVED).chain(RECEIVED_DROPS).map(|row| row.signal.id).collect();
        let exchanged: HashSet<u16> = [exchanges::DNS, exchanges::HTTP].iter().flat_map(Vocabulary::signals).map(|signal| signal.id).collect();
        for signal in CATALOGUE.iter().filter(|signal| !exchanged.contains(&signal.id)) {
            assert_eq!(sent.contains(&signal.id), signal.ends != Ends::Receiver, "{}", signal.name);
            assert_eq!(received.contains(&signal.id), signal.ends != Ends::Sender, "{}", signal.name);
        }
        let rows = [SENT, RECEIVED, UDP_RECEIVED, SENT_DROPS, RECEIVED_DROPS].into_iter().flatten();
        let mut used: HashSet<&str> = rows.map(|row| NAMES[row.counter as usize]).collect();
        used.insert("resets_explained");
        used.extend(["requests", "answers_0", "answers_1", "answers_2", "answers_3", "answers_4", "unanswered"]);
        used.extend(["grpc_requests", "grpc_ok", "grpc_unavailable", "grpc_deadline", "grpc_other", "grpc_unsaid"]);
        assert_eq!(used, NAMES.iter().copied().collect());
    }

    #[test]
    fn the_port_tells_dns_from_http() {
        let mut sum = Sum::default();
        sum.counted.totals.0[Counter::requests as usize] = 1;
        let has = |measures: &[Measure], signal: Signal| measures.iter().any(|m| m.signal == u32::from(signal.id));
        for (protocol, service_port, spoken) in [
            (Protocol::Udp, 53, Some(signal::DNS_REQUESTS)),
            (Protocol::Tcp, 53, Some(signal::DNS_REQUESTS)),
            (Protocol::Tcp, 80, Some(signal::HTTP_REQUESTS)),
            (Protocol::Udp, 443, None),
        ] {
            for server in [false, true] {
                let (sent, received) = (sum.sent(Spoken { protocol, service_port }, server), sum.received(Spoken { protocol, service_port }, server));
                for signal in [signal::DNS_REQUESTS, signal::HTTP_REQUESTS] {
                    let is_spoken = spoken == Some(signal);
                    assert_eq!((has(&sent, signal), has(&received, signal)), (is_spoken && !server, is_spoken && server));
                }
            }
        }
    }

    #[test]
    fn zeros_are_told_only_beside_what_they_are_a_share_of() {
        let mut sum = Sum::default();
        sum.counted.totals.0[Counter::active_ms as usize] = 5;
        let names = |measures: Vec<Measure>| -> Vec<&str> { measures.iter().map(|m| signal::by_id(m.signal).unwrap().name).collect() };
        assert_eq!(names(sum.sent(TCP, false)), ["tcp.bytes", "tcp.segments", "tcp.active", "tcp.stalled", "tcp.resets"]);
        assert_eq!(names(sum.received(TCP, false)), ["tcp.bytes", "tcp.segments", "tcp.resets"]);
        assert_eq!(names(sum.sent(UDP, false)), ["udp.bytes", "udp.datagrams", "udp.active"]);
        assert_eq!(names(sum.received(UDP, false)), ["udp.bytes", "udp.datagrams", "udp.drops"]);
        sum.counted.totals.0[Counter::segs_sent as usize] = 1;
        assert!(names(sum.sent(TCP, false)).contains(&"tcp.retrans"));
        sum.counted.totals.0[Counter::retrans_synack as usize] = 2;
        let of = |signal: Signal| sum.sent(TCP, false).iter().find(|m| m.signal == u32::from(signal.id)).map(|m| m.value);
        assert_eq!((of(signal::TCP_RETRANS), of(signal::TCP_RETRANS_SYNACK)), (Some(2), Some(2)));
    }

    #[test]
    fn each_end_tells_of_its_own_drops_and_resets_are_explained_or_not_told() {
        let mut sum = Sum::default();
        let names = |measures: Vec<Measure>| -> Vec<(&str, u64)> {
            let all = measures.iter().map(|m| (signal::by_id(m.signal).unwrap().name, m.value));
            all.filter(|(name, _)| name.starts_with("kernel.") || name.starts_with("tcp.resets_")).collect()
        };
        sum.counted.totals.0[Counter::resets_sent as usize] = 3;
        assert!(names(sum.sent(TCP, false)).is_empty(), "this kernel gives no reasons");
        sum.counted.totals.0[Counter::sent_drops_policy as usize] = 1;
        sum.counted.totals.0[Counter::received_drops_queue as usize] = 2;
        sum.counted.totals.0[Counter::resets_explained as usize] = 3;
        sum.counted.totals.0[Counter::resets_aborted as usize] = 3;
        assert_eq!(names(sum.sent(TCP, false)), [("tcp.resets_no_listener", 0), ("tcp.resets_aborted", 3), ("kernel.drops_policy", 1)]);
        assert_eq!(names(sum.sent(UDP, false)), [("kernel.drops_policy", 1)]);
        for spoken in [TCP, UDP] {
            assert_eq!(names(sum.received(spoken, false)), [("kernel.drops_queue", 2)]);
        }
    }

    #[test]
    fn extremes_merge() {
        let delta = |max, min| Delta { key: key(), counted: Cumulative::default(), rtt_us_max: max, rtt_us_min: min };
        let mut sum = Sum::default();
        sum.add(&delta(Some(5), Some(4)));
        sum.add(&delta(None, None));
        sum.add(&delta(Some(9), Some(7)));
        assert_eq!((sum.rtt_us_max, sum.rtt_us_min), (Some(9), Some(4)));
    }

    fn key() -> edgescope_probe::FlowKey {
        crate::testing::key(1)
    }
}
