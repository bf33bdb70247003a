//! What clears the others: healthy groups of units as controls, and for every explanation that was weighed why it was taken or not.

use crate::case::Case;
use crate::component::{Component, Cross, Sense};
use crate::localise::Guess;
use crate::view::{End, View};
use edgescope_model::verdict::{Class, Control, Hypothesis};

/// Explanations shown of the symptom that stands, and of each that does not.
const SHOWN: usize = 6;
const SHOWN_OTHERS: usize = 1;

/// Whether a unit between these ends passes the component, in the sense of its family.
pub fn passes(component: Component, sense: Sense, from: &End, to: &End) -> bool {
    component.carries(from, to) || (sense == Sense::Either && component.carries(to, from))
}

/// Whether it may: two pods of a node need not leave it, so that their health clears nobody else.
fn may_pass(component: Component, sense: Sense, from: &End, to: &End) -> bool {
    passes(component, sense, from, to) || (matches!(component, Component::Node(_)) && component.half(from, 0))
}

/// Groups of units that do not pass the culprit, nearest relatives first.
pub fn controls(view: &View<'_>, case: &Case, culprit: Component) -> Vec<Control> {
    let is_bad = |u: usize| case.localised.bad_units.binary_search(&u).is_ok();
    let evidence = case.shown.evidence();
    let strength = [case.strength()];
    let healthy_enough = |u: usize| evidence.enough(u, &strength);
    let ends = |u: usize| (&view.ends[case.units[u].0], &view.ends[case.units[u].1]);
    let outside: Vec<usize> =
        (0..case.units.len()).filter(|&u| !may_pass(culprit, case.sense, ends(u).0, ends(u).1)).filter(|&u| healthy_enough(u) || is_bad(u)).collect();
    let group = |what: String, why: &str, member: &dyn Fn(&End, &End) -> bool| {
        let units: Vec<usize> = outside.iter().copied().filter(|&u| member(ends(u).0, ends(u).1)).collect();
        let bad = units.iter().filter(|&&u| is_bad(u)).count();
        (!units.is_empty()).then(|| Control { what, edges: units.len() as u64, bad: bad as u64, why: why.to_owned() })
    };
    let mut groups = relatives(view, culprit).into_iter().filter_map(|r| group(r.what, r.why, &r.member)).collect::<Vec<_>>();
    groups.extend(group("all edges elsewhere".into(), "the same symptom was looked for on each of them", &|_, _| true));
    groups
}

/// Where nobody can be blamed: all edges that had enough samples to show it.
pub fn well(case: &Case) -> Vec<Control> {
    let evidence = case.shown.evidence();
    let strength = case.localised.guesses.first().map(|g| g.strength.clone()).unwrap_or_default();
    let telling = |&u: &usize| !strength.is_empty() && evidence.enough(u, &strength);
    let edges = (0..case.units.len()).filter(telling).count();
    let bad = case.localised.bad_units.iter().filter(|u| telling(u)).count();
    let why = "the same symptom was looked for on each of them";
    let all = Control { what: "all edges with enough samples".into(), edges: edges as u64, bad: bad as u64, why: why.into() };
    if edges > 0 { vec![all] } else { Vec::new() }
}

type Member = Box<dyn Fn(&End, &End) -> bool>;

/// A group of edges whose health clears something in particular.
struct Relative {
    what: String,
    why: &'static str,
    member: Member,
}

fn relatives(view: &View<'_>, culprit: Component) -> Vec<Relative> {
    let relative = |what: String, why: &'static str, member: Member| Relative { what, why, member };
    let name = |c: Component| c.culprit(view).name;
    match culprit {
        Component::Zone(z) => vec![
            relative(
                format!("within zone {}", name(culprit)),
                "its pods and nodes are well among themselves",
                Box::new(move |a, b| a.zone == z && b.zone == z),
            ),
            relative(
                "between the other zones".into(),
                "the rest of the network between zones is well",
                Box::new(move |a, b| a.zone != z && b.zone != z && a.zone != b.zone),
            ),
        ],
        Component::ZonePair(x, y) => vec![
            relative(
                "zones of the pair with third zones".into(),
                "both zones are well with others",
                Box::new(move |a, b| {
                    let in_pair = |e: &End| e.zone == x || e.zone == y;
                    in_pair(a) != in_pair(b)
                }),
            ),
            relative("the other way round".into(), "the way back is well", Box::new(move |a, b| a.zone == y && b.zone == x)),
        ],
        Component::Node(n) => {
            let zone = view.ends.iter().find(|e| e.node == n).map_or(crate::view::NONE, |e| e.zone);
            vec![relative(
                "other nodes of its zone".into(),
                "its zone is well",
                Box::new(move |a, b| (a.zone == zone || b.zone == zone) && a.node != n && b.node != n),
            )]
        }
        Component::Workload(w) => {
            let nodes: Vec<u32> = view.ends.iter().filter(|e| e.workload == w).map(|e| e.node).collect();
            vec![relative(
                "other workloads on its nodes".into(),
                "the nodes are well",
                Box::new(move |a, b| nodes.contains(&a.node) || nodes.contains(&b.node)),
            )]
        }
        Component::Edge(c, s) => vec![
            relative(
                format!("other peers of {}", name(Component::Workload(s))),
                "it is well with others",
                Box::new(move |a, b| a.workload == s || b.workload == s),
            ),
            relative(
                format!("other peers of {}", name(Component::Workload(c))),
                "it is well with others",
                Box::new(move |a, b| a.workload == c || b.workload == c),
            ),
        ],
        Component::Pod(p) => {
            let end = view.ends.iter().find(|e| e.pod == p).copied();
            let (node, workload) = end.map_or((crate::view::NONE, crate::view::NONE), |e| (e.node, e.workload));
            vec![
                relative("other pods on its node".into(), "the node is well", Box::new(move |a, b| a.node == node || b.node == node)),
                relative(
                    "other pods of its workload".into(),
                    "the workload is well",
                    Box::new(move |a, b| a.workload == workload || b.workload == workload),
                ),
            ]
        }
        Component::NodePair(x, y) => vec![relative(
            "its nodes with others".into(),
            "both nodes are well",
            Box::new(move |a, b| [x, y].contains(&a.node) || [x, y].contains(&b.node)),
        )],
    }
}

/// The explanations that were weighed, best first.
pub fn hypotheses(view: &View<'_>, case: &Case, taken: Option<Component>, others: &[Case]) -> Vec<Hypothesis> {
    let mut all: Vec<Hypothesis> =
        case.localised.guesses.iter().take(SHOWN).map(|g| hypothesis(view, case.class, g, g.component, why(view, case, g, taken))).collect();
    if let (Some(first), Some(taken)) = (all.first_mut(), taken) {
        first.culprit = taken.culprit(view);
    }
    all.extend(others_of(view, others, Some(case.class)));
    all
}

/// Symptoms that were examined where none stands.
pub fn not_standing(view: &View<'_>, cases: &[Case]) -> Vec<Hypothesis> {
    others_of(view, cases, None)
}

fn others_of(view: &View<'_>, others: &[Case], taken: Option<Class>) -> Vec<Hypothesis> {
    let mut all = Vec::new();
    for other in others {
        for g in other.localised.guesses.iter().take(SHOWN_OTHERS) {
            let share = 100.0 * g.explained;
            let why = match (other.culprit().and(taken), g.is_sound()) {
                (Some(taken), _) => format!("seen too, but {taken} says more"),
                (None, false) => format!("cleared: {} of its {} edges with enough samples are fine", g.witnesses.len() - g.bad, g.witnesses.len()),
                (None, true) => format!("does not stand: score {:.1}, explains {share:.0} % of the signs of {}", g.score, other.class),
            };
            all.push(hypothesis(view, other.class, g, g.component, why));
        }
    }
    all
}

fn hypothesis(view: &View<'_>, class: Class, g: &Guess, component: Component, why: String) -> Hypothesis {
    Hypothesis { class, culprit: component.culprit(view), log_likelihood: g.score, edges: g.units.len() as u64, edges_bad: g.bad as u64, why }
}

fn why(view: &View<'_>, case: &Case, g: &Guess, taken: Option<Component>) -> String {
    let Some(best) = case.localised.guesses.first() else { return String::new() };
    let explains = format!("explains {:.0} % of what is seen", 100.0 * g.explained);
    if g.component == best.component {
        let verb = if taken.is_some() { "taken" } else { "nearest" };
        return format!("{verb}: {} of {} edges with enough samples are bad, {explains}", g.bad, g.witnesses.len());
    }
    if case.localised.twins.contains(&g.component) {
        let nearest = best.component.phrase(view);
        return if g.units == best.units {
            format!("passes the very same edges as {nearest}: cannot be told from it")
        } else {
            format!("the edges that set it apart from {nearest} have too few samples: cannot be told from it")
        };
    }
    if !g.is_sound() {
        return format!("cleared: {} of its {} edges with enough samples are fine", g.witnesses.len() - g.bad, g.witnesses.len());
    }
    format!("cleared: {explains}, the one taken {:.0} %", 100.0 * best.explained)
}

/// Units that pass a component for certain or may.
pub fn hit_units(view: &View<'_>, case: &Case, component: Component) -> Vec<(usize, Cross)> {
    let bad = |u: usize| case.localised.bad_units.binary_search(&u).is_ok();
    let of = |u: usize| {
        let (from, to) = (&view.ends[case.units[u].0], &view.ends[case.units[u].1]);
        if passes(component, case.sense, from, to) {
            Some((u, Cross::Must))
        } else if bad(u) && component.half(from, 0) && component.half(to, 0) {
            Some((u, Cross::May))
        } else {
            None
        }
    };
    (0..case.units.len()).filter_map(of).collect()
}
