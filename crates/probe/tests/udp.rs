//! UDP against what the programs themselves sent and received, and against `nstat`.
#![allow(clippy::unwrap_used)]

mod support;

use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::thread;
use std::time::{Duration, Instant};

use edgescope_probe::{Comm, HookState, Pass, Probe, ProbeConfig, Protocol, Role};
use support::{CLIENT4, CLIENT6, Net, SERVER4, SERVER6, addr, read_until, sum};

const PORT: u16 = 4500;

fn probe(net: &Net) -> Probe {
    probe_with(net, |_| {})
}

fn probe_with(net: &Net, change: impl FnOnce(&mut ProbeConfig)) -> Probe {
    let mut config = ProbeConfig { udp: true, ..net.config() };
    change(&mut config);
    let probe = Probe::load(&config).unwrap();
    for hook in probe.hooks() {
        assert!(matches!(hook.state, HookState::Attached | HookState::Off), "{hook:?}");
    }
    probe
}

fn bind(net: &Net, server: bool, at: SocketAddr) -> UdpSocket {
    let side = if server { &net.server } else { &net.client };
    let socket = side.run(move || UdpSocket::bind(at).unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

/// A client's socket, as clients have it: the kernel chooses the port.
fn client(net: &Net, of: SocketAddr) -> UdpSocket {
    bind(net, false, if of.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap())
}

fn option(socket: &UdpSocket, level: i32, name: i32, value: i32) {
    let size = size_of_val(&value) as u32;
    // SAFETY: an open socket, and an integer as long as said.
    let failed = unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, (&raw const value).cast(), size) };
    assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
}

fn own_comm() -> Comm {
    Comm::new(std::fs::read_to_string("/proc/self/comm").unwrap().trim_end())
}

/// Bytes and datagrams, sent and received.
fn told(pass: &Pass, netns: u32, port: u16) -> (u64, u64, u64, u64) {
    let of = sum(pass, |flow| flow.key.netns == netns && flow.key.protocol == Protocol::Udp && flow.key.service_port == port);
    (of.bytes_sent, of.segs_sent, of.bytes_received, of.segs_received)
}

#[test]
fn both_ends_count_what_the_programs_did() {
    let net = Net::new();
    let mut probe = probe(&net);
    for (server, client_address) in [(SERVER4, CLIENT4), (SERVER6, CLIENT6)] {
        let to = addr(server, PORT);
        let before = (net.client.nstat("UdpOutDatagrams"), net.client.nstat("Udp6OutDatagrams"));
        // On all addresses, so that the socket itself knows none; one asks connected, one not.
        let service = bind(&net, true, addr(if to.is_ipv4() { "0.0.0.0" } else { "::" }, PORT));
        let (connected, loose) = (client(&net, to), client(&net, to));
        connected.connect(to).unwrap();
        let (mut asked, mut answered) = (0, 0);
        let mut room = [0; 2000];
        for size in 0..100 {
            asked += match size % 2 {
                0 => connected.send(&vec![1; size]).unwrap(),
                _ => loose.send_to(&vec![1; size], to).unwrap(),
            };
            let (got, from) = service.recv_from(&mut room).unwrap();
            assert_eq!(got, size);
            answered += service.send_to(&vec![2; 1000 + size], from).unwrap();
            let _ = if size % 2 == 0 { connected.recv(&mut room).unwrap() } else { loose.recv(&mut room).unwrap() };
        }
        let (asked, answered) = (asked as u64, answered as u64);
        let of_family = |pass: &Pass| Pass {
            flows: pass.flows.iter().filter(|flow| flow.key.local.is_ipv4() == to.is_ipv4()).cloned().collect(),
            ..pass.clone()
        };
        let pass = of_family(&probe.read(1).unwrap());
        assert_eq!(told(&pass, net.client.inode, PORT), (asked, 100, answered, 100));
        assert_eq!(told(&pass, net.server.inode, PORT), (answered, 100, asked, 100));
        let out = net.client.nstat("UdpOutDatagrams") - before.0 + net.client.nstat("Udp6OutDatagrams") - before.1;
        assert_eq!(out, 100);
        for flow in &pass.flows {
            let here = if flow.key.role == Role::Client { (client_address, server) } else { (server, client_address) };
            assert_eq!((flow.key.local, flow.key.remote), (here.0.parse().unwrap(), here.1.parse().unwrap()));
            assert_eq!((flow.key.comm, flow.key.client_port), (own_comm(), 0));
            assert_eq!(flow.key.role == Role::Client, flow.key.netns == net.client.inode);
        }
        assert_eq!(pass.flows.len(), 2, "sockets of one process to one service are one flow");
    }
}

#[test]
fn a_datagram_larger_than_a_packet_is_one_and_a_send_of_several_is_several() {
    const UDP_SEGMENT: i32 = 103;
    let net = Net::new();
    let mut probe = probe(&net);
    let service = bind(&net, true, addr(SERVER4, PORT));
    let socket = client(&net, addr(SERVER4, PORT));
    let mut room = [0; 10_000];
    socket.send_to(&[1; 5000], addr(SERVER4, PORT)).unwrap();
    assert_eq!(service.recv(&mut room).unwrap(), 5000);
    let pass = probe.read(1).unwrap();
    assert_eq!(told(&pass, net.client.inode, PORT), (5000, 1, 0, 0));
    assert_eq!(told(&pass, net.server.inode, PORT), (0, 0, 5000, 1));

    option(&socket, libc::SOL_UDP, UDP_SEGMENT, 1000);
    socket.send_to(&[1; 4500], addr(SERVER4, PORT)).unwrap();
    let sizes: Vec<usize> = (0..5).map(|_| service.recv(&mut room).unwrap()).collect();
    assert_eq!(sizes, [1000, 1000, 1000, 1000, 500]);
    let pass = probe.read(2).unwrap();
    assert_eq!(told(&pass, net.client.inode, PORT), (9500, 6, 0, 0));
    assert_eq!(told(&pass, net.server.inode, PORT), (0, 0, 9500, 6));
}

#[test]
fn datagrams_that_find_the_queue_full_are_those_of_nstat() {
    let net = Net::new();
    let mut probe = probe(&net);
    for server in [SERVER4, SERVER6] {
        let service = bind(&net, true, addr(server, PORT));
        option(&service, libc::SOL_SOCKET, libc::SO_RCVBUF, 4096);
        let socket = client(&net, addr(server, PORT));
        for _ in 0..100 {
            socket.send_to(&[1; 1000], addr(server, PORT)).unwrap();
        }
        let of = |pass: &Pass| {
            sum(pass, |flow| flow.key.netns == net.server.inode && flow.key.service_port == PORT && flow.key.local == addr(server, PORT).ip())
        };
        let pass = read_until(&mut probe, "all datagrams", |pass| of(pass).segs_received == 100);
        let counter = if server == SERVER4 { "UdpRcvbufErrors" } else { "Udp6RcvbufErrors" };
        let dropped = net.server.nstat(counter);
        assert!(dropped > 0, "no drop was made");
        assert_eq!(of(&pass).receive_drops, dropped);
    }
}

#[test]
fn who_only_receives_is_named_also_if_it_is_older() {
    let net = Net::new();
    let old = bind(&net, true, addr(SERVER4, PORT));
    let mut probe = probe(&net);
    probe.mark_existing().unwrap();
    let new = bind(&net, true, addr(SERVER4, PORT + 1));
    let socket = client(&net, addr(SERVER4, PORT));
    for (service, port) in [(&old, PORT), (&new, PORT + 1)] {
        socket.send_to(&[1; 10], addr(SERVER4, port)).unwrap();
        service.recv(&mut [0; 10]).unwrap();
    }
    let pass = probe.read(1).unwrap();
    let mut services: Vec<_> = pass.flows.iter().filter(|flow| flow.key.role == Role::Server).collect();
    services.sort_by_key(|flow| flow.key.service_port);
    let named: Vec<_> = services.iter().map(|flow| (flow.key.service_port, flow.key.comm, flow.counters.last_tgid)).collect();
    assert_eq!(named, [PORT, PORT + 1].map(|port| (port, own_comm(), std::process::id())));
}

/// Nobody says who opened a conversation: the ports do.
#[test]
fn a_port_that_was_chosen_is_the_servers() {
    let net = Net::new();
    let mut probe = probe(&net);
    // The one conversation since the last look: who is client, who is server, and by which port.
    let mut is_served_at = |port: u16| {
        let pass = probe.read(1).unwrap();
        let mut ends: Vec<_> = pass.flows.iter().map(|flow| (flow.key.netns, flow.key.role, flow.key.service_port)).collect();
        ends.sort_by_key(|(_, role, _)| *role);
        assert_eq!(ends, [(net.client.inode, Role::Client, port), (net.server.inode, Role::Server, port)]);
        probe.forget(&pass.flows.iter().map(|flow| flow.key).collect::<Vec<_>>()).unwrap();
    };
    // A client may choose its port too, as resolvers do against forgery: then the other one's is the lower.
    let service = bind(&net, true, addr(SERVER4, 53));
    let chosen = bind(&net, false, addr(CLIENT4, 45_000));
    chosen.send_to(&[1], addr(SERVER4, 53)).unwrap();
    service.recv(&mut [0; 10]).unwrap();
    is_served_at(53);
    // A server may live at an ephemeral port.
    let service = bind(&net, true, addr(SERVER4, 50_001));
    let socket = client(&net, addr(SERVER4, 50_001));
    socket.connect(addr(SERVER4, 50_001)).unwrap();
    socket.send(&[1]).unwrap();
    service.recv(&mut [0; 10]).unwrap();
    is_served_at(50_001);
    // Or at one that the kernel chose: who is spoken to first.
    let service = bind(&net, true, addr(SERVER4, 0));
    let to = service.local_addr().unwrap();
    let socket = client(&net, to);
    socket.send_to(&[1], to).unwrap();
    let (_, from) = service.recv_from(&mut [0; 10]).unwrap();
    service.send_to(&[1], from).unwrap();
    socket.recv(&mut [0; 10]).unwrap();
    is_served_at(to.port());
    // And may connect a socket to each of its clients.
    let service = bind(&net, true, addr(SERVER4, 443));
    let socket = client(&net, addr(SERVER4, 443));
    socket.send_to(&[1], addr(SERVER4, 443)).unwrap();
    let (_, from) = service.recv_from(&mut [0; 10]).unwrap();
    service.connect(from).unwrap();
    service.send(&[1]).unwrap();
    socket.recv(&mut [0; 10]).unwrap();
    is_served_at(443);
}

#[test]
fn a_conversation_lasts_from_datagram_to_datagram() {
    let net = Net::new();
    let mut probe = probe(&net);
    let service = bind(&net, true, addr(SERVER4, PORT));
    let socket = client(&net, addr(SERVER4, PORT));
    let say = || {
        socket.send_to(&[1], addr(SERVER4, PORT)).unwrap();
        service.recv(&mut [0; 10]).unwrap();
    };
    let began = Instant::now();
    say();
    let after_first = began.elapsed();
    let gap = Duration::from_millis(300);
    thread::sleep(gap);
    say();
    let most = began.elapsed();
    let pass = probe.read(1).unwrap();
    let active = Duration::from_millis(net.client_sum(&pass, PORT).active_ms);
    assert!(active + after_first + Duration::from_millis(2) >= gap && active <= most + Duration::from_millis(1), "{active:?} of {most:?}");
}

#[test]
fn what_has_no_room_is_summed_and_takes_none_of_tcps() {
    let net = Net::new();
    let mut probe = probe_with(&net, |config| config.datagrams_max = 4);
    // Nobody need answer: the addresses are the router's to lose.
    let socket = client(&net, addr(SERVER4, PORT));
    for host in 1..=20 {
        socket.send_to(&[1; 10], addr(&format!("10.99.0.{host}"), PORT)).unwrap();
    }
    let pass = probe.read(1).unwrap();
    assert_eq!(told(&pass, net.client.inode, PORT), (200, 20, 0, 0));
    assert_eq!((pass.losses.datagrams_full, pass.losses.flows_full), (16, 0));
    let strangers: Vec<_> = pass.flows.iter().filter(|flow| flow.key.remote.is_unspecified()).collect();
    assert_eq!((strangers.len(), strangers[0].counters.bytes_sent), (1, 160));
    let keys: Vec<_> = pass.flows.iter().map(|flow| flow.key).collect();
    assert_eq!(probe.forget(&keys).unwrap().len(), keys.len());
    assert!(probe.read(2).unwrap().flows.is_empty());
}

#[test]
fn namespaces_out_of_scope_are_left_alone() {
    let net = Net::new();
    let mut probe =
        Probe::load(&ProbeConfig { udp: true, scope: edgescope_probe::Scope::Namespaces(vec![net.server.inode]), ..net.config() }).unwrap();
    let service = bind(&net, true, addr(SERVER4, PORT));
    let socket = client(&net, addr(SERVER4, PORT));
    socket.send_to(&[1; 10], addr(SERVER4, PORT)).unwrap();
    service.recv(&mut [0; 10]).unwrap();
    let pass = probe.read(1).unwrap();
    let all: Vec<_> = pass.flows.iter().map(|flow| (flow.key.netns, flow.key.protocol, flow.counters.segs_received)).collect();
    assert_eq!(all, [(net.server.inode, Protocol::Udp, 1)]);
}
