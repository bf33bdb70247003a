//! A running company: start it, break it, mend it, ask it what it really did.

use crate::child::{self, Process};
use crate::effect::{Behaviour, DelayRule, Effect, Router, effect, table};
use crate::fault::{Fault, FaultError};
use crate::info::{self, NodeInfo};
use crate::launch::{self, relay_config, service_config};
use crate::netns::{self, NetnsError, in_netns, tool};
use crate::relay::{RelayCommand, RelayCounters};
use crate::run::{self, RunDir, RunError};
use crate::service::control::{self, Command};
use crate::service::counters::{EffectTotals, Witness};
use crate::spec::{Spec, SpecError};
use crate::topology::{MGMT_IPV4, MGMT_IPV6, Topology};
use crate::truth::Truth;
use crate::wire::{self, Names};
use chrono::Utc;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

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

/// A fault that lasts.
struct Active {
    id: u32,
    effect: Effect,
    truth: Truth,
    /// What its pods' own effect counters said before.
    before: EffectTotals,
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
        let load_generator = |&pod: &usize| topology.pods[pod].port.is_none();
        let (customers, servers): (Vec<usize>, Vec<usize>) = (0..topology.pods.len()).partition(load_generator);
        let mut services: Vec<Option<Process>> = topology.pods.iter().map(|_| None).collect();
        // Customers come when the shop is open.
        for group in [servers, customers] {
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

    /// Makes a fault exist; without a name in it, `seed` picks where. Several may exist at once.
    ///
    /// # Errors
    /// When the fault cannot sit there, or making it fails; then nothing of it remains.
    pub fn inject(&mut self, fault: &Fault, seed: u64) -> Result<Truth, TestbedError> {
        let component = fault.resolve(&self.topology, seed)?;
        self.faults_made += 1;
        let id = self.faults_made;
        let degree = crate::strength::degree(fault.kind, fault.strength);
        let effect = effect(&self.topology, fault.kind, &component, degree, id);
        let before = self.effects_of(&effect)?;
        let truth = Truth::new(&self.topology, fault, &component, Utc::now());
        self.active.push(Active { id, effect, truth, before });
        if let Err(error) = self.apply(self.active.len() - 1) {
            // The cause is told; what undoing it says is of no more use.
            let _ = self.undo(self.active.len() - 1);
            self.active.pop();
            return Err(error);
        }
        self.write_truth()?;
        Ok(self.active[self.active.len() - 1].truth.clone())
    }

    fn apply(&mut self, index: usize) -> Result<(), TestbedError> {
        let effect = self.active[index].effect.clone();
        for (&router, script) in &effect.filters {
            self.nft(router, &["-f", "-"], script)?;
        }
        if !effect.delays.is_empty() {
            self.send_delays()?;
        }
        for &pod in effect.behaviours.keys() {
            self.send_behaviour(pod)?;
        }
        for &pod in &effect.kills {
            self.crash(pod)?;
            self.active[index].truth.measured.pods_killed += 1;
        }
        // The moment from which all of it acts.
        self.active[index].truth.injected_at = Utc::now();
        Ok(())
    }

    /// Ends all faults and returns their truths, with what each really did.
    pub fn heal(&mut self) -> Result<Vec<Truth>, TestbedError> {
        self.measure()?;
        let mut truths = Vec::new();
        while !self.active.is_empty() {
            let healed_at = Utc::now();
            self.undo(0)?;
            let mut truth = self.active.remove(0).truth;
            truth.healed_at = Some(healed_at);
            truths.push(truth.clone());
            self.healed.push(truth);
        }
        self.write_truth()?;
        Ok(truths)
    }

    /// Takes an active fault's effects away; it stays in the list, marked as without effect.
    fn undo(&mut self, index: usize) -> Result<(), TestbedError> {
        let effect = std::mem::take(&mut self.active[index].effect);
        let id = self.active[index].id;
        for &router in effect.filters.keys() {
            self.nft(router, &["delete", "table", "inet", &table(id)], "")?;
        }
        if !effect.delays.is_empty() {
            self.send_delays()?;
        }
        for &pod in effect.behaviours.keys() {
            self.send_behaviour(pod)?;
        }
        for pod in effect.kills {
            self.restart(pod)?;
        }
        Ok(())
    }

    /// The truths of this run: of healed faults, then of those that last, measured up to now.
    pub fn truths(&mut self) -> Result<Vec<Truth>, TestbedError> {
        self.measure()?;
        Ok(self.all_truths())
    }

    fn all_truths(&self) -> Vec<Truth> {
        self.healed.iter().chain(self.active.iter().map(|a| &a.truth)).cloned().collect()
    }

    fn write_truth(&self) -> Result<(), TestbedError> {
        write_json(&self.run.path.join("truth.json"), &self.all_truths())
    }

    /// Brings every active fault's `measured` up to date.
    fn measure(&mut self) -> Result<(), TestbedError> {
        let delayed = if self.active.iter().any(|a| !a.effect.delays.is_empty()) { self.relay_counters()?.rules } else { BTreeMap::new() };
        for index in 0..self.active.len() {
            let Active { id, effect, before, truth } = &self.active[index];
            let mut measured = truth.measured;
            if let Some(rule) = delayed.get(id) {
                (measured.packets_seen, measured.packets_hit) = (rule.packets, rule.packets);
                measured.delay_added_us_mean = rule.added_us as f64 / rule.packets.max(1) as f64;
            } else {
                (measured.packets_seen, measured.packets_hit) = self.filtered(*id, effect)?;
            }
            let now = self.effects_of(effect)?;
            measured.requests_delayed = now.requests_delayed - before.requests_delayed;
            measured.think_added_us = now.think_added_us - before.think_added_us;
            measured.reads_delayed = now.reads_delayed - before.reads_delayed;
            measured.read_wait_us = now.read_wait_us - before.read_wait_us;
            measured.requests_withheld = now.requests_withheld - before.requests_withheld;
            self.active[index].truth.measured = measured;
        }
        Ok(())
    }

    /// Packets seen and hit by a fault's filters on all routers.
    fn filtered(&self, id: u32, effect: &Effect) -> Result<(u64, u64), TestbedError> {
        let mut sums = (0, 0);
        for &router in effect.filters.keys() {
            let said = self.nft(router, &["-j", "list", "counters", "table", "inet", &table(id)], "")?;
            let count = |name: &str| packets(&said, name).ok_or_else(|| TestbedError::Counters { router: self.router_netns(router), said: said.clone() });
            sums = (sums.0 + count("seen")?, sums.1 + count("hit")?);
        }
        Ok(sums)
    }

    /// Sum of the effect counters of the pods whose behaviour a fault changes.
    fn effects_of(&self, effect: &Effect) -> Result<EffectTotals, TestbedError> {
        let mut sum = EffectTotals::default();
        for &pod in effect.behaviours.keys().filter(|&&p| self.services[p].is_some()) {
            sum.merge(&self.ask(pod, &Command::Counters)?.effects);
        }
        Ok(sum)
    }

    fn nft(&self, router: Router, args: &[&str], script: &str) -> Result<String, TestbedError> {
        let path = netns::path_of(&self.router_netns(router));
        Ok(in_netns(&path, || tool("nft", args, script))??)
    }

    fn router_netns(&self, router: Router) -> String {
        match router {
            Router::Core => self.names.core(),
            Router::Zone(z) => self.names.zone(&self.topology, z),
            Router::Node(n) => self.names.node(&self.topology, n),
        }
    }

    /// Tells the relay the delays of all active faults.
    fn send_delays(&self) -> Result<(), TestbedError> {
        let delays: Vec<DelayRule> = self.active.iter().flat_map(|a| a.effect.delays.clone()).collect();
        launch::ask_relay(&self.run.path, &RelayCommand::Delays(delays)).map(|_| ())
    }

    /// Tells a pod how to behave, by all active faults together; one that crashed is told when it comes back.
    fn send_behaviour(&self, pod: usize) -> Result<(), TestbedError> {
        if self.services[pod].is_some() {
            self.ask(pod, &Command::Behave(self.behaviour(pod)))?;
        }
        Ok(())
    }

    fn behaviour(&self, pod: usize) -> Behaviour {
        self.active.iter().filter_map(|a| a.effect.behaviours.get(&pod)).fold(Behaviour::default(), Behaviour::and)
    }

    fn crash(&mut self, pod: usize) -> Result<(), TestbedError> {
        if self.services[pod].is_some() {
            self.ask(pod, &Command::Die)?;
            if let Some(mut process) = self.services[pod].take() {
                process.wait();
            }
        }
        Ok(())
    }

    fn restart(&mut self, pod: usize) -> Result<(), TestbedError> {
        if self.services[pod].is_some() || self.active.iter().any(|a| a.effect.kills.contains(&pod)) {
            return Ok(());
        }
        self.generations[pod] += 1;
        let config = service_config(&self.topology, pod, self.generations[pod], self.behaviour(pod), &self.options, &self.run.path);
        let netns = netns::path_of(&self.names.pod(&self.topology, pod));
        self.services[pod] = launch::services(&self.options.command, &[config], &[netns], &self.run.path)?.pop();
        Ok(())
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

/// Packets of a named counter, in what `nft -j list counters` said.
pub(crate) fn packets(said: &str, name: &str) -> Option<u64> {
    let parsed: serde_json::Value = serde_json::from_str(said).ok()?;
    let counters = parsed["nftables"].as_array()?.iter().filter_map(|object| object.get("counter"));
    counters.into_iter().find(|counter| counter["name"] == name)?["packets"].as_u64()
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
