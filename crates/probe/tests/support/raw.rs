//! TCP segments as nobody's socket sends them: what a port scan, a stale connection or an attacker does.
#![allow(dead_code, clippy::unwrap_used)]

use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::Namespace;

pub const SYN: u8 = 2;
pub const ACK: u8 = 16;
const PROTOCOL: i32 = libc::IPPROTO_TCP;
const CHECKSUM_AT: usize = 16;

/// One segment from `from` to `to` without data; the checksum is right.
#[derive(Clone, Copy)]
pub struct Segment {
    pub from: SocketAddr,
    pub to: SocketAddr,
    pub sequence: u32,
    pub flags: u8,
}

impl Namespace {
    /// Sends segments from here.
    pub fn inject(&self, segments: Vec<Segment>) {
        self.run(move || segments.iter().for_each(send));
    }
}

fn send(segment: &Segment) {
    let bytes = header(segment);
    let domain = if segment.to.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: a new socket, owned here; names and options are valid and of the given sizes.
    unsafe {
        let socket = OwnedFd::from_raw_fd(libc::socket(domain, libc::SOCK_RAW, PROTOCOL));
        let sent = match segment.to.ip() {
            IpAddr::V4(ip) => {
                let mut name: libc::sockaddr_in = std::mem::zeroed();
                name.sin_family = domain as u16;
                name.sin_addr.s_addr = u32::from(ip).to_be();
                libc::sendto(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0, (&raw const name).cast(), size_of_val(&name) as u32)
            }
            IpAddr::V6(ip) => {
                let mut name: libc::sockaddr_in6 = std::mem::zeroed();
                name.sin6_family = domain as u16;
                name.sin6_addr.s6_addr = ip.octets();
                libc::sendto(socket.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0, (&raw const name).cast(), size_of_val(&name) as u32)
            }
        };
        assert_eq!(sent, bytes.len() as isize, "{}", std::io::Error::last_os_error());
    }
}

fn header(segment: &Segment) -> [u8; 20] {
    let mut header = [0; 20];
    header[..2].copy_from_slice(&segment.from.port().to_be_bytes());
    header[2..4].copy_from_slice(&segment.to.port().to_be_bytes());
    header[4..8].copy_from_slice(&segment.sequence.to_be_bytes());
    header[12] = 5 << 4;
    header[13] = segment.flags;
    header[14..16].copy_from_slice(&1000u16.to_be_bytes());
    let mut covered = Vec::new();
    for ip in [segment.from.ip(), segment.to.ip()] {
        match ip {
            IpAddr::V4(ip) => covered.extend(ip.octets()),
            IpAddr::V6(ip) => covered.extend(ip.octets()),
        }
    }
    covered.extend([0, PROTOCOL as u8, 0, header.len() as u8]);
    covered.extend(header);
    let mut sum: u32 = covered.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    while sum >> 16 > 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    header[CHECKSUM_AT..][..2].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    header
}
