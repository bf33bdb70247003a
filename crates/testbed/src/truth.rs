//! What a run knows about its faults: what was asked for, what it really did, and what a right diagnosis says.
//!
//! Written into the run directory's `truth.json` only; the product under test has no way to it.

use crate::component::Component;
use crate::fault::{Fault, Kind, Scope};
use crate::strength::Degree;
use crate::topology::{Flow, Topology};
use chrono::{DateTime, Utc};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Clone, Debug, Serialize)]
pub struct Truth {
    /// As asked for.
    pub fault: Fault,
    pub degree: Degree,
    /// What a right diagnosis says: `network` or `not_network`.
    pub verdict: &'static str,
    pub class: &'static str,
    pub scope: Scope,
    /// For a pair, its first name; `peer` is the second.
    pub name: String,
    pub peer: Option<String>,
    /// Names that no observer of end points could tell from `name`, as `(name, peer)`: a round trip does not say on which way
    /// the delay was.
    pub same_as: Vec<(String, Option<String>)>,
    pub injected_at: DateTime<Utc>,
    /// Absent while the fault lasts.
    pub healed_at: Option<DateTime<Utc>>,
    /// What the fault really did, up to now or up to healing.
    pub measured: Measured,
    /// Workload pairs that feel it themselves, by the topology and who calls whom.
    pub affected: Vec<Affected>,
}

/// A directed workload pair (direction of the bytes) that a fault touches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Affected {
    pub source: String,
    pub dest: String,
    /// Whether `source` opens the connections.
    pub source_is_client: bool,
    /// Share of this pair's replica pairs that are touched, above 0 and at most 1.
    pub share: f64,
    /// The fault acts on packets of this very direction; else the pair suffers because its answers or its requests do.
    pub direct: bool,
}

/// Counters of what a fault did; those of another kind of fault stay 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Measured {
    /// Packets that reached the fault, and those it hit (dropped, reset, or held back).
    pub packets_seen: u64,
    pub packets_hit: u64,
    /// Mean delay that the relay really added to those held back, one way.
    pub delay_added_us_mean: f64,
    /// Processes killed.
    pub pods_killed: u64,
    /// Requests that were made to wait, and for how long in sum.
    pub requests_delayed: u64,
    pub think_added_us: u64,
    /// Reads that were made to wait, and for how long in sum.
    pub reads_delayed: u64,
    pub read_wait_us: u64,
    /// Requests that would have been made.
    pub requests_withheld: u64,
    /// Questions that resolvers did not answer, or not with addresses.
    pub questions_failed: u64,
}

impl Measured {
    pub fn hit_ratio(&self) -> f64 {
        if self.packets_seen == 0 { 0.0 } else { self.packets_hit as f64 / self.packets_seen as f64 }
    }
}

/// Verdict and class of a right diagnosis.
pub fn verdict(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Loss => ("network", "loss"),
        Kind::Congestion => ("network", "latency"),
        Kind::Blackhole => ("network", "unreachable"),
        Kind::Refused => ("network", "policy"),
        Kind::Crash => ("not_network", "service_down"),
        Kind::SlowService => ("not_network", "service_slow"),
        Kind::SlowReader => ("not_network", "receiver_limited"),
        Kind::DemandDrop => ("not_network", "demand_drop"),
        Kind::Dns => ("network", "dns"),
    }
}

impl Truth {
    pub fn new(topology: &Topology, fault: &Fault, component: &Component, injected_at: DateTime<Utc>) -> Truth {
        let (verdict, class) = verdict(fault.kind);
        let (name, peer) = component.name_and_peer(topology);
        let mirror = peer.clone().filter(|_| fault.kind == Kind::Congestion);
        Truth {
            fault: fault.clone(),
            degree: crate::strength::degree(fault.kind, fault.strength),
            verdict,
            class,
            scope: component.scope(),
            same_as: mirror.map(|peer| (peer, Some(name.clone()))).into_iter().collect(),
            name,
            peer,
            injected_at,
            healed_at: None,
            measured: Measured::default(),
            affected: affected(topology, fault.kind, component),
        }
    }
}

/// Whether a fault of `kind` on `component` acts on bytes that go from `flow.from` to `flow.to`.
fn acts_on(topology: &Topology, kind: Kind, component: &Component, flow: Flow, from_client: bool) -> bool {
    let carries = component.carries(topology, flow);
    let owns = |pod: usize| match component {
        Component::Pod(p) => pod == *p,
        Component::Workload(w) => topology.pods[pod].workload == *w,
        _ => false,
    };
    let server = if from_client { flow.to } else { flow.from };
    match kind {
        Kind::Loss | Kind::Blackhole => carries,
        // The relay holds packets on the wires between nodes.
        Kind::Congestion => carries && topology.pods[flow.from].node != topology.pods[flow.to].node,
        // The middlebox resets what goes to a service's port.
        Kind::Refused => carries && from_client,
        Kind::Crash => carries,
        Kind::SlowService => owns(server),
        Kind::SlowReader => owns(flow.to),
        Kind::DemandDrop => carries && from_client,
        // Nobody calls a resolver: who asks it is told apart.
        Kind::Dns => false,
    }
}

/// Who asks the resolvers: whoever calls anybody.
fn askers(topology: &Topology) -> Vec<Affected> {
    let clients: BTreeSet<&str> = topology.calls.iter().map(|call| call.from.as_str()).collect();
    let resolver = topology.spec.resolver.name.as_str();
    let pair = |source: &str, dest: &str| Affected {
        source: source.to_string(),
        dest: dest.to_string(),
        source_is_client: dest == resolver,
        share: 1.0,
        direct: true,
    };
    clients.iter().flat_map(|client| [pair(client, resolver), pair(resolver, client)]).collect()
}

fn affected(topology: &Topology, kind: Kind, component: &Component) -> Vec<Affected> {
    if kind == Kind::Dns {
        return askers(topology);
    }
    // Per (source, dest): replica pairs in all, acted on, acted on in either direction.
    let mut pairs: BTreeMap<(&str, &str, bool), (usize, usize, usize)> = BTreeMap::new();
    for talk in topology.conversations() {
        let there = Flow { from: talk.client, to: talk.server };
        let back = Flow { from: talk.server, to: talk.client };
        let there_hit = acts_on(topology, kind, component, there, true);
        let back_hit = acts_on(topology, kind, component, back, false);
        for (flow, from_client, hit) in [(there, true, there_hit), (back, false, back_hit)] {
            let key = (topology.pods[flow.from].workload.as_str(), topology.pods[flow.to].workload.as_str(), from_client);
            let (all, direct, either) = pairs.entry(key).or_default();
            *all += 1;
            *direct += usize::from(hit);
            *either += usize::from(there_hit || back_hit);
        }
    }
    // Lost segments are seen where they were sent; whatever else goes wrong is felt by both ends of a conversation.
    let touched = |direct: usize, either: usize| if kind == Kind::Loss { direct } else { either };
    pairs
        .into_iter()
        .filter(|&(_, (_, direct, either))| touched(direct, either) > 0)
        .map(|((source, dest, source_is_client), (all, direct, either))| Affected {
            source: source.to_string(),
            dest: dest.to_string(),
            source_is_client,
            share: touched(direct, either) as f64 / all as f64,
            direct: direct > 0,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Strength;
    use crate::spec::Spec;

    fn truth(text: &str) -> Truth {
        let topology = Topology::new(Spec::built_in("shop").expect("built in")).expect("sound");
        let fault: Fault = text.parse().expect(text);
        let component = fault.resolve(&topology, 1).expect(text);
        Truth::new(&topology, &fault, &component, Utc::now())
    }

    fn pair<'a>(truth: &'a Truth, source: &str, dest: &str) -> Option<&'a Affected> {
        truth.affected.iter().find(|a| a.source == source && a.dest == dest)
    }

    #[test]
    fn loss_on_an_edge_touches_that_direction_only() {
        let truth = truth("loss:edge=frontend>cartservice:clear");
        assert_eq!((truth.verdict, truth.class, truth.name.as_str(), truth.peer.as_deref()), ("network", "loss", "frontend", Some("cartservice")));
        assert_eq!(truth.affected.len(), 1);
        let only = &truth.affected[0];
        assert_eq!((only.source.as_str(), only.dest.as_str(), only.share, only.direct), ("frontend", "cartservice", 1.0, true));
    }

    #[test]
    fn a_blackhole_silences_both_directions() {
        let truth = truth("blackhole:edge=frontend>cartservice:clear");
        assert!(pair(&truth, "frontend", "cartservice").expect("there").direct);
        assert!(!pair(&truth, "cartservice", "frontend").expect("back").direct);
        assert_eq!(truth.affected.len(), 2);
    }

    #[test]
    fn a_pod_is_a_share_of_its_workload() {
        let truth = truth("loss:pod=cartservice-1:clear");
        assert_eq!(pair(&truth, "frontend", "cartservice").expect("touched").share, 0.5);
        assert!(pair(&truth, "frontend", "adservice").is_none());
    }

    #[test]
    fn delay_has_no_direction() {
        let truth = truth("congestion:zone_pair=us-east-1a>us-east-1b:clear");
        assert_eq!(truth.same_as, vec![("us-east-1b".to_string(), Some("us-east-1a".to_string()))]);
    }

    #[test]
    fn a_crash_touches_callers_and_callees() {
        let truth = truth("crash:workload=cartservice:clear");
        assert!(pair(&truth, "frontend", "cartservice").is_some() && pair(&truth, "cartservice", "redis-cart").is_some());
        assert!(pair(&truth, "frontend", "adservice").is_none());
        assert_eq!(truth.verdict, "not_network");
    }

    #[test]
    fn every_applicable_fault_touches_somebody() {
        let topology = Topology::new(Spec::built_in("other").expect("built in")).expect("sound");
        for fault in Fault::applicable(Strength::Clear) {
            let component = fault.resolve(&topology, 3).expect("found");
            assert!(!Truth::new(&topology, &fault, &component, Utc::now()).affected.is_empty(), "{fault}");
        }
    }
}
