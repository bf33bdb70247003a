//! Calls to other services: half of them on kept connections, half on new ones; time-outs, one retry elsewhere.

use super::counters::{PeerCounts, Role};
use super::names::Name;
use super::stream::{Counted, size_buffer, socket};
use super::{CallConfig, Shared};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A call that has no answer by then is given up; longer than any connect time-out.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Calls per target that may be under way; more are turned away at once, so that one dead server does not fill its callers:
/// 50 calls/s for 1.3 s.
const UNDER_WAY_MAX: usize = 64;

/// Kept connections per replica.
const IDLE_MAX: usize = 8;

/// A kept connection unused for so long is closed; servers keep theirs longer, so that they rarely close first.
const IDLE_TIME_MAX: Duration = Duration::from_secs(30);

/// Share of calls that use kept connections.
const KEPT_SHARE: f64 = 0.5;

/// Tries of a call, each at another replica.
const TRIES: usize = 2;

/// Source of all bodies: what is in them does not matter.
static FILLER: [u8; 64 * 1024] = [b'.'; 64 * 1024];

/// A body of so many bytes, at most 64 KiB.
pub(crate) fn body(bytes: usize) -> Full<Bytes> {
    Full::new(Bytes::from_static(&FILLER[..bytes.min(FILLER.len())]))
}

#[derive(Debug)]
pub(crate) enum CallError {
    Connect,
    Http(hyper::Error),
    /// Answered, but not with 200.
    Status,
    TimedOut,
    /// Too many calls to that target are under way.
    Shed,
    /// Nobody knows where the target is.
    Unresolved,
}

/// All that a process calls.
pub(crate) struct Client {
    shared: Arc<Shared>,
    targets: Vec<Target>,
}

struct Target {
    config: CallConfig,
    name: Arc<Name>,
    replicas: Vec<Replica>,
    under_way: tokio::sync::Semaphore,
}

struct Replica {
    address: SocketAddr,
    host: String,
    counts: Arc<PeerCounts>,
    idle: Mutex<Vec<(Connection, Instant)>>,
}

/// A connection and the task that drives it; dropping it closes the socket at once.
struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Counts a connect as cancelled unless it got an outcome.
struct Outcome<'a> {
    counts: &'a PeerCounts,
    decided: bool,
}

impl Drop for Outcome<'_> {
    fn drop(&mut self) {
        if !self.decided {
            self.counts.cancelled.add(1);
        }
    }
}

impl Client {
    /// # Errors
    /// When a target's name cannot be one in DNS.
    pub fn new(shared: Arc<Shared>) -> io::Result<Client> {
        let replica = |ip: IpAddr, call: &CallConfig| Replica {
            address: SocketAddr::new(ip, call.port),
            host: call.target.clone(),
            counts: shared.ledger.peer(ip, call.port, Role::Client),
            idle: Mutex::default(),
        };
        let target = |call: &CallConfig| {
            Ok(Target {
                replicas: call.replicas.iter().map(|&ip| replica(ip, call)).collect(),
                name: Arc::new(Name::new(&call.host, call.replicas.iter().all(IpAddr::is_ipv6))?),
                config: call.clone(),
                under_way: tokio::sync::Semaphore::new(UNDER_WAY_MAX),
            })
        };
        Ok(Client { targets: shared.config.calls.iter().map(target).collect::<io::Result<_>>()?, shared })
    }

    /// Begins to ask for the addresses of all targets, and waits for the first answers.
    pub async fn learn_names(&self) {
        for target in &self.targets {
            tokio::spawn(target.name.clone().keep(self.shared.clone()));
        }
        for target in &self.targets {
            target.name.first().await;
        }
    }

    /// Makes the calls that one request needs, one after the other; each happens with its probability. A failed call does not
    /// keep the next from being made, but the answer will be a failure.
    pub async fn call_all(&self) -> bool {
        let mut good = true;
        for target in &self.targets {
            let demand = self.shared.behaviour().demand.get(&target.config.target).copied().unwrap_or(1.0);
            let dice = self.shared.dice();
            if dice < target.config.probability * demand {
                good &= self.call(target).await.is_ok();
            } else if dice < target.config.probability {
                self.shared.ledger.effects.requests_withheld.add(1);
            }
        }
        good
    }

    async fn call(&self, target: &Target) -> Result<(), CallError> {
        let Ok(_permit) = target.under_way.try_acquire() else {
            self.shared.ledger.effects.requests_shed.add(1);
            return Err(CallError::Shed);
        };
        let known = target.name.addresses();
        let replicas: Vec<&Replica> = target.replicas.iter().filter(|replica| known.contains(&replica.address.ip())).collect();
        if replicas.is_empty() {
            self.shared.ledger.effects.calls_unresolved.add(1);
            return Err(CallError::Unresolved);
        }
        let mut replica = (self.shared.dice() * replicas.len() as f64) as usize;
        let mut result = Err(CallError::TimedOut);
        for attempt in 0..TRIES {
            if attempt > 0 {
                self.shared.ledger.effects.retries.add(1);
            }
            result = self.attempt(target, replicas[replica]).await;
            // An answer is an answer, even a bad one.
            if matches!(result, Ok(()) | Err(CallError::Status)) {
                break;
            }
            replica = (replica + 1) % replicas.len();
        }
        result
    }

    /// One request to one replica, counted there.
    async fn attempt(&self, target: &Target, replica: &Replica) -> Result<(), CallError> {
        let began = Instant::now();
        let result = timeout(CALL_TIMEOUT, self.exchange(target, replica)).await.unwrap_or_else(|_| {
            replica.counts.request_timeouts.add(1);
            Err(CallError::TimedOut)
        });
        replica.counts.requests.add(1);
        replica.counts.answered(began.elapsed(), result.is_ok());
        result
    }

    async fn exchange(&self, target: &Target, replica: &Replica) -> Result<(), CallError> {
        let bytes = self.shared.size(target.config.request_bytes);
        if self.shared.dice() >= KEPT_SHARE {
            let mut connection = self.connect(target, replica).await?;
            return request(&mut connection.sender, &replica.host, bytes, true).await.and_then(judge);
        }
        if let Some(mut connection) = replica.take_idle() {
            match request(&mut connection.sender, &replica.host, bytes, false).await {
                // The server had closed it: nothing was sent, a new connection is in order.
                Err(CallError::Http(error)) if error.is_canceled() => {}
                other => return self.keep(connection, replica, other),
            }
        }
        let mut connection = self.connect(target, replica).await?;
        let result = request(&mut connection.sender, &replica.host, bytes, false).await;
        self.keep(connection, replica, result)
    }

    /// Keeps a connection that answered; one that broke is closed by being dropped.
    fn keep(&self, connection: Connection, replica: &Replica, result: Result<StatusCode, CallError>) -> Result<(), CallError> {
        let status = result?;
        let mut idle = replica.idle.lock().unwrap_or_else(|e| e.into_inner());
        if !self.shared.is_draining() && idle.len() < IDLE_MAX && !connection.sender.is_closed() {
            idle.push((connection, Instant::now()));
        }
        judge(status)
    }

    async fn connect(&self, target: &Target, replica: &Replica) -> Result<Connection, CallError> {
        let counts = &replica.counts;
        counts.connects.add(1);
        let mut outcome = Outcome { counts, decided: false };
        let began = Instant::now();
        let limit = Duration::from_millis(target.config.connect_timeout_ms.into());
        let connected = timeout(limit, self.open(replica.address)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        outcome.decided = true;
        let stream = connected.inspect_err(|error| counts.connect_failed(error)).map_err(|_| CallError::Connect)?;
        counts.handshake_us.add(began.elapsed().as_micros() as u64);
        let counted = Counted::new(stream, counts.clone(), self.shared.clone());
        let (sender, driver) = http1::handshake(TokioIo::new(counted)).await.map_err(CallError::Http)?;
        // Its error is the request's error too, and is counted there.
        let driver = tokio::spawn(async move {
            let _ = driver.await;
        });
        Ok(Connection { sender, driver })
    }

    async fn open(&self, address: SocketAddr) -> io::Result<TcpStream> {
        let socket = socket(address)?;
        if self.shared.behaviour().read_bytes_per_s.is_some() {
            size_buffer(&socket, true)?;
        }
        socket.connect(address).await
    }

    /// Closes all kept connections that nobody uses.
    pub fn close_idle(&self) {
        for replica in self.targets.iter().flat_map(|t| &t.replicas) {
            replica.idle.lock().unwrap_or_else(|e| e.into_inner()).clear();
        }
    }
}

impl Replica {
    /// The kept connection used last; those that waited too long or were closed are dropped.
    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(|e| e.into_inner());
        idle.retain(|(connection, since)| since.elapsed() < IDLE_TIME_MAX && !connection.sender.is_closed());
        idle.pop().map(|(connection, _)| connection)
    }
}

/// Sends a request and reads the whole answer.
async fn request(sender: &mut SendRequest<Full<Bytes>>, host: &str, bytes: usize, close: bool) -> Result<StatusCode, CallError> {
    let mut request = Request::builder().method(Method::POST).uri("/").header("host", host);
    if close {
        request = request.header("connection", "close");
    }
    let request = request.body(body(bytes)).expect("method, path and headers are constants or checked names");
    sender.ready().await.map_err(CallError::Http)?;
    let response = sender.send_request(request).await.map_err(CallError::Http)?;
    let status = response.status();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(CallError::Http)?;
    }
    Ok(status)
}

fn judge(status: StatusCode) -> Result<(), CallError> {
    if status == StatusCode::OK { Ok(()) } else { Err(CallError::Status) }
}
