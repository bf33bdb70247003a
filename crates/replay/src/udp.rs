//! UDP conversations.

use crate::app::DNS_PORT;
use crate::connection::is_client_port;
use crate::dns::Dns;
use crate::ip::{Datagram, tunnel_port};
use crate::report::{UdpDirectionReport, UdpReport, time};
use std::net::SocketAddr;

/// Ports below belong to services, whoever speaks first.
const SERVICE_PORT_MAX: u16 = 1024;
/// Silence after which the next datagram begins another conversation.
pub const IDLE_NS: u64 = 60_000_000_000;

/// Datagrams between two ports. The client is who spoke first, unless it spoke from a service's port.
#[derive(Debug)]
pub struct Conversation {
    ends: [SocketAddr; 2],
    first_ns: u64,
    pub last_ns: u64,
    first_packet: u64,
    counts: [UdpDirectionReport; 2],
    /// Boxed: most conversations have none.
    dns: Option<Box<Dns>>,
}

impl Conversation {
    pub fn new(datagram: &Datagram<'_>, now_ns: u64, number: u64) -> Self {
        let (source, dest) = (datagram.source, datagram.dest);
        let is_answer = source.port() < SERVICE_PORT_MAX && !is_client_port(source.port(), dest.port());
        let ends = if is_answer { [dest, source] } else { [source, dest] };
        Self {
            ends,
            first_ns: now_ns,
            last_ns: now_ns,
            first_packet: number,
            counts: Default::default(),
            dns: (ends[1].port() == DNS_PORT).then(Box::default),
        }
    }

    pub fn takes(&mut self, datagram: &Datagram<'_>, now_ns: u64) {
        self.last_ns = self.last_ns.max(now_ns);
        let from_client = datagram.source == self.ends[0];
        let counts = &mut self.counts[usize::from(!from_client)];
        counts.datagrams += 1;
        counts.bytes += datagram.length as u64;
        if let Some(dns) = &mut self.dns {
            dns.hears(from_client, datagram.payload, now_ns);
        }
    }

    pub fn first_packet(&self) -> u64 {
        self.first_packet
    }

    /// `capture_end_ns` is the time of the last packet of the capture so far.
    pub fn report(self, capture_end_ns: u64) -> UdpReport {
        let [client_to_server, server_to_client] = self.counts;
        UdpReport {
            client: self.ends[0],
            server: self.ends[1],
            start: time(self.first_ns),
            end: time(self.last_ns),
            first_packet: self.first_packet,
            client_to_server,
            server_to_client,
            tunnel: tunnel_port(self.ends[1].port()),
            dns: self.dns.and_then(|dns| dns.report(capture_end_ns)),
        }
    }
}
