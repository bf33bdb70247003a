//! Reads the Kubernetes API: pods, whose they are, nodes and services, into the directory of names.
//!
//! One task a kind lists and watches; [`edgescope_identity::kubernetes`] makes names of what they tell. Only what names need is parsed, and nothing of it is kept
//! as it came. A kind that this server may not read is told once and tried again now and then: names do without it meanwhile.

mod config;
#[cfg(feature = "kubernetes")]
mod read;
#[cfg(feature = "kubernetes")]
mod slim;

pub use config::{KubernetesConfig, Watch};

use crate::intake::Names;
use crate::tables::{Reading, ReadingKind};
use chrono::Utc;
use edgescope_identity::kubernetes::object::Kind;

/// Why the API cannot be read, though it should be.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    #[error("identity.kubernetes.kubeconfig {path}: {said}")]
    Kubeconfig { path: String, said: String },
    #[error(
        "identity.kubernetes.watch is 'always', but this is no pod with a service account ({0}): set identity.kubernetes.kubeconfig, or watch to 'auto'"
    )]
    NotInCluster(String),
    #[error("identity.kubernetes.watch is 'always', but this edgescope was built without Kubernetes")]
    NotBuilt,
    #[error("the Kubernetes client cannot be made: {0}")]
    Client(String),
}

/// A connection to the API, not used yet.
#[cfg(feature = "kubernetes")]
pub struct Connection {
    client: kube::Client,
    page_size: u32,
}

/// Stands for a connection in builds without Kubernetes: there is none.
#[cfg(not(feature = "kubernetes"))]
pub enum Connection {}

#[cfg(not(feature = "kubernetes"))]
impl Connection {
    pub fn announce(&self, _: &Names) {
        match *self {}
    }

    pub async fn run(self, _: std::sync::Arc<Names>, _: tokio::sync::watch::Receiver<bool>) {
        match self {}
    }
}

/// Prepares to read the API as configured; `None` if it is not to be read.
///
/// # Errors
/// If it is to be read and the configuration of its client cannot be used. An API that does not answer is no error: it is tried again.
#[cfg(feature = "kubernetes")]
pub async fn connection(config: &KubernetesConfig) -> Result<Option<Connection>, KubernetesError> {
    let mut found = match (&config.kubeconfig, config.watch) {
        (_, Watch::Never) => return Ok(None),
        (Some(path), _) => {
            let wrong = |said: &dyn std::fmt::Display| KubernetesError::Kubeconfig { path: path.display().to_string(), said: said.to_string() };
            let file = kube::config::Kubeconfig::read_from(path).map_err(|error| wrong(&error))?;
            let options = kube::config::KubeConfigOptions::default();
            kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| wrong(&error))?
        }
        (None, watch) => match (kube::Config::incluster(), watch) {
            (Ok(found), _) => found,
            (Err(_), Watch::Auto) => return Ok(None),
            (Err(error), _) => return Err(KubernetesError::NotInCluster(error.to_string())),
        },
    };
    (found.connect_timeout, found.read_timeout) = (Some(read::CONNECT_TIMEOUT), Some(read::SILENCE_MAX));
    // Two are compiled in, for other dependencies' sake, and kube takes the process' own. Whoever chose one before chose right, too.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = kube::Client::try_from(found).map_err(|error| KubernetesError::Client(error.to_string()))?;
    Ok(Some(Connection { client, page_size: config.page_size }))
}

/// As with Kubernetes, of which this build has none.
///
/// # Errors
/// If it is wanted.
#[cfg(not(feature = "kubernetes"))]
pub async fn connection(config: &KubernetesConfig) -> Result<Option<Connection>, KubernetesError> {
    if config.watch == Watch::Always { Err(KubernetesError::NotBuilt) } else { Ok(None) }
}

#[cfg(feature = "kubernetes")]
impl Connection {
    /// Makes names wait for what this will read. To be called before anything is named.
    pub fn announce(&self, names: &Names) {
        names.in_kubernetes(|kubernetes| Kind::ALL.into_iter().for_each(|kind| kubernetes.watch(kind)));
    }

    /// Reads until the future is dropped or `stop` is true.
    pub async fn run(self, names: std::sync::Arc<Names>, stop: tokio::sync::watch::Receiver<bool>) {
        let kinds =
            Kind::ALL.map(|kind| read::Reader::new(kind, self.client.clone(), self.page_size, std::sync::Arc::clone(&names)).run(stop.clone()));
        futures::future::join_all(kinds).await;
    }
}

/// Numbers for `/metrics`: none while Kubernetes is not read.
pub fn readings(names: &Names) -> Vec<Reading> {
    names.read(|directory| {
        let kubernetes = directory.kubernetes();
        if kubernetes.is_empty() {
            return Vec::new();
        }
        let reading = |name: &str, help: &str, kind, value: f64| Reading { name: format!("kubernetes_{name}"), help: help.to_owned(), kind, value };
        let counters = kubernetes.counters();
        let heard_us = kubernetes.heard_us(Kind::Pod);
        let behind_s = (heard_us > i64::MIN).then(|| Utc::now().timestamp_micros().saturating_sub(heard_us) as f64 / 1e6);
        let behind = behind_s
            .map(|s| reading("behind_seconds", "How far what is known of pods lies behind; absent before the first list", ReadingKind::Gauge, s));
        let objects = kubernetes.counts().map(|(kind, count)| {
            let name = format!("{}s", kind.as_str().to_lowercase());
            reading(&name, "Objects of this kind known from Kubernetes, those of the last day included", ReadingKind::Gauge, count as f64)
        });
        let others = [
            reading("objects_dropped", "Objects left out: there were too many of their kind", ReadingKind::Counter, counters.objects_dropped as f64),
            reading(
                "parts_dropped",
                "Addresses, containers, ports and endpoints left out of objects",
                ReadingKind::Counter,
                counters.parts_dropped as f64,
            ),
            reading("texts_cut", "Names from Kubernetes that were shortened", ReadingKind::Counter, counters.texts_cut as f64),
        ];
        objects.into_iter().chain(others).chain(behind).collect()
    })
}
