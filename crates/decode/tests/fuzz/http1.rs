use edgescope_decode::Piece;
use edgescope_decode::http::{METHODS, OTHER, PATH_BYTES_MAX};
use edgescope_decode::http1::{Connection, Event, HEAD_BYTES_MAX, HEAP_BYTES_MAX, PENDING_MAX, Sender, Speaks};
use edgescope_fuzz::{Campaign, Source};

use crate::{corpus, is_printable, script};

const WORDS: [&[u8]; 24] = [
    b"GET ",
    b"HEAD / ",
    b"CONNECT a:1 ",
    b" HTTP/1.1\r\n",
    b"HTTP/1.0 200 OK\r\n",
    b"HTTP/1.1 100 \r\n\r\n",
    b"HTTP/1.1 101 x\r\n",
    b"HTTP/1.1 204 \r\n",
    b"\r\n\r\n",
    b"\r\n",
    b"\n",
    b"Host: a\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: 18446744073709551615\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"0\r\n\r\n",
    b"5\r\nhello\r\n",
    b"fffffffffffff\r\n",
    b"http://u:p@h/",
    b"%00",
    b"?a=b",
    b";x",
    b"/../",
    b"\xff",
];

/// What each side of a connection says; requests are now and then pipelined, answers in their order.
fn generate(source: &mut Source) -> Vec<u8> {
    let mut script = Vec::new();
    for _ in 0..source.within(1, 3) {
        let ahead = if source.one_in(4) { 3 } else { 1 };
        let (mut requests, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..ahead {
            requests.extend(request(source));
            answers.extend(response(source));
        }
        script::push_captured(&mut script, false, &requests, source);
        script::push_captured(&mut script, true, &answers, source);
    }
    script
}

fn request(source: &mut Source) -> Vec<u8> {
    let method = if source.one_in(12) { "BREW" } else { *source.pick(&METHODS) };
    let segment = |source: &mut Source| ["cart", "v1", "42", "7d0c1f3a-0000", "a%20b", "..", "", "Shop.Service"][source.below(8)];
    let path: String = (0..source.within(1, 12)).map(|_| format!("/{}", segment(source))).collect();
    let target = match source.below(8) {
        0 => format!("http://me:secret@shop:8080{path}"),
        1 => format!("{path}?card=4111#x"),
        2 => "*".to_owned(),
        3 => "shop:443".to_owned(),
        _ => path,
    };
    let host = *source.pick(&["Host: shop\r\n", "host: [fd00::1]:80\r\n", "HOST:\r\n", "", "Host: a b\r\n"]);
    message(&format!("{method} {target} HTTP/1.1\r\n{host}"), source)
}

fn response(source: &mut Source) -> Vec<u8> {
    let interim = if source.one_in(8) { "HTTP/1.1 100 Continue\r\n\r\n" } else { "" };
    let status = *source.pick(&[200, 200, 200, 204, 304, 404, 503, 101, 103, 999]);
    message(&format!("{interim}HTTP/1.{} {status} Reason\r\n", source.below(2)), source)
}

/// A head with its framing, and a body that keeps to it more often than not.
fn message(first: &str, source: &mut Source) -> Vec<u8> {
    let most = if source.one_in(16) { 120 } else { 2 };
    let cookies = "Cookie: sid=secret\r\n".repeat(source.below(most));
    let length = source.length(300);
    let body = if source.one_in(8) { b"GET / HTTP/1.1\r\n\r\n".to_vec() } else { source.bytes(length) };
    let (framing, body) = match source.below(6) {
        0 => (String::new(), Vec::new()),
        1 | 2 => ("Transfer-Encoding: chunked\r\n".to_owned(), chunks(&body, source)),
        3 => (format!("Content-Length: {}\r\nContent-Length: {}\r\n", body.len(), body.len() + source.below(2)), body),
        _ => (format!("Content-Length: {}\r\n", body.len()), body),
    };
    [format!("{first}{cookies}{framing}\r\n").as_bytes(), &body].concat()
}

fn chunks(body: &[u8], source: &mut Source) -> Vec<u8> {
    let mut out = Vec::new();
    for part in body.chunks(source.within(1, 300)) {
        let extension = if source.one_in(4) { ";a=\"b\"" } else { "" };
        out.extend(format!("{:X}{extension}\r\n", part.len()).bytes());
        out.extend(part);
        out.extend(b"\r\n");
    }
    out.extend(if source.one_in(3) { &b"0\r\nTrailer: x\r\n\r\n"[..] } else { b"0\r\n\r\n" });
    out
}

/// The connections of the corpus as scripts.
fn connections() -> Vec<Vec<u8>> {
    let mut scripts: Vec<(String, Vec<u8>)> = Vec::new();
    for (place, bytes) in corpus("http1") {
        let (connection, sender) = place.rsplit_once(':').expect("a sender");
        if scripts.last().is_none_or(|(last, _)| last != connection) {
            scripts.push((connection.to_owned(), Vec::new()));
        }
        let (_, script) = scripts.last_mut().expect("a script");
        script::push(script, sender == "server", Piece::Bytes(&bytes));
    }
    scripts.into_iter().map(|(_, script)| script).collect()
}

/// The most that a connection can make a reader keep: requests that nobody answers, and two heads that do not end.
fn heaviest() -> Vec<u8> {
    let mut script = Vec::new();
    for _ in 0..=PENDING_MAX {
        script::push(&mut script, false, Piece::Bytes(b"GET / HTTP/1.1\r\n\r\n"));
    }
    for (server, first) in [(false, "GET / HTTP/1.1\r\n"), (true, "HTTP/1.1 200 OK\r\n")] {
        script::push(&mut script, server, Piece::Bytes(first.as_bytes()));
        for _ in 0..(HEAD_BYTES_MAX - 100) / 80 {
            script::push(&mut script, server, Piece::Bytes(&[b'a'; 80]));
        }
    }
    script::push(&mut script, false, Piece::Lost);
    script
}

#[test]
fn http1() {
    let campaign = Campaign {
        decoder: "HTTP/1",
        corpus: connections(),
        heaviest: vec![heaviest()],
        dictionary: &WORDS,
        input_bytes_max: 32768,
        heap_bytes_max: HEAP_BYTES_MAX as u64,
    };
    campaign.run(generate, |input| {
        let mut connection = if input.first().is_some_and(|byte| byte & 2 != 0) { Connection::midway() } else { Connection::new() };
        let (mut asked, mut answered) = (0, None);
        for (at_ns, (server, piece)) in script::pieces(input).enumerate() {
            let sender = if server { Sender::Server } else { Sender::Client };
            connection.feed(sender, at_ns as u64, piece, |event| match event {
                Event::Request(request) => {
                    assert_eq!(request.number, asked);
                    asked += 1;
                    assert!(METHODS.contains(&request.method) || request.method == OTHER);
                    assert!(
                        request.path.len() <= PATH_BYTES_MAX && is_printable(&request.path) && !request.path.contains(['?', '#', '%', '@', ';']),
                        "{}",
                        request.path
                    );
                    assert!(request.host.is_none_or(|host| is_printable(&host) && !host.contains(['@', '/'])));
                }
                Event::Response(response) => {
                    assert!((100..1000).contains(&response.status) && (response.status >= 200 || response.status == 101));
                    if let Some(request) = response.answers {
                        assert!(request.number < asked && answered.is_none_or(|before| before < request.number) && request.at_ns <= response.at_ns);
                        answered = Some(request.number);
                    }
                }
            });
        }
        assert!(asked == 0 || connection.speaks() != Speaks::Unsure);
        answered.is_some()
    });
}
