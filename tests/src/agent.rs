//! `edgescope agent` as a guarded process, with its kernel side.

use crate::program::{self, Process};
use crate::scene::Scene;
use crate::server::{Server, merge};
use crate::wait::until;
use edgescope_probe::Probe;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Within this an agent must be known to its server.
const START: Duration = Duration::from_secs(30);
/// Within this an agent must end when asked to: it ships its last window first.
const END: Duration = Duration::from_secs(15);

/// Seconds of an agent's windows: as delivered in the long form, shorter in the short one.
pub fn interval_s() -> u64 {
    if crate::is_long() { 10 } else { 2 }
}

/// From here on these agents miss nothing: each runs and is known to the server.
pub fn wait_until_at_work(server: &Server, agents: &mut [Agent]) {
    for agent in agents {
        until(&format!("agent {} at work", agent.id), START, || {
            assert!(agent.process.is_running(), "agent {} ended", agent.id);
            let known = server.api().v1("/agents", &[])?;
            let is_known = known["agents"].as_array().into_iter().flatten().any(|a| a["agent_id"] == agent.id.as_str());
            if is_known { Ok(()) } else { Err(known.to_string()) }
        });
    }
}

/// Which sockets are an agent's.
#[derive(Clone, Debug)]
pub enum Place {
    /// Names of network namespaces.
    Namespaces(Vec<String>),
    /// Path of a cgroup below the root of the hierarchy, and all below it.
    Cgroup(String),
}

/// How an agent is to run.
#[derive(Clone, Debug)]
pub struct AgentSpec {
    pub id: String,
    pub node: String,
    pub zone: String,
    pub place: Place,
    /// `identity.rules`.
    pub rules: Vec<Value>,
    /// URL of the intake.
    pub server: String,
    /// Merged over the rest of the configuration.
    pub more: Value,
}

impl AgentSpec {
    /// An agent of `node` that ships to `server`.
    pub fn new(scene: &Scene, server: &Server, node: &str, place: Place) -> AgentSpec {
        Self::shipping_to(scene, &server.intake(), node, place)
    }

    /// An agent of `node` that ships to the intake at this URL.
    pub fn shipping_to(scene: &Scene, intake: &str, node: &str, place: Place) -> AgentSpec {
        AgentSpec {
            id: format!("{}-{node}", scene.id()),
            node: node.to_owned(),
            zone: "zone-1".to_owned(),
            place,
            rules: Vec::new(),
            server: intake.to_owned(),
            more: json!({}),
        }
    }

    /// Sockets of the namespace are this workload's.
    #[must_use]
    pub fn name_netns(mut self, netns: &str, workload: &str) -> AgentSpec {
        self.rules.push(json!({ "match": { "netns": netns }, "workload": workload, "pod": format!("{workload}-1") }));
        self
    }

    /// Sockets of processes with this name in the namespace are this workload's.
    #[must_use]
    pub fn name_process(mut self, netns: &str, process: &str, workload: &str) -> AgentSpec {
        self.rules.push(json!({ "match": { "netns": netns, "process": process }, "workload": workload, "pod": format!("{workload}-1") }));
        self
    }

    /// Shifts what the agent takes for the time.
    #[must_use]
    pub fn skewed(mut self, seconds: i64) -> AgentSpec {
        merge(&mut self.more, &json!({ "agent": { "clock_skew": seconds * 1_000 } }));
        self
    }

    fn config(&self, state: &Path) -> Value {
        let scope = match &self.place {
            Place::Namespaces(names) => format!("netns:{}", names.join(",")),
            Place::Cgroup(path) => format!("cgroup:{path}"),
        };
        let mut config = json!({
            "agent": {
                "id": self.id,
                "server": self.server,
                "state_dir": state,
                "scope": scope,
                "node": self.node,
                "zone": self.zone,
                "interval": format!("{}s", interval_s()),
            },
            "identity": { "rules": self.rules },
        });
        merge(&mut config, &self.more);
        config
    }
}

/// A running agent. Dropping it kills it and removes its kernel side.
pub struct Agent {
    id: String,
    config: PathBuf,
    log: PathBuf,
    process: Process,
}

impl Agent {
    /// Starts it; it is at work once its server knows it.
    pub fn start(scene: &Scene, spec: &AgentSpec) -> Agent {
        let state = scene.path(&format!("{}-state", spec.node));
        std::fs::create_dir_all(&state).expect("a directory can be made");
        let config = scene.write(&format!("{}.yaml", spec.node), &spec.config(&state).to_string());
        let log = scene.path(&format!("{}.log", spec.node));
        let process = Self::run(&spec.id, &config, &log);
        Agent { id: spec.id.clone(), config, log, process }
    }

    fn run(id: &str, config: &Path, log: &Path) -> Process {
        let mut command = program::command(&["agent", "--config"]);
        command.arg(config);
        Process::start(id, command, log, None)
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    /// `kill -9`; its kernel side stays and counts on.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again with the same configuration and state, after it has ended.
    pub fn start_again(&mut self) {
        self.process = Self::run(&self.id, &self.config, &self.log);
    }

    /// Asks it to end and waits.
    pub fn stop(&mut self) {
        let status = self.process.terminate(END);
        assert!(status.success(), "agent {} ended with {status} when asked to", self.id);
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.process.kill();
        if let Err(error) = Probe::remove(&self.id) {
            eprintln!("the kernel side of agent {} could not be removed: {error}", self.id);
        }
    }
}
