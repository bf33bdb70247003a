//! Who held an address in a window, where it is known only between which moments each holder came and went.
//!
//! The API says late and by whole seconds when a pod got its address, and not at all what happened while nobody watched. So a name is given only where no
//! other holder is possible: an address that may have had two in the window, or one that nobody saw, has none.

use crate::directory::Span;

/// Kubernetes tells times in whole seconds.
pub const SECOND_US: i64 = 1_000_000;
/// Spans kept in which nobody watched; older ones become one.
const GAPS_MAX: usize = 64;

/// When somebody held an address, in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Not before.
    pub from_us: i64,
    /// By then for sure. Whoever held the address before had lost it by then.
    pub sure_us: i64,
    /// For sure until then, in spans in which nobody watched; `i64::MAX` while it lasts.
    pub sure_until_us: i64,
    /// Not after; `i64::MAX` while it lasts.
    pub until_us: i64,
}

impl Holding {
    /// Held for sure in all of a span that is over.
    pub const fn closed(from_us: i64, until_us: i64) -> Self {
        Self { from_us, sure_us: from_us, sure_until_us: until_us, until_us }
    }

    pub const fn is_open(&self) -> bool {
        self.until_us == i64::MAX
    }

    /// It ended in a moment up to `until_us`, and was last known to go on at `sure_until_us`. An earlier end stays.
    pub fn end(&mut self, sure_until_us: i64, until_us: i64) {
        self.until_us = self.until_us.min(until_us);
        self.sure_until_us = self.sure_until_us.min(sure_until_us).min(self.until_us);
    }
}

/// When all objects of a kind were known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Knowledge {
    /// Spans `[from, to)` in which objects may have come and gone unseen; oldest first.
    gaps: Vec<(i64, i64)>,
    heard_us: i64,
}

impl Default for Knowledge {
    fn default() -> Self {
        Self::new()
    }
}

impl Knowledge {
    pub const fn new() -> Self {
        Self { gaps: Vec::new(), heard_us: i64::MIN }
    }

    /// All that happened up to then was heard of; `i64::MIN` before the first list.
    pub fn heard_us(&self) -> i64 {
        self.heard_us
    }

    /// The watch goes on: what happened up to `at_us` has arrived.
    pub fn hear(&mut self, at_us: i64) {
        if self.heard_us > i64::MIN {
            self.heard_us = self.heard_us.max(at_us);
        }
    }

    /// A list as of `at_us` came in place of a watch: what came and went since the last word is unknown; what happened up to `known_us` is in it.
    pub fn relist(&mut self, at_us: i64, known_us: i64) {
        if at_us > self.heard_us {
            self.gaps.push((self.heard_us, at_us));
            self.heard_us = self.heard_us.max(known_us);
        }
        if self.gaps.len() > GAPS_MAX {
            let (from_us, _) = self.gaps.remove(0);
            self.gaps[0].0 = from_us;
        }
    }

    /// Nothing happened unseen in `[from, to)`.
    pub fn is_complete(&self, from_us: i64, to_us: i64) -> bool {
        from_us >= to_us || (to_us <= self.heard_us && !self.gaps.iter().any(|gap| gap.0 < to_us && from_us < gap.1))
    }
}

/// Who held it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice<T> {
    /// This one, and nobody else in the window.
    One(T),
    /// One of these, or one after the other.
    Several(Vec<T>),
    Nobody,
    /// Somebody of whom nothing was heard may have.
    Unsure,
}

impl<T> Choice<T> {
    pub fn map<U>(self, mut into: impl FnMut(T) -> U) -> Choice<U> {
        match self {
            Self::One(one) => Choice::One(into(one)),
            Self::Several(all) => Choice::Several(all.into_iter().map(into).collect()),
            Self::Nobody => Choice::Nobody,
            Self::Unsure => Choice::Unsure,
        }
    }
}

/// Who of the holders had it in the window, where one at a time can have it: whoever surely has it has it alone.
pub fn choose_one_at_a_time<T: Copy>(holders: &[(T, Holding)], window: Span, known: &Knowledge) -> Choice<T> {
    let until_us = |holding: &Holding| {
        let later = holders.iter().map(|(_, other)| other.sure_us).filter(|sure_us| *sure_us > holding.sure_us);
        later.min().map_or(holding.until_us, |sure_us| sure_us.min(holding.until_us))
    };
    let alone: Vec<(T, Holding)> = holders.iter().map(|(holder, holding)| (*holder, Holding { until_us: until_us(holding), ..*holding })).collect();
    match possible(&alone, window).as_slice() {
        [(holder, holding)] => {
            let sure_until_us = holding.sure_until_us.min(holding.until_us).min(known.heard_us());
            let before = known.is_complete(window.from_us, holding.sure_us.min(window.to_us));
            let after = known.is_complete(sure_until_us.max(window.from_us), window.to_us);
            if before && after { Choice::One(*holder) } else { Choice::Unsure }
        }
        _ => choose(&alone, window, known),
    }
}

/// Who of the holders had it in the window, where several may have it at once: known only if all of the window is.
pub fn choose<T: Copy>(holders: &[(T, Holding)], window: Span, known: &Knowledge) -> Choice<T> {
    if !known.is_complete(window.from_us, window.to_us) {
        return Choice::Unsure;
    }
    match possible(holders, window).as_slice() {
        [] => Choice::Nobody,
        [(holder, _)] => Choice::One(*holder),
        several => Choice::Several(several.iter().map(|(holder, _)| *holder).collect()),
    }
}

fn possible<T: Copy>(holders: &[(T, Holding)], window: Span) -> Vec<(T, Holding)> {
    holders.iter().filter(|(_, holding)| holding.from_us < window.to_us && holding.until_us > window.from_us).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(from_us: i64, to_us: i64) -> Span {
        Span { from_us, to_us }
    }

    fn watched(from_us: i64, heard_us: i64) -> Knowledge {
        let mut known = Knowledge::default();
        known.relist(from_us, from_us);
        known.hear(heard_us);
        known
    }

    fn open(from_us: i64, sure_us: i64) -> Holding {
        Holding { from_us, sure_us, sure_until_us: i64::MAX, until_us: i64::MAX }
    }

    #[test]
    fn a_window_with_one_possible_holder_is_its_own() {
        let known = watched(0, 1_000);
        let two = [('a', Holding::closed(10, 105)), ('b', open(100, 103))];
        assert_eq!(choose_one_at_a_time(&two, window(20, 30), &known), Choice::One('a'));
        assert_eq!(choose_one_at_a_time(&two, window(80, 90), &known), Choice::One('a'));
        assert_eq!(choose_one_at_a_time(&two, window(90, 101), &known), Choice::Several(vec!['a', 'b']));
        assert_eq!(choose_one_at_a_time(&two, window(103, 110), &known), Choice::One('b'), "whoever surely has it has it alone");
        assert_eq!(choose(&two, window(103, 110), &known), Choice::Several(vec!['a', 'b']), "unless several can have it");
        assert_eq!(choose_one_at_a_time(&two, window(0, 10), &known), Choice::Nobody);
    }

    #[test]
    fn what_nobody_watched_may_have_been_another() {
        let known = watched(50, 1_000);
        let one = [('a', open(10, 20))];
        assert_eq!(choose_one_at_a_time(&one, window(20, 60), &known), Choice::One('a'), "it surely had it all the while");
        assert_eq!(choose_one_at_a_time(&one, window(15, 60), &known), Choice::Unsure, "between 15 and 20 it may have been another");
        assert_eq!(choose_one_at_a_time(&one, window(0, 5), &known), Choice::Unsure);
        assert_eq!(choose_one_at_a_time(&one, window(990, 1_001), &known), Choice::Unsure, "nothing was heard of the end");
        let mut known = known;
        known.relist(1_100, 1_100);
        assert_eq!(choose_one_at_a_time(&one, window(990, 1_001), &known), Choice::One('a'), "it is still there");
        let mut gone = one;
        gone[0].1.end(1_000, 1_100);
        assert_eq!(choose_one_at_a_time(&gone, window(990, 1_000), &known), Choice::One('a'));
        assert_eq!(choose_one_at_a_time(&gone, window(995, 1_005), &known), Choice::Unsure, "it went in a moment that nobody saw");
    }

    #[test]
    fn old_gaps_become_one() {
        let mut known = Knowledge::default();
        (0..1_000).for_each(|at| {
            known.relist(at * 10, at * 10);
            known.hear(at * 10 + 5);
        });
        assert_eq!(known.gaps.len(), GAPS_MAX);
        assert!(!known.is_complete(100, 105), "said to be unknown, to be safe");
        assert!(known.is_complete(9_990, 9_995) && !known.is_complete(9_985, 9_990));
    }
}
