//! Loads the kernel side, speaks TCP, UDP, DNS and HTTP with itself, and prints what was seen: whether it works on this kernel, in a second. Ends with 1 if the
//! counters are not exact, or a program is refused or has grown since it was recorded. Used on kernels under emulation, where there is little else.
//! `selfcheck --record FILE` reads what it printed there, and writes its numbers into the record.
#![allow(clippy::unwrap_used)]

#[path = "../tests/support/golden.rs"]
mod golden;

use std::io::{BufRead, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;

use edgescope_probe::{Counters, FlowReading, HookState, Pass, Probe, ProbeConfig, Protocol, Role, kernel_report};

const DNS: u16 = 53;
/// A question for the root's name server, and its header's answer: ids and flags are all that counts.
const QUESTION: [u8; 17] = [0, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];

/// Before each line of the numbers, so that they can be told from what else comes over a serial line.
const VERIFIED: &str = "verified: ";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, file] = arguments.as_slice()
        && mode == "--record"
    {
        return record(file);
    }
    println!("{:#?}", kernel_report());
    // Both are told, whatever the first finds.
    let verified = no_program_grew();
    let exact = counters_are_exact();
    if verified && exact { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints what the verifier says of each program.
fn no_program_grew() -> bool {
    let programs = edgescope_probe::verified_programs().unwrap();
    let (name, now) = (golden::part_name(), golden::part_of(&programs));
    golden::print(&name, &now).lines().for_each(|line| println!("{VERIFIED}{line}"));
    programs.iter().filter_map(|of| Some((&of.name, of.instructions.as_ref().err()?))).for_each(|(name, why)| println!("refused: {name}: {why}"));
    let Some(recorded) = golden::find(golden::RECORDED, &name) else {
        println!("COMPARED NOTHING: no numbers are recorded of {name}");
        return true;
    };
    let faults = golden::faults(&recorded, &now);
    faults.iter().for_each(|fault| println!("NOT AS RECORDED: {fault}"));
    if faults.is_empty() {
        println!("{} programs compared with the record of {name}", now.len());
    }
    faults.is_empty()
}

/// Takes the numbers out of the output on stdin.
fn record(file: &str) -> ExitCode {
    let lines = std::io::stdin().lock().split(b'\n').map(|line| String::from_utf8_lossy(&line.unwrap()).trim().to_owned());
    let block: Vec<String> = lines.filter_map(|line| line.strip_prefix(VERIFIED).map(str::to_owned)).collect();
    let Some(name) = block.first() else {
        println!("no numbers on stdin");
        return ExitCode::FAILURE;
    };
    let part = golden::find(&block.join("\n"), name).unwrap();
    let recorded = std::fs::read_to_string(file).unwrap();
    std::fs::write(file, golden::with(&recorded, name, &part)).unwrap();
    ExitCode::SUCCESS
}

fn counters_are_exact() -> bool {
    // One pair is older than the probe.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pair = || (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener.accept().unwrap().0);
    let mut old = pair();

    let agent_id = format!("selfcheck-{}", std::process::id());
    let config =
        ProbeConfig { agent_id, pin: false, drops: true, udp: true, dns: true, http: true, http2: true, names: true, ..ProbeConfig::default() };
    let mut probe = match Probe::load(&config) {
        Ok(probe) => probe,
        Err(error) => {
            println!("{error}");
            return false;
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
    let closed = refuse();
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
        ("resets", sum(&pass, |flow| flow.key.service_port == closed, |of| of.resets_sent), u64::from(tells_all_resets())),
        ("without a listener", sum(&pass, |flow| flow.key.service_port == closed, |of| of.resets_no_listener), u64::from(tells_all_resets())),
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
    exact
}

fn sum(pass: &Pass, wanted: impl Fn(&FlowReading) -> bool, of: fn(&Counters) -> u64) -> u64 {
    pass.flows.iter().filter(|flow| wanted(flow)).map(|flow| of(&flow.counters)).sum()
}

/// Knocks where someone listened just now; returns the port.
fn refuse() -> u16 {
    let at = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(TcpStream::connect(at).is_err());
    at.port()
}

/// Linux 6.10: before, only those that a socket sends, and never why.
fn tells_all_resets() -> bool {
    let numbers: Vec<u32> = kernel_report().release.split(['.', '-']).take(2).filter_map(|number| number.parse().ok()).collect();
    numbers >= vec![6, 10]
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
