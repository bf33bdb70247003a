//! An intake that acknowledges everything at once.

use edgescope_model::wire::intake_server::{Intake as Service, IntakeServer};
use edgescope_model::wire::{Ack, Batch, HelloReply, HelloRequest, LeaveReply, LeaveRequest, ServerClock};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

#[derive(Default)]
struct Counts {
    hellos: AtomicU64,
    batches: AtomicU64,
    /// Of the last batch.
    sockets: AtomicU64,
    sequence: AtomicU64,
}

/// It serves on a thread of its own until the process ends.
pub struct Intake {
    address: SocketAddr,
    counts: Arc<Counts>,
}

impl Intake {
    pub fn start() -> Intake {
        let counts = Arc::new(Counts::default());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port is free");
        let address = listener.local_addr().expect("bound");
        let service = IntakeServer::new(Sink(counts.clone())).accept_compressed(CompressionEncoding::Zstd).send_compressed(CompressionEncoding::Zstd);
        std::thread::spawn(move || {
            let serving = tonic::transport::Server::builder().add_service(service).serve_with_incoming(TcpIncoming::from(listener));
            if let Err(error) = runtime.block_on(serving) {
                eprintln!("the intake ended: {error}");
            }
        });
        Intake { address, counts }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn hellos(&self) -> u64 {
        self.counts.hellos.load(Ordering::SeqCst)
    }

    pub fn batches(&self) -> u64 {
        self.counts.batches.load(Ordering::SeqCst)
    }

    pub fn sockets(&self) -> u64 {
        self.counts.sockets.load(Ordering::SeqCst)
    }
}

struct Sink(Arc<Counts>);

#[tonic::async_trait]
impl Service for Sink {
    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.0.hellos.fetch_add(1, Ordering::SeqCst);
        let committed_sequence = self.0.sequence.load(Ordering::SeqCst);
        Ok(Response::new(HelloReply { clock: Some(clock()), committed_sequence, ..HelloReply::default() }))
    }

    async fn ship(&self, batch: Request<Batch>) -> Result<Response<Ack>, Status> {
        let batch = batch.into_inner();
        self.0.batches.fetch_add(1, Ordering::SeqCst);
        self.0.sockets.store(batch.sockets, Ordering::SeqCst);
        self.0.sequence.fetch_max(batch.sequence, Ordering::SeqCst);
        Ok(Response::new(Ack { clock: Some(clock()), committed_sequence: batch.sequence, ..Ack::default() }))
    }

    async fn leave(&self, _: Request<LeaveRequest>) -> Result<Response<LeaveReply>, Status> {
        Ok(Response::new(LeaveReply {}))
    }
}

fn clock() -> ServerClock {
    let now_us = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64);
    ServerClock { received_us: now_us, replied_us: now_us }
}
