//! `export` in the configuration: what leaves the house, and where to.

use super::secret::Headers;
use edgescope_model::metric::choice::{Choice, ChoiceError};
use edgescope_model::metric::labels::Aggregation;
use edgescope_model::query::LIMIT_MAX;
use edgescope_model::time::Resolution;
use hyper::Uri;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Everything about exports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ExportConfig {
    /// Seconds of a slot; slots begin at multiples of it.
    pub interval_s: u32,
    /// Seconds that a slot waits for late agents.
    pub wait_s: u32,
    /// Seconds for which a slot is kept for a receiver that does not take it; the tables hold it meanwhile.
    pub backlog_max_s: u32,
    /// Edges of one slot over OTLP; what exceeds them is summed as `(other)`.
    pub series_max: usize,
    /// Metrics to turn on, heard after `disable`.
    pub enable: Vec<String>,
    pub disable: Vec<String>,
    pub legacy_units: LegacyUnits,
    pub aggregations: Vec<Aggregation>,
    /// Where it is kept what was exported; absent: `export.json` in the store's directory.
    pub state_file: Option<PathBuf>,
    pub otlp: OtlpConfig,
    pub prometheus: PrometheusConfig,
    pub flow_logs: FlowLogsConfig,
}

/// How averages of the original are labelled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LegacyUnits {
    /// Seconds, as they are.
    #[default]
    Correct,
    /// `us`, although the values are seconds, as the original did.
    Original,
}

/// An OTLP receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OtlpConfig {
    /// `http://HOST:4317` or `https://…`; absent: nothing is sent. Over HTTP, paths are added to it.
    pub endpoint: Option<String>,
    pub protocol: OtlpProtocol,
    pub compression: Compression,
    /// Sent with every request; their values are secrets.
    pub headers: Headers,
    /// Authority to trust, PEM; absent: those of the system.
    pub ca_file: Option<PathBuf>,
    pub timeout_s: u32,
}

/// How OTLP travels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OtlpProtocol {
    #[default]
    Grpc,
    /// Protocol buffers over HTTP.
    Http,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    #[default]
    Gzip,
    None,
}

/// Prometheus, both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PrometheusConfig {
    /// Whether `/metrics/edges` answers.
    pub scrape: bool,
    /// Edges at once; what exceeds them is summed as `(other)`.
    pub series_max: usize,
    pub remote_write: RemoteWriteConfig,
}

/// Where to write to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RemoteWriteConfig {
    /// The whole URL, as `http://HOST:9090/api/v1/write`; absent: nothing is written.
    pub url: Option<String>,
    pub headers: Headers,
    pub ca_file: Option<PathBuf>,
    pub timeout_s: u32,
}

/// Edges of ten-second windows, one record each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlowLogsConfig {
    /// As OTLP logs to `export.otlp.endpoint`.
    pub otlp: bool,
    /// As JSON lines to this file; `-` is standard output.
    pub file: Option<PathBuf>,
    /// The file is renamed to `FILE.1` at this size, and one before it goes.
    pub file_bytes_max: u64,
    /// Edges of one window, the largest first; what exceeds them is counted.
    pub edges_max: usize,
    /// The original's line as the body of OTLP records.
    pub legacy_body: bool,
}

impl Default for ExportConfig {
    fn default() -> Self {
        Self {
            interval_s: 30,
            wait_s: 60,
            backlog_max_s: 3_600,
            // 10,000 edges of 21 metrics are 210,000 points, 105 requests of 2 MB a slot.
            series_max: 10_000,
            enable: Vec::new(),
            disable: Vec::new(),
            legacy_units: LegacyUnits::default(),
            aggregations: vec![Aggregation::AzAz],
            state_file: None,
            otlp: OtlpConfig::default(),
            prometheus: PrometheusConfig::default(),
            flow_logs: FlowLogsConfig::default(),
        }
    }
}

impl Default for OtlpConfig {
    fn default() -> Self {
        Self {
            endpoint: None,
            protocol: OtlpProtocol::default(),
            compression: Compression::default(),
            headers: Headers::default(),
            ca_file: None,
            timeout_s: 10,
        }
    }
}

impl Default for PrometheusConfig {
    fn default() -> Self {
        // 2,000 edges of 21 metrics are 42,000 lines, about 20 MB before compression.
        Self { scrape: true, series_max: 2_000, remote_write: RemoteWriteConfig::default() }
    }
}

impl Default for RemoteWriteConfig {
    fn default() -> Self {
        Self { url: None, headers: Headers::default(), ca_file: None, timeout_s: 30 }
    }
}

impl Default for FlowLogsConfig {
    fn default() -> Self {
        Self { otlp: false, file: None, file_bytes_max: 100 << 20, edges_max: 5_000, legacy_body: false }
    }
}

/// Exports that cannot be done as told.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ExportConfigError {
    #[error("export.interval_s is {0}: it must be a multiple of 10 between 10 and 600, since windows have ten seconds")]
    Interval(u32),
    #[error("{key} is {value}: it must be between 1 and {max}")]
    Bound { key: &'static str, value: u64, max: u64 },
    #[error("{key} '{value}' is not http://HOST[:PORT] or https://HOST[:PORT], with a path where one is meant")]
    Url { key: &'static str, value: String },
    #[error("export.aggregations must name each of az_az, az_id, id_az, id_id at most once, and at least one")]
    Aggregations,
    #[error("{key} has '{name}', which is no name or value of a header")]
    Header { key: &'static str, name: String },
    #[error("export.flow_logs.otlp is true but export.otlp.endpoint is not set: set the endpoint, or export.flow_logs.file")]
    FlowLogsNowhere,
    #[error(transparent)]
    Choice(#[from] ChoiceError),
}

impl ExportConfig {
    /// The metrics that are on.
    ///
    /// # Errors
    /// Names what is no metric.
    pub fn choice(&self) -> Result<Choice, ChoiceError> {
        Choice::new(&self.enable, &self.disable)
    }

    /// Checks everything.
    ///
    /// # Errors
    /// Begins with the key that is wrong.
    pub fn check(&self) -> Result<(), ExportConfigError> {
        let interval = i64::from(self.interval_s);
        if !(10..=600).contains(&interval) || interval % Resolution::TenSeconds.seconds() != 0 {
            return Err(ExportConfigError::Interval(self.interval_s));
        }
        let lines = &self.flow_logs;
        let bounds = [
            ("export.wait_s", u64::from(self.wait_s), 600),
            // Ten-second rows are kept for two days by default.
            ("export.backlog_max_s", u64::from(self.backlog_max_s), 86_400),
            ("export.series_max", self.series_max as u64, LIMIT_MAX as u64),
            ("export.prometheus.series_max", self.prometheus.series_max as u64, LIMIT_MAX as u64),
            ("export.otlp.timeout_s", u64::from(self.otlp.timeout_s), 300),
            ("export.prometheus.remote_write.timeout_s", u64::from(self.prometheus.remote_write.timeout_s), 300),
            ("export.flow_logs.edges_max", lines.edges_max as u64, LIMIT_MAX as u64),
            ("export.flow_logs.file_bytes_max", lines.file_bytes_max, u64::MAX),
        ];
        if let Some(&(key, value, max)) = bounds.iter().find(|(_, value, max)| !(1..=*max).contains(value)) {
            return Err(ExportConfigError::Bound { key, value, max });
        }
        if self.aggregations.is_empty() || self.aggregations.iter().collect::<BTreeSet<_>>().len() != self.aggregations.len() {
            return Err(ExportConfigError::Aggregations);
        }
        check_url("export.otlp.endpoint", self.otlp.endpoint.as_deref())?;
        check_url("export.prometheus.remote_write.url", self.prometheus.remote_write.url.as_deref())?;
        check_headers("export.otlp.headers", &self.otlp.headers)?;
        check_headers("export.prometheus.remote_write.headers", &self.prometheus.remote_write.headers)?;
        if lines.otlp && self.otlp.endpoint.is_none() {
            return Err(ExportConfigError::FlowLogsNowhere);
        }
        self.choice()?;
        Ok(())
    }
}

fn check_url(key: &'static str, url: Option<&str>) -> Result<(), ExportConfigError> {
    let Some(url) = url else { return Ok(()) };
    let good = url.parse::<Uri>().is_ok_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some());
    if good { Ok(()) } else { Err(ExportConfigError::Url { key, value: url.to_owned() }) }
}

fn check_headers(key: &'static str, headers: &Headers) -> Result<(), ExportConfigError> {
    match headers.wrong() {
        Some(name) => Err(ExportConfigError::Header { key, name: name.to_owned() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(config: &str) -> String {
        serde_json::from_str::<ExportConfig>(config).expect("well formed").check().expect_err("refused").to_string()
    }

    #[test]
    fn the_default_is_sound_and_sends_nothing() {
        let config = ExportConfig::default();
        assert_eq!(config.check(), Ok(()));
        assert_eq!((config.otlp.endpoint, config.prometheus.remote_write.url, config.flow_logs.file), (None, None, None));
    }

    #[test]
    fn what_cannot_be_used_names_its_key() {
        for (config, said) in [
            (r#"{"interval_s": 25}"#, "export.interval_s is 25"),
            (r#"{"series_max": 0}"#, "export.series_max is 0"),
            (r#"{"aggregations": []}"#, "export.aggregations"),
            (r#"{"aggregations": ["az_az", "az_az"]}"#, "export.aggregations"),
            (r#"{"otlp": {"endpoint": "collector:4317"}}"#, "export.otlp.endpoint 'collector:4317'"),
            (r#"{"prometheus": {"remote_write": {"url": "/api/v1/write"}}}"#, "export.prometheus.remote_write.url"),
            (r#"{"otlp": {"headers": {"bad name": "x"}}}"#, "export.otlp.headers has 'bad name'"),
            (r#"{"otlp": {"headers": {"x": "two\nlines"}}}"#, "export.otlp.headers has 'x'"),
            (r#"{"flow_logs": {"otlp": true}}"#, "export.flow_logs.otlp"),
            (r#"{"enable": ["tcp.byte"]}"#, "export.enable has 'tcp.byte'"),
        ] {
            assert!(refusal(config).starts_with(said), "{config}: {}", refusal(config));
        }
    }

    #[test]
    fn headers_are_never_shown() {
        let config: ExportConfig = serde_json::from_str(r#"{"otlp": {"headers": {"authorization": "Bearer s3cret"}}}"#).expect("well formed");
        let shown = serde_json::to_string(&config).expect("serialises") + &format!("{config:?}");
        assert!(!shown.contains("s3cret") && shown.contains("authorization"), "{shown}");
        assert_eq!(config.otlp.headers.map().expect("good")["authorization"].to_str().ok(), Some("Bearer s3cret"));
    }
}
