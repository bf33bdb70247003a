//! Dimensions of an edge, and its key.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use utoipa::ToSchema;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Longest dimension value kept, in bytes: Kubernetes names end at 253; longer ones are cut and counted by whoever cuts.
pub const VALUE_BYTES_MAX: usize = 256;
/// At most `bytes_max` bytes of a text, cut between characters.
pub fn shortened(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Seed of the edge key; a change of the canonical form below changes it.
const KEY_SEED: u64 = 0x4544_4745_0000_0001;

/// One end of an edge. An empty string is an unknown value.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct EndDims {
    pub workload: String,
    pub namespace: String,
    pub node: String,
    pub zone: String,
    pub region: String,
    pub environment: String,
    pub process: String,
    pub image: String,
    /// How the name was found: rule, systemd, process, directory, prefix, ip, …
    pub resolution_type: String,
    /// The endpoint's name; ten-second rows only.
    pub pod: String,
    /// The address, where the name is only that or a prefix; ten-second rows only.
    pub ip: String,
}

/// Which end opened the connection, told of the edge's source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    #[default]
    Client,
    Server,
}

impl Role {
    /// The other end's role.
    pub const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
        }
    }
}

/// What names an edge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct EdgeDims {
    pub source: EndDims,
    pub dest: EndDims,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The server's port.
    pub port: u16,
    /// Role of the source.
    pub role: Role,
}

impl EdgeDims {
    /// Whether both ends are in one zone; `None` where a zone is unknown.
    pub fn az_equal(&self) -> Option<bool> {
        let (a, b) = (&self.source.zone, &self.dest.zone);
        (!a.is_empty() && !b.is_empty()).then(|| a == b)
    }

    /// 64-bit key of these dimensions: XXH3 with a fixed seed over length-prefixed values. Equal dimensions give equal keys on every server and version.
    pub fn key(&self) -> i64 {
        let mut canonical = Vec::with_capacity(256);
        for dim in Dim::all() {
            if matches!(dim, Dim::AzEqual) {
                continue;
            }
            let value = match dim {
                Dim::Source(field) => Cow::Borrowed(self.source.get(field)),
                Dim::Dest(field) => Cow::Borrowed(self.dest.get(field)),
                _ => Cow::Owned(self.get(dim)),
            };
            canonical.extend_from_slice(&(value.len() as u32).to_le_bytes());
            canonical.extend_from_slice(value.as_bytes());
        }
        xxh3_64_with_seed(&canonical, KEY_SEED) as i64
    }

    /// The same edge without what roll-ups drop.
    pub fn rolled_up(&self) -> Self {
        let mut rolled = self.clone();
        for end in [&mut rolled.source, &mut rolled.dest] {
            end.pod.clear();
            end.ip.clear();
        }
        rolled
    }

    /// Value of one dimension; empty if unknown.
    pub fn get(&self, dim: Dim) -> String {
        match dim {
            Dim::Source(field) => self.source.get(field).to_owned(),
            Dim::Dest(field) => self.dest.get(field).to_owned(),
            Dim::Protocol => self.protocol.clone(),
            Dim::Port => self.port.to_string(),
            Dim::Role => self.role.as_str().to_owned(),
            Dim::AzEqual => self.az_equal().map(|b| b.to_string()).unwrap_or_default(),
        }
    }
}

impl EndDims {
    /// Value of one field; empty if unknown.
    pub fn get(&self, field: EndField) -> &str {
        match field {
            EndField::Workload => &self.workload,
            EndField::Namespace => &self.namespace,
            EndField::Node => &self.node,
            EndField::Zone => &self.zone,
            EndField::Region => &self.region,
            EndField::Environment => &self.environment,
            EndField::Process => &self.process,
            EndField::Image => &self.image,
            EndField::ResolutionType => &self.resolution_type,
            EndField::Pod => &self.pod,
            EndField::Ip => &self.ip,
        }
    }
}

/// A dimension of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndField {
    Workload,
    Namespace,
    Node,
    Zone,
    Region,
    Environment,
    Process,
    Image,
    ResolutionType,
    Pod,
    Ip,
}

impl EndField {
    /// Fields with their names and what they are.
    const ALL: [(Self, &'static str, &'static str); 11] = [
        (Self::Workload, "workload", "the service; where nobody knows one, the address or its prefix"),
        (Self::Namespace, "namespace", "the workload's namespace, where its platform has such"),
        (Self::Node, "node", "the host that it runs on"),
        (Self::Zone, "zone", "the zone of that host"),
        (Self::Region, "region", "the region of that host"),
        (Self::Environment, "environment", "the environment of that host's agent"),
        (Self::Process, "process", "the process that owns the sockets"),
        (Self::Image, "image", "the container's image"),
        (Self::ResolutionType, "resolution_type", "how the name was found"),
        (Self::Pod, "pod", "one running copy of the workload: pod, container, unit or process; in ten-second rows alone"),
        (Self::Ip, "ip", "the address; in ten-second rows alone"),
    ];

    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(f, ..)| *f == self).map_or("", |(_, name, _)| name)
    }

    fn brief(self) -> &'static str {
        Self::ALL.iter().find(|(f, ..)| *f == self).map_or("", |(.., brief)| brief)
    }
}

/// A dimension that edges can be grouped and filtered by: `source.workload`, `dest.zone`, `port`, …
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dim {
    Source(EndField),
    Dest(EndField),
    Protocol,
    Port,
    Role,
    AzEqual,
}

/// A dimension that does not exist.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("no dimension '{0}': choose from {list}", list = Dim::all().map(|d| d.to_string()).collect::<Vec<_>>().join(", "))]
pub struct UnknownDim(pub String);

impl Dim {
    /// Every dimension, in a fixed order that the edge key follows: any new one, wherever it stands, makes new keys, and so asks for a new [`KEY_SEED`].
    pub fn all() -> impl Iterator<Item = Dim> {
        let ends = EndField::ALL.into_iter();
        ends.clone().map(|(f, ..)| Dim::Source(f)).chain(ends.map(|(f, ..)| Dim::Dest(f))).chain([Dim::Protocol, Dim::Port, Dim::Role, Dim::AzEqual])
    }

    /// Reads `source.workload`, `dest.zone`, `protocol`, `port`, `role`, `az_equal`.
    pub fn parse(text: &str) -> Result<Self, UnknownDim> {
        Self::all().find(|d| d.to_string() == text).ok_or_else(|| UnknownDim(text.to_owned()))
    }

    /// What it is, in words.
    pub fn brief(self) -> &'static str {
        match self {
            Self::Source(field) | Self::Dest(field) => field.brief(),
            Self::Protocol => "the transport protocol: tcp or udp",
            Self::Port => "the port that the server listens on",
            Self::Role => "what the source is: client (asks) or server (answers)",
            Self::AzEqual => "whether both ends are in one zone",
        }
    }

    /// Name of the stored column (`source_workload`).
    pub fn column(self) -> String {
        self.to_string().replace('.', "_")
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(field) => write!(f, "source.{}", field.as_str()),
            Self::Dest(field) => write!(f, "dest.{}", field.as_str()),
            Self::Protocol => f.write_str("protocol"),
            Self::Port => f.write_str("port"),
            Self::Role => f.write_str("role"),
            Self::AzEqual => f.write_str("az_equal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edge() -> EdgeDims {
        let end = |w: &str, z: &str| EndDims { workload: w.into(), zone: z.into(), pod: format!("{w}-1"), ..EndDims::default() };
        EdgeDims { source: end("frontend", "a"), dest: end("cart", "b"), protocol: "tcp".into(), port: 7070, role: Role::Client }
    }

    #[test]
    fn the_key_is_stable_and_tells_edges_apart() {
        // A stored number: a change here means a new key version and a migration.
        assert_eq!(edge().key(), 5_279_236_237_274_271_468);
        let mut shifted = edge();
        // Moving a letter over a field's border must not collide.
        shifted.source.workload = "fronten".into();
        shifted.source.namespace = "d".into();
        assert_ne!(shifted.key(), edge().key());
        assert_ne!(edge().rolled_up().key(), edge().key());
    }

    #[test]
    fn every_dimension_parses_back() {
        for dim in Dim::all() {
            assert_eq!(Dim::parse(&dim.to_string()), Ok(dim));
        }
        assert!(Dim::parse("source").is_err());
        assert_eq!(edge().get(Dim::AzEqual), "false");
    }
}
