//! Docker's HTTP interface, which Podman offers too: `GET /containers/ID/json` over a unix socket.

use super::SourceError;
use crate::http::{self, Question};
use edgescope_identity::runtime::{Said, variable};
use hyper::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use tokio::net::UnixStream;

/// Largest answer taken, in bytes: what Docker says of one container has some 10 KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// What Nomad's driver for Docker puts on each of its containers.
const NOMAD_LABEL: &str = "com.hashicorp.nomad.alloc_id";

/// What is read of an answer; all else in it, among that the rest of the environment, is passed over.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Inspected {
    name: Option<String>,
    config: Option<Config>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Config {
    image: Option<String>,
    labels: Option<BTreeMap<String, String>>,
    env: Option<Vec<String>>,
}

/// What the daemon at the socket says of a container; `None` if it has none of this id. `id` is of digits alone.
///
/// # Errors
/// If nobody listens there, or what comes back makes no sense.
pub async fn ask(socket: &Path, id: &str, found_by: &'static str, timeout: Duration) -> Result<Option<Said>, SourceError> {
    let stream = tokio::time::timeout(timeout, UnixStream::connect(socket))
        .await
        .map_err(|_| SourceError::Late(timeout))?
        .map_err(|error| SourceError::Unreachable(error.to_string()))?;
    let path = format!("/containers/{id}/json");
    let question = Question { method: Method::GET, host: "localhost", path: &path, headers: &[], bytes_max: ANSWER_BYTES_MAX, timeout };
    let answer = http::ask(stream, &question).await?;
    match answer.status {
        200 => said(&answer.body, found_by).map(Some),
        404 => Ok(None),
        status => Err(SourceError::Refused(format!("HTTP status {status}"))),
    }
}

fn said(body: &[u8], found_by: &'static str) -> Result<Said, SourceError> {
    let Inspected { name, config } = serde_json::from_slice(body).map_err(|error| SourceError::Nonsense(error.to_string()))?;
    let Config { image, labels, env } = config.unwrap_or_default();
    let variables = env.iter().flatten().filter_map(|pair| pair.split_once('='));
    let mut environment: BTreeMap<String, String> =
        variables.filter(|(name, _)| variable::ALL.contains(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let (name, labels) = (name.unwrap_or_default(), labels.unwrap_or_default());
    // Whoever starts a container can give it any environment; this label is Nomad's own.
    if labels.get(NOMAD_LABEL).is_none_or(|alloc| environment.get(variable::NOMAD_ALLOC) != Some(alloc)) {
        environment.clear();
    }
    Ok(Said { found_by, name: name.trim_start_matches('/').to_owned(), image: image.unwrap_or_default(), labels, environment, ..Said::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_names_is_kept_of_an_answer() {
        let of = |label: &str| {
            let env = r#"["PASSWORD=s", "NOMAD_JOB_NAME=a=b", "NOMAD_ALLOC_ID=7", "ODD"]"#;
            let config = format!(r#"{{"Image": "nginx:1.25", "Env": {env}, "Labels": {{"com.hashicorp.nomad.alloc_id": "{label}"}}}}"#);
            said(format!(r#"{{"Id": "x", "Name": "/web", "Mounts": [], "Config": {config}}}"#).as_bytes(), "docker").unwrap()
        };
        let told = of("7");
        assert_eq!((told.name.as_str(), told.image.as_str(), told.labels[NOMAD_LABEL].as_str()), ("web", "nginx:1.25", "7"));
        let kept = [("NOMAD_ALLOC_ID", "7"), ("NOMAD_JOB_NAME", "a=b")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(told.environment, BTreeMap::from(kept));
        assert!(of("8").environment.is_empty(), "not Nomad's");
    }

    #[test]
    fn nulls_are_absent_and_nonsense_is_an_error() {
        assert_eq!(said(br#"{"Config": {"Labels": null, "Env": null}}"#, "docker").unwrap(), Said { found_by: "docker", ..Said::default() });
        for body in [&b"3"[..], b"{\"Name\": 3}", b"", b"{\"Config\": {\"Labels\": [1]}}"] {
            assert!(matches!(said(body, "docker"), Err(SourceError::Nonsense(_))), "{body:?}");
        }
    }
}
