//! One kind of network symptom, examined: when, who, how sure.

use crate::component::{Sense, crossings};
use crate::localise::{Guess, Localised, localise};
use crate::onset::{Span, find_span, refine};
use crate::symptoms::{Evidence, Family, Part, Rates, RoundTrips, Shifts};
use crate::view::View;
use edgescope_model::time::Time;
use edgescope_model::verdict::Class;
use std::ops::Range;

/// Log-likelihood ratio from which a culprit is named: below it quiet runs of the simulator reach now and then (docs/detection.md).
pub const SCORE_MIN: f64 = 12.0;
/// Suspicion from which "nothing is wrong" is no longer said.
const SUSPICION_MIN: f64 = 6.0;
/// Units that must be bad for a suspicion: one alone has bad seconds of its own.
const SUSPECTS_MIN: usize = 2;
/// Share of all suspicion that a culprit must explain.
const EXPLAINED_MIN: f64 = 0.5;

/// What a symptom's units show.
pub enum Shown {
    Rates(Rates),
    Shifts(Shifts),
}

impl Shown {
    pub fn evidence(&self) -> &dyn Evidence {
        match self {
            Self::Rates(r) => r,
            Self::Shifts(s) => s,
        }
    }
}

/// A symptom with its span, its units and the components weighed.
pub struct Case {
    pub class: Class,
    pub sense: Sense,
    pub span: Span,
    /// Whether it goes on to the end of the range.
    pub is_open: bool,
    pub units: Vec<(usize, usize)>,
    /// The unit's talk or flow index, by unit.
    pub index: Vec<usize>,
    pub shown: Shown,
    pub localised: Localised,
    /// Seconds from the span's first step to the onset within it.
    pub offset_s: f64,
    /// Whether it is known which way of a pair suffers.
    pub is_directed: bool,
}

impl Case {
    /// Rates against the past; trouble must reach step `first`.
    pub fn rates(view: &View<'_>, class: Class, family: &Family, first: usize) -> Option<Self> {
        let (span, part) = settled_span(view, family, first, 0)?;
        let shown = Shown::Rates(Rates::new(family, span.steps.clone()));
        let index = (0..family.units.len()).collect();
        Some(Self::finish(view, class, family, index, (span, part), shown))
    }

    /// Shifts of round trips.
    pub fn latency(view: &View<'_>, first: usize) -> Option<Self> {
        let trips = RoundTrips::new(view);
        let family = trips.family(view);
        // Without a past there is no shift.
        let (span, part) = settled_span(view, &family, first, 1)?;
        let shown = Shown::Shifts(trips.shifts(&span.steps));
        Some(Self::finish(view, Class::Latency, &family, trips.talks, (span, part), shown))
    }

    /// `part` is the kind of event that told the span.
    fn finish(view: &View<'_>, class: Class, family: &Family, index: Vec<usize>, (span, part): (Span, usize), shown: Shown) -> Self {
        let crossings = crossings(view, &family.units, family.sense);
        let localised = localise(&crossings, shown.evidence(), family.units.len());
        let is_open = span.steps.end >= view.steps;
        // A round trip does not say on which way it was long.
        let (is_directed, sense, units) = (class != Class::Latency, family.sense, family.units.clone());
        let mut case = Self { class, sense, span, is_open, units, index, shown, localised, offset_s: 0.0, is_directed };
        if let Some(guess) = case.localised.guesses.first() {
            let part = &family.parts[part];
            let guilty: Vec<_> = guess.units.iter().map(|&u| &part.counts[u]).collect();
            case.offset_s = view.step_s * refine(&guilty, part.rule.normal, &case.span.steps);
        }
        case
    }

    /// The culprit, if it is sound, likely enough and explains most.
    pub fn culprit(&self) -> Option<&Guess> {
        self.localised.guesses.first().filter(|g| g.is_sound() && g.score >= SCORE_MIN && g.explained >= EXPLAINED_MIN && self.lasts(g))
    }

    /// A burst that filled one step and is over is no state to report; one that began in the newest step needs more to be believed.
    fn lasts(&self, guess: &Guess) -> bool {
        self.span.steps.len() >= 2 || (self.is_open && guess.score >= 2.0 * SCORE_MIN)
    }

    /// Whether something is there though nobody can be blamed.
    pub fn is_suspicious(&self) -> bool {
        is_suspicious(self.localised.support, self.localised.bad_units.len())
    }

    /// Best score of any component.
    pub fn score(&self) -> f64 {
        self.culprit().map_or(0.0, |g| g.score)
    }

    /// How hard the culprit hits, in the symptom's own measure (a rate, or seconds).
    pub fn strength(&self) -> f64 {
        self.localised.guesses.first().map_or(0.0, |g| g.strength[0])
    }

    pub fn since(&self, view: &View<'_>) -> Time {
        view.time(self.span.steps.start) + chrono::Duration::milliseconds((self.offset_s * 1000.0) as i64)
    }
}

/// Whether what bad units say together is more than quiet runs show.
pub fn is_suspicious(support: f64, bad: usize) -> bool {
    support >= SUSPICION_MIN && bad >= SUSPECTS_MIN
}

/// The most telling span that reaches into the range asked about (from step `first`), with the part that tells it; it may have begun before. What strikes while everything starts and passes
/// with it (clients that are up before their servers) is no fault; nor is what passed before the range.
fn settled_span(view: &View<'_>, family: &Family, first: usize, earliest: usize) -> Option<(Span, usize)> {
    let best = |starts: Range<usize>| {
        let of = |(at, part): (usize, &Part)| Some((find_span(&part.counts, &part.rule, starts.clone(), view.steps)?, at));
        family.parts.iter().enumerate().filter_map(of).max_by(|a, b| a.0.score.total_cmp(&b.0.score))
    };
    let (span, part) = best(earliest..view.steps)?;
    let begun = view.begun();
    let passed = span.steps.end < view.steps && (span.steps.start < begun || span.steps.end <= first);
    if passed { best(first.max(begun)..view.steps) } else { Some((span, part)) }
}
