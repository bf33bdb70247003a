//! What one end sent and the other has not acknowledged yet; round-trip times come from it.

use std::collections::VecDeque;

/// Segments of one direction that wait for their acknowledgement. A window of 11 MiB in segments of 1,448 bytes; 40 bytes each make
/// 320 KiB a direction at most. What exceeds it is not timed, and counted.
const SEGMENTS_MAX: usize = 8_192;

#[derive(Debug, Clone, Copy)]
struct Sent {
    start: u64,
    end: u64,
    /// When it last passed.
    last_ns: u64,
    times: u32,
    /// A round-trip time was taken, or must not be.
    is_spent: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Flight {
    sent: VecDeque<Sent>,
    /// Segments that were not kept.
    pub forgotten: u64,
}

/// What an acknowledgement says of the round trip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoundTrip {
    Took(u64),
    /// Of a segment that was sent twice nobody knows which one is acknowledged (Karn).
    Ambiguous,
    /// The acknowledgement waited for something below the segment, which passed later.
    HeldBack,
    /// Nothing that was timed, or not up to its end.
    None,
}

impl Flight {
    pub fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// A range passes for the first time.
    pub fn passes(&mut self, start: u64, end: u64, now_ns: u64) {
        if end <= start {
            return;
        }
        if self.sent.len() >= SEGMENTS_MAX {
            self.forgotten += 1;
            return;
        }
        let sent = Sent { start, end, last_ns: now_ns, times: 1, is_spent: false };
        if self.sent.back().is_none_or(|last| last.start < start) {
            self.sent.push_back(sent);
        } else {
            let at = self.sent.partition_point(|other| other.start < start);
            self.sent.insert(at, sent);
        }
    }

    /// What overlaps the range passes again.
    pub fn passes_again(&mut self, start: u64, end: u64, now_ns: u64) {
        for sent in self.overlapping(start, end) {
            (sent.last_ns, sent.times) = (now_ns, sent.times.saturating_add(1));
        }
    }

    /// When the range's beginning passed last, and how often it did.
    pub fn last_passed(&self, start: u64, end: u64) -> Option<(u64, u32)> {
        let at = self.sent.partition_point(|sent| sent.end <= start);
        self.sent.get(at).filter(|sent| sent.start < end).map(|sent| (sent.last_ns, sent.times))
    }

    /// All below `ack` has arrived. Also gives when the newest of it passed, of what passed once.
    pub fn acknowledged(&mut self, ack: u64, now_ns: u64) -> (RoundTrip, Option<u64>) {
        let (mut newest, mut delivered) = (None::<Sent>, None);
        let mut below_ns = 0;
        while let Some(front) = self.sent.front_mut() {
            if front.start >= ack {
                break;
            }
            if let Some(before) = newest {
                below_ns = below_ns.max(before.last_ns);
            }
            newest = Some(*front);
            if front.times == 1 {
                delivered = delivered.max(Some(front.last_ns));
            }
            if front.end > ack {
                // Acknowledged in part: captured before the network card cut it up. Its first part was on the wire when it was captured.
                (front.start, front.is_spent) = (ack, true);
                break;
            }
            self.sent.pop_front();
        }
        let trip = match newest {
            None => RoundTrip::None,
            Some(sent) if sent.is_spent || sent.end < ack => RoundTrip::None,
            Some(sent) if sent.times > 1 => RoundTrip::Ambiguous,
            Some(sent) if sent.last_ns < below_ns => RoundTrip::HeldBack,
            Some(sent) => RoundTrip::Took(now_ns.saturating_sub(sent.last_ns)),
        };
        (trip, delivered)
    }

    /// The range has arrived though something below it has not; gives when the newest of it passed, of what passed once.
    pub fn arrived(&mut self, start: u64, end: u64) -> Option<u64> {
        self.overlapping(start, end).filter(|sent| sent.times == 1).map(|sent| sent.last_ns).max()
    }

    fn overlapping(&mut self, start: u64, end: u64) -> impl Iterator<Item = &mut Sent> {
        let at = self.sent.partition_point(|sent| sent.end <= start);
        self.sent.range_mut(at..).take_while(move |sent| sent.start < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flight(ranges: &[(u64, u64, u64)]) -> Flight {
        let mut flight = Flight::default();
        for &(start, end, at) in ranges {
            flight.passes(start, end, at);
        }
        flight
    }

    #[test]
    fn the_last_segment_that_is_acknowledged_is_timed() {
        let mut flight = flight(&[(0, 10, 100), (10, 20, 110), (20, 30, 120)]);
        assert_eq!(flight.acknowledged(20, 150), (RoundTrip::Took(40), Some(110)));
        assert_eq!(flight.acknowledged(20, 160), (RoundTrip::None, None), "once");
        assert_eq!(flight.acknowledged(30, 170).0, RoundTrip::Took(50));
    }

    #[test]
    fn what_was_sent_twice_or_waited_is_not_timed() {
        let mut twice = flight(&[(0, 10, 100)]);
        twice.passes_again(0, 10, 300);
        assert_eq!(twice.acknowledged(10, 350), (RoundTrip::Ambiguous, None));
        let mut behind = flight(&[(0, 10, 100), (10, 20, 110)]);
        behind.passes_again(0, 10, 300);
        assert_eq!(behind.acknowledged(20, 350).0, RoundTrip::HeldBack, "behind one that was sent again");
        let mut filled = flight(&[(10, 20, 100), (0, 10, 300)]);
        assert_eq!(filled.acknowledged(20, 350).0, RoundTrip::HeldBack, "behind one that passed later");
    }

    #[test]
    fn a_large_packet_that_is_acknowledged_in_parts_is_timed_once() {
        let mut large = flight(&[(0, 60_000, 100)]);
        assert_eq!(large.acknowledged(3_000, 150).0, RoundTrip::Took(50));
        assert_eq!(large.acknowledged(6_000, 170).0, RoundTrip::None);
        assert_eq!(large.acknowledged(60_000, 400).0, RoundTrip::None);
        assert!(large.is_empty());
    }

    #[test]
    fn it_is_bounded_and_says_what_it_left_out() {
        let mut flight = Flight::default();
        for i in 0..SEGMENTS_MAX as u64 + 5 {
            flight.passes(i, i + 1, 0);
        }
        assert_eq!((flight.sent.len(), flight.forgotten), (SEGMENTS_MAX, 5));
    }
}
