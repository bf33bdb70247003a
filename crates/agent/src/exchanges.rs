//! Requests and answers of the protocols that have them, as signals. All lie on the edge from client to server, where the request goes; both ends see them, and each its
//! own time: a client's holds the way, a server's does not.

use crate::counters::{Counter, Cumulative};
use crate::measures::{histogram, value};
use edgescope_model::signal::{self, Signal};
use edgescope_model::wire::Measure;

/// How a protocol's requests and answers are called.
pub struct Vocabulary {
    requests: Signal,
    /// All answers, of whatever outcome.
    responses: Option<Signal>,
    /// By outcome, in the kernel side's order.
    outcomes: [Option<Signal>; 5],
    /// Of those that a protocol above it makes, and how they ended; told where there are any.
    calls: &'static [(Signal, Counter)],
    unanswered: Signal,
    active: Signal,
    at_client: Signal,
    at_server: Signal,
}

/// Port 53, whatever carries it.
pub const DNS: Vocabulary = Vocabulary {
    requests: signal::DNS_REQUESTS,
    responses: Some(signal::DNS_RESPONSES),
    outcomes: [None, Some(signal::DNS_NXDOMAIN), Some(signal::DNS_SERVFAIL), Some(signal::DNS_REFUSED), Some(signal::DNS_ERRORS_OTHER)],
    calls: &[],
    unanswered: signal::DNS_TIMEOUTS,
    active: signal::DNS_ACTIVE,
    at_client: signal::DNS_CLIENT_DURATION,
    at_server: signal::DNS_SERVER_DURATION,
};

/// Any other port by TCP, where it was heard.
pub const HTTP: Vocabulary = Vocabulary {
    requests: signal::HTTP_REQUESTS,
    responses: None,
    outcomes: [
        Some(signal::HTTP_STATUS_2XX),
        Some(signal::HTTP_STATUS_3XX),
        Some(signal::HTTP_STATUS_4XX),
        Some(signal::HTTP_STATUS_5XX),
        Some(signal::HTTP_STATUS_OTHER),
    ],
    calls: &[
        (signal::GRPC_REQUESTS, Counter::grpc_requests),
        (signal::GRPC_STATUS_OK, Counter::grpc_ok),
        (signal::GRPC_STATUS_UNAVAILABLE, Counter::grpc_unavailable),
        (signal::GRPC_STATUS_DEADLINE, Counter::grpc_deadline),
        (signal::GRPC_STATUS_OTHER, Counter::grpc_other),
        (signal::GRPC_STATUS_NONE, Counter::grpc_unsaid),
    ],
    unanswered: signal::HTTP_UNANSWERED,
    active: signal::HTTP_ACTIVE,
    at_client: signal::HTTP_CLIENT_DURATION,
    at_server: signal::HTTP_SERVER_DURATION,
};

const ANSWERS: [Counter; 5] = [Counter::answers_0, Counter::answers_1, Counter::answers_2, Counter::answers_3, Counter::answers_4];

impl Vocabulary {
    /// What a client tells beside what it sent.
    pub fn at_client(&self, counted: &Cumulative) -> Vec<Measure> {
        let mut measures = self.shared(counted);
        if !measures.is_empty() {
            measures.push(value(self.unanswered, counted.totals.get(Counter::unanswered)));
            measures.push(value(self.active, counted.totals.get(Counter::active_ms)));
            measures.extend(histogram(self.at_client, &counted.duration));
        }
        measures
    }

    /// What a server tells beside what it received.
    pub fn at_server(&self, counted: &Cumulative) -> Vec<Measure> {
        let mut measures = self.shared(counted);
        measures.extend(histogram(self.at_server, &counted.duration));
        measures
    }

    /// What both ends see; nothing if nobody asked, answered or waited in vain.
    fn shared(&self, counted: &Cumulative) -> Vec<Measure> {
        let requests = counted.totals.get(Counter::requests);
        let answers = ANSWERS.map(|answer| counted.totals.get(answer));
        let all: u64 = answers.iter().sum();
        let calls = self.calls.iter().map(|&(signal, counter)| value(signal, counted.totals.get(counter)));
        let calls: Vec<Measure> = if self.calls.iter().all(|&(_, counter)| counted.totals.get(counter) == 0) { Vec::new() } else { calls.collect() };
        // A call may end in a window in which nothing else was said.
        if requests + all + counted.totals.get(Counter::unanswered) == 0 && calls.is_empty() {
            return Vec::new();
        }
        let by_outcome = self.outcomes.iter().zip(answers).filter_map(|(signal, count)| signal.map(|signal| value(signal, count)));
        [value(self.requests, requests)].into_iter().chain(self.responses.map(|signal| value(signal, all))).chain(by_outcome).chain(calls).collect()
    }

    #[cfg(test)]
    pub fn signals(&self) -> Vec<Signal> {
        let shared = [self.requests].into_iter().chain(self.responses).chain(self.outcomes.into_iter().flatten());
        let shared = shared.chain(self.calls.iter().map(|&(signal, _)| signal));
        shared.chain([self.unanswered, self.active, self.at_client, self.at_server]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::histogram::Histogram;

    fn told(measures: &[Measure]) -> Vec<(&'static str, u64)> {
        measures.iter().map(|measure| (signal::by_id(measure.signal).unwrap().name, measure.value.max(measure.counts.iter().sum()))).collect()
    }

    #[test]
    fn each_end_tells_what_it_saw_and_zeros_beside_it() {
        let mut counted = Cumulative { duration: Histogram::from_pairs([(40, 2)]), ..Cumulative::default() };
        counted.totals.0[Counter::active_ms as usize] = 7;
        assert!(DNS.at_client(&Cumulative { duration: Histogram::default(), ..counted.clone() }).is_empty(), "nobody asked");
        counted.totals.0[Counter::requests as usize] = 3;
        counted.totals.0[Counter::answers_0 as usize] = 1;
        counted.totals.0[Counter::answers_2 as usize] = 1;
        let shared =
            [("dns.requests", 3), ("dns.responses", 2), ("dns.nxdomain", 0), ("dns.servfail", 1), ("dns.refused", 0), ("dns.errors_other", 0)];
        assert_eq!(told(&DNS.at_client(&counted)), [&shared[..], &[("dns.timeouts", 0), ("dns.active", 7), ("dns.client.duration", 2)]].concat());
        assert_eq!(told(&DNS.at_server(&counted)), [&shared[..], &[("dns.server.duration", 2)]].concat());
    }
}
