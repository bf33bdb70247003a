//! Names of containers, from those who run them: CRI, Docker, Podman, containerd, and what Nomad and ECS tell their tasks.
//!
//! In go containers that sockets were found in, by the paths of their cgroups ([`Desk::ask`]); out come their names ([`Desk::names`]). Each is asked for once,
//! beside the reading of windows, of whom its path points to; answers are bounded in bytes and time. Whoever does not answer is left alone for a while, said once and
//! counted; meanwhile containers keep the names of their units or processes. Nothing is ever asked that changes anything.

mod config;
mod containerd;
mod cri;
mod desk;
mod docker;
#[cfg(test)]
mod fake;
mod grpc;
mod presence;
mod tasks;
#[cfg(test)]
mod tests;

pub use config::{Chosen, Runtime, RuntimesConfig, RuntimesError};
pub use desk::{Answer, CONTAINERS_MAX, Desk};
pub use presence::{Presence, present};

use crate::http::HttpError;
use crate::metrics::{Metrics, Total};
use edgescope_identity::container::{Contained, Kind, Maker};
use edgescope_identity::found_by;
use edgescope_identity::runtime::Said;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tonic::transport::Channel;
use tonic::{Code, Status};

/// Longest time for one call: runtimes answer in a millisecond, busy ones in some tens.
const CALL_TIMEOUT: Duration = Duration::from_secs(1);
/// Whoever did not answer is left alone for so long.
const PAUSE: Duration = Duration::from_secs(10);
/// Whoever listens, but does not speak this language, is left alone for so long.
const NO_SUCH_LANGUAGE_PAUSE: Duration = Duration::from_secs(300);

/// Why a source gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("no answer within {0:?}")]
    Late(Duration),
    #[error("cannot be reached: {0}")]
    Unreachable(String),
    #[error("it refuses: {0}")]
    Refused(String),
    #[error("makes no sense: {0}")]
    Nonsense(String),
    #[error("it does not speak this language: {0}")]
    NoSuchLanguage(String),
}

impl From<HttpError> for SourceError {
    fn from(error: HttpError) -> Self {
        match error {
            HttpError::Timeout(after) => Self::Late(after),
            HttpError::TooLarge(_) | HttpError::Protocol(_) => Self::Nonsense(error.to_string()),
        }
    }
}

impl From<Status> for SourceError {
    fn from(status: Status) -> Self {
        match status.code() {
            Code::Unimplemented => Self::NoSuchLanguage(status.message().to_owned()),
            Code::DeadlineExceeded | Code::Cancelled => Self::Late(CALL_TIMEOUT),
            Code::Unavailable => Self::Unreachable(status.message().to_owned()),
            Code::OutOfRange | Code::ResourceExhausted | Code::Internal | Code::DataLoss => Self::Nonsense(status.message().to_owned()),
            code => Self::Refused(format!("{code:?}, {}", status.message())),
        }
    }
}

/// Somebody who can be asked.
#[derive(Debug)]
struct Source {
    runtime: Runtime,
    /// Empty for what is no socket.
    socket: PathBuf,
    channel: Option<Channel>,
    /// Not to be asked before.
    paused_until: Option<Instant>,
    /// The last thing that was said of it, so that it is said once.
    said: Option<String>,
}

/// Asks, one question after the other.
#[derive(Debug)]
pub struct Asker {
    sources: Vec<Source>,
    ecs: SocketAddr,
    metrics: Arc<Metrics>,
}

impl Asker {
    pub fn new(config: &RuntimesConfig, metrics: Arc<Metrics>) -> Self {
        let source = |(runtime, socket): (Runtime, Option<PathBuf>)| Source {
            runtime,
            socket: socket.unwrap_or_default(),
            channel: None,
            paused_until: None,
            said: None,
        };
        let ecs = tasks::ECS_ADDRESS.parse().expect("a constant address");
        Self { sources: config.places().into_iter().map(source).collect(), ecs, metrics }
    }

    /// Answers what the desk is asked; ends with the desk.
    pub async fn serve(mut self, desk: Arc<Desk>, mut questions: mpsc::Receiver<Contained>) {
        while let Some(question) = questions.recv().await {
            let answer = self.answer(&question).await;
            desk.put(&question.path, answer, Instant::now());
        }
    }

    /// Asks everybody whom the path points to, until one knows.
    pub async fn answer(&mut self, contained: &Contained) -> Answer {
        self.metrics.add(Total::RuntimeQuestions, 1);
        let (mut failed, mut asked) = (false, false);
        for runtime in whom_to_ask(contained) {
            for at in 0..self.sources.len() {
                if self.sources[at].runtime != runtime || self.sources[at].is_paused() || self.sources[at].is_absent() {
                    failed |= self.sources[at].runtime == runtime && self.sources[at].is_paused();
                    continue;
                }
                match self.sources[at].ask(contained, self.ecs).await {
                    Ok(said) => {
                        self.sources[at].answers();
                        asked = true;
                        if let Some(named) = said.and_then(|said| said.named()) {
                            self.metrics.lost("names_cut", named.cut);
                            return Answer::Named(Arc::new(named));
                        }
                    }
                    Err(error) => {
                        failed |= !matches!(error, SourceError::NoSuchLanguage(_));
                        self.fails(at, error);
                    }
                }
            }
        }
        if asked && !failed { Answer::Nobody } else { Answer::Failed }
    }

    fn fails(&mut self, at: usize, error: SourceError) {
        let source = &mut self.sources[at];
        let pause = match error {
            SourceError::Late(_) | SourceError::Unreachable(_) => Some(PAUSE),
            SourceError::NoSuchLanguage(_) => Some(NO_SUCH_LANGUAGE_PAUSE),
            // Of this container alone.
            SourceError::Refused(_) | SourceError::Nonsense(_) => None,
        };
        // Tasks are asked one by one: one that is late says nothing of the others.
        if let Some(pause) = pause.filter(|_| !source.socket.as_os_str().is_empty()) {
            source.channel = None;
            source.paused_until = Some(Instant::now() + pause);
        }
        let (runtime, socket, text) = (source.runtime.as_str(), source.socket.display(), error.to_string());
        if source.said.as_ref() != Some(&text) {
            if matches!(error, SourceError::NoSuchLanguage(_)) {
                tracing::info!(runtime, %socket, reason = text, "listens, but cannot name containers in this way");
            } else {
                tracing::warn!(runtime, %socket, error = text, "cannot name containers: they keep the names of their units or processes");
            }
        }
        source.said = Some(text);
        if !matches!(error, SourceError::NoSuchLanguage(_)) {
            self.metrics.add(Total::RuntimeFailures, 1);
            self.metrics.lost("runtime_failed", 1);
        }
    }
}

/// Who may know a container, likeliest first.
fn whom_to_ask(contained: &Contained) -> Vec<Runtime> {
    let mut whom = match &contained.kind {
        Kind::Pod => vec![Runtime::Cri],
        Kind::NomadTask { .. } => vec![Runtime::Nomad],
        Kind::Containerd { .. } => vec![Runtime::Containerd],
        Kind::Container { maker: Maker::Cri, .. } => vec![Runtime::Cri],
        Kind::Container { maker: Maker::Docker, .. } => vec![Runtime::Docker, Runtime::Podman],
        Kind::Container { maker: Maker::Podman, .. } => vec![Runtime::Podman, Runtime::Docker],
        Kind::Container { maker: Maker::Unknown, .. } if !contained.pod_uid.is_empty() => vec![Runtime::Cri, Runtime::Docker],
        Kind::Container { maker: Maker::Unknown, .. } => vec![Runtime::Docker, Runtime::Cri, Runtime::Containerd, Runtime::Podman],
    };
    if contained.is_ecs {
        whom.push(Runtime::Ecs);
    }
    whom
}

impl Source {
    fn is_paused(&self) -> bool {
        self.paused_until.is_some_and(|until| Instant::now() < until)
    }

    /// It is a socket that is not there: not installed, or not started yet.
    fn is_absent(&self) -> bool {
        !self.socket.as_os_str().is_empty() && !self.socket.exists()
    }

    fn answers(&mut self) {
        if self.said.as_deref() != Some("") {
            tracing::info!(runtime = self.runtime.as_str(), socket = %self.socket.display(), "names containers");
            self.said = Some(String::new());
        }
    }

    async fn ask(&mut self, contained: &Contained, ecs: SocketAddr) -> Result<Option<Said>, SourceError> {
        let id = match &contained.kind {
            Kind::Container { id, .. } => id.as_str(),
            _ => "",
        };
        match self.runtime {
            Runtime::Docker => docker::ask(&self.socket, id, found_by::DOCKER, CALL_TIMEOUT).await,
            Runtime::Podman => docker::ask(&self.socket, id, found_by::PODMAN, CALL_TIMEOUT).await,
            Runtime::Cri => cri::ask(&self.channel().await?, contained).await,
            Runtime::Containerd => containerd::ask(&self.channel().await?, contained).await,
            Runtime::Nomad => match environment_of(contained).await? {
                Some(environment) => tasks::nomad(contained, environment),
                None => Ok(None),
            },
            Runtime::Ecs => match environment_of(contained).await? {
                Some(environment) => tasks::ecs(contained, &environment, ecs, CALL_TIMEOUT).await,
                None => Ok(None),
            },
        }
    }

    /// Kept from question to question; a broken one connects again by itself.
    async fn channel(&mut self) -> Result<Channel, SourceError> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let connected = tokio::time::timeout(CALL_TIMEOUT, grpc::connect(&self.socket, CALL_TIMEOUT)).await;
        let channel = connected.map_err(|_| SourceError::Late(CALL_TIMEOUT))?.map_err(SourceError::Unreachable)?;
        Ok(self.channel.insert(channel).clone())
    }
}

async fn environment_of(contained: &Contained) -> Result<Option<std::collections::BTreeMap<String, String>>, SourceError> {
    let contained = contained.clone();
    // A thread that waits for a process's memory is left behind.
    let reading = tokio::task::spawn_blocking(move || tasks::environment_of(&contained));
    match tokio::time::timeout(CALL_TIMEOUT, reading).await {
        Ok(Ok(read)) => read,
        Ok(Err(failed)) => std::panic::resume_unwind(failed.into_panic()),
        Err(_) => Err(SourceError::Late(CALL_TIMEOUT)),
    }
}
