//! A running company: start it, ask it what it really did, stop it. [`faults`] breaks and mends it.

mod faults;

use crate::child::{self, Process};
use crate::effect::Behaviour;
use crate::fault::FaultError;
use crate::info::{self, NodeInfo};
use crate::launch::{self, relay_config, service_config};
use crate::netns::{self, NetnsError};
use crate::relay::{RelayCommand, RelayCounters};
use crate::run::{self, RunDir, RunError};
use crate::service::control::{self, Command};
use crate::service::counters::Witness;
use crate::spec::{Spec, SpecError};
use crate::topology::{MGMT_IPV4, MGMT_IPV6, Topology};
use crate::truth::Truth;
use crate::wire::{self, Names};
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use faults::Active;
pub(crate) use faults::packets;

/// How a testbed is to be started.
#[derive(Clone, Debug)]
pub struct Options {
    pub spec: Spec,
    /// Executable and leading arguments that run [`crate::child_main`] with what is appended.
    pub command: Vec<OsString>,
    /// Seeds the services' dice.
    pub seed: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum TestbedError {
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Fault(#[from] FaultError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Netns(#[from] NetnsError),
    #[error("cannot start {what}: {source}")]
    Start { what: String, source: io::Error },
    #[error("cannot ask {what}: {source}")]
    Ask { what: String, source: io::Error },
    #[error("cannot write {path}: {source}", path = path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("{connections} connections are still open {waited:?} after all services were told to stop asking")]
    NotQuiet { connections: u64, waited: Duration },
    #[error("the lab has no host {name:?}: use one of {hosts}")]
    NoHost { name: String, hosts: String },
    #[error("the counters of nftables in {router} are not as expected: {said}")]
    Counters { router: String, said: String },
}

/// A company in network namespaces, with traffic. Dropping it removes everything it made.
pub struct Testbed {
    topology: Topology,
    names: Names,
    options: Options,
    /// By pod; absent while crashed.
    services: Vec<Option<Process>>,
    generations: Vec<u32>,
    relay: Process,
    relay_realtime: bool,
    active: Vec<Active>,
    healed: Vec<Truth>,
    faults_made: u32,
    // Last: children and namespaces go before the run's lock does.
    keeper: Process,
    run: RunDir,
}

impl Testbed {
    /// Builds the company and starts its traffic; blocks until every service runs. Also removes what dead runs left.
    pub fn start(options: Options) -> Result<Testbed, TestbedError> {
        let topology = Topology::new(options.spec.clone())?;
        run::clean()?;
        let run = RunDir::create()?;
        let names = Names::new(&run.prefix());
        let keeper = launch::keeper(&options.command, &run)?;
        let made = Self::build(topology, names, options, &run);
        match made {
            Ok(parts) => Ok(parts.with(keeper, run)),
            Err(error) => {
                // The first failure is what the caller wants to hear; the keeper tries once more when the lock is gone.
                let _ = run::remove(&run.id);
                Err(error)
            }
        }
    }

    fn build(topology: Topology, names: Names, options: Options, run: &RunDir) -> Result<Parts, TestbedError> {
        wire::build(&wire::plan(&topology, &names))?;
        let relay_config = relay_config(&topology, &names, &run.path);
        let (relay, relay_realtime) = launch::relay(&options.command, &relay_config, &run.path)?;
        let (resolvers, others): (Vec<usize>, Vec<usize>) = (0..topology.pods.len()).partition(|&pod| topology.pods[pod].is_resolver);
        let (customers, servers): (Vec<usize>, Vec<usize>) = others.into_iter().partition(|&pod| topology.pods[pod].port.is_none());
        let mut services: Vec<Option<Process>> = topology.pods.iter().map(|_| None).collect();
        // Customers come when the shop is open, which it is when its addresses are known.
        for group in [resolvers, servers, customers] {
            let config = |&pod: &usize| service_config(&topology, pod, 0, Behaviour::default(), &options, &run.path);
            let configs: Vec<_> = group.iter().map(config).collect();
            let netns: Vec<_> = group.iter().map(|&pod| netns::path_of(&names.pod(&topology, pod))).collect();
            for (pod, process) in group.iter().zip(launch::services(&options.command, &configs, &netns, &run.path)?) {
                services[*pod] = Some(process);
            }
        }
        let generations = vec![0; topology.pods.len()];
        let parts = Parts { topology, names, options, services, generations, relay, relay_realtime };
        parts.write_topology(&run.path)?;
        Ok(parts)
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The run's id, which begins the names of its namespaces as `esID-`.
    pub fn id(&self) -> &str {
        &self.run.id
    }

    /// Holds `topology.json`, `truth.json`, logs and last counters while the testbed lives.
    pub fn dir(&self) -> &Path {
        &self.run.path
    }

    /// Nodes with their pods, to make agents' configuration from.
    pub fn nodes(&self) -> Vec<NodeInfo> {
        info::nodes(&self.topology, &self.names)
    }

    /// The namespace for the server of a product under test, on the company's management network.
    pub fn mgmt_netns(&self) -> PathBuf {
        netns::path_of(&self.names.mgmt())
    }

    /// Addresses of that namespace, the same in every run, reachable from every node.
    pub fn mgmt_ips(&self) -> [IpAddr; 2] {
        [MGMT_IPV4.into(), MGMT_IPV6.into()]
    }

    /// Namespace of a pod, by its name.
    pub fn pod_netns(&self, pod: &str) -> Option<PathBuf> {
        self.topology.pod(pod).map(|p| netns::path_of(&self.names.pod(&self.topology, p)))
    }

    /// Whether the relay runs at real-time priority; without it, its delays stretch when the machine is busy.
    pub fn relay_is_realtime(&self) -> bool {
        self.relay_realtime
    }

    /// Process ids of services and relay, by name.
    pub fn processes(&self) -> Vec<(String, u32)> {
        let service = |(pod, process): (usize, &Option<Process>)| process.as_ref().map(|p| (self.topology.pods[pod].name.clone(), p.id()));
        let services = self.services.iter().enumerate().filter_map(service);
        services.chain([("relay".to_string(), self.relay.id())]).collect()
    }

    fn ask(&self, pod: usize, command: &Command) -> Result<Witness, TestbedError> {
        let name = &self.topology.pods[pod].name;
        let socket = launch::control_socket(&self.run.path, name);
        control::ask(&socket, command).map_err(|source| TestbedError::Ask { what: name.clone(), source })
    }

    /// What every process counted up to now, one entry for each generation of a pod; those that crashed are included.
    pub fn counters(&self) -> Result<Vec<Witness>, TestbedError> {
        let mut all = Vec::new();
        for pod in 0..self.topology.pods.len() {
            let lives = self.services[pod].is_some();
            let ended = self.generations[pod] + u32::from(!lives);
            for generation in 0..ended {
                let path = launch::witness_file(&self.run.path, &self.topology.pods[pod].name, generation);
                all.push(last_words(&path)?);
            }
            if lives {
                all.push(self.ask(pod, &Command::Counters)?);
            }
        }
        Ok(all)
    }

    /// What the relay counted since its start; `rules` since the last change of a congestion fault.
    pub fn relay_counters(&self) -> Result<RelayCounters, TestbedError> {
        launch::ask_relay(&self.run.path, &RelayCommand::Counters)
    }

    /// Stops all traffic and waits until no connection is open, so that what one end wrote the other has read. There is no
    /// way back.
    pub fn quiesce(&mut self, wait: Duration) -> Result<Vec<Witness>, TestbedError> {
        let began = Instant::now();
        loop {
            // Told again each time: a call under way may have left a connection since.
            let live: Vec<usize> = (0..self.services.len()).filter(|&p| self.services[p].is_some()).collect();
            let mut connections = 0;
            for pod in live {
                let witness = self.ask(pod, &Command::Drain)?;
                connections += witness.open() + witness.in_flight;
            }
            if connections == 0 {
                return self.counters();
            }
            if began.elapsed() > wait {
                return Err(TestbedError::NotQuiet { connections, waited: began.elapsed() });
            }
            std::thread::sleep(QUIESCE_POLL);
        }
    }

    /// Ends all services in order and returns their last counters; then removes everything.
    pub fn stop(mut self) -> Result<Vec<Witness>, TestbedError> {
        for pod in 0..self.services.len() {
            if self.services[pod].is_some() {
                self.ask(pod, &Command::Stop)?;
            }
            if let Some(mut process) = self.services[pod].take() {
                process.end();
            }
        }
        self.counters()
    }
}

/// Between two questions whether all connections are closed.
const QUIESCE_POLL: Duration = Duration::from_millis(50);

impl Drop for Testbed {
    fn drop(&mut self) {
        for process in self.services.iter_mut().flatten().chain([&mut self.relay]) {
            process.kill();
        }
        // A drop cannot fail; the keeper, which takes over when this process lets go of the lock, tries once more.
        let _ = run::remove(&self.run.id);
        self.run.release();
        self.keeper.end();
    }
}

/// Everything of a testbed but what outlives a failed start.
struct Parts {
    topology: Topology,
    names: Names,
    options: Options,
    services: Vec<Option<Process>>,
    generations: Vec<u32>,
    relay: Process,
    relay_realtime: bool,
}

impl Parts {
    fn with(self, keeper: Process, run: RunDir) -> Testbed {
        let Parts { topology, names, options, services, generations, relay, relay_realtime } = self;
        Testbed {
            topology,
            names,
            options,
            services,
            generations,
            relay,
            relay_realtime,
            active: Vec::new(),
            healed: Vec::new(),
            faults_made: 0,
            keeper,
            run,
        }
    }

    fn write_topology(&self, dir: &Path) -> Result<(), TestbedError> {
        let facts = serde_json::json!({
            "topology": self.topology,
            "nodes": info::nodes(&self.topology, &self.names),
            "congestion_control": crate::service::CONGESTION_CONTROL,
            "relay_realtime": self.relay_realtime,
            "seed": self.options.seed,
        });
        write_json(&dir.join("topology.json"), &facts)
    }
}

/// The last counters of a process that ended; its connections ended with it.
fn last_words(path: &Path) -> Result<Witness, TestbedError> {
    let failed = |source| TestbedError::Ask { what: path.display().to_string(), source };
    let text = std::fs::read(path).map_err(failed)?;
    let mut witness: Witness = serde_json::from_slice(&text).map_err(|e| failed(e.into()))?;
    witness.in_flight = 0;
    for peer in &mut witness.peers {
        peer.totals.open = 0;
    }
    Ok(witness)
}

fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), TestbedError> {
    let failed = |source| TestbedError::Write { path: path.to_path_buf(), source };
    let text = serde_json::to_vec_pretty(value).map_err(|e| failed(e.into()))?;
    // Whole or not at all, for whoever reads while it is written.
    let part = path.with_extension("part");
    std::fs::write(&part, text).and_then(|()| std::fs::rename(&part, path)).map_err(failed)
}

/// The current executable with `leading` arguments, as [`Options::command`] wants it.
pub fn this_executable(leading: &[&str]) -> io::Result<Vec<OsString>> {
    let exe = std::env::current_exe()?;
    Ok([exe.into_os_string()].into_iter().chain(leading.iter().map(OsString::from)).collect())
}

/// Kinds of child process, for those who route their arguments to [`crate::child_main`].
pub const CHILD_KINDS: [&str; 3] = [child::SERVICE, child::RELAY, child::KEEPER];
