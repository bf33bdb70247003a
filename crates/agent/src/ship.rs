//! Ships what the spool holds: one batch at a time, oldest first, until the server says that it is durable.
//!
//! A session is a connection, a greeting with the whole list of endpoints, then batches. Whatever breaks it ends in a new one after a pause that doubles with every
//! failure, with jitter; a server that asks for a longer pause gets it. Name, token and certificates are read anew for every session.

use crate::backoff::Backoff;
use crate::config::AgentConfig;
use crate::metrics::{Gauge, Total};
use crate::rebase::rebase;
use crate::shared::{Placed, Shared};
use crate::spool::SpoolError;
use edgescope_identity::host;
use edgescope_model::wire::intake_client::IntakeClient;
use edgescope_model::wire::{Batch, HelloRequest, INTERVAL_S_MAX, LeaveRequest};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Request, Status};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A server may hold a batch for two intervals, waiting for names, and then commits it: half a minute for that.
const REPLY_TIMEOUT: Duration = Duration::from_secs(2 * INTERVAL_S_MAX as u64 + 30);
/// A peer that is gone without a word is noticed after these two together.
const KEEPALIVE: Duration = Duration::from_secs(10);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Replies are small: a clock, a number, at most 1,024 addresses.
const REPLY_BYTES_MAX: usize = 64 << 10;
/// Largest batch sent: what a server takes by default.
const BATCH_BYTES_MAX: usize = 8 << 20;
/// gRPC's header by which a server asks for a pause, in milliseconds.
const RETRY_HEADER: &str = "grpc-retry-pushback-ms";
/// Longest pause that a server may ask for.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error("cannot connect to {server}: {reason}")]
    Connect { server: String, reason: String },
    #[error("{key} {}: {source}", path.display())]
    File { key: &'static str, path: PathBuf, source: io::Error },
    #[error("agent.token_file {}: not a token: one line of printable ASCII is expected", .0.display())]
    Token(PathBuf),
    #[error("{}", words(status))]
    Refused { status: Box<Status> },
    #[error("the server acknowledged {committed}, asked for {sequence}")]
    NotTaken { sequence: u64, committed: u64 },
    #[error(transparent)]
    Spool(#[from] SpoolError),
}

/// What became of a call: the server's own word, or why none came.
fn words(status: &Status) -> String {
    use std::error::Error;
    let message = status.message();
    match status.code() {
        Code::Unauthenticated | Code::PermissionDenied => format!("the server says: {message} (check agent.token_file)"),
        // What a server of web pages answers is no gRPC.
        Code::Unimplemented => no_intake(message),
        Code::Internal if message.contains("compression flag") => no_intake(message),
        _ => match status.source() {
            Some(cause) => format!("the connection broke: {} (if the server wants TLS, agent.server begins with https://)", reasons(cause)),
            None => format!("the server says: {message}"),
        },
    }
}

fn no_intake(message: &str) -> String {
    format!("no intake answers there: {message} (its port is 8101 by default, intake.listen; 8100 is that for people)")
}

impl From<Status> for SessionError {
    fn from(status: Status) -> Self {
        Self::Refused { status: Box::new(status) }
    }
}

/// What does not change in an agent's greeting.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    pub boot_id: String,
    pub kernel: String,
    pub hooks: Vec<String>,
}

impl Identity {
    /// Reads the node's facts; `hooks` come from the source.
    pub fn read(hooks: Vec<String>) -> Self {
        let or_empty = |read: io::Result<String>| read.unwrap_or_default();
        Self { boot_id: or_empty(host::boot_id()), kernel: or_empty(host::kernel()), hooks }
    }
}

/// Ships until dropped.
#[derive(Clone)]
pub struct Shipper {
    config: AgentConfig,
    identity: Identity,
    shared: Arc<Shared>,
}

type Client = IntakeClient<tonic::service::interceptor::InterceptedService<Channel, Credentials>>;

impl Shipper {
    pub fn new(config: AgentConfig, identity: Identity, shared: Arc<Shared>) -> Self {
        Self { config, identity, shared }
    }

    /// Session after session; ends only by being dropped.
    pub async fn run(self) {
        let mut backoff = Backoff::default();
        let mut said = None;
        loop {
            let ended = self.session(&mut backoff, &mut said).await;
            self.shared.metrics.set(Gauge::Connected, 0);
            self.shared.metrics.add(Total::ConnectionsFailed, 1);
            let Err(error) = ended;
            let pause = backoff.next().max(asked_pause(&error));
            let text = error.to_string();
            // Once a reason, however long it lasts.
            if said.as_ref() != Some(&text) {
                tracing::warn!(server = self.config.server, error = text, "no connection to the server: batches wait in the spool");
                said = Some(text);
            }
            tokio::time::sleep(pause).await;
        }
    }

    /// Tells the server that this agent ends, for `patience` at most. Who does not hear it misses the agent for a day, and is right to.
    pub async fn leave(&self, patience: Duration) {
        let request = LeaveRequest { agent_id: self.config.id.clone(), boot_id: self.identity.boot_id.clone() };
        let said = async {
            let mut client = self.connect().await?;
            // It may be another server than the last one, or one that was started since.
            self.hello(&mut client).await?;
            Ok::<_, SessionError>(client.leave(request).await?)
        };
        match tokio::time::timeout(patience, said).await {
            Ok(Ok(_)) => tracing::info!("the server knows that this agent ends"),
            Ok(Err(error)) => tracing::warn!(%error, "the server does not know that this agent ends: it will be missed"),
            Err(_) => tracing::warn!(?patience, "no answer: the server may not know that this agent ends, and miss it"),
        }
    }

    async fn session(&self, backoff: &mut Backoff, said: &mut Option<String>) -> Result<std::convert::Infallible, SessionError> {
        let mut client = self.connect().await?;
        self.hello(&mut client).await?;
        self.shared.metrics.add(Total::Connections, 1);
        self.shared.metrics.set(Gauge::Connected, 1);
        tracing::info!(server = self.config.server, offset_us = self.shared.clock_offset_us(), "connected");
        (*said, *backoff) = (None, Backoff::default());
        loop {
            let ready = self.shared.ready.notified();
            if self.shared.takes_greeting() {
                self.hello(&mut client).await?;
            }
            match self.next().await? {
                None => ready.await,
                Some(batch) => self.ship(&mut client, batch, backoff).await?,
            }
        }
    }

    async fn connect(&self) -> Result<Client, SessionError> {
        let failed = |reason: String| SessionError::Connect { server: self.config.server.clone(), reason };
        let mut endpoint = Endpoint::from_shared(self.config.server.clone())
            .map_err(|e| failed(e.to_string()))?
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REPLY_TIMEOUT)
            .http2_keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .tcp_nodelay(true);
        if self.config.server.starts_with("https://") {
            endpoint = endpoint.tls_config(self.tls()?).map_err(|e| failed(reasons(&e)))?;
        }
        let channel = endpoint.connect().await.map_err(|e| failed(reasons(&e)))?;
        let client = IntakeClient::with_interceptor(channel, self.credentials()?);
        Ok(client.send_compressed(CompressionEncoding::Zstd).max_decoding_message_size(REPLY_BYTES_MAX).max_encoding_message_size(BATCH_BYTES_MAX))
    }

    fn tls(&self) -> Result<ClientTlsConfig, SessionError> {
        let Some(path) = &self.config.ca_file else {
            return Ok(ClientTlsConfig::new().with_native_roots());
        };
        let pem = std::fs::read(path).map_err(|source| SessionError::File { key: "agent.ca_file", path: path.clone(), source })?;
        Ok(ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem)))
    }

    fn credentials(&self) -> Result<Credentials, SessionError> {
        let Some(path) = &self.config.token_file else { return Ok(Credentials(None)) };
        let token = std::fs::read_to_string(path).map_err(|source| SessionError::File { key: "agent.token_file", path: path.clone(), source })?;
        let mut value: MetadataValue<Ascii> = format!("Bearer {}", token.trim()).parse().map_err(|_| SessionError::Token(path.clone()))?;
        value.set_sensitive(true);
        Ok(Credentials(Some(value)))
    }

    /// Says who this is and what it owns, learns what the server has and what time it is.
    async fn hello(&self, client: &mut Client) -> Result<(), SessionError> {
        // What comes from now on is not in this greeting.
        self.shared.takes_greeting();
        let (facts, Placed { place, cloud }) = (self.shared.facts(), self.shared.placed());
        let mut hooks = self.identity.hooks.clone();
        hooks.extend((!cloud.is_empty()).then(|| format!("place: told by {cloud}")));
        let (sent_us, sent_wall_us) = (self.shared.clock.now_us(), self.shared.clock.wall_us());
        let request = HelloRequest {
            agent_id: self.config.id.clone(),
            boot_id: self.identity.boot_id.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: self.identity.kernel.clone(),
            node: place.node,
            zone: place.zone,
            region: place.region,
            environment: place.environment,
            interval_ms: u32::try_from(self.config.interval.as_millis()).unwrap_or(u32::MAX),
            hooks,
            owners: facts.owners,
            endpoints: facts.endpoints,
            scope: self.config.scope.to_string(),
            last_sequence: self.shared.spool().last_sequence(),
            clock_offset_us: self.shared.clock_offset_us(),
            sent_us: sent_wall_us,
        };
        let reply = client.hello(request).await?.into_inner();
        self.shared.exchange(sent_us, reply.clock.as_ref(), self.shared.clock.now_us());
        self.shared.set_split(&reply.split_addresses);
        self.with_spool(move |shared| shared.spool().contact(reply.committed_sequence)).await?;
        self.shared.show_spool();
        self.shared.met.notify_waiters();
        Ok(())
    }

    async fn next(&self) -> Result<Option<Batch>, SessionError> {
        Ok(self.with_spool(|shared| shared.spool().oldest()).await?)
    }

    /// Sends one batch until it is taken, or refused for good; or fails, to begin a new session.
    async fn ship(&self, client: &mut Client, mut batch: Batch, backoff: &mut Backoff) -> Result<(), SessionError> {
        let sequence = batch.sequence;
        batch.agent_id.clone_from(&self.config.id);
        batch.boot_id.clone_from(&self.identity.boot_id);
        let interval_us = i64::try_from(self.config.interval.as_micros()).unwrap_or(i64::MAX);
        rebase(&mut batch, self.shared.correction_us(), self.shared.clock_offset_us(), interval_us);
        loop {
            let sent_us = self.shared.clock.now_us();
            // By the clock against which the batch tells its offset: the server adds the two.
            batch.sent_us = self.shared.clock.wall_us();
            match client.ship(Request::new(batch.clone())).await {
                Ok(reply) => {
                    let ack = reply.into_inner();
                    self.shared.exchange(sent_us, ack.clock.as_ref(), self.shared.clock.now_us());
                    self.shared.set_split(&ack.split_addresses);
                    if ack.committed_sequence < sequence {
                        return Err(SessionError::NotTaken { sequence, committed: ack.committed_sequence });
                    }
                    self.shared.metrics.add(Total::BatchesShipped, 1);
                    *backoff = Backoff::default();
                    return self.done(ack.committed_sequence).await;
                }
                Err(status) if is_final(&status) => {
                    tracing::error!(sequence, reason = status.message(), "the server refuses this batch for good: given up");
                    self.shared.metrics.add(Total::BatchesRefused, 1);
                    self.shared.metrics.lost("batches_refused", 1);
                    return self.done(sequence).await;
                }
                Err(status) => {
                    self.shared.metrics.add(Total::ShipRetries, 1);
                    let asked = pushback(&status).ok_or(status)?;
                    tokio::time::sleep(asked.max(backoff.next())).await;
                }
            }
        }
    }

    async fn done(&self, sequence: u64) -> Result<(), SessionError> {
        self.with_spool(move |shared| {
            shared.spool().acknowledge(sequence);
            Ok(())
        })
        .await?;
        self.shared.show_spool();
        self.shared.shipped.notify_waiters();
        Ok(())
    }

    /// Works on the spool's files away from the runtime's own threads.
    async fn with_spool<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> Result<T, SpoolError> + Send + 'static) -> Result<T, SpoolError> {
        let shared = Arc::clone(&self.shared);
        match tokio::task::spawn_blocking(move || work(&shared)).await {
            Ok(done) => done,
            Err(failed) => std::panic::resume_unwind(failed.into_panic()),
        }
    }
}

/// Sending it again would not help: it makes no sense to the server, or is too large for it.
fn is_final(status: &Status) -> bool {
    matches!(status.code(), Code::InvalidArgument | Code::OutOfRange)
}

fn pushback(status: &Status) -> Option<Duration> {
    let ms: u64 = status.metadata().get(RETRY_HEADER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_millis(ms).min(RETRY_MAX))
}

fn asked_pause(error: &SessionError) -> Duration {
    match error {
        SessionError::Refused { status } => pushback(status).unwrap_or_default(),
        _ => Duration::ZERO,
    }
}

/// An error with all that caused it: the outermost alone says only "transport error".
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}

#[cfg(test)]
#[path = "ship_tests.rs"]
mod tests;

/// Puts the token into every call.
#[derive(Clone)]
struct Credentials(Option<MetadataValue<Ascii>>);

impl tonic::service::Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}
