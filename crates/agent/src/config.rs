//! The agent's configuration: the `agent` section, with the rules of `identity`.

use crate::cloud::CloudConfig;
use crate::runtimes::RuntimesConfig;
use crate::spool;
use edgescope_identity::local::Place;
use edgescope_identity::rules::{Rule, RuleError, Rules};
use edgescope_model::time::parse_duration;
use edgescope_model::wire::INTERVAL_S_MAX;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The `agent` section.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AgentConfig {
    /// URL of the server's intake: `http://127.0.0.1:8101`, `https://edgescope.example:8101`.
    pub server: String,
    /// Names this agent; no two at once may have the same. Default: the node's name.
    pub id: String,
    /// Length of a window: `10s`; at most [`INTERVAL_S_MAX`].
    #[serde(serialize_with = "write_duration", deserialize_with = "read_duration")]
    pub interval: Duration,
    /// Whose sockets are looked at: `all`, `netns:NAME,NAME*,…`, `cgroup:/PATH`.
    pub scope: ScopeConfig,
    /// File with the token that the server asks for.
    pub token_file: Option<PathBuf>,
    /// PEM file of the authority to trust, where the server's certificate is not signed by a public one.
    pub ca_file: Option<PathBuf>,
    /// Directory for what must survive a restart; the agent makes its own in it, by its id.
    pub state_dir: PathBuf,
    /// Name of the node. Default: the host's name.
    pub node: String,
    pub zone: String,
    pub region: String,
    pub environment: String,
    /// Keep the programs in the kernel counting when the agent ends, and go on from there at the next start.
    pub pin: bool,
    /// One raw round-trip sample a round trip; else the smoothed one, once a window.
    pub rtt: bool,
    /// Count the packets that the kernel drops, by its reason; costs something for a dropped packet only.
    pub drops: bool,
    /// Count UDP, by its packets; costs a little for each packet of any protocol.
    pub udp: bool,
    /// Count questions and answers of DNS.
    pub dns: bool,
    /// Count requests and answers of HTTP/1 in clear text.
    pub http: bool,
    /// Count requests and answers of HTTP/2 in clear text, and the calls of gRPC.
    pub http2: bool,
    /// Learn names of far ends from answers of DNS and greetings of TLS, where DNS and HTTP are counted.
    pub names: bool,
    /// Name the real ends of connections whose addresses this node translates, as its connection tracking tells.
    pub nat: bool,
    /// Who is asked about containers: `auto` is everybody whose socket is there.
    pub runtimes: RuntimesConfig,
    /// Which cloud is asked for zone and region, where those are not given: `auto` is the one that the firmware names.
    pub cloud: CloudConfig,
    pub limits: Limits,
    /// Address of a page with the agent's own numbers (`/metrics`); loopback only. Default: none.
    pub metrics_listen: Option<SocketAddr>,
    /// Moves the agent's clock, in milliseconds: for tests only.
    #[serde(skip_serializing_if = "is_zero")]
    pub clock_skew: i64,
    /// Static rules of the `identity` section.
    #[serde(skip)]
    pub rules: Vec<Rule>,
}

/// Bounds of the agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most flows with counters of their own.
    pub flows_max: u32,
    /// Most UDP flows with counters of their own.
    pub datagrams_max: u32,
    /// Most flows with histograms of their own.
    pub histograms_max: u32,
    /// Most bytes of batches that wait for the server.
    pub spool_bytes_max: u64,
    /// Most windows that wait for the server.
    pub spool_windows_max: usize,
    /// A flow without open sockets is forgotten after so many windows without a change.
    pub idle_windows: u32,
}

impl Default for Limits {
    fn default() -> Self {
        let spool = spool::Limits::default();
        // 30 windows of 10 s: longer than connections linger in closing states.
        Self {
            flows_max: 65_536,
            datagrams_max: 16_384,
            histograms_max: 16_384,
            spool_bytes_max: spool.bytes_max,
            spool_windows_max: spool.files_max,
            idle_windows: 30,
        }
    }
}

impl Default for AgentConfig {
    fn default() -> Self {
        Self {
            server: "http://127.0.0.1:8101".to_owned(),
            id: String::new(),
            interval: Duration::from_secs(10),
            scope: ScopeConfig::All,
            token_file: None,
            ca_file: None,
            state_dir: PathBuf::from("/var/lib/edgescope/agent"),
            node: String::new(),
            zone: String::new(),
            region: String::new(),
            environment: String::new(),
            pin: true,
            rtt: true,
            drops: true,
            udp: true,
            dns: true,
            http: true,
            http2: true,
            names: true,
            nat: true,
            runtimes: RuntimesConfig::Auto,
            cloud: CloudConfig::Auto,
            limits: Limits::default(),
            metrics_listen: None,
            clock_skew: 0,
            rules: Vec::new(),
        }
    }
}

/// Whose sockets are looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ScopeConfig {
    #[default]
    All,
    /// Names under `/run/netns`; a `*` at the end stands for anything.
    Namespaces(Vec<String>),
    /// Path of a cgroup below the root of the hierarchy.
    Cgroup(String),
}

/// A value of the `agent` section that cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("agent.server '{0}': write http://HOST:PORT or https://HOST:PORT")]
    Server(String),
    #[error("agent.id '{0}': give 1 to 64 letters, digits, '-', '_' or '.'")]
    Id(String),
    #[error(
        "agent.interval of {0:?}: give 1s to {INTERVAL_S_MAX}s, in whole seconds: detectors judge the last two minutes, of which longer windows leave nothing"
    )]
    Interval(Duration),
    #[error("agent.scope '{0}': write all, netns:NAME,NAME* or cgroup:/PATH")]
    Scope(String),
    #[error("agent.limits.{0} must be above 0")]
    Limit(&'static str),
    #[error("agent.metrics_listen {0}: give a loopback address, such as 127.0.0.1:8102: the page asks for no token")]
    MetricsListen(SocketAddr),
    #[error(transparent)]
    Rule(#[from] RuleError),
}

impl AgentConfig {
    /// Fills what was left out from the host's name, and checks the rest.
    ///
    /// # Errors
    /// Names the first value that cannot work, and what can.
    pub fn completed(mut self, hostname: &str) -> Result<Self, ConfigError> {
        for empty in [&mut self.id, &mut self.node].into_iter().filter(|value| value.is_empty()) {
            hostname.clone_into(empty);
        }
        let authority = self.server.strip_prefix("http://").or_else(|| self.server.strip_prefix("https://"));
        if !authority.is_some_and(|rest| !rest.is_empty() && self.server.parse::<tonic::transport::Uri>().is_ok()) {
            return Err(ConfigError::Server(self.server));
        }
        let sound = (1..=64).contains(&self.id.len()) && self.id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !sound || self.id.bytes().all(|b| b == b'.') {
            return Err(ConfigError::Id(self.id));
        }
        if !(1..=u64::from(INTERVAL_S_MAX)).contains(&self.interval.as_secs()) || self.interval.subsec_nanos() != 0 {
            return Err(ConfigError::Interval(self.interval));
        }
        let limits = &self.limits;
        let zero = [
            ("flows_max", limits.flows_max == 0),
            ("datagrams_max", limits.datagrams_max == 0),
            ("histograms_max", limits.histograms_max == 0),
            ("spool_bytes_max", limits.spool_bytes_max == 0),
            ("spool_windows_max", limits.spool_windows_max == 0),
            ("idle_windows", limits.idle_windows == 0),
        ];
        if let Some((name, _)) = zero.into_iter().find(|(_, zero)| *zero) {
            return Err(ConfigError::Limit(name));
        }
        if let Some(listen) = self.metrics_listen.filter(|listen| !listen.ip().is_loopback()) {
            return Err(ConfigError::MetricsListen(listen));
        }
        Rules::new(self.rules.clone())?;
        Ok(self)
    }

    pub fn place(&self) -> Place {
        Place { node: self.node.clone(), zone: self.zone.clone(), region: self.region.clone(), environment: self.environment.clone() }
    }

    pub fn spool_limits(&self) -> spool::Limits {
        spool::Limits { files_max: self.limits.spool_windows_max, bytes_max: self.limits.spool_bytes_max }
    }
}

impl ScopeConfig {
    /// Whether a namespace with this name is looked at.
    pub fn has_namespace(&self, name: Option<&str>) -> bool {
        let Self::Namespaces(patterns) = self else { return true };
        name.is_some_and(|name| patterns.iter().any(|pattern| pattern.strip_suffix('*').map_or(pattern == name, |stem| name.starts_with(stem))))
    }

    /// Whether sockets of one address can be in and out of the scope.
    pub fn is_part(&self) -> bool {
        matches!(self, Self::Cgroup(_))
    }
}

impl fmt::Display for ScopeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Namespaces(names) => write!(f, "netns:{}", names.join(",")),
            Self::Cgroup(path) => write!(f, "cgroup:{path}"),
        }
    }
}

impl FromStr for ScopeConfig {
    type Err = ConfigError;

    fn from_str(text: &str) -> Result<Self, ConfigError> {
        let wrong = || ConfigError::Scope(text.to_owned());
        match text.split_once(':') {
            None if text == "all" => Ok(Self::All),
            Some(("netns", names)) => {
                let names: Vec<String> = names.split(',').map(|name| name.trim().to_owned()).collect();
                if names.iter().any(String::is_empty) { Err(wrong()) } else { Ok(Self::Namespaces(names)) }
            }
            Some(("cgroup", path)) if path.starts_with('/') => Ok(Self::Cgroup(path.to_owned())),
            _ => Err(wrong()),
        }
    }
}

impl Serialize for ScopeConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ScopeConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

fn read_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = parse_duration(&text).map_err(serde::de::Error::custom)?;
    parsed.to_std().map_err(serde::de::Error::custom)
}

fn write_duration<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    let ms = duration.as_millis();
    if ms.is_multiple_of(1_000) { serializer.collect_str(&format_args!("{}s", ms / 1_000)) } else { serializer.collect_str(&format_args!("{ms}ms")) }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_comes_from_the_host() {
        let config = AgentConfig::default().completed("n1").unwrap();
        assert_eq!((config.id.as_str(), config.node.as_str()), ("n1", "n1"));
    }

    #[test]
    fn wrong_values_are_told_with_what_works() {
        let with = |change: fn(&mut AgentConfig)| {
            let mut config = AgentConfig::default();
            change(&mut config);
            config.completed("n1").unwrap_err().to_string()
        };
        assert!(with(|c| c.server = "localhost:8101".into()).contains("write http://"));
        assert!(with(|c| c.server = "http://".into()).contains("agent.server"));
        assert!(with(|c| c.id = "../x".into()).contains("agent.id '../x'"));
        assert!(with(|c| c.interval = Duration::from_millis(1_500)).contains("whole seconds"));
        let slow = with(|c| c.interval = Duration::from_secs(31));
        assert!(slow.contains("agent.interval of 31s: give 1s to 30s") && slow.contains("detectors judge the last two minutes"), "{slow}");
        assert!(AgentConfig { interval: Duration::from_secs(30), ..AgentConfig::default() }.completed("n1").is_ok());
        assert!(with(|c| c.limits.flows_max = 0).contains("agent.limits.flows_max"));
        assert!(with(|c| c.metrics_listen = Some(([0, 0, 0, 0], 8102).into())).contains("loopback"));
        assert!(with(|c| c.rules = vec![Rule::default()]).contains("identity.rules[0]"));
    }

    #[test]
    fn the_section_reads_and_writes() {
        let text = r#"{"server": "https://e:1", "interval": "5s", "scope": "netns:a,b*", "limits": {"idle_windows": 3}}"#;
        let config: AgentConfig = serde_json::from_str(text).unwrap();
        assert_eq!(config.scope, ScopeConfig::Namespaces(vec!["a".into(), "b*".into()]));
        assert!(
            config.scope.has_namespace(Some("a"))
                && config.scope.has_namespace(Some("b-1"))
                && !config.scope.has_namespace(Some("ab"))
                && !config.scope.has_namespace(None)
        );
        // As readers of YAML hand out `off`.
        let off: AgentConfig = serde_json::from_str(r#"{"runtimes": false, "cloud": false}"#).unwrap();
        assert_eq!((off.runtimes, off.cloud), (RuntimesConfig::Off, CloudConfig::Off));
        let again: AgentConfig = serde_json::from_str(&serde_json::to_string(&config).unwrap()).unwrap();
        assert_eq!(again, config);
        for (text, expected) in [
            (r#"{"scope": "some"}"#, "write all, netns:"),
            (r#"{"interval": "10"}"#, "10s"),
            (r#"{"sever": "x"}"#, "sever"),
            (r#"{"cloud": true}"#, "agent.cloud 'on': write auto"),
        ] {
            let message = serde_json::from_str::<AgentConfig>(text).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
    }
}
