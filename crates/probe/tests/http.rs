//! HTTP/1 against what a server and its clients of these tests' own asked and answered.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use edgescope_probe::{Counters, HookState, Pass, Probe, ProbeConfig};
use support::{Net, SERVER4, SERVER6, addr, answers, times};

const PORT: u16 = 8080;

fn probe(net: &Net) -> Probe {
    let probe = Probe::load(&ProbeConfig { http: true, ..net.config() }).unwrap();
    for hook in probe.hooks() {
        assert!(matches!(hook.state, HookState::Attached | HookState::Off), "{hook:?}");
    }
    probe
}

/// Both ends of a connection.
struct Talk {
    client: TcpStream,
    server: TcpStream,
}

impl Talk {
    fn new(net: &Net, at: &'static str) -> Self {
        let listener = net.server.run(move || TcpListener::bind(addr(at, PORT)).unwrap());
        let client = net.client.run(move || TcpStream::connect(addr(at, PORT)).unwrap());
        let (server, _) = listener.accept().unwrap();
        [&client, &server].iter().for_each(|end| end.set_nodelay(true).unwrap());
        Self { client, server }
    }

    fn ask(&mut self, text: &str) {
        pass(&mut self.client, &mut self.server, text.as_bytes());
    }

    fn answer(&mut self, text: &str) {
        pass(&mut self.server, &mut self.client, text.as_bytes());
    }

    fn exchange(&mut self, request: &str, status: u16) {
        self.ask(request);
        self.answer(&format!("HTTP/1.1 {status} Whatever\r\ncontent-length: 0\r\n\r\n"));
    }
}

fn pass(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8]) {
    from.write_all(bytes).unwrap();
    to.read_exact(&mut vec![0; bytes.len()]).unwrap();
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: a.test\r\n\r\n")
}

fn told(net: &Net, pass: &Pass) -> [Counters; 2] {
    [net.client_sum(pass, PORT), net.server_sum(pass, PORT)]
}

#[test]
fn every_method_and_every_status_counts_at_both_ends() {
    let net = Net::new();
    let mut probe = probe(&net);
    for at in [SERVER4, SERVER6] {
        let mut talk = Talk::new(&net, at);
        talk.exchange(&get("/"), 200);
        talk.exchange("POST /items HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 204);
        talk.exchange("PUT /items/1 HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 302);
        talk.exchange("DELETE /items/1 HTTP/1.0\r\n\r\n", 404);
        talk.exchange("PATCH /items/1 HTTP/1.1\r\ncontent-length: 0\r\n\r\n", 429);
        talk.exchange("HEAD / HTTP/1.1\r\nhost: a\r\n\r\n", 503);
        talk.exchange("OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n", 500);
        talk.exchange("TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 599);
        // An interim answer is none.
        talk.ask("POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
        talk.answer("HTTP/1.1 100 Continue\r\n\r\n");
        talk.ask("abc");
        talk.answer("HTTP/1.1 201 Created\r\ncontent-length: 0\r\n\r\n");
    }
    let pass = probe.read(1).unwrap();
    for of in told(&net, &pass) {
        assert_eq!((of.requests, answers(&of), of.unanswered), (18, [6, 2, 4, 6, 0], 0));
    }
    assert_eq!(times(&net, &pass).map(|(count, _)| count), [18, 18]);
}

#[test]
fn times_are_the_clients_and_the_servers_own() {
    const THINKS: Duration = Duration::from_millis(60);
    let net = Net::new();
    let mut probe = probe(&net);
    let mut talk = Talk::new(&net, SERVER4);
    let began = Instant::now();
    talk.ask(&get("/"));
    let heard = Instant::now();
    thread::sleep(THINKS);
    let thought = heard.elapsed();
    talk.answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let waited = began.elapsed();
    let [(one, client_time), (same, server_time)] = times(&net, &probe.read(1).unwrap());
    assert_eq!((one, same), (1, 1));
    assert!(client_time <= waited && server_time >= thought && server_time < client_time, "{server_time:?} < {client_time:?} <= {waited:?}");
    assert!(waited - client_time < THINKS / 10, "{client_time:?} of {waited:?}");
}

#[test]
fn what_goes_on_between_is_neither_request_nor_answer() {
    let net = Net::new();
    let mut probe = probe(&net);
    let mut talk = Talk::new(&net, SERVER4);
    talk.ask("POST / HTTP/1.1\r\ncontent-length: 100000\r\n\r\n");
    talk.ask(&"x".repeat(100_000));
    talk.answer("HTTP/1.1 200 OK\r\ncontent-length: 50000\r\n\r\n");
    talk.answer(&"GETHTTP/1.1 2".repeat(5_000));
    // Two in one segment: counted where the segment begins, so one.
    talk.ask(&get("/").repeat(2));
    talk.answer(&"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".repeat(2));
    // Two that wait: which is answered when is not known, so no time is told.
    talk.ask(&get("/a"));
    talk.ask(&get("/b"));
    (0..2).for_each(|_| talk.answer("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"));
    let pass = probe.read(1).unwrap();
    for of in told(&net, &pass) {
        assert_eq!((of.requests, answers(&of), of.unanswered), (4, [4, 0, 0, 0, 0], 0));
    }
    assert_eq!(times(&net, &pass).map(|(count, _)| count), [2, 2]);
}

#[test]
fn a_request_whose_connection_ends_got_no_answer() {
    let net = Net::new();
    let mut probe = probe(&net);
    let mut talk = Talk::new(&net, SERVER4);
    talk.exchange(&get("/"), 200);
    talk.ask(&get("/gone"));
    drop(talk);
    let pass = support::read_until(&mut probe, "the connection is closed", |pass| told(&net, pass).iter().all(|of| of.closes == 1));
    for of in told(&net, &pass) {
        assert_eq!((of.requests, answers(&of)[0], of.unanswered), (2, 1, 1));
    }
}

#[test]
fn a_lost_segment_counts_once() {
    let net = Net::new();
    let mut probe = probe(&net);
    let mut talk = Talk::new(&net, SERVER4);
    net.filter(&format!("tcp dport {PORT} meta length > 60 limit rate 1/hour burst 1 packets drop"));
    net.router.nft(&format!("add rule inet faults forward tcp sport {PORT} meta length > 60 limit rate 1/hour burst 1 packets drop"));
    talk.exchange(&get("/"), 200);
    let pass = probe.read(1).unwrap();
    assert!(told(&net, &pass).iter().all(|of| of.retrans_segs > 0), "nothing was lost");
    for of in told(&net, &pass) {
        assert_eq!((of.requests, answers(&of)[0], of.unanswered), (1, 1, 0));
    }
}

/// Whoever says four times something else is not listened to any more; a websocket is none from its switch on.
#[test]
fn other_protocols_are_left_alone() {
    let net = Net::new();
    let mut probe = probe(&net);
    let mut other = Talk::new(&net, SERVER4);
    (0..6).for_each(|_| other.ask("*2\r\n$3\r\nGET\r\n$1\r\na\r\n"));
    other.exchange(&get("/"), 200);
    drop(other);
    let mut socket = Talk::new(&net, SERVER4);
    socket.exchange("GET /chat HTTP/1.1\r\nupgrade: websocket\r\n\r\n", 101);
    socket.exchange(&get("/in/a/frame"), 200);
    let pass = probe.read(1).unwrap();
    for of in told(&net, &pass) {
        assert_eq!((of.requests, answers(&of)), (1, [0, 0, 0, 0, 1]));
    }
}
