use edgescope_decode::Piece;
use edgescope_decode::http::{METHODS, OTHER, PATH_BYTES_MAX};
use edgescope_decode::http2::{Connection, Event, HEAP_BYTES_MAX, Sender, Speaks};
use edgescope_fuzz::{Campaign, Source};

use crate::{corpus, is_printable, script};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const WORDS: [&[u8]; 16] = [
    PREFACE,
    b"\x00\x00\x01\x01\x05\x00\x00\x00\x01\x88",
    b"\x00\x00\x00\x00\x01\x00\x00\x00\x01",
    b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08",
    b"\x00\x00\x01\x09\x04\x00\x00\x00\x01\xbe",
    b"\x82\x86\x84",
    b"\xbe",
    b"\xff\x80\x01",
    b"\x3f\xe1\x1f",
    b"\x20",
    b"\x44\x85\xff\xff\xff\xff\xff",
    b"\x40\x0bgrpc-status\x0214",
    b"\x41\x04shop",
    b"\x04\x07/cart/1",
    b"\x48\x03103",
    b"\x7f\xff\xff\xff\x7f",
];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn integer(out: &mut Vec<u8>, first: u8, prefix: u32, value: usize) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        return out.push(first | value as u8);
    }
    out.push(first | mask as u8);
    let mut rest = value - mask;
    while rest >= 128 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// A text, plain, or zeros in the Huffman code: `0` is 00000, the one text that needs no encoder.
fn text(out: &mut Vec<u8>, text: &[u8], source: &mut Source) {
    if source.one_in(4) {
        let length = source.length(200);
        integer(out, 0x80, 7, length * 5); // five bytes are eight zeros
        out.extend(vec![0; length * 5]);
    } else {
        integer(out, 0, 7, text.len());
        out.extend(text);
    }
}

/// A block as an encoder makes it; it knows how many entries it has added.
fn block(entries: &mut usize, fixed: &[u8], source: &mut Source) -> Vec<u8> {
    let mut out = Vec::new();
    if source.one_in(16) {
        integer(&mut out, 0x20, 5, *source.pick(&[0, 64, 4096, 65536]));
    }
    out.extend(fixed);
    for _ in 0..source.length(20) {
        let name: &[u8] = *source.pick(&[&b":path"[..], b":authority", b"host", b"cookie", b"grpc-status", b":status", b"x-long-name-of-a-field"]);
        let value: &[u8] =
            *source.pick(&[&b"/cart/42?card=4111"[..], b"/shop.v1.Cart/Get", b"shop:80", b"14", b"404", b"", &[b'v'; 300], b"\xff\x00"]);
        match source.below(5) {
            0 if *entries > 0 => integer(&mut out, 0x80, 7, 62 + source.below((*entries).min(20))),
            1 => integer(&mut out, 0x80, 7, 1 + source.below(61)),
            2 => {
                integer(&mut out, 0x40, 6, 1 + source.below(61));
                text(&mut out, value, source);
                *entries += 1;
            }
            3 => {
                out.push(0x40);
                text(&mut out, name, source);
                text(&mut out, value, source);
                *entries += 1;
            }
            _ => {
                integer(&mut out, *source.pick(&[0, 0x10]), 4, source.below(62));
                if out.last() == Some(&0) || out.last() == Some(&0x10) {
                    text(&mut out, name, source);
                }
                text(&mut out, value, source);
            }
        }
    }
    out
}

/// A block in one frame or several, now and then with padding or priority.
fn headers(stream: u32, block: &[u8], ends: bool, source: &mut Source) -> Vec<u8> {
    let end_stream = u8::from(ends);
    if !block.is_empty() && source.one_in(6) {
        let (first, rest) = block.split_at(source.below(block.len()));
        return [frame(1, end_stream, stream, first), frame(9, 0x04, stream, rest)].concat();
    }
    match source.below(6) {
        0 => frame(1, 0x0c | end_stream, stream, &[&[3][..], block, &[0; 3]].concat()),
        1 => frame(1, 0x24 | end_stream, stream, &[&[0, 0, 0, 0, 7][..], block].concat()),
        _ => frame(1, 0x04 | end_stream, stream, block),
    }
}

fn generate(source: &mut Source) -> Vec<u8> {
    let (mut script, mut table_of_client, mut table_of_server) = (Vec::new(), 0, 0);
    script::push(&mut script, false, Piece::Bytes(&[PREFACE, &frame(4, 0, 0, &[0, 3, 0, 0, 0, 100])].concat()));
    for call in 0..source.within(1, 6) as u32 {
        let stream = 2 * call + 1;
        let mut asked = headers(stream, &block(&mut table_of_client, &[0x83, 0x86], source), false, source);
        let length = source.length(400);
        asked.extend(frame(0, 1, stream, &source.bytes(length)));
        script::push_captured(&mut script, false, &asked, source);
        let status = *source.pick(&[&[0x88][..], &[0x8d], b"\x48\x03503", b"\x08\x03100"]);
        let mut answered = headers(stream, &block(&mut table_of_server, status, source), source.one_in(4), source);
        if source.one_in(8) {
            answered.extend(frame(5, 4, stream, &[&[0, 0, 0, 2][..], &block(&mut table_of_server, &[0x82], source)].concat()));
        }
        let length = source.length(900);
        answered.extend(frame(0, u8::from(source.one_in(2)), stream, &source.bytes(length)));
        answered.extend(match source.below(4) {
            0 => frame(3, 0, stream, &[0, 0, 0, 8]),
            1 => frame(6, 1, 0, &[0; 8]),
            _ => headers(stream, &block(&mut table_of_server, b"\x40\x0bgrpc-status\x015", source), true, source),
        });
        script::push_captured(&mut script, true, &answered, source);
    }
    script
}

fn connections() -> Vec<Vec<u8>> {
    let mut scripts: Vec<(String, Vec<u8>)> = Vec::new();
    for (place, bytes) in corpus("http2") {
        let (connection, sender) = place.rsplit_once(':').expect("a sender");
        if scripts.last().is_none_or(|(last, _)| last != connection) {
            scripts.push((connection.to_owned(), Vec::new()));
        }
        let (_, script) = scripts.last_mut().expect("a script");
        script::push(script, sender == "server", Piece::Bytes(&bytes));
    }
    scripts.into_iter().map(|(_, script)| script).collect()
}

/// The most that a connection can make a reader keep: in both directions a full table of empty paths and a block that does not end.
fn heaviest() -> Vec<u8> {
    let mut script = Vec::new();
    script::push(&mut script, false, Piece::Bytes(PREFACE));
    for server in [false, true] {
        // 32 + 5 + 1 bytes an entry: 1724 of them, in two blocks of at most 1024 fields
        for stream in [1, 3] {
            let entries = b"\x44\x01/".repeat(1000);
            let enlarged = [&b"\x3f\xe1\xff\x03"[..], &entries].concat();
            script::push(&mut script, server, Piece::Bytes(&frame(1, 4, stream, &enlarged)));
        }
        script::push(&mut script, server, Piece::Bytes(&frame(1, 0, 5, &[0x84; 16384])));
        script::push(&mut script, server, Piece::Bytes(&frame(9, 0, 5, &[0x84; 16383])));
    }
    script
}

#[test]
fn http2() {
    let campaign = Campaign {
        decoder: "HTTP/2",
        corpus: connections(),
        heaviest: vec![heaviest()],
        dictionary: &WORDS,
        input_bytes_max: 81920,
        heap_bytes_max: HEAP_BYTES_MAX as u64,
    };
    campaign.run(generate, |input| {
        let mut connection = if input.first().is_some_and(|byte| byte & 2 != 0) { Connection::midway() } else { Connection::new() };
        let (mut asked, mut answered) = (0, 0);
        for (at_ns, (server, piece)) in script::pieces(input).enumerate() {
            let sender = if server { Sender::Server } else { Sender::Client };
            connection.feed(sender, at_ns as u64, piece, |event| match event {
                Event::Request(request) => {
                    assert_eq!(request.number, asked);
                    asked += 1;
                    assert!(METHODS.contains(&request.method) || request.method == OTHER);
                    let path = &request.path;
                    assert!(path.len() <= PATH_BYTES_MAX && is_printable(path) && !path.contains(['?', '#', '%', '@', ';']), "{path}");
                    assert!(request.host.is_none_or(|host| is_printable(&host) && !host.contains(['@', '/'])));
                }
                Event::Response(response) => {
                    assert!((200..1000).contains(&response.status));
                    assert!(response.answers.is_none_or(|request| request.number < asked && request.at_ns <= response.at_ns));
                    answered += 1;
                }
                Event::Ended(ended) => {
                    assert!(ended.of.is_none_or(|request| request.number < asked && request.at_ns <= ended.at_ns));
                }
            });
            assert!(connection.heap_bytes() <= HEAP_BYTES_MAX);
            assert!(connection.refusal(sender).is_none_or(|refusal| !refusal.to_string().is_empty()));
        }
        assert!(asked == 0 || connection.speaks() == Speaks::Http2);
        connection.end(u64::MAX, |ended| assert!(ended.of.is_some_and(|request| request.number < asked)));
        asked > 0 && answered > 0
    });
}
