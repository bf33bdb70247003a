//! An intake that keeps a book of what it takes, and has moods.

use edgescope_model::signal::TCP_BYTES;
use edgescope_model::wire::intake_server::{Intake, IntakeServer};
use edgescope_model::wire::{Ack, Batch, HelloReply, HelloRequest, LeaveReply, LeaveRequest, ServerClock};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status};

/// What the intake has taken, across its lives.
#[derive(Debug, Default)]
pub struct Book {
    pub committed: u64,
    pub hellos: Vec<HelloRequest>,
    pub windows: Vec<(i64, i64)>,
    pub bytes: u64,
    pub batches: Vec<Batch>,
    pub calls: u64,
    pub duplicates: u64,
    pub tokens: Vec<String>,
    /// Farewells, with how many batches were committed before each.
    pub left: Vec<(LeaveRequest, u64)>,
}

/// What the next calls of `ship` do, last first; empty: all is well.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Mood {
    CommitButLoseTheReply,
    CommitButAskForPatience,
    AskForPatience,
    Fail,
    RefuseForGood,
}

#[derive(Clone, Default)]
pub struct Fake {
    pub book: Arc<Mutex<Book>>,
    pub moods: Arc<Mutex<Vec<Mood>>>,
    /// Addresses that the agent should keep apart, as told with each batch.
    pub apart: Arc<Mutex<Vec<Vec<u8>>>>,
    /// The server's clock is ahead by this, in microseconds.
    pub ahead_us: i64,
}

impl Fake {
    pub fn now_us(&self) -> i64 {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as i64 + self.ahead_us
    }

    fn clock(&self) -> Option<ServerClock> {
        Some(ServerClock { received_us: self.now_us(), replied_us: self.now_us() })
    }

    pub fn book(&self) -> std::sync::MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }

    fn commit(&self, batch: &Batch) -> u64 {
        let mut book = self.book();
        if batch.sequence <= book.committed {
            book.duplicates += 1;
            return book.committed;
        }
        book.committed = batch.sequence;
        book.windows.push((batch.window_start_us, batch.window_end_us));
        let sent = batch.observations.iter().flat_map(|o| &o.sent).filter(|m| m.signal == u32::from(TCP_BYTES.id));
        book.bytes += sent.map(|m| m.value).sum::<u64>();
        book.batches.push(batch.clone());
        book.committed
    }
}

#[tonic::async_trait]
impl Intake for Fake {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        let token = request.metadata().get("authorization").map(|t| t.to_str().unwrap().to_owned());
        let mut book = self.book();
        book.tokens.extend(token);
        book.hellos.push(request.into_inner());
        let committed_sequence = book.committed;
        Ok(Response::new(HelloReply { clock: self.clock(), committed_sequence, split_addresses: vec![vec![10, 0, 0, 9]] }))
    }

    async fn ship(&self, request: Request<Batch>) -> Result<Response<Ack>, Status> {
        let batch = request.into_inner();
        self.book().calls += 1;
        let mood = self.moods.lock().unwrap().pop();
        match mood {
            None => {}
            Some(Mood::CommitButLoseTheReply) => {
                self.commit(&batch);
                return Err(Status::unavailable("the reply got lost"));
            }
            Some(mood @ (Mood::AskForPatience | Mood::CommitButAskForPatience)) => {
                if mood == Mood::CommitButAskForPatience {
                    self.commit(&batch);
                }
                let mut status = Status::resource_exhausted("come again");
                status.metadata_mut().insert("grpc-retry-pushback-ms", "50".parse().unwrap());
                return Err(status);
            }
            Some(Mood::Fail) => return Err(Status::internal("the disk is gone")),
            Some(Mood::RefuseForGood) => return Err(Status::invalid_argument("makes no sense")),
        }
        let split_addresses = self.apart.lock().unwrap().clone();
        Ok(Response::new(Ack { clock: self.clock(), committed_sequence: self.commit(&batch), split_addresses }))
    }

    async fn leave(&self, request: Request<LeaveRequest>) -> Result<Response<LeaveReply>, Status> {
        let mut book = self.book();
        let committed = book.committed;
        book.left.push((request.into_inner(), committed));
        Ok(Response::new(LeaveReply {}))
    }
}

/// A life of the intake, with a runtime of its own, so that its end cuts off everything at once, like a kill.
pub struct Life {
    pub address: SocketAddr,
    runtime: Option<Runtime>,
}

impl Life {
    pub async fn begin(fake: &Fake, address: Option<SocketAddr>, tls: Option<Identity>) -> Life {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let address = address.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
        let listener = runtime.spawn(TcpListener::bind(address)).await.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let service = IntakeServer::new(fake.clone()).accept_compressed(CompressionEncoding::Zstd);
        let mut server = Server::builder();
        if let Some(identity) = tls {
            // The first test that comes installs it for all.
            drop(rustls::crypto::ring::default_provider().install_default());
            server = server.tls_config(ServerTlsConfig::new().identity(identity)).unwrap();
        }
        runtime.spawn(server.add_service(service).serve_with_incoming(TcpListenerStream::new(listener)));
        Life { address, runtime: Some(runtime) }
    }

    pub async fn end(mut self) -> SocketAddr {
        let runtime = self.runtime.take().unwrap();
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(5))).await.unwrap();
        self.address
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Waits until it is so.
pub async fn wait(enough: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    while !enough() {
        assert!(tokio::time::Instant::now() < deadline, "took too long");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
