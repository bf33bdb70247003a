//! A million records as a map might hold them, or something else than the program that wrote them.

use edgescope_fuzz::{Campaign, Source};

use super::*;

const RECORD_BYTES_MAX: usize = size_of::<RawHistogram>() + 8;
/// A histogram's buckets, 16 bytes each, in a list that doubles and is copied as it grows; everything else is of one size.
const HEAP_BYTES_MAX: usize = 3 * 256 * 16;

fn key(source: &mut Source) -> RawKey {
    let address = |source: &mut Source| {
        let mut bytes = <[u8; 16]>::try_from(source.bytes(16)).expect("16 bytes");
        if source.one_in(2) {
            bytes[..12].copy_from_slice(b"\0\0\0\0\0\0\0\0\0\0\xff\xff");
        }
        bytes
    };
    RawKey {
        cgroup: source.number(),
        netns: source.number() as u32,
        service_port: source.number() as u16,
        client_port: source.number() as u16,
        local: address(source),
        remote: address(source),
        comm: *source.pick(&[*b"nginx\0\0\0\0\0\0\0\0\0\0\0", [0; 16], [0xff; 16], *b"sixteen bytes no\0"[..16].first_chunk().expect("16 bytes")]),
        role: source.below(4) as u8,
        flags: source.below(4) as u8,
        protocol: *source.pick(&[IPPROTO_TCP, IPPROTO_UDP, 0]),
        unused: [0; 5],
    }
}

fn histogram(source: &mut Source) -> RawHistogram {
    let mut counts = [0; BUCKETS];
    for _ in 0..source.length(BUCKETS) {
        counts[source.below(BUCKETS)] = source.number() >> source.below(64);
    }
    let stamped = |source: &mut Source| (7 << 32) | source.number() >> 32;
    RawHistogram { counts, max: [stamped(source), stamped(source)], min_inverted: [stamped(source), stamped(source)] }
}

fn record(source: &mut Source) -> Vec<u8> {
    match source.below(5) {
        0 => histogram(source).bytes().to_vec(),
        1 => RawListener {
            owner: RawOwner { cgroup: 1, comm: *b"nginx\0\0\0\0\0\0\0\0\0\0\0", tgid: 7, unused: 0 },
            netns: 3,
            port: source.number() as u32,
            local: key(source).local,
        }
        .bytes()
        .to_vec(),
        3 => {
            let length = source.length(64);
            let payload = source.bytes(length);
            let raw = RawHeard { flow: key(source), kind: source.below(4) as u32, bytes: source.below(96) as u32 };
            [raw.bytes(), &payload].concat()
        }
        2 => RawDrop { netns: 3, reason: source.number() as u32 }.bytes().to_vec(),
        _ => key(source).bytes().to_vec(),
    }
}

#[test]
fn records() {
    let mut source = Source::new(7, 7);
    let campaign = Campaign {
        decoder: "BPF records",
        corpus: (0..32).map(|_| record(&mut source)).collect(),
        heaviest: vec![RawHistogram { counts: [u64::MAX; BUCKETS], max: [u64::MAX; 2], min_inverted: [0; 2] }.bytes().to_vec()],
        dictionary: &[b"\0\0\0\0\0\0\0\0\0\0\xff\xff", &[0xff; 8], &[0; 16]],
        input_bytes_max: RECORD_BYTES_MAX,
        heap_bytes_max: HEAP_BYTES_MAX as u64,
    };
    campaign.run(record, |input| {
        assert_eq!(RawKey::from_bytes(input).is_some(), input.len() >= size_of::<RawKey>());
        if let Some(raw) = RawKey::from_bytes(input) {
            let key = FlowKey::from(&raw);
            assert!(key.comm.to_str_lossy().chars().count() <= 16);
            // What is known of a key is in its mirror: there and back is the same flow.
            assert_eq!(FlowKey::from(&RawKey::from(&key)), key);
        }
        if let Some(raw) = RawHistogram::from_bytes(input) {
            let read = raw.reading(7);
            assert!(read.buckets.len() <= BUCKETS && read.buckets.iter().all(|(bucket, count)| usize::from(*bucket) < BUCKETS && *count > 0));
            assert!(raw.reading(6).buckets == read.buckets);
        }
        if let Some(raw) = RawListener::from_bytes(input) {
            let listener = Listener::from(&raw);
            assert!(listener.addr.is_none_or(|address| !address.is_unspecified()));
        }
        if let Some(heard) = Heard::from_record(input) {
            assert!(heard.payload.len() + size_of::<RawHeard>() <= input.len());
        }
        if let Some(raw) = RawDrop::from_bytes(input) {
            assert_eq!(raw.bytes(), &input[..size_of::<RawDrop>()]);
        }
        RawControl::from_bytes(input).is_some()
            || RawTally::from_bytes(input).is_some()
            || Losses::from_bytes(input).is_some()
            || Counters::from_bytes(input).is_some()
    });
}
