//! Follows the namespaces in scope, and asks the reader for what it heard.

use super::Changes;
use super::cilium::{Cilium, DIRECTORY};
use super::mirror::Mirror;
use super::reader::{Order, Reader, Shared};
use edgescope_identity::host::Namespace;
use edgescope_probe::{ProbeError, Translator};
use rustix::event::{EventfdFlags, eventfd};
use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

/// Most namespaces listened to, each by a socket: addresses are translated on the node itself, which goes first, and seldom in pods.
const NAMESPACES_MAX: usize = 512;
/// Orders that wait for the reader: as many namespaces may come at once.
const ORDERS_MAX: usize = NAMESPACES_MAX;
/// How long a window waits for the reader: a list of 100,000 connections takes some 100 ms.
const SETTLE_MAX: Duration = Duration::from_secs(2);
/// Absent while connection tracking is not loaded.
pub(super) const TRACKING: &str = "/proc/sys/net/netfilter/nf_conntrack_count";

/// Listens in namespaces until dropped.
pub struct Watch {
    orders: SyncSender<Order>,
    wake: Arc<OwnedFd>,
    shared: Arc<Shared>,
    reader: Option<JoinHandle<()>>,
    followed: BTreeSet<u32>,
    settles: u64,
    left_out: u64,
    /// Where Cilium's tables would be, and whether they are.
    cilium: PathBuf,
    has_cilium: bool,
}

impl Watch {
    /// Starts the reader; `translator` tells the kernel side.
    ///
    /// # Errors
    /// If the kernel side refuses, or the system has no room for it.
    pub fn start(translator: Option<Translator>) -> Result<Self, ProbeError> {
        Self::start_at(translator, Path::new(DIRECTORY))
    }

    /// As [`Watch::start`], with Cilium's tables looked for in a directory of a test's.
    fn start_at(translator: Option<Translator>, cilium: &Path) -> Result<Self, ProbeError> {
        let mirror = Mirror::new(translator)?;
        let no_room = |source| ProbeError::Read { path: "the news of connection tracking".into(), source };
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| no_room(error.into()))?;
        let wake = Arc::new(wake);
        let shared = Arc::new(Shared::default());
        let (orders, inbox) = sync_channel(ORDERS_MAX);
        let (woken, told) = (Arc::clone(&wake), Arc::clone(&shared));
        let tables = Cilium::new(cilium);
        let listen = move || {
            // Whoever waits is let go however the thread ends.
            let _ended = Ended(Arc::clone(&told));
            Reader::new(told, mirror, tables).run(&inbox, &woken);
        };
        let reader = std::thread::Builder::new().name("nat".to_owned()).spawn(listen).map_err(no_room)?;
        Ok(Self {
            orders,
            wake,
            shared,
            reader: Some(reader),
            followed: BTreeSet::new(),
            settles: 0,
            left_out: 0,
            cilium: cilium.to_owned(),
            has_cilium: false,
        })
    }

    /// Listens in these namespaces and no others. Without connection tracking in the kernel these translate nothing, and nothing is done.
    pub fn follow<'a>(&mut self, namespaces: impl Iterator<Item = &'a Namespace>) {
        self.has_cilium = Cilium::is_there(&self.cilium);
        let mut wanted: Vec<&Namespace> = if Path::new(TRACKING).exists() { namespaces.collect() } else { Vec::new() };
        let node = std::fs::metadata("/proc/1/ns/net").map_or(0, |of_first| of_first.ino());
        wanted.sort_by_key(|namespace| u64::from(namespace.inode) != node);
        self.left_out = wanted.len().saturating_sub(NAMESPACES_MAX) as u64;
        wanted.truncate(NAMESPACES_MAX);
        let now: BTreeSet<u32> = wanted.iter().map(|namespace| namespace.inode).collect();
        for place in self.followed.difference(&now) {
            self.order(Order::Leave { place: *place });
        }
        for namespace in wanted.iter().filter(|namespace| !self.followed.contains(&namespace.inode)) {
            match File::open(&namespace.path) {
                Ok(file) => self.order(Order::Follow { place: namespace.inode, namespace: file }),
                // Its last process has ended, or its name was taken away.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    tracing::debug!(path = %namespace.path.display(), %error, "cannot follow a namespace");
                    self.shared.lose("nat_namespaces_unreached", 1);
                }
            }
        }
        self.followed = now;
    }

    /// Whether anything is listened to, or read.
    pub fn is_on(&self) -> bool {
        self.has_cilium || !self.followed.is_empty()
    }

    /// All that the kernel has told until now, since the last time.
    pub fn changes(&mut self) -> Changes {
        self.settles += 1;
        self.order(Order::Settle(self.settles));
        let (changes, mut losses) = self.shared.take(self.settles, SETTLE_MAX);
        if self.left_out > 0 {
            *losses.entry("nat_namespaces_left_out").or_default() += self.left_out;
        }
        Changes { changes, losses }
    }

    fn order(&self, order: Order) {
        // A reader that has ended is noticed where its answer fails to come.
        if self.orders.send(order).is_ok() {
            // Full: it wakes anyway.
            let _: rustix::io::Result<usize> = rustix::io::write(&*self.wake, &1u64.to_ne_bytes());
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.order(Order::End);
        if let Some(Err(_)) = self.reader.take().map(JoinHandle::join) {
            tracing::error!("the reader of connection tracking has died");
        }
    }
}

struct Ended(Arc<Shared>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.end();
    }
}
