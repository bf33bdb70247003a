//! `edgescope server` as a guarded process.

use crate::api::Api;
use crate::program::{self, Process};
use crate::scene::{Scene, free_port};
use crate::wait::until;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Within this a server must answer after its start, on a machine that does other things too.
pub const START: Duration = Duration::from_secs(20);
/// Within this it must end when asked to.
const END: Duration = Duration::from_secs(15);

/// How a server is to run.
#[derive(Clone, Debug)]
pub struct ServerSpec {
    pub name: String,
    pub http_port: u16,
    pub intake_port: u16,
    /// Where its tables are.
    pub store: PathBuf,
    /// Merged over the rest of the configuration.
    pub more: Value,
}

impl ServerSpec {
    /// On free ports of loopback, with tables in the scene's directory.
    pub fn new(scene: &Scene, name: &str) -> ServerSpec {
        ServerSpec {
            name: name.to_owned(),
            http_port: free_port(),
            intake_port: free_port(),
            store: scene.path(&format!("{name}-data")),
            more: json!({}),
        }
    }

    fn config(&self) -> Value {
        let mut config = json!({
            "store": { "path": self.store },
            "server": { "listen": format!("127.0.0.1:{}", self.http_port) },
            "intake": { "listen": format!("127.0.0.1:{}", self.intake_port) },
        });
        merge(&mut config, &self.more);
        config
    }
}

/// Writes `from` over `into`, object by object.
pub fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from.clone(),
    }
}

/// A running server. Dropping it kills it.
pub struct Server {
    spec: ServerSpec,
    config: PathBuf,
    log: PathBuf,
    process: Process,
    started: Instant,
}

impl Server {
    /// Starts it and waits until it is ready to serve.
    pub fn start(scene: &Scene, spec: ServerSpec) -> Server {
        let server = Self::launch(scene, spec);
        server.wait_until_ready(START);
        server
    }

    /// Starts it without waiting.
    pub fn launch(scene: &Scene, spec: ServerSpec) -> Server {
        let config = scene.write(&format!("{}.yaml", spec.name), &spec.config().to_string());
        let log = scene.path(&format!("{}.log", spec.name));
        let process = Self::run(&spec, &config, &log);
        Server { spec, config, log, process, started: Instant::now() }
    }

    fn run(spec: &ServerSpec, config: &Path, log: &Path) -> Process {
        let mut command = program::command(&["server", "--config"]);
        command.arg(config);
        Process::start(&spec.name, command, log, None)
    }

    /// Waits until `/readyz` says yes; returns how long after the start that was.
    pub fn wait_until_ready(&self, at_most: Duration) -> Duration {
        until(&format!("readiness of {}", self.spec.name), at_most, || self.api().get("/readyz", &[]).map(|_| ()));
        self.started.elapsed()
    }

    /// Starts it again with the same configuration, after it has ended; does not wait.
    pub fn start_again(&mut self) {
        self.process = Self::run(&self.spec, &self.config, &self.log);
        self.started = Instant::now();
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Asks it to end and waits.
    pub fn stop(&mut self) {
        let status = self.process.terminate(END);
        assert!(status.success(), "{} ended with {status} when asked to", self.spec.name);
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    pub fn spec(&self) -> &ServerSpec {
        &self.spec
    }

    /// Where people ask it.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.spec.http_port)
    }

    /// Where agents ship to.
    pub fn intake(&self) -> String {
        format!("http://127.0.0.1:{}", self.spec.intake_port)
    }

    pub fn api(&self) -> Api {
        Api::new(&self.url())
    }

    pub fn log(&self) -> String {
        self.process.log()
    }
}
