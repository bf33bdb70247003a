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
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

/// A TLS handshake takes two round trips; ten seconds are a very slow path.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for a request's headers, and so also of an idle HTTP/1 connection.
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
    /// Connections at once; the next waits in the kernel's backlog.
    pub connections_max: usize,
}

impl Door {
    /// Serves until `stop` turns true, then lets open requests end for a moment.
    pub async fn serve(self, metrics: Arc<Metrics>, mut stop: watch::Receiver<bool>) {
        let slots = Arc::new(Semaphore::new(self.connections_max));
        let tls = self.tls.map(TlsAcceptor::from);
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
            tokio::spawn(connection(stream, ends, slot, tls.clone(), self.router.clone(), stop.clone()));
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
async fn connection(
    stream: TcpStream,
    ends: Ends,
    slot: OwnedSemaphorePermit,
    tls: Option<TlsAcceptor>,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let served = match tls {
        None => http(stream, ends, router, stop).await,
        Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
            Ok(Ok(stream)) => http(stream, ends, router, stop).await,
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err("handshake took too long".into()),
        },
    };
    if let Err(error) = served {
        tracing::debug!(peer = %ends.peer, error, "connection ended");
    }
    drop(slot);
}

/// Serves requests until the client has no more, or `stop` turns true and the open ones have ended.
async fn http<S>(stream: S, ends: Ends, router: Router, mut stop: watch::Receiver<bool>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let service = hyper::service::service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(ends);
        router.clone().oneshot(request)
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).max_buf_size(HEADER_BYTES_MAX as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(HEADER_BYTES_MAX)
        .max_concurrent_streams(STREAMS_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        served = connection.as_mut() => return served,
        _ = stop.wait_for(|&s| s) => connection.as_mut().graceful_shutdown(),
    }
    connection.await
}
