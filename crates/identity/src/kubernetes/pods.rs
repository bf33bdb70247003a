//! Pods: their names, whose they are, and which addresses they had when.

use super::held::{self, Holding};
use super::object::{Container, HostPort, Kind, OwnerRef, Pod};
use super::{ADDRESSES_MAX, Kubernetes, PORTS_MAX, Uid, index, unindex};
use crate::cgroup::PodRef;
use edgescope_model::dims::EndDims;
use std::net::IpAddr;
use std::sync::Arc;

/// Containers kept of a pod.
const CONTAINERS_MAX: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PodState {
    pub namespace: String,
    pub name: String,
    pub node: String,
    pub owner: Option<OwnerRef>,
    pub template_hash: Option<String>,
    pub static_uid: Option<Uid>,
    pub host_network: bool,
    pub host_addresses: Vec<IpAddr>,
    pub containers: Vec<Container>,
    /// Ids of all its containers, those before a restart included.
    pub container_keys: Vec<[u8; 32]>,
    /// Each address with the time it was held; those of the node, if the pod uses the node's network.
    pub held: Vec<(IpAddr, Holding)>,
    /// The top of its owners, once it was found.
    pub workload: Option<Workload>,
    pub created_us: i64,
    /// When its object was gone.
    pub gone_us: Option<i64>,
    /// From the table: what was stored of it in an earlier life of the server.
    pub stored: Option<Arc<EndDims>>,
}

/// What a pod belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Workload {
    pub kind: String,
    pub name: String,
}

impl PodState {
    pub fn new() -> Self {
        Self {
            namespace: String::new(),
            name: String::new(),
            node: String::new(),
            owner: None,
            template_hash: None,
            static_uid: None,
            host_network: false,
            host_addresses: Vec::new(),
            containers: Vec::new(),
            container_keys: Vec::new(),
            held: Vec::new(),
            workload: None,
            created_us: 0,
            gone_us: None,
            stored: None,
        }
    }
}

impl Kubernetes {
    pub(super) fn apply_pod(&mut self, pod: Pod, at_us: i64) {
        let known = self.pods.get_key_value(pod.uid.as_str()).map(|(uid, _)| Arc::clone(uid));
        if pod.uid.is_empty() || (known.is_none() && self.pods.len() >= self.limits.pods_max) {
            self.counters.objects_dropped += 1;
            return;
        }
        let uid = known.unwrap_or_else(|| Arc::from(self.text(pod.uid.clone())));
        let mut state = self.pods.remove(&uid).unwrap_or_else(PodState::new);
        if state.stored.take().is_some() {
            // What an earlier life of the server stored is less than the object itself tells.
            state.held.clear();
        }
        let before = state.clone();
        state.gone_us = None;
        self.take_names(&mut state, &pod);
        if state.owner != before.owner {
            state.workload = None;
        }
        self.hold(&mut state, &pod, at_us);
        if state.workload.is_none() {
            state.workload = self.top_of(&state);
        }
        self.index(&uid, &state);
        if state != before {
            self.changed.extend(state.held.iter().map(|(address, _)| *address));
        }
        self.pods.insert(uid, state);
    }

    fn take_names(&mut self, state: &mut PodState, pod: &Pod) {
        state.namespace = self.text(pod.namespace.clone());
        state.name = self.text(pod.name.clone());
        state.node = self.text(pod.node.clone());
        state.owner = pod.owner.clone().map(|owner| self.owner(owner));
        state.template_hash = pod.template_hash.clone().map(|hash| self.text(hash));
        state.static_uid = pod.static_uid.clone().map(|uid| Arc::from(self.text(uid)));
        state.host_network = pod.host_network;
        state.host_addresses = self.at_most(pod.host_addresses.clone(), ADDRESSES_MAX);
        state.created_us = pod.created_us;
        let containers = self.at_most(pod.containers.clone(), CONTAINERS_MAX);
        state.containers = containers.into_iter().map(|container| self.container(container)).collect();
        for key in state.containers.iter().filter_map(|container| container_key(&container.id)) {
            if !state.container_keys.contains(&key) {
                state.container_keys.push(key);
            }
        }
        // The oldest are those of containers that are gone.
        let surplus = state.container_keys.len().saturating_sub(CONTAINERS_MAX);
        for key in state.container_keys.drain(..surplus) {
            self.by_container.remove(&key);
        }
    }

    fn container(&mut self, mut container: Container) -> Container {
        container.name = self.text(container.name);
        container.image = self.text(container.image);
        container.id = self.text(container.id);
        container.ports = self.at_most(container.ports, PORTS_MAX);
        container.host_ports = self.at_most(container.host_ports, PORTS_MAX);
        container
    }

    /// Takes over which addresses the pod has, and since when.
    fn hold(&mut self, state: &mut PodState, pod: &Pod, at_us: i64) {
        let from_us = pod.networked_from_us.unwrap_or(pod.created_us).min(at_us);
        let sure_us = pod.networked_by_us.map_or(at_us, |by_us| by_us.min(at_us)).max(from_us);
        for (address, holding) in &mut state.held {
            if holding.is_open() && !pod.addresses.contains(address) {
                holding.end(at_us, at_us);
            }
        }
        for &address in &pod.addresses {
            if state.held.iter().any(|(held, holding)| *held == address && holding.is_open()) {
                continue;
            }
            // It had ended for good before, and its object still shows the address.
            if pod.ended_us.is_some() && state.held.iter().any(|(held, _)| *held == address) {
                continue;
            }
            if state.held.len() >= ADDRESSES_MAX {
                self.counters.parts_dropped += 1;
                continue;
            }
            state.held.push((address, Holding { from_us, sure_us, sure_until_us: i64::MAX, until_us: i64::MAX }));
        }
        if let Some(ending_us) = pod.ending_us {
            state.held.iter_mut().for_each(|(_, holding)| holding.sure_until_us = holding.sure_until_us.min(ending_us));
        }
        if let Some(ended_us) = pod.ended_us {
            // Told by the second before, or not at all.
            let sure_us = |holding: &Holding| if ended_us > at_us { holding.sure_us } else { ended_us.saturating_sub(held::SECOND_US) };
            state.held.iter_mut().for_each(|(_, holding)| holding.end(sure_us(holding), ended_us.min(at_us)));
        }
    }

    fn index(&mut self, uid: &Uid, state: &PodState) {
        for (address, _) in &state.held {
            index(&mut self.by_address, *address, uid);
        }
        if state.held.is_empty() && !state.host_network && !state.node.is_empty() {
            index(&mut self.without_address, state.node.clone(), uid);
        } else {
            unindex(&mut self.without_address, &state.node, uid);
        }
        if !state.host_network {
            for HostPort { port, .. } in state.containers.iter().flat_map(|container| &container.host_ports) {
                index(&mut self.by_host_port, *port, uid);
            }
        }
        if let Some(static_uid) = &state.static_uid {
            self.by_static_uid.insert(Arc::clone(static_uid), Arc::clone(uid));
        }
        for id in &state.container_keys {
            self.by_container.insert(*id, Arc::clone(uid));
        }
    }

    pub(super) fn forget_pod(&mut self, uid: &Uid) {
        let Some(pod) = self.pods.remove(uid) else { return };
        pod.held.iter().for_each(|(address, _)| unindex(&mut self.by_address, address, uid));
        unindex(&mut self.without_address, &pod.node, uid);
        pod.containers.iter().flat_map(|container| &container.host_ports).for_each(|at| unindex(&mut self.by_host_port, &at.port, uid));
        if let Some(static_uid) = pod.static_uid.filter(|static_uid| self.by_static_uid.get(static_uid) == Some(uid)) {
            self.by_static_uid.remove(&static_uid);
        }
        for id in pod.container_keys {
            if self.by_container.get(&id) == Some(uid) {
                self.by_container.remove(&id);
            }
        }
    }

    /// Keeps the workload of pods whose owners may be forgotten before them.
    pub(super) fn keep_workloads(&mut self) {
        let found: Vec<(Uid, Workload)> =
            self.pods.iter().filter(|(_, pod)| pod.workload.is_none()).filter_map(|(uid, pod)| Some((Arc::clone(uid), self.top_of(pod)?))).collect();
        for (uid, workload) in found {
            if let Some(pod) = self.pods.get_mut(&uid) {
                pod.workload = Some(workload);
                self.changed.extend(pod.held.iter().map(|(address, _)| *address));
            }
        }
    }

    /// The top of a pod's owners; `None` while an owner in between is not known yet.
    pub(super) fn top_of(&self, pod: &PodState) -> Option<Workload> {
        if let Some(workload) = &pod.workload {
            return Some(workload.clone());
        }
        let workload = |kind: &str, name: &str| Some(Workload { kind: kind.to_owned(), name: name.to_owned() });
        let Some(owner) = &pod.owner else { return workload("Pod", &pod.name) };
        let kind = match owner.kind.as_str() {
            "ReplicaSet" => Kind::ReplicaSet,
            "Job" => Kind::Job,
            // A static pod is called by its name in the manifest and by its node.
            "Node" => return workload("Pod", pod.name.strip_suffix(&format!("-{}", owner.name)).unwrap_or(&pod.name)),
            _ => return workload(&owner.kind, &owner.name),
        };
        if let Some(controller) = self.controllers.get(owner.uid.as_str()) {
            return match &controller.owner {
                Some(top) => workload(&top.kind, &top.name),
                None => workload(&owner.kind, &controller.name),
            };
        }
        let hash = pod.template_hash.as_ref().filter(|_| kind == Kind::ReplicaSet);
        if let Some(deployment) = hash.and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-')) {
            return workload("Deployment", deployment);
        }
        // An owner is made before its pods: if all of that time is known, it was gone before anybody watched.
        let was_gone = !self.watched.contains(&kind) || self.heard_us(kind) > pod.created_us.saturating_add(held::SECOND_US);
        if was_gone { workload(&owner.kind, &owner.name) } else { None }
    }

    /// The pod that a node knows by the cgroup, whenever it lived.
    pub(super) fn pod_of(&self, pod: &PodRef) -> Option<&PodState> {
        let uid = pod.pod_uid.as_str();
        let by_uid = self.pods.get(uid).or_else(|| self.pods.get(self.by_static_uid.get(uid)?));
        by_uid.or_else(|| self.pods.get(self.by_container.get(&container_key(&pod.container_id)?)?))
    }
}

/// A container's id in half the room; `None` if it is none.
fn container_key(id: &str) -> Option<[u8; 32]> {
    let mut key = [0; 32];
    if id.len() != 64 || !id.is_ascii() {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&id[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(key)
}
