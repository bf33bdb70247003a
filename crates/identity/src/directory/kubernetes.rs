//! Where agents' words and Kubernetes meet.
//!
//! Who **stands** for an edge is decided by agents' claims alone: what Kubernetes knows comes at any time, and two batches of one window must come to the same
//! answer. Kubernetes gives the names. An agent's word on which pod is behind an address goes before the API's: it is of the window itself, and the API's may
//! be late. Without such a word an address is named only where the API's word holds for all of the window.

use super::{Claim, Directory, End, Found, Span};
use crate::cgroup::PodRef;
use crate::found_by;
use crate::kubernetes::held::Choice;
use crate::kubernetes::{Kubernetes, Named, common};
use edgescope_model::dims::EndDims;
use std::sync::Arc;

/// Which pods agents see behind an end.
#[derive(Debug, PartialEq, Eq)]
enum Seen<'a> {
    /// This one, all the window long.
    One(&'a PodRef),
    /// Several, one after the other.
    Several(Vec<&'a PodRef>),
    /// A pod, as last heard: its agent's word on this window is still to come.
    Stale,
    /// A socket that listens there and is, as far as its agent sees, of no pod.
    Host,
    Nothing,
}

impl Directory {
    /// What is known of the Kubernetes cluster.
    pub fn kubernetes(&self) -> &Kubernetes {
        &self.kubernetes
    }

    pub fn kubernetes_mut(&mut self) -> &mut Kubernetes {
        &mut self.kubernetes
    }

    /// Puts the directory's Kubernetes in place of an empty one, before anything is restored.
    #[must_use]
    pub fn with_kubernetes(mut self, kubernetes: Kubernetes) -> Self {
        self.kubernetes = kubernetes;
        self
    }

    /// Whether anything is known of who has the address in the window: an agent's claim, a name from Kubernetes, a static rule or a list; and nothing better is to come.
    pub fn knows(&self, asking: &str, end: End, window: Span) -> bool {
        let asking_number = self.by_id.get(asking).copied();
        if self.may_be_named(asking_number, end, window) {
            return false;
        }
        self.valid(asking_number, end.address, window).next().is_some()
            || self.rules.find_far(end.address, end.port).is_some()
            || self.is_listed(end.address)
            || self.find(asking, end, window).told
    }

    /// The name of a local end, of which its own agent said `owner` and perhaps the pod.
    pub fn name_local(&self, asking: &str, end: End, owner: &Arc<EndDims>, pod: Option<&PodRef>, window: Span) -> Arc<EndDims> {
        if self.kubernetes.is_empty() {
            return Arc::clone(owner);
        }
        let named = match pod {
            Some(pod) => self.kubernetes.name_of(pod, end.port),
            None => self.pod_at(self.by_id.get(asking).copied(), end, window),
        };
        match named {
            Some(named) => Arc::new(over(owner, named)),
            None => self.placed(owner),
        }
    }

    /// What Kubernetes makes of what the claims say. The second value says it in words.
    pub(super) fn in_kubernetes(&self, asking: Option<u32>, end: End, window: Span, found: Found) -> (Found, Option<String>) {
        if self.kubernetes.is_empty() {
            return (found, None);
        }
        let named = match self.seen(asking, end, window) {
            Seen::Nothing if !found.owned => told(self.kubernetes.find(end, window)),
            _ => self.pod_at(asking, end, window),
        };
        match named {
            Some(named) => {
                let about = named.about.clone();
                (Found { dims: Arc::new(over(&found.dims, named)), told: true, ..found }, Some(about))
            }
            None => (Found { dims: self.placed(&found.dims), ..found }, None),
        }
    }

    /// Whether a name from Kubernetes may still come for an end, which it lacks now.
    pub(super) fn may_be_named(&self, asking: Option<u32>, end: End, window: Span) -> bool {
        if self.kubernetes.is_empty() {
            return false;
        }
        match self.seen(asking, end, window) {
            Seen::One(pod) => self.kubernetes.name_of(pod, end.port).is_none(),
            Seen::Several(_) | Seen::Host => false,
            Seen::Nothing if self.valid(asking, end.address, window).next().is_some() => false,
            Seen::Stale | Seen::Nothing => self.kubernetes.is_behind(window) && self.kubernetes.find(end, window) == Choice::Unsure,
        }
    }

    /// Whether a local end's pod is still to come.
    pub fn awaits(&self, pod: &PodRef) -> bool {
        !self.kubernetes.is_empty() && !pod.pod_uid.is_empty() && self.kubernetes.name_of(pod, None).is_none()
    }

    /// The agent whose word on the pod behind an end counts.
    pub(super) fn agent_that_saw(&self, end: End, window: Span) -> Option<&str> {
        let Seen::One(pod) = self.seen(None, end, window) else { return None };
        let claim = self.valid(None, end.address, window).find(|claim| claim.pod.as_deref() == Some(pod))?;
        Some(&self.agents[claim.agent as usize].id)
    }

    /// A pod by its address alone.
    fn pod_at(&self, asking: Option<u32>, end: End, window: Span) -> Option<Named> {
        match self.seen(asking, end, window) {
            Seen::One(pod) => self.kubernetes.name_of(pod, end.port),
            Seen::Several(pods) => {
                common(pods.into_iter().map(|pod| self.kubernetes.name_of(pod, end.port)).collect::<Option<Vec<_>>>()?.into_iter())
            }
            // A socket of the node on one of the node's own ports; but a pod's address is the pod's, though its agent may not have seen the cgroup.
            Seen::Host => told(self.kubernetes.find_pod(end, window)),
            Seen::Stale | Seen::Nothing => told(self.kubernetes.find(end, window)).filter(|named| named.dims.resolution_type == found_by::KUBERNETES),
        }
    }

    /// Which pods agents saw behind the end in the window: behind its port, where a socket of a pod listens there, else behind the address.
    fn seen(&self, asking: Option<u32>, end: End, window: Span) -> Seen<'_> {
        let port = end.port.filter(|port| *port != 0);
        let valid: Vec<&Claim> = self.valid(asking, end.address, window).collect();
        let at_port: Vec<&Claim> = valid.iter().copied().filter(|claim| Some(claim.port) == port).collect();
        let whole: Vec<&Claim> = valid.iter().copied().filter(|claim| claim.port == 0).collect();
        let of_pods = |claims: &[&Claim]| claims.iter().any(|claim| claim.pod.is_some());
        let claims = if of_pods(&at_port) || !of_pods(&whole) { at_port } else { whole };
        let mut pods: Vec<Option<&PodRef>> = claims.iter().map(|claim| claim.pod.as_deref()).collect();
        pods.sort_unstable();
        pods.dedup_by(|a, b| same_pod(*a, *b));
        // Whoever spoke of the pods has spoken of the window, to its end: none came after them.
        let is_heard = claims.iter().all(|claim| self.agents[claim.agent as usize].heard_us >= window.to_us);
        match pods.as_slice() {
            [] => Seen::Nothing,
            [None] => Seen::Host,
            pods if pods.contains(&None) => Seen::Nothing,
            _ if !is_heard => Seen::Stale,
            [Some(pod)] => Seen::One(pod),
            several => Seen::Several(several.iter().flatten().copied().collect()),
        }
    }

    /// Zone and region of the node, where only Kubernetes knows them.
    fn placed(&self, dims: &Arc<EndDims>) -> Arc<EndDims> {
        let Some((zone, region)) = self.kubernetes.place_of(&dims.node) else { return Arc::clone(dims) };
        if (!dims.zone.is_empty() || zone.is_empty()) && (!dims.region.is_empty() || region.is_empty()) {
            return Arc::clone(dims);
        }
        let mut placed = (**dims).clone();
        take_if_empty(&mut placed.zone, zone);
        take_if_empty(&mut placed.region, region);
        Arc::new(placed)
    }
}

fn told(choice: Choice<Named>) -> Option<Named> {
    match choice {
        Choice::One(named) => Some(named),
        Choice::Several(names) => common(names.into_iter()),
        Choice::Nobody | Choice::Unsure => None,
    }
}

/// Containers of one pod are one pod.
fn same_pod(a: Option<&PodRef>, b: Option<&PodRef>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b || (!a.pod_uid.is_empty() && a.pod_uid == b.pod_uid),
        (a, b) => a == b,
    }
}

/// A name from Kubernetes over what is known otherwise: what it does not know stays, but for what belongs to another name.
fn over(dims: &EndDims, named: Named) -> EndDims {
    let mut over = named.dims;
    if over.node.is_empty() || over.node == dims.node || over.resolution_type == found_by::KUBERNETES {
        take_if_empty(&mut over.zone, &dims.zone);
        take_if_empty(&mut over.region, &dims.region);
    }
    take_if_empty(&mut over.environment, &dims.environment);
    over
}

fn take_if_empty(into: &mut String, from: &str) {
    if into.is_empty() {
        from.clone_into(into);
    }
}
