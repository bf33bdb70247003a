//! What must be done to the running company so that a fault exists: packet filter rules on routers, delays in the relay,
//! behaviour of services. Pure: [`crate::Testbed`] carries it out.

use crate::component::Component;
use crate::fault::Kind;
use crate::strength::Degree;
use crate::topology::{Flow, Node, Pod, Topology};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// A namespace that forwards packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Router {
    Core,
    Zone(usize),
    Node(usize),
}

/// Names of network interfaces inside the routers; the kernel allows 15 characters, hence numbers.
pub fn pod_interface(pod: usize) -> String {
    format!("pod{pod}")
}

pub fn node_interface(node: usize) -> String {
    format!("node{node}")
}

pub fn zone_interface(zone: usize) -> String {
    format!("zone{zone}")
}

/// Towards the next router up.
pub const UPLINK: &str = "uplink";

/// How a service behaves other than usual.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    pub think_added_us: u32,
    /// Per connection; absent means as fast as data comes.
    pub read_bytes_per_s: Option<u32>,
    /// Share of its calls to a target that a client still makes.
    pub demand: BTreeMap<String, f64>,
    /// Share of questions that a resolver answers with SERVFAIL.
    pub servfail: f64,
    /// A resolver that answers nothing.
    pub mute: bool,
}

impl Behaviour {
    /// Both at once, for faults that overlap.
    pub fn and(mut self, other: &Behaviour) -> Behaviour {
        self.think_added_us += other.think_added_us;
        self.read_bytes_per_s = [self.read_bytes_per_s, other.read_bytes_per_s].into_iter().flatten().min();
        for (target, factor) in &other.demand {
            *self.demand.entry(target.clone()).or_insert(1.0) *= factor;
        }
        self.servfail = self.servfail.max(other.servfail);
        self.mute |= other.mute;
        self
    }
}

/// An address of the company as the relay numbers them: pods first, then nodes, then management.
pub type Endpoint = u16;

/// Extra delay on the wires from one endpoint to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DelayRule {
    /// By which it is counted; several rules may share one.
    pub id: u32,
    pub pairs: Vec<(Endpoint, Endpoint)>,
    pub add_us: u32,
}

/// Everything that makes one fault.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Effect {
    /// nftables scripts, each for one router; their table is [`table`] of the fault's id.
    pub filters: BTreeMap<Router, String>,
    pub delays: Vec<DelayRule>,
    /// By pod.
    pub behaviours: BTreeMap<usize, Behaviour>,
    /// Pods whose process dies.
    pub kills: Vec<usize>,
}

/// Name of the nftables table of a fault.
pub fn table(id: u32) -> String {
    format!("es_fault_{id}")
}

/// What makes a fault of `kind` on `component`; `id` tells it from others of the same run.
pub fn effect(topology: &Topology, kind: Kind, component: &Component, degree: Degree, id: u32) -> Effect {
    let mut effect = Effect::default();
    match degree {
        Degree::DropPer10k(_) | Degree::FlowsPercent(_) => {
            let action = action(topology, kind, degree);
            effect.filters = places(topology, component).into_iter().map(|(router, p)| (router, script(&table(id), &action, &p))).collect();
        }
        Degree::RttAddedUs(us) => effect.delays = delays(topology, component, us, id),
        Degree::Gone => effect.kills = owned(topology, component),
        Degree::ThinkAddedUs(us) => {
            let slow = Behaviour { think_added_us: us, ..Behaviour::default() };
            effect.behaviours = owned(topology, component).into_iter().map(|p| (p, slow.clone())).collect();
        }
        Degree::ReadBytesPerS(rate) => {
            let slow = Behaviour { read_bytes_per_s: Some(rate), ..Behaviour::default() };
            effect.behaviours = owned(topology, component).into_iter().map(|p| (p, slow.clone())).collect();
        }
        Degree::DemandPercent(percent) => effect.behaviours = demand(topology, component, percent),
        Degree::ServfailPercent(percent) => {
            let failing = Behaviour { servfail: f64::from(percent) / 100.0, ..Behaviour::default() };
            effect.behaviours = owned(topology, component).into_iter().map(|p| (p, failing.clone())).collect();
        }
        Degree::Mute => {
            let mute = Behaviour { mute: true, ..Behaviour::default() };
            effect.behaviours = owned(topology, component).into_iter().map(|p| (p, mute.clone())).collect();
        }
    }
    effect
}

/// Pods that belong to a component of processes.
fn owned(topology: &Topology, component: &Component) -> Vec<usize> {
    let belongs = |(index, pod): &(usize, &Pod)| match component {
        Component::Pod(p) => index == p,
        Component::Workload(w) => pod.workload == *w,
        Component::Dns => pod.is_resolver,
        _ => false,
    };
    topology.pods.iter().enumerate().filter(belongs).map(|(index, _)| index).collect()
}

fn demand(topology: &Topology, component: &Component, percent: u32) -> BTreeMap<usize, Behaviour> {
    let (clients, target) = match component {
        Component::Edge(from, to) => (topology.replicas(from).map(|(p, _)| p).collect(), Some(to)),
        other => (owned(topology, other), None),
    };
    let less = |pod: usize| {
        let calls = topology.calls.iter().filter(|c| c.from == topology.pods[pod].workload && target.is_none_or(|t| c.to == *t));
        Behaviour { demand: calls.map(|c| (c.to.clone(), f64::from(percent) / 100.0)).collect(), ..Behaviour::default() }
    };
    clients.into_iter().map(|pod| (pod, less(pod))).collect()
}

/// Where on a router's way packets are matched.
#[derive(Default)]
struct Place {
    /// Match expressions in the forward hook; the empty one matches all.
    forward: BTreeSet<String>,
    /// Match expressions in the input hook: what a node's own programs receive.
    input: BTreeSet<String>,
}

/// The routers that see a component's packets, each packet at exactly one of them, and never in the sender's own output hook:
/// there a drop is told to the sender and is not seen as loss.
fn places(topology: &Topology, component: &Component) -> BTreeMap<Router, Place> {
    let mut places: BTreeMap<Router, Place> = BTreeMap::new();
    let mut forward = |router: Router, expression: String| {
        places.entry(router).or_default().forward.insert(expression);
    };
    match component {
        Component::Pod(_) | Component::Workload(_) | Component::Dns => {
            for pod in owned(topology, component) {
                let router = Router::Node(topology.pods[pod].node);
                forward(router, format!("iifname \"{}\"", pod_interface(pod)));
                forward(router, format!("oifname \"{}\"", pod_interface(pod)));
            }
        }
        Component::Edge(from, to) => {
            let (to4, to6) = addresses(topology.replicas(to).map(|(_, pod)| pod));
            for (pod, _) in topology.replicas(from) {
                let router = Router::Node(topology.pods[pod].node);
                forward(router, format!("iifname \"{}\" ip daddr {{ {to4} }}", pod_interface(pod)));
                forward(router, format!("iifname \"{}\" ip6 daddr {{ {to6} }}", pod_interface(pod)));
            }
        }
        Component::Node(n) => {
            let Node { zone, ipv4, ipv6, .. } = &topology.nodes[*n];
            forward(Router::Node(*n), String::new());
            forward(Router::Zone(*zone), format!("iifname \"{}\" ip saddr {ipv4}", node_interface(*n)));
            forward(Router::Zone(*zone), format!("iifname \"{}\" ip6 saddr {ipv6}", node_interface(*n)));
            let input = &mut places.entry(Router::Node(*n)).or_default().input;
            input.extend([format!("ip daddr {ipv4}"), format!("ip6 daddr {ipv6}")]);
        }
        Component::Zone(z) => {
            forward(Router::Core, format!("iifname \"{}\"", zone_interface(*z)));
            forward(Router::Core, format!("oifname \"{}\"", zone_interface(*z)));
        }
        Component::ZonePair(a, b) => {
            forward(Router::Core, format!("iifname \"{}\" oifname \"{}\"", zone_interface(*a), zone_interface(*b)));
        }
    }
    places
}

fn addresses<'a>(pods: impl Iterator<Item = &'a Pod>) -> (String, String) {
    let (v4, v6): (Vec<_>, Vec<_>) = pods.map(|p| (p.ipv4.to_string(), p.ipv6.to_string())).unzip();
    (v4.join(", "), v6.join(", "))
}

/// The rule that counts what it sees, throws the dice and acts.
fn action(topology: &Topology, kind: Kind, degree: Degree) -> String {
    let dice = match degree {
        Degree::DropPer10k(n) => format!("numgen random mod 10000 < {n}"),
        // A symmetric hash: a flow that is hit is hit in both directions, where the fault has both.
        Degree::FlowsPercent(p) if p < 100 => format!("symhash mod 100 < {p}"),
        _ => String::new(),
    };
    if kind != Kind::Refused {
        return format!("counter name seen {dice} counter name hit drop");
    }
    let ports: BTreeSet<String> = topology.pods.iter().filter_map(|p| p.port).map(|p| p.to_string()).collect();
    let ports = ports.into_iter().collect::<Vec<_>>().join(", ");
    format!("tcp dport {{ {ports} }} counter name seen {dice} counter name hit reject with tcp reset")
}

/// Before all else (-300): no connection tracking shortcut spares a long-lived connection. `goto` does not come back, so that a
/// packet that matches twice is diced once.
fn script(table: &str, action: &str, place: &Place) -> String {
    let chain = |hook: &str, expressions: &BTreeSet<String>| {
        let rules: String = expressions.iter().map(|e| format!("    {e} goto fault\n")).collect();
        format!("  chain {hook} {{\n    type filter hook {hook} priority -300; policy accept;\n{rules}  }}\n")
    };
    let hooks = [("forward", &place.forward), ("input", &place.input)];
    let chains: String = hooks.iter().filter(|(_, e)| !e.is_empty()).map(|(hook, e)| chain(hook, e)).collect();
    format!("table inet {table} {{\n  counter seen {{\n  }}\n  counter hit {{\n  }}\n  chain fault {{\n    {action}\n  }}\n{chains}}}\n")
}

/// Extra delays for all endpoint pairs whose packets pass `component` on a wire between nodes; where both ways pass, each gets
/// half, so that the round trip grows by `rtt_added_us` in every case.
fn delays(topology: &Topology, component: &Component, rtt_added_us: u32, id: u32) -> Vec<DelayRule> {
    let mut one_way = DelayRule { id, pairs: Vec::new(), add_us: rtt_added_us };
    let mut both_ways = DelayRule { id, pairs: Vec::new(), add_us: rtt_added_us / 2 };
    let endpoint = |index: usize| Endpoint::try_from(index).expect("an address plan of 200 × 200 fits 16 bits");
    for from in 0..topology.pods.len() {
        for to in (0..topology.pods.len()).filter(|&to| topology.pods[to].node != topology.pods[from].node) {
            let there = component.carries(topology, Flow { from, to });
            let back = component.carries(topology, Flow { from: to, to: from });
            match (there, back) {
                (true, true) => both_ways.pairs.push((endpoint(from), endpoint(to))),
                (true, false) => one_way.pairs.push((endpoint(from), endpoint(to))),
                _ => {}
            }
        }
    }
    let mgmt = endpoint(topology.pods.len() + topology.nodes.len());
    for (n, node) in topology.nodes.iter().enumerate() {
        let agent = endpoint(topology.pods.len() + n);
        if *component == Component::Node(n) || *component == Component::Zone(node.zone) {
            both_ways.pairs.extend([(agent, mgmt), (mgmt, agent)]);
        }
    }
    [one_way, both_ways].into_iter().filter(|rule| !rule.pairs.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Fault;
    use crate::spec::Spec;
    use crate::strength::degree;

    fn shop() -> Topology {
        Topology::new(Spec::built_in("shop").expect("built in")).expect("sound")
    }

    fn effect_of(text: &str) -> Effect {
        let fault: Fault = text.parse().expect(text);
        let component = fault.resolve(&shop(), 1).expect(text);
        effect(&shop(), fault.kind, &component, degree(fault.kind, fault.strength), 1)
    }

    #[test]
    fn a_zone_fault_is_one_table_in_the_core() {
        let effect = effect_of("loss:zone=us-east-1b:clear");
        let script = &effect.filters[&Router::Core];
        assert_eq!(effect.filters.len(), 1);
        assert!(script.contains("iifname \"zone1\" goto fault") && script.contains("oifname \"zone1\" goto fault"));
        assert!(script.contains("numgen random mod 10000 < 500 counter name hit drop"), "{script}");
    }

    #[test]
    fn an_edge_fault_sits_on_the_routers_of_the_senders() {
        let effect = effect_of("loss:edge=cartservice>redis-cart:clear");
        assert_eq!(effect.filters.keys().copied().collect::<Vec<_>>(), vec![Router::Node(1), Router::Node(3)]);
    }

    #[test]
    fn a_node_fault_holds_its_own_traffic_too() {
        let effect = effect_of("blackhole:node=node-3:clear");
        assert!(effect.filters[&Router::Zone(1)].contains("ip saddr 10.2.3.1 goto fault"));
        assert!(effect.filters[&Router::Node(2)].contains("hook input"));
    }

    #[test]
    fn delays_split_where_both_ways_pass() {
        let pod = effect_of("congestion:pod=cartservice-1:clear");
        assert_eq!(pod.delays.iter().map(|d| d.add_us).collect::<Vec<_>>(), vec![5_000]);
        let pair = effect_of("congestion:zone_pair=us-east-1a>us-east-1b:clear");
        assert_eq!(pair.delays.iter().map(|d| d.add_us).collect::<Vec<_>>(), vec![10_000]);
    }

    #[test]
    fn less_demand_on_an_edge_spares_the_client_s_other_calls() {
        let effect = effect_of("demand_drop:edge=frontend>adservice:clear");
        assert_eq!(effect.behaviours.len(), 3);
        for behaviour in effect.behaviours.values() {
            assert_eq!(behaviour.demand, BTreeMap::from([("adservice".to_string(), 0.3)]));
        }
    }

    #[test]
    fn resolvers_fail_or_fall_silent_and_nobody_else_does() {
        for (strength, failing) in
            [("weak", Behaviour { servfail: 0.4, ..Behaviour::default() }), ("strong", Behaviour { mute: true, ..Behaviour::default() })]
        {
            let effect = effect_of(&format!("dns:dns:{strength}"));
            let pods: Vec<_> = effect.behaviours.keys().map(|&p| shop().pods[p].workload.clone()).collect();
            assert_eq!(pods, ["kube-dns", "kube-dns"]);
            assert!(effect.behaviours.values().all(|b| *b == failing) && effect.filters.is_empty());
        }
    }

    #[test]
    fn behaviours_of_two_faults_add_up() {
        let slow = Behaviour { think_added_us: 5, read_bytes_per_s: Some(100), demand: BTreeMap::from([("a".into(), 0.5)]), ..Behaviour::default() };
        let both = slow.clone().and(&slow).and(&Behaviour::default());
        assert_eq!((both.think_added_us, both.read_bytes_per_s, both.demand["a"]), (10, Some(100), 0.25));
    }
}
