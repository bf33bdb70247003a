//! One TCP connection: how it began, both directions, how it ended.

use crate::app::{App, Said};
use crate::segment::Segment;
use crate::sender::Sender;
use crate::stream::Room;
use serde::Serialize;
use std::net::SocketAddr;

/// Ports from here on are handed out to clients by Linux.
const EPHEMERAL_PORT_MIN: u16 = 32_768;
/// Bytes of the time stamp option in every segment.
const TIMESTAMP_OPTION: u32 = 12;
/// A SYN without an answer is repeated after a second: who has not repeated it by then, a little late, has given up.
const SYN_REPEATED_NS: u64 = 1_500_000_000;

/// What came of the attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Established,
    /// Reset before it was answered.
    Refused,
    /// Reset after it was answered.
    Reset,
    TimedOut,
    Cancelled,
    Unreachable,
    /// The capture ends before one can tell.
    Pending,
    /// It began before the capture.
    Joined,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// Both ends said that they send no more.
    Closed,
    /// One did.
    HalfClosed,
    Reset,
    /// It lived when the capture ended.
    Open,
    /// It was forgotten, since too many others were open.
    Evicted,
    /// It was never established.
    NeverOpen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Client,
    Server,
}

/// See the module. The ends and directions are in the order client, server.
#[derive(Debug)]
pub struct Connection {
    pub ends: [SocketAddr; 2],
    /// No SYN was seen: who is the client was concluded from the ports.
    pub is_inferred: bool,
    pub senders: [Sender; 2],
    pub first_ns: u64,
    pub last_ns: u64,
    pub first_packet: u64,
    pub app: App,
    syn_ns: Option<u64>,
    syn_last_ns: u64,
    syn_ack_ns: Option<u64>,
    /// The number of the SYN that was answered.
    answered: Option<u32>,
    /// Its SYN passed after the answer: the capture lacks a copy of it.
    pub is_syn_missed: bool,
    established_ns: Option<u64>,
    /// Of the first reset: who sent it, and whether the connection was established.
    reset: Option<(Side, bool)>,
    is_unreachable: bool,
    window_scales: [Option<u8>; 2],
    windows_max: [u64; 2],
    windows: [u16; 2],
    mss: [Option<u16>; 2],
}

impl Connection {
    /// A connection whose first packet is this.
    pub fn new(segment: &Segment<'_>, now_ns: u64, number: u64) -> Self {
        let (source, dest) = (segment.source, segment.dest);
        let is_from_client = match (segment.syn(), segment.ack()) {
            (true, false) => true,
            (true, true) => false,
            _ => is_client_port(source.port(), dest.port()),
        };
        Self {
            ends: if is_from_client { [source, dest] } else { [dest, source] },
            is_inferred: !segment.syn(),
            senders: Default::default(),
            first_ns: now_ns,
            last_ns: now_ns,
            first_packet: number,
            app: App::default(),
            syn_ns: None,
            syn_last_ns: 0,
            syn_ack_ns: None,
            answered: None,
            is_syn_missed: false,
            established_ns: None,
            reset: None,
            is_unreachable: false,
            window_scales: [None; 2],
            windows_max: [0; 2],
            windows: [0; 2],
            mss: [None; 2],
        }
    }

    /// True if the segment begins another connection between the same ports.
    pub fn is_succeeded_by(&self, segment: &Segment<'_>) -> bool {
        if !segment.syn() || segment.rst() {
            return false;
        }
        let from = self.side_of(segment);
        match self.senders[from].isn() {
            Some(isn) => isn != segment.sequence,
            // The SYN that was answered before it passed: the capture missed the first copy.
            None if from == 0 && self.answered == Some(segment.sequence) => false,
            // A SYN-ACK whose SYN was seen belongs here; a SYN in the midst of one that was joined does not.
            None => from == 0 || !segment.ack() || (self.syn_ns.is_none() && self.packets() > 0),
        }
    }

    pub fn packets(&self) -> u64 {
        self.senders.iter().map(|sender| sender.counts.packets).sum()
    }

    fn side_of(&self, segment: &Segment<'_>) -> usize {
        usize::from(segment.source != self.ends[0])
    }

    /// Takes a segment up.
    pub fn takes(&mut self, segment: &Segment<'_>, now_ns: u64, room: &Room) {
        let from = self.side_of(segment);
        self.last_ns = self.last_ns.max(now_ns);
        self.senders[from].counts.packets += 1;
        if self.senders[from].is_duplicate(segment) {
            return;
        }
        if segment.rst() {
            self.reset(segment, from);
            return;
        }
        if segment.syn() {
            self.synchronises(segment, from, now_ns);
        } else {
            self.establishes(segment, from, now_ns);
        }
        if segment.ack() {
            let is_bare = segment.length == 0 && !segment.syn() && !segment.fin() && segment.window == self.windows[from];
            if let Some(ack) = self.senders[1 - from].acknowledged(segment, is_bare, now_ns) {
                self.app.acknowledged(1 - from, ack, now_ns);
            }
        }
        if !segment.syn() || segment.length > 0 {
            let loop_ns = self.loop_ns();
            if let Some(start) = self.senders[from].sends(segment, now_ns, loop_ns) {
                self.hears(segment, from, start, now_ns, room);
            }
        }
        self.window(segment, from, now_ns);
    }

    fn hears(&mut self, segment: &Segment<'_>, from: usize, start: u64, now_ns: u64, room: &Room) {
        if segment.length > 0 {
            let said = Said { from, start, length: segment.length.into(), payload: segment.payload, at_ns: now_ns };
            let begins = self.senders.each_ref().map(Sender::begin);
            self.app.hears(&said, begins, self.ends[1].port(), room);
        }
    }

    fn synchronises(&mut self, segment: &Segment<'_>, from: usize, now_ns: u64) {
        let is_again = self.senders[from].synchronises(segment, now_ns);
        self.window_scales[from] = segment.options.window_scale;
        self.mss[from] = segment.options.mss;
        if segment.ack() {
            self.answered = Some(segment.acknowledgement.wrapping_sub(1));
        }
        if !is_again {
            match segment.ack() {
                false => {
                    self.syn_ns = Some(now_ns);
                    self.is_syn_missed = self.syn_ack_ns.is_some();
                }
                true => self.syn_ack_ns = Some(now_ns),
            }
        }
        if !segment.ack() {
            self.syn_last_ns = now_ns;
        }
        // Each end sends what the other takes, less the options that go with every segment.
        if let [Some(client), Some(server)] = self.mss {
            let options = if segment.options.timestamp.is_some() { TIMESTAMP_OPTION } else { 0 };
            self.senders[0].segment_bytes_max = u32::from(server).checked_sub(options).filter(|max| *max > 0);
            self.senders[1].segment_bytes_max = u32::from(client).checked_sub(options).filter(|max| *max > 0);
        }
    }

    /// The client's first acknowledgement ends the handshake; where only the server was captured, its first segment shows it.
    fn establishes(&mut self, segment: &Segment<'_>, from: usize, now_ns: u64) {
        let has_begun = self.syn_ns.is_some() || self.syn_ack_ns.is_some();
        if self.established_ns.is_none() && has_begun && segment.ack() && (from == 0 || segment.length > 0) {
            self.established_ns = Some(now_ns);
        }
    }

    fn reset(&mut self, segment: &Segment<'_>, from: usize) {
        self.senders[from].counts.resets += 1;
        // One that comes when both have finished ends nothing.
        if self.reset.is_none() && !self.senders.iter().all(Sender::has_finished) {
            let side = if segment.source == self.ends[0] { Side::Client } else { Side::Server };
            self.reset = Some((side, self.established_ns.is_some()));
        }
    }

    /// A router or host says that its SYN cannot be delivered.
    pub fn unreachable(&mut self, source: SocketAddr, sequence: u32) {
        self.is_unreachable |= source == self.ends[0] && self.senders[0].isn() == Some(sequence) && self.syn_ack_ns.is_none();
    }

    fn window(&mut self, segment: &Segment<'_>, from: usize, now_ns: u64) {
        if !segment.ack() && !segment.syn() {
            return;
        }
        self.windows[from] = segment.window;
        let scale = match self.window_scales {
            [Some(_), Some(_)] if !segment.syn() => self.window_scales[from].unwrap_or(0),
            _ => 0,
        };
        self.windows_max[from] = self.windows_max[from].max(u64::from(segment.window) << scale);
        if !segment.syn() && !segment.fin() {
            self.senders[1 - from].window(segment.window == 0, now_ns);
        }
    }

    /// The shortest way from the capture point to both ends and back.
    fn loop_ns(&self) -> Option<u64> {
        let halves = self.senders.each_ref().map(|sender| sender.trips.min_ns());
        match halves {
            [None, None] => self.handshake_ns(),
            [there, back] => Some(there.unwrap_or(0) + back.unwrap_or(0)),
        }
    }

    /// Nothing more comes; `now_ns` is the end of the capture.
    pub fn ends(&mut self, now_ns: u64) {
        let is_over = self.is_over();
        let now_ns = if is_over { self.last_ns } else { now_ns };
        self.senders.iter_mut().for_each(|sender| sender.ends(now_ns, is_over));
    }

    /// True if nothing but stragglers is to come.
    pub fn is_over(&self) -> bool {
        self.reset.is_some() || self.senders.iter().all(Sender::is_closed)
    }

    /// From the first SYN to the client's acknowledgement: a whole round trip, wherever it was captured between the two.
    pub fn handshake_ns(&self) -> Option<u64> {
        Some(self.established_ns?.saturating_sub(self.syn_ns?))
    }

    /// The parts of the handshake on the server's and on the client's side of the capture point.
    pub fn handshake_parts_ns(&self) -> Option<(u64, u64)> {
        let (syn, syn_ack, established) = (self.syn_ns?, self.syn_ack_ns?, self.established_ns?);
        Some((syn_ack.saturating_sub(syn), established.saturating_sub(syn_ack)))
    }

    pub fn began(&self) -> bool {
        self.syn_ns.is_some()
    }

    pub fn was_accepted(&self) -> bool {
        self.established_ns.is_some()
    }

    pub fn outcome(&self, capture_end_ns: u64) -> Outcome {
        let has_begun = self.syn_ns.is_some() || self.syn_ack_ns.is_some();
        match self.reset {
            _ if !has_begun => Outcome::Joined,
            _ if self.established_ns.is_some() => Outcome::Established,
            Some((Side::Server, _)) if self.syn_ack_ns.is_none() => Outcome::Refused,
            Some((Side::Server, _)) => Outcome::Reset,
            Some((Side::Client, _)) => Outcome::Cancelled,
            None if self.is_unreachable => Outcome::Unreachable,
            None if self.syn_ack_ns.is_some() && self.senders[0].counts.retrans_syn == 0 => Outcome::Pending,
            None if self.senders[0].counts.retrans_syn > 0 => Outcome::TimedOut,
            None if capture_end_ns.saturating_sub(self.syn_last_ns) < SYN_REPEATED_NS => Outcome::Pending,
            None => Outcome::Cancelled,
        }
    }

    pub fn end(&self, is_evicted: bool) -> End {
        let has_begun = self.syn_ns.is_some() || self.syn_ack_ns.is_some();
        let finished = self.senders.iter().filter(|sender| sender.has_finished()).count();
        match self.reset {
            _ if has_begun && self.established_ns.is_none() => End::NeverOpen,
            _ if finished == 2 => End::Closed,
            Some(_) => End::Reset,
            None if is_evicted => End::Evicted,
            None if finished == 1 => End::HalfClosed,
            None => End::Open,
        }
    }

    pub fn reset_by(&self) -> Option<Side> {
        self.reset.map(|(side, _)| side)
    }

    /// Largest window that each end offered; not scaled where the handshake was not seen.
    pub fn windows_max(&self) -> [u64; 2] {
        self.windows_max
    }

    /// Powers of two by which the windows were scaled; `None` if neither SYN was seen.
    pub fn window_scales(&self) -> Option<[u8; 2]> {
        match self.window_scales {
            [Some(client), Some(server)] => Some([client, server]),
            _ if self.syn_ns.is_some() && self.syn_ack_ns.is_some() => Some([0, 0]),
            _ => None,
        }
    }
}

/// Who has the port of a client? The one in the range that is handed out; else the higher one.
pub fn is_client_port(source: u16, dest: u16) -> bool {
    match (source >= EPHEMERAL_PORT_MIN, dest >= EPHEMERAL_PORT_MIN) {
        (true, false) => true,
        (false, true) => false,
        _ => source >= dest,
    }
}
