//! Causes that are not the network: a receiver that does not read, a server that thinks, clients that ask less.
//!
//! Each is told by what the kernel sees at the ends while the path is well: time blocked by the peer's window; answers that take longer, or
//! connections that live longer, with flat round trips; data that clients send less of, while nothing fails.

use crate::component::Component;
use crate::stats::{median, spread};
use crate::view::{M, NONE, Talk, View};
use edgescope_model::verdict::Class;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Share of its busy time that a sender must be blocked by the receiver's window, and the increase over before.
const RWND_SHARE_MIN: f64 = 0.15;
const RWND_RISE_MIN: f64 = 0.10;
/// Seconds that it must be blocked, so that one short stop is none.
const RWND_S_MIN: f64 = 1.0;
/// A turn (an answer, or a connection's life) must rise by this factor and this much, and open sockets by this factor.
const TURN_RATIO_MIN: f64 = 1.3;
const TURN_RISE_S_MIN: f64 = 0.02;
const ACTIVE_RATIO_MIN: f64 = 1.2;
/// Fewest usual steps.
const PAST_STEPS_MIN: usize = 3;
/// Spread of the logarithm of turns from step to step, at least; and the sum of standard deviations from which a change is one.
const TURN_SPREAD_MIN: f64 = 0.08;
const TURN_CHANGE_MIN: f64 = 4.0;
/// Turns that must be known before and after a change.
const TURNS_BEFORE_MIN: f64 = 20.0;
const TURNS_AFTER_MIN: f64 = 10.0;
/// Data segments of clients that must fall to this share, and their least number before.
const DEMAND_RATIO_MAX: f64 = 0.8;
const DEMAND_BEFORE_MIN: f64 = 20.0;
/// Counts of segments vary more than Poisson's, by retries, bursts and the segments of one question: at least by this factor, or by what
/// the past shows.
const DEMAND_OVERDISPERSION_MIN: f64 = 3.0;
const DEMAND_SCORE_MIN: f64 = 15.0;
/// What a quiet client's count reaches by chance, of dozens looked at.
const DEMAND_NOISE: f64 = 3.0;
/// A caller's own loss of demand explains its callee's if it is at least this share of it.
const EXPLAINED_SHARE: f64 = 0.5;
/// Share of what is wrong that must be at one workload's end.
const HEAVY_SHARE: f64 = 0.7;
/// Of several alike: those at least this much as ill as the worst are ill with it, and those with at least this share of its opportunities can tell.
const ILL_SHARE: f64 = 0.5;
const TELLING_SHARE: f64 = 0.1;

/// The signal of a slow service that an agent is at; without one, lives of connections tell.
pub const ANSWER_TIME: &str = "tcp.response_time_mean";

/// One cause with its numbers.
#[derive(Debug, Clone)]
pub struct AppFinding {
    pub class: Class,
    pub component: Component,
    pub start: usize,
    /// What was measured: before and in the span.
    pub signal: &'static str,
    pub before: f64,
    pub after: f64,
    /// Opportunities behind the value.
    pub samples: f64,
    pub score: f64,
    /// Talks that show it.
    pub talks: Vec<usize>,
}

/// Where the time begins in which a cause must be seen: when it has begun, and in the range asked about (from step `first` on), so that one
/// that is over is none.
fn seen_from(start: usize, first: usize) -> usize {
    start.max(first)
}

/// Flows whose sender is blocked by the receiver's window more than before, from `start` on and from step `first` on.
pub fn window_blocked(view: &View<'_>, start: usize, first: usize) -> Vec<bool> {
    let blocked = |f: usize| {
        let share = |steps: Range<usize>| {
            let (rwnd, busy) = (view.sum(Some(f), M::BlockedRwnd, steps.clone()), view.sum(Some(f), M::Busy, steps));
            (rwnd, if busy > 0.0 { rwnd / busy } else { 0.0 })
        };
        // The step before may already be half of it.
        let ((_, before), (rwnd_s, after)) = (share(0..start.saturating_sub(1)), share(seen_from(start, first)..view.steps));
        rwnd_s >= RWND_S_MIN && after >= RWND_SHARE_MIN && after >= before + RWND_RISE_MIN
    };
    (0..view.flows.len()).map(blocked).collect()
}

/// The step from which on the time blocked by windows, over all flows, is most unlike before.
fn blocked_since(view: &View<'_>, starts: Range<usize>) -> Option<usize> {
    let by_step: Vec<f64> =
        (0..view.steps).map(|s| (0..view.flows.len()).map(|f| view.at(f, M::BlockedRwnd, s)).filter(|v| !v.is_nan()).sum()).collect();
    rise(&by_step, starts)
}

/// Where a series rises: the split with the largest difference of means, weighted as a two-sample test does.
fn rise(series: &[f64], starts: Range<usize>) -> Option<usize> {
    let mean = |r: &[f64]| if r.is_empty() { 0.0 } else { r.iter().sum::<f64>() / r.len() as f64 };
    let gain = |s: usize| {
        let (before, after) = series.split_at(s);
        (mean(after) - mean(before)) * ((before.len() * after.len()) as f64).sqrt()
    };
    starts.filter(|&s| s > 0 && s < series.len()).map(|s| (gain(s), s)).max_by(|a, b| a.0.total_cmp(&b.0)).filter(|(g, _)| *g > 0.0).map(|(_, s)| s)
}

/// A receiver whose window closes on its senders.
pub fn receiver_limited(view: &View<'_>, starts: Range<usize>, first: usize) -> Option<AppFinding> {
    let start = blocked_since(view, starts)?;
    let blocked = window_blocked(view, start, first);
    let bad: Vec<usize> = (0..view.flows.len()).filter(|&f| blocked[f]).collect();
    let seconds = |f: usize, steps: Range<usize>| view.sum(Some(f), M::BlockedRwnd, steps);
    let workload = heaviest(view, &bad, |f| seconds(f, start..view.steps), |f| view.flows[f].to)?;
    let pods: Vec<Suspect> = pods_of(view, workload).into_iter().map(|pod| blocked_by(view, workload, pod, start)).collect();
    let component = one_or_all(workload, &pods);
    let into = |f: &usize| component.half(&view.ends[view.flows[*f].to], 0);
    let hit: Vec<usize> = bad.into_iter().filter(into).collect();
    let share = |steps: Range<usize>| {
        let busy: f64 = hit.iter().map(|&f| view.sum(Some(f), M::Busy, steps.clone())).sum();
        let rwnd: f64 = hit.iter().map(|&f| seconds(f, steps.clone())).sum();
        if busy > 0.0 { rwnd / busy } else { 0.0 }
    };
    let rwnd_s: f64 = hit.iter().map(|&f| seconds(f, start..view.steps)).sum();
    let touches = |t: &usize| {
        let talk = view.talks[*t];
        [talk.there, talk.back].into_iter().flatten().any(|f| hit.contains(&f))
    };
    Some(AppFinding {
        class: Class::ReceiverLimited,
        component,
        start,
        signal: "tcp.rwnd_share",
        before: share(0..start),
        after: share(start..view.steps),
        samples: rwnd_s,
        score: 10.0 * rwnd_s.min(10.0),
        talks: (0..view.talks.len()).filter(touches).collect(),
    })
}

/// How much more of their busy time senders to a pod are blocked by its window than before.
fn blocked_by(view: &View<'_>, workload: u32, pod: u32, start: usize) -> Suspect {
    let into = |f: &usize| {
        let to = &view.ends[view.flows[*f].to];
        (to.workload, to.pod) == (workload, pod)
    };
    let flows: Vec<usize> = (0..view.flows.len()).filter(into).collect();
    let sum = |m: M, steps: Range<usize>| flows.iter().map(|&f| view.sum(Some(f), m, steps.clone())).sum::<f64>();
    let share = |steps: Range<usize>| sum(M::BlockedRwnd, steps.clone()) / sum(M::Busy, steps).max(1e-9);
    let severity = share(start..view.steps) - share(0..start.saturating_sub(1));
    // Segments and not busy time: a blocked sender is busy.
    Suspect { id: pod, severity, weight: sum(M::SegmentsSent, start..view.steps) }
}

/// The workload at whose end nearly all of the weight is; `None` if it is spread over several.
fn heaviest(view: &View<'_>, units: &[usize], weight: impl Fn(usize) -> f64, end: impl Fn(usize) -> usize) -> Option<u32> {
    let mut by_workload: BTreeMap<u32, f64> = BTreeMap::new();
    for &unit in units {
        *by_workload.entry(view.ends[end(unit)].workload).or_default() += weight(unit);
    }
    let total: f64 = by_workload.values().sum();
    let (&workload, &most) = by_workload.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
    (most >= HEAVY_SHARE * total).then_some(workload)
}

/// One of several alike (pods of a workload, targets of a client) that may be ill.
#[derive(Debug, Clone, Copy)]
struct Suspect {
    id: u32,
    /// How ill, in any measure that is the same for all.
    severity: f64,
    /// Opportunities behind it.
    weight: f64,
}

/// Those of several alike that are as ill as the worst, and how many are known to be well. One that had little to do is neither: a noisy pod does not make
/// a workload ill, nor does one that nobody asked make it well.
fn ill_and_well(suspects: &[Suspect]) -> (Vec<u32>, usize) {
    let burden = |s: &Suspect| s.severity.max(0.0) * s.weight;
    let Some(worst) = suspects.iter().copied().max_by(|a, b| burden(a).total_cmp(&burden(b))) else { return (Vec::new(), 0) };
    let telling = suspects.iter().filter(|s| s.weight >= TELLING_SHARE * worst.weight);
    let (ill, well): (Vec<&Suspect>, Vec<&Suspect>) = telling.partition(|s| s.severity >= ILL_SHARE * worst.severity);
    (ill.into_iter().map(|s| s.id).collect(), well.len())
}

/// The pod if it is the only one ill and another of its workload is well, else the workload.
fn one_or_all(workload: u32, pods: &[Suspect]) -> Component {
    match ill_and_well(pods) {
        (ill, well) if well > 0 && ill.len() == 1 && ill[0] != NONE => Component::Pod(ill[0]),
        _ => Component::Workload(workload),
    }
}

/// Pods of a workload.
fn pods_of(view: &View<'_>, workload: u32) -> BTreeSet<u32> {
    view.ends.iter().filter(|e| e.workload == workload).map(|e| e.pod).collect()
}

/// How long a server pod takes for a turn, by step: to answer, by its own kernel's stamps; where no agent is at it, open socket-seconds for each
/// connect, which in the long run is the lifetime of a connection. Kept ones are in that, and with a steady mix of kept and new ones
/// it moves with the time to answer.
struct Turns {
    spent_s: Vec<f64>,
    count: Vec<f64>,
    are_answers: bool,
    talks: Vec<usize>,
}

impl Turns {
    fn new(view: &View<'_>, talks: Vec<usize>) -> Self {
        let by_step = |way: fn(&Talk) -> Option<usize>, m: M| {
            let at = |s: usize| talks.iter().filter_map(|&t| way(&view.talks[t])).map(|f| view.at(f, m, s)).filter(|v| !v.is_nan()).sum();
            (0..view.steps).map(at).collect::<Vec<f64>>()
        };
        let (answers, open_s) = (by_step(|talk| talk.back, M::Responses), by_step(|talk| talk.there, M::Active));
        // Of the steps in which there were connections at all: the table may begin long before the server did.
        let in_use = open_s.iter().filter(|&&s| s > 0.0).count();
        let answered = answers.iter().filter(|&&n| n >= 1.0).count();
        let are_answers = answered > 0 && 2 * answered >= in_use;
        let (spent_s, count) =
            if are_answers { (by_step(|talk| talk.back, M::ResponseTime), answers) } else { (open_s, by_step(|talk| talk.there, M::Connects)) };
        Self { spent_s, count, are_answers, talks }
    }

    /// Seconds spent and turns over steps.
    fn sum(&self, steps: Range<usize>) -> (f64, f64) {
        (self.spent_s[steps.clone()].iter().sum(), self.count[steps].iter().sum())
    }

    fn mean_s(&self, steps: Range<usize>) -> f64 {
        let (spent_s, count) = self.sum(steps);
        spent_s / count.max(1.0)
    }

    /// By how many standard deviations the logarithm of a turn rises at a step, `from` being the first usual one.
    fn change(&self, from: usize, at: usize) -> f64 {
        let logs = |steps: Range<usize>| -> Vec<f64> {
            steps.filter(|&s| self.count[s] >= 1.0 && self.spent_s[s] > 0.0).map(|s| (self.spent_s[s] / self.count[s]).ln()).collect()
        };
        let (before, after) = (logs(from..at), logs(at..self.count.len()));
        if before.len() < PAST_STEPS_MIN || after.is_empty() {
            return 0.0;
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let (low, high) = (mean(&before), mean(&after));
        let squares = |v: &[f64], centre: f64| v.iter().map(|x| (x - centre).powi(2)).sum::<f64>();
        let (n, m) = (before.len() as f64, after.len() as f64);
        let spread = ((squares(&before, low) + squares(&after, high)) / (n + m - 1.0)).sqrt().max(TURN_SPREAD_MIN);
        (high - low) / spread * (n * m / (n + m)).sqrt()
    }

    /// Whether turns are clearly longer from a step on; if they are lives of connections, more of those must be open (fewer clients would leave fewer).
    fn are_longer(&self, from: usize, at: usize, first: usize) -> bool {
        let settled = seen_from(at + 1, first).min(self.count.len() - 1);
        let ((spent_before, count_before), (spent_after, count_after)) = (self.sum(from..at), self.sum(settled..self.count.len()));
        if count_before < TURNS_BEFORE_MIN || count_after < TURNS_AFTER_MIN || self.change(from, at) < TURN_CHANGE_MIN {
            return false;
        }
        let per_step = |sum: f64, steps: usize| sum / steps.max(1) as f64;
        let (steps_before, steps_after) = (at - from, self.count.len() - settled);
        let more_open = self.are_answers || per_step(spent_after, steps_after) >= ACTIVE_RATIO_MIN * per_step(spent_before, steps_before);
        let (before_s, after_s) = (spent_before / count_before, spent_after / count_after);
        more_open && after_s >= TURN_RATIO_MIN * before_s && after_s >= before_s + TURN_RISE_S_MIN
    }
}

/// A server that thinks longer: its turns are longer, and those of whatever it calls are not.
pub fn service_slow(view: &View<'_>, starts: Range<usize>, first: usize) -> Option<AppFinding> {
    let from = view.begun();
    let mut inbound: BTreeMap<(u32, u32), Vec<usize>> = BTreeMap::new();
    for (t, talk) in view.talks.iter().enumerate() {
        let server = &view.ends[talk.server];
        inbound.entry((server.workload, server.pod)).or_default().push(t);
    }
    let turns: BTreeMap<(u32, u32), Turns> = inbound.into_iter().map(|(pod, talks)| (pod, Turns::new(view, talks))).collect();
    let total = |at: usize| turns.values().map(|l| (l.change(from, at) - TURN_CHANGE_MIN / 2.0).max(0.0)).sum::<f64>();
    let candidates = starts.filter(|&s| s > from && s < view.steps).map(|s| (total(s), s));
    let (score, start) = candidates.max_by(|a, b| a.0.total_cmp(&b.0))?;
    let slow: BTreeMap<(u32, u32), &Turns> = turns.iter().filter(|(_, t)| t.are_longer(from, start, first)).map(|(&pod, t)| (pod, t)).collect();
    let calls_slow = |(workload, pod): (u32, u32)| {
        view.talks.iter().any(|t| {
            let (client, server) = (&view.ends[t.client], &view.ends[t.server]);
            (client.workload, client.pod) == (workload, pod) && slow.contains_key(&(server.workload, server.pod))
        })
    };
    let roots: Vec<((u32, u32), &Turns)> = slow.iter().map(|(&p, &t)| (p, t)).filter(|(p, _)| !calls_slow(*p)).collect();
    let mut by_workload: BTreeMap<u32, f64> = BTreeMap::new();
    for ((workload, _), turns) in &roots {
        *by_workload.entry(*workload).or_default() += turns.change(from, start);
    }
    let (&workload, _) = by_workload.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
    let hit: Vec<&((u32, u32), &Turns)> = roots.iter().filter(|((w, _), _)| *w == workload).collect();
    let all = Turns::new(view, hit.iter().flat_map(|(_, t)| t.talks.iter().copied()).collect());
    let settled = seen_from(start + 1, first).min(view.steps - 1);
    let suspect = |((_, pod), turns): (&(u32, u32), &Turns)| {
        let rise_s = turns.mean_s(settled..view.steps) - turns.mean_s(from..start);
        Suspect { id: *pod, severity: rise_s, weight: turns.sum(settled..view.steps).1 }
    };
    let pods: Vec<Suspect> = turns.iter().filter(|((w, _), _)| *w == workload).map(suspect).collect();
    Some(AppFinding {
        class: Class::ServiceSlow,
        component: one_or_all(workload, &pods),
        start,
        signal: if all.are_answers { ANSWER_TIME } else { "tcp.active.rate" },
        before: all.mean_s(from..start),
        after: all.mean_s(settled..view.steps),
        samples: all.sum(settled..view.steps).1,
        score,
        talks: all.talks,
    })
}

/// What one client pod asks of one server workload: data segments sent to it by step, since one connection may carry many questions.
struct Asks {
    client: usize,
    server: u32,
    segments: Vec<f64>,
    talks: Vec<usize>,
}

fn asks(view: &View<'_>) -> Vec<Asks> {
    let mut by: BTreeMap<(usize, u32), Vec<usize>> = BTreeMap::new();
    for (t, talk) in view.talks.iter().enumerate() {
        by.entry((talk.client, view.ends[talk.server].workload)).or_default().push(t);
    }
    let segments = |talks: &[usize], s: usize| {
        let said = talks.iter().filter_map(|&t| view.talks[t].there).map(|f| view.at(f, M::SegmentsSent, s));
        said.filter(|v| !v.is_nan()).sum::<f64>()
    };
    by.into_iter()
        .map(|((client, server), talks)| Asks {
            client,
            server,
            segments: (0..view.steps).map(|s| if view.reported(client, s) { segments(&talks, s) } else { f64::NAN }).collect(),
            talks,
        })
        .collect()
}

/// Mean of the known steps, and how many they are.
fn mean(series: &[f64]) -> (f64, f64) {
    let known = series.iter().filter(|v| !v.is_nan());
    let n = known.clone().count() as f64;
    (if n > 0.0 { known.sum::<f64>() / n } else { 0.0 }, n)
}

/// Usual segments a step: the median, so that a start-up or an odd step does not count.
fn usual(series: &[f64]) -> f64 {
    let mut known: Vec<f64> = series.iter().copied().filter(|v| !v.is_nan()).collect();
    median(&mut known).unwrap_or(0.0)
}

/// Variance over the usual value of the known steps, 1 for a Poisson count; an odd step does not count here either.
fn dispersion(series: &[f64], usual: f64) -> f64 {
    let known: Vec<f64> = series.iter().copied().filter(|v| !v.is_nan()).collect();
    spread(&known, usual).map_or(0.0, |deviation| deviation * deviation / usual)
}

/// Poisson log-likelihood ratio, tempered by the dispersion of the past, that less is asked from `start` on, less what noise leaves.
fn fewer(series: &[f64], start: usize) -> f64 {
    let before = usual(&series[..start]);
    let (after, steps) = mean(&series[start..]);
    let past = series[..start].iter().filter(|v| !v.is_nan()).count();
    if past < PAST_STEPS_MIN || before * (past as f64) < DEMAND_BEFORE_MIN || steps == 0.0 || after > DEMAND_RATIO_MAX * before {
        return 0.0;
    }
    let after_floor = after.max(0.05);
    // The past is a sample as well: the shorter it is, the less the difference says.
    let weight = steps * past as f64 / (steps + past as f64);
    let overdispersion = dispersion(&series[..start], before).max(DEMAND_OVERDISPERSION_MIN);
    (weight * (after * (after_floor / before).ln() + before - after) / overdispersion - DEMAND_NOISE).max(0.0)
}

/// Clients that ask less, while nothing fails.
pub fn demand_drop(view: &View<'_>, starts: Range<usize>, first: usize) -> Option<AppFinding> {
    let (asks, from) = (asks(view), view.begun());
    let fewer = |series: &[f64], start: usize| if start > from { fewer(&series[from..], start - from) } else { 0.0 };
    let total = |s: usize| asks.iter().map(|a| fewer(&a.segments, s)).sum::<f64>();
    let (score, start) = starts.filter(|&s| s > from).map(|s| (total(s), s)).max_by(|a, b| a.0.total_cmp(&b.0))?;
    if score < DEMAND_SCORE_MIN {
        return None;
    }
    let drop = |series: &[f64]| match usual(&series[from..start]) {
        before if before > 0.0 => 1.0 - mean(&series[start..]).0 / before,
        _ => 0.0,
    };
    // As told by whoever is asked: of those that ask it some may have no agent.
    let inbound = |end: usize| {
        let talks: Vec<&Talk> = view.talks.iter().filter(|talk| talk.server == end).collect();
        let asked = |s: usize| talks.iter().filter_map(|talk| talk.there).map(|f| view.at(f, M::SegmentsReceived, s)).sum::<f64>();
        (!talks.is_empty()).then(|| (0..view.steps).map(asked).collect::<Vec<f64>>())
    };
    let own = |a: &&Asks| match inbound(a.client) {
        Some(sum) => drop(&sum) < EXPLAINED_SHARE * drop(&a.segments),
        None => true,
    };
    let lasts = |a: &&Asks| mean(&a.segments[seen_from(start, first)..]).0 <= DEMAND_RATIO_MAX * usual(&a.segments[from..start]);
    let roots: Vec<&Asks> = asks.iter().filter(|a| fewer(&a.segments, start) > 0.0).filter(lasts).filter(own).collect();
    let score_of = |w: u32| roots.iter().filter(|a| view.ends[a.client].workload == w).map(|a| fewer(&a.segments, start)).sum::<f64>();
    let workloads: BTreeSet<u32> = roots.iter().map(|a| view.ends[a.client].workload).collect();
    let workload = workloads.into_iter().max_by(|&a, &b| score_of(a).total_cmp(&score_of(b)))?;
    let roots: Vec<&Asks> = roots.into_iter().filter(|a| view.ends[a.client].workload == workload).collect();
    let clients: BTreeSet<usize> = roots.iter().map(|a| a.client).collect();
    let suspect = |id: u32, of: &dyn Fn(&Asks) -> bool| {
        // Whose agent fell silent is not one that asks nothing.
        let of: Vec<&Asks> = asks.iter().filter(|a| of(a) && mean(&a.segments[start..]).1 > 0.0).collect();
        let before: f64 = of.iter().map(|a| usual(&a.segments[from..start])).sum();
        let after: f64 = of.iter().map(|a| mean(&a.segments[start..]).0).sum();
        Suspect { id, severity: 1.0 - after / before.max(1e-9), weight: before }
    };
    let servers: BTreeSet<u32> = asks.iter().filter(|a| clients.contains(&a.client)).map(|a| a.server).collect();
    let targets: Vec<Suspect> = servers.into_iter().map(|s| suspect(s, &|a| clients.contains(&a.client) && a.server == s)).collect();
    let is_of = |a: &Asks, pod: u32| view.ends[a.client].workload == workload && view.ends[a.client].pod == pod;
    let pods: Vec<Suspect> = pods_of(view, workload).into_iter().map(|pod| suspect(pod, &|a| is_of(a, pod))).collect();
    // Asked as much as ever it asks one less than always; so does who asks others as always.
    let has_inbound = view.talks.iter().any(|t| view.ends[t.server].workload == workload);
    let component = match ill_and_well(&targets) {
        (ill, well) if ill.len() == 1 && (well > 0 || has_inbound) => Component::Edge(workload, ill[0]),
        _ => one_or_all(workload, &pods),
    };
    let before: f64 = roots.iter().map(|a| usual(&a.segments[from..start])).sum::<f64>() / view.step_s;
    let after: f64 = roots.iter().map(|a| mean(&a.segments[start..]).0).sum::<f64>() / view.step_s;
    let talks = roots.iter().flat_map(|a| a.talks.iter().copied()).collect();
    let samples = after * view.step_s * (view.steps - start) as f64;
    Some(AppFinding { class: Class::DemandDrop, component, start, signal: "tcp.segments.sent.rate", before, after, samples, score, talks })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn suspects(all: &[(f64, f64)]) -> Vec<Suspect> {
        all.iter().zip(0..).map(|(&(severity, weight), id)| Suspect { id, severity, weight }).collect()
    }

    #[test]
    fn a_pod_is_blamed_only_if_another_is_known_to_be_well() {
        let one = |all| one_or_all(7, &suspects(all));
        assert_eq!(one(&[(0.6, 100.0), (0.0, 90.0)]), Component::Pod(0));
        assert_eq!(one(&[(0.6, 100.0), (0.5, 90.0)]), Component::Workload(7));
        // A noisy one with little to do does not make all of them ill.
        assert_eq!(one(&[(0.6, 100.0), (0.0, 90.0), (0.7, 2.0)]), Component::Pod(0));
        // One that is a little worse than before is not ill as the worst is.
        assert_eq!(one(&[(0.6, 100.0), (0.17, 90.0)]), Component::Pod(0));
        // One that nobody asked is not well.
        assert_eq!(one(&[(0.6, 100.0), (0.0, 1.0)]), Component::Workload(7));
    }
}
