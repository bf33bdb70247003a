//! HTTP/2 and gRPC: what real programs said, the examples of the RFCs, and connections that cannot be read.

use edgescope_decode::Piece::{self, Bytes, Gap, Lost};
use edgescope_decode::http2::{Connection, Event, Refusal, STREAMS_MAX, Sender, Speaks};
use edgescope_fuzz::{bytes, hex_lines};

use Sender::{Client, Server};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/http2.txt");
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Says in a line each what was found: `0 GET shop /cart` with the request's number, `200 of 0`, `end of 0` with the status of gRPC or the reset.
fn line(event: &Event) -> String {
    let of = |asked: Option<edgescope_decode::http::Asked>| asked.map_or("?".to_owned(), |asked| asked.number.to_string());
    match event {
        Event::Request(it) => format!("{} {} {} {}", it.number, it.method, it.host.as_deref().unwrap_or("-"), it.path),
        Event::Response(it) => format!("{} of {}", it.status, of(it.answers)),
        Event::Ended(it) => {
            let grpc = it.grpc_status.map_or(String::new(), |status| format!(" grpc {status}"));
            let reset = it.reset.map_or(String::new(), |code| format!(" reset {code}"));
            format!("end of {}{grpc}{reset}", of(it.of))
        }
    }
}

fn heard(connection: &mut Connection, pieces: &[(Sender, Piece<'_>)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (sender, piece) in pieces {
        connection.feed(*sender, 0, *piece, |event| lines.push(line(&event)));
    }
    lines
}

fn connection(name: &str) -> Vec<(Sender, Vec<u8>)> {
    let of = |(place, bytes): (String, Vec<u8>)| {
        let sender = place.strip_prefix(name)?.strip_prefix(':')?;
        Some((if sender == "client" { Client } else { Server }, bytes))
    };
    let pieces: Vec<_> = hex_lines(CORPUS).into_iter().filter_map(of).collect();
    assert!(!pieces.is_empty(), "no {name} in the corpus");
    pieces
}

fn captured(pieces: &[(Sender, Vec<u8>)]) -> Vec<(Sender, Piece<'_>)> {
    pieces.iter().map(|(sender, bytes)| (*sender, Bytes(bytes))).collect()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(1, 0x05, stream, block)
}

/// The lines of one direction's frames, after the preface if it is the client.
fn said(sender: Sender, frames: &[Vec<u8>]) -> Vec<String> {
    let preface = if sender == Client { PREFACE } else { b"" };
    let mut connection = Connection::new();
    let lines = heard(&mut connection, &[(sender, Bytes(&[preface, &frames.concat()].concat()))]);
    assert_eq!(connection.refusal(sender), None);
    lines
}

/// Why a direction with these frames is refused.
fn refused(frames: &[Vec<u8>]) -> String {
    let mut connection = Connection::new();
    heard(&mut connection, &[(Server, Bytes(&frames.concat()))]);
    connection.refusal(Server).expect("a refusal").to_string()
}

const GRPC: &[&str] = &[
    "0 POST 127.0.0.1 /shop.v1.CartService/GetItems",
    "200 of 0",
    "end of 0 grpc 0",
    "1 POST 127.0.0.1 /shop.v1.CartService/GetItems",
    "200 of 1",
    "end of 1 grpc 5",
    "2 POST 127.0.0.1 /shop.v1.Nope/Get",
    "200 of 2",
    "end of 2 grpc 12",
    "3 POST 127.0.0.1 /shop.v1.CartService/GetItems",
    "200 of 3",
    "end of 3 grpc 0",
];

#[test]
fn grpc_calls_have_a_status() {
    let mut connection_seen = Connection::new();
    assert_eq!(heard(&mut connection_seen, &captured(&connection("grpc:1"))), GRPC);
    assert_eq!(connection_seen.speaks(), Speaks::Http2);
}

#[test]
fn node_asks_node() {
    let lines = heard(&mut Connection::new(), &captured(&connection("node-node:1")));
    assert_eq!(
        lines[..14],
        [
            "0 GET 127.0.0.1 /cart/{}",
            "200 of 0",
            "end of 0",
            "1 GET 127.0.0.1 /none",
            "204 of 1",
            "end of 1",
            "2 GET 127.0.0.1 /bad/{}",
            "503 of 2",
            "end of 2",
            "3 GET 127.0.0.1 /trailers",
            "200 of 3",
            "end of 3",
            "4 GET 127.0.0.1 /early",
            "200 of 4",
        ]
    );
    assert_eq!(lines[15..19], ["5 GET 127.0.0.1 /reset", "end of 5 reset 8", "6 HEAD 127.0.0.1 /head", "200 of 6"]);
    let mut last = lines[20..].to_vec();
    last.sort_unstable();
    let together =
        ["200 of 7", "200 of 8", "204 of 9", "7 GET 127.0.0.1 /a", "8 GET 127.0.0.1 /b", "9 GET 127.0.0.1 /none", "end of 7", "end of 8", "end of 9"];
    assert_eq!(last, together);
}

#[test]
fn curl_and_nghttp_ask() {
    assert_eq!(heard(&mut Connection::new(), &captured(&connection("curl-node:1"))), ["0 POST 127.0.0.1 /orders", "200 of 0", "end of 0"]);
    let mut lines = heard(&mut Connection::new(), &captured(&connection("nghttp-nghttpd:1")));
    lines.sort_unstable();
    let expected = [
        "0 GET 127.0.0.1 /",
        "1 GET 127.0.0.1 /missing",
        "2 GET 127.0.0.1 /index.html",
        "200 of 0",
        "200 of 2",
        "404 of 1",
        "end of 0",
        "end of 1",
        "end of 2",
    ];
    assert_eq!(lines, expected);
    assert_eq!(
        heard(&mut Connection::new(), &captured(&connection("nghttp-nghttpd:2"))),
        ["0 GET 127.0.0.1 /index.html", "200 of 0", "end of 0"],
        "padding"
    );
}

#[test]
fn it_does_not_matter_where_pieces_end() {
    for name in ["grpc:1", "node-node:1", "curl-node:1", "nghttp-nghttpd:1", "nghttp-nghttpd:2"] {
        let whole = connection(name);
        let expected = heard(&mut Connection::new(), &captured(&whole));
        for size in [1, 2, 5, 13, 100] {
            let cut: Vec<_> = whole.iter().flat_map(|(sender, bytes)| bytes.chunks(size).map(|chunk| (*sender, Bytes(chunk)))).collect();
            assert_eq!(heard(&mut Connection::new(), &cut), expected, "{name} in pieces of {size}");
        }
    }
}

/// RFC 7541, C.3 and C.4: three requests, each of which refers to fields of those before it.
#[test]
fn requests_of_the_rfc() {
    let plain =
        ["828684410f7777772e6578616d706c652e636f6d", "828684be58086e6f2d6361636865", "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565"];
    let huffman = ["828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"];
    for blocks in [plain, huffman] {
        let frames: Vec<_> = blocks.iter().zip([1, 3, 5]).map(|(block, stream)| headers(stream, &bytes(block))).collect();
        assert_eq!(said(Client, &frames), ["0 GET www.example.com /", "1 GET www.example.com /", "2 GET www.example.com /index.html"]);
    }
}

/// RFC 7541, C.5 and C.6: a table of 256 bytes, from which entries fall out.
#[test]
fn responses_of_the_rfc() {
    let date = "4d6f6e2c203231204f637420323031332032303a31333a3231";
    let plain = [
        format!("3fe1014803333032580770726976617465611d{date}20474d546e1768747470733a2f2f7777772e6578616d706c652e636f6d"),
        "4803333037c1c0bf".to_owned(),
        format!(
            "88c1611d{}3220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
            &date[..date.len() - 2]
        ),
    ];
    let huffman = [
        "3fe101488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3".to_owned(),
        "4883640effc1c0bf".to_owned(),
        "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007".to_owned(),
    ];
    for blocks in [plain, huffman] {
        let frames: Vec<_> = blocks.iter().zip([1, 3, 5]).map(|(block, stream)| headers(stream, &bytes(block))).collect();
        let lines = said(Server, &frames);
        assert_eq!(lines, ["302 of ?", "end of ?", "307 of ?", "end of ?", "200 of ?", "end of ?"]);
        // What fell out is not there any more: 62 to 64 are, as the RFC shows, and 65 is not.
        let refers = |index: u8| frames.iter().cloned().chain([headers(7, &[0x88, 0x80 | index])]).collect::<Vec<_>>();
        assert_eq!(said(Server, &refers(64)).len(), 8);
        assert_eq!(refused(&refers(65)), "a header block: no field has the index 65");
    }
}

#[test]
fn blocks_in_several_frames_with_padding_and_priority() {
    let block = bytes("828684410f7777772e6578616d706c652e636f6d");
    let padded = [&[3][..], &[0, 0, 0, 0, 7], &block[..4], &[0; 3]].concat();
    let frames = [
        frame(1, 0x28, 1, &padded),
        frame(9, 0, 1, &block[4..9]),
        frame(9, 0, 1, b""),
        frame(9, 0x04, 1, &block[9..]),
        headers(3, &bytes("828684be")),
    ];
    assert_eq!(said(Client, &frames), ["0 GET www.example.com /", "1 GET www.example.com /"]);
    // A pushed request's block counts for the table.
    let promise = frame(5, 0x04, 1, &[&[0, 0, 0, 2][..], &bytes("48033330 37")].concat());
    assert_eq!(said(Server, &[promise, headers(1, &[0xbe])]), ["307 of ?", "end of ?"]);
}

#[test]
fn what_is_secret_does_not_come_out() {
    // authorization, cookie and a path with a query, all to be kept in the table
    let block =
        [&bytes("82 86 41 04")[..], b"shop", &bytes("57 06"), b"secret", &bytes("60 06"), b"secret", &bytes("44 11"), b"/cart/42?card=411"].concat();
    let mut connection = Connection::new();
    let lines = heard(&mut connection, &[(Client, Bytes(&[PREFACE, &headers(1, &block)].concat()))]);
    assert_eq!(lines, ["0 GET shop /cart/{}"]);
    let held = format!("{connection:?}");
    assert!(!held.contains("secret") && !held.contains("411") && held.contains("/cart/{}"), "{held}");
}

#[test]
fn interim_answers_trailers_and_late_resets_are_told_apart() {
    let request = [PREFACE, &headers(1, &bytes("828684"))].concat();
    let early = frame(1, 0x04, 1, &[&[0x48, 3][..], b"103"].concat());
    let answer = frame(1, 0x04, 1, &[0x88]);
    let trailers = frame(1, 0x05, 1, &[&[0, 11][..], b"grpc-status", &[2], b"14"].concat());
    let late = frame(3, 0, 1, &[0, 0, 0, 8]);
    let pieces = [
        (Client, Bytes(&request[..])),
        (Server, Bytes(&early)),
        (Server, Bytes(&answer)),
        (Server, Bytes(&trailers)),
        (Client, Bytes(&late)),
        (Server, Bytes(&late)),
    ];
    assert_eq!(heard(&mut Connection::new(), &pieces), ["0 GET - /", "200 of 0", "end of 0 grpc 14"]);
    let cancelled = [(Client, Bytes(&request[..])), (Client, Bytes(&late)), (Server, Bytes(&answer))];
    assert_eq!(heard(&mut Connection::new(), &cancelled), ["0 GET - /", "end of 0 reset 8", "200 of ?"]);
}

#[test]
fn a_hole_in_a_body_costs_nothing() {
    let request = [PREFACE, &headers(1, &bytes("828684"))].concat();
    let answer = [frame(1, 0x04, 1, &[0x88]), frame(0, 0x01, 1, &[7; 1000])].concat();
    let pieces =
        [(Client, Bytes(&request[..])), (Server, Bytes(&answer[..30])), (Server, Gap(answer.len() - 30)), (Server, Gap(0)), (Server, Bytes(&answer))];
    assert_eq!(heard(&mut Connection::new(), &pieces), ["0 GET - /", "200 of 0", "end of 0", "200 of ?", "end of ?"]);
}

#[test]
fn what_cannot_be_read_is_refused_with_its_reason() {
    let hole = "bytes of frames or header blocks were not captured";
    let head = frame(1, 0x04, 1, &[0x88; 20]);
    let data = frame(0, 0, 1, &[0; 20]);
    for pieces in [vec![Lost], vec![Gap(1)], vec![Bytes(&head[..12]), Gap(1)], vec![Bytes(&head[..4]), Gap(1)], vec![Bytes(&data[..12]), Gap(18)]] {
        let mut connection = Connection::new();
        let pieces: Vec<_> = pieces.into_iter().chain([Bytes(&head[..])]).map(|piece| (Server, piece)).collect();
        assert!(heard(&mut connection, &pieces).is_empty());
        assert_eq!(connection.refusal(Server).expect("a refusal").to_string(), hole);
        assert_eq!(connection.refusal(Client), None, "the other direction goes on");
    }
    let mut midway = Connection::midway();
    assert!(heard(&mut midway, &[(Client, Bytes(&head)), (Server, Bytes(&head))]).is_empty());
    assert_eq!((midway.refusal(Client), midway.refusal(Server)), (Some(Refusal::Midway), Some(Refusal::Midway)));

    let block = |block: &[u8]| refused(&[headers(1, block)]);
    assert_eq!(block(&[0x80]), "a header block: no field has the index 0");
    assert_eq!(block(&[0xbe]), "a header block: no field has the index 62");
    assert_eq!(block(&[0x7f, 0xff, 0xff, 0xff, 0xff, 1]), "a header block: an integer beyond 16777216");
    assert_eq!(block(&[0x7f, 0xff, 0xff, 0xff, 0x7f]), "a header block: an integer beyond 16777216");
    assert_eq!(block(&[0x44, 5, b'a']), "a header block: a field ends early");
    assert_eq!(block(&[0x44, 0x81, 0x00]), "a header block: a text that is not in the Huffman code");
    assert_eq!(block(&[0x44, 0x84, 0xff, 0xff, 0xff, 0xff]), "a header block: a text that is not in the Huffman code");
    assert_eq!(block(&[0x3f, 0xe2, 0xff, 0x03]), "a header block: a table of 65537 bytes, at most 65536");
    assert_eq!(block(&[0x88; 1025]), "a header block: more than 1024 fields");

    assert_eq!(refused(&[frame(1, 0, 1, &[0x88]), frame(0, 0, 1, b"")]), "not a frame of HTTP/2");
    assert_eq!(refused(&[frame(9, 4, 1, &[0x88])]), "not a frame of HTTP/2");
    assert_eq!(refused(&[frame(1, 4, 0, &[0x88])]), "not a frame of HTTP/2");
    assert_eq!(refused(&[frame(0x99, 4, 0, &[0x88])]), "not a frame of HTTP/2");
    assert_eq!(refused(&[frame(1, 0x0c, 1, &[9, 0x88])]), "not a frame of HTTP/2", "padding beyond the frame");
    assert_eq!(refused(&[frame(3, 0, 1, &[0])]), "not a frame of HTTP/2");
    assert_eq!(refused(&[frame(1, 0, 1, &[0x88; 20000]), frame(9, 0, 1, &[0x88; 20000])]), "a header block beyond 32768 bytes");
    assert_eq!(refused(&[frame(1, 4, 1, &[0x88; 40000])]), "a header block beyond 32768 bytes");
}

#[test]
fn other_protocols_are_left_alone() {
    for first in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PRI * HTTP/1.1\r\n\r\n", b"\x16\x03\x01"] {
        let mut connection = Connection::new();
        assert!(heard(&mut connection, &[(Client, Bytes(first)), (Server, Bytes(&headers(1, &[0x88])))]).is_empty());
        assert_eq!(connection.speaks(), Speaks::Other);
    }
}

#[test]
fn more_streams_than_can_be_open_are_counted_and_not_paired() {
    let count = STREAMS_MAX as u32 + 2;
    let requests: Vec<u8> = (0..count).flat_map(|nth| headers(2 * nth + 1, &bytes("828684"))).collect();
    let mut connection = Connection::new();
    assert_eq!(heard(&mut connection, &[(Client, Bytes(PREFACE)), (Client, Bytes(&requests))]).len(), STREAMS_MAX + 2);
    assert_eq!(heard(&mut connection, &[(Server, Bytes(&headers(2 * count - 1, &[0x88])))]), ["200 of ?", "end of ?"]);
    assert_eq!(heard(&mut connection, &[(Server, Bytes(&headers(1, &[0x88])))]), ["200 of 0", "end of 0"]);
}

/// What a reader of calls wants to know of each end: whether there was an answer, and whether it was a call of gRPC.
#[test]
fn ends_say_what_they_are_the_end_of() {
    let mut connection = Connection::new();
    let call = |stream, content_type: &[u8]| headers(stream, &[&[0x83, 0x5f, content_type.len() as u8][..], content_type].concat());
    let asked = [
        PREFACE.to_vec(),
        call(1, b"application/grpc"),
        call(3, b"application/grpc+proto"),
        call(5, b"application/grpc-web"),
        call(7, b"Application/gRPC;x=1"),
        headers(9, &[0x83]),
    ];
    let mut grpc = Vec::new();
    connection.feed(Client, 0, Bytes(&asked.concat()), |event| {
        if let Event::Request(request) = event {
            grpc.push(request.is_grpc);
        }
    });
    assert_eq!(grpc, [true, true, false, true, false]);
    let mut ends = Vec::new();
    let said = [frame(1, 4, 1, &[0x88]), frame(3, 0, 3, &[0, 0, 0, 8]), frame(0, 1, 1, b"x")].concat();
    connection.feed(Server, 0, Bytes(&said), |event| {
        if let Event::Ended(ended) = event {
            ends.push((ended.of.map(|asked| asked.number), ended.answered, ended.is_grpc));
        }
    });
    assert_eq!(ends, [(Some(1), false, true), (Some(0), true, true)], "in the order in which they ended");
    let mut rest = Vec::new();
    connection.end(9, |ended| rest.push((ended.of.map(|asked| asked.number), ended.answered, ended.is_grpc, ended.at_ns)));
    assert_eq!(rest, [(Some(2), false, false, 9), (Some(3), false, true, 9), (Some(4), false, false, 9)]);
}

#[test]
fn what_may_be_left_out_is_known_at_every_byte() {
    let stream = [frame(0, 0, 1, &[7; 5]), headers(1, &[0x88]), frame(6, 0, 0, &[0; 8])].concat();
    let mut connection = Connection::new();
    let mut known = vec![connection.skippable(Server)];
    for byte in &stream {
        connection.feed(Server, 0, Bytes(&[*byte]), |_| {});
        known.push(connection.skippable(Server));
    }
    let of = |header: usize, rest: &[usize]| [vec![None; header - 1], rest.iter().map(|bytes| Some(*bytes)).collect()].concat();
    let expected = [vec![Some(0)], of(9, &[5, 4, 3, 2, 1, 0]), of(10, &[0]), of(9, &[8, 7, 6, 5, 4, 3, 2, 1, 0])].concat();
    assert_eq!(known, expected);
}
