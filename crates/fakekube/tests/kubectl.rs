//! `kubectl`, written by others, takes the server for a cluster: lists in chunks, one object, tables, raw paths and watches.
#![allow(clippy::unwrap_used)]

use edgescope_fakekube::objects::{self, Pod};
use edgescope_fakekube::{Cluster, Gone};
use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdout, Command};

/// A cluster, and a directory with the configuration for it.
struct Bench {
    cluster: Cluster,
    home: PathBuf,
}

impl Bench {
    async fn new(name: &str) -> Self {
        let cluster = Cluster::start().await;
        let home = std::env::temp_dir().join(format!("edgescope-kubectl-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&home).unwrap();
        std::fs::File::create(home.join("config")).unwrap().write_all(cluster.kubeconfig().as_bytes()).unwrap();
        Self { cluster, home }
    }

    fn kubectl(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("kubectl");
        command.args(arguments).env("KUBECONFIG", self.home.join("config")).env("HOME", &self.home).kill_on_drop(true);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let output = self.kubectl(arguments).output().await;
        output.unwrap_or_else(|error| panic!("kubectl does not run ({error}): `scripts/setup test` installs it"))
    }

    async fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.home);
    }
}

fn put_pods(cluster: &Cluster, count: usize) {
    for n in 0..count {
        let (name, address) = (format!("pod-{n:04}"), format!("10.0.{}.{}", n / 250, n % 250 + 1));
        cluster.put(Pod { name: &name, namespace: if n % 2 == 0 { "shop" } else { "bank" }, addresses: &[&address], ..Pod::default() }.json());
    }
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn it_lists_all_chunks_one_object_tables_and_raw_paths() {
    let bench = Bench::new("list").await;
    put_pods(&bench.cluster, 1_234);
    bench.cluster.put(objects::node("n1", "192.168.0.1", "z", "r"));
    let all = bench.json(&["get", "pods", "-A", "-o", "json"]).await;
    assert_eq!(names(&all).len(), 1_234);
    assert_eq!(bench.cluster.take_requests().iter().filter(|path| path.contains("continue=")).count(), 2, "500 a chunk");
    assert_eq!(names(&bench.json(&["get", "pods", "-n", "shop", "-o", "json"]).await).len(), 617);
    let one = bench.json(&["get", "po", "pod-0003", "-n", "bank", "-o", "json"]).await;
    assert_eq!(one["status"]["podIP"], "10.0.0.4");
    let raw = bench.json(&["get", "--raw", "/api/v1/nodes"]).await;
    assert_eq!((raw["kind"].as_str(), names(&raw)), (Some("NodeList"), vec!["n1"]));
    let table = bench.run(&["get", "nodes"]).await;
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.starts_with("NAME") && table.contains("\nn1 "), "{table}");
    // It looks for the namespace before it says what is missing.
    bench.cluster.put(serde_json::json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}}));
    let missing = bench.run(&["get", "pod", "nowhere", "-n", "shop"]).await;
    assert!(String::from_utf8_lossy(&missing.stderr).contains("(NotFound): pods \"nowhere\" not found"), "{missing:?}");
    let version = bench.json(&["version", "-o", "json"]).await;
    assert_eq!(version["serverVersion"]["minor"], "34");
}

async fn next(lines: &mut tokio::io::Lines<BufReader<ChildStdout>>) -> String {
    let line = tokio::time::timeout(Duration::from_secs(60), lines.next_line()).await;
    line.expect("an event within a minute").unwrap().expect("the watch goes on")
}

#[tokio::test]
async fn it_watches_what_comes_changes_and_goes() {
    let bench = Bench::new("watch").await;
    put_pods(&bench.cluster, 2);
    let mut child = bench.kubectl(&["get", "pods", "-A", "--watch", "--output-watch-events"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(next(&mut lines).await.starts_with("EVENT"), "the head of the table");
    let first: Vec<String> = vec![next(&mut lines).await, next(&mut lines).await];
    assert!(first.iter().all(|line| line.contains("ADDED") && line.contains("pod-000")), "{first:?}");
    bench.cluster.put(Pod { name: "new", ..Pod::default() }.json());
    assert!(next(&mut lines).await.contains(" new "));
    bench.cluster.bookmark();
    bench.cluster.change("Pod", "default", "new", |pod| pod["metadata"]["labels"]["a"] = "b".into());
    let line = next(&mut lines).await;
    assert!(line.contains("MODIFIED") && line.contains(" new "), "{line}");
    bench.cluster.remove("Pod", "default", "new");
    let line = next(&mut lines).await;
    assert!(line.contains("DELETED") && line.contains(" new "), "{line}");
    child.kill().await.unwrap();
}

#[tokio::test]
async fn it_is_told_that_a_version_is_gone() {
    let bench = Bench::new("gone").await;
    put_pods(&bench.cluster, 3);
    let old = bench.json(&["get", "--raw", "/api/v1/pods?limit=1"]).await;
    let (token, version) = (old["metadata"]["continue"].as_str().unwrap(), old["metadata"]["resourceVersion"].as_str().unwrap());
    put_pods(&bench.cluster, 4);
    for gone in [Gone::Event, Gone::Status] {
        bench.cluster.compact(gone);
        let chunk = bench.run(&["get", "--raw", &format!("/api/v1/pods?limit=1&continue={token}")]).await;
        assert!(String::from_utf8_lossy(&chunk.stderr).contains("continue parameter is too old"), "{chunk:?}");
        let watch = bench.run(&["get", "--raw", &format!("/api/v1/pods?watch=1&resourceVersion={version}")]).await;
        let said = format!("{}{}", String::from_utf8_lossy(&watch.stdout), String::from_utf8_lossy(&watch.stderr));
        assert!(said.contains("too old resource version"), "{gone:?}: {said}");
        assert_eq!(watch.status.success(), gone == Gone::Event);
    }
}
