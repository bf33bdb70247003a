//! Whom the agent may ask about containers: `agent.runtimes`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Who can be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runtime {
    /// containerd and CRI-O, in the language of Kubernetes.
    Cri,
    Docker,
    Podman,
    /// containerd in its own language.
    Containerd,
    /// The environment of Nomad's tasks.
    Nomad,
    /// The metadata of ECS' tasks.
    Ecs,
}

impl Runtime {
    pub const ALL: [Self; 6] = [Self::Cri, Self::Docker, Self::Podman, Self::Containerd, Self::Nomad, Self::Ecs];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cri => "cri",
            Self::Docker => "docker",
            Self::Podman => "podman",
            Self::Containerd => "containerd",
            Self::Nomad => "nomad",
            Self::Ecs => "ecs",
        }
    }

    /// Where it listens if nobody says otherwise; each is tried if it is there. Empty for what is no socket.
    pub const fn sockets(self) -> &'static [&'static str] {
        match self {
            // containerd, CRI-O, K3s, k0s, MicroK8s, and Docker through its adapter.
            Self::Cri => &[
                "/run/containerd/containerd.sock",
                "/run/crio/crio.sock",
                "/run/k3s/containerd/containerd.sock",
                "/run/k0s/containerd.sock",
                "/var/snap/microk8s/common/run/containerd.sock",
                "/run/cri-dockerd.sock",
            ],
            Self::Docker => &["/run/docker.sock"],
            Self::Podman => &["/run/podman/podman.sock"],
            Self::Containerd => &["/run/containerd/containerd.sock"],
            Self::Nomad | Self::Ecs => &[],
        }
    }
}

/// `auto`, `off`, or a list of who may be asked, each perhaps with its socket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RuntimesConfig {
    /// Everybody, where they usually listen.
    #[default]
    Auto,
    Off,
    Only(Vec<Chosen>),
}

/// One of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    pub runtime: Runtime,
    /// Instead of where it usually listens.
    pub socket: Option<PathBuf>,
}

/// A text that is no such list.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "agent.runtimes '{0}': write auto, off, or some of cri, docker, podman, containerd, nomad, ecs with commas between, the first four perhaps with a socket, as docker:/run/docker.sock"
)]
pub struct RuntimesError(pub String);

impl RuntimesConfig {
    /// Everybody who may be asked, and where; without a socket for those that have none.
    pub fn places(&self) -> Vec<(Runtime, Option<PathBuf>)> {
        let usual = |runtime: Runtime| -> Vec<(Runtime, Option<PathBuf>)> {
            match runtime.sockets() {
                [] => vec![(runtime, None)],
                sockets => sockets.iter().map(|socket| (runtime, Some(PathBuf::from(socket)))).collect(),
            }
        };
        match self {
            Self::Auto => Runtime::ALL.into_iter().flat_map(usual).collect(),
            Self::Off => Vec::new(),
            Self::Only(chosen) => chosen
                .iter()
                .flat_map(|one| match &one.socket {
                    Some(socket) => vec![(one.runtime, Some(socket.clone()))],
                    None => usual(one.runtime),
                })
                .collect(),
        }
    }
}

impl FromStr for RuntimesConfig {
    type Err = RuntimesError;

    fn from_str(text: &str) -> Result<Self, RuntimesError> {
        let wrong = || RuntimesError(text.to_owned());
        match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let chosen = text.split(',').map(|one| {
            let (name, socket) = match one.trim().split_once(':') {
                Some((name, socket)) => (name, Some(socket)),
                None => (one.trim(), None),
            };
            let runtime = Runtime::ALL.into_iter().find(|runtime| runtime.as_str() == name).ok_or_else(wrong)?;
            if socket.is_some_and(|socket| runtime.sockets().is_empty() || !Path::new(socket).is_absolute()) {
                return Err(wrong());
            }
            Ok(Chosen { runtime, socket: socket.map(PathBuf::from) })
        });
        Ok(Self::Only(chosen.collect::<Result<_, _>>()?))
    }
}

impl fmt::Display for RuntimesConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Only(chosen) => {
                for (at, Chosen { runtime, socket }) in chosen.iter().enumerate() {
                    let comma = if at == 0 { "" } else { "," };
                    match socket {
                        Some(socket) => write!(f, "{comma}{}:{}", runtime.as_str(), socket.display())?,
                        None => write!(f, "{comma}{}", runtime.as_str())?,
                    }
                }
                Ok(())
            }
        }
    }
}

impl Serialize for RuntimesConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RuntimesConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        crate::word::read(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_and_written_alike() {
        for text in ["auto", "off", "cri", "cri,docker:/var/run/docker.sock,nomad"] {
            assert_eq!(text.parse::<RuntimesConfig>().unwrap().to_string(), text);
        }
        for text in ["", "cri,", "kubernetes", "docker:run/docker.sock", "nomad:/x", "auto,cri"] {
            assert!(text.parse::<RuntimesConfig>().unwrap_err().to_string().starts_with(&format!("agent.runtimes '{text}': write auto")), "{text}");
        }
    }

    #[test]
    fn who_is_named_without_a_socket_is_tried_where_it_usually_is() {
        let places = |text: &str| text.parse::<RuntimesConfig>().unwrap().places();
        assert_eq!(places("docker,nomad"), [(Runtime::Docker, Some("/run/docker.sock".into())), (Runtime::Nomad, None)]);
        assert_eq!(places("docker:/x"), [(Runtime::Docker, Some("/x".into()))]);
        assert!(places("off").is_empty() && places("auto").len() > Runtime::ALL.len());
    }
}
