//! Puts the parts together and runs them.

use crate::access::Gate;
use crate::auth::{TokenFileError, Tokens};
use crate::config::{ConfigError, HttpConfig, IntakeConfig};
use crate::detection::Detection;
use crate::export::{self, ExportConfig, ExportConfigError, ExportError};
use crate::intake::{Intake, Names};
use crate::kubernetes::{self, Connection, KubernetesConfig, KubernetesError};
use crate::live::Live;
use crate::metrics::Metrics;
use crate::networks;
use crate::serve::{Door, FIRST_TIMEOUT};
use crate::state::{AppState, TURN_TIMEOUT};
use crate::tables::{Tables, TablesError};
use crate::tls::{self, TlsError};
use crate::{api, intake};
use chrono::Utc;
use edgescope_identity::directory::{Directory, Limits};
use edgescope_identity::kubernetes::Kubernetes;
use edgescope_identity::networks::files::Files;
use edgescope_identity::networks::{NetworksConfig, NetworksError};
use edgescope_identity::rules::{Rule, RuleError, Rules};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How often the token file is looked at for changes.
const TOKENS_EVERY: Duration = Duration::from_secs(5);
/// How often names that no late data can need are forgotten.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

/// All that a server can be told.
#[derive(Debug, Clone, Default)]
pub struct ServerConfig {
    pub server: HttpConfig,
    pub intake: IntakeConfig,
    pub detectors: edgescope_detect::DetectorsConfig,
    pub export: ExportConfig,
    /// Static names for far ends that no agent owns.
    pub rules: Vec<Rule>,
    /// Names from the Kubernetes API.
    pub kubernetes: KubernetesConfig,
    /// Files that tell whose addresses outside are.
    pub networks: NetworksConfig,
}

/// Doors that are open already. What is absent is bound as configured.
#[derive(Debug, Default)]
pub struct Listeners {
    pub http: Option<TcpListener>,
    pub intake: Option<TcpListener>,
    /// The caller vouches that only its own agents reach the intake, as in a network namespace of its own making: no TLS and tokens are asked of it.
    pub intake_private: bool,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Detectors(#[from] edgescope_detect::ConfigError),
    #[error(transparent)]
    ExportConfig(#[from] ExportConfigError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Tokens(#[from] TokenFileError),
    #[error("identity.rules: {0}")]
    Rules(#[from] RuleError),
    #[error(transparent)]
    Networks(#[from] NetworksError),
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Tables(#[from] TablesError),
    #[cfg(feature = "store")]
    #[error(transparent)]
    Store(#[from] edgescope_store::StoreError),
    #[error("cannot listen on {key} {listen}: {source}{}", in_use(.source))]
    Bind { key: &'static str, listen: SocketAddr, source: io::Error },
    #[error("a listener has no address: {0}")]
    Listener(io::Error),
}

fn in_use(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::AddrInUse { "; is another edgescope running? stop it, or choose another port" } else { "" }
}

/// A running server. Dropping it stops it at once; [`Server::stop`] lets open requests end.
pub struct Server {
    pub http: SocketAddr,
    pub intake: SocketAddr,
    state: Arc<AppState>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
}

impl Server {
    /// Opens the store and starts a server over it.
    ///
    /// # Errors
    /// As [`Self::start`], or if the store cannot be opened.
    #[cfg(feature = "store")]
    pub async fn open(config: ServerConfig, store: &edgescope_store::StoreConfig, listeners: Listeners) -> Result<Self, ServerError> {
        // Whatever can be refused is refused before a directory is made.
        config.server.check(&config.intake)?;
        config.detectors.check()?;
        config.export.check()?;
        Rules::new(config.rules.clone())?;
        config.kubernetes.check()?;
        Files::read(&config.networks)?;
        drop(kubernetes::connection(&config.kubernetes).await?);
        tls::acceptor(&config.server.tls)?;
        config.server.tokens_file.as_deref().map(Tokens::read).transpose()?;
        let listeners = Listeners {
            http: Some(bound("server.listen", config.server.listen, listeners.http).await?),
            intake: Some(bound("intake.listen", config.intake.listen, listeners.intake).await?),
            ..listeners
        };
        let mut config = config;
        config.export.state_file.get_or_insert_with(|| std::path::Path::new(&store.path).join("export.json"));
        Self::start(config, crate::delta::DeltaTables::open(store).await?, listeners).await
    }

    /// Starts a server over the tables. When this returns, both doors answer.
    ///
    /// # Errors
    /// If the configuration cannot be used, a port is taken, or the tables cannot be read.
    pub async fn start(config: ServerConfig, tables: Arc<dyn Tables>, listeners: Listeners) -> Result<Self, ServerError> {
        config.server.check(&config.intake)?;
        config.detectors.check()?;
        config.kubernetes.check()?;
        let files = Files::read(&config.networks)?;
        let connection = kubernetes::connection(&config.kubernetes).await?;
        let http = bound("server.listen", config.server.listen, listeners.http).await?;
        let intake = bound("intake.listen", config.intake.listen, listeners.intake).await?;
        let (http_at, intake_at) = (http.local_addr().map_err(ServerError::Listener)?, intake.local_addr().map_err(ServerError::Listener)?);
        config.server.check_address("server.listen", http_at)?;
        if !listeners.intake_private {
            config.server.check_address("intake.listen", intake_at)?;
        }
        let insecure = open_wide(&config, http_at, intake_at, listeners.intake_private);
        let state = state(&config, tables, insecure, connection.as_ref(), &files).await?;
        let tls = tls::acceptor(&config.server.tls)?;
        let connections_max = config.server.connections_max;
        let doors = [
            Door {
                name: "http",
                listener: http,
                tls: tls.clone(),
                router: api::router(Arc::clone(&state)),
                http2_only: false,
                connections_max,
                first_timeout: FIRST_TIMEOUT,
            },
            Door {
                name: "intake",
                listener: intake,
                tls: tls.filter(|_| !listeners.intake_private),
                router: intake::service::router(Arc::clone(&state.intake), Arc::clone(&state.gate), listeners.intake_private),
                http2_only: true,
                // Every agent has one connection, and one more while it reconnects.
                connections_max: config.intake.agents_max.saturating_mul(2),
                first_timeout: FIRST_TIMEOUT,
            },
        ];
        let stop = watch::Sender::new(false);
        let mut tasks = JoinSet::new();
        for door in doors {
            tasks.spawn(door.serve(Arc::clone(&state.metrics), stop.subscribe()));
        }
        if let Some(path) = config.server.tokens_file {
            tasks.spawn(watch_tokens(path, Arc::clone(&state.gate), stop.subscribe()));
        }
        let shared = Arc::clone(&state);
        let detection = Detection::new(
            config.detectors,
            Arc::clone(&shared.tables),
            Arc::clone(&shared.metrics),
            Arc::clone(&shared.intake),
            Arc::clone(&shared.live),
        )
        .await?;
        tasks.spawn(detection.run(stop.subscribe()));
        for task in export::tasks(&config.export, &state, &stop)? {
            tasks.spawn(task);
        }
        if let Some(connection) = connection {
            tasks.spawn(connection.run(Arc::clone(&state.intake.names), stop.subscribe()));
        }
        if !files.is_empty() {
            tasks.spawn(networks::watch(files, Arc::clone(&state.intake.names), networks::EVERY, stop.subscribe()));
        }
        tasks.spawn(expire_names(Arc::clone(&state.intake), stop.subscribe()));
        Ok(Self { http: http_at, intake: intake_at, state, stop, tasks })
    }

    /// What its handlers share.
    pub fn state(&self) -> &Arc<AppState> {
        &self.state
    }

    /// Stops taking connections, lets open requests end for a moment, and returns when all is still.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while let Some(ended) = self.tasks.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a part of the server failed");
            }
        }
    }
}

/// Whether an address beyond loopback is open to all who reach it, or tokens and data travel to it in the clear.
fn open_wide(config: &ServerConfig, http: SocketAddr, intake: SocketAddr, intake_private: bool) -> bool {
    let beyond = |at: SocketAddr| !at.ip().to_canonical().is_loopback();
    let guarded = config.server.tokens_file.is_some() && config.server.tls.cert.is_some();
    config.server.insecure && !guarded && (beyond(http) || (beyond(intake) && !intake_private))
}

async fn bound(key: &'static str, listen: SocketAddr, given: Option<TcpListener>) -> Result<TcpListener, ServerError> {
    match given {
        Some(listener) => Ok(listener),
        None => TcpListener::bind(listen).await.map_err(|source| ServerError::Bind { key, listen, source }),
    }
}

/// Reads what is stored and makes what handlers share.
async fn state(
    config: &ServerConfig,
    tables: Arc<dyn Tables>,
    insecure: bool,
    connection: Option<&Connection>,
    files: &Files,
) -> Result<Arc<AppState>, ServerError> {
    let tokens = config.server.tokens_file.as_deref().map(Tokens::read).transpose()?;
    // Agents that went linger here for an hour longer than where greetings are bounded.
    let limits = Limits { agents_max: config.intake.agents_max.saturating_mul(2), ..Limits::default() };
    let cluster = Kubernetes::new(edgescope_identity::kubernetes::Limits::default(), &config.kubernetes.cluster);
    let mut directory = Directory::new(limits, Rules::new(config.rules.clone())?).with_kubernetes(cluster);
    directory.set_networks(Arc::new(files.networks()));
    let now_us = Utc::now().timestamp_micros();
    directory.restore(tables.claims(now_us - limits.linger_us).await?, now_us);
    let agents = tables.agents().await?;
    let names = Arc::new(Names::new(directory));
    // Before the first batch comes: its names wait for the first list.
    if let Some(connection) = connection {
        connection.announce(&names);
    }
    let (counting, named, clustered, listed) = (Arc::clone(&tables), Arc::clone(&names), Arc::clone(&names), Arc::clone(&names));
    let metrics = Arc::new(Metrics::new(vec![
        Box::new(move || counting.readings()),
        Box::new(move || named.readings()),
        Box::new(move || kubernetes::readings(&clustered)),
        Box::new(move || networks::readings(&listed)),
    ]));
    let gate = Gate::new(tokens, config.server.insecure, config.server.hosts.clone(), Arc::clone(&metrics));
    let intake = Intake::new(&config.intake, Arc::clone(&tables), Arc::clone(&metrics), agents, names);
    Ok(Arc::new(AppState {
        tables,
        metrics,
        gate: Arc::new(gate),
        intake: Arc::new(intake),
        live: Arc::new(Live::default()),
        scrape: export::scrape(&config.export)?,
        turns: Semaphore::new(config.server.queries_max),
        turn_timeout: TURN_TIMEOUT,
        request_timeout: Duration::from_secs(config.server.request_timeout_s),
        insecure,
        started_at: Utc::now(),
        started: Instant::now(),
    }))
}

/// Takes a changed token file; a broken one leaves the old tokens in force.
async fn watch_tokens(path: PathBuf, gate: Arc<Gate>, mut stop: watch::Receiver<bool>) {
    let mut seen = modified(&path).await;
    while !stopped_within(TOKENS_EVERY, &mut stop).await {
        let now = modified(&path).await;
        if now == seen {
            continue;
        }
        seen = now;
        let from = path.clone();
        match tokio::task::spawn_blocking(move || Tokens::read(&from)).await {
            Ok(Ok(tokens)) => {
                tracing::info!(file = %path.display(), ?tokens, "token file read again");
                gate.replace_tokens(tokens);
            }
            Ok(Err(error)) => tracing::warn!(%error, "the old tokens stay in force"),
            Err(error) => tracing::warn!(%error, "reading the token file failed; the old tokens stay in force"),
        }
    }
}

async fn modified(path: &std::path::Path) -> Option<SystemTime> {
    tokio::fs::metadata(path).await.ok().and_then(|m| m.modified().ok())
}

async fn expire_names(intake: Arc<Intake>, mut stop: watch::Receiver<bool>) {
    while !stopped_within(EXPIRE_EVERY, &mut stop).await {
        intake.names.expire(Utc::now().timestamp_micros());
    }
}

/// Waits so long, or until all stops; true if it does.
pub(crate) async fn stopped_within(time: Duration, stop: &mut watch::Receiver<bool>) -> bool {
    tokio::time::timeout(time, stop.wait_for(|&s| s)).await.is_ok()
}
