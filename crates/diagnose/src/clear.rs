//! What clears the network: each symptom that was looked for, over all edges, with the counts that would have shown it.

use crate::symptoms::{self, Evidence as _, Family, Rates, RoundTrips};
use crate::view::{M, View};
use edgescope_model::verdict::{Control, Evidence};
use std::ops::Range;

/// What was looked for and how much of it there is, for a verdict that clears the network.
#[derive(Debug, Default)]
pub struct Cleared {
    pub evidence: Vec<Evidence>,
    pub controls: Vec<Control>,
}

/// Looks at all units, or those that touch a workload, from step `first` on against before.
pub fn look(view: &View<'_>, first: usize, workload: Option<&str>) -> Cleared {
    let is_asked = |&(a, b): &(usize, usize)| workload.is_none_or(|asked| [a, b].iter().any(|&end| view.workload(end) == asked));
    let place = workload.map_or_else(|| "all edges".to_owned(), |name| format!("all edges of {name}"));
    let span = first..view.steps;
    let families = [
        ("lose segments", "a path that loses segments would show here", symptoms::loss(view, &vec![false; view.flows.len()])),
        ("leave connects without an answer", "a path that is cut would show here", symptoms::silent(view)),
        ("refuse connects", "a dead server or a middlebox that refuses would show here", symptoms::refused(view)),
        ("get errors or no answer to questions of DNS", "a resolver that fails would show here", symptoms::unresolved(view)),
    ];
    let [lost, silent, refused, unresolved] = families.map(|(what, why, family)| {
        let units: Vec<usize> = (0..family.units.len()).filter(|&u| is_asked(&family.units[u])).collect();
        control(&family, &units, &span, what, why)
    });
    let flows: Vec<usize> = (0..view.flows.len()).filter(|&f| is_asked(&(view.flows[f].from, view.flows[f].to))).collect();
    let ends = |t: usize| (view.talks[t].client, view.talks[t].server);
    let there: Vec<usize> = (0..view.talks.len()).filter(|&t| is_asked(&ends(t))).filter_map(|t| view.talks[t].there).collect();
    let again = [(M::Retrans, 1.0), (M::RetransSyn, -1.0), (M::RetransSynack, -1.0)];
    let failed = [M::Timeouts, M::Refused, M::Unreachable, M::ConnectsReset].map(|m| (m, 1.0));
    let unanswered = [M::DnsTimeouts, M::DnsServfail, M::DnsRefused, M::DnsErrorsOther].map(|m| (m, 1.0));
    let mut evidence = vec![
        row(view, &flows, &span, ("tcp.retrans_rate", &again, M::SegmentsSent), &place, &[&lost]),
        row(view, &there, &span, ("tcp.connect_failure_rate", &failed, M::Connects), &place, &[&silent, &refused]),
        row(view, &there, &span, ("dns.failure_rate", &unanswered, M::DnsRequests), &place, &[&unresolved]),
    ];
    let trips = RoundTrips::new(view);
    let asked: Vec<usize> = (0..trips.talks.len()).filter(|&u| is_asked(&ends(trips.talks[u]))).collect();
    let (measured, slow) = round_trips(&trips, &asked, &span, &place).unzip();
    evidence.push(measured);
    Cleared {
        evidence: evidence.into_iter().flatten().collect(),
        controls: [lost, silent, refused, unresolved, slow].into_iter().flatten().collect(),
    }
}

/// How many units had enough opportunities to show a symptom, and how many do.
fn control(family: &Family, units: &[usize], span: &Range<usize>, what: &str, why: &str) -> Option<Control> {
    let rates = Rates::new(family, span.clone());
    let least: Vec<f64> = family.parts.iter().map(|p| p.rule.rate_min).collect();
    let telling: Vec<usize> = units.iter().copied().filter(|&u| rates.enough(u, &least)).collect();
    let bad = telling.iter().filter(|&&u| rates.support(u) > 0.0).count();
    (!telling.is_empty()).then(|| Control { what: what.to_owned(), edges: telling.len() as u64, bad: bad as u64, why: why.to_owned() })
}

/// A rate of the catalogue (its name, what is counted, and of what) over flows, in the span and before it.
fn row(
    view: &View<'_>,
    flows: &[usize],
    span: &Range<usize>,
    (signal, events, of): (&str, &[(M, f64)], M),
    place: &str,
    controls: &[&Option<Control>],
) -> Option<Evidence> {
    let sum = |m: M, steps: &Range<usize>| flows.iter().map(|&f| view.sum(Some(f), m, steps.clone())).sum::<f64>();
    let rate = |steps: &Range<usize>| {
        let (k, n) = (events.iter().map(|&(m, sign)| sign * sum(m, steps)).sum::<f64>(), sum(of, steps));
        ((n > 0.0).then(|| (k / n).clamp(0.0, 1.0)), n)
    };
    let ((value, samples), (baseline, _)) = (rate(span), rate(&(0..span.start)));
    value?;
    let ratio = value.zip(baseline).filter(|(_, b)| *b > 0.0).map(|(v, b)| v / b);
    let tests: Vec<String> = controls.iter().copied().flatten().map(words).collect();
    Some(Evidence { signal: signal.to_owned(), scope: place.to_owned(), value, baseline, ratio, samples: samples as u64, test: tests.join("; ") })
}

fn words(control: &Control) -> String {
    format!("{} of {} edges with enough samples {}", control.bad, control.edges, control.what)
}

/// The middle round trip now and before, and how many paths got longer.
fn round_trips(trips: &RoundTrips, units: &[usize], span: &Range<usize>, place: &str) -> Option<(Evidence, Control)> {
    let shifts = trips.shifts(span);
    let known: Vec<usize> = units.iter().copied().filter(|&u| shifts.shifts[u].is_some()).collect();
    let all = shifts.alike(&known);
    let median = |f: &dyn Fn(&symptoms::Shift) -> f64| crate::stats::median(&mut all.iter().map(f).collect::<Vec<_>>());
    let (value, baseline) = (median(&|s| s.base_s + s.by_s)?, median(&|s| s.base_s)?);
    let bad = known.iter().filter(|&&u| shifts.support(u) > 0.0).count();
    let control =
        Control { what: "have a longer round trip".into(), edges: known.len() as u64, bad: bad as u64, why: "a slow path would show here".into() };
    let evidence = Evidence {
        signal: all.first()?.signal.to_owned(),
        scope: place.to_owned(),
        value: Some(value),
        baseline: Some(baseline),
        ratio: (baseline > 0.0).then(|| value / baseline),
        samples: all.iter().map(|shift| shift.samples as u64).sum(),
        test: words(&control),
    };
    Some((evidence, control))
}
