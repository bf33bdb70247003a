//! An agent of the test's own: speaks the wire protocol and ships exactly what it is told.

use edgescope_model::signal::TCP_BYTES;
use edgescope_model::wire::intake_client::IntakeClient;
use edgescope_model::wire::{Ack, Batch, Endpoint, HelloReply, HelloRequest, Measure, Observation, Owner, Protocol, Role};
use std::time::{Duration, SystemTime};
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::codec::CompressionEncoding;
use tonic::transport::{Channel, Endpoint as Target};

/// Longest that one message may take: a server may wait two intervals for a name before it commits.
const ANSWER: Duration = Duration::from_secs(40);
const WINDOW_US: i64 = 10_000_000;
const PORT: u32 = 80;

/// The names of the two workloads whose traffic it makes up.
pub const SOURCE: &str = "made-up-source";
pub const DEST: &str = "made-up-dest";

/// A connection to one server's intake.
pub struct Shipper {
    runtime: Runtime,
    client: IntakeClient<Channel>,
    agent_id: String,
    /// Tells this agent's addresses from those of others.
    number: u8,
}

impl Shipper {
    /// Connects and says hello. `number` (below 250) makes its addresses.
    ///
    /// # Errors
    /// What the connection or the server said.
    pub fn connect(intake: &str, agent_id: &str, number: u8) -> Result<Shipper, Status> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| Status::internal(e.to_string()))?;
        let target = Target::from_shared(intake.to_owned()).map_err(|e| Status::invalid_argument(e.to_string()))?.timeout(ANSWER);
        let channel = runtime.block_on(target.connect()).map_err(|e| Status::unavailable(e.to_string()))?;
        let client = IntakeClient::new(channel).send_compressed(CompressionEncoding::Zstd).accept_compressed(CompressionEncoding::Zstd);
        let mut shipper = Shipper { runtime, client, agent_id: agent_id.to_owned(), number };
        shipper.hello()?;
        Ok(shipper)
    }

    /// Says who it is and whose addresses it has: both ends are its own, so that no name is waited for.
    ///
    /// # Errors
    /// What the server said.
    pub fn hello(&mut self) -> Result<HelloReply, Status> {
        let endpoint = |owner: u32| Endpoint { address: self.address(owner), owner, from_us: now_us() - 60 * WINDOW_US, ..Endpoint::default() };
        let request = HelloRequest {
            agent_id: self.agent_id.clone(),
            boot_id: "boot-1".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            kernel: "6.18".to_owned(),
            node: self.agent_id.clone(),
            zone: "zone-1".to_owned(),
            interval_ms: 10_000,
            owners: owners(),
            endpoints: vec![endpoint(0), endpoint(1)],
            sent_us: now_us(),
            ..HelloRequest::default()
        };
        Ok(self.runtime.block_on(self.client.hello(request))?.into_inner())
    }

    fn address(&self, owner: u32) -> Vec<u8> {
        vec![10, 200, self.number, owner as u8 + 1]
    }

    /// One window, just ended, in which the source sent so many bytes to the destination.
    pub fn batch(&self, sequence: u64, bytes: u64) -> Batch {
        let window_start_us = (now_us() / WINDOW_US - 1) * WINDOW_US;
        let endpoint =
            |owner: u32| Endpoint { address: self.address(owner), owner, from_us: window_start_us - 60 * WINDOW_US, ..Endpoint::default() };
        Batch {
            agent_id: self.agent_id.clone(),
            sequence,
            window_start_us,
            window_end_us: window_start_us + WINDOW_US,
            owners: owners(),
            endpoints: vec![endpoint(0), endpoint(1)],
            observations: vec![Observation {
                owner: 0,
                local_address: self.address(0),
                remote_address: self.address(1),
                service_port: PORT,
                role: Role::Client.into(),
                protocol: Protocol::Tcp.into(),
                sent: vec![Measure { signal: u32::from(TCP_BYTES.id), value: bytes, ..Measure::default() }],
                ..Observation::default()
            }],
            sent_us: now_us(),
            boot_id: "boot-1".to_owned(),
            sockets: 1,
            ..Batch::default()
        }
    }

    /// Ships; the answer comes when the batch is durable.
    ///
    /// # Errors
    /// What the server said; the batch may be durable all the same.
    pub fn ship(&mut self, batch: &Batch) -> Result<Ack, Status> {
        Ok(self.runtime.block_on(self.client.ship(batch.clone()))?.into_inner())
    }
}

fn owners() -> Vec<Owner> {
    [SOURCE, DEST]
        .map(|workload| Owner { workload: workload.to_owned(), zone: "zone-1".to_owned(), resolution_type: "rule".to_owned(), ..Owner::default() })
        .into()
}

/// Microseconds since the epoch.
pub fn now_us() -> i64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}
