//! Who held an address at a time, from what agents say of their own addresses.
//!
//! An agent repeats its whole list whenever it changes and whenever it connects. A **claim** (this agent, this address, this port, this owner) grows with every list
//! that holds it and ends where a newer list lacks it; so lists may come late, twice or in any order, and two servers that got the same
//! lists have the same directory. A claim in an agent's newest list is open: it holds on until the agent says otherwise, or has been silent for [`Limits::silent_us_max`].
//!
//! Claims have a port where several workloads share the address; then the claim of the whole address (port 0) only says which node holds it.
//! Closed claims stay for [`Limits::linger_us`], so that late data finds the name of its own time; a reused address never inherits an old one.
//!
//! An agent that was silent for longer, or is heard of for the first time, leaves a **gap**: windows that ended in it were judged without it, and its own words on
//! them come late. [`Found::returned_us`] says so, so that nobody's bytes are counted twice.

mod agent;
mod explain;
mod heard;
mod kubernetes;
mod outside;
mod stored;
mod translated;

use crate::cgroup::PodRef;
use crate::kubernetes::Kubernetes;
use crate::nat::Table;
use crate::networks::Networks;
use crate::rules::Rules;
use crate::{address, dims_of, pod_of};
use agent::Agent;
use edgescope_model::dims::EndDims;
use edgescope_model::wire;
use heard::Words;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;
pub use stored::Claimed;
use translated::Apart;

/// Bounds of a directory.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most claims: 500,000 × about 100 bytes is 50 MB; a node with 100 pods on two addresses each holds some 500.
    pub claims_max: usize,
    /// Most claims of one address: its shared ports, and its past owners.
    pub claims_per_address_max: usize,
    /// Most agents.
    pub agents_max: usize,
    /// Most translated connections: 200,000 take 62 MB; a node tells of 8,000 a window at most, and they stay for ten minutes.
    pub translations_max: usize,
    /// How long closed claims stay, in microseconds: late data is named for so long.
    pub linger_us: i64,
    /// How long the claims of a silent agent stay open, in microseconds; then the far ends' words stand for its edges.
    pub silent_us_max: i64,
}

impl Default for Limits {
    fn default() -> Self {
        const HOUR_US: i64 = 3_600_000_000;
        Self {
            claims_max: 500_000,
            claims_per_address_max: 4_096,
            agents_max: 10_000,
            translations_max: 200_000,
            linger_us: 24 * HOUR_US,
            silent_us_max: HOUR_US,
        }
    }
}

/// Spans kept apart in which an owner held an address: one that comes and goes more often is taken as held in between.
const SPANS_MAX: usize = 16;

/// Moments of a window, in microseconds since the epoch, server time; the end is not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from_us: i64,
    pub to_us: i64,
}

impl Span {
    /// The window of a batch.
    pub fn of(batch: &wire::Batch) -> Self {
        Self { from_us: batch.window_start_us, to_us: batch.window_end_us.max(batch.window_start_us.saturating_add(1)) }
    }
}

/// One end of an edge, as it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct End {
    pub address: IpAddr,
    /// The port it serves; `None` for a client, whose own port is not known.
    pub port: Option<u16>,
}

/// What the directory says of an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub dims: Arc<EndDims>,
    /// An agent reports what this end sends and receives.
    pub owned: bool,
    /// When the agent that owns it was first heard of after the window, if it was silent or unknown then; `i64::MIN` if it was there.
    pub returned_us: i64,
    /// False where several workloads share the address and the port tells none of them: `dims` is then the node that holds the address, if nobody
    /// else told. By this is decided who stands for an edge.
    pub named: bool,
    /// Kubernetes gave the name.
    pub told: bool,
}

/// Events that cost a name, since the directory was made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Claims turned away: the directory, the address or the list of agents was full.
    pub claims_dropped: u64,
    /// Endpoints that made no sense: a wrong address, port or owner.
    pub endpoints_invalid: u64,
    /// Texts that were longer than a dimension may be.
    pub texts_cut: u64,
    /// Claims forgotten since they had been closed for long enough.
    pub claims_expired: u64,
    /// Translations that made no sense: a wrong address, port or protocol, or nothing that they change.
    pub translations_invalid: u64,
    /// Addresses that an agent should keep apart, beyond what it can.
    pub apart_dropped: u64,
}

#[derive(Debug, Clone)]
struct Claim {
    agent: u32,
    port: u16,
    shared: bool,
    owner: Arc<EndDims>,
    /// The pod of its sockets, as the agent sees it.
    pod: Option<Arc<PodRef>>,
    from_us: i64,
    until_us: i64,
}

/// The directory. Not shared between threads by itself.
#[derive(Debug)]
pub struct Directory {
    limits: Limits,
    rules: Rules,
    kubernetes: Kubernetes,
    networks: Arc<Networks>,
    claims: HashMap<IpAddr, Vec<Claim>>,
    claims_count: usize,
    agents: Vec<Agent>,
    /// Numbers of forgotten agents.
    free: Vec<u32>,
    by_id: HashMap<String, u32>,
    changed: HashSet<IpAddr>,
    counters: Counters,
    translations: Table,
    apart: Apart,
    words: Words,
}

impl Directory {
    /// `rules` name far ends that no agent owns, by address and port.
    pub fn new(limits: Limits, rules: Rules) -> Self {
        Self {
            kubernetes: Kubernetes::default(),
            networks: Arc::default(),
            limits,
            rules,
            claims: HashMap::new(),
            claims_count: 0,
            agents: Vec::new(),
            free: Vec::new(),
            by_id: HashMap::new(),
            changed: HashSet::new(),
            counters: Counters::default(),
            translations: Table::new(limits.translations_max),
            apart: Apart::new(),
            words: Words::default(),
        }
    }

    pub fn counters(&self) -> Counters {
        self.counters
    }

    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Claims held now.
    pub fn len(&self) -> usize {
        self.claims_count
    }

    pub fn is_empty(&self) -> bool {
        self.claims_count == 0
    }

    /// Takes an agent's whole list, as true at `at_us` (server time): an endpoint that it lacks is no longer held.
    /// For `Hello` that is the moment of its receipt, for a batch the end of its window.
    pub fn list(&mut self, agent: &str, owners: &[wire::Owner], endpoints: &[wire::Endpoint], at_us: i64) {
        let Some(number) = self.agent_number(agent) else {
            self.counters.claims_dropped += endpoints.len() as u64;
            return;
        };
        let owners: Vec<(Arc<EndDims>, Option<Arc<PodRef>>)> = owners.iter().map(|owner| self.interned(number, owner)).collect();
        self.hear(number, at_us);
        let of = &mut self.agents[number as usize];
        let (listed_us, newest) = (of.listed_us, at_us > of.listed_us);
        of.listed_us = of.listed_us.max(at_us);
        let former = if newest { std::mem::take(&mut of.addresses) } else { HashSet::new() };
        for endpoint in endpoints {
            let known = address::from_bytes(&endpoint.address).zip(u16::try_from(endpoint.port).ok()).zip(owners.get(endpoint.owner as usize));
            let Some(((address, port), (owner, pod))) = known else {
                self.counters.endpoints_invalid += 1;
                continue;
            };
            let until_us = if endpoint.to_us > 0 { endpoint.to_us.min(at_us) } else { at_us };
            let from_us = endpoint.from_us.min(until_us);
            let claim = Claim { agent: number, port, shared: endpoint.shared, owner: Arc::clone(owner), pod: pod.clone(), from_us, until_us };
            self.claim(address, claim, if newest { listed_us } else { i64::MAX });
            if newest {
                self.agents[number as usize].addresses.insert(address);
            }
        }
        let closed = former.into_iter().filter(|address| self.is_closed_in(*address, number));
        let closed: Vec<IpAddr> = closed.collect();
        self.changed.extend(closed);
    }

    /// Takes what a batch says of its agent's endpoints, where an empty list means that nothing changed, and of what its node translated.
    pub fn list_of_batch(&mut self, batch: &wire::Batch) {
        if batch.endpoints.is_empty() {
            self.heard(&batch.agent_id, batch.window_end_us);
        } else {
            self.list(&batch.agent_id, &batch.owners, &batch.endpoints, batch.window_end_us);
        }
        self.take_translations(batch, Span::of(batch));
        self.take_words(batch, Span::of(batch));
    }

    /// The agent lives, and its last list still holds.
    pub fn heard(&mut self, agent: &str, at_us: i64) {
        if let Some(number) = self.agent_number(agent) {
            self.hear(number, at_us);
        }
    }

    fn hear(&mut self, number: u32, at_us: i64) {
        let of = &mut self.agents[number as usize];
        if of.hear(at_us, self.limits.silent_us_max) {
            self.changed.extend(&of.addresses);
        }
    }

    /// Who has the end in the window, as seen by an agent: its own word goes first for addresses that it holds itself, and alone for node-local ones.
    pub fn find(&self, asking: &str, end: End, window: Span) -> Found {
        let asking = self.by_id.get(asking).copied();
        self.in_kubernetes(asking, end, window, self.find_claimed(asking, end, window)).0
    }

    /// Who has the end by agents' claims and static rules.
    fn find_claimed(&self, asking: Option<u32>, end: End, window: Span) -> Found {
        let valid: Vec<&Claim> = self.valid(asking, end.address, window).collect();
        match self.holder_of(asking, &valid, window) {
            Some(agent) => {
                let of_agent: Vec<&Claim> = valid.into_iter().filter(|claim| claim.agent == agent).collect();
                self.find_among(&of_agent, end, window, self.agents[agent as usize].returned_us(window))
            }
            None => self.unowned(end),
        }
    }

    /// Forgets what has been closed for [`Limits::linger_us`], and agents that have nothing left.
    pub fn expire(&mut self, now_us: i64) {
        let before = self.claims_count;
        let (agents, limits) = (&self.agents, self.limits);
        self.claims.retain(|_, claims| {
            claims.retain(|claim| ends_us(claim, &agents[claim.agent as usize], limits.silent_us_max).saturating_add(limits.linger_us) > now_us);
            !claims.is_empty()
        });
        self.claims_count = self.claims.values().map(Vec::len).sum();
        self.counters.claims_expired += (before - self.claims_count) as u64;
        self.forget_agents(now_us);
        self.expire_translations(now_us);
        self.expire_words(now_us.saturating_sub(self.limits.linger_us));
        self.kubernetes.expire(now_us);
    }

    /// Closes the claims of agents that have been silent for too long, and forgets those of which nothing is left.
    fn forget_agents(&mut self, now_us: i64) {
        let with_claims: HashSet<u32> = self.claims.values().flatten().map(|claim| claim.agent).collect();
        for (number, agent) in self.agents.iter_mut().enumerate() {
            agent.owners.retain(|owner| Arc::strong_count(owner) > 1);
            agent.pods.retain(|pod| Arc::strong_count(pod) > 1);
            let closed_us = agent.closed_us(self.limits.silent_us_max);
            if closed_us <= now_us && !agent.silent {
                agent.silent = true;
                self.changed.extend(&agent.addresses);
            }
            let gone = closed_us.saturating_add(self.limits.linger_us) <= now_us && !with_claims.contains(&(number as u32));
            if gone && self.by_id.remove(&agent.id).is_some() {
                *agent = Agent::new(String::new());
                self.apart.remove(&(number as u32));
                self.free.push(number as u32);
            }
        }
    }

    /// Agents known now.
    pub fn agents(&self) -> usize {
        self.by_id.len()
    }

    /// Claims of an address that hold at some moment of the window and that the asking agent may use.
    fn valid(&self, asking: Option<u32>, address: IpAddr, window: Span) -> impl Iterator<Item = &Claim> {
        let own_only = address::is_node_local(address);
        let claims = self.claims.get(&address).map(Vec::as_slice).unwrap_or_default();
        claims
            .iter()
            .filter(move |claim| (!own_only || Some(claim.agent) == asking) && claim.from_us < window.to_us && self.ends_us(claim) > window.from_us)
    }

    /// The agent whose word counts: the asking one if it still holds the address at the window's end, else the one that came to it last.
    fn holder_of(&self, asking: Option<u32>, valid: &[&Claim], window: Span) -> Option<u32> {
        if let Some(asking) = asking
            && valid.iter().any(|claim| claim.agent == asking && self.ends_us(claim) >= window.to_us)
        {
            return Some(asking);
        }
        let whole = valid.iter().filter(|claim| claim.port == 0);
        let newest = whole.max_by_key(|claim| (claim.from_us, &self.agents[claim.agent as usize].id));
        newest.or_else(|| valid.iter().max_by_key(|claim| (claim.from_us, &self.agents[claim.agent as usize].id))).map(|claim| claim.agent)
    }

    /// Looks among one agent's claims of the address: the port first, then the whole address.
    fn find_among(&self, claims: &[&Claim], end: End, window: Span, returned_us: i64) -> Found {
        let owned = |owner: &Arc<EndDims>, named| Found { dims: Arc::clone(owner), owned: true, returned_us, named, told: false };
        let port = end.port.filter(|&port| port != 0);
        if let Some(claim) = port.and_then(|port| self.current(claims.iter().filter(|claim| claim.port == port), window).ok().flatten()) {
            return owned(&claim.owner, true);
        }
        let whole = claims.iter().filter(|claim| claim.port == 0);
        match whole.clone().find(|claim| claim.shared) {
            Some(holder) => owned(&holder.owner, false),
            None => match self.current(whole.clone(), window) {
                Ok(Some(claim)) => owned(&claim.owner, true),
                // Two workloads claim the whole address at once: the newest, the same for everyone who asks.
                Err(newest) => owned(&newest.owner, true),
                Ok(None) => self.unowned(end),
            },
        }
    }

    /// The claim that holds at the window's end, else the last of those that ended in it; `Err` with the newest if two owners hold it at the end.
    fn current<'a>(&self, claims: impl Iterator<Item = &'a &'a Claim>, window: Span) -> Result<Option<&'a Claim>, &'a Claim> {
        let mut best: Option<&'a Claim> = None;
        let mut clash = false;
        let rank = |claim: &Claim| (self.ends_us(claim) >= window.to_us, claim.from_us);
        for &claim in claims {
            let Some(former) = best else {
                best = Some(claim);
                continue;
            };
            clash |= rank(former).0 && rank(claim).0 && former.owner != claim.owner;
            let newer = (rank(claim), &claim.owner) > (rank(former), &former.owner);
            best = Some(if newer { claim } else { former });
        }
        match best {
            Some(newest) if clash => Err(newest),
            best => Ok(best),
        }
    }

    fn ends_us(&self, claim: &Claim) -> i64 {
        ends_us(claim, &self.agents[claim.agent as usize], self.limits.silent_us_max)
    }

    /// Adds a claim, to what it goes on from: the same claim if it was open in the list before (`listed_us`), or at the same time. One that was closed in
    /// between stays closed.
    fn claim(&mut self, address: IpAddr, new: Claim, listed_us: i64) {
        let (per_address_max, full) = (self.limits.claims_per_address_max, self.claims_count >= self.limits.claims_max);
        let claims = self.claims.entry(address).or_default();
        let same =
            |old: &Claim| old.agent == new.agent && old.port == new.port && old.shared == new.shared && old.owner == new.owner && old.pod == new.pod;
        let goes_on = |old: &Claim| old.until_us >= listed_us || (old.from_us <= new.until_us && new.from_us <= old.until_us);
        let mut joined = claims.iter().position(|old| same(old) && goes_on(old));
        if joined.is_none() && claims.iter().filter(|old| same(old)).count() >= SPANS_MAX {
            joined = (0..claims.len()).filter(|&at| same(&claims[at])).max_by_key(|&at| claims[at].until_us);
        }
        let Some(at) = joined else {
            if claims.len() >= per_address_max || full {
                self.counters.claims_dropped += 1;
                return;
            }
            claims.push(new);
            self.claims_count += 1;
            self.changed.insert(address);
            return;
        };
        let old = &mut claims[at];
        // It reaches back further, or was closed and is open again.
        if old.from_us > new.from_us || (listed_us < i64::MAX && old.until_us < listed_us) {
            self.changed.insert(address);
        }
        (old.from_us, old.until_us) = (old.from_us.min(new.from_us), old.until_us.max(new.until_us));
        // A late list may fill what was between two spans.
        while let Some(other) = (at + 1..claims.len()).find(|&other| same(&claims[other]) && goes_on(&claims[other])) {
            let other = claims.swap_remove(other);
            claims[at].from_us = claims[at].from_us.min(other.from_us);
            claims[at].until_us = claims[at].until_us.max(other.until_us);
            self.claims_count -= 1;
            self.changed.insert(address);
        }
    }

    fn is_closed_in(&self, address: IpAddr, agent: u32) -> bool {
        let listed_us = self.agents[agent as usize].listed_us;
        self.claims.get(&address).is_some_and(|claims| claims.iter().any(|claim| claim.agent == agent && claim.until_us < listed_us))
    }

    fn agent_number(&mut self, id: &str) -> Option<u32> {
        if let Some(&number) = self.by_id.get(id) {
            return Some(number);
        }
        if self.by_id.len() >= self.limits.agents_max {
            return None;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.agents.push(Agent::new(String::new()));
            self.agents.len() as u32 - 1
        });
        self.agents[number as usize] = Agent::new(id.to_owned());
        self.by_id.insert(id.to_owned(), number);
        Some(number)
    }

    fn interned(&mut self, agent: u32, owner: &wire::Owner) -> (Arc<EndDims>, Option<Arc<PodRef>>) {
        let (dims, cut) = dims_of(owner);
        self.counters.texts_cut += cut;
        let of = &mut self.agents[agent as usize];
        (intern(&mut of.owners, Arc::new(dims)), pod_of(owner).map(|pod| intern(&mut of.pods, Arc::new(pod))))
    }
}

/// When a claim ends: never, as far as known, while it is in the agent's newest list and the agent is heard of.
fn ends_us(claim: &Claim, agent: &Agent, silent_us_max: i64) -> i64 {
    if claim.until_us >= agent.listed_us { agent.closed_us(silent_us_max).max(claim.until_us.saturating_add(silent_us_max)) } else { claim.until_us }
}

fn intern<T: Eq + Hash>(all: &mut HashSet<Arc<T>>, one: Arc<T>) -> Arc<T> {
    if let Some(known) = all.get(&one) {
        return Arc::clone(known);
    }
    all.insert(Arc::clone(&one));
    one
}
