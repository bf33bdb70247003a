//! The one query over edges, its answer, and the trait that answers it.

use crate::dims::{Dim, UnknownDim};
use crate::histogram::Histogram;
use crate::signal::{Measure, UnknownMeasure};
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use utoipa::ToSchema;

/// Most rows of one answer; a larger `limit` is an error, not a silent cut.
pub const LIMIT_MAX: usize = 100_000;
/// Most steps of one answer: 3 h of 10 s windows, with room for compaction of longer ranges into wider steps.
pub const STEPS_MAX: i64 = 1_500;

/// Most measures of one query: the totals of 100,000 groups are 150 MB then. Diagnose asks for 27, the page of an edge for 69.
pub const MEASURES_MAX: usize = 96;
/// Most dimensions that one query groups by: each of the 26 once.
pub const GROUP_BY_MAX: usize = 26;

/// What to ask of the edges between two moments.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EdgeQuery {
    /// Inclusive.
    pub from: DateTime<Utc>,
    /// Exclusive.
    pub to: DateTime<Utc>,
    /// Seconds of one step of the series; absent: totals only.
    #[serde(default)]
    pub step_s: Option<u32>,
    /// Dimension names; empty: one group of all edges.
    #[serde(default)]
    pub group_by: Vec<String>,
    /// SQL expression over dimension and measure names, such as `source.zone = 'a' AND tcp.retrans > 0`.
    #[serde(default)]
    pub filter: Option<String>,
    /// Measure names (see the catalogue).
    pub measures: Vec<String>,
    /// Totals of the same groups over another range, for comparison; groups that had facts only then are rows too.
    #[serde(default)]
    pub compare_from: Option<DateTime<Utc>>,
    #[serde(default)]
    pub compare_to: Option<DateTime<Utc>>,
    /// A measure or dimension name; `-` in front sorts descending.
    #[serde(default)]
    pub sort: Option<String>,
    /// Most groups returned; [`EdgeTable::groups_total`] tells how many there are.
    #[serde(default)]
    pub limit: Option<usize>,
}

/// The answer: one row a group.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EdgeTable {
    /// The range that was counted and that rates divide by: the one asked for, with the windows that it cuts in it whole. Pods and addresses are kept for
    /// less long than the rest: where they are asked for, it begins with what is kept of them.
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub step_s: Option<u32>,
    /// Start of each step; empty without a step.
    pub steps: Vec<DateTime<Utc>>,
    pub group_by: Vec<String>,
    pub measures: Vec<String>,
    pub rows: Vec<EdgeRow>,
    /// Groups before the limit.
    pub groups_total: usize,
    /// Seconds of the windows that answered: 10 or 60.
    pub resolution_s: u32,
}

/// One group of edges.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EdgeRow {
    /// Values of `group_by`, in its order; empty string: unknown.
    pub key: Vec<String>,
    /// Over the whole range, in the order of `measures`, in shown units; null: no row had it.
    pub totals: Vec<Option<f64>>,
    /// The same over the compare range; empty without one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<Option<f64>>,
    /// By measure, then by step; empty without a step.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub series: Vec<Vec<Option<f64>>>,
    /// Of each measure that asks for `.buckets`, in their order: the histogram over the whole range, in stored units (microseconds); empty: no row had it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub buckets: Vec<Histogram>,
}

impl EdgeQuery {
    /// The same question of conversations with DNS servers, for these measures; most asked first.
    pub fn of_dns<'a>(&self, measures: impl IntoIterator<Item = &'a str>, limit: usize) -> Self {
        Self {
            filter: Some("port = 53".to_owned()),
            measures: measures.into_iter().map(str::to_owned).collect(),
            sort: Some("-dns.requests".to_owned()),
            limit: Some(limit),
            ..self.clone()
        }
    }
}

impl EdgeTable {
    /// Position of a measure in `totals` and `series`.
    pub fn measure(&self, name: &str) -> Option<usize> {
        self.measures.iter().position(|m| m == name)
    }

    /// Adds the rows of another answer over the same range, step and groups, before its own. Its measures may be others: a row has no value of what it was not
    /// asked for. Steps that only the other has are left out, and so are its histograms.
    pub fn join(&mut self, other: EdgeTable) {
        let places: Vec<usize> = other.measures.iter().map(|name| self.place(name)).collect();
        let width = self.measures.len();
        let steps: Vec<Option<usize>> = self.steps.iter().map(|step| other.steps.iter().position(|other| other == step)).collect();
        let without_step = self.step_s.is_none();
        for row in &mut self.rows {
            row.totals.resize(width, None);
            if !without_step {
                row.series.resize(width, vec![None; steps.len()]);
            }
        }
        let moved = other.rows.into_iter().map(|row| {
            let mut joined = EdgeRow { key: row.key, totals: vec![None; width], compare: Vec::new(), series: Vec::new(), buckets: Vec::new() };
            if !without_step {
                joined.series = vec![vec![None; steps.len()]; width];
            }
            for (at, &place) in places.iter().enumerate() {
                joined.totals[place] = row.totals.get(at).copied().flatten();
                if let (Some(to), Some(from)) = (joined.series.get_mut(place), row.series.get(at)) {
                    *to = steps.iter().map(|step| step.and_then(|step| from.get(step).copied().flatten())).collect();
                }
            }
            joined
        });
        self.rows.splice(0..0, moved);
        self.groups_total += other.groups_total;
    }

    fn place(&mut self, name: &str) -> usize {
        self.measure(name).unwrap_or_else(|| {
            self.measures.push(name.to_owned());
            self.measures.len() - 1
        })
    }

    /// Position of a dimension in `key`.
    pub fn dim(&self, name: &str) -> Option<usize> {
        self.group_by.iter().position(|d| d == name)
    }
}

/// Why a query was not answered.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error(transparent)]
    Dim(#[from] UnknownDim),
    #[error(transparent)]
    Measure(#[from] UnknownMeasure),
    #[error("range is empty: from {from} is not before to {to}")]
    Range { from: DateTime<Utc>, to: DateTime<Utc> },
    #[error("step of {step_s} s gives {steps} steps, at most {STEPS_MAX}: take a longer step or a shorter range")]
    Steps { step_s: u32, steps: i64 },
    #[error("{0} is missing: compare_from and compare_to go together")]
    CompareHalf(&'static str),
    #[error("range to compare with is empty: compare_from {from} is not before compare_to {to}")]
    CompareRange { from: DateTime<Utc>, to: DateTime<Utc> },
    #[error("{field} has {count} names, at most {max}: ask several times")]
    Count { field: &'static str, count: usize, max: usize },
    #[error("{field} has '{name}' twice")]
    Twice { field: &'static str, name: String },
    #[error("pods and addresses are kept since {kept_from}, which {field} {to} is not after: ask by workload, node or zone, or for a later range")]
    Gone { field: &'static str, to: DateTime<Utc>, kept_from: DateTime<Utc> },
    #[error(
        "pods and addresses are kept since {kept_from}, compare_from {from} is before: sums over a part would not compare; ask by workload, node or zone, or \
         compare with a later range"
    )]
    CompareGone { from: DateTime<Utc>, kept_from: DateTime<Utc> },
    #[error("limit {0} is above {LIMIT_MAX}")]
    Limit(usize),
    #[error("filter: {0}")]
    Filter(String),
    #[error("sort: '{0}' is neither a measure nor a dimension of this query")]
    Sort(String),
    #[error("query took longer than {0} s: take a shorter range or fewer groups")]
    Timeout(u64),
    #[error("query needs more than its {0} MiB of memory: take a shorter range or fewer groups")]
    Memory(u64),
    /// A statement that cannot be answered, whoever asks when.
    #[error("sql: {0}")]
    Sql(String),
    #[error("{0}")]
    Store(String),
}

impl EdgeQuery {
    /// Totals of all edges between two moments; fill in the rest.
    pub fn totals(from: DateTime<Utc>, to: DateTime<Utc>, group_by: &[&str], measures: &[&str]) -> Self {
        let own = |names: &[&str]| names.iter().map(|&n| n.to_owned()).collect();
        Self {
            from,
            to,
            step_s: None,
            group_by: own(group_by),
            filter: None,
            measures: own(measures),
            compare_from: None,
            compare_to: None,
            sort: None,
            limit: None,
        }
    }

    /// Checks names and bounds against the catalogue. The filter is checked by whoever answers.
    pub fn check(&self) -> Result<(Vec<Dim>, Vec<Measure>), QueryError> {
        if self.from >= self.to {
            return Err(QueryError::Range { from: self.from, to: self.to });
        }
        match (self.compare_from, self.compare_to) {
            (Some(_), None) => return Err(QueryError::CompareHalf("compare_to")),
            (None, Some(_)) => return Err(QueryError::CompareHalf("compare_from")),
            (Some(from), Some(to)) if from >= to => return Err(QueryError::CompareRange { from, to }),
            _ => {}
        }
        if let Some(step_s) = self.step_s {
            let steps = (self.to - self.from).num_seconds() / i64::from(step_s.max(1)) + 1;
            if steps > STEPS_MAX || step_s == 0 {
                return Err(QueryError::Steps { step_s, steps });
            }
        }
        if let Some(limit) = self.limit.filter(|&l| l > LIMIT_MAX) {
            return Err(QueryError::Limit(limit));
        }
        check_names("group_by", &self.group_by, GROUP_BY_MAX)?;
        check_names("measures", &self.measures, MEASURES_MAX)?;
        let dims = self.group_by.iter().map(|d| Dim::parse(d)).collect::<Result<Vec<_>, _>>()?;
        let measures = self.measures.iter().map(|m| Measure::parse(m)).collect::<Result<Vec<_>, _>>()?;
        if let Some(sort) = &self.sort {
            let name = sort.strip_prefix('-').unwrap_or(sort);
            if !self.group_by.iter().chain(&self.measures).any(|n| n == name) {
                return Err(QueryError::Sort(name.to_owned()));
            }
        }
        Ok((dims, measures))
    }
}

/// Refuses a list that is too long or names something twice.
fn check_names(field: &'static str, names: &[String], max: usize) -> Result<(), QueryError> {
    if names.len() > max {
        return Err(QueryError::Count { field, count: names.len(), max });
    }
    let mut seen = HashSet::new();
    match names.iter().find(|name| !seen.insert(name.as_str())) {
        Some(name) => Err(QueryError::Twice { field, name: name.clone() }),
        None => Ok(()),
    }
}

/// How much of what should have been seen was seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Coverage {
    /// Agent windows received ÷ agent windows expected, 0..=1.
    pub fraction: f64,
    pub agents_reporting: usize,
    pub agents_expected: usize,
    /// Agents that are silent now, with the moment of their last window.
    pub silent: BTreeMap<String, DateTime<Utc>>,
    /// Agents that said that they end, and when, within the day before the range's end; those that came back are not among them.
    #[serde(default)]
    pub left: BTreeMap<String, DateTime<Utc>>,
    /// Everything lost in the range, by reason.
    pub losses: BTreeMap<String, u64>,
}

impl Coverage {
    /// Share of windows below which nobody can be called healthy.
    pub const FRACTION_MIN: f64 = 0.95;
    /// An agent is silent when its last window ended more than so many of its intervals before the range's end: two may be on their way.
    pub const SILENT_INTERVALS: i64 = 3;

    /// Why "nothing is wrong" cannot be said, in words: some of what should have been seen was not. `None` if enough was.
    pub fn blind_spot(&self) -> Option<String> {
        if !self.silent.is_empty() {
            return Some(format!("{} of {} agents silent", self.silent.len(), self.agents_expected));
        }
        (self.fraction < Self::FRACTION_MIN).then(|| format!("coverage {:.1} %", self.fraction * 100.0))
    }

    /// Who ended in order and is expected no more, in words: nobody looks where it was. `None` if nobody did.
    pub fn who_left(&self) -> Option<String> {
        let (last, at) = self.left.iter().max_by_key(|(_, at)| **at)?;
        let at = at.format("%H:%M:%S UTC");
        Some(match self.left.len() {
            1 => format!("1 agent has left: {last} at {at}"),
            more => format!("{more} agents have left, {last} last at {at}"),
        })
    }
}

/// Whoever can answer an [`EdgeQuery`]: the store; in tests, a table in memory.
#[async_trait]
pub trait EdgeSource: Send + Sync {
    /// Answers the query, within the answerer's limits of time and memory.
    async fn edges(&self, query: &EdgeQuery) -> Result<EdgeTable, QueryError>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::from_seconds;

    fn query(group_by: &[&str], measures: &[&str]) -> EdgeQuery {
        EdgeQuery::totals(from_seconds(0), from_seconds(10), group_by, measures)
    }

    #[test]
    fn every_dimension_and_many_measures_may_be_asked_for_once() {
        let dims: Vec<String> = Dim::all().map(|dim| dim.to_string()).collect();
        assert_eq!(dims.len(), GROUP_BY_MAX);
        let dims: Vec<&str> = dims.iter().map(String::as_str).collect();
        let quantiles: Vec<String> = (1..=MEASURES_MAX).map(|percent| format!("tcp.rtt.p{percent}")).collect();
        let quantiles: Vec<&str> = quantiles.iter().map(String::as_str).collect();
        assert!(query(&dims, &quantiles).check().is_ok());
    }

    #[test]
    fn names_without_number_or_repeated_are_refused_with_field_and_limit() {
        let said = |group_by: &[&str], measures: &[&str]| query(group_by, measures).check().unwrap_err().to_string();
        assert_eq!(said(&[], &["tcp.bytes"; 25_000]), "measures has 25000 names, at most 96: ask several times");
        assert_eq!(said(&["port"; 27], &["tcp.bytes"]), "group_by has 27 names, at most 26: ask several times");
        assert_eq!(said(&[], &["tcp.bytes", "tcp.rtt.p50", "tcp.bytes"]), "measures has 'tcp.bytes' twice");
        assert_eq!(said(&["port", "port"], &["tcp.bytes"]), "group_by has 'port' twice");
    }

    #[test]
    fn too_little_seen_is_said_in_words() {
        let seen = |fraction| Coverage { fraction, agents_expected: 3, agents_reporting: 3, ..Coverage::default() };
        assert_eq!(seen(Coverage::FRACTION_MIN).blind_spot(), None);
        assert_eq!(seen(0.949).blind_spot().as_deref(), Some("coverage 94.9 %"));
        let silent = BTreeMap::from([("node-1".to_owned(), from_seconds(1))]);
        assert_eq!(Coverage { silent, ..seen(1.0) }.blind_spot().as_deref(), Some("1 of 3 agents silent"));
        let mut left = Coverage { left: BTreeMap::from([("node-2".to_owned(), from_seconds(7))]), ..seen(1.0) };
        assert_eq!((left.blind_spot(), left.who_left().as_deref()), (None, Some("1 agent has left: node-2 at 00:00:07 UTC")));
        left.left.insert("node-0".to_owned(), from_seconds(60));
        assert_eq!(left.who_left().as_deref(), Some("2 agents have left, node-0 last at 00:01:00 UTC"));
    }

    #[test]
    fn two_answers_become_one_table_and_nobody_says_what_he_was_not_asked() {
        let at = |s: i64| DateTime::from_timestamp(s, 0).unwrap_or_default();
        let table = |measure: &str, steps: &[i64], value: f64| EdgeTable {
            from: at(0),
            to: at(30),
            step_s: Some(10),
            steps: steps.iter().map(|&s| at(s)).collect(),
            group_by: vec!["role".into()],
            measures: vec![measure.to_owned()],
            rows: vec![EdgeRow {
                key: vec![measure.to_owned()],
                totals: vec![Some(value)],
                compare: Vec::new(),
                series: vec![steps.iter().map(|&s| Some(value + s as f64)).collect()],
                buckets: Vec::new(),
            }],
            groups_total: 5,
            resolution_s: 10,
        };
        let mut both = table("tcp.bytes", &[0, 10], 1.0);
        both.join(table("dns.requests", &[10, 20], 2.0));
        assert_eq!((both.measures.as_slice(), both.groups_total), (&["tcp.bytes".to_owned(), "dns.requests".to_owned()][..], 10));
        let [dns, tcp] = &both.rows[..] else { panic!("two rows") };
        assert_eq!((dns.totals.as_slice(), tcp.totals.as_slice()), (&[None, Some(2.0)][..], &[Some(1.0), None][..]));
        assert_eq!(dns.series, [vec![None, None], vec![None, Some(12.0)]]);
        assert_eq!(tcp.series, [vec![Some(1.0), Some(11.0)], vec![None, None]]);
    }
}
