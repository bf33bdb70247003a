//! Ten thousand random histories of a small cluster: addresses that go from pod to pod within one window, two pods on one host port, names that come late,
//! vanish, or are told by a list after a watch broke. Whatever name an end gets from Kubernetes must be that of every pod that truly had it in the window.
#![allow(clippy::unwrap_used)]

#[path = "histories/world.rs"]
mod world;

use edgescope_identity::address::to_bytes;
use edgescope_identity::cgroup::PodRef;
use edgescope_identity::directory::{Directory, End, Limits, Span};
use edgescope_identity::kubernetes::Kubernetes;
use edgescope_identity::kubernetes::object::Kind;
use edgescope_identity::resolve::{Awaited, is_awaited};
use edgescope_identity::rules::Rules;
use edgescope_model::dims::EndDims;
use edgescope_model::wire::{Batch, Observation, Role};
use std::collections::HashSet;
use std::sync::Arc;
use world::{BEGIN_US, Chance, HEARD_LAG_US, HOST_PORT, NODES, SECOND_US, Told, Truth, WINDOW_US, WINDOWS, addresses, node_address, told, truths};

const HISTORIES: u64 = 10_000;
/// When a batch arrives after its window's end, and how long it waits for names.
const ARRIVES_US: i64 = 300_000;
const WAITS_US: i64 = 2 * WINDOW_US;

/// How many ends were asked for, and what came of it.
#[derive(Debug, Default)]
struct Tally {
    /// Ends that one pod had in the window.
    single: u64,
    named_single: u64,
    /// Ends that several had.
    several: u64,
    named_several: u64,
    local: u64,
    named_local: u64,
}

/// An end of a batch that waits for its name.
struct Question {
    end: End,
    window: Span,
}

#[test]
fn no_name_is_wrong_in_ten_thousand_histories() {
    let tally = (0..HISTORIES).fold(Tally::default(), |mut tally, seed| {
        live(seed, &mut tally);
        tally
    });
    println!("{tally:?}");
    // Silence would be right always: most ends that one pod had all by itself must have its name.
    assert!(tally.named_single * 100 > tally.single * 60, "{tally:?}");
    assert!(tally.several > 10_000 && tally.named_several > 100, "{tally:?}");
    assert!(tally.named_local * 100 > tally.local * 60, "{tally:?}");
}

fn live(seed: u64, tally: &mut Tally) {
    let mut chance = Chance(seed);
    let truths = truths(&mut chance);
    let mut directory = Directory::new(Limits::default(), Rules::default()).with_kubernetes(Kubernetes::new(Default::default(), "prod"));
    [Kind::Pod, Kind::ReplicaSet, Kind::Node].into_iter().for_each(|kind| directory.kubernetes_mut().watch(kind));
    let mut coming = told(&truths, &mut chance).into_iter().peekable();
    let mut open: Vec<Question> = Vec::new();
    let mut next_window = 0;
    let end_us = BEGIN_US + (WINDOWS + 3) * WINDOW_US;
    let mut now_us = BEGIN_US;
    while now_us < end_us {
        while let Some((at_us, told)) = coming.next_if(|(at_us, _)| *at_us <= now_us) {
            take(&mut directory, told, at_us);
        }
        while next_window < WINDOWS && BEGIN_US + (next_window + 1) * WINDOW_US + ARRIVES_US <= now_us {
            open.extend(questions(next_window));
            ask_local(seed, &directory, &truths, next_window, tally);
            next_window += 1;
        }
        open.retain(|question| !answered(seed, &directory, question, &truths, now_us, tally));
        now_us += SECOND_US;
    }
    assert!(open.is_empty() && next_window == WINDOWS);
}

fn take(directory: &mut Directory, told: Told, at_us: i64) {
    let kubernetes = directory.kubernetes_mut();
    match told {
        Told::Object(object) => kubernetes.apply(object, at_us),
        Told::Gone(kind, uid) => kubernetes.delete(kind, &uid, at_us),
        Told::List(kind, objects, listed_us) => {
            let uids: HashSet<String> = objects.iter().map(|object| object.uid().to_owned()).collect();
            objects.into_iter().for_each(|object| kubernetes.apply(object, at_us));
            kubernetes.list(kind, &uids, listed_us, listed_us - HEARD_LAG_US);
        }
        Told::Heard(kind, heard_us) => kubernetes.hear(kind, heard_us),
        Told::Agent(batch) => directory.list_of_batch(&batch),
    }
}

fn window(number: i64) -> Span {
    Span { from_us: BEGIN_US + number * WINDOW_US, to_us: BEGIN_US + (number + 1) * WINDOW_US }
}

/// What an agent elsewhere asks of a window: every pod's address as a server and as a client, and the nodes' host ports.
fn questions(number: i64) -> impl Iterator<Item = Question> {
    let pods = addresses().flat_map(|(_, address)| [Some(8080), None].map(|port| End { address, port }));
    let ports = (0..NODES).map(|node| End { address: node_address(node), port: Some(HOST_PORT) });
    pods.chain(ports).map(move |end| Question { end, window: window(number) })
}

/// Answers as soon as nothing better is to come, or the wait is over; checks the name. False if it waits.
fn answered(seed: u64, directory: &Directory, question: &Question, truths: &[Truth], now_us: i64, tally: &mut Tally) -> bool {
    let Question { end, window } = question;
    let observation = Observation {
        local_address: vec![10, 9, 9, 9],
        remote_address: to_bytes(end.address),
        service_port: end.port.unwrap_or(443).into(),
        role: if end.port.is_some() { Role::Client } else { Role::Server }.into(),
        ..Observation::default()
    };
    let mut batch = Batch { agent_id: "elsewhere".into(), window_start_us: window.from_us, window_end_us: window.to_us, ..Batch::default() };
    batch.observations.push(observation);
    if is_awaited(&Awaited::Far { observation: 0, address: end.address }, &batch, directory) && now_us < window.to_us + WAITS_US {
        return false;
    }
    let found = directory.find("elsewhere", *end, *window);
    let is_host_port = end.port == Some(HOST_PORT);
    let had = |pod: &&Truth| if is_host_port { pod.on_host_port && node_address(pod.node) == end.address } else { pod.address == end.address };
    let holders: Vec<&Truth> = truths.iter().filter(had).filter(|pod| pod.held_in(window.from_us, window.to_us)).collect();
    let named = found.told && found.dims.resolution_type == "kubernetes";
    if named {
        holders.iter().for_each(|pod| check(&found.dims, pod, &format!("seed {seed}: {question:?}, asked at {now_us}")));
    }
    match holders.len() {
        0 => {}
        1 => {
            tally.single += 1;
            tally.named_single += u64::from(named);
        }
        _ => {
            tally.several += 1;
            tally.named_several += u64::from(named);
        }
    }
    true
}

fn check(dims: &EndDims, pod: &Truth, what: &str) {
    let right = dims.workload == pod.workload_name() && (dims.pod.is_empty() || dims.pod == pod.name());
    assert!(right, "{what}: {} of {} had it, but it is named {dims:?}", pod.name(), pod.workload_name());
}

/// The first node's agent knows the pods of its own sockets by their uids.
fn ask_local(seed: u64, directory: &Directory, truths: &[Truth], number: i64, tally: &mut Tally) {
    let window = window(number);
    let sent = Arc::new(EndDims { workload: "java".into(), process: "java".into(), resolution_type: "process".into(), ..EndDims::default() });
    for pod in truths.iter().filter(|pod| pod.node == 0 && pod.held_in(window.from_us, window.to_us)) {
        let by_cgroup = PodRef { pod_uid: pod.uid(), container_id: String::new() };
        let end = End { address: pod.address, port: None };
        let dims = directory.name_local("agent-0", end, &sent, Some(&by_cgroup), window);
        tally.local += 1;
        if dims.resolution_type == "kubernetes" {
            assert!(!dims.pod.is_empty(), "its own agent knows which");
            check(&dims, pod, &format!("seed {seed}: local, window {number}"));
            tally.named_local += 1;
        } else {
            assert_eq!(dims, sent, "what its agent called it stays");
        }
    }
}

impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} in {:?}", self.end, self.window)
    }
}
