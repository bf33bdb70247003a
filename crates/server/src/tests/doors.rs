//! Real sockets: TLS, limits, stopping.

use super::memory::MemoryTables;
use super::tokens;
use crate::config::{HttpConfig, TlsConfig};
use crate::metrics::Metrics;
use crate::serve::Door;
use crate::server::{Listeners, Server, ServerConfig, ServerError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsConnector;

fn any_port() -> ServerConfig {
    let mut config = ServerConfig::default();
    config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config.intake.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config
}

async fn start(config: ServerConfig, listeners: Listeners) -> Result<Server, ServerError> {
    Server::start(config, Arc::new(MemoryTables::default()), listeners).await
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

/// A certificate for localhost with its key, as files.
fn certificate(dir: &TempDir) -> TlsConfig {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.path().join("cert.pem"), dir.path().join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    TlsConfig { cert: Some(cert), key: Some(key) }
}

#[tokio::test]
async fn starts_answers_and_stops() {
    let server = start(any_port(), Listeners::default()).await.unwrap();
    let (http, intake) = (server.http, server.intake);
    assert!(ask(TcpStream::connect(http).await.unwrap(), "/livez").await.starts_with("HTTP/1.1 200"));
    server.stop().await;
    assert!(TcpStream::connect(http).await.is_err() && TcpStream::connect(intake).await.is_err());
}

#[tokio::test]
async fn a_port_in_use_is_said_so() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = any_port();
    config.server.listen = taken.local_addr().unwrap();
    let error = start(config, Listeners::default()).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("server.listen") && error.contains("another edgescope"), "{error}");
}

#[tokio::test]
async fn doors_given_open_are_held_to_the_same_rules() {
    let wide = || async { TcpListener::bind("0.0.0.0:0").await.unwrap() };
    let refused = start(any_port(), Listeners { intake: Some(wide().await), ..Listeners::default() }).await;
    assert!(matches!(refused.map(|_| ()), Err(ServerError::Config(_))));
    let private = start(any_port(), Listeners { intake: Some(wide().await), intake_private: true, ..Listeners::default() }).await.unwrap();
    assert!(!private.state().insecure);
    private.stop().await;
    let mut config = any_port();
    config.server.insecure = true;
    let insecure = start(config, Listeners { http: Some(wide().await), ..Listeners::default() }).await.unwrap();
    assert!(insecure.state().insecure, "the UI says so");
    insecure.stop().await;
    // Tokens that travel in the clear guard nothing.
    let dir = tempfile::tempdir().unwrap();
    let tokens_file = dir.path().join("tokens");
    std::fs::write(&tokens_file, crate::auth::new_token(crate::Role::Viewer, &[], None).unwrap().line).unwrap();
    let mut config = any_port();
    (config.server.insecure, config.server.tokens_file) = (true, Some(tokens_file));
    let clear = start(config, Listeners { http: Some(wide().await), ..Listeners::default() }).await.unwrap();
    assert!(clear.state().insecure);
    clear.stop().await;
}

#[tokio::test]
async fn tls_and_tokens_open_a_wide_door() {
    let dir = tempfile::tempdir().unwrap();
    let tls = certificate(&dir);
    let (_, secrets) = tokens();
    let token = crate::auth::new_token(crate::Role::Viewer, &[], Some("me")).unwrap();
    let tokens_file = dir.path().join("tokens");
    std::fs::write(&tokens_file, &token.line).unwrap();
    let mut config = any_port();
    config.server =
        HttpConfig { listen: SocketAddr::from(([0, 0, 0, 0], 0)), tls: tls.clone(), tokens_file: Some(tokens_file), ..HttpConfig::default() };
    let server = start(config, Listeners::default()).await.unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(tls.cert.unwrap()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let connect = || async {
        let stream = TcpStream::connect(("127.0.0.1", server.http.port())).await.unwrap();
        TlsConnector::from(Arc::new(client.clone())).connect(ServerName::try_from("localhost").unwrap(), stream).await.unwrap()
    };
    assert!(ask(connect().await, "/livez").await.starts_with("HTTP/1.1 200"));
    assert!(ask(connect().await, "/api/v1/status").await.starts_with("HTTP/1.1 401"));
    let with = |secret: &str| format!("/api/v1/status HTTP/1.1\r\nauthorization: Bearer {secret}\r\nx: ");
    assert!(ask(connect().await, &with(&token.secret)).await.starts_with("HTTP/1.1 200"));
    assert!(ask(connect().await, &with(&secrets[&crate::Role::Admin])).await.starts_with("HTTP/1.1 401"), "another file's token");
    server.stop().await;
}

#[tokio::test]
async fn a_missing_certificate_is_named() {
    let mut config = any_port();
    config.server.tls = TlsConfig { cert: Some("/nowhere/cert.pem".into()), key: Some("/nowhere/key.pem".into()) };
    let error = start(config, Listeners::default()).await.map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("server.tls.cert /nowhere/cert.pem"), "{error}");
}

#[tokio::test]
async fn connections_that_ask_nothing_are_closed() {
    for (http2_only, begun) in [(false, &b""[..]), (false, &b"G"[..]), (true, &b""[..]), (true, &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..])] {
        let metrics = Arc::new(Metrics::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let door = Door {
            name: "http",
            listener,
            tls: None,
            router: axum::Router::new(),
            http2_only,
            connections_max: 1,
            first_timeout: Duration::from_millis(50),
        };
        let stop = watch::Sender::new(false);
        let serving = tokio::spawn(door.serve(Arc::clone(&metrics), stop.subscribe()));
        let mut silent = TcpStream::connect(at).await.unwrap();
        silent.write_all(begun).await.unwrap();
        // Closed, not held: the read ends.
        silent.read_to_end(&mut Vec::new()).await.ok();
        while metrics.connections_failed("silent") == 0 {
            tokio::task::yield_now().await;
        }
        stop.send_replace(true);
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn idle_connections_hold_no_more_than_their_slots() {
    let mut config = any_port();
    config.server.connections_max = 2;
    let server = start(config, Listeners::default()).await.unwrap();
    let idle = [TcpStream::connect(server.http).await.unwrap(), TcpStream::connect(server.http).await.unwrap()];
    while server.state().metrics.connections("http").get() < 2 {
        tokio::task::yield_now().await;
    }
    let third = TcpStream::connect(server.http).await.unwrap();
    let waiting = tokio::spawn(ask(third, "/livez"));
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!waiting.is_finished(), "the third waits for a slot");
    drop(idle);
    assert!(waiting.await.unwrap().starts_with("HTTP/1.1 200"));
    server.stop().await;
}
