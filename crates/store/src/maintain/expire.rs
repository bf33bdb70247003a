//! Rows go when their time is over, and the oldest when the store is too large.

use crate::counters::add;
use crate::error::Result;
use crate::files::DataFile;
use crate::store::Store;
use crate::table::{Attempt, Change, Table};
use chrono::{DateTime, Duration, Utc};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Rows of `edge_dims` outlive the facts that may name them: they are written once a day.
const DIMS_EXTRA_S: u64 = 2 * 86_400;
/// An agent says who it is when it connects, and may stay connected for very long.
const AGENTS_S: u64 = 400 * 86_400;
/// Longest retention: a thousand years are for ever.
const KEEP_S_MAX: u64 = 1000 * 366 * 86_400;

fn before(now: DateTime<Utc>, keep_s: u64) -> DateTime<Utc> {
    now - Duration::seconds(keep_s.min(KEEP_S_MAX) as i64)
}

impl Store {
    /// Removes files whose rows are all older than the table's retention.
    pub(crate) async fn expire(&self, now: DateTime<Utc>) -> Result<()> {
        let (fine, coarse) = (self.config.retention_10s_s, self.config.retention_1m_s);
        let keep = [fine, coarse, fine.max(coarse) + DIMS_EXTRA_S, coarse, fine, coarse.max(AGENTS_S), coarse, coarse];
        for (table, keep_s) in self.tables().into_iter().zip(keep) {
            let before = before(now, keep_s);
            let over = |file: &DataFile| file.span_us.is_some_and(|(_, greatest)| greatest < before.timestamp_micros());
            self.drop_files(table, &self.counting.expired_files, now, over).await?;
        }
        for records in [&self.alerts, &self.incidents] {
            records.forget(before(now, coarse)).await;
        }
        self.agents.forget(before(now, coarse.max(AGENTS_S))).await;
        Ok(())
    }

    /// Removes the oldest facts until the store is within `max_bytes`.
    pub(crate) async fn evict(&self, now: DateTime<Utc>) -> Result<()> {
        if self.config.max_bytes == 0 {
            return Ok(());
        }
        let mut over: u64 = 0;
        for table in self.tables() {
            over += table.refresh().await?.files().iter().map(|file| file.bytes).sum::<u64>();
        }
        let mut over = over.saturating_sub(self.config.max_bytes);
        if over == 0 {
            return Ok(());
        }
        let mut oldest = Vec::new();
        for table in [&self.facts_10s, &self.facts_1m] {
            let head = table.refresh().await?;
            let keep = self.not_rolled_up(table, head.version).await?;
            oldest.extend(head.files().iter().filter(|file| !keep.contains(&file.path)).map(|file| (file.span_us, table.name(), file.clone())));
        }
        oldest.sort_by_key(|(span, ..)| span.map(|(_, greatest)| greatest));
        let mut chosen = HashMap::<&str, HashSet<String>>::new();
        let mut until = None;
        for (span, table, file) in oldest {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(file.bytes);
            until = span.map(|(_, greatest)| edgescope_model::time::from_micros(greatest));
            chosen.entry(table).or_default().insert(file.path);
        }
        for table in [&self.facts_10s, &self.facts_1m] {
            if let Some(paths) = chosen.get(table.name()) {
                tracing::warn!(
                    table = table.name(),
                    files = paths.len(),
                    ?until,
                    max_bytes = self.config.max_bytes,
                    "store is over max_bytes: the oldest rows go"
                );
                self.drop_files(table, &self.counting.evicted_files, now, |file| paths.contains(&file.path)).await?;
            }
        }
        Ok(())
    }

    /// Removes the chosen files and their rows; those that are not rolled up yet stay.
    async fn drop_files(&self, table: &Arc<Table>, counter: &AtomicU64, now: DateTime<Utc>, chosen: impl Fn(&DataFile) -> bool) -> Result<()> {
        loop {
            let head = table.refresh().await?;
            if !head.files().iter().any(&chosen) {
                return Ok(());
            }
            let keep = self.not_rolled_up(table, head.version).await?;
            let removes: Vec<_> =
                head.files().iter().filter(|file| chosen(file) && !keep.contains(&file.path)).map(|file| file.removal(true, now)).collect();
            let count = removes.len() as u64;
            if count == 0 {
                return Ok(());
            }
            if let Attempt::Committed(_) = table.attempt(&head, &Change { removes, ..Change::default() }).await? {
                add(counter, count);
                return Ok(());
            }
        }
    }
}
