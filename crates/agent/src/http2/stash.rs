//! One side of a connection after a hole in it: segments as they arrived, put into order.

/// Bytes that wait for what comes before them: what a connection has on its way over 20 ms at 100 Mbit/s.
pub const BYTES_MAX: usize = 256 << 10;
/// Pieces of these, which may be as short as their sender likes.
const PIECES_MAX: usize = 1_024;

/// There is no room for more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

#[derive(Debug, Default)]
pub struct Stash {
    /// The sequence number of what is wanted next.
    next: u32,
    /// With the sequence number of each.
    pieces: Vec<(u32, Box<[u8]>)>,
    bytes: usize,
}

impl Stash {
    pub fn new(next: u32) -> Self {
        Self { next, ..Self::default() }
    }

    pub fn next(&self) -> u32 {
        self.next
    }

    pub fn bytes(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Puts a piece in its place; what was there before is passed over.
    ///
    /// # Errors
    /// If too much waits.
    pub fn put(&mut self, seq: u32, piece: &[u8]) -> Result<(), Full> {
        let end = seq.wrapping_add(piece.len() as u32);
        if ahead(end, self.next) <= 0 {
            return Ok(());
        }
        if self.pieces.len() >= PIECES_MAX || self.bytes + piece.len() > BYTES_MAX {
            return Err(Full);
        }
        self.bytes += piece.len();
        self.pieces.push((seq, piece.into()));
        Ok(())
    }

    /// What goes on without a hole, piece by piece.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        loop {
            let at = self.pieces.iter().position(|(seq, _)| ahead(*seq, self.next) <= 0)?;
            let (seq, piece) = self.pieces.swap_remove(at);
            self.bytes -= piece.len();
            let known = self.next.wrapping_sub(seq) as usize;
            if let Some(fresh) = piece.get(known..).filter(|fresh| !fresh.is_empty()) {
                self.next = self.next.wrapping_add(fresh.len() as u32);
                return Some(fresh.to_vec());
            }
        }
    }

    /// So many bytes more are not wanted.
    pub fn skip(&mut self, bytes: usize) {
        self.next = self.next.wrapping_add(bytes as u32);
    }
}

/// How far a sequence number lies before another; they wrap.
fn ahead(seq: u32, of: u32) -> i32 {
    seq.wrapping_sub(of) as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(stash: &mut Stash) -> Vec<u8> {
        std::iter::from_fn(|| stash.take()).flatten().collect()
    }

    #[test]
    fn pieces_come_out_in_order_and_once() {
        let near_the_end = u32::MAX - 3;
        let mut stash = Stash::new(near_the_end);
        stash.put(near_the_end.wrapping_add(4), b"efg").unwrap();
        stash.put(near_the_end.wrapping_add(7), b"h").unwrap();
        stash.put(near_the_end.wrapping_add(4), b"efg").unwrap();
        assert_eq!((all(&mut stash), stash.is_empty()), (Vec::new(), false));
        stash.put(near_the_end.wrapping_sub(2), b"..ab").unwrap();
        assert_eq!(all(&mut stash), b"ab");
        stash.put(near_the_end.wrapping_add(1), b"bcde").unwrap();
        assert_eq!(all(&mut stash), b"cdefgh");
        assert_eq!((stash.next(), stash.bytes(), stash.is_empty()), (near_the_end.wrapping_add(8), 0, true));
        stash.put(near_the_end, b"abcd").unwrap();
        assert!(stash.is_empty(), "known already");
    }

    #[test]
    fn what_is_skipped_is_not_waited_for() {
        let mut stash = Stash::new(10);
        stash.skip(5);
        stash.put(12, b"cdefg").unwrap();
        assert_eq!((all(&mut stash), stash.next()), (b"fg".to_vec(), 17));
    }

    #[test]
    fn it_is_bounded() {
        let mut stash = Stash::new(0);
        assert_eq!(stash.put(1, &vec![0; BYTES_MAX + 1]), Err(Full));
        let taken = (0..2 * PIECES_MAX as u32).map(|n| stash.put(1 + 2 * n, b"x")).take_while(Result::is_ok).count();
        assert_eq!(taken, PIECES_MAX);
    }
}
