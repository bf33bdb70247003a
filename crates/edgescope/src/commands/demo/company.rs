//! The demo's parts: the shop, a server with its intake inside the shop's management network, an agent in each node's namespace.

use super::DemoArgs;
use crate::config::Config;
use anyhow::{Context, bail};
use edgescope_server::{Listeners, Server};
use edgescope_testbed::netns::{in_netns, spawn_in};
use edgescope_testbed::{Fault, NodeInfo, Options, Spec, Testbed, Truth, this_executable};
use serde_json::json;
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const INTAKE_PORT: u16 = 8101;
/// How long an agent may take to end: it ships its last window first.
const AGENT_END: Duration = Duration::from_secs(5);
/// What the demo's agents are called in the kernel: `demo-RUN-NODE`.
const AGENT_PREFIX: &str = "demo-";

/// Everything that runs; [`Company::stop`] ends it in order, dropping it ends it at once.
pub struct Company {
    /// Where the user interface and the API are.
    pub http: SocketAddr,
    // Ended in this order: agents ship their last words to a server that still listens on wires that still exist.
    agents: Vec<Agent>,
    server: Option<Server>,
    testbed: Testbed,
    files: Files,
}

/// Where configuration, data and logs are.
enum Files {
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

struct Agent {
    id: String,
    child: Child,
}

impl Files {
    fn path(&self) -> &Path {
        match self {
            Self::Temporary(dir) => dir.path(),
            Self::Kept(dir) => dir,
        }
    }
}

impl Company {
    /// Starts all parts and waits until each can be talked to.
    pub async fn start(args: &DemoArgs, spec: Spec) -> anyhow::Result<Self> {
        let http = TcpListener::bind(args.listen)
            .with_context(|| format!("cannot listen on {}: if a demo or server runs there, end it or choose another --listen", args.listen))?;
        remove_orphans()?;
        let files = match &args.keep {
            Some(dir) => {
                fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
                Files::Kept(fs::canonicalize(dir)?)
            }
            None => Files::Temporary(tempfile::Builder::new().prefix("edgescope-demo-").tempdir().context("cannot make a temporary directory")?),
        };
        let options = Options { spec, command: this_executable(&["testbed"])?, seed: args.seed };
        let testbed = tokio::task::spawn_blocking(|| Testbed::start(options)).await??;
        let server = start_server(files.path(), http, &testbed).await?;
        let mut company = Self { http: server.http, agents: Vec::new(), server: Some(server), testbed, files };
        for node in company.testbed.nodes() {
            let agent = company.start_agent(&node)?;
            company.agents.push(agent);
        }
        Ok(company)
    }

    fn start_agent(&self, node: &NodeInfo) -> anyhow::Result<Agent> {
        let id = format!("{AGENT_PREFIX}{}-{}", self.testbed.id(), node.name);
        let home = self.files.path().join(&node.name);
        fs::create_dir_all(&home)?;
        let config = home.join("agent.yaml");
        fs::write(&config, serde_json::to_vec_pretty(&agent_config(&id, node, &home, intake_address(&self.testbed)))?)?;
        let log = File::create(home.join("agent.log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("agent").arg("--config").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = spawn_in(&node.netns, &mut command).with_context(|| format!("cannot start the agent of {}", node.name))?;
        Ok(Agent { id, child })
    }

    /// Waits, and ends early with an error if an agent has ended.
    pub async fn watch(&mut self, wait: Duration) -> anyhow::Result<()> {
        tokio::time::sleep(wait).await;
        for agent in &mut self.agents {
            if let Some(status) = agent.child.try_wait()? {
                let node = agent.id.rsplit_once('-').map_or("", |(_, node)| node);
                bail!(
                    "agent {} ended ({status}): its log is agent.log under {} ({node}); keep it with --keep DIR",
                    agent.id,
                    self.files.path().display()
                );
            }
        }
        Ok(())
    }

    /// Makes the fault exist.
    pub fn inject(&mut self, fault: &Fault, seed: u64) -> anyhow::Result<Truth> {
        tokio::task::block_in_place(|| self.testbed.inject(fault, seed)).context("injecting the fault")
    }

    /// The truth with what the fault has really done up to now.
    pub fn truth(&mut self) -> anyhow::Result<Option<Truth>> {
        Ok(tokio::task::block_in_place(|| self.testbed.truths())?.pop())
    }

    /// Ends everything in order; nothing is left behind.
    pub async fn stop(mut self) -> anyhow::Result<()> {
        tokio::task::block_in_place(|| self.end_agents())?;
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        // The shop goes with the rest of this.
        tokio::task::spawn_blocking(move || drop(self)).await?;
        Ok(())
    }

    fn end_agents(&mut self) -> anyhow::Result<()> {
        for agent in &self.agents {
            terminate(&agent.child);
        }
        let deadline = std::time::Instant::now() + AGENT_END;
        for mut agent in self.agents.drain(..) {
            while agent.child.try_wait()?.is_none() {
                if std::time::Instant::now() >= deadline {
                    agent.child.kill()?;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            edgescope_probe::Probe::remove(&agent.id).with_context(|| format!("removing the kernel side of agent {}", agent.id))?;
        }
        Ok(())
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        if let Err(error) = self.end_agents() {
            eprintln!("edgescope: agents did not end cleanly: {error:#}; `edgescope demo --clean` removes what is left");
        }
    }
}

fn terminate(child: &Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn agent_config(id: &str, node: &NodeInfo, home: &Path, intake: SocketAddr) -> serde_json::Value {
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
        },
        "identity": { "rules": rules },
    })
}

fn intake_address(testbed: &Testbed) -> SocketAddr {
    SocketAddr::new(testbed.mgmt_ips()[0], INTAKE_PORT)
}

/// The kernel sides of demo agents whose demo is gone.
pub fn orphaned_agents() -> anyhow::Result<Vec<String>> {
    let pinned = edgescope_probe::Probe::pinned().context("listing pinned agents")?;
    let alive = |id: &str| {
        let run = id.strip_prefix(AGENT_PREFIX).and_then(|rest| rest.split('-').next()).unwrap_or_default();
        Path::new(edgescope_testbed::run::RUNS_DIR).join(run).exists()
    };
    Ok(pinned.into_iter().filter(|id| id.starts_with(AGENT_PREFIX) && !alive(id)).collect())
}

fn remove_orphans() -> anyhow::Result<()> {
    // Dead shops first: an agent whose shop is being removed is then an orphan.
    edgescope_testbed::clean().context("removing what a killed demo left")?;
    for id in orphaned_agents()? {
        edgescope_probe::Probe::remove(&id).with_context(|| format!("removing the kernel side of agent {id}"))?;
    }
    Ok(())
}

/// The server's own doors: people's on the host's loopback, the agents' inside the shop's network, which nobody else reaches.
async fn start_server(dir: &Path, http: TcpListener, testbed: &Testbed) -> anyhow::Result<Server> {
    let intake_at = intake_address(testbed);
    let intake = in_netns(&testbed.mgmt_netns(), || TcpListener::bind(intake_at))?.context("cannot open the intake inside the shop's network")?;
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
