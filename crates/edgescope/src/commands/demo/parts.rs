//! What a company on real packets and a simulated one have in common: a directory, a server, the agents' configuration.

use crate::config::Config;
use anyhow::Context;
use edgescope_server::{Listeners, Server};
use edgescope_testbed::NodeInfo;
use serde_json::json;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Where configuration, data and logs are.
pub enum Files {
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl Files {
    /// The directory to keep, or a temporary one.
    pub fn new(keep: Option<&Path>) -> anyhow::Result<Self> {
        let Some(dir) = keep else {
            return Ok(Self::Temporary(tempfile::Builder::new().prefix("edgescope-demo-").tempdir().context("cannot make a temporary directory")?));
        };
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self::Kept(fs::canonicalize(dir)?))
    }

    pub fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(dir) => dir,
        }
    }
}

/// A server with its data in `dir`. Nobody but the demo's own agents reaches `intake`.
pub async fn serve(dir: &Path, http: TcpListener, intake: TcpListener) -> anyhow::Result<Server> {
    for listener in [&http, &intake] {
        listener.set_nonblocking(true)?;
    }
    let mut config = Config::default();
    config.store.path = dir.join("data").display().to_string();
    let listeners = Listeners {
        http: Some(tokio::net::TcpListener::from_std(http)?),
        intake: Some(tokio::net::TcpListener::from_std(intake)?),
        intake_private: true,
    };
    crate::commands::server::start(config, listeners).await
}

/// What the agent of a node is told: names, nodes and zones; never the fault.
pub fn agent_config(id: &str, node: &NodeInfo, home: &Path, intake: SocketAddr) -> serde_json::Value {
    let rules: Vec<_> = node
        .pods
        .iter()
        .map(|pod| json!({ "match": { "netns": pod.netns }, "workload": pod.workload, "namespace": pod.namespace, "pod": pod.name }))
        .collect();
    json!({
        "agent": {
            "id": id,
            "server": format!("http://{intake}"),
            "state_dir": home,
            "scope": format!("netns:{}", node.pods.iter().map(|p| p.netns.as_str()).collect::<Vec<_>>().join(",")),
            "node": node.name,
            "zone": node.zone,
            // The host of the demo has containers and a cloud of its own.
            "runtimes": "off",
            "cloud": "off",
        },
        "identity": { "rules": rules },
    })
}
