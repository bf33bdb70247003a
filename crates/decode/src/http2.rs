//! HTTP/2 and gRPC in clear text (RFC 9113): both directions of one connection that is seen from its start.
//!
//! A field may refer to one of an earlier block, so that blocks mean nothing without all those before them. A connection that was there before, or a hole
//! in a header block, therefore ends what can be said of a direction; why is said by [`Connection::refusal`]. Holes in bodies cost nothing.

mod frames;
mod hpack;
mod huffman;

use std::collections::BTreeMap;

use crate::Piece;
pub use crate::http::{Asked, Request, Response, Sender, Speaks};
use frames::{Frames, PREFACE, Said};
use hpack::{Field, Table};

/// Requests that have not ended; the answers to those beyond it are not paired. Servers allow 100 to 250 at a time
/// unless they are told otherwise, as where many watch for long.
pub const STREAMS_MAX: usize = 1_024;
/// What a [`Connection`] may take of the heap: in each direction a table, whose entries count 32 bytes beside their texts and take a good hundred, and
/// a block that is copied while it grows; the streams. Peers that leave the table as it begins take a tenth.
pub const HEAP_BYTES_MAX: usize = 2 * (6 * hpack::TABLE_BYTES_MAX + 5 * frames::BLOCK_BYTES_MAX) + STREAMS_MAX * 160 + 4096;

/// What was found, at the time when the block or frame that says it was whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Request(Request),
    /// The first final answer of a stream.
    Response(Response),
    Ended(Ended),
}

/// A stream that has ended: its answer is whole, or either side has reset it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    pub at_ns: u64,
    /// The request, where that was seen.
    pub of: Option<Asked>,
    /// Of the trailers, or of an answer that has no body.
    pub grpc_status: Option<u16>,
    /// The code of the reset, if it was one.
    pub reset: Option<u32>,
    /// There was a final answer.
    pub answered: bool,
    /// The request was one of gRPC.
    pub is_grpc: bool,
}

/// Why nothing more is said of a direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the connection was there before: what its fields refer to is not known")]
    Midway,
    #[error(transparent)]
    Frames(#[from] frames::Error),
    #[error("a header block: {0}")]
    Fields(#[from] hpack::Error),
}

/// One connection. Holds at most [`HEAP_BYTES_MAX`] bytes.
#[derive(Debug)]
pub struct Connection {
    client: Direction,
    server: Direction,
    /// How much of the preface went by.
    preface: usize,
    speaks: Speaks,
    calls: Calls,
}

#[derive(Debug)]
struct Direction {
    frames: Frames,
    table: Table,
    refusal: Option<Refusal>,
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Connection {
    /// A connection that is seen from its start.
    pub fn new() -> Self {
        let direction = || Direction { frames: Frames::default(), table: Table::new(), refusal: None };
        Self { client: direction(), server: direction(), preface: 0, speaks: Speaks::Unsure, calls: Calls::default() }
    }

    /// A connection that was there before: nothing can be said of it.
    pub fn midway() -> Self {
        let mut connection = Self::new();
        connection.client.refusal = Some(Refusal::Midway);
        connection.server.refusal = Some(Refusal::Midway);
        connection
    }

    pub fn speaks(&self) -> Speaks {
        self.speaks
    }

    pub fn refusal(&self, sender: Sender) -> Option<Refusal> {
        match sender {
            Sender::Client => self.client.refusal,
            Sender::Server => self.server.refusal,
        }
    }

    /// What this takes of the heap by now, at most; of what comes and goes with the calls of [`Connection::feed`] nothing.
    pub fn heap_bytes(&self) -> usize {
        let of = |direction: &Direction| 6 * direction.table.bytes() + direction.frames.held_bytes();
        of(&self.client) + of(&self.server) + self.calls.open.len() * 160
    }

    /// How many bytes of this side's stream may be left out now ([`Piece::Gap`]), since they are of no interest: after them, or now if there are none, a
    /// frame begins. `None` in the midst of what has to be read.
    pub fn skippable(&self, sender: Sender) -> Option<usize> {
        match sender {
            Sender::Client => self.client.frames.skippable(),
            Sender::Server => self.server.frames.skippable(),
        }
    }

    /// The connection has ended, and with it every stream that is open.
    pub fn end(self, at_ns: u64, mut found: impl FnMut(Ended)) {
        for call in self.calls.open.into_values() {
            found(Ended { at_ns, of: Some(call.asked), grpc_status: None, reset: None, answered: call.answered, is_grpc: call.is_grpc });
        }
    }

    /// Takes what `sender` sent next, which was seen at `at_ns`, and calls `found` with what it says. The two directions are fed as they were seen, by
    /// one clock.
    pub fn feed(&mut self, sender: Sender, at_ns: u64, piece: Piece<'_>, mut found: impl FnMut(Event)) {
        let piece = match (sender, piece) {
            _ if self.speaks == Speaks::Other || self.refusal(sender).is_some() => return,
            (Sender::Client, Piece::Bytes(bytes)) => Piece::Bytes(self.after_preface(bytes)),
            _ => piece,
        };
        let calls = &mut self.calls;
        let direction = match sender {
            Sender::Client => &mut self.client,
            Sender::Server => &mut self.server,
        };
        let (table, refusal) = (&mut direction.table, &mut direction.refusal);
        let fed = direction.frames.feed(piece, &mut |said| match calls.take(sender, at_ns, said, table, &mut found) {
            Ok(()) => true,
            Err(error) => {
                *refusal = Some(error.into());
                false
            }
        });
        if let Err(error) = fed {
            direction.refusal = Some(error.into());
        }
        if direction.refusal.is_some() {
            (direction.frames, direction.table) = (Frames::default(), Table::new());
        }
    }

    /// What comes after the client's preface (§3.4), which is never split from the start of a connection by anything else.
    fn after_preface<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (now, rest) = bytes.split_at(bytes.len().min(PREFACE.len() - self.preface));
        if PREFACE[self.preface..].starts_with(now) {
            self.preface += now.len();
            if self.preface == PREFACE.len() {
                self.speaks = Speaks::Http2;
            }
            return rest;
        }
        self.speaks = Speaks::Other;
        &[]
    }
}

/// The streams that are open.
#[derive(Debug, Default)]
struct Calls {
    open: BTreeMap<u32, Call>,
    /// The highest stream of a request so far: a block of a lower one is trailers.
    newest: u32,
    requests: u64,
}

#[derive(Debug)]
struct Call {
    asked: Asked,
    answered: bool,
    is_grpc: bool,
}

/// What a block says.
#[derive(Debug, Default)]
struct Block {
    method: Option<&'static str>,
    path: Option<String>,
    authority: Option<String>,
    host: Option<String>,
    status: Option<u16>,
    grpc_status: Option<u16>,
    is_grpc: bool,
}

impl Block {
    /// Of a field that comes twice the first counts.
    fn read(block: &[u8], table: &mut Table) -> Result<Self, hpack::Error> {
        let mut said = Self::default();
        table.read(block, |field| match field {
            Field::Method(method) => said.method = said.method.or(Some(method)),
            Field::Path(path) if said.path.is_none() => said.path = Some(path.to_string()),
            Field::Authority(host) if said.authority.is_none() => said.authority = host.as_deref().map(str::to_owned),
            Field::Host(host) if said.host.is_none() => said.host = host.as_deref().map(str::to_owned),
            Field::Status(status) => said.status = said.status.or(Some(*status).filter(|status| *status > 0)),
            Field::GrpcStatus(status) => said.grpc_status = said.grpc_status.or(*status),
            Field::IsGrpc(is_grpc) => said.is_grpc |= is_grpc,
            Field::Path(_) | Field::Authority(_) | Field::Host(_) | Field::Other => {}
        })?;
        Ok(said)
    }
}

impl Calls {
    fn take(&mut self, sender: Sender, at_ns: u64, said: Said<'_>, table: &mut Table, found: &mut impl FnMut(Event)) -> Result<(), hpack::Error> {
        match said {
            Said::Headers { stream, block, ends } => {
                let block = Block::read(block, table)?;
                match sender {
                    Sender::Client => self.asked(stream, at_ns, block, found),
                    Sender::Server => self.answered(stream, at_ns, block, ends, found),
                }
            }
            Said::Promise { block } => {
                Block::read(block, table)?;
            }
            Said::End { stream } if sender == Sender::Server => self.ended(stream, at_ns, None, None, found),
            Said::End { .. } => {}
            Said::Reset { stream, code } => self.ended(stream, at_ns, None, Some(code), found),
        }
        Ok(())
    }

    fn asked(&mut self, stream: u32, at_ns: u64, block: Block, found: &mut impl FnMut(Event)) {
        let Some(method) = block.method.filter(|_| stream > self.newest) else { return };
        self.newest = stream;
        let asked = Asked { number: self.requests, at_ns };
        self.requests += 1;
        if self.open.len() < STREAMS_MAX {
            self.open.insert(stream, Call { asked, answered: false, is_grpc: block.is_grpc });
        }
        let is_grpc = block.is_grpc;
        let (path, host) = (block.path.unwrap_or_default(), block.authority.or(block.host));
        found(Event::Request(Request { number: asked.number, at_ns, method, path, host, is_grpc }));
    }

    fn answered(&mut self, stream: u32, at_ns: u64, block: Block, ends: bool, found: &mut impl FnMut(Event)) {
        let mut call = self.open.get_mut(&stream);
        if let Some(status) = block.status.filter(|status| *status >= 200 && call.as_ref().is_none_or(|call| !call.answered)) {
            let answers = call.as_mut().map(|call| {
                call.answered = true;
                call.asked
            });
            found(Event::Response(Response { at_ns, status, answers }));
        }
        if ends {
            self.ended(stream, at_ns, block.grpc_status, None, found);
        }
    }

    fn ended(&mut self, stream: u32, at_ns: u64, grpc_status: Option<u16>, reset: Option<u32>, found: &mut impl FnMut(Event)) {
        let call = self.open.remove(&stream);
        // What was reset after its end has been said already.
        if call.is_some() || reset.is_none() {
            let (answered, is_grpc) = call.as_ref().map_or((false, false), |call| (call.answered, call.is_grpc));
            found(Event::Ended(Ended { at_ns, of: call.map(|call| call.asked), grpc_status, reset, answered, is_grpc }));
        }
    }
}
