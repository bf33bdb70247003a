//! A connection as one input: what was captured of it, piece by piece, in a form that stays readable whatever a mutation does to it.
//!
//! Each piece is a byte that says what it is, two bytes of its length, and its bytes if they were captured.

use edgescope_decode::Piece;
use edgescope_fuzz::Source;

const SERVER: u8 = 1;
const GAP: u8 = 0x40;
const LOST: u8 = 0x80;

/// The pieces of a script, and whether the server sent them.
pub fn pieces(mut script: &[u8]) -> impl Iterator<Item = (bool, Piece<'_>)> {
    std::iter::from_fn(move || {
        let (&[what, upper, lower], rest) = script.split_first_chunk::<3>()?;
        let length = usize::from(u16::from_be_bytes([upper, lower]));
        let piece = match what & (GAP | LOST) {
            0 => Piece::Bytes(&rest[..length.min(rest.len())]),
            GAP => Piece::Gap(length),
            _ => Piece::Lost,
        };
        script = if let Piece::Bytes(bytes) = piece { &rest[bytes.len()..] } else { rest };
        Some((what & SERVER != 0, piece))
    })
}

pub fn push(script: &mut Vec<u8>, server: bool, piece: Piece<'_>) {
    let (kind, length, bytes) = match piece {
        Piece::Bytes(bytes) => (0, bytes.len(), bytes),
        Piece::Gap(length) => (GAP, length, &[][..]),
        Piece::Lost => (LOST, 0, &[][..]),
    };
    script.push(kind | u8::from(server));
    script.extend(u16::try_from(length).expect("a short piece").to_be_bytes());
    script.extend(bytes);
}

/// Adds what one side sent, as a capture might have it: whole, in pieces, or with only the first of each piece.
pub fn push_captured(script: &mut Vec<u8>, server: bool, mut bytes: &[u8], source: &mut Source) {
    let (whole, snapped) = (source.one_in(3), source.one_in(3));
    while !bytes.is_empty() {
        let length = if whole { bytes.len() } else { source.within(1, bytes.len()) };
        let (piece, rest) = bytes.split_at(length);
        let kept = if snapped { source.within(1, piece.len()) } else { piece.len() };
        push(script, server, Piece::Bytes(&piece[..kept]));
        if kept < length {
            push(script, server, if source.one_in(8) { Piece::Lost } else { Piece::Gap(length - kept) });
        }
        bytes = rest;
    }
}
