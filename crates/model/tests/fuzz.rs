//! A million hostile messages of the wire, as many cells of a histogram, and as many times as people write them.

use edgescope_fuzz::{Campaign, Source, hex_lines};
use edgescope_model::codec::{HEAP_PER_BYTE_MAX, read};
use edgescope_model::histogram::Histogram;
use edgescope_model::time::{from_seconds, parse_duration, parse_time};
use edgescope_model::wire::{Batch, Drops, Endpoint, HelloRequest, Measure, Observation, Owner, Question, Translation};
use prost::Message;

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/wire.txt");
const BYTES_MAX: usize = 8192;
const WORDS: [&[u8]; 10] = [
    b"\x32\x00",
    b"\x42\x04\x4a\x00\x52\x00",
    b"\x0a\x04node",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    b"\xff\xff\xff\xff\x0f",
    b"\x1a\x08\x80\x80\x80\x80\x80\x80\x80\x80",
    b"\x0b\x0c",
    b"\x4a\x05\x0a\x01a\x10\x01",
    b"\x12\x10\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x01",
    b"\x80",
];

fn text(source: &mut Source) -> String {
    (*source.pick(&["", "cart", "shop", "node-1", "zone-a", "é\u{202e}<b>", "a-name-that-is-quite-a-lot-longer-than-most-names-are"])).to_owned()
}

fn measure(source: &mut Source) -> Measure {
    let buckets = source.length(30);
    let number = |source: &mut Source| source.number() >> source.below(64);
    Measure {
        signal: source.below(80) as u32,
        value: number(source),
        buckets: (0..buckets).map(|_| number(source) as u32).collect(),
        counts: (0..buckets + source.below(2)).map(|_| number(source)).collect(),
    }
}

fn owner(source: &mut Source) -> Owner {
    Owner {
        workload: text(source),
        namespace: text(source),
        pod: text(source),
        node: text(source),
        resolution_type: text(source),
        ..Owner::default()
    }
}

fn address(source: &mut Source) -> Vec<u8> {
    let length = *source.pick(&[0, 4, 16, 16, 16, 17]);
    source.bytes(length)
}

fn endpoint(source: &mut Source) -> Endpoint {
    Endpoint {
        address: address(source),
        port: source.number() as u32,
        owner: source.below(5) as u32,
        from_us: source.number() as i64,
        ..Endpoint::default()
    }
}

fn observation(source: &mut Source) -> Observation {
    Observation {
        owner: source.below(5) as u32,
        local_address: address(source),
        remote_address: address(source),
        service_port: source.below(70_000) as u32,
        role: source.below(4) as i32,
        protocol: source.below(4) as i32,
        sent: (0..source.length(8)).map(|_| measure(source)).collect(),
        received: (0..source.length(4)).map(|_| measure(source)).collect(),
        far_name: text(source),
        far_name_heard: source.below(4) as i32,
        ..Observation::default()
    }
}

fn translation(source: &mut Source) -> Translation {
    Translation {
        client_address: address(source),
        server_address: address(source),
        server_port: source.below(70_000) as u32,
        ..Translation::default()
    }
}

fn question(source: &mut Source) -> Question {
    Question {
        owner: source.below(5) as u32,
        name: text(source),
        answers: source.number(),
        nxdomain: source.number(),
        failures: source.below(9) as u64,
    }
}

fn batch(source: &mut Source) -> Batch {
    Batch {
        agent_id: text(source),
        sequence: source.number(),
        window_start_us: source.number() as i64,
        owners: (0..source.length(6)).map(|_| owner(source)).collect(),
        endpoints: (0..source.length(6)).map(|_| endpoint(source)).collect(),
        observations: (0..source.length(8)).map(|_| observation(source)).collect(),
        losses: (0..source.length(3)).map(|_| (text(source), source.number())).collect(),
        drops: (0..source.length(3)).map(|_| Drops { reason: text(source), count: source.number() }).collect(),
        translations: (0..source.length(4)).map(|_| translation(source)).collect(),
        questions: (0..source.length(4)).map(|_| question(source)).collect(),
        ..Batch::default()
    }
}

fn campaign<'a>(decoder: &'a str, kind: &str, heaviest: Vec<Vec<u8>>) -> Campaign<'a> {
    Campaign {
        decoder,
        corpus: hex_lines(CORPUS).into_iter().filter(|(name, _)| name.starts_with(kind)).map(|(_, bytes)| bytes).collect(),
        heaviest,
        dictionary: &WORDS,
        input_bytes_max: BYTES_MAX,
        heap_bytes_max: (BYTES_MAX * HEAP_PER_BYTE_MAX) as u64,
    }
}

#[test]
fn batches() {
    let hollow = [&b"\x42\xfe\x3f"[..], &b"\x4a\x00".repeat(4095)].concat();
    let heaviest = vec![b"\x32\x00".repeat(BYTES_MAX / 2), b"\x42\x00".repeat(BYTES_MAX / 2), b"\x3a\x00".repeat(BYTES_MAX / 2), hollow];
    campaign("batches", "batch", heaviest).run(
        |source| batch(source).encode_to_vec(),
        |input| {
            let Ok(batch) = read::<Batch>(input) else { return false };
            // What was read is written and read again as the same.
            assert_eq!(read::<Batch>(&batch.encode_to_vec()).ok().as_ref(), Some(&batch));
            !batch.observations.is_empty()
        },
    );
}

#[test]
fn hellos() {
    let hello = |source: &mut Source| HelloRequest {
        agent_id: text(source),
        boot_id: text(source),
        hooks: (0..source.length(6)).map(|_| text(source)).collect(),
        owners: (0..source.length(6)).map(|_| owner(source)).collect(),
        endpoints: (0..source.length(12)).map(|_| endpoint(source)).collect(),
        ..HelloRequest::default()
    };
    campaign("hellos", "hello", vec![b"\x52\x00".repeat(BYTES_MAX / 2), b"\x5a\x00".repeat(BYTES_MAX / 2)])
        .run(|source| hello(source).encode_to_vec(), |input| read::<HelloRequest>(input).is_ok_and(|hello| !hello.agent_id.is_empty()));
}

#[test]
fn histograms() {
    let cells = Campaign { input_bytes_max: 4096, heap_bytes_max: 64 * 1024, ..campaign("histograms", "histogram", vec![b"\x01\x01".repeat(2048)]) };
    let generate = |source: &mut Source| {
        let mut histogram = Histogram::default();
        for _ in 0..source.length(40) {
            histogram.record(source.number() >> source.below(64));
        }
        histogram.to_bytes()
    };
    cells.run(generate, |input| {
        let Some(histogram) = Histogram::from_bytes(input) else { return false };
        assert_eq!(Histogram::from_bytes(&histogram.to_bytes()).as_ref(), Some(&histogram));
        let _ = (histogram.quantile(0.5), histogram.count());
        histogram.count() > 0
    });
}

#[test]
fn times() {
    let words: [&[u8]; 12] = [
        b"-",
        b"now",
        b"ms",
        b"d",
        b"9223372036854775807",
        b"-1h",
        b"2026-01-31T14:02:30Z",
        b"+14:00",
        b"T",
        b"0000",
        b"99999999",
        "\u{661}".as_bytes(),
    ];
    let campaign = Campaign {
        decoder: "times",
        corpus: [&b"now"[..], b"-15m", b"-2h", b"500ms", b"2026-01-31T14:02:30.5+01:00", b"-106751991167d"].map(<[u8]>::to_vec).to_vec(),
        heaviest: Vec::new(),
        dictionary: &words,
        input_bytes_max: 200,
        // The text in an error, in upper bounds of its formatting.
        heap_bytes_max: 4096,
    };
    let generate = |source: &mut Source| {
        let number = source.number() >> source.below(64);
        let unit = *source.pick(&["ms", "s", "m", "h", "d", "y", ""]);
        let text = match source.below(3) {
            0 => format!("-{number}{unit}"),
            1 => format!("{number}{unit}"),
            _ => format!("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z", number % 10_000, number % 14, number % 33, number % 25, number % 61, number % 62),
        };
        text.into_bytes()
    };
    let now = from_seconds(1_790_000_000);
    campaign.run(generate, |input| {
        let Ok(text) = std::str::from_utf8(input) else { return false };
        let (time, duration) = (parse_time(text, now), parse_duration(text));
        // A distance goes back, by what the same text without its sign says.
        if let (Ok(time), Some(Ok(distance))) = (&time, text.trim().strip_prefix('-').map(parse_duration)) {
            assert_eq!(now - *time, distance);
        }
        for error in [time.as_ref().err(), duration.as_ref().err()].into_iter().flatten() {
            assert!(error.to_string().starts_with("cannot read "));
        }
        time.is_ok() || duration.is_ok()
    });
}
