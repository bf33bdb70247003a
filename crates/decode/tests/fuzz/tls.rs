use edgescope_decode::Piece;
use edgescope_decode::tls::{ClientHello, HEAP_BYTES_MAX, HELLO_BYTES_MAX, Outcome};
use edgescope_fuzz::{Campaign, Source};

use crate::{corpus, is_printable, script};

const WORDS: [&[u8]; 8] =
    [b"\x16\x03\x01", b"\x01\x00", b"\x03\x03", b"\x00\x00", b"\x00\x00\x00\x09\x00\x07\x00\x00\x04shop", b"\xff\xff", b"\x20", b"\x13\x01"];

/// A ClientHello with extensions in any order, in records and packets of any size.
fn generate(source: &mut Source) -> Vec<u8> {
    let mut extensions = Vec::new();
    for _ in 0..source.below(6) {
        let data = match source.below(3) {
            0 => {
                let length = source.length(80);
                let name: Vec<u8> = b"Shop.Example-0123456789.local".iter().cycle().take(length).copied().collect();
                let entry = [&[u8::from(source.one_in(8))][..], &part(2, &name, source)].concat();
                let data = part(2, &entry, source);
                extensions.extend([0, 0]);
                data
            }
            _ => {
                extensions.extend([source.byte() & 1, source.byte()]);
                let length = source.length(1500);
                source.bytes(length)
            }
        };
        extensions.extend(part(2, &data, source));
    }
    let session = source.length(32);
    let mut body = [&[3, 3][..], &source.bytes(32)].concat();
    for (width, bytes) in [(1, source.bytes(session)), (2, source.bytes(8)), (1, vec![0])] {
        body.extend(part(width, &bytes, source));
    }
    if !source.one_in(12) {
        body.extend(part(2, &extensions, source));
    }
    let handshake = [&[1][..], &part(3, &body, source)].concat();
    let size = source.within(1, handshake.len());
    let records: Vec<u8> = handshake.chunks(size).flat_map(|record| [&[22, 3, 1][..], &part(2, record, source)].concat()).collect();
    let mut script = Vec::new();
    script::push_captured(&mut script, false, &records, source);
    script
}

/// Bytes after their length, which is now and then wrong.
fn part(width: usize, bytes: &[u8], source: &mut Source) -> Vec<u8> {
    let length = if source.one_in(100) { source.below(1 << 16) } else { bytes.len() } as u32;
    [&length.to_be_bytes()[4 - width..], bytes].concat()
}

#[test]
fn tls() {
    let of = |bytes: &[u8]| {
        let mut script = Vec::new();
        script::push(&mut script, false, Piece::Bytes(bytes));
        script
    };
    // The most that a ClientHello can make a reader keep.
    let mut heaviest = of(b"\x16\x03\x01\x40\0\x01\0\x3f\0\x03\x03");
    for _ in 0..HELLO_BYTES_MAX / 80 {
        script::push(&mut heaviest, false, Piece::Bytes(&[0; 80]));
    }
    let campaign = Campaign {
        decoder: "TLS",
        corpus: corpus("tls").iter().map(|(_, bytes)| of(bytes)).collect(),
        heaviest: vec![heaviest],
        dictionary: &WORDS,
        input_bytes_max: 16384,
        heap_bytes_max: HEAP_BYTES_MAX as u64,
    };
    campaign.run(generate, |input| {
        let mut hello = ClientHello::new();
        let outcomes: Vec<Outcome> = script::pieces(input).map(|(_, piece)| hello.feed(piece)).collect();
        let first = outcomes.iter().find(|outcome| **outcome != Outcome::More);
        assert!(first.is_none_or(|first| outcomes.last() == Some(first)), "an outcome is final");
        match first {
            Some(Outcome::Name(name)) => {
                assert!(!name.is_empty() && name.len() <= edgescope_decode::HOST_BYTES_MAX && is_printable(name) && !name.contains(['/', '@', '<']));
                true
            }
            _ => false,
        }
    });
}
