//! A small network for tests: client — router — server, in unnamed namespaces that vanish with the process, also when it is
//! killed. Commands and sockets run on threads that live inside.
#![allow(dead_code, clippy::unwrap_used)]

use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use edgescope_probe::{Counters, FlowReading, Pass, Probe, ProbeConfig, Role, Scope};

type Job = Box<dyn FnOnce() + Send>;

/// A network namespace with loopback up, and a thread in it.
pub struct Namespace {
    pub inode: u32,
    tid: i32,
    jobs: Option<mpsc::SyncSender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Namespace {
    pub fn new() -> Namespace {
        let (jobs, inbox) = mpsc::sync_channel::<Job>(1);
        let (ready, started) = mpsc::sync_channel(1);
        let thread = thread::spawn(move || {
            // SAFETY: affects this thread only.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "tests need root: {}", std::io::Error::last_os_error());
            // SAFETY: no arguments, cannot fail.
            let tid = unsafe { libc::gettid() };
            let inode = fs::metadata(format!("/proc/self/task/{tid}/ns/net")).unwrap().ino() as u32;
            ready.send((tid, inode)).unwrap();
            inbox.into_iter().for_each(|job| job());
        });
        let (tid, inode) = started.recv().unwrap();
        let namespace = Namespace { inode, tid, jobs: Some(jobs), thread: Some(thread) };
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs `job` inside, and waits for it.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        self.start(job)()
    }

    /// Starts `job` inside; what is returned waits for it.
    pub fn start<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> Box<dyn FnOnce() -> T> {
        let (done, result) = mpsc::sync_channel(1);
        let job = Box::new(move || drop(done.send(job())));
        self.jobs.as_ref().unwrap().send(job).unwrap();
        Box::new(move || result.recv().expect("the job panicked"))
    }

    /// Runs a command inside; gives what it printed.
    pub fn sh(&self, program: &str, arguments: &str) -> String {
        let line = format!("{program} {arguments}");
        let output = {
            let (program, arguments) = (program.to_owned(), arguments.to_owned());
            self.run(move || Command::new(program).args(arguments.split_whitespace()).output().unwrap())
        };
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn ip(&self, arguments: &str) {
        self.sh("ip", arguments);
    }

    pub fn nft(&self, arguments: &str) {
        let rule = arguments.to_owned();
        let output = self.run(move || Command::new("nft").arg(rule).output().unwrap());
        assert!(output.status.success(), "nft {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn sysctl(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/{}", key.replace('.', "/"));
        let value = value.to_owned();
        self.run(move || fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}")));
    }

    /// A counter of `nstat`, since the namespace was made.
    pub fn nstat(&self, counter: &str) -> u64 {
        let printed = self.sh("nstat", "-asz");
        let line = printed.lines().find(|line| line.split_whitespace().next() == Some(counter));
        line.unwrap_or_else(|| panic!("nstat has no {counter}")).split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn path(&self) -> String {
        format!("/proc/{}/task/{}/ns/net", std::process::id(), self.tid)
    }

    /// Packets that match `rule` are counted and dropped at `hook` (`input`, `output`) of this namespace.
    pub fn drop_at(&self, hook: &str, rule: &str) {
        self.nft(&format!("add table inet here; add chain inet here {hook} {{ type filter hook {hook} priority 0; }}"));
        self.nft(&format!("add rule inet here {hook} {rule} counter drop"));
    }

    /// What all rules of [`Namespace::drop_at`] have dropped.
    pub fn dropped(&self) -> u64 {
        self.counted("inet")
    }

    /// Sum of the counters in the table `here` of a family.
    pub fn counted(&self, family: &str) -> u64 {
        let printed = self.sh("nft", &format!("list table {family} here"));
        let words: Vec<&str> = printed.split_whitespace().collect();
        words.windows(3).filter(|words| words[..2] == ["counter", "packets"]).map(|words| words[2].parse::<u64>().unwrap()).sum()
    }

    /// A veth pair named `name` here and there, without offloads, so that a packet is a segment.
    pub fn wire(&self, name: &str, there: &Namespace, peer: &str) {
        self.ip(&format!("link add {name} mtu 1500 type veth peer name {peer} mtu 1500 netns {}", there.path()));
        for (side, device) in [(self, name), (there, peer)] {
            side.sh("ethtool", &format!("-K {device} tso off gso off gro off"));
            side.ip(&format!("link set {device} up"));
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        drop(self.jobs.take());
        drop(self.thread.take().map(JoinHandle::join));
    }
}

pub struct Net {
    pub client: Namespace,
    pub router: Namespace,
    pub server: Namespace,
}

pub const CLIENT4: &str = "10.11.1.1";
pub const SERVER4: &str = "10.11.2.1";
pub const CLIENT6: &str = "fd11:1::1";
pub const SERVER6: &str = "fd11:2::1";

impl Net {
    pub fn new() -> Net {
        let net = Net { client: Namespace::new(), router: Namespace::new(), server: Namespace::new() };
        net.client.wire("wire", &net.router, "left");
        net.server.wire("wire", &net.router, "right");
        for (side, device, of) in [(&net.client, "left", 1), (&net.server, "right", 2)] {
            side.ip(&format!("addr add 10.11.{of}.1/24 dev wire"));
            side.ip(&format!("addr add fd11:{of}::1/64 dev wire nodad"));
            net.router.ip(&format!("addr add 10.11.{of}.254/24 dev {device}"));
            net.router.ip(&format!("addr add fd11:{of}::fe/64 dev {device} nodad"));
            side.ip(&format!("route add default via 10.11.{of}.254"));
            side.ip(&format!("-6 route add default via fd11:{of}::fe"));
        }
        net.router.sysctl("net.ipv4.ip_forward", "1");
        net.router.sysctl("net.ipv6.conf.all.forwarding", "1");
        // Otherwise a lossy test depends on what the namespace saw before.
        net.client.sysctl("net.ipv4.tcp_no_metrics_save", "1");
        [SERVER4, SERVER6].into_iter().for_each(|server| net.wait_for_path_to(server));
        net
    }

    /// Neighbours are looked up and addresses usable: a datagram to a closed port comes back as refused.
    fn wait_for_path_to(&self, server: &'static str) {
        self.client.run(move || {
            let any = if server.contains(':') { "[::]:0" } else { "0.0.0.0:0" };
            let socket = UdpSocket::bind(any).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            socket.connect(addr(server, 9)).unwrap();
            let answered = (0..200).any(|_| {
                // An error of an earlier datagram may come back from either call.
                [socket.send(&[0]), socket.recv(&mut [0])].iter().any(|of| matches!(of, Err(error) if error.kind() == ErrorKind::ConnectionRefused))
            });
            assert!(answered, "no path to {server}");
        });
    }

    pub fn scope(&self) -> Scope {
        Scope::Namespaces(vec![self.client.inode, self.server.inode])
    }

    /// An unpinned probe over both ends.
    pub fn probe(&self) -> Probe {
        Probe::load(&self.config()).unwrap()
    }

    pub fn config(&self) -> ProbeConfig {
        ProbeConfig { agent_id: unique("test"), scope: self.scope(), pin: false, ..ProbeConfig::default() }
    }

    /// Forwarded packets that match `rule` are dropped (or what its verdict says).
    pub fn filter(&self, rule: &str) {
        self.router.nft("add table inet faults; add chain inet faults forward { type filter hook forward priority 0; }");
        self.router.nft(&format!("add rule inet faults forward {rule}"));
    }

    pub fn no_filter(&self) {
        self.router.nft("delete table inet faults");
    }

    /// Sum over the client's flows to `port`.
    pub fn client_sum(&self, pass: &Pass, port: u16) -> Counters {
        sum(pass, |flow| flow.key.netns == self.client.inode && flow.key.role == Role::Client && flow.key.service_port == port)
    }

    pub fn server_sum(&self, pass: &Pass, port: u16) -> Counters {
        sum(pass, |flow| flow.key.netns == self.server.inode && flow.key.role == Role::Server && flow.key.service_port == port)
    }
}

/// Starts connecting and does not wait.
pub fn start_connecting(net: &Net, at: SocketAddr) -> OwnedFd {
    net.client.run(move || {
        let SocketAddr::V4(v4) = at else { panic!("IPv4 only") };
        // SAFETY: a new socket, owned here; the address is a valid sockaddr_in of its size.
        unsafe {
            let socket = OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_NONBLOCK, 0));
            let name = libc::sockaddr_in {
                sin_family: libc::AF_INET as u16,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from(*v4.ip()).to_be() },
                sin_zero: [0; 8],
            };
            libc::connect(socket.as_raw_fd(), (&raw const name).cast(), size_of_val(&name) as u32);
            assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EINPROGRESS));
            socket
        }
    })
}

pub fn unique(prefix: &str) -> String {
    format!("{prefix}-{}-{:08x}", std::process::id(), rand::random::<u32>())
}

pub fn addr(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port)
}

pub fn sum(pass: &Pass, wanted: impl Fn(&FlowReading) -> bool) -> Counters {
    let mut total = Counters::default();
    for of in pass.flows.iter().filter(|flow| wanted(flow)).map(|flow| flow.counters) {
        total.bytes_sent += of.bytes_sent;
        total.bytes_received += of.bytes_received;
        total.retrans_bytes += of.retrans_bytes;
        total.segs_sent += of.segs_sent;
        total.segs_received += of.segs_received;
        total.retrans_segs += of.retrans_segs;
        total.retrans_syn += of.retrans_syn;
        total.retrans_synack += of.retrans_synack;
        total.rto += of.rto;
        total.spurious += of.spurious;
        total.out_of_order += of.out_of_order;
        total.busy_us += of.busy_us;
        total.blocked_rwnd_us += of.blocked_rwnd_us;
        total.blocked_sndbuf_us += of.blocked_sndbuf_us;
        total.active_ms += of.active_ms;
        total.stalled_ms += of.stalled_ms;
        total.srtt_us_sum += of.srtt_us_sum;
        total.srtt_samples += of.srtt_samples;
        total.response_us += of.response_us;
        total.responses += of.responses;
        total.connect_attempts += of.connect_attempts;
        total.connect_established += of.connect_established;
        total.connect_timeout += of.connect_timeout;
        total.connect_cancelled += of.connect_cancelled;
        total.connect_refused += of.connect_refused;
        total.connect_unreachable += of.connect_unreachable;
        total.connect_reset += of.connect_reset;
        total.accepts += of.accepts;
        total.closes += of.closes;
        total.resets_sent += of.resets_sent;
        total.resets_received += of.resets_received;
        total.resets_explained += of.resets_explained;
        total.resets_no_listener += of.resets_no_listener;
        total.resets_aborted += of.resets_aborted;
        total.accept_overflow += of.accept_overflow;
        total.receive_drops += of.receive_drops;
        total.sent_drops_other += of.sent_drops_other;
        total.sent_drops_policy += of.sent_drops_policy;
        total.sent_drops_queue += of.sent_drops_queue;
        total.sent_drops_invalid += of.sent_drops_invalid;
        total.received_drops_other += of.received_drops_other;
        total.received_drops_policy += of.received_drops_policy;
        total.received_drops_queue += of.received_drops_queue;
        total.received_drops_invalid += of.received_drops_invalid;
        total.requests += of.requests;
        total.answers_0 += of.answers_0;
        total.answers_1 += of.answers_1;
        total.answers_2 += of.answers_2;
        total.answers_3 += of.answers_3;
        total.answers_4 += of.answers_4;
        total.unanswered += of.unanswered;
    }
    total
}

/// [other, policy, queue, invalid] of what was sent, and of what came in.
pub fn drops(of: &Counters) -> [[u64; 4]; 2] {
    [
        [of.sent_drops_other, of.sent_drops_policy, of.sent_drops_queue, of.sent_drops_invalid],
        [of.received_drops_other, of.received_drops_policy, of.received_drops_queue, of.received_drops_invalid],
    ]
}

/// Answers by outcome.
pub fn answers(of: &Counters) -> [u64; 5] {
    [of.answers_0, of.answers_1, of.answers_2, of.answers_3, of.answers_4]
}

/// How many times were taken at the client and at the server, and the longest of each.
pub fn times(net: &Net, pass: &Pass) -> [(u64, Duration); 2] {
    [net.client.inode, net.server.inode].map(|netns| {
        let all = pass.flows.iter().filter(|flow| flow.key.netns == netns).filter_map(|flow| flow.duration.as_ref());
        let longest = all.clone().filter_map(|hist| hist.max_us).max().unwrap_or(0);
        (all.flat_map(|hist| &hist.buckets).map(|(_, count)| count).sum(), Duration::from_micros(longest.into()))
    })
}

/// Reads passes until `done`; panics with the last pass after 15 s.
pub fn read_until(probe: &mut Probe, what: &str, done: impl Fn(&Pass) -> bool) -> Pass {
    let deadline = Instant::now() + Duration::from_secs(15);
    loop {
        let pass = probe.read(0).unwrap();
        if done(&pass) {
            return pass;
        }
        assert!(Instant::now() < deadline, "never came: {what}; last pass: {pass:#?}");
        thread::sleep(Duration::from_millis(20));
    }
}
