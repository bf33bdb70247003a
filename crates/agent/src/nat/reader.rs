//! The thread that listens: sockets in every followed namespace, a whole list of each at first and whenever something was missed, news in between. What it hears goes to
//! the kernel side at once and to the observer's next window.

use super::Change;
use super::cilium::Cilium;
use super::ctnetlink::{GROUPS, Said, list_request, read};
use super::mirror::Mirror;
use edgescope_identity::nat::Translation;
use netlink_packet_netfilter::conntrack::Status;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, bind, recv, sendto, socket_with, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that news may wait in, of each namespace: some 10,000 connections that begin at once.
const WAITING_BYTES_MAX: usize = 4 << 20;
/// A datagram of netlink: the kernel's own bound for lists is 32 KiB.
const DATAGRAM_BYTES_MAX: usize = 1 << 16;
/// Changes that wait for the observer: those of 10 s at 10,000 connections a second, each with a beginning and an end.
const CHANGES_MAX: usize = 200_000;
/// How often all is listed: connections older than this listener have no end that it is told of.
const LIST_EVERY: Duration = Duration::from_secs(60);
/// The two kinds of translation, listed one after the other.
const LISTED: [Status; 2] = [Status::SrcNat, Status::DstNat];

/// The place of Cilium's tables: no namespace has this inode.
const CILIUM: u32 = 0;

/// What the reader is asked to do.
pub(super) enum Order {
    Follow {
        place: u32,
        namespace: File,
    },
    Leave {
        place: u32,
    },
    /// Take in all that waits, then say so under this number.
    Settle(u64),
    End,
}

/// What both threads see.
#[derive(Debug, Default)]
pub(super) struct Shared {
    state: Mutex<State>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct State {
    changes: Vec<Change>,
    losses: BTreeMap<&'static str, u64>,
    settled: u64,
    has_ended: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn lose(&self, reason: &'static str, count: u64) {
        *self.lock().losses.entry(reason).or_default() += count;
    }

    /// Waits until order `number` is done; takes what there is.
    pub fn take(&self, number: u64, longest: Duration) -> (Vec<Change>, BTreeMap<&'static str, u64>) {
        let waits = |state: &mut State| state.settled < number && !state.has_ended;
        let (mut state, timeout) = self.settled.wait_timeout_while(self.lock(), longest, waits).unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            *state.losses.entry("nat_read_late").or_default() += 1;
        }
        (std::mem::take(&mut state.changes), std::mem::take(&mut state.losses))
    }

    pub fn end(&self) {
        self.lock().has_ended = true;
        self.settled.notify_all();
    }
}

/// One namespace.
struct Followed {
    namespace: File,
    socket: OwnedFd,
    /// Position in [`LISTED`] while a list comes in.
    listing: Option<usize>,
    /// It sends no news (`net.netfilter.nf_conntrack_events` is 0): it is listed at every window's end.
    is_silent: bool,
}

/// The reader's own state.
pub(super) struct Reader {
    shared: Arc<Shared>,
    mirror: Mirror,
    cilium: Cilium,
    followed: BTreeMap<u32, Followed>,
    buffer: Vec<u8>,
    listed: Instant,
    /// Something was missed.
    must_list: bool,
}

impl Reader {
    pub fn new(shared: Arc<Shared>, mirror: Mirror, cilium: Cilium) -> Self {
        Self { shared, mirror, cilium, followed: BTreeMap::new(), buffer: vec![0; DATAGRAM_BYTES_MAX], listed: Instant::now(), must_list: false }
    }

    /// Until it is told to end.
    pub fn run(&mut self, orders: &std::sync::mpsc::Receiver<Order>, wake: &OwnedFd) {
        loop {
            let left = LIST_EVERY.saturating_sub(self.listed.elapsed());
            for place in self.wait(wake, left) {
                self.hear(place);
            }
            let mut settles = None;
            while let Ok(order) = orders.try_recv() {
                match order {
                    Order::Follow { place, namespace } => self.follow(place, namespace),
                    Order::Leave { place } => self.leave(place),
                    Order::Settle(number) => settles = Some(number),
                    Order::End => return,
                }
            }
            if self.must_list || self.listed.elapsed() >= LIST_EVERY {
                self.list_all();
            }
            if let Some(number) = settles {
                self.settle(number);
            }
        }
    }

    /// The places with something to read.
    fn wait(&self, wake: &OwnedFd, longest: Duration) -> Vec<u32> {
        let sockets = self.followed.values().map(|followed| PollFd::new(&followed.socket, PollFlags::IN));
        let mut all: Vec<PollFd<'_>> = std::iter::once(PollFd::new(wake, PollFlags::IN)).chain(sockets).collect();
        let longest = Timespec { tv_sec: longest.as_secs().cast_signed(), tv_nsec: longest.subsec_nanos().into() };
        // Interrupted or out of memory: whatever is there is seen in the next turn.
        if poll(&mut all, Some(&longest)).is_err() {
            return Vec::new();
        }
        if !all[0].revents().is_empty() {
            // The number in it does not matter.
            let _: Result<usize, Errno> = rustix::io::read(wake, &mut [0u8; 8][..]);
        }
        self.followed.keys().zip(&all[1..]).filter(|(_, fd)| !fd.revents().is_empty()).map(|(place, _)| *place).collect()
    }

    fn follow(&mut self, place: u32, namespace: File) {
        match listen(&namespace) {
            Ok((socket, is_silent)) => {
                if is_silent {
                    tracing::warn!(
                        place,
                        "net.netfilter.nf_conntrack_events is 0: translations are listed once a window, and those of short connections missed"
                    );
                }
                self.followed.insert(place, Followed { namespace, socket, listing: None, is_silent });
                self.list(place);
                self.hear(place);
            }
            Err(error) => {
                tracing::debug!(place, %error, "cannot listen to connection tracking");
                self.shared.lose("nat_namespaces_unreached", 1);
            }
        }
    }

    fn leave(&mut self, place: u32) {
        self.followed.remove(&place);
        self.push(Change::Left { place });
        // What the kernel side has of it is found out by what the other lists have.
        self.must_list = true;
    }

    /// Everything anew, in the kernel side too.
    fn list_all(&mut self) {
        (self.must_list, self.listed) = (false, Instant::now());
        self.mirror.begin_anew(&self.shared);
        let places: Vec<u32> = self.followed.keys().copied().collect();
        for place in places {
            self.list(place);
            self.hear(place);
        }
    }

    /// Asks for the list of a namespace.
    fn list(&mut self, place: u32) {
        let Some(followed) = self.followed.get_mut(&place).filter(|followed| followed.listing.is_none()) else { return };
        // The kernel goes through the connections of all namespaces for each list.
        let any = enter(&followed.namespace).is_ok() && entries() > 0;
        followed.listing = any.then_some(0);
        let asked = if any { ask(&followed.socket, 0) } else { Ok(()) };
        self.push(Change::ListBegins { place });
        if !any || asked.is_err() {
            self.end_list(place, asked.is_ok());
        }
    }

    fn end_list(&mut self, place: u32, is_whole: bool) {
        if let Some(followed) = self.followed.get_mut(&place) {
            followed.listing = None;
        }
        if is_whole {
            self.push(Change::ListEnds { place });
        } else {
            self.shared.lose("nat_lists_failed", 1);
        }
    }

    fn settle(&mut self, number: u64) {
        let places: Vec<(u32, bool)> = self.followed.iter().map(|(place, followed)| (*place, followed.is_silent)).collect();
        for (place, is_silent) in places {
            if is_silent {
                self.list(place);
            }
            self.hear(place);
        }
        self.list_cilium();
        self.shared.lock().settled = number;
        self.shared.settled.notify_all();
    }

    /// Its tables send no news.
    fn list_cilium(&mut self) {
        let listed = self.cilium.list();
        listed.losses.into_iter().for_each(|(reason, count)| self.shared.lose(reason, count));
        self.push(Change::ListBegins { place: CILIUM });
        listed.translations.into_iter().for_each(|translation| self.opened(CILIUM, translation));
        if listed.is_whole {
            self.push(Change::ListEnds { place: CILIUM });
        }
        self.mirror.settle();
    }

    /// Takes in all that waits at a socket.
    fn hear(&mut self, place: u32) {
        loop {
            let Some(followed) = self.followed.get(&place) else { return };
            let received = recv(&followed.socket, self.buffer.as_mut_slice(), RecvFlags::DONTWAIT).map(|(length, _)| length);
            match received {
                Ok(length) => self.take(place, length),
                Err(Errno::INTR) => {}
                // More came than fits: some of it is gone.
                Err(Errno::NOBUFS) => {
                    self.shared.lose("nat_news_lost", 1);
                    self.must_list = true;
                }
                // What comes from here on began after the addresses that are new until now were kept apart.
                Err(Errno::AGAIN) => return self.mirror.settle(),
                Err(error) => {
                    tracing::warn!(place, %error, "connection tracking cannot be heard any more");
                    self.shared.lose("nat_namespaces_unreached", 1);
                    self.followed.remove(&place);
                    return;
                }
            }
        }
    }

    fn take(&mut self, place: u32, length: usize) {
        let mut all = Vec::new();
        let senseless = read(&self.buffer[..length], |said| all.push(said));
        if senseless > 0 {
            self.shared.lose("nat_senseless", senseless);
        }
        for said in all {
            match said {
                Said::Opened(translation) => self.opened(place, translation),
                Said::Closed(translation) => {
                    self.mirror.closed(&translation, &self.shared);
                    self.push(Change::Closed(translation));
                }
                Said::Done => self.next_list(place),
                Said::Refused(_) => self.end_list(place, false),
            }
        }
    }

    fn opened(&mut self, place: u32, translation: Translation) {
        self.mirror.opened(&translation, &self.shared);
        let is_early = self.mirror.is_new(translation.original.server.ip());
        self.push(Change::Opened { place, translation, is_early });
    }

    /// One of the two kinds has been listed.
    fn next_list(&mut self, place: u32) {
        let Some(followed) = self.followed.get_mut(&place) else { return };
        let Some(kind) = followed.listing.map(|kind| kind + 1) else { return };
        followed.listing = Some(kind);
        if kind == LISTED.len() {
            self.end_list(place, true);
        } else if ask(&followed.socket, kind).is_err() {
            self.end_list(place, false);
        }
    }

    fn push(&mut self, change: Change) {
        let mut state = self.shared.lock();
        if state.changes.len() < CHANGES_MAX {
            state.changes.push(change);
            return;
        }
        *state.losses.entry("nat_news_lost").or_default() += 1;
        drop(state);
        self.must_list = true;
    }
}

/// A socket in a namespace that hears of its connections, and whether that keeps silent. The calling thread stays there.
fn listen(namespace: &File) -> io::Result<(OwnedFd, bool)> {
    enter(namespace)?;
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(NETFILTER))?;
    // Without the right to it the kernel's own bound holds.
    if sockopt::set_socket_recv_buffer_size_force(&socket, WAITING_BYTES_MAX).is_err() {
        sockopt::set_socket_recv_buffer_size(&socket, WAITING_BYTES_MAX)?;
    }
    bind(&socket, &SocketAddrNetlink::new(0, GROUPS))?;
    Ok((socket, sends_no_news()))
}

/// Whether connection tracking of the calling thread's namespace keeps its news to itself.
pub(super) fn sends_no_news() -> bool {
    fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_events").is_ok_and(|setting| setting.trim() == "0")
}

fn enter(namespace: &File) -> io::Result<()> {
    Ok(move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
}

/// Connections that the calling thread's namespace tracks.
fn entries() -> u64 {
    let count = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count");
    count.ok().and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

fn ask(socket: &OwnedFd, kind: usize) -> io::Result<()> {
    sendto(socket, &list_request(LISTED[kind]), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    Ok(())
}
