//! Addresses: their wire form, and what kind of address one is.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Prefix lengths by which unnamed public peers are grouped.
const PREFIX_V4_BITS: u8 = 24;
const PREFIX_V6_BITS: u8 = 48;

/// Reads 4 or 16 bytes in network order; a mapped `::ffff:a.b.c.d` is IPv4.
pub fn from_bytes(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?))),
        16 => Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical()),
        _ => None,
    }
}

/// The wire form: 4 or 16 bytes in network order.
pub fn to_bytes(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// Addresses that mean another thing on every node: loopback, link-local, unspecified. Only the agent that speaks of one knows whose it is.
pub fn is_node_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local() || v4.is_unspecified(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local() || v6.is_unspecified(),
    }
}

/// Addresses of many hosts at once: multicast, and IPv4's broadcast to all on the link. A network's own broadcast address cannot be told without its mask.
pub fn is_group(address: IpAddr) -> bool {
    address.is_multicast() || matches!(address, IpAddr::V4(v4) if v4.is_broadcast())
}

/// Addresses that are not routed on the Internet: RFC 1918, RFC 6598 (carrier NAT), unique local, multicast, and the node-local ones.
pub fn is_private(address: IpAddr) -> bool {
    is_node_local(address)
        || is_group(address)
        || match address {
            IpAddr::V4(v4) => v4.is_private() || (v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64),
            IpAddr::V6(v6) => v6.is_unique_local(),
        }
}

/// The prefix that stands for an unnamed public peer: `198.51.100.0/24`, `2001:db8:1::/48`.
pub fn prefix_of(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{}/{PREFIX_V4_BITS}", Ipv4Addr::new(a, b, c, 0))
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/{PREFIX_V6_BITS}", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn wire_form_goes_both_ways_and_mapped_is_v4() {
        for text in ["10.1.2.3", "2001:db8::7"] {
            assert_eq!(from_bytes(&to_bytes(ip(text))), Some(ip(text)));
        }
        assert_eq!(from_bytes(&Ipv4Addr::new(10, 1, 2, 3).to_ipv6_mapped().octets()), Some(ip("10.1.2.3")));
        assert_eq!(from_bytes(&[1, 2, 3]), None);
    }

    #[test]
    fn kinds() {
        for text in ["10.0.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "127.0.0.1", "::1", "fe80::1", "fd00::1", "169.254.1.1", "224.0.0.1"]
        {
            assert!(is_private(ip(text)), "{text}");
        }
        for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "198.51.100.7"] {
            assert!(!is_private(ip(text)), "{text}");
        }
        assert!(is_node_local(ip("127.8.0.1")) && is_node_local(ip("::1")) && !is_node_local(ip("10.0.0.1")));
    }

    #[test]
    fn prefixes() {
        assert_eq!(prefix_of(ip("198.51.100.77")), "198.51.100.0/24");
        assert_eq!(prefix_of(ip("2001:db8:1:2::3")), "2001:db8:1::/48");
    }
}
