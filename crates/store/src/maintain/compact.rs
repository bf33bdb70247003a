//! Many small files become few larger ones, ordered by time.

use super::Failures;
use super::rewrite::Rewrite;
use crate::counters::add;
use crate::error::{Result, StoreError};
use crate::files::{DataFile, Effort};
use crate::rollup::{consumed, pending};
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
/// Most bytes and rows that one compaction reads. A row takes some 500 bytes in memory, however few it takes in its file: 250 MB.
const READ_BYTES_MAX: u64 = 24 << 20;
const READ_ROWS_MAX: u64 = 500_000;
/// Seconds after a span's end in which late rows are still waited for.
const SETTLE_S: i64 = 600;

impl Store {
    /// Compacts whatever in the table has become too small-grained.
    pub(crate) async fn compact(&self, table: &Arc<Table>, rewrite: &Rewrite, now: DateTime<Utc>) -> Result<()> {
        let head = table.refresh().await?;
        if !table.unknown_columns(&head).is_empty() {
            // Said when the table was opened. Who knows the columns compacts.
            return Ok(());
        }
        let keep = self.not_rolled_up(table, head.version).await?;
        let files: Vec<DataFile> = head.files().iter().filter(|file| !keep.contains(&file.path)).cloned().collect();
        let mut failures = Failures::default();
        for group in groups(&files, table.spec.span_s * 1_000_000, now.timestamp_micros()) {
            failures.note(self.compact_group(table, *rewrite, &group, now).await);
        }
        failures.first.map_or(Ok(()), Err)
    }

    /// Files of the ten-second table that must stay as they are until the roll-up has consumed them.
    pub(crate) async fn not_rolled_up(&self, table: &Arc<Table>, version: u64) -> Result<HashSet<String>> {
        if !Arc::ptr_eq(table, &self.facts_10s) {
            return Ok(HashSet::new());
        }
        let (_, consumed) = consumed(&self.facts_1m).await?;
        pending(&self.facts_10s, consumed, version).await
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
            // A file that reaches out of its span, late rows among others, is cut even if it is alone: it would neither expire nor tell what is kept.
            let wide = |file: &DataFile| file.span_us.is_some_and(|(_, greatest)| greatest >= (span + 1) * span_us);
            groups.extend(bounded(files).into_iter().filter(|group| group.len() > 1 || group.iter().any(wide)));
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
    let (mut groups, mut bytes, mut rows) = (Vec::<Vec<DataFile>>::new(), 0, 0);
    for file in files {
        if groups.is_empty() || bytes + file.bytes > READ_BYTES_MAX || rows + file.rows > READ_ROWS_MAX {
            groups.push(Vec::new());
            (bytes, rows) = (0, 0);
        }
        bytes += file.bytes;
        rows += file.rows;
        if let Some(group) = groups.last_mut() {
            group.push(file.clone());
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(rows: u64, span_s: (i64, i64)) -> DataFile {
        DataFile { path: format!("{rows}-{span_s:?}"), bytes: 100_000, rows, span_us: Some((span_s.0 * 1_000_000, span_s.1 * 1_000_000)) }
    }

    fn sizes(files: &[DataFile]) -> Vec<usize> {
        groups(files, 3_600_000_000, 86_400_000_000).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_compaction_reads_no_more_rows_than_fit_memory() {
        let files: Vec<DataFile> = (0..8).map(|i| file(200_000, (i, i + 1))).collect();
        assert_eq!(sizes(&files), [2, 2, 2, 2]);
        assert_eq!(sizes(&[file(400_000, (0, 1)), file(400_000, (1, 2))]), [0; 0]);
    }

    #[test]
    fn a_lone_file_is_cut_if_it_reaches_out_of_its_span() {
        assert_eq!(sizes(&[file(10, (0, 3599))]), [0; 0]);
        assert_eq!(sizes(&[file(10, (0, 3600))]), [1]);
    }
}
