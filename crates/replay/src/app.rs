//! What a connection speaks: HTTP/1 or DNS, as far as its payload was captured.

use crate::dns::Dns;
use crate::report::{DnsReport, HttpReport};
use crate::rtt::Samples;
use crate::stream::{Room, Stream};
use edgescope_decode::Piece;
use edgescope_decode::dns::Framed;
use edgescope_decode::http1::{self, Event, Sender as Speaker, Speaks};

/// The port of DNS.
pub const DNS_PORT: u16 = 53;

/// The application of one TCP connection.
#[derive(Debug, Default)]
pub enum App {
    /// Nothing was said yet.
    #[default]
    Silent,
    Http(Box<Http>),
    Dns(Box<DnsOverTcp>),
    /// Something else.
    Other,
}

/// HTTP/1; streams are in the order client, server.
#[derive(Debug)]
pub struct Http {
    streams: [Stream; 2],
    connection: http1::Connection,
    counts: HttpCounts,
}

#[derive(Debug, Default)]
struct HttpCounts {
    requests: u64,
    /// By the first digit; 0 for what is no class.
    statuses: [u64; 6],
    answered: u64,
    durations: Samples,
    unread_bytes: u64,
}

/// DNS with a length before each message.
#[derive(Debug)]
pub struct DnsOverTcp {
    streams: [Stream; 2],
    messages: [Framed; 2],
    dns: Dns,
}

/// Payload of one segment.
#[derive(Debug, Clone, Copy)]
pub struct Said<'a> {
    /// 0: the client.
    pub from: usize,
    pub start: u64,
    pub length: u64,
    pub payload: &'a [u8],
    pub at_ns: u64,
}

impl App {
    /// Takes up what was said. `begins` are the first bytes of both directions, where the handshake was seen; `server_port` tells DNS.
    pub fn hears(&mut self, said: &Said<'_>, begins: [Option<u64>; 2], server_port: u16, room: &Room) {
        if matches!(self, App::Silent) && !said.payload.is_empty() {
            *self = App::begin(begins, server_port, room);
        }
        let from = said.from;
        match self {
            App::Http(http) => {
                let Http { streams, connection, counts } = http.as_mut();
                streams[from].takes(said.start, said.length, said.payload, said.at_ns, |at_ns, piece| counts.feed(connection, from, at_ns, piece));
                self.gives_up();
            }
            App::Dns(tcp) => {
                let DnsOverTcp { streams, messages, dns } = tcp.as_mut();
                streams[from].takes(said.start, said.length, said.payload, said.at_ns, |at_ns, piece| {
                    messages[from].feed(piece, |message| dns.hears(from == 0, message, at_ns));
                });
            }
            App::Silent | App::Other => {}
        }
    }

    /// The other end has all below `ack` of what `from` said.
    pub fn acknowledged(&mut self, from: usize, ack: u64, at_ns: u64) {
        match self {
            App::Http(http) => {
                let Http { streams, connection, counts } = http.as_mut();
                streams[from].acknowledged(ack, at_ns, |at_ns, piece| counts.feed(connection, from, at_ns, piece));
                self.gives_up();
            }
            App::Dns(tcp) => {
                let DnsOverTcp { streams, messages, dns } = tcp.as_mut();
                streams[from].acknowledged(ack, at_ns, |at_ns, piece| messages[from].feed(piece, |message| dns.hears(from == 0, message, at_ns)));
            }
            App::Silent | App::Other => {}
        }
    }

    fn begin(begins: [Option<u64>; 2], server_port: u16, room: &Room) -> App {
        let streams = begins.map(|begin| Stream::new(begin, room));
        let is_whole = begins.iter().all(Option::is_some);
        if server_port == DNS_PORT {
            let messages = begins.map(|_| if is_whole { Framed::new() } else { Framed::midway() });
            return App::Dns(Box::new(DnsOverTcp { streams, messages, dns: Dns::default() }));
        }
        let connection = if is_whole { http1::Connection::new() } else { http1::Connection::midway() };
        App::Http(Box::new(Http { streams, connection, counts: HttpCounts::default() }))
    }

    /// What never spoke HTTP is not listened to any more.
    fn gives_up(&mut self) {
        if let App::Http(http) = self
            && http.connection.speaks() == Speaks::Other
            && http.counts.is_empty()
        {
            *self = App::Other;
        }
    }

    pub fn http(&self) -> Option<HttpReport> {
        let App::Http(http) = self else { return None };
        (!http.counts.is_empty()).then(|| http.counts.report())
    }

    pub fn dns(&self, capture_end_ns: u64) -> Option<DnsReport> {
        let App::Dns(tcp) = self else { return None };
        tcp.dns.report(capture_end_ns)
    }
}

impl HttpCounts {
    fn feed(&mut self, connection: &mut http1::Connection, from: usize, at_ns: u64, piece: Piece<'_>) {
        if let Piece::Gap(bytes) = piece {
            self.unread_bytes += bytes as u64;
        }
        let speaker = if from == 0 { Speaker::Client } else { Speaker::Server };
        connection.feed(speaker, at_ns, piece, |event| match event {
            Event::Request(_) => self.requests += 1,
            Event::Response(response) => {
                let class = usize::from(response.status / 100);
                self.statuses[if class < self.statuses.len() { class } else { 0 }] += 1;
                if let Some(asked) = response.answers {
                    self.answered += 1;
                    self.durations.record(response.at_ns.saturating_sub(asked.at_ns));
                }
            }
        });
    }

    fn is_empty(&self) -> bool {
        self.requests == 0 && self.statuses.iter().all(|count| *count == 0)
    }

    fn report(&self) -> HttpReport {
        let [other, information, success, redirect, client_error, server_error] = self.statuses;
        HttpReport {
            requests: self.requests,
            status_2xx: success,
            status_3xx: redirect,
            status_4xx: client_error,
            status_5xx: server_error,
            status_other: other + information,
            unanswered: self.requests.saturating_sub(self.answered),
            duration: self.durations.spread(),
            unread_bytes: self.unread_bytes,
        }
    }
}
