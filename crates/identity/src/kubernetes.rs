//! Names from Kubernetes: which pod, service or node an address was at a time, and whose pod it is.
//!
//! In go objects as the API tells them, each with the server time of its receipt ([`Kubernetes::apply`], [`Kubernetes::delete`], [`Kubernetes::list`],
//! [`Kubernetes::hear`]); out come names as of a window. A name is given only where no other is possible:
//!
//! * A **pod by its uid** (what its node's agent knows from the cgroup) is itself at any time, however late its object came and however early it went.
//! * A **pod by its address** had it from when its network was made until it ended; in a window in which two had it, or in which nobody watched the API, it is
//!   not named ([`held`]).
//! * A **service** or a **node** has its addresses in the same manner; behind a service stands a workload if all its ready pods are of one.
//!
//! A pod's workload is the top of its owners: ReplicaSet → Deployment, Job → CronJob, else its controller, else the pod itself. What is gone stays for
//! [`Limits::linger_us`], so that late data finds it.

pub mod held;
mod names;
pub mod object;
mod pods;
mod services;
mod stored;

pub use names::{Named, common};

use crate::directory::Span;
use edgescope_model::dims::{VALUE_BYTES_MAX, shortened};
use held::{Holding, Knowledge};
use object::{Controller, Kind, Node, Object, OwnerRef};
use pods::PodState;
use services::Services;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Ports kept of one container or service.
const PORTS_MAX: usize = 64;
/// Addresses of one pod or node over time: two families, and some of earlier networks.
const ADDRESSES_MAX: usize = 16;
/// Bounds.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most pods, those of the last day included: 100,000 × about 1.5 KiB are 150 MB. Kubernetes itself ends at 150,000 running ones.
    pub pods_max: usize,
    /// Most objects of each other kind.
    pub others_max: usize,
    /// How long what is gone stays, in microseconds.
    pub linger_us: i64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { pods_max: 100_000, others_max: 100_000, linger_us: 24 * 3_600_000_000 }
    }
}

/// What a bound cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Objects turned away: there were too many of their kind.
    pub objects_dropped: u64,
    /// Addresses, containers, ports and pods of services left out beyond what one object may have.
    pub parts_dropped: u64,
    /// Texts that were longer than a dimension may be.
    pub texts_cut: u64,
}

/// The uid of an object.
type Uid = Arc<str>;

#[derive(Debug, Clone)]
struct ControllerState {
    kind: Kind,
    name: String,
    owner: Option<OwnerRef>,
    gone_us: Option<i64>,
}

#[derive(Debug, Clone)]
struct NodeState {
    uid: String,
    zone: String,
    region: String,
    held: Vec<(IpAddr, Holding)>,
    gone_us: Option<i64>,
}

/// All that is known of a cluster. Not shared between threads by itself.
#[derive(Debug, Default)]
pub struct Kubernetes {
    limits: Limits,
    cluster: String,
    /// Kinds that somebody reads, or will.
    watched: HashSet<Kind>,
    known: HashMap<Kind, Knowledge>,
    pods: HashMap<Uid, PodState>,
    by_address: HashMap<IpAddr, Vec<Uid>>,
    by_host_port: HashMap<u16, Vec<Uid>>,
    /// Pods on a node of which no address was ever told: one that ends soon may have had any.
    without_address: HashMap<String, Vec<Uid>>,
    by_container: HashMap<[u8; 32], Uid>,
    by_static_uid: HashMap<Uid, Uid>,
    controllers: HashMap<Uid, ControllerState>,
    /// By name: a node's object may be made anew.
    nodes: HashMap<String, NodeState>,
    nodes_by_address: HashMap<IpAddr, Vec<String>>,
    services: Services,
    /// Addresses of which something is to be stored.
    changed: HashSet<IpAddr>,
    counters: Counters,
}

impl Kubernetes {
    /// `cluster` becomes the environment of what is in it; empty: what agents say.
    pub fn new(limits: Limits, cluster: &str) -> Self {
        Self { limits, cluster: shortened(cluster, VALUE_BYTES_MAX).to_owned(), ..Self::default() }
    }

    /// Somebody reads this kind, or will: names may come late, and are worth waiting for.
    pub fn watch(&mut self, kind: Kind) {
        self.watched.insert(kind);
    }

    /// Nobody can read this kind: names do without it.
    pub fn give_up(&mut self, kind: Kind) {
        self.watched.remove(&kind);
    }

    /// Nothing was ever heard of a cluster.
    pub fn is_empty(&self) -> bool {
        self.watched.is_empty() && self.pods.is_empty()
    }

    /// Something that happened before the window's end may still be on its way.
    pub fn is_behind(&self, window: Span) -> bool {
        self.watched.iter().any(|kind| self.heard_us(*kind) < window.to_us)
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Objects held of each kind, past ones included.
    pub fn counts(&self) -> [(Kind, usize); 6] {
        let controllers = |kind| self.controllers.values().filter(|controller| controller.kind == kind).count();
        [
            (Kind::Pod, self.pods.len()),
            (Kind::ReplicaSet, controllers(Kind::ReplicaSet)),
            (Kind::Job, controllers(Kind::Job)),
            (Kind::Node, self.nodes.len()),
            (Kind::Service, self.services.len()),
            (Kind::EndpointSlice, self.services.slices()),
        ]
    }

    /// All of this kind that happened up to then is known, in microseconds; `i64::MIN` before its first list.
    pub fn heard_us(&self, kind: Kind) -> i64 {
        self.known.get(&kind).map_or(i64::MIN, Knowledge::heard_us)
    }

    /// The watch of a kind goes on: what happened up to `at_us` has arrived. Nodes tell the API late what happens on them: that is to be taken off.
    pub fn hear(&mut self, kind: Kind, at_us: i64) {
        self.known.entry(kind).or_default().hear(at_us);
    }

    /// A whole list of a kind, of a moment not before `at_us`, has been applied: what it lacks is gone. It holds what happened up to `known_us`, and what came and
    /// went since the last word was not seen.
    pub fn list(&mut self, kind: Kind, uids: &HashSet<String>, at_us: i64, known_us: i64) {
        let heard_us = self.heard_us(kind);
        let gone: Vec<String> = self.uids(kind).filter(|uid| !uids.contains(uid)).collect();
        for uid in gone {
            self.end(kind, &uid, heard_us, at_us);
        }
        self.known.entry(kind).or_default().relist(at_us, known_us);
    }

    /// An object is as told, at the latest since `at_us`.
    pub fn apply(&mut self, object: Object, at_us: i64) {
        match object {
            Object::Pod(pod) => self.apply_pod(pod, at_us),
            Object::Controller(kind, controller) => self.apply_controller(kind, controller),
            Object::Node(node) => self.apply_node(node, at_us),
            Object::Service(service) => self.services.apply(service, at_us, &self.limits, &mut self.counters),
            Object::Slice(slice) => self.services.apply_slice(slice, at_us, &self.limits, &mut self.counters),
        }
    }

    /// An object is gone, at the latest since `at_us`.
    pub fn delete(&mut self, kind: Kind, uid: &str, at_us: i64) {
        self.end(kind, uid, at_us, at_us);
    }

    /// Forgets what has been gone for long enough.
    pub fn expire(&mut self, now_us: i64) {
        self.keep_workloads();
        let is_old = |gone_us: Option<i64>| gone_us.is_some_and(|gone_us| gone_us.saturating_add(self.limits.linger_us) <= now_us);
        let old: Vec<Uid> = self.pods.iter().filter(|(_, pod)| is_old(pod.gone_us)).map(|(uid, _)| Arc::clone(uid)).collect();
        self.controllers.retain(|_, controller| !is_old(controller.gone_us));
        let nodes: Vec<String> = self.nodes.iter().filter(|(_, node)| is_old(node.gone_us)).map(|(name, _)| name.clone()).collect();
        self.services.expire(now_us.saturating_sub(self.limits.linger_us));
        old.iter().for_each(|uid| self.forget_pod(uid));
        for name in nodes {
            if let Some(node) = self.nodes.remove(&name) {
                node.held.iter().for_each(|(address, _)| unindex(&mut self.nodes_by_address, address, &name));
            }
        }
    }

    fn uids(&self, kind: Kind) -> Box<dyn Iterator<Item = String> + '_> {
        match kind {
            Kind::Pod => Box::new(self.pods.iter().filter(|(_, pod)| pod.gone_us.is_none()).map(|(uid, _)| uid.to_string())),
            Kind::ReplicaSet | Kind::Job => {
                Box::new(self.controllers.iter().filter(move |(_, it)| it.kind == kind && it.gone_us.is_none()).map(|(uid, _)| uid.to_string()))
            }
            Kind::Node => Box::new(self.nodes.values().filter(|node| node.gone_us.is_none()).map(|node| node.uid.clone())),
            Kind::Service => Box::new(self.services.uids()),
            Kind::EndpointSlice => Box::new(self.services.slice_uids()),
        }
    }

    /// An object ended in a moment up to `until_us`, and was last known at `sure_until_us`.
    fn end(&mut self, kind: Kind, uid: &str, sure_until_us: i64, until_us: i64) {
        match kind {
            Kind::Pod => {
                let Some(pod) = self.pods.get_mut(uid) else { return };
                pod.held.iter_mut().for_each(|(_, holding)| holding.end(sure_until_us, until_us));
                pod.gone_us.get_or_insert(until_us);
                self.changed.extend(pod.held.iter().map(|(address, _)| *address));
            }
            Kind::ReplicaSet | Kind::Job => {
                if let Some(controller) = self.controllers.get_mut(uid) {
                    controller.gone_us.get_or_insert(until_us);
                }
            }
            Kind::Node => {
                if let Some(node) = self.nodes.values_mut().find(|node| node.uid == uid) {
                    node.held.iter_mut().for_each(|(_, holding)| holding.end(sure_until_us, until_us));
                    node.gone_us.get_or_insert(until_us);
                }
            }
            Kind::Service => self.services.end(uid, sure_until_us, until_us),
            Kind::EndpointSlice => self.services.end_slice(uid, until_us),
        }
    }

    fn apply_controller(&mut self, kind: Kind, controller: Controller) {
        if controller.uid.is_empty() || (!self.controllers.contains_key(controller.uid.as_str()) && self.controllers.len() >= self.limits.others_max)
        {
            self.counters.objects_dropped += 1;
            return;
        }
        let owner = controller.owner.map(|owner| self.owner(owner));
        let (uid, name) = (self.text(controller.uid), self.text(controller.name));
        self.controllers.insert(Arc::from(uid), ControllerState { kind, name, owner, gone_us: None });
    }

    fn apply_node(&mut self, node: Node, at_us: i64) {
        let name = self.text(node.name);
        if name.is_empty() || (!self.nodes.contains_key(&name) && self.nodes.len() >= self.limits.others_max) {
            self.counters.objects_dropped += 1;
            return;
        }
        let addresses = self.at_most(node.addresses, ADDRESSES_MAX);
        let (uid, zone, region) = (self.text(node.uid), self.text(node.zone), self.text(node.region));
        let state = self.nodes.entry(name.clone()).or_insert_with(|| NodeState {
            uid: String::new(),
            zone: String::new(),
            region: String::new(),
            held: Vec::new(),
            gone_us: None,
        });
        (state.uid, state.zone, state.region, state.gone_us) = (uid, zone, region, None);
        hold_lasting(&mut state.held, &addresses, node.created_us, at_us);
        for address in addresses {
            index(&mut self.nodes_by_address, address, &name);
        }
    }

    fn owner(&mut self, owner: OwnerRef) -> OwnerRef {
        OwnerRef { kind: self.text(owner.kind), name: self.text(owner.name), uid: self.text(owner.uid) }
    }

    fn text(&mut self, text: String) -> String {
        cut(text, &mut self.counters)
    }

    fn at_most<T>(&mut self, mut list: Vec<T>, max: usize) -> Vec<T> {
        self.counters.parts_dropped += list.len().saturating_sub(max) as u64;
        list.truncate(max);
        list.shrink_to_fit();
        list
    }
}

/// Holds addresses that an object has all its life, such as a node's.
fn hold_lasting(held: &mut Vec<(IpAddr, Holding)>, addresses: &[IpAddr], created_us: i64, at_us: i64) {
    for (address, holding) in held.iter_mut() {
        if holding.is_open() && !addresses.contains(address) {
            holding.end(at_us, at_us);
        }
    }
    let from_us = created_us.min(at_us);
    for &address in addresses {
        if held.len() < ADDRESSES_MAX && !held.iter().any(|(known, holding)| *known == address && holding.is_open()) {
            held.push((address, Holding { from_us, sure_us: from_us, sure_until_us: i64::MAX, until_us: i64::MAX }));
        }
    }
}

fn index<K: std::hash::Hash + Eq, V: Clone + PartialEq>(all: &mut HashMap<K, Vec<V>>, key: K, value: &V) {
    let values = all.entry(key).or_default();
    if !values.contains(value) {
        values.push(value.clone());
    }
}

fn unindex<K: std::hash::Hash + Eq, V: PartialEq>(all: &mut HashMap<K, Vec<V>>, key: &K, value: &V) {
    if let Some(values) = all.get_mut(key) {
        values.retain(|known| known != value);
        if values.is_empty() {
            all.remove(key);
        }
    }
}

fn cut(text: String, counters: &mut Counters) -> String {
    if text.len() > VALUE_BYTES_MAX {
        counters.texts_cut += 1;
        return shortened(&text, VALUE_BYTES_MAX).to_owned();
    }
    text
}
