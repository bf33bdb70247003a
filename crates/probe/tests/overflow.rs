//! What a listener drops for want of room, told from all else that it drops; and why resets are sent. Against nstat, and against what was sent.
#![allow(clippy::unwrap_used)]

#[path = "support/raw.rs"]
mod raw;
mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use edgescope_probe::{Pass, Probe, ProbeConfig};
use raw::{ACK, SYN, Segment};
use support::*;

const PORT: u16 = 80;
const ADDRESSES: [(&str, &str); 2] = [(CLIENT4, SERVER4), (CLIENT6, SERVER6)];
const SCANNED: u64 = 30;

fn probe(net: &Net) -> Probe {
    Probe::load(&ProbeConfig { drops: true, ..net.config() }).unwrap()
}

/// Waits until a counter of a namespace is as high.
fn wait_for(namespace: &Namespace, counter: &str, least: u64) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while namespace.nstat(counter) < least {
        assert!(Instant::now() < deadline, "{counter} is {} of {least}", namespace.nstat(counter));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// One segment each from ports that no socket has: the client's kernel answers what comes back by resets.
fn scan(net: &Net, (client, server): (&str, &str), flags: u8) {
    let segment = |port| Segment { from: addr(client, port), to: addr(server, PORT), sequence: 1, flags };
    net.client.inject((0..SCANNED as u16).map(|at| segment(20_000 + at)).collect());
}

/// The listener's own counter, as `ss` has it: what the overflow was taken for without the kernel's reasons.
fn socket_drops(net: &Net) -> u64 {
    let printed = net.server.sh("ss", "-Hltmn");
    let after = printed.split(",d").nth(1).unwrap();
    after.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
}

#[test]
fn a_port_scan_is_no_overflow() {
    for ends in ADDRESSES {
        let net = Net::new();
        let mut probe = probe(&net);
        let _listener = net.server.run(move || TcpListener::bind(addr(ends.1, PORT)).unwrap());
        scan(&net, ends, SYN);
        wait_for(&net.server, "TcpAttemptFails", SCANNED);
        scan(&net, ends, ACK);
        wait_for(&net.server, "TcpOutRsts", SCANNED);
        let pass = probe.read(1).unwrap();
        assert!(socket_drops(&net) >= SCANNED, "the kernel counts them as drops of the listener: {}", socket_drops(&net));
        assert_eq!(net.server.nstat("TcpExtListenDrops"), 0);
        assert_eq!(net.server_sum(&pass, PORT).accept_overflow, 0);
    }
}

/// SYNs that find the queue full, and last ACKs of handshakes that were begun while it was not: by what the kernel remembers of them, and by SYN cookies,
/// which it takes to when more handshakes wait than the queue has room for.
#[test]
fn an_overflow_is_counted_exactly_also_beside_a_port_scan() {
    for ends in ADDRESSES {
        overflow(ends, Listener { room: 4, taken: 3 });
        overflow(ends, Listener { room: 1, taken: 0 });
    }
}

/// A backlog has room for one more than it says.
struct Listener {
    room: usize,
    taken: usize,
}

fn overflow(ends: (&'static str, &'static str), listener: Listener) {
    const LATE: usize = 4;
    let net = Net::new();
    let mut probe = probe(&net);
    net.server.sysctl("net.core.somaxconn", &listener.room.to_string());
    let _listener = net.server.run(move || TcpListener::bind(addr(ends.1, PORT)).unwrap());
    let connect = |count: usize| net.client.run(move || (0..count).map(|_| TcpStream::connect(addr(ends.1, PORT)).unwrap()).collect::<Vec<_>>());
    let early = connect(listener.taken);
    // Their last ACKs wait until all their SYNs are answered: two more than fit.
    net.filter("tcp dport 80 tcp flags & (syn | ack) == ack drop");
    let late = connect(LATE);
    net.no_filter();
    // Data carries the acknowledgement again.
    late.iter().for_each(|mut client| client.write_all(&[1; 3000]).unwrap());
    wait_for(&net.server, "TcpExtListenOverflows", (listener.taken + LATE - listener.room - 1) as u64);
    let by_last_ack = net.server.nstat("TcpExtListenOverflows");
    // Now SYNs.
    let refused = net.client.run(move || {
        (0..3).map(|_| TcpStream::connect_timeout(&addr(ends.1, PORT), Duration::from_millis(50)).unwrap_err().kind()).collect::<Vec<_>>()
    });
    assert!(refused.iter().all(|kind| *kind == ErrorKind::TimedOut));
    // These must not hide an overflow.
    let resets = net.server.nstat("TcpOutRsts");
    scan(&net, ends, ACK);
    wait_for(&net.server, "TcpOutRsts", resets + SCANNED);
    // Repeated data goes on overflowing it meanwhile.
    let nstat = || net.server.nstat("TcpExtListenDrops");
    let pass = read_until(&mut probe, "as many overflows as nstat has", |pass| net.server_sum(pass, PORT).accept_overflow == nstat());
    assert!(net.server_sum(&pass, PORT).accept_overflow >= by_last_ack + 3);
    drop((early, late));
}

#[test]
fn a_repeated_syn_is_no_overflow_and_hides_none() {
    let net = Net::new();
    let mut probe = probe(&net);
    let _listener = net.server.run(|| TcpListener::bind(addr(SERVER4, PORT)).unwrap());
    net.filter("tcp sport 80 drop");
    let patience = Duration::from_millis(1300);
    assert!(net.client.run(move || TcpStream::connect_timeout(&addr(SERVER4, PORT), patience)).is_err());
    let pass = read_until(&mut probe, "a SYN-ACK", |pass| net.server_sum(pass, PORT).retrans_synack >= 1);
    assert!(socket_drops(&net) > 0);
    assert_eq!(net.server_sum(&pass, PORT).accept_overflow, 0);
}

#[test]
fn resets_are_told_by_why_they_are_sent() {
    for (client, server) in ADDRESSES {
        let net = Net::new();
        let mut probe = probe(&net);
        let connect = move || TcpStream::connect(addr(server, PORT));
        let listener = net.server.run(move || TcpListener::bind(addr(server, PORT)).unwrap());
        // Closed with unread data, closed without lingering.
        for lingers in [true, false] {
            let mut stream = net.client.run(connect).unwrap();
            let (mut accepted, _) = listener.accept().unwrap();
            stream.write_all(b"unread").unwrap();
            if !lingers {
                accepted.read_exact(&mut [0; 6]).unwrap();
                no_linger(&accepted);
            } else {
                wait_for_data(&accepted);
            }
            drop(accepted);
            assert!(stream.read(&mut [0]).is_err());
        }
        // A connection that this listener knows nothing of.
        let stale = Segment { from: addr(client, 20_000), to: addr(server, PORT), sequence: 1, flags: ACK };
        net.client.inject(vec![stale; 3]);
        wait_for(&net.server, "TcpOutRsts", 5);
        drop(listener);
        for _ in 0..4 {
            assert_eq!(net.client.run(connect).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        }
        let pass: Pass = probe.read(1).unwrap();
        let of = net.server_sum(&pass, PORT);
        assert_eq!((of.resets_sent, of.resets_explained, of.resets_no_listener, of.resets_aborted), (9, 9, 4, 2));
        assert_eq!(of.resets_sent, net.server.nstat("TcpOutRsts"));
    }
}

fn no_linger(stream: &TcpStream) {
    let now = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: a valid socket, and a value as long as said.
    let failed =
        unsafe { libc::setsockopt(stream.as_raw_fd(), libc::SOL_SOCKET, libc::SO_LINGER, (&raw const now).cast(), size_of_val(&now) as u32) };
    assert_eq!(failed, 0);
}

fn wait_for_data(stream: &TcpStream) {
    assert!(stream.peek(&mut [0]).unwrap() > 0);
}
