//! A [`Spec`] with addresses: where each pod runs and how it is reached. Pure; the same spec gives the same topology.
//!
//! Address plan (Z zone, N node, P pod, all counted from 1): pod `10.Z.N.(10+P)` and `fd00:e5:Z:N::(10+P)`, node `10.Z.N.1`
//! and `fd00:e5:Z:N::1`, management `10.250.0.2` and `fd00:e5:fa::2`. Each run has its own namespaces and none is joined to the
//! host, so runs may use the same addresses at once.

use crate::spec::{Spec, SpecError};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Delay that the relay adds one way between two nodes of a zone; the round trip has twice as much.
pub const ZONE_DELAY_US: u32 = 500;
/// Delay that the relay adds one way between two zones.
pub const CROSS_ZONE_DELAY_US: u32 = 2_000;

/// Management network, reachable from every node: where the server of a product under test listens.
pub const MGMT_IPV4: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 2);
pub const MGMT_IPV6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xe5, 0xfa, 0, 0, 0, 0, 2);

/// Where resolvers listen (RFC 1035).
pub const DNS_PORT: u16 = 53;

/// A third of the calls, by their place in the spec, run over IPv6.
const IPV6_EVERY: usize = 3;

#[derive(Clone, Debug, Serialize)]
pub struct Topology {
    pub spec: Spec,
    pub nodes: Vec<Node>,
    pub pods: Vec<Pod>,
    pub calls: Vec<Call>,
}

#[derive(Clone, Debug, Serialize)]
pub struct Node {
    pub name: String,
    /// Index into `spec.zones`.
    pub zone: usize,
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
}

#[derive(Clone, Debug, Serialize)]
pub struct Pod {
    /// `workload-1`, `workload-2`, …
    pub name: String,
    pub workload: String,
    /// Index into `nodes`.
    pub node: usize,
    /// Index into `spec.zones`.
    pub zone: usize,
    pub ipv4: Ipv4Addr,
    pub ipv6: Ipv6Addr,
    /// Absent for a load generator.
    pub port: Option<u16>,
    /// Answers questions of DNS and nothing else.
    pub is_resolver: bool,
}

/// A row of `spec.calls` with what follows from its place there.
#[derive(Clone, Debug, Serialize)]
pub struct Call {
    pub from: String,
    pub to: String,
    pub port: u16,
    pub probability: f64,
    pub request_bytes: u32,
    pub ipv6: bool,
    /// A client gives up connecting after 1, 2 or 3 s, as in real companies, where no two teams agree.
    pub connect_timeout_ms: u32,
    /// Expected calls per second over all replicas when nothing is wrong.
    pub rate_per_s: f64,
}

impl Topology {
    pub fn new(spec: Spec) -> Result<Topology, SpecError> {
        spec.check()?;
        let nodes: Vec<Node> = (0..spec.nodes.len()).map(|i| Node::new(&spec, i)).collect();
        let pods = pods(&spec, &nodes);
        let calls = calls(&spec)?;
        Ok(Topology { spec, nodes, pods, calls })
    }

    /// Pods of a workload, in the order of their names.
    pub fn replicas<'a>(&'a self, workload: &'a str) -> impl Iterator<Item = (usize, &'a Pod)> {
        self.pods.iter().enumerate().filter(move |(_, pod)| pod.workload == workload)
    }

    pub fn pods_of_node(&self, node: usize) -> impl Iterator<Item = (usize, &Pod)> {
        self.pods.iter().enumerate().filter(move |(_, pod)| pod.node == node)
    }

    pub fn pod(&self, name: &str) -> Option<usize> {
        self.pods.iter().position(|p| p.name == name)
    }

    pub fn node(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|n| n.name == name)
    }

    pub fn zone(&self, name: &str) -> Option<usize> {
        self.spec.zones.iter().position(|z| z == name)
    }

    pub fn resolvers(&self) -> impl Iterator<Item = (usize, &Pod)> {
        self.pods.iter().enumerate().filter(|(_, pod)| pod.is_resolver)
    }

    /// The pod that owns an address.
    pub fn pod_at(&self, ip: IpAddr) -> Option<usize> {
        self.pods.iter().position(|p| IpAddr::V4(p.ipv4) == ip || IpAddr::V6(p.ipv6) == ip)
    }

    pub fn call(&self, from: &str, to: &str) -> Option<&Call> {
        self.calls.iter().find(|c| c.from == from && c.to == to)
    }

    /// One-way delay of the wires between two nodes: none within a node.
    pub fn delay_us(&self, from_node: usize, to_node: usize) -> u32 {
        match (from_node == to_node, self.nodes[from_node].zone == self.nodes[to_node].zone) {
            (true, _) => 0,
            (false, true) => ZONE_DELAY_US,
            (false, false) => CROSS_ZONE_DELAY_US,
        }
    }

    /// All (client pod, server pod) pairs that talk when nothing is wrong, with the call they belong to.
    pub fn conversations(&self) -> Vec<Conversation> {
        let mut all = Vec::new();
        for (call, row) in self.calls.iter().enumerate() {
            for (client, _) in self.replicas(&row.from) {
                for (server, _) in self.replicas(&row.to) {
                    all.push(Conversation { call, client, server });
                }
            }
        }
        all
    }

    /// All directed pod pairs that exchange data: each conversation's requests and its responses.
    pub fn flows(&self) -> Vec<Flow> {
        self.conversations().iter().flat_map(|c| [Flow { from: c.client, to: c.server }, Flow { from: c.server, to: c.client }]).collect()
    }
}

/// A client pod and a server pod that talk (indices into `pods`, and into `calls`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Conversation {
    pub call: usize,
    pub client: usize,
    pub server: usize,
}

/// Bytes that go from one pod to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Flow {
    pub from: usize,
    pub to: usize,
}

impl Node {
    fn new(spec: &Spec, index: usize) -> Node {
        let node = &spec.nodes[index];
        let zone = spec.zones.iter().position(|z| *z == node.zone).expect("a checked spec names known zones");
        Node { name: node.name.clone(), zone, ipv4: ipv4(zone, index, 1), ipv6: ipv6(zone, index, 1) }
    }
}

/// Services in the order of the spec, then the resolvers.
fn pods(spec: &Spec, nodes: &[Node]) -> Vec<Pod> {
    let mut pods: Vec<Pod> = Vec::new();
    let services = spec.services.iter().map(|service| (&service.name, service.port, &service.nodes, false));
    let resolver = (&spec.resolver.name, Some(DNS_PORT), &spec.resolver.nodes, true);
    for (name, port, on, is_resolver) in services.chain([resolver]) {
        for (replica, node_name) in on.iter().enumerate() {
            let node = nodes.iter().position(|n| n.name == *node_name).expect("a checked spec names known nodes");
            let zone = nodes[node].zone;
            let place = 11 + pods.iter().filter(|p| p.node == node).count();
            pods.push(Pod {
                name: format!("{name}-{}", replica + 1),
                workload: name.clone(),
                node,
                zone,
                ipv4: ipv4(zone, node, place),
                ipv6: ipv6(zone, node, place),
                port,
                is_resolver,
            });
        }
    }
    pods
}

fn calls(spec: &Spec) -> Result<Vec<Call>, SpecError> {
    let rates = spec.call_rates_per_s()?;
    let call = |(i, row): (usize, &crate::spec::CallSpec)| Call {
        from: row.from.clone(),
        to: row.to.clone(),
        port: spec.service(&row.to).and_then(|s| s.port).expect("a checked spec calls only what listens"),
        probability: row.probability,
        request_bytes: row.request_bytes,
        ipv6: i % IPV6_EVERY == IPV6_EVERY - 1,
        connect_timeout_ms: 1_000 * (1 + (i as u32 + 1) % 3),
        rate_per_s: rates[i],
    };
    Ok(spec.calls.iter().enumerate().map(call).collect())
}

/// The plan's limits (see `Spec::check`) keep every index below 201, so that an octet holds it.
fn octet(index: usize) -> u8 {
    u8::try_from(index + 1).expect("a checked spec has at most 200 of each")
}

fn ipv4(zone: usize, node: usize, place: usize) -> Ipv4Addr {
    Ipv4Addr::new(10, octet(zone), octet(node), octet(place - 1))
}

fn ipv6(zone: usize, node: usize, place: usize) -> Ipv6Addr {
    Ipv6Addr::new(0xfd00, 0xe5, octet(zone).into(), octet(node).into(), 0, 0, 0, octet(place - 1).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn built_in() -> impl Iterator<Item = Topology> {
        Spec::BUILT_IN.iter().map(|name| Topology::new(Spec::built_in(name).expect(name)).expect(name))
    }

    #[test]
    fn addresses_are_unique() {
        for topology in built_in() {
            let v4: HashSet<_> = topology.pods.iter().map(|p| p.ipv4).chain(topology.nodes.iter().map(|n| n.ipv4)).collect();
            let v6: HashSet<_> = topology.pods.iter().map(|p| p.ipv6).chain(topology.nodes.iter().map(|n| n.ipv6)).collect();
            assert_eq!(v4.len(), topology.pods.len() + topology.nodes.len());
            assert_eq!(v6.len(), v4.len());
        }
    }

    #[test]
    fn called_services_have_replicas_in_different_zones() {
        for topology in built_in() {
            for service in topology.spec.services.iter().filter(|s| !s.is_load_generator()) {
                let zones: HashSet<_> = topology.replicas(&service.name).map(|(_, p)| p.zone).collect();
                assert!(zones.len() >= 2, "{}", service.name);
            }
        }
    }

    #[test]
    fn every_node_has_three_workloads_and_every_zone_a_load_generator() {
        for topology in built_in() {
            for node in 0..topology.nodes.len() {
                let workloads: HashSet<_> = topology.pods_of_node(node).map(|(_, p)| &p.workload).collect();
                assert!(workloads.len() >= 3, "{} has {workloads:?}", topology.nodes[node].name);
            }
            let zones: HashSet<_> = topology.pods.iter().filter(|p| p.port.is_none()).map(|p| p.zone).collect();
            assert_eq!(zones.len(), topology.spec.zones.len());
        }
    }

    #[test]
    fn calls_cross_all_zone_pairs() {
        for topology in built_in() {
            let pairs: HashSet<_> = topology.conversations().iter().map(|c| (topology.pods[c.client].zone, topology.pods[c.server].zone)).collect();
            assert_eq!(pairs.len(), topology.spec.zones.len().pow(2), "{}", topology.spec.name);
        }
    }

    #[test]
    fn a_third_of_the_calls_run_over_ipv6() {
        for topology in built_in() {
            let share = topology.calls.iter().filter(|c| c.ipv6).count() as f64 / topology.calls.len() as f64;
            assert!((0.28..=0.38).contains(&share), "{share}");
        }
    }

    #[test]
    fn ports_are_never_ephemeral() {
        for topology in built_in() {
            assert!(topology.calls.iter().all(|c| !(32_768..=60_999).contains(&c.port)));
        }
    }
}
