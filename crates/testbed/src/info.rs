//! What a product under test may know: names, nodes, zones, namespaces, addresses. Never the faults.

use crate::netns;
use crate::topology::Topology;
use crate::wire::Names;
use serde::Serialize;
use std::net::IpAddr;
use std::path::PathBuf;

/// A node, from whose namespace an agent is to work.
#[derive(Clone, Debug, Serialize)]
pub struct NodeInfo {
    pub name: String,
    pub zone: String,
    /// Path of its network namespace.
    pub netns: PathBuf,
    pub ips: Vec<IpAddr>,
    pub pods: Vec<PodInfo>,
}

/// A pod, as an identity rule would describe it.
#[derive(Clone, Debug, Serialize)]
pub struct PodInfo {
    pub name: String,
    pub workload: String,
    pub namespace: String,
    /// Name of its network namespace, as `ip netns` lists it.
    pub netns: String,
    pub ips: Vec<IpAddr>,
    /// Ports on which it listens.
    pub ports: Vec<u16>,
}

pub(crate) fn nodes(topology: &Topology, names: &Names) -> Vec<NodeInfo> {
    let pod = |index: usize| {
        let pod = &topology.pods[index];
        PodInfo {
            name: pod.name.clone(),
            workload: pod.workload.clone(),
            namespace: topology.spec.namespace.clone(),
            netns: names.pod(topology, index),
            ips: vec![pod.ipv4.into(), pod.ipv6.into()],
            ports: pod.port.into_iter().collect(),
        }
    };
    let node = |index: usize| {
        let node = &topology.nodes[index];
        NodeInfo {
            name: node.name.clone(),
            zone: topology.spec.zones[node.zone].clone(),
            netns: netns::path_of(&names.node(topology, index)),
            ips: vec![node.ipv4.into(), node.ipv6.into()],
            pods: topology.pods_of_node(index).map(|(p, _)| pod(p)).collect(),
        }
    };
    (0..topology.nodes.len()).map(node).collect()
}
