//! Which addresses this node's workloads hold, and since when: what the agent tells the server's directory.
//!
//! Where a rule names all sockets of an address, the address is its owner's. Else several workloads share it: the node holds the address as a whole, and
//! every listening port is its owner's. An agent that sees only a part of a node speaks for no whole address.

use crate::naming::Naming;
use crate::source::Area;
use edgescope_identity::address::{is_node_local, to_bytes};
use edgescope_identity::directory::Span;
use edgescope_identity::local::Local;
use edgescope_model::wire::Endpoint;
use edgescope_probe::{Listener, Protocol};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Most endpoints told: 110 pods on two addresses each, with ten shared ports a node, are 230.
pub const ENDPOINTS_MAX: usize = 8_000;

/// An address (port 0) or a port of it, and who has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Claim {
    pub address: IpAddr,
    pub port: u16,
    pub owner: Arc<Local>,
    pub shared: bool,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    from_us: i64,
    /// Set for one list when it is no longer held.
    to_us: Option<i64>,
}

/// The node's endpoints over time.
#[derive(Debug, Default)]
pub struct Inventory {
    held: BTreeMap<Claim, Held>,
    looked_us: Option<i64>,
    /// Endpoints left out beyond [`ENDPOINTS_MAX`], at the last look.
    left_out: u64,
}

impl Inventory {
    /// Takes in what is there now; `observed` are served ports that sockets told of. Returns whether the list changed. What is new may have come at any moment since the
    /// last look.
    pub fn look(&mut self, areas: &[Area], listeners: &[Listener], observed: &[Claim], naming: &mut Naming, now: Span) -> bool {
        let from_us = self.looked_us.map_or(now.from_us, |looked_us| looked_us.min(now.from_us));
        self.looked_us = Some(now.to_us);
        let mut found = claims(areas, listeners, naming);
        // A listener's own word goes before that of a socket which it accepted.
        let listed: HashSet<(IpAddr, u16)> = found.iter().map(|claim| (claim.address, claim.port)).collect();
        found.extend(observed.iter().filter(|claim| !listed.contains(&(claim.address, claim.port))).cloned());
        found.sort_unstable();
        found.dedup();
        self.left_out = found.len().saturating_sub(ENDPOINTS_MAX) as u64;
        // Whole addresses matter most: without them the far ends' words would stand.
        found.sort_by_key(|claim| claim.port != 0);
        found.truncate(ENDPOINTS_MAX);
        let before = self.held.len();
        self.held.retain(|_, held| held.to_us.is_none());
        let mut changed = self.held.len() != before;
        let found: BTreeSet<Claim> = found.into_iter().collect();
        for (claim, held) in &mut self.held {
            if !found.contains(claim) {
                held.to_us = Some(now.to_us);
                changed = true;
            }
        }
        for claim in found {
            self.held.entry(claim).or_insert_with(|| {
                changed = true;
                Held { from_us, to_us: None }
            });
        }
        changed
    }

    /// The whole list, with owners by `number`.
    pub fn list(&self, mut number: impl FnMut(&Arc<Local>) -> u32) -> Vec<Endpoint> {
        let endpoint = |(claim, held): (&Claim, &Held)| Endpoint {
            address: to_bytes(claim.address),
            port: claim.port.into(),
            owner: number(&claim.owner),
            from_us: held.from_us,
            to_us: held.to_us.unwrap_or(0),
            shared: claim.shared,
        };
        self.held.iter().map(endpoint).collect()
    }

    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    pub fn len(&self) -> usize {
        self.held.len()
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

fn claims(areas: &[Area], listeners: &[Listener], naming: &mut Naming) -> Vec<Claim> {
    let mut claims = Vec::new();
    for area in areas {
        for &address in &area.addresses {
            let here = listeners.iter().filter(|listener| listener.netns == area.inode && listener.addr.is_none_or(|at| at == address));
            let lent = |listener: &Listener, naming: &Naming| naming.lent(area.inode, address, listener.port, Protocol::Tcp, &listener.comm);
            if naming.by_address(area.inode, address) {
                claims.push(Claim { address, port: 0, owner: naming.owner_by_address(area.inode, address), shared: false });
                // A proxy's port is its container's all the same.
                let lent = here.filter_map(|listener| Some(Claim { address, port: listener.port, owner: lent(listener, naming)?, shared: false }));
                claims.extend(lent);
                continue;
            }
            if let Some(holder) = naming.holder(area.inode) {
                claims.push(Claim { address, port: 0, owner: holder, shared: true });
            }
            for listener in here {
                let owner =
                    lent(listener, naming).unwrap_or_else(|| naming.owner(area.inode, address, Some(listener.port), &listener.comm, listener.cgroup));
                claims.push(Claim { address, port: listener.port, owner, shared: false });
            }
        }
    }
    claims
}

/// Loopback and link-local addresses are every namespace's: none of them is one workload's alone.
pub fn can_be_owned_whole(address: IpAddr) -> bool {
    !is_node_local(address)
}
