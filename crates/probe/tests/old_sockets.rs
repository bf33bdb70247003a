//! Sockets that are older than the probe.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use edgescope_probe::{Comm, Role};
use support::*;

fn own_comm() -> Comm {
    let name = std::fs::read_to_string(format!("/proc/{}/comm", std::process::id())).unwrap();
    Comm::new(name.trim_end())
}

#[test]
fn older_connections_count_from_their_marking_with_role_and_owner() {
    let net = Net::new();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let mut client = net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    client.write_all(&[1; 5000]).unwrap();
    server.read_exact(&mut [0; 5000]).unwrap();

    let mut probe = net.probe();
    assert_eq!(probe.read(1).unwrap().flows.len(), 0, "nothing is known before marking");
    let report = probe.mark_existing().unwrap();
    assert_eq!((report.namespaces, report.listeners, report.sockets, report.without_rtt), (2, 1, 2, 0), "{report:?}");
    assert_eq!(report.failed, []);
    let again = probe.mark_existing().unwrap();
    assert_eq!((again.listeners, again.sockets), (0, 0), "marked twice");

    for _ in 0..10 {
        client.write_all(&[2; 300]).unwrap();
        server.read_exact(&mut [0; 300]).unwrap();
        server.write_all(&[3; 7]).unwrap();
        client.read_exact(&mut [0; 7]).unwrap();
    }
    drop((client, server));
    let pass = read_until(&mut probe, "both closes", |pass| net.client_sum(pass, 80).closes == 1 && net.server_sum(pass, 80).closes == 1);
    let (client, server) = (net.client_sum(&pass, 80), net.server_sum(&pass, 80));
    assert_eq!((client.bytes_sent, client.bytes_received), (3000, 70), "what came before the probe is not counted");
    assert_eq!((server.bytes_sent, server.bytes_received), (70, 3000));
    assert_eq!((client.connect_attempts, server.accepts), (0, 0));
    for flow in &pass.flows {
        assert!(flow.key.role_inferred, "{:?}", flow.key);
        assert_eq!(flow.key.comm, own_comm());
        assert_eq!(flow.counters.last_tgid, std::process::id());
        let rtts: u64 = flow.rtt.iter().flat_map(|rtt| &rtt.buckets).map(|(_, count)| count).sum();
        assert!(rtts > 0 && !pass.rtt_sampled, "no RTT of an older socket: {flow:?}");
    }
}

/// The pass and the marking may come in any order with the sockets' lives.
#[test]
fn a_connection_accepted_from_an_older_listener_has_its_owner() {
    let net = Net::new();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER6, 80)).unwrap());
    let mut probe = net.probe();
    probe.mark_existing().unwrap();
    let client = net.client.run(|| TcpStream::connect(addr(SERVER6, 80)).unwrap());
    drop((listener.accept().unwrap(), client));
    let pass = read_until(&mut probe, "the close", |pass| net.server_sum(pass, 80).closes == 1);
    let flow = pass.flows.iter().find(|flow| flow.key.role == Role::Server).unwrap();
    assert_eq!((flow.key.comm, flow.key.role_inferred, flow.counters.accepts), (own_comm(), false, 1));
    assert_eq!(pass.losses.owner_unknown, 0);
    let listens = &pass.listeners[0];
    assert_eq!((listens.comm, listens.port, listens.netns), (own_comm(), 80, net.server.inode));
}

#[test]
fn an_older_connection_whose_listener_is_gone_keeps_its_service_port() {
    let net = Net::new();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let mut client = net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    drop(listener);
    let mut probe = net.probe();
    probe.mark_existing().unwrap();
    client.write_all(b"x").unwrap();
    server.read_exact(&mut [0]).unwrap();
    let pass = read_until(&mut probe, "the byte", |pass| net.server_sum(pass, 80).bytes_received == 1);
    assert!(pass.flows.iter().all(|flow| flow.key.service_port == 80), "{pass:#?}");
}

#[test]
fn an_older_pending_attempt_has_its_outcome_counted() {
    let net = Net::new();
    net.filter("tcp dport 80 drop");
    let pending = start_connecting(&net, addr(SERVER4, 80));
    let mut probe = net.probe();
    assert_eq!(probe.mark_existing().unwrap().sockets, 1);
    // What was repeated before is not counted, but it still tells a time-out from a change of mind.
    read_until(&mut probe, "a repeated SYN", |pass| net.client_sum(pass, 80).retrans_syn > 0);
    drop(pending);
    let client = net.client_sum(&probe.read(1).unwrap(), 80);
    assert_eq!((client.connect_attempts, client.connect_timeout, client.connect_cancelled), (1, 1, 0));
}
