//! From frames to numbers. Of what is said nothing is kept but the packing's tables, and what a connection's open requests were when.

use super::stash::{Full, Stash};
use edgescope_decode::Piece;
use edgescope_decode::http2::{Connection, Ended, Event, Response, Sender};
use edgescope_probe::{FlowKey, Http2Count, Http2Event, Http2Record};
use std::collections::HashMap;

/// Connections that are followed. A node's proxy holds some thousands; each takes 4 to 20 kB.
pub const CONNECTIONS_MAX: usize = 8_192;
/// What all of them may take of the heap: peers may ask for tables of 64 KiB, which take 400 kB.
pub const HEAP_BYTES_MAX: usize = 64 << 20;
/// Beside what a connection says of itself.
const CONNECTION_BYTES: usize = 1_024;
/// Where there is no room, this part of all goes, those that were silent for longest.
const EVICTED_SHARE: usize = 16;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// gRPC's codes (`google.rpc.Code`).
const OK: u16 = 0;
const DEADLINE_EXCEEDED: u16 = 4;
const UNAVAILABLE: u16 = 14;

/// Which flow it counts for: the socket's own key, and its client's port.
pub type Socket = (FlowKey, u16);

/// All connections of a node that speak HTTP/2, each end by itself.
#[derive(Debug, Default)]
pub struct Calls {
    connections: HashMap<u64, Talk>,
    heap_bytes: usize,
    found: Found,
}

#[derive(Debug)]
struct Talk {
    connection: Connection,
    heard_ns: u64,
    heap_bytes: usize,
    /// Of a side whose stream comes whole, since something of it was missed: server, client.
    holes: [Option<Stash>; 2],
    /// How many pieces came like that.
    wholes: [u32; 2],
}

/// What was found since the last time.
#[derive(Debug, Default, PartialEq)]
pub struct Found {
    pub counts: HashMap<Socket, Http2Count>,
    /// Connections of which nothing more is counted.
    pub unreadable: u32,
    /// Sides of connections, by id and whether it is the client's, that came whole: where a frame begins, and after how many pieces that was known. `None`
    /// if no more of it is wanted.
    pub resumed: HashMap<(u64, bool), Option<(u32, u32)>>,
    /// Connections that have ended, if anything was said of them in `resumed`.
    pub ended: Vec<u64>,
}

impl Calls {
    /// Takes what the kernel side says next; `None` if a connection has ended that an earlier agent should have read.
    pub fn take(&mut self, record: Option<Http2Record<'_>>) {
        let Some(record) = record else {
            self.found.unreadable += 1;
            return;
        };
        match record.event {
            Http2Event::Begins => self.begin(&record),
            Http2Event::Says { by_client, frames } => self.hear(&record, by_client, |talk, tell| {
                talk.holes[usize::from(by_client)] = None;
                talk.connection.feed(sender(by_client), record.at_ns, Piece::Bytes(frames), tell);
                Ok(())
            }),
            Http2Event::Misses { by_client, seq, start } => self.hear(&record, by_client, |talk, _| {
                let mut stash = Stash::new(seq);
                stash.put(seq, start)?;
                talk.holes[usize::from(by_client)] = Some(stash);
                Ok(())
            }),
            Http2Event::Whole { by_client, seq, bytes } => self.hear_whole(&record, by_client, seq, bytes),
            Http2Event::Ends => self.end(&record),
            Http2Event::GivenUp => {
                self.remove(record.id);
                self.found.ended.push(record.id);
            }
        }
    }

    pub fn found(&mut self) -> Found {
        std::mem::take(&mut self.found)
    }

    fn begin(&mut self, record: &Http2Record<'_>) {
        if self.connections.len() >= CONNECTIONS_MAX {
            self.make_room();
        }
        let mut connection = Connection::new();
        connection.feed(Sender::Client, record.at_ns, Piece::Bytes(PREFACE), |_| {});
        self.remove(record.id);
        self.heap_bytes += CONNECTION_BYTES;
        let talk = Talk { connection, heard_ns: record.at_ns, heap_bytes: CONNECTION_BYTES, holes: [None, None], wholes: [0; 2] };
        self.connections.insert(record.id, talk);
    }

    /// `take_in` feeds a connection with what was said, and tells what it says. Of one that is not known it has been counted why.
    fn hear(&mut self, record: &Http2Record<'_>, by_client: bool, take_in: impl FnOnce(&mut Talk, &mut dyn FnMut(Event)) -> Result<(), Full>) {
        let Some(talk) = self.connections.get_mut(&record.id) else { return };
        let count = self.found.counts.entry((record.key, record.client_port)).or_default();
        let taken = take_in(talk, &mut |event| tally(count, &event));
        talk.heard_ns = record.at_ns;
        let refused = taken.is_err() || talk.connection.refusal(sender(by_client)).is_some();
        let waiting: usize = talk.holes.iter().flatten().map(Stash::bytes).sum();
        let bytes = CONNECTION_BYTES + talk.connection.heap_bytes() + waiting;
        self.heap_bytes = self.heap_bytes - talk.heap_bytes + bytes;
        talk.heap_bytes = bytes;
        if refused {
            self.remove(record.id);
            self.found.unreadable += 1;
        }
        if self.heap_bytes > HEAP_BYTES_MAX {
            self.make_room();
        }
    }

    /// A piece after a hole. Once nothing is missing, the kernel side hears where the next frame begins.
    fn hear_whole(&mut self, record: &Http2Record<'_>, by_client: bool, seq: u32, bytes: &[u8]) {
        let side = usize::from(by_client);
        self.hear(record, by_client, |talk, tell| {
            talk.wholes[side] += 1;
            let Some(stash) = &mut talk.holes[side] else { return Ok(()) };
            stash.put(seq, bytes)?;
            while let Some(piece) = stash.take() {
                talk.connection.feed(sender(by_client), record.at_ns, Piece::Bytes(&piece), &mut *tell);
                let rest = talk.connection.skippable(sender(by_client)).unwrap_or(0);
                talk.connection.feed(sender(by_client), record.at_ns, Piece::Gap(rest), &mut *tell);
                stash.skip(rest);
            }
            Ok(())
        });
        let Some(talk) = self.connections.get(&record.id) else {
            self.found.resumed.insert((record.id, by_client), None);
            return;
        };
        let begins = talk.connection.skippable(sender(by_client)) == Some(0);
        if let Some(stash) = talk.holes[side].as_ref().filter(|stash| begins && stash.is_empty()) {
            self.found.resumed.insert((record.id, by_client), Some((stash.next(), talk.wholes[side])));
        } else {
            self.found.resumed.remove(&(record.id, by_client));
        }
    }

    fn end(&mut self, record: &Http2Record<'_>) {
        let talk = self.remove(record.id);
        if talk.as_ref().is_none_or(|talk| talk.wholes != [0; 2]) {
            self.found.ended.push(record.id);
        }
        if let Some(talk) = talk {
            let count = self.found.counts.entry((record.key, record.client_port)).or_default();
            talk.connection.end(record.at_ns, |ended| tally(count, &Event::Ended(ended)));
        }
    }

    fn remove(&mut self, id: u64) -> Option<Talk> {
        let talk = self.connections.remove(&id)?;
        self.heap_bytes -= talk.heap_bytes;
        Some(talk)
    }

    fn make_room(&mut self) {
        let mut heard: Vec<u64> = self.connections.values().map(|talk| talk.heard_ns).collect();
        if heard.is_empty() {
            return;
        }
        let nth = heard.len() / EVICTED_SHARE;
        let (_, &mut limit_ns, _) = heard.select_nth_unstable(nth);
        let before = self.connections.len();
        self.connections.retain(|_, talk| talk.heard_ns > limit_ns);
        self.heap_bytes = self.connections.values().map(|talk| talk.heap_bytes).sum();
        self.found.unreadable += (before - self.connections.len()) as u32;
    }
}

fn sender(by_client: bool) -> Sender {
    if by_client { Sender::Client } else { Sender::Server }
}

fn tally(count: &mut Http2Count, event: &Event) {
    match event {
        Event::Request(request) => {
            count.requests += 1;
            count.grpc_requests += u32::from(request.is_grpc);
        }
        Event::Response(response) => answered(count, response),
        Event::Ended(ended) => end(count, ended),
    }
}

fn answered(count: &mut Http2Count, response: &Response) {
    let class = usize::from(response.status / 100).checked_sub(2).filter(|class| *class < 4).unwrap_or(4);
    count.answers[class] += 1;
    if let Some(asked) = response.answers {
        let us = response.at_ns.saturating_sub(asked.at_ns) / 1_000;
        count.times_us.push(u32::try_from(us).unwrap_or(u32::MAX));
    }
}

fn end(count: &mut Http2Count, ended: &Ended) {
    count.unanswered += u32::from(ended.of.is_some() && !ended.answered);
    if ended.is_grpc {
        let place = match ended.grpc_status {
            Some(OK) => 0,
            Some(UNAVAILABLE) => 1,
            Some(DEADLINE_EXCEEDED) => 2,
            Some(_) => 3,
            None => 4,
        };
        count.grpc_ends[place] += 1;
    }
}

#[cfg(test)]
#[path = "calls_tests.rs"]
mod tests;
