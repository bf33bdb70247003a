use edgescope_decode::dns::{ADDRESSES_MAX, ALIASES_MAX, FRAME_BYTES_MAX, Framed, HEAP_BYTES_MAX, Message, NAME_BYTES_MAX, message};
use edgescope_fuzz::{Campaign, Source};

use crate::{corpus, is_printable, script};

const WORDS: [&[u8]; 11] = [
    b"\xc0\x0c",
    b"\xc0\x00",
    b"\xff\xff",
    b"\x00\x01\x00\x01",
    b"\x00\x1c\x00\x01",
    b"\x00\x05\x00\x01",
    b"\x00\x00\x29\x04\xd0\x01\x00\x00\x00\x00\x00",
    b"\x00\x04",
    b"\x00\x10",
    b"\x3f",
    b"\x81\x80",
];

fn is_sound(message: &Message) -> bool {
    let sound =
        |name: &str| !name.is_empty() && name.len() <= NAME_BYTES_MAX && is_printable(name) && !name.bytes().any(|byte| byte.is_ascii_uppercase());
    message.addresses.len() <= ADDRESSES_MAX
        && message.aliases.len() <= ALIASES_MAX
        && message.addresses.iter().all(|it| sound(&it.name) && i32::try_from(it.ttl_s).is_ok())
        && message.aliases.iter().all(|(alias, name)| sound(alias) && sound(name))
        && message.question.iter().all(|it| sound(&it.name))
        && message.rcode < 1 << 12
}

/// A message that a server could send: compressed names, records of all kinds, counts that are now and then wrong.
fn generate(source: &mut Source) -> Vec<u8> {
    let mut out = source.bytes(2);
    let flags = (source.byte() | if source.one_in(4) { 0 } else { 0x80 }) & if source.one_in(4) { 0xff } else { 0x87 };
    out.extend([flags, source.byte()]);
    let questions = if source.one_in(6) { source.below(4) } else { 1 };
    let sections = [source.length(24), source.length(4), source.length(4)];
    for count in [questions, sections[0], sections[1], sections[2]] {
        let count = if source.one_in(20) { source.below(1 << 16) } else { count };
        out.extend((count as u16).to_be_bytes());
    }
    let mut names = Vec::new();
    for _ in 0..questions {
        name(&mut out, &mut names, source);
        out.extend([0, *source.pick(&[1, 28, 5, 12, 33, 255]), 0, 1]);
    }
    for _ in 0..sections.iter().sum() {
        record(&mut out, &mut names, source);
    }
    if source.one_in(3) {
        out.truncate(source.below(out.len() + 1));
    }
    out
}

fn record(out: &mut Vec<u8>, names: &mut Vec<usize>, source: &mut Source) {
    name(out, names, source);
    let kind = *source.pick(&[1u16, 1, 28, 28, 5, 5, 41, 16, 6, 64]);
    out.extend(kind.to_be_bytes());
    out.extend(if source.one_in(16) { source.bytes(2) } else { vec![0, 1] });
    out.extend(source.bytes(4));
    let at = out.len();
    out.extend([0, 0]);
    match kind {
        1 => out.extend(source.bytes(4)),
        28 => out.extend(source.bytes(16)),
        5 => name(out, names, source),
        _ => {
            let length = source.length(60);
            out.extend(source.bytes(length));
        }
    }
    let mut length = out.len() - at - 2;
    if source.one_in(24) {
        length = source.below(300);
    }
    out[at..at + 2].copy_from_slice(&(length as u16).to_be_bytes());
}

/// Labels, then the root or a pointer to a name before; `names` are the places to point to.
fn name(out: &mut Vec<u8>, names: &mut Vec<usize>, source: &mut Source) {
    let most = if source.one_in(10) { 63 } else { 12 };
    for _ in 0..source.length(5) {
        names.push(out.len());
        let length = source.within(1, most);
        out.push(length as u8);
        out.extend(if source.one_in(4) {
            source.bytes(length)
        } else {
            b"ShopCartPayment-example_local.0123456789AbcdefGhijklmnopqrstuvwxyz"
                .iter()
                .cycle()
                .skip(source.below(60))
                .take(length)
                .copied()
                .collect()
        });
    }
    if names.is_empty() || source.one_in(3) {
        out.push(0);
    } else {
        let to = *source.pick(names) as u16;
        out.extend((0xc000 | to & 0x3fff).to_be_bytes());
    }
}

/// The most that a message can make a reader keep: all addresses and aliases with the longest of names, each byte of it an escape.
fn heaviest() -> Vec<u8> {
    let mut out = b"\0\0\x81\x80\0\x01\0\xff\0\0\0\0".to_vec();
    for length in [63, 63, 63, 60] {
        out.push(length);
        out.extend(vec![7; usize::from(length)]);
    }
    out.extend(b"\0\0\x01\0\x01");
    for _ in 0..ALIASES_MAX + 1 {
        out.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x01\0\x02\xc0\x0c");
    }
    for _ in 0..ADDRESSES_MAX + 1 {
        out.extend(b"\xc0\x0c\0\x1c\0\x01\0\0\0\x01\0\x100123456789abcdef");
    }
    out
}

#[test]
fn dns() {
    let campaign = Campaign {
        decoder: "dns",
        corpus: corpus("dns").into_iter().map(|(_, bytes)| bytes).collect(),
        heaviest: vec![heaviest()],
        dictionary: &WORDS,
        input_bytes_max: 4096,
        heap_bytes_max: HEAP_BYTES_MAX as u64,
    };
    campaign.run(generate, |input| {
        let Ok(message) = message(input) else { return false };
        assert!(is_sound(&message), "{message:?}");
        !message.addresses.is_empty()
    });
}

#[test]
fn dns_over_tcp() {
    let frame = |message: &[u8]| [&(message.len() as u16).to_be_bytes()[..], message].concat();
    let mut connections = Vec::new();
    for messages in corpus("dns").chunks(4) {
        let mut script = Vec::new();
        for (_, bytes) in messages {
            script::push(&mut script, false, edgescope_decode::Piece::Bytes(&frame(bytes)));
        }
        connections.push(script);
    }
    let campaign = Campaign {
        decoder: "dns over TCP",
        corpus: connections,
        heaviest: Vec::new(),
        dictionary: &WORDS,
        input_bytes_max: 16384,
        heap_bytes_max: (edgescope_decode::dns::FRAMED_HEAP_BYTES_MAX + HEAP_BYTES_MAX) as u64,
    };
    let generate = |source: &mut Source| {
        let mut script = Vec::new();
        for _ in 0..source.within(1, 4) {
            let message = generate(source);
            let padded = if source.one_in(8) { [message, vec![0; source.below(6000)]].concat() } else { message };
            script::push_captured(&mut script, false, &frame(&padded), source);
        }
        script
    };
    campaign.run(generate, |input| {
        let (mut framed, mut found) = (if input.first().is_some_and(|byte| byte & 2 != 0) { Framed::midway() } else { Framed::new() }, 0);
        for (_, piece) in script::pieces(input) {
            framed.feed(piece, |bytes| {
                assert!(!bytes.is_empty() && bytes.len() <= FRAME_BYTES_MAX);
                found += u32::from(message(bytes).is_ok_and(|message| is_sound(&message)));
            });
        }
        found > 0
    });
}
