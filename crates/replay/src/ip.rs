//! From an IP packet to what it carries.

use crate::segment::Segment;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Extension headers of an IPv6 packet that are looked through; real ones have two or three.
const EXTENSIONS_MAX: usize = 10;
const UDP_HEADER: usize = 8;

/// What a packet carries.
#[derive(Debug, Clone)]
pub enum Carried<'a> {
    Tcp(Segment<'a>),
    Udp(Datagram<'a>),
    /// A router or host says that what a packet asked for cannot be reached.
    Unreachable(Quoted),
    Unread(Unread),
}

/// Why a packet is not read further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// A packet within a packet; the name of the kind.
    Tunnel(&'static str),
    /// A piece of a packet.
    Fragment,
    /// Some other protocol.
    Other,
    /// Too little of it was captured.
    Cut,
    /// It contradicts itself.
    Malformed,
}

impl<'a> From<Result<Carried<'a>, Unread>> for Carried<'a> {
    fn from(read: Result<Carried<'a>, Unread>) -> Self {
        read.unwrap_or_else(Carried::Unread)
    }
}

#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    pub source: SocketAddr,
    pub dest: SocketAddr,
    /// Payload bytes on the wire.
    pub length: usize,
    /// What was captured of them.
    pub payload: &'a [u8],
}

/// The packet that an ICMP message is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    pub source: SocketAddr,
    pub dest: SocketAddr,
    pub sequence: u32,
}

/// Where an IP packet's payload lies, and between whom.
struct Header {
    source: IpAddr,
    dest: IpAddr,
    protocol: u8,
    /// Identification of IPv4; `None` for IPv6.
    id: Option<u16>,
    payload_at: usize,
    /// Payload bytes on the wire.
    payload_length: usize,
}

/// Reads a packet of which `data` was captured and which was `length` bytes long on the wire.
pub fn read(data: &[u8], length: usize) -> Carried<'_> {
    carried(data, length).into()
}

fn carried(data: &[u8], length: usize) -> Result<Carried<'_>, Unread> {
    let header = header(data, length)?;
    // What is behind the packet is padding of the link.
    let end = header.payload_at.saturating_add(header.payload_length).min(data.len());
    let payload = data.get(header.payload_at..end).ok_or(Unread::Cut)?;
    match header.protocol {
        6 => Segment::read(header.source, header.dest, header.id, payload, header.payload_length).map(Carried::Tcp),
        17 => datagram(&header, payload).map(Carried::Udp),
        1 => unreachable(payload, 3, &[4]).map(Carried::Unreachable),
        58 => unreachable(payload, 1, &[]).map(Carried::Unreachable),
        4 | 41 => Err(Unread::Tunnel("ip in ip")),
        47 => Err(Unread::Tunnel("gre")),
        50 | 51 => Err(Unread::Tunnel("ipsec")),
        115 => Err(Unread::Tunnel("l2tp")),
        _ => Err(Unread::Other),
    }
}

fn header(data: &[u8], length: usize) -> Result<Header, Unread> {
    match data.first().map(|byte| byte >> 4) {
        Some(4) => ipv4(data, length),
        Some(6) => ipv6(data, length),
        Some(_) => Err(Unread::Malformed),
        None => Err(Unread::Cut),
    }
}

fn ipv4(data: &[u8], length: usize) -> Result<Header, Unread> {
    let fixed: &[u8; 20] = data.first_chunk().ok_or(Unread::Cut)?;
    let header_length = usize::from(fixed[0] & 0xf) * 4;
    let total = match usize::from(u16::from_be_bytes([fixed[2], fixed[3]])) {
        // Captured before the network card cut a large packet up.
        0 => length,
        total => total,
    };
    if header_length < 20 || total < header_length {
        return Err(Unread::Malformed);
    }
    let fragment = u16::from_be_bytes([fixed[6], fixed[7]]);
    if fragment & 0x3fff != 0 {
        return Err(Unread::Fragment);
    }
    let address = |at: usize| Ipv4Addr::new(fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]).into();
    Ok(Header {
        source: address(12),
        dest: address(16),
        protocol: fixed[9],
        id: Some(u16::from_be_bytes([fixed[4], fixed[5]])),
        payload_at: header_length,
        payload_length: total - header_length,
    })
}

fn ipv6(data: &[u8], length: usize) -> Result<Header, Unread> {
    let fixed: &[u8; 40] = data.first_chunk().ok_or(Unread::Cut)?;
    let address = |at: usize| {
        let bytes: [u8; 16] = std::array::from_fn(|i| fixed[at + i]);
        IpAddr::from(Ipv6Addr::from(bytes))
    };
    let total = match usize::from(u16::from_be_bytes([fixed[4], fixed[5]])) {
        // A jumbogram.
        0 => length,
        payload => payload + 40,
    };
    let (mut protocol, mut at) = (fixed[6], 40);
    for _ in 0..EXTENSIONS_MAX {
        let extension = || data.get(at..at + 8).ok_or(Unread::Cut);
        match protocol {
            // Hop by hop, routing, destination, mobility, HIP, shim6.
            0 | 43 | 60 | 135 | 139 | 140 => {
                let extension = extension()?;
                (protocol, at) = (extension[0], at + 8 + usize::from(extension[1]) * 8);
            }
            44 => {
                let extension = extension()?;
                // One that is the first and the last piece is whole.
                if u16::from_be_bytes([extension[2], extension[3]]) & 0xfff9 != 0 {
                    return Err(Unread::Fragment);
                }
                (protocol, at) = (extension[0], at + 8);
            }
            59 => return Err(Unread::Other),
            _ => {
                let payload_length = total.checked_sub(at).ok_or(Unread::Malformed)?;
                return Ok(Header { source: address(8), dest: address(24), protocol, id: None, payload_at: at, payload_length });
            }
        }
    }
    Err(Unread::Malformed)
}

fn datagram<'a>(header: &Header, payload: &'a [u8]) -> Result<Datagram<'a>, Unread> {
    let Some(fixed) = payload.first_chunk::<UDP_HEADER>() else {
        return Err(if header.payload_length < UDP_HEADER { Unread::Malformed } else { Unread::Cut });
    };
    let word = |at: usize| u16::from_be_bytes([fixed[at], fixed[at + 1]]);
    let length = match usize::from(word(4)) {
        // Segmentation offload.
        0 => header.payload_length,
        length if length < UDP_HEADER || length > header.payload_length => return Err(Unread::Malformed),
        length => length,
    };
    Ok(Datagram {
        source: SocketAddr::new(header.source, word(0)),
        dest: SocketAddr::new(header.dest, word(2)),
        length: length - UDP_HEADER,
        payload: &payload[UDP_HEADER..payload.len().min(length)],
    })
}

/// Name of the tunnel whose well-known port this is.
pub fn tunnel_port(port: u16) -> Option<&'static str> {
    match port {
        4789 | 8472 => Some("vxlan"),
        6081 => Some("geneve"),
        3544 => Some("teredo"),
        2152 => Some("gtp"),
        51820 => Some("wireguard"),
        _ => None,
    }
}

/// An ICMP message of `kind` (but not of the codes given) that quotes a TCP segment.
fn unreachable(payload: &[u8], kind: u8, but_codes: &[u8]) -> Result<Quoted, Unread> {
    let head = payload.first_chunk::<8>().ok_or(Unread::Cut)?;
    if head[0] != kind || but_codes.contains(&head[1]) {
        return Err(Unread::Other);
    }
    let quoted = &payload[8..];
    let header = header(quoted, quoted.len()).map_err(|_| Unread::Other)?;
    let ports = quoted.get(header.payload_at..).and_then(|rest| rest.first_chunk::<8>()).ok_or(Unread::Other)?;
    if header.protocol != 6 {
        return Err(Unread::Other);
    }
    Ok(Quoted {
        source: SocketAddr::new(header.source, u16::from_be_bytes([ports[0], ports[1]])),
        dest: SocketAddr::new(header.dest, u16::from_be_bytes([ports[2], ports[3]])),
        sequence: u32::from_be_bytes([ports[4], ports[5], ports[6], ports[7]]),
    })
}
