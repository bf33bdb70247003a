//! The background work: roll up, compact, expire, keep under the size limit, checkpoint, clean the log, vacuum.
//!
//! Every part is one or more commits that hold or do not; a crash between any two leaves tables that are right. Several processes may do it at once:
//! who comes second finds nothing to do or loses a conflict and tries again at the next run.

mod compact;
mod expire;
mod housekeeping;
mod rewrite;
mod rollup;

use crate::counters::{add, set};
use crate::error::{Result, StoreError};
use crate::spec;
use crate::store::Store;
use chrono::{DateTime, Utc};
pub(crate) use expire::before;
use rewrite::Rewrite;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Time between two searches for files that nothing names: each lists the directories.
const VACUUM_EVERY: chrono::Duration = chrono::Duration::seconds(300);

impl Store {
    /// Does the background work once, now. The store does it by itself every `maintenance_interval_s`.
    pub async fn maintain(&self) -> Result<()> {
        self.maintain_at(self.now()).await
    }

    pub(crate) async fn maintain_at(&self, now: DateTime<Utc>) -> Result<()> {
        let mut turn = self.maintenance_turn.lock().await;
        let done = self.maintain_in_turn(&mut turn, now).await;
        add(if done.is_ok() { &self.counting.maintenance_runs } else { &self.counting.maintenance_failures }, 1);
        done
    }

    /// Does each part, whether or not those before it could: on a full disk nothing can be rolled up, but what is deleted makes room.
    async fn maintain_in_turn(&self, turn: &mut Turn, now: DateTime<Utc>) -> Result<()> {
        let mut failures = Failures::default();
        failures.note(self.roll_up().await);
        failures.note(self.expire(now).await);
        failures.note(self.evict(now).await);
        for (table, rewrite) in self.rewrites() {
            failures.note(self.compact(table, &rewrite, now).await);
        }
        for table in self.tables() {
            failures.note(self.keep_house(table, now).await);
        }
        if failures.full || turn.vacuumed.is_none_or(|at| now - at >= VACUUM_EVERY || now < at) {
            for table in self.tables() {
                failures.note(self.vacuum(table, now).await);
            }
            turn.vacuumed = Some(now);
        }
        failures.note(self.measure().await);
        failures.first.map_or(Ok(()), Err)
    }

    /// Sets the gauges of the store's size, and says when the disk holds more than it may.
    async fn measure(&self) -> Result<()> {
        let sizes = self.sizes().await?;
        let disk_bytes = sizes.iter().map(|size| size.disk_bytes).sum();
        set(&self.counting.bytes, sizes.iter().map(|size| size.bytes).sum());
        set(&self.counting.files, sizes.iter().map(|size| size.files as u64).sum());
        set(&self.counting.disk_bytes, disk_bytes);
        let max_bytes = self.config.max_bytes;
        // What was replaced within the last quarter of an hour is some percent.
        if max_bytes > 0 && disk_bytes / 5 > max_bytes / 4 {
            tracing::warn!(
                disk_bytes,
                max_bytes,
                "the store's directory holds a quarter more than max_bytes: files that nothing names wait to be deleted"
            );
        }
        Ok(())
    }

    /// How each table's rows are rewritten when its files are compacted.
    fn rewrites(&self) -> Vec<(&Arc<crate::table::Table>, Rewrite)> {
        vec![
            (&self.facts_10s, Rewrite::AddUp),
            (&self.facts_1m, Rewrite::AddUp),
            (&self.dims.table, Rewrite::Latest(&["edge"])),
            (&self.endpoints, Rewrite::Latest(&spec::ENDPOINT_KEY)),
            (&self.receipts.table, Rewrite::Latest(&["agent", "sequence"])),
            (&self.agents.table, Rewrite::Latest(&["id"])),
            (&self.alerts.table, Rewrite::Latest(&["id"])),
            (&self.incidents.table, Rewrite::Latest(&["id"])),
        ]
    }
}

/// What the background work remembers from run to run.
#[derive(Default)]
pub(crate) struct Turn {
    /// When unnamed files were last looked for.
    vacuumed: Option<DateTime<Utc>>,
}

/// What went wrong in one run: the first is its answer, the others are logged.
#[derive(Default)]
struct Failures {
    first: Option<StoreError>,
    /// Whether for lack of space.
    full: bool,
}

impl Failures {
    fn note(&mut self, done: Result<()>) {
        let Err(error) = done else { return };
        self.full |= error.is_full();
        if self.first.is_some() {
            tracing::warn!(%error, "another part of the background work failed too");
        } else {
            self.first = Some(error);
        }
    }
}

/// Works until the store is gone.
pub(crate) async fn run(store: Weak<Store>, interval: Duration) {
    let mut ticks = tokio::time::interval(interval);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    // The first tick is at once: the store has just been opened.
    loop {
        ticks.tick().await;
        let Some(store) = store.upgrade() else { return };
        if let Err(error) = store.maintain().await {
            tracing::warn!(%error, "background work failed, the next run tries again");
        }
    }
}
