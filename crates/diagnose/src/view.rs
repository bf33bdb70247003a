//! An [`EdgeTable`] as flows and conversations between numbered ends, with what is missing told from what is zero.
//!
//! A *flow* is one row: bytes from one pod to another, by role of the source. A *talk* is a client pod and a server pod with the flow there and
//! the flow back. A value that no row holds is zero where the end that would have said so was reporting in that step, and missing (NaN) where
//! it was not: an agent that fell silent is not traffic that fell.

use edgescope_model::query::EdgeTable;
use edgescope_model::time::Time;
use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

macro_rules! measures {
    ($($(#[$doc:meta])* $name:ident = $text:literal, $end:ident;)*) => {
        /// What is read of each flow.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum M { $($(#[$doc])* $name),* }

        /// Measure names in the order of [`M`], with the end that tells them.
        const MEASURES: &[(&str, Teller)] = &[$(($text, Teller::$end)),*];
    };
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Teller {
    Source,
    Dest,
}

measures! {
    BytesReceived = "tcp.bytes.received", Dest;
    SegmentsSent = "tcp.segments.sent", Source;
    SegmentsReceived = "tcp.segments.received", Dest;
    Retrans = "tcp.retrans", Source;
    RetransSyn = "tcp.retrans_syn", Source;
    RetransSynack = "tcp.retrans_synack", Source;
    RetransSpurious = "tcp.retrans_spurious", Source;
    /// A low quantile: delayed acknowledgements, which are the receiver's doing, are not in it.
    RttLow = "tcp.rtt.p20", Source;
    RttCount = "tcp.rtt.count", Source;
    Active = "tcp.active", Source;
    Stalled = "tcp.stalled", Source;
    BlockedRwnd = "tcp.blocked_rwnd", Source;
    Busy = "tcp.busy", Source;
    Connects = "tcp.connects", Source;
    Established = "tcp.connects_established", Source;
    Timeouts = "tcp.connect_timeouts", Source;
    Cancelled = "tcp.connects_cancelled", Source;
    Refused = "tcp.connects_refused", Source;
    Unreachable = "tcp.connects_unreachable", Source;
    ConnectsReset = "tcp.connects_reset", Source;
    Handshake = "tcp.handshake.p50", Source;
    HandshakeCount = "tcp.handshake.count", Source;
    /// Of servers: its sum and how many answers are in it.
    ResponseTime = "tcp.response_time", Source;
    Responses = "tcp.responses", Source;
    Accepts = "tcp.accepts", Dest;
    AcceptOverflow = "tcp.accept_overflow", Dest;
    ResetsSent = "tcp.resets.sent", Source;
    DnsRequests = "dns.requests", Source;
    DnsTimeouts = "dns.timeouts", Source;
    DnsServfail = "dns.servfail", Source;
    DnsRefused = "dns.refused", Source;
    DnsErrorsOther = "dns.errors_other", Source;
}

/// Names of all measures that diagnose asks for.
pub fn measure_names() -> impl Iterator<Item = &'static str> {
    MEASURES.iter().map(|(name, _)| *name)
}

/// Of these, those of conversations with DNS servers, which are asked for apart.
pub fn dns_measure_names() -> impl Iterator<Item = &'static str> {
    measure_names().filter(|name| name.starts_with("dns."))
}

pub fn tcp_measure_names() -> impl Iterator<Item = &'static str> {
    measure_names().filter(|name| !name.starts_with("dns."))
}

/// Dimensions of one end that diagnose groups by.
pub const END_DIMS: [&str; 5] = ["namespace", "workload", "pod", "node", "zone"];

/// An index into one of the name lists of [`View`]; `NONE` where the name is unknown.
pub type Id = u32;
/// Steps in which services start: pools fill, clients knock before servers listen. A table that is busy from its first step on has them behind it.
const START_UP_STEPS: usize = 2;
/// Steps before a span in which a flow must have been used: a minute of 10 s windows.
const RECENT_STEPS: usize = 6;
/// No name.
pub const NONE: Id = Id::MAX;

/// One end: a pod, or for the outside whatever it is known as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct End {
    pub workload: Id,
    pub pod: Id,
    pub node: Id,
    pub zone: Id,
    /// Who would report of it: its node, or itself where that is unknown.
    reporter: Id,
}

/// Bytes from one end to another.
#[derive(Debug, Clone, Copy)]
pub struct Flow {
    pub from: usize,
    pub to: usize,
    pub from_client: bool,
    row: usize,
}

/// A client end and a server end, with the indices of the flows there and back.
#[derive(Debug, Clone, Copy)]
pub struct Talk {
    pub client: usize,
    pub server: usize,
    pub there: Option<usize>,
    pub back: Option<usize>,
}

/// The table, numbered.
pub struct View<'a> {
    table: &'a EdgeTable,
    columns: Vec<Option<usize>>,
    pub step_s: f64,
    pub steps: usize,
    /// By [`End::workload`]; the namespace is part of the identity, not of the name shown.
    pub workloads: Vec<String>,
    pub pods: Vec<String>,
    pub nodes: Vec<String>,
    pub zones: Vec<String>,
    pub ends: Vec<End>,
    pub flows: Vec<Flow>,
    pub talks: Vec<Talk>,
    /// By reporter, by step.
    reports: Vec<Vec<bool>>,
}

/// Numbers given to values in the order of their coming.
struct Intern<T> {
    ids: HashMap<T, Id>,
    values: Vec<T>,
}

impl<T: Clone + Eq + Hash> Intern<T> {
    fn new() -> Self {
        Self { ids: HashMap::new(), values: Vec::new() }
    }

    fn id(&mut self, value: &T) -> Id {
        if let Some(&id) = self.ids.get(value) {
            return id;
        }
        let id = self.values.len() as Id;
        self.ids.insert(value.clone(), id);
        self.values.push(value.clone());
        id
    }
}

/// The name lists while they grow.
struct Names {
    workloads: Intern<(String, String)>,
    pods: Intern<(String, String)>,
    nodes: Intern<String>,
    zones: Intern<String>,
    ends: Intern<[String; 5]>,
    reporters: Intern<(Id, Id)>,
    numbered: Vec<End>,
}

impl Names {
    fn end(&mut self, dims: [String; 5]) -> usize {
        let id = self.ends.id(&dims) as usize;
        if id < self.numbered.len() {
            return id;
        }
        let [namespace, workload, pod, node, zone] = dims;
        let known = |empty: bool, id: Id| if empty { NONE } else { id };
        let pod_id = known(pod.is_empty(), self.pods.id(&(namespace.clone(), pod)));
        let node_id = known(node.is_empty(), self.nodes.id(&node));
        let zone_id = known(zone.is_empty(), self.zones.id(&zone));
        let reporter = self.reporters.id(&if node_id == NONE { (NONE, id as Id) } else { (node_id, NONE) });
        self.numbered.push(End { workload: self.workloads.id(&(namespace, workload)), pod: pod_id, node: node_id, zone: zone_id, reporter });
        id
    }
}

impl<'a> View<'a> {
    /// Numbers the table's rows. Rows without both ends' workload are kept: an unnamed workload is one of its own.
    pub fn new(table: &'a EdgeTable) -> Self {
        let columns = measure_names().map(|name| table.measure(name)).collect();
        let mut names = Names {
            workloads: Intern::new(),
            pods: Intern::new(),
            nodes: Intern::new(),
            zones: Intern::new(),
            ends: Intern::new(),
            reporters: Intern::new(),
            numbered: Vec::new(),
        };
        let dims = |side: &str| END_DIMS.map(|d| table.dim(&format!("{side}.{d}")));
        let (source, dest, role) = (dims("source"), dims("dest"), table.dim("role"));
        let mut flows = Vec::with_capacity(table.rows.len());
        for (row, edge) in table.rows.iter().enumerate() {
            let value = |at: Option<usize>| at.and_then(|i| edge.key.get(i)).cloned().unwrap_or_default();
            let (from, to) = (names.end(source.map(value)), names.end(dest.map(value)));
            flows.push(Flow { from, to, from_client: value(role) != "server", row });
        }
        let talks = talks(&flows);
        let mut view = View {
            table,
            columns,
            step_s: f64::from(table.step_s.unwrap_or(10)),
            steps: table.steps.len(),
            workloads: names.workloads.values.into_iter().map(|(_, w)| w).collect(),
            pods: names.pods.values.into_iter().map(|(_, p)| p).collect(),
            nodes: names.nodes.values,
            zones: names.zones.values,
            ends: names.numbered,
            flows,
            talks,
            reports: vec![vec![false; table.steps.len()]; names.reporters.values.len()],
        };
        view.learn_reports();
        view
    }

    /// A reporter reported in a step if any row holds anything that only it could have said.
    fn learn_reports(&mut self) {
        for flow in &self.flows {
            let (source, dest) = (self.ends[flow.from].reporter as usize, self.ends[flow.to].reporter as usize);
            for (m, (_, teller)) in MEASURES.iter().enumerate() {
                let Some(series) = self.columns[m].and_then(|c| self.table.rows[flow.row].series.get(c)) else { continue };
                let reports = &mut self.reports[if *teller == Teller::Source { source } else { dest }];
                for (said, value) in reports.iter_mut().zip(series) {
                    *said |= value.is_some();
                }
            }
        }
    }

    /// The first step from which usual behaviour can be taken: some after the first in which anything was open.
    pub fn begun(&self) -> usize {
        let first = self.first_active();
        if first == 0 { 0 } else { (first + START_UP_STEPS).min(self.steps) }
    }

    /// The first step in which anything was open; the number of steps if nothing was.
    pub fn first_active(&self) -> usize {
        (0..self.steps).find(|&s| (0..self.flows.len()).any(|f| self.at(f, M::Active, s) > 0.0)).unwrap_or(self.steps)
    }

    /// Start of a step; the end of the last for an index one beyond.
    pub fn time(&self, step: usize) -> Time {
        self.table.steps.get(step).copied().unwrap_or(self.table.to)
    }

    /// Name of an end's workload.
    pub fn workload(&self, end: usize) -> &str {
        &self.workloads[self.ends[end].workload as usize]
    }

    /// A flow's measure in a step: zero if its teller reported and had nothing to say, NaN if it was silent.
    pub fn at(&self, flow: usize, m: M, step: usize) -> f64 {
        let Flow { from, to, row, .. } = self.flows[flow];
        if let Some(value) = self.raw(row, m, step) {
            return value;
        }
        let teller = if MEASURES[m as usize].1 == Teller::Source { from } else { to };
        if self.reports[self.ends[teller].reporter as usize][step] { 0.0 } else { f64::NAN }
    }

    /// A quantile in a step, where there is one.
    pub fn quantile_at(&self, flow: usize, m: M, step: usize) -> Option<f64> {
        self.raw(self.flows[flow].row, m, step)
    }

    fn raw(&self, row: usize, m: M, step: usize) -> Option<f64> {
        let column = self.columns[m as usize]?;
        self.table.rows[row].series.get(column)?.get(step).copied().flatten()
    }

    /// Sum over steps, missing ones left out; zero without a flow.
    pub fn sum(&self, flow: Option<usize>, m: M, steps: Range<usize>) -> f64 {
        let Some(flow) = flow else { return 0.0 };
        steps.map(|s| self.at(flow, m, s)).filter(|v| !v.is_nan()).sum()
    }

    /// Whether anything went over a flow by TCP, or was tried, from a minute before the steps on. A name that is no longer in use (a socket seen before its
    /// owner was known) leaves rows behind that nobody is hit by.
    pub fn is_used(&self, flow: Option<usize>, steps: &Range<usize>) -> bool {
        [M::SegmentsSent, M::SegmentsReceived, M::Connects].into_iter().any(|m| self.has_recent(flow, m, steps))
    }

    /// Whether names were asked for over a flow, from a minute before the steps on.
    pub fn asks_names(&self, flow: Option<usize>, steps: &Range<usize>) -> bool {
        self.has_recent(flow, M::DnsRequests, steps)
    }

    fn has_recent(&self, flow: Option<usize>, m: M, steps: &Range<usize>) -> bool {
        self.sum(flow, m, steps.start.saturating_sub(RECENT_STEPS)..steps.end) > 0.0
    }

    /// Whether whoever reports of this end did so in that step.
    pub fn reported(&self, end: usize, step: usize) -> bool {
        self.reports[self.ends[end].reporter as usize][step]
    }

    /// Steps in which whoever reports of this end did so.
    pub fn reported_in(&self, end: usize, steps: Range<usize>) -> usize {
        steps.filter(|&s| self.reported(end, s)).count()
    }
}

fn talks(flows: &[Flow]) -> Vec<Talk> {
    let mut index: HashMap<(usize, usize), usize> = HashMap::new();
    let mut talks: Vec<Talk> = Vec::new();
    for (f, flow) in flows.iter().enumerate() {
        let (client, server) = if flow.from_client { (flow.from, flow.to) } else { (flow.to, flow.from) };
        let at = *index.entry((client, server)).or_insert_with(|| {
            talks.push(Talk { client, server, there: None, back: None });
            talks.len() - 1
        });
        let slot = if flow.from_client { &mut talks[at].there } else { &mut talks[at].back };
        slot.get_or_insert(f);
    }
    talks
}
