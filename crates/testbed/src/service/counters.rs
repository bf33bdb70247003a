//! What a service saw and did, by peer and by its own role, counted at the socket.

use super::ServiceConfig;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Client,
    Server,
}

/// A counter that other tasks may read.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn sub(&self, n: u64) {
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    pub fn max(&self, n: u64) {
        self.0.fetch_max(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Declares live counters and their snapshot with the same fields, and how two snapshots become one.
macro_rules! counters {
    ($(#[$doc:meta])* $live:ident => $snapshot:ident { $($(#[$fdoc:meta])* $field:ident: $merge:ident),+ $(,)? }) => {
        #[derive(Debug, Default)]
        pub(crate) struct $live { $(pub $field: Count),+ }

        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $snapshot { $($(#[$fdoc])* pub $field: u64),+ }

        impl $live {
            fn snapshot(&self) -> $snapshot {
                $snapshot { $($field: self.$field.get()),+ }
            }
        }

        impl $snapshot {
            /// Adds another's counts: sums are added, maxima compared.
            pub fn merge(&mut self, other: &$snapshot) {
                $(counters!(@$merge self.$field, other.$field);)+
            }
        }
    };
    (@sum $a:expr, $b:expr) => { $a += $b };
    (@max $a:expr, $b:expr) => { $a = $a.max($b) };
}

counters! {
    /// Everything between this process and one address, on one service port, in one role.
    PeerCounts => PeerTotals {
        bytes_written: sum,
        bytes_read: sum,
        /// Connections that exist right now.
        open: sum,
        /// Connections established, by either end.
        established: sum,
        /// Connects tried, as client; each has one outcome: established, or one of the next six.
        connects: sum,
        refused: sum,
        timed_out: sum,
        reset: sum,
        unreachable: sum,
        connect_failed_otherwise: sum,
        /// Given up by the caller's own caller, before any outcome.
        cancelled: sum,
        handshake_us: sum,
        /// Requests sent (client) or answered (server).
        requests: sum,
        /// Requests without a good answer: status other than 200, broken connection, time-out.
        requests_failed: sum,
        request_timeouts: sum,
        latency_us: sum,
        latency_us_max: max,
    }
}

counters! {
    /// What faults of the service's own behaviour did, and what its own limits cost.
    EffectCounts => EffectTotals {
        requests_delayed: sum,
        think_added_us: sum,
        reads_delayed: sum,
        read_wait_us: sum,
        /// Calls that a lower demand kept from being made.
        requests_withheld: sum,
        /// Calls not made since too many to that target were under way.
        requests_shed: sum,
        retries: sum,
        /// Connections turned away because too many were open.
        connections_shed: sum,
        /// Calls not made since no address of that target was known.
        calls_unresolved: sum,
        /// Questions that a resolver did not answer, or not with addresses, since it was told so.
        questions_failed: sum,
    }
}

counters! {
    /// Questions of DNS: asked, or at a resolver those that arrived.
    NameCounts => NameTotals {
        questions: sum,
        /// Of any code.
        answers: sum,
        /// Of these, with another code than NOERROR.
        failed: sum,
        unanswered: sum,
        /// Sum over answers, at who asked.
        latency_us: sum,
    }
}

/// One row of a [`Witness`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PeerWitness {
    pub peer: IpAddr,
    /// The server's port.
    pub port: u16,
    /// This process's role.
    pub role: Role,
    pub totals: PeerTotals,
}

/// A process's counters at one time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Witness {
    pub pod: String,
    pub workload: String,
    pub generation: u32,
    pub at: DateTime<Utc>,
    /// Requests being made or answered right now.
    pub in_flight: u64,
    pub peers: Vec<PeerWitness>,
    pub effects: EffectTotals,
    pub names: NameTotals,
}

impl Witness {
    /// Connections that exist right now, to and from all peers.
    pub fn open(&self) -> u64 {
        self.peers.iter().map(|p| p.totals.open).sum()
    }
}

type PeerKey = (IpAddr, u16, Role);

/// The live counters of a process. Peers are the testbed's own pods, so that the map is bounded by their number.
pub(crate) struct Ledger {
    pod: String,
    workload: String,
    generation: u32,
    witness: PathBuf,
    pub in_flight: Count,
    pub effects: EffectCounts,
    pub names: NameCounts,
    peers: Mutex<HashMap<PeerKey, Arc<PeerCounts>>>,
}

impl Ledger {
    pub fn new(config: &ServiceConfig) -> Ledger {
        Ledger {
            pod: config.pod.clone(),
            workload: config.workload.clone(),
            generation: config.generation,
            witness: config.witness.clone(),
            in_flight: Count::default(),
            effects: EffectCounts::default(),
            names: NameCounts::default(),
            peers: Mutex::default(),
        }
    }

    pub fn peer(&self, ip: IpAddr, port: u16, role: Role) -> Arc<PeerCounts> {
        let mut peers = self.peers.lock().unwrap_or_else(|e| e.into_inner());
        peers.entry((ip.to_canonical(), port, role)).or_default().clone()
    }

    pub fn snapshot(&self) -> Witness {
        let peers = self.peers.lock().unwrap_or_else(|e| e.into_inner());
        let row = |(&(peer, port, role), counts): (&PeerKey, &Arc<PeerCounts>)| PeerWitness { peer, port, role, totals: counts.snapshot() };
        let mut peers: Vec<_> = peers.iter().map(row).collect();
        peers.sort_by_key(|p| (p.peer, p.port, p.role));
        Witness {
            pod: self.pod.clone(),
            workload: self.workload.clone(),
            generation: self.generation,
            at: Utc::now(),
            in_flight: self.in_flight.get(),
            peers,
            effects: self.effects.snapshot(),
            names: self.names.snapshot(),
        }
    }

    /// Writes the counters where the testbed looks for those of processes that ended.
    pub fn write_final(&self) -> io::Result<()> {
        let mut file = std::fs::File::create(&self.witness)?;
        file.write_all(&serde_json::to_vec(&self.snapshot())?)
    }
}

impl PeerCounts {
    pub fn connect_failed(&self, error: &io::Error) {
        let count = match error.kind() {
            io::ErrorKind::ConnectionRefused => &self.refused,
            io::ErrorKind::TimedOut => &self.timed_out,
            io::ErrorKind::ConnectionReset => &self.reset,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => &self.unreachable,
            _ => &self.connect_failed_otherwise,
        };
        count.add(1);
    }

    pub fn answered(&self, latency: Duration, good: bool) {
        let us = latency.as_micros() as u64;
        self.latency_us.add(us);
        self.latency_us_max.max(us);
        self.requests_failed.add(u64::from(!good));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_add_and_maxima_compare() {
        let mut a = PeerTotals { bytes_written: 5, latency_us_max: 9, ..PeerTotals::default() };
        a.merge(&PeerTotals { bytes_written: 7, latency_us_max: 3, ..PeerTotals::default() });
        assert_eq!((a.bytes_written, a.latency_us_max), (12, 9));
    }
}
