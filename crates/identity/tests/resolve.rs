//! Totals of resolved rows against a naive model: every byte of every conversation that an agent saw is counted exactly once in the merged column, whoever
//! saw it: both ends, one end, several workloads behind one address, an agent that sees a part of a node.

use edgescope_identity::address::to_bytes;
use edgescope_identity::directory::{Directory, Limits};
use edgescope_identity::resolve::{Resolved, resolve};
use edgescope_identity::rules::Rules;
use edgescope_model::fact::column_of;
use edgescope_model::signal::{KERNEL_DROPS_POLICY, Side, TCP_BYTES, TCP_RETRANS};
use edgescope_model::wire::{Batch, Endpoint, Measure, Observation, Owner, Role};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

const WINDOW_US: i64 = 10_000_000;
const START_US: i64 = 1_000 * WINDOW_US;

/// Who shares a host's address, and how much of it its agent sees.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// One workload: the address names it.
    Single,
    /// Several workloads behind one address.
    Shared,
    /// As `Shared`, but the agent sees only the workloads with even numbers and claims only their ports.
    Part,
}

#[derive(Debug, Clone)]
struct Host {
    kind: Kind,
    agent: Option<usize>,
}

#[derive(Debug, Clone)]
struct Talk {
    client: (usize, usize),
    server: (usize, usize),
    /// Its port is in the agent's list.
    listed: bool,
    loopback: bool,
    out: u64,
    back: u64,
}

#[derive(Debug, Clone)]
struct World {
    hosts: Vec<Host>,
    talks: Vec<Talk>,
}

const WORKLOADS: usize = 3;
const AGENTS: usize = 3;
/// An agent sees whole namespaces or parts of them, never both; this one sees parts, and never speaks for the loopback as a whole.
const PART_AGENT: usize = 2;

fn worlds(kinds: &'static [Kind], all_seen: bool) -> impl Strategy<Value = World> {
    let agent = if all_seen { (0..PART_AGENT).prop_map(Some).boxed() } else { prop::option::of(0..PART_AGENT).boxed() };
    let host = (prop::sample::select(kinds), agent)
        .prop_map(|(kind, agent)| Host { kind, agent: agent.map(|agent| if kind == Kind::Part { PART_AGENT } else { agent }) });
    let end = || (0..4usize, 0..WORKLOADS);
    let talk = (end(), end(), prop::bool::weighted(if all_seen { 1.0 } else { 0.7 }), prop::bool::weighted(0.2), 1..1_000u64, 0..1_000u64);
    let talk = talk.prop_map(|(client, server, listed, loopback, out, back)| Talk { client, server, listed, loopback, out, back });
    (prop::collection::vec(host, 4), prop::collection::vec(talk, 1..30)).prop_map(|(hosts, talks)| World { hosts, talks })
}

impl World {
    fn workload(&self, (host, workload): (usize, usize)) -> String {
        match self.hosts[host].kind {
            Kind::Single => format!("w{host}"),
            Kind::Shared | Kind::Part => format!("w{host}-{workload}"),
        }
    }

    fn seen(&self, (host, workload): (usize, usize)) -> bool {
        self.hosts[host].agent.is_some() && (self.hosts[host].kind != Kind::Part || workload % 2 == 0)
    }

    fn address(&self, host: usize, talk: &Talk) -> IpAddr {
        if talk.loopback && talk.client.0 == talk.server.0 { [127, 0, 0, 1].into() } else { [10, 0, 0, host as u8 + 1].into() }
    }

    fn listed(&self, talk: &Talk) -> bool {
        match self.hosts[talk.server.0].kind {
            // A loopback is every namespace's: agents always list its ports.
            Kind::Single => talk.loopback,
            Kind::Shared => talk.listed,
            // What an agent of a part observes as a server, it lists.
            Kind::Part => self.seen(talk.server),
        }
    }

    fn port(&self, talk: &Talk) -> u32 {
        // A workload's listed and unlisted ports differ, as two talks of one server may differ in it; so do those of loopbacks of several hosts of an agent.
        (7_000 + talk.server.0 * 100 + talk.server.1 * 10) as u32 + u32::from(self.listed(talk)) + 2 * u32::from(talk.loopback)
    }

    fn batch(&self, agent: usize) -> Batch {
        let mut batch =
            Batch { agent_id: format!("a{agent}"), sequence: 1, window_start_us: START_US, window_end_us: START_US + WINDOW_US, ..Batch::default() };
        for (number, host) in self.hosts.iter().enumerate().filter(|(_, host)| host.agent == Some(agent)) {
            if host.kind == Kind::Part {
                continue;
            }
            let shared = host.kind == Kind::Shared;
            let name = if shared { format!("host{number}") } else { self.workload((number, 0)) };
            claim(&mut batch, &name, [10, 0, 0, number as u8 + 1].into(), 0, shared);
            claim(&mut batch, "node", [127, 0, 0, 1].into(), 0, true);
        }
        for talk in &self.talks {
            for (end, role) in [(talk.client, Role::Client), (talk.server, Role::Server)] {
                if self.hosts[end.0].agent == Some(agent) && self.seen(end) {
                    self.observe(&mut batch, talk, end, role);
                }
            }
        }
        batch
    }

    fn observe(&self, batch: &mut Batch, talk: &Talk, end: (usize, usize), role: Role) {
        let owner = owner(batch, &self.workload(end));
        let (local, remote) = (self.address(talk.client.0, talk), self.address(talk.server.0, talk));
        let ((local, remote), (sent, received)) = match role {
            Role::Server => ((remote, local), (talk.back, talk.out)),
            _ => ((local, remote), (talk.out, talk.back)),
        };
        if role == Role::Server && self.listed(talk) {
            claim(batch, &self.workload(end), local, self.port(talk), false);
        }
        batch.observations.push(Observation {
            owner,
            local_address: to_bytes(local),
            remote_address: to_bytes(remote),
            service_port: self.port(talk),
            role: role.into(),
            sent: vec![measure(TCP_BYTES.id, sent), measure(TCP_RETRANS.id, 1), measure(KERNEL_DROPS_POLICY.id, 1)],
            received: vec![measure(TCP_BYTES.id, received), measure(KERNEL_DROPS_POLICY.id, 2)],
            ..Observation::default()
        });
    }

    fn resolved(&self) -> Vec<Resolved> {
        let batches: Vec<Batch> = (0..AGENTS).map(|agent| self.batch(agent)).collect();
        let mut directory = Directory::new(Limits::default(), Rules::default());
        batches.iter().for_each(|batch| directory.list_of_batch(batch));
        batches.iter().map(|batch| resolve(batch, &directory)).collect()
    }

    /// Bytes of each pair of workloads, of conversations that at least one agent saw.
    fn truth(&self) -> BTreeMap<(String, String), u64> {
        let mut truth = BTreeMap::new();
        for talk in self.talks.iter().filter(|talk| self.seen(talk.client) || self.seen(talk.server)) {
            let (client, server) = (self.workload(talk.client), self.workload(talk.server));
            *truth.entry((client.clone(), server.clone())).or_default() += talk.out;
            *truth.entry((server, client)).or_default() += talk.back;
        }
        truth.retain(|_, bytes| *bytes > 0);
        truth
    }
}

fn measure(signal: u16, value: u64) -> Measure {
    Measure { signal: signal.into(), value, ..Measure::default() }
}

fn owner(batch: &mut Batch, workload: &str) -> u32 {
    let at = batch.owners.iter().position(|owner| owner.workload == workload).unwrap_or_else(|| {
        batch.owners.push(Owner { workload: workload.to_owned(), ..Owner::default() });
        batch.owners.len() - 1
    });
    at as u32
}

fn claim(batch: &mut Batch, workload: &str, address: IpAddr, port: u32, shared: bool) {
    let owner = owner(batch, workload);
    batch.endpoints.push(Endpoint { address: to_bytes(address), port, owner, from_us: START_US - WINDOW_US, to_us: 0, shared });
}

/// Sums of a column by pair of workloads.
fn sums(resolved: &[Resolved], column: u16) -> BTreeMap<(String, String), u64> {
    let mut sums = BTreeMap::new();
    for row in resolved.iter().flat_map(|r| &r.rows) {
        if let Some(value) = row.value(column).filter(|&value| value > 0) {
            *sums.entry((row.dims.source.workload.clone(), row.dims.dest.workload.clone())).or_default() += value;
        }
    }
    sums
}

fn merged_bytes(resolved: &[Resolved]) -> BTreeMap<(String, String), u64> {
    sums(resolved, column_of(&TCP_BYTES, Side::Merged).expect("bytes have a merged column"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn every_byte_is_counted_once(world in worlds(&[Kind::Single, Kind::Shared, Kind::Part], false)) {
        let total: u64 = merged_bytes(&world.resolved()).values().sum();
        prop_assert_eq!(total, world.truth().values().sum::<u64>());
    }

    #[test]
    fn with_agents_at_both_ends_every_edge_has_its_name_and_bytes(world in worlds(&[Kind::Single, Kind::Shared], true)) {
        prop_assert_eq!(merged_bytes(&world.resolved()), world.truth());
    }

    #[test]
    fn what_only_the_sender_sees_is_never_lost(world in worlds(&[Kind::Single, Kind::Shared, Kind::Part], false)) {
        let retrans = sums(&world.resolved(), column_of(&TCP_RETRANS, Side::Merged).expect("retransmissions have a column"));
        let observations: usize = (0..AGENTS).map(|agent| world.batch(agent).observations.len()).sum();
        prop_assert_eq!(retrans.values().sum::<u64>(), observations as u64);
    }

    #[test]
    fn what_each_end_alone_sees_adds_up(world in worlds(&[Kind::Single, Kind::Shared, Kind::Part], false)) {
        let resolved = world.resolved();
        let observations = (0..AGENTS).map(|agent| world.batch(agent).observations.len()).sum::<usize>() as u64;
        let total = |side| sums(&resolved, column_of(&KERNEL_DROPS_POLICY, side).expect("a column for each side")).values().sum::<u64>();
        prop_assert_eq!([Side::Merged, Side::Sent, Side::Received].map(total), [3 * observations, observations, 2 * observations]);
    }

    #[test]
    fn hostile_batches_do_not_panic(owner in any::<u32>(), address in prop::collection::vec(any::<u8>(), 0..20), port in any::<u32>(), signal in any::<u32>(),
        buckets in prop::collection::vec(any::<u32>(), 0..5), counts in prop::collection::vec(any::<u64>(), 0..5), start in any::<i64>(), end in any::<i64>()) {
        let sent = vec![Measure { signal, value: u64::MAX, buckets, counts }];
        let one = Observation { owner, local_address: address.clone(), remote_address: address.clone(), service_port: port, sent: sent.clone(), received: sent, ..Observation::default() };
        let endpoints = vec![Endpoint { address, port, owner, from_us: end, to_us: start, shared: true }];
        let batch = Batch { agent_id: "x".into(), window_start_us: start, window_end_us: end, owners: vec![Owner::default()], endpoints, observations: vec![one.clone(), one], ..Batch::default() };
        let mut directory = Directory::new(Limits::default(), Rules::default());
        directory.list_of_batch(&batch);
        let resolved = resolve(&batch, &directory);
        prop_assert!(resolved.rows.len() <= 2);
        directory.expire(i64::MAX);
    }
}

#[test]
fn two_workloads_on_one_address_are_told_apart_by_their_own_agent() {
    let talk = |client, out| Talk { client, server: (1, 0), listed: true, loopback: false, out, back: 2 * out };
    let hosts = vec![
        Host { kind: Kind::Shared, agent: Some(0) },
        Host { kind: Kind::Single, agent: Some(1) },
        Host { kind: Kind::Single, agent: None },
        Host { kind: Kind::Single, agent: None },
    ];
    let world = World { hosts, talks: vec![talk((0, 0), 100), talk((0, 1), 10)] };
    let resolved = world.resolved();
    let bytes = merged_bytes(&resolved);
    let of = |a: &str, b: &str| bytes.get(&(a.to_owned(), b.to_owned())).copied();
    assert_eq!((of("w0-0", "w1"), of("w0-1", "w1"), of("w1", "w0-0"), of("w1", "w0-1")), (Some(100), Some(10), Some(200), Some(20)));
    assert_eq!(resolved[1].counters.ambiguous_remote, 2);
    // The server's own words for the far node stay visible on the side column.
    let sent = sums(&resolved, column_of(&TCP_BYTES, Side::Sent).unwrap());
    assert_eq!(sent.get(&("w1".to_owned(), "host0".to_owned())), Some(&220));
}

#[test]
fn unnamed_public_peers_are_grouped_and_their_addresses_bounded() {
    let mut batch = Batch { agent_id: "a".into(), window_start_us: START_US, window_end_us: START_US + WINDOW_US, ..Batch::default() };
    claim(&mut batch, "web", [10, 0, 0, 1].into(), 0, false);
    for peer in 0..400u32 {
        let remote: IpAddr = [198, 51, 100 + (peer / 200) as u8, (peer % 200) as u8].into();
        batch.observations.push(Observation {
            local_address: to_bytes([10, 0, 0, 1].into()),
            remote_address: to_bytes(remote),
            service_port: 443,
            role: Role::Server.into(),
            sent: vec![measure(TCP_BYTES.id, 1)],
            ..Observation::default()
        });
    }
    let mut directory = Directory::new(Limits::default(), Rules::default());
    directory.list_of_batch(&batch);
    let resolved = resolve(&batch, &directory);
    let by_prefix = merged_bytes(std::slice::from_ref(&resolved));
    assert_eq!(by_prefix.values().copied().collect::<Vec<_>>(), [200, 200]);
    assert_eq!((resolved.counters.public_addresses_cut, resolved.counters.unnamed_public), (144, 256));
    assert_eq!(resolved.rows.len(), 257);
}
