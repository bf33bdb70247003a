//! The verdict in numbers and in words: evidence, who is hit, one sentence for a person at 2 AM.

use crate::app::{ANSWER_TIME, AppFinding};
use crate::case::{Case, Shown};
use crate::component::{Component, Sense};
use crate::exonerate::{hit_units, passes};
use crate::view::{M, View};
use edgescope_model::verdict::{Affected, Class, Evidence};
use std::collections::BTreeMap;
use std::ops::Range;

/// Most pairs listed.
pub const AFFECTED_MAX: usize = 100;
/// Evidence against a pair's being hit, from which it is left out though it passes the culprit.
const CLEARED: f64 = -3.0;

/// Name of the signal that a class is told by; a round trip may be told by another, see [`crate::symptoms::Shifts::alike`].
pub fn signal(class: Class) -> &'static str {
    match class {
        Class::Loss => "tcp.retrans_rate",
        Class::Latency => "tcp.handshake.p50",
        Class::Unreachable => "tcp.connect_timeout_rate",
        Class::Policy | Class::ServiceDown => "tcp.connect_failure_rate",
        Class::Dns => "dns.failure_rate",
        _ => "",
    }
}

/// Workload pairs (client → server) that pass the culprit and are not cleared by their own numbers, the worst first.
pub fn affected(view: &View<'_>, case: &Case, culprit: Component) -> Vec<Affected> {
    pairs_of(view, case, hit_units(view, case, culprit).into_iter().map(|(unit, _)| unit))
}

/// Workload pairs that are bad by themselves, where nobody can be blamed.
pub fn affected_by_signs(view: &View<'_>, case: &Case) -> Vec<Affected> {
    pairs_of(view, case, case.localised.bad_units.iter().copied())
}

fn pairs_of(view: &View<'_>, case: &Case, units: impl Iterator<Item = usize>) -> Vec<Affected> {
    let evidence = case.shown.evidence();
    let strength = case.localised.guesses.first().map(|g| g.strength.clone()).unwrap_or_else(|| vec![0.0; 2]);
    let mut pairs: BTreeMap<(u32, u32), Pair> = BTreeMap::new();
    for unit in units.filter(|&u| is_used(view, case, u)) {
        let pair = pairs.entry(client_server(view, case, unit)).or_default();
        pair.hit += 1;
        pair.score += evidence.score(unit, &strength);
        pair.add(case, unit);
    }
    for unit in (0..case.units.len()).filter(|&u| is_used(view, case, u)) {
        pairs.entry(client_server(view, case, unit)).and_modify(|p| p.all += 1);
    }
    let list = pairs.into_iter().filter(|(_, p)| p.score > CLEARED);
    let words = list.map(|((client, server), p)| Affected {
        source: view.workloads[client as usize].clone(),
        dest: view.workloads[server as usize].clone(),
        impact: p.severity(case.class) * p.hit as f64 / p.all.max(1) as f64,
        symptom: p.words(case.class),
    });
    worst_first(words.collect())
}

/// Whether a unit carried anything in the span or shortly before.
fn is_used(view: &View<'_>, case: &Case, unit: usize) -> bool {
    let steps = &case.span.steps;
    if case.class == Class::Dns {
        return view.asks_names(view.talks[case.index[unit]].there, steps);
    }
    match case.sense {
        Sense::Flow => view.is_used(Some(case.index[unit]), steps),
        _ => view.is_used(view.talks[case.index[unit]].there, steps) || view.is_used(view.talks[case.index[unit]].back, steps),
    }
}

/// Every pair of which a pod belongs to the culprit, as client or server, by the wish of `sides`, if it was used from `start` on or shortly before.
pub fn touched(view: &View<'_>, culprit: Component, sides: Sides, start: usize, symptom: &str) -> Vec<Affected> {
    let mut pairs: BTreeMap<(u32, u32), (usize, usize)> = BTreeMap::new();
    let steps = start..view.steps;
    for talk in view.talks.iter().filter(|t| view.is_used(t.there, &steps) || view.is_used(t.back, &steps)) {
        let (client, server) = (&view.ends[talk.client], &view.ends[talk.server]);
        let hit = match (culprit, sides) {
            (Component::Edge(..), _) => culprit.carries(client, server),
            (_, Sides::Server) => culprit.half(server, 0),
            (_, Sides::Client) => culprit.half(client, 0),
            (_, Sides::Any) => culprit.half(client, 0) || culprit.half(server, 0),
        };
        let count = pairs.entry((client.workload, server.workload)).or_default();
        count.0 += usize::from(hit);
        count.1 += 1;
    }
    let hit = pairs.into_iter().filter(|(_, (hit, _))| *hit > 0);
    let words = hit.map(|((client, server), (hit, all))| Affected {
        source: view.workloads[client as usize].clone(),
        dest: view.workloads[server as usize].clone(),
        impact: hit as f64 / all as f64,
        symptom: symptom.to_owned(),
    });
    worst_first(words.collect())
}

/// Which end of a talk must be the culprit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sides {
    Client,
    Server,
    Any,
}

fn worst_first(mut pairs: Vec<Affected>) -> Vec<Affected> {
    pairs.sort_by(|a, b| b.impact.total_cmp(&a.impact).then_with(|| (&a.source, &a.dest).cmp(&(&b.source, &b.dest))));
    pairs.truncate(AFFECTED_MAX);
    pairs
}

/// Workloads of a unit as client and server, whichever way its bytes go.
fn client_server(view: &View<'_>, case: &Case, unit: usize) -> (u32, u32) {
    let (from, to) = case.units[unit];
    let (from_workload, to_workload) = (view.ends[from].workload, view.ends[to].workload);
    let forward = case.sense != Sense::Flow || view.flows[case.index[unit]].from_client;
    if forward { (from_workload, to_workload) } else { (to_workload, from_workload) }
}

/// A workload pair's sums.
#[derive(Default)]
struct Pair {
    hit: usize,
    all: usize,
    score: f64,
    k: f64,
    n: f64,
    shift_s: f64,
    base_s: f64,
    shifts: usize,
}

impl Pair {
    fn add(&mut self, case: &Case, unit: usize) {
        match &case.shown {
            Shown::Rates(rates) => {
                let rate = rates.main(unit);
                self.k += rate.k;
                self.n += rate.n;
            }
            Shown::Shifts(shifts) => {
                if let Some(shift) = shifts.shifts[unit] {
                    self.shift_s += shift.by_s;
                    self.base_s += shift.base_s;
                    self.shifts += 1;
                }
            }
        }
    }

    fn rate(&self) -> f64 {
        if self.n > 0.0 { self.k / self.n } else { 0.0 }
    }

    /// 0..=1: what part of the pair's work is spoilt. A tenth of the segments lost spoils nearly all of TCP's throughput.
    fn severity(&self, class: Class) -> f64 {
        match class {
            Class::Loss => (10.0 * self.rate()).min(1.0),
            Class::Latency => self.shift_s.max(0.0) / (self.shift_s.max(0.0) + self.base_s).max(1e-9),
            _ => self.rate().min(1.0),
        }
    }

    fn words(&self, class: Class) -> String {
        let edges = format!("{} of {} pod pairs", self.hit, self.all.max(self.hit));
        match class {
            Class::Loss => format!("{:.1} % of segments sent again, {edges}", 100.0 * self.rate()),
            Class::Latency if self.shifts > 0 => format!("round trip {:+.1} ms, {edges}", 1e3 * self.shift_s / self.shifts as f64),
            Class::Latency => format!("on the way, no round trip measured, {edges}"),
            Class::Unreachable => format!("{:.0} of {:.0} connects without an answer, {edges}", self.k, self.n),
            Class::Dns => format!("{:.0} of {:.0} questions got an error or no answer, {edges}", self.k, self.n),
            _ => format!("{:.0} of {:.0} connects refused, {edges}", self.k, self.n),
        }
    }
}

/// The numbers for and against the culprit: its own units, and all others as control.
pub fn evidence(view: &View<'_>, case: &Case, culprit: Component) -> Vec<Evidence> {
    let passing = |u: &usize| passes(culprit, case.sense, &view.ends[case.units[*u].0], &view.ends[case.units[*u].1]);
    let (inside, outside): (Vec<usize>, Vec<usize>) = (0..case.units.len()).partition(passing);
    let place = culprit.phrase(view);
    let guess = case.localised.guesses.first();
    let test = guess
        .map(|g| format!("log-likelihood ratio {:.1}; {} of {} edges with enough samples are bad", g.score, g.bad, g.witnesses.len()))
        .unwrap_or_default();
    let mut all = vec![
        one(view, case, &inside, format!("edges that pass {place}"), test),
        one(view, case, &outside, "all other edges".into(), "control".into()),
    ];
    all.extend(second(view, case, &inside, &place));
    all
}

/// The numbers where nobody can be blamed: edges that are bad by themselves, and all others.
pub fn signs(view: &View<'_>, case: &Case) -> Vec<Evidence> {
    let (bad, others): (Vec<usize>, Vec<usize>) = (0..case.units.len()).partition(|u| case.localised.bad_units.binary_search(u).is_ok());
    let test = format!("{} of {} edges are bad by themselves, log-likelihood ratio {:.1}", bad.len(), case.units.len(), case.localised.support);
    vec![one(view, case, &bad, "edges that are bad by themselves".into(), test), one(view, case, &others, "all other edges".into(), "control".into())]
}

fn one(view: &View<'_>, case: &Case, units: &[usize], scope: String, test: String) -> Evidence {
    let mut signal = signal(case.class);
    let (value, baseline, samples) = match &case.shown {
        Shown::Rates(_) => {
            let (now, n) = measured(view, case, units, case.span.steps.clone());
            let (before, _) = measured(view, case, units, 0..case.span.steps.start);
            (now, before, n)
        }
        Shown::Shifts(shifts) => {
            let known = shifts.alike(units);
            signal = known.first().map_or(signal, |shift| shift.signal);
            let mean =
                |f: &dyn Fn(&crate::symptoms::Shift) -> f64| (!known.is_empty()).then(|| known.iter().map(f).sum::<f64>() / known.len() as f64);
            (mean(&|s| s.base_s + s.by_s), mean(&|s| s.base_s), known.iter().map(|s| s.samples as f64).sum())
        }
    };
    let ratio = value.zip(baseline).filter(|(_, b)| *b > 0.0).map(|(v, b)| v / b);
    // Where more or less is counted than the catalogue's measure does, it is said.
    let counted = match case.class {
        Class::Unreachable => "; connects that clients gave up and that were unreachable count as time-outs",
        Class::Policy | Class::ServiceDown => "; of failures, those refused or reset",
        _ => "",
    };
    Evidence { signal: signal.to_owned(), scope, value, baseline, ratio, samples: samples as u64, test: format!("{test}{counted}") }
}

/// The case's rate over units and steps, and its opportunities.
fn measured(view: &View<'_>, case: &Case, units: &[usize], steps: Range<usize>) -> (Option<f64>, f64) {
    let sum = |f: &dyn Fn(usize) -> f64| units.iter().map(|&u| f(u)).sum::<f64>();
    let talk = |u: usize, m: M| view.sum(view.talks[case.index[u]].there, m, steps.clone());
    let flow = |u: usize, m: M| view.sum(Some(case.index[u]), m, steps.clone());
    let (k, n) = match case.class {
        Class::Loss => {
            (sum(&|u| (flow(u, M::Retrans) - flow(u, M::RetransSyn) - flow(u, M::RetransSynack)).max(0.0)), sum(&|u| flow(u, M::SegmentsSent)))
        }
        Class::Unreachable => (sum(&|u| talk(u, M::Timeouts) + talk(u, M::Cancelled) + talk(u, M::Unreachable)), sum(&|u| talk(u, M::Connects))),
        Class::Dns => {
            let failed = |u| talk(u, M::DnsTimeouts) + talk(u, M::DnsServfail) + talk(u, M::DnsRefused) + talk(u, M::DnsErrorsOther);
            (sum(&failed), sum(&|u| talk(u, M::DnsRequests)))
        }
        _ => (sum(&|u| talk(u, M::Refused) + talk(u, M::ConnectsReset)), sum(&|u| talk(u, M::Connects))),
    };
    ((n > 0.0).then(|| (k / n).min(1.0)), n)
}

/// A second witness, of another kind than the symptom itself.
fn second(view: &View<'_>, case: &Case, inside: &[usize], place: &str) -> Vec<Evidence> {
    let after = case.span.steps.clone();
    let before = 0..after.start;
    let scope = format!("edges that pass {place}");
    let per_s = |steps: &Range<usize>, value: f64| (!steps.is_empty()).then(|| value / (steps.len() as f64 * view.step_s));
    let over = |steps: &Range<usize>, m: M, back: bool| {
        let flow = |u: usize| match (case.sense, back) {
            (Sense::Flow, _) => Some(case.index[u]),
            (_, true) => view.talks[case.index[u]].back,
            (_, false) => view.talks[case.index[u]].there,
        };
        inside.iter().map(|&u| view.sum(flow(u), m, steps.clone())).sum::<f64>()
    };
    let make = |signal: &str, m: M, back: bool, test: &str| {
        let (value, baseline) = (per_s(&after, over(&after, m, back)), per_s(&before, over(&before, m, back)));
        let ratio = value.zip(baseline).filter(|(_, b)| *b > 0.0).map(|(v, b)| v / b);
        Evidence { signal: signal.to_owned(), scope: scope.clone(), value, baseline, ratio, samples: inside.len() as u64, test: test.to_owned() }
    };
    match case.class {
        Class::Unreachable => vec![
            make("tcp.bytes.received.rate", M::BytesReceived, false, "what still arrives, bytes a second"),
            make("tcp.stalled.rate", M::Stalled, false, "sockets that wait for acknowledgements"),
        ],
        Class::Policy | Class::ServiceDown => vec![
            make(
                "tcp.resets.sent",
                M::ResetsSent,
                true,
                "resets a second that the servers' own hosts sent: as many as refusals if nobody listens, none if something else answered",
            ),
            make("tcp.accepts.rate", M::Accepts, false, "connections a second that still reach the servers"),
        ],
        Class::Dns => vec![
            make("dns.servfail.rate", M::DnsServfail, false, "answers a second that the server could not find out"),
            make("dns.timeouts.rate", M::DnsTimeouts, false, "questions a second that nobody answered"),
        ],
        Class::Loss => vec![make("tcp.retrans.rate", M::Retrans, false, "segments a second sent again, those of handshakes included")],
        Class::Latency => vec![make("tcp.retrans.rate", M::Retrans, false, "segments a second sent again: a slow path need not lose any")],
        _ => Vec::new(),
    }
}

/// The sentence of a network verdict.
pub fn network_sentence(view: &View<'_>, case: &Case, culprit: Component, pairs: usize, twins: &[Component]) -> String {
    let place = culprit.phrase(view);
    let until = if case.is_open { String::new() } else { format!(" until {}", view.time(case.span.steps.end).format("%H:%M:%S")) };
    let since = format!("{}{until}", case.since(view).format("%H:%M:%S"));
    let own = evidence(view, case, culprit);
    let percent = |e: Option<&Evidence>| e.and_then(|e| e.value).map_or("no data".to_owned(), |v| format!("{:.1} %", 100.0 * v));
    let (inside, outside) = (percent(own.first()), percent(own.get(1)));
    let what = match case.class {
        Class::Loss => format!("the network loses segments on {place}: {inside} are sent again, elsewhere {outside}"),
        Class::Unreachable => format!("the network is cut at {place}: {inside} of connects get no answer, elsewhere {outside}"),
        Class::Policy => {
            format!("something in the network refuses connections at {place}: {inside} of connects, elsewhere {outside}, and the servers live")
        }
        Class::Dns => {
            let elsewhere = own.get(1).and_then(|e| e.value).map_or(String::new(), |_| format!(", elsewhere {outside}"));
            format!("{place} does not resolve names: {inside} of questions get an error or no answer{elsewhere}")
        }
        Class::Latency => {
            let ms = |v: Option<f64>| v.map_or("unknown".to_owned(), |v| format!("{:.1} ms", 1e3 * v));
            let first = own.first();
            format!(
                "the network is slow on {place}: round trip {} where it was {}",
                ms(first.and_then(|e| e.value)),
                ms(first.and_then(|e| e.baseline))
            )
        }
        other => format!("{other} at {place}"),
    };
    let direction = match case.class {
        _ if case.is_directed || culprit.reversed() == culprit => "",
        Class::Latency => "; direction unknown, as a round trip does not say which way",
        _ => "; direction unknown, as nothing was seen to vanish one way only",
    };
    let alike = if twins.is_empty() {
        String::new()
    } else {
        format!("; {} cannot be told from it", twins.iter().take(3).map(|t| t.phrase(view)).collect::<Vec<_>>().join(", "))
    };
    let mut sentence = format!("{what}, since {since}; {pairs} workload pairs are hit{direction}{alike}");
    if let Some(first) = sentence.get_mut(0..1) {
        first.make_ascii_uppercase();
    }
    sentence
}

/// The evidence and the sentence of a cause that is not the network.
pub fn app_words(view: &View<'_>, app: &AppFinding) -> (Vec<Evidence>, String) {
    let place = app.component.phrase(view);
    let since = view.time(app.start).format("%H:%M:%S");
    let row = |signal: &str, before: f64, after: f64, samples: f64, test: String| Evidence {
        signal: signal.to_owned(),
        scope: place.clone(),
        value: Some(after),
        baseline: Some(before),
        ratio: (before > 0.0).then(|| after / before),
        samples: samples as u64,
        test,
    };
    let change = format!("against {} steps before", app.start);
    let by_answers = app.signal == ANSWER_TIME;
    let evidence = if app.class == Class::ServiceSlow && !by_answers {
        let per_s = |m: M, steps: Range<usize>| {
            let seconds = steps.len().max(1) as f64 * view.step_s;
            app.talks.iter().map(|&t| view.sum(view.talks[t].there, m, steps.clone())).sum::<f64>() / seconds
        };
        let settled = (app.start + 1).min(view.steps - 1)..view.steps;
        let rate = |signal: &str, m: M, test: String| row(signal, per_s(m, 0..app.start), per_s(m, settled.clone()), app.samples, test);
        let lives = format!("open for each connect: {:.0} ms, before {:.0} ms, {change}", 1e3 * app.after, 1e3 * app.before);
        vec![rate("tcp.active.rate", M::Active, lives), rate("tcp.connects.rate", M::Connects, format!("attempts a second {change}"))]
    } else {
        vec![row(app.signal, app.before, app.after, app.samples, format!("change {change}"))]
    };
    let sentence = match app.class {
        Class::ReceiverLimited => format!(
            "Not the network: {place} does not read fast enough, its senders wait for its window {:.0} % of their busy time (before {:.0} %), since {since}",
            100.0 * app.after,
            100.0 * app.before
        ),
        Class::ServiceSlow if by_answers => format!(
            "Not the network: {place} is slow, it takes {:.0} ms to answer where it took {:.0} ms and the path is well, since {since}",
            1e3 * app.after,
            1e3 * app.before
        ),
        Class::ServiceSlow => format!(
            "Not the network: {place} is slow, connections to it live {:.0} ms where they lived {:.0} ms and the path is well, since {since}",
            1e3 * app.after,
            1e3 * app.before
        ),
        _ => format!(
            "Not the network: {place} sends less, {:.1} data segments/s where it was {:.1}, and connects fail no more than before, since {since}",
            app.after, app.before
        ),
    };
    (evidence, sentence)
}
