//! Starts the testbed's processes: writes each one's config file, starts it in its namespace, waits until it is ready.

use crate::child::{self, Process};
use crate::effect::{Behaviour, Endpoint};
use crate::netns;
use crate::relay::{RelayCommand, RelayConfig, RelayCounters, RelayEndpoint};
use crate::run::RunDir;
use crate::service::{CallConfig, ServiceConfig};
use crate::testbed::{Options, TestbedError};
use crate::topology::{DNS_PORT, MGMT_IPV4, MGMT_IPV6, Pod, Topology, ZONE_DELAY_US};
use crate::wire::{Names, RELAY_DEVICE};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

/// Processes that start at once; more only wait for each other's processor.
const STARTERS: usize = 4;

pub(crate) fn control_socket(dir: &Path, pod: &str) -> PathBuf {
    dir.join("control").join(pod)
}

pub(crate) fn witness_file(dir: &Path, pod: &str, generation: u32) -> PathBuf {
    dir.join("witness").join(format!("{pod}.{generation}.json"))
}

pub(crate) fn relay_socket(dir: &Path) -> PathBuf {
    dir.join("control/relay")
}

pub(crate) fn keeper(command: &[OsString], run: &RunDir) -> Result<Process, TestbedError> {
    // Its log is outside of the directory that it deletes.
    start(command, child::KEEPER, run.id.as_ref(), None, Path::new("/dev/null"), "keeper")
}

fn start(
    command: &[OsString],
    kind: &str,
    argument: &std::ffi::OsStr,
    netns: Option<&Path>,
    log: &Path,
    what: &str,
) -> Result<Process, TestbedError> {
    let whole: Vec<OsString> = command.iter().cloned().chain([kind.into(), argument.into()]).collect();
    Process::start(&whole, netns, log).map_err(|source| TestbedError::Start { what: what.to_string(), source })
}

fn write_config(dir: &Path, name: &str, config: &impl serde::Serialize) -> Result<PathBuf, TestbedError> {
    let path = dir.join("config").join(format!("{name}.json"));
    let failed = |source| TestbedError::Write { path: path.clone(), source };
    let text = serde_json::to_vec_pretty(config).map_err(|e| failed(e.into()))?;
    std::fs::write(&path, text).map_err(failed)?;
    Ok(path)
}

/// Starts services, each in its namespace, several at a time.
pub(crate) fn services(command: &[OsString], configs: &[ServiceConfig], netns: &[PathBuf], dir: &Path) -> Result<Vec<Process>, TestbedError> {
    let started: Vec<Mutex<Option<Result<Process, TestbedError>>>> = configs.iter().map(|_| Mutex::new(None)).collect();
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..STARTERS.min(configs.len()) {
            scope.spawn(|| {
                while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < configs.len()) {
                    let process = service(command, &configs[index], &netns[index], dir);
                    *started[index].lock().unwrap_or_else(|e| e.into_inner()) = Some(process);
                }
            });
        }
    });
    let outcome = |slot: Mutex<Option<_>>| slot.into_inner().unwrap_or_else(|e| e.into_inner()).expect("every index was visited");
    started.into_iter().map(outcome).collect()
}

fn service(command: &[OsString], config: &ServiceConfig, netns: &Path, dir: &Path) -> Result<Process, TestbedError> {
    let file = write_config(dir, &config.pod, config)?;
    let log = dir.join("log").join(format!("{}.{}.log", config.pod, config.generation));
    start(command, child::SERVICE, file.as_os_str(), Some(netns), &log, &config.pod)
}

pub(crate) fn service_config(topology: &Topology, pod: usize, generation: u32, behaviour: Behaviour, options: &Options, dir: &Path) -> ServiceConfig {
    let place = &topology.pods[pod];
    // A resolver is in the spec by itself: it neither thinks nor calls.
    let spec = topology.spec.service(&place.workload);
    let host = |service: &str| format!("{service}.{}.svc", topology.spec.namespace);
    let records = || {
        topology.pods.iter().filter(|p| p.port.is_some() && !p.is_resolver).fold(BTreeMap::new(), |mut records: BTreeMap<_, Vec<IpAddr>>, p| {
            records.entry(host(&p.workload)).or_default().extend([IpAddr::from(p.ipv4), p.ipv6.into()]);
            records
        })
    };
    // As with the calls, a third asks over IPv6.
    let resolver = |(_, p): (usize, &Pod)| SocketAddr::new(if pod % 3 == 2 { p.ipv6.into() } else { p.ipv4.into() }, DNS_PORT);
    let call = |row: &crate::topology::Call| CallConfig {
        target: row.to.clone(),
        host: host(&row.to),
        port: row.port,
        replicas: topology.replicas(&row.to).map(|(_, p)| if row.ipv6 { p.ipv6.into() } else { p.ipv4.into() }).collect(),
        probability: row.probability,
        request_bytes: row.request_bytes,
        connect_timeout_ms: row.connect_timeout_ms,
    };
    let service = topology.spec.services.iter().position(|s| s.name == place.workload).unwrap_or(0);
    ServiceConfig {
        pod: place.name.clone(),
        workload: place.workload.clone(),
        generation,
        listen: place.port,
        listen_dual: service % 2 == 0,
        think_us: spec.map_or(0, |s| s.think_us),
        response_bytes: spec.map_or(0, |s| s.response_bytes),
        resolvers: topology.resolvers().map(resolver).collect(),
        records: place.is_resolver.then(records),
        calls: topology.calls.iter().filter(|c| c.from == place.workload).map(call).collect(),
        rate_per_s: topology.spec.rate_per_s / topology.pods.iter().filter(|p| p.port.is_none()).count().max(1) as f64,
        behaviour,
        control: control_socket(dir, &place.name),
        witness: witness_file(dir, &place.name, generation),
        // Every process of a run throws its own dice.
        seed: options.seed ^ ((pod as u64 + 1) << 32) ^ u64::from(generation),
    }
}

/// The relay's endpoints are the pods, then the nodes, then management, which counts as a zone of its own.
pub(crate) fn relay_config(topology: &Topology, names: &Names, dir: &Path) -> RelayConfig {
    let group = |zone: usize| Endpoint::try_from(zone).expect("a checked spec has at most 200 zones");
    let pods = topology.pods.iter().map(|p| (Some(p.node), RelayEndpoint { ips: vec![p.ipv4.into(), p.ipv6.into()], group: group(p.zone) }));
    let nodes = topology.nodes.iter().enumerate();
    let nodes = nodes.map(|(n, node)| (Some(n), RelayEndpoint { ips: vec![node.ipv4.into(), node.ipv6.into()], group: group(node.zone) }));
    let mgmt = RelayEndpoint { ips: vec![MGMT_IPV4.into(), MGMT_IPV6.into()], group: group(topology.spec.zones.len()) };
    let (places, endpoints): (Vec<Option<usize>>, Vec<RelayEndpoint>) = pods.chain(nodes).chain([(None, mgmt)]).unzip();
    let delay = |from: &Option<usize>, to: &Option<usize>| match (from, to) {
        (Some(from), Some(to)) => topology.delay_us(*from, *to),
        _ => ZONE_DELAY_US,
    };
    RelayConfig {
        netns: (0..topology.spec.zones.len()).map(|z| netns::path_of(&names.zone(topology, z))).collect(),
        device: RELAY_DEVICE.to_string(),
        delays_us: places.iter().map(|from| places.iter().map(|to| delay(from, to)).collect()).collect(),
        endpoints,
        control: relay_socket(dir),
    }
}

/// Real-time priority of the relay: above all ordinary processes, below the kernel's own threads.
const RELAY_PRIORITY: &str = "10";

/// Starts the relay, at real-time priority if the machine allows it; says whether it does.
pub(crate) fn relay(command: &[OsString], config: &RelayConfig, dir: &Path) -> Result<(Process, bool), TestbedError> {
    let file = write_config(dir, "relay", config)?;
    let realtime = netns::tool("chrt", &["-f", RELAY_PRIORITY, "true"], "").is_ok();
    let prefix: &[&str] = if realtime { &["chrt", "-f", RELAY_PRIORITY] } else { &[] };
    let whole: Vec<OsString> = prefix.iter().map(OsString::from).chain(command.iter().cloned()).collect();
    let process = start(&whole, child::RELAY, file.as_os_str(), None, &dir.join("log/relay.log"), "relay")?;
    Ok((process, realtime))
}

/// The relay answers within milliseconds unless the machine stands still.
const RELAY_TIMEOUT: Duration = Duration::from_secs(10);

/// Counters of a 200-pod company are far below this.
const RELAY_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// Sends the relay a command; its answer is what it counted before it obeyed.
pub(crate) fn ask_relay(dir: &Path, command: &RelayCommand) -> Result<RelayCounters, TestbedError> {
    static QUESTIONS: AtomicU64 = AtomicU64::new(0);
    let own = dir.join(format!("control/ask-{}", QUESTIONS.fetch_add(1, Ordering::Relaxed)));
    let asked = || -> io::Result<RelayCounters> {
        let socket = UnixDatagram::bind(&own)?;
        socket.set_read_timeout(Some(RELAY_TIMEOUT))?;
        socket.send_to(&serde_json::to_vec(command)?, relay_socket(dir))?;
        let mut answer = vec![0; RELAY_ANSWER_BYTES_MAX];
        let length = socket.recv(&mut answer)?;
        let wrong = |e| io::Error::new(io::ErrorKind::InvalidData, format!("{e}, in the answer {:?}", String::from_utf8_lossy(&answer[..length])));
        serde_json::from_slice(&answer[..length]).map_err(wrong)
    };
    let answer = asked();
    // A leftover socket file harms nobody and goes with the directory.
    let _ = std::fs::remove_file(&own);
    answer.map_err(|source| TestbedError::Ask { what: "relay".to_string(), source })
}
