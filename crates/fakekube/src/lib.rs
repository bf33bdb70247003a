//! A Kubernetes API server for tests: what a client of lists and watches can meet, and can be made to meet.
//!
//! A [`Cluster`] holds objects as JSON, numbers every change, and serves them over HTTP on loopback as the API does: discovery, lists in chunks of one
//! snapshot, watches from a resource version, bookmarks, tables and metadata alone. Tests change objects by [`Cluster::put`] and [`Cluster::remove`], and
//! break things by [`Cluster::compact`], [`Cluster::cut_watches`], [`Cluster::hold`] and [`Cluster::refuse`]. It is checked against `kubectl` as an independent
//! client. It knows no writes over HTTP, no selectors but one name, no users.
#![forbid(unsafe_code)]

mod answer;
mod discovery;
mod http;
pub mod objects;
mod watch;

use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::watch as signal;

/// A resource that is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Resource {
    /// Empty: the core group.
    pub group: &'static str,
    pub plural: &'static str,
    pub kind: &'static str,
    pub short: &'static str,
    pub namespaced: bool,
}

const fn resource(group: &'static str, plural: &'static str, kind: &'static str, short: &'static str) -> Resource {
    Resource { group, plural, kind, short, namespaced: true }
}

pub(crate) const RESOURCES: [Resource; 11] = [
    resource("", "pods", "Pod", "po"),
    resource("", "services", "Service", "svc"),
    Resource { namespaced: false, ..resource("", "nodes", "Node", "no") },
    Resource { namespaced: false, ..resource("", "namespaces", "Namespace", "ns") },
    resource("apps", "replicasets", "ReplicaSet", "rs"),
    resource("apps", "deployments", "Deployment", "deploy"),
    resource("apps", "statefulsets", "StatefulSet", "sts"),
    resource("apps", "daemonsets", "DaemonSet", "ds"),
    resource("batch", "jobs", "Job", "job"),
    resource("batch", "cronjobs", "CronJob", "cj"),
    resource("discovery.k8s.io", "endpointslices", "EndpointSlice", "eps"),
];

/// How a watch from a version that is no longer remembered is answered; the API does both.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Gone {
    /// An event of type `ERROR` in a stream.
    #[default]
    Event,
    /// Status 410 of the request.
    Status,
}

#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub version: u64,
    pub plural: &'static str,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub what: &'static str,
    pub object: Arc<Value>,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub version: u64,
    /// By plural, then by namespace and name.
    pub objects: HashMap<&'static str, BTreeMap<(String, String), Arc<Value>>>,
    pub changes: Vec<Change>,
    /// Changes up to this version are forgotten.
    pub compacted: u64,
    /// What chunked lists go on from, by version, plural and namespace.
    pub snapshots: HashMap<(u64, &'static str, String), Arc<Vec<Arc<Value>>>>,
    pub gone: Gone,
    /// Resources whose watches are held back.
    pub held: HashSet<&'static str>,
    /// Resources that are answered with this status.
    pub refused: HashMap<&'static str, u16>,
    /// Counts calls for bookmarks and for the end of all watches.
    pub bookmarks: u64,
    pub cuts: u64,
    /// Paths with queries, as asked for.
    pub requests: Vec<String>,
}

/// A cluster's API. Ends with the last handle and the runtime it was started on.
#[derive(Debug, Clone)]
pub struct Cluster {
    state: Arc<Mutex<State>>,
    news: signal::Sender<u64>,
    address: SocketAddr,
}

impl Cluster {
    /// Starts to listen on loopback.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port on loopback");
        let address = listener.local_addr().expect("a bound listener has an address");
        let state = State { version: 1_000, compacted: 0, ..State::default() };
        let cluster = Self { state: Arc::new(Mutex::new(state)), news: signal::Sender::new(0), address };
        let router = http::router(cluster.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        cluster
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A configuration for clients, as YAML.
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: fake, cluster: {{server: '{}'}}}}]\nusers: [{{name: fake, user: {{}}}}]\n\
             contexts: [{{name: fake, context: {{cluster: fake, user: fake}}}}]\ncurrent-context: fake\n",
            self.url()
        )
    }

    /// Adds an object or puts it in place of the one with its kind, namespace and name. Uid, version and creation time are filled in where absent.
    ///
    /// # Panics
    /// If it is of no kind that is served, or has no name.
    pub fn put(&self, mut object: Value) {
        let resource = resource_of(&object);
        let mut state = self.lock();
        state.version += 1;
        let version = state.version;
        let key = key_of(&object);
        let before = state.objects.entry(resource.plural).or_default().get(&key).cloned();
        let meta = object["metadata"].as_object_mut().expect("metadata");
        meta.insert("resourceVersion".into(), version.to_string().into());
        let uid = before.as_ref().map_or_else(|| uid(version).into(), |before| before["metadata"]["uid"].clone());
        meta.entry("uid").or_insert(uid);
        let created =
            before.as_ref().map_or_else(|| objects::time(objects::now_s()).into(), |before| before["metadata"]["creationTimestamp"].clone());
        meta.entry("creationTimestamp").or_insert(created);
        // A new object under an old name is another one: the old is gone first.
        let is_same = before.as_ref().is_some_and(|before| before["metadata"]["uid"] == object["metadata"]["uid"]);
        if let Some(before) = before.filter(|_| !is_same) {
            state.changes.push(Change { version, plural: resource.plural, what: "DELETED", object: before });
        }
        let object = Arc::new(object);
        state.objects.entry(resource.plural).or_default().insert(key, Arc::clone(&object));
        state.changes.push(Change { version, plural: resource.plural, what: if is_same { "MODIFIED" } else { "ADDED" }, object });
        drop(state);
        self.tell();
    }

    /// Changes an object.
    ///
    /// # Panics
    /// If there is none.
    pub fn change(&self, kind: &str, namespace: &str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = self.get(kind, namespace, name).expect("an object to change");
        change(&mut object);
        self.put(object);
    }

    /// Deletes an object.
    ///
    /// # Panics
    /// If there is none.
    pub fn remove(&self, kind: &str, namespace: &str, name: &str) {
        let resource = *RESOURCES.iter().find(|resource| resource.kind == kind).expect("a kind that is served");
        let mut state = self.lock();
        state.version += 1;
        let version = state.version;
        let objects = state.objects.entry(resource.plural).or_default();
        let mut object = (*objects.remove(&(namespace.to_owned(), name.to_owned())).expect("an object to delete")).clone();
        object["metadata"]["resourceVersion"] = version.to_string().into();
        state.changes.push(Change { version, plural: resource.plural, what: "DELETED", object: Arc::new(object) });
        drop(state);
        self.tell();
    }

    pub fn get(&self, kind: &str, namespace: &str, name: &str) -> Option<Value> {
        let resource = RESOURCES.iter().find(|resource| resource.kind == kind)?;
        self.lock().objects.get(resource.plural)?.get(&(namespace.to_owned(), name.to_owned())).map(|object| (**object).clone())
    }

    /// Forgets all changes so far: a watch or a chunk from before gets 410 Gone.
    pub fn compact(&self, gone: Gone) {
        let mut state = self.lock();
        (state.compacted, state.gone) = (state.version, gone);
        state.changes.clear();
        state.snapshots.clear();
    }

    /// Ends all watches that are open.
    pub fn cut_watches(&self) {
        self.lock().cuts += 1;
        self.tell();
    }

    /// Sends a bookmark on all watches that asked for them.
    pub fn bookmark(&self) {
        self.lock().bookmarks += 1;
        self.tell();
    }

    /// Holds back what watches of a kind would say, or lets it go.
    pub fn hold(&self, kind: &str, held: bool) {
        let plural = plural_of(kind);
        let mut state = self.lock();
        if held {
            state.held.insert(plural);
        } else {
            state.held.remove(plural);
        }
        drop(state);
        self.tell();
    }

    /// Answers all requests for a kind with a status such as 403 or 500; `None`: as usual again.
    pub fn refuse(&self, kind: &str, status: Option<u16>) {
        let mut state = self.lock();
        match status {
            Some(status) => state.refused.insert(plural_of(kind), status),
            None => state.refused.remove(plural_of(kind)),
        };
    }

    /// What was asked for since the last call: paths with queries.
    pub fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().requests)
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn listen(&self) -> signal::Receiver<u64> {
        self.news.subscribe()
    }

    fn tell(&self) {
        self.news.send_modify(|n| *n += 1);
    }
}

fn plural_of(kind: &str) -> &'static str {
    RESOURCES.iter().find(|resource| resource.kind == kind).expect("a kind that is served").plural
}

fn resource_of(object: &Value) -> Resource {
    let kind = object["kind"].as_str().unwrap_or_default();
    *RESOURCES.iter().find(|resource| resource.kind == kind).unwrap_or_else(|| panic!("kind '{kind}' is not served"))
}

fn key_of(object: &Value) -> (String, String) {
    let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
    let name = text("name");
    assert!(!name.is_empty(), "an object without a name");
    (text("namespace"), name)
}

fn uid(version: u64) -> String {
    format!("00000000-0000-4000-8000-{version:012x}")
}
