//! The past of every slice of every edge, window by window.
//!
//! A *slice* is a workload pair, or its part between two zones, from or to one pod, or between two pods. Faults are diluted in the whole and sparse in a
//! single pod pair; among the slices there is one that shows them. Windows are overwritten when they are seen again, so that what
//! arrives late counts, and what is replayed gives the same past.

use edgescope_model::query::EdgeTable;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Windows kept of each slice: 15 minutes of 10 s.
pub const WINDOWS_KEPT: usize = 90;

/// One directed workload pair by role of the source.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeKey {
    pub source_namespace: String,
    pub source: String,
    pub dest_namespace: String,
    pub dest: String,
    pub from_client: bool,
}

/// Which part of an edge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    Whole,
    Zones(String, String),
    FromPod(String),
    ToPod(String),
    /// One path: the only slice whose round trips can be compared over time, since others mix near and far.
    Pods(String, String),
}

/// What a slice did in one window. Unknown is NaN: nobody who could have told reported.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Window {
    pub segments: f64,
    pub retrans: f64,
    pub connects: f64,
    pub failed: f64,
    pub active_s: f64,
    pub stalled_s: f64,
    pub bytes: f64,
    pub rtt_s: f64,
    pub rtt_samples: f64,
}

impl Window {
    const UNKNOWN: Self = Self {
        segments: f64::NAN,
        retrans: f64::NAN,
        connects: f64::NAN,
        failed: f64::NAN,
        active_s: f64::NAN,
        stalled_s: f64::NAN,
        bytes: f64::NAN,
        rtt_s: f64::NAN,
        rtt_samples: 0.0,
    };

    /// Whether anybody told of it.
    pub fn is_known(&self) -> bool {
        !self.active_s.is_nan()
    }
}

/// Windows of one slice, by number (start ÷ window length).
#[derive(Debug, Clone, Default)]
pub struct Past {
    windows: BTreeMap<i64, Window>,
}

impl Past {
    fn put(&mut self, number: i64, window: Window) {
        self.windows.insert(number, window);
        while self.windows.len() > WINDOWS_KEPT {
            self.windows.pop_first();
        }
    }

    pub fn at(&self, number: i64) -> Option<&Window> {
        self.windows.get(&number).filter(|w| w.is_known())
    }

    /// Known windows from `from` up to, not including, `to`.
    pub fn range(&self, from: i64, to: i64) -> impl Iterator<Item = (i64, &Window)> {
        self.windows.range(from.min(to)..to).map(|(&n, w)| (n, w)).filter(|(_, w)| w.is_known())
    }

    fn newest(&self) -> i64 {
        self.windows.last_key_value().map_or(i64::MIN, |(&n, _)| n)
    }
}

/// Nodes, zones and pods that a slice touches: what alerts share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    pub pods: BTreeSet<String>,
    pub nodes: BTreeSet<String>,
    pub zones: BTreeSet<String>,
}

/// All slices of all edges.
#[derive(Debug, Default)]
pub struct Series {
    pub edges: BTreeMap<EdgeKey, BTreeMap<Part, (Past, Places)>>,
    slices: usize,
    /// Slices that were turned away since there were too many.
    pub turned_away: u64,
    /// Number of the newest window seen, and of the oldest of the last table.
    pub newest: Option<i64>,
}

/// Names of the measures that detectors read, in the order of [`Row`].
pub const MEASURES: [&str; 17] = [
    "tcp.segments.sent",
    "tcp.retrans",
    "tcp.retrans_syn",
    "tcp.retrans_synack",
    "tcp.retrans_spurious",
    "tcp.connects",
    "tcp.connects_established",
    "tcp.connect_timeouts",
    "tcp.connects_cancelled",
    "tcp.connects_refused",
    "tcp.connects_unreachable",
    "tcp.connects_reset",
    "tcp.active",
    "tcp.stalled",
    "tcp.bytes.sent",
    "tcp.rtt.p20",
    "tcp.rtt.count",
];

/// Dimensions of each end that detectors group by.
pub const END_DIMS: [&str; 5] = ["namespace", "workload", "pod", "node", "zone"];

/// One end of a row.
struct End<'a> {
    namespace: &'a str,
    workload: &'a str,
    pod: &'a str,
    node: &'a str,
    zone: &'a str,
}

impl Series {
    /// Takes the windows of a table in; windows already known are replaced. Returns the numbers of its windows.
    pub fn take(&mut self, table: &EdgeTable, series_max: usize) -> std::ops::Range<i64> {
        let step_s = i64::from(table.step_s.unwrap_or(10)).max(1);
        let (Some(first), Some(last)) = (table.steps.first(), table.steps.last()) else { return 0..0 };
        let first = first.timestamp().div_euclid(step_s);
        let numbers = first..last.timestamp().div_euclid(step_s) + 1;
        let reader = Reader::new(table);
        let mut groups: BTreeMap<EdgeKey, BTreeMap<Part, Vec<usize>>> = BTreeMap::new();
        for row in 0..table.rows.len() {
            let (source, dest) = (reader.end(row, 0), reader.end(row, 1));
            let key = EdgeKey {
                source_namespace: source.namespace.to_owned(),
                source: source.workload.to_owned(),
                dest_namespace: dest.namespace.to_owned(),
                dest: dest.workload.to_owned(),
                from_client: reader.is_from_client(row),
            };
            let parts = groups.entry(key).or_default();
            for part in parts_of(&source, &dest) {
                parts.entry(part).or_default().push(row);
            }
        }
        for (key, parts) in groups {
            for (part, rows) in parts {
                self.put(&reader, &key, part, &rows, first, series_max);
            }
        }
        self.forget(numbers.end);
        self.newest = Some(self.newest.unwrap_or(i64::MIN).max(numbers.end - 1));
        numbers
    }

    fn put(&mut self, reader: &Reader<'_>, key: &EdgeKey, part: Part, rows: &[usize], first: i64, series_max: usize) {
        let known = self.edges.get(key).is_some_and(|e| e.contains_key(&part));
        if !known && self.slices >= series_max {
            self.turned_away += 1;
            return;
        }
        let (past, places) = self.edges.entry(key.clone()).or_default().entry(part).or_insert_with(|| {
            self.slices += 1;
            Default::default()
        });
        for step in 0..reader.table.steps.len() {
            past.put(first + step as i64, reader.window(rows, step));
        }
        for &row in rows {
            for end in [reader.end(row, 0), reader.end(row, 1)] {
                for (set, name) in [(&mut places.pods, end.pod), (&mut places.nodes, end.node), (&mut places.zones, end.zone)] {
                    // Enough to tell what alerts share; a larger set is shared by all anyway.
                    if !name.is_empty() && set.len() < 64 {
                        set.insert(name.to_owned());
                    }
                }
            }
        }
    }

    /// Drops slices that no table held for the whole length that is kept.
    fn forget(&mut self, end: i64) {
        let old = end - WINDOWS_KEPT as i64;
        for parts in self.edges.values_mut() {
            parts.retain(|_, (past, _)| past.newest() >= old);
        }
        self.edges.retain(|_, parts| !parts.is_empty());
        self.slices = self.edges.values().map(BTreeMap::len).sum();
    }

    pub fn slices(&self) -> usize {
        self.slices
    }
}

fn parts_of(source: &End<'_>, dest: &End<'_>) -> Vec<Part> {
    let mut parts = vec![Part::Whole];
    if !source.zone.is_empty() && !dest.zone.is_empty() {
        parts.push(Part::Zones(source.zone.to_owned(), dest.zone.to_owned()));
    }
    if !source.pod.is_empty() {
        parts.push(Part::FromPod(source.pod.to_owned()));
    }
    if !dest.pod.is_empty() {
        parts.push(Part::ToPod(dest.pod.to_owned()));
    }
    parts.push(Part::Pods(source.pod.to_owned(), dest.pod.to_owned()));
    parts
}

/// A table with its columns found, and who reported when.
struct Reader<'a> {
    table: &'a EdgeTable,
    columns: [Option<usize>; MEASURES.len()],
    dims: [[Option<usize>; END_DIMS.len()]; 2],
    role: Option<usize>,
    /// Nodes (and, where unknown, pods or workloads) by step: whether any row of theirs held a value.
    reports: HashMap<String, Vec<bool>>,
}

impl<'a> Reader<'a> {
    fn new(table: &'a EdgeTable) -> Self {
        let dims = ["source", "dest"].map(|side| END_DIMS.map(|d| table.dim(&format!("{side}.{d}"))));
        let mut reader = Self { table, columns: MEASURES.map(|m| table.measure(m)), dims, role: table.dim("role"), reports: HashMap::new() };
        for row in 0..table.rows.len() {
            let mut said = vec![false; table.steps.len()];
            for series in reader.columns.iter().flatten().filter_map(|&c| table.rows[row].series.get(c)) {
                said.iter_mut().zip(series).for_each(|(said, value)| *said |= value.is_some());
            }
            let reports = reader.reports.entry(reader.teller(row)).or_insert_with(|| vec![false; said.len()]);
            reports.iter_mut().zip(said).for_each(|(all, one)| *all |= one);
        }
        reader
    }

    fn end(&self, row: usize, side: usize) -> End<'a> {
        let key = &self.table.rows[row].key;
        let value = |d: usize| self.dims[side][d].and_then(|i| key.get(i)).map_or("", String::as_str);
        End { namespace: value(0), workload: value(1), pod: value(2), node: value(3), zone: value(4) }
    }

    fn is_from_client(&self, row: usize) -> bool {
        self.role.and_then(|i| self.table.rows[row].key.get(i)).is_none_or(|r| r != "server")
    }

    /// All measures are the source's own words: its node tells them, or the source itself where that is unknown.
    fn teller(&self, row: usize) -> String {
        let source = self.end(row, 0);
        if source.node.is_empty() { format!("{}/{}/{}", source.namespace, source.workload, source.pod) } else { format!("node {}", source.node) }
    }

    /// A value: zero where its teller reported and had nothing to say, NaN where it was silent.
    fn value(&self, row: usize, measure: usize, step: usize, reported: bool) -> f64 {
        let value = self.columns[measure].and_then(|c| self.table.rows[row].series.get(c)?.get(step).copied().flatten());
        value.unwrap_or(if reported { 0.0 } else { f64::NAN })
    }

    fn window(&self, rows: &[usize], step: usize) -> Window {
        let mut window = Window::UNKNOWN;
        let mut trips: Vec<(f64, f64)> = Vec::new();
        for &row in rows {
            if !self.reports.get(&self.teller(row)).is_some_and(|r| r[step]) {
                continue;
            }
            let v = |m: usize| self.value(row, m, step, true);
            let failed = v(7) + v(8) + v(9) + v(10) + v(11);
            // Connects still open while SYNs are sent again: clients without a time-out of their own wait for minutes.
            let open = if v(2) > 0.0 { v(5) - v(6) - v(9) - v(11) } else { 0.0 };
            add(&mut window.segments, v(0));
            add(&mut window.retrans, (v(1) - v(2) - v(3) - v(4)).max(0.0));
            add(&mut window.connects, v(5));
            add(&mut window.failed, failed.max(open).min(v(5).max(failed)));
            add(&mut window.active_s, v(12));
            add(&mut window.stalled_s, v(13));
            add(&mut window.bytes, v(14));
            if v(16) > 0.0 {
                trips.push((v(15), v(16)));
            }
        }
        window.rtt_samples = trips.iter().map(|t| t.1).sum();
        window.rtt_s = weighted_median(&mut trips).unwrap_or(f64::NAN);
        window
    }
}

fn add(sum: &mut f64, value: f64) {
    *sum = if sum.is_nan() { value } else { *sum + value };
}

fn weighted_median(values: &mut [(f64, f64)]) -> Option<f64> {
    values.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let half = values.iter().map(|v| v.1).sum::<f64>() / 2.0;
    let mut before = 0.0;
    values
        .iter()
        .find(|(_, weight)| {
            before += weight;
            before >= half
        })
        .map(|v| v.0)
}
