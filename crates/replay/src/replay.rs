//! Packets in, one report a connection out.

use crate::capture::Packet;
use crate::connection::Connection;
use crate::ip::{self, Carried, Datagram, Unread, tunnel_port};
use crate::link::{self, Link};
use crate::report::{CaptureReport, Report, TcpReport, time};
use crate::segment::Segment;
use crate::stream::Room;
use crate::table::{Aged, Table};
use crate::udp::{Conversation, IDLE_NS};
use std::ops::ControlFlow;

/// Stragglers of a connection that is over are its own for so long: twice what Linux keeps TIME_WAIT.
const LINGER_NS: u64 = 120_000_000_000;
/// Between two looks for what is over.
const SWEEP_NS: u64 = 10_000_000_000;

/// What can be chosen.
#[derive(Debug, Clone)]
pub struct Settings {
    /// TCP connections, and as many UDP conversations, that are followed at once; a TCP connection takes about 2 KiB, and up to 700 KiB
    /// while many of its segments wait for their acknowledgement.
    pub connections_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self { connections_max: 100_000 }
    }
}

/// The state between packets. Each report is handed to `sink` as soon as its connection is over.
pub struct Replay<S> {
    tcp: Table<Connection>,
    udp: Table<Conversation>,
    summary: CaptureReport,
    first_ns: Option<u64>,
    now_ns: u64,
    swept_ns: u64,
    room: Room,
    sink: S,
    flow: ControlFlow<()>,
}

impl Aged for Connection {
    fn worth(&self) -> (bool, u64) {
        (!self.is_over(), self.last_ns)
    }
}

impl Aged for Conversation {
    fn worth(&self) -> (bool, u64) {
        (true, self.last_ns)
    }
}

impl<S: FnMut(Report) -> ControlFlow<()>> Replay<S> {
    pub fn new(settings: &Settings, sink: S) -> Self {
        Self {
            tcp: Table::new(settings.connections_max),
            udp: Table::new(settings.connections_max),
            summary: CaptureReport::default(),
            first_ns: None,
            now_ns: 0,
            swept_ns: 0,
            room: Room::default(),
            sink,
            flow: ControlFlow::Continue(()),
        }
    }

    /// Takes a packet up. Breaks when the sink has.
    pub fn takes(&mut self, packet: &Packet<'_>) -> ControlFlow<()> {
        self.summary.packets += 1;
        if packet.has_time {
            self.summary.packets_back_in_time += u64::from(packet.at_ns < self.now_ns);
            self.first_ns.get_or_insert(packet.at_ns);
        } else {
            self.summary.packets_without_time += 1;
        }
        self.now_ns = self.now_ns.max(packet.at_ns);
        match link::read(packet.link_type, packet.data) {
            Link::Ip(at) => match packet.data.get(at..) {
                Some(data) => self.ip(ip::read(data, packet.length.saturating_sub(at)), packet),
                None => self.unread("cut short"),
            },
            Link::Tunnel(kind) => self.tunnel(kind),
            Link::NotIp => self.unread("not IP"),
            Link::Cut => self.unread("cut short"),
            Link::Unknown => self.unread(&format!("link type {}", packet.link_type)),
        }
        if self.now_ns.saturating_sub(self.swept_ns) >= SWEEP_NS {
            self.sweep();
        }
        self.flow
    }

    fn ip(&mut self, carried: Carried<'_>, packet: &Packet<'_>) {
        match carried {
            Carried::Tcp(segment) => self.segment(&segment, packet),
            Carried::Udp(datagram) => self.datagram(&datagram, packet),
            Carried::Unreachable(quoted) => {
                self.unread("ICMP");
                if let Some(connection) = self.tcp.get_mut(&Table::<Connection>::key(quoted.source, quoted.dest)) {
                    connection.unreachable(quoted.source, quoted.sequence);
                }
            }
            Carried::Unread(Unread::Tunnel(kind)) => self.tunnel(kind),
            Carried::Unread(Unread::Fragment) => self.unread("IP fragment"),
            Carried::Unread(Unread::Other) => self.unread("neither TCP nor UDP"),
            Carried::Unread(Unread::Cut) => self.unread("cut short"),
            Carried::Unread(Unread::Malformed) => self.unread("malformed"),
        }
    }

    fn segment(&mut self, segment: &Segment<'_>, packet: &Packet<'_>) {
        self.summary.tcp_packets += 1;
        let key = Table::<Connection>::key(segment.source, segment.dest);
        match self.tcp.get_mut(&key) {
            Some(connection) if !connection.is_succeeded_by(segment) => return connection.takes(segment, packet.at_ns, &self.room),
            Some(_) => {
                let before = self.tcp.remove(&key);
                before.into_iter().for_each(|before| self.report_tcp(before, false));
            }
            None => {}
        }
        let mut connection = Connection::new(segment, packet.at_ns, packet.number);
        connection.takes(segment, packet.at_ns, &self.room);
        for gone in self.tcp.insert(key, connection) {
            let is_evicted = !gone.is_over();
            self.report_tcp(gone, is_evicted);
        }
    }

    fn datagram(&mut self, datagram: &Datagram<'_>, packet: &Packet<'_>) {
        self.summary.udp_packets += 1;
        if let Some(kind) = tunnel_port(datagram.dest.port()).or(tunnel_port(datagram.source.port())) {
            *self.summary.tunnels.entry(kind).or_default() += 1;
        }
        let key = Table::<Conversation>::key(datagram.source, datagram.dest);
        match self.udp.get_mut(&key) {
            Some(conversation) if packet.at_ns.saturating_sub(conversation.last_ns) < IDLE_NS => return conversation.takes(datagram, packet.at_ns),
            Some(_) => {
                let before = self.udp.remove(&key);
                before.into_iter().for_each(|before| self.report_udp(before));
            }
            None => {}
        }
        let mut conversation = Conversation::new(datagram, packet.at_ns, packet.number);
        conversation.takes(datagram, packet.at_ns);
        for gone in self.udp.insert(key, conversation) {
            self.summary.evicted += 1;
            self.report_udp(gone);
        }
    }

    fn sweep(&mut self) {
        self.swept_ns = self.now_ns;
        let now_ns = self.now_ns;
        let over = self.tcp.take(|connection| connection.is_over() && now_ns.saturating_sub(connection.last_ns) >= LINGER_NS);
        over.into_iter().for_each(|connection| self.report_tcp(connection, false));
        let silent = self.udp.take(|conversation| now_ns.saturating_sub(conversation.last_ns) >= IDLE_NS);
        silent.into_iter().for_each(|conversation| self.report_udp(conversation));
    }

    fn report_tcp(&mut self, mut connection: Connection, is_evicted: bool) {
        connection.ends(self.now_ns);
        self.summary.tcp_connections += 1;
        self.summary.evicted += u64::from(is_evicted);
        self.flow = (self.sink)(Report::Tcp(Box::new(TcpReport::new(&connection, self.now_ns, is_evicted))));
    }

    fn report_udp(&mut self, conversation: Conversation) {
        self.summary.udp_conversations += 1;
        self.flow = (self.sink)(Report::Udp(Box::new(conversation.report(self.now_ns))));
    }

    fn unread(&mut self, why: &str) {
        match self.summary.unread.get_mut(why) {
            Some(count) => *count += 1,
            None => drop(self.summary.unread.insert(why.to_owned(), 1)),
        }
    }

    fn tunnel(&mut self, kind: &'static str) {
        *self.summary.tunnels.entry(kind).or_default() += 1;
    }

    /// The capture is at its end: reports what is still open, in the order of its beginning. Gives the summary, without file and damage.
    pub fn finish(mut self) -> CaptureReport {
        let mut open = self.tcp.take(|_| true);
        open.sort_unstable_by_key(|connection| connection.first_packet);
        open.into_iter().for_each(|connection| self.report_tcp(connection, false));
        let mut speaking = self.udp.take(|_| true);
        speaking.sort_unstable_by_key(Conversation::first_packet);
        speaking.into_iter().for_each(|conversation| self.report_udp(conversation));
        self.summary.start = self.first_ns.map(time);
        self.summary.end = self.first_ns.map(|_| time(self.now_ns));
        self.summary
    }
}
