//! Names from Kubernetes: owners, static pods, containers, services, host and node ports, what is stored and comes back, and how agents' words and the API's
//! come together.
#![allow(clippy::unwrap_used)]

use edgescope_identity::address::to_bytes;
use edgescope_identity::cgroup::PodRef;
use edgescope_identity::directory::{Claimed, Directory, End, Found, Limits, Span};
use edgescope_identity::kubernetes::object::{Container, Controller, HostPort, Kind, Node, Object, OwnerRef, Pod, Service, Slice};
use edgescope_identity::kubernetes::{self, Kubernetes};
use edgescope_identity::rules::Rules;
use edgescope_model::dims::EndDims;
use edgescope_model::wire::{Batch, Endpoint, Owner};
use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

const SECOND_US: i64 = 1_000_000;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn owner(kind: &str, name: &str) -> Option<OwnerRef> {
    Some(OwnerRef { kind: kind.into(), name: name.into(), uid: format!("{kind}/{name}") })
}

fn pod(name: &str, address: &str) -> Pod {
    Pod {
        uid: format!("uid-{name}"),
        namespace: "shop".into(),
        name: name.into(),
        node: "n1".into(),
        addresses: vec![ip(address)],
        host_addresses: vec![ip("192.168.0.1")],
        containers: vec![Container { name: "app".into(), image: "shop/app:v1".into(), ports: vec![8080], ..Container::default() }],
        networked_from_us: Some(SECOND_US),
        networked_by_us: Some(2 * SECOND_US),
        ..Pod::default()
    }
}

/// A directory over a cluster of which all is known from the first second to the thousandth.
fn directory(objects: Vec<Object>) -> Directory {
    let mut kubernetes = Kubernetes::new(kubernetes::Limits::default(), "prod");
    for kind in Kind::ALL {
        kubernetes.watch(kind);
        kubernetes.list(kind, &HashSet::new(), 0, 0);
    }
    objects.into_iter().for_each(|object| kubernetes.apply(object, 3 * SECOND_US));
    Kind::ALL.into_iter().for_each(|kind| kubernetes.hear(kind, 1_000 * SECOND_US));
    Directory::new(Limits::default(), Rules::default()).with_kubernetes(kubernetes)
}

fn window(from_s: i64) -> Span {
    Span { from_us: from_s * SECOND_US, to_us: (from_s + 10) * SECOND_US }
}

fn find(directory: &Directory, address: &str, port: Option<u16>, from_s: i64) -> Found {
    directory.find("elsewhere", End { address: ip(address), port }, window(from_s))
}

fn named(directory: &Directory, address: &str, port: Option<u16>, from_s: i64) -> (String, String) {
    let found = find(directory, address, port, from_s);
    (found.dims.workload.clone(), found.dims.resolution_type.clone())
}

fn pair(workload: &str, found_by: &str) -> (String, String) {
    (workload.to_owned(), found_by.to_owned())
}

#[test]
fn a_pod_is_called_after_the_top_of_its_owners() {
    let controller = |kind, name: &str, top| {
        let uid = format!("{}/{name}", if kind == Kind::Job { "Job" } else { "ReplicaSet" });
        Object::Controller(kind, Controller { uid, name: name.into(), owner: top })
    };
    let owned = |name: &str, address: &str, owner| Object::Pod(Pod { owner, ..pod(name, address) });
    let directory = directory(vec![
        controller(Kind::ReplicaSet, "cart-7d9f", owner("Deployment", "cart")),
        controller(Kind::ReplicaSet, "bare-rs", None),
        controller(Kind::ReplicaSet, "canary-1", owner("Rollout", "canary")),
        controller(Kind::Job, "report-28392", owner("CronJob", "report")),
        controller(Kind::Job, "migrate", None),
        owned("a", "10.0.0.1", owner("ReplicaSet", "cart-7d9f")),
        owned("b", "10.0.0.2", owner("ReplicaSet", "bare-rs")),
        owned("c", "10.0.0.3", owner("ReplicaSet", "canary-1")),
        owned("d", "10.0.0.4", owner("Job", "report-28392")),
        owned("e", "10.0.0.5", owner("Job", "migrate")),
        owned("f", "10.0.0.6", owner("StatefulSet", "redis")),
        owned("g", "10.0.0.7", owner("DaemonSet", "logs")),
        owned("h", "10.0.0.8", None),
        owned("etcd-n1", "10.0.0.9", owner("Node", "n1")),
        // Its ReplicaSet was gone before anybody looked: its name and the hash tell the Deployment.
        Object::Pod(Pod { owner: owner("ReplicaSet", "old-abc"), template_hash: Some("abc".into()), ..pod("i", "10.0.0.10") }),
        owned("j", "10.0.0.11", owner("ReplicaSet", "gone")),
        Object::Pod(Pod { addresses: vec![ip("10.0.0.12"), ip("fd00::12")], ..pod("k", "10.0.0.12") }),
    ]);
    let names = ["cart", "bare-rs", "canary", "report", "migrate", "redis", "logs", "h", "etcd", "old", "gone", "k"];
    for (at, name) in names.iter().enumerate() {
        assert_eq!(named(&directory, &format!("10.0.0.{}", at + 1), None, 10), pair(name, "kubernetes"));
    }
    assert_eq!(named(&directory, "fd00::12", None, 10), pair("k", "kubernetes"), "both families");
    let dims = find(&directory, "10.0.0.1", Some(8080), 10).dims;
    let all = [&dims.namespace, &dims.pod, &dims.node, &dims.environment, &dims.image, &dims.process].map(String::as_str);
    assert_eq!(all, ["shop", "a", "n1", "prod", "shop/app:v1", "app"]);
}

#[test]
fn a_pod_whose_owner_is_still_to_come_waits_for_it() {
    let mut directory = directory(Vec::new());
    let late = Pod {
        owner: owner("ReplicaSet", "cart-7d9f"),
        created_us: 1_500 * SECOND_US,
        networked_from_us: Some(1_500 * SECOND_US),
        networked_by_us: None,
        ..pod("a", "10.0.0.1")
    };
    directory.kubernetes_mut().apply(Object::Pod(late), 1_501 * SECOND_US);
    directory.kubernetes_mut().hear(Kind::Pod, 1_600 * SECOND_US);
    assert!(!find(&directory, "10.0.0.1", None, 1_510).told, "not the ReplicaSet's name");
    assert!(!directory.knows("elsewhere", End { address: ip("10.0.0.1"), port: None }, window(1_510)), "worth waiting");
    let controller = Controller { uid: "ReplicaSet/cart-7d9f".into(), name: "cart-7d9f".into(), owner: owner("Deployment", "cart") };
    directory.kubernetes_mut().apply(Object::Controller(Kind::ReplicaSet, controller), 1_502 * SECOND_US);
    assert_eq!(named(&directory, "10.0.0.1", None, 1_510), pair("cart", "kubernetes"));
    // Once found, it outlives its owners.
    directory.kubernetes_mut().delete(Kind::ReplicaSet, "ReplicaSet/cart-7d9f", 1_503 * SECOND_US);
    directory.kubernetes_mut().expire(1_503 * SECOND_US + Limits::default().linger_us + 1);
    assert_eq!(named(&directory, "10.0.0.1", None, 1_510), pair("cart", "kubernetes"));
}

#[test]
fn a_pod_is_known_by_the_cgroup_of_its_sockets() {
    let uid = "1b3c5d7e-0a2b-4c6d-8e0f-123456789abc";
    let mirror = Pod { static_uid: Some("0123456789abcdef0123456789abcdef".into()), owner: owner("Node", "n1"), ..pod("etcd-n1", "192.168.0.1") };
    let id = "ab".repeat(32);
    let container = Container { name: "app".into(), id: id.clone(), ..Container::default() };
    let directory = directory(vec![
        Object::Pod(Pod { uid: uid.into(), host_network: true, containers: vec![container], ..pod("proxy", "192.168.0.1") }),
        Object::Pod(Pod { host_network: true, ..mirror }),
    ]);
    let sent = Arc::new(EndDims { workload: "java".into(), zone: "a".into(), environment: "e".into(), ..EndDims::default() });
    let by = |pod_uid: &str, container_id: &str| {
        let pod = PodRef { pod_uid: pod_uid.into(), container_id: container_id.into() };
        directory.name_local("n1", End { address: ip("192.168.0.1"), port: None }, &sent, Some(&pod), window(10))
    };
    assert_eq!(by(uid, "").workload, "proxy");
    assert_eq!(by("", &id).workload, "proxy", "by the container");
    assert_eq!(by("0123456789abcdef0123456789abcdef", "").workload, "etcd", "a static pod's cgroup has another uid than its object");
    let dims = by(uid, "");
    assert_eq!((dims.zone.as_str(), dims.environment.as_str()), ("a", "prod"), "what Kubernetes does not know its agent does");
    assert_eq!(by("ffffffff-0000-4000-8000-000000000000", ""), sent, "one that never came keeps its agent's name");
    assert!(!find(&directory, "192.168.0.1", None, 10).told, "the node's address is no pod's");
}

#[test]
fn an_agents_word_on_the_pod_goes_before_the_api() {
    let uid = |name: &str| Owner {
        workload: "n1".into(),
        node: "n1".into(),
        resolution_type: "node".into(),
        pod_uid: format!("uid-{name}"),
        ..Owner::default()
    };
    let mut directory = directory(vec![Object::Pod(pod("old", "10.0.0.1")), Object::Pod(Pod { addresses: Vec::new(), ..pod("new", "10.0.0.1") })]);
    let endpoint = Endpoint { address: to_bytes(ip("10.0.0.1")), from_us: 20 * SECOND_US, shared: true, ..Endpoint::default() };
    let mut batch = Batch { agent_id: "n1".into(), window_start_us: 20 * SECOND_US, window_end_us: 30 * SECOND_US, ..Batch::default() };
    (batch.owners, batch.endpoints) = (vec![uid("new")], vec![endpoint]);
    assert_eq!(named(&directory, "10.0.0.1", None, 20), pair("old", "kubernetes"));
    directory.list_of_batch(&batch);
    assert_eq!(named(&directory, "10.0.0.1", None, 20), pair("new", "kubernetes"), "the API is late");
    assert!(!find(&directory, "10.0.0.1", None, 20).named, "who stands is the claims' to say");
    // Of the next window its agent has not spoken yet: it is waited for.
    let next = Span { from_us: 1_000 * SECOND_US, to_us: 1_010 * SECOND_US };
    assert!(!directory.knows("elsewhere", End { address: ip("10.0.0.1"), port: None }, next));
}

#[test]
fn several_pods_in_one_window_have_their_workload_in_common_or_no_name() {
    let replaced = |owner_of_second: &str| {
        let first = Pod { owner: owner("StatefulSet", "redis"), ended_us: Some(15 * SECOND_US), ..pod("redis-0", "10.0.0.1") };
        let times = (Some(15 * SECOND_US), Some(16 * SECOND_US));
        let second =
            Pod { owner: owner("StatefulSet", owner_of_second), networked_from_us: times.0, networked_by_us: times.1, ..pod("redis-1", "10.0.0.1") };
        let mut directory = directory(vec![Object::Pod(pod("redis-0", "10.0.0.1"))]);
        directory.kubernetes_mut().apply(Object::Pod(first), 16 * SECOND_US);
        directory.kubernetes_mut().apply(Object::Pod(second), 17 * SECOND_US);
        directory
    };
    let same = find(&replaced("redis"), "10.0.0.1", None, 10);
    assert_eq!((same.dims.workload.as_str(), same.dims.pod.as_str(), same.told), ("redis", "", true));
    let other = replaced("cart");
    assert_eq!(named(&other, "10.0.0.1", None, 10), pair("10.0.0.1", "ip"));
    assert_eq!(named(&other, "10.0.0.1", None, 2), pair("redis", "kubernetes"));
    assert_eq!(named(&other, "10.0.0.1", None, 20), pair("cart", "kubernetes"));
    let (_, reason, _) = other.explain(End { address: ip("10.0.0.1"), port: None }, 15 * SECOND_US + 1);
    assert!(reason.contains("redis-1"), "the first has ended by that moment: {reason}");
}

#[test]
fn services_and_nodes_have_names_of_their_own_kinds() {
    let service = |name: &str, cluster: &str, node_port: u16| {
        Object::Service(Service {
            uid: format!("svc-{name}"),
            namespace: "shop".into(),
            name: name.into(),
            cluster_addresses: vec![ip(cluster)],
            outer_addresses: vec![ip("203.0.113.7")],
            ports: vec![if name == "web" { 443 } else { 5432 }],
            node_ports: vec![node_port],
            ..Service::default()
        })
    };
    let slice = Slice { uid: "slice".into(), namespace: "shop".into(), service: "web".into(), ready_pods: vec!["uid-web-1".into()] };
    let node =
        Node { uid: "node".into(), name: "n1".into(), addresses: vec![ip("192.168.0.1")], zone: "z".into(), region: "r".into(), created_us: 0 };
    let port = HostPort { address: None, port: 9100 };
    let exporter = Container { name: "exporter".into(), ports: vec![9100], host_ports: vec![port], ..Container::default() };
    let directory = directory(vec![
        Object::Pod(Pod { owner: owner("StatefulSet", "frontend"), ..pod("web-1", "10.0.0.1") }),
        Object::Pod(Pod { owner: owner("DaemonSet", "node-exporter"), containers: vec![exporter], ..pod("exp", "10.0.0.2") }),
        service("web", "10.96.0.1", 30_443),
        service("db", "10.96.0.2", 30_432),
        Object::Slice(slice),
        Object::Node(node),
    ]);
    assert_eq!(named(&directory, "10.96.0.1", Some(443), 10), pair("frontend", "kubernetes_service"), "all its ready pods are of one workload");
    assert_eq!(named(&directory, "10.96.0.2", Some(5432), 10), pair("db", "kubernetes_service"), "nobody is behind it");
    assert_eq!(named(&directory, "203.0.113.7", Some(443), 10), pair("frontend", "kubernetes_service"), "two services on one address: by the port");
    assert_eq!(named(&directory, "192.168.0.1", Some(30_432), 10), pair("db", "kubernetes_service"));
    assert_eq!(named(&directory, "192.168.0.1", Some(9100), 10), pair("node-exporter", "kubernetes"), "a host port is the pod's");
    assert_eq!(named(&directory, "192.168.0.1", Some(22), 10), pair("n1", "kubernetes_node"));
    let dims = find(&directory, "10.0.0.1", None, 10).dims;
    assert_eq!((dims.zone.as_str(), dims.region.as_str()), ("z", "r"));
}

#[test]
fn what_is_stored_names_late_data_after_a_restart() {
    let mut before =
        directory(vec![Object::Pod(pod("gone", "10.0.0.1")), Object::Pod(pod("stays", "10.0.0.2")), Object::Pod(pod("vanishes", "10.0.0.3"))]);
    before.kubernetes_mut().delete(Kind::Pod, "uid-gone", 50 * SECOND_US);
    let stored: Vec<Claimed> = before.take_changed();
    assert_eq!(stored.len(), 3);
    let mut after = directory(Vec::new());
    *after.kubernetes_mut() = Kubernetes::new(kubernetes::Limits::default(), "prod");
    Kind::ALL.into_iter().for_each(|kind| after.kubernetes_mut().watch(kind));
    after.restore(stored, 100 * SECOND_US);
    let by_uid = |directory: &Directory, name: &str| {
        let pod = PodRef { pod_uid: format!("uid-{name}"), container_id: String::new() };
        directory.name_local("n1", End { address: ip("10.9.9.9"), port: None }, &Arc::default(), Some(&pod), window(10)).workload.clone()
    };
    assert_eq!((by_uid(&after, "gone"), by_uid(&after, "vanishes")), ("gone".to_owned(), "vanishes".to_owned()), "at once, before any list");
    assert!(!after.knows("elsewhere", End { address: ip("10.0.0.2"), port: None }, window(100)), "its list is waited for");
    after.kubernetes_mut().apply(Object::Pod(pod("stays", "10.0.0.2")), 110 * SECOND_US);
    after.kubernetes_mut().list(Kind::Pod, &HashSet::from(["uid-stays".to_owned()]), 105 * SECOND_US, 105 * SECOND_US);
    after.kubernetes_mut().hear(Kind::Pod, 200 * SECOND_US);
    assert_eq!(named(&after, "10.0.0.2", None, 120), pair("stays", "kubernetes"));
    assert_eq!(named(&after, "10.0.0.1", None, 10), pair("gone", "kubernetes"), "it ended before the restart, and its time is known");
    assert_eq!(named(&after, "10.0.0.3", None, 90), pair("10.0.0.3", "ip"), "nobody saw when it went");
    after.expire(105 * SECOND_US + Limits::default().linger_us);
    assert_eq!(by_uid(&after, "vanishes"), "", "late data is over");
}

#[test]
fn bounds_are_kept_and_counted() {
    let limits = kubernetes::Limits { pods_max: 2, others_max: 1, ..kubernetes::Limits::default() };
    let mut kubernetes = Kubernetes::new(limits, "");
    (0..5).for_each(|n| kubernetes.apply(Object::Pod(pod(&format!("p{n}"), "10.0.0.1")), SECOND_US));
    (0..3).for_each(|n| kubernetes.apply(Object::Service(Service { uid: format!("s{n}"), ..Service::default() }), SECOND_US));
    let counts: Vec<usize> = kubernetes.counts().iter().map(|(_, count)| *count).collect();
    assert_eq!((counts[0], counts[4], kubernetes.counters().objects_dropped), (2, 1, 5));
    let long = Pod { name: "x".repeat(10_000), addresses: (0..200).map(|n| IpAddr::from([10, 1, 0, n])).collect(), ..pod("p0", "10.0.0.1") };
    kubernetes.apply(Object::Pod(long), SECOND_US);
    assert_eq!(kubernetes.counters().texts_cut, 1);
    assert!(kubernetes.counters().parts_dropped > 100);
}
