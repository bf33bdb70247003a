//! What connections of HTTP/2 say, on its way out of the kernel, and what was read of it, on its way back to the flows' counters.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use libbpf_rs::{MapHandle, RingBuffer, RingBufferBuilder};
use libbpf_sys as sys;

use crate::layout::{
    HTTP2_BEGINS, HTTP2_ENDS, HTTP2_GIVEN_UP, HTTP2_LEAVE, HTTP2_MISSES, HTTP2_SAYS, HTTP2_TIMES_MAX, HTTP2_WHOLE, Plain, RawHttp2Count,
    RawHttp2Record, RawHttp2Resumption, RawKey,
};
use crate::maps;
use crate::{FlowKey, ProbeError};

/// What one end of a connection of HTTP/2 has said, or what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Http2Record<'a> {
    /// The socket's own, whatever it counts under.
    pub key: FlowKey,
    pub client_port: u16,
    /// Names this end of the connection; never used again.
    pub id: u64,
    /// CLOCK_MONOTONIC; of frames that came in one segment the same.
    pub at_ns: u64,
    pub event: Http2Event<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http2Event<'a> {
    /// The client has said the preface.
    Begins,
    /// The next piece of the frames that matter: with fields or resets, and of a stream's last data one without any. All others are left out.
    Says { by_client: bool, frames: &'a [u8] },
    /// The connection is closed.
    Ends,
    /// Nothing more comes of this connection, since something was missed; that is counted.
    GivenUp,
    /// A segment was missed at this sequence number, before which `start` lies, the part of a header that was not said yet. From here on this side's
    /// stream comes whole, in the order in which its segments arrived, until [`Http2Counter::resume`].
    Misses { by_client: bool, seq: u32, start: &'a [u8] },
    /// The stream from this sequence number on.
    Whole { by_client: bool, seq: u32, bytes: &'a [u8] },
}

/// What is to be added to a flow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Http2Count {
    pub requests: u32,
    /// 2xx, 3xx, 4xx, 5xx, other.
    pub answers: [u32; 5],
    pub unanswered: u32,
    pub grpc_requests: u32,
    /// OK, UNAVAILABLE, DEADLINE_EXCEEDED, another status, none.
    pub grpc_ends: [u32; 5],
    /// From requests to their answers.
    pub times_us: Vec<u32>,
}

/// What a probe with HTTP/2 has for its reader.
#[derive(Debug)]
pub(crate) struct Http2Parts {
    pub ring: MapHandle,
    pub counts: MapHandle,
    pub resumptions: MapHandle,
    pub count: OwnedFd,
    pub reader: u32,
}

/// Takes out what connections say. One at a time; it may move between threads.
#[derive(Debug)]
pub struct Http2Reader {
    ring: RingBuffer<'static>,
    /// Keeps the ring's descriptor open.
    _map: MapHandle,
}

/// Wakes when much of the ring is used.
#[derive(Debug)]
pub struct Http2Alarm(OwnedFd);

/// Adds to flows' counters, and tells where frames begin after a hole.
#[derive(Debug)]
pub struct Http2Counter {
    counts: MapHandle,
    resumptions: MapHandle,
    count: OwnedFd,
}

impl Http2Reader {
    /// `each` gets every record, and connections of an earlier reader that have ended as `None`.
    pub(crate) fn new(parts: &Http2Parts, mut each: impl FnMut(Option<Http2Record<'_>>) + Send + 'static) -> Result<Self, ProbeError> {
        let map = shared(&parts.ring)?;
        let reader = parts.reader;
        let mut builder = RingBufferBuilder::new();
        let take = move |bytes: &[u8]| {
            match parse(bytes) {
                Some((of, record)) if of == reader => each(Some(record)),
                Some((_, Http2Record { event: Http2Event::Ends, .. })) => each(None),
                _ => {}
            }
            0
        };
        builder.add(&map, take).map_err(refused)?;
        Ok(Self { ring: builder.build().map_err(refused)?, _map: map })
    }

    /// Takes out all that waits, and what comes meanwhile, up to `most` records; says how many there were.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn drain(&mut self, most: usize) -> Result<usize, ProbeError> {
        let taken = self.ring.consume_raw_n(most);
        usize::try_from(taken).map_err(|_| ProbeError::Load(format!("reading what HTTP/2 said: {}", std::io::Error::from_raw_os_error(-taken))))
    }

    /// # Errors
    /// If there are no more file descriptors.
    pub fn alarm(&self) -> Result<Http2Alarm, ProbeError> {
        // SAFETY: valid as long as the ring, which is borrowed here.
        let epoll = unsafe { std::os::fd::BorrowedFd::borrow_raw(self.ring.epoll_fd()) };
        epoll.try_clone_to_owned().map(Http2Alarm).map_err(|source| ProbeError::Load(format!("a file descriptor: {source}")))
    }
}

impl Http2Alarm {
    /// Until much waits, or the time is over, or a signal came; that is not told apart, since a look costs nothing.
    pub fn wait(&self, at_most: Duration) {
        let mut fd = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let ms = i32::try_from(at_most.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: one valid pollfd.
        unsafe { libc::poll(&raw mut fd, 1, ms) };
    }
}

impl Http2Counter {
    pub(crate) fn new(parts: &Http2Parts) -> Result<Self, ProbeError> {
        let count = parts.count.try_clone().map_err(|source| ProbeError::Load(format!("a file descriptor: {source}")))?;
        let resumptions = shared(&parts.resumptions)?;
        let mut old = Vec::new();
        maps::for_each(&resumptions, "http2_resumptions", |key, _| old.push(key.to_vec()))?;
        old.iter().try_for_each(|key| maps::delete(&resumptions, "http2_resumptions", key))?;
        Ok(Self { counts: shared(&parts.counts)?, resumptions, count })
    }

    /// A frame of this side begins at `next`, as [`Http2Event::Whole`], `wholes` of them since the connection began, have shown; `None`: whatever comes of
    /// this side is not wanted. False if there is no room for it now.
    ///
    /// # Errors
    /// If the kernel refuses for another reason.
    pub fn resume(&mut self, id: u64, by_client: bool, at: Option<(u32, u32)>) -> Result<bool, ProbeError> {
        let (next, wholes) = at.unwrap_or((0, HTTP2_LEAVE));
        let put = maps::put(&self.resumptions, "http2_resumptions", &side(id, by_client), RawHttp2Resumption { next, wholes }.bytes());
        maps::has_room(put)
    }

    /// This connection has ended.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn forget(&mut self, id: u64) -> Result<(), ProbeError> {
        [false, true].into_iter().try_for_each(|by_client| maps::delete(&self.resumptions, "http2_resumptions", &side(id, by_client)))
    }

    /// Adds to the flow under which a socket with this key and client's port counts now.
    ///
    /// # Errors
    /// If the kernel refuses, or another build of the programs has taken over: then nothing, or a part of the times alone, is left out.
    pub fn add(&mut self, key: &FlowKey, client_port: u16, count: &Http2Count) -> Result<(), ProbeError> {
        let [ok, unavailable, deadline, other, unsaid] = count.grpc_ends;
        let mut raw = RawHttp2Count {
            key: RawKey::from(key),
            client_port: client_port.into(),
            requests: count.requests,
            answers: count.answers,
            unanswered: count.unanswered,
            grpc_requests: count.grpc_requests,
            grpc_ok: ok,
            grpc_unavailable: unavailable,
            grpc_deadline: deadline,
            grpc_other: other,
            grpc_unsaid: unsaid,
            ..RawHttp2Count::none()
        };
        let (first, rest) = count.times_us.split_at(count.times_us.len().min(HTTP2_TIMES_MAX));
        self.run(raw.with_times(first))?;
        for times in rest.chunks(HTTP2_TIMES_MAX) {
            raw = RawHttp2Count { key: raw.key, client_port: raw.client_port, ..RawHttp2Count::none() };
            self.run(raw.with_times(times))?;
        }
        Ok(())
    }

    /// Counts connections that cannot be read.
    ///
    /// # Errors
    /// As [`Http2Counter::add`].
    pub fn unreadable(&mut self, connections: u32) -> Result<(), ProbeError> {
        self.run(&RawHttp2Count { unreadable: connections, ..RawHttp2Count::none() })
    }

    fn run(&mut self, raw: &RawHttp2Count) -> Result<(), ProbeError> {
        maps::put(&self.counts, "http2_counts", &0u32.to_ne_bytes(), raw.bytes())?;
        // SAFETY: a struct of integers and pointers, for which all zeros is a value.
        let mut options: sys::bpf_test_run_opts = unsafe { std::mem::zeroed() };
        options.sz = size_of::<sys::bpf_test_run_opts>() as sys::size_t;
        // SAFETY: a valid program of a kind that takes no context, and a struct as long as it says.
        let failed = unsafe { sys::bpf_prog_test_run_opts(self.count.as_raw_fd(), &raw mut options) } != 0;
        if failed {
            return Err(ProbeError::Map { map: "http2_counts", what: "count from", source: std::io::Error::last_os_error() });
        }
        if options.retval != 0 {
            return Err(ProbeError::Load("another build of the programs counts now: what HTTP/2 said is its to read".into()));
        }
        Ok(())
    }
}

fn side(id: u64, by_client: bool) -> [u8; 8] {
    ((id << 1) | u64::from(by_client)).to_ne_bytes()
}

fn refused(error: libbpf_rs::Error) -> ProbeError {
    ProbeError::Load(format!("the ring of HTTP/2: {error}"))
}

fn shared(map: &MapHandle) -> Result<MapHandle, ProbeError> {
    MapHandle::try_from(map).map_err(refused)
}

/// A record as the kernel side wrote it, and for which reader; `None` if it is none.
pub(crate) fn parse(bytes: &[u8]) -> Option<(u32, Http2Record<'_>)> {
    let raw = RawHttp2Record::from_bytes(bytes)?;
    let frames = bytes.get(size_of::<RawHttp2Record>()..)?.get(..raw.bytes.into())?;
    let event = match raw.what {
        HTTP2_BEGINS => Http2Event::Begins,
        HTTP2_SAYS => Http2Event::Says { by_client: raw.by_client != 0, frames },
        HTTP2_ENDS => Http2Event::Ends,
        HTTP2_GIVEN_UP => Http2Event::GivenUp,
        HTTP2_MISSES => Http2Event::Misses { by_client: raw.by_client != 0, seq: raw.seq, start: frames },
        HTTP2_WHOLE => Http2Event::Whole { by_client: raw.by_client != 0, seq: raw.seq, bytes: frames },
        _ => return None,
    };
    Some((raw.reader, Http2Record { key: (&raw.key).into(), client_port: raw.client_port, id: raw.id, at_ns: raw.at_ns, event }))
}

/// A second descriptor of a program, which outlives the object that it was loaded from.
pub(crate) fn kept(program: &impl AsFd) -> Result<OwnedFd, String> {
    program.as_fd().try_clone_to_owned().map_err(|error| error.to_string())
}
