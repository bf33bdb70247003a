//! Packets and captures made by hand.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use edgescope_replay::capture::Packet;
use edgescope_replay::report::{TcpReport, UdpReport};
use edgescope_replay::{CaptureReport, Replay, Report, Settings};
use std::ops::ControlFlow;

pub const FIN: u8 = 1;
pub const SYN: u8 = 2;
pub const RST: u8 = 4;
pub const ACK: u8 = 16;

/// Where stories begin, in milliseconds since 1970: any day will do.
const BEGIN_MS: u64 = 1_700_000_000_000;
const CLIENT: ([u8; 4], u16) = ([10, 0, 0, 1], 40_000);
const SERVER: ([u8; 4], u16) = ([10, 0, 0, 2], 80);

/// One TCP segment to be. Numbers count from 0 at each end's SYN.
#[derive(Debug, Clone)]
pub struct Seg {
    pub from_client: bool,
    pub flags: u8,
    pub seq: u32,
    pub ack: u32,
    pub len: usize,
    pub window: u16,
    pub tsval: Option<u32>,
    pub sack: Vec<(u32, u32)>,
    pub mss: Option<u16>,
    pub scale: Option<u8>,
    pub id: u16,
}

pub fn client(flags: u8, seq: u32, ack: u32, len: usize) -> Seg {
    Seg { from_client: true, flags, seq, ack, len, window: 1000, tsval: None, sack: Vec::new(), mss: None, scale: None, id: 0 }
}

pub fn server(flags: u8, seq: u32, ack: u32, len: usize) -> Seg {
    Seg { from_client: false, ..client(flags, seq, ack, len) }
}

impl Seg {
    pub fn window(self, window: u16) -> Seg {
        Seg { window, ..self }
    }

    pub fn at(self, tsval: u32) -> Seg {
        Seg { tsval: Some(tsval), ..self }
    }

    pub fn sack(self, blocks: &[(u32, u32)]) -> Seg {
        Seg { sack: blocks.to_vec(), ..self }
    }

    pub fn mss(self, mss: u16) -> Seg {
        Seg { mss: Some(mss), ..self }
    }

    pub fn id(self, id: u16) -> Seg {
        Seg { id, ..self }
    }

    /// As a packet without link layer. Sequence numbers begin just below the wrap, so that every story passes it.
    pub fn bytes(&self) -> Vec<u8> {
        const ISN: [u32; 2] = [u32::MAX - 500, u32::MAX - 20];
        let (own, other) = if self.from_client { (ISN[0], ISN[1]) } else { (ISN[1], ISN[0]) };
        let mut options = Vec::new();
        if let Some(mss) = self.mss {
            options.extend([2, 4]);
            options.extend(mss.to_be_bytes());
        }
        if let Some(scale) = self.scale {
            options.extend([3, 3, scale]);
        }
        if let Some(tsval) = self.tsval {
            options.extend([8, 10]);
            options.extend(tsval.to_be_bytes());
            options.extend([0; 4]);
        }
        if !self.sack.is_empty() {
            options.extend([5, 2 + 8 * self.sack.len() as u8]);
            for edge in self.sack.iter().flat_map(|(start, end)| [start, end]) {
                options.extend(other.wrapping_add(*edge).to_be_bytes());
            }
        }
        options.resize(options.len().div_ceil(4) * 4, 1);
        let (source, dest) = if self.from_client { (CLIENT, SERVER) } else { (SERVER, CLIENT) };
        let mut tcp = Vec::new();
        tcp.extend(source.1.to_be_bytes());
        tcp.extend(dest.1.to_be_bytes());
        tcp.extend(own.wrapping_add(self.seq).to_be_bytes());
        tcp.extend(if self.flags & ACK != 0 { other.wrapping_add(self.ack) } else { 0 }.to_be_bytes());
        tcp.push((((20 + options.len()) / 4) << 4) as u8);
        tcp.push(self.flags);
        tcp.extend(self.window.to_be_bytes());
        tcp.extend([7, 7, 0, 0]);
        tcp.extend(options);
        tcp.resize(tcp.len() + self.len, b'x');
        ipv4(6, self.id, source.0, dest.0, &tcp)
    }
}

pub fn ipv4(protocol: u8, id: u16, source: [u8; 4], dest: [u8; 4], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    // What is longer than a packet can say was captured before it was cut up.
    packet.extend(u16::try_from(20 + payload.len()).unwrap_or(0).to_be_bytes());
    packet.extend(id.to_be_bytes());
    packet.extend([0x40, 0, 64, protocol, 0, 0]);
    packet.extend(source);
    packet.extend(dest);
    packet.extend(payload);
    packet
}

/// What was made of a story.
pub struct Told {
    pub tcp: Vec<TcpReport>,
    pub udp: Vec<UdpReport>,
    pub capture: CaptureReport,
}

/// Replays packets, each with its time in milliseconds.
pub fn told_of(packets: &[(u64, Vec<u8>)], settings: &Settings) -> Told {
    let (mut tcp, mut udp) = (Vec::new(), Vec::new());
    let mut replay = Replay::new(settings, |report| {
        match report {
            Report::Tcp(report) => tcp.push(*report),
            Report::Udp(report) => udp.push(*report),
            Report::Capture(_) => unreachable!("only a file has one"),
        }
        ControlFlow::Continue(())
    });
    for (number, (at_ms, data)) in (1..).zip(packets) {
        let at_ns = (BEGIN_MS + at_ms) * 1_000_000;
        let _goes_on = replay.takes(&Packet { number, at_ns, link_type: 101, data, length: data.len(), has_time: true });
    }
    let capture = replay.finish();
    Told { tcp, udp, capture }
}

pub fn told(story: &[(u64, Seg)]) -> Told {
    let packets: Vec<_> = story.iter().map(|(at, segment)| (*at, segment.bytes())).collect();
    told_of(&packets, &Settings::default())
}

/// The only connection of a story.
pub fn only(story: &[(u64, Seg)]) -> TcpReport {
    let mut told = told(story);
    assert_eq!(told.tcp.len(), 1);
    told.tcp.remove(0)
}

/// A handshake that takes 10 ms, 8 of them towards the server.
pub fn handshake() -> Vec<(u64, Seg)> {
    vec![(0, client(SYN, 0, 0, 0).mss(1460)), (8, server(SYN | ACK, 0, 1, 0).mss(1460)), (10, client(ACK, 1, 1, 0))]
}

/// A handshake, then `more`.
pub fn after_handshake(more: &[(u64, Seg)]) -> Vec<(u64, Seg)> {
    handshake().into_iter().chain(more.iter().cloned()).collect()
}

/// A pcap file of packets without link layer, with times in milliseconds.
pub fn pcap(packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let words = [0xa1b2_c3d4_u32, 4 << 16 | 2, 0, 0, 65_535, 101];
    let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    for (at_ms, packet) in packets {
        let at_ms = BEGIN_MS + at_ms;
        let length = packet.len() as u32;
        let words = [(at_ms / 1000) as u32, (at_ms % 1000 * 1000) as u32, length, length];
        file.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        file.extend(packet);
    }
    file
}

/// A pcapng block of the sender's byte order.
pub fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let padded = body.len().div_ceil(4) * 4;
    let length = (12 + padded) as u32;
    let mut out = [kind.to_le_bytes(), length.to_le_bytes()].concat();
    out.extend(body);
    out.resize(8 + padded, 0);
    out.extend(length.to_le_bytes());
    out
}

/// A pcapng file of the same, with nanoseconds; every other packet in the obsolete block.
pub fn pcapng(packets: &[(u64, Vec<u8>)]) -> Vec<u8> {
    let section = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    let mut file = block(0x0a0d_0d0a, &section);
    // Nanoseconds.
    file.extend(block(1, &[&[101, 0, 0, 0, 0, 0, 0, 0][..], &[9, 0, 1, 0, 9, 0, 0, 0], &[0; 4]].concat()));
    for (place, (at_ms, packet)) in packets.iter().enumerate() {
        let at = (1_700_000_000_000 + at_ms) * 1_000_000;
        let length = packet.len() as u32;
        let (high, low) = ((at >> 32) as u32, at as u32);
        let body = |first: u32| {
            [first, high, low, length, length].map(u32::to_le_bytes).concat().into_iter().chain(packet.iter().copied()).collect::<Vec<_>>()
        };
        // The obsolete block among them.
        file.extend(block(if place % 2 == 0 { 6 } else { 2 }, &body(0)));
    }
    file
}
