//! Services: which addresses and ports are theirs, and which pods stood behind them when.

use super::held::{Choice, Holding, Knowledge, choose};
use super::object::{Service, Slice};
use super::{Counters, Limits, PORTS_MAX, Uid, cut, hold_lasting, index, unindex};
use crate::directory::Span;
use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

/// Pods of one slice: Kubernetes puts at most 1,000 into one.
const PODS_MAX: usize = 1_000;
/// Earlier sets of pods remembered of a slice.
const SETS_MAX: usize = 8;
/// Addresses of one service, of a kind.
const ADDRESSES_MAX: usize = 16;

#[derive(Debug, Clone)]
pub(super) struct ServiceState {
    pub namespace: String,
    pub name: String,
    ports: Vec<u16>,
    node_ports: Vec<u16>,
    /// ClusterIPs and outer addresses.
    held: Vec<(IpAddr, Holding)>,
    /// How long it is there: its node ports are held so long.
    life: Holding,
    gone_us: Option<i64>,
}

#[derive(Debug, Clone)]
struct SliceState {
    service: (String, String),
    /// Ready pods since a moment; the newest last.
    sets: Vec<(i64, Arc<[Uid]>)>,
    gone_us: Option<i64>,
}

#[derive(Debug, Default)]
pub(super) struct Services {
    services: HashMap<Uid, ServiceState>,
    by_address: HashMap<IpAddr, Vec<Uid>>,
    by_node_port: HashMap<u16, Vec<Uid>>,
    slices: HashMap<Uid, SliceState>,
    /// By namespace and name of the service.
    slices_of: HashMap<(String, String), BTreeSet<Uid>>,
}

impl Services {
    pub fn len(&self) -> usize {
        self.services.len()
    }

    pub fn slices(&self) -> usize {
        self.slices.len()
    }

    pub fn uids(&self) -> impl Iterator<Item = String> {
        self.services.iter().filter(|(_, service)| service.gone_us.is_none()).map(|(uid, _)| uid.to_string())
    }

    pub fn slice_uids(&self) -> impl Iterator<Item = String> {
        self.slices.iter().filter(|(_, slice)| slice.gone_us.is_none()).map(|(uid, _)| uid.to_string())
    }

    pub fn apply(&mut self, service: Service, at_us: i64, limits: &Limits, counters: &mut Counters) {
        if service.uid.is_empty() || (!self.services.contains_key(service.uid.as_str()) && self.services.len() >= limits.others_max) {
            counters.objects_dropped += 1;
            return;
        }
        let uid: Uid = Arc::from(cut(service.uid, counters));
        let mut at_most = |mut ports: Vec<u16>| {
            counters.parts_dropped += ports.len().saturating_sub(PORTS_MAX) as u64;
            ports.truncate(PORTS_MAX);
            ports
        };
        let (ports, node_ports) = (at_most(service.ports), at_most(service.node_ports));
        let (namespace, name) = (cut(service.namespace, counters), cut(service.name, counters));
        let from_us = service.created_us.min(at_us);
        let state = self.services.entry(Arc::clone(&uid)).or_insert_with(|| ServiceState {
            namespace: String::new(),
            name: String::new(),
            ports: Vec::new(),
            node_ports: Vec::new(),
            held: Vec::new(),
            life: Holding { from_us, sure_us: from_us, sure_until_us: i64::MAX, until_us: i64::MAX },
            gone_us: None,
        });
        (state.namespace, state.name, state.ports, state.node_ports, state.gone_us) = (namespace, name, ports, node_ports, None);
        let mut addresses = service.cluster_addresses;
        addresses.extend(service.outer_addresses);
        counters.parts_dropped += addresses.len().saturating_sub(ADDRESSES_MAX) as u64;
        addresses.truncate(ADDRESSES_MAX);
        hold_lasting(&mut state.held, &addresses, from_us, at_us);
        for address in addresses {
            index(&mut self.by_address, address, &uid);
        }
        for port in &state.node_ports {
            index(&mut self.by_node_port, *port, &uid);
        }
    }

    pub fn apply_slice(&mut self, slice: Slice, at_us: i64, limits: &Limits, counters: &mut Counters) {
        if slice.uid.is_empty() || (!self.slices.contains_key(slice.uid.as_str()) && self.slices.len() >= limits.others_max) {
            counters.objects_dropped += 1;
            return;
        }
        let uid: Uid = Arc::from(cut(slice.uid, counters));
        let service = (cut(slice.namespace, counters), cut(slice.service, counters));
        counters.parts_dropped += slice.ready_pods.len().saturating_sub(PODS_MAX) as u64;
        let pods: Arc<[Uid]> = slice.ready_pods.into_iter().take(PODS_MAX).map(|pod| Arc::from(cut(pod, counters))).collect();
        let state = self.slices.entry(Arc::clone(&uid)).or_insert_with(|| SliceState { service: service.clone(), sets: Vec::new(), gone_us: None });
        state.gone_us = None;
        if state.sets.last().is_none_or(|(_, newest)| *newest != pods) {
            state.sets.push((at_us, pods));
        }
        if state.sets.len() > SETS_MAX {
            state.sets.remove(0);
        }
        self.slices_of.entry(service).or_default().insert(uid);
    }

    pub fn end(&mut self, uid: &str, sure_until_us: i64, until_us: i64) {
        if let Some(service) = self.services.get_mut(uid) {
            service.held.iter_mut().for_each(|(_, holding)| holding.end(sure_until_us, until_us));
            service.life.end(sure_until_us, until_us);
            service.gone_us.get_or_insert(until_us);
        }
    }

    pub fn end_slice(&mut self, uid: &str, until_us: i64) {
        if let Some(slice) = self.slices.get_mut(uid) {
            slice.gone_us.get_or_insert(until_us);
            if slice.sets.last().is_some_and(|(_, newest)| !newest.is_empty()) {
                slice.sets.push((until_us, Arc::from([])));
            }
        }
    }

    /// Forgets what was gone at `before_us`.
    pub fn expire(&mut self, before_us: i64) {
        let is_old = |gone_us: Option<i64>| gone_us.is_some_and(|gone_us| gone_us <= before_us);
        let services: Vec<Uid> = self.services.iter().filter(|(_, service)| is_old(service.gone_us)).map(|(uid, _)| Arc::clone(uid)).collect();
        for uid in services {
            if let Some(service) = self.services.remove(&uid) {
                service.held.iter().for_each(|(address, _)| unindex(&mut self.by_address, address, &uid));
                service.node_ports.iter().for_each(|port| unindex(&mut self.by_node_port, port, &uid));
            }
        }
        let slices: Vec<Uid> = self.slices.iter().filter(|(_, slice)| is_old(slice.gone_us)).map(|(uid, _)| Arc::clone(uid)).collect();
        for uid in slices {
            let Some(slice) = self.slices.remove(&uid) else { continue };
            if let Some(of) = self.slices_of.get_mut(&slice.service) {
                of.remove(&uid);
                if of.is_empty() {
                    self.slices_of.remove(&slice.service);
                }
            }
        }
    }

    /// The service that has the address: by its ports, where several share it.
    pub fn at_address(&self, address: IpAddr, port: Option<u16>, window: Span, known: &Knowledge) -> Choice<&ServiceState> {
        let mut holders = self.holders(self.by_address.get(&address), |service| {
            service.held.iter().filter(|(held, _)| *held == address).map(|(_, holding)| *holding).collect()
        });
        if let Some(port) = port.filter(|port| holders.iter().any(|(service, _)| service.ports.contains(port))) {
            holders.retain(|(service, _)| service.ports.contains(&port));
        }
        if holders.is_empty() { Choice::Nobody } else { choose(&holders, window, known) }
    }

    /// The service that has the port on all nodes.
    pub fn at_node_port(&self, port: u16, window: Span, known: &Knowledge) -> Choice<&ServiceState> {
        let holders =
            self.holders(self.by_node_port.get(&port), |service| if service.node_ports.contains(&port) { vec![service.life] } else { Vec::new() });
        if holders.is_empty() { Choice::Nobody } else { choose(&holders, window, known) }
    }

    fn holders(&self, uids: Option<&Vec<Uid>>, of: impl Fn(&ServiceState) -> Vec<Holding>) -> Vec<(&ServiceState, Holding)> {
        let services = uids.into_iter().flatten().filter_map(|uid| self.services.get(uid));
        services.flat_map(|service| of(service).into_iter().map(move |holding| (service, holding))).collect()
    }

    /// Pods that were ready behind a service at some moment of the window; `None` if that is not known for all of it.
    pub fn ready_pods(&self, service: &ServiceState, window: Span, known: &Knowledge) -> Option<BTreeSet<Uid>> {
        if !known.is_complete(window.from_us, window.to_us) {
            return None;
        }
        let key = (service.namespace.clone(), service.name.clone());
        let mut pods = BTreeSet::new();
        for slice in self.slices_of.get(&key)?.iter().filter_map(|uid| self.slices.get(uid)) {
            for (at, (since_us, set)) in slice.sets.iter().enumerate() {
                let until_us = slice.sets.get(at + 1).map_or(i64::MAX, |(next_us, _)| *next_us);
                if *since_us < window.to_us && until_us > window.from_us {
                    pods.extend(set.iter().cloned());
                }
            }
            // What was there before the oldest set that is remembered.
            if slice.sets.len() == SETS_MAX && slice.sets[0].0 > window.from_us {
                return None;
            }
        }
        Some(pods)
    }
}
