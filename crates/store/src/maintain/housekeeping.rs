//! Checkpoints, log clean-up and vacuum: what keeps a table quick to open and its directory small.

use crate::counters::add;
use crate::error::{Result, StoreError};
use crate::rollup::consumed;
use crate::store::Store;
use crate::table::Table;
use chrono::{DateTime, Duration, Utc};
use deltalake::checkpoints::{cleanup_expired_logs_for, create_checkpoint};
use deltalake::operations::vacuum::{Clock, VacuumMode};
use futures::TryStreamExt as _;
use object_store::path::Path;
use std::sync::Arc;

/// Commits between two checkpoints: opening reads one checkpoint and this many entries at most, a few milliseconds each hundred.
const CHECKPOINT_VERSIONS: u64 = 100;
/// Seconds that log entries are kept after a checkpoint holds what they say: other processes look at the log more often.
const LOG_KEEP_S: i64 = 600;
/// Seconds that files are kept after nothing names them, at least: for readers that another process has.
const FILE_KEEP_S: i64 = 600;

/// A clock that stands.
#[derive(Debug)]
struct At(i64);

impl Clock for At {
    fn current_timestamp_millis(&self) -> i64 {
        self.0
    }
}

impl Store {
    /// Writes a checkpoint when it is due, and deletes log entries that one holds.
    pub(crate) async fn keep_house(&self, table: &Arc<Table>, now: DateTime<Utc>) -> Result<()> {
        let head = table.refresh().await?;
        let fail = |e| StoreError::delta(table.name(), e);
        if head.version >= table.checkpointed().await? + CHECKPOINT_VERSIONS {
            create_checkpoint(&table.delta(&head), None).await.map_err(fail)?;
            // The library reads some answers (tombstones, transactions) from the log entries that a view began with: not from those that go now.
            table.reload().await?;
        }
        let mut keep = head.version;
        if Arc::ptr_eq(table, &self.facts_10s) {
            keep = keep.min(consumed(&self.facts_1m).await?.1.unwrap_or(0));
        }
        let before = (now - Duration::seconds(LOG_KEEP_S)).timestamp_millis();
        cleanup_expired_logs_for(keep, table.log.as_ref(), before, None).await.map_err(fail)?;
        Ok(())
    }

    /// Deletes files that nothing names for long enough that no query, whose time is limited, still reads them.
    pub(crate) async fn vacuum(&self, table: &Arc<Table>, now: DateTime<Utc>) -> Result<()> {
        let keep = Duration::seconds(FILE_KEEP_S.max(2 * i64::try_from(self.config.query.timeout_s).unwrap_or(i64::MAX / 4)));
        if self.readers.oldest().is_some_and(|oldest| oldest < now - keep) {
            return Ok(());
        }
        let head = table.refresh().await?;
        // Only the plan: the deletion itself needs no entry in the log.
        let plan = table.delta(&head).vacuum().with_mode(VacuumMode::Full).with_dry_run(true).with_enforce_retention_duration(false);
        let plan = plan.with_retention_period(keep).with_clock(Arc::new(At(now.timestamp_millis()))).await;
        let (_, plan) = plan.map_err(|e| StoreError::delta(table.name(), e))?;
        let count = plan.files_deleted.len() as u64;
        let paths = futures::stream::iter(plan.files_deleted.into_iter().map(|path| Ok(Path::from(path))));
        let deleted = table.log.object_store(None).delete_stream(Box::pin(paths));
        let gone = |e: object_store::Error| if matches!(e, object_store::Error::NotFound { .. }) { Ok(Path::default()) } else { Err(e) };
        let _: Vec<Path> = deleted.or_else(|e| std::future::ready(gone(e))).try_collect().await.map_err(|e| StoreError::io(table.name(), e))?;
        add(&self.counting.vacuumed_files, count);
        Ok(())
    }
}
