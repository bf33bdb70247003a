//! Answers [`EdgeQuery`]: choose files, read them through DataFusion, add up by integers, name and order the groups.

mod answer;
mod filter;
mod groups;
mod measures;
mod plan;
mod scan;
mod sources;

use crate::counters::add;
use crate::store::Store;
use answer::Answer;
use async_trait::async_trait;
use edgescope_model::query::{EdgeQuery, EdgeSource, EdgeTable, QueryError};
use edgescope_model::time::from_seconds;
use groups::Groups;
use plan::{Plan, Range};
use scan::{Memory, Scan};
use sources::Sources;
use std::future::Future;
use std::sync::Arc;

/// Seconds at the start of a range to compare with that may be gone without a word: a window of minutes.
const COMPARE_CUT_S_MAX: i64 = 60;

#[async_trait]
impl EdgeSource for Store {
    async fn edges(&self, query: &EdgeQuery) -> Result<EdgeTable, QueryError> {
        let plan = Arc::new(Plan::of(query)?);
        self.limited(self.answer(query, &plan)).await
    }
}

impl Store {
    /// Runs a query within the limits of time and number.
    pub(crate) async fn limited<T>(&self, query: impl Future<Output = Result<T, QueryError>>) -> Result<T, QueryError> {
        let limits = &self.config.query;
        let run = async {
            let _slot = self.queries.acquire().await.map_err(|_| QueryError::Store("store is shutting down".to_owned()))?;
            let _reading = self.readers.enter();
            query.await
        };
        let answer = tokio::time::timeout(limits.timeout(), run).await.unwrap_or(Err(QueryError::Timeout(limits.timeout_s)));
        match &answer {
            Err(QueryError::Timeout(_)) => add(&self.counting.query_timeouts, 1),
            Err(QueryError::Memory(_)) => add(&self.counting.query_memory, 1),
            _ => add(&self.counting.queries, 1),
        }
        answer
    }

    async fn answer(&self, query: &EdgeQuery, plan: &Arc<Plan>) -> Result<EdgeTable, QueryError> {
        let (sources, earlier) = self.answering(query, plan).await?;
        // After the sources: whatever edge they name is known now.
        self.dims.refresh().await?;
        let groups = Groups::of(&self.dims.read(), &plan.dims, &plan.filter.dims)?;
        let resolution_s = sources.resolution.seconds();
        // Both ranges by the coarser windows, so that sums over them compare.
        let window_s = earlier.as_ref().map_or(resolution_s, |earlier| earlier.resolution.seconds().max(resolution_s));
        let range = sources.range.aligned(window_s, self.now());
        // A step that cuts windows would hold now one more, now one less of them.
        let step_s = plan.step_s.map(|step_s| (step_s + resolution_s - 1).div_euclid(resolution_s) * resolution_s);
        let memory = Arc::new(Memory::new(self.config.query.memory_bytes()));
        memory.take(groups.keys.iter().flatten().map(|text| size_of::<String>() + text.len()).sum())?;
        let scan = Scan {
            range,
            step_s,
            columns: Arc::new(plan.columns.clone()),
            groups: Arc::new(groups.of_edge),
            unknown: groups.unknown,
            memory: Arc::clone(&memory),
        };
        let facts = scan.run(&sources.parts).await?;
        add(&self.counting.unreadable_histograms, facts.unreadable);
        let compare = match &earlier {
            Some(earlier) => {
                let range = earlier.range.aligned(window_s, self.now());
                Some((range, Scan { range, step_s: None, ..scan }.run(&earlier.parts).await?))
            }
            None => None,
        };
        let answer = Answer { plan: Arc::clone(plan), query: query.clone(), range, step_s, resolution_s, keys: groups.keys, facts, compare, memory };
        // Quotients and quantiles of up to millions of cells: not on a thread that serves connections. When the time is over, nobody asks any more.
        let asking = Arc::new(());
        let asked = Arc::downgrade(&asking);
        let table = tokio::task::spawn_blocking(move || answer.table(&asked)).await;
        drop(asking);
        table.map_err(|e| QueryError::Store(format!("the answer could not be worked out: {e}")))?
    }

    /// What answers the query's range, and the one to compare with.
    async fn answering(&self, query: &EdgeQuery, plan: &Plan) -> Result<(Sources, Option<Sources>), QueryError> {
        let sources = self.sources(plan, Range::of(query.from, query.to)).await?;
        if sources.range.seconds() <= 0 {
            return Err(QueryError::Gone { field: "to", to: query.to, kept_from: from_seconds(sources.range.from_s) });
        }
        let (Some(from), Some(to)) = (query.compare_from, query.compare_to) else { return Ok((sources, None)) };
        let asked = Range::of(from, to);
        let earlier = self.sources(plan, asked).await?;
        // A day that is compared with the one before reaches back to what is just about to go.
        if earlier.range.from_s - asked.from_s > COMPARE_CUT_S_MAX || earlier.range.seconds() <= 0 {
            return Err(QueryError::CompareGone { from, kept_from: from_seconds(earlier.range.from_s) });
        }
        Ok((sources, Some(earlier)))
    }
}
