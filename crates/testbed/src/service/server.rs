//! Answers requests: read, think, call others, answer.

use super::client::{Client, body};
use super::counters::{PeerCounts, Role};
use super::stream::{Counted, socket};
use super::{ServiceConfig, Shared};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// Waiting connections; more than a burst of all callers' bulkheads.
const BACKLOG: u32 = 512;

/// A connection without a request for so long is closed; longer than clients keep theirs.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

/// Open connections; 12 callers with 64 calls under way and 8 idle ones each are fewer.
const CONNECTIONS_MAX: u64 = 2_048;

/// Sockets of the service: one for both families or one for each, as the config says; none for a load generator or a resolver.
pub(crate) fn listeners(config: &ServiceConfig) -> io::Result<Vec<TcpListener>> {
    let Some(port) = config.listen.filter(|_| config.records.is_none()) else { return Ok(Vec::new()) };
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    if config.listen_dual { Ok(vec![listen(v6, false)?]) } else { Ok(vec![listen(v4, false)?, listen(v6, true)?]) }
}

/// Accepted sockets have the listener's congestion control.
fn listen(address: SocketAddr, v6only: bool) -> io::Result<TcpListener> {
    let socket = socket(address)?;
    if address.is_ipv6() {
        rustix::net::sockopt::set_ipv6_v6only(&socket, v6only)?;
    }
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Accepts for ever.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, client: Arc<Client>) {
    let open = Arc::new(());
    loop {
        match listener.accept().await {
            Ok(_) if Arc::strong_count(&open) as u64 > CONNECTIONS_MAX => shared.ledger.effects.connections_shed.add(1),
            Ok((stream, peer)) => {
                let (shared, client, open) = (shared.clone(), client.clone(), open.clone());
                tokio::spawn(async move {
                    connection(stream, peer, shared, client).await;
                    drop(open);
                });
            }
            // Out of file descriptors, or a connection that died while waiting: the next may do better.
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, shared: Arc<Shared>, client: Arc<Client>) {
    let port = shared.config.listen.expect("only a listening service accepts");
    let counts = shared.ledger.peer(peer.ip(), port, Role::Server);
    let io = TokioIo::new(Counted::new(stream, counts.clone(), shared.clone()));
    let answer = service_fn(|request| answer(request, &counts, &shared, &client));
    let served = http1::Builder::new().timer(TokioTimer::new()).header_read_timeout(IDLE_TIME_MAX).serve_connection(io, answer);
    // A client that goes away is counted by what it did not get; there is nobody to tell.
    let _ = served.await;
}

async fn answer(request: Request<Incoming>, counts: &PeerCounts, shared: &Shared, client: &Client) -> Result<Response<Full<Bytes>>, Infallible> {
    let began = Instant::now();
    let _in_flight = InFlight::new(shared);
    let mut incoming = request.into_body();
    let mut whole = true;
    while let Some(frame) = incoming.frame().await {
        whole &= frame.is_ok();
    }
    think(shared).await;
    let good = client.call_all().await && whole;
    counts.requests.add(1);
    counts.answered(began.elapsed(), good);
    let mut response = Response::new(body(shared.size(shared.config.response_bytes)));
    if !good {
        *response.status_mut() = StatusCode::BAD_GATEWAY;
    }
    Ok(response)
}

async fn think(shared: &Shared) {
    let added_us = shared.behaviour().think_added_us;
    if added_us > 0 {
        shared.ledger.effects.requests_delayed.add(1);
        shared.ledger.effects.think_added_us.add(added_us.into());
    }
    let usual = shared.exponential(f64::from(shared.config.think_us) / 1e6);
    tokio::time::sleep(usual + Duration::from_micros(added_us.into())).await;
}

/// Counts a request as under way while it lives.
pub(crate) struct InFlight<'a>(&'a Shared);

impl InFlight<'_> {
    pub fn new(shared: &Shared) -> InFlight<'_> {
        shared.ledger.in_flight.add(1);
        InFlight(shared)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.ledger.in_flight.sub(1);
    }
}
