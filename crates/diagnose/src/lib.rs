//! Is it the network? Symptoms, localisation, verdict and evidence, as pure functions over a table.
//!
//! In goes an [`EdgeTable`] of pod-level edges by step (the answer to [`query`]), the coverage of that range and the range itself; out
//! comes a [`Verdict`]. On the way: the table becomes numbered flows and talks, with silence told from zero (`view`); each kind of symptom
//! is held against each unit's own past, and dated (`symptoms`, `onset`); every component is weighed by all units that pass it, healthy ones
//! too (`component`, `localise`); the kinds are weighed against each other and against causes that are not the network (`gate`, `app`);
//! what is well clears the others (`exonerate`), and numbers become words (`summary`). `docs/detection.md` has the rules with their figures.
#![forbid(unsafe_code)]

mod app;
mod case;
mod clear;
mod component;
mod exonerate;
mod gate;
mod localise;
mod onset;
mod stats;
mod summary;
mod symptoms;
mod view;

use case::Case;
use component::Component;
use edgescope_model::query::{Coverage, EdgeQuery, EdgeTable};
use edgescope_model::time::{Time, window_start};
use edgescope_model::verdict::{Answer, Class, Culprit, Hypothesis, Scope, Verdict};
use gate::{Found, Gate};
use summary::Sides;
use view::View;

/// Past that is asked for before the range, in seconds: enough windows for a baseline, few enough that yesterday's trouble is not in it.
pub const BASELINE_S: i64 = 600;
/// How long before the range trouble may have begun and still be the range's, in seconds: what an alert takes to fire.
pub const LEAD_S: i64 = 60;
/// Most steps asked for; a longer range gets wider steps. 1 h of 10 s windows.
const STEPS_MAX: i64 = 360;
/// Most rows: pods times peers of a large environment. That some are cut is said, and then nobody is cleared.
const ROWS_MAX: usize = 20_000;
/// Most rows of conversations with DNS servers, beside those.
const DNS_ROWS_MAX: usize = 5_000;
/// Seconds that must have been seen before "as always" is said: three windows.
const SEEN_S_MIN: i64 = 30;
/// Silent agents that a sentence names.
const NAMED_MAX: usize = 3;

/// What to diagnose.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// Answer to [`query`].
    pub table: &'a EdgeTable,
    /// Of the range.
    pub coverage: &'a Coverage,
    pub from: Time,
    pub to: Time,
    /// Workload whose trouble is asked about, any if absent; trouble that does not touch it is told as elsewhere.
    pub scope: Option<&'a str>,
}

/// What [`diagnose`] wants to know: pod-level edges from a baseline before `from` up to `to`.
pub fn query(from: Time, to: Time) -> EdgeQuery {
    let start = window_start(from - chrono::Duration::seconds(BASELINE_S), 10);
    let to = window_start(to + chrono::Duration::seconds(9), 10).max(start + chrono::Duration::seconds(10));
    let seconds = (to - start).num_seconds();
    let step_s = [10, 60, 300, 600, 3_600].into_iter().find(|s| seconds / s <= STEPS_MAX).unwrap_or(86_400);
    let ends = ["source", "dest"].iter().flat_map(|side| view::END_DIMS.iter().map(move |d| format!("{side}.{d}")));
    EdgeQuery {
        from: start,
        to,
        step_s: Some(step_s as u32),
        group_by: ends.chain(["role".to_owned()]).collect(),
        filter: Some("protocol = 'tcp'".to_owned()),
        measures: view::tcp_measure_names().map(str::to_owned).collect(),
        compare_from: None,
        compare_to: None,
        sort: Some("-tcp.active".to_owned()),
        limit: Some(ROWS_MAX),
    }
}

/// What it wants to know of DNS beside that: [`EdgeTable::join`] puts both answers together for [`diagnose`].
pub fn query_dns(query: &EdgeQuery) -> EdgeQuery {
    query.of_dns(view::dns_measure_names(), DNS_ROWS_MAX)
}

/// The verdict on a range.
pub fn diagnose(inputs: &Inputs<'_>) -> Verdict {
    let view = View::new(inputs.table);
    if view.flows.is_empty() || view.steps == 0 {
        let Coverage { agents_reporting, agents_expected, .. } = inputs.coverage;
        let summary = format!(
            "No edges were seen in this range, and {agents_reporting} of {agents_expected} agents reported: nothing can be said. Is an agent running \
             and sending here?"
        );
        return plain(inputs, Answer::InsufficientEvidence, 0.0, summary);
    }
    let earliest = inputs.from - chrono::Duration::seconds(LEAD_S);
    let first = (0..view.steps).find(|&s| view.time(s) >= earliest).unwrap_or(view.steps - 1);
    let is_unseen = |workload: &&str| !view.workloads.iter().any(|seen| seen == workload);
    if let Some(workload) = inputs.scope.filter(is_unseen) {
        let summary = format!("No edges of {workload} were seen in this range: nothing can be said. `edgescope top` lists who talks");
        return plain(inputs, Answer::InsufficientEvidence, 0.0, summary);
    }
    let Gate { found, others } = gate::judge(&view, first);
    let own = |workload: &str| found.case().into_iter().chain(&others).filter_map(|case| Signs::at(&view, case, workload)).max_by(Signs::by_support);
    let own = inputs.scope.and_then(own);
    let verdict = match found {
        Found::Network(case, culprit) => network(inputs, &view, &case, culprit, &others),
        Found::Down(case, culprit) => down(inputs, &view, &case, culprit, &others),
        Found::App(app) => not_network(inputs, &view, first, &app, &others),
        Found::Unclear(case, why) => unclear(inputs, &view, &case, why, &others),
        Found::Thin(case) => thin(inputs, &view, &case, &others),
        Found::Nothing => nothing(inputs, &view, first, &others),
    };
    let verdict = match inputs.scope {
        Some(workload) if !touches(&verdict, workload) => elsewhere(inputs, &view, first, workload, verdict, own),
        _ => verdict,
    };
    match unseen(inputs) {
        0 => verdict,
        cut => Verdict {
            summary: format!("{}. {cut} of {} pod pairs, the least active, were not looked at", verdict.summary, inputs.table.groups_total),
            ..verdict
        },
    }
}

/// Rows that the table was too small for.
fn unseen(inputs: &Inputs<'_>) -> usize {
    inputs.table.groups_total.saturating_sub(inputs.table.rows.len())
}

/// A verdict without a case.
fn plain(inputs: &Inputs<'_>, verdict: Answer, confidence: f64, summary: String) -> Verdict {
    Verdict {
        verdict,
        class: Class::None,
        confidence,
        culprit: Culprit::none(),
        since: None,
        summary,
        evidence: Vec::new(),
        affected: Vec::new(),
        controls: Vec::new(),
        hypotheses: Vec::new(),
        coverage: inputs.coverage.clone(),
        from: inputs.from,
        to: inputs.to,
        edges: inputs.table.rows.len() as u64,
    }
}

fn network(inputs: &Inputs<'_>, view: &View<'_>, case: &Case, culprit: Component, others: &[Case]) -> Verdict {
    let affected = summary::affected(view, case, culprit);
    let twins = &case.localised.twins;
    let mut controls = exonerate::controls(view, case, culprit);
    if controls.is_empty() && case.class == Class::Dns {
        // Nobody else was asked: what is well is the paths.
        controls = clear::look(view, case.span.steps.start, None).controls;
        controls.retain(|control| control.bad == 0);
    }
    let summary = summary::network_sentence(view, case, culprit, affected.len(), twins);
    Verdict {
        class: case.class,
        culprit: Culprit { scope: scope_of(view, case, culprit), ..culprit.culprit(view) },
        since: Some(case.since(view)),
        evidence: summary::evidence(view, case, culprit),
        controls,
        hypotheses: exonerate::hypotheses(view, case, Some(culprit), others),
        affected,
        ..plain(inputs, Answer::Network, confidence(inputs, case, !twins.is_empty()), summary)
    }
}

/// Resolvers that fail are not this or that workload to whoever asks them: they are DNS.
fn scope_of(view: &View<'_>, case: &Case, culprit: Component) -> Scope {
    let asks_it = |&u: &usize| culprit.half(&view.ends[case.units[u].1], 0);
    match culprit {
        Component::Workload(_) if case.class == Class::Dns && case.localised.bad_units.iter().all(asks_it) => Scope::Dns,
        other => other.scope(),
    }
}

fn down(inputs: &Inputs<'_>, view: &View<'_>, case: &Case, culprit: Component, others: &[Case]) -> Verdict {
    let silent = case.class == Class::Unreachable;
    let (class, how) = if silent {
        (Class::ServiceSlow, "its accept queue is full and drops connections")
    } else {
        (Class::ServiceDown, "its host answers connections with resets: nobody listens")
    };
    let since = case.since(view);
    let summary = format!(
        "Not the network: {} is {}, {how}, since {}",
        culprit.phrase(view),
        if silent { "overloaded" } else { "down" },
        since.format("%H:%M:%S")
    );
    let mut hypotheses = exonerate::hypotheses(view, case, Some(culprit), others);
    if let Some(first) = hypotheses.first_mut() {
        first.class = class;
    }
    Verdict {
        class,
        culprit: culprit.culprit(view),
        since: Some(since),
        evidence: summary::evidence(view, case, culprit),
        controls: exonerate::controls(view, case, culprit),
        affected: summary::touched(view, culprit, Sides::Any, case.span.steps.start, how),
        hypotheses,
        ..plain(inputs, Answer::NotNetwork, confidence(inputs, case, false), summary)
    }
}

fn not_network(inputs: &Inputs<'_>, view: &View<'_>, first: usize, app: &app::AppFinding, others: &[Case]) -> Verdict {
    let (mut evidence, summary) = summary::app_words(view, app);
    let looked = clear::look(view, first, None);
    evidence.extend(looked.evidence);
    let (sides, symptom) = match app.class {
        Class::ReceiverLimited => (Sides::Any, "waits for the receiver"),
        Class::ServiceSlow => (Sides::Server, "waits for the server"),
        _ => (Sides::Client, "asks less"),
    };
    let chosen = Hypothesis {
        class: app.class,
        culprit: app.component.culprit(view),
        log_likelihood: app.score,
        edges: app.talks.len() as u64,
        edges_bad: app.talks.len() as u64,
        why: "taken: the ends explain it and no path shows a symptom".into(),
    };
    let cleared = others.iter().flat_map(|case| exonerate::hypotheses(view, case, None, &[]).into_iter().take(1));
    Verdict {
        class: app.class,
        culprit: app.component.culprit(view),
        since: Some(view.time(app.start)),
        evidence,
        affected: summary::touched(view, app.component, sides, app.start, symptom),
        controls: looked.controls,
        hypotheses: std::iter::once(chosen).chain(cleared).collect(),
        ..plain(inputs, Answer::NotNetwork, sureness(inputs, app.score), summary)
    }
}

fn unclear(inputs: &Inputs<'_>, view: &View<'_>, case: &Case, why: String, others: &[Case]) -> Verdict {
    let summary = format!("Signs of {} since {}, but {why}", case.class, case.since(view).format("%H:%M:%S"));
    Verdict {
        class: case.class,
        since: Some(case.since(view)),
        evidence: summary::signs(view, case),
        affected: summary::affected_by_signs(view, case),
        controls: exonerate::well(case),
        hypotheses: exonerate::hypotheses(view, case, None, others),
        ..plain(inputs, Answer::Ambiguous, 0.4, summary)
    }
}

fn thin(inputs: &Inputs<'_>, view: &View<'_>, case: &Case, others: &[Case]) -> Verdict {
    let edges = case.localised.bad_units.len();
    let summary =
        format!("Faint signs of {} on {edges} edges since {}: too few samples to name a culprit", case.class, case.since(view).format("%H:%M:%S"));
    Verdict {
        class: case.class,
        since: Some(case.since(view)),
        evidence: summary::signs(view, case),
        affected: summary::affected_by_signs(view, case),
        controls: exonerate::well(case),
        hypotheses: exonerate::hypotheses(view, case, None, others),
        ..plain(inputs, Answer::InsufficientEvidence, 0.3, summary)
    }
}

fn nothing(inputs: &Inputs<'_>, view: &View<'_>, first: usize, others: &[Case]) -> Verdict {
    let (edges, seen_s) = (view.flows.len(), (view.time(view.steps) - view.time(view.first_active())).num_seconds());
    let clear::Cleared { evidence, controls } = clear::look(view, first, None);
    let hypotheses = exonerate::not_standing(view, others);
    let shown = |plain: Verdict| Verdict { evidence, controls, hypotheses, ..plain };
    let young = || (seen_s < SEEN_S_MIN).then(|| format!("they were seen for {seen_s} s only: ask again in half a minute"));
    if let Some(gap) = blind(inputs).or_else(young) {
        return shown(plain(inputs, Answer::InsufficientEvidence, 0.5, format!("No network problem seen on {edges} edges, but {gap}")));
    }
    let lasting = if seen_s < 120 { format!("{seen_s} s") } else { format!("{} minutes", seen_s / 60) };
    let left = inputs.coverage.who_left().map_or_else(String::new, |who| format!(". {who}"));
    let summary = format!("No network problem seen: {edges} edges over {lasting} are as always{left}");
    shown(plain(inputs, Answer::NotNetwork, clearance(inputs, edges), summary))
}

/// Why "nothing is wrong" cannot be said, if too little was seen.
fn blind(inputs: &Inputs<'_>) -> Option<String> {
    let coverage = inputs.coverage;
    if let Some(blind_spot) = coverage.blind_spot() {
        let mut silent: Vec<&str> = coverage.silent.keys().take(NAMED_MAX).map(String::as_str).collect();
        if coverage.silent.len() > NAMED_MAX {
            silent.push("…");
        }
        let names = if silent.is_empty() { String::new() } else { format!(" ({})", silent.join(", ")) };
        return Some(format!("{blind_spot}{names}: what is not seen cannot be cleared"));
    }
    if inputs.table.from > inputs.from {
        return Some(format!("pods are kept from {} on: what was before is not seen", inputs.table.from.format("%Y-%m-%d %H:%M:%S")));
    }
    // The least active are those that nothing gets through to.
    (unseen(inputs) > 0).then(|| "not all of them were looked at: ask for one workload or a shorter range".to_owned())
}

/// How sure it is that nothing is wrong: grows with what was seen.
fn clearance(inputs: &Inputs<'_>, edges: usize) -> f64 {
    0.5 + 0.5 * inputs.coverage.fraction.clamp(0.0, 1.0) * (edges as f64 / (edges as f64 + 5.0))
}

/// What the own edges of a workload show of a symptom.
struct Signs {
    class: Class,
    edges: usize,
    support: f64,
}

impl Signs {
    /// `None` if they show no more than any workload's edges do now and then.
    fn at(view: &View<'_>, case: &Case, workload: &str) -> Option<Self> {
        let is_own = |&&u: &&usize| [case.units[u].0, case.units[u].1].iter().any(|&end| view.workload(end) == workload);
        let own: Vec<usize> = case.localised.bad_units.iter().filter(is_own).copied().collect();
        let support: f64 = own.iter().map(|&u| case.shown.evidence().support(u)).sum();
        case::is_suspicious(support, own.len()).then_some(Self { class: case.class, edges: own.len(), support })
    }

    fn by_support(a: &Self, b: &Self) -> std::cmp::Ordering {
        a.support.total_cmp(&b.support)
    }
}

/// The verdict is about somebody else: the workload asked about is judged by its own edges.
fn elsewhere(inputs: &Inputs<'_>, view: &View<'_>, first: usize, workload: &str, verdict: Verdict, own: Option<Signs>) -> Verdict {
    let clear::Cleared { evidence, controls } = clear::look(view, first, Some(workload));
    let (answer, class, confidence, summary) = match (own, blind(inputs)) {
        (Some(signs), _) => {
            let what = format!("Signs of {} on {} edges of {workload}, which what happens elsewhere does not explain", signs.class, signs.edges);
            (Answer::Ambiguous, signs.class, 0.4, what)
        }
        (None, Some(gap)) => (Answer::InsufficientEvidence, Class::None, 0.5, format!("No network problem seen at {workload}, but {gap}")),
        (None, None) => (Answer::NotNetwork, Class::None, clearance(inputs, view.flows.len()), format!("No network problem seen at {workload}")),
    };
    let summary = format!("{summary}. Elsewhere: {}", verdict.summary);
    Verdict { class, evidence, controls, hypotheses: verdict.hypotheses, ..plain(inputs, answer, confidence, summary) }
}

fn touches(verdict: &Verdict, workload: &str) -> bool {
    let named = verdict.culprit.name == workload || verdict.culprit.peer.as_deref() == Some(workload);
    named
        || verdict.class == Class::None
        || verdict.affected.is_empty()
        // Cut: who is not listed may be hit all the same.
        || verdict.affected.len() >= summary::AFFECTED_MAX
        || verdict.affected.iter().any(|a| a.source == workload || a.dest == workload)
}

/// How sure: grows with the likelihood and with what is explained, shrinks with what was not seen, and to 0.6 of it where another fits as well.
fn confidence(inputs: &Inputs<'_>, case: &Case, has_twin: bool) -> f64 {
    let Some(guess) = case.localised.guesses.first() else { return 0.0 };
    let twin = if has_twin { 0.6 } else { 1.0 };
    sureness(inputs, guess.score) * guess.explained.sqrt() * twin
}

/// A score of 25 is as good as 63 % of certainty, 75 is 95 %.
fn sureness(inputs: &Inputs<'_>, score: f64) -> f64 {
    (1.0 - (-score / 25.0).exp()) * (0.5 + 0.5 * inputs.coverage.fraction.clamp(0.0, 1.0))
}
