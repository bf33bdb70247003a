//! Runs an agent: a reader on window boundaries in server time, and a shipper beside it.

use crate::clock::{LocalClock, window_start_us};
use crate::cloud::{self, Cloud, CloudConfig};
use crate::config::{AgentConfig, ConfigError};
use crate::metrics::{Gauge, Metrics, Total};
use crate::naming::Naming;
use crate::observer::{Observer, Returned, WindowError};
use crate::rebase::UNKNOWN_OFFSET_US;
use crate::runtimes::{Asker, Desk, RuntimesConfig};
use crate::shared::{Placed, Shared};
use crate::ship::{Identity, Shipper};
use crate::source::{KernelSource, Source};
use crate::spool::{Spool, SpoolError};
use edgescope_identity::directory::Span;
use edgescope_identity::host;
use edgescope_identity::local::{Namer, Place};
use edgescope_identity::rules::Rules;
use edgescope_probe::{Probe, ProbeError, RemoveReport};
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// How long a start waits for the server's clock before it goes by its own.
const MEET_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an end waits for the server to take the last windows, and then as long for it to hear of the end: whoever stops agents waits for them.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// How often new namespaces are looked for.
const REFRESH: Duration = Duration::from_secs(1);
/// A window read later than this after its end is counted.
const LATE_US: i64 = 1_000_000;

/// Why an agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Probe(#[from] ProbeError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error("cannot begin: {0}")]
    Begin(#[from] WindowError),
    #[error("agent.metrics_listen {address}: {source}: give another port")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("cannot read this host's name: {0}")]
    Hostname(std::io::Error),
    /// Whoever keeps the agent running starts it again; the kernel counts on meanwhile.
    #[error("a part of the agent has died: {0}")]
    Died(String),
}

/// Runs an agent on this node's kernel until `shutdown` completes. What the kernel counts after that is told by the next run, if `agent.pin` is set.
///
/// # Errors
/// Says what is missing and what to do about it, if the agent cannot begin. Once it runs, what fails is retried and counted.
pub async fn run(config: AgentConfig, metrics: Arc<Metrics>, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    let config = config.completed(&host::hostname().map_err(AgentError::Hostname)?)?;
    let loading = config.clone();
    let (source, marked) = blocking(move || KernelSource::load(&loading)).await?;
    tracing::info!(agent = config.id, scope = %config.scope, ?marked, "kernel side loaded");
    metrics.lost("namespaces_unreached", marked.failed.len() as u64);
    metrics.lost("sockets_without_rtt", marked.without_rtt);
    run_source(config, source, metrics, shutdown).await
}

/// Runs an agent on any source of readings.
///
/// # Errors
/// As [`run`].
pub async fn run_source(
    config: AgentConfig,
    source: impl Source,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), AgentError> {
    let config = config.completed(&host::hostname().map_err(AgentError::Hostname)?)?;
    for hook in source.hooks() {
        tracing::info!(hook, "hook");
    }
    let (spool, stored) = Spool::open(&config.state_dir.join(&config.id), config.spool_limits())?;
    let spool = Arc::new(Mutex::new(spool));
    let clock = LocalClock::new(config.clock_skew.saturating_mul(1_000));
    let shared = Arc::new(Shared::new(clock, Arc::clone(&spool), Arc::clone(&metrics)));
    if let Some(stored) = stored.as_ref().filter(|stored| stored.clock_offset_us != UNKNOWN_OFFSET_US) {
        shared.assume_offset(stored.clock_offset_us);
    }
    shared.set_place(Placed { place: config.place(), cloud: "" });
    let page = match config.metrics_listen {
        Some(address) => Some(TcpListener::bind(address).await.map_err(|source| AgentError::Listen { address, source })?),
        None => None,
    };
    let mut beside = JoinSet::new();
    let desk = (config.runtimes != RuntimesConfig::Off).then(|| {
        let (desk, questions) = Desk::new();
        beside.spawn(Asker::new(&config.runtimes, Arc::clone(&metrics)).serve(Arc::clone(&desk), questions));
        desk
    });
    let namer = Namer::new(Rules::new(config.rules.clone()).map_err(ConfigError::from)?, config.place());
    let naming = Naming::new(namer, config.scope.is_part()).with_desk(desk);
    let interval_us = i64::try_from(config.interval.as_micros()).unwrap_or(i64::MAX);
    let counted = Arc::clone(&metrics);
    let (now, idle_windows) = (span_of(shared.server_now_us(), interval_us), config.limits.idle_windows);
    let observer = blocking(move || Observer::start(source, spool, stored, naming, idle_windows, metrics, now)).await?;
    tell_return(observer.returned(), shared.server_now_us());
    shared.set_facts(observer.facts());
    shared.show_spool();
    let (config_place, config_cloud) = (config.place(), config.cloud);
    let shipper = Shipper::new(config, Identity::read(observer.hooks()), Arc::clone(&shared));
    beside.spawn(shipper.clone().run());
    if let Some(cloud) = wanted_cloud(&config_place, config_cloud) {
        beside.spawn(follow_cloud(cloud, Arc::clone(&shared)));
    }
    if let Some(listener) = page {
        beside.spawn(crate::page::serve(listener, counted));
    }
    let work = async {
        observe(observer, Arc::clone(&shared), interval_us, shutdown).await;
        if shared.metrics.gauge(Gauge::Connected) > 0 && tokio::time::timeout(END_TIMEOUT, all_shipped(&shared)).await.is_err() {
            tracing::warn!("batches wait in the spool: the next run ships them");
        }
    };
    let died = with_all_alive(work, &mut beside).await;
    beside.shutdown().await;
    if died.is_none() && shared.has_met() {
        shipper.leave(END_TIMEOUT).await;
    }
    // Work on files that was handed to other threads may still be under way: the next agent must not find it there.
    shared.spool().close();
    died.map_or(Ok(()), |why| Err(AgentError::Died(why)))
}

/// The cloud to ask, if it could add anything to what the configuration says.
fn wanted_cloud(configured: &Place, config: CloudConfig) -> Option<Cloud> {
    let is_open = configured.zone.is_empty() || configured.region.is_empty();
    config.chosen(Path::new("/")).filter(|_| is_open)
}

/// Puts the node where its cloud says. Windows that end before it answers go without; it never ends, as all beside the work.
async fn follow_cloud(cloud: Cloud, shared: Arc<Shared>) {
    let told = cloud::find(cloud, &shared.metrics).await;
    let place = cloud::place(&shared.placed().place, &told);
    shared.set_place(Placed { place, cloud: cloud.as_str() });
    std::future::pending().await
}

/// Until the spool is empty.
async fn all_shipped(shared: &Shared) {
    loop {
        let shipped = shared.shipped.notified();
        if shared.spool().waiting() == 0 {
            return;
        }
        shipped.await;
    }
}

/// Does the work to its end, unless something beside it ends first, which never should: then says why it did.
async fn with_all_alive(work: impl Future<Output = ()>, beside: &mut JoinSet<()>) -> Option<String> {
    tokio::select! {
        () = work => None,
        Some(ended) = beside.join_next() => Some(ended.err().map_or_else(|| "it ended".to_owned(), |error| error.to_string())),
    }
}

/// Removes what an agent of this id has left in the kernel; an empty id is that of an agent which was given none.
///
/// # Errors
/// If it runs, or the kernel refuses.
pub fn remove(id: &str) -> Result<RemoveReport, ProbeError> {
    if !id.is_empty() {
        return Probe::remove(id);
    }
    let hostname = host::hostname().map_err(|source| ProbeError::Read { path: "/proc/sys/kernel/hostname".into(), source })?;
    Probe::remove(&hostname)
}

/// Window after window, each at its end in server time, until `shutdown` completes; a window that is being told is told to its end.
async fn observe(mut observer: Observer<impl Source>, shared: Arc<Shared>, interval_us: i64, shutdown: impl Future<Output = ()>) {
    tokio::pin!(shutdown);
    let met = shared.met.notified();
    if !shared.has_met() {
        tokio::select! {
            () = &mut shutdown => return,
            met = tokio::time::timeout(MEET_TIMEOUT, met) => {
                if met.is_err() {
                    tracing::warn!("no server has answered yet: windows go by this node's own clock");
                }
            }
        }
    }
    loop {
        let window = span_of(shared.server_now_us(), interval_us);
        while let Some(left) = micros_until(shared.server_now_us(), window) {
            tokio::select! {
                () = &mut shutdown => return,
                () = tokio::time::sleep(left.min(REFRESH)) => {}
            }
            observer = blocking(move || {
                observer.refresh(window);
                observer
            })
            .await;
        }
        let late_us = shared.server_now_us() - window.to_us;
        if late_us > LATE_US {
            tracing::debug!(late_us, "read late");
            shared.metrics.add(Total::WindowsLate, 1);
        }
        let offset_us = shared.clock_offset_known_us().unwrap_or(UNKNOWN_OFFSET_US);
        let (split, place) = (shared.split(), shared.placed().place);
        let (returned, told) = blocking(move || {
            observer.split(&split);
            observer.set_place(place);
            let told = observer.window(window, offset_us);
            (observer, told)
        })
        .await;
        observer = returned;
        match told {
            Ok(()) => {
                shared.set_facts(observer.facts());
                shared.show_spool();
                shared.ready.notify_one();
            }
            Err(error) => {
                tracing::error!(%error, "this window could not be told: the next one tells both");
                shared.metrics.add(Total::WindowsFailed, 1);
                shared.metrics.lost("windows_failed", 1);
            }
        }
    }
}

/// The window that holds a moment.
fn span_of(at_us: i64, interval_us: i64) -> Span {
    let from_us = window_start_us(at_us, interval_us);
    Span { from_us, to_us: from_us + interval_us }
}

/// Time until a window's end; `None` if it is over, or if the clock was set back so far that waiting for it makes no sense.
fn micros_until(now_us: i64, window: Span) -> Option<Duration> {
    let left_us = window.to_us - now_us;
    let sensible = left_us <= 2 * (window.to_us - window.from_us);
    (left_us > 0 && sensible).then(|| Duration::from_micros(left_us.unsigned_abs()))
}

fn tell_return(returned: &Returned, now_us: i64) {
    let Some(told_until_us) = returned.told_until_us else {
        if returned.baseline_lost {
            tracing::warn!("the kernel's counters are older than this agent's state: what they counted before this start is left out");
        }
        return;
    };
    let away_s = (now_us - told_until_us) / 1_000_000;
    if returned.counted_on {
        tracing::info!(away_s, "back: the kernel counted on meanwhile, nothing is missed");
    } else {
        tracing::warn!(away_s, "back: the kernel did not count meanwhile, what happened in between is missed");
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(failed) => std::panic::resume_unwind(failed.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_dies_beside_the_work_is_noticed() {
        let mut beside = JoinSet::new();
        assert_eq!(with_all_alive(std::future::ready(()), &mut beside).await, None);
        beside.spawn(std::future::pending());
        beside.spawn(async { panic!("out of paper") });
        let why = with_all_alive(std::future::pending(), &mut beside).await.unwrap();
        assert!(why.contains("panicked") && why.contains("out of paper"), "{why}");
    }
}
