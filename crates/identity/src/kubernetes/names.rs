//! Answers: what a pod, or an address at a time, is called.

use super::held::{Choice, Holding, Knowledge, choose, choose_one_at_a_time};
use super::object::{Container, Kind};
use super::pods::PodState;
use super::services::ServiceState;
use super::{Kubernetes, NodeState, Uid};
use crate::cgroup::PodRef;
use crate::directory::{End, Span};
use crate::found_by;
use edgescope_model::dims::EndDims;
use std::net::IpAddr;

/// A name from Kubernetes. Empty values of `dims` are unknown to it: others may know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub dims: EndDims,
    /// What it is, in words: `pod shop/cart-7d9f of Deployment cart`.
    pub about: String,
}

impl Kubernetes {
    /// The name of a pod that its node knows by the cgroup. `port` is the one that the end serves; it tells containers apart.
    /// `None` if the pod, or an owner of it, is not known yet.
    pub fn name_of(&self, pod: &PodRef, port: Option<u16>) -> Option<Named> {
        self.name_of_pod(self.pod_of(pod)?, port)
    }

    /// Who had the address in the window. A pod whose owners are not known yet is [`Choice::Unsure`].
    pub fn find(&self, end: End, window: Span) -> Choice<Named> {
        let pods = self.pods_at(end.address, window);
        if matches!(pods, Choice::One(_) | Choice::Several(_)) {
            return self.named(pods, end.port);
        }
        match self.services.at_address(end.address, end.port, window, self.knowledge(Kind::Service)) {
            Choice::Nobody => {}
            services => return services.map(|service| self.name_of_service(service, window)),
        }
        match self.node_at(end.address, window) {
            Choice::Nobody if pods == Choice::Nobody => Choice::Nobody,
            Choice::Nobody => Choice::Unsure,
            nodes => self.at_node(nodes, end, window),
        }
    }

    /// The pod with a network of its own that had the address in the window.
    pub fn find_pod(&self, end: End, window: Span) -> Choice<Named> {
        self.named(self.pods_at(end.address, window), end.port)
    }

    /// Whether a pod has or had the address.
    pub fn has_pod_at(&self, address: IpAddr) -> bool {
        self.by_address.contains_key(&address)
    }

    /// Zone and region of a node, by its name.
    pub fn place_of(&self, node: &str) -> Option<(&str, &str)> {
        self.nodes.get(node).map(|node| (node.zone.as_str(), node.region.as_str()))
    }

    pub(super) fn knowledge(&self, kind: Kind) -> &Knowledge {
        static NOTHING: Knowledge = Knowledge::new();
        self.known.get(&kind).unwrap_or(&NOTHING)
    }

    fn pods_at(&self, address: IpAddr, window: Span) -> Choice<&PodState> {
        let pods = self.states(self.by_address.get(&address)).filter(|pod| !pod.host_network);
        let holders: Vec<(&PodState, Holding)> =
            pods.flat_map(|pod| pod.held.iter().filter(|(held, _)| *held == address).map(move |(_, holding)| (pod, *holding))).collect();
        let choice = choose_one_at_a_time(&holders, window, self.knowledge(Kind::Pod));
        match choice {
            Choice::One(pod) if self.may_be_another(pod, &holders, window) => Choice::Unsure,
            Choice::Several(pods) if pods.iter().any(|pod| self.may_be_another(pod, &holders, window)) => Choice::Unsure,
            choice => choice,
        }
    }

    /// Whether a pod that came and went without telling its address may have had the one of this pod, where that did not have it for sure all the while.
    fn may_be_another(&self, pod: &PodState, holders: &[(&PodState, Holding)], window: Span) -> bool {
        let is_sure = |holding: &Holding| holding.sure_us <= window.from_us && holding.sure_until_us >= window.to_us;
        if holders.iter().any(|(holder, holding)| std::ptr::eq(*holder, pod) && is_sure(holding)) {
            return false;
        }
        let mut silent = self.states(self.without_address.get(&pod.node));
        silent.any(|other| other.created_us < window.to_us && other.gone_us.is_none_or(|gone_us| gone_us > window.from_us))
    }

    fn states<'a>(&'a self, uids: Option<&'a Vec<Uid>>) -> impl Iterator<Item = &'a PodState> {
        uids.into_iter().flatten().filter_map(|uid| self.pods.get(uid))
    }

    fn node_at(&self, address: IpAddr, window: Span) -> Choice<(&str, &NodeState)> {
        let names = self.nodes_by_address.get(&address).into_iter().flatten();
        let nodes = names.filter_map(|name| self.nodes.get_key_value(name)).map(|(name, node)| (name.as_str(), node));
        let holders: Vec<_> =
            nodes.flat_map(|node| node.1.held.iter().filter(|(held, _)| *held == address).map(move |(_, holding)| (node, *holding))).collect();
        if holders.is_empty() { Choice::Nobody } else { choose_one_at_a_time(&holders, window, self.knowledge(Kind::Node)) }
    }

    /// An address of a node: a pod's host port, a service's node port, or the node itself.
    fn at_node(&self, nodes: Choice<(&str, &NodeState)>, end: End, window: Span) -> Choice<Named> {
        if let Some(port) = end.port {
            match self.pods_at_host_port(end.address, port, window) {
                Choice::Nobody => {}
                Choice::Unsure if self.by_host_port.contains_key(&port) => return Choice::Unsure,
                Choice::Unsure => {}
                pods => return self.named(pods, end.port),
            }
            match self.services.at_node_port(port, window, self.knowledge(Kind::Service)) {
                Choice::Nobody => {}
                services => return services.map(|service| self.name_of_service(service, window)),
            }
        }
        nodes.map(|(name, node)| self.name_of_node(name, node))
    }

    fn has_node_at(&self, name: &str, address: IpAddr) -> bool {
        self.nodes_by_address.get(&address).is_some_and(|names| names.iter().any(|known| known == name))
    }

    fn pods_at_host_port(&self, address: IpAddr, port: u16, window: Span) -> Choice<&PodState> {
        let has = |pod: &PodState| {
            let mut ports = pod.containers.iter().flat_map(|container| &container.host_ports).filter(|at| at.port == port);
            let is_there = pod.host_addresses.contains(&address) || (pod.host_addresses.is_empty() && self.has_node_at(&pod.node, address));
            is_there && ports.any(|at| at.address.is_none_or(|only| only == address))
        };
        let pods = self.states(self.by_host_port.get(&port)).filter(|pod| has(pod));
        // One that never told its address may have had the port all its life.
        let silent = |pod: &PodState| Holding {
            from_us: pod.created_us,
            sure_us: i64::MAX,
            sure_until_us: i64::MAX,
            until_us: pod.gone_us.unwrap_or(i64::MAX),
        };
        let mut holders: Vec<(&PodState, Holding)> = Vec::new();
        for pod in pods {
            holders.extend(pod.held.iter().map(|(_, holding)| (pod, *holding)));
            holders.extend(pod.held.is_empty().then(|| (pod, silent(pod))));
        }
        // Two at once, by two protocols.
        match choose(&holders, window, self.knowledge(Kind::Pod)) {
            // Two addresses of one pod.
            Choice::Several(pods) if pods.iter().all(|pod| std::ptr::eq(*pod, pods[0])) => Choice::One(pods[0]),
            other => other,
        }
    }

    /// Names of pods; one whose owners are not known yet makes all unsure.
    fn named(&self, pods: Choice<&PodState>, port: Option<u16>) -> Choice<Named> {
        match pods.map(|pod| self.name_of_pod(pod, port)) {
            Choice::One(Some(named)) => Choice::One(named),
            Choice::Several(all) if all.iter().all(Option::is_some) => Choice::Several(all.into_iter().flatten().collect()),
            Choice::One(None) | Choice::Several(_) | Choice::Unsure => Choice::Unsure,
            Choice::Nobody => Choice::Nobody,
        }
    }

    pub(super) fn name_of_pod(&self, pod: &PodState, port: Option<u16>) -> Option<Named> {
        if let Some(stored) = &pod.stored {
            return Some(Named { dims: (**stored).clone(), about: format!("pod {}/{} of {}", pod.namespace, pod.name, stored.workload) });
        }
        let workload = self.top_of(pod)?;
        let (zone, region) = self.place_of(&pod.node).unwrap_or_default();
        let (container, image) = container_of(pod, port);
        let dims = EndDims {
            namespace: pod.namespace.clone(),
            node: pod.node.clone(),
            zone: zone.to_owned(),
            region: region.to_owned(),
            environment: self.cluster.clone(),
            process: container.to_owned(),
            image: image.to_owned(),
            resolution_type: found_by::KUBERNETES.to_owned(),
            pod: pod.name.clone(),
            ip: String::new(),
            workload: workload.name,
        };
        Some(Named { about: format!("pod {}/{} of {} {}", pod.namespace, pod.name, workload.kind, dims.workload), dims })
    }

    /// A service is called after the workload behind it, if all its ready pods are of one; else by its own name.
    fn name_of_service(&self, service: &ServiceState, window: Span) -> Named {
        let workload = self.workload_behind(service, window);
        let behind = workload.as_ref().map_or_else(String::new, |name| format!(", whose ready pods are all of {name}"));
        let dims = EndDims {
            workload: workload.unwrap_or_else(|| service.name.clone()),
            namespace: service.namespace.clone(),
            environment: self.cluster.clone(),
            resolution_type: found_by::KUBERNETES_SERVICE.to_owned(),
            ..EndDims::default()
        };
        Named { dims, about: format!("service {}/{}{behind}", service.namespace, service.name) }
    }

    fn workload_behind(&self, service: &ServiceState, window: Span) -> Option<String> {
        let ready = self.services.ready_pods(service, window, self.knowledge(Kind::EndpointSlice))?;
        let mut workloads = ready.iter().map(|uid| self.pods.get(uid).and_then(|pod| self.name_of_pod(pod, None)).map(|named| named.dims));
        let first = workloads.next()??;
        let same = workloads.all(|other| other.is_some_and(|other| (&other.workload, &other.namespace) == (&first.workload, &first.namespace)));
        (same && first.namespace == service.namespace).then_some(first.workload)
    }

    fn name_of_node(&self, name: &str, node: &NodeState) -> Named {
        let dims = EndDims {
            workload: name.to_owned(),
            node: name.to_owned(),
            zone: node.zone.clone(),
            region: node.region.clone(),
            environment: self.cluster.clone(),
            resolution_type: found_by::KUBERNETES_NODE.to_owned(),
            ..EndDims::default()
        };
        Named { dims, about: format!("node {name}") }
    }
}

/// What several possible names have in common, if they are of one workload.
pub fn common(mut names: impl Iterator<Item = Named>) -> Option<Named> {
    let mut all = names.next()?;
    for other in names {
        let (mine, theirs) = (&mut all.dims, other.dims);
        if (&mine.workload, &mine.namespace, &mine.resolution_type) != (&theirs.workload, &theirs.namespace, &theirs.resolution_type) {
            return None;
        }
        let rest = [
            (&mut mine.node, theirs.node),
            (&mut mine.zone, theirs.zone),
            (&mut mine.region, theirs.region),
            (&mut mine.process, theirs.process),
            (&mut mine.image, theirs.image),
            (&mut mine.pod, theirs.pod),
        ];
        for (mine, theirs) in rest {
            if *mine != theirs {
                mine.clear();
            }
        }
        if all.about != other.about {
            all.about = format!("pods of {}/{}", all.dims.namespace, all.dims.workload);
        }
    }
    Some(all)
}

/// Name and image of the container that serves the port. Both ends of an edge must come to the same answer, so a container is told by what its pod declares
/// alone: the only one, or the only one with that port; else the image is that of the first, which is the pod's own, not one that was put beside it.
fn container_of(pod: &PodState, port: Option<u16>) -> (&str, &str) {
    fn only<'a>(mut containers: impl Iterator<Item = &'a Container>) -> Option<&'a Container> {
        containers.next().filter(|_| containers.next().is_none())
    }
    let by_port = port.and_then(|port| only(pod.containers.iter().filter(|container| container.ports.contains(&port))));
    match by_port.or_else(|| only(pod.containers.iter())) {
        Some(container) => (&container.name, &container.image),
        None => ("", pod.containers.first().map_or("", |container| container.image.as_str())),
    }
}
