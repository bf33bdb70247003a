//! Works the answer out from added-up facts: totals, what passes the filter, their order, series.

use super::measures::{buckets, measure};
use super::plan::{Plan, Range};
use super::scan::Memory;
use crate::merge::Merge;
use datafusion::arrow::array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions};
use datafusion::arrow::datatypes::{DataType, Field, Schema};
use edgescope_model::histogram::Histogram;
use edgescope_model::query::{EdgeQuery, EdgeRow, EdgeTable, LIMIT_MAX, QueryError};
use edgescope_model::time::from_seconds;
use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::{Arc, Weak};

/// Facts of a query, read and added up.
pub(crate) struct Answer {
    pub plan: Arc<Plan>,
    pub query: EdgeQuery,
    pub range: Range,
    pub step_s: Option<i64>,
    pub resolution_s: i64,
    /// Values of the group-by dimensions of each group.
    pub keys: Vec<Vec<String>>,
    pub facts: Merge,
    /// The range to compare with and its facts.
    pub compare: Option<(Range, Merge)>,
    pub memory: Arc<Memory>,
}

/// A group with its totals by measure, those that only the filter reads included.
struct Total {
    group: u32,
    values: Vec<Option<f64>>,
    buckets: Vec<Histogram>,
}

struct Compared(Vec<Total>);

/// The series of the groups that are returned: by group, by measure, by step.
struct Series {
    /// Start of each step, in seconds.
    starts: Vec<i64>,
    rows: Vec<Vec<Vec<Option<f64>>>>,
}

impl Answer {
    /// Works it out, as long as somebody holds what `asked` points to.
    pub(crate) fn table(mut self, asked: &Weak<()>) -> Result<EdgeTable, QueryError> {
        let compare = self.compare.as_ref().map(|(range, facts)| self.totals(facts, None, *range, asked)).transpose()?.map(Compared);
        let mut all = self.totals(&self.facts, self.step_s, self.range, asked)?;
        if let Some(compare) = &compare {
            compare.add_vanished(&mut all);
        }
        let mut totals = passing(all, &self.plan)?;
        order(&mut totals, &self.query, &self.keys);
        let groups_total = totals.len();
        totals.truncate(self.query.limit.unwrap_or(LIMIT_MAX));
        let mut series = self.step_s.map(|step_s| self.series(&totals, step_s, asked)).transpose()?;
        let measures = self.query.measures.len();
        let mut rows = Vec::with_capacity(totals.len());
        for (at, Total { group, mut values, buckets }) in totals.into_iter().enumerate() {
            values.truncate(measures);
            rows.push(EdgeRow {
                key: std::mem::take(&mut self.keys[group as usize]),
                totals: values,
                compare: compare.as_ref().map_or_else(Vec::new, |compare| compare.of(group, measures)),
                series: series.as_mut().map_or_else(Vec::new, |series| std::mem::take(&mut series.rows[at])),
                buckets,
            });
        }
        Ok(EdgeTable {
            from: from_seconds(self.range.from_s),
            to: from_seconds(self.range.to_s),
            step_s: self.step_s.and_then(|step_s| u32::try_from(step_s).ok()),
            steps: series.map_or_else(Vec::new, |series| series.starts.into_iter().map(from_seconds).collect()),
            group_by: self.query.group_by,
            measures: self.query.measures,
            rows,
            groups_total,
            resolution_s: self.resolution_s as u32,
        })
    }

    /// Totals of each group that has facts, ascending by group.
    fn totals(&self, facts: &Merge, step_s: Option<i64>, range: Range, asked: &Weak<()>) -> Result<Vec<Total>, QueryError> {
        let summed;
        let facts = if step_s.is_some() {
            let mut all = Merge::of(self.plan.columns.iter().copied());
            all.absorb(facts, |(_, group)| (0, group));
            summed = all;
            self.memory.take(summed.bytes())?;
            &summed
        } else {
            facts
        };
        let seconds = range.seconds() as f64;
        self.memory.take(facts.len() * (size_of::<Total>() + self.plan.measures.len() * size_of::<Option<f64>>()))?;
        let mut totals = Vec::with_capacity(facts.len());
        for (slot, (_, group)) in facts.keys().iter().enumerate() {
            still_asked(asked)?;
            let buckets = buckets(&self.plan.measures[..self.query.measures.len()], facts, slot);
            self.memory.take(buckets.iter().map(|histogram| size_of::<Histogram>() + size_of_val(histogram.pairs())).sum())?;
            let values = self.plan.measures.iter().map(|m| measure(m, facts, slot, seconds)).collect();
            totals.push(Total { group: *group as u32, values, buckets });
        }
        totals.sort_unstable_by_key(|total| total.group);
        Ok(totals)
    }

    fn series(&self, totals: &[Total], step_s: i64, asked: &Weak<()>) -> Result<Series, QueryError> {
        let range = self.range;
        let starts: Vec<i64> = (range.from_s..range.to_s).step_by(step_s as usize).collect();
        let measures = &self.plan.measures[..self.query.measures.len()];
        self.memory.take(totals.len() * measures.len() * (size_of::<Vec<Option<f64>>>() + starts.len() * size_of::<Option<f64>>()))?;
        let mut rows = vec![vec![vec![None; starts.len()]; measures.len()]; totals.len()];
        let mut row_of = vec![None; totals.iter().map(|total| total.group as usize + 1).max().unwrap_or(0)];
        totals.iter().enumerate().for_each(|(at, total)| row_of[total.group as usize] = Some(at));
        for (slot, (step, group)) in self.facts.keys().iter().enumerate() {
            still_asked(asked)?;
            let Some(Some(row)) = row_of.get(*group as usize) else { continue };
            let seconds = (range.to_s - starts[*step as usize]).min(step_s) as f64;
            for (series, m) in rows[*row].iter_mut().zip(measures) {
                series[*step as usize] = measure(m, &self.facts, slot, seconds);
            }
        }
        Ok(Series { starts, rows })
    }
}

/// Nobody reads the error: who asked went away, or ran out of time.
fn still_asked(asked: &Weak<()>) -> Result<(), QueryError> {
    if asked.strong_count() > 0 { Ok(()) } else { Err(QueryError::Store("nobody asks any more".to_owned())) }
}

impl Compared {
    /// Adds the groups that had facts then and have none now: traffic that vanished is what a comparison is for.
    fn add_vanished(&self, totals: &mut Vec<Total>) {
        let now: HashSet<u32> = totals.iter().map(|total| total.group).collect();
        let vanished = self.0.iter().filter(|then| !now.contains(&then.group));
        totals.extend(vanished.map(|then| Total {
            group: then.group,
            values: vec![None; then.values.len()],
            buckets: vec![Histogram::default(); then.buckets.len()],
        }));
    }

    fn of(&self, group: u32, measures: usize) -> Vec<Option<f64>> {
        match self.0.binary_search_by_key(&group, |total| total.group) {
            Ok(at) => self.0[at].values[..measures].to_vec(),
            Err(_) => vec![None; measures],
        }
    }
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
