//! What each flow or talk suffers from, by kind: bad events per opportunity against its own past, and shifts of its round trip.

use crate::component::Sense;
use crate::onset::{Counts, Rule};
use crate::stats::{OVERDISPERSION, binomial_log_ratio, median, quantile, spread};
use crate::view::{M, Talk, View};
use std::ops::Range;

/// Most that one unit adds for or against a component.
const UNIT_CAP: f64 = 20.0;
/// Opportunities of one unit that count in the pooled rate: beyond these a heavy flow has no more voice.
const POOL_WEIGHT_MAX: f64 = 200.0;
/// Expected bad events below which a unit without any is no witness.
const EXPECTED_MIN: f64 = 3.0;
/// Observations that one step's round trip counts for at most.
const SHIFT_WEIGHT_MAX: f64 = 5.0;
/// Socket-seconds that weigh as one observation: a socket that stalls does so for seconds on end.
const STALL_SOCKET_S: f64 = 5.0;
/// Least shift of the round trip worth speaking of, in seconds, and as a share of the round trip.
pub const SHIFT_S_MIN: f64 = 0.001;
pub const SHIFT_SHARE_MIN: f64 = 0.25;

pub const LOSS: Rule = Rule { normal: 0.001, rate_min: 0.005, ratio_min: 3.0, events_min: 3.0 };
pub const SILENT: Rule = Rule { normal: 0.003, rate_min: 0.1, ratio_min: 3.0, events_min: 2.0 };
pub const STALL: Rule = Rule { normal: 0.005, rate_min: 0.1, ratio_min: 3.0, events_min: 1.0 };
/// Names are asked for now and then: one question in a hundred may go wrong.
pub const UNRESOLVED: Rule = Rule { normal: 0.01, rate_min: 0.1, ratio_min: 3.0, events_min: 2.0 };
pub const REFUSED: Rule = Rule { normal: 0.002, rate_min: 0.1, ratio_min: 3.0, events_min: 2.0 };
/// Of steps whose round trip is above the unit's own low: noise puts one in ten there.
pub const SHIFTED: Rule = Rule { normal: 0.1, rate_min: 0.6, ratio_min: 2.0, events_min: 1.0 };

/// Units (source and destination end, or client and server), and how evidence on them adds up.
pub struct Family {
    pub sense: Sense,
    pub units: Vec<(usize, usize)>,
    /// Kinds of events; each has one series a unit.
    pub parts: Vec<Part>,
}

/// One kind of bad event.
pub struct Part {
    pub rule: Rule,
    pub counts: Vec<Counts>,
    /// Health says nothing: most sockets that stall not are merely idle.
    pub one_sided: bool,
}

/// Data segments lost, by flow. Retransmissions that the receiver reported as duplicates were not losses.
pub fn loss(view: &View<'_>, skip: &[bool]) -> Family {
    let counts = |f: usize| {
        Counts::new((0..view.steps).map(|s| {
            let at = |m| view.at(f, m, s);
            // Parts that are counted nowhere are zero here (`max` drops NaN); the first two must be known.
            let known = at(M::RetransSyn).max(0.0) + at(M::RetransSynack).max(0.0) + at(M::RetransSpurious).max(0.0);
            (if skip[f] { f64::NAN } else { at(M::Retrans) - known }, at(M::SegmentsSent))
        }))
    };
    let part = Part { rule: LOSS, counts: (0..view.flows.len()).map(counts).collect(), one_sided: false };
    Family { sense: Sense::Flow, units: view.flows.iter().map(|f| (f.from, f.to)).collect(), parts: vec![part] }
}

/// Connects that got no answer of any kind, and sockets that wait for acknowledgements, by talk.
pub fn silent(view: &View<'_>) -> Family {
    let connects = |t: &Talk| {
        Counts::new((0..view.steps).map(|s| {
            let Some(f) = t.there else { return (0.0, 0.0) };
            let at = |m| view.at(f, m, s).max(0.0);
            let gave_up = at(M::Timeouts) + at(M::Cancelled) + at(M::Unreachable);
            // Clients without a time-out of their own wait for minutes: SYNs sent again tell of those that are still open.
            let open = at(M::Connects) - at(M::Established) - at(M::Refused) - at(M::ConnectsReset);
            let waiting = if at(M::RetransSyn) > 0.0 { open } else { 0.0 };
            (gave_up.max(waiting), view.at(f, M::Connects, s))
        }))
    };
    let stalls = |t: &Talk| {
        Counts::new((0..view.steps).map(|s| {
            let both = |m| [t.there, t.back].into_iter().flatten().map(|f| view.at(f, m, s)).filter(|v| !v.is_nan()).sum::<f64>();
            (both(M::Stalled) / STALL_SOCKET_S, both(M::Active) / STALL_SOCKET_S)
        }))
    };
    let parts = vec![
        Part { rule: SILENT, counts: view.talks.iter().map(connects).collect(), one_sided: false },
        Part { rule: STALL, counts: view.talks.iter().map(stalls).collect(), one_sided: true },
    ];
    Family { sense: Sense::Either, units: view.talks.iter().map(|t| (t.client, t.server)).collect(), parts }
}

/// Connects answered by a reset, by talk.
pub fn refused(view: &View<'_>) -> Family {
    let connects = |t: &Talk| {
        Counts::new((0..view.steps).map(|s| {
            let Some(f) = t.there else { return (0.0, 0.0) };
            let at = |m| view.at(f, m, s);
            (at(M::Refused) + at(M::ConnectsReset).max(0.0), at(M::Connects))
        }))
    };
    let part = Part { rule: REFUSED, counts: view.talks.iter().map(connects).collect(), one_sided: false };
    Family { sense: Sense::Request, units: view.talks.iter().map(|t| (t.client, t.server)).collect(), parts: vec![part] }
}

/// Questions of DNS that got an error or no answer, by talk. A name that does not exist is an answer.
pub fn unresolved(view: &View<'_>) -> Family {
    let questions = |t: &Talk| {
        Counts::new((0..view.steps).map(|s| {
            let Some(f) = t.there else { return (0.0, 0.0) };
            let at = |m| view.at(f, m, s);
            let failed = at(M::DnsTimeouts) + at(M::DnsServfail) + at(M::DnsRefused) + at(M::DnsErrorsOther);
            // What was asked in one step counts as without an answer in the next: there may be more of those than were asked.
            (failed, at(M::DnsRequests).max(failed))
        }))
    };
    let part = Part { rule: UNRESOLVED, counts: view.talks.iter().map(questions).collect(), one_sided: false };
    Family { sense: Sense::Either, units: view.talks.iter().map(|t| (t.client, t.server)).collect(), parts: vec![part] }
}

/// How much each unit of a family speaks for being hit, given how hard the component hits.
pub trait Evidence {
    /// How hard a component hits, estimated from the units that pass it.
    fn strength(&self, units: &[usize]) -> Vec<f64>;
    /// Log-likelihood ratio of being hit that hard against being as always; capped.
    fn score(&self, unit: usize, strength: &[f64]) -> f64;
    /// Whether the unit has enough samples for its health to say something.
    fn enough(&self, unit: usize, strength: &[f64]) -> bool;
    /// Log-likelihood ratio of the unit by itself: above zero only if its symptom is worth speaking of.
    fn support(&self, unit: usize) -> f64;
}

/// Rates in a span against the past, by part and unit.
pub struct Rates {
    parts: Vec<(Rule, bool, Vec<Rate>)>,
}

/// Bad events, opportunities and the normal rate.
#[derive(Debug, Clone, Copy)]
pub struct Rate {
    pub k: f64,
    pub n: f64,
    pub normal: f64,
}

impl Rates {
    /// The first step of a span may be half healthy, and is left out where others follow: what stopped with the onset (requests that a cut server no
    /// longer makes) would stand there as healthy.
    pub fn new(family: &Family, span: Range<usize>) -> Self {
        let settled = if span.len() > 1 { span.start + 1..span.end } else { span.clone() };
        let of = |part: &Part| {
            let rate = |c: &Counts| {
                let (k, n) = c.over(settled.clone());
                Rate { k, n, normal: c.normal(span.start, &part.rule) }
            };
            (part.rule, part.one_sided, part.counts.iter().map(rate).collect())
        };
        Self { parts: family.parts.iter().map(of).collect() }
    }

    /// The counts of a unit in the first part.
    pub fn main(&self, unit: usize) -> Rate {
        self.parts[0].2[unit]
    }
}

impl Evidence for Rates {
    fn strength(&self, units: &[usize]) -> Vec<f64> {
        let pooled = |(rule, _, rates): &(Rule, bool, Vec<Rate>)| {
            let seen = units.iter().map(|&u| rates[u]).filter(|r| r.n > 0.0);
            let (k, n) = seen.map(|r| (r.k / r.n, r.n.min(POOL_WEIGHT_MAX))).fold((0.0, 0.0), |a, (rate, w)| (a.0 + rate * w, a.1 + w));
            if n > 0.0 { (k / n).max(rule.rate_min) } else { rule.rate_min }
        };
        self.parts.iter().map(pooled).collect()
    }

    fn score(&self, unit: usize, strength: &[f64]) -> f64 {
        let of = |((_, one_sided, rates), &hit): (&(Rule, bool, Vec<Rate>), &f64)| {
            let Rate { k, n, normal } = rates[unit];
            if n <= 0.0 {
                return 0.0;
            }
            // Units of one component are hit alike, but not equally.
            let rate = (k / n).clamp(hit / 2.0, (hit * 2.0).min(1.0)).max((normal * 1.5).min(1.0));
            let ratio = binomial_log_ratio(k, n, rate, normal) / OVERDISPERSION;
            if *one_sided { ratio.max(0.0) } else { ratio }
        };
        self.parts.iter().zip(strength).map(of).sum::<f64>().clamp(-UNIT_CAP, UNIT_CAP)
    }

    fn enough(&self, unit: usize, strength: &[f64]) -> bool {
        let (_, _, rates) = &self.parts[0];
        rates[unit].n * strength[0] >= EXPECTED_MIN || self.support(unit) > 0.0
    }

    fn support(&self, unit: usize) -> f64 {
        let of = |(rule, _, rates): &(Rule, bool, Vec<Rate>)| {
            let Rate { k, n, normal } = rates[unit];
            if n <= 0.0 || k < rule.events_min || k / n < rule.rate_min.max(normal * rule.ratio_min) {
                return 0.0;
            }
            binomial_log_ratio(k, n, k / n, normal) / OVERDISPERSION
        };
        self.parts.iter().map(of).sum::<f64>().min(UNIT_CAP)
    }
}

/// Ways to measure a talk's round trip: its handshakes, and the low quantile of its data's samples each way.
const WAYS: [(M, M); 2] = [(M::Handshake, M::HandshakeCount), (M::RttLow, M::RttCount)];
/// The measures of the catalogue that [`RoundTrips`]' three ways are.
const WAY_SIGNALS: [&str; 3] = ["tcp.handshake.p50", "tcp.rtt.p20", "tcp.rtt.p20"];
/// Fewest samples of a step that make its quantile one.
const SAMPLES_MIN: f64 = 3.0;

/// Round trips by talk: seconds by way (handshake, there, back) and step.
pub struct RoundTrips {
    /// Indices into [`View::talks`]: those whose ends are on different nodes (within a node there is no path).
    pub talks: Vec<usize>,
    series: Vec<[Vec<Option<f64>>; 3]>,
}

impl RoundTrips {
    pub fn new(view: &View<'_>) -> Self {
        let apart = |t: &Talk| {
            let (client, server) = (&view.ends[t.client], &view.ends[t.server]);
            client.node != server.node || client.node == crate::view::NONE
        };
        let talks: Vec<usize> = (0..view.talks.len()).filter(|&t| apart(&view.talks[t])).collect();
        let ways = |&t: &usize| {
            let Talk { there, back, .. } = view.talks[t];
            [(there, WAYS[0]), (there, WAYS[1]), (back, WAYS[1])].map(|(flow, (value, count))| {
                let step = |s: usize| {
                    let flow = flow?;
                    view.quantile_at(flow, value, s).filter(|_| view.at(flow, count, s) >= SAMPLES_MIN)
                };
                (0..view.steps).map(step).collect()
            })
        };
        let series = talks.iter().map(ways).collect();
        Self { talks, series }
    }

    /// Steps with a round trip clearly above the talk's own low, as a family for the onset.
    pub fn family(&self, view: &View<'_>) -> Family {
        let counts = |ways: &[Vec<Option<f64>>; 3]| {
            let Some(way) = ways.iter().max_by_key(|w| w.iter().flatten().count()) else { return Counts::default() };
            let low = low(way);
            Counts::new(way.iter().map(|value| match (value, low) {
                (Some(v), Some(low)) => {
                    // A step counts by how far it is off: a large shift is believed at once, a small one once it lasts.
                    let weight = ((v - low) / shift_min(low)).min(SHIFT_WEIGHT_MAX);
                    if weight > 1.0 { (weight, weight) } else { (0.0, 1.0) }
                }
                _ => (0.0, 0.0),
            }))
        };
        let units = self.talks.iter().map(|&t| (view.talks[t].client, view.talks[t].server)).collect();
        let part = Part { rule: SHIFTED, counts: self.series.iter().map(counts).collect(), one_sided: false };
        Family { sense: Sense::Either, units, parts: vec![part] }
    }

    /// Shift of each talk's round trip in a span against before: of the ways to measure it, the smallest. A slow receiver delays acknowledgements
    /// of data and not handshakes; a slow path delays all.
    pub fn shifts(&self, span: &Range<usize>) -> Shifts {
        let of = |ways: &[Vec<Option<f64>>; 3]| {
            let shifts = ways.iter().zip(WAY_SIGNALS).filter_map(|(way, signal)| shift(way, signal, span));
            shifts.min_by(|a, b| a.by_s.total_cmp(&b.by_s))
        };
        let mut shifts: Vec<Option<Shift>> = self.series.iter().map(of).collect();
        let mut all: Vec<f64> = shifts.iter().flatten().map(|s| s.by_s).collect();
        // What all talks have in common (a busy host) has no place in the network.
        let common_s = quantile(&mut all, 0.1).unwrap_or(0.0).max(0.0);
        for shift in shifts.iter_mut().flatten() {
            shift.by_s -= common_s;
        }
        Shifts { shifts }
    }
}

/// The low that a talk comes back to: of its quarter quantile and its first steps, whichever is lower, since trouble may fill most of the range or its start.
fn low(way: &[Option<f64>]) -> Option<f64> {
    let mut all: Vec<f64> = way.iter().copied().flatten().collect();
    let mut first: Vec<f64> = all.iter().copied().take(4).collect();
    Some(quantile(&mut all, 0.25)?.min(median(&mut first)?))
}

/// Least shift worth speaking of at this round trip.
pub fn shift_min(round_trip_s: f64) -> f64 {
    SHIFT_S_MIN.max(round_trip_s * SHIFT_SHARE_MIN)
}

fn shift(way: &[Option<f64>], signal: &'static str, span: &Range<usize>) -> Option<Shift> {
    let mut before: Vec<f64> = way[..span.start].iter().copied().flatten().collect();
    // The first step may be half healthy.
    let settled = if span.len() > 1 { span.start + 1..span.end } else { span.clone() };
    let mut after: Vec<f64> = way[settled].iter().copied().flatten().collect();
    let samples = after.len();
    let (base_s, now_s) = (median(&mut before)?, median(&mut after)?);
    let noise_s = spread(&before, base_s).unwrap_or(0.0);
    Some(Shift { signal, base_s, by_s: now_s - base_s, noise_s, samples })
}

/// A talk's round trip before, and by how much it changed.
#[derive(Debug, Clone, Copy)]
pub struct Shift {
    /// The measure that both are values of.
    pub signal: &'static str,
    pub base_s: f64,
    pub by_s: f64,
    pub noise_s: f64,
    /// Steps behind the new value.
    pub samples: usize,
}

impl Shift {
    fn sigma_s(&self) -> f64 {
        (SHIFT_S_MIN / 3.0).max(self.noise_s).max(self.base_s * 0.08)
    }
}

/// Shifts by unit of [`RoundTrips`].
pub struct Shifts {
    /// What all talks had in common is taken off.
    pub shifts: Vec<Option<Shift>>,
}

impl Shifts {
    /// Shifts of units that are told by one and the same measure, that of most of them: values that can be looked up.
    pub fn alike(&self, units: &[usize]) -> Vec<Shift> {
        let mut known: Vec<Shift> = units.iter().filter_map(|&u| self.shifts[u]).collect();
        let count = |signal: &str| known.iter().filter(|s| s.signal == signal).count();
        let most = WAY_SIGNALS.into_iter().max_by_key(|signal| count(signal));
        known.retain(|s| Some(s.signal) == most);
        known
    }
}

impl Evidence for Shifts {
    fn strength(&self, units: &[usize]) -> Vec<f64> {
        let mut all: Vec<f64> = units.iter().filter_map(|&u| self.shifts[u]).map(|s| s.by_s).collect();
        vec![median(&mut all).unwrap_or(0.0).max(SHIFT_S_MIN)]
    }

    /// Laplace noise: the ratio grows with the distance, not its square, so that one odd talk decides nothing.
    fn score(&self, unit: usize, strength: &[f64]) -> f64 {
        let Some(shift) = self.shifts[unit] else { return 0.0 };
        let expected = shift.by_s.clamp(strength[0] / 2.0, strength[0] * 2.0);
        let ratio = (shift.by_s.abs() - (shift.by_s - expected).abs()) / shift.sigma_s();
        (ratio * (shift.samples as f64).sqrt() / OVERDISPERSION).clamp(-UNIT_CAP / 2.0, UNIT_CAP / 2.0)
    }

    fn enough(&self, unit: usize, strength: &[f64]) -> bool {
        self.shifts[unit].is_some_and(|s| strength[0] > s.sigma_s())
    }

    fn support(&self, unit: usize) -> f64 {
        let Some(shift) = self.shifts[unit].filter(|s| s.by_s > shift_min(s.base_s)) else { return 0.0 };
        (shift.by_s / shift.sigma_s() * (shift.samples as f64).sqrt() / OVERDISPERSION).min(UNIT_CAP / 2.0)
    }
}
