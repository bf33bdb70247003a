//! From deltas of flows to the batches of a window.

use crate::counters::Counter;
use crate::delta::Delta;
use crate::heard::{FarName, Names};
use crate::inventory::{Claim, can_be_owned_whole};
use crate::measures::{DNS_PORT, Spoken, Sum};
use crate::naming::{Naming, is_unknown};
use edgescope_identity::address::{is_group, to_bytes};
use edgescope_identity::directory::Span;
use edgescope_identity::local::Local;
use edgescope_identity::nat::{Far, Seen, View};
use edgescope_model::wire::{self, Batch, Observation, Owner};
use edgescope_probe::{FlowKey, Protocol, Role};
use prost::Message;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Observations of one batch.
pub const OBSERVATIONS_MAX: usize = 8_000;
/// Bytes of one batch's observations: with 9,000 owners of 150 bytes and 8,000 endpoints of 40 it stays below the 8 MiB that a server takes.
const OBSERVATION_BYTES_MAX: usize = 5 << 20;
/// Owners of one batch; a server takes 10,000. What exceeds it is its node's.
const OWNERS_MAX: usize = 9_000;

/// What names an observation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    owner: Arc<Local>,
    local: IpAddr,
    remote: IpAddr,
    service_port: u16,
    client_port: u16,
    server: bool,
    protocol: Protocol,
    client_seen_as: Option<IpAddr>,
    /// By the port that the socket talks to.
    is_dns: bool,
    /// As heard in the socket's namespace.
    far_name: Option<FarName>,
}

/// Observations of one window, before they are put into batches.
#[derive(Debug, Default)]
pub struct Window {
    sums: BTreeMap<Key, (Sum, bool)>,
    /// Addresses and served ports that sockets told of.
    pub observed: Vec<Claim>,
    /// Flows whose owner has no name at all.
    pub unnamed: u64,
    /// Flows to or from an address that stands for several ends, of which this node knows, but not which one.
    pub ambiguous: u64,
}

impl Window {
    /// Names the local end of every flow, finds its real far end, and adds up what belongs together. The server tells apart who is behind the addresses of
    /// `split`; `names` are what this node has heard of far ends.
    pub fn of(deltas: &[Delta], naming: &mut Naming, nat: &View<'_>, split: &HashSet<IpAddr>, names: &mut Names, now: Span) -> Self {
        let mut window = Self::default();
        for delta in deltas {
            let key = &delta.key;
            let server = key.role == Role::Server;
            let lent = if server { naming.lent(key.netns, key.local, key.service_port, key.protocol, &key.comm) } else { None };
            let is_lent = lent.is_some();
            let owner = lent.unwrap_or_else(|| naming.owner(key.netns, key.local, server.then_some(key.service_port), &key.comm, key.cgroup));
            window.unnamed += u64::from(is_unknown(&owner));
            window.claim(delta, &owner, is_lent, naming);
            let far = nat.far(&seen(key));
            window.ambiguous += u64::from(far.is_ambiguous);
            let is_others = !far.is_found && split.contains(&key.remote);
            let Far { remote, service_port, client_seen_as, .. } = far;
            let place = Key {
                owner,
                local: key.local,
                remote,
                service_port,
                client_port: if is_others { key.client_port } else { 0 },
                server,
                protocol: key.protocol,
                client_seen_as,
                is_dns: key.is_dns || key.service_port == DNS_PORT,
                far_name: names.far(key, now.to_us),
            };
            let (sum, inferred) = window.sums.entry(place).or_default();
            sum.add(delta);
            *inferred |= key.role_inferred;
        }
        window.observed.sort_unstable();
        window.observed.dedup();
        window
    }

    /// What a socket does is the agent's to report, so its address is too, though the socket and its namespace may be gone by the time of the look around.
    /// Of a port that a proxy lends it (`is_lent`) its owner has no more than that.
    fn claim(&mut self, delta: &Delta, owner: &Arc<Local>, is_lent: bool, naming: &Naming) {
        let (address, key) = (delta.key.local, &delta.key);
        if address.is_unspecified() || is_group(address) {
            return;
        }
        // What a datagram was sent to may be the broadcast address of its network.
        let speaks = key.protocol == Protocol::Tcp || delta.counted.totals.get(Counter::segs_sent) > 0;
        if naming.by_address(key.netns, address) && !is_lent {
            if !speaks {
                return;
            }
            self.observed.push(Claim { address, port: 0, owner: Arc::clone(owner), shared: false });
            return;
        }
        if let Some(holder) = naming.holder(key.netns).filter(|_| speaks && can_be_owned_whole(address)) {
            self.observed.push(Claim { address, port: 0, owner: holder, shared: true });
        }
        if key.role == Role::Server && key.service_port != 0 {
            self.observed.push(Claim { address, port: key.service_port, owner: Arc::clone(owner), shared: false });
        }
    }

    pub fn len(&self) -> usize {
        self.sums.len()
    }

    pub fn is_empty(&self) -> bool {
        self.sums.is_empty()
    }

    /// The batches: at least one, since an idle agent is not a silent one. All but the observations are filled in by the caller, as is the first's list of endpoints.
    /// Returns also how many observations went to `other` for want of room for their owners.
    pub fn into_batches(self, other: &Arc<Local>) -> (Vec<(Batch, Owners)>, u64) {
        let fresh = || {
            let mut owners = Owners::default();
            // Number 0: whoever finds no room.
            owners.number(other);
            (Batch::default(), owners)
        };
        let (mut batches, mut bytes, mut cut) = (Vec::new(), 0, 0);
        let (mut batch, mut owners) = fresh();
        for (key, (sum, inferred)) in self.sums {
            let mut next = observation(&key, &sum, inferred);
            bytes += next.encoded_len();
            if batch.observations.len() >= OBSERVATIONS_MAX || bytes > OBSERVATION_BYTES_MAX {
                let (next_batch, next_owners) = fresh();
                batches.push((std::mem::replace(&mut batch, next_batch), std::mem::replace(&mut owners, next_owners)));
                bytes = next.encoded_len();
            }
            next.owner = owners.number(&key.owner).unwrap_or_else(|| {
                cut += 1;
                0
            });
            batch.observations.push(next);
        }
        batches.push((batch, owners));
        (batches, cut)
    }
}

fn seen(key: &FlowKey) -> Seen {
    Seen {
        local: key.local,
        remote: key.remote,
        service_port: key.service_port,
        client_port: key.client_port,
        is_server: key.role == Role::Server,
        is_udp: key.protocol == Protocol::Udp,
        is_masked: key.masked,
    }
}

/// Owners of a batch, numbered as they come.
#[derive(Debug, Default)]
pub struct Owners {
    numbers: HashMap<Arc<Local>, u32>,
    list: Vec<Owner>,
}

impl Owners {
    /// Number of an owner; `None` if there is no room for one more.
    pub fn number(&mut self, owner: &Arc<Local>) -> Option<u32> {
        if let Some(&number) = self.numbers.get(owner) {
            return Some(number);
        }
        if self.list.len() >= OWNERS_MAX {
            return None;
        }
        let number = self.list.len() as u32;
        self.numbers.insert(Arc::clone(owner), number);
        self.list.push(owner.to_wire());
        Some(number)
    }

    pub fn into_list(self) -> Vec<Owner> {
        self.list
    }
}

/// The owner's number is still to come.
fn observation(key: &Key, sum: &Sum, role_inferred: bool) -> Observation {
    let role = if key.server { wire::Role::Server } else { wire::Role::Client };
    let protocol = match key.protocol {
        Protocol::Tcp => wire::Protocol::Tcp,
        Protocol::Udp => wire::Protocol::Udp,
    };
    let spoken = Spoken { protocol: key.protocol, service_port: if key.is_dns { DNS_PORT } else { key.service_port } };
    Observation {
        owner: 0,
        local_address: to_bytes(key.local),
        remote_address: to_bytes(key.remote),
        service_port: key.service_port.into(),
        client_port: key.client_port.into(),
        role: role.into(),
        role_inferred,
        protocol: protocol.into(),
        sent: sum.sent(spoken, key.server),
        received: sum.received(spoken, key.server),
        client_seen_as: key.client_seen_as.map(to_bytes).unwrap_or_default(),
        far_name: key.far_name.as_ref().map(|far| far.name.to_string()).unwrap_or_default(),
        far_name_heard: key.far_name.as_ref().map_or(wire::Heard::Unspecified, |far| far.heard).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counters::{Cumulative, Totals};
    use crate::source::Area;
    use crate::testing::key;
    use edgescope_identity::local::{Namer, Place};
    use edgescope_identity::rules::{Match, Rule, Rules};

    /// The addresses that a datagram from or to `local` makes the agent claim.
    fn claimed(local: &str, counter: Counter) -> Vec<IpAddr> {
        let rule = Rule { when: Match { netns: Some("web-1".into()), ..Match::default() }, workload: Some("web".into()), ..Rule::default() };
        let mut naming = Naming::new(Namer::new(Rules::new(vec![rule]).unwrap(), Place::default()), false);
        naming.look(&[Area { inode: 1, name: Some("web-1".into()), addresses: Vec::new(), container: None }]);
        let mut totals = Totals::default();
        totals.0[counter as usize] = 1;
        let key = edgescope_probe::FlowKey { local: local.parse().unwrap(), protocol: Protocol::Udp, ..key(7) };
        let delta = Delta { key, counted: Cumulative { totals, ..Cumulative::default() }, rtt_us_max: None, rtt_us_min: None };
        let ledger = crate::nat::Ledger::default();
        let now = Span { from_us: 0, to_us: 1 };
        let window = Window::of(&[delta], &mut naming, &ledger.view(now), &HashSet::new(), &mut Names::default(), now);
        assert_eq!(window.sums.keys().map(|key| key.protocol).collect::<Vec<_>>(), [Protocol::Udp]);
        window.observed.iter().map(|claim| claim.address).collect()
    }

    #[test]
    fn an_address_is_claimed_by_who_sends_from_it_and_a_groups_by_nobody() {
        assert_eq!(claimed("10.0.0.1", Counter::segs_sent), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        // It may be the broadcast address of the network.
        assert!(claimed("10.0.0.255", Counter::segs_received).is_empty());
        for group in ["224.0.0.251", "255.255.255.255", "ff02::fb"] {
            assert!(claimed(group, Counter::segs_received).is_empty(), "{group}");
        }
    }
}
