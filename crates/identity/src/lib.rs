//! Who an address was at a time.
//!
//! Two sides use this crate. An **agent** asks [`local`] who owns a socket on its node: static [`rules`] first, then the [`container`] and what its
//! [`runtime`] says of it, then the systemd unit, then the process; the answer says by which way it was found. A **server** keeps a [`directory`] of what every agent said of its addresses, with times, and
//! lets [`resolve`] turn a batch of observations into rows of edges: both ends named as of the window, and the merged column of each signal
//! filled exactly once, by the end that stands for the edge. [`kubernetes`] names what the Kubernetes API tells of, [`networks`] what lies outside. In flow wire messages, objects and facts read
//! from `/proc`; out flow names and [`edgescope_model::fact::FactRow`]s. Both sides use [`nat`] where addresses are translated on the way. Everything but
//! [`host`] and [`networks::files`] is pure: data and time come as arguments.
#![forbid(unsafe_code)]

pub mod address;
pub mod cgroup;
pub mod container;
pub mod directory;
pub mod host;
pub mod kubernetes;
pub mod local;
pub mod nat;
pub mod networks;
pub mod resolve;
pub mod rules;
pub mod runtime;

use cgroup::PodRef;
use edgescope_model::dims::{EndDims, VALUE_BYTES_MAX, shortened};
use edgescope_model::wire::Owner;

/// How a name was found, as `resolution_type` says it.
pub mod found_by {
    /// A pod, by the Kubernetes API.
    pub const KUBERNETES: &str = "kubernetes";
    /// An address or node port of a Kubernetes service.
    pub const KUBERNETES_SERVICE: &str = "kubernetes_service";
    /// An address of a Kubernetes node.
    pub const KUBERNETES_NODE: &str = "kubernetes_node";
    /// A static rule of the configuration.
    pub const RULE: &str = "rule";
    /// A runtime of Kubernetes, asked on the node (CRI).
    pub const CRI: &str = "cri";
    /// Docker, asked on the node.
    pub const DOCKER: &str = "docker";
    /// Podman, asked on the node.
    pub const PODMAN: &str = "podman";
    /// containerd, asked on the node by its own language.
    pub const CONTAINERD: &str = "containerd";
    /// Nomad, by what it gave its task.
    pub const NOMAD: &str = "nomad";
    /// Amazon's ECS, by the labels or the metadata of its task.
    pub const ECS: &str = "ecs";
    /// The systemd unit of the socket's cgroup.
    pub const UNIT: &str = "systemd";
    /// The name of the process.
    pub const PROCESS: &str = "process";
    /// The name that was asked for, in an answer of DNS that led to the address.
    pub const DNS: &str = "dns";
    /// The server's name in the greeting of TLS.
    pub const TLS_SNI: &str = "tls_sni";
    /// The node that holds an address which several workloads share.
    pub const NODE: &str = "node";
    /// A block of a cloud provider, by the list that it publishes.
    pub const AWS: &str = "aws";
    pub const GCP: &str = "gcp";
    pub const AZURE: &str = "azure";
    /// A block of addresses of a list of the configuration.
    pub const NETWORK: &str = "network";
    /// The network (autonomous system) that a public address is of, by a database.
    pub const ASN: &str = "asn";
    /// A public address, grouped by its prefix.
    pub const PREFIX: &str = "prefix";
    /// The address itself.
    pub const IP: &str = "ip";
    /// The node's own loopback.
    pub const LOOPBACK: &str = "loopback";
    /// Nothing is known of the owner.
    pub const UNKNOWN: &str = "unknown";
}

/// The dimensions of an owner as an agent sent it. The second value counts the texts that were longer than [`VALUE_BYTES_MAX`] and were cut.
pub fn dims_of(owner: &Owner) -> (EndDims, u64) {
    let mut cut = 0;
    let mut text = |value: &str| {
        if value.len() > VALUE_BYTES_MAX {
            cut += 1;
        }
        shortened(value, VALUE_BYTES_MAX).to_owned()
    };
    let dims = EndDims {
        workload: text(&owner.workload),
        namespace: text(&owner.namespace),
        node: text(&owner.node),
        zone: text(&owner.zone),
        region: text(&owner.region),
        environment: text(&owner.environment),
        process: text(&owner.process),
        image: text(&owner.image),
        resolution_type: text(&owner.resolution_type),
        pod: text(&owner.pod),
        ip: String::new(),
    };
    (dims, cut)
}

/// The wire form of an owner's dimensions, without its pod.
pub fn owner_of(dims: &EndDims) -> Owner {
    Owner {
        workload: dims.workload.clone(),
        namespace: dims.namespace.clone(),
        pod: dims.pod.clone(),
        process: dims.process.clone(),
        node: dims.node.clone(),
        zone: dims.zone.clone(),
        region: dims.region.clone(),
        environment: dims.environment.clone(),
        image: dims.image.clone(),
        resolution_type: dims.resolution_type.clone(),
        ..Owner::default()
    }
}

/// The pod and container that an agent sees behind an owner.
pub fn pod_of(owner: &Owner) -> Option<PodRef> {
    let pod = PodRef { pod_uid: owner.pod_uid.clone(), container_id: owner.container_id.clone() };
    (!pod.is_empty()).then_some(pod)
}
