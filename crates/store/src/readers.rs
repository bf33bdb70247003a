//! Who is reading since when: a vacuum deletes no file that somebody who reads now may have found in a table's log.

use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Moments at which the running queries began.
#[derive(Default)]
pub(crate) struct Readers {
    running: Arc<Mutex<BTreeMap<DateTime<Utc>, usize>>>,
}

/// One who reads; it ends when this is dropped.
pub(crate) struct Reading {
    since: DateTime<Utc>,
    running: Arc<Mutex<BTreeMap<DateTime<Utc>, usize>>>,
}

impl Readers {
    pub(crate) fn enter(&self) -> Reading {
        self.enter_at(Utc::now())
    }

    pub(crate) fn enter_at(&self, since: DateTime<Utc>) -> Reading {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner).entry(since).or_default() += 1;
        Reading { since, running: Arc::clone(&self.running) }
    }

    /// Since when the longest-running reader reads.
    pub(crate) fn oldest(&self) -> Option<DateTime<Utc>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).keys().next().copied()
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = running.get_mut(&self.since) {
            *count -= 1;
            if *count == 0 {
                running.remove(&self.since);
            }
        }
    }
}
