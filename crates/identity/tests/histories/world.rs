//! A small cluster that lives for a minute by chance: what truly happened, and when it was told by whom.

use edgescope_identity::kubernetes::object::{Container, Controller, HostPort, Kind, Node, Object, OwnerRef, Pod};
use edgescope_model::wire::{Batch, Endpoint, Owner};
use std::collections::HashSet;
use std::net::IpAddr;

pub const SECOND_US: i64 = 1_000_000;
/// Moments begin here, so that none is negative.
pub const BEGIN_US: i64 = 1_000_000 * SECOND_US;
pub const WINDOW_US: i64 = 10 * SECOND_US;
pub const WINDOWS: i64 = 6;
pub const HOST_PORT: u16 = 80;
/// The first node has an agent, the second has none.
pub const NODES: usize = 2;
const ADDRESSES: usize = 3;
const WORKLOADS: usize = 4;
/// A change of the API arrives within so long while the watch goes on.
const LAG_US: i64 = 2 * SECOND_US;
/// With what a node takes to tell the API, all that happened so long ago is known.
pub const HEARD_LAG_US: i64 = 4 * SECOND_US;

/// Splitmix64 (Steele, Lea and Flood, 2014).
pub struct Chance(pub u64);

impl Chance {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From `from` to `to`, which is not in it.
    pub fn between(&mut self, from: i64, to: i64) -> i64 {
        from + (self.next() % (to - from).unsigned_abs()) as i64
    }

    pub fn of_100(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }
}

/// A pod as it truly was.
#[derive(Debug, Clone)]
pub struct Truth {
    pub number: usize,
    pub workload: usize,
    pub node: usize,
    pub address: IpAddr,
    pub on_host_port: bool,
    created_us: i64,
    networked_us: i64,
    ended_us: i64,
    /// Its object stays though it ended, as a Job's pod.
    stays: bool,
}

impl Truth {
    pub fn uid(&self) -> String {
        format!("{:08x}-0000-4000-8000-000000000000", self.number)
    }

    pub fn name(&self) -> String {
        format!("pod-{}", self.number)
    }

    pub fn workload_name(&self) -> String {
        format!("app-{}", self.workload)
    }

    pub fn held_in(&self, from_us: i64, to_us: i64) -> bool {
        self.networked_us < to_us && self.ended_us > from_us
    }
}

#[derive(Debug, Clone, Copy)]
enum Stage {
    Pending,
    Running,
    /// It was asked to end.
    Ending(i64),
    Ended,
}

/// What reaches the server.
#[derive(Debug, Clone)]
pub enum Told {
    Object(Object),
    Gone(Kind, String),
    List(Kind, Vec<Object>, i64),
    Heard(Kind, i64),
    Agent(Batch),
}

pub fn node_address(node: usize) -> IpAddr {
    [192, 168, 0, node as u8 + 1].into()
}

pub fn addresses() -> impl Iterator<Item = (usize, IpAddr)> {
    (0..NODES).flat_map(|node| (0..ADDRESSES).map(move |at| (node, IpAddr::from([10, 0, node as u8, at as u8 + 1]))))
}

/// Pods that follow each other on each address, often within one window.
pub fn truths(chance: &mut Chance) -> Vec<Truth> {
    let mut all: Vec<Truth> = Vec::new();
    for (node, address) in addresses() {
        let mut at_us = BEGIN_US + chance.between(-30 * SECOND_US, 30 * SECOND_US);
        while at_us < BEGIN_US + WINDOWS * WINDOW_US {
            let life_us = if chance.of_100(50) { chance.between(300_000, 8 * SECOND_US) } else { chance.between(8 * SECOND_US, 60 * SECOND_US) };
            let pod = Truth {
                number: all.len(),
                workload: chance.between(0, WORKLOADS as i64) as usize,
                node,
                address,
                on_host_port: false,
                created_us: at_us - chance.between(200_000, 10 * SECOND_US),
                networked_us: at_us,
                ended_us: at_us + life_us,
                stays: chance.of_100(20),
            };
            // Mostly one at a time has the port; two at once may, by two protocols.
            let port_is_taken = all.iter().any(|other| other.on_host_port && other.node == node && other.held_in(pod.networked_us, pod.ended_us));
            all.push(Truth { on_host_port: chance.of_100(if port_is_taken { 5 } else { 60 }), ..pod });
            at_us += life_us + if chance.of_100(70) { chance.between(50_000, 2 * SECOND_US) } else { chance.between(0, 20 * SECOND_US) };
        }
    }
    all
}

/// All that is told, by the moment of its arrival.
pub fn told(truths: &[Truth], chance: &mut Chance) -> Vec<(i64, Told)> {
    let mut all = Vec::new();
    let begin_us = BEGIN_US + chance.between(-20 * SECOND_US, 40 * SECOND_US);
    watch(Kind::Node, (0..NODES).map(|node| (0, Some(node_object(node)), String::new())).collect(), begin_us, &[], chance, &mut all);
    let owners = (0..WORKLOADS).map(|workload| {
        let first_us = truths.iter().filter(|pod| pod.workload == workload).map(|pod| pod.created_us).min().unwrap_or(BEGIN_US);
        (first_us - 100_000, Some(replica_set(workload)), String::new())
    });
    let (owners_out, pods_out) = (outages(chance), outages(chance));
    watch(Kind::ReplicaSet, owners.collect(), begin_us, &owners_out, chance, &mut all);
    watch(Kind::Pod, pod_changes(truths, chance), begin_us, &pods_out, chance, &mut all);
    agent(truths, chance, &mut all);
    all.sort_by_key(|(at_us, _)| *at_us);
    all
}

/// Spans without a watch, and whether what happened in them is told one by one afterwards, or by a list.
fn outages(chance: &mut Chance) -> Vec<(i64, i64, bool)> {
    let mut all = Vec::new();
    let mut at_us = BEGIN_US;
    while chance.of_100(40) {
        at_us += chance.between(SECOND_US, 60 * SECOND_US);
        let until_us = at_us + chance.between(SECOND_US, 40 * SECOND_US);
        all.push((at_us, until_us, chance.of_100(50)));
        at_us = until_us + 5 * SECOND_US;
    }
    all
}

/// Changes of one kind: when, to what (nothing: it is gone), and the uid of what is gone.
type Changes = Vec<(i64, Option<Object>, String)>;

/// How a watch tells of the changes.
fn watch(kind: Kind, mut changes: Changes, begin_us: i64, outages: &[(i64, i64, bool)], chance: &mut Chance, told: &mut Vec<(i64, Told)>) {
    changes.sort_by_key(|(at_us, ..)| *at_us);
    let list = |at_us: i64| {
        let mut now: Vec<Object> = Vec::new();
        for (_, object, gone) in changes.iter().take_while(|(change_us, ..)| *change_us <= at_us) {
            now.retain(|known| known.uid() != object.as_ref().map_or(gone.as_str(), Object::uid));
            now.extend(object.clone());
        }
        Told::List(kind, now, at_us)
    };
    told.push((begin_us + 200_000, list(begin_us)));
    let end_us = BEGIN_US + (WINDOWS + 4) * WINDOW_US;
    let mut newest_us = begin_us + 200_000;
    for (at_us, object, gone) in changes.iter().filter(|(at_us, ..)| *at_us > begin_us) {
        let delay_us = if chance.of_100(80) { chance.between(1_000, 200_000) } else { chance.between(1_000, LAG_US) };
        let mut arrives_us = at_us + delay_us;
        if let Some((_, until_us, by_list)) =
            outages.iter().find(|(from_us, until_us, _)| arrives_us > *from_us && *at_us <= *until_us && at_us + LAG_US > *from_us)
        {
            if *by_list {
                continue;
            }
            arrives_us = arrives_us.max(until_us + 100_000);
        }
        // A list comes before what happened after it.
        for (_, until_us, _) in outages.iter().filter(|(_, until_us, by_list)| *by_list && until_us < at_us) {
            arrives_us = arrives_us.max(until_us + 200_001);
        }
        // In order.
        newest_us = newest_us.max(arrives_us);
        let one = object.clone().map_or_else(|| Told::Gone(kind, gone.clone()), Told::Object);
        told.push((newest_us, one));
    }
    for (_, until_us, by_list) in outages {
        if *by_list && *until_us > begin_us {
            told.push((until_us + 200_000, list(*until_us)));
        }
    }
    // While the watch goes on it is noted that it does, from when what was missed has been said.
    let mut at_us = begin_us + 200_000 + LAG_US;
    while at_us < end_us {
        let is_out = outages.iter().any(|(from_us, until_us, _)| at_us > *from_us && at_us < until_us + 200_000 + LAG_US);
        if !is_out {
            told.push((at_us, Told::Heard(kind, at_us - HEARD_LAG_US)));
        }
        at_us += SECOND_US;
    }
}

fn pod_changes(truths: &[Truth], chance: &mut Chance) -> Changes {
    let mut all = Vec::new();
    for pod in truths {
        all.push((pod.created_us, Some(pod_object(pod, Stage::Pending)), String::new()));
        let running_us = pod.networked_us + chance.between(50_000, 1_500_000);
        if running_us < pod.ended_us {
            all.push((running_us, Some(pod_object(pod, Stage::Running)), String::new()));
        }
        // The node tells within a second or so that it ended; an object that is deleted may vanish before, or stay for longer.
        let told_us = pod.ended_us + chance.between(1_000, 1_500_000);
        if pod.stays {
            all.push((told_us, Some(pod_object(pod, Stage::Ended)), String::new()));
            continue;
        }
        let ending_us = pod.ended_us - chance.between(1_000, 3 * SECOND_US);
        let stage = Stage::Ending(ending_us);
        all.push((ending_us, Some(pod_object(pod, if running_us < ending_us { stage } else { Stage::Pending })), String::new()));
        if running_us < pod.ended_us {
            all.push((running_us.max(ending_us), Some(pod_object(pod, stage)), String::new()));
        }
        if chance.of_100(60) {
            all.push((told_us, Some(pod_object(pod, Stage::Ended)), String::new()));
        }
        all.push((told_us + chance.between(1_000, 3 * SECOND_US), None, pod.uid()));
    }
    all
}

/// In whole seconds, as Kubernetes tells them.
fn cut(at_us: i64) -> i64 {
    at_us.div_euclid(SECOND_US) * SECOND_US
}

fn pod_object(pod: &Truth, stage: Stage) -> Object {
    let has_network = !matches!(stage, Stage::Pending);
    let port = pod.on_host_port.then_some(HostPort { address: None, port: HOST_PORT });
    Object::Pod(Pod {
        uid: pod.uid(),
        namespace: "shop".into(),
        name: pod.name(),
        node: format!("n{}", pod.node),
        owner: Some(OwnerRef { kind: "ReplicaSet".into(), name: format!("app-{}-x", pod.workload), uid: format!("rs-{}", pod.workload) }),
        template_hash: pod.workload.is_multiple_of(2).then(|| "x".to_owned()),
        addresses: if has_network { vec![pod.address] } else { Vec::new() },
        host_addresses: if has_network { vec![node_address(pod.node)] } else { Vec::new() },
        containers: vec![Container { name: "app".into(), host_ports: port.into_iter().collect(), ..Container::default() }],
        created_us: cut(pod.created_us),
        networked_from_us: has_network.then_some(cut(pod.networked_us)),
        networked_by_us: has_network.then_some(cut(pod.networked_us) + SECOND_US),
        ending_us: if let Stage::Ending(at_us) = stage { Some(cut(at_us)) } else { None },
        ended_us: matches!(stage, Stage::Ended).then_some(cut(pod.ended_us) + SECOND_US),
        ..Pod::default()
    })
}

fn replica_set(workload: usize) -> Object {
    let owner = OwnerRef { kind: "Deployment".into(), name: format!("app-{workload}"), uid: format!("d-{workload}") };
    Object::Controller(Kind::ReplicaSet, Controller { uid: format!("rs-{workload}"), name: format!("app-{workload}-x"), owner: Some(owner) })
}

fn node_object(node: usize) -> Object {
    Object::Node(Node { uid: format!("node-{node}"), name: format!("n{node}"), addresses: vec![node_address(node)], ..Node::default() })
}

/// The first node's agent looks around at each window's end, and lists what it saw since; some lists come late.
fn agent(truths: &[Truth], chance: &mut Chance, told: &mut Vec<(i64, Told)>) {
    let local: Vec<&Truth> = truths.iter().filter(|pod| pod.node == 0).collect();
    let mut held: Vec<(usize, i64)> = Vec::new();
    for window in -3..WINDOWS + 2 {
        let (from_us, to_us) = (BEGIN_US + window * WINDOW_US, BEGIN_US + (window + 1) * WINDOW_US);
        let seen: HashSet<usize> = local.iter().filter(|pod| pod.held_in(from_us, to_us)).map(|pod| pod.number).collect();
        let ended: Vec<(usize, i64)> = held.iter().copied().filter(|(number, _)| !seen.contains(number)).collect();
        held.retain(|(number, _)| seen.contains(number));
        let new: Vec<usize> = seen.iter().copied().filter(|number| !held.iter().any(|(known, _)| known == number)).collect();
        held.extend(new.into_iter().map(|number| (number, from_us)));
        let mut batch = Batch { agent_id: "agent-0".into(), window_start_us: from_us, window_end_us: to_us, ..Batch::default() };
        batch.owners.push(holder(None));
        batch.endpoints.push(Endpoint { address: octets(node_address(0)), from_us: BEGIN_US - 60 * SECOND_US, shared: true, ..Endpoint::default() });
        for (number, since_us, until_us) in
            held.iter().map(|(n, since_us)| (*n, *since_us, 0)).chain(ended.iter().map(|(n, since_us)| (*n, *since_us, to_us)))
        {
            batch.owners.push(holder(Some(&truths[number])));
            let owner = batch.owners.len() as u32 - 1;
            batch.endpoints.push(Endpoint {
                address: octets(truths[number].address),
                owner,
                from_us: since_us,
                to_us: until_us,
                shared: true,
                ..Endpoint::default()
            });
        }
        let delay_us = if chance.of_100(90) { chance.between(50_000, SECOND_US) } else { chance.between(SECOND_US, 35 * SECOND_US) };
        told.push((to_us + delay_us, Told::Agent(batch)));
    }
}

fn holder(pod: Option<&Truth>) -> Owner {
    Owner {
        workload: "n0".into(),
        node: "n0".into(),
        resolution_type: "node".into(),
        pod_uid: pod.map(Truth::uid).unwrap_or_default(),
        ..Owner::default()
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    edgescope_identity::address::to_bytes(address)
}
