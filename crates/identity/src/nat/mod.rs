//! Address translation undone: who really talks to whom, from what connection tracking says of each connection.
//!
//! A translated connection has two forms: as its client opened it (**original**: client → virtual address) and as it goes on (**translated**: the node's
//! address → real server). A client's socket knows the first, a server's the second. [`Table`] keeps the pairs with the times in which they held, and goes from
//! one form to the other: forward to the real server (service addresses, node ports), backward to the real client (masquerade), through a chain of nodes or
//! namespaces where there is one. [`View`] answers for the flows of a window, also for those that are not told apart by connection. [`Proxy`] is a process that does by
//! two connections what translation does by one. Pure: pairs and times come
//! as arguments; bounded, and what finds no room is counted.

pub mod cilium;
mod proxy;
mod table;
mod view;

pub use proxy::Proxy;
pub use table::{Answer, Table};
pub use view::{Far, Seen, View};

use crate::address;
use edgescope_model::wire;
use std::net::{IpAddr, Ipv6Addr};

/// An address with a port, in few bytes: a node has tens of thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Door {
    /// IPv4 as `::ffff:a.b.c.d`.
    address: Ipv6Addr,
    pub port: u16,
}

impl Door {
    pub fn new(ip: IpAddr, port: u16) -> Self {
        let address = match ip {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        Self { address, port }
    }

    pub fn ip(&self) -> IpAddr {
        self.address.to_canonical()
    }

    fn of_wire(bytes: &[u8], port: u32) -> Option<Self> {
        Some(Self::new(address::from_bytes(bytes)?, u16::try_from(port).ok()?))
    }
}

/// A TCP connection or a conversation of UDP, by what its packets carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Connection {
    pub client: Door,
    pub server: Door,
    pub is_udp: bool,
}

/// One connection in both its forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Translation {
    /// As its client opened it.
    pub original: Connection,
    /// As it goes on.
    pub translated: Connection,
}

impl Translation {
    /// The server sees another address than the client's.
    pub fn is_masked(&self) -> bool {
        self.original.client.address != self.translated.client.address
    }

    /// The client talks to another address or port than the server's.
    pub fn is_redirected(&self) -> bool {
        self.original.server != self.translated.server
    }

    /// Reads what an agent sent; `None` if it makes no sense.
    pub fn of_wire(told: &wire::Translation) -> Option<Self> {
        let is_udp = match told.protocol() {
            wire::Protocol::Tcp => false,
            wire::Protocol::Udp => true,
            wire::Protocol::Unspecified => return None,
        };
        let client = Door::of_wire(&told.client_address, told.client_port)?;
        let server = Door::of_wire(&told.server_address, told.server_port)?;
        let seen = |bytes: &[u8], port, same| if bytes.is_empty() { Some(same) } else { Door::of_wire(bytes, port) };
        let translated = Connection {
            client: seen(&told.seen_client_address, told.seen_client_port, client)?,
            server: seen(&told.real_server_address, told.real_server_port, server)?,
            is_udp,
        };
        let original = Connection { client, server, is_udp };
        (original != translated).then_some(Self { original, translated })
    }

    /// The wire form: an end that stays as it is is left out.
    pub fn to_wire(&self) -> wire::Translation {
        let Self { original, translated } = self;
        let protocol = if original.is_udp { wire::Protocol::Udp } else { wire::Protocol::Tcp };
        let mut told = wire::Translation {
            protocol: protocol.into(),
            client_address: address::to_bytes(original.client.ip()),
            client_port: original.client.port.into(),
            server_address: address::to_bytes(original.server.ip()),
            server_port: original.server.port.into(),
            ..wire::Translation::default()
        };
        if original.client != translated.client {
            told.seen_client_address = address::to_bytes(translated.client.ip());
            told.seen_client_port = translated.client.port.into();
        }
        if original.server != translated.server {
            told.real_server_address = address::to_bytes(translated.server.ip());
            told.real_server_port = translated.server.port.into();
        }
        told
    }
}
