//! Rows go when their time is over, and the oldest when the store is too large.

use crate::counters::add;
use crate::error::Result;
use crate::files::DataFile;
use crate::store::Store;
use crate::table::{Attempt, Change, Table};
use chrono::{DateTime, Duration, Utc};
use edgescope_model::time::{Resolution, from_micros};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// Rows of `edge_dims` outlive the facts that may name them: they are written once a day.
const DIMS_EXTRA_S: u64 = 2 * 86_400;
/// An agent says who it is when it connects, and may stay connected for very long.
const AGENTS_S: u64 = 400 * 86_400;
/// Longest retention: a thousand years are for ever.
const KEEP_S_MAX: u64 = 1000 * 366 * 86_400;

/// The moment before which rows that are kept so long go.
pub(crate) fn before(now: DateTime<Utc>, keep_s: u64) -> DateTime<Utc> {
    now - Duration::seconds(keep_s.min(KEEP_S_MAX) as i64)
}

impl Store {
    /// Removes files whose rows are all older than the table's retention.
    pub(crate) async fn expire(&self, now: DateTime<Utc>) -> Result<()> {
        let (fine, coarse) = (self.config.retention_10s_s, self.config.retention_1m_s);
        let longest = fine.max(coarse);
        let dims = longest + DIMS_EXTRA_S;
        // Receipts as long as any facts: without them nobody could say how much of the facts is there.
        let keep = [fine, coarse, dims, coarse, longest, coarse.max(AGENTS_S), coarse, coarse];
        for (table, keep_s) in self.tables().into_iter().zip(keep) {
            let before = before(now, keep_s);
            let over = |file: &DataFile| file.span_us.is_some_and(|(_, greatest)| greatest < before.timestamp_micros());
            self.drop_files(table, &self.counting.expired_files, now, over, Which::RolledUp).await?;
        }
        for records in [&self.alerts, &self.incidents] {
            records.forget(before(now, coarse)).await;
        }
        self.agents.forget(before(now, coarse.max(AGENTS_S))).await;
        self.receipts.forget(before(now, longest)).await;
        self.dims.forget(before(now, dims));
        Ok(())
    }

    /// Removes the oldest facts until the store is within `max_bytes`, with their receipts: what is gone was not covered.
    pub(crate) async fn evict(&self, now: DateTime<Utc>) -> Result<()> {
        if self.config.max_bytes == 0 {
            return Ok(());
        }
        let mut held: u64 = 0;
        for table in self.tables() {
            held += table.refresh().await?.files().iter().map(|file| file.bytes).sum::<u64>();
        }
        let over = held.saturating_sub(self.config.max_bytes);
        if over == 0 {
            return Ok(());
        }
        let chosen = self.oldest(over).await?;
        let until =
            |table: &Table| chosen.iter().filter(|file| file.table == table.name()).filter_map(|file| file.span_us).map(|(_, last)| last).max();
        for table in [&self.facts_10s, &self.facts_1m] {
            let paths: HashSet<&str> = chosen.iter().filter(|file| file.table == table.name()).map(|file| file.path.as_str()).collect();
            if paths.is_empty() {
                continue;
            }
            tracing::warn!(
                table = table.name(),
                files = paths.len(),
                not_rolled_up = chosen.iter().filter(|file| file.table == table.name() && file.pending).count(),
                until = ?until(table).map(from_micros),
                max_bytes = self.config.max_bytes,
                "store is over max_bytes: the oldest rows go"
            );
            self.drop_files(table, &self.counting.evicted_files, now, |file| paths.contains(file.path.as_str()), Which::Pending).await?;
        }
        // Ten-second rows whose minutes stand are not gone; those that were never rolled up are.
        let lost = chosen.iter().filter(|file| file.table == self.facts_10s.name() && file.pending).filter_map(|file| file.span_us);
        let lost = lost.map(|(_, last)| last).max();
        let Some(until) = until(&self.facts_1m).max(lost) else { return Ok(()) };
        let until = until + Resolution::Minute.seconds() * 1_000_000;
        let gone = |file: &DataFile| file.span_us.is_some_and(|(_, last)| last < until);
        self.drop_files(&self.receipts.table, &self.counting.evicted_files, now, gone, Which::RolledUp).await
    }

    /// Files of facts of so many bytes, the oldest first; those that are not rolled up yet only when the others are not enough: they are few unless
    /// the roll-up has been failing, and the disk is bounded all the same.
    async fn oldest(&self, bytes: u64) -> Result<Vec<Oldest>> {
        let mut oldest = Vec::new();
        for table in [&self.facts_10s, &self.facts_1m] {
            let head = table.refresh().await?;
            let pending = self.not_rolled_up(table, head.version).await?;
            let of = |file: &DataFile| Oldest {
                pending: pending.contains(&file.path),
                span_us: file.span_us,
                table: table.name(),
                path: file.path.clone(),
                bytes: file.bytes,
            };
            oldest.extend(head.files().iter().map(of));
        }
        oldest.sort_by_key(|file| (file.pending, file.span_us.map(|(_, last)| last)));
        let mut before = 0;
        let enough = oldest.iter().position(|file| {
            let enough = before >= bytes;
            before += file.bytes;
            enough
        });
        oldest.truncate(enough.unwrap_or(oldest.len()));
        Ok(oldest)
    }

    /// Removes the chosen files and their rows.
    async fn drop_files(
        &self,
        table: &Arc<Table>,
        counter: &AtomicU64,
        now: DateTime<Utc>,
        chosen: impl Fn(&DataFile) -> bool,
        which: Which,
    ) -> Result<()> {
        loop {
            let head = table.refresh().await?;
            if !head.files().iter().any(&chosen) {
                return Ok(());
            }
            let keep = match which {
                Which::RolledUp => self.not_rolled_up(table, head.version).await?,
                Which::Pending => HashSet::new(),
            };
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

/// A file that may have to go.
struct Oldest {
    /// Not rolled up yet.
    pending: bool,
    span_us: Option<(i64, i64)>,
    table: &'static str,
    path: String,
    bytes: u64,
}

/// Which of the chosen files really go.
#[derive(Clone, Copy)]
enum Which {
    /// Those that are rolled up.
    RolledUp,
    /// Those too that are not.
    Pending,
}
