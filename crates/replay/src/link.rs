//! From what a link carries to the IP packet in it.

/// Tags before the packet that are looked through: 802.1Q within 802.1ad, and some more.
const TAGS_MAX: usize = 4;

const ETHERNET_HEADER: usize = 14;
const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_IPV6: u16 = 0x86dd;

/// What was found in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// An IP packet begins so many bytes into the frame.
    Ip(usize),
    /// Something that is not IP: ARP, LLDP, …
    NotIp,
    /// A tunnel below IP, by its name.
    Tunnel(&'static str),
    /// A link type that is not read.
    Unknown,
    /// Too little was captured.
    Cut,
}

/// Looks through the link layer; the numbers are `LINKTYPE_…` of tcpdump.org.
pub fn read(link_type: u16, data: &[u8]) -> Link {
    match link_type {
        // Loopback of BSD (host's or network's byte order): a word that says the family; the packet's own version says it again.
        0 | 108 => Link::Ip(4),
        1 => word(data, 12).map_or(Link::Cut, |kind| by_ethertype(data, kind, ETHERNET_HEADER)),
        // Raw IP, also under the numbers that systems use for it.
        12 | 14 | 101 | 228 | 229 => Link::Ip(0),
        // Linux "cooked": protocol at the end of version 1's header, at the beginning of version 2's.
        113 => word(data, 14).map_or(Link::Cut, |kind| by_ethertype(data, kind, 16)),
        276 => word(data, 0).map_or(Link::Cut, |kind| by_ethertype(data, kind, 20)),
        _ => Link::Unknown,
    }
}

fn by_ethertype(data: &[u8], mut kind: u16, mut at: usize) -> Link {
    for _ in 0..=TAGS_MAX {
        match kind {
            ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => return Link::Ip(at),
            0x8100 | 0x88a8 | 0x9100 | 0x9200 => match word(data, at + 2) {
                Some(inner) => (kind, at) = (inner, at + 4),
                None => return Link::Cut,
            },
            0x8847 | 0x8848 => return Link::Tunnel("mpls"),
            0x8863 | 0x8864 => return Link::Tunnel("pppoe"),
            0x88e7 => return Link::Tunnel("provider backbone bridge"),
            _ => return Link::NotIp,
        }
    }
    Link::NotIp
}

fn word(data: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*data.get(at)?, *data.get(at + 1)?]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(ends_with: &[u8]) -> Vec<u8> {
        [&[0; 12], ends_with].concat()
    }

    #[test]
    fn the_packet_is_found_behind_every_link() {
        assert_eq!(read(1, &frame(&[0x08, 0x00])), Link::Ip(14));
        assert_eq!(read(1, &frame(&[0x81, 0x00, 0, 7, 0x86, 0xdd])), Link::Ip(18), "a VLAN");
        assert_eq!(read(1, &frame(&[0x88, 0xa8, 0, 7, 0x81, 0x00, 0, 8, 0x08, 0x00])), Link::Ip(22), "a VLAN in a VLAN");
        assert_eq!(read(1, &frame(&[0x81, 0x00, 0])), Link::Cut);
        assert_eq!(read(1, &frame(&[0x81, 0x00, 0x81, 0x00].repeat(20))), Link::NotIp, "tags without end");
        assert_eq!(read(1, &frame(&[0x08, 0x06])), Link::NotIp, "ARP");
        assert_eq!(read(1, &frame(&[0x88, 0x47])), Link::Tunnel("mpls"));
        assert_eq!(read(113, &[[0; 14].as_slice(), &[0x08, 0x00]].concat()), Link::Ip(16));
        assert_eq!(read(276, &[0x86, 0xdd]), Link::Ip(20));
        assert_eq!((read(0, &[]), read(101, &[]), read(105, &[])), (Link::Ip(4), Link::Ip(0), Link::Unknown));
    }
}
