//! What can be configured, and what is refused.

use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::PathBuf;

/// `server` in the configuration: the UI, the API and metrics. TLS and tokens hold for the intake too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Where the UI and the API listen.
    pub listen: SocketAddr,
    pub tls: TlsConfig,
    /// File of hashed bearer tokens, one a line: `role:sha256hex[:name]`, or `agent=ID,ID:sha256hex[:name]` for those agents alone.
    /// Without it, whoever reaches a loopback address may do all.
    pub tokens_file: Option<PathBuf>,
    /// Listen beyond loopback without TLS and tokens. The UI shows it.
    pub insecure: bool,
    /// Names by which browsers may call a server without tokens, beside loopback's own: against rebinding of names.
    pub hosts: Vec<String>,
    /// Connections at once; further ones wait in the kernel's backlog.
    pub connections_max: usize,
    /// Queries at once; further ones are answered 429.
    pub queries_max: usize,
    /// Seconds that one request may take.
    pub request_timeout_s: u64,
}

/// Certificate chain and key, both PEM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
}

/// `intake` in the configuration: where agents ship to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntakeConfig {
    /// Where agents connect.
    pub listen: SocketAddr,
    /// Largest batch, in bytes after decompression.
    pub batch_bytes_max: usize,
    /// Bytes of batches that may wait for names or for the commit at once; above, agents are asked to come again.
    pub pending_bytes_max: usize,
    /// Agents known at once.
    pub agents_max: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8100)),
            tls: TlsConfig::default(),
            tokens_file: None,
            insecure: false,
            hosts: Vec::new(),
            connections_max: 512,
            queries_max: 8,
            request_timeout_s: 60,
        }
    }
}

impl Default for IntakeConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8101)),
            // 10,000 observations of 40 measures with a histogram of 40 buckets: about 6 MiB.
            batch_bytes_max: 8 << 20,
            // 32 of the largest batches, or 2,000 usual ones of 100 KiB.
            pending_bytes_max: 256 << 20,
            // One a node.
            agents_max: 10_000,
        }
    }
}

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    #[error("{key} {listen} is not a loopback address: set server.tls.cert, server.tls.key and server.tokens_file, or server.insecure: true")]
    Exposed { key: &'static str, listen: SocketAddr },
    #[error("server.tls.{given} is set but server.tls.{missing} is not: set both or neither")]
    HalfTls { given: &'static str, missing: &'static str },
    #[error("{0} must be at least 1")]
    Zero(&'static str),
}

impl TlsConfig {
    /// Certificate and key, if both are given.
    ///
    /// # Errors
    /// If only one is.
    pub fn pair(&self) -> Result<Option<(&PathBuf, &PathBuf)>, ConfigError> {
        match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Ok(Some((cert, key))),
            (None, None) => Ok(None),
            (Some(_), None) => Err(ConfigError::HalfTls { given: "cert", missing: "key" }),
            (None, Some(_)) => Err(ConfigError::HalfTls { given: "key", missing: "cert" }),
        }
    }
}

impl HttpConfig {
    /// Checks bounds and that no address beyond loopback is open to all.
    ///
    /// # Errors
    /// Names the key that is wrong and what to set.
    pub fn check(&self, intake: &IntakeConfig) -> Result<(), ConfigError> {
        for (key, value) in
            [("server.connections_max", self.connections_max), ("server.queries_max", self.queries_max), ("intake.agents_max", intake.agents_max)]
        {
            if value == 0 {
                return Err(ConfigError::Zero(key));
            }
        }
        self.check_address("server.listen", self.listen)?;
        self.check_address("intake.listen", intake.listen)
    }

    /// Refuses an address beyond loopback without TLS and tokens, unless `insecure` is set.
    ///
    /// # Errors
    /// As said.
    pub fn check_address(&self, key: &'static str, listen: SocketAddr) -> Result<(), ConfigError> {
        let guarded = self.tls.pair()?.is_some() && self.tokens_file.is_some();
        if listen.ip().to_canonical().is_loopback() || guarded || self.insecure { Ok(()) } else { Err(ConfigError::Exposed { key, listen }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(listen: &str) -> HttpConfig {
        HttpConfig { listen: listen.parse().unwrap(), ..HttpConfig::default() }
    }

    #[test]
    fn an_open_address_needs_tls_and_tokens_or_the_word_insecure() {
        let intake = IntakeConfig::default();
        for closed in ["127.0.0.1:1", "[::1]:1", "127.9.9.9:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(on(closed).check(&intake), Ok(()), "{closed}");
        }
        for open in ["0.0.0.0:1", "[::]:1", "10.0.0.1:1"] {
            assert!(matches!(on(open).check(&intake), Err(ConfigError::Exposed { key: "server.listen", .. })), "{open}");
        }
        let mut config = on("0.0.0.0:1");
        config.tokens_file = Some("tokens".into());
        assert!(config.check(&intake).is_err(), "tokens without TLS travel in the clear");
        config.tls = TlsConfig { cert: Some("c".into()), key: Some("k".into()) };
        assert_eq!(config.check(&intake), Ok(()));
        config.tls.key = None;
        assert!(matches!(config.check(&intake), Err(ConfigError::HalfTls { .. })));
        assert_eq!(HttpConfig { insecure: true, ..on("0.0.0.0:1") }.check(&intake), Ok(()));
        let open = IntakeConfig { listen: "10.0.0.1:8101".parse().unwrap(), ..IntakeConfig::default() };
        assert!(matches!(on("127.0.0.1:1").check(&open), Err(ConfigError::Exposed { key: "intake.listen", .. })));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(serde_json::from_str::<HttpConfig>(r#"{"listn": "127.0.0.1:1"}"#).is_err());
        assert_eq!(serde_json::from_str::<HttpConfig>("{}").unwrap(), HttpConfig::default());
    }
}
