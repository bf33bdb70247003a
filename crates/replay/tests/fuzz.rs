//! A million hostile captures: none crashes the reader, hangs it, or makes it hold more than its bounds.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use edgescope_fuzz::{Campaign, Source};
use edgescope_replay::{Replay, Settings, capture, open};
use std::ops::ControlFlow;

/// Longest capture that is tried.
const INPUT_BYTES_MAX: usize = 1_500;
/// The parser's buffer, the input, and a handful of connections.
const HEAP_BYTES_MAX: u64 = 1 << 20;

/// A conversation with everything in it that the reader knows.
fn conversation() -> Vec<(u64, Vec<u8>)> {
    let story = after_handshake(&[
        (20, client(ACK, 1, 1, 60).at(7)),
        (21, client(ACK, 121, 1, 60).at(8)),
        (28, server(ACK, 1, 61, 0).sack(&[(121, 181)])),
        (40, client(ACK, 61, 1, 60).at(9)),
        (48, server(ACK, 1, 181, 30).window(0)),
        (50, client(FIN | ACK, 181, 31, 0)),
        (51, server(RST | ACK, 31, 182, 0)),
    ]);
    story.iter().map(|(at, segment)| (*at, segment.bytes())).collect()
}

fn read(file: &[u8]) -> bool {
    let (bytes, _) = open::from_reader(std::io::Cursor::new(file.to_vec()), 0).unwrap();
    let mut reports = 0;
    let mut replay = Replay::new(&Settings { connections_max: 4 }, |_| {
        reports += 1;
        ControlFlow::Continue(())
    });
    let mut packets = 0;
    capture::read(bytes, |packet| {
        packets += 1;
        replay.takes(packet)
    });
    let summary = replay.finish();
    assert_eq!(summary.packets, packets);
    assert_eq!(summary.tcp_connections + summary.udp_conversations, reports);
    packets > 0
}

/// Some of the packets in any order, as a file of any kind.
fn generate(source: &mut Source) -> Vec<u8> {
    let all = conversation();
    let packets: Vec<_> = (0..source.within(1, 8)).map(|_| source.pick(&all).clone()).collect();
    if source.one_in(2) { pcap(&packets) } else { pcapng(&packets) }
}

#[test]
fn a_million_captures() {
    let campaign = Campaign {
        decoder: "capture",
        corpus: vec![pcap(&conversation()), pcapng(&conversation())],
        heaviest: Vec::new(),
        dictionary: &[
            &[0x0a, 0x0d, 0x0d, 0x0a],
            &[0xd4, 0xc3, 0xb2, 0xa1],
            &[0xff; 4],
            &[0; 4],
            &[1, 0, 0, 0],
            &[6, 0, 0, 0],
            &[0x81, 0, 0, 1, 8, 0],
        ],
        input_bytes_max: INPUT_BYTES_MAX,
        heap_bytes_max: HEAP_BYTES_MAX,
    };
    println!("{:?}", campaign.run(generate, read));
}
