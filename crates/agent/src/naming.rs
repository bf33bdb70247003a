//! Names for sockets' owners: what the kernel says of a socket (namespace, cgroup, process name) looked up and handed to the rules.

use crate::inventory::can_be_owned_whole;
use crate::source::Area;
use edgescope_identity::found_by;
use edgescope_identity::local::{Facts, Namer};
use edgescope_model::dims::EndDims;
use edgescope_probe::Comm;
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
    cgroups: HashMap<u64, String>,
    remembered: HashMap<Question, Arc<EndDims>>,
    holder: Arc<EndDims>,
    unknown_cgroups: bool,
}

impl Naming {
    pub fn new(namer: Namer, part: bool) -> Self {
        let holder = Arc::new(namer.holder());
        Self { namer, part, names: HashMap::new(), cgroups: HashMap::new(), remembered: HashMap::new(), holder, unknown_cgroups: false }
    }

    /// Takes in the namespaces there are.
    pub fn look(&mut self, areas: &[Area]) {
        let names: HashMap<u32, String> = areas.iter().filter_map(|area| Some((area.inode, area.name.clone()?))).collect();
        if names != self.names {
            self.names = names;
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

    /// Who holds addresses that several workloads share; `None` if the agent speaks for no whole address.
    pub fn holder(&self) -> Option<Arc<EndDims>> {
        (!self.part).then(|| Arc::clone(&self.holder))
    }

    /// The node itself: owner of last resort.
    pub fn fallback(&self) -> Arc<EndDims> {
        Arc::clone(&self.holder)
    }

    /// Whether the address alone names its owner.
    pub fn by_address(&self, netns: u32, address: IpAddr) -> bool {
        !self.part && can_be_owned_whole(address) && self.namer.names_by_address(self.names.get(&netns).map(String::as_str), address)
    }

    pub fn owner_by_address(&mut self, netns: u32, address: IpAddr) -> Arc<EndDims> {
        self.owner(netns, address, None, &Comm::default(), 0)
    }

    /// Owner of a socket; `port` is the one that it serves.
    pub fn owner(&mut self, netns: u32, address: IpAddr, port: Option<u16>, comm: &Comm, cgroup: u64) -> Arc<EndDims> {
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
        let owner = Arc::new(self.namer.owner(&facts));
        if self.remembered.len() >= REMEMBERED_MAX {
            self.remembered.clear();
        }
        self.remembered.insert(question, Arc::clone(&owner));
        owner
    }
}

/// Whether nothing is known of the owner.
pub fn is_unknown(owner: &EndDims) -> bool {
    owner.resolution_type == found_by::UNKNOWN
}

/// A process calls itself what it likes: control characters have no place in a name.
fn printable(comm: &Comm) -> String {
    comm.to_str_lossy().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}
