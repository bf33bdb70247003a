//! A word in the log now and then, where outsiders decide how often there is something to say.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One line in this time: six a minute, however many knock. All are counted in the metrics.
const EVERY: Duration = Duration::from_secs(10);

/// When the last word was said.
#[derive(Debug, Default)]
pub struct Seldom {
    last: Mutex<Option<Instant>>,
}

impl Seldom {
    /// Whether it is time for another word; whoever is told yes says it.
    pub fn may_speak(&self, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let may = last.is_none_or(|last| now.saturating_duration_since(last) >= EVERY);
        if may {
            *last = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_in_ten_seconds() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let said = |seconds| seldom.may_speak(start + Duration::from_secs(seconds));
        assert_eq!([0, 0, 9, 10, 11, 25].map(said), [true, false, false, true, false, true]);
    }
}
