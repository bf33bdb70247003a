//! From an agent's observations to rows of edges: both ends named as of the window, each signal's merged column filled exactly once.
//!
//! An observation at a local end L of a conversation with R gives a row of the edge L→R with what L sent, and one of R→L with what L received. Of a
//! signal that both ends see, the row always holds its own side (`.sent`, `.received`); the merged column is filled by the end that **stands**:
//!
//! * the **sender** S stands for S→D if D can be named, and S is owned by an agent or D is not;
//! * the **receiver** D stands if D cannot be named, or S is not owned by an agent.
//!
//! An agent that was silent or unknown in a window is as none for it: the others' words stood then. If that was so at both ends, the one that was heard of first
//! stands for both directions, since it may have been resolved before the other was known.
//!
//! D cannot be named if it is a client (or serves an unlisted port) on an address that several workloads share: the sender sees one address, only D's own
//! agent knows which of its workloads it was. Where a node translates addresses, ends are named as they really are ([`crate::nat`]), and whether a client
//! can be named is judged by the address that its server sees. The unspecified address `::` (many far ends in one, where a kernel map was full) is never a sender that
//! the receiver stands for, since its own agent may speak too. Both ends come to the same answer from the directory alone, so that nothing is counted
//! twice, and nothing is lost where one of them has an agent. Proven against a naive model in the tests.

mod ends;
mod heard;

use crate::cgroup::PodRef;
use crate::directory::{Directory, End, Found, Span};
use crate::{address, dims_of, found_by, pod_of};
use edgescope_model::dims::{EdgeDims, EndDims, Role};
use edgescope_model::fact::{FactRow, column_of};
use edgescope_model::histogram::Histogram;
use edgescope_model::signal::{self, Ends, Kind, Side, Signal};
use edgescope_model::wire;
use ends::RealEnds;
pub(crate) use heard::Heard;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Most addresses of unnamed public peers that one batch keeps; of the rest only the prefix. A window of 10 s then makes at most 256 new edges a prefix and agent.
pub const PUBLIC_ADDRESSES_MAX: usize = 256;

/// What a batch became.
#[derive(Debug, Clone, Default)]
pub struct Resolved {
    pub rows: Vec<FactRow>,
    pub counters: Counters,
}

/// What could not be told, or was told in part.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Observations whose far end shares its address with others and could not be named.
    pub ambiguous_remote: u64,
    /// Observations whose private far end has no name but its address.
    pub unnamed_private: u64,
    /// Observations whose public far end is known by its prefix only.
    pub unnamed_public: u64,
    /// Public addresses left out of rows beyond [`PUBLIC_ADDRESSES_MAX`].
    pub public_addresses_cut: u64,
    /// Observations that made no sense: an owner out of range, a wrong address or port, another protocol than TCP.
    pub observations_invalid: u64,
    /// Measures of a signal that the catalogue does not know, or that this end cannot see.
    pub measures_invalid: u64,
    /// Texts of owners that were longer than a dimension may be.
    pub texts_cut: u64,
    /// Observations of an agent that was away for so long that the far ends' words have stood for its edges meanwhile.
    pub returned_late: u64,
    /// Observations of a client that its server sees under another address.
    pub masked_clients: u64,
}

impl Counters {
    /// Adds another batch's.
    pub fn add(&mut self, other: &Self) {
        for (mine, (_, theirs)) in self.fields_mut().into_iter().zip(other.fields()) {
            *mine += theirs;
        }
    }

    /// Name and value of each, for coverage and metrics.
    pub fn fields(&self) -> [(&'static str, u64); 9] {
        [
            ("ambiguous_remote", self.ambiguous_remote),
            ("unnamed_private", self.unnamed_private),
            ("unnamed_public", self.unnamed_public),
            ("public_addresses_cut", self.public_addresses_cut),
            ("observations_invalid", self.observations_invalid),
            ("measures_invalid", self.measures_invalid),
            ("texts_cut", self.texts_cut),
            ("returned_late", self.returned_late),
            ("masked_clients", self.masked_clients),
        ]
    }

    fn fields_mut(&mut self) -> [&mut u64; 9] {
        [
            &mut self.ambiguous_remote,
            &mut self.unnamed_private,
            &mut self.unnamed_public,
            &mut self.public_addresses_cut,
            &mut self.observations_invalid,
            &mut self.measures_invalid,
            &mut self.texts_cut,
            &mut self.returned_late,
            &mut self.masked_clients,
        ]
    }
}

/// An end of which a name may still come.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Awaited {
    /// The far end of an observation, by its place in the batch, with its address as known so far. It is private and nothing is known of it; or a pod's, of which
    /// what is known may be old; or it stands for others, of which the translating agent has not told yet.
    Far { observation: usize, address: IpAddr },
    /// A local end in a pod whose object has not come yet.
    Pod(PodRef),
}

/// Ends of a batch for whose names it is worth waiting a little: an agent's list, its batch, or an object may be on its way.
pub fn awaited(batch: &wire::Batch, directory: &Directory) -> Vec<Awaited> {
    let window = Span::of(batch);
    let mut seen = HashSet::new();
    let far = batch.observations.iter().enumerate().filter_map(|(at, observation)| {
        let ends = RealEnds::of(observation, directory, window)?;
        seen.insert((ends.far, ends.is_untranslated)).then_some(Awaited::Far { observation: at, address: ends.far.address })
    });
    let mut pods = HashSet::new();
    let near = batch.owners.iter().filter_map(pod_of).filter(|pod| pods.insert(pod.clone())).map(Awaited::Pod);
    far.chain(near).filter(|end| is_awaited(end, batch, directory)).collect()
}

/// Whether a name may still come for an end of the batch.
pub fn is_awaited(end: &Awaited, batch: &wire::Batch, directory: &Directory) -> bool {
    let window = Span::of(batch);
    match end {
        Awaited::Far { observation, .. } => {
            let ends = batch.observations.get(*observation).and_then(|observation| RealEnds::of(observation, directory, window));
            let Some(RealEnds { far, is_untranslated, .. }) = ends else { return false };
            let has_agent_or_pod = address::is_private(far.address) || directory.kubernetes().has_pod_at(far.address);
            let waits = has_agent_or_pod && !address::is_node_local(far.address);
            let stands_for_others = is_untranslated && directory.awaits_translations(&batch.agent_id, far.address, window);
            stands_for_others || (waits && !directory.knows(&batch.agent_id, far, window))
        }
        Awaited::Pod(pod) => directory.awaits(pod),
    }
}

/// Turns a batch into rows, one an edge, all in the window that starts at `window_start_us`. The directory must have taken the batch's own endpoints before
/// ([`Directory::list_of_batch`]). Observations that make no sense are left out and counted; a signal unknown here is too.
pub fn resolve(batch: &wire::Batch, directory: &Directory) -> Resolved {
    let mut resolver = Resolver::new(batch, directory);
    for observation in &batch.observations {
        resolver.take(observation);
    }
    resolver.finish()
}

/// What names an edge within a batch: the numbers of source and destination, the port, the role of the source, the protocol.
type EdgeNumbers = (u32, u32, u16, Role, wire::Protocol);

struct Resolver<'a> {
    batch: &'a wire::Batch,
    directory: &'a Directory,
    window: Span,
    /// The agent was away longer than its claims hold on.
    late: bool,
    /// Dimensions of ends, by number.
    ends: Vec<Arc<EndDims>>,
    /// The batch's owners, as sent.
    owners: Vec<(Arc<EndDims>, Option<PodRef>)>,
    /// Numbers of local ends, by owner, address and served port.
    local: HashMap<(u32, End), u32>,
    numbers: HashMap<Arc<EndDims>, u32>,
    /// By end, and what the observing side calls it.
    found: HashMap<(End, Option<Heard<'a>>), (u32, Found)>,
    public_addresses: HashSet<IpAddr>,
    rows: HashMap<EdgeNumbers, FactRow>,
    counters: Counters,
}

impl<'a> Resolver<'a> {
    fn new(batch: &'a wire::Batch, directory: &'a Directory) -> Self {
        let mut resolver = Self {
            batch,
            directory,
            window: Span::of(batch),
            late: batch.caught_up_us > directory.limits().silent_us_max,
            ends: Vec::new(),
            owners: Vec::new(),
            local: HashMap::new(),
            numbers: HashMap::new(),
            found: HashMap::new(),
            public_addresses: HashSet::new(),
            rows: HashMap::new(),
            counters: Counters::default(),
        };
        for owner in &batch.owners {
            let (dims, cut) = dims_of(owner);
            resolver.counters.texts_cut += cut;
            resolver.owners.push((Arc::new(dims), pod_of(owner)));
        }
        resolver
    }

    fn take(&mut self, observation: &'a wire::Observation) {
        let ends = RealEnds::of(observation, self.directory, self.window);
        let owner = Some(observation.owner).filter(|owner| (*owner as usize) < self.owners.len());
        let (Some(ends), Some(owner)) = (ends, owner) else {
            self.counters.observations_invalid += 1;
            return;
        };
        let RealEnds { far, role, port, .. } = ends;
        let local = self.local(owner, ends.near);
        let near_found = self.find(ends.near, None).1;
        let (remote, far_found) = self.find(far, Heard::of(observation));
        self.count(&far_found, &ends);
        let (near_named, far_named) = self.can_name(&ends, &near_found, &far_found);
        self.counters.returned_late += u64::from(self.late || near_found.returned_us > i64::MIN);
        // The local end sends to the far one, and receives from it; see the module's words.
        let (near_since_us, far_since_us) = (speaks_since_us(&near_found), speaks_since_us(&far_found));
        let sender_stands = far_named && near_since_us <= far_since_us && !(self.late && far_found.owned);
        // Behind the unspecified address may be ends that an agent owns: their own words stand then, and twice must not be.
        let far_sender_stands = near_named && far_found.owned && far_since_us <= near_since_us;
        let receiver_stands = !far_sender_stands && !far.address.is_unspecified();
        let protocol = observation.protocol();
        self.add((local, remote, port, role, protocol), &observation.sent, Side::Sent, sender_stands);
        self.add((remote, local, port, role.peer(), protocol), &observation.received, Side::Received, receiver_stands);
    }

    /// Whether each end can be named by the other. A masked client is called by its own name where its translation is known, but that may come to one end alone:
    /// so it is judged by the address that the server sees, which both know. Where no agent speaks for the client, the server's always may.
    fn can_name(&mut self, ends: &RealEnds, near: &Found, far: &Found) -> (bool, bool) {
        let Some(mask) = ends.client_seen_as else { return (near.named, far.named) };
        let mask_named = self.find(mask, None).1.named;
        match ends.role {
            Role::Client => (mask_named || !near.owned, far.named),
            Role::Server => (near.named, mask_named || !far.owned),
        }
    }

    /// Adds measures to a row: on their own side, and merged if this end stands.
    fn add(&mut self, edge: EdgeNumbers, measures: &[wire::Measure], side: Side, stands: bool) {
        for measure in measures {
            let seen = signal::by_id(measure.signal).filter(|signal| sees(signal.ends, side));
            let Some(signal) = seen else {
                self.counters.measures_invalid += 1;
                continue;
            };
            let row = self.rows.entry(edge).or_insert_with(|| FactRow::new(self.window.from_us.div_euclid(1_000_000), EdgeDims::default()));
            // Parts that one end alone sees add up; of what both see, one stands.
            if signal.ends != Ends::Both || stands {
                put(row, &signal, Side::Merged, measure);
            }
            if signal.ends.are_told_apart() {
                put(row, &signal, side, measure);
            }
        }
    }

    /// What the directory says of an end, or who talks to it, asked once a batch.
    fn find(&mut self, end: End, heard: Option<Heard<'a>>) -> (u32, Found) {
        if let Some(known) = self.found.get(&(end, heard)) {
            return known.clone();
        }
        let mut found = self.directory.find(&self.batch.agent_id, end, self.window);
        if let Some(heard) = heard {
            heard.name(&mut found);
        }
        let public = !found.owned && !found.dims.ip.is_empty() && !address::is_private(end.address);
        if public && !self.public_addresses.contains(&end.address) {
            if self.public_addresses.len() < PUBLIC_ADDRESSES_MAX {
                self.public_addresses.insert(end.address);
            } else {
                self.counters.public_addresses_cut += 1;
                found.dims = Arc::new(EndDims { ip: String::new(), ..(*found.dims).clone() });
            }
        }
        let number = self.number(&found.dims);
        self.found.insert((end, heard), (number, found.clone()));
        (number, found)
    }

    /// Number of a local end's dimensions.
    fn local(&mut self, owner: u32, near: End) -> u32 {
        if let Some(&known) = self.local.get(&(owner, near)) {
            return known;
        }
        let (dims, pod) = &self.owners[owner as usize];
        let named = self.directory.name_local(&self.batch.agent_id, near, dims, pod.as_ref(), self.window);
        let number = self.number(&named);
        self.local.insert((owner, near), number);
        number
    }

    fn number(&mut self, dims: &Arc<EndDims>) -> u32 {
        let next = self.ends.len() as u32;
        let number = *self.numbers.entry(Arc::clone(dims)).or_insert(next);
        if number == next {
            self.ends.push(Arc::clone(dims));
        }
        number
    }

    fn count(&mut self, found: &Found, ends: &RealEnds) {
        let (counters, far) = (&mut self.counters, ends.far);
        if ends.client_seen_as.is_some() {
            counters.masked_clients += 1;
        }
        if !found.named {
            counters.ambiguous_remote += u64::from(!found.told);
        } else if !found.owned && is_nameless(&found.dims) && !address::is_node_local(far.address) {
            if address::is_private(far.address) { counters.unnamed_private += 1 } else { counters.unnamed_public += 1 }
        }
    }

    fn finish(self) -> Resolved {
        let end = |number: u32| (*self.ends[number as usize]).clone();
        let named = self.rows.into_iter().filter(|(_, row)| !row.is_empty()).map(|((source, dest, port, role, protocol), mut row)| {
            row.dims = EdgeDims { source: end(source), dest: end(dest), protocol: protocol_name(protocol).to_owned(), port, role };
            row
        });
        let mut rows: Vec<FactRow> = named.collect();
        rows.sort_unstable_by(|a, b| a.dims.cmp(&b.dims));
        Resolved { rows, counters: self.counters }
    }
}

fn put(row: &mut FactRow, signal: &Signal, side: Side, measure: &wire::Measure) {
    let Some(column) = column_of(signal, side) else { return };
    if signal.kind == Kind::Histogram {
        let pairs = measure.buckets.iter().zip(&measure.counts).map(|(&bucket, &count)| (u16::try_from(bucket).unwrap_or(u16::MAX), count));
        row.add_histogram(column, &Histogram::from_pairs(pairs));
    } else {
        row.add(column, signal.kind, measure.value);
    }
}

/// Whether nothing but the address is known of an end, and it stands in the row.
fn is_nameless(dims: &EndDims) -> bool {
    !dims.ip.is_empty() && [found_by::IP, found_by::PREFIX].contains(&dims.resolution_type.as_str())
}

/// Since when an end's agent may have spoken of the window: always, since it was heard of again, or never.
fn speaks_since_us(found: &Found) -> i64 {
    if found.owned { found.returned_us } else { i64::MAX }
}

/// Whether this side of a conversation can see the signal.
fn sees(ends: Ends, side: Side) -> bool {
    matches!((ends, side), (Ends::Both | Ends::Each, _) | (Ends::Sender, Side::Sent) | (Ends::Receiver, Side::Received))
}

/// Agents of before UDP told TCP alone, and left the field out.
fn protocol_name(protocol: wire::Protocol) -> &'static str {
    match protocol {
        wire::Protocol::Tcp | wire::Protocol::Unspecified => "tcp",
        wire::Protocol::Udp => "udp",
    }
}
