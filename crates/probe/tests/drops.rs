//! Packets that the kernel dropped, by edge, against the counters of whoever dropped them.
#![allow(clippy::unwrap_used)]

#[path = "support/raw.rs"]
mod raw;
mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use edgescope_probe::{Pass, Probe, ProbeConfig, Protocol};
use raw::{ACK, Segment};
use support::*;

const PORT: u16 = 80;
const ADDRESSES: [(&str, &str); 2] = [(CLIENT4, SERVER4), (CLIENT6, SERVER6)];

fn probe(net: &Net) -> Probe {
    Probe::load(&ProbeConfig { drops: true, udp: true, ..net.config() }).unwrap()
}

fn connection(net: &Net, server: &'static str, port: u16) -> (TcpStream, TcpStream, TcpListener) {
    let listener = net.server.run(move || TcpListener::bind(addr(server, port)).unwrap());
    let client = net.client.run(move || TcpStream::connect(addr(server, port)).unwrap());
    let (accepted, _) = listener.accept().unwrap();
    (client, accepted, listener)
}

/// Drops of one reason in a namespace, of any socket or none.
fn on_node(pass: &Pass, netns: u32, reason: &str) -> u64 {
    pass.drops.iter().filter(|of| of.netns == netns && of.reason == reason).map(|of| of.count).sum()
}

#[test]
fn what_the_senders_filter_drops_is_of_its_edge() {
    for (_, server) in ADDRESSES {
        let net = Net::new();
        let mut probe = probe(&net);
        let (mut client, _accepted, _listener) = connection(&net, server, PORT);
        net.client.drop_at("output", "tcp dport 80");
        client.write_all(&[1; 5000]).unwrap();
        let seen = |pass: &Pass| drops(&net.client_sum(pass, PORT));
        let pass = read_until(&mut probe, "three drops, those of the filter", |pass| {
            let dropped = net.client.dropped();
            dropped >= 3 && seen(pass)[0][1] == dropped
        });
        assert_eq!(seen(&pass), [[0, seen(&pass)[0][1], 0, 0], [0; 4]]);
        assert_eq!(drops(&net.server_sum(&pass, PORT)), [[0; 4]; 2]);
    }
}

#[test]
fn what_the_receivers_filter_drops_is_of_its_edge_once_the_connection_is_known() {
    for (_, server) in ADDRESSES {
        let net = Net::new();
        let mut probe = probe(&net);
        let (mut client, _accepted, _listener) = connection(&net, server, PORT);
        net.server.drop_at("input", "tcp dport 80");
        client.write_all(&[1; 5000]).unwrap();
        let seen = |pass: &Pass| drops(&net.server_sum(pass, PORT));
        let pass = read_until(&mut probe, "three drops, those of the filter", |pass| {
            let dropped = net.server.dropped();
            dropped >= 3 && seen(pass)[1][1] == dropped
        });
        assert_eq!(seen(&pass), [[0; 4], [0, seen(&pass)[1][1], 0, 0]]);
        assert_eq!(drops(&net.client_sum(&pass, PORT)), [[0; 4]; 2]);
    }
}

/// As a node filters its pods: the packet still belongs to the socket that sent it.
#[test]
fn what_is_dropped_at_the_other_end_of_the_senders_link_is_of_its_edge() {
    for (_, server) in ADDRESSES {
        let net = Net::new();
        let mut probe = probe(&net);
        let (mut client, _accepted, _listener) = connection(&net, server, PORT);
        net.router.nft("add table netdev here; add chain netdev here link { type filter hook ingress device left priority 0; }");
        net.router.nft("add rule netdev here link tcp dport 80 counter drop");
        client.write_all(&[1; 5000]).unwrap();
        read_until(&mut probe, "three drops, those of the filter", |pass| {
            let dropped = net.router.counted("netdev");
            dropped >= 3 && drops(&net.client_sum(pass, PORT)) == [[0, dropped, 0, 0], [0; 4]]
        });
    }
}

/// No socket is looked up for a SYN, nor for a datagram to a socket that hears from everyone, before the filter sees it.
#[test]
fn where_the_kernel_tells_no_socket_the_node_alone_has_it() {
    let net = Net::new();
    let mut probe = probe(&net);
    net.server.drop_at("input", "meta l4proto { tcp, udp }");
    let _listener = net.server.run(|| TcpListener::bind(addr(SERVER4, PORT)).unwrap());
    let _service = net.server.run(|| UdpSocket::bind(addr(SERVER4, PORT)).unwrap());
    let client = net.client.run(|| UdpSocket::bind(addr(CLIENT4, 0)).unwrap());
    for _ in 0..5 {
        client.send_to(&[1], addr(SERVER4, PORT)).unwrap();
    }
    let pending = start_connecting(&net, addr(SERVER4, PORT));
    let pass = read_until(&mut probe, "a SYN and the datagrams", |pass| {
        let dropped = net.server.dropped();
        dropped >= 6 && on_node(pass, net.server.inode, "netfilter_drop") == dropped
    });
    assert_eq!(drops(&net.server_sum(&pass, PORT)), [[0; 4]; 2]);
    assert_eq!(drops(&net.client_sum(&pass, PORT)), [[0; 4]; 2]);
    drop(pending);
}

#[test]
fn datagrams_that_the_senders_filter_drops_are_of_their_edge() {
    let net = Net::new();
    let mut probe = probe(&net);
    net.client.drop_at("output", &format!("udp dport {PORT}"));
    for (client, server) in ADDRESSES {
        let before = net.client.dropped();
        // One that is connected, and one that is not.
        let sockets = net.client.run(move || [0, 1].map(|_| UdpSocket::bind(addr(client, 0)).unwrap()));
        sockets[1].connect(addr(server, PORT)).unwrap();
        for _ in 0..4 {
            assert!(sockets[0].send_to(&[1; 10], addr(server, PORT)).is_err(), "the filter says so to the sender");
            assert!(sockets[1].send(&[1; 10]).is_err());
        }
        let pass = probe.read(1).unwrap();
        let of = sum(&pass, |flow| flow.key.protocol == Protocol::Udp && flow.key.remote == addr(server, PORT).ip() && flow.key.service_port == PORT);
        assert_eq!(net.client.dropped() - before, 8);
        assert_eq!(drops(&of), [[0, 8, 0, 0], [0; 4]]);
    }
}

/// Only what passed the sender's own queue was sent.
#[test]
fn what_finds_the_senders_queue_full_is_that_of_tc() {
    let net = Net::new();
    let mut probe = probe(&net);
    net.client.sh("tc", "qdisc add dev wire root tbf rate 1mbit burst 2kb limit 4kb");
    let dropped = || {
        let printed = net.client.sh("tc", "-s qdisc show dev wire");
        let words: Vec<&str> = printed.split_whitespace().collect();
        words.windows(2).find(|words| words[0] == "(dropped").unwrap()[1].trim_end_matches(',').parse::<u64>().unwrap()
    };
    for (client, server) in ADDRESSES {
        let before = dropped();
        let socket = net.client.run(move || UdpSocket::bind(addr(client, 0)).unwrap());
        for _ in 0..50 {
            socket.send_to(&[1; 1000], addr(server, PORT)).unwrap();
        }
        let full = dropped() - before;
        let pass = probe.read(1).unwrap();
        let of = sum(&pass, |flow| flow.key.netns == net.client.inode && flow.key.remote == addr(server, PORT).ip());
        assert!(full > 10, "the queue was not full");
        assert_eq!(drops(&of), [[0, 0, full, 0], [0; 4]]);
    }
}

#[test]
fn datagrams_for_a_full_socket_are_not_counted_twice() {
    let net = Net::new();
    let mut probe = probe(&net);
    let service = net.server.run(|| UdpSocket::bind(addr(SERVER4, PORT)).unwrap());
    let client = net.client.run(|| UdpSocket::bind(addr(CLIENT4, 0)).unwrap());
    for _ in 0..1000 {
        client.send_to(&[1; 1000], addr(SERVER4, PORT)).unwrap();
    }
    let pass = read_until(&mut probe, "all datagrams", |pass| net.server_sum(pass, PORT).segs_received == 1000);
    let server = net.server_sum(&pass, PORT);
    assert!(server.receive_drops > 0, "no drop was made");
    assert_eq!(server.receive_drops, net.server.nstat("UdpRcvbufErrors"));
    assert_eq!(on_node(&pass, net.server.inode, "socket_rcvbuff"), server.receive_drops);
    assert_eq!(drops(&server), [[0; 4]; 2]);
    drop(service);
}

#[test]
fn segments_that_belong_to_no_place_in_the_connection_are_invalid() {
    let net = Net::new();
    let mut probe = probe(&net);
    for (at, (_, server)) in ADDRESSES.into_iter().enumerate() {
        let port = PORT + at as u16;
        let (mut client, mut accepted, _listener) = connection(&net, server, port);
        client.write_all(&[1; 100]).unwrap();
        accepted.read_exact(&mut [0; 100]).unwrap();
        // Two are ahead of the window, or three, whichever number the connection began with; the others are old ones to the kernel.
        let (from, to) = (client.local_addr().unwrap(), accepted.local_addr().unwrap());
        let sequences = [0u32, 1 << 30, 1 << 31, 3 << 30];
        net.client.inject(sequences.map(|sequence| Segment { from, to, sequence, flags: ACK }).to_vec());
        let known = |pass: &Pass, reason| on_node(pass, net.server.inode, reason);
        let pass = read_until(&mut probe, "the segments", |pass| {
            known(pass, "tcp_invalid_sequence") + known(pass, "tcp_old_sequence") == 4 * (at as u64 + 1)
        });
        let invalid = drops(&net.server_sum(&pass, PORT))[1][3] + drops(&net.server_sum(&pass, PORT + 1))[1][3];
        assert!(invalid > 0);
        assert_eq!(invalid, known(&pass, "tcp_invalid_sequence"));
        assert_eq!(drops(&net.server_sum(&pass, port)), [[0; 4], [0, 0, 0, drops(&net.server_sum(&pass, port))[1][3]]]);
    }
}

/// Retransmissions, duplicates, probes of a closed window and resets are dropped too, by the kernel's own words, but nothing is lost by it.
#[test]
fn what_tcp_drops_in_the_course_of_its_work_is_not_counted() {
    let net = Net::new();
    let mut probe = probe(&net);
    net.server.sysctl("net.ipv4.tcp_rmem", "4096 65536 131072");
    net.filter("tcp dport 80 numgen random mod 20 == 0 drop");
    net.filter("tcp sport 80 numgen random mod 20 == 0 drop");
    let (mut client, mut accepted, _listener) = connection(&net, SERVER4, PORT);
    const BYTES: usize = 2_000_000;
    let sender = std::thread::spawn(move || {
        client.write_all(&vec![1; BYTES]).unwrap();
        client
    });
    let deadline = Instant::now() + Duration::from_secs(30);
    while net.client.nstat("TcpExtTCPWinProbe") == 0 {
        assert!(Instant::now() < deadline, "the window was never probed");
        std::thread::sleep(Duration::from_millis(50));
    }
    accepted.read_exact(&mut vec![0; BYTES - 1000]).unwrap();
    let client = sender.join().unwrap();
    // The rest is never read: a reset.
    drop(accepted);
    drop(client);
    let pass = read_until(&mut probe, "both ends closed", |pass| net.client_sum(pass, PORT).closes == 1 && net.server_sum(pass, PORT).closes == 1);
    let server = net.server_sum(&pass, PORT);
    assert!(net.client_sum(&pass, PORT).retrans_segs > 10 && server.out_of_order > 0, "{server:?}");
    let reasons: Vec<_> = pass.drops.iter().map(|of| (of.netns, &of.reason, of.count)).collect();
    // What came out of order when the buffer was full is lost indeed.
    let full = on_node(&pass, net.server.inode, "tcp_ofo_drop");
    assert_eq!((drops(&net.client_sum(&pass, PORT)), drops(&server)), ([[0; 4]; 2], [[0; 4], [0, 0, full, 0]]), "{reasons:?}");
    println!("dropped without loss: {reasons:?}");
}
