use super::*;
use crate::counters::{Cumulative, Totals};
use crate::testing::key;
use edgescope_identity::local::{Namer, Place};
use edgescope_identity::rules::{Match, Rule, Rules};
use edgescope_probe::Counters;

const NODE: u32 = 1;
const CONTAINER: u32 = 2;
const PROXY: u32 = 700;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `netns comm local remote port role`
fn flow(netns: u32, comm: &str, (local, remote): (&str, &str), service_port: u16, role: Role) -> FlowKey {
    FlowKey { netns, comm: Comm::new(comm), local: ip(local), remote: ip(remote), service_port, role, cgroup: 0, ..key(1) }
}

fn outer() -> FlowKey {
    flow(NODE, "docker-proxy", ("192.0.2.1", "10.9.0.1"), 8_080, Role::Server)
}

fn inner() -> [FlowKey; 2] {
    let near = flow(NODE, "docker-proxy", ("172.17.0.1", "172.17.0.2"), 80, Role::Client);
    [near, flow(CONTAINER, "web", ("172.17.0.2", "172.17.0.1"), 80, Role::Server)]
}

/// Another process of the node that talks to the container.
fn direct() -> FlowKey {
    flow(NODE, "curl", ("172.17.0.1", "172.17.0.2"), 80, Role::Client)
}

fn deltas(keys: &[FlowKey]) -> Vec<Delta> {
    let delta = |key: &FlowKey| Delta {
        key: *key,
        counted: Cumulative { totals: Totals::default(), ..Cumulative::default() },
        rtt_us_max: None,
        rtt_us_min: None,
    };
    keys.iter().map(delta).collect()
}

fn readings(keys: &[FlowKey]) -> Vec<FlowReading> {
    let counters = |key: &FlowKey| Counters { last_tgid: if key.comm == Comm::new("docker-proxy") { PROXY } else { 5 }, ..Counters::default() };
    keys.iter().map(|key| FlowReading { key: *key, counters: counters(key), rtt: None, handshake: None, duration: None }).collect()
}

fn listener(netns: u32, comm: &str, port: u16, tgid: u32) -> Listener {
    Listener { netns, addr: None, port, comm: Comm::new(comm), cgroup: 0, tgid }
}

const LINE: &[u8] = b"docker-proxy\0-proto\0tcp\0-host-ip\00.0.0.0\0-host-port\08080\0-container-ip\0172.17.0.2\0-container-port\080\0";

/// A node with one container, window by window.
struct Node {
    proxies: Proxies,
    naming: Naming,
    areas: Vec<Area>,
    listeners: Vec<Listener>,
    /// What the proxy's process says.
    line: io::Result<&'static [u8]>,
    reads: Vec<u32>,
}

impl Node {
    fn new() -> Self {
        let area = |inode, address| Area { inode, name: None, addresses: vec![ip(address), ip("127.0.0.1")], container: None };
        Self {
            proxies: Proxies::default(),
            naming: Naming::new(Namer::default(), false),
            areas: vec![area(NODE, "192.0.2.1"), area(CONTAINER, "172.17.0.2")],
            listeners: vec![listener(NODE, "docker-proxy", 8_080, PROXY), listener(CONTAINER, "web", 80, 6)],
            line: Ok(LINE),
            reads: Vec::new(),
        }
    }

    /// The flows that are told of these, and what was undone.
    fn window(&mut self, keys: &[FlowKey]) -> (Vec<FlowKey>, Undone) {
        let mut flows = deltas(keys);
        let (reads, line) = (&mut self.reads, &self.line);
        let read = |tgid| {
            reads.push(tgid);
            Some(line.as_ref().map(|line| line.to_vec()).map_err(|error| io::Error::from(error.kind())))
        };
        let undone = self.proxies.undo(&mut flows, (&self.listeners, &readings(keys)), &self.areas, &mut self.naming, read);
        (flows.iter().map(|delta| delta.key).collect(), undone)
    }

    /// The workload whose the port is at the address, as a socket of this process has it.
    fn lent(&self, comm: &str, local: &str, port: u16, protocol: Protocol) -> Option<String> {
        self.naming.lent(NODE, ip(local), port, protocol, &Comm::new(comm)).map(|owner| owner.dims.workload.clone())
    }
}

#[test]
fn the_proxys_port_is_the_containers_and_the_rest_is_left_out() {
    let mut node = Node::new();
    let [near, far] = inner();
    for _ in 0..2 {
        let (told, undone) = node.window(&[outer(), near, far]);
        assert_eq!((told, undone), (vec![outer()], Undone { inner: 2, losses: BTreeMap::new() }));
    }
    assert_eq!(node.reads, [PROXY], "read once");
    assert_eq!(node.lent("docker-proxy", "192.0.2.1", 8_080, Protocol::Tcp), Some("web".into()));
    assert_eq!(node.lent("dockerd", "127.0.0.1", 8_080, Protocol::Tcp), Some("web".into()), "handed over by the daemon");
    assert_eq!(node.lent("sshd", "192.0.2.1", 8_080, Protocol::Tcp), None, "nobody else's port is given away");
    assert_eq!(node.lent("docker-proxy", "192.0.2.1", 8_080, Protocol::Udp), None);
    assert_eq!(node.lent("docker-proxy", "fd00::1", 8_080, Protocol::Tcp), None, "it accepts by IPv4 alone");
    // What is read of the container's socket a window later than of the proxy's.
    assert!(node.window(&[far]).0.is_empty());
    // The proxy ends, and its socket is forgotten.
    node.listeners.remove(0);
    assert_eq!(node.window(&[far]).0, [far]);
    assert_eq!((node.proxies.len(), node.lent("docker-proxy", "192.0.2.1", 8_080, Protocol::Tcp)), (0, None));
}

#[test]
fn what_others_say_to_the_container_stays() {
    let mut node = Node::new();
    let [near, far] = inner();
    let elsewhere = flow(CONTAINER, "web", ("172.17.0.2", "172.17.0.9"), 80, Role::Server);
    let other_port = flow(NODE, "docker-proxy", ("172.17.0.1", "172.17.0.2"), 81, Role::Client);
    assert_eq!(node.window(&[near, elsewhere, other_port]).0, [elsewhere, other_port]);
    // Both between the same addresses: the container's socket has them in one.
    let (told, undone) = node.window(&[near, direct(), far]);
    assert_eq!((told, undone), (vec![direct(), far], Undone { inner: 1, losses: BTreeMap::from([("proxies_mixed", 1)]) }));
    // The last of it is read a window later.
    assert_eq!(node.window(&[far]), (vec![far], Undone::default()));
    assert!(node.window(&[near, far]).0.is_empty());
}

#[test]
fn a_container_without_a_name_keeps_its_proxy() {
    let mut node = Node::new();
    let [near, far] = inner();
    node.areas.truncate(1);
    node.listeners.truncate(1);
    let (told, undone) = node.window(&[outer(), near]);
    assert_eq!((told, undone.losses), (vec![outer(), near], BTreeMap::from([("proxies_unnamed", 1)])), "nobody sees the container");
    let rule =
        Rule { when: Match { cidr: Some("172.17.0.2/32".parse().unwrap()), ..Match::default() }, workload: Some("shop".into()), ..Rule::default() };
    node.naming = Naming::new(Namer::new(Rules::new(vec![rule]).unwrap(), Place::default()), false);
    assert_eq!(node.window(&[outer(), near]).0, [outer()], "a rule names it");
    assert_eq!(node.lent("docker-proxy", "192.0.2.1", 8_080, Protocol::Tcp), Some("shop".into()));
    // By its socket, where it listens no more.
    let mut node = Node::new();
    node.listeners.truncate(1);
    assert_eq!(node.window(&[outer(), near, far]).0, [outer()]);
    assert_eq!(node.lent("docker-proxy", "192.0.2.1", 8_080, Protocol::Tcp), Some("web".into()));
    assert_eq!(node.window(&[outer(), near]).0, [outer()], "and still when it is silent");
}

#[test]
fn arguments_that_cannot_be_read_are_counted_once() {
    for line in [Err(io::Error::from(io::ErrorKind::PermissionDenied)), Ok(&b"docker-proxy\0-proto\0sctp\0"[..])] {
        let mut node = Node { line, ..Node::new() };
        let keys = [outer(), inner()[0], inner()[1]];
        let (told, undone) = node.window(&keys);
        assert_eq!((told, undone.losses), (keys.to_vec(), BTreeMap::from([("proxies_unread", 1)])));
        assert_eq!((node.window(&keys).1, node.reads.len()), (Undone::default(), 1));
    }
}

#[test]
fn a_proxy_that_comes_anew_has_its_new_container() {
    let mut node = Node::new();
    let [near, far] = inner();
    assert_eq!(node.window(&[outer(), near, far]).0, [outer()]);
    // The old process' flows are not forgotten yet; another container has another address.
    node.listeners = vec![listener(NODE, "docker-proxy", 8_080, PROXY + 1), listener(3, "api", 80, 8)];
    node.areas.push(Area { inode: 3, name: None, addresses: vec![ip("172.17.0.3")], container: None });
    node.line = Ok(b"docker-proxy\0-host-port\08080\0-container-ip\0172.17.0.3\0-container-port\080\0");
    node.window(&[near]);
    assert_eq!((node.lent("docker-proxy", "192.0.2.1", 8_080, Protocol::Tcp), node.proxies.len()), (Some("api".into()), 2));
}

#[test]
fn proxies_beyond_the_bound_are_counted() {
    let mut node = Node::new();
    node.listeners = (0..PROXIES_MAX as u32 + 3).map(|n| listener(NODE, "docker-proxy", 1, PROXY + n)).collect();
    assert_eq!(node.window(&[]).1.losses, BTreeMap::from([("proxies_left_out", 3)]));
    assert_eq!(node.proxies.len(), PROXIES_MAX);
}
