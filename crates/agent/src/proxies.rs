//! Userland proxies undone: the port of the node at which one accepts is its container's, and what it does towards the container is not told a second time.
//!
//! A proxy copies one connection into another. What it says with its clients crosses the network, and is told as its container's, at the address where the clients
//! find it. The second connection has the same bytes and stays on the node: both its ends are left out, as far as they are the proxy's. Pure but for `read`, by which
//! the arguments of a process come in, once each.

use crate::delta::Delta;
use crate::naming::{Naming, is_unknown};
use crate::source::Area;
use edgescope_identity::local::Local;
use edgescope_identity::nat::Proxy;
use edgescope_probe::{Comm, FlowKey, FlowReading, Listener, Protocol, Role};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::IpAddr;
use std::sync::Arc;

/// Most proxies known, one a published port, of about 300 bytes each.
const PROXIES_MAX: usize = 1_024;
/// Most pairs of a proxy's own address and its container's port: a proxy has one, or one a family.
const PAIRS_MAX: usize = 4 * PROXIES_MAX;

/// A port of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Target {
    address: IpAddr,
    port: u16,
    protocol: Protocol,
}

/// The address that a container sees at the other end, and its own.
type Pair = (IpAddr, Target);

/// A process of the name.
#[derive(Debug)]
struct Known {
    netns: u32,
    /// It was read as the so many-th: of two that say the same, the later holds.
    order: u64,
    /// `None` if its arguments could not be read, or make no sense.
    proxy: Option<Proxy>,
    /// Who serves at its container's port.
    owner: Option<Arc<Local>>,
}

/// A port of the node that is a container's.
#[derive(Debug, Clone)]
pub struct Lent {
    order: u64,
    proxy: Proxy,
    owner: Arc<Local>,
}

/// By namespace, port and protocol.
pub type LentPorts = HashMap<(u32, u16, Protocol), Vec<Lent>>;

/// The owner of a local address among those who were lent its port.
pub fn lent_to(lent: &[Lent], local: IpAddr) -> Option<&Arc<Local>> {
    let fitting = lent.iter().filter_map(|one| Some((one.proxy.accepts_at(local)?, one.order, &one.owner)));
    fitting.max_by_key(|(closeness, order, _)| (*closeness, *order)).map(|(_, _, owner)| owner)
}

/// What became of a window's flows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Undone {
    /// Flows between a proxy and its container, left out.
    pub inner: u64,
    /// What could not be undone, by reason.
    pub losses: BTreeMap<&'static str, u64>,
}

impl Undone {
    fn lose(&mut self, reason: &'static str, count: u64) {
        if count > 0 {
            *self.losses.entry(reason).or_default() += count;
        }
    }
}

/// The proxies of this node over time.
#[derive(Debug, Default)]
pub struct Proxies {
    known: HashMap<u32, Known>,
    reads: u64,
    pairs: HashSet<Pair>,
    /// Pairs between which others than the proxy spoke in the last window.
    shared_before: HashSet<Pair>,
}

impl Proxies {
    /// Takes out of `flows` what goes between proxies and their containers, and tells `naming` whose the proxies' ports are.
    pub fn undo(
        &mut self,
        flows: &mut Vec<Delta>,
        (listeners, readings): (&[Listener], &[FlowReading]),
        areas: &[Area],
        naming: &mut Naming,
        read: impl FnMut(u32) -> Option<io::Result<Vec<u8>>>,
    ) -> Undone {
        let mut undone = Undone::default();
        self.look(listeners, readings, flows, read, &mut undone);
        if self.known.is_empty() && self.pairs.is_empty() {
            naming.lend(LentPorts::new());
            return undone;
        }
        self.name(areas, listeners, flows, naming);
        naming.lend(self.lent());
        self.leave_out(flows, &mut undone);
        undone
    }

    /// How many there are whose arguments were understood.
    pub fn len(&self) -> usize {
        self.known.values().filter(|known| known.proxy.is_some()).count()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads the arguments of those that are new, and forgets those of which no socket is left.
    fn look(
        &mut self,
        listeners: &[Listener],
        readings: &[FlowReading],
        flows: &[Delta],
        mut read: impl FnMut(u32) -> Option<io::Result<Vec<u8>>>,
        undone: &mut Undone,
    ) {
        let name = Comm::new(Proxy::PROCESS);
        let live: HashSet<FlowKey> = flows.iter().filter(|delta| delta.key.comm == name).map(|delta| delta.key).collect();
        let listening = listeners.iter().filter(|listener| listener.comm == name).map(|listener| (listener.tgid, listener.netns, true));
        let speaking = readings.iter().filter(|reading| reading.key.comm == name);
        let speaking = speaking.map(|reading| (reading.counters.last_tgid, reading.key.netns, live.contains(&reading.key)));
        let mut seen = HashSet::new();
        for (tgid, netns, is_live) in listening.chain(speaking).filter(|(tgid, ..)| *tgid != 0) {
            seen.insert(tgid);
            if !is_live || self.known.contains_key(&tgid) {
                continue;
            }
            if self.known.len() >= PROXIES_MAX {
                undone.lose("proxies_left_out", 1);
                continue;
            }
            let Some(arguments) = read(tgid) else { continue };
            let proxy = arguments.ok().and_then(|line| Proxy::of_arguments(&line));
            if proxy.is_none() {
                undone.lose("proxies_unread", 1);
            }
            self.reads += 1;
            self.known.insert(tgid, Known { netns, order: self.reads, proxy, owner: None });
        }
        self.known.retain(|tgid, _| seen.contains(tgid));
    }

    /// Finds out who serves at the containers' ports: as the agent names that socket. Where it sees none, who it was before.
    fn name(&mut self, areas: &[Area], listeners: &[Listener], flows: &[Delta], naming: &mut Naming) {
        let places: HashMap<IpAddr, u32> = areas.iter().flat_map(|area| area.addresses.iter().map(|address| (*address, area.inode))).collect();
        let serving = flows.iter().map(|delta| &delta.key).filter(|key| key.role == Role::Server);
        let serving: HashMap<Target, &FlowKey> = serving.map(|key| (target_of(key), key)).collect();
        for known in self.known.values_mut() {
            let Some(proxy) = known.proxy else { continue };
            let (address, port) = (proxy.container.ip(), proxy.container.port());
            let netns = places.get(&address).copied().unwrap_or(0);
            let is_its = |at: &&Listener| !proxy.is_udp && at.netns == netns && at.port == port && at.addr.is_none_or(|at| at == address);
            let owner = if naming.by_address(netns, address) {
                Some(naming.owner_by_address(netns, address))
            } else if let Some(listener) = listeners.iter().find(is_its) {
                Some(naming.owner(netns, address, Some(port), &listener.comm, listener.cgroup))
            } else {
                let key = serving.get(&target_of_proxy(&proxy)).filter(|key| key.netns == netns);
                key.map(|key| naming.owner(netns, address, Some(port), &key.comm, key.cgroup))
            };
            known.owner = owner.filter(|owner| !is_unknown(owner)).or(known.owner.take());
        }
    }

    fn lent(&self) -> LentPorts {
        let mut lent = LentPorts::new();
        for known in self.known.values() {
            let (Some(proxy), Some(owner)) = (known.proxy, &known.owner) else { continue };
            let port = (known.netns, proxy.host.port(), protocol_of(&proxy));
            lent.entry(port).or_default().push(Lent { order: known.order, proxy, owner: Arc::clone(owner) });
        }
        lent
    }

    /// A proxy's own socket is known by its process; the container's by the pair of addresses, unless somebody else of the node speaks between the two as well: then it
    /// holds both and stays.
    fn leave_out(&mut self, flows: &mut Vec<Delta>, undone: &mut Undone) {
        let name = Comm::new(Proxy::PROCESS);
        let (named, unnamed) = self.targets();
        let any: HashSet<Target> = named.iter().map(|(_, target)| *target).collect();
        self.pairs.retain(|(_, target)| any.contains(target));
        let (mut spoken, mut shared, mut left) = (HashSet::new(), HashSet::new(), 0);
        for key in flows.iter().map(|delta| &delta.key).filter(|key| key.role == Role::Client) {
            let target = target_of(key);
            if key.comm == name && named.contains(&(key.netns, target)) {
                spoken.insert((key.local, target));
            } else if any.contains(&target) {
                shared.insert((key.local, target));
            }
            left += u64::from(key.comm == name && unnamed.contains(&(key.netns, target)));
        }
        for pair in &spoken {
            if self.pairs.len() < PAIRS_MAX {
                self.pairs.insert(*pair);
            } else {
                undone.lose("proxies_left_out", 1);
            }
        }
        let (before, mut mixed) = (flows.len(), 0);
        flows.retain(|delta| {
            let key = &delta.key;
            let target = target_of(key);
            if key.role == Role::Client {
                return !(key.comm == name && named.contains(&(key.netns, target)));
            }
            let pair = (key.remote, target);
            let stays = !self.pairs.contains(&pair) || shared.contains(&pair) || self.shared_before.contains(&pair);
            mixed += u64::from(stays && spoken.contains(&pair));
            stays
        });
        undone.inner = (before - flows.len()) as u64;
        undone.lose("proxies_unnamed", left);
        undone.lose("proxies_mixed", mixed);
        self.shared_before = shared;
    }

    /// Where proxies go to, by their namespace: to containers that have a name, and to others.
    fn targets(&self) -> (HashSet<(u32, Target)>, HashSet<(u32, Target)>) {
        let (mut named, mut unnamed) = (HashSet::new(), HashSet::new());
        for known in self.known.values() {
            let Some(proxy) = &known.proxy else { continue };
            let target = (known.netns, target_of_proxy(proxy));
            if known.owner.is_some() {
                named.insert(target)
            } else {
                unnamed.insert(target)
            };
        }
        (named, unnamed)
    }
}

/// The served end of a flow.
fn target_of(key: &FlowKey) -> Target {
    let address = if key.role == Role::Client { key.remote } else { key.local };
    Target { address, port: key.service_port, protocol: key.protocol }
}

fn target_of_proxy(proxy: &Proxy) -> Target {
    Target { address: proxy.container.ip(), port: proxy.container.port(), protocol: protocol_of(proxy) }
}

fn protocol_of(proxy: &Proxy) -> Protocol {
    if proxy.is_udp { Protocol::Udp } else { Protocol::Tcp }
}

#[cfg(test)]
#[path = "proxies_tests.rs"]
mod tests;
