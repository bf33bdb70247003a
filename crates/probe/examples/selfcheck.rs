//! Loads the kernel side, speaks TCP, UDP, DNS and HTTP with itself, and prints what was seen: whether it works on this kernel, in a second. Ends with 1 if the
//! counters are not exact. Used on kernels under emulation, where there is little else.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;

use edgescope_probe::{Counters, FlowReading, HookState, Pass, Probe, ProbeConfig, Protocol, Role, kernel_report};

const DNS: u16 = 53;
/// A question for the root's name server, and its header's answer: ids and flags are all that counts.
const QUESTION: [u8; 17] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

fn main() -> ExitCode {
    println!("{:#?}", kernel_report());
    // One pair is older than the probe.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pair = || (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener.accept().unwrap().0);
    let mut old = pair();

    let agent_id = format!("selfcheck-{}", std::process::id());
    let config = ProbeConfig { agent_id, pin: false, drops: true, udp: true, dns: true, http: true, http2: true, ..ProbeConfig::default() };
    let mut probe = match Probe::load(&config) {
        Ok(probe) => probe,
        Err(error) => {
            println!("{error}");
            return ExitCode::FAILURE;
        }
    };
    probe.hooks().iter().for_each(|hook| println!("{:>24} {:?}", hook.name, hook.state));
    println!("{:?}", probe.mark_existing().unwrap());
    let mut new = pair();
    for (client, server) in [&mut old, &mut new] {
        client.write_all(&[1; 1000]).unwrap();
        server.read_exact(&mut [0; 1000]).unwrap();
    }
    drop((old, new));
    let udp_port = send_a_datagram();
    ask_a_name();
    let http_port = ask_a_page();

    let pass = probe.read(1).unwrap();
    let sees_packets = probe.hooks().iter().all(|hook| !matches!(hook.name, "on_egress" | "on_ingress") || hook.state == HookState::Attached);
    println!("packets are {}", if sees_packets { "seen" } else { "not asked of this kernel: UDP, DNS and HTTP go unseen" });
    println!("{:?} sockets {} took {:?}", pass.losses, pass.sockets, pass.took);
    let tcp = |role, of: fn(&Counters) -> u64| {
        sum(&pass, |flow| flow.key.protocol == Protocol::Tcp && flow.key.service_port == port && flow.key.role == role, of)
    };
    let mut checks = vec![
        ("bytes sent", tcp(Role::Client, |of| of.bytes_sent), 2000),
        ("bytes received", tcp(Role::Server, |of| of.bytes_received), 2000),
        ("closes", tcp(Role::Client, |of| of.closes), 2),
    ];
    if sees_packets {
        let at = |port: u16, of: fn(&Counters) -> u64| sum(&pass, |flow| flow.key.service_port == port, of);
        // Each end tells, and both are here.
        checks.extend([
            ("UDP bytes sent", at(udp_port, |of| of.bytes_sent), 700),
            ("UDP bytes received", at(udp_port, |of| of.bytes_received), 700),
            ("DNS questions", at(DNS, |of| of.requests), 2),
            ("DNS answers", at(DNS, |of| of.answers_0), 2),
            ("HTTP requests", at(http_port, |of| of.requests), 2),
            ("HTTP answers", at(http_port, |of| of.answers_2), 2),
        ]);
    }
    checks.iter().for_each(|(what, seen, right)| println!("{what:>20} {seen} of {right}"));
    let exact = checks.iter().all(|(_, seen, right)| seen == right);
    println!("{}", if exact { "exact" } else { "NOT EXACT" });
    if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn sum(pass: &Pass, wanted: impl Fn(&FlowReading) -> bool, of: fn(&Counters) -> u64) -> u64 {
    pass.flows.iter().filter(|flow| wanted(flow)).map(|flow| of(&flow.counters)).sum()
}

/// Returns the port that it went to.
fn send_a_datagram() -> u16 {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[1; 700], socket.local_addr().unwrap()).unwrap();
    socket.recv(&mut [0; 700]).unwrap();
    socket.local_addr().unwrap().port()
}

fn ask_a_name() {
    let server = UdpSocket::bind(("127.0.0.1", DNS)).unwrap();
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.connect(("127.0.0.1", DNS)).unwrap();
    client.send(&QUESTION).unwrap();
    let mut message = [0; QUESTION.len()];
    let (_, from) = server.recv_from(&mut message).unwrap();
    message[2] |= 0x80;
    server.send_to(&message, from).unwrap();
    client.recv(&mut message).unwrap();
}

/// Returns the port of the page, which is not there.
fn ask_a_page() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let (request, answer) = (b"GET /page HTTP/1.1\r\nhost: a\r\n\r\n", b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n");
    client.write_all(request).unwrap();
    server.read_exact(&mut vec![0; request.len()]).unwrap();
    server.write_all(answer).unwrap();
    client.read_exact(&mut vec![0; answer.len()]).unwrap();
    listener.local_addr().unwrap().port()
}
