//! Why a segment was sent again, as far as packets show it; and which late segment was only late.

use crate::segment::Segment;
use std::collections::VecDeque;

/// The shortest retransmission time-out of Linux is 200 ms (`TCP_RTO_MIN`); a tenth less, for a path that gives a little back.
const RTO_NS_MIN: u64 = 180_000_000;
/// Duplicate acknowledgements that tell of a loss (RFC 5681).
const DUPLICATES_MIN: u32 = 3;
/// A hole that is filled within this is reordering where no round trip was seen.
const REORDERING_NS: u64 = 3_000_000;
/// Two ticks of the clock in TCP's time stamps: Linux and the BSDs count milliseconds.
const CLOCK_NS: u64 = 2_000_000;
/// Holes of a direction whose opening is remembered; a filler of a forgotten one is judged by less.
const HOLES_MAX: usize = 256;
/// Retransmissions that a later duplicate report (DSACK) may still be about.
const RECENT_MAX: usize = 64;

/// What made the sender send again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The receiver's acknowledgements told of the hole.
    Fast,
    /// A time-out; true for the segment that it fell on, false for what followed until all that was sent before it had arrived.
    TimeOut(bool),
    /// A probe of the last segment, sooner than a time-out.
    Probe,
}

/// A range that was skipped.
#[derive(Debug, Clone, Copy)]
struct Hole {
    start: u64,
    end: u64,
    opened_ns: u64,
    /// Time stamp and identification of the segment behind the hole.
    timestamp: Option<u32>,
    id: Option<u16>,
}

/// What is known of a segment that passes below what has passed, and was not seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Late {
    /// False: the path has let it be overtaken. True: it is the second copy of one that was lost before it could be captured.
    pub is_again: bool,
    /// When it was missed.
    pub missed_ns: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Recovery {
    holes: VecDeque<Hole>,
    /// When the newest segment passed that is known to have arrived.
    arrived_ns: u64,
    duplicates: u32,
    sacked_to: u64,
    /// A time-out's recovery lasts until all below has arrived.
    time_out_until: u64,
    recent: VecDeque<(u64, u64, bool)>,
    id: Option<u16>,
    ids_fall: bool,
}

/// What a direction knows when a segment is sent again.
#[derive(Debug, Clone, Copy)]
pub struct Again {
    pub start: u64,
    pub end: u64,
    pub now_ns: u64,
    /// When it passed or was missed, and how often it passed; absent for what is acknowledged already.
    pub last: Option<(u64, u32)>,
    /// When the direction last sent any data.
    pub quiet_since_ns: u64,
    pub acked: u64,
    pub highest: u64,
}

impl Recovery {
    /// New data passes in order, or behind a hole that begins at `highest`.
    pub fn advances(&mut self, segment: &Segment<'_>, highest: u64, start: u64, now_ns: u64) {
        let id = segment.print.map(|print| (print >> 16) as u16);
        if start > highest {
            if self.holes.len() >= HOLES_MAX {
                self.holes.pop_front();
            }
            self.holes.push_back(Hole { start: highest, end: start, opened_ns: now_ns, timestamp: segment.options.timestamp, id });
        } else if let (Some(before), Some(id)) = (self.id, id) {
            // A sender that draws its numbers by lot says nothing by them.
            self.ids_fall |= id.wrapping_sub(before) as i16 <= 0;
        }
        self.id = id.or(self.id);
    }

    /// A segment passes that lies in a hole, or below all that was seen.
    pub fn fills(&mut self, segment: &Segment<'_>, start: u64, end: u64, now_ns: u64, loop_ns: Option<u64>) -> Option<Late> {
        let at = self.holes.iter().position(|hole| hole.start <= start && start < hole.end)?;
        let hole = self.holes[at];
        self.holes.remove(at);
        for (start, end) in [(end, hole.end), (hole.start, start)] {
            if start < end {
                self.holes.insert(at, Hole { start, end, ..hole });
            }
        }
        let id = segment.print.map(|print| (print >> 16) as u16).filter(|_| !self.ids_fall);
        // Sent before or after the segment behind the hole? Its clock says, else its numbers, else how long it took: nobody can learn of
        // a loss and send again within less than a round trip.
        let waited_ns = now_ns.saturating_sub(hole.opened_ns);
        let ticks = hole.timestamp.zip(segment.options.timestamp).map(|(behind, this)| this.wrapping_sub(behind) as i32);
        // Sent so much later, it would bear a later time.
        let by_clock = match ticks {
            Some(0) if waited_ns >= CLOCK_NS => Some(-1),
            other => other.filter(|ticks| *ticks != 0),
        };
        let by_id = hole.id.zip(id).map(|(behind, this)| i32::from(this.wrapping_sub(behind) as i16)).filter(|d| *d != 0);
        let is_again = match by_clock.or(by_id) {
            Some(difference) => difference > 0,
            None => waited_ns >= loop_ns.unwrap_or(REORDERING_NS),
        };
        Some(Late { is_again, missed_ns: hole.opened_ns })
    }

    /// Everything below has arrived; `arrived_ns` is when the newest of it passed.
    pub fn acknowledged(&mut self, ack: u64, arrived_ns: Option<u64>) {
        self.duplicates = 0;
        self.arrived_ns = self.arrived_ns.max(arrived_ns.unwrap_or(0));
        while self.holes.front().is_some_and(|hole| hole.end <= ack) {
            self.holes.pop_front();
        }
    }

    /// An acknowledgement says the same as the one before.
    pub fn duplicate(&mut self) {
        self.duplicates = self.duplicates.saturating_add(1);
    }

    /// A range has arrived above a hole.
    pub fn arrived(&mut self, end: u64, arrived_ns: Option<u64>) {
        self.sacked_to = self.sacked_to.max(end);
        self.arrived_ns = self.arrived_ns.max(arrived_ns.unwrap_or(0));
    }

    /// The receiver says that it had a range already. True if a retransmission was therefore needless that was not known to be.
    pub fn reported_twice(&mut self, start: u64, end: u64) -> bool {
        let found = self.recent.iter_mut().rev().find(|again| again.0 < end && start < again.1);
        found.is_some_and(|again| !std::mem::replace(&mut again.2, true))
    }

    /// Why it was sent again, and whether it need not have been: all of it was acknowledged before it passed.
    pub fn sent_again(&mut self, again: &Again) -> (Cause, bool) {
        let is_spurious = again.acked >= again.end;
        if self.recent.len() >= RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((again.start, again.end, is_spurious));
        let cause = self.cause(again);
        if cause == Cause::TimeOut(true) {
            self.time_out_until = again.highest;
        }
        (cause, is_spurious)
    }

    fn cause(&self, again: &Again) -> Cause {
        let Some((last_ns, times)) = again.last else {
            // Acknowledged already: the sender acted before it heard of that.
            let quiet_ns = again.now_ns.saturating_sub(again.quiet_since_ns);
            return match () {
                () if again.start < self.time_out_until => Cause::TimeOut(false),
                () if quiet_ns >= RTO_NS_MIN => Cause::TimeOut(true),
                () if again.end == again.highest => Cause::Probe,
                () => Cause::Fast,
            };
        };
        let waited_long = again.now_ns.saturating_sub(last_ns) >= RTO_NS_MIN;
        // Something that passed after it has arrived, or was reported above it while it had passed once only.
        let is_told = self.arrived_ns > last_ns
            || (times <= 1 && self.sacked_to > again.end)
            || (times <= 1 && self.duplicates >= DUPLICATES_MIN && again.start <= again.acked);
        let in_recovery = again.acked < self.time_out_until && again.start < self.time_out_until;
        match () {
            // The head again and again: each time the timer ran out once more.
            () if in_recovery => Cause::TimeOut(waited_long && again.start <= again.acked && times > 1),
            () if is_told => Cause::Fast,
            () if waited_long => Cause::TimeOut(true),
            () if again.end >= again.highest => Cause::Probe,
            () => Cause::Fast,
        }
    }
}
