//! Tries until a receiver takes a request, says that it never will, or the request is too old.

use super::counters::ExportCounters;
use crate::seldom::Seldom;
use chrono::{DateTime, Utc};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// What a receiver made of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// All but some points, with its reason.
    Taken { rejected: u64, why: String },
    /// Not now.
    Again { after: Option<Duration>, why: String },
    /// Never.
    Refused { why: String },
}

/// What became of a request in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Taken, or given up and counted.
    Over,
    /// The server stops; the request is still to be sent.
    Stopped,
}

/// How long to wait between attempts.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub first: Duration,
    pub max: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { first: Duration::from_secs(1), max: Duration::from_secs(30) }
    }
}

/// A receiver's own hint is followed up to here.
const HINT_MAX: Duration = Duration::from_secs(300);

impl Pace {
    /// Doubles up to the maximum; half of it is chance, so that many servers do not come at once. A hint is a minimum.
    pub(super) fn wait(&self, attempt: u32, hint: Option<Duration>, chance: f64) -> Duration {
        let full = self.first.saturating_mul(2u32.saturating_pow(attempt.min(16))).min(self.max);
        let own = full.mul_f64(0.5 + chance / 2.0);
        hint.map_or(own, |hint| hint.min(HINT_MAX).max(own))
    }
}

/// Sends for one sink.
pub struct Courier {
    pub sink: &'static str,
    pub counters: Arc<ExportCounters>,
    pub pace: Pace,
    pub stop: watch::Receiver<bool>,
    pub told: Seldom,
}

impl Courier {
    /// Sends a request of so many points and bytes until `deadline`. Once the server stops, one more failure ends it.
    pub async fn deliver<F: Future<Output = Answer>>(
        &mut self,
        deadline: DateTime<Utc>,
        points: u64,
        bytes: u64,
        mut attempt: impl FnMut() -> F,
    ) -> Delivery {
        for number in 0.. {
            let (after, why) = match attempt().await {
                Answer::Taken { rejected, why } => {
                    self.counters.request(self.sink, "taken", bytes);
                    self.counters.points(self.sink, points.saturating_sub(rejected));
                    self.counters.dropped(self.sink, "rejected", rejected);
                    if rejected > 0 || !why.is_empty() {
                        self.tell(&format!("the receiver took a request in part, {rejected} of {points} points were rejected: {why}"));
                    }
                    return Delivery::Over;
                }
                Answer::Refused { why } => {
                    self.counters.request(self.sink, "refused", bytes);
                    self.counters.dropped(self.sink, "refused", points);
                    self.tell(&format!("the receiver refused {points} points for good: {why}"));
                    return Delivery::Over;
                }
                Answer::Again { after, why } => (after, why),
            };
            self.counters.request(self.sink, "failed", bytes);
            if Utc::now() >= deadline {
                self.counters.dropped(self.sink, "too_old", points);
                self.tell(&format!("{points} points were given up after export.backlog_max_s: {why}"));
                return Delivery::Over;
            }
            self.tell(&format!("the receiver did not take a request, it is tried again: {why}"));
            let wait = self.pace.wait(number, after, rand::random());
            if tokio::time::timeout(wait, self.stop.wait_for(|&stop| stop)).await.is_ok() {
                return Delivery::Stopped;
            }
        }
        Delivery::Over
    }

    fn tell(&self, said: &str) {
        if self.told.may_speak(Instant::now()) {
            tracing::warn!(sink = self.sink, "{said}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_with_chance_and_follow_a_hint() {
        let pace = Pace::default();
        let seconds = |attempt, hint: Option<u64>, chance| pace.wait(attempt, hint.map(Duration::from_secs), chance).as_secs_f64();
        assert_eq!([0, 1, 2, 10, u32::MAX].map(|n| seconds(n, None, 1.0)), [1.0, 2.0, 4.0, 30.0, 30.0]);
        assert_eq!(seconds(1, None, 0.0), 1.0);
        assert_eq!([Some(7), Some(100_000)].map(|hint| seconds(0, hint, 0.5)), [7.0, 300.0]);
        assert_eq!(seconds(9, Some(1), 1.0), 30.0, "a hint shortens nothing");
    }
}
