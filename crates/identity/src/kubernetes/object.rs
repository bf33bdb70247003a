//! What is kept of Kubernetes objects: as much as names need, no more. Whoever reads the API makes these; texts come as they are and are cut here.

use std::net::IpAddr;

/// A kind of object that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    Pod,
    ReplicaSet,
    Job,
    Node,
    Service,
    EndpointSlice,
}

impl Kind {
    pub const ALL: [Self; 6] = [Self::Pod, Self::ReplicaSet, Self::Job, Self::Node, Self::Service, Self::EndpointSlice];

    /// As Kubernetes writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pod => "Pod",
            Self::ReplicaSet => "ReplicaSet",
            Self::Job => "Job",
            Self::Node => "Node",
            Self::Service => "Service",
            Self::EndpointSlice => "EndpointSlice",
        }
    }
}

/// The controller of an object (`metadata.ownerReferences`, the one with `controller: true`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OwnerRef {
    pub kind: String,
    pub name: String,
    pub uid: String,
}

/// One container of a pod; init and ephemeral ones are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    /// As the pod's specification has it.
    pub image: String,
    /// Without the runtime's prefix; empty while it was never started.
    pub id: String,
    /// Ports that it declares.
    pub ports: Vec<u16>,
    /// Ports of the node that lead to it (`hostPort`), where the pod has a network of its own.
    pub host_ports: Vec<HostPort>,
}

/// A port of the node, on one of its addresses or on all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostPort {
    pub address: Option<IpAddr>,
    pub port: u16,
}

/// A pod. Times are microseconds since the epoch; Kubernetes cuts its own to whole seconds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pod {
    pub uid: String,
    /// The uid in the cgroups of a static pod, whose object in the API is only its mirror (`kubernetes.io/config.mirror`).
    pub static_uid: Option<String>,
    pub namespace: String,
    pub name: String,
    pub node: String,
    pub owner: Option<OwnerRef>,
    /// `pod-template-hash`: what a Deployment's ReplicaSet has at the end of its name.
    pub template_hash: Option<String>,
    /// `status.podIPs`; those of the node if it uses the node's network.
    pub addresses: Vec<IpAddr>,
    pub host_network: bool,
    /// `status.hostIPs`.
    pub host_addresses: Vec<IpAddr>,
    pub containers: Vec<Container>,
    pub created_us: i64,
    /// Earliest moment at which it can have had an address: its network was made, or the kubelet took it on.
    pub networked_from_us: Option<i64>,
    /// Moment by which it surely had its address: its network was ready, or a container ran.
    pub networked_by_us: Option<i64>,
    /// Since when it is being deleted: it may end at any moment, and its object tells late when it did.
    pub ending_us: Option<i64>,
    /// By then, and not more than a second before, its containers have ended for good, and its address is free, though its object may stay for long;
    /// `i64::MAX` if nobody timed it.
    pub ended_us: Option<i64>,
}

/// A ReplicaSet or a Job: only whose it is matters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Controller {
    pub uid: String,
    pub name: String,
    pub owner: Option<OwnerRef>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Node {
    pub uid: String,
    pub name: String,
    /// Internal and external ones.
    pub addresses: Vec<IpAddr>,
    pub zone: String,
    pub region: String,
    pub created_us: i64,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    pub uid: String,
    pub namespace: String,
    pub name: String,
    /// ClusterIPs; none for a headless service.
    pub cluster_addresses: Vec<IpAddr>,
    /// Addresses of a load balancer, and external ones: several services may share one by ports.
    pub outer_addresses: Vec<IpAddr>,
    pub ports: Vec<u16>,
    pub node_ports: Vec<u16>,
    pub created_us: i64,
}

/// Who is behind a service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slice {
    pub uid: String,
    pub namespace: String,
    /// `kubernetes.io/service-name`.
    pub service: String,
    /// Uids of the pods that are ready.
    pub ready_pods: Vec<String>,
}

/// Any object that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    Pod(Pod),
    /// Of [`Kind::ReplicaSet`] or [`Kind::Job`].
    Controller(Kind, Controller),
    Node(Node),
    Service(Service),
    Slice(Slice),
}

impl Object {
    pub fn kind(&self) -> Kind {
        match self {
            Self::Pod(_) => Kind::Pod,
            Self::Controller(kind, _) => *kind,
            Self::Node(_) => Kind::Node,
            Self::Service(_) => Kind::Service,
            Self::Slice(_) => Kind::EndpointSlice,
        }
    }

    pub fn uid(&self) -> &str {
        match self {
            Self::Pod(pod) => &pod.uid,
            Self::Controller(_, controller) => &controller.uid,
            Self::Node(node) => &node.uid,
            Self::Service(service) => &service.uid,
            Self::Slice(slice) => &slice.uid,
        }
    }
}
