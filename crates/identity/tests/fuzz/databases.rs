use crate::mmdb;
use edgescope_fuzz::{Campaign, Source};
use edgescope_identity::networks::{HEAP_BYTES_MIN, HEAP_PER_BYTE_MAX, Networks, Source as Database};
use std::sync::Arc;

const BYTES_MAX: usize = 4096;
const WORDS: [&[u8]; 14] = [
    b"\xab\xcd\xefMaxMind.com",
    b"\x44node_count",
    b"\xcbrecord_size",
    b"\xa1\x18",
    b"\xa1\x1c",
    b"\xa1\x20",
    b"\x20\x00",
    b"\x28\x00\x00",
    b"\x38\xff\xff\xff\xff",
    b"\x1d\x04\xff",
    b"\xe1",
    b"\xc4\xff\xff\xff\xff",
    b"\x48iso_code",
    b"\x5d\x0bautonomous_system_number",
];

/// A database with a few blocks, of networks or of places, or of both at once.
fn generate(source: &mut Source) -> Vec<u8> {
    let blocks = ["8.8.8.0/24", "203.0.113.0/25", "203.0.113.128/26", "1.0.0.0/8", "2001:4860::/32", "2a00::/12"].map(|text| text.parse().unwrap());
    let mut chosen = Vec::new();
    for block in blocks {
        if source.one_in(3) {
            continue;
        }
        let name = *source.pick(&["GOOGLE", "", "Deutsche Telekom AG", "\u{202e}x", "an organization whose name is of more than twenty-nine bytes"]);
        let value = if source.one_in(2) { mmdb::asn(source.number() as u32, name) } else { mmdb::place("US", source.one_in(2).then_some("CA")) };
        chosen.push((block, value));
    }
    let kind: &str = *source.pick(&["GeoLite2-ASN", "GeoLite2-City", ""]);
    mmdb::database(kind, &chosen)
}

#[test]
fn databases() {
    let mut source = Source::new(3, 3);
    let campaign = Campaign {
        decoder: "databases",
        corpus: (0..24).map(|_| generate(&mut source)).collect(),
        heaviest: Vec::new(),
        dictionary: &WORDS,
        input_bytes_max: BYTES_MAX,
        heap_bytes_max: (HEAP_BYTES_MIN + BYTES_MAX * HEAP_PER_BYTE_MAX) as u64,
    };
    campaign.run(generate, |input| {
        let Ok(database) = Database::parse("f.mmdb", input.to_vec()) else { return false };
        let networks = Networks::new(vec![Arc::new(database)]);
        let mut found = 0;
        for address in ["8.8.8.8", "203.0.113.200", "1.2.3.4", "2001:4860:4860::8888", "2a00::1", "198.51.100.1"].map(|text| text.parse().unwrap()) {
            let outside = networks.find(address);
            let name_bytes = outside.named.as_ref().map_or(0, |hit| hit.name.len());
            let region_bytes = outside.region.as_ref().map_or(0, |(region, _)| region.len());
            assert!(name_bytes.max(region_bytes) <= edgescope_model::dims::VALUE_BYTES_MAX);
            found += usize::from(outside.named.is_some() || outside.region.is_some());
        }
        found > 0
    });
}
