//! The roll-up itself; see [`crate::rollup`] for its bookkeeping.

use crate::counters::add;
use crate::error::{Result, StoreError};
use crate::files::Effort;
use crate::merge::Merge;
use crate::rollup::{ROLLUP, added, consumed};
use crate::store::Store;
use crate::table::{ATTEMPTS_MAX, Attempt, Change};
use edgescope_model::time::Resolution;

/// Most log versions that one roll-up takes: bounds its memory, 128 commits of a few MiB.
const VERSIONS_MAX: u64 = 128;
/// Versions without new rows that are passed over until it is worth a commit to say so.
const IDLE_VERSIONS: u64 = 32;

impl Store {
    /// Rolls up until nothing is left.
    pub(crate) async fn roll_up(&self) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            let source = self.facts_10s.refresh().await?;
            let (target, done) = consumed(&self.facts_1m).await?;
            let first = done.map_or(0, |version| version + 1);
            if first > source.version {
                return Ok(());
            }
            let last = source.version.min(first + VERSIONS_MAX - 1);
            let new = added(&self.facts_10s, first, last).await?;
            if new.files.is_empty() && new.gaps == 0 && last - first < IDLE_VERSIONS {
                return Ok(());
            }
            // After the source: whatever edge its files name is known now.
            self.dims.refresh().await?;
            let (merge, lost) = self.minutes(&new.files).await?;
            let rows = merge.len() as u64;
            let batch = merge.into_batch(&self.facts_1m.spec.schema).map_err(|e| StoreError::file(self.facts_1m.name(), "(new)", e))?;
            let file = self.facts_1m.write(vec![batch], Effort::Fresh, true).await?;
            let change =
                Change { adds: file.clone().into_iter().collect(), removes: Vec::new(), transactions: vec![(ROLLUP.to_owned(), last as i64)] };
            match self.facts_1m.attempt(&target, &change).await? {
                Attempt::Committed(_) => {
                    add(&self.counting.rolled_rows, rows);
                    add(&self.counting.rollup_gaps, new.gaps + lost);
                    if new.gaps + lost > 0 {
                        tracing::warn!(versions = new.gaps, files = lost, "rows went before they were rolled up: minutes miss them");
                    }
                }
                Attempt::Conflict => {
                    if let Some(file) = file {
                        self.facts_1m.discard(&file.path).await;
                    }
                }
            }
        }
        Ok(())
    }

    /// Rows of the files by minute and rolled-up edge, and how many files cannot be read (any more).
    async fn minutes(&self, files: &[String]) -> Result<(Merge, u64)> {
        let minute_s = Resolution::Minute.seconds();
        let (mut merge, mut lost) = (Merge::all(), 0);
        for path in files {
            let batches = match self.facts_10s.read(path).await {
                Ok(batches) => batches,
                // Gone, or no longer what was written: it must not stop all that come after it.
                Err(error @ (StoreError::Io { source: object_store::Error::NotFound { .. }, .. } | StoreError::File { .. })) => {
                    tracing::warn!(%error, "a file of ten-second rows cannot be rolled up");
                    lost += 1;
                    continue;
                }
                Err(e) => return Err(e),
            };
            let dims = self.dims.read();
            for batch in batches {
                let place = |window_s: i64, edge| Some((window_s.div_euclid(minute_s) * minute_s, dims.edge(edge).map_or(edge, |edge| edge.rolled)));
                merge.add_batch(&batch, place).map_err(|e| StoreError::file(self.facts_10s.name(), path, e))?;
            }
        }
        Ok((merge, lost))
    }
}
