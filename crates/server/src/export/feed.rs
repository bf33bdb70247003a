//! Slots one after the other: which comes next, when it is complete, and what it holds.
//!
//! The tables are the queue. A receiver that takes nothing holds back its own next slot and nothing else; what waits is on the disk anyway, and costs no memory.

use super::counters::ExportCounters;
use super::courier::Pace;
use super::mark::Marks;
use crate::intake::Intake;
use crate::intake::own::without_own;
use crate::seldom::Seldom;
use crate::tables::Tables;
use chrono::{DateTime, Duration as Span, Utc};
use edgescope_export::reading::{Plan, Slot};
use edgescope_model::query::{EdgeQuery, EdgeSource, EdgeTable};
use edgescope_model::time::window_start;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// A slot is never closed earlier than this after its end: the time of agents to ship.
const SETTLE_S: i64 = 5;
/// How often it is looked whether a slot is complete, if no batch comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What all feeds share.
#[derive(Clone)]
pub struct Source {
    pub tables: Arc<dyn Tables>,
    pub intake: Arc<Intake>,
    pub counters: Arc<ExportCounters>,
    pub marks: Arc<Marks>,
    pub wait_s: i64,
    pub backlog_max_s: i64,
    pub started: DateTime<Utc>,
    pub pace: Pace,
    pub settle: Span,
}

impl Source {
    /// A slot rests for a moment even where nobody is known to be late.
    pub fn new(
        tables: Arc<dyn Tables>,
        intake: Arc<Intake>,
        counters: Arc<ExportCounters>,
        marks: Arc<Marks>,
        wait_s: u32,
        backlog_max_s: u32,
    ) -> Self {
        let (wait_s, backlog_max_s) = (i64::from(wait_s), i64::from(backlog_max_s));
        let settle = Span::seconds(SETTLE_S.min(wait_s));
        Self { tables, intake, counters, marks, wait_s, backlog_max_s, started: Utc::now(), pace: Pace::default(), settle }
    }
}

/// The slots of one sink.
pub struct Feed {
    source: Source,
    pub sink: &'static str,
    seconds: i64,
    /// Start of the next slot.
    next: DateTime<Utc>,
    /// Whether the mark is kept over a restart.
    marked: bool,
    /// Whether a former run sent the slot before.
    resumed: bool,
    stop: watch::Receiver<bool>,
    told: Seldom,
}

impl Feed {
    /// Goes on after the last slot that the sink took; without one, or with `marked` off, from now. Slots older than the backlog are skipped and counted.
    pub fn new(source: Source, sink: &'static str, seconds: u32, marked: bool, stop: watch::Receiver<bool>) -> Self {
        let seconds = i64::from(seconds);
        let now = window_start(source.started, seconds);
        let mark = source.marks.of(sink).filter(|_| marked);
        // A mark of a clock that was far ahead once would hold everything back.
        let mark = mark.filter(|mark| *mark < source.started + Span::seconds(source.backlog_max_s));
        let resumed = mark.is_some();
        let mark = mark.map_or(now, |mark| window_start(mark, seconds));
        let oldest = window_start(source.started - Span::seconds(source.backlog_max_s), seconds);
        let skipped = (oldest - mark).num_seconds().max(0) / seconds;
        if skipped > 0 {
            source.counters.dropped_slots(sink, "before_start", skipped.unsigned_abs());
            tracing::warn!(sink, slots = skipped, "what was not exported before export.backlog_max_s is skipped");
        }
        Self { source, sink, seconds, next: mark.max(oldest), marked, resumed, stop, told: Seldom::default() }
    }

    /// Start and end of the next slot.
    pub fn slot(&self) -> (DateTime<Utc>, DateTime<Utc>) {
        (self.next, self.next + Span::seconds(self.seconds))
    }

    /// The slot before the next, if a former run sent it: what had a point in it may have gone quiet since.
    pub async fn before(&mut self, plan: &Plan, series_max: usize) -> Option<Slot> {
        if !self.resumed {
            return None;
        }
        let query = plan.query(self.next - Span::seconds(self.seconds), self.next, Some(without_own(None)));
        let table = self.ask(&query).await?;
        plan.slot(&query, table, series_max).ok()
    }

    /// When a slot is given up.
    pub fn deadline(&self) -> DateTime<Utc> {
        self.slot().1 + Span::seconds(self.source.backlog_max_s)
    }

    /// Waits until the next slot is complete, or waited for long enough; false: the server stops.
    pub async fn ready(&mut self) -> bool {
        let mut arrivals = self.source.intake.arrivals();
        loop {
            let (_, to) = self.slot();
            let now = Utc::now();
            if *self.stop.borrow() {
                return false;
            }
            self.source.counters.lag(self.sink, (now - to).num_seconds().max(0));
            if now >= to + self.source.settle {
                let behind = self.source.intake.agents.behind(to, now);
                let waited = now >= to.max(self.source.started) + Span::seconds(self.source.wait_s);
                if behind == 0 || waited {
                    self.source.counters.late(self.sink, behind as u64);
                    return true;
                }
            }
            tokio::select! {
                _ = self.stop.wait_for(|&stop| stop) => return false,
                _ = tokio::time::sleep(LOOK_EVERY) => {}
                _ = arrivals.changed() => {}
            }
        }
    }

    /// Reads the slot. `None`: it was given up, and counted, or the server stops.
    pub async fn read(&mut self, plan: &Plan, series_max: usize) -> Option<Slot> {
        let (from, to) = self.slot();
        let query = plan.query(from, to, Some(without_own(None)));
        let table = self.ask(&query).await?;
        match plan.slot(&query, table, series_max) {
            Ok(slot) => {
                self.source.counters.folded(self.sink, slot.folded);
                self.source.counters.dropped(self.sink, "edges_of_an_answer", slot.beyond as u64);
                Some(slot)
            }
            Err(error) => {
                self.source.counters.dropped_slots(self.sink, "not_kept", 1);
                tracing::warn!(sink = self.sink, %error, "a slot is not exported");
                None
            }
        }
    }

    /// Asks until there is an answer, or the slot is too old. The answer is of the range that it names.
    pub async fn ask(&mut self, query: &EdgeQuery) -> Option<EdgeTable> {
        let deadline = self.deadline();
        for attempt in 0.. {
            let error = match EdgeSource::edges(&*self.source.tables, query).await {
                Ok(table) => return Some(table),
                Err(error) => error,
            };
            if self.told.may_speak(Instant::now()) {
                tracing::warn!(sink = self.sink, %error, "a slot cannot be read");
            }
            if Utc::now() >= deadline {
                self.source.counters.dropped_slots(self.sink, "not_read", 1);
                return None;
            }
            let wait = self.source.pace.wait(attempt, None, rand::random());
            if tokio::time::timeout(wait, self.stop.wait_for(|&stop| stop)).await.is_ok() {
                return None;
            }
        }
        None
    }

    /// The slot is over: the sink has it, or it was given up.
    pub async fn done(&mut self) {
        let (_, to) = self.slot();
        self.next = to;
        if !self.marked {
            return;
        }
        let (marks, sink) = (Arc::clone(&self.source.marks), self.sink);
        match tokio::task::spawn_blocking(move || marks.set(sink, to)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => self.tell_unmarked(&error.to_string()),
            Err(error) => self.tell_unmarked(&error.to_string()),
        }
    }

    fn tell_unmarked(&self, error: &str) {
        if self.told.may_speak(Instant::now()) {
            tracing::warn!(sink = self.sink, error, "export.state_file cannot be written: after a restart slots are sent again");
        }
    }

    /// The age at which a slot is no longer the newest.
    pub fn fresh_for(&self) -> Span {
        Span::seconds(self.seconds + self.source.wait_s)
    }

    /// Whether the server stops.
    pub fn stopping(&self) -> bool {
        *self.stop.borrow()
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    pub fn stop(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }
}
