//! Who did it: the component under which all units together are most likely, hit ones and healthy ones alike.
//!
//! For each component the log-likelihood of every unit that passes it, as hit against as always, is added up (in the manner of Flock):
//! healthy units that pass it speak against it, so that a zone is not blamed for one of its nodes. Of two components of which one lies within
//! the other, what sets them apart decides; and one is taken only if four fifths of its units with enough samples are bad, each counted once
//! (BlameIt).

use crate::component::{Component, Cross, Crossings};
use crate::symptoms::Evidence;

/// Share of a component's units with enough samples that must be bad (BlameIt's tau).
const BAD_SHARE_MIN: f64 = 0.8;
/// Fewest bad units, where it has as many: one bad edge among many quiet ones may have troubles of its own.
const BAD_MIN: usize = 2;
/// Log-likelihood that the units which set two components apart must speak for the larger: a factor of about 7.
const TIE: f64 = 2.0;

/// One component weighed.
#[derive(Debug, Clone)]
pub struct Guess {
    pub component: Component,
    /// Log-likelihood ratio against "nothing is wrong", less the price of choosing among its like.
    pub score: f64,
    pub strength: Vec<f64>,
    /// Units that must suffer under it.
    pub units: Vec<usize>,
    /// Those of them with enough samples to say something.
    pub witnesses: Vec<usize>,
    /// How many of these are bad.
    pub bad: usize,
    /// Share of all suspicion that it explains, 0..=1.
    pub explained: f64,
}

impl Guess {
    /// Whether enough of it is bad to blame all of it.
    pub fn is_sound(&self) -> bool {
        self.bad >= BAD_MIN.min(self.units.len()) && self.bad as f64 >= BAD_SHARE_MIN * self.witnesses.len() as f64
    }
}

/// Sound guesses first, best first; `support` is the sum over units of what each says by itself.
pub struct Localised {
    pub guesses: Vec<Guess>,
    pub support: f64,
    /// Units that are bad by themselves.
    pub bad_units: Vec<usize>,
    /// Sound components that lie within the best one or around it, where the units that set them apart say nothing.
    pub twins: Vec<Component>,
}

/// Weighs all components.
pub fn localise(crossings: &Crossings, evidence: &dyn Evidence, units: usize) -> Localised {
    let supports: Vec<f64> = (0..units).map(|u| evidence.support(u)).collect();
    let support: f64 = supports.iter().sum();
    let mut siblings = [0usize; 8];
    for component in crossings.keys() {
        siblings[component.rank()] += 1;
    }
    let worth = |(_, passing): &(&Component, &Vec<(usize, Cross)>)| passing.iter().any(|&(u, _)| supports[u] > 0.0);
    let weigh = |(&component, passing): (&Component, &Vec<(usize, Cross)>)| {
        let price = (siblings[component.rank()] as f64).ln();
        guess(component, passing, evidence, &supports, support, price)
    };
    let mut guesses: Vec<Guess> = crossings.iter().filter(worth).map(weigh).collect();
    guesses.sort_by(|a, b| b.is_sound().cmp(&a.is_sound()).then(b.score.total_cmp(&a.score)).then(a.component.cmp(&b.component)));
    prefer_told_apart(&mut guesses, evidence);
    let twins = guesses.iter().skip(1).filter(|g| g.is_sound() && is_alike(&guesses[0], g, evidence)).map(|g| g.component).collect();
    let bad_units = (0..units).filter(|&u| supports[u] > 0.0).collect();
    Localised { guesses, support, bad_units, twins }
}

fn guess(component: Component, passing: &[(usize, Cross)], evidence: &dyn Evidence, supports: &[f64], support: f64, price: f64) -> Guess {
    let units: Vec<usize> = passing.iter().filter(|(_, c)| *c == Cross::Must).map(|&(u, _)| u).collect();
    let strength = evidence.strength(&units);
    let score: f64 = units.iter().map(|&u| evidence.score(u, &strength)).sum();
    let witnesses: Vec<usize> = units.iter().copied().filter(|&u| evidence.enough(u, &strength)).collect();
    let bad = witnesses.iter().filter(|&&u| evidence.score(u, &strength) > 0.0).count();
    let explained: f64 = passing.iter().map(|&(u, _)| supports[u]).sum();
    Guess { component, score: score - price, strength, units, witnesses, bad, explained: if support > 0.0 { explained / support } else { 0.0 } }
}

fn lies_within(a: &Guess, b: &Guess) -> bool {
    a.units.iter().all(|u| b.units.binary_search(u).is_ok())
}

/// What the units of `b` that are not `a`'s say about being hit as hard as `a` is.
fn beyond(a: &Guess, b: &Guess, evidence: &dyn Evidence) -> f64 {
    b.units.iter().filter(|u| a.units.binary_search(u).is_err()).map(|&u| evidence.score(u, &a.strength)).sum()
}

/// Whether one lies within the other and nothing tells them apart.
fn is_alike(best: &Guess, other: &Guess, evidence: &dyn Evidence) -> bool {
    let difference = match (lies_within(best, other), lies_within(other, best)) {
        (true, true) => 0.0,
        (true, false) => beyond(best, other, evidence),
        (false, true) => beyond(other, best, evidence),
        (false, false) => return false,
    };
    difference.abs() <= TIE
}

/// Moves to the front, of components that lie within one another, the one that the difference speaks for: the units of the larger that are not the
/// smaller's, as hit as hard as the smaller hits. If they say nothing the smaller is taken: whichever it is, that part is hit.
fn prefer_told_apart(guesses: &mut [Guess], evidence: &dyn Evidence) {
    // Each step ends at a component that the one before gives way to; more steps than components would be a circle.
    for _ in 0..guesses.len() {
        let best = &guesses[0];
        let is_better = |g: &Guess| match (lies_within(best, g), lies_within(g, best)) {
            _ if best.is_sound() && !g.is_sound() => false,
            (true, true) => g.component.rank() < best.component.rank(),
            (true, false) => beyond(best, g, evidence) > TIE,
            (false, true) => beyond(g, best, evidence) <= TIE,
            (false, false) => false,
        };
        let Some(at) = (1..guesses.len()).find(|&i| is_better(&guesses[i])) else { return };
        guesses[..=at].rotate_right(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Sense;
    use crate::onset::Counts;
    use crate::symptoms::{Family, LOSS, Part, Rates};

    const EDGE: Component = Component::Edge(0, 1);
    const WORKLOAD: Component = Component::Workload(1);

    /// Four flows of an edge that lose 5 of 100, and as many others of its server with `k` of `n`.
    fn edge_or_workload(k: f64, n: f64) -> Localised {
        let flow = |u: usize| Counts::new([(0.0, 1_000.0), if u < 4 { (5.0, 100.0) } else { (k, n) }].into_iter());
        let part = Part { rule: LOSS, counts: (0..8).map(flow).collect(), one_sided: false };
        let family = Family { sense: Sense::Flow, units: vec![(0, 0); 8], parts: vec![part] };
        let must = |units: std::ops::Range<usize>| units.map(|u| (u, Cross::Must)).collect();
        let crossings = Crossings::from([(EDGE, must(0..4)), (WORKLOAD, must(0..8))]);
        localise(&crossings, &Rates::new(&family, 1..2), 8)
    }

    #[test]
    fn what_sets_a_workload_apart_from_its_edge_decides() {
        // Of 60 segments 3 would be lost at the edge's 5 %; at the 3 % of all together they would be too few to say anything.
        let healthy = edge_or_workload(0.0, 60.0);
        assert_eq!((healthy.guesses[0].component, healthy.twins.as_slice()), (EDGE, &[][..]));
        let hit = edge_or_workload(3.0, 60.0);
        assert_eq!((hit.guesses[0].component, hit.twins.as_slice()), (WORKLOAD, &[][..]));
    }

    #[test]
    fn where_nothing_sets_them_apart_the_smaller_is_taken_and_the_twin_named() {
        let unseen = edge_or_workload(0.0, 3.0);
        assert_eq!((unseen.guesses[0].component, unseen.twins.as_slice()), (EDGE, &[WORKLOAD][..]));
    }
}
