//! What the kernel side costs here: ns a run of each program, and ns a socket of each reading.
//!
//! `cost [SOCKETS…]` (as root; default 1000 10000 50000). Sockets live in namespaces of their own, in several processes, and go
//! with them. The programs' run-time statistics are on for the second table only, as they cost something themselves. Ends with 1
//! if a reading costs more than 1 µs a socket, busy or idle.
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use edgescope_probe::{Pass, Probe, ProbeConfig, Scope};

/// Connections a child holds: two open files each, of which a process may have 20,000.
const CONNECTIONS_EACH: usize = 5000;
/// Clients towards one port: an address has 28,000 ephemeral ports.
const CONNECTIONS_A_PORT: usize = 500;
const READINGS: usize = 7;
/// Of each talk.
const EXCHANGES: usize = 100_000;
/// What a reading may cost, by socket.
const NS_A_SOCKET_MAX: f64 = 1000.0;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first_chunk::<2>() {
        Some([mode, connections]) if mode == "--hold" => {
            hold(connections.parse().unwrap());
            return ExitCode::SUCCESS;
        }
        Some([mode, exchanges]) if TALKS.iter().any(|talk| talk.mode == mode) => {
            let talk = TALKS.iter().find(|talk| talk.mode == mode).unwrap();
            answer_orders(exchanges.parse().unwrap(), talk.speak);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let mut sizes: Vec<usize> = arguments.iter().map(|size| size.parse().expect("numbers of sockets")).collect();
    if sizes.is_empty() {
        sizes = vec![1000, 10_000, 50_000];
    }
    println!("readings: CPU time, median of {READINGS}; the sockets' counters, then all flows");
    println!("{:>8} {:>7} {:>12} {:>12} {:>12} {:>10}", "sockets", "flows", "sockets are", "CPU ms", "ns/socket", "kB here");
    let over: Vec<String> = sizes.into_iter().flat_map(readings).collect();
    println!("\nprograms: mean over a load of connections and of round trips");
    programs();
    if over.is_empty() {
        return ExitCode::SUCCESS;
    }
    println!();
    over.iter().for_each(|reading| println!("too dear: {reading}, {NS_A_SOCKET_MAX} ns are allowed"));
    ExitCode::FAILURE
}

/// A process with connections to itself in a namespace of its own. Each byte on its input is a round: every connection
/// sends a byte; each is answered by a byte.
struct Holder {
    child: Child,
    orders: ChildStdin,
    answers: ChildStdout,
}

impl Holder {
    fn new(connections: usize) -> Holder {
        Holder::of("--hold", connections)
    }

    fn of(mode: &str, count: usize) -> Holder {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([mode, &count.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (orders, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Holder { child, orders, answers }
    }

    fn inode(&self) -> u32 {
        let path = format!("/proc/{}/ns/net", self.child.id());
        std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(path).unwrap()) as u32
    }

    fn wait(&mut self) {
        self.answers.read_exact(&mut [0]).expect("the holder ended early");
    }

    fn round(&mut self) {
        self.orders.write_all(&[1]).unwrap();
        self.wait();
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A namespace for this process alone, with loopback up.
fn apart() {
    // SAFETY: affects this process only, which has one thread.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNET), 0, "needs root");
        let all = libc::rlimit { rlim_cur: 20_000, rlim_max: 20_000 };
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const all);
        // Not outlive the parent, whatever ends it.
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
    }
    assert!(Command::new("ip").args(["link", "set", "lo", "up"]).status().unwrap().success());
}

/// What a process says to itself over and over, to see what a packet of it costs.
struct Talk {
    mode: &'static str,
    what: &'static str,
    speak: fn(usize),
}

const TALKS: &[Talk] = &[
    Talk { mode: "--datagrams", what: "datagrams", speak: datagrams },
    Talk { mode: "--names", what: "questions of DNS and their answers", speak: names },
    Talk { mode: "--pages", what: "requests of HTTP and their answers, with TCP's acknowledgements", speak: pages },
    Talk { mode: "--dropped", what: "datagrams that a filter drops on their way out", speak: dropped },
    Talk { mode: "--calls", what: "requests of HTTP/2 and their answers, with TCP's acknowledgements", speak: calls },
];

/// Each byte on the input is a round.
fn answer_orders(exchanges: usize, speak: fn(usize)) {
    apart();
    let (mut input, mut output) = (std::io::stdin(), std::io::stdout());
    let mut answer = || output.write_all(&[1]).and_then(|()| output.flush()).unwrap();
    answer();
    while input.read_exact(&mut [0]).is_ok() {
        speak(exchanges);
        answer();
    }
}

fn datagrams(count: usize) {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    near.connect(far.local_addr().unwrap()).unwrap();
    for _ in 0..count {
        near.send(&[1; 100]).unwrap();
        far.recv(&mut [0; 100]).unwrap();
    }
}

fn dropped(count: usize) {
    let nft = |command: &str| assert!(Command::new("nft").arg(command).status().unwrap().success());
    nft("add table inet cost; add chain inet cost output { type filter hook output priority 0; }; add rule inet cost output udp dport 9 drop");
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    for _ in 0..count {
        assert!(socket.send_to(&[1; 100], "127.0.0.1:9").is_err());
    }
    nft("delete table inet cost");
}

fn names(count: usize) {
    let (near, far) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:53").unwrap());
    near.connect(far.local_addr().unwrap()).unwrap();
    let mut message = [0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1];
    for id in 0..count {
        message[..2].copy_from_slice(&(id as u16).to_be_bytes());
        message[2] = 1;
        near.send(&message).unwrap();
        let (_, from) = far.recv_from(&mut message).unwrap();
        message[2] = 0x81;
        far.send_to(&message, from).unwrap();
        near.recv(&mut message).unwrap();
    }
}

fn pages(count: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let (request, answer) = (b"GET /page HTTP/1.1\r\nhost: a.test\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    for _ in 0..count {
        client.write_all(request).unwrap();
        server.read_exact(&mut vec![0; request.len()]).unwrap();
        server.write_all(answer).unwrap();
        client.read_exact(&mut vec![0; answer.len()]).unwrap();
    }
}

/// As a client and server of gRPC have them once their tables are filled: heads of 20 bytes, a message, and trailers.
fn calls(count: usize) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let frame = |kind: u8, flags: u8, stream: u32, payload: &[u8]| {
        [&(payload.len() as u32).to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    };
    let mut pass = |by_client: bool, bytes: &[u8]| {
        let (from, to) = if by_client { (&mut client, &mut server) } else { (&mut server, &mut client) };
        from.write_all(bytes).unwrap();
        to.read_exact(&mut vec![0; bytes.len()]).unwrap();
    };
    pass(true, &[&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(4, 0, 0, &[])].concat());
    pass(false, &frame(4, 0, 0, &[]));
    for call in 0..count as u32 {
        let stream = 2 * call + 1;
        pass(true, &[frame(1, 4, stream, &[0x83; 20]), frame(0, 1, stream, &[7; 100])].concat());
        pass(false, &[frame(1, 4, stream, &[0x88; 20]), frame(0, 0, stream, &[7; 100]), frame(1, 5, stream, &[0x88; 20])].concat());
    }
}

fn hold(connections: usize) {
    apart();
    let (mut input, mut output) = (std::io::stdin(), std::io::stdout());
    let mut answer = || output.write_all(&[1]).and_then(|()| output.flush()).unwrap();
    answer();
    input.read_exact(&mut [0]).unwrap();
    let mut pairs = Vec::new();
    while pairs.len() < connections {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        for _ in 0..CONNECTIONS_A_PORT.min(connections - pairs.len()) {
            pairs.push((TcpStream::connect(at).unwrap(), listener.accept().unwrap().0));
        }
    }
    answer();
    while input.read_exact(&mut [0]).is_ok() {
        for (client, server) in &mut pairs {
            client.write_all(&[1]).unwrap();
            server.read_exact(&mut [0]).unwrap();
        }
        answer();
    }
}

/// Holders whose sockets are all made after the probe was loaded.
fn start(connections: usize) -> (Vec<Holder>, Probe) {
    let each = std::iter::repeat_n(CONNECTIONS_EACH, connections / CONNECTIONS_EACH).chain([connections % CONNECTIONS_EACH]);
    let mut holders: Vec<Holder> = each.filter(|count| *count > 0).map(Holder::new).collect();
    holders.iter_mut().for_each(Holder::wait);
    let scope = Scope::Namespaces(holders.iter().map(Holder::inode).collect());
    let config = ProbeConfig {
        agent_id: format!("cost-{}", std::process::id()),
        scope,
        pin: false,
        udp: true,
        dns: true,
        http: true,
        http2: true,
        names: true,
        drops: true,
        ..ProbeConfig::default()
    };
    let probe = Probe::load(&config).unwrap();
    holders.iter_mut().for_each(Holder::round);
    (holders, probe)
}

/// Prints them; gives those that cost too much.
fn readings(sockets: usize) -> Vec<String> {
    let mut over = Vec::new();
    let (mut holders, mut probe) = start(sockets / 2);
    let mut table = |name: &str, between: &mut dyn FnMut()| {
        let mut took: Vec<(Duration, Pass)> = (0..READINGS)
            .map(|turn| {
                between();
                let before = cpu_time();
                let pass = probe.read(turn as u32).unwrap();
                (cpu_time() - before, pass)
            })
            .collect();
        took.sort_by_key(|(took, _)| *took);
        let (took, pass) = &took[READINGS / 2];
        let ns_a_socket = took.as_nanos() as f64 / sockets as f64;
        assert_eq!(pass.sockets as usize, sockets);
        if ns_a_socket > NS_A_SOCKET_MAX {
            over.push(format!("{sockets} {name} sockets at {ns_a_socket:.0} ns each"));
        }
        println!(
            "{:>8} {:>7} {:>12} {:>12.2} {:>12.0} {:>10}",
            sockets,
            pass.flows.len(),
            name,
            took.as_secs_f64() * 1e3,
            ns_a_socket,
            resident_kb(),
        );
    };
    table("busy", &mut || holders.iter_mut().for_each(Holder::round));
    // Sockets settle a second after their last segment.
    std::thread::sleep(Duration::from_millis(1200));
    table("idle", &mut || ());
    over
}

/// Of this thread, in the kernel and out of it: what the clock on the wall says depends on who else is running.
fn cpu_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid clock and a timespec to write to.
    assert_eq!(unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) }, 0);
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

fn resident_kb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Run-time statistics of BPF programs, until this is closed.
fn statistics() -> OwnedFd {
    // SAFETY: gives a new file descriptor or -1.
    let fd = unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) };
    assert!(fd >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: valid and owned by nobody else.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn programs() {
    let on = statistics();
    let (mut holders, mut probe) = start(CONNECTIONS_EACH);
    let started = Instant::now();
    for turn in 0..20 {
        holders.iter_mut().for_each(Holder::round);
        probe.read(turn).unwrap();
    }
    drop(holders);
    let closed = probe.read(99).unwrap().flows.iter().map(|flow| flow.counters.closes).sum::<u64>();
    println!("{:>24} {:>10} {:>10}", "program", "runs", "ns/run");
    for cost in probe.run_stats().unwrap() {
        println!("{:>24} {:>10} {:>10.0}", cost.name, cost.run_cnt, cost.run_time_ns as f64 / cost.run_cnt.max(1) as f64);
    }
    println!("({closed} closes, {:.1} s)", started.elapsed().as_secs_f64());
    let (mut reader, _) = probe.http2(|_| {}).unwrap().expect("it was asked for");
    let alarm = reader.alarm().unwrap();
    std::thread::spawn(move || {
        loop {
            alarm.wait(Duration::from_secs(1));
            reader.drain(usize::MAX >> 1).unwrap();
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    println!("\nabove, on_egress and on_ingress left packets of TCP alone; here they look into them");
    println!("{:>24} {:>10} {:>10}", "program", "runs", "ns/run");
    for talk in TALKS {
        let mut talker = Holder::of(talk.mode, EXCHANGES);
        talker.wait();
        probe.set_scope(&Scope::Namespaces(vec![talker.inode()])).unwrap();
        let before = probe.run_stats().unwrap();
        talker.round();
        println!("{EXCHANGES} {}", talk.what);
        for (cost, was) in
            probe.run_stats().unwrap().iter().zip(&before).filter(|(cost, _)| ["on_egress", "on_ingress", "on_drop"].contains(&cost.name.as_str()))
        {
            let (runs, time_ns) = (cost.run_cnt - was.run_cnt, cost.run_time_ns - was.run_time_ns);
            println!("{:>24} {runs:>10} {:>10.0}", cost.name, time_ns as f64 / runs.max(1) as f64);
        }
    }
    println!("connections of HTTP/2 of which something was lost: {}", probe.read(100).unwrap().losses.http2_ring_full);
    drop(on);
}
