//! DNS against what a resolver and its clients of these tests' own asked, answered and waited for.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use edgescope_probe::{Counters, HookState, Pass, Probe, ProbeConfig, Protocol, Role};
use support::{CLIENT4, Net, SERVER4, SERVER6, addr, answers, read_until, sum, times};

const DNS: u16 = 53;
const SERVFAIL: u8 = 2;

fn probe_with(net: &Net, change: impl FnOnce(&mut ProbeConfig)) -> Probe {
    let mut config = ProbeConfig { dns: true, ..net.config() };
    change(&mut config);
    let probe = Probe::load(&config).unwrap();
    for hook in probe.hooks() {
        assert!(matches!(hook.state, HookState::Attached | HookState::Off), "{hook:?}");
    }
    probe
}

/// RFC 1035: the header, and the question for the address of `a.test`.
fn question(id: u16) -> Vec<u8> {
    let mut message = id.to_be_bytes().to_vec();
    message.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    message.extend(b"\x01a\x04test\x00\x00\x01\x00\x01");
    message
}

fn answer(question: &[u8], code: u8) -> Vec<u8> {
    let mut message = question.to_vec();
    message[2] |= 0x80;
    message[3] = 0x80 | code;
    message
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut all = (message.len() as u16).to_be_bytes().to_vec();
    all.extend(message);
    all
}

struct Resolver(UdpSocket);

impl Resolver {
    fn new(net: &Net, at: &str) -> Self {
        let at = addr(at, DNS);
        let socket = net.server.run(move || UdpSocket::bind(at).unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        Self(socket)
    }

    fn hear(&self) -> (Vec<u8>, SocketAddr) {
        let mut room = [0; 512];
        let (size, from) = self.0.recv_from(&mut room).unwrap();
        (room[..size].to_vec(), from)
    }

    fn answer(&self, code: u8) {
        let (asked, from) = self.hear();
        self.0.send_to(&answer(&asked, code), from).unwrap();
    }
}

fn client(net: &Net, to: &str) -> UdpSocket {
    let to = addr(to, DNS);
    let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = net.client.run(move || UdpSocket::bind(any).unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket.connect(to).unwrap();
    socket
}

fn told(net: &Net, pass: &Pass, protocol: Protocol) -> [Counters; 2] {
    [(net.client.inode, Role::Client), (net.server.inode, Role::Server)].map(|(netns, role)| {
        sum(pass, |flow| flow.key.netns == netns && flow.key.role == role && flow.key.protocol == protocol && flow.key.service_port == DNS)
    })
}

#[test]
fn questions_and_answers_are_those_of_both_programs() {
    let net = Net::new();
    let mut probe = probe_with(&net, |config| config.udp = true);
    let mut id = 0;
    for at in [SERVER4, SERVER6] {
        let resolver = Resolver::new(&net, at);
        // NOERROR once, NXDOMAIN (3) twice, SERVFAIL (2) thrice, REFUSED (5), FORMERR (1) and NOTIMP (4).
        for code in [0, 3, 3, 2, 2, 2, 5, 1, 4] {
            let socket = client(&net, at);
            id += 1;
            socket.send(&question(id)).unwrap();
            resolver.answer(code);
            socket.recv(&mut [0; 512]).unwrap();
        }
    }
    let pass = probe.read(1).unwrap();
    for of in told(&net, &pass, Protocol::Udp) {
        assert_eq!((of.requests, answers(&of), of.unanswered), (18, [2, 4, 6, 2, 4], 0));
        assert_eq!(of.segs_sent + of.segs_received, 36);
    }
    assert_eq!(times(&net, &pass).map(|(count, _)| count), [18, 18]);
}

#[test]
fn times_are_the_clients_and_the_servers_own() {
    const THINKS: Duration = Duration::from_millis(60);
    let net = Net::new();
    let mut probe = probe_with(&net, |_| {});
    let resolver = Resolver::new(&net, SERVER4);
    let socket = client(&net, SERVER4);
    let began = Instant::now();
    socket.send(&question(7)).unwrap();
    let (asked, from) = resolver.hear();
    let heard = Instant::now();
    thread::sleep(THINKS);
    let answers_at = Instant::now();
    resolver.0.send_to(&answer(&asked, 0), from).unwrap();
    let thought = (answers_at - heard, heard.elapsed());
    socket.recv(&mut [0; 512]).unwrap();
    let waited = began.elapsed();
    let [(one, client_time), (same, server_time)] = times(&net, &probe.read(1).unwrap());
    assert_eq!((one, same), (1, 1));
    // The programs' own clocks stand a little before and behind the kernel's.
    let slack = Duration::from_millis(6);
    assert!(client_time <= waited && client_time + slack >= waited.min(THINKS * 2), "{client_time:?} of {waited:?}");
    assert!(server_time >= thought.0 && server_time <= thought.1 + slack, "{server_time:?} of {thought:?}");
    assert!(client_time > server_time);
}

#[test]
fn a_question_without_an_answer_is_told_after_five_seconds_and_once() {
    let net = Net::new();
    let mut probe = probe_with(&net, |_| {});
    let resolver = Resolver::new(&net, SERVER4);
    let socket = client(&net, SERVER4);
    let began = Instant::now();
    // Asked twice: it is one question, and two requests.
    for _ in 0..2 {
        socket.send(&question(1)).unwrap();
        resolver.hear();
    }
    let of = |pass: &Pass| told(&net, pass, Protocol::Udp).map(|of| (of.requests, of.unanswered));
    let pass = read_until(&mut probe, "the question is given up", |pass| of(pass)[0].1 > 0);
    assert!(began.elapsed() >= Duration::from_secs(5));
    assert_eq!(of(&pass), [(2, 1), (2, 1)]);
    // An answer that comes later is an answer, and no time of anything.
    resolver.0.send_to(&answer(&question(1), 0), socket.local_addr().map(|at| addr(CLIENT4, at.port())).unwrap()).unwrap();
    socket.recv(&mut [0; 512]).unwrap();
    let pass = probe.read(2).unwrap();
    assert_eq!(told(&net, &pass, Protocol::Udp).map(|of| (of.requests, of.unanswered, answers(&of)[0])), [(2, 1, 1); 2]);
    assert_eq!(times(&net, &pass).map(|(count, _)| count), [0, 0]);
}

#[test]
fn what_is_no_question_and_no_answer_is_left_alone() {
    let net = Net::new();
    let mut probe = probe_with(&net, |_| {});
    let resolver = Resolver::new(&net, SERVER4);
    let socket = client(&net, SERVER4);
    let mut update = question(1);
    update[2] |= 5 << 3;
    for message in [update, answer(&question(2), 0), vec![1, 2, 3]] {
        socket.send(&message).unwrap();
        let (_, from) = resolver.hear();
        // A question from the resolver to its client's port.
        resolver.0.send_to(&question(3), from).unwrap();
        socket.recv(&mut [0; 512]).unwrap();
    }
    let pass = probe.read(1).unwrap();
    for of in told(&net, &pass, Protocol::Udp) {
        assert_eq!((of.segs_sent, of.requests, answers(&of)), (3, 0, [0; 5]));
    }
}

/// Several on one connection, and one whose segment is lost on the way.
#[test]
fn over_tcp_a_message_counts_once_also_if_its_segment_is_sent_again() {
    let net = Net::new();
    let mut probe = probe_with(&net, |_| {});
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, DNS)).unwrap());
    let mut socket = net.client.run(|| TcpStream::connect(addr(SERVER4, DNS)).unwrap());
    let (mut service, _) = listener.accept().unwrap();
    let mut exchange = |id: u16, code: u8| {
        let asked = framed(&question(id));
        socket.write_all(&asked).unwrap();
        let mut heard = vec![0; asked.len()];
        service.read_exact(&mut heard).unwrap();
        service.write_all(&framed(&answer(&heard[2..], code))).unwrap();
        socket.read_exact(&mut heard).unwrap();
    };
    exchange(1, 0);
    // The first packet of each direction is lost.
    net.filter(&format!("tcp dport {DNS} meta length > 60 limit rate 1/hour burst 1 packets drop"));
    net.router.nft(&format!("add rule inet faults forward tcp sport {DNS} meta length > 60 limit rate 1/hour burst 1 packets drop"));
    exchange(2, SERVFAIL);
    net.no_filter();
    let pass = probe.read(1).unwrap();
    let retrans = [net.client_sum(&pass, DNS).retrans_segs, net.server_sum(&pass, DNS).retrans_segs];
    assert!(retrans.iter().all(|count| *count > 0), "nothing was lost: {retrans:?}");
    for of in told(&net, &pass, Protocol::Tcp) {
        assert_eq!((of.requests, answers(&of), of.unanswered), (2, [1, 0, 1, 0, 0], 0));
    }
    assert_eq!(times(&net, &pass).map(|(count, _)| count), [2, 2]);
}

#[test]
fn without_udp_only_the_port_of_dns_is_counted_and_without_dns_no_question() {
    let net = Net::new();
    let resolver = Resolver::new(&net, SERVER4);
    let other = net.server.run(|| UdpSocket::bind(addr(SERVER4, 4500)).unwrap());
    let ask = || {
        let socket = client(&net, SERVER4);
        socket.send(&question(1)).unwrap();
        resolver.answer(0);
        socket.recv(&mut [0; 512]).unwrap();
        socket.send_to(&[1], other.local_addr().unwrap()).unwrap();
        other.recv(&mut [0; 1]).unwrap();
    };
    let ports = |pass: &Pass| pass.flows.iter().map(|flow| flow.key.service_port).collect::<std::collections::BTreeSet<_>>();
    let mut dns_alone = probe_with(&net, |_| {});
    let mut udp_alone = probe_with(&net, |config| (config.udp, config.dns) = (true, false));
    ask();
    let pass = dns_alone.read(1).unwrap();
    assert_eq!((ports(&pass).into_iter().collect::<Vec<_>>(), told(&net, &pass, Protocol::Udp)[0].requests), (vec![DNS], 1));
    let pass = udp_alone.read(1).unwrap();
    assert_eq!((ports(&pass).into_iter().collect::<Vec<_>>(), told(&net, &pass, Protocol::Udp)[0].requests), (vec![DNS, 4500], 0));
}
