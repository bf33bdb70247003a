//! How connecting went, against what the test did and what the network was told to do.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use edgescope_probe::Pass;
use support::*;

fn connect(net: &Net, at: SocketAddr, patience: Duration) -> std::io::Result<TcpStream> {
    net.client.run(move || TcpStream::connect_timeout(&at, patience))
}

/// (attempts, established, timeout, cancelled, refused, unreachable, reset) of the client.
fn outcomes(net: &Net, pass: &Pass, port: u16) -> [u64; 7] {
    let of = net.client_sum(pass, port);
    [
        of.connect_attempts,
        of.connect_established,
        of.connect_timeout,
        of.connect_cancelled,
        of.connect_refused,
        of.connect_unreachable,
        of.connect_reset,
    ]
}

#[test]
fn each_outcome_is_told_from_the_others() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 1)).unwrap());
    net.filter("tcp dport 2 drop");
    net.filter("tcp dport 3 drop");
    net.filter("tcp dport 5 reject with icmp type host-unreachable");
    net.filter("ip6 daddr fd11:2::1 tcp dport 6 reject with icmpv6 type no-route");
    net.filter("tcp dport 7 reject with tcp reset");

    drop(connect(&net, addr(SERVER4, 1), Duration::from_secs(5)).unwrap());
    // The first SYN is repeated after a second: given up after it, and before it.
    assert_eq!(connect(&net, addr(SERVER4, 2), Duration::from_millis(1500)).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(connect(&net, addr(SERVER4, 3), Duration::from_millis(100)).unwrap_err().kind(), ErrorKind::TimedOut);
    assert_eq!(connect(&net, addr(SERVER4, 4), Duration::from_secs(5)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    assert_eq!(connect(&net, addr(SERVER4, 5), Duration::from_secs(5)).unwrap_err().kind(), ErrorKind::HostUnreachable);
    assert_eq!(connect(&net, addr(SERVER6, 6), Duration::from_secs(5)).unwrap_err().kind(), ErrorKind::NetworkUnreachable);
    assert_eq!(connect(&net, addr(SERVER4, 7), Duration::from_secs(5)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    drop(listener);

    let pass = probe.read(1).unwrap();
    assert_eq!(outcomes(&net, &pass, 1), [1, 1, 0, 0, 0, 0, 0], "established");
    assert_eq!(outcomes(&net, &pass, 2), [1, 0, 1, 0, 0, 0, 0], "timed out");
    assert_eq!(outcomes(&net, &pass, 3), [1, 0, 0, 1, 0, 0, 0], "cancelled");
    assert_eq!(outcomes(&net, &pass, 4), [1, 0, 0, 0, 1, 0, 0], "refused");
    assert_eq!(outcomes(&net, &pass, 5), [1, 0, 0, 0, 0, 1, 0], "host unreachable");
    assert_eq!(outcomes(&net, &pass, 6), [1, 0, 0, 0, 0, 1, 0], "network unreachable");
    assert_eq!(outcomes(&net, &pass, 7), [1, 0, 0, 0, 1, 0, 0], "reset by a middlebox");
    assert_eq!(net.client_sum(&pass, 2).retrans_syn, 1);
    assert_eq!(net.client_sum(&pass, 7).resets_received, 1);
    let attempts: u64 = (1..8).map(|port| net.client_sum(&pass, port).connect_attempts).sum();
    assert_eq!(attempts, net.client.nstat("TcpActiveOpens"));
}

/// Nothing that the network did.
#[test]
fn without_a_free_port_an_attempt_is_cancelled() {
    let net = Net::new();
    let mut probe = net.probe();
    net.client.sysctl("net.ipv4.ip_local_port_range", "40000 40001");
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let held: Vec<_> = (0..2).map(|_| connect(&net, addr(SERVER4, 80), Duration::from_secs(5)).unwrap()).collect();
    assert_eq!(connect(&net, addr(SERVER4, 80), Duration::from_secs(5)).unwrap_err().kind(), ErrorKind::AddrNotAvailable);
    let pass = probe.read(1).unwrap();
    assert_eq!(outcomes(&net, &pass, 80), [3, 2, 0, 1, 0, 0, 0]);
    drop((held, listener));
}

#[test]
fn the_kernels_own_time_out_is_a_time_out() {
    let net = Net::new();
    let mut probe = net.probe();
    net.client.sysctl("net.ipv4.tcp_syn_retries", "1");
    net.filter("tcp dport 80 drop");
    let error = net.client.run(|| TcpStream::connect(addr(SERVER4, 80))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let pass = probe.read(1).unwrap();
    assert_eq!(outcomes(&net, &pass, 80), [1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(net.client_sum(&pass, 80).retrans_syn, net.client.nstat("TcpRetransSegs"));
}

#[test]
fn a_pending_attempt_has_no_outcome_yet() {
    let net = Net::new();
    let mut probe = net.probe();
    net.filter("tcp dport 80 drop");
    let pending = start_connecting(&net, addr(SERVER4, 80));
    let pass = read_until(&mut probe, "a repeated SYN", |pass| net.client_sum(pass, 80).retrans_syn == 1);
    assert_eq!(outcomes(&net, &pass, 80), [1, 0, 0, 0, 0, 0, 0]);
    assert_eq!(net.client_sum(&pass, 80).retrans_segs, 1);
    drop(pending);
    let pass = probe.read(2).unwrap();
    assert_eq!(outcomes(&net, &pass, 80), [1, 0, 1, 0, 0, 0, 0]);
    assert_eq!(net.client_sum(&pass, 80).retrans_syn, 1, "counted twice");
}

#[test]
fn a_socket_that_connects_again_starts_a_new_life() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let reader = thread::spawn(move || {
        for stream in listener.incoming().take(2) {
            let mut sink = Vec::new();
            // The first ends with a reset, by disconnecting.
            let _ = stream.unwrap().read_to_end(&mut sink);
        }
    });
    let again = net.client.run(|| {
        let stream = TcpStream::connect(addr(SERVER4, 80)).unwrap();
        (&stream).write_all(&[1; 1000]).unwrap();
        thread::sleep(Duration::from_millis(100));
        // SAFETY: a valid socket and sockaddrs of the given sizes.
        unsafe {
            let mut name: libc::sockaddr_in = std::mem::zeroed();
            name.sin_family = libc::AF_UNSPEC as u16;
            assert_eq!(libc::connect(stream.as_raw_fd(), (&raw const name).cast(), size_of_val(&name) as u32), 0);
            name.sin_family = libc::AF_INET as u16;
            name.sin_port = 80u16.to_be();
            name.sin_addr.s_addr = u32::from(SERVER4.parse::<std::net::Ipv4Addr>().unwrap()).to_be();
            assert_eq!(libc::connect(stream.as_raw_fd(), (&raw const name).cast(), size_of_val(&name) as u32), 0);
        }
        (&stream).write_all(&[2; 500]).unwrap();
        stream
    });
    drop(again);
    reader.join().unwrap();
    let pass = read_until(&mut probe, "2 closes", |pass| net.client_sum(pass, 80).closes == 2);
    let client = net.client_sum(&pass, 80);
    assert_eq!((client.connect_attempts, client.connect_established, client.bytes_sent), (2, 2, 1500));
}

#[test]
fn repeated_syn_acks_are_counted_once() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    // A first connection makes the flow known, the second loses a SYN-ACK, a stranger's handshake never ends.
    drop(net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap()));
    net.filter("tcp sport 80 tcp flags & (syn | ack) == syn | ack limit rate over 1/minute burst 1 packets accept");
    net.filter("tcp sport 80 tcp flags & (syn | ack) == syn | ack drop");
    let slow = net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap());
    drop((slow, listener));
    let pass = read_until(&mut probe, "two accepts", |pass| net.server_sum(pass, 80).accepts == 2);
    let server = net.server_sum(&pass, 80);
    assert!(server.retrans_synack >= 1, "{server:?}");
    assert_eq!(server.retrans_segs + server.retrans_synack, net.server.nstat("TcpRetransSegs"), "{server:?}");
    let client = net.client_sum(&pass, 80);
    assert_eq!(client.retrans_segs, net.client.nstat("TcpRetransSegs"));
    assert_eq!(client.retrans_syn, client.retrans_segs);
}

#[test]
fn repeated_syn_acks_to_strangers_make_no_flow_of_their_own() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    net.filter("tcp sport 80 drop");
    assert!(connect(&net, addr(SERVER4, 80), Duration::from_millis(1300)).is_err());
    let pass = read_until(&mut probe, "a SYN-ACK", |pass| net.server_sum(pass, 80).retrans_synack >= 1);
    // The kernel counts the client's second SYN among the listener's drops, though its queue is not full.
    assert_eq!(net.server_sum(&pass, 80).accept_overflow, 0);
    let of_server: Vec<_> = pass.flows.iter().filter(|flow| flow.key.netns == net.server.inode).collect();
    assert_eq!(of_server.len(), 1);
    assert!(of_server[0].key.remote.is_unspecified());
    drop(listener);
}

#[test]
fn resets_are_told_by_who_sends_them() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let mut client = connect(&net, addr(SERVER4, 80), Duration::from_secs(5)).unwrap();
    let (server, _) = listener.accept().unwrap();
    client.write_all(b"unread").unwrap();
    read_until(&mut probe, "the data", |pass| net.server_sum(pass, 80).bytes_received == 6);
    drop(server); // with unread data: a reset
    assert!(client.read(&mut [0]).is_err());
    drop(listener);
    // Nobody listens any more: the host refuses, and that is counted for the service that was there.
    assert_eq!(connect(&net, addr(SERVER4, 80), Duration::from_secs(5)).unwrap_err().kind(), ErrorKind::ConnectionRefused);
    let pass = probe.read(1).unwrap();
    let (client, server) = (net.client_sum(&pass, 80), net.server_sum(&pass, 80));
    assert_eq!((server.resets_sent, server.resets_received), (2, 0));
    assert_eq!((client.resets_sent, client.resets_received), (0, 2));
    assert_eq!(client.connect_refused, 1);
    assert_eq!(server.resets_sent, net.server.nstat("TcpOutRsts"));
}

#[test]
fn a_full_accept_queue_is_seen() {
    let net = Net::new();
    let mut probe = net.probe();
    net.server.sysctl("net.core.somaxconn", "1");
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let streams: Vec<_> = (0..5).map(|_| start_connecting(&net, addr(SERVER4, 80))).collect();
    let pass = read_until(&mut probe, "an overflow", |pass| net.server_sum(pass, 80).accept_overflow > 0);
    assert!(pass.listeners.iter().any(|of| of.port == 80 && of.netns == net.server.inode && of.addr == Some(SERVER4.parse().unwrap())));
    let (seen, truth) = (net.server_sum(&pass, 80).accept_overflow, net.server.nstat("TcpExtListenDrops"));
    assert!(seen <= truth && truth <= seen + 5, "{seen} of {truth}");
    drop((streams, listener));
}
