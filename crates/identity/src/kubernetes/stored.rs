//! What is stored of pods in the `endpoints` table, and what comes back from it at a start: who is gone by then would have no name for late data otherwise.

use super::held::Holding;
use super::pods::PodState;
use super::{Kubernetes, index};
use crate::directory::Claimed;
use edgescope_model::dims::EndDims;
use std::net::IpAddr;
use std::sync::Arc;

/// Before a pod's uid, where an agent's claim has the agent's id; no agent's id may hold a slash.
const CLAIMANT: &str = "kubernetes/";

impl Kubernetes {
    /// Whether a claim in the table is one of these.
    pub fn is_claim(claimed: &Claimed) -> bool {
        claimed.agent.starts_with(CLAIMANT)
    }

    /// Addresses of which something changed since the last call.
    pub(crate) fn take_changed(&mut self) -> impl Iterator<Item = IpAddr> {
        std::mem::take(&mut self.changed).into_iter()
    }

    /// Pods that hold or held an address, as the table wants them: those whose names are complete. A pod on the node's network shares its address.
    pub(crate) fn claimed(&self, address: IpAddr) -> Vec<Claimed> {
        let uids = self.by_address.get(&address).into_iter().flatten();
        uids.filter_map(|uid| self.pods.get_key_value(uid)).flat_map(|(uid, pod)| self.claims_of(uid, pod, address)).collect()
    }

    fn claims_of(&self, uid: &str, pod: &PodState, address: IpAddr) -> Vec<Claimed> {
        let Some(named) = self.name_of_pod(pod, None) else { return Vec::new() };
        let owner = Arc::new(named.dims);
        let held = pod.held.iter().filter(|(held, _)| *held == address);
        let claimed = held.map(|(_, holding)| Claimed {
            agent: format!("{CLAIMANT}{uid}"),
            address,
            port: 0,
            owner: Arc::clone(&owner),
            shared: pod.host_network,
            from_us: holding.from_us,
            until_us: if holding.is_open() { holding.from_us } else { holding.until_us },
            open: holding.is_open(),
        });
        claimed.collect()
    }

    /// Takes back what was stored. Of several tellings of one pod that which knows its end goes first, then that which says most.
    pub(crate) fn restore(&mut self, claimed: Claimed, now_us: i64) {
        let Some(uid) = claimed.agent.strip_prefix(CLAIMANT) else { return };
        if !self.pods.contains_key(uid) && self.pods.len() >= self.limits.pods_max {
            self.counters.objects_dropped += 1;
            return;
        }
        let holding = if claimed.open {
            Holding { from_us: claimed.from_us, sure_us: now_us, sure_until_us: i64::MAX, until_us: i64::MAX }
        } else {
            Holding::closed(claimed.from_us, claimed.until_us)
        };
        let uid = self.pods.get_key_value(uid).map_or_else(|| Arc::from(uid), |(uid, _)| Arc::clone(uid));
        let pod = self.pods.entry(Arc::clone(&uid)).or_insert_with(PodState::new);
        if pod.stored.as_ref().is_none_or(|stored| said(&claimed.owner) > said(stored)) {
            let dims = &claimed.owner;
            (pod.namespace, pod.name, pod.node) = (dims.namespace.clone(), dims.pod.clone(), dims.node.clone());
            pod.stored = Some(Arc::clone(&claimed.owner));
            pod.host_network = claimed.shared;
        }
        match pod.held.iter_mut().find(|(address, _)| *address == claimed.address) {
            Some((_, known)) if known.is_open() => *known = holding,
            Some(_) => {}
            None => pod.held.push((claimed.address, holding)),
        }
        if pod.held.iter().all(|(_, holding)| !holding.is_open()) {
            pod.gone_us = pod.held.iter().map(|(_, holding)| holding.until_us).max();
        } else {
            pod.gone_us = None;
        }
        index(&mut self.by_address, claimed.address, &uid);
    }
}

fn said(dims: &EndDims) -> usize {
    [&dims.workload, &dims.namespace, &dims.node, &dims.zone, &dims.region, &dims.environment, &dims.image, &dims.process, &dims.pod]
        .iter()
        .filter(|value| !value.is_empty())
        .count()
}
