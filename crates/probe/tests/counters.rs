//! Bytes, segments and retransmissions against what the test itself wrote and what the namespaces' own counters say.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use edgescope_probe::{Counters, Pass, Probe, ProbeConfig, Role};
use support::*;

/// Serves `connections` connections: reads all, answers `answer` bytes, closes.
fn serve(net: &Net, at: SocketAddr, connections: usize, answer: usize) -> JoinHandle<u64> {
    let listener = net.server.run(move || TcpListener::bind(at).unwrap());
    thread::spawn(move || {
        let mut received = 0;
        for stream in listener.incoming().take(connections) {
            let mut stream = stream.unwrap();
            let mut sink = Vec::new();
            received += stream.read_to_end(&mut sink).unwrap() as u64;
            stream.write_all(&vec![7; answer]).unwrap();
        }
        received
    })
}

fn ask(net: &Net, at: SocketAddr, question: usize) -> u64 {
    net.client.run(move || {
        let mut stream = TcpStream::connect(at).unwrap();
        stream.write_all(&vec![3; question]).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap() as u64
    })
}

#[test]
fn bytes_are_exact_at_both_ends_after_close() {
    let net = Net::new();
    let mut probe = net.probe();
    for (ip, port) in [(SERVER4, 4000), (SERVER6, 6000)] {
        let server = serve(&net, addr(ip, port), 5, 70_001);
        for size in [0, 1, 1447, 1_000_000, 33] {
            assert_eq!(ask(&net, addr(ip, port), size), 70_001);
        }
        assert_eq!(server.join().unwrap(), 1_001_481);
        let pass = read_until(&mut probe, "10 closes", |pass| net.client_sum(pass, port).closes == 5 && net.server_sum(pass, port).closes == 5);
        let (client, server) = (net.client_sum(&pass, port), net.server_sum(&pass, port));
        assert_eq!((client.bytes_sent, client.bytes_received), (1_001_481, 350_005), "client over {ip}");
        assert_eq!((server.bytes_sent, server.bytes_received), (350_005, 1_001_481), "server over {ip}");
        assert_eq!(client.segs_sent, server.segs_received);
        assert_eq!(server.segs_sent, client.segs_received);
        assert_eq!((client.connect_attempts, client.connect_established, server.accepts), (5, 5, 5));
        assert_eq!(pass.losses, Default::default());
    }
}

/// What is read is whole while connections stay open, and again not counted twice at close.
#[test]
fn a_long_lived_connection_counts_while_it_lives() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER6, 80)).unwrap());
    let mut client = net.client.run(|| TcpStream::connect(addr(SERVER6, 80)).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    let mut sent = 0;
    for round in 1..=5u32 {
        let chunk = vec![1; 10_000];
        client.write_all(&chunk).unwrap();
        sent += chunk.len() as u64;
        server.read_exact(&mut vec![0; 10_000]).unwrap();
        let pass = read_until(&mut probe, "all bytes", |pass| net.client_sum(pass, 80).bytes_sent == sent);
        assert_eq!(net.server_sum(&pass, 80).bytes_received, sent, "round {round}");
        assert_eq!(pass.sockets, 2);
        assert_eq!((net.client_sum(&pass, 80).closes, net.server_sum(&pass, 80).closes), (0, 0));
    }
    let alive = net.client_sum(&probe.read(9).unwrap(), 80);
    assert!(alive.srtt_samples >= 5 && alive.srtt_us_sum / alive.srtt_samples < 100_000, "{alive:?}");
    drop((client, server));
    let pass = read_until(&mut probe, "both closes", |pass| net.client_sum(pass, 80).closes + net.server_sum(pass, 80).closes == 2);
    assert_eq!((net.client_sum(&pass, 80).bytes_sent, net.server_sum(&pass, 80).bytes_received), (sent, sent));
}

#[test]
fn active_time_is_that_of_established_sockets() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let started = Instant::now();
    let streams: Vec<_> = (0..3).map(|_| (net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap()), listener.accept().unwrap())).collect();
    let opened = started.elapsed();
    thread::sleep(Duration::from_millis(700));
    let before = started.elapsed();
    let pass = probe.read(1).unwrap();
    let after = started.elapsed();
    for active in [net.client_sum(&pass, 80).active_ms, net.server_sum(&pass, 80).active_ms] {
        let (least, most) = (3 * (before - opened).as_millis() as u64 - 3, 3 * after.as_millis() as u64);
        assert!((least..=most + 3).contains(&active), "{active} ms of {least} to {most}");
    }
    drop(streams);
}

/// Passes race with closes on another CPU; a reset by SO_LINGER 0 empties the socket's counters at once.
#[test]
fn nothing_is_lost_or_doubled_between_passes_and_closes() {
    const CONNECTIONS: usize = 6000;
    let net = Net::new();
    // Small maps are read in microseconds: passes come thick and fast.
    let mut probe = Probe::load(&ProbeConfig { flows_max: 16, rtts_max: 16, ..net.config() }).unwrap();
    let server = serve(&net, addr(SERVER4, 80), CONNECTIONS, 100);
    let at = addr(SERVER4, 80);
    let done = Arc::new(AtomicBool::new(false));
    let client = {
        let done = Arc::clone(&done);
        net.client.start(move || {
            for turn in 0..CONNECTIONS {
                let mut stream = TcpStream::connect(at).unwrap();
                stream.write_all(&vec![3; 1 + turn % 3000]).unwrap();
                stream.shutdown(Shutdown::Write).unwrap();
                let mut answer = Vec::new();
                assert_eq!(stream.read_to_end(&mut answer).unwrap(), 100);
                if turn % 3 == 0 {
                    linger_zero(&stream);
                }
            }
            done.store(true, Ordering::Release);
        })
    };
    let mut passes = 0u64;
    let mut last = (Default::default(), Default::default());
    while !done.load(Ordering::Acquire) {
        let pass = probe.read(0).unwrap();
        let now = (net.client_sum(&pass, 80), net.server_sum(&pass, 80));
        assert_only_grows(&last.0, &now.0);
        assert_only_grows(&last.1, &now.1);
        last = now;
        passes += 1;
    }
    client();
    let sent = server.join().unwrap();
    let pass =
        read_until(&mut probe, "all closes", |pass| net.client_sum(pass, 80).closes + net.server_sum(pass, 80).closes == 2 * CONNECTIONS as u64);
    let (client, server) = (net.client_sum(&pass, 80), net.server_sum(&pass, 80));
    assert!(passes > 200, "only {passes} passes");
    assert_eq!((client.bytes_sent, server.bytes_received), (sent, sent), "after {passes} passes");
    assert_eq!((client.bytes_received, server.bytes_sent), (100 * CONNECTIONS as u64, 100 * CONNECTIONS as u64));
    assert_eq!((client.segs_sent, client.segs_received), (server.segs_received, server.segs_sent));
    assert_eq!(client.connect_established, CONNECTIONS as u64);
}

fn linger_zero(stream: &TcpStream) {
    let option = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: a valid socket and an option of its size.
    let failed = unsafe {
        let size = size_of_val(&option) as u32;
        libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const option).cast(), size)
    };
    assert_eq!(failed, 0);
}

fn assert_only_grows(before: &Counters, after: &Counters) {
    let pairs = [
        (before.bytes_sent, after.bytes_sent),
        (before.bytes_received, after.bytes_received),
        (before.segs_sent, after.segs_sent),
        (before.segs_received, after.segs_received),
        (before.active_ms, after.active_ms),
        (before.closes, after.closes),
    ];
    assert!(pairs.iter().all(|(before, after)| before <= after), "{before:?} then {after:?}");
}

/// Random drops in the middle, both ways, over connections short and long: as the namespaces' own counters have it.
#[test]
fn retransmissions_are_those_of_nstat() {
    let net = Net::new();
    // Else two small segments that were lost may be repeated as one.
    [&net.client, &net.server].into_iter().for_each(|side| side.sysctl("net.ipv4.tcp_retrans_collapse", "0"));
    let mut probe = net.probe();
    let at = addr(SERVER4, 80);
    let server = serve(&net, at, 40, 200_000);
    net.filter("tcp dport 80 numgen random mod 100 < 3 drop");
    net.filter("tcp sport 80 numgen random mod 100 < 3 drop");
    for _ in 0..40 {
        ask(&net, at, 100_000);
    }
    server.join().unwrap();
    net.no_filter();
    let both = |pass: &Pass| (net.client_sum(pass, 80), net.server_sum(pass, 80));
    let pass = read_until(&mut probe, "40 closes each", |pass| both(pass).0.closes == 40 && both(pass).1.closes == 40);
    let (client, server) = both(&pass);
    assert_eq!(client.retrans_segs, net.client.nstat("TcpRetransSegs"), "client");
    assert_eq!(server.retrans_segs + server.retrans_synack, net.server.nstat("TcpRetransSegs"), "server");
    assert!(client.retrans_segs + server.retrans_segs > 50, "too few drops to tell: {client:?}");
    assert_eq!((client.bytes_sent, server.bytes_received), (4_000_000, 4_000_000));
    assert_eq!((client.bytes_received, server.bytes_sent), (8_000_000, 8_000_000));
    assert!(client.retrans_bytes > 0 && server.retrans_bytes > 0);
    // Mostly repaired before a time-out: whether there is one is luck.
    assert!(server.rto <= net.server.nstat("TcpExtTCPTimeouts"), "{server:?}");
    // nstat counts buffers, which hold several segments when they had to wait for the socket.
    let buffers = net.client.nstat("TcpExtTCPOFOQueue");
    assert!((buffers..=client.segs_received).contains(&client.out_of_order), "{buffers} buffers: {client:?}");
    // Losses on the way, as the segments that did not arrive.
    let lost = client.segs_sent - server.segs_received;
    assert!(lost > 0 && lost <= client.retrans_segs, "{lost} lost, {} repeated", client.retrans_segs);
}

#[test]
fn a_blackhole_shows_as_stalled_and_ends() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let mut client = net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap());
    let (mut server, _) = listener.accept().unwrap();
    let stalled = |pass: &Pass| net.client_sum(pass, 80).stalled_ms;
    // Idle for longer than a stall takes, then busy: neither is one.
    thread::sleep(Duration::from_millis(3200));
    client.write_all(b"hello").unwrap();
    assert_eq!(stalled(&probe.read(1).unwrap()), 0);
    server.read_exact(&mut [0; 5]).unwrap();
    net.filter("tcp dport 80 drop");
    client.write_all(b"into the void").unwrap();
    let pass = read_until(&mut probe, "a stall", |pass| stalled(pass) > 0);
    let first = stalled(&pass);
    thread::sleep(Duration::from_millis(500));
    let pass = probe.read(3).unwrap();
    assert!(stalled(&pass) >= first + 500, "{} after {first}", stalled(&pass));
    // Nothing but time-outs repeats what is never acknowledged.
    let rto = net.client_sum(&pass, 80).rto;
    assert!((2..=net.client.nstat("TcpExtTCPTimeouts")).contains(&rto), "{rto} time-outs");
    net.no_filter();
    server.read_exact(&mut [0; 13]).unwrap();
    let healed = stalled(&read_until(&mut probe, "the bytes", |pass| net.client_sum(pass, 80).bytes_sent == 18));
    thread::sleep(Duration::from_millis(300));
    assert_eq!(stalled(&probe.read(9).unwrap()), healed);
}

#[test]
fn a_slow_reader_shows_as_blocked_by_its_window() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let client = net.client.run(|| TcpStream::connect(addr(SERVER4, 80)).unwrap());
    let (server, _) = listener.accept().unwrap();
    client.set_nonblocking(true).unwrap();
    // Until both buffers are full, and for a while longer.
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        let _ = (&client).write(&[0; 65_536]);
        thread::sleep(Duration::from_millis(5));
    }
    let pass = probe.read(1).unwrap();
    let blocked = net.client_sum(&pass, 80);
    assert!(blocked.blocked_rwnd_us >= 1_000_000, "{blocked:?}");
    assert!(blocked.busy_us >= blocked.blocked_rwnd_us, "{blocked:?}");
    assert_eq!(blocked.stalled_ms, 0, "a closed window is no stall");
    drop((client, server));
}

#[test]
fn ipv4_through_an_ipv6_socket_is_ipv4() {
    let net = Net::new();
    let mut probe = net.probe();
    let at = addr("::", 80);
    let server = serve(&net, at, 1, 10);
    assert_eq!(ask(&net, addr(SERVER4, 80), 10), 10);
    server.join().unwrap();
    let pass = read_until(&mut probe, "both closes", |pass| net.server_sum(pass, 80).closes == 1 && net.client_sum(pass, 80).closes == 1);
    let keys: Vec<_> = pass.flows.iter().map(|flow| (flow.key.role, flow.key.local.to_string(), flow.key.remote.to_string())).collect();
    assert!(keys.contains(&(Role::Server, SERVER4.into(), CLIENT4.into())), "{keys:?}");
    assert!(keys.contains(&(Role::Client, CLIENT4.into(), SERVER4.into())), "{keys:?}");
}
