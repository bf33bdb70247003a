//! Waiting for conditions, never for time alone.

use std::time::{Duration, Instant};

/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Looks until `look` finds what it looks for; panics after `at_most` with what it saw last.
pub fn until<T>(what: &str, at_most: Duration, mut look: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) if began.elapsed() >= at_most => panic!("{what} did not come about within {at_most:?}; last seen: {seen}"),
            Err(_) => std::thread::sleep(LOOK_EVERY),
        }
    }
}

/// Looks for the whole of `time` and panics as soon as `look` does not hold.
pub fn holds_for(what: &str, time: Duration, mut look: impl FnMut() -> Result<(), String>) {
    let began = Instant::now();
    while began.elapsed() < time {
        if let Err(seen) = look() {
            panic!("{what} held for {:?} only; then: {seen}", began.elapsed());
        }
        std::thread::sleep(LOOK_EVERY);
    }
}
