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
use crate::error::Result;
use crate::store::Store;
use chrono::{DateTime, Utc};
use rewrite::Rewrite;
use std::sync::{Arc, Weak};
use std::time::Duration;

impl Store {
    /// Does the background work once, now. The store does it by itself every `maintenance_interval_s`.
    pub async fn maintain(&self) -> Result<()> {
        self.maintain_at(self.now()).await
    }

    pub(crate) async fn maintain_at(&self, now: DateTime<Utc>) -> Result<()> {
        let _turn = self.maintenance_turn.lock().await;
        let done = self.maintain_in_turn(now).await;
        add(if done.is_ok() { &self.counting.maintenance_runs } else { &self.counting.maintenance_failures }, 1);
        done
    }

    async fn maintain_in_turn(&self, now: DateTime<Utc>) -> Result<()> {
        self.roll_up().await?;
        self.expire(now).await?;
        self.evict(now).await?;
        for (table, rewrite) in self.rewrites() {
            self.compact(table, &rewrite, now).await?;
        }
        for table in self.tables() {
            self.keep_house(table, now).await?;
        }
        let mut totals = (0, 0);
        for table in self.tables() {
            let files = table.refresh().await?.files();
            totals = (totals.0 + files.iter().map(|file| file.bytes).sum::<u64>(), totals.1 + files.len() as u64);
        }
        set(&self.counting.bytes, totals.0);
        set(&self.counting.files, totals.1);
        Ok(())
    }

    /// How each table's rows are rewritten when its files are compacted.
    fn rewrites(&self) -> Vec<(&Arc<crate::table::Table>, Rewrite)> {
        vec![
            (&self.facts_10s, Rewrite::AddUp),
            (&self.facts_1m, Rewrite::AddUp),
            (&self.dims.table, Rewrite::Latest(&["edge"])),
            (&self.endpoints, Rewrite::Latest(&["address", "port", "agent", "from_time"])),
            (&self.receipts.table, Rewrite::Latest(&["agent", "sequence"])),
            (&self.agents.table, Rewrite::Latest(&["id"])),
            (&self.alerts.table, Rewrite::Latest(&["id"])),
            (&self.incidents.table, Rewrite::Latest(&["id"])),
        ]
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
