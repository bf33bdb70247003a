//! Answers [`EdgeQuery`]: choose files, read them through DataFusion, add up by integers, name and order the groups.

mod filter;
mod groups;
mod measures;
mod plan;
mod scan;
mod sources;

use crate::counters::add;
use crate::merge::Merge;
use crate::store::Store;
use async_trait::async_trait;
use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use edgescope_model::query::{EdgeQuery, EdgeRow, EdgeSource, EdgeTable, LIMIT_MAX, QueryError};
use edgescope_model::time::from_seconds;
use groups::Groups;
use measures::measure;
use plan::{Plan, Range};
use scan::{Memory, Scan};
use sources::Sources;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::future::Future;
use std::sync::Arc;

/// A group with its totals by measure, those that only the filter reads included.
struct Total {
    group: u32,
    values: Vec<Option<f64>>,
}

#[async_trait]
impl EdgeSource for Store {
    async fn edges(&self, query: &EdgeQuery) -> Result<EdgeTable, QueryError> {
        let plan = Plan::of(query)?;
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

    async fn answer(&self, query: &EdgeQuery, plan: &Plan) -> Result<EdgeTable, QueryError> {
        let range = Range::of(query.from, query.to);
        let sources = self.sources(plan, range).await?;
        let earlier = match (query.compare_from, query.compare_to) {
            (Some(from), Some(to)) => Some((Range::of(from, to), self.sources(plan, Range::of(from, to)).await?)),
            _ => None,
        };
        // After the sources: whatever edge they name is known now.
        self.dims.refresh().await?;
        let groups = Groups::of(&self.dims.read(), &plan.dims, &plan.filter.dims)?;
        let resolution_s = sources.resolution.seconds();
        // Both ranges by the coarser windows, so that sums over them compare.
        let window_s = earlier.as_ref().map_or(resolution_s, |(_, earlier)| earlier.resolution.seconds().max(resolution_s));
        let range = range.aligned(window_s, self.now());
        // A step that cuts windows would hold now one more, now one less of them.
        let step_s = plan.step_s.map(|step_s| (step_s + resolution_s - 1).div_euclid(resolution_s) * resolution_s);
        let scan = Scan {
            range,
            step_s,
            columns: Arc::new(plan.columns.clone()),
            groups: Arc::new(groups.of_edge),
            unknown: groups.unknown,
            memory: Arc::new(Memory::new(self.config.query.memory_bytes())),
        };
        let facts = scan.run(&sources.parts).await?;
        add(&self.counting.unreadable_histograms, facts.unreadable);
        let compare = match &earlier {
            Some((range, sources)) => Some(self.compare(plan, range.aligned(window_s, self.now()), sources, &scan).await?),
            None => None,
        };
        let mut all = totals(plan, &facts, step_s, range);
        if let Some(compare) = &compare {
            compare.add_vanished(&mut all);
        }
        let mut totals = passing(all, plan)?;
        order(&mut totals, query, &groups.keys);
        let groups_total = totals.len();
        totals.truncate(query.limit.unwrap_or(LIMIT_MAX));
        if let Some(step_s) = step_s {
            let cells = totals.len() * query.measures.len() * (range.seconds() / step_s + 1) as usize;
            scan.memory.take(cells * size_of::<Option<f64>>())?;
        }
        let series = step_s.map(|step_s| Series::of(plan, query, &facts, &totals, range, step_s));
        let rows = totals.iter().enumerate().map(|(at, total)| EdgeRow {
            key: groups.keys[total.group as usize].clone(),
            totals: total.values[..query.measures.len()].to_vec(),
            compare: compare.as_ref().map_or_else(Vec::new, |compare| compare.of(total.group, query.measures.len())),
            series: series.as_ref().map_or_else(Vec::new, |series| series.rows[at].clone()),
        });
        Ok(EdgeTable {
            from: from_seconds(range.from_s),
            to: from_seconds(range.to_s),
            step_s: step_s.and_then(|step_s| u32::try_from(step_s).ok()),
            steps: series.as_ref().map_or_else(Vec::new, |series| series.starts.iter().map(|s| from_seconds(*s)).collect()),
            group_by: query.group_by.clone(),
            measures: query.measures.clone(),
            rows: rows.collect(),
            groups_total,
            resolution_s: resolution_s as u32,
        })
    }

    /// Totals of the same groups over another range.
    async fn compare(&self, plan: &Plan, range: Range, sources: &Sources, scan: &Scan) -> Result<Compared, QueryError> {
        let facts = Scan { range, step_s: None, ..scan.clone() }.run(&sources.parts).await?;
        Ok(Compared(totals(plan, &facts, None, range)))
    }
}

struct Compared(Vec<Total>);

impl Compared {
    /// Adds the groups that had facts then and have none now: traffic that vanished is what a comparison is for.
    fn add_vanished(&self, totals: &mut Vec<Total>) {
        let now: HashSet<u32> = totals.iter().map(|total| total.group).collect();
        let vanished = self.0.iter().filter(|then| !now.contains(&then.group));
        totals.extend(vanished.map(|then| Total { group: then.group, values: vec![None; then.values.len()] }));
    }

    fn of(&self, group: u32, measures: usize) -> Vec<Option<f64>> {
        match self.0.binary_search_by_key(&group, |total| total.group) {
            Ok(at) => self.0[at].values[..measures].to_vec(),
            Err(_) => vec![None; measures],
        }
    }
}

/// Totals of each group that has facts, ascending by group.
fn totals(plan: &Plan, facts: &Merge, step_s: Option<i64>, range: Range) -> Vec<Total> {
    let summed;
    let facts = if step_s.is_some() {
        let mut all = Merge::of(plan.columns.iter().copied());
        all.absorb(facts, |(_, group)| (0, group));
        summed = all;
        &summed
    } else {
        facts
    };
    let seconds = range.seconds() as f64;
    let total = |(slot, (_, group)): (usize, &(i64, i64))| Total {
        group: *group as u32,
        values: plan.measures.iter().map(|m| measure(m, facts, slot, seconds)).collect(),
    };
    let mut totals: Vec<Total> = facts.keys().iter().enumerate().map(total).collect();
    totals.sort_unstable_by_key(|total| total.group);
    totals
}

/// Those that pass the filter's conditions on measures.
fn passing(totals: Vec<Total>, plan: &Plan) -> Result<Vec<Total>, QueryError> {
    let condition = &plan.filter.measures;
    if condition.is_open() {
        return Ok(totals);
    }
    let first = plan.measures.len() - condition.reads.len();
    let schema = Arc::new(Schema::new(condition.reads.iter().map(|(name, _)| Field::new(name, DataType::Float64, true)).collect::<Vec<_>>()));
    let column = |at: usize| -> ArrayRef { Arc::new(totals.iter().map(|total| total.values[first + at]).collect::<Float64Array>()) };
    let options = RecordBatchOptions::new().with_row_count(Some(totals.len()));
    let rows = RecordBatch::try_new_with_options(schema, (0..condition.reads.len()).map(column).collect(), &options)
        .map_err(|e| QueryError::Store(e.to_string()))?;
    let passes = condition.passes(&rows)?;
    Ok(totals.into_iter().zip(passes.values().iter()).filter(|(_, passes)| *passes).map(|(total, _)| total).collect())
}

/// Orders as the query sorts; equal ones, and all without a sort, by their keys. What has no value comes last.
fn order(totals: &mut [Total], query: &EdgeQuery, keys: &[Vec<String>]) {
    let key = |total: &Total| &keys[total.group as usize];
    let (descending, name) = match query.sort.as_deref() {
        Some(sort) => (sort.starts_with('-'), sort.strip_prefix('-').unwrap_or(sort)),
        None => (false, ""),
    };
    let measure = query.measures.iter().position(|measure| measure == name);
    let dim = query.group_by.iter().position(|dim| dim == name);
    totals.sort_by(|a, b| {
        let turned = |ordering: Ordering| if descending { ordering.reverse() } else { ordering };
        let sorted = match (measure, dim) {
            (Some(at), _) => match (a.values[at], b.values[at]) {
                (Some(a), Some(b)) => turned(a.total_cmp(&b)),
                (a, b) => b.is_some().cmp(&a.is_some()),
            },
            (None, Some(at)) => turned(compare_texts(&key(a)[at], &key(b)[at])),
            (None, None) => Ordering::Equal,
        };
        sorted.then_with(|| key(a).cmp(key(b)))
    });
}

/// Numbers (ports) as numbers.
fn compare_texts(a: &str, b: &str) -> Ordering {
    match (a.parse::<u64>(), b.parse::<u64>()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => a.cmp(b),
    }
}

/// The series of the groups that are returned: by group, by measure, by step.
struct Series {
    /// Start of each step, in seconds.
    starts: Vec<i64>,
    rows: Vec<Vec<Vec<Option<f64>>>>,
}

impl Series {
    fn of(plan: &Plan, query: &EdgeQuery, facts: &Merge, totals: &[Total], range: Range, step_s: i64) -> Self {
        let starts: Vec<i64> = (range.from_s..range.to_s).step_by(step_s as usize).collect();
        let measures = &plan.measures[..query.measures.len()];
        let mut rows = vec![vec![vec![None; starts.len()]; measures.len()]; totals.len()];
        let mut row_of = vec![None; totals.iter().map(|total| total.group as usize + 1).max().unwrap_or(0)];
        totals.iter().enumerate().for_each(|(at, total)| row_of[total.group as usize] = Some(at));
        for (slot, (step, group)) in facts.keys().iter().enumerate() {
            let Some(Some(row)) = row_of.get(*group as usize) else { continue };
            let seconds = (range.to_s - starts[*step as usize]).min(step_s) as f64;
            for (series, m) in rows[*row].iter_mut().zip(measures) {
                series[*step as usize] = measure(m, facts, slot, seconds);
            }
        }
        Self { starts, rows }
    }
}
