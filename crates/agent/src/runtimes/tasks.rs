//! What orchestrators told their tasks: Nomad in the environment, ECS at an address that the environment names.
//!
//! A process can say anything in its environment. So Nomad's words count only where they name the allocation and the task that the cgroup's path names, and
//! ECS' only where they are of the container that the path names.

use super::SourceError;
use crate::http::{self, Question};
use edgescope_identity::container::{Contained, Kind};
use edgescope_identity::runtime::{Said, variable};
use edgescope_identity::{found_by, host};
use hyper::Method;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpStream;

/// Where ECS' agent answers its tasks, on every node.
pub const ECS_ADDRESS: &str = "169.254.170.2:80";
const ECS_PREFIX: &str = "http://169.254.170.2/v4/";
/// Longest path taken: `ID-NUMBER` is about 50 bytes.
const ECS_PATH_BYTES_MAX: usize = 128;
/// Largest answer taken, in bytes: that of one container has some 2 KiB.
const ECS_ANSWER_BYTES_MAX: usize = 256 << 10;
/// Hierarchies in which a process of the task is looked for: version 2, then those of version 1 that all have.
const HIERARCHIES: [&str; 5] =
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd", "/sys/fs/cgroup/freezer", "/sys/fs/cgroup/memory"];

/// The variables that name a task, of a process in its cgroup. Blocks as long as the process's memory is locked.
///
/// # Errors
/// If nobody may look.
pub fn environment_of(contained: &Contained) -> Result<Option<BTreeMap<String, String>>, SourceError> {
    let below = contained.path.trim_start_matches('/');
    let Some(process) = HIERARCHIES.iter().find_map(|root| host::process_in(&Path::new(root).join(below))) else { return Ok(None) };
    match host::environment(process, &variable::ALL) {
        Ok(variables) => Ok(Some(variables)),
        // It has ended meanwhile.
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound) => Ok(None),
        Err(error) => Err(SourceError::Unreachable(format!("/proc/{process}/environ: {error}"))),
    }
}

/// What Nomad told its task.
///
/// # Errors
/// If the environment names another task than the cgroup does.
pub fn nomad(contained: &Contained, environment: BTreeMap<String, String>) -> Result<Option<Said>, SourceError> {
    let Kind::NomadTask { alloc, task } = &contained.kind else { return Ok(None) };
    let is = |name: &str, wanted: &str| environment.get(name).is_some_and(|value| value == wanted);
    if !environment.contains_key(variable::NOMAD_ALLOC) {
        return Ok(None);
    }
    if !is(variable::NOMAD_ALLOC, alloc) || !is(variable::NOMAD_TASK, task) {
        return Err(SourceError::Nonsense(format!("a process of task {task} of allocation {alloc} says that it is of another")));
    }
    Ok(Some(Said { found_by: found_by::NOMAD, name: task.clone(), environment, ..Said::default() }))
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Metadata {
    docker_id: String,
    docker_name: String,
    image: String,
    labels: Option<BTreeMap<String, String>>,
}

/// What ECS' agent says of a container, asked where the environment says, which must be ECS' own address.
///
/// # Errors
/// If it does not answer, or speaks of another container.
pub async fn ecs(
    contained: &Contained,
    environment: &BTreeMap<String, String>,
    address: SocketAddr,
    timeout: Duration,
) -> Result<Option<Said>, SourceError> {
    let Kind::Container { id, .. } = &contained.kind else { return Ok(None) };
    let Some(url) = environment.get(variable::ECS_METADATA) else { return Ok(None) };
    let Some(path) = path_of(url) else {
        return Err(SourceError::Nonsense(format!("{} is not below {ECS_PREFIX}", variable::ECS_METADATA)));
    };
    let stream = tokio::time::timeout(timeout, TcpStream::connect(address))
        .await
        .map_err(|_| SourceError::Late(timeout))?
        .map_err(|error| SourceError::Unreachable(error.to_string()))?;
    let question = Question { method: Method::GET, host: "169.254.170.2", path: &path, headers: &[], bytes_max: ECS_ANSWER_BYTES_MAX, timeout };
    let answer = http::ask(stream, &question).await?;
    if answer.status != 200 {
        return Err(SourceError::Refused(format!("HTTP status {}", answer.status)));
    }
    let told: Metadata = serde_json::from_slice(&answer.body).map_err(|error| SourceError::Nonsense(error.to_string()))?;
    if told.docker_id != *id {
        return Err(SourceError::Nonsense(format!("asked for container {id}, told of another")));
    }
    Ok(Some(Said { found_by: found_by::ECS, name: told.docker_name, image: told.image, labels: told.labels.unwrap_or_default(), ..Said::default() }))
}

fn path_of(url: &str) -> Option<String> {
    let rest = url.strip_prefix(ECS_PREFIX)?;
    let is_path = (1..=ECS_PATH_BYTES_MAX).contains(&rest.len()) && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    is_path.then(|| format!("/v4/{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALLOC: &str = "3f2a1b2c-0a2b-4c6d-8e0f-123456789abc";

    fn environment(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_task_cannot_call_itself_another() {
        let contained = Contained::of(&format!("/nomad.slice/share.slice/{ALLOC}.api.scope")).unwrap();
        let of = |alloc, task| {
            let told = [("NOMAD_ALLOC_ID", alloc), ("NOMAD_TASK_NAME", task), ("NOMAD_JOB_NAME", "shop"), ("NOMAD_GROUP_NAME", "web")];
            nomad(&contained, environment(&told))
        };
        assert_eq!(of(ALLOC, "api").unwrap().unwrap().named().unwrap().workload, "shop.web.api");
        assert!(matches!(of(ALLOC, "other"), Err(SourceError::Nonsense(_))));
        assert!(matches!(of("ffffffff-0a2b-4c6d-8e0f-123456789abc", "api"), Err(SourceError::Nonsense(_))));
        assert_eq!(nomad(&contained, BTreeMap::new()).unwrap(), None);
    }

    #[test]
    fn only_ecs_own_address_is_asked() {
        assert_eq!(path_of("http://169.254.170.2/v4/c0ffee-1").as_deref(), Some("/v4/c0ffee-1"));
        for url in
            ["http://169.254.169.254/v4/x", "http://169.254.170.2@evil/v4/x", "http://169.254.170.2/v4/../x", "http://169.254.170.2/v4/", "file:///x"]
        {
            assert_eq!(path_of(url), None, "{url}");
        }
    }
}
