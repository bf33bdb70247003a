//! HTTP/1.0 and 1.1 (RFC 9112): both directions of one connection, from the parts of it that were captured.
//!
//! A message's head says how long its body is, so that the next head is found; bodies are counted and not looked at. Where a hole hides that, the
//! direction is lost until a piece starts with a method or with `HTTP/1.`. A body that was made to look like a message can then be
//! taken for one: that costs a wrong count, not more.

mod body;
mod head;

use std::collections::VecDeque;

pub use crate::http::{Asked, Request, Response, Sender, Speaks};
use crate::{Piece, http};
use body::{Body, Progress};
use head::{Reading, RequestHead, ResponseHead};

/// Of a head that comes in several pieces, so much is kept until it ends; a longer one is read by what is there. Servers refuse more than 8 KiB.
pub const HEAD_BYTES_MAX: usize = 8192;
/// Requests that wait for their answer. Those that a client sends beyond it have answers that are not paired.
pub const PENDING_MAX: usize = 64;
/// So many pieces without a beginning, on a connection that never spoke HTTP, and it is something else.
pub const TRIES_MAX: u8 = 16;

/// What a [`Connection`] may take of the heap: two heads, in lists that double and are copied as they grow, one of them a second time while it is
/// read; the pending requests; one event. Between heads it is the pending requests alone.
pub const HEAP_BYTES_MAX: usize = 7 * HEAD_BYTES_MAX + 3 * PENDING_MAX * std::mem::size_of::<Pending>() + 4096;

/// What was found, at the time of its first byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    Request(Request),
    Response(Response),
}

/// One connection. Holds at most [`HEAP_BYTES_MAX`] bytes.
#[derive(Debug)]
pub struct Connection {
    client: Direction,
    server: Direction,
    pending: VecDeque<Pending>,
    /// Requests after those pending that had no place any more.
    unpaired: u64,
    requests: u64,
    speaks: Speaks,
    tries: u8,
}

#[derive(Debug, Clone, Copy)]
struct Pending {
    asked: Asked,
    method: &'static str,
}

#[derive(Debug)]
struct Direction {
    state: State,
    /// The start of a head that came in several pieces, and when its first byte came.
    head: Vec<u8>,
    head_ns: u64,
}

#[derive(Debug)]
enum State {
    /// At a head, or in it.
    Head,
    Body(Body),
    /// It is not known where the next head begins.
    Lost,
}

impl Direction {
    fn new(state: State) -> Self {
        Self { state, head: Vec::new(), head_ns: 0 }
    }
}

impl Default for Connection {
    fn default() -> Self {
        Self::new()
    }
}

impl Connection {
    /// A connection that is seen from its start.
    pub fn new() -> Self {
        Self {
            client: Direction::new(State::Head),
            server: Direction::new(State::Head),
            pending: VecDeque::new(),
            unpaired: 0,
            requests: 0,
            speaks: Speaks::Unsure,
            tries: 0,
        }
    }

    /// A connection that was there before.
    pub fn midway() -> Self {
        Self { client: Direction::new(State::Lost), server: Direction::new(State::Lost), ..Self::new() }
    }

    pub fn speaks(&self) -> Speaks {
        self.speaks
    }

    /// Takes what `sender` sent next, which was seen at `at_ns`, and calls `found` with what it says. The two directions are fed as they were seen, by
    /// one clock.
    pub fn feed(&mut self, sender: Sender, at_ns: u64, piece: Piece<'_>, mut found: impl FnMut(Event)) {
        if self.speaks == Speaks::Other {
            return;
        }
        match piece {
            Piece::Bytes(bytes) => self.bytes(sender, at_ns, bytes, &mut found),
            Piece::Gap(bytes) => self.gap(sender, bytes, &mut found),
            Piece::Lost => self.hole_in_head(sender, &mut found),
        }
    }

    fn direction(&mut self, sender: Sender) -> &mut Direction {
        match sender {
            Sender::Client => &mut self.client,
            Sender::Server => &mut self.server,
        }
    }

    fn bytes(&mut self, sender: Sender, at_ns: u64, mut bytes: &[u8], found: &mut impl FnMut(Event)) {
        while !bytes.is_empty() && self.speaks != Speaks::Other {
            match &mut self.direction(sender).state {
                State::Lost if !begins(sender, bytes) => return self.missed(),
                State::Lost => self.found_again(sender),
                State::Head => bytes = self.head(sender, at_ns, bytes, found),
                State::Body(body) => match body.bytes(bytes) {
                    Progress::More => return,
                    Progress::Ended(left) => {
                        bytes = &bytes[bytes.len() - left..];
                        self.direction(sender).state = State::Head;
                    }
                    Progress::Broken => {
                        self.direction(sender).state = State::Lost;
                        return;
                    }
                },
            }
        }
    }

    fn gap(&mut self, sender: Sender, bytes: usize, found: &mut impl FnMut(Event)) {
        if bytes == 0 {
            return;
        }
        let progress = match &mut self.direction(sender).state {
            State::Body(body) => body.gap(bytes),
            State::Head | State::Lost => Progress::Broken,
        };
        match progress {
            Progress::More => {}
            Progress::Ended(0) => self.direction(sender).state = State::Head,
            Progress::Ended(_) | Progress::Broken => self.hole_in_head(sender, found),
        }
    }

    /// What is known of the head so far is all that will be; where the message ends is not known.
    fn hole_in_head(&mut self, sender: Sender, found: &mut impl FnMut(Event)) {
        let direction = self.direction(sender);
        let head = std::mem::take(&mut direction.head);
        let at_ns = direction.head_ns;
        direction.state = State::Lost;
        if head.is_empty() {
            return;
        }
        match sender {
            Sender::Client => {
                if let Some(request) = head::request_cut(&head) {
                    self.requested(at_ns, request, found);
                }
            }
            Sender::Server => {
                if let Some(response) = head::response_cut(&head) {
                    self.responded(at_ns, response, found);
                }
            }
        }
    }

    /// Reads a head at the start of `bytes`, or its next part; returns what comes after it.
    fn head<'a>(&mut self, sender: Sender, at_ns: u64, bytes: &'a [u8], found: &mut impl FnMut(Event)) -> &'a [u8] {
        let direction = self.direction(sender);
        if direction.head.is_empty() {
            direction.head_ns = at_ns;
        }
        let at_ns = direction.head_ns;
        let before = direction.head.len();
        let kept = std::mem::take(&mut direction.head);
        let next = &bytes[..bytes.len().min(HEAD_BYTES_MAX - before)];
        let joined = join(kept, next);
        let all = joined.as_deref().unwrap_or(bytes);
        let (state, length) = match sender {
            // A head ends with a line: it is not read anew for each byte of a line.
            _ if before > 0 && !next.contains(&b'\n') => (None, 0),
            Sender::Client => match head::request(all) {
                Reading::Whole(length, head) => (Some(self.requested(at_ns, head, found)), length),
                Reading::Faulty(head) => (Some(self.requested(at_ns, head, found)), all.len()),
                Reading::Partial => (None, 0),
                Reading::Wrong => (self.wrong(), all.len()),
            },
            Sender::Server => match head::response(all) {
                Reading::Whole(length, head) => (Some(self.responded(at_ns, head, found)), length),
                Reading::Faulty(head) => (Some(self.responded(at_ns, head, found)), all.len()),
                Reading::Partial => (None, 0),
                Reading::Wrong => (self.wrong(), all.len()),
            },
        };
        match state {
            Some(State::Lost) => {
                self.direction(sender).state = State::Lost;
                &[]
            }
            Some(state) => {
                self.direction(sender).state = state;
                &bytes[length.saturating_sub(before).min(bytes.len())..]
            }
            None => {
                let keep = joined.unwrap_or_else(|| next.to_vec());
                let full = keep.len() == HEAD_BYTES_MAX;
                self.direction(sender).head = keep;
                if full {
                    self.hole_in_head(sender, found);
                }
                &[]
            }
        }
    }

    /// Says a request; the state after its head.
    fn requested(&mut self, at_ns: u64, head: RequestHead, found: &mut impl FnMut(Event)) -> State {
        self.speaks = Speaks::Http1;
        let asked = Asked { number: self.requests, at_ns };
        self.requests += 1;
        if self.pending.len() < PENDING_MAX && self.unpaired == 0 {
            self.pending.push_back(Pending { asked, method: head.method });
        } else {
            self.unpaired += 1;
        }
        found(Event::Request(Request { number: asked.number, at_ns, method: head.method, path: head.path, host: head.host, is_grpc: false }));
        head.body.map_or(State::Lost, State::Body)
    }

    /// Says a final response; the state after its head.
    fn responded(&mut self, at_ns: u64, head: ResponseHead, found: &mut impl FnMut(Event)) -> State {
        self.speaks = Speaks::Http1;
        if (100..200).contains(&head.status) && head.status != 101 {
            return head.body.map_or(State::Lost, |_| State::Head);
        }
        // What began before the request is no answer to it.
        let pending = self.pending.pop_front_if(|it| it.asked.at_ns <= at_ns);
        found(Event::Response(Response { at_ns, status: head.status, answers: pending.map(|it| it.asked) }));
        let method = match pending {
            Some(pending) => pending.method,
            None if self.unpaired > 0 => {
                self.unpaired -= 1;
                http::OTHER
            }
            // Whether an answer has a body depends on the question, which was not seen.
            None => return State::Lost,
        };
        if head.status == 101 || (method == "CONNECT" && (200..300).contains(&head.status)) {
            self.speaks = Speaks::Other;
        }
        if method == "HEAD" || matches!(head.status, 204 | 304) {
            return State::Head;
        }
        head.body.map_or(State::Lost, State::Body)
    }

    /// What should be a head is none: never was one, or the direction is lost.
    fn wrong(&mut self) -> Option<State> {
        if self.speaks == Speaks::Unsure {
            self.speaks = Speaks::Other;
        }
        Some(State::Lost)
    }

    fn missed(&mut self) {
        if self.speaks == Speaks::Unsure {
            self.tries += 1;
            if self.tries == TRIES_MAX {
                self.speaks = Speaks::Other;
            }
        }
    }

    /// A lost direction begins a message. Of a server, answers went by unseen: without pipelining it answers the newest request.
    fn found_again(&mut self, sender: Sender) {
        self.direction(sender).state = State::Head;
        if sender == Sender::Server {
            let newest = self.pending.pop_back().filter(|_| self.unpaired == 0);
            self.pending.clear();
            self.pending.extend(newest);
            self.unpaired = 0;
        }
    }
}

fn begins(sender: Sender, bytes: &[u8]) -> bool {
    match sender {
        Sender::Client => head::begins_request(bytes),
        Sender::Server => head::begins_response(bytes),
    }
}

/// The kept start of a head with its next part; none if nothing was kept.
fn join(mut kept: Vec<u8>, next: &[u8]) -> Option<Vec<u8>> {
    if kept.is_empty() {
        return None;
    }
    kept.extend_from_slice(next);
    Some(kept)
}
