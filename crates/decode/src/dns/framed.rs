//! DNS over TCP: each message after two bytes of its length (RFC 1035, §4.2.2; several in flight by RFC 7766).

use crate::Piece;

const PREFIX_BYTES: usize = 2;
const HEADER_BYTES: usize = 12;

/// So much of one message is kept; the rest is passed over, and the message is handed on cut. Common answers with 64 addresses take 2 KiB.
pub const FRAME_BYTES_MAX: usize = 4096;

/// What [`Framed`] may take of the heap: what it keeps, in a list that doubles and is copied as it grows.
pub const FRAMED_HEAP_BYTES_MAX: usize = 3 * FRAME_BYTES_MAX;

/// Finds the messages in one direction of a connection. Holds at most [`FRAMED_HEAP_BYTES_MAX`] bytes.
#[derive(Debug, Default)]
pub struct Framed {
    prefix: Vec<u8>,
    kept: Vec<u8>,
    /// Bytes of the current message still to come.
    missing: usize,
    /// A hole in the current message: what comes after it cannot be kept.
    torn: bool,
    /// Where a message begins is not known.
    lost: bool,
}

impl Framed {
    /// A connection that is seen from its start.
    pub fn new() -> Self {
        Self::default()
    }

    /// A connection that was there before.
    pub fn midway() -> Self {
        Self { lost: true, ..Self::default() }
    }

    /// Takes what comes next and calls `found` with each message that has ended, or with what was captured of it, for [`super::message`].
    pub fn feed(&mut self, piece: Piece<'_>, mut found: impl FnMut(&[u8])) {
        match piece {
            Piece::Bytes(bytes) => self.bytes(bytes, &mut found),
            Piece::Gap(bytes) => self.gap(bytes, &mut found),
            Piece::Lost => self.lose(&mut found),
        }
    }

    fn bytes(&mut self, mut bytes: &[u8], found: &mut impl FnMut(&[u8])) {
        if self.lost && !begins_message(bytes) {
            return;
        }
        self.lost = false;
        while let Some((&first, rest)) = bytes.split_first() {
            if self.missing == 0 {
                bytes = rest;
                self.prefix.push(first);
                if let [upper, lower] = self.prefix[..] {
                    self.missing = usize::from(u16::from_be_bytes([upper, lower]));
                    self.prefix.clear();
                }
                continue;
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.missing));
            bytes = later;
            if !self.torn {
                let room = FRAME_BYTES_MAX - self.kept.len();
                self.kept.extend_from_slice(&now[..now.len().min(room)]);
            }
            self.passed(now.len(), found);
        }
    }

    fn gap(&mut self, bytes: usize, found: &mut impl FnMut(&[u8])) {
        if bytes == 0 || self.lost {
            return;
        }
        self.torn = self.missing > 0;
        let within = bytes.min(self.missing);
        if within > 0 {
            self.passed(within, found);
        }
        if bytes > within {
            self.lose(found); // the next length is in the hole
        }
    }

    fn passed(&mut self, bytes: usize, found: &mut impl FnMut(&[u8])) {
        self.missing -= bytes;
        if self.missing == 0 {
            self.hand_on(found);
            self.torn = false;
        }
    }

    /// A message of which nothing was captured is none.
    fn hand_on(&mut self, found: &mut impl FnMut(&[u8])) {
        if !self.kept.is_empty() {
            found(&self.kept);
        }
        self.kept.clear();
    }

    fn lose(&mut self, found: &mut impl FnMut(&[u8])) {
        self.hand_on(found);
        *self = Self { kept: std::mem::take(&mut self.kept), ..Self::midway() };
    }
}

/// Programs write one message at a time: a chunk that is exactly one message is a beginning.
fn begins_message(chunk: &[u8]) -> bool {
    let Some((prefix, message)) = chunk.split_first_chunk::<PREFIX_BYTES>() else { return false };
    usize::from(u16::from_be_bytes(*prefix)) == message.len() && message.len() >= HEADER_BYTES
}
