//! Names read from a Kubernetes API: owners, chunks, watches that break and go on, what may not be read, ten thousand pods.

use crate::intake::Names;
use crate::kubernetes::{KubernetesConfig, Watch, connection};
use chrono::Utc;
use edgescope_fakekube::objects::{self, Pod};
use edgescope_fakekube::{Cluster, Gone};
use edgescope_identity::cgroup::PodRef;
use edgescope_identity::directory::{Directory, End, Limits, Span};
use edgescope_identity::kubernetes::Kubernetes;
use edgescope_identity::kubernetes::object::Kind;
use edgescope_identity::rules::Rules;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Longest wait for what takes milliseconds on an idle machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pods of the largest cluster here, and the memory that they may cost.
const PODS: usize = 10_000;
const BYTES_MAX: u64 = 100 << 20;

/// Names that are read from a cluster.
struct Reading {
    names: Arc<Names>,
    stop: watch::Sender<bool>,
}

impl Reading {
    /// Starts to read, `page_size` objects at a time.
    async fn of(cluster: &Cluster, page_size: u32) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kubeconfig");
        std::fs::write(&path, cluster.kubeconfig()).unwrap();
        Self::by(path, page_size).await
    }

    /// The same, as a kubeconfig says.
    async fn by(path: PathBuf, page_size: u32) -> Self {
        let directory = Directory::new(Limits::default(), Rules::default()).with_kubernetes(Kubernetes::new(Default::default(), "prod"));
        let names = Arc::new(Names::new(directory));
        let config = KubernetesConfig { kubeconfig: Some(path), page_size, ..KubernetesConfig::default() };
        let connection = connection(&config).await.unwrap().unwrap();
        connection.announce(&names);
        let stop = watch::Sender::new(false);
        tokio::spawn(connection.run(Arc::clone(&names), stop.subscribe()));
        Self { names, stop }
    }

    /// The workload of a pod, by its uid.
    fn workload(&self, uid: &str) -> Option<String> {
        let pod = PodRef { pod_uid: uid.to_owned(), container_id: String::new() };
        self.names.read(|directory| directory.kubernetes().name_of(&pod, None)).map(|named| named.dims.workload)
    }

    /// What an address was called some seconds ago.
    fn name(&self, address: &str, port: Option<u16>, ago_s: i64) -> (String, String) {
        let from_us = Utc::now().timestamp_micros() - ago_s * 1_000_000;
        let end = End { address: address.parse().unwrap(), port };
        let found = self.names.read(|directory| directory.find("elsewhere", end, Span { from_us, to_us: from_us + 1_000_000 }));
        (found.dims.workload.clone(), found.dims.resolution_type.clone())
    }

    fn count(&self, kind: Kind) -> usize {
        let counts = self.names.read(|directory| directory.kubernetes().counts());
        counts.iter().find(|(of, _)| *of == kind).map_or(0, |(_, count)| *count)
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < until, "{what}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Lists of pods asked for since the last look.
fn lists_of_pods(cluster: &Cluster) -> usize {
    let requests = cluster.take_requests();
    requests.iter().filter(|path| path.starts_with("/api/v1/pods?") && !path.contains("watch=true")).count()
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

fn uid(n: usize) -> String {
    format!("1b3c5d7e-0a2b-4c6d-8e0f-{n:012x}")
}

/// A pod that has been there for two minutes.
fn pod(n: usize, owner: Option<(&'static str, &'static str, &'static str)>) -> serde_json::Value {
    let (uid, name, address) = (uid(n), format!("pod-{n}"), format!("10.{}.{}.{}", n / 62_500, n / 250 % 250, n % 250 + 1));
    Pod { uid: &uid, name: &name, namespace: "shop", addresses: &[&address], owner, since_s: objects::now_s() - 120, ..Pod::default() }.json()
}

#[tokio::test]
async fn all_owners_services_and_nodes_are_read() {
    let cluster = Cluster::start().await;
    cluster.put(objects::controller("ReplicaSet", "shop", "cart-7d9f", "rs-1", Some(("Deployment", "cart", "d-1"))));
    cluster.put(objects::controller("Job", "shop", "report-28392", "job-1", Some(("CronJob", "report", "cj-1"))));
    let owners = [
        ("cart", Some(("ReplicaSet", "cart-7d9f", "rs-1"))),
        ("report", Some(("Job", "report-28392", "job-1"))),
        ("redis", Some(("StatefulSet", "redis", "ss-1"))),
        ("logs", Some(("DaemonSet", "logs", "ds-1"))),
        ("pod-4", None),
    ];
    owners.iter().enumerate().for_each(|(n, (_, owner))| cluster.put(pod(n, *owner)));
    let mut node = objects::node("node-1", "192.168.0.1", "zone-a", "region-1");
    node["metadata"]["creationTimestamp"] = objects::time(objects::now_s() - 1_000).into();
    cluster.put(node);
    let mut service = objects::service("shop", "cart-svc", "10.96.0.1", 80, Some(30_080));
    service["metadata"]["creationTimestamp"] = objects::time(objects::now_s() - 1_000).into();
    cluster.put(service);
    cluster.put(objects::slice("shop", "cart-svc", &[(&uid(0), "10.0.0.1")]));
    let reading = Reading::of(&cluster, 2).await;
    for (n, (workload, _)) in owners.iter().enumerate() {
        reading.until(workload, |reading| reading.workload(&uid(n)).as_deref() == Some(*workload)).await;
    }
    let named = |workload: &str, by: &str| (workload.to_owned(), by.to_owned());
    assert_eq!(reading.name("10.0.0.1", None, 60), named("cart", "kubernetes"), "it had the address for all of that time");
    // Of a service and a node the time before the first list is not known for sure.
    reading.until("what was listed has settled", |reading| reading.name("10.96.0.1", Some(80), 8) == named("cart", "kubernetes_service")).await;
    reading.until("the node, too", |reading| reading.name("192.168.0.1", None, 8) == named("node-1", "kubernetes_node")).await;
    assert_eq!(reading.name("192.168.0.1", Some(30_080), 8), named("cart", "kubernetes_service"));
    let pod = PodRef { pod_uid: String::new(), container_id: objects::container_id(&uid(0)) };
    let dims = reading.names.read(|directory| directory.kubernetes().name_of(&pod, None)).unwrap().dims;
    assert_eq!((dims.zone.as_str(), dims.region.as_str(), dims.environment.as_str()), ("zone-a", "region-1", "prod"));
    let requests = cluster.take_requests();
    assert!(requests.iter().any(|path| path.starts_with("/api/v1/pods") && path.contains("continue=")), "two a page: {requests:?}");
}

#[tokio::test]
async fn a_watch_goes_on_where_it_ended_and_lists_again_where_it_cannot() {
    let cluster = Cluster::start().await;
    (0..3).for_each(|n| cluster.put(pod(n, None)));
    let reading = Reading::of(&cluster, 500).await;
    reading.until("the first list", |reading| reading.workload(&uid(2)).is_some()).await;
    assert_eq!(lists_of_pods(&cluster), 1);
    // A watch that ends goes on from the last version, which a bookmark made young: what was forgotten before does not matter.
    cluster.put(objects::node("other", "192.168.0.9", "", ""));
    let watches = |reading: &Reading| reading.names.read(|directory| directory.kubernetes().heard_us(Kind::Pod));
    let before = watches(&reading);
    reading.until("the watch is open", |reading| watches(reading) > before).await;
    let until = Instant::now() + PATIENCE;
    let mut requests = Vec::new();
    while !requests.iter().any(|path: &String| path.starts_with("/api/v1/pods?") && path.contains("resourceVersion=1004")) {
        assert!(Instant::now() < until, "the bookmark's version is gone on from: {requests:?}");
        cluster.bookmark();
        tokio::time::sleep(Duration::from_millis(50)).await;
        cluster.cut_watches();
        tokio::time::sleep(Duration::from_millis(50)).await;
        requests.extend(cluster.take_requests());
    }
    assert!(requests.iter().all(|path| path.contains("watch=true")), "nothing is listed again: {requests:?}");
    for gone in [Gone::Event, Gone::Status] {
        cluster.take_requests();
        let (stays, goes, comes) = if gone == Gone::Event { (0, 1, 10) } else { (0, 2, 11) };
        cluster.hold("Pod", true);
        cluster.remove("Pod", "shop", &format!("pod-{goes}"));
        cluster.put(pod(comes, None));
        cluster.compact(gone);
        cluster.cut_watches();
        cluster.hold("Pod", false);
        reading.until("the new pod, by a new list", |reading| reading.workload(&uid(comes)).is_some()).await;
        assert!(lists_of_pods(&cluster) >= 1);
        assert!(reading.workload(&uid(stays)).is_some() && reading.workload(&uid(goes)).is_some(), "what is gone is remembered");
        reading.until("it is known to be gone", |reading| reading.names.read(|directory| !is_open(directory, goes))).await;
    }
}

/// Whether a pod holds its address still.
fn is_open(directory: &Directory, n: usize) -> bool {
    let address = format!("10.0.0.{}", n + 1).parse().unwrap();
    let (_, _, claims) = directory.explain(End { address, port: None }, Utc::now().timestamp_micros());
    claims.iter().any(|claim| claim.open)
}

#[tokio::test]
async fn objects_that_come_late_change_and_go_are_followed() {
    let cluster = Cluster::start().await;
    let reading = Reading::of(&cluster, 500).await;
    reading.until("the first lists", |reading| Kind::ALL.iter().all(|kind| reading.names.read(|d| d.kubernetes().heard_us(*kind)) > i64::MIN)).await;
    cluster.hold("ReplicaSet", true);
    cluster.put(objects::controller("ReplicaSet", "shop", "cart-7d9f", "rs-1", Some(("Deployment", "cart", "d-1"))));
    let mut late = pod(0, Some(("ReplicaSet", "cart-7d9f", "rs-1")));
    late["metadata"]["creationTimestamp"] = objects::time(objects::now_s()).into();
    cluster.put(late);
    reading.until("the pod", |reading| reading.count(Kind::Pod) == 1).await;
    assert_eq!(reading.workload(&uid(0)), None, "not called after its ReplicaSet");
    cluster.hold("ReplicaSet", false);
    reading.until("the owner's name", |reading| reading.workload(&uid(0)).as_deref() == Some("cart")).await;
    // A Job's pod that ended keeps its object and loses its address.
    cluster.put(pod(1, None));
    reading.until("the second pod", |reading| reading.names.read(|directory| is_open(directory, 1))).await;
    cluster.change("Pod", "shop", "pod-1", |pod| objects::end(pod, objects::now_s() - 30));
    reading.until("its end", |reading| reading.names.read(|directory| !is_open(directory, 1))).await;
    assert_eq!(reading.name("10.0.0.2", None, 60).1, "kubernetes");
    assert_eq!(reading.name("10.0.0.2", None, 20).1, "ip");
    cluster.remove("Pod", "shop", "pod-0");
    reading.until("it is gone", |reading| reading.names.read(|directory| !is_open(directory, 0))).await;
    assert_eq!(reading.workload(&uid(0)).as_deref(), Some("cart"), "late data still finds it");
}

#[tokio::test]
async fn what_may_not_be_read_or_fails_costs_only_its_own_names() {
    let cluster = Cluster::start().await;
    cluster.refuse("ReplicaSet", Some(403));
    cluster.refuse("Pod", Some(500));
    let mut owned = pod(0, Some(("ReplicaSet", "cart-7d9f", "rs-1")));
    owned["metadata"]["creationTimestamp"] = objects::time(objects::now_s()).into();
    cluster.put(owned);
    let reading = Reading::of(&cluster, 500).await;
    reading.until("pods were asked for", |_| lists_of_pods(&cluster) > 0).await;
    cluster.refuse("Pod", None);
    reading.until("the pod, by its direct owner", |reading| reading.workload(&uid(0)).as_deref() == Some("cart-7d9f")).await;
}

#[tokio::test]
async fn without_a_cluster_nothing_is_read_and_wrong_settings_are_told() {
    let auto = connection(&KubernetesConfig::default()).await.unwrap();
    assert!(auto.is_none(), "no kubeconfig, no service account");
    let never = KubernetesConfig { watch: Watch::Never, kubeconfig: Some("/nowhere".into()), ..KubernetesConfig::default() };
    assert!(connection(&never).await.unwrap().is_none());
    let said = |config: KubernetesConfig| async move { connection(&config).await.map(|_| ()).unwrap_err().to_string() };
    let always = said(KubernetesConfig { watch: Watch::Always, ..KubernetesConfig::default() }).await;
    assert!(always.starts_with("identity.kubernetes.watch is 'always'"), "{always}");
    let missing = said(KubernetesConfig { kubeconfig: Some("/nowhere/config".into()), ..KubernetesConfig::default() }).await;
    assert!(missing.starts_with("identity.kubernetes.kubeconfig /nowhere/config: "), "{missing}");
}

fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}

/// Where the cluster of another process writes how to reach it.
const KUBECONFIG_TO: &str = "EDGESCOPE_TEST_KUBECONFIG_TO";

/// A cluster of ten thousand pods is listed in pages. Told where to write its kubeconfig, this lends the cluster to the test below, in a process of its own, until
/// that closes its input.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_pods_come_in_pages() {
    let cluster = Cluster::start().await;
    cluster.put(objects::controller("ReplicaSet", "shop", "cart-7d9f", "rs-1", Some(("Deployment", "cart", "d-1"))));
    (0..PODS).for_each(|n| cluster.put(pod(n, Some(("ReplicaSet", "cart-7d9f", "rs-1")))));
    if let Some(path) = std::env::var_os(KUBECONFIG_TO) {
        let path = PathBuf::from(path);
        std::fs::write(path.with_extension("new"), cluster.kubeconfig()).unwrap();
        std::fs::rename(path.with_extension("new"), path).unwrap();
        tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await.unwrap().unwrap();
        return;
    }
    let reading = Reading::of(&cluster, 1_000).await;
    reading.until("all pods", |reading| reading.count(Kind::Pod) == PODS).await;
    assert_eq!(lists_of_pods(&cluster), 10);
}

/// Measured on this process: nextest gives each test one of its own.
#[tokio::test]
async fn ten_thousand_pods_fit_into_a_hundred_mebibytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kubeconfig");
    let mut lender = std::process::Command::new(std::env::current_exe().unwrap());
    lender
        .args(["--exact", "tests::kubernetes::ten_thousand_pods_come_in_pages"])
        .env(KUBECONFIG_TO, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::null());
    let mut lender = lender.spawn().unwrap();
    let until = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < until, "the cluster's process does not start");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let before = resident_bytes();
    let reading = Reading::by(path, KubernetesConfig::default().page_size).await;
    let most = AtomicU64::new(0);
    reading
        .until("all pods", |reading| {
            most.fetch_max(resident_bytes(), Ordering::Relaxed);
            reading.workload(&uid(PODS - 1)).is_some() && reading.count(Kind::Pod) == PODS
        })
        .await;
    let (peak, after) = (most.into_inner().saturating_sub(before), resident_bytes().saturating_sub(before));
    // Its end of input ends it; it is waited for whatever comes of the numbers.
    drop(lender.stdin.take());
    assert!(lender.wait().unwrap().success());
    println!("{PODS} pods: {} MiB at most, {} MiB in the end", peak >> 20, after >> 20);
    assert!(peak <= BYTES_MAX, "{} MiB", peak >> 20);
    assert_eq!(reading.workload(&uid(1)).as_deref(), Some("cart"));
}
