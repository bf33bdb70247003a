//! Asks a server's API, for the commands that show data.

use anyhow::{Context, anyhow, bail};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use ureq::tls::{PemItem, RootCerts, TlsConfig};

/// Where a server is by default.
pub const DEFAULT_SERVER: &str = "http://127.0.0.1:8100";
/// Largest answer read, in bytes: 100,000 rows of 500 bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
/// A query may take its whole time limit at the server, and then the answer has to travel.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Where and as whom to ask.
#[derive(Debug, Clone, clap::Args)]
pub struct Asking {
    /// Server to ask.
    #[arg(long, value_name = "URL", default_value = DEFAULT_SERVER, env = "EDGESCOPE_SERVER")]
    pub server: String,
    /// File with the bearer token, where the server wants one.
    #[arg(long, value_name = "FILE", env = "EDGESCOPE_TOKEN_FILE")]
    pub token_file: Option<PathBuf>,
    /// PEM file of the authority to trust, where the server's certificate is not signed by a public one.
    #[arg(long, value_name = "FILE", env = "EDGESCOPE_CA_FILE")]
    pub ca_file: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
}

impl Asking {
    /// GETs `/api/v1{path}` with query parameters.
    pub fn get<T: DeserializeOwned>(&self, path: &str, parameters: &[(&str, String)]) -> anyhow::Result<T> {
        let base = self.server.trim_end_matches('/');
        let config = ureq::Agent::config_builder().timeout_global(Some(TIMEOUT)).http_status_as_error(false).max_redirects(0);
        let agent: ureq::Agent = config.tls_config(self.tls()?).build().into();
        let mut request = agent.get(format!("{base}/api/v1{path}"));
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        if let Some(file) = &self.token_file {
            let token = std::fs::read_to_string(file).with_context(|| format!("cannot read token file {}", file.display()))?;
            if token.trim().is_empty() || !token.trim().bytes().all(|byte| byte.is_ascii_graphic()) {
                bail!("token file {} is not a token: it holds the one word that `edgescope config token` printed, and no more", file.display());
            }
            request = request.header("authorization", format!("Bearer {}", token.trim()));
        }
        let mut answer = request.call().map_err(|error| anyhow!("no answer from {base}: {error}; {}", remedy(base, &error)))?;
        let status = answer.status();
        let body =
            answer.body_mut().with_config().limit(ANSWER_BYTES_MAX).read_to_string().with_context(|| format!("reading the answer of {base}"))?;
        if !status.is_success() {
            bail!("{}", complaint(status.as_u16(), &body));
        }
        serde_json::from_str(&body)
            .with_context(|| format!("{base} answered something else than this version's API: are client and server of one version?"))
    }
}

impl Asking {
    fn tls(&self) -> anyhow::Result<TlsConfig> {
        let Some(file) = &self.ca_file else { return Ok(TlsConfig::default()) };
        let pem = std::fs::read(file).with_context(|| format!("cannot read certificate file {}", file.display()))?;
        let mut roots = Vec::new();
        for item in ureq::tls::parse_pem(&pem) {
            if let PemItem::Certificate(certificate) = item.with_context(|| format!("certificate file {}", file.display()))? {
                roots.push(certificate);
            }
        }
        if roots.is_empty() {
            bail!("certificate file {} holds no certificate: give PEM, as in server.tls.cert", file.display());
        }
        Ok(TlsConfig::builder().root_certs(RootCerts::new_with_certs(&roots)).build())
    }
}

/// What to do about a server that did not answer.
fn remedy(base: &str, error: &ureq::Error) -> &'static str {
    match error {
        ureq::Error::Http(_) | ureq::Error::BadUri(_) => "write --server as http://HOST:PORT or https://HOST:PORT",
        ureq::Error::HostNotFound => "no such host is known: check --server",
        _ if error.to_string().contains("lookup address") => "no such host is known: check --server",
        ureq::Error::Protocol(_) if base.starts_with("http://") => "something else than plain HTTP is spoken there: is it https://?",
        // As the library hands it on: an error of reading, with rustls' words.
        _ if error.to_string().contains("certificate") => {
            "no authority known here vouches for the server's certificate, or it is another host's: give the authority's with --ca-file"
        }
        _ => "is a server running there? start one with `edgescope up` or `edgescope demo`, or name it with --server",
    }
}

/// The server's error in one line.
fn complaint(status: u16, body: &str) -> String {
    let error: Value = serde_json::from_str(body).unwrap_or_default();
    let text = |name: &str| error.get(name).and_then(Value::as_str).map(str::to_owned);
    match (status, text("error"), text("remedy")) {
        (401 | 403, said, _) => {
            format!("{}: give a token of a sufficient role with --token-file", said.unwrap_or_else(|| format!("the server refused ({status})")))
        }
        (_, Some(said), Some(remedy)) => format!("{said}; {remedy}"),
        (_, Some(said), None) => said,
        _ => format!("the server answered {status}: {}", body.chars().take(200).collect::<String>()),
    }
}
