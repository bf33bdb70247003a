//! What can be guilty, and which units (flows or talks) pass it.

use crate::view::{End, NONE, View};
use edgescope_model::verdict::{Culprit, Scope};
use std::collections::{BTreeMap, BTreeSet};

/// A thing that can be guilty. Pairs have a direction: where bytes come from, where they go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Component {
    Zone(u32),
    ZonePair(u32, u32),
    Node(u32),
    NodePair(u32, u32),
    Workload(u32),
    Edge(u32, u32),
    Pod(u32),
}

/// How a unit relates to a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cross {
    /// Passes it: must suffer if it is guilty.
    Must,
    /// May pass it (two pods of one node need not leave it): suffering is explained, health says nothing.
    May,
}

/// What of a talk must pass a component for the talk to suffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sense {
    /// The unit is a flow, and bytes in that direction suffer (loss). The way back is [`Cross::May`]: lost acknowledgements show there a little.
    Flow,
    /// The unit is a talk, and either direction is enough (time-outs, round trips). Pairs are kept in one order; which way it was is asked later.
    Either,
    /// The unit is a talk, and the requests' direction counts (refusals).
    Request,
}

impl Component {
    /// Largest first: the order in which equals are blamed (BlameIt).
    pub fn scope(self) -> Scope {
        match self {
            Self::Zone(_) => Scope::Zone,
            Self::ZonePair(..) => Scope::ZonePair,
            Self::Node(_) => Scope::Node,
            Self::NodePair(..) => Scope::NodePair,
            Self::Workload(_) => Scope::Workload,
            Self::Edge(..) => Scope::Edge,
            Self::Pod(_) => Scope::Pod,
        }
    }

    /// Rank by size, 0 the largest.
    pub fn rank(self) -> usize {
        const ORDER: [Scope; 7] = [Scope::Zone, Scope::ZonePair, Scope::Node, Scope::Workload, Scope::Edge, Scope::NodePair, Scope::Pod];
        ORDER.iter().position(|&s| s == self.scope()).unwrap_or(ORDER.len())
    }

    pub fn culprit(self, view: &View<'_>) -> Culprit {
        let of = |list: &[String], id: u32| list[id as usize].clone();
        let (name, peer) = match self {
            Self::Zone(z) => (of(&view.zones, z), None),
            Self::ZonePair(a, b) => (of(&view.zones, a), Some(of(&view.zones, b))),
            Self::Node(n) => (of(&view.nodes, n), None),
            Self::NodePair(a, b) => (of(&view.nodes, a), Some(of(&view.nodes, b))),
            Self::Workload(w) => (of(&view.workloads, w), None),
            Self::Edge(a, b) => (of(&view.workloads, a), Some(of(&view.workloads, b))),
            Self::Pod(p) => (of(&view.pods, p), None),
        };
        Culprit { scope: self.scope(), name, peer }
    }

    /// As in a sentence: `zone us-east-1b`, `the path from zone a to zone b`.
    pub fn phrase(self, view: &View<'_>) -> String {
        let Culprit { name, peer, .. } = self.culprit(view);
        let peer = peer.unwrap_or_default();
        match self {
            Self::Zone(_) => format!("zone {name}"),
            Self::ZonePair(..) => format!("the path from zone {name} to zone {peer}"),
            Self::Node(_) => format!("node {name}"),
            Self::NodePair(..) => format!("the path from node {name} to node {peer}"),
            Self::Workload(_) => format!("workload {name}"),
            Self::Edge(..) => format!("the edge {name} → {peer}"),
            Self::Pod(_) => format!("pod {name}"),
        }
    }

    /// The same pair the other way round.
    pub fn reversed(self) -> Self {
        match self {
            Self::ZonePair(a, b) => Self::ZonePair(b, a),
            Self::NodePair(a, b) => Self::NodePair(b, a),
            Self::Edge(a, b) => Self::Edge(b, a),
            other => other,
        }
    }

    /// Whether this end lies in the component; for pairs, in its first (`0`) or second (`1`) half.
    pub fn half(self, end: &End, half: usize) -> bool {
        match self {
            Self::Zone(z) => end.zone == z,
            Self::Node(n) => end.node == n,
            Self::Workload(w) => end.workload == w,
            Self::Pod(p) => end.pod == p,
            Self::ZonePair(a, b) => end.zone == [a, b][half],
            Self::NodePair(a, b) => end.node == [a, b][half],
            Self::Edge(a, b) => end.workload == [a, b][half],
        }
    }

    /// Whether bytes from one end to the other pass this component.
    pub fn carries(self, from: &End, to: &End) -> bool {
        match self {
            // A zone's trouble is told by what enters or leaves it, a node's likewise.
            Self::Zone(_) | Self::Node(_) => self.half(from, 0) != self.half(to, 0),
            Self::Workload(_) | Self::Pod(_) => self.half(from, 0) || self.half(to, 0),
            _ => self.half(from, 0) && self.half(to, 1),
        }
    }
}

/// Components that bytes from one end to the other pass, in that direction.
fn passed(from: &End, to: &End) -> Vec<(Component, Cross)> {
    let mut all = Vec::with_capacity(10);
    let both = |a: u32, b: u32| a != NONE && b != NONE && a != b;
    for end in [from, to] {
        if end.pod != NONE {
            all.push((Component::Pod(end.pod), Cross::Must));
        }
        all.push((Component::Workload(end.workload), Cross::Must));
        if end.node != NONE {
            all.push((Component::Node(end.node), if from.node == to.node { Cross::May } else { Cross::Must }));
        }
        if end.zone != NONE && from.zone != to.zone {
            all.push((Component::Zone(end.zone), Cross::Must));
        }
    }
    if both(from.zone, to.zone) {
        all.push((Component::ZonePair(from.zone, to.zone), Cross::Must));
    }
    if both(from.node, to.node) {
        all.push((Component::NodePair(from.node, to.node), Cross::Must));
    }
    all.push((Component::Edge(from.workload, to.workload), Cross::Must));
    all
}

/// By component, the units that pass it.
pub type Crossings = BTreeMap<Component, Vec<(usize, Cross)>>;

/// For each component the units that pass it; `ends` are the unit's source and destination (client and server, for talks).
pub fn crossings(view: &View<'_>, units: &[(usize, usize)], sense: Sense) -> Crossings {
    let mut all: Crossings = BTreeMap::new();
    for (unit, &(from, to)) in units.iter().enumerate() {
        let (from, to) = (&view.ends[from], &view.ends[to]);
        let mut seen = BTreeSet::new();
        for (component, cross) in passed(from, to) {
            let component = if sense == Sense::Either { in_order(component) } else { component };
            if seen.insert(component) {
                all.entry(component).or_default().push((unit, cross));
            }
            let reversed = component.reversed();
            if sense == Sense::Flow && reversed != component && seen.insert(reversed) {
                all.entry(reversed).or_default().push((unit, Cross::May));
            }
        }
    }
    all
}

/// Zone and node pairs that cannot be told from their reverse, in one order; an edge stays as client → server.
fn in_order(component: Component) -> Component {
    match component {
        Component::ZonePair(a, b) if a > b => Component::ZonePair(b, a),
        Component::NodePair(a, b) if a > b => Component::NodePair(b, a),
        other => other,
    }
}
