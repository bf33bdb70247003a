//! Frames of one direction (RFC 9113, §4 and §6): header blocks are put together, the rest is passed over by its length.

use crate::Piece;

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADER_BYTES: usize = 9;
/// Of a block in several frames or pieces so much is kept. Peers advertise 8 to 16 KiB as the most that they take.
pub(super) const BLOCK_BYTES_MAX: usize = 32768;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const PUSH_PROMISE: u8 = 5;
const CONTINUATION: u8 = 9;
/// Kinds above are extensions; a peer that sends many is not speaking HTTP/2.
const KINDS_MAX: u8 = 0x20;

const END_STREAM: u8 = 0x01;
const END_HEADERS: u8 = 0x04;
const PADDED: u8 = 0x08;
const PRIORITY: u8 = 0x20;

/// What a frame, or the frames of a block, said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said<'a> {
    Headers {
        stream: u32,
        block: &'a [u8],
        ends: bool,
    },
    /// A request that the server makes for the client: only its block matters, to the table.
    Promise {
        block: &'a [u8],
    },
    /// The end of a stream by an empty or last DATA frame.
    End {
        stream: u32,
    },
    Reset {
        stream: u32,
        code: u32,
    },
}

/// Why frames cannot be followed any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error("bytes of frames or header blocks were not captured")]
    Hole,
    #[error("not a frame of HTTP/2")]
    NoFrame,
    #[error("a header block beyond {BLOCK_BYTES_MAX} bytes")]
    Block,
}

#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The start of a frame's header that came in several pieces.
    header: Vec<u8>,
    frame: Option<Frame>,
    /// What is wanted of the frame so far: a block with what stands before it, or a reset's code.
    payload: Vec<u8>,
    /// A block that goes on in the next frame, and whose it is.
    open: Option<Open>,
    block: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    /// Bytes still to come.
    missing: usize,
}

#[derive(Debug, Clone, Copy)]
struct Open {
    kind: u8,
    stream: u32,
    ends: bool,
}

impl Frame {
    fn is_wanted(self) -> bool {
        matches!(self.kind, HEADERS | PUSH_PROMISE | CONTINUATION | RST_STREAM)
    }
}

impl Frames {
    pub(super) fn skippable(&self) -> Option<usize> {
        match self.frame {
            Some(frame) if frame.is_wanted() => None,
            Some(frame) => Some(frame.missing),
            None => self.header.is_empty().then_some(0),
        }
    }

    /// What is kept of a frame or block that goes on.
    pub(super) fn held_bytes(&self) -> usize {
        self.header.capacity() + self.payload.capacity() + self.block.capacity()
    }

    pub(super) fn feed(&mut self, piece: Piece<'_>, found: &mut impl FnMut(Said<'_>) -> bool) -> Result<(), Error> {
        match piece {
            Piece::Bytes(bytes) => self.bytes(bytes, found),
            Piece::Gap(bytes) => self.gap(bytes, found),
            Piece::Lost => Err(Error::Hole),
        }
    }

    /// `found` says whether to go on.
    fn bytes(&mut self, mut bytes: &[u8], found: &mut impl FnMut(Said<'_>) -> bool) -> Result<(), Error> {
        while !bytes.is_empty() {
            let Some(frame) = &mut self.frame else {
                let (more, rest) = bytes.split_at(bytes.len().min(HEADER_BYTES - self.header.len()));
                self.header.extend_from_slice(more);
                bytes = rest;
                if let Some(header) = self.header.first_chunk::<HEADER_BYTES>() {
                    let frame = frame(header, self.open)?;
                    self.header.clear();
                    self.frame = Some(frame);
                    if frame.missing == 0 && !self.end(found)? {
                        return Ok(());
                    }
                }
                continue;
            };
            let (now, rest) = bytes.split_at(bytes.len().min(frame.missing));
            frame.missing -= now.len();
            bytes = rest;
            let ended = frame.missing == 0;
            if frame.is_wanted() {
                if self.payload.len() + now.len() > BLOCK_BYTES_MAX {
                    return Err(Error::Block);
                }
                self.payload.extend_from_slice(now);
            }
            if ended && !self.end(found)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// A hole is no loss where it lies within what is passed over.
    fn gap(&mut self, bytes: usize, found: &mut impl FnMut(Said<'_>) -> bool) -> Result<(), Error> {
        if bytes == 0 {
            return Ok(());
        }
        match &mut self.frame {
            Some(frame) if !frame.is_wanted() && bytes <= frame.missing => {
                frame.missing -= bytes;
                if frame.missing == 0 {
                    self.end(found)?;
                }
                Ok(())
            }
            _ => Err(Error::Hole),
        }
    }

    /// The frame at hand is whole.
    fn end(&mut self, found: &mut impl FnMut(Said<'_>) -> bool) -> Result<bool, Error> {
        let Some(frame) = self.frame.take() else { return Ok(true) };
        let payload = std::mem::take(&mut self.payload);
        match frame.kind {
            DATA if frame.flags & END_STREAM != 0 => return Ok(found(Said::End { stream: frame.stream })),
            RST_STREAM => {
                let code = payload.first_chunk::<4>().ok_or(Error::NoFrame)?;
                return Ok(found(Said::Reset { stream: frame.stream, code: u32::from_be_bytes(*code) }));
            }
            HEADERS | PUSH_PROMISE | CONTINUATION => {}
            _ => return Ok(true),
        }
        let open = self.open.unwrap_or(Open { kind: frame.kind, stream: frame.stream, ends: frame.flags & END_STREAM != 0 });
        let fragment = fragment(frame, &payload)?;
        if self.block.len() + fragment.len() > BLOCK_BYTES_MAX {
            return Err(Error::Block);
        }
        if frame.flags & END_HEADERS == 0 {
            self.block.extend_from_slice(fragment);
            self.open = Some(open);
            return Ok(true);
        }
        self.open = None;
        let joined = std::mem::take(&mut self.block);
        let joined = [&joined, fragment].concat();
        Ok(found(match open.kind {
            HEADERS => Said::Headers { stream: open.stream, block: &joined, ends: open.ends },
            _ => Said::Promise { block: &joined },
        }))
    }
}

/// §4.1. A block is not interrupted: after a frame that left one open its continuation has to come.
fn frame(header: &[u8; HEADER_BYTES], open: Option<Open>) -> Result<Frame, Error> {
    let [upper, middle, lower, kind, flags, stream @ ..] = *header;
    let missing = u32::from_be_bytes([0, upper, middle, lower]) as usize;
    let stream = u32::from_be_bytes(stream) & 0x7fff_ffff;
    let expected = match open {
        Some(open) => kind == CONTINUATION && stream == open.stream,
        None => kind < KINDS_MAX && kind != CONTINUATION,
    };
    let has_stream = !matches!(kind, DATA | HEADERS | RST_STREAM | PUSH_PROMISE) || stream != 0;
    if expected && has_stream { Ok(Frame { kind, flags, stream, missing }) } else { Err(Error::NoFrame) }
}

/// The part of a block in a frame, without padding, priority and the promised stream.
fn fragment(frame: Frame, payload: &[u8]) -> Result<&[u8], Error> {
    let (mut fragment, mut padding) = (payload, 0);
    let mut skip = 0;
    if frame.kind != CONTINUATION && frame.flags & PADDED != 0 {
        let (length, rest) = fragment.split_first().ok_or(Error::NoFrame)?;
        (fragment, padding) = (rest, usize::from(*length));
    }
    if frame.kind == HEADERS && frame.flags & PRIORITY != 0 {
        skip = 5;
    }
    if frame.kind == PUSH_PROMISE {
        skip = 4;
    }
    let end = fragment.len().checked_sub(padding).ok_or(Error::NoFrame)?;
    fragment.get(skip..end).ok_or(Error::NoFrame)
}
