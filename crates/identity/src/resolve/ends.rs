//! The ends of an observation as they really are, translation undone.

use crate::address;
use crate::directory::{Directory, End, Span};
use crate::nat::{Connection, Door};
use edgescope_model::dims::Role;
use edgescope_model::wire;
use std::net::IpAddr;

/// Who talks to whom, and how the server's side sees the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RealEnds {
    pub near: End,
    pub far: End,
    /// Of the near end.
    pub role: Role,
    /// Where the server serves.
    pub port: u16,
    /// What the server's side takes for the client, if its address was translated.
    pub client_seen_as: Option<End>,
    /// It came with its client's port, and no translation is known.
    pub is_untranslated: bool,
}

impl RealEnds {
    /// `None` if the observation makes no sense.
    pub fn of(observation: &wire::Observation, directory: &Directory, window: Span) -> Option<Self> {
        let local = address::from_bytes(&observation.local_address)?;
        let remote = address::from_bytes(&observation.remote_address)?;
        let port = u16::try_from(observation.service_port).ok()?;
        let client_port = u16::try_from(observation.client_port).ok()?;
        let role = if observation.role() == wire::Role::Server { Role::Server } else { Role::Client };
        let mask = if observation.client_seen_as.is_empty() { None } else { Some(address::from_bytes(&observation.client_seen_as)?) };
        let mut ends = Self::new(local, remote, port, role, mask);
        if client_port != 0 {
            let is_udp = observation.protocol() == wire::Protocol::Udp;
            ends.undo(directory, window, local, remote, client_port, is_udp);
        }
        Some(ends)
    }

    fn new(local: IpAddr, remote: IpAddr, port: u16, role: Role, mask: Option<IpAddr>) -> Self {
        let end = |address, of| End { address, port: (of == Role::Server).then_some(port) };
        let client_seen_as = mask.map(|address| end(address, Role::Client));
        Self { near: end(local, role), far: end(remote, role.peer()), role, port, client_seen_as, is_untranslated: false }
    }

    /// Looks for what another node made of the connection.
    fn undo(&mut self, directory: &Directory, window: Span, local: IpAddr, remote: IpAddr, client_port: u16, is_udp: bool) {
        let is_server = self.role == Role::Server;
        let (client, server) = if is_server { (remote, local) } else { (local, remote) };
        let connection = Connection { client: Door::new(client, client_port), server: Door::new(server, self.port), is_udp };
        let Some(other) = directory.other_form(connection, is_server, window) else {
            self.is_untranslated = true;
            return;
        };
        let (real_client, seen_client) = if is_server { (other.client.ip(), client) } else { (client, other.client.ip()) };
        let mask = (real_client != seen_client).then_some(seen_client);
        *self = if is_server {
            Self::new(local, real_client, self.port, self.role, mask)
        } else {
            Self::new(local, other.server.ip(), other.server.port, self.role, mask)
        };
    }
}
