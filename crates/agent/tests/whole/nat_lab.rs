//! A node that translates addresses as kube-proxy does, with pods behind it and hosts beyond it.

use edgescope_agent::cloud::CloudConfig;
use edgescope_agent::runtimes::RuntimesConfig;
use edgescope_agent::{AgentConfig, ScopeConfig};
use edgescope_identity::rules::{Match, Rule};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::time::Duration;

/// Whoever hangs on the node, with the number of its networks `10.N.0.0/24` and `fd00:N::/64`: it is `.2`, the node `.1`.
const HOSTS: [(&str, u8); 5] = [("pod", 11), ("one", 21), ("two", 22), ("client", 31), ("server", 32)];
/// Of the service: its address, its port, and the port at the node.
const SERVICE: [&str; 2] = ["10.96.0.1", "fd00:96::1"];
pub const SERVICE_PORT: u16 = 80;
pub const NODE_PORT: u16 = 30_080;
/// Where the backends `one` and `two` serve.
pub const BACKEND_PORT: u16 = 8_080;
/// Where `server` serves.
pub const SERVER_PORT: u16 = 5_432;

/// The form in which kube-proxy writes its rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Nftables,
    /// Chains of jumps with marks and probabilities, as `iptables-nft` has them in its tables.
    Iptables,
}

/// The namespaces, gone when dropped, with whatever agents left in the kernel.
pub struct NatLab {
    name: String,
    state: tempfile::TempDir,
}

impl NatLab {
    pub fn new(form: Form) -> Self {
        let name = format!("esn{}-{:04x}", std::process::id(), rand::random::<u16>());
        let lab = Self { name, state: tempfile::tempdir().unwrap() };
        let node = lab.netns("node");
        let added: String = HOSTS.map(|(host, _)| host).into_iter().chain(["node"]).map(|host| format!("netns add {}\n", lab.netns(host))).collect();
        tool("ip", &["-batch", "-"], &added);
        tool("ip", &["-n", &node, "link", "set", "lo", "up"], "");
        for (host, n) in HOSTS {
            let netns = lab.netns(host);
            let here = format!(
                "link add {host} type veth peer name eth0 netns {netns}\naddr add 10.{n}.0.1/24 dev {host}\naddr add fd00:{n}::1/64 dev {host} nodad\nlink set {host} up\n"
            );
            tool("ip", &["-n", &node, "-batch", "-"], &here);
            let there = format!("link set lo up\naddr add 10.{n}.0.2/24 dev eth0\naddr add fd00:{n}::2/64 dev eth0 nodad\nlink set eth0 up\n");
            tool("ip", &["-n", &netns, "-batch", "-"], &there);
            tool("ip", &["-n", &netns, "route", "add", "default", "via", &format!("10.{n}.0.1")], "");
            tool("ip", &["-n", &netns, "-6", "route", "add", "default", "via", &format!("fd00:{n}::1")], "");
        }
        let rules: String = [false, true].map(|is_ipv6| rules(form, is_ipv6)).concat();
        lab.within("node", move || {
            for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
                std::fs::write(format!("/proc/sys/net/{setting}"), "1").unwrap();
            }
            tool("nft", &["-f", "-"], &rules);
        });
        lab
    }

    pub fn netns(&self, host: &str) -> String {
        format!("{}-{host}", self.name)
    }

    /// Runs work in a namespace, on a thread that ends with it.
    pub fn within<T: Send + 'static>(&self, host: &str, work: impl FnOnce() -> T + Send + 'static) -> T {
        let file = File::open(format!("/run/netns/{}", self.netns(host))).unwrap();
        let inside = move || {
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        std::thread::spawn(inside).join().unwrap()
    }

    /// A host's own address.
    pub fn at(&self, host: &str, is_ipv6: bool, port: u16) -> SocketAddr {
        let (_, n) = HOSTS.into_iter().find(|(name, _)| *name == host).unwrap();
        let text = if is_ipv6 { format!("fd00:{n}::2") } else { format!("10.{n}.0.2") };
        SocketAddr::new(text.parse().unwrap(), port)
    }

    /// The service's virtual address.
    pub fn service(&self, is_ipv6: bool) -> SocketAddr {
        SocketAddr::new(SERVICE[usize::from(is_ipv6)].parse().unwrap(), SERVICE_PORT)
    }

    /// The node's address on the side of `client`, with the service's port there.
    pub fn node_port(&self, is_ipv6: bool) -> SocketAddr {
        let node: IpAddr = if is_ipv6 { "fd00:31::1" } else { "10.31.0.1" }.parse().unwrap();
        SocketAddr::new(node, NODE_PORT)
    }

    /// Serves TCP and UDP at a host until the test ends: each request of `request` bytes is answered with `response` bytes,
    /// whose values tell which backend it is: 1 for `one`, 2 for any other.
    pub fn serve(&self, host: &'static str, port: u16, request: usize, response: usize) {
        let value = if host == "one" { 1 } else { 2 };
        for is_ipv6 in [false, true] {
            let at = self.at(host, is_ipv6, port);
            let (listener, socket) = self.within(host, move || (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap()));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    let Ok(mut stream) = stream else { return };
                    std::thread::spawn(move || {
                        let mut buffer = vec![0; request];
                        while stream.read_exact(&mut buffer).is_ok() {
                            if stream.write_all(&vec![value; response]).is_err() {
                                return;
                            }
                        }
                    });
                }
            });
            std::thread::spawn(move || {
                let mut buffer = [0; 2_000];
                while let Ok((_, from)) = socket.recv_from(&mut buffer) {
                    drop(socket.send_to(&vec![value; response], from));
                }
            });
        }
    }

    pub fn connect(&self, host: &str, to: SocketAddr) -> TcpStream {
        self.within(host, move || TcpStream::connect_timeout(&to, Duration::from_secs(5)).unwrap_or_else(|error| panic!("{to}: {error}")))
    }

    /// One question by UDP; returns the answer's length.
    pub fn ask_by_datagram(&self, host: &str, to: SocketAddr, request: usize) -> usize {
        self.within(host, move || {
            let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket.connect(to).unwrap();
            socket.send(&vec![1; request]).unwrap();
            socket.recv(&mut [0; 2_000]).unwrap()
        })
    }

    /// An agent over some of the hosts, each a workload of its own name.
    pub fn config(&self, id: &str, server: SocketAddr, hosts: &[&str]) -> AgentConfig {
        let rule = |host: &&str| Rule {
            when: Match { netns: Some(self.netns(host)), ..Match::default() },
            workload: Some((*host).to_owned()),
            ..Rule::default()
        };
        AgentConfig {
            server: format!("http://{server}"),
            id: format!("{}-{id}", self.name),
            interval: Duration::from_secs(1),
            scope: ScopeConfig::Namespaces(hosts.iter().map(|host| self.netns(host)).collect()),
            state_dir: self.state.path().to_owned(),
            node: id.to_owned(),
            // The machine that tests run on has its own.
            runtimes: RuntimesConfig::Off,
            cloud: CloudConfig::Off,
            // The node's own addresses are shared by what runs on it.
            rules: hosts.iter().filter(|host| **host != "node").map(rule).collect(),
            ..AgentConfig::default()
        }
    }
}

impl Drop for NatLab {
    fn drop(&mut self) {
        for id in ["inside", "outside"] {
            if let Err(error) = edgescope_agent::remove(&format!("{}-{id}", self.name)) {
                eprintln!("cannot remove what the agent left in the kernel: {error}");
            }
        }
        for host in HOSTS.map(|(host, _)| host).into_iter().chain(["node"]) {
            // The rest must go even if one is gone already.
            drop(Command::new("ip").args(["netns", "del", &self.netns(host)]).status());
        }
    }
}

fn tool(program: &str, arguments: &[&str], input: &str) {
    let mut child = Command::new(program).args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}\n{input}", String::from_utf8_lossy(&output.stderr));
}

/// The rules of one service with two backends, in turn; its port at the node; and of pods that leave the cluster.
fn rules(form: Form, is_ipv6: bool) -> String {
    let (family, one, two, service, pods, outside) = if is_ipv6 {
        ("ip6", "[fd00:21::2]", "[fd00:22::2]", SERVICE[1], "fd00:11::/64", "fd00:32::/64")
    } else {
        ("ip", "10.21.0.2", "10.22.0.2", SERVICE[0], "10.11.0.0/24", "10.32.0.0/24")
    };
    let bare = |backend: &str| backend.trim_matches(['[', ']']).to_owned();
    let ip = if is_ipv6 { "ip6" } else { "ip" };
    let (one_bare, two_bare) = (bare(one), bare(two));
    match form {
        Form::Nftables => format!(
            "table {family} kube-proxy {{
                map service-ips {{ type {family_type} . inet_proto . inet_service : verdict; }}
                map service-nodeports {{ type inet_proto . inet_service : verdict; }}
                chain mark-for-masquerade {{ meta mark set meta mark or 0x4000; }}
                chain masquerading {{ meta mark and 0x4000 == 0 return; meta mark set meta mark xor 0x4000; masquerade fully-random; }}
                chain endpoint-one {{ {ip} saddr {one_bare} jump mark-for-masquerade; meta l4proto tcp dnat to {one}:{BACKEND_PORT}; meta l4proto udp dnat to {one}:{BACKEND_PORT}; }}
                chain endpoint-two {{ {ip} saddr {two_bare} jump mark-for-masquerade; meta l4proto tcp dnat to {two}:{BACKEND_PORT}; meta l4proto udp dnat to {two}:{BACKEND_PORT}; }}
                chain service {{ numgen inc mod 2 vmap {{ 0 : goto endpoint-one, 1 : goto endpoint-two }}; }}
                chain external {{ jump mark-for-masquerade; goto service; }}
                chain services {{
                    {ip} daddr . meta l4proto . th dport vmap @service-ips
                    fib daddr type local meta l4proto . th dport vmap @service-nodeports
                }}
                chain nat-prerouting {{ type nat hook prerouting priority dstnat; jump services; }}
                chain nat-output {{ type nat hook output priority -100; jump services; }}
                chain nat-postrouting {{ type nat hook postrouting priority srcnat; jump masquerading; {ip} saddr {pods} {ip} daddr {outside} masquerade; }}
            }}
            add element {family} kube-proxy service-ips {{ {service} . tcp . {SERVICE_PORT} : goto service, {service} . udp . {SERVICE_PORT} : goto service }}
            add element {family} kube-proxy service-nodeports {{ tcp . {NODE_PORT} : goto external, udp . {NODE_PORT} : goto external }}\n",
            family_type = if is_ipv6 { "ipv6_addr" } else { "ipv4_addr" },
        ),
        Form::Iptables => format!(
            "table {family} nat {{
                chain KUBE-MARK-MASQ {{ counter meta mark set meta mark or 0x4000; }}
                chain KUBE-SEP-ONE {{ {ip} saddr {one_bare} counter jump KUBE-MARK-MASQ; meta l4proto {{ tcp, udp }} counter dnat to {one}:{BACKEND_PORT}; }}
                chain KUBE-SEP-TWO {{ {ip} saddr {two_bare} counter jump KUBE-MARK-MASQ; meta l4proto {{ tcp, udp }} counter dnat to {two}:{BACKEND_PORT}; }}
                chain KUBE-SVC-SHOP {{ numgen random mod 2 0 counter jump KUBE-SEP-ONE; counter jump KUBE-SEP-TWO; }}
                chain KUBE-EXT-SHOP {{ counter jump KUBE-MARK-MASQ; counter jump KUBE-SVC-SHOP; }}
                chain KUBE-NODEPORTS {{ meta l4proto {{ tcp, udp }} th dport {NODE_PORT} counter jump KUBE-EXT-SHOP; }}
                chain KUBE-SERVICES {{
                    {ip} daddr {service} meta l4proto {{ tcp, udp }} th dport {SERVICE_PORT} counter jump KUBE-SVC-SHOP
                    fib daddr type local counter jump KUBE-NODEPORTS
                }}
                chain KUBE-POSTROUTING {{ meta mark and 0x4000 != 0x4000 counter return; meta mark set meta mark xor 0x4000; counter masquerade fully-random; }}
                chain PREROUTING {{ type nat hook prerouting priority dstnat; counter jump KUBE-SERVICES; }}
                chain OUTPUT {{ type nat hook output priority -100; counter jump KUBE-SERVICES; }}
                chain POSTROUTING {{ type nat hook postrouting priority srcnat; counter jump KUBE-POSTROUTING; {ip} saddr {pods} {ip} daddr {outside} counter masquerade; }}
            }}\n"
        ),
    }
}
