//! DNS and HTTP from packet to question: requests, answers and times against the programs themselves and a capture.

use chrono::Utc;
use edgescope_testbed::netns::in_netns;
use edgescope_tests::capture::{self, Capture};
use edgescope_tests::lab::{Pair, at};
use edgescope_tests::{Edges, Question, until};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");
const STORED: Duration = Duration::from_secs(75);
const BOTH: [(&str, i64); 2] = [("left", 0), ("right", 0)];
/// What a server takes to answer: far more than a busy machine adds to the way.
const THINKS: Duration = Duration::from_millis(40);
const DNS: u16 = 53;
/// One of tshark's own for HTTP.
const HTTP: u16 = 8080;

fn inside<T: Send + 'static>(pair: &Pair, host: &str, make: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> T {
    in_netns(&pair.lab.netns(host).expect("the lab has the host"), make).expect("it can be entered").expect("a socket")
}

fn ask(pair: &Pair, from: chrono::DateTime<Utc>, measures: &[&str]) -> Result<Edges, String> {
    pair.server.api().edges(&Question { group_by: "source.workload,dest.workload,port,role".to_owned(), ..Question::since(from, measures) })
}

/// The row of requests from `web` to `db` on a port has these numbers, and each time is within a tenth of the capture's.
fn is_told(edges: &Edges, port: u16, counts: &[(&str, u64)], times: &[(&str, f64)]) -> Result<(), String> {
    let port = port.to_string();
    let mut rows = edges.between("web", "db").filter(|row| row.dim("port") == port && row.dim("role") == "client");
    let row = rows.next().ok_or_else(|| format!("no edge web > db on port {port}: {edges:#?}"))?;
    for (measure, right) in counts {
        if row.measures.get(*measure) != Some(&(*right as f64)) {
            return Err(format!("{measure} should be {right}: {row:?}"));
        }
    }
    for (measure, witness_s) in times {
        let said_s = row.measures.get(*measure).copied().ok_or_else(|| format!("no {measure}: {row:?}"))?;
        if (said_s - witness_s).abs() > witness_s / 10.0 {
            return Err(format!("{measure} is {said_s} s, the capture has {witness_s} s"));
        }
        println!("{measure}: {:.1} ms, the capture has {:.1} ms", said_s * 1e3, witness_s * 1e3);
    }
    Ok(())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    capture::quantile(&values, 0.5)
}

/// RFC 1035: the question for the address of `a.test`.
fn question(id: u16) -> Vec<u8> {
    [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0], b"\x01a\x04test\x00\x00\x01\x00\x01"].concat()
}

#[test]
fn questions_of_dns_are_those_of_the_programs_and_the_capture() {
    /// NOERROR, NXDOMAIN, SERVFAIL, REFUSED, FORMERR; the last gets no answer.
    const CODES: [Option<u8>; 10] = [Some(0), Some(0), Some(0), Some(3), Some(2), Some(2), Some(5), Some(1), Some(0), None];
    let pair = Pair::new(TRAFFIC, "dns", None, &BOTH, &[]);
    let from = Utc::now();
    let netns = pair.lab.netns("left").expect("the lab has the host");
    let capture = Capture::start(&netns, "eth0", pair.scene.dir(), "left.pcap", "udp");
    for is_ipv6 in [false, true] {
        let to = at(&pair.lab, "right", is_ipv6, DNS);
        let any: SocketAddr = if is_ipv6 { "[::]:0" } else { "0.0.0.0:0" }.parse().expect("an address");
        let (client, resolver) = (inside(&pair, "left", move || UdpSocket::bind(any)), inside(&pair, "right", move || UdpSocket::bind(to)));
        client.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        let mut room = [0; 512];
        for (id, code) in CODES.iter().enumerate() {
            client.send_to(&question(id as u16 + 1), to).expect("sent");
            let (size, asker) = resolver.recv_from(&mut room).expect("it arrives");
            let Some(code) = code else { continue };
            thread::sleep(THINKS);
            (room[2], room[3]) = (0x81, 0x80 | code);
            resolver.send_to(&room[..size], asker).expect("sent");
            client.recv(&mut room).expect("it arrives");
        }
    }
    let seen = |filter: &str| capture::fields(capture.file(), filter, "dns.id").len();
    until("all in the capture", Duration::from_secs(20), || {
        let counted = [seen("dns.flags.response == 0"), seen("dns.flags.response == 1"), seen("dns.flags.rcode == 3 && dns.flags.response == 1")];
        if counted == [20, 18, 2] { Ok(()) } else { Err(format!("questions, answers and NXDOMAIN in the capture: {counted:?}")) }
    });
    let waited_s = median(capture::fields(&capture.stop(), "dns.time", "dns.time"));
    let counts = [
        ("dns.requests", 20),
        ("dns.requests.received", 20),
        ("dns.responses", 18),
        ("dns.nxdomain", 2),
        ("dns.servfail", 4),
        ("dns.refused", 2),
        ("dns.errors_other", 2),
        ("dns.timeouts", 2),
    ];
    let times = [("dns.client.duration.p50", waited_s), ("dns.server.duration.p50", waited_s)];
    let measures: Vec<&str> = counts.iter().map(|(name, _)| *name).chain(times.iter().map(|(name, _)| *name)).collect();
    until("the questions that were asked", STORED, || is_told(&ask(&pair, from, &measures)?, DNS, &counts, &times));
}

#[test]
fn requests_of_http_are_those_of_the_programs_and_the_capture() {
    const STATUS: [u16; 8] = [200, 201, 204, 301, 404, 404, 500, 503];
    let pair = Pair::new(TRAFFIC, "http", None, &BOTH, &[]);
    let from = Utc::now();
    let netns = pair.lab.netns("left").expect("the lab has the host");
    let capture = Capture::start(&netns, "eth0", pair.scene.dir(), "left.pcap", "tcp");
    for is_ipv6 in [false, true] {
        let to = at(&pair.lab, "right", is_ipv6, HTTP);
        let listener = inside(&pair, "right", move || TcpListener::bind(to));
        let mut client = inside(&pair, "left", move || TcpStream::connect(to));
        let (mut server, _) = listener.accept().expect("a connection");
        let mut say = |request: bool, text: &str| {
            let (from, to): (&mut TcpStream, &mut TcpStream) = if request { (&mut client, &mut server) } else { (&mut server, &mut client) };
            from.write_all(text.as_bytes()).expect("sent");
            to.read_exact(&mut vec![0; text.len()]).expect("it arrives");
        };
        for status in STATUS {
            say(true, "GET /page?of=secrets HTTP/1.1\r\nhost: a.test\r\n\r\n");
            thread::sleep(THINKS);
            say(false, &format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n"));
        }
        // Whose answer nobody waits for.
        say(true, "GET /gone HTTP/1.1\r\nhost: a.test\r\n\r\n");
    }
    let seen = |file: &Path, filter: &str| capture::fields(file, filter, "tcp.srcport").len();
    until("all in the capture", Duration::from_secs(20), || {
        let counted =
            [seen(capture.file(), "http.request"), seen(capture.file(), "http.response"), seen(capture.file(), "http.response.code == 404")];
        if counted == [18, 16, 4] { Ok(()) } else { Err(format!("requests, answers and those of 404 in the capture: {counted:?}")) }
    });
    let waited_s = median(capture::fields(&capture.stop(), "http.time", "http.time"));
    let counts = [
        ("http.requests", 18),
        ("http.requests.received", 18),
        ("http.status_2xx", 6),
        ("http.status_3xx", 2),
        ("http.status_4xx", 4),
        ("http.status_5xx", 4),
        ("http.status_other", 0),
        ("http.unanswered", 2),
    ];
    let times = [("http.client.duration.p50", waited_s), ("http.server.duration.p50", waited_s)];
    let measures: Vec<&str> = counts.iter().map(|(name, _)| *name).chain(times.iter().map(|(name, _)| *name)).collect();
    until("the requests that were made", STORED, || is_told(&ask(&pair, from, &measures)?, HTTP, &counts, &times));
}

/// A frame of HTTP/2 (RFC 9113, 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A field that is spelled out and enters no table (RFC 7541, 6.2.2).
fn field(name: &str, value: &str) -> Vec<u8> {
    [&[0, name.len() as u8][..], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

#[test]
fn requests_of_http2_and_calls_of_grpc_are_those_of_the_programs_and_the_capture() {
    /// Without and with a status of gRPC.
    const ANSWERS: [(u16, Option<u16>); 8] =
        [(200, None), (302, None), (404, None), (500, None), (200, Some(0)), (200, Some(0)), (200, Some(14)), (200, Some(13))];
    let pair = Pair::new(TRAFFIC, "http2", None, &BOTH, &[]);
    let from = Utc::now();
    let netns = pair.lab.netns("left").expect("the lab has the host");
    let capture = Capture::start(&netns, "eth0", pair.scene.dir(), "left.pcap", "tcp");
    let mut waited = Vec::new();
    for is_ipv6 in [false, true] {
        let to = at(&pair.lab, "right", is_ipv6, HTTP);
        let listener = inside(&pair, "right", move || TcpListener::bind(to));
        let mut client = inside(&pair, "left", move || TcpStream::connect(to));
        let (mut server, _) = listener.accept().expect("a connection");
        let mut say = |request: bool, frames: &[u8]| {
            let (from, to): (&mut TcpStream, &mut TcpStream) = if request { (&mut client, &mut server) } else { (&mut server, &mut client) };
            from.write_all(frames).expect("sent");
            to.read_exact(&mut vec![0; frames.len()]).expect("it arrives");
        };
        say(true, &[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat());
        say(false, &frame(4, 0, 0, &[]));
        let asks = |is_call: bool| {
            let common = [field(":method", "POST"), field(":scheme", "http"), field(":path", "/a.B/C?of=1"), field(":authority", "a.test")];
            [common.concat(), if is_call { field("content-type", "application/grpc") } else { Vec::new() }].concat()
        };
        let mut stream = 1;
        for (status, grpc_status) in ANSWERS {
            say(true, &frame(1, 5, stream, &asks(grpc_status.is_some())));
            let began = Instant::now();
            thread::sleep(THINKS);
            let head = frame(1, 4 | u8::from(grpc_status.is_none()), stream, &field(":status", &status.to_string()));
            let trailers = grpc_status.map(|status| frame(1, 5, stream, &field("grpc-status", &status.to_string())));
            say(false, &[head, trailers.unwrap_or_default()].concat());
            waited.push(began.elapsed().as_secs_f64());
            stream += 2;
        }
        // A call whose client gives up.
        say(true, &frame(1, 4, stream, &asks(true)));
        say(true, &frame(3, 0, stream, &[0, 0, 0, 8]));
    }
    let seen = |filter: &str| capture::fields(capture.file(), filter, "tcp.srcport").len();
    until("all in the capture", Duration::from_secs(20), || {
        let counted =
            [seen("http2.headers.method"), seen("http2.headers.status"), seen("http2.headers.status == 200"), seen("http2.rst_stream.error")];
        if counted == [18, 16, 10, 2] { Ok(()) } else { Err(format!("requests, answers, those of 200 and resets in the capture: {counted:?}")) }
    });
    capture.stop();
    let counts = [
        ("http.requests", 18),
        ("http.requests.received", 18),
        ("http.status_2xx", 10),
        ("http.status_3xx", 2),
        ("http.status_4xx", 2),
        ("http.status_5xx", 2),
        ("http.unanswered", 2),
        ("grpc.requests", 10),
        ("grpc.requests.received", 10),
        ("grpc.status_ok", 4),
        ("grpc.status_unavailable", 2),
        ("grpc.status_deadline", 0),
        ("grpc.status_other", 2),
        ("grpc.status_none", 2),
    ];
    let waited_s = median(waited);
    let times = [("http.client.duration.p50", waited_s), ("http.server.duration.p50", waited_s)];
    let measures: Vec<&str> = counts.iter().map(|(name, _)| *name).chain(times.iter().map(|(name, _)| *name)).collect();
    until("the requests that were made", STORED, || is_told(&ask(&pair, from, &measures)?, HTTP, &counts, &times));
}
