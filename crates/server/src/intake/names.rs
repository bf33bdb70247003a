//! The directory of names, shared: who waits for a name is woken when one comes, and what changed is kept until it is stored.

use crate::tables::{Reading, ReadingKind};
use edgescope_identity::directory::{Claimed, Directory};
use edgescope_identity::kubernetes::Kubernetes;
use edgescope_identity::networks::Networks;
use edgescope_identity::resolve::{Awaited, awaited, is_awaited};
use edgescope_model::wire::{Batch, HelloRequest};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Ends that are known to have no name; when full, the next is waited for again.
const NAMELESS_MAX: usize = 100_000;
/// How long an end that got no name is not waited for again.
const NAMELESS_FOR: Duration = Duration::from_secs(600);
/// How often it is looked whether names have come: many agents speak within one second, and every word may bring one.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What was waited for in vain: an address, whatever its port, or a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Nameless {
    Address(IpAddr),
    Pod(String),
}

impl Nameless {
    fn of(end: &Awaited) -> Self {
        match end {
            Awaited::Far { address, .. } => Self::Address(*address),
            Awaited::Pod(pod) => Self::Pod(pod.pod_uid.clone()),
        }
    }
}

/// The directory and what hangs on it.
#[derive(Debug)]
pub struct Names {
    directory: RwLock<Directory>,
    /// Changes with every list.
    changes: watch::Sender<u64>,
    /// Waited for in vain, until when.
    nameless: Mutex<HashMap<Nameless, Instant>>,
    /// All claims of the addresses that changed and are not known to be durable.
    unsaved: Mutex<HashMap<IpAddr, Vec<Claimed>>>,
}

impl Names {
    pub fn new(directory: Directory) -> Self {
        Self { directory: RwLock::new(directory), changes: watch::Sender::new(0), nameless: Mutex::default(), unsaved: Mutex::default() }
    }

    /// Asks the directory.
    pub fn read<T>(&self, ask: impl FnOnce(&Directory) -> T) -> T {
        ask(&self.directory.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, change: impl FnOnce(&mut Directory)) {
        {
            let mut directory = self.directory.write().unwrap_or_else(PoisonError::into_inner);
            change(&mut directory);
            let changed = directory.take_changed();
            // Before another may change the directory: what was taken from it first must not come last.
            self.unsaved().extend(by_address(changed));
        }
        // Also where nothing changed: that an agent still holds its addresses is what its far ends may wait for.
        self.changes.send_modify(|n| *n += 1);
    }

    /// Takes what Kubernetes tells.
    pub fn in_kubernetes(&self, change: impl FnOnce(&mut Kubernetes)) {
        self.write(|directory| change(directory.kubernetes_mut()));
    }

    /// Takes what the user's files say of the outside.
    pub fn set_networks(&self, networks: Arc<Networks>) {
        self.write(|directory| directory.set_networks(networks));
    }

    /// Takes an agent's whole list from its greeting.
    pub fn list(&self, hello: &HelloRequest, at_us: i64) {
        self.write(|directory| directory.list(&hello.agent_id, &hello.owners, &hello.endpoints, at_us));
    }

    /// Takes what a batch says of its agent's addresses.
    pub fn list_of_batch(&self, batch: &Batch) {
        self.write(|directory| directory.list_of_batch(batch));
    }

    /// The directory's numbers, for `/metrics`.
    pub fn readings(&self) -> Vec<Reading> {
        let (counters, claims) = self.read(|directory| (directory.counters(), directory.len()));
        let (translations, evicted) = self.read(|directory| (directory.translations() as u64, directory.translations_evicted()));
        let (heard, unheard) = self.read(Directory::names_heard);
        let reading = |name: &str, help: &str, kind, value: u64| Reading {
            name: format!("directory_{name}"),
            help: help.to_owned(),
            kind,
            value: value as f64,
        };
        vec![
            reading("claims", "Addresses with an owner, past and present", ReadingKind::Gauge, claims as u64),
            reading("claims_dropped", "Addresses turned away since the directory was full", ReadingKind::Counter, counters.claims_dropped),
            reading("claims_expired", "Addresses forgotten since nobody held them any more", ReadingKind::Counter, counters.claims_expired),
            reading("texts_cut", "Names of owners that were shortened", ReadingKind::Counter, counters.texts_cut),
            reading("endpoints_invalid", "Addresses that made no sense", ReadingKind::Counter, counters.endpoints_invalid),
            reading("translations", "Connections whose addresses a node translates and another's agent sees", ReadingKind::Gauge, translations),
            reading("translations_evicted", "Translated connections forgotten for want of room", ReadingKind::Counter, evicted),
            reading("translations_invalid", "Translated connections that made no sense", ReadingKind::Counter, counters.translations_invalid),
            reading("names_heard", "Names that agents heard of ends of which nobody speaks, kept to explain them", ReadingKind::Gauge, heard as u64),
            reading("names_heard_dropped", "Such names for which there was no room", ReadingKind::Counter, unheard),
            reading(
                "apart_dropped",
                "Addresses beyond those that an agent can keep apart by connection",
                ReadingKind::Counter,
                counters.apart_dropped,
            ),
        ]
    }

    /// Forgets what is too old for late data.
    pub fn expire(&self, now_us: i64) {
        self.write(|directory| directory.expire(now_us));
        let now = Instant::now();
        self.nameless.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, until| *until > now);
    }

    /// Claims to be made durable, once; [`Self::put_back`] if that failed.
    pub fn take_unsaved(&self) -> Vec<Claimed> {
        std::mem::take(&mut *self.unsaved()).into_values().flatten().collect()
    }

    /// Claims that are still to be made durable. What came of an address since is newer, so there are never more than the directory has.
    pub fn put_back(&self, claims: Vec<Claimed>) {
        let mut unsaved = self.unsaved();
        for (address, claims) in by_address(claims) {
            unsaved.entry(address).or_insert(claims);
        }
    }

    fn unsaved(&self) -> MutexGuard<'_, HashMap<IpAddr, Vec<Claimed>>> {
        self.unsaved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the names of a batch are there, or `longest`. Returns how many did not come; `waits` is called if it waits at all.
    pub async fn wait(&self, batch: &Batch, longest: Duration, waits: impl FnOnce()) -> usize {
        let deadline = Instant::now() + longest;
        let mut changes = self.changes.subscribe();
        let mut missing = self.worth_waiting(batch);
        if missing.is_empty() {
            return 0;
        }
        waits();
        loop {
            // The sender lives as long as `self`, so a change or the deadline ends this.
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                return self.give_up(&missing);
            }
            tokio::time::sleep_until(deadline.min(Instant::now() + LOOK_EVERY)).await;
            changes.mark_unchanged();
            self.read(|directory| missing.retain(|end| is_awaited(end, batch, directory)));
            if missing.is_empty() {
                return 0;
            }
        }
    }

    fn worth_waiting(&self, batch: &Batch) -> Vec<Awaited> {
        let missing = self.read(|directory| awaited(batch, directory));
        if missing.is_empty() {
            return missing;
        }
        let now = Instant::now();
        let nameless = self.nameless.lock().unwrap_or_else(PoisonError::into_inner);
        missing.into_iter().filter(|end| nameless.get(&Nameless::of(end)).is_none_or(|until| *until <= now)).collect()
    }

    fn give_up(&self, missing: &[Awaited]) -> usize {
        let until = Instant::now() + NAMELESS_FOR;
        let mut nameless = self.nameless.lock().unwrap_or_else(PoisonError::into_inner);
        let room = NAMELESS_MAX.saturating_sub(nameless.len());
        let given_up: HashSet<Nameless> = missing.iter().map(Nameless::of).collect();
        let count = given_up.len();
        nameless.extend(given_up.into_iter().take(room).map(|end| (end, until)));
        count
    }
}

fn by_address(claims: Vec<Claimed>) -> HashMap<IpAddr, Vec<Claimed>> {
    let mut all: HashMap<IpAddr, Vec<Claimed>> = HashMap::new();
    for claim in claims {
        all.entry(claim.address).or_default().push(claim);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_identity::directory::Limits;
    use edgescope_identity::rules::Rules;
    use edgescope_model::wire::{Endpoint, Owner};
    use std::sync::TryLockError;
    use std::time::Instant as At;

    /// How long the directory is watched for a change that is not noted: a change takes microseconds.
    const WATCHED_FOR: Duration = Duration::from_millis(200);

    /// Between a change of the directory and its note nobody else may change the same address, or the older note could come last.
    #[test]
    fn what_changed_is_noted_before_anybody_sees_it() {
        let names = Names::new(Directory::new(Limits::default(), Rules::default()));
        let owner = Owner { workload: "cart".into(), ..Owner::default() };
        let endpoint = Endpoint { address: vec![10, 0, 0, 1], owner: 0, ..Endpoint::default() };
        let hello = HelloRequest { agent_id: "a".into(), owners: vec![owner], endpoints: vec![endpoint], ..HelloRequest::default() };
        std::thread::scope(|threads| {
            let unsaved = names.unsaved();
            threads.spawn(|| names.list(&hello, 1_000_000));
            let until = At::now() + WATCHED_FOR;
            while At::now() < until {
                let seen = match names.directory.try_read() {
                    Ok(directory) => directory.len(),
                    Err(TryLockError::WouldBlock) => 0,
                    Err(TryLockError::Poisoned(error)) => panic!("{error}"),
                };
                assert_eq!(seen, 0, "changed, and not noted yet");
                std::thread::yield_now();
            }
            drop(unsaved);
        });
        assert_eq!(names.take_unsaved().len(), 1);
    }
}
