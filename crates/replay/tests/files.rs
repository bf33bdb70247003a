//! Captures as files: compressed, cut, damaged.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::*;
use edgescope_replay::{Damage, Report, Settings, capture, open, replay_file};
use proptest::prelude::*;
use std::io::Write;
use std::ops::ControlFlow;

fn packets() -> Vec<(u64, Vec<u8>)> {
    let story = after_handshake(&[(20, client(ACK, 1, 1, 700)), (28, server(ACK, 1, 701, 1400)), (30, client(ACK, 701, 1401, 0))]);
    story.iter().map(|(at, segment)| (*at, segment.bytes())).collect()
}

/// What reading `file` gives: packets, bytes of the client that were acknowledged, damage.
fn read(file: &[u8]) -> (u64, Option<u64>, Option<Damage>) {
    let mut named = tempfile::NamedTempFile::new().unwrap();
    named.write_all(file).unwrap();
    let (mut count, mut bytes, mut last) = (0, None, None);
    let sink = |report| {
        match report {
            Report::Tcp(report) => bytes = report.client_to_server.bytes,
            Report::Udp(_) => {}
            Report::Capture(report) => (count, last) = (report.packets, report.damage),
        }
        ControlFlow::Continue(())
    };
    let damage = replay_file(named.path(), &Settings::default(), sink, |_| {}).unwrap();
    assert_eq!(damage, last);
    (count, bytes, damage)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn a_capture_is_found_in_its_wrapping() {
    let plain = pcap(&packets());
    for file in [plain.clone(), gzip(&plain), zstd::encode_all(&plain[..], 1).unwrap()] {
        assert_eq!(read(&file), (6, Some(700), None));
    }
    let halves = [gzip(&plain[..100]), gzip(&plain[100..])].concat();
    assert_eq!(read(&halves), (6, Some(700), None), "two streams, one behind the other");
}

#[test]
fn a_cut_capture_is_read_up_to_the_cut_and_says_where() {
    let plain = pcap(&packets());
    let (fifth, end) = (plain.len() - 2 * 16 - 1440 - 40, plain.len());
    for cut in [fifth + 3, fifth + 16, fifth + 700] {
        let damage = Damage { offset_bytes: fifth as u64, packets: 4, what: "the file ends within a packet or block".into() };
        assert_eq!(read(&plain[..cut]), (4, Some(0), Some(damage)), "cut at {cut} of {end}");
    }
    assert_eq!(read(&plain[..fifth]).0, 4, "between two packets nobody can tell");
    assert_eq!(read(&plain[..fifth]).2, None);
}

#[test]
fn a_compressed_capture_that_is_cut_gives_what_is_whole() {
    let many: Vec<_> = (0..2000).map(|i| (i, client(ACK, 1 + i as u32 * 1000, 1, 1000).bytes())).collect();
    let plain = pcap(&many);
    let whole = gzip(&plain);
    let (packets, _, damage) = read(&whole[..whole.len() / 2]);
    assert!((500..2000).contains(&packets), "{packets}");
    let damage = damage.unwrap();
    assert_eq!((damage.packets, damage.offset_bytes), (packets, 24 + packets * (16 + 1040)));
    assert!(damage.what.contains("cannot be read"), "{damage}");
}

#[test]
fn lengths_that_cannot_be_are_damage() {
    let mut plain = pcap(&packets());
    plain[24 + 8..24 + 12].copy_from_slice(&u32::MAX.to_le_bytes());
    let (packets, _, damage) = read(&plain);
    assert_eq!((packets, damage.as_ref().map(|damage| damage.offset_bytes)), (0, Some(24)));
}

#[test]
fn what_is_no_capture_is_refused_in_words() {
    for (file, says) in [(&b""[..], "empty"), (b"hello, world: this is a text", "no capture"), (b"\xd4\xc3\xb2\xa1\x02\x00", "first header")] {
        let damage = read(file).2.unwrap();
        assert!(damage.what.contains(says), "{damage}");
    }
    assert!(
        replay_file("/no/such/file".as_ref(), &Settings::default(), |_| ControlFlow::Continue(()), |_| {})
            .unwrap_err()
            .to_string()
            .contains("/no/such/file")
    );
}

#[test]
fn pcapng_is_read_with_its_old_packet_blocks() {
    let file = pcapng(&packets());
    assert_eq!(read(&file), (6, Some(700), None));
    let mut strange = block(0x0a0d_0d0a, &[&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat());
    strange.extend(block(6, &[0; 20]));
    let damage = read(&strange).2.unwrap();
    assert!(damage.what.contains("interface 0"), "{damage}");
}

fn packets_of(file: Vec<u8>) -> u64 {
    let (bytes, _) = open::from_reader(std::io::Cursor::new(file), 0).unwrap();
    let mut count = 0;
    let mut replay = edgescope_replay::Replay::new(&Settings { connections_max: 100 }, |_| ControlFlow::Continue(()));
    capture::read(bytes, |packet| {
        count += 1;
        replay.takes(packet)
    });
    replay.finish();
    count
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever is done to a capture, it is read to an end without a panic, and no packet comes from nowhere.
    #[test]
    fn damaged_captures_are_read_to_an_end(
        ng in any::<bool>(),
        wrapping in 0..3u8,
        hits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let plain = if ng { pcapng(&packets()) } else { pcap(&packets()) };
        let mut file = match wrapping {
            0 => plain,
            1 => gzip(&plain),
            _ => zstd::encode_all(&plain[..], 1).unwrap(),
        };
        for (place, value) in &hits {
            let place = place.index(file.len());
            file[place] = *value;
        }
        if let Some(cut) = cut {
            file.truncate(cut.index(file.len()));
        }
        let most = file.len().max(4_000) as u64;
        prop_assert!(packets_of(file) <= most);
    }

    /// The same for what is inside of the packets: the file is sound, they are not.
    #[test]
    fn damaged_packets_are_read_or_counted(
        hits in prop::collection::vec((0..6usize, any::<prop::sample::Index>(), any::<u8>()), 1..20),
        link_type in prop::sample::select(vec![0u32, 1, 12, 101, 108, 113, 228, 229, 276, 999]),
        cut in 0..80usize,
    ) {
        let mut damaged = packets();
        for (packet, place, value) in &hits {
            let packet = &mut damaged[*packet].1;
            let place = place.index(packet.len());
            packet[place] = *value;
        }
        damaged[3].1.truncate(cut);
        let mut file = pcap(&damaged);
        file[20..24].copy_from_slice(&link_type.to_le_bytes());
        prop_assert_eq!(packets_of(file), 6);
    }
}
