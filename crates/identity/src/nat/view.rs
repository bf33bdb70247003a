//! The translations of one window, as an agent asks for them: by connection where its flows have one, else by what all connections of a pair had in common.

use super::{Answer, Connection, Door, Table};
use crate::directory::Span;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// A flow as its socket has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub local: IpAddr,
    pub remote: IpAddr,
    pub service_port: u16,
    /// 0: of all connections between the two.
    pub client_port: u16,
    pub is_server: bool,
    pub is_udp: bool,
    /// `remote` is the real far end already, and it sees, or is seen by, another address than the client's.
    pub is_masked: bool,
}

/// The far end of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Far {
    pub remote: IpAddr,
    pub service_port: u16,
    /// What the server's side takes for the client's address, if that is another.
    pub client_seen_as: Option<IpAddr>,
    /// It is translated, and to what cannot be told: `remote` is as the socket has it.
    pub is_ambiguous: bool,
    /// It was looked up and found by its connection.
    pub is_found: bool,
}

/// What all connections of a pair had in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Common<T> {
    One(T),
    Several,
}

impl<T: PartialEq> Common<T> {
    fn join(&mut self, other: &T) {
        if !matches!(self, Self::One(one) if one == other) {
            *self = Self::Several;
        }
    }
}

/// A client's address, a server's address and port.
type Pair = (IpAddr, Door, bool);

/// The translations of one window.
#[derive(Debug)]
pub struct View<'a> {
    table: &'a Table,
    window: Span,
    /// Of connections that may have counted before they were kept apart, by the pair as the client has it: the real server, and as what the client is seen there.
    servers: HashMap<Pair, Common<(Door, Option<IpAddr>)>>,
    /// By the real pair: as what clients that talk to the server's own address are seen, and those that talk to a virtual one.
    masks: HashMap<(Pair, bool), Common<IpAddr>>,
    /// The pairs as servers have them, of masked clients.
    behind: HashSet<Pair>,
}

impl<'a> View<'a> {
    pub fn new(table: &'a Table, window: Span) -> Self {
        let mut view = Self { table, window, servers: HashMap::new(), masks: HashMap::new(), behind: HashSet::new() };
        for (translation, is_early) in table.with_age(window) {
            let original = translation.original;
            let Answer::One(real) = table.forward(original, window) else { continue };
            let (client, is_udp) = (original.client.ip(), original.is_udp);
            let mask = Some(real.client.ip()).filter(|mask| *mask != client);
            let is_redirected = real.server != original.server;
            // All others are looked up by connection.
            if is_redirected && is_early {
                let common = (real.server, mask);
                view.servers.entry((client, original.server, is_udp)).or_insert(Common::One(common)).join(&common);
            }
            if let Some(mask) = mask {
                let pair = (client, real.server, is_udp);
                view.masks.entry((pair, is_redirected)).or_insert(Common::One(mask)).join(&mask);
                view.behind.insert((mask, real.server, is_udp));
            }
        }
        view
    }

    /// The far end of a flow.
    pub fn far(&self, seen: &Seen) -> Far {
        if seen.is_server { self.client_of(seen) } else { self.server_of(seen) }
    }

    fn server_of(&self, seen: &Seen) -> Far {
        let server = Door::new(seen.remote, seen.service_port);
        let pair = (seen.local, server, seen.is_udp);
        let found =
            |real: Door, client_seen_as| Far { remote: real.ip(), service_port: real.port, client_seen_as, is_ambiguous: false, is_found: true };
        if seen.is_masked {
            return Far { client_seen_as: self.mask(pair, true), ..as_seen(seen) };
        }
        if seen.client_port != 0 {
            let connection = Connection { client: Door::new(seen.local, seen.client_port), server, is_udp: seen.is_udp };
            return match self.table.forward(connection, self.window) {
                Answer::One(real) => found(real.server, Some(real.client.ip()).filter(|mask| *mask != seen.local)),
                Answer::Several => Far { is_ambiguous: true, ..as_seen(seen) },
                Answer::Same => as_seen(seen),
            };
        }
        match self.servers.get(&pair) {
            Some(Common::One((real, mask))) => found(*real, *mask),
            Some(Common::Several) => Far { is_ambiguous: true, ..as_seen(seen) },
            None => Far { client_seen_as: self.mask(pair, false), ..as_seen(seen) },
        }
    }

    fn client_of(&self, seen: &Seen) -> Far {
        let server = Door::new(seen.local, seen.service_port);
        let pair = (seen.remote, server, seen.is_udp);
        if seen.is_masked {
            return Far { client_seen_as: self.mask(pair, false).or_else(|| self.mask(pair, true)), ..as_seen(seen) };
        }
        if seen.client_port == 0 {
            // Connections of before the address was known to hide others.
            return Far { is_ambiguous: self.behind.contains(&pair), ..as_seen(seen) };
        }
        let connection = Connection { client: Door::new(seen.remote, seen.client_port), server, is_udp: seen.is_udp };
        match self.table.backward(connection, self.window) {
            Answer::One(real) => {
                let remote = real.client.ip();
                Far { remote, client_seen_as: Some(seen.remote).filter(|mask| *mask != remote), is_found: true, ..as_seen(seen) }
            }
            Answer::Several => Far { is_ambiguous: true, ..as_seen(seen) },
            Answer::Same => as_seen(seen),
        }
    }

    fn mask(&self, pair: Pair, is_redirected: bool) -> Option<IpAddr> {
        match self.masks.get(&(pair, is_redirected)) {
            Some(Common::One(mask)) => Some(*mask),
            _ => None,
        }
    }
}

fn as_seen(seen: &Seen) -> Far {
    Far { remote: seen.remote, service_port: seen.service_port, client_seen_as: None, is_ambiguous: false, is_found: false }
}
