//! Names for sockets' owners: what the kernel says of a socket (namespace, cgroup, process name) looked up and handed to the rules.

use crate::inventory::can_be_owned_whole;
use crate::proxies::{LentPorts, lent_to};
use crate::source::Area;
use edgescope_identity::cgroup::PodRef;
use edgescope_identity::found_by;
use edgescope_identity::local::{Facts, Local, Namer};
use edgescope_identity::nat::Proxy;
use edgescope_probe::{Comm, Protocol};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Most names remembered; above, they are looked up again.
const REMEMBERED_MAX: usize = 16_384;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Question {
    netns: u32,
    address: IpAddr,
    port: Option<u16>,
    comm: Comm,
    cgroup: u64,
}

/// Names owners, and remembers what it found until the node changes.
#[derive(Debug)]
pub struct Naming {
    namer: Namer,
    /// The agent sees only a part of each node: it speaks for no whole address.
    part: bool,
    names: HashMap<u32, String>,
    /// Uids of the pods whose networks namespaces are.
    pods: HashMap<u32, String>,
    cgroups: HashMap<u64, String>,
    remembered: HashMap<Question, Arc<Local>>,
    holder: Arc<Local>,
    unknown_cgroups: bool,
    /// Ports at which proxies accept for others.
    lent: LentPorts,
}

impl Naming {
    pub fn new(namer: Namer, part: bool) -> Self {
        let holder = Arc::new(Local { dims: namer.holder(), pod: PodRef::default() });
        Self {
            namer,
            part,
            names: HashMap::new(),
            pods: HashMap::new(),
            cgroups: HashMap::new(),
            remembered: HashMap::new(),
            holder,
            unknown_cgroups: false,
            lent: LentPorts::new(),
        }
    }

    /// Takes in the namespaces there are.
    pub fn look(&mut self, areas: &[Area]) {
        let names: HashMap<u32, String> = areas.iter().filter_map(|area| Some((area.inode, area.name.clone()?))).collect();
        let pods: HashMap<u32, String> = areas.iter().filter_map(|area| Some((area.inode, area.pod_uid.clone()?))).collect();
        if names != self.names || pods != self.pods {
            (self.names, self.pods) = (names, pods);
            self.remembered.clear();
        }
    }

    /// Takes in the cgroups there are.
    pub fn set_cgroups(&mut self, cgroups: HashMap<u64, String>) {
        self.cgroups = cgroups;
        self.unknown_cgroups = false;
        self.remembered.clear();
    }

    /// Whether a cgroup was asked for that is not known: one made since the last look.
    pub fn misses_cgroups(&self) -> bool {
        self.unknown_cgroups
    }

    /// Marks a cgroup as asked for.
    pub fn needs_cgroup(&mut self, id: u64) {
        self.unknown_cgroups |= id != 0 && !self.cgroups.contains_key(&id);
    }

    /// Who holds addresses of a namespace that several workloads share: the node, with the pod whose network it is. `None` if the agent speaks for no whole
    /// address.
    pub fn holder(&self, netns: u32) -> Option<Arc<Local>> {
        let of_pod = |uid: &String| Arc::new(Local { dims: self.holder.dims.clone(), pod: PodRef { pod_uid: uid.clone(), ..PodRef::default() } });
        (!self.part).then(|| self.pods.get(&netns).map_or_else(|| Arc::clone(&self.holder), of_pod))
    }

    /// The node itself: owner of last resort.
    pub fn fallback(&self) -> Arc<Local> {
        Arc::clone(&self.holder)
    }

    /// Whether the address alone names its owner.
    pub fn by_address(&self, netns: u32, address: IpAddr) -> bool {
        !self.part && can_be_owned_whole(address) && self.namer.names_by_address(self.names.get(&netns).map(String::as_str), address)
    }

    pub fn owner_by_address(&mut self, netns: u32, address: IpAddr) -> Arc<Local> {
        self.owner(netns, address, None, &Comm::default(), 0)
    }

    /// Takes in whose the ports are at which userland proxies accept.
    pub fn lend(&mut self, lent: LentPorts) {
        self.lent = lent;
    }

    /// Whose a served port is that a proxy, by its process' name `comm`, accepts at.
    pub fn lent(&self, netns: u32, local: IpAddr, port: u16, protocol: Protocol, comm: &Comm) -> Option<Arc<Local>> {
        let lent = self.lent.get(&(netns, port, protocol))?;
        let is_proxy = [Proxy::PROCESS, Proxy::LENDER].into_iter().any(|name| *comm == Comm::new(name));
        lent_to(lent, local).filter(|_| is_proxy).map(Arc::clone)
    }

    /// Owner of a socket; `port` is the one that it serves.
    pub fn owner(&mut self, netns: u32, address: IpAddr, port: Option<u16>, comm: &Comm, cgroup: u64) -> Arc<Local> {
        let question = Question { netns, address, port, comm: *comm, cgroup };
        if let Some(known) = self.remembered.get(&question) {
            return Arc::clone(known);
        }
        let process = printable(comm);
        let facts = Facts {
            netns: self.names.get(&netns).map(String::as_str),
            address,
            port,
            process: &process,
            cgroup: self.cgroups.get(&cgroup).map_or("", String::as_str),
        };
        let owner = Arc::new(Local { dims: self.namer.owner(&facts), pod: self.pod(netns, facts.cgroup) });
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(question, Arc::clone(&owner));
        owner
    }
}

impl Naming {
    /// The pod whose network it is goes before that of the cgroup: far ends know the address alone.
    fn pod(&self, netns: u32, cgroup: &str) -> PodRef {
        let pod = PodRef::of(cgroup).unwrap_or_default();
        match self.pods.get(&netns) {
            Some(uid) if pod.pod_uid != *uid => PodRef { pod_uid: uid.clone(), container_id: String::new() },
            _ => pod,
        }
    }
}

/// Whether nothing is known of the owner.
pub fn is_unknown(owner: &Local) -> bool {
    owner.dims.resolution_type == found_by::UNKNOWN
}

/// A process calls itself what it likes: control characters have no place in a name.
fn printable(comm: &Comm) -> String {
    comm.to_str_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "1b3c5d7e-0a2b-4c6d-8e0f-123456789abc";

    fn area(inode: u32, pod_uid: Option<&str>) -> Area {
        Area { inode, name: None, addresses: Vec::new(), pod_uid: pod_uid.map(str::to_owned) }
    }

    #[test]
    fn a_pods_network_and_cgroup_say_which_pod_it_is() {
        let mut naming = Naming::new(Namer::default(), false);
        naming.look(&[area(1, None), area(2, Some(UID))]);
        let other = "ffffffff-0000-4000-8000-000000000000";
        naming.set_cgroups(HashMap::from([(7, format!("/kubepods/pod{other}/{}", "a".repeat(64)))]));
        let mut pod = |netns, cgroup| naming.owner(netns, [10, 0, 0, 1].into(), None, &Comm::default(), cgroup).pod.clone();
        assert_eq!((pod(1, 7).pod_uid.as_str(), pod(1, 7).container_id.len()), (other, 64), "on the node's network the cgroup tells");
        assert_eq!((pod(2, 7).pod_uid.as_str(), pod(2, 7).container_id.len()), (UID, 0), "on a pod's own the address is that pod's");
        assert_eq!((pod(2, 0).pod_uid.as_str(), pod(1, 0).is_empty()), (UID, true));
        let holders = [1, 2].map(|netns| naming.holder(netns).unwrap().pod.pod_uid.clone());
        assert_eq!(holders, ["", UID]);
        naming.look(&[area(2, None)]);
        assert!(naming.owner(2, [10, 0, 0, 1].into(), None, &Comm::default(), 0).pod.is_empty(), "the namespace's number is another's now");
    }
}
