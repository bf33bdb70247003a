//! Tells the kernel side which connections are translated on their way, and where to.

use std::net::{IpAddr, SocketAddr};

use libbpf_rs::MapHandle;

use crate::layout::{Plain, RawConnection, RawRealEnd, address_bytes, protocol_number, role_number};
use crate::maps::{self, Maps};
use crate::scope::{FOR_CLIENTS, FOR_SERVERS, TRANSLATORS};
use crate::{ProbeError, Protocol, Role};

/// A connection as the socket at one of its ends has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SocketSide {
    pub role: Role,
    pub protocol: Protocol,
    pub client: SocketAddr,
    pub server: SocketAddr,
}

/// The far end that a socket really talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RealEnd {
    pub address: IpAddr,
    /// Where the server serves: its own port for a socket of the server.
    pub service_port: u16,
    /// The far end sees another address than the socket's own.
    pub masked: bool,
}

/// Writes translations into the kernel's maps. What it is told counts from the next look at a socket's flow on.
#[derive(Debug)]
pub struct Translator {
    split: MapHandle,
    translations: MapHandle,
}

impl Translator {
    pub(crate) fn new(maps: &Maps) -> Result<Self, ProbeError> {
        let shared = |map: &MapHandle| MapHandle::try_from(map).map_err(|error| ProbeError::Load(error.to_string()));
        Ok(Self { split: shared(&maps.split)?, translations: shared(&maps.translations)? })
    }

    /// Puts a connection in; false if there is no room.
    ///
    /// # Errors
    /// If the kernel refuses for another reason.
    pub fn put(&self, side: &SocketSide, real: &RealEnd) -> Result<bool, ProbeError> {
        let real =
            RawRealEnd { address: address_bytes(real.address), service_port: real.service_port, masked: u8::from(real.masked), unused: [0; 5] };
        maps::has_room(maps::put(&self.translations, "translations", RawConnection::from(side).bytes(), real.bytes()))
    }

    /// Takes a connection out; that it is not there is no error.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove(&self, side: &SocketSide) -> Result<(), ProbeError> {
        maps::delete(&self.translations, "translations", RawConnection::from(side).bytes())
    }

    /// From now on connections to this address are looked up (`is_virtual`), or those from it (`is_mask`), and kept apart until they are found; false if
    /// there is no room.
    ///
    /// # Errors
    /// If the kernel refuses for another reason.
    pub fn put_address(&self, address: IpAddr, is_virtual: bool, is_mask: bool) -> Result<bool, ProbeError> {
        let whose = TRANSLATORS | if is_virtual { FOR_CLIENTS } else { 0 } | if is_mask { FOR_SERVERS } else { 0 };
        maps::has_room(maps::put(&self.split, "split", &address_bytes(address), &whose.to_ne_bytes()))
    }

    /// Takes an address out.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove_address(&self, address: IpAddr) -> Result<(), ProbeError> {
        maps::delete(&self.split, "split", &address_bytes(address))
    }

    /// Takes out all connections that this or an earlier process has put in.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn clear_connections(&self) -> Result<(), ProbeError> {
        let mut sides = Vec::new();
        maps::for_each(&self.translations, "translations", |key, _| sides.push(key.to_vec()))?;
        sides.iter().try_for_each(|key| maps::delete(&self.translations, "translations", key))
    }

    /// Takes out all connections and addresses.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn clear(&self) -> Result<(), ProbeError> {
        self.clear_connections()?;
        let mut addresses = Vec::new();
        maps::for_each(&self.split, "split", |key, value| {
            if u32::from_ne_bytes(value.try_into().unwrap_or_default()) & TRANSLATORS != 0 {
                addresses.push(key.to_vec());
            }
        })?;
        addresses.iter().try_for_each(|key| maps::delete(&self.split, "split", key))
    }
}

impl From<&SocketSide> for RawConnection {
    fn from(side: &SocketSide) -> Self {
        Self {
            client: address_bytes(side.client.ip()),
            server: address_bytes(side.server.ip()),
            client_port: side.client.port(),
            server_port: side.server.port(),
            role: role_number(side.role),
            protocol: protocol_number(side.protocol),
            unused: [0; 2],
        }
    }
}
