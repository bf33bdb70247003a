//! Loads the kernel side, makes connections to itself and sends itself a datagram, and prints what was seen: whether it works on this kernel, in a
//! second. Ends with 1 if the counters are not exact. Used on kernels under emulation, where there is little else.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::ExitCode;

use edgescope_probe::{HookState, Probe, ProbeConfig, Protocol, Role, kernel_report};

fn main() -> ExitCode {
    println!("{:#?}", kernel_report());
    // One pair is older than the probe.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let pair = || (TcpStream::connect(listener.local_addr().unwrap()).unwrap(), listener.accept().unwrap().0);
    let mut old = pair();

    let config = ProbeConfig { agent_id: format!("selfcheck-{}", std::process::id()), pin: false, drops: true, udp: true, ..ProbeConfig::default() };
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
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let at = datagrams.local_addr().unwrap();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[1; 700], at).unwrap();
    datagrams.recv(&mut [0; 700]).unwrap();
    let pass = probe.read(1).unwrap();
    let sees_udp = probe.hooks().iter().all(|hook| !matches!(hook.name, "on_egress" | "on_ingress") || hook.state == HookState::Attached);
    let udp: (u64, u64) = pass
        .flows
        .iter()
        .filter(|flow| flow.key.protocol == Protocol::Udp && flow.key.service_port == at.port())
        .fold((0, 0), |sum, flow| (sum.0 + flow.counters.bytes_sent, sum.1 + flow.counters.bytes_received));
    println!("UDP {udp:?}{}", if sees_udp { "" } else { ", not asked of this kernel" });
    let ours: Vec<_> = pass.flows.iter().filter(|flow| flow.key.protocol == Protocol::Tcp && flow.key.service_port == port).collect();
    ours.iter().for_each(|flow| println!("{flow:#?}"));
    println!("{:?} sockets {} took {:?}", pass.losses, pass.sockets, pass.took);
    let total = |role, of: fn(&edgescope_probe::Counters) -> u64| -> u64 {
        ours.iter().filter(|flow| flow.key.role == role).map(|flow| of(&flow.counters)).sum()
    };
    let exact = total(Role::Client, |of| of.bytes_sent) == 2000
        && total(Role::Server, |of| of.bytes_received) == 2000
        && total(Role::Client, |of| of.closes) == 2
        && (!sees_udp || udp == (700, 700));
    println!("{}", if exact { "exact" } else { "NOT EXACT" });
    if exact { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
