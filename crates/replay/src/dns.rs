//! DNS between two ports: questions, their answers, and what had none.

use crate::report::DnsReport;
use crate::rtt::Samples;
use edgescope_decode::dns::{Question, message};
use std::collections::VecDeque;

/// Questions of a conversation that wait for their answer; a resolver's own have one port each. The oldest go, counted.
const WAITING_MAX: usize = 256;
/// A question without an answer after this has timed out, as the agent counts it.
const TIME_OUT_NS: u64 = 5_000_000_000;

mod code {
    pub const NOERROR: u16 = 0;
    pub const SERVFAIL: u16 = 2;
    pub const NXDOMAIN: u16 = 3;
    pub const REFUSED: u16 = 5;
}

/// See the module.
#[derive(Debug, Default)]
pub struct Dns {
    waiting: VecDeque<Asked>,
    requests: u64,
    responses: u64,
    nxdomain: u64,
    servfail: u64,
    refused: u64,
    errors_other: u64,
    timeouts: u64,
    durations: Samples,
    unreadable: u64,
    untracked: u64,
}

#[derive(Debug)]
struct Asked {
    id: u16,
    question: Option<Question>,
    at_ns: u64,
}

impl Dns {
    /// A message passes.
    pub fn hears(&mut self, from_client: bool, payload: &[u8], at_ns: u64) {
        match message(payload) {
            Ok(message) if message.response && !from_client => self.answered(message.id, message.question, message.rcode, at_ns),
            Ok(message) if !message.response && from_client => self.asked(message.id, message.question, at_ns),
            // A question to who was taken for the client, or no DNS at all.
            Ok(_) | Err(_) => self.unreadable += 1,
        }
    }

    fn asked(&mut self, id: u16, question: Option<Question>, at_ns: u64) {
        self.requests += 1;
        // Asked once more, it waits since it was asked first.
        if self.waiting.iter().any(|asked| asked.id == id && asked.question == question) {
            return;
        }
        if self.waiting.len() >= WAITING_MAX
            && let Some(oldest) = self.waiting.pop_front()
        {
            let timed_out = at_ns.saturating_sub(oldest.at_ns) >= TIME_OUT_NS;
            if timed_out { self.timeouts += 1 } else { self.untracked += 1 }
        }
        self.waiting.push_back(Asked { id, question, at_ns });
    }

    fn answered(&mut self, id: u16, question: Option<Question>, rcode: u16, at_ns: u64) {
        self.responses += 1;
        match rcode {
            code::NOERROR => {}
            code::NXDOMAIN => self.nxdomain += 1,
            code::SERVFAIL => self.servfail += 1,
            code::REFUSED => self.refused += 1,
            _ => self.errors_other += 1,
        }
        // Some servers leave the question out of a refusal.
        let fits = |asked: &Asked| asked.id == id && (question.is_none() || asked.question == question);
        if let Some(asked) = self.waiting.iter().position(fits).and_then(|at| self.waiting.remove(at)) {
            let took_ns = at_ns.saturating_sub(asked.at_ns);
            self.timeouts += u64::from(took_ns >= TIME_OUT_NS);
            self.durations.record(took_ns);
        }
    }

    /// `None` if nothing was DNS. Questions that were asked less than the time-out before the end are not judged.
    pub fn report(&self, capture_end_ns: u64) -> Option<DnsReport> {
        let overdue = |asked: &&Asked| capture_end_ns.saturating_sub(asked.at_ns) >= TIME_OUT_NS;
        (self.requests + self.responses > 0).then(|| DnsReport {
            requests: self.requests,
            responses: self.responses,
            nxdomain: self.nxdomain,
            servfail: self.servfail,
            refused: self.refused,
            errors_other: self.errors_other,
            timeouts: self.timeouts + self.waiting.iter().filter(overdue).count() as u64,
            duration: self.durations.spread(),
            unreadable: self.unreadable,
            untracked: self.untracked,
        })
    }
}
