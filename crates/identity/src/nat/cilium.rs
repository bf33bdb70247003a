//! What Cilium translates, by the documented layout of its pinned tables: entries as bytes in, [`Translation`]s out. Pure. Written from the layout alone and tested with
//! tables of our own: **not tested with a running Cilium**.
//!
//! Three kinds of tables, each for IPv4 and IPv6. A **tracked** connection that was sent to a service's backend carries the number of the service; **services** gives the
//! address that has this number; **masked** connections leave the node under another address. With socket load-balancing a socket has its backend's address from the
//! start: then tracked connections carry no number, and there is nothing to undo. Ports and addresses are in network order.

use super::{Connection, Door, Translation};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Flags of a connection's key: it goes out, comes in, belongs to another, or is that of a client with the service itself.
const OUT: u8 = 0;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// A kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Services,
    Tracked,
    Masked,
}

/// A table, by the name under which it is pinned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    pub name: &'static str,
    pub kind: Kind,
    pub is_ipv6: bool,
}

/// Services first: the others are read by them.
pub const TABLES: [Layout; 8] = [
    Layout { name: "cilium_lb4_reverse_nat", kind: Kind::Services, is_ipv6: false },
    Layout { name: "cilium_lb6_reverse_nat", kind: Kind::Services, is_ipv6: true },
    Layout { name: "cilium_ct4_global", kind: Kind::Tracked, is_ipv6: false },
    Layout { name: "cilium_ct_any4_global", kind: Kind::Tracked, is_ipv6: false },
    Layout { name: "cilium_ct6_global", kind: Kind::Tracked, is_ipv6: true },
    Layout { name: "cilium_ct_any6_global", kind: Kind::Tracked, is_ipv6: true },
    Layout { name: "cilium_snat_v4_external", kind: Kind::Masked, is_ipv6: false },
    Layout { name: "cilium_snat_v6_external", kind: Kind::Masked, is_ipv6: true },
];

impl Layout {
    /// Bytes of a key and of a value, as Cilium has had them since version 1.8.
    pub fn sizes(&self) -> (usize, usize) {
        let address = self.address_bytes();
        match self.kind {
            // A number; address and port.
            Kind::Services => (2, address + 2),
            // Two addresses, two ports, protocol, flags; counters, times and the service's number.
            Kind::Tracked => (2 * address + 6, 56),
            // The same key; 32 bytes of Cilium's own, then the other address and port, filled up to 8.
            Kind::Masked => (2 * address + 6, (32 + address + 2usize).next_multiple_of(8)),
        }
    }

    fn address_bytes(&self) -> usize {
        if self.is_ipv6 { 16 } else { 4 }
    }
}

/// Addresses of services by number, as one pass over the tables found them.
#[derive(Debug, Default)]
pub struct Services(HashMap<(bool, u16), Door>);

impl Services {
    /// Takes an entry of a table of [`Kind::Services`]; false if it has another size.
    pub fn take(&mut self, layout: &Layout, key: &[u8], value: &[u8]) -> bool {
        let number = port_at(key, 0);
        let door = door_at(layout, value, 0, layout.address_bytes());
        let (Some(number), Some(door)) = (number, door) else { return false };
        self.0.insert((layout.is_ipv6, number), door);
        true
    }
}

/// The translation that an entry of one of the other tables tells of; `None` if it is of another kind of connection, translates nothing, or has another size.
pub fn translation(layout: &Layout, key: &[u8], value: &[u8], services: &Services) -> Option<Translation> {
    if layout.kind == Kind::Services || (key.len(), value.len()) != layout.sizes() {
        return None;
    }
    let address = layout.address_bytes();
    let (ports, protocol, flags) = (2 * address, key[2 * address + 4], key[2 * address + 5]);
    let is_udp = match protocol {
        TCP => false,
        UDP => true,
        _ => return None,
    };
    if flags != OUT {
        return None;
    }
    let door = |ip, port| door_at(layout, key, ip, port);
    let (original, translated) = match layout.kind {
        Kind::Services => return None,
        // Addresses are as the answers have them: client, server; ports as the questions: server, client.
        Kind::Tracked => {
            let (client, server) = (door(0, ports + 2)?, door(address, ports)?);
            let number = port_at(value, 38)?;
            let service = *services.0.get(&(layout.is_ipv6, number))?;
            (Connection { client, server: service, is_udp }, Connection { client, server, is_udp })
        }
        // All as the questions have it: server, client.
        Kind::Masked => {
            let (server, client) = (door(0, ports)?, door(address, ports + 2)?);
            let mask = door_at(layout, value, 32, 32 + address)?;
            (Connection { client, server, is_udp }, Connection { client: mask, server, is_udp })
        }
    };
    let is_whole = [&original, &translated].iter().all(|one| one.client.port != 0 && one.server.port != 0);
    (is_whole && original != translated).then_some(Translation { original, translated })
}

fn port_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn door_at(layout: &Layout, bytes: &[u8], ip: usize, port: usize) -> Option<Door> {
    let raw = bytes.get(ip..ip + layout.address_bytes())?;
    let ip: IpAddr =
        if layout.is_ipv6 { Ipv6Addr::from(<[u8; 16]>::try_from(raw).ok()?).into() } else { Ipv4Addr::from(<[u8; 4]>::try_from(raw).ok()?).into() };
    Some(Door::new(ip, port_at(bytes, port)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(name: &str) -> Layout {
        TABLES.into_iter().find(|layout| layout.name == name).unwrap()
    }

    fn bytes(ip: &str) -> Vec<u8> {
        match ip.parse().unwrap() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        }
    }

    fn key(addresses: [&str; 2], ports: [u16; 2], protocol: u8, flags: u8) -> Vec<u8> {
        let ports = ports.map(u16::to_be_bytes).concat();
        [bytes(addresses[0]), bytes(addresses[1]), ports, vec![protocol, flags]].concat()
    }

    fn door(ip: &str, port: u16) -> Door {
        Door::new(ip.parse().unwrap(), port)
    }

    /// The value of a tracked connection of the service with this number.
    fn tracked(number: u16) -> Vec<u8> {
        let mut value = vec![0xee; 56];
        value[38..40].copy_from_slice(&number.to_be_bytes());
        value
    }

    #[test]
    fn sizes_are_those_of_the_documented_structs() {
        let sizes: Vec<(&str, (usize, usize))> = TABLES.iter().map(|layout| (layout.name, layout.sizes())).collect();
        let expected = [
            ("cilium_lb4_reverse_nat", (2, 6)),
            ("cilium_lb6_reverse_nat", (2, 18)),
            ("cilium_ct4_global", (14, 56)),
            ("cilium_ct_any4_global", (14, 56)),
            ("cilium_ct6_global", (38, 56)),
            ("cilium_ct_any6_global", (38, 56)),
            ("cilium_snat_v4_external", (14, 40)),
            ("cilium_snat_v6_external", (38, 56)),
        ];
        assert_eq!(sizes, expected);
    }

    #[test]
    fn a_connection_that_went_to_a_backend_is_told_with_its_service() {
        for (is_ipv6, [client, backend, service], protocol, table) in [
            (false, ["10.0.1.5", "10.0.2.7", "10.96.0.1"], TCP, "cilium_ct4_global"),
            (true, ["fd00:1::5", "fd00:2::7", "fd00:96::1"], UDP, "cilium_ct_any6_global"),
        ] {
            let mut services = Services::default();
            let of = layout(if is_ipv6 { "cilium_lb6_reverse_nat" } else { "cilium_lb4_reverse_nat" });
            assert!(services.take(&of, &7u16.to_be_bytes(), &[bytes(service), vec![0, 80]].concat()));
            let key = key([client, backend], [8_080, 40_000], protocol, OUT);
            let told = translation(&layout(table), &key, &tracked(7), &services).unwrap();
            let is_udp = protocol == UDP;
            let connection = |server| Connection { client: door(client, 40_000), server, is_udp };
            assert_eq!(told, Translation { original: connection(door(service, 80)), translated: connection(door(backend, 8_080)) });
            assert_eq!(translation(&layout(table), &key, &tracked(0), &services), None, "of no service: the socket has its backend's address");
        }
    }

    #[test]
    fn a_masked_connection_is_told_with_its_mask() {
        for (table, [client, server, node]) in [
            ("cilium_snat_v4_external", ["10.0.1.5", "198.51.100.7", "192.0.2.1"]),
            ("cilium_snat_v6_external", ["fd00:1::5", "2001:db8::7", "2001:db8::1"]),
        ] {
            let layout = layout(table);
            let mut value = [vec![0xee; 32], bytes(node), 61_000u16.to_be_bytes().to_vec()].concat();
            value.resize(layout.sizes().1, 0);
            let told = |flags, protocol| translation(&layout, &key([server, client], [443, 40_000], protocol, flags), &value, &Services::default());
            let connection = |client| Connection { client, server: door(server, 443), is_udp: false };
            let expected = Translation { original: connection(door(client, 40_000)), translated: connection(door(node, 61_000)) };
            assert_eq!(told(OUT, TCP), Some(expected));
            assert_eq!((told(1, TCP), told(4, TCP), told(OUT, 1)), (None, None, None), "answers, services and other protocols are passed over");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4_000))]
        /// Any bytes of any size are read to their end; only what has the documented size tells anything.
        #[test]
        fn no_entry_is_too_strange(at in 0..TABLES.len(), key in prop::collection::vec(any::<u8>(), 0..48), value in prop::collection::vec(any::<u8>(), 0..64)) {
            let layout = TABLES[at];
            let mut services = Services::default();
            services.take(&layout, &key, &value);
            let told = translation(&layout, &key, &value, &services);
            prop_assert!(told.is_none() || (key.len(), value.len()) == layout.sizes());
        }
    }
}
