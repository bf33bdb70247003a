//! Names for sockets' owners: what the kernel says of a socket (namespace, cgroup, process name) looked up and handed to the rules.

use crate::inventory::can_be_owned_whole;
use crate::proxies::{LentPorts, lent_to};
use crate::runtimes::Desk;
use crate::source::Area;
use edgescope_identity::cgroup::PodRef;
use edgescope_identity::container::{Contained, Kind};
use edgescope_identity::found_by;
use edgescope_identity::local::{Facts, Local, Namer, Place};
use edgescope_identity::nat::Proxy;
use edgescope_identity::runtime::Named;
use edgescope_probe::{Comm, Protocol};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Most names remembered; above, they are looked up again.
const REMEMBERED_MAX: usize = 16_384;
/// How long a window waits for the names of containers that are new in it. All has been read by then, so that this costs the window nothing but its time of
/// leaving; a runtime answers in milliseconds, and one that is silent is left alone for a while.
const NAMES_WAIT: Duration = Duration::from_millis(500);

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
    /// The containers and pods whose networks namespaces are.
    networks: HashMap<u32, Contained>,
    cgroups: HashMap<u64, String>,
    remembered: HashMap<Question, Arc<Local>>,
    holder: Arc<Local>,
    unknown_cgroups: bool,
    /// Cgroups of sockets since the last question about containers.
    needed: HashSet<u64>,
    desk: Option<Arc<Desk>>,
    /// What runtimes call containers, by the paths of their cgroups.
    containers: HashMap<String, Arc<Named>>,
    containers_version: u64,
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
            networks: HashMap::new(),
            cgroups: HashMap::new(),
            remembered: HashMap::new(),
            holder,
            unknown_cgroups: false,
            needed: HashSet::new(),
            desk: None,
            containers: HashMap::new(),
            containers_version: 0,
            lent: LentPorts::new(),
        }
    }

    /// Has runtimes asked about containers.
    #[must_use]
    pub fn with_desk(self, desk: Option<Arc<Desk>>) -> Self {
        Self { desk, ..self }
    }

    /// Says where the node is.
    pub fn set_place(&mut self, place: Place) {
        if *self.namer.place() != place {
            self.namer.set_place(place);
            self.holder = Arc::new(Local { dims: self.namer.holder(), pod: PodRef::default() });
            self.remembered.clear();
        }
    }

    /// Takes in the namespaces there are.
    pub fn look(&mut self, areas: &[Area]) {
        let names: HashMap<u32, String> = areas.iter().filter_map(|area| Some((area.inode, area.name.clone()?))).collect();
        let networks: HashMap<u32, Contained> = areas.iter().filter_map(|area| Some((area.inode, area.container.clone()?))).collect();
        if names != self.names || networks != self.networks {
            (self.names, self.networks) = (names, networks);
            self.remembered.clear();
        }
    }

    /// Takes in the cgroups there are.
    pub fn set_cgroups(&mut self, cgroups: HashMap<u64, String>) {
        self.cgroups = cgroups;
        self.unknown_cgroups = false;
        self.remembered.clear();
        if let Some(desk) = &self.desk {
            let there: HashSet<&str> = self.cgroups.values().map(String::as_str).chain(self.networks.values().map(|one| one.path.as_str())).collect();
            desk.retain(|path| there.contains(path));
        }
    }

    /// Asks runtimes about the containers that are new, waits a little for their answers, and takes what is there. Returns how many could not be asked about.
    pub fn ask_runtimes(&mut self) -> u64 {
        let Some(desk) = self.desk.clone() else { return 0 };
        let of_sockets = self.needed.drain().filter_map(|id| Contained::of(self.cgroups.get(&id)?));
        let asked: HashSet<Contained> = of_sockets.chain(self.networks.values().cloned()).collect();
        let refused = desk.ask(asked, Instant::now());
        desk.wait(NAMES_WAIT);
        if let Some((version, containers)) = desk.names(self.containers_version) {
            (self.containers_version, self.containers) = (version, containers);
            self.remembered.clear();
        }
        refused
    }

    /// Containers that have the names of their runtimes.
    pub fn containers(&self) -> usize {
        self.containers.len()
    }

    /// Whether a cgroup was asked for that is not known: one made since the last look.
    pub fn misses_cgroups(&self) -> bool {
        self.unknown_cgroups
    }

    /// Marks a cgroup as asked for.
    pub fn needs_cgroup(&mut self, id: u64) {
        self.unknown_cgroups |= id != 0 && !self.cgroups.contains_key(&id);
        self.needed.insert(id);
    }

    /// Who holds addresses of a namespace that several workloads share: the node, or the pod or container whose network it is. `None` if the agent speaks for no
    /// whole address.
    pub fn holder(&self, netns: u32) -> Option<Arc<Local>> {
        let of_network = |network: &Contained| {
            let named = self.containers.get(&network.path);
            let dims = named.map_or_else(|| self.holder.dims.clone(), |named| self.namer.container_holder(named));
            let pod_uid = pod_uid_of(network, named.map(Arc::as_ref));
            Arc::new(Local { dims, pod: PodRef { pod_uid, ..PodRef::default() } })
        };
        (!self.part).then(|| self.networks.get(&netns).map_or_else(|| Arc::clone(&self.holder), of_network))
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
        let cgroup = self.cgroups.get(&cgroup).map_or("", String::as_str);
        let contained = self.contained(netns, cgroup);
        let named = contained.as_ref().and_then(|contained| self.containers.get(&contained.path)).map(Arc::as_ref);
        let facts = Facts {
            netns: self.names.get(&netns).map(String::as_str),
            address,
            port,
            process: &process,
            cgroup,
            container: named,
            has_own_network: self.networks.get(&netns).is_some_and(|network| self.containers.contains_key(&network.path)),
        };
        let pod = contained.as_ref().map(|contained| PodRef { pod_uid: pod_uid_of(contained, named), ..contained.pod_ref() }).unwrap_or_default();
        let owner = Arc::new(Local { dims: self.namer.owner(&facts), pod });
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(question, Arc::clone(&owner));
        owner
    }
}

impl Naming {
    /// The container that a socket is in. The pod whose network it is goes before that of the cgroup: far ends know the address alone. A container whose network
    /// others share does not, but for sockets that are of no container as far as their cgroup says, as everywhere with version 1.
    fn contained(&self, netns: u32, cgroup: &str) -> Option<Contained> {
        let own = Contained::of(cgroup);
        let network = self.networks.get(&netns);
        match (own, network) {
            (own, Some(network)) if !network.pod_uid.is_empty() && own.as_ref().is_none_or(|own| own.pod_uid != network.pod_uid) => {
                Some(of_its_pod(network))
            }
            (Some(own), Some(network)) if !own.is_sure() && network.is_sure() => Some(network.clone()),
            (None, network) => network.cloned(),
            (own, _) => own,
        }
    }
}

/// The pod alone: which of its containers it is, its network does not say.
fn of_its_pod(network: &Contained) -> Contained {
    Contained { kind: Kind::Pod, ..network.clone() }
}

/// What the path says of the pod goes before what its runtime says.
fn pod_uid_of(contained: &Contained, named: Option<&Named>) -> String {
    let told = named.map_or("", |named| named.pod_uid.as_str());
    if contained.pod_uid.is_empty() { told } else { contained.pod_uid.as_str() }.to_owned()
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
        let container = pod_uid.and_then(|uid| Contained::of(&format!("/kubepods/pod{uid}/{}", "5".repeat(64))));
        Area { inode, name: None, addresses: Vec::new(), container }
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
