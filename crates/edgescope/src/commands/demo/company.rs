//! The demo's parts: the shop, a server with its intake inside the shop's management network, an agent in each node's namespace.

use super::DemoArgs;
use super::parts::{self, Files};
use super::story::Stage;
use anyhow::{Context, bail};
use edgescope_server::Server;
use edgescope_testbed::netns::{in_netns, spawn_in};
use edgescope_testbed::{Fault, NodeInfo, Options, Spec, Testbed, Truth, this_executable};
use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const INTAKE_PORT: u16 = 8101;
/// How long an agent may take to end: it ships its last window first.
const AGENT_END: Duration = Duration::from_secs(5);
/// What the demo's agents are called in the kernel: `demo-RUN-NODE`.
const AGENT_PREFIX: &str = "demo-";
/// What of the caller's `EDGESCOPE_…` reaches the demo's agents. The rest would configure all of them alike: six agents of one id.
const AGENT_VARIABLES: [&str; 2] = ["EDGESCOPE_LOG", "EDGESCOPE_TEST_RUN"];

/// Everything that runs; [`Company::stop`] ends it in order, dropping it ends it at once.
pub struct Company {
    http: SocketAddr,
    // Ended in this order: agents ship their last words to a server that still listens on wires that still exist.
    agents: Vec<Agent>,
    server: Option<Server>,
    testbed: Testbed,
    files: Files,
}

struct Agent {
    id: String,
    child: Child,
}

impl Company {
    /// Starts all parts and waits until each can be talked to. `http` is where people will find the server.
    pub async fn start(args: &DemoArgs, spec: Spec, http: TcpListener) -> anyhow::Result<Self> {
        clean()?;
        let files = Files::new(args.keep.as_deref())?;
        let options = Options { spec, command: this_executable(&["testbed"])?, seed: args.seed };
        let testbed = tokio::task::spawn_blocking(|| Testbed::start(options)).await??;
        let intake_at = intake_address(&testbed);
        let intake = in_netns(&testbed.mgmt_netns(), || TcpListener::bind(intake_at))?.context("cannot open the intake inside the shop's network")?;
        let server = parts::serve(files.path(), http, intake).await?;
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
        fs::write(&config, serde_json::to_vec_pretty(&parts::agent_config(&id, node, &home, intake_address(&self.testbed)))?)?;
        let log = File::create(home.join("agent.log"))?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("agent").arg("--config").arg(&config).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C in the terminal is for the demo, which then ends its agents in order.
        command.process_group(0);
        let steers = |name: &str| name.starts_with("EDGESCOPE_") && !AGENT_VARIABLES.contains(&name);
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(steers)) {
            command.env_remove(name);
        }
        let child = spawn_in(&node.netns, &mut command).with_context(|| format!("cannot start the agent of {}", node.name))?;
        Ok(Agent { id, child })
    }

    fn end_agents(&mut self) -> anyhow::Result<()> {
        for agent in &self.agents {
            terminate(&agent.child);
        }
        let deadline = Instant::now() + AGENT_END;
        for mut agent in self.agents.drain(..) {
            while agent.child.try_wait()?.is_none() {
                if Instant::now() >= deadline {
                    agent.child.kill()?;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            edgescope_probe::Probe::remove(&agent.id).with_context(|| format!("removing the kernel side of agent {}", agent.id))?;
        }
        Ok(())
    }
}

impl Stage for Company {
    fn http(&self) -> SocketAddr {
        self.http
    }

    fn check(&mut self) -> anyhow::Result<()> {
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

    fn inject(&mut self, fault: &Fault, seed: u64) -> anyhow::Result<Truth> {
        tokio::task::block_in_place(|| self.testbed.inject(fault, seed)).context("injecting the fault")
    }

    fn truth(&mut self) -> anyhow::Result<Option<Truth>> {
        Ok(tokio::task::block_in_place(|| self.testbed.truths())?.pop())
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        tokio::task::block_in_place(|| self.end_agents())?;
        if let Some(server) = self.server.take() {
            server.stop().await;
        }
        // The shop goes with the rest of this.
        tokio::task::spawn_blocking(move || drop(self)).await?;
        Ok(())
    }
}

impl Drop for Company {
    fn drop(&mut self) {
        if let Err(error) = self.end_agents() {
            tracing::error!("agents did not end cleanly: {error:#}; `edgescope demo --clean` removes what is left");
        }
    }
}

fn terminate(child: &Child) {
    if let Some(pid) = rustix::process::Pid::from_raw(child.id() as i32) {
        // It may have ended by itself.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

fn intake_address(testbed: &Testbed) -> SocketAddr {
    SocketAddr::new(testbed.mgmt_ips()[0], INTAKE_PORT)
}

/// What was left by demos that are gone, and is no more.
pub struct Removed {
    /// Shops: namespaces, processes, files.
    pub runs: Vec<String>,
    /// Agents: their kernel sides.
    pub agents: Vec<String>,
}

/// Removes what killed demos left.
pub fn clean() -> anyhow::Result<Removed> {
    // Dead shops first: an agent whose shop is being removed is then an orphan.
    let runs = edgescope_testbed::clean().context("removing what a killed demo left")?;
    let agents = orphaned_agents()?;
    for id in &agents {
        edgescope_probe::Probe::remove(id).with_context(|| format!("removing the kernel side of agent {id}"))?;
    }
    Ok(Removed { runs, agents })
}

/// Demo agents in the kernel whose demo is gone.
fn orphaned_agents() -> anyhow::Result<Vec<String>> {
    let pinned = edgescope_probe::Probe::pinned().context("listing pinned agents")?;
    let alive = |id: &str| {
        let run = id.strip_prefix(AGENT_PREFIX).and_then(|rest| rest.split('-').next()).unwrap_or_default();
        Path::new(edgescope_testbed::run::RUNS_DIR).join(run).exists()
    };
    Ok(pinned.into_iter().filter(|id| id.starts_with(AGENT_PREFIX) && !alive(id)).collect())
}
