//! One direction of a TCP connection: what one end sent, and what became of it.

use crate::flight::{Flight, RoundTrip};
use crate::recovery::{Again, Cause, Recovery};
use crate::rtt::Samples;
use crate::segment::Segment;
use crate::seq::{Clock, Holes, Ranges};
use std::collections::VecDeque;

/// Data that nobody acknowledged for so long is stalled, as the agent counts it.
const STALLED_NS: u64 = 3_000_000_000;
/// Segments that passed below the highest, of which a round trip under way is told.
const LATER_MAX: usize = 64;
/// Packets among which a second capture of the same one is looked for.
const PRINTS_MAX: usize = 16;

/// Counts of one direction. Segments are those of the wire: a packet that was captured before the network card cut it up counts as
/// as many as it became, where the handshake says how long those are.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    pub packets: u64,
    pub data_packets: u64,
    pub segments: u64,
    /// Longer than the handshake's maximum segment size.
    pub oversized: u64,
    pub bytes_sent: u64,
    pub bytes_unique: u64,
    /// Of which the capture has less than the wire had.
    pub cut: u64,
    pub retrans: u64,
    pub retrans_bytes: u64,
    pub retrans_syn: u64,
    pub retrans_synack: u64,
    pub retrans_fin: u64,
    pub retrans_fast: u64,
    pub retrans_time_out: u64,
    pub retrans_probe: u64,
    pub retrans_spurious: u64,
    /// Retransmissions whose first copy never passed here, and their payload.
    pub retrans_unseen: u64,
    pub retrans_unseen_bytes: u64,
    /// Late or sent again, where nothing but the sender's numbers without payload told that it was missing: the end of a burst.
    pub unseen_tail: u64,
    pub time_outs: u64,
    pub time_out_wait_ns: u64,
    pub out_of_order: u64,
    pub duplicates: u64,
    pub keepalives: u64,
    pub resets: u64,
    /// Sequence numbers that no window reaches.
    pub strange: u64,
    pub trips_ambiguous: u64,
    pub trips_held_back: u64,
    pub stalled_ns: u64,
    /// What the other end said about its room for this direction's data.
    pub zero_windows: u64,
    pub zero_window_ns: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Sender {
    pub counts: Counts,
    pub trips: Samples,
    /// Of these, those during which something older passed late or once more.
    pub crossed: Samples,
    /// Largest segment that the *other* end takes.
    pub segment_bytes_max: Option<u32>,
    clock: Option<Clock>,
    /// Sequence number of its SYN.
    isn: Option<u64>,
    first_ack: Option<u64>,
    passed: Ranges,
    /// End of the data that passed.
    highest: Option<u64>,
    fin: Option<u64>,
    acked: Option<u64>,
    flight: Flight,
    recovery: Recovery,
    sent_ns: u64,
    /// What passed below the highest of late: where, and when.
    later: VecDeque<(u64, u64)>,
    progress_ns: u64,
    zero_window_since: Option<u64>,
    prints: [(u32, u32); PRINTS_MAX],
    prints_next: usize,
}

/// What passes below the highest for the first time.
struct LateRange {
    start: u64,
    end: u64,
    /// Payload in it.
    bytes: u64,
    pieces: u64,
    /// No data passed above it yet.
    is_tail: bool,
}

impl Sender {
    /// True if this very packet was captured before: on two interfaces, or doubled on the way.
    pub fn is_duplicate(&mut self, segment: &Segment<'_>) -> bool {
        let Some(print) = segment.print else { return false };
        let print = (segment.sequence, print);
        if self.prints.contains(&print) {
            self.counts.duplicates += 1;
            return true;
        }
        self.prints[self.prints_next] = print;
        self.prints_next = (self.prints_next + 1) % PRINTS_MAX;
        false
    }

    /// Its SYN, or SYN-ACK, passes. True if it passed before.
    pub fn synchronises(&mut self, segment: &Segment<'_>, now_ns: u64) -> bool {
        let clock = *self.clock.get_or_insert_with(|| Clock::new(segment.sequence));
        let isn = clock.widen(segment.sequence);
        if self.isn == Some(isn) {
            self.flight.passes_again(isn, isn + 1, now_ns);
            self.counts.retrans += 1;
            if segment.ack() {
                self.counts.retrans_synack += 1
            } else {
                self.counts.retrans_syn += 1
            }
            self.time_out(now_ns);
            self.sent_ns = now_ns;
            return true;
        }
        self.isn = Some(isn);
        self.highest = Some(self.highest.unwrap_or(isn + 1).max(isn + 1));
        self.fly(isn, isn + 1, now_ns);
        self.sent_ns = now_ns;
        false
    }

    /// A SYN is only ever repeated by a timer.
    fn time_out(&mut self, now_ns: u64) {
        self.counts.retrans_time_out += 1;
        self.counts.time_outs += 1;
        self.counts.time_out_wait_ns = self.counts.time_out_wait_ns.saturating_add(now_ns.saturating_sub(self.sent_ns));
    }

    /// Where its data begins, if its SYN was seen.
    pub fn begin(&self) -> Option<u64> {
        self.isn.map(|isn| isn + 1)
    }

    /// The sequence number of its SYN.
    pub fn isn(&self) -> Option<u32> {
        self.isn.map(|isn| isn as u32)
    }

    /// A segment with payload, FIN or neither passes. `loop_ns` is the shortest time from here to the receiver, back to the sender and
    /// here again. Gives where its payload lies, unless no window reaches there.
    pub fn sends(&mut self, segment: &Segment<'_>, now_ns: u64, loop_ns: Option<u64>) -> Option<u64> {
        let mut clock = *self.clock.get_or_insert_with(|| Clock::new(segment.sequence));
        let start = clock.widen(segment.sequence) + u64::from(segment.syn());
        if clock.is_far(start) {
            self.counts.strange += 1;
            return None;
        }
        let end = start + u64::from(segment.length);
        clock.advance(end);
        self.clock = Some(clock);
        if segment.length > 0 {
            self.data(segment, start, end, now_ns, loop_ns);
        } else {
            self.bare(segment, start, now_ns, loop_ns);
        }
        if segment.fin() {
            self.fin.get_or_insert(end);
        }
        if segment.length > 0 || segment.fin() {
            self.sent_ns = now_ns;
        }
        Some(start)
    }

    /// A segment without payload says by its number how far the sender has come.
    fn bare(&mut self, segment: &Segment<'_>, at: u64, now_ns: u64, loop_ns: Option<u64>) {
        let highest = self.highest.unwrap_or(0);
        if at > highest {
            self.recovery.advances(segment, highest, at, now_ns);
            self.highest = Some(at);
        } else if at + 1 == highest && self.acked == self.highest {
            self.counts.keepalives += 1;
        }
        if segment.fin() {
            self.bare_fin(segment, at, now_ns, loop_ns);
        }
    }

    fn data(&mut self, segment: &Segment<'_>, start: u64, end: u64, now_ns: u64, loop_ns: Option<u64>) {
        let length = end - start;
        let pieces = self.pieces(length);
        let counts = &mut self.counts;
        counts.data_packets += 1;
        counts.segments += pieces;
        counts.oversized += u64::from(pieces > 1);
        counts.bytes_sent += length;
        counts.cut += u64::from(segment.is_cut());
        // Before the first packet seen lies a hole without end.
        let highest = self.highest.unwrap_or(0);
        let data_end = self.passed.span().map_or(0, |span| span.1);
        let fresh = self.passed.insert(start, end);
        self.counts.bytes_unique += fresh;
        // A FIN is acknowledged with the data before it.
        let flight_end = end + u64::from(segment.fin());
        if fresh == 0 && length == 1 && end == highest && self.acked.is_some_and(|acked| acked >= end) {
            self.counts.keepalives += 1;
            return;
        }
        if segment.fin() && self.fin == Some(end) && fresh < length {
            self.counts.retrans_fin += 1;
        }
        if start < highest {
            if self.later.len() >= LATER_MAX {
                self.later.pop_front();
            }
            self.later.push_back((start, now_ns));
        }
        if fresh < length {
            let last = self.flight.last_passed(start, end);
            self.again(start, end, pieces, length - fresh, last, now_ns);
            self.flight.passes_again(start, end, now_ns);
            if end > highest || self.fin.is_none() {
                self.fly(start.max(highest), flight_end, now_ns);
            }
        } else if start < highest {
            let late = LateRange { start, end, bytes: length, pieces, is_tail: start >= data_end };
            self.late(segment, &late, now_ns, loop_ns);
            self.fly(start, flight_end, now_ns);
        } else {
            self.recovery.advances(segment, highest, start, now_ns);
            self.fly(start, flight_end, now_ns);
        }
        self.highest = Some(highest.max(end));
    }

    fn bare_fin(&mut self, segment: &Segment<'_>, at: u64, now_ns: u64, loop_ns: Option<u64>) {
        if self.fin.is_none() && self.highest.is_some_and(|highest| at < highest) {
            let late = LateRange { start: at, end: at + 1, bytes: 0, pieces: 1, is_tail: true };
            self.late(segment, &late, now_ns, loop_ns);
            self.fly(at, at + 1, now_ns);
        } else if self.fin == Some(at) {
            self.counts.retrans_fin += 1;
            let last = self.flight.last_passed(at, at + 1);
            self.again(at, at + 1, 1, 0, last, now_ns);
            self.flight.passes_again(at, at + 1, now_ns);
        } else {
            self.fly(at, at + 1, now_ns);
        }
    }

    fn again(&mut self, start: u64, end: u64, pieces: u64, bytes: u64, last: Option<(u64, u32)>, now_ns: u64) {
        let acked = self.acked.or(self.first_ack).unwrap_or(0);
        let highest = self.highest.unwrap_or(end);
        let again = Again { start, end, now_ns, last, quiet_since_ns: self.sent_ns, acked, highest };
        let (cause, is_spurious) = self.recovery.sent_again(&again);
        let counts = &mut self.counts;
        counts.retrans += pieces;
        counts.retrans_bytes += bytes;
        match cause {
            Cause::Fast => counts.retrans_fast += pieces,
            Cause::Probe => counts.retrans_probe += pieces,
            Cause::TimeOut(is_first) => {
                counts.retrans_time_out += pieces;
                if is_first {
                    counts.time_outs += 1;
                    counts.time_out_wait_ns = counts.time_out_wait_ns.saturating_add(now_ns.saturating_sub(last.map_or(self.sent_ns, |last| last.0)));
                }
            }
        }
        if is_spurious {
            counts.retrans_spurious += pieces;
        }
    }

    /// What passes below the highest and was not seen before is late, or the second copy of what was lost before it came here.
    fn late(&mut self, segment: &Segment<'_>, range: &LateRange, now_ns: u64, loop_ns: Option<u64>) {
        let late = self.recovery.fills(segment, range.start, range.end, now_ns, loop_ns);
        self.counts.unseen_tail += if range.is_tail { range.pieces } else { 0 };
        let last = match late {
            Some(late) if late.is_again => Some((late.missed_ns, 1)),
            // Acknowledged, and it passes only now: its first copy went by unseen.
            None if self.acked.or(self.first_ack).is_some_and(|acked| acked >= range.end) => None,
            _ => {
                self.counts.out_of_order += range.pieces;
                return;
            }
        };
        self.counts.retrans_unseen += range.pieces;
        self.counts.retrans_unseen_bytes += range.bytes;
        self.again(range.start, range.end, range.pieces, range.bytes, last, now_ns);
    }

    fn fly(&mut self, start: u64, end: u64, now_ns: u64) {
        if self.acked.is_some_and(|acked| end <= acked) {
            return;
        }
        if self.flight.is_empty() {
            self.progress_ns = now_ns;
        }
        self.flight.passes(start, end, now_ns);
    }

    fn pieces(&self, length: u64) -> u64 {
        self.segment_bytes_max.map_or(1, |max| length.div_ceil(u64::from(max.max(1))))
    }

    /// The other end acknowledges. `is_bare`: the segment says nothing else, so that a repetition is a duplicate. Gives the end
    /// of the data that is newly acknowledged, if any is.
    pub fn acknowledged(&mut self, segment: &Segment<'_>, is_bare: bool, now_ns: u64) -> Option<u64> {
        let mut clock = *self.clock.get_or_insert_with(|| Clock::new(segment.acknowledgement));
        let ack = clock.widen(segment.acknowledgement);
        if clock.is_far(ack) {
            self.counts.strange += 1;
            return None;
        }
        let before = self.acked;
        self.first_ack.get_or_insert(ack);
        if self.acked.is_none_or(|acked| ack > acked) {
            clock.advance(ack);
            self.clock = Some(clock);
            self.progresses(now_ns);
            let (trip, arrived_ns) = self.flight.acknowledged(ack, now_ns);
            match trip {
                RoundTrip::Took(ns) => {
                    self.trips.record(ns);
                    if self.later.iter().any(|later| later.0 < ack && later.1 > now_ns.saturating_sub(ns)) {
                        self.crossed.record(ns);
                    }
                }
                RoundTrip::Ambiguous => self.counts.trips_ambiguous += 1,
                RoundTrip::HeldBack => self.counts.trips_held_back += 1,
                RoundTrip::None => {}
            }
            self.recovery.acknowledged(ack, arrived_ns);
            self.acked = Some(ack);
        } else if is_bare && self.acked == Some(ack) && !self.flight.is_empty() {
            self.recovery.duplicate();
        }
        self.selective(&clock, ack, segment.options.sack());
        (self.acked != before).then(|| ack - u64::from(self.fin.is_some_and(|fin| ack > fin)))
    }

    fn selective(&mut self, clock: &Clock, ack: u64, blocks: &[(u32, u32)]) {
        let wide: Vec<(u64, u64)> = blocks.iter().map(|block| (clock.widen(block.0), clock.widen(block.1))).collect();
        for (place, &(start, end)) in wide.iter().enumerate() {
            // The first block reports a duplicate if it lies below the acknowledgement or within the second (RFC 2883).
            let is_report = place == 0 && (end <= ack || wide.get(1).is_some_and(|next| next.0 <= start && end <= next.1));
            if is_report {
                self.counts.retrans_spurious += u64::from(self.recovery.reported_twice(start, end));
            } else if start < end && end > ack {
                let arrived_ns = self.flight.arrived(start, end);
                self.recovery.arrived(end, arrived_ns);
            }
        }
    }

    /// Something was acknowledged, or the end is reached: what waited until now no longer does.
    fn progresses(&mut self, now_ns: u64) {
        if !self.flight.is_empty() && self.acked.is_some() {
            self.counts.stalled_ns = self.counts.stalled_ns.saturating_add(now_ns.saturating_sub(self.progress_ns).saturating_sub(STALLED_NS));
        }
        self.progress_ns = now_ns;
    }

    /// The other end says how much room it has.
    pub fn window(&mut self, is_zero: bool, now_ns: u64) {
        if is_zero {
            self.counts.zero_windows += 1;
            self.zero_window_since.get_or_insert(now_ns);
        } else if let Some(since) = self.zero_window_since.take() {
            self.counts.zero_window_ns = self.counts.zero_window_ns.saturating_add(now_ns.saturating_sub(since));
        }
    }

    /// The connection, or the capture, ends. `is_over`: nothing waits any more.
    pub fn ends(&mut self, now_ns: u64, is_over: bool) {
        if !is_over {
            self.progresses(now_ns);
        }
        self.window(false, now_ns);
    }

    /// Payload bytes that the other end acknowledged, from the first byte seen on; `None` if it was never heard.
    pub fn bytes_acknowledged(&self) -> Option<u64> {
        let acked = self.acked?;
        let first = self.isn.map(|isn| isn + 1).or(self.passed.span().map(|span| span.0)).or(self.first_ack)?;
        let fin = self.fin.is_some_and(|fin| acked > fin);
        Some(acked.saturating_sub(first).saturating_sub(u64::from(fin)))
    }

    /// Bytes that the capture lacks: acknowledged, or followed by others, and never seen.
    pub fn gaps(&self) -> Holes {
        let Some((_, highest)) = self.passed.span() else {
            let missed = self.bytes_acknowledged().unwrap_or(0);
            return Holes { count: u64::from(missed > 0), bytes: missed };
        };
        let acked = self.acked.map_or(0, |acked| acked - u64::from(self.fin.is_some_and(|fin| acked > fin)));
        let mut gaps = self.passed.holes_below(highest.max(acked));
        // Between the SYN and the first byte.
        if let (Some(isn), Some((lowest, _))) = (self.isn, self.passed.span())
            && lowest > isn + 1
        {
            gaps = Holes { count: gaps.count + 1, bytes: gaps.bytes + lowest - isn - 1 };
        }
        gaps
    }

    /// Bytes that passed and were not acknowledged.
    pub fn bytes_unacknowledged(&self) -> u64 {
        let acked = self.acked.or(self.first_ack).unwrap_or(0);
        self.passed.span().map_or(0, |(lowest, highest)| highest.saturating_sub(acked.max(lowest)))
    }

    /// Segments that were not timed since too many waited.
    pub fn untimed(&self) -> u64 {
        self.flight.forgotten
    }

    /// It has said that it sends no more.
    pub fn has_finished(&self) -> bool {
        self.fin.is_some()
    }

    /// The same, and the other end has confirmed it.
    pub fn is_closed(&self) -> bool {
        self.fin.is_some_and(|fin| self.acked.is_some_and(|acked| acked > fin))
    }
}
