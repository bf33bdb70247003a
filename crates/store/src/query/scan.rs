//! Reads facts of a range through DataFusion and adds them up by step and group.

use super::plan::Range;
use super::sources::Source;
use crate::error::StoreError;
use crate::merge::Merge;
use crate::spec::{EDGE, WINDOW};
use datafusion::common::{HashMap, ScalarValue};
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::execution::memory_pool::GreedyMemoryPool;
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext, col, lit};
use deltalake::delta_datafusion::TableProviderBuilder;
use edgescope_model::fact::column_at;
use edgescope_model::query::QueryError;
use edgescope_model::signal;
use futures::StreamExt as _;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::task::JoinSet;

/// Rows of one batch from the reader.
const BATCH_ROWS: usize = 8192;

/// What to read and how to group it.
#[derive(Clone)]
pub(crate) struct Scan {
    pub range: Range,
    /// Seconds of a step; `None`: one step over all.
    pub step_s: Option<i64>,
    pub columns: Arc<BTreeSet<u16>>,
    /// Group of each edge that counts.
    pub groups: Arc<HashMap<i64, u32>>,
    /// Group of edges without dimensions, if they count.
    pub unknown: Option<u32>,
    pub memory: Arc<Memory>,
}

/// What one query may hold, and holds.
pub(crate) struct Memory {
    held: AtomicUsize,
    max: usize,
}

impl Memory {
    pub(crate) fn new(max: usize) -> Self {
        Self { held: AtomicUsize::new(0), max }
    }

    /// Counts bytes that the query now holds too.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), QueryError> {
        let held = self.held.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if held > self.max { Err(self.exceeded()) } else { Ok(()) }
    }

    fn give(&self, bytes: usize) {
        self.held.fetch_sub(bytes.min(self.held.load(Ordering::Relaxed)), Ordering::Relaxed);
    }

    pub(crate) fn exceeded(&self) -> QueryError {
        QueryError::Memory((self.max >> 20) as u64)
    }
}

impl Scan {
    /// All facts of the sources by `(step, group)`.
    pub(crate) async fn run(&self, sources: &[Source]) -> Result<Merge, QueryError> {
        let mut all = Merge::of(self.columns.iter().copied());
        let mut parts = JoinSet::new();
        for source in sources.iter().filter(|source| !source.paths.is_empty()) {
            for stream in self.open(source).await.map_err(|e| self.error(e))? {
                let this = self.clone();
                parts.spawn(async move { this.drain(stream).await });
            }
        }
        while let Some(part) = parts.join_next().await {
            let part = part.map_err(|e| QueryError::Store(format!("a reader of the query failed: {e}")))??;
            if all.len() == 0 {
                all = part;
                continue;
            }
            // Whatever of the part is new in the whole is held twice until the part is dropped.
            let before = all.bytes();
            all.absorb(&part, |key| key);
            self.memory.take(all.bytes().saturating_sub(before))?;
            self.memory.give(part.bytes());
        }
        Ok(all)
    }

    async fn open(&self, source: &Source) -> Result<Vec<SendableRecordBatchStream>, DataFusionError> {
        let pool = Arc::new(GreedyMemoryPool::new(self.memory.max));
        let runtime = RuntimeEnvBuilder::new().with_memory_pool(pool).build_arc()?;
        let cores = std::thread::available_parallelism().map_or(1, |n| n.get());
        let config = SessionConfig::new().with_target_partitions(cores).with_batch_size(BATCH_ROWS).with_collect_statistics(false);
        let context = SessionContext::new_with_config_rt(config, runtime);
        let table = source.table.delta(&source.head);
        table.update_datafusion_session(&context.state()).map_err(|e| DataFusionError::External(Box::new(e)))?;
        let provider = TableProviderBuilder::default()
            .with_log_store(table.log_store())
            .with_eager_snapshot(source.head.state.snapshot().clone())
            .with_file_paths(source.paths.clone())
            .await?;
        let moment = |seconds: i64| lit(ScalarValue::TimestampMicrosecond(Some(seconds * 1_000_000), Some("UTC".into())));
        let names: Vec<String> = [WINDOW.to_owned(), EDGE.to_owned()].into_iter().chain(self.columns.iter().filter_map(|at| name(*at))).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let window = col(WINDOW);
        let frame = context
            .read_table(provider)?
            .filter(window.clone().gt_eq(moment(self.range.from_s)).and(window.lt(moment(self.range.to_s))))?
            .select_columns(&names)?;
        frame.execute_stream_partitioned().await
    }

    async fn drain(self, mut stream: SendableRecordBatchStream) -> Result<Merge, QueryError> {
        let mut merge = Merge::of(self.columns.iter().copied());
        let mut counted = 0;
        while let Some(batch) = stream.next().await {
            let batch = batch.map_err(|e| self.error(e))?;
            merge.add_batch(&batch, |window_s, edge| self.place(window_s, edge)).map_err(|e| QueryError::Store(e.to_string()))?;
            let held = merge.bytes();
            self.memory.take(held.saturating_sub(counted))?;
            counted = held.max(counted);
        }
        Ok(merge)
    }

    fn place(&self, window_s: i64, edge: i64) -> Option<(i64, i64)> {
        let group = self.groups.get(&edge).copied().or(self.unknown)?;
        let step = self.step_s.map_or(0, |step_s| (window_s - self.range.from_s).div_euclid(step_s));
        // Pruning by file and page is coarse where a filter is not applied to rows.
        (self.range.from_s..self.range.to_s).contains(&window_s).then_some((step, i64::from(group)))
    }

    fn error(&self, error: DataFusionError) -> QueryError {
        match error.find_root() {
            DataFusionError::ResourcesExhausted(_) => self.memory.exceeded(),
            _ => QueryError::Store(error.strip_backtrace()),
        }
    }
}

fn name(column: u16) -> Option<String> {
    column_at(column).map(|(signal, side)| signal::column(&signal, side))
}

impl From<StoreError> for QueryError {
    fn from(error: StoreError) -> Self {
        Self::Store(error.to_string())
    }
}
