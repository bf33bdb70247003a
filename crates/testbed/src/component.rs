//! What can be guilty: pods, nodes, zones, directed zone pairs, edges, workloads, and which flows each of them carries.

use crate::fault::Scope;
use crate::topology::{Flow, Topology};
use serde::Serialize;
use std::collections::{BTreeSet, HashSet};

/// A part of the company that a fault can sit on (indices into the topology).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub enum Component {
    Pod(usize),
    Node(usize),
    Zone(usize),
    /// Traffic from the first zone to the second.
    ZonePair(usize, usize),
    /// Bytes from the first workload to the second, all replicas.
    Edge(String, String),
    Workload(String),
    /// All resolvers.
    Dns,
}

/// A seed picks only edges with at least this many calls per second: 5 % loss of fewer packets would take minutes to see.
const EDGE_CALLS_PER_S_MIN: f64 = 10.0;

impl Component {
    /// All components of a scope. Edges are those that carry data when nothing is wrong, in both directions.
    pub fn all(topology: &Topology, scope: Scope) -> Vec<Component> {
        let zones = 0..topology.spec.zones.len();
        match scope {
            Scope::Pod => (0..topology.pods.len()).filter(|&p| !topology.pods[p].is_resolver).map(Component::Pod).collect(),
            Scope::Node => (0..topology.nodes.len()).map(Component::Node).collect(),
            Scope::Zone => zones.map(Component::Zone).collect(),
            Scope::ZonePair => {
                let others = |a: usize| zones.clone().filter(move |&b| b != a).map(move |b| Component::ZonePair(a, b));
                zones.clone().flat_map(others).collect()
            }
            Scope::Edge => {
                let both = |c: &crate::topology::Call| [Component::Edge(c.from.clone(), c.to.clone()), Component::Edge(c.to.clone(), c.from.clone())];
                topology.calls.iter().flat_map(both).collect()
            }
            Scope::Workload => topology.spec.services.iter().map(|s| Component::Workload(s.name.clone())).collect(),
            Scope::Dns => vec![Component::Dns],
        }
    }

    pub fn scope(&self) -> Scope {
        match self {
            Component::Pod(_) => Scope::Pod,
            Component::Node(_) => Scope::Node,
            Component::Zone(_) => Scope::Zone,
            Component::ZonePair(..) => Scope::ZonePair,
            Component::Edge(..) => Scope::Edge,
            Component::Workload(_) => Scope::Workload,
            Component::Dns => Scope::Dns,
        }
    }

    /// The first name, and the second for a pair.
    pub fn name_and_peer(&self, topology: &Topology) -> (String, Option<String>) {
        match self {
            Component::Pod(p) => (topology.pods[*p].name.clone(), None),
            Component::Node(n) => (topology.nodes[*n].name.clone(), None),
            Component::Zone(z) => (topology.spec.zones[*z].clone(), None),
            Component::ZonePair(a, b) => (topology.spec.zones[*a].clone(), Some(topology.spec.zones[*b].clone())),
            Component::Edge(a, b) => (a.clone(), Some(b.clone())),
            Component::Workload(w) => (w.clone(), None),
            Component::Dns => (topology.spec.resolver.name.clone(), None),
        }
    }

    /// As it is written in a fault: `us-east-1b`, `us-east-1a>us-east-1b`.
    pub fn name(&self, topology: &Topology) -> String {
        match self.name_and_peer(topology) {
            (name, Some(peer)) => format!("{name}>{peer}"),
            (name, None) => name,
        }
    }

    /// Whether packets of `flow` pass this component. A zone's is the traffic that enters or leaves it; a node's is all of its
    /// pods' traffic, between themselves too.
    pub fn carries(&self, topology: &Topology, flow: Flow) -> bool {
        let (from, to) = (&topology.pods[flow.from], &topology.pods[flow.to]);
        match self {
            Component::Pod(p) => flow.from == *p || flow.to == *p,
            Component::Node(n) => from.node == *n || to.node == *n,
            Component::Zone(z) => (from.zone == *z) != (to.zone == *z),
            Component::ZonePair(a, b) => from.zone == *a && to.zone == *b,
            Component::Edge(a, b) => from.workload == *a && to.workload == *b,
            Component::Workload(w) => from.workload == *w || to.workload == *w,
            // Services do not call resolvers, they ask them.
            Component::Dns => false,
        }
    }

    /// All flows that pass this component.
    pub fn flows(&self, topology: &Topology) -> BTreeSet<Flow> {
        topology.flows().into_iter().filter(|&flow| self.carries(topology, flow)).collect()
    }

    /// Whether an observer of end points has a chance to name this component rather than a neighbour: a workload (or a pod's)
    /// needs two peers, else it cannot be told from its only edge; an edge needs traffic, and ends that also talk to others.
    pub fn is_distinct(&self, topology: &Topology) -> bool {
        match self {
            Component::Pod(p) => peers(topology, &topology.pods[*p].workload).len() >= 2,
            Component::Workload(w) => peers(topology, w).len() >= 2,
            Component::Edge(from, to) => {
                // Requests one way, answers the other: either may be hit.
                let rate = topology.call(from, to).or(topology.call(to, from)).map_or(0.0, |c| c.rate_per_s);
                rate >= EDGE_CALLS_PER_S_MIN && peers(topology, from).len() >= 2 && peers(topology, to).len() >= 2
            }
            Component::Node(_) | Component::Zone(_) | Component::ZonePair(..) | Component::Dns => true,
        }
    }

    /// Whether it can still be told from its neighbours when requests do not get through: a service whose only caller no longer
    /// reaches it asks nobody either, so that the edge to it and the whole of it look the same.
    pub fn is_distinct_when_cut(&self, topology: &Topology) -> bool {
        let callers = |server: &str| topology.calls.iter().filter(|c| c.to == server).count();
        match self {
            Component::Workload(w) => callers(w) >= 2,
            Component::Edge(a, b) => callers(if topology.call(a, b).is_some() { b } else { a }) >= 2,
            Component::Pod(_) | Component::Node(_) | Component::Zone(_) | Component::ZonePair(..) | Component::Dns => true,
        }
    }
}

/// Workloads that a workload talks to, as client or server.
fn peers<'a>(topology: &'a Topology, workload: &str) -> HashSet<&'a str> {
    let of = |c: &'a crate::topology::Call| match (c.from == workload, c.to == workload) {
        (true, _) => Some(c.to.as_str()),
        (_, true) => Some(c.from.as_str()),
        _ => None,
    };
    topology.calls.iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Spec;
    use std::collections::HashMap;

    fn built_in() -> impl Iterator<Item = Topology> {
        Spec::BUILT_IN.iter().map(|name| Topology::new(Spec::built_in(name).expect(name)).expect(name))
    }

    /// Two components with the same flows could never be told apart, whatever the product does.
    #[test]
    fn every_component_has_its_own_set_of_flows() {
        for topology in built_in() {
            let mut seen: HashMap<BTreeSet<Flow>, String> = HashMap::new();
            let with_flows = Scope::ALL.iter().filter(|&&scope| scope != Scope::Dns);
            for component in with_flows.flat_map(|&scope| Component::all(&topology, scope)) {
                let flows = component.flows(&topology);
                let name = format!("{} {}", component.scope(), component.name(&topology));
                assert!(!flows.is_empty(), "{name} carries nothing");
                if let Some(other) = seen.insert(flows, name.clone()) {
                    panic!("{name} and {other} carry the same flows");
                }
            }
        }
    }

    /// Weaker observers see workload pairs by zone only; even so no two zones, pairs or nodes look alike.
    #[test]
    fn nodes_and_zones_differ_by_what_crosses_nodes() {
        for topology in built_in() {
            let crossing = |c: &Component| -> BTreeSet<Flow> {
                c.flows(&topology).into_iter().filter(|f| topology.pods[f.from].node != topology.pods[f.to].node).collect()
            };
            let scopes = [Scope::Node, Scope::Zone, Scope::ZonePair];
            let all: Vec<_> = scopes.iter().flat_map(|&s| Component::all(&topology, s)).map(|c| crossing(&c)).collect();
            assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        }
    }

    #[test]
    fn a_zone_pair_has_a_direction_and_a_zone_spares_its_inside() {
        let topology = built_in().next().expect("shop");
        let pair = Component::ZonePair(0, 1);
        assert!(pair.flows(&topology).iter().all(|f| topology.pods[f.from].zone == 0 && topology.pods[f.to].zone == 1));
        assert!(Component::Zone(0).flows(&topology).iter().all(|f| topology.pods[f.from].zone != topology.pods[f.to].zone));
    }

    #[test]
    fn a_workload_with_one_peer_is_not_distinct() {
        let topology = built_in().next().expect("shop");
        assert!(!Component::Workload("loadgenerator".into()).is_distinct(&topology));
        assert!(Component::Workload("redis-cart".into()).is_distinct(&topology));
    }

    #[test]
    fn a_service_with_one_caller_is_not_distinct_when_it_is_cut() {
        let topology = built_in().next().expect("shop");
        let edge = |to: &str| Component::Edge("checkoutservice".into(), to.into());
        assert!(edge("paymentservice").is_distinct(&topology) && !edge("paymentservice").is_distinct_when_cut(&topology));
        assert!(edge("currencyservice").is_distinct_when_cut(&topology));
        let answers = |from: &str| Component::Edge(from.into(), "checkoutservice".into());
        assert!(answers("paymentservice").is_distinct(&topology) && !answers("paymentservice").is_distinct_when_cut(&topology));
        assert!(answers("currencyservice").is_distinct_when_cut(&topology));
    }
}
