//! What the kernel side is told of translations, so that a socket counts under its real far end as soon as that is known.

use super::reader::Shared;
use edgescope_identity::nat::{Connection, Translation};
use edgescope_probe::{ProbeError, Protocol, RealEnd, Role, SocketSide, Translator};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};

/// Addresses that sockets are looked up by; the kernel side has room for twice as many, with those that servers tell of.
const ADDRESSES_MAX: usize = 2_048;

/// Why an address is looked up, and for how many connections now.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Reason {
    is_virtual: bool,
    is_mask: bool,
    live: u32,
}

/// The kernel side's maps, as this process fills them.
pub(super) struct Mirror {
    /// None in tests without a kernel side.
    translator: Option<Translator>,
    addresses: HashMap<IpAddr, Reason>,
    /// Of these, those that came since the last time that nothing more was to be heard.
    new: HashSet<IpAddr>,
}

impl Mirror {
    /// Nothing of an earlier process stays.
    pub fn new(translator: Option<Translator>) -> Result<Self, ProbeError> {
        if let Some(translator) = &translator {
            translator.clear()?;
        }
        Ok(Self { translator, addresses: HashMap::new(), new: HashSet::new() })
    }

    /// Whether connections to the address that are heard of now may have begun before it was kept apart.
    pub fn is_new(&self, address: IpAddr) -> bool {
        self.new.contains(&address) || !self.addresses.contains_key(&address)
    }

    /// All that waited has been heard.
    pub fn settle(&mut self) {
        self.new.clear();
    }

    /// Forgets all connections; addresses stay, so that theirs are kept apart until they are told again.
    pub fn begin_anew(&mut self, shared: &Shared) {
        self.addresses.values_mut().for_each(|reason| reason.live = 0);
        if let Some(translator) = &self.translator {
            tell(shared, translator.clear_connections().map(|()| true));
        }
    }

    pub fn opened(&mut self, translation: &Translation, shared: &Shared) {
        let (original, translated) = (translation.original, translation.translated);
        if translation.is_redirected() {
            let real = RealEnd { address: translated.server.ip(), service_port: translated.server.port, masked: translation.is_masked() };
            self.put(&side(&original, Role::Client), &real, shared);
            self.look_up(original.server.ip(), true, shared);
        }
        if translation.is_masked() {
            let real = RealEnd { address: original.client.ip(), service_port: translated.server.port, masked: true };
            self.put(&side(&translated, Role::Server), &real, shared);
            self.look_up(translated.client.ip(), false, shared);
        }
    }

    pub fn closed(&mut self, translation: &Translation, shared: &Shared) {
        let (original, translated) = (translation.original, translation.translated);
        if translation.is_redirected() {
            self.remove(&side(&original, Role::Client), original.server.ip(), shared);
        }
        if translation.is_masked() {
            self.remove(&side(&translated, Role::Server), translated.client.ip(), shared);
        }
    }

    fn put(&self, side: &SocketSide, real: &RealEnd, shared: &Shared) {
        if let Some(translator) = &self.translator {
            tell(shared, translator.put(side, real));
        }
    }

    fn remove(&mut self, side: &SocketSide, address: IpAddr, shared: &Shared) {
        if let Some(reason) = self.addresses.get_mut(&address) {
            reason.live = reason.live.saturating_sub(1);
        }
        if let Some(translator) = &self.translator {
            tell(shared, translator.remove(side).map(|()| true));
        }
    }

    fn look_up(&mut self, address: IpAddr, is_virtual: bool, shared: &Shared) {
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            self.make_room(shared);
        }
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&address) {
            shared.lose("nat_addresses_full", 1);
            return;
        }
        if !self.addresses.contains_key(&address) {
            self.new.insert(address);
        }
        let reason = self.addresses.entry(address).or_default();
        let before = *reason;
        reason.is_virtual |= is_virtual;
        reason.is_mask |= !is_virtual;
        reason.live = reason.live.saturating_add(1);
        let is_told = (before.is_virtual, before.is_mask) == (reason.is_virtual, reason.is_mask);
        if let Some(translator) = self.translator.as_ref().filter(|_| !is_told) {
            tell(shared, translator.put_address(address, reason.is_virtual, reason.is_mask));
        }
    }

    /// Forgets addresses of which no connection is left.
    fn make_room(&mut self, shared: &Shared) {
        let idle: Vec<IpAddr> = self.addresses.iter().filter(|(_, reason)| reason.live == 0).map(|(address, _)| *address).collect();
        for address in idle {
            self.addresses.remove(&address);
            if let Some(translator) = &self.translator {
                tell(shared, translator.remove_address(address).map(|()| true));
            }
        }
    }
}

/// Where the kernel side has no room or refuses, the observer's table still knows: its flows are by connection then.
fn tell(shared: &Shared, told: Result<bool, ProbeError>) {
    match told {
        Ok(true) => {}
        Ok(false) => shared.lose("nat_kernel_full", 1),
        Err(error) => {
            tracing::debug!(%error, "the kernel side cannot be told of a translation");
            shared.lose("nat_kernel_refused", 1);
        }
    }
}

fn side(connection: &Connection, role: Role) -> SocketSide {
    SocketSide {
        role,
        protocol: if connection.is_udp { Protocol::Udp } else { Protocol::Tcp },
        client: SocketAddr::new(connection.client.ip(), connection.client.port),
        server: SocketAddr::new(connection.server.ip(), connection.server.port),
    }
}
