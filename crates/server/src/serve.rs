//! Accepts connections and serves a router on them: one loop for the UI and API and for the intake, with a bound on connections, on handshakes and on
//! how slowly a client may send its headers.

use crate::metrics::Metrics;
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::ServerConfig;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// A TLS handshake takes two round trips; ten seconds are a very slow path.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a request's headers, and so also of an idle HTTP/1 connection; and for the first request of any, since a version is told from its first bytes.
const HEADER_TIMEOUT: Duration = Duration::from_secs(30);
/// HTTP/2 connections that do not answer a ping for as long are closed.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// All headers of a request: eight times the longest sensible URL.
const HEADER_BYTES_MAX: u32 = 32 << 10;
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 64;
/// How long open requests may take to end at shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause after a failed accept, which is nearly always a lack of file descriptors: trying again at once would only burn time.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The two ends of a connection, given to each of its requests.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub peer: SocketAddr,
    pub local: SocketAddr,
}

/// One listening door.
pub struct Door {
    /// Its name in metrics and logs.
    pub name: &'static str,
    pub listener: TcpListener,
    pub tls: Option<Arc<ServerConfig>>,
    pub router: Router,
    /// Speaks gRPC alone. A web page cannot make a browser send what HTTP/2 without TLS begins with, so none can reach it.
    pub http2_only: bool,
    /// Connections at once; the next waits in the kernel's backlog.
    pub connections_max: usize,
    /// Time for a connection's first request.
    pub first_timeout: Duration,
}

/// Time for a connection's first request, where nothing asks for less.
pub const FIRST_TIMEOUT: Duration = HEADER_TIMEOUT;

/// What all connections of a door share.
#[derive(Clone)]
struct Shared {
    tls: Option<TlsAcceptor>,
    router: Router,
    http2_only: bool,
    first_timeout: Duration,
    metrics: Arc<Metrics>,
    stop: watch::Receiver<bool>,
}

/// Why a connection ended before its time.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("TLS handshake: {0}")]
    Tls(io::Error),
    #[error("TLS handshake took longer than {HANDSHAKE_TIMEOUT:?}")]
    SlowTls,
    #[error("no request within {0:?}")]
    Silent(Duration),
    #[error(transparent)]
    Http(Box<dyn std::error::Error + Send + Sync>),
}

impl Failure {
    const fn reason(&self) -> &'static str {
        match self {
            Self::Tls(_) => "tls",
            Self::SlowTls => "tls_timeout",
            Self::Silent(_) => "silent",
            Self::Http(_) => "http",
        }
    }
}

impl Door {
    /// Serves until `stop` turns true, then lets open requests end for a moment.
    pub async fn serve(self, metrics: Arc<Metrics>, mut stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(self.connections_max));
        let shared = Shared {
            tls: self.tls.map(TlsAcceptor::from),
            router: self.router,
            http2_only: self.http2_only,
            first_timeout: self.first_timeout,
            metrics: Arc::clone(&metrics),
            stop: stop.clone(),
        };
        loop {
            let accepted = tokio::select! {
                accepted = accept(&self.listener, &slots) => accepted,
                _ = stop.wait_for(|&s| s) => break,
            };
            let (stream, ends, slot) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(door = self.name, %error, "cannot accept a connection");
                    metrics.accept_failures.inc();
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            metrics.connections(self.name).inc();
            tokio::spawn(connection(stream, ends, slot, shared.clone()));
        }
        drop(self.listener);
        // Every open connection holds a slot; having them all means that none is left.
        let all = u32::try_from(self.connections_max).unwrap_or(u32::MAX);
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, slots.acquire_many(all)).await.is_err() {
            tracing::info!(door = self.name, "requests still open after {SHUTDOWN_TIMEOUT:?} were cut off");
        }
    }
}

async fn accept(listener: &TcpListener, slots: &Arc<Semaphore>) -> io::Result<(TcpStream, Ends, OwnedSemaphorePermit)> {
    let slot = Arc::clone(slots).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?;
    Ok((stream, Ends { peer, local }, slot))
}

/// One connection from handshake to end; the slot is held as long.
async fn connection(stream: TcpStream, ends: Ends, slot: OwnedSemaphorePermit, shared: Shared) {
    let served = match shared.tls.clone() {
        None => http(stream, ends, &shared).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => http(stream, ends, &shared).await,
            Ok(Err(error)) => Err(Failure::Tls(error)),
            Err(_) => Err(Failure::SlowTls),
        },
    };
    if let Err(failure) = served {
        shared.metrics.connection_failed(failure.reason());
        tracing::debug!(peer = %ends.peer, %failure, "connection ended");
    }
    drop(slot);
}

/// Serves requests until the client has no more, or `stop` turns true and the open ones have ended.
async fn http<S>(stream: S, ends: Ends, shared: &Shared) -> Result<(), Failure>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let asked = Arc::new(AtomicBool::new(false));
    let (router, seen) = (shared.router.clone(), Arc::clone(&asked));
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        seen.store(true, Ordering::Relaxed);
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ends);
        router.clone().oneshot(request)
    });
    let builder = builder(shared.http2_only);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    let mut stop = shared.stop.clone();
    tokio::select! {
        served = connection.as_mut() => return served.map_err(Failure::Http),
        () = silent(&asked, shared.first_timeout) => return Err(Failure::Silent(shared.first_timeout)),
        _ = stop.wait_for(|&s| s) => connection.as_mut().graceful_shutdown(),
    }
    connection.await.map_err(Failure::Http)
}

/// Ends if no request has come in time, else never.
async fn silent(asked: &AtomicBool, first_timeout: Duration) {
    tokio::time::sleep(first_timeout).await;
    if asked.load(Ordering::Relaxed) {
        std::future::pending().await
    }
}

fn builder(http2_only: bool) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX);
    if http2_only { builder.http2_only() } else { builder }
}
