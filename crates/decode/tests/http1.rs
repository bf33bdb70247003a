//! HTTP/1: what real programs said, the examples of the RFC, and connections with holes.

use edgescope_decode::Piece::{self, Bytes, Gap, Lost};
use edgescope_decode::http1::{Connection, Event, HEAD_BYTES_MAX, PENDING_MAX, Request, Response, Sender, Speaks, TRIES_MAX};
use edgescope_fuzz::hex_lines;

use Sender::{Client, Server};

const CORPUS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/http1.txt");

/// Feeds pieces and says in a line each what was found: `0 GET shop /cart` with the request's number, `200 of 0` or `200 of ?`.
fn heard(connection: &mut Connection, pieces: &[(Sender, Piece<'_>)]) -> Vec<String> {
    let mut lines = Vec::new();
    for (sender, piece) in pieces {
        connection.feed(*sender, 0, *piece, |event| lines.push(line(&event)));
    }
    lines
}

fn line(event: &Event) -> String {
    match event {
        Event::Request(Request { number, method, path, host, .. }) => format!("{number} {method} {} {path}", host.as_deref().unwrap_or("-")),
        Event::Response(Response { status, answers, .. }) => {
            format!("{status} of {}", answers.map_or("?".to_owned(), |asked| asked.number.to_string()))
        }
    }
}

/// The pieces of one connection of the corpus.
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

/// As a capture of the first `most` bytes of each packet sees it.
fn snapped(pieces: &[(Sender, Vec<u8>)], most: usize) -> Vec<(Sender, Piece<'_>)> {
    let mut seen = Vec::new();
    for (sender, bytes) in pieces {
        let (first, rest) = bytes.split_at(bytes.len().min(most));
        seen.extend([(*sender, Bytes(first)), (*sender, Gap(rest.len()))]);
    }
    seen
}

const NODE: &[&str] = &[
    "0 GET 127.0.0.1 /cart/{}/items",
    "200 of 0",
    "1 GET 127.0.0.1 /chunked",
    "200 of 1",
    "2 GET 127.0.0.1 /none",
    "204 of 2",
    "3 GET 127.0.0.1 /same",
    "304 of 3",
    "4 GET 127.0.0.1 /bad/{}",
    "503 of 4",
];

#[test]
fn curl_asks_node() {
    assert_eq!(heard(&mut Connection::new(), &captured(&connection("curl-node:1"))), NODE);
    let heads = ["0 HEAD 127.0.0.1 /head", "200 of 0", "1 HEAD 127.0.0.1 /head", "200 of 1"];
    assert_eq!(heard(&mut Connection::new(), &captured(&connection("curl-node:2"))), heads, "no body follows its length");
    let posts = ["0 POST 127.0.0.1 /orders", "200 of 0", "1 POST 127.0.0.1 /orders/{}", "200 of 1"];
    assert_eq!(heard(&mut Connection::new(), &captured(&connection("curl-node:3"))), posts, "100 is no answer");
    assert_eq!(heard(&mut Connection::new(), &captured(&connection("curl-node:4"))), ["0 PUT 127.0.0.1 /upload/abc", "200 of 0"]);
}

#[test]
fn curl_asks_nginx() {
    let found = |name| heard(&mut Connection::new(), &captured(&connection(name)));
    assert_eq!(found("curl-nginx:1"), ["0 GET 127.0.0.1 /", "200 of 0", "1 GET 127.0.0.1 /missing", "404 of 1"]);
    assert_eq!(found("curl-nginx:3"), ["0 GET 127.0.0.1 /", "304 of 0", "1 GET 127.0.0.1 /", "304 of 1"]);
}

#[test]
fn pipelined_answers_keep_their_order() {
    let lines = ["0 GET shop /", "1 HEAD shop /", "2 GET shop /nope", "200 of 0", "200 of 1", "404 of 2"];
    assert_eq!(heard(&mut Connection::new(), &captured(&connection("curl-nginx:4"))), lines);
}

#[test]
fn it_does_not_matter_where_pieces_end() {
    for name in ["curl-node:1", "curl-node:2", "curl-node:3", "curl-node:4", "curl-nginx:1", "curl-nginx:4"] {
        let whole = connection(name);
        let expected = heard(&mut Connection::new(), &captured(&whole));
        for size in [1, 2, 5, 13, 100] {
            let cut: Vec<_> = whole.iter().flat_map(|(sender, bytes)| bytes.chunks(size).map(|chunk| (*sender, Bytes(chunk)))).collect();
            assert_eq!(heard(&mut Connection::new(), &cut), expected, "{name} in pieces of {size}");
        }
    }
}

#[test]
fn the_first_bytes_of_each_packet_are_enough() {
    let whole = connection("curl-node:1");
    for most in [400, 256, 128] {
        assert_eq!(heard(&mut Connection::new(), &snapped(&whole, most)), NODE, "{most} bytes");
    }
    // Less than the head's first lines: methods, statuses and their pairs are still right, and what is not known of a path is not claimed.
    let few = heard(&mut Connection::new(), &snapped(&whole, 20));
    assert_eq!(
        few.iter().map(|line| line.replace("127.0.0.1", "-")).collect::<Vec<_>>()[..4],
        ["0 GET - /cart/*", "200 of 0", "1 GET - /chunked", "200 of 1"]
    );
    assert_eq!(few.len(), NODE.len());
}

#[test]
fn times_are_of_first_bytes() {
    let mut connection = Connection::new();
    let mut events = Vec::new();
    let pieces: [(Sender, &[u8]); 4] =
        [(Client, b"GET / HTTP/1.1\r\nHo"), (Client, b"st: shop\r\n\r\n"), (Server, b"HTTP/1.1 2"), (Server, b"00 OK\r\nContent-Length: 0\r\n\r\n")];
    for (nth, (sender, bytes)) in pieces.into_iter().enumerate() {
        connection.feed(sender, 10 * (nth as u64 + 1), Bytes(bytes), |event| events.push(event));
    }
    let [Event::Request(request), Event::Response(response)] = &events[..] else { panic!("{events:?}") };
    assert_eq!((request.at_ns, request.host.as_deref(), response.at_ns), (10, Some("shop"), 30));
    assert_eq!(response.answers.map(|asked| (asked.number, asked.at_ns)), Some((0, 10)));
}

#[test]
fn what_began_before_the_request_is_no_answer_to_it() {
    let mut connection = Connection::new();
    let mut lines = Vec::new();
    let pieces: [(Sender, &[u8]); 4] =
        [(Server, b"HTTP/1.1 408"), (Client, b"GET / HTTP/1.1\r\n\r\n"), (Server, b" \r\n\r\n"), (Server, b"HTTP/1.1 200 OK\r\n\r\n")];
    for (at_ns, (sender, bytes)) in pieces.into_iter().enumerate() {
        connection.feed(sender, at_ns as u64, Bytes(bytes), |event| lines.push(line(&event)));
    }
    assert_eq!(lines, ["0 GET - /", "408 of ?", "200 of 0"]);
}

const GET: (Sender, Piece<'_>) = (Client, Bytes(b"GET /a HTTP/1.1\r\nHost: shop\r\n\r\n"));
const OK: (Sender, Piece<'_>) = (Server, Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"));

#[test]
fn bodies_are_passed_over_whatever_they_say() {
    let request = b"POST / HTTP/1.1\r\nContent-Length: 18\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    assert_eq!(heard(&mut Connection::new(), &[(Client, Bytes(request)), OK, GET]), ["0 POST - /", "200 of 0", "1 GET shop /a"]);
    let (head, body) = request.split_at(request.len() - 18);
    for pieces in [[Bytes(head), Bytes(body), Gap(0)], [Bytes(head), Gap(10), Bytes(&body[10..])], [Bytes(head), Gap(18), Gap(0)]] {
        let mut connection = Connection::new();
        assert_eq!(heard(&mut connection, &pieces.map(|piece| (Client, piece))), ["0 POST - /"]);
        assert_eq!(heard(&mut connection, &[OK, GET]), ["200 of 0", "1 GET shop /a"]);
    }
}

/// RFC 9112, §7.1: chunks with an extension and trailers; a hole is counted where it lies within a chunk.
#[test]
fn chunks() {
    let head = (Server, Bytes(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n4;name=\"v\"\r\nWiki\r\n"));
    let rest = [(Server, Bytes(b"1F\r\nHTTP/1.1 5")), (Server, Gap(21)), (Server, Bytes(b"\r\n0\r\nA: b\r\nC: d\r\n\r\n")), GET, OK];
    let expected = ["0 GET shop /a", "200 of 0", "1 GET shop /a", "200 of 1"];
    assert_eq!(heard(&mut Connection::new(), &[&[GET, head], &rest[..]].concat()), expected);
    // A hole over the next size: lost until a message begins a piece.
    let hidden = [(Server, Gap(7)), (Server, Bytes(b"\n0\r\n\r\n")), GET, OK];
    assert_eq!(heard(&mut Connection::new(), &[&[GET, head], &hidden[..]].concat()), expected);
    for wrong in [&b"x\r\n"[..], b"\r\n", b"-1\r\n", b"fffffffffffffffff\r\n", &[b'0'; 1100]] {
        assert_eq!(heard(&mut Connection::new(), &[GET, head, (Server, Bytes(wrong)), GET, OK]), expected, "{wrong:?}");
    }
}

#[test]
fn a_body_without_a_length_lasts_until_the_close() {
    let endless = (Server, Bytes(b"HTTP/1.0 200 OK\r\n\r\nbody"));
    assert_eq!(heard(&mut Connection::new(), &[GET, endless, OK, (Server, Gap(9)), OK]), ["0 GET shop /a", "200 of 0"]);
}

#[test]
fn contradictory_lengths_lose_the_direction_only() {
    for fields in [
        "Content-Length: 1\r\nContent-Length: 2",
        "Content-Length: 1, 2",
        "Content-Length: +1",
        "Content-Length: 99999999999999999999",
        "Transfer-Encoding: chunked, gzip",
    ] {
        let request = format!("POST / HTTP/1.1\r\n{fields}\r\n\r\nxx");
        assert_eq!(
            heard(&mut Connection::new(), &[(Client, Bytes(request.as_bytes())), OK, GET, OK]),
            ["0 POST - /", "200 of 0", "1 GET shop /a", "200 of 1"],
            "{fields}"
        );
    }
    let same = (Client, Bytes(b"POST / HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nxxGET /b HTTP/1.1\r\n\r\n"));
    assert_eq!(heard(&mut Connection::new(), &[same]), ["0 POST - /", "1 GET - /b"]);
}

#[test]
fn a_loss_is_made_up_for_at_the_next_beginning() {
    let lines = ["0 GET shop /a", "200 of 0", "1 GET shop /a", "200 of 1"];
    for hole in [Lost, Gap(100)] {
        assert_eq!(heard(&mut Connection::new(), &[GET, OK, (Client, hole), (Client, Bytes(b"rest of something\r\n")), GET, OK]), lines);
        // An answer went by: the next is not taken for it.
        assert_eq!(heard(&mut Connection::new(), &[GET, (Server, hole), GET, OK]), ["0 GET shop /a", "1 GET shop /a", "200 of 1"]);
        assert_eq!(heard(&mut Connection::new(), &[(Client, hole), OK, GET, OK]), ["200 of ?", "0 GET shop /a", "200 of 0"]);
    }
    assert_eq!(heard(&mut Connection::midway(), &[(Server, Bytes(b"ody\r\n")), OK, GET, OK]), ["200 of ?", "0 GET shop /a", "200 of 0"]);
}

#[test]
fn tunnels_and_upgrades_end_it() {
    let connect = (Client, Bytes(b"CONNECT Shop:443 HTTP/1.1\r\nHost: proxy\r\n\r\n"));
    let mut tunnel = Connection::new();
    assert_eq!(heard(&mut tunnel, &[connect, (Server, Bytes(b"HTTP/1.1 200 OK\r\n\r\n")), GET, OK]), ["0 CONNECT shop ", "200 of 0"]);
    assert_eq!(tunnel.speaks(), Speaks::Other);
    let mut refused = Connection::new();
    let refusal = (Server, Bytes(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n"));
    assert_eq!(heard(&mut refused, &[connect, refusal, GET]), ["0 CONNECT shop ", "407 of 0", "1 GET shop /a"]);
    let mut upgraded = Connection::new();
    assert_eq!(heard(&mut upgraded, &[GET, (Server, Bytes(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")), GET]), ["0 GET shop /a", "101 of 0"]);
    assert_eq!(upgraded.speaks(), Speaks::Other);
}

#[test]
fn other_protocols_are_left_alone() {
    for first in [
        &b"\x16\x03\x01\x02\0\x01"[..],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"*1\r\n$4\r\nPING\r\n",
        b"\0\0\0\0",
        b"get / http",
    ] {
        let mut connection = Connection::new();
        assert_eq!(heard(&mut connection, &[(Client, Bytes(first)), GET]), Vec::<String>::new(), "{first:?}");
        assert_eq!(connection.speaks(), Speaks::Other, "{first:?}");
    }
    let mut connection = Connection::new();
    assert!(heard(&mut connection, &[(Server, Bytes(b"HTTP/1.1 020 No\r\n\r\n"))]).is_empty(), "no such status");
    let mut midway = Connection::midway();
    let noise = vec![(Server, Bytes(b"noise")); usize::from(TRIES_MAX)];
    assert!(heard(&mut midway, &noise[1..]).is_empty() && midway.speaks() == Speaks::Unsure);
    assert!(heard(&mut midway, &noise[..1]).is_empty() && midway.speaks() == Speaks::Other);
}

#[test]
fn a_head_beyond_its_bound_is_read_by_its_first_lines() {
    let long = format!("GET /a HTTP/1.1\r\nHost: shop\r\nCookie: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
    let pieces: Vec<_> = long.as_bytes().chunks(1000).map(|chunk| (Client, Bytes(chunk))).collect();
    assert_eq!(heard(&mut Connection::new(), &[&pieces[..], &[OK, GET]].concat()), ["0 GET shop /a", "200 of 0", "1 GET shop /a"]);
    let many = format!("GET /a?b HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(200));
    assert_eq!(heard(&mut Connection::new(), &[(Client, Bytes(many.as_bytes())), OK, GET]), ["0 GET - /a", "200 of 0", "1 GET shop /a"]);
    let target = format!("GET http://me:pw@shop/cart/{}", "x".repeat(2 * HEAD_BYTES_MAX));
    assert_eq!(heard(&mut Connection::new(), &[(Client, Bytes(target.as_bytes())), OK]), ["0 GET - /cart/*", "200 of 0"]);
}

#[test]
fn more_requests_than_can_wait_are_counted_and_not_mispaired() {
    let mut connection = Connection::new();
    let asked = heard(&mut connection, &[GET; PENDING_MAX + 2]);
    assert_eq!(asked.len(), PENDING_MAX + 2);
    assert_eq!(heard(&mut connection, &[OK, GET]), ["200 of 0", "66 GET shop /a"]);
    let answered = heard(&mut connection, &[OK; PENDING_MAX]);
    assert_eq!(answered[PENDING_MAX - 2..], ["200 of 63", "200 of ?"]);
    assert_eq!(heard(&mut connection, &[GET, OK, OK, OK]), ["67 GET shop /a", "200 of ?", "200 of ?", "200 of ?"]);
    assert_eq!(heard(&mut connection, &[GET, OK]), ["68 GET shop /a", "200 of 68"]);
}
