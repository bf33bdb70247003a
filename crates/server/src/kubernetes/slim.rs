//! Objects as the API writes them, with the fields that names need and no others: the rest is skipped while it is read.

use chrono::DateTime;
use edgescope_identity::kubernetes::object::{Container, Controller, HostPort, Kind, Node, Object, OwnerRef, Pod, Service, Slice};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use std::net::IpAddr;

/// Kubernetes cuts its times to whole seconds: the moment is up to a second later.
const SECOND_US: i64 = 1_000_000;

/// One kind of object.
pub trait Slim: DeserializeOwned + Clone + Send + 'static {
    /// The API need send no more than its metadata.
    const METADATA_ALONE: bool = false;

    fn metadata(&self) -> &Metadata;
    fn into_object(self, kind: Kind) -> Object;
}

/// One page of a list.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub struct Page<T> {
    pub metadata: PageMetadata,
    #[serde(default = "Vec::new", deserialize_with = "null_is_default")]
    pub items: Vec<T>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PageMetadata {
    #[serde(default)]
    pub resource_version: String,
    #[serde(rename = "continue")]
    pub go_on: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    pub uid: String,
    pub resource_version: String,
    name: String,
    namespace: String,
    creation_timestamp: Option<String>,
    deletion_timestamp: Option<String>,
    deletion_grace_period_seconds: Option<i64>,
    #[serde(deserialize_with = "null_is_default")]
    labels: Labels,
    #[serde(deserialize_with = "null_is_default")]
    annotations: Annotations,
    #[serde(deserialize_with = "null_is_default")]
    owner_references: Vec<Owner>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Labels {
    #[serde(rename = "pod-template-hash")]
    template_hash: Option<String>,
    #[serde(rename = "topology.kubernetes.io/zone")]
    zone: Option<String>,
    #[serde(rename = "failure-domain.beta.kubernetes.io/zone")]
    old_zone: Option<String>,
    #[serde(rename = "topology.kubernetes.io/region")]
    region: Option<String>,
    #[serde(rename = "failure-domain.beta.kubernetes.io/region")]
    old_region: Option<String>,
    #[serde(rename = "kubernetes.io/service-name")]
    service: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    mirror: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Owner {
    kind: String,
    name: String,
    uid: String,
    controller: Option<bool>,
}

impl Metadata {
    fn owner(&self) -> Option<OwnerRef> {
        let controller = self.owner_references.iter().find(|owner| owner.controller == Some(true))?;
        Some(OwnerRef { kind: controller.kind.clone(), name: controller.name.clone(), uid: controller.uid.clone() })
    }

    /// `deletionTimestamp` is when the grace is over.
    fn ending_us(&self) -> Option<i64> {
        let over_us = micros(self.deletion_timestamp.as_deref()?)?;
        Some(over_us.saturating_sub(self.deletion_grace_period_seconds.unwrap_or_default().saturating_mul(SECOND_US)))
    }

    fn created_us(&self) -> i64 {
        self.creation_timestamp.as_deref().and_then(micros).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SlimPod {
    metadata: Metadata,
    spec: PodSpec,
    status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodSpec {
    node_name: String,
    host_network: bool,
    #[serde(deserialize_with = "null_is_default")]
    containers: Vec<ContainerSpec>,
    #[serde(deserialize_with = "null_is_default")]
    init_containers: Vec<ContainerSpec>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerSpec {
    name: String,
    image: String,
    #[serde(deserialize_with = "null_is_default")]
    ports: Vec<PortSpec>,
    restart_policy: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PortSpec {
    container_port: u16,
    host_port: u16,
    #[serde(rename = "hostIP")]
    host_ip: String,
    protocol: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: String,
    start_time: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: String,
    #[serde(rename = "podIPs", deserialize_with = "null_is_default")]
    pod_ips: Vec<Ip>,
    #[serde(rename = "hostIP")]
    host_ip: String,
    #[serde(rename = "hostIPs", deserialize_with = "null_is_default")]
    host_ips: Vec<Ip>,
    #[serde(deserialize_with = "null_is_default")]
    conditions: Vec<Condition>,
    #[serde(deserialize_with = "null_is_default")]
    container_statuses: Vec<ContainerStatus>,
    #[serde(deserialize_with = "null_is_default")]
    init_container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Ip {
    ip: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    r#type: String,
    status: String,
    last_transition_time: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: String,
    state: ContainerState,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct ContainerState {
    running: Option<Span>,
    terminated: Option<Span>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Span {
    started_at: Option<String>,
    finished_at: Option<String>,
}

impl Slim for SlimPod {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_object(self, _: Kind) -> Object {
        let Self { metadata, spec, status } = self;
        let host_network = spec.host_network;
        // An init container that is restarted for ever runs beside the others.
        let sidecars = spec.init_containers.into_iter().filter(|container| container.restart_policy.as_deref() == Some("Always"));
        let containers = spec.containers.into_iter().chain(sidecars).map(|container| container.with(&status, host_network)).collect();
        Object::Pod(Pod {
            networked_from_us: status.start_time.as_deref().and_then(micros),
            networked_by_us: status.networked_by_us(),
            ending_us: metadata.ending_us(),
            ended_us: status.ended_us(),
            addresses: addresses(&status.pod_ips, &status.pod_ip),
            host_addresses: addresses(&status.host_ips, &status.host_ip),
            owner: metadata.owner(),
            created_us: metadata.created_us(),
            static_uid: metadata.annotations.mirror,
            template_hash: metadata.labels.template_hash,
            uid: metadata.uid,
            namespace: metadata.namespace,
            name: metadata.name,
            node: spec.node_name,
            host_network,
            containers,
        })
    }
}

impl ContainerSpec {
    fn with(self, status: &PodStatus, host_network: bool) -> Container {
        let all = status.container_statuses.iter().chain(&status.init_container_statuses);
        let id = all.filter(|of| of.name == self.name).find_map(|of| of.container_id.split_once("://")).map_or("", |(_, id)| id);
        let ports = self.ports.iter().filter(|port| matches!(port.protocol.as_str(), "" | "TCP" | "UDP"));
        let outer = ports.clone().filter(|port| !host_network && port.host_port != 0);
        Container {
            id: id.to_owned(),
            ports: ports.map(|port| port.container_port).filter(|port| *port != 0).collect(),
            host_ports: outer
                .map(|port| HostPort { address: port.host_ip.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified()), port: port.host_port })
                .collect(),
            name: self.name,
            image: self.image,
        }
    }
}

impl PodStatus {
    /// Its network is made before its first container starts; newer kubelets say so beforehand.
    fn networked_by_us(&self) -> Option<i64> {
        let ready = self.conditions.iter().filter(|condition| condition.r#type == "PodReadyToStartContainers" && condition.status == "True");
        let ready = ready.filter_map(|condition| micros(condition.last_transition_time.as_deref()?));
        let started = self.spans().filter_map(|span| micros(span.started_at.as_deref()?));
        ready.chain(started).min().map(|at_us| at_us + SECOND_US)
    }

    /// A pod that ended for good has given its address back; one whose end nobody timed ends when that is heard of.
    fn ended_us(&self) -> Option<i64> {
        if !matches!(self.phase.as_str(), "Succeeded" | "Failed") {
            return None;
        }
        let finished = self.spans().filter_map(|span| micros(span.finished_at.as_deref()?));
        Some(finished.max().map_or(i64::MAX, |at_us| at_us + SECOND_US))
    }

    fn spans(&self) -> impl Iterator<Item = &Span> {
        let all = self.container_statuses.iter().chain(&self.init_container_statuses);
        all.flat_map(|of| of.state.running.iter().chain(&of.state.terminated))
    }
}

/// A ReplicaSet or a Job.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SlimController {
    metadata: Metadata,
}

impl Slim for SlimController {
    const METADATA_ALONE: bool = true;

    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_object(self, kind: Kind) -> Object {
        let owner = self.metadata.owner();
        Object::Controller(kind, Controller { uid: self.metadata.uid, name: self.metadata.name, owner })
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SlimNode {
    metadata: Metadata,
    status: NodeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NodeStatus {
    #[serde(deserialize_with = "null_is_default")]
    addresses: Vec<NodeAddress>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct NodeAddress {
    r#type: String,
    address: String,
}

impl Slim for SlimNode {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_object(self, _: Kind) -> Object {
        let labels = &self.metadata.labels;
        let first = |new: &Option<String>, old: &Option<String>| new.clone().or_else(|| old.clone()).unwrap_or_default();
        let addresses = self.status.addresses.iter().filter(|of| matches!(of.r#type.as_str(), "InternalIP" | "ExternalIP"));
        Object::Node(Node {
            zone: first(&labels.zone, &labels.old_zone),
            region: first(&labels.region, &labels.old_region),
            addresses: addresses.filter_map(|of| address(&of.address)).collect(),
            created_us: self.metadata.created_us(),
            uid: self.metadata.uid,
            name: self.metadata.name,
        })
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SlimService {
    metadata: Metadata,
    spec: ServiceSpec,
    status: ServiceStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceSpec {
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs", deserialize_with = "null_is_default")]
    cluster_ips: Vec<String>,
    #[serde(rename = "externalIPs", deserialize_with = "null_is_default")]
    external_ips: Vec<String>,
    #[serde(deserialize_with = "null_is_default")]
    ports: Vec<ServicePort>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServicePort {
    port: u16,
    node_port: u16,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ServiceStatus {
    load_balancer: LoadBalancer,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct LoadBalancer {
    #[serde(deserialize_with = "null_is_default")]
    ingress: Vec<Ip>,
}

impl Slim for SlimService {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_object(self, _: Kind) -> Object {
        let spec = &self.spec;
        let cluster: Vec<&str> =
            if spec.cluster_ips.is_empty() { vec![&spec.cluster_ip] } else { spec.cluster_ips.iter().map(String::as_str).collect() };
        let outer = spec.external_ips.iter().chain(self.status.load_balancer.ingress.iter().map(|of| &of.ip));
        Object::Service(Service {
            // A headless service has "None".
            cluster_addresses: cluster.into_iter().filter_map(address).collect(),
            outer_addresses: outer.filter_map(|ip| address(ip)).collect(),
            ports: spec.ports.iter().map(|port| port.port).collect(),
            node_ports: spec.ports.iter().map(|port| port.node_port).filter(|port| *port != 0).collect(),
            created_us: self.metadata.created_us(),
            uid: self.metadata.uid,
            namespace: self.metadata.namespace,
            name: self.metadata.name,
        })
    }
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SlimSlice {
    metadata: Metadata,
    #[serde(deserialize_with = "null_is_default")]
    endpoints: Vec<Endpoint>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Endpoint {
    #[serde(deserialize_with = "null_is_default")]
    conditions: Conditions,
    target_ref: Option<Target>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Target {
    kind: String,
    uid: String,
}

impl Slim for SlimSlice {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn into_object(self, _: Kind) -> Object {
        // Absent means ready.
        let ready = self.endpoints.into_iter().filter(|endpoint| endpoint.conditions.ready != Some(false));
        let pods = ready.filter_map(|endpoint| endpoint.target_ref).filter(|target| target.kind == "Pod").map(|target| target.uid);
        Object::Slice(Slice {
            ready_pods: pods.collect(),
            service: self.metadata.labels.service.unwrap_or_default(),
            uid: self.metadata.uid,
            namespace: self.metadata.namespace,
        })
    }
}

/// Microseconds of a moment in RFC 3339.
fn micros(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|at| at.timestamp_micros())
}

fn address(text: &str) -> Option<IpAddr> {
    text.parse::<IpAddr>().ok().map(|ip| ip.to_canonical())
}

/// All addresses, or the first as older servers tell it.
fn addresses(all: &[Ip], first: &str) -> Vec<IpAddr> {
    if all.is_empty() { address(first).into_iter().collect() } else { all.iter().filter_map(|of| address(&of.ip)).collect() }
}

/// The API writes `null` for what is empty.
fn null_is_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
