//! What the two halves of the agent share: the one that reads and the one that ships.

use crate::clock::{LocalClock, Offset};
use crate::metrics::{Gauge, Metrics};
use crate::observer::Facts;
use crate::spool::Spool;
use edgescope_identity::address;
use edgescope_identity::local::Place;
use edgescope_model::wire::ServerClock;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Where the node is, and who says so.
#[derive(Debug, Clone, Default)]
pub struct Placed {
    pub place: Place,
    /// The cloud that told zone or region; empty: the configuration did, or nobody.
    pub cloud: &'static str,
}

/// Shared state. No lock is held over another, nor over an await.
#[derive(Debug)]
pub struct Shared {
    pub clock: LocalClock,
    pub spool: Arc<Mutex<Spool>>,
    pub metrics: Arc<Metrics>,
    offset: Mutex<Offset>,
    facts: Mutex<Facts>,
    split: Mutex<Vec<IpAddr>>,
    place: Mutex<Placed>,
    /// The server is to be greeted again: something of the greeting has changed.
    is_greeting_old: AtomicBool,
    /// There is something to ship.
    pub ready: Notify,
    /// A batch has come to its end.
    pub shipped: Notify,
    /// A server has answered for the first time.
    pub met: Notify,
}

impl Shared {
    pub fn new(clock: LocalClock, spool: Arc<Mutex<Spool>>, metrics: Arc<Metrics>) -> Self {
        Self {
            clock,
            spool,
            metrics,
            offset: Mutex::default(),
            facts: Mutex::default(),
            split: Mutex::default(),
            place: Mutex::default(),
            is_greeting_old: AtomicBool::new(false),
            ready: Notify::new(),
            shipped: Notify::new(),
            met: Notify::new(),
        }
    }

    /// Server time now, as far as known.
    pub fn server_now_us(&self) -> i64 {
        self.clock.now_us().saturating_add(lock(&self.offset).get_us().unwrap_or(0))
    }

    /// The server's clock less this node's wall clock.
    pub fn clock_offset_us(&self) -> i64 {
        self.server_now_us() - self.clock.wall_us()
    }

    /// The same, if any exchange of times with a server stands behind it.
    pub fn clock_offset_known_us(&self) -> Option<i64> {
        // The lock is let go before it is asked again.
        let is_known = lock(&self.offset).get_us().is_some();
        is_known.then(|| self.clock_offset_us())
    }

    /// By how much windows made from now on are told later than by this node's own clock.
    pub fn correction_us(&self) -> i64 {
        lock(&self.offset).get_us().unwrap_or(0)
    }

    /// Takes what an earlier run measured against the wall clock.
    pub fn assume_offset(&self, server_less_wall_us: i64) {
        let wall_less_local_us = self.clock.wall_us() - self.clock.now_us();
        lock(&self.offset).assume(server_less_wall_us + wall_less_local_us);
    }

    /// Takes an exchange of times with the server.
    pub fn exchange(&self, sent_us: i64, server: Option<&ServerClock>, returned_us: i64) {
        if let Some(server) = server {
            lock(&self.offset).exchange(sent_us, server, returned_us);
            self.metrics.set_clock_offset_us(self.clock_offset_us());
        }
    }

    /// Whether this run has measured the server's clock.
    pub fn has_met(&self) -> bool {
        lock(&self.offset).measured()
    }

    pub fn facts(&self) -> Facts {
        lock(&self.facts).clone()
    }

    pub fn set_facts(&self, facts: Facts) {
        *lock(&self.facts) = facts;
    }

    pub fn split(&self) -> Vec<IpAddr> {
        lock(&self.split).clone()
    }

    pub fn set_split(&self, addresses: &[Vec<u8>]) {
        /// A server that names more is wrong.
        const SPLIT_MAX: usize = 1_024;
        let told: Vec<IpAddr> = addresses.iter().take(SPLIT_MAX).filter_map(|bytes| address::from_bytes(bytes)).collect();
        let mut split = lock(&self.split);
        // Every reply has the list: what is left out counts once.
        if *split != told {
            self.metrics.lost("split_addresses_cut", addresses.len().saturating_sub(told.len()) as u64);
            *split = told;
        }
    }

    pub fn placed(&self) -> Placed {
        lock(&self.place).clone()
    }

    /// Tells where the node is, from now on.
    pub fn set_place(&self, placed: Placed) {
        *lock(&self.place) = placed;
        self.is_greeting_old.store(true, Ordering::Relaxed);
        self.ready.notify_one();
    }

    /// Whether a greeting is due on a connection that has been greeted before. Asked by who greets: the answer is given once.
    pub fn takes_greeting(&self) -> bool {
        self.is_greeting_old.swap(false, Ordering::Relaxed)
    }

    pub fn spool(&self) -> MutexGuard<'_, Spool> {
        lock(&self.spool)
    }

    /// Brings the gauges of the spool up to date.
    pub fn show_spool(&self) {
        let (waiting, bytes) = {
            let spool = self.spool();
            (spool.waiting(), spool.bytes())
        };
        self.metrics.set(Gauge::SpoolBatches, waiting);
        self.metrics.set(Gauge::SpoolBytes, bytes);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
