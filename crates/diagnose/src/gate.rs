//! Is it the network? Which kind of trouble stands, where several show, and what clears or accuses the ends.

use crate::app::{self, AppFinding};
use crate::case::Case;
use crate::component::Component;
use crate::symptoms;
use crate::view::{M, Talk, View};
use edgescope_model::verdict::{Class, Scope};
use std::collections::BTreeSet;
use std::ops::Range;

/// Share of connects without an answer from which a path is cut, whatever else it loses.
const CUT_SHARE: f64 = 0.5;
/// Share of refusals for which the server's own host must have sent the reset for the server to be down.
const OWN_RESETS_SHARE: f64 = 0.5;
/// A delay that is larger than this and than the usual round trip is the main thing, though segments are lost too.
const DELAY_MAIN_S: f64 = 0.003;
/// By how many segments, and by which share of all, more must vanish one way than the other for the way to be known.
const VANISHED_MIN: f64 = 3.0;
const VANISHED_SHARE: f64 = 0.2;
/// Factor by which the score of a cause at an end must exceed a path's for the path not to be accused. On simulated network faults it is below 1.
const RIVAL_RATIO: f64 = 3.0;

/// What was found.
pub enum Found {
    /// The network: the symptom and its (possibly re-directed) culprit.
    Network(Case, Component),
    /// Not the network, though it looked so: refused by the server's own host.
    Down(Case, Component),
    /// Not the network.
    App(AppFinding),
    /// Something is there, and two explanations hold.
    Unclear(Case, String),
    /// Too little to say.
    Thin(Case),
    Nothing,
}

impl Found {
    /// The symptom that stands, if one does.
    pub fn case(&self) -> Option<&Case> {
        match self {
            Self::Network(case, _) | Self::Down(case, _) | Self::Unclear(case, _) | Self::Thin(case) => Some(case),
            Self::App(_) | Self::Nothing => None,
        }
    }
}

/// All symptoms examined, and the one that stands.
pub struct Gate {
    pub found: Found,
    /// Symptoms that were examined and do not stand, for the ranking of explanations.
    pub others: Vec<Case>,
}

/// Examines everything; the range asked about begins at step `first`.
pub fn judge(view: &View<'_>, first: usize) -> Gate {
    // What goes on until now may have begun before the range.
    let starts = 1..view.steps;
    let receiver = app::receiver_limited(view, starts.clone(), first);
    let slow = app::service_slow(view, starts.clone(), first);
    // A window that closes makes senders send again what was dropped at its edge: that is not the path's doing.
    let skip = receiver.as_ref().map_or_else(|| vec![false; view.flows.len()], |r| app::window_blocked(view, r.start, first));
    let silent = Case::rates(view, Class::Unreachable, &symptoms::silent(view), first);
    let refused = Case::rates(view, Class::Policy, &symptoms::refused(view), first);
    let unresolved = Case::rates(view, Class::Dns, &symptoms::unresolved(view), first);
    let loss = Case::rates(view, Class::Loss, &symptoms::loss(view, &skip), first);
    let latency = Case::latency(view, first);
    // What little is lost elsewhere at the same receiver is its doing as well.
    let loss = loss.filter(|case| !receiver.as_ref().is_some_and(|r| ends_at(view, case, r.component)));
    let mut cases: Vec<Case> = [silent, refused, loss, latency, unresolved].into_iter().flatten().collect();
    if let Some(at) = unresolved_alone(view, &cases).or_else(|| strongest(&cases)) {
        let case = cases.swap_remove(at);
        let contests = |app: &AppFinding| {
            let waits = app.class == Class::ServiceSlow && waits_behind(view, &case, app.component);
            !waits && is_rival(case.class, case.score(), app, passing(view, &case, app))
        };
        let rival = [receiver, slow].into_iter().flatten().filter(contests).max_by(|a, b| a.score.total_cmp(&b.score));
        let found = match rival {
            Some(app) => contested(view, case, &app),
            None => accuse(view, case),
        };
        return Gate { found, others: cases };
    }
    // Whoever gets no answer asks less: only where nothing of the kind is seen is it of their own will.
    let is_failing = cases.iter().any(|case| matches!(case.class, Class::Unreachable | Class::Policy | Class::Dns) && case.is_suspicious());
    let asks_less = || if is_failing { None } else { app::demand_drop(view, starts, first) };
    let app = of_the_ends(view, receiver, slow).or_else(asks_less);
    if let Some(app) = app {
        return Gate { found: Found::App(app), others: cases };
    }
    let suspect =
        (0..cases.len()).filter(|&c| cases[c].is_suspicious()).max_by(|&a, &b| cases[a].localised.support.total_cmp(&cases[b].localised.support));
    match suspect {
        Some(at) => Gate { found: unclear(view, cases.swap_remove(at)), others: cases },
        None => Gate { found: Found::Nothing, others: cases },
    }
}

/// The case of names that are not resolved, if no path is at fault that most of its questions pass: whoever is cut off resolves nothing either.
fn unresolved_alone(view: &View<'_>, cases: &[Case]) -> Option<usize> {
    let at = (0..cases.len()).find(|&c| cases[c].class == Class::Dns && cases[c].culprit().is_some())?;
    let Some(path) = strongest(cases) else { return Some(at) };
    let Some(culprit) = cases[path].culprit().map(|guess| guess.component) else { return Some(at) };
    let passes = |&&u: &&usize| {
        let (client, server) = (&view.ends[cases[at].units[u].0], &view.ends[cases[at].units[u].1]);
        culprit.carries(client, server) || culprit.carries(server, client)
    };
    let bad = &cases[at].localised.bad_units;
    let explained = bad.iter().filter(passes).count() * 2 >= bad.len();
    (!explained && cases[at].score() > cases[path].score()).then_some(at)
}

/// Whether nearly all of a symptom is on flows that end at a component.
fn ends_at(view: &View<'_>, case: &Case, component: Component) -> bool {
    let evidence = case.shown.evidence();
    let support = |&u: &usize| evidence.support(u);
    let at_end = |u: &&usize| component.half(&view.ends[case.units[**u].1], 0);
    case.localised.bad_units.iter().filter(at_end).map(support).sum::<f64>() >= 0.8 * case.localised.support
}

/// Whether an end says far more than a path does that is said to be at fault, and would not say it because of that path. Whoever waits for a cut path is slow,
/// and whoever it cuts off is asked less; a slow server is slow by itself if most of its connections do not pass the
/// path.
fn is_rival(class: Class, score: f64, app: &AppFinding, passing: f64) -> bool {
    let is_apart = match app.class {
        Class::ReceiverLimited => true,
        Class::ServiceSlow => matches!(class, Class::Loss | Class::Latency) && passing < 0.5,
        _ => false,
    };
    is_apart && app.score >= RIVAL_RATIO * score
}

/// Share of the talks that show a cause at an end which pass the symptom's culprit.
fn passing(view: &View<'_>, case: &Case, app: &AppFinding) -> f64 {
    let Some(culprit) = case.culprit().map(|g| g.component) else { return 0.0 };
    let passes = |&&t: &&usize| {
        let (client, server) = (&view.ends[view.talks[t].client], &view.ends[view.talks[t].server]);
        culprit.carries(client, server) || culprit.carries(server, client)
    };
    app.talks.iter().filter(passes).count() as f64 / app.talks.len().max(1) as f64
}

/// Of a receiver that does not read and a slow server, the one that stands: whoever waits for that receiver is slow, too.
fn of_the_ends(view: &View<'_>, receiver: Option<AppFinding>, slow: Option<AppFinding>) -> Option<AppFinding> {
    let (Some(reader), Some(server)) = (&receiver, &slow) else { return receiver.or(slow) };
    let (reading, serving) = (reader.component, server.component);
    let answers_it = |t: &Talk| serving.half(&view.ends[t.server], 0) && reading.half(&view.ends[t.client], 0);
    let is_tied = calls_on(view, serving, |t| reading.half(&view.ends[t.server], 0)) || view.talks.iter().any(answers_it);
    if is_tied || server.score < RIVAL_RATIO * reader.score { receiver } else { slow }
}

/// Whether a server calls through the symptom's culprit, itself or by whom it calls: slow since it waits for that path.
fn waits_behind(view: &View<'_>, case: &Case, server: Component) -> bool {
    let Some(culprit) = case.culprit().map(|g| g.component) else { return false };
    calls_on(view, server, |talk| {
        let (from, to) = (&view.ends[talk.client], &view.ends[talk.server]);
        culprit.carries(from, to) || culprit.carries(to, from)
    })
}

/// Whether any call of a server, or of whom it calls, or of whom those call, is such.
fn calls_on(view: &View<'_>, server: Component, is_such: impl Fn(&Talk) -> bool) -> bool {
    let mut callers: BTreeSet<usize> = (0..view.ends.len()).filter(|&e| server.half(&view.ends[e], 0)).collect();
    let mut next: Vec<usize> = callers.iter().copied().collect();
    while let Some(caller) = next.pop() {
        for talk in view.talks.iter().filter(|t| t.client == caller) {
            if is_such(talk) {
                return true;
            }
            if callers.insert(talk.server) {
                next.push(talk.server);
            }
        }
    }
    false
}

fn contested(view: &View<'_>, case: Case, app: &AppFinding) -> Found {
    let what = if app.class == Class::ReceiverLimited { "does not read fast enough" } else { "is slow" };
    let why = format!("{} {what} and that says more (score {:.0} against {:.0})", app.component.phrase(view), app.score, case.score());
    Found::Unclear(case, why)
}

/// Which symptom stands: those that say that nothing gets through before those that say that it gets through badly.
fn strongest(cases: &[Case]) -> Option<usize> {
    let of = |class: Class| (0..cases.len()).find(|&c| cases[c].class == class && cases[c].culprit().is_some());
    let (silent, refused, loss, latency) = (of(Class::Unreachable), of(Class::Policy), of(Class::Loss), of(Class::Latency));
    let score = |at: Option<usize>| at.map_or(0.0, |c| cases[c].score());
    if refused.is_some() && score(refused) >= 0.5 * score(silent) {
        return refused;
    }
    match (silent, loss) {
        (Some(s), Some(l)) if !is_cut(&cases[s], &cases[l]) => return Some(l),
        (Some(s), _) => return Some(s),
        _ => {}
    }
    match (loss, latency) {
        (Some(l), Some(d)) => Some(if delay_is_main(&cases[d]) { d } else { l }),
        (l, d) => l.or(d),
    }
}

/// Random loss keeps some connects from an answer too: the path is cut if far more than its data's loss explains get none.
fn is_cut(silent: &Case, loss: &Case) -> bool {
    let lost_either_way = 1.0 - (1.0 - loss.strength()).powi(2);
    silent.strength() >= CUT_SHARE || silent.strength() > 2.0 * lost_either_way + 0.05
}

fn delay_is_main(latency: &Case) -> bool {
    let crate::case::Shown::Shifts(shifts) = &latency.shown else { return false };
    let Some(guess) = latency.culprit() else { return false };
    let mut bases: Vec<f64> = guess.units.iter().filter_map(|&u| shifts.shifts[u]).map(|s| s.base_s).collect();
    latency.strength() >= DELAY_MAIN_S.max(crate::stats::median(&mut bases).unwrap_or(0.0))
}

/// Names the culprit of the symptom that stands.
fn accuse(view: &View<'_>, case: Case) -> Found {
    let Some(component) = case.culprit().map(|g| g.component) else { return Found::Thin(case) };
    match case.class {
        Class::Policy => refused_by(view, case, component),
        Class::Unreachable => {
            if let Some(overflow) = overflowing(view, &case, component) {
                return Found::Down(case, overflow);
            }
            let way = direction(view, component, case.span.steps.clone());
            Found::Network(Case { is_directed: way.is_some(), ..case }, way.unwrap_or(component))
        }
        _ => Found::Network(case, component),
    }
}

/// Who refused: the server's own host (nobody listens), or something before it.
fn refused_by(view: &View<'_>, case: Case, component: Component) -> Found {
    let steps = case.span.steps.clone();
    let bad = &case.localised.bad_units;
    let said = |&t: &usize| [M::Refused, M::ConnectsReset].map(|m| view.sum(view.talks[t].there, m, steps.clone())).iter().sum::<f64>();
    let refused: f64 = bad.iter().map(said).sum();
    let own: f64 = bad.iter().map(|&t| view.sum(view.talks[t].back, M::ResetsSent, steps.clone())).sum();
    if refused > 0.0 && own >= OWN_RESETS_SHARE * refused {
        let server = server_component(view, &case).unwrap_or(component);
        return Found::Down(case, server);
    }
    let servers: BTreeSet<usize> = bad.iter().map(|&t| view.talks[t].server).collect();
    let settled = (steps.start + 1).min(steps.end)..steps.end;
    if servers.iter().any(|&s| lives(view, s, settled.clone())) || settled.is_empty() {
        return Found::Network(case, component);
    }
    if servers.iter().all(|&s| view.reported_in(s, settled.clone()) == 0) {
        return Found::Unclear(
            case,
            "connects are refused and no agent reports from the servers' side: a dead server and a middlebox look alike".into(),
        );
    }
    Found::Unclear(
        case,
        "connects are refused, no open sockets are left at the servers, and their hosts sent no resets: a dead server and a middlebox look alike"
            .into(),
    )
}

/// Whether a server still has open sockets or accepts.
fn lives(view: &View<'_>, server: usize, steps: Range<usize>) -> bool {
    let at = |t: &&Talk| t.server == server;
    view.talks.iter().filter(at).any(|t| view.sum(t.back, M::Active, steps.clone()) > 0.0 || view.sum(t.there, M::Accepts, steps.clone()) > 0.0)
}

/// The best guess at whose end all bad talks have their server.
fn server_component(view: &View<'_>, case: &Case) -> Option<Component> {
    let is_server = |c: Component| {
        let ends = case.localised.bad_units.iter().map(|&t| &view.ends[view.talks[t].server]);
        matches!(c.scope(), Scope::Pod | Scope::Workload) && ends.clone().filter(|e| c.half(e, 0)).count() * 2 > ends.count()
    };
    let guesses = case.localised.guesses.iter().filter(|g| is_server(g.component));
    guesses.max_by(|a, b| a.is_sound().cmp(&b.is_sound()).then(a.score.total_cmp(&b.score))).map(|g| g.component)
}

/// A server whose accept queue is full drops SYNs itself: those of all its clients. If one of them alone suffers (else the workload, which is
/// larger, were blamed), its path does.
fn overflowing(view: &View<'_>, case: &Case, culprit: Component) -> Option<Component> {
    if matches!(culprit, Component::Edge(..)) {
        return None;
    }
    let steps = case.span.steps.clone();
    let bad = &case.localised.bad_units;
    let silent: f64 = bad
        .iter()
        .map(|&t| view.sum(view.talks[t].there, M::Timeouts, steps.clone()) + view.sum(view.talks[t].there, M::Cancelled, steps.clone()))
        .sum();
    let server = server_component(view, case)?;
    // Whose connection is dropped the kernel does not say: the count is on a flow of its own, from nobody.
    let into = |f: &usize| server.half(&view.ends[view.flows[*f].to], 0);
    let dropped: f64 = (0..view.flows.len()).filter(into).map(|f| view.sum(Some(f), M::AcceptOverflow, steps.clone())).sum();
    (dropped > 0.0 && dropped >= 0.5 * silent).then_some(server)
}

/// Which way a cut pair is cut; `None` if that is not seen. Bytes sent that way never arrive, and servers at its near end send their SYN-ACKs again, since
/// the SYNs reached them.
fn direction(view: &View<'_>, component: Component, steps: Range<usize>) -> Option<Component> {
    let reversed = component.reversed();
    if reversed == component {
        return Some(component);
    }
    let vanished = |c: Component| {
        let flows = view.flows.iter().enumerate().filter(|(_, f)| c.carries(&view.ends[f.from], &view.ends[f.to]));
        flows.map(|(f, flow)| undelivered(view, f, flow.to, steps.clone()) + view.sum(Some(f), M::RetransSynack, steps.clone())).sum::<f64>()
    };
    let (there, back) = (vanished(component), vanished(reversed));
    if (there - back).abs() < VANISHED_MIN.max(VANISHED_SHARE * (there + back)) {
        return None;
    }
    Some(if back > there { reversed } else { component })
}

/// Data segments that were sent and did not arrive, where both ends reported.
fn undelivered(view: &View<'_>, flow: usize, to: usize, steps: Range<usize>) -> f64 {
    let both = steps.filter(|&s| view.reported(to, s) && !view.at(flow, M::SegmentsSent, s).is_nan());
    both.map(|s| view.at(flow, M::SegmentsSent, s) - view.at(flow, M::SegmentsReceived, s)).sum::<f64>().max(0.0)
}

fn unclear(view: &View<'_>, case: Case) -> Found {
    let bad = case.localised.bad_units.len();
    let best = case.localised.guesses.first();
    if best.is_none_or(|g| g.score < crate::case::SCORE_MIN) || case.span.steps.len() < 2 {
        return Found::Thin(case);
    }
    let everywhere = bad as f64 >= 0.8 * case.units.len() as f64;
    let why = if everywhere {
        "nearly everything is hit at once, so nothing healthy is left to compare with".to_owned()
    } else {
        let worst = best.map(|g| g.component.phrase(view)).unwrap_or_default();
        format!("{bad} of {} are hit and no single component explains them; the nearest is {worst}", case.units.len())
    };
    Found::Unclear(case, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_end_that_says_far_more_than_the_path_contests_it() {
        let app = |class, score| {
            let (component, signal, talks) = (Component::Workload(1), "tcp.rwnd_share", Vec::new());
            AppFinding { class, component, start: 3, signal, before: 0.0, after: 1.0, samples: 100.0, score, talks }
        };
        assert!(is_rival(Class::Loss, 20.0, &app(Class::ReceiverLimited, 100.0), 1.0));
        assert!(!is_rival(Class::Loss, 60.0, &app(Class::ReceiverLimited, 100.0), 1.0));
        assert!(is_rival(Class::Latency, 13.0, &app(Class::ServiceSlow, 90.0), 0.2));
        // A delay makes the connections that it holds up live longer.
        assert!(!is_rival(Class::Latency, 13.0, &app(Class::ServiceSlow, 90.0), 0.8));
        // Whoever waits for a cut path is slow, and asks others less.
        assert!(!is_rival(Class::Unreachable, 13.0, &app(Class::ServiceSlow, 90.0), 0.2));
        assert!(!is_rival(Class::Policy, 13.0, &app(Class::DemandDrop, 90.0), 0.2));
    }
}
