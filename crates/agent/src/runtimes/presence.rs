//! Which runtimes are there, and what they say they are: for `edgescope doctor`.

use super::grpc::{call, connect};
use super::{CALL_TIMEOUT, Runtime, RuntimesConfig, SourceError};
use crate::http::{self, Question};
use hyper::Method;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use tokio::net::UnixStream;

/// Largest answer taken, in bytes: Docker's has 1 KiB.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// A runtime whose socket is there.
#[derive(Debug)]
pub struct Presence {
    pub runtime: Runtime,
    pub socket: PathBuf,
    /// Its name and version.
    pub version: Result<String, SourceError>,
}

/// Asks every runtime whose socket is there for its version. A socket that does not speak one of its languages is not told of in that one.
pub async fn present(config: &RuntimesConfig) -> Vec<Presence> {
    let mut found = Vec::new();
    for (runtime, socket) in config.places() {
        let Some(socket) = socket.filter(|socket| socket.exists()) else { continue };
        let asked = async {
            match runtime {
                Runtime::Cri => cri(&socket).await,
                Runtime::Containerd => containerd(&socket).await,
                Runtime::Docker | Runtime::Podman => docker(&socket).await,
                Runtime::Nomad | Runtime::Ecs => unreachable!("they have no sockets"),
            }
        };
        let version = tokio::time::timeout(3 * CALL_TIMEOUT, asked).await.unwrap_or(Err(SourceError::Late(3 * CALL_TIMEOUT)));
        if !matches!(version, Err(SourceError::NoSuchLanguage(_))) {
            found.push(Presence { runtime, socket, version });
        }
    }
    found
}

async fn cri(socket: &Path) -> Result<String, SourceError> {
    let channel = connect(socket, CALL_TIMEOUT).await.map_err(SourceError::Unreachable)?;
    let VersionResponse { runtime_name, runtime_version } = call(&channel, "/runtime.v1.RuntimeService/Version", Nothing {}, None).await?;
    Ok(format!("{runtime_name} {runtime_version}"))
}

async fn containerd(socket: &Path) -> Result<String, SourceError> {
    let channel = connect(socket, CALL_TIMEOUT).await.map_err(SourceError::Unreachable)?;
    let answer: ContainerdVersion = call(&channel, "/containerd.services.version.v1.Version/Version", Nothing {}, None).await?;
    Ok(format!("containerd {}", answer.version))
}

async fn docker(socket: &Path) -> Result<String, SourceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Version {
        version: String,
    }
    let stream = UnixStream::connect(socket).await.map_err(|error| SourceError::Unreachable(error.to_string()))?;
    let question =
        Question { method: Method::GET, host: "localhost", path: "/version", headers: &[], bytes_max: ANSWER_BYTES_MAX, timeout: CALL_TIMEOUT };
    let answer = http::ask(stream, &question).await?;
    if answer.status != 200 {
        return Err(SourceError::Refused(format!("HTTP status {}", answer.status)));
    }
    let version: Version = serde_json::from_slice(&answer.body).map_err(|error| SourceError::Nonsense(error.to_string()))?;
    Ok(version.version)
}

#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct VersionResponse {
    #[prost(string, tag = "2")]
    pub runtime_name: String,
    #[prost(string, tag = "3")]
    pub runtime_version: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ContainerdVersion {
    #[prost(string, tag = "1")]
    version: String,
}
