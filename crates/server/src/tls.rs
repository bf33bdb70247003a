//! TLS from PEM files.

use crate::config::{ConfigError, TlsConfig};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A certificate or key that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{key} {path}: {source}", path = .path.display())]
    Pem { key: &'static str, path: PathBuf, source: rustls::pki_types::pem::Error },
    #[error("server.tls.cert {path} holds no certificate", path = .0.display())]
    NoCertificate(PathBuf),
    #[error("certificate {cert} and key {key} do not work together: {source}", cert = .cert.display(), key = .key.display())]
    Pair { cert: PathBuf, key: PathBuf, source: rustls::Error },
}

/// Reads certificate and key; `None` if TLS is not configured. Offers HTTP/2 and HTTP/1.1.
///
/// # Errors
/// Names the file that is wrong.
pub fn acceptor(config: &TlsConfig) -> Result<Option<Arc<ServerConfig>>, TlsError> {
    let Some((cert, key)) = config.pair()? else { return Ok(None) };
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| TlsError::Pem { key: "server.tls.key", path: key.clone(), source })?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|b| b.with_no_client_auth().with_single_cert(chain, private))
        .map_err(|source| TlsError::Pair { cert: cert.clone(), key: key.clone(), source })?;
    server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Some(Arc::new(server)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = |source| TlsError::Pem { key: "server.tls.cert", path: path.to_owned(), source };
    let chain = CertificateDer::pem_file_iter(path).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    if chain.is_empty() { Err(TlsError::NoCertificate(path.to_owned())) } else { Ok(chain) }
}
