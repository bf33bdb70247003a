//! One replica of one workload: a process in its own network namespace that serves HTTP/1.1, calls others, and counts at its
//! sockets what it really did. Those counts are the witness that a product's numbers are held against.

pub mod client;
pub mod control;
pub mod counters;
mod load;
mod names;
mod resolver;
mod server;
mod stream;

pub use stream::CONGESTION_CONTROL;

use crate::effect::Behaviour;
use counters::Ledger;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

/// What a replica is told at its start, as a JSON file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceConfig {
    pub pod: String,
    pub workload: String,
    /// How often this pod was started before: a crashed pod comes back as the next generation.
    pub generation: u32,
    /// Absent for a load generator.
    pub listen: Option<u16>,
    /// One socket for both families (IPv4 peers appear as `::ffff:a.b.c.d`), else one each: real services do either.
    pub listen_dual: bool,
    pub think_us: u32,
    pub response_bytes: u32,
    /// Who is asked for addresses.
    pub resolvers: Vec<SocketAddr>,
    /// Of a resolver: addresses by name.
    pub records: Option<BTreeMap<String, Vec<IpAddr>>>,
    /// Made in this order for each request.
    pub calls: Vec<CallConfig>,
    /// Requests per second that a load generator makes of its own accord.
    pub rate_per_s: f64,
    pub behaviour: Behaviour,
    /// Unix socket for [`control::Command`]s.
    pub control: PathBuf,
    /// Where the last counters are written when the process ends.
    pub witness: PathBuf,
    pub seed: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallConfig {
    pub target: String,
    /// Its name in DNS.
    pub host: String,
    pub port: u16,
    /// All there are. A client picks one at random of those that DNS tells, whatever its zone.
    pub replicas: Vec<IpAddr>,
    pub probability: f64,
    pub request_bytes: u32,
    pub connect_timeout_ms: u32,
}

/// What all tasks of the process share. One thread runs them, so that locks are never waited for.
pub(crate) struct Shared {
    pub config: ServiceConfig,
    pub ledger: Arc<Ledger>,
    behaviour: Mutex<Behaviour>,
    /// Handles of the listening sockets, by which a slow reader's future connections get their buffer.
    listeners: Vec<OwnedFd>,
    rng: Mutex<StdRng>,
    draining: AtomicBool,
}

impl Shared {
    pub fn behaviour(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Behave so from now on.
    pub fn behave(&self, behaviour: Behaviour) -> io::Result<()> {
        let mut current = self.behaviour();
        if behaviour.read_bytes_per_s.is_some() != current.read_bytes_per_s.is_some() {
            for listener in &self.listeners {
                stream::size_buffer(listener, behaviour.read_bytes_per_s.is_some())?;
            }
        }
        *current = behaviour;
        Ok(())
    }

    /// A number from 0 to below 1.
    pub fn dice(&self) -> f64 {
        self.rng.lock().unwrap_or_else(|e| e.into_inner()).random()
    }

    /// A size around `mean`, from half to one and a half of it.
    pub fn size(&self, mean: u32) -> usize {
        (f64::from(mean) * (0.5 + self.dice())) as usize
    }

    /// Exponentially distributed with mean `mean_s`.
    pub fn exponential(&self, mean_s: f64) -> Duration {
        // 1 - dice is above 0, so that the logarithm is finite.
        Duration::from_secs_f64(-mean_s * (1.0 - self.dice()).ln())
    }

    /// After a drain nothing new is asked and idle connections are closed.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug, thiserror::Error)]
#[error("{pod} cannot {what}: {source}")]
pub struct ServiceError {
    pod: String,
    what: &'static str,
    source: io::Error,
}

/// Serves, calls and counts until told to stop or until standard input ends, that is until the testbed's process does.
///
/// # Errors
/// When the service cannot listen, on its port or for commands.
pub fn run(config: ServiceConfig) -> Result<(), ServiceError> {
    let pod = config.pod.clone();
    let failed = |what| {
        let pod = pod.clone();
        move |source| ServiceError { pod, what, source }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed("start"))?;
    runtime.block_on(async {
        let listeners = server::listeners(&config).map_err(failed("listen on its port"))?;
        let handles = listeners.iter().map(|l| l.as_fd().try_clone_to_owned()).collect::<io::Result<_>>();
        let shared = Arc::new(Shared {
            listeners: handles.map_err(failed("listen on its port"))?,
            ledger: Arc::new(Ledger::new(&config)),
            behaviour: Mutex::default(),
            rng: Mutex::new(StdRng::seed_from_u64(config.seed)),
            draining: AtomicBool::new(false),
            config,
        });
        shared.behave(shared.config.behaviour.clone()).map_err(failed("behave as told"))?;
        let resolver = resolver::socket(&shared).await.map_err(failed("listen for questions"))?;
        let client = Arc::new(client::Client::new(shared.clone()).map_err(failed("name what it calls"))?);
        for listener in listeners {
            tokio::spawn(server::serve(listener, shared.clone(), client.clone()));
        }
        if let Some(socket) = resolver {
            tokio::spawn(resolver::serve(socket, shared.clone()));
        }
        client.learn_names().await;
        if shared.config.listen.is_none() {
            tokio::spawn(load::generate(shared.clone(), client.clone()));
        }
        let lifeline = control::lifeline().map_err(failed("watch its standard input"))?;
        let commands = control::listen(&shared.config.control).map_err(failed("listen for commands"))?;
        crate::child::say_ready();
        tokio::select! {
            () = lifeline => {}
            () = control::obey(commands, shared.clone(), client) => {}
        }
        shared.ledger.write_final().map_err(failed("write its last counters"))
    })
}
