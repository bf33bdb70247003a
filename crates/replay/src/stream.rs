//! One direction of a connection as a stream: in order, each byte once, with holes said.

use edgescope_decode::Piece;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a direction keeps of what came too early. What exceeds it is read with a hole before it.
const HELD_BYTES_MAX: usize = 256 << 10;
/// The same of all directions together.
const ROOM_BYTES: usize = 64 << 20;

/// Bytes that all streams may still keep; clones share it.
#[derive(Debug, Clone)]
pub struct Room(Rc<Cell<usize>>);

impl Default for Room {
    fn default() -> Self {
        Self(Rc::new(Cell::new(ROOM_BYTES)))
    }
}

/// See the module.
#[derive(Debug)]
pub struct Stream {
    next: Option<u64>,
    held: BTreeMap<u64, Held>,
    held_bytes: usize,
    room: Room,
}

#[derive(Debug)]
struct Held {
    at_ns: u64,
    payload: Vec<u8>,
    length: u64,
}

impl Stream {
    /// A stream whose first byte is known (`begin`), or that begins with what comes first.
    pub fn new(begin: Option<u64>, room: &Room) -> Self {
        Self { next: begin, held: BTreeMap::new(), held_bytes: 0, room: room.clone() }
    }

    /// `length` bytes at `start` pass, of which `payload` was captured. Calls `each` with what is in order now, and when that passed.
    pub fn takes(&mut self, start: u64, length: u64, payload: &[u8], at_ns: u64, mut each: impl FnMut(u64, Piece<'_>)) {
        let next = *self.next.get_or_insert(start);
        if start.saturating_add(length) <= next {
            return;
        }
        if start > next {
            if self.holds(start, length, payload, at_ns) {
                return;
            }
            self.skip_to(start, at_ns, &mut each);
        }
        self.pass(start, length, payload, at_ns, &mut each);
        self.drain(&mut each);
    }

    /// All below `ack` has arrived: what is missing of it will not come.
    pub fn acknowledged(&mut self, ack: u64, at_ns: u64, mut each: impl FnMut(u64, Piece<'_>)) {
        while let Some(next) = self.next.filter(|next| *next < ack) {
            let held = self.held.first_key_value().map_or(ack, |(start, _)| *start);
            self.skip_to(held.min(ack).max(next), at_ns, &mut each);
            self.drain(&mut each);
        }
    }

    fn holds(&mut self, start: u64, length: u64, payload: &[u8], at_ns: u64) -> bool {
        let room = self.room.0.get();
        if self.held.contains_key(&start) {
            return true;
        }
        if self.held_bytes + payload.len() > HELD_BYTES_MAX || payload.len() > room {
            return false;
        }
        self.room.0.set(room - payload.len());
        self.held_bytes += payload.len();
        self.held.insert(start, Held { at_ns, payload: payload.to_vec(), length });
        true
    }

    /// Gives what is held below `to`, with its holes, up to there.
    fn skip_to(&mut self, to: u64, at_ns: u64, each: &mut impl FnMut(u64, Piece<'_>)) {
        while let Some(next) = self.next.filter(|next| *next < to) {
            let held = self.held.first_key_value().map_or(to, |(start, _)| *start).min(to);
            if held > next {
                each(at_ns, Piece::Gap((held - next) as usize));
                self.next = Some(held);
            }
            self.drain(each);
        }
    }

    fn drain(&mut self, each: &mut impl FnMut(u64, Piece<'_>)) {
        while let Some(entry) = self.held.first_entry().filter(|entry| Some(*entry.key()) <= self.next) {
            let (start, held) = entry.remove_entry();
            self.held_bytes -= held.payload.len();
            self.room.0.set(self.room.0.get() + held.payload.len());
            self.pass(start, held.length, &held.payload, held.at_ns, each);
        }
    }

    fn pass(&mut self, start: u64, length: u64, payload: &[u8], at_ns: u64, each: &mut impl FnMut(u64, Piece<'_>)) {
        let next = self.next.unwrap_or(start);
        let end = start.saturating_add(length);
        if end <= next {
            return;
        }
        let captured_end = start + payload.len() as u64;
        if captured_end > next {
            each(at_ns, Piece::Bytes(&payload[(next - start) as usize..]));
        }
        let missing = end - captured_end.max(next);
        if missing > 0 {
            each(at_ns, Piece::Gap(missing as usize));
        }
        self.next = Some(end);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.room.0.set(self.room.0.get() + self.held_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(stream: &mut Stream, start: u64, payload: &[u8]) -> String {
        let mut out = String::new();
        stream.takes(start, payload.len() as u64, payload, 0, |_, piece| say(&mut out, piece));
        out
    }

    fn say(out: &mut String, piece: Piece<'_>) {
        match piece {
            Piece::Bytes(bytes) => out.push_str(std::str::from_utf8(bytes).unwrap()),
            Piece::Gap(bytes) => out.push_str(&"?".repeat(bytes)),
            Piece::Lost => out.push('!'),
        }
    }

    #[test]
    fn it_puts_in_order_and_says_holes() {
        let mut stream = Stream::new(Some(0), &Room::default());
        assert_eq!(text(&mut stream, 0, b"ab"), "ab");
        assert_eq!(text(&mut stream, 4, b"ef"), "");
        assert_eq!(text(&mut stream, 1, b"bcd"), "cdef");
        assert_eq!(text(&mut stream, 8, b"ij"), "");
        let mut out = String::new();
        stream.acknowledged(9, 0, |_, piece| say(&mut out, piece));
        assert_eq!(out, "??ij", "what is acknowledged and was not seen never comes");
        stream.takes(10, 5, b"kl", 0, |_, piece| say(&mut out, piece));
        assert_eq!(out, "??ijkl???", "cut when it was captured");
    }

    #[test]
    fn what_it_keeps_is_bounded_and_given_back() {
        let room = Room::default();
        let mut stream = Stream::new(Some(0), &room);
        let block = vec![b'x'; 1000];
        let out: usize = (1..1000).map(|i| text(&mut stream, i * 2000, &block).len()).sum();
        assert!(stream.held_bytes <= HELD_BYTES_MAX && out > 1_000_000, "{out} bytes and holes");
        drop(stream);
        assert_eq!(room.0.get(), ROOM_BYTES);
    }

    proptest! {
        #[test]
        fn any_order_gives_the_same_text(cuts in prop::collection::vec(1..9usize, 1..20), order in any::<u64>()) {
            let whole: Vec<u8> = (0..cuts.iter().sum::<usize>()).map(|i| b'a' + (i % 26) as u8).collect();
            let mut pieces: Vec<(usize, usize)> = cuts.iter().scan(0, |at, length| { *at += length; Some((*at - length, *length)) }).collect();
            let mut state = order;
            for i in (1..pieces.len()).rev() {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                pieces.swap(i, (state >> 33) as usize % (i + 1));
            }
            let mut stream = Stream::new(Some(0), &Room::default());
            let said: String = pieces.iter().map(|(at, length)| text(&mut stream, *at as u64, &whole[*at..at + length])).collect();
            prop_assert_eq!(said.as_bytes(), &whole[..]);
        }
    }
}
