//! Many small files become few larger ones, ordered by time.

use super::rewrite::Rewrite;
use crate::counters::add;
use crate::error::{Result, StoreError};
use crate::files::{DataFile, Effort};
use crate::rollup::pending;
use crate::store::Store;
use crate::table::{Attempt, Change, Table};
use chrono::{DateTime, Utc};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// Files of about one size that are merged at once. Each row is rewritten once a factor of this: from 32 KiB to 16 MiB three times.
const FAN_IN: usize = 8;
/// Size of the smallest class of files.
const CLASS_BYTES: u64 = 32 << 10;
/// Files this large are left alone.
const LARGE_BYTES: u64 = 16 << 20;
/// Most bytes that one compaction reads. At 50 bytes a row they are half a million rows, which take some 500 bytes each in memory: 250 MB.
const READ_BYTES_MAX: u64 = 24 << 20;
/// Seconds after a span's end in which late rows are still waited for.
const SETTLE_S: i64 = 600;

impl Store {
    /// Compacts whatever in the table has become too small-grained.
    pub(crate) async fn compact(&self, table: &Arc<Table>, rewrite: &Rewrite, now: DateTime<Utc>) -> Result<()> {
        let head = table.refresh().await?;
        let keep = self.not_rolled_up(table, head.version).await?;
        let files: Vec<DataFile> = head.files().iter().filter(|file| !keep.contains(&file.path)).cloned().collect();
        for group in groups(&files, table.spec.span_s * 1_000_000, now.timestamp_micros()) {
            self.compact_group(table, *rewrite, &group, now).await?;
        }
        Ok(())
    }

    /// Files of the ten-second table that must stay as they are until the roll-up has consumed them.
    pub(crate) async fn not_rolled_up(&self, table: &Arc<Table>, version: u64) -> Result<HashSet<String>> {
        if !Arc::ptr_eq(table, &self.facts_10s) {
            return Ok(HashSet::new());
        }
        self.facts_1m.refresh().await?;
        pending(&self.facts_10s, &self.facts_1m, version).await
    }

    async fn compact_group(&self, table: &Arc<Table>, rewrite: Rewrite, group: &[DataFile], now: DateTime<Utc>) -> Result<()> {
        let fail = |e| StoreError::file(table.name(), "(compacted)", e);
        let mut rows = rewrite.start();
        for file in group {
            for batch in table.read(&file.path).await? {
                rows.add(batch).map_err(fail)?;
            }
        }
        let spec = table.spec.clone();
        let pieces = tokio::task::spawn_blocking(move || rows.finish(&spec)).await.map_err(|_| StoreError::Closed)?.map_err(fail)?;
        let mut adds = Vec::new();
        for piece in pieces {
            adds.extend(table.write(vec![piece], Effort::Compacted, false).await?);
        }
        let removes = group.iter().map(|file| file.removal(false, now)).collect();
        let change = Change { adds, removes, transactions: Vec::new() };
        // New commits do not touch these files; another who compacts or expires them does.
        loop {
            let head = table.refresh().await?;
            let active: HashSet<String> = head.files().iter().map(|file| file.path.clone()).collect();
            if !group.iter().all(|file| active.contains(&file.path)) {
                for file in &change.adds {
                    table.discard(&file.path).await;
                }
                return Ok(());
            }
            if let Attempt::Committed(_) = table.attempt(&head, &change).await? {
                add(&self.counting.compacted_files, group.len() as u64);
                return Ok(());
            }
        }
    }
}

/// Which files to merge: in a span that is over, all; in one that still grows, those of one size class when there are [`FAN_IN`].
fn groups(files: &[DataFile], span_us: i64, now_us: i64) -> Vec<Vec<DataFile>> {
    let mut spans = BTreeMap::<i64, Vec<&DataFile>>::new();
    for file in files.iter().filter(|file| file.bytes < LARGE_BYTES) {
        if let Some((least, _)) = file.span_us {
            spans.entry(least.div_euclid(span_us)).or_default().push(file);
        }
    }
    let mut groups = Vec::new();
    for (span, files) in spans {
        if (span + 1) * span_us + SETTLE_S * 1_000_000 < now_us {
            groups.extend(bounded(files).into_iter().filter(|group| group.len() > 1));
            continue;
        }
        let mut classes = BTreeMap::<u32, Vec<&DataFile>>::new();
        for file in files {
            classes.entry((file.bytes / CLASS_BYTES).max(1).ilog(FAN_IN as u64)).or_default().push(file);
        }
        for files in classes.into_values().filter(|files| files.len() >= FAN_IN) {
            groups.extend(bounded(files).into_iter().filter(|group| group.len() > 1));
        }
    }
    groups
}

fn bounded(files: Vec<&DataFile>) -> Vec<Vec<DataFile>> {
    let (mut groups, mut bytes) = (Vec::<Vec<DataFile>>::new(), u64::MAX);
    for file in files {
        if bytes.saturating_add(file.bytes) > READ_BYTES_MAX {
            groups.push(Vec::new());
            bytes = 0;
        }
        bytes += file.bytes;
        if let Some(group) = groups.last_mut() {
            group.push(file.clone());
        }
    }
    groups
}
