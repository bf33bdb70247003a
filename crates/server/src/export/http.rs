//! Posts bodies over HTTP/1.1, in the clear or over TLS, and reads answers as receivers of exports mean them.

use super::config::ExportConfigError;
use super::courier::Answer;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_rustls::{ConfigBuilderExt as _, HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Largest answer that is read, in bytes: a status with an explanation.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// Bytes of an explanation that are shown.
const SHOWN_MAX: usize = 300;
const AGENT: &str = concat!("edgescope/", env!("CARGO_PKG_VERSION"));

/// An authority that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error(transparent)]
    Config(#[from] ExportConfigError),
    #[error("{key} {path}: {reason}")]
    CaFile { key: &'static str, path: String, reason: String },
    #[error("cannot use the system's certificate authorities: {0}; set {1}")]
    System(String, &'static str),
    #[error("export.otlp.endpoint: {0}")]
    Endpoint(String),
}

/// One receiver.
pub struct Poster {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
    headers: HeaderMap,
}

/// What came back.
pub struct Reply {
    pub status: StatusCode,
    pub after: Option<Duration>,
    pub body: Bytes,
}

impl Poster {
    /// A client that trusts `ca_file`, or the system's authorities. Both are only looked at for `https`.
    ///
    /// # Errors
    /// If they cannot be read.
    pub fn new(uri: &Uri, ca_file: Option<&Path>, key: &'static str, headers: HeaderMap, timeout: Duration) -> Result<Self, TrustError> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| TrustError::System(e.to_string(), key))?;
        let tls = match ca_file {
            Some(path) => builder.with_root_certificates(roots(path, key)?).with_no_client_auth(),
            None if uri.scheme_str() == Some("https") => {
                builder.with_native_roots().map_err(|e| TrustError::System(e.to_string(), key))?.with_no_client_auth()
            }
            None => builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth(),
        };
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self { client: Client::builder(TokioExecutor::new()).build(connector), timeout, headers })
    }

    /// Posts a body.
    ///
    /// # Errors
    /// What went wrong on the way, in words: nothing is known of the request then.
    pub async fn post(
        &self,
        uri: &Uri,
        kind: &'static str,
        encoding: Option<&'static str>,
        own: &[(&'static str, &'static str)],
        body: Bytes,
    ) -> Result<Reply, String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
        encoding.map(|encoding| headers.insert(CONTENT_ENCODING, HeaderValue::from_static(encoding)));
        own.iter().for_each(|&(name, value)| drop(headers.insert(name, HeaderValue::from_static(value))));
        headers.extend(self.headers.clone());
        let exchange = async {
            let answer = self.client.request(request).await.map_err(|e| causes(&e))?;
            let (status, after) = (answer.status(), retry_after(answer.headers()));
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await.map_err(|e| format!("reading the answer: {e}"))?;
            Ok(Reply { status, after, body: body.to_bytes() })
        };
        tokio::time::timeout(self.timeout, exchange).await.unwrap_or_else(|_| Err(format!("no answer within {} s", self.timeout.as_secs_f64())))
    }
}

impl Reply {
    /// What a status means where 2xx is success: 429, 502, 503 and 504 pass, and so do all 5xx with `server_errors_pass`.
    pub fn meaning(&self, server_errors_pass: bool) -> Answer {
        let passes = matches!(self.status.as_u16(), 429 | 502..=504) || server_errors_pass && self.status.is_server_error();
        match self.status {
            status if status.is_success() => Answer::Taken { rejected: 0, why: String::new() },
            _ if passes => Answer::Again { after: self.after, why: self.why() },
            _ => Answer::Refused { why: self.why() },
        }
    }

    fn why(&self) -> String {
        // A receiver's words are hostile: characters that steer terminals are shown as what they are.
        let text: String = String::from_utf8_lossy(&self.body).chars().take(SHOWN_MAX).flat_map(char::escape_default).collect();
        format!("{} {text}", self.status)
    }
}

/// Seconds; the other form, a date, is rare enough to be taken for no hint.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// Certificates to trust.
pub(super) fn roots(path: &Path, key: &'static str) -> Result<RootCertStore, TrustError> {
    let wrong = |reason: String| TrustError::CaFile { key, path: path.display().to_string(), reason };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))? {
        store.add(certificate.map_err(|e| wrong(e.to_string()))?).map_err(|e| wrong(e.to_string()))?;
    }
    if store.is_empty() { Err(wrong("it holds no certificate".to_owned())) } else { Ok(store) }
}

/// An error with its causes.
pub(super) fn causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        said = format!("{said}: {cause}");
        source = cause.source();
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_mean_what_the_protocols_say() {
        let reply = |status: u16| Reply { status: StatusCode::from_u16(status).unwrap(), after: None, body: Bytes::from_static(b"no\x1b[31m") };
        let kind = |status, all| match reply(status).meaning(all) {
            Answer::Taken { .. } => "taken",
            Answer::Again { .. } => "again",
            Answer::Refused { .. } => "refused",
        };
        assert_eq!(
            [200, 204, 400, 401, 429, 500, 503].map(|s| kind(s, false)),
            ["taken", "taken", "refused", "refused", "again", "refused", "again"]
        );
        assert_eq!(kind(500, true), "again");
        assert!(matches!(reply(400).meaning(false), Answer::Refused { why } if !why.contains('\x1b') && why.contains("400")));
    }
}
