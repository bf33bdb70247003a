//! What a test tells the traffic program, one JSON line each, and what it answers.
//!
//! An exchange is a header of [`HEADER_BYTES`] (lengths of request and answer, big endian), the request, then the answer. Both ends
//! count what their sockets took and gave, so that the counters are what the services wrote and not what the network made of it.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// Before each request.
pub const HEADER_BYTES: u64 = 16;
/// A client that gives up sooner than this has not sent its SYN again: the kernel's first time-out is one second.
pub const SYN_REPEATED_MS: u64 = 1_000;

/// One order. The answer is a [`Report`] unless said otherwise.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Serve on this address from now on.
    Listen(SocketAddr),
    /// Exchange, and answer when all is done and closed.
    Exchange(Exchange),
    /// Exchange in the background until told to stop.
    Load(Exchange),
    /// End all loads; answers when their connections are closed.
    Stop,
    /// Connect so often and close at once.
    Connect { to: SocketAddr, times: u32, timeout_ms: u64 },
    /// Say what was counted up to now.
    Report,
}

/// Requests to a server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Exchange {
    pub to: SocketAddr,
    /// Connections at the same time.
    pub connections: u32,
    /// Requests on each of them, one after the other; a load does so many and begins again.
    pub requests: u32,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// A new connection for each request.
    pub new_each: bool,
    /// Between two requests.
    pub pause_ms: u64,
}

impl Exchange {
    /// One connection, one request; change what differs.
    pub fn new(to: SocketAddr) -> Exchange {
        Exchange { to, connections: 1, requests: 1, request_bytes: 1_000, response_bytes: 1_000, new_each: false, pause_ms: 0 }
    }
}

/// Which end of a connection the counting process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Client,
    Server,
}

/// Everything counted with one peer, on one service port, in one role.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    pub written: u64,
    pub read: u64,
    /// Established, by either end.
    pub established: u64,
    pub attempts: u64,
    pub refused: u64,
    pub timed_out: u64,
    /// Given up by the client before its first SYN was sent again.
    pub cancelled: u64,
    pub unreachable: u64,
    pub failed_otherwise: u64,
    /// Established connections that broke.
    pub broken: u64,
}

impl Totals {
    pub fn add(&mut self, other: &Totals) {
        self.written += other.written;
        self.read += other.read;
        self.established += other.established;
        self.attempts += other.attempts;
        self.refused += other.refused;
        self.timed_out += other.timed_out;
        self.cancelled += other.cancelled;
        self.unreachable += other.unreachable;
        self.failed_otherwise += other.failed_otherwise;
        self.broken += other.broken;
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counted {
    pub peer: IpAddr,
    /// The server's port.
    pub port: u16,
    pub role: Role,
    pub totals: Totals,
}

/// What a process has counted, and its connections that are open now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    pub open: u64,
    pub counted: Vec<Counted>,
    /// Why an order failed.
    pub error: Option<String>,
}

impl Report {
    /// Sum over peers, of one service port and role.
    pub fn of(&self, port: u16, role: Role) -> Totals {
        let mut sum = Totals::default();
        self.counted.iter().filter(|c| c.port == port && c.role == role).for_each(|c| sum.add(&c.totals));
        sum
    }
}
