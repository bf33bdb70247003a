//! A TCP segment as it was captured.

use crate::ip::Unread;
use std::net::{IpAddr, SocketAddr};

const HEADER: usize = 20;
/// Blocks that fit into the options beside each other (RFC 2018).
const SACK_BLOCKS_MAX: usize = 4;

/// A segment: its header, and what was captured of its payload.
#[derive(Debug, Clone)]
pub struct Segment<'a> {
    pub source: SocketAddr,
    pub dest: SocketAddr,
    pub sequence: u32,
    pub acknowledgement: u32,
    flags: u8,
    pub window: u16,
    /// Payload bytes on the wire.
    pub length: u32,
    pub payload: &'a [u8],
    pub options: Options,
    /// IPv4 identification and checksum: the same for a packet that was captured twice, another for one that was sent again. `None`
    /// where it cannot tell.
    pub print: Option<u32>,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    pub mss: Option<u16>,
    pub window_scale: Option<u8>,
    /// Time stamp of the sender.
    pub timestamp: Option<u32>,
    sack: [(u32, u32); SACK_BLOCKS_MAX],
    sack_blocks: usize,
}

impl Options {
    pub fn sack(&self) -> &[(u32, u32)] {
        &self.sack[..self.sack_blocks]
    }

    /// Reads as many as are there and sound.
    fn read(mut bytes: &[u8]) -> Options {
        let mut options = Options::default();
        while let [kind, rest @ ..] = bytes {
            match kind {
                0 => break,
                1 => bytes = rest,
                _ => {
                    let Some(value) = rest.first().map(|length| usize::from(*length)).filter(|length| *length >= 2).and_then(|l| rest.get(1..l - 1))
                    else {
                        break;
                    };
                    options.take(*kind, value);
                    bytes = &rest[value.len() + 1..];
                }
            }
        }
        options
    }

    fn take(&mut self, kind: u8, value: &[u8]) {
        match (kind, value) {
            (2, [high, low]) => self.mss = Some(u16::from_be_bytes([*high, *low])),
            // RFC 7323, 2.3: a larger one counts as 14.
            (3, [scale]) => self.window_scale = Some((*scale).min(14)),
            (5, blocks) => {
                for (block, into) in blocks.chunks_exact(8).zip(&mut self.sack) {
                    let word = |at: usize| u32::from_be_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]]);
                    *into = (word(0), word(4));
                    self.sack_blocks += 1;
                }
            }
            (8, [a, b, c, d, ..]) => self.timestamp = Some(u32::from_be_bytes([*a, *b, *c, *d])),
            _ => {}
        }
    }
}

impl<'a> Segment<'a> {
    pub(crate) fn read(source: IpAddr, dest: IpAddr, id: Option<u16>, bytes: &'a [u8], length: usize) -> Result<Self, Unread> {
        let Some(fixed) = bytes.first_chunk::<HEADER>() else {
            return Err(if length < HEADER { Unread::Malformed } else { Unread::Cut });
        };
        let header = usize::from(fixed[12] >> 4) * 4;
        let payload_length = length.checked_sub(header).filter(|_| header >= HEADER).and_then(|length| u32::try_from(length).ok());
        let payload_length = payload_length.ok_or(Unread::Malformed)?;
        let half = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
        let word = |at: usize| u32::from(half(at)) << 16 | u32::from(half(at + 2));
        Ok(Segment {
            source: SocketAddr::new(source, half(0)),
            dest: SocketAddr::new(dest, half(2)),
            sequence: word(4),
            acknowledgement: word(8),
            flags: fixed[13],
            window: half(14),
            length: payload_length,
            payload: bytes.get(header..).unwrap_or_default(),
            options: Options::read(&bytes[HEADER..header.min(bytes.len())]),
            // A sender that numbers no packets gives all of them zero.
            print: id.filter(|id| *id != 0).map(|id| u32::from(id) << 16 | u32::from(half(16))),
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    pub fn fin(&self) -> bool {
        self.has(0x01)
    }

    pub fn syn(&self) -> bool {
        self.has(0x02)
    }

    pub fn rst(&self) -> bool {
        self.has(0x04)
    }

    pub fn ack(&self) -> bool {
        self.has(0x10)
    }

    /// True if the capture has less of the payload than the wire had.
    pub fn is_cut(&self) -> bool {
        self.payload.len() < self.length as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_far_as_they_are_sound() {
        let bytes = [2, 4, 5, 180, 1, 3, 3, 7, 4, 2, 8, 10, 0, 0, 1, 0, 0, 0, 0, 9, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2];
        let options = Options::read(&bytes);
        assert_eq!((options.mss, options.window_scale, options.timestamp), (Some(1460), Some(7), Some(256)));
        assert_eq!(options.sack(), [(1, 2)]);
        assert_eq!(Options::read(&[1, 1, 2, 4, 5]).mss, None, "cut short");
        assert_eq!(Options::read(&[2, 0, 2, 4, 5, 180]).mss, None, "an option of no length");
        assert_eq!(Options::read(&[0, 2, 4, 5, 180]).mss, None, "the end of the list");
        assert_eq!(Options::read(&[5, 42].iter().copied().chain([7; 40]).collect::<Vec<_>>()).sack().len(), SACK_BLOCKS_MAX);
    }
}
