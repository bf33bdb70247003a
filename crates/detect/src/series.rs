//! The past of every slice of every edge, window by window.
//!
//! A *slice* is a workload pair, or its part between two zones, from or to one pod, or between two pods. Faults are diluted in the whole and sparse in a
//! single pod pair; among the slices there is one that shows them. Windows are overwritten when they are seen again, so that what
//! arrives late counts, and what is replayed gives the same past.

use edgescope_model::query::EdgeTable;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;

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

impl EdgeKey {
    /// How badly its worse end is named.
    fn strangeness(&self) -> u8 {
        strangeness(&self.source).max(strangeness(&self.dest))
    }
}

/// 0 for a name; 1 for an address of our own, or nothing; 2 for the prefix that stands for public addresses.
fn strangeness(workload: &str) -> u8 {
    let is_address = |text: &str| text.parse::<IpAddr>().is_ok();
    match workload.split_once('/') {
        Some((address, bits)) if is_address(address) && bits.parse::<u8>().is_ok() => 2,
        None if workload.is_empty() || is_address(workload) => 1,
        _ => 0,
    }
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
    /// Data segments sent again, and those of them that the receiver did not report as duplicates.
    pub again: f64,
    pub lost: f64,
    pub connects: f64,
    pub failed: f64,
    pub active_s: f64,
    pub stalled_s: f64,
    /// Unknown unless all who told before tell of this window too.
    pub bytes: f64,
    pub rtt_s: f64,
    pub rtt_samples: f64,
    /// Questions of DNS, and those that got an error or nothing.
    pub questions: f64,
    pub unresolved: f64,
}

impl Window {
    const UNKNOWN: Self = Self {
        segments: f64::NAN,
        again: f64::NAN,
        lost: f64::NAN,
        connects: f64::NAN,
        failed: f64::NAN,
        active_s: f64::NAN,
        stalled_s: f64::NAN,
        bytes: f64::NAN,
        rtt_s: f64::NAN,
        rtt_samples: 0.0,
        questions: f64::NAN,
        unresolved: f64::NAN,
    };

    /// Equal, unknown parts included.
    fn is_same(&self, other: &Self) -> bool {
        let bits = |w: &Self| {
            let tcp = [w.segments, w.again, w.lost, w.connects, w.failed, w.active_s, w.stalled_s, w.bytes, w.rtt_s, w.rtt_samples];
            (tcp.map(f64::to_bits), [w.questions, w.unresolved].map(f64::to_bits))
        };
        bits(self) == bits(other)
    }

    /// Whether anybody told of it.
    pub fn is_known(&self) -> bool {
        !self.active_s.is_nan()
    }
}

/// Windows of one slice, one after the other; those that nobody told of are in it as unknown.
#[derive(Debug, Clone, Default)]
pub struct Past {
    /// Number (start ÷ window length) of the first.
    first: i64,
    windows: VecDeque<Window>,
}

impl Past {
    /// Puts a window in its place; true if that changes anything.
    fn put(&mut self, number: i64, window: Window) -> bool {
        if self.windows.is_empty() {
            self.first = number;
        }
        if number < self.first {
            // Older than anything kept: there is room only if little is kept yet.
            if (self.first + self.windows.len() as i64 - number) as usize > WINDOWS_KEPT {
                return false;
            }
            (number..self.first).for_each(|_| self.windows.push_front(Window::UNKNOWN));
            self.first = number;
        }
        let at = (number - self.first) as usize;
        if at >= self.windows.len() + WINDOWS_KEPT {
            // Nothing of the old past is kept after such a gap.
            *self = Self { first: number, windows: VecDeque::from([window]) };
            return true;
        }
        while self.windows.len() <= at {
            self.windows.push_back(Window::UNKNOWN);
        }
        let changed = !self.windows[at].is_same(&window);
        self.windows[at] = window;
        while self.windows.len() > WINDOWS_KEPT {
            self.windows.pop_front();
            self.first += 1;
        }
        changed
    }

    pub fn at(&self, number: i64) -> Option<&Window> {
        let at = usize::try_from(number - self.first).ok()?;
        self.windows.get(at).filter(|w| w.is_known())
    }

    /// Known windows from `from` up to, not including, `to`.
    pub fn range(&self, from: i64, to: i64) -> impl Iterator<Item = &Window> {
        let end = self.first + self.windows.len() as i64;
        let (from, to) = (from.clamp(self.first, end), to.clamp(self.first, end));
        let (from, to) = ((from - self.first) as usize, (to - self.first) as usize);
        self.windows.range(from.min(to)..to).filter(|w| w.is_known())
    }

    /// Number after the last window; `i64::MIN` if there is none.
    fn end(&self) -> i64 {
        if self.windows.is_empty() { i64::MIN } else { self.first + self.windows.len() as i64 }
    }
}

/// Nodes, zones and pods that a slice touches: what alerts share.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    pub pods: BTreeSet<String>,
    pub nodes: BTreeSet<String>,
    pub zones: BTreeSet<String>,
}

/// One edge's slices.
#[derive(Debug)]
pub struct Edge {
    pub parts: BTreeMap<Part, (Past, Places)>,
    /// Who told of it in the windows that are kept: the first and the last number of those.
    tellers: BTreeMap<String, (i64, i64)>,
    /// Number of the first window that the last table changed; `i64::MAX` if it changed none.
    pub changed_from: i64,
}

impl Default for Edge {
    fn default() -> Self {
        Self { parts: BTreeMap::new(), tellers: BTreeMap::new(), changed_from: i64::MAX }
    }
}

/// A slice in the order of admission: how badly its edge is named, then the kind of the part.
type Named<'a> = (u8, &'a Part, &'a EdgeKey);

/// Rows of a table by slice.
type Groups = BTreeMap<EdgeKey, BTreeMap<Part, Vec<usize>>>;

/// All slices of all edges.
#[derive(Debug, Default)]
pub struct Series {
    pub edges: BTreeMap<EdgeKey, Edge>,
    slices: usize,
    /// Slices that were turned away since there were too many: over all tables, and of the last.
    pub turned_away: u64,
    pub turned_away_now: usize,
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

/// What is read of conversations with DNS servers, after those.
pub const DNS_MEASURES: [&str; 5] = ["dns.requests", "dns.timeouts", "dns.servfail", "dns.refused", "dns.errors_other"];
const MEASURES_ALL: usize = MEASURES.len() + DNS_MEASURES.len();

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
        self.edges.values_mut().for_each(|edge| edge.changed_from = i64::MAX);
        let mut groups = Groups::new();
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
        let admitted = self.admit(&groups, series_max);
        for (key, parts) in &groups {
            let mut tellers = self.edges.get(key).map(|e| e.tellers.clone()).unwrap_or_default();
            let all = parts.get(&Part::Whole).map_or(&[][..], Vec::as_slice);
            let gaps = gaps(&reader, all, first, &mut tellers);
            for (part, rows) in parts {
                if admitted.contains(&(key, part)) {
                    self.put(&reader, key, part, rows, first, &gaps);
                }
            }
            if let Some(edge) = self.edges.get_mut(key) {
                edge.tellers = tellers;
            }
        }
        self.forget(numbers.end);
        self.newest = Some(self.newest.unwrap_or(i64::MIN).max(numbers.end - 1));
        numbers
    }

    /// The slices of a table that have a place. Those that are followed keep theirs; new ones come by how well their edges are named, and the wholes of
    /// all edges before any part of one. Edges with names are not kept out by those without, which the internet has as many of as it likes.
    fn admit<'a>(&mut self, groups: &'a Groups, series_max: usize) -> HashSet<(&'a EdgeKey, &'a Part)> {
        let is_followed = |key: &EdgeKey, part: &Part| self.edges.get(key).is_some_and(|edge| edge.parts.contains_key(part));
        let all = groups.iter().flat_map(|(key, parts)| parts.keys().map(move |part| (key.strangeness(), part, key)));
        let (followed, mut new): (Vec<_>, Vec<_>) = all.partition(|(_, part, key)| is_followed(key, part));
        new.sort_unstable();
        let room = series_max.saturating_sub(self.slices).min(new.len());
        let left = self.make_way(&new[room..]);
        self.turned_away_now = new.len() - room;
        self.turned_away += self.turned_away_now as u64;
        let stays = |(_, part, key): &&Named<'_>| self.edges.get(*key).is_some_and(|edge| edge.parts.contains_key(*part));
        let places = followed.iter().filter(stays).chain(&new[..room + left]);
        places.map(|(_, part, key)| (*key, *part)).collect()
    }

    /// Gives up slices of worse named edges for better named ones that have no place, the worst first; returns how many of those come in.
    fn make_way(&mut self, waiting: &[Named<'_>]) -> usize {
        let Some((best, ..)) = waiting.first() else { return 0 };
        let worse = self.edges.iter().filter(|(key, _)| key.strangeness() > *best);
        let mut worse: Vec<_> = worse.flat_map(|(key, edge)| edge.parts.keys().map(|part| (key.strangeness(), part.clone(), key.clone()))).collect();
        worse.sort_unstable_by(|a, b| b.cmp(a));
        let count = waiting.iter().zip(&worse).take_while(|(new, old)| old.0 > new.0).count();
        for (_, part, key) in &worse[..count] {
            if let Some(edge) = self.edges.get_mut(key) {
                edge.parts.remove(part);
            }
        }
        self.edges.retain(|_, edge| !edge.parts.is_empty());
        self.slices -= count;
        count
    }

    fn put(&mut self, reader: &Reader<'_>, key: &EdgeKey, part: &Part, rows: &[usize], first: i64, gaps: &[bool]) {
        let edge = self.edges.entry(key.clone()).or_default();
        self.slices += usize::from(!edge.parts.contains_key(part));
        let (past, places) = edge.parts.entry(part.clone()).or_default();
        for (step, &is_gap) in gaps.iter().enumerate() {
            let number = first + step as i64;
            let mut window = reader.window(rows, step);
            if is_gap {
                // What a silent agent does not tell is not traffic that fell; shares of what the others tell are shares still.
                window.bytes = f64::NAN;
            }
            if past.put(number, window) {
                edge.changed_from = edge.changed_from.min(number);
            }
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
        for edge in self.edges.values_mut() {
            edge.parts.retain(|_, (past, _)| past.end() > old);
        }
        self.edges.retain(|_, edge| !edge.parts.is_empty());
        self.slices = self.edges.values().map(|edge| edge.parts.len()).sum();
    }

    pub fn slices(&self) -> usize {
        self.slices
    }
}

/// By step, whether somebody who told of an edge before is silent; `tellers` learns who tells now. An agent that is gone for longer than the past that is
/// kept is no longer waited for.
fn gaps(reader: &Reader<'_>, rows: &[usize], first: i64, tellers: &mut BTreeMap<String, (i64, i64)>) -> Vec<bool> {
    let present: BTreeSet<String> = rows.iter().map(|&row| reader.teller(row)).collect();
    let numbers = (first..).take(reader.table.steps.len()).enumerate();
    let gaps = numbers.map(|(step, number)| {
        for teller in present.iter().filter(|t| reader.has_reported(t, step)) {
            let (begun, last) = tellers.entry(teller.clone()).or_insert((number, number));
            (*begun, *last) = ((*begun).min(number), (*last).max(number));
        }
        tellers.iter().any(|(teller, &(begun, last))| begun < number && last >= number - WINDOWS_KEPT as i64 && !reader.has_reported(teller, step))
    });
    let gaps = gaps.collect();
    tellers.retain(|_, (_, last)| *last >= first - WINDOWS_KEPT as i64);
    gaps
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
    columns: [Option<usize>; MEASURES_ALL],
    dims: [[Option<usize>; END_DIMS.len()]; 2],
    role: Option<usize>,
    /// Nodes (and, where unknown, pods or workloads) by step: whether any row of theirs held a value.
    reports: HashMap<String, Vec<bool>>,
}

impl<'a> Reader<'a> {
    fn new(table: &'a EdgeTable) -> Self {
        let dims = ["source", "dest"].map(|side| END_DIMS.map(|d| table.dim(&format!("{side}.{d}"))));
        let mut columns = [None; MEASURES_ALL];
        columns.iter_mut().zip(MEASURES.iter().chain(&DNS_MEASURES)).for_each(|(column, name)| *column = table.measure(name));
        let mut reader = Self { table, columns, dims, role: table.dim("role"), reports: HashMap::new() };
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

    fn has_reported(&self, teller: &str, step: usize) -> bool {
        self.reports.get(teller).is_some_and(|r| r[step])
    }

    fn window(&self, rows: &[usize], step: usize) -> Window {
        let mut window = Window::UNKNOWN;
        let mut trips: Vec<(f64, f64)> = Vec::new();
        for &row in rows {
            if !self.has_reported(&self.teller(row), step) {
                continue;
            }
            let v = |m: usize| self.value(row, m, step, true);
            let failed = v(7) + v(8) + v(9) + v(10) + v(11);
            // Connects still open while SYNs are sent again: clients without a time-out of their own wait for minutes.
            let open = if v(2) > 0.0 { v(5) - v(6) - v(9) - v(11) } else { 0.0 };
            add(&mut window.segments, v(0));
            let again = (v(1) - v(2) - v(3)).max(0.0);
            add(&mut window.again, again);
            add(&mut window.lost, (again - v(4)).max(0.0));
            add(&mut window.connects, v(5));
            add(&mut window.failed, failed.max(open).min(v(5).max(failed)));
            add(&mut window.active_s, v(12));
            add(&mut window.stalled_s, v(13));
            add(&mut window.bytes, v(14));
            add(&mut window.questions, v(17));
            add(&mut window.unresolved, v(18) + v(19) + v(20) + v(21));
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
