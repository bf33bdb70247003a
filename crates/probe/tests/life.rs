//! The probe's own life: dying and returning, several of them, scopes, keys that come and go, bounds.
#![allow(clippy::unwrap_used)]

mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use edgescope_probe::{HookState, KeptBound, Losses, Pass, Probe, ProbeConfig, ProbeError, Role, Scope};
use support::*;

/// Removes a pinned probe also when its test fails.
struct Pinned(ProbeConfig);

impl Drop for Pinned {
    fn drop(&mut self) {
        let removed = Probe::remove(&self.0.agent_id);
        assert!(removed.is_ok() || thread::panicking(), "{removed:?}");
    }
}

fn pinned(net: &Net) -> Pinned {
    Pinned(ProbeConfig { pin: true, ..net.config() })
}

/// A connection with both ends in hand.
fn pair(net: &Net, listener: &TcpListener, at: SocketAddr) -> (TcpStream, TcpStream) {
    let client = net.client.run(move || TcpStream::connect(at).unwrap());
    (client, listener.accept().unwrap().0)
}

fn say(from: &mut TcpStream, to: &mut TcpStream, bytes: usize) {
    from.write_all(&vec![1; bytes]).unwrap();
    to.read_exact(&mut vec![0; bytes]).unwrap();
}

#[test]
fn a_probe_that_dies_and_returns_has_lost_and_doubled_nothing() {
    let net = Net::new();
    let mut config = pinned(&net);
    (config.0.drops, config.0.udp) = (true, true);
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let mut probe = Probe::load(&config.0).unwrap();
    assert!(probe.hooks().iter().all(|hook| hook.state == HookState::Attached), "{:?}", probe.hooks());
    let epoch = probe.epoch();
    assert_eq!(probe.mark_existing().unwrap().listeners, 1);
    let (mut old_client, mut old_server) = pair(&net, &listener, addr(SERVER4, 80));
    say(&mut old_client, &mut old_server, 1000);
    let service = net.server.run(|| UdpSocket::bind(addr(SERVER4, 4500)).unwrap());
    let datagrams = net.client.run(|| UdpSocket::bind(addr(CLIENT4, 0)).unwrap());
    let send = |bytes: usize| {
        datagrams.send_to(&vec![1; bytes], addr(SERVER4, 4500)).unwrap();
        service.recv(&mut [0; 100]).unwrap();
    };
    send(10);
    assert_eq!(probe.read(7).unwrap().previous_window, None);
    drop(probe);

    // While nobody reads: an old connection goes on, one ends, a new one comes, another comes and goes.
    say(&mut old_client, &mut old_server, 200);
    send(20);
    for _ in 0..3 {
        let (mut client, mut server) = pair(&net, &listener, addr(SERVER4, 80));
        say(&mut client, &mut server, 30);
    }
    let (mut new_client, mut new_server) = pair(&net, &listener, addr(SERVER4, 80));
    say(&mut new_client, &mut new_server, 4);

    let mut probe = Probe::load(&config.0).unwrap();
    assert_eq!(probe.epoch(), epoch);
    let adopted = probe.hooks().iter().filter(|hook| hook.state == HookState::Adopted).count();
    assert_eq!(adopted, probe.hooks().iter().filter(|hook| !hook.name.starts_with("mark_") && hook.name != "sweep").count(), "{:?}", probe.hooks());
    assert_eq!(probe.mark_existing().unwrap().sockets, 0, "what is known is not marked again");
    let pass = read_until(&mut probe, "3 closes", |pass| net.client_sum(pass, 80).closes == 3 && net.server_sum(pass, 80).closes == 3);
    assert_eq!(pass.sockets, 4);
    assert_eq!((net.client_sum(&pass, 80).bytes_sent, net.server_sum(&pass, 80).bytes_received), (1294, 1294));
    say(&mut new_client, &mut new_server, 6);
    drop((new_client, new_server, old_client, old_server));
    let pass = read_until(&mut probe, "all closes", |pass| net.client_sum(pass, 80).closes == 5 && net.server_sum(pass, 80).closes == 5);
    assert_eq!((net.client_sum(&pass, 80).bytes_sent, net.server_sum(&pass, 80).bytes_received), (1300, 1300));
    assert_eq!(net.client_sum(&pass, 80).connect_established, 5);
    send(30);
    let pass = probe.read(9).unwrap();
    let both = (net.client_sum(&pass, 4500), net.server_sum(&pass, 4500));
    assert_eq!((both.0.bytes_sent, both.0.segs_sent, both.1.bytes_received, both.1.segs_received), (60, 3, 60, 3));
    assert_eq!(pass.losses, Losses::default());
}

#[test]
fn pinned_maps_keep_their_size_and_say_so() {
    let net = Net::new();
    let first = pinned(&net);
    let ProbeConfig { flows_max, rtts_max, .. } = first.0.clone();
    assert_eq!(Probe::load(&first.0).unwrap().kept_bounds(), [], "made anew");
    assert_eq!(Probe::load(&first.0).unwrap().kept_bounds(), [], "found in the size asked for");
    let larger = ProbeConfig { flows_max: 2 * flows_max, rtts_max: 2 * rtts_max, ..first.0.clone() };
    let kept = [("flows_max", flows_max), ("rtts_max", rtts_max)].map(|(field, kept)| KeptBound { field, wanted: 2 * kept, kept });
    assert_eq!(Probe::load(&larger).unwrap().kept_bounds(), kept);
    // The remedy.
    Probe::remove(&larger.agent_id).unwrap();
    assert_eq!(Probe::load(&larger).unwrap().kept_bounds(), []);
}

/// Another build takes over while connections come and go: each of them counts once, and sockets go on where they were.
#[test]
fn another_build_takes_over_without_a_gap() {
    const BUILD: u64 = 7;
    let net = Net::new();
    let config = pinned(&net);
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let old = Probe::load_as(&config.0, BUILD).unwrap();
    let epoch = old.epoch();
    drop(old);
    let (mut client, mut server) = pair(&net, &listener, addr(SERVER4, 80));
    say(&mut client, &mut server, 100);
    let done = Arc::new(AtomicBool::new(false));
    let talk = {
        let done = Arc::clone(&done);
        net.client.start(move || {
            let mut connections = 0u64;
            while !done.load(Ordering::Acquire) {
                drop(TcpStream::connect(addr(SERVER4, 80)).unwrap());
                drop(listener.accept().unwrap());
                connections += 1;
            }
            connections
        })
    };
    let mut probe = Probe::load(&config.0).unwrap();
    done.store(true, Ordering::Release);
    let connections = talk() + 1;
    assert!(probe.hooks().iter().filter(|hook| hook.state == HookState::Replaced).count() >= 6, "{:?}", probe.hooks());
    assert_eq!(probe.epoch(), epoch);
    say(&mut client, &mut server, 11);
    // The last connection's ends close when the last acknowledgements have come.
    let all_closed = |pass: &Pass| net.client_sum(pass, 80).closes + net.server_sum(pass, 80).closes == 2 * (connections - 1);
    let pass = read_until(&mut probe, "the bytes and all closes", |pass| net.client_sum(pass, 80).bytes_sent == 111 && all_closed(pass));
    let (client, server) = (net.client_sum(&pass, 80), net.server_sum(&pass, 80));
    assert!(connections > 1);
    assert_eq!((client.connect_attempts, client.connect_established, client.closes), (connections, connections, connections - 1));
    assert_eq!((server.accepts, server.closes), (connections, connections - 1));
    drop(probe);
    let removed = Probe::remove(&config.0.agent_id).unwrap().removed;
    assert!(!removed.iter().any(|name| name.ends_with(&format!("{BUILD:016x}"))), "{removed:?}");
}

#[test]
fn what_leaves_the_scope_counts_no_more() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let (mut client, mut server) = pair(&net, &listener, addr(SERVER4, 80));
    say(&mut client, &mut server, 100);
    read_until(&mut probe, "the bytes", |pass| net.server_sum(pass, 80).bytes_received == 100);
    probe.set_scope(&Scope::Namespaces(vec![net.client.inode])).unwrap();
    say(&mut client, &mut server, 50);
    let pass = read_until(&mut probe, "the bytes", |pass| net.client_sum(pass, 80).bytes_sent == 150);
    assert_eq!((net.server_sum(&pass, 80).bytes_received, pass.sockets), (100, 1));
    // What it did meanwhile stays out when it comes back.
    probe.set_scope(&net.scope()).unwrap();
    let report = probe.mark_existing().unwrap();
    assert_eq!((report.listeners, report.sockets), (1, 1));
    say(&mut client, &mut server, 7);
    let pass = read_until(&mut probe, "the bytes", |pass| net.client_sum(pass, 80).bytes_sent == 157);
    assert_eq!(net.server_sum(&pass, 80).bytes_received, 107);
}

/// The kernel leaves a run of a program out when it falls into another run on the same CPU. Here the programs look away instead while
/// handshakes complete: whoever sees the sockets next must know them for open, the pass or the close.
#[test]
fn a_handshake_that_nobody_told_of_is_made_up_for() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    net.filter("tcp dport 80 drop");
    let young: Vec<_> = (0..2).map(|_| start_connecting(&net, addr(SERVER4, 80))).collect();
    read_until(&mut probe, "both attempts", |pass| net.client_sum(pass, 80).connect_attempts == 2);
    // No pass may come in between: it would see sockets that have left the scope.
    probe.set_scope(&Scope::Namespaces(vec![1])).unwrap();
    net.no_filter();
    let accepted: Vec<TcpStream> = (0..2).map(|_| listener.accept().unwrap().0).collect();
    probe.set_scope(&net.scope()).unwrap();
    let mut clients: Vec<TcpStream> = young.into_iter().map(TcpStream::from).collect();
    clients.iter_mut().for_each(|client| {
        client.set_nonblocking(false).unwrap();
        client.write_all(&[1; 70]).unwrap();
    });
    // One is closed before any pass, both ends; the other is open when it comes.
    let mut accepted = accepted.into_iter();
    let at = clients.iter().position(|c| c.local_addr().unwrap() == accepted.as_slice()[0].peer_addr().unwrap()).unwrap();
    let (client, mut server) = (clients.remove(at), accepted.next().unwrap());
    server.read_exact(&mut [0; 70]).unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0]).unwrap(), 0);
    drop((client, server));
    let pass = read_until(&mut probe, "both ends' bytes", |pass| net.server_sum(pass, 80).bytes_received == 140);
    let (client, server) = (net.client_sum(&pass, 80), net.server_sum(&pass, 80));
    assert_eq!((client.connect_attempts, client.connect_established, client.connect_timeout), (2, 2, 0));
    assert_eq!((client.bytes_sent, server.accepts, client.closes, server.closes), (140, 2, 1, 1));
    drop((clients, accepted));
    let pass = read_until(&mut probe, "all closes", |pass| net.client_sum(pass, 80).closes == 2 && net.server_sum(pass, 80).closes == 2);
    assert_eq!(net.server_sum(&pass, 80).accepts, 2, "counted again");
}

#[test]
fn a_control_that_cannot_be_read_is_an_error() {
    let net = Net::new();
    let config = pinned(&net);
    drop(Probe::load(&config.0).unwrap());
    let control = std::path::Path::new("/sys/fs/bpf/edgescope").join(&config.0.agent_id).join("control");
    std::fs::remove_file(&control).unwrap();
    // Something else in its place.
    let link = std::fs::read_dir(control.parent().unwrap()).unwrap().flatten().find(|e| e.file_name().to_string_lossy().starts_with("link_"));
    std::fs::rename(link.unwrap().path(), &control).unwrap();
    let error = Probe::load(&config.0).map(drop).unwrap_err();
    assert!(matches!(error, ProbeError::Bpffs { .. }), "{error}");
}

#[test]
fn the_next_probe_learns_what_the_last_one_called_its_window() {
    let net = Net::new();
    let config = pinned(&net);
    Probe::load(&config.0).unwrap().read(41).unwrap();
    let mut probe = Probe::load(&config.0).unwrap();
    assert_eq!(probe.read(44).unwrap().previous_window, Some(41));
    assert_eq!(probe.read(45).unwrap().previous_window, Some(44));
}

#[test]
fn one_agent_id_is_one_probe() {
    let net = Net::new();
    let config = pinned(&net);
    let probe = Probe::load(&config.0).unwrap();
    assert!(matches!(Probe::load(&config.0), Err(ProbeError::InUse { .. })));
    assert!(matches!(Probe::remove(&config.0.agent_id), Err(ProbeError::InUse { .. })));
    drop(probe);
    let removed = Probe::remove(&config.0.agent_id).unwrap().removed;
    assert!(removed.contains(&"flows".to_owned()) && removed.iter().any(|name| name.starts_with("link_on_state_")), "{removed:?}");
    assert_eq!(Probe::remove(&config.0.agent_id).unwrap().removed, [""; 0]);
}

#[test]
fn removal_takes_the_counters_away() {
    let net = Net::new();
    let config = pinned(&net);
    let first = Probe::load(&config.0).unwrap().epoch();
    Probe::remove(&config.0.agent_id).unwrap();
    let mut probe = Probe::load(&config.0).unwrap();
    assert_ne!(probe.epoch(), first);
    assert_eq!(probe.read(1).unwrap().flows.len(), 0);
}

#[test]
fn two_probes_see_what_is_in_their_scope() {
    let net = Net::new();
    let of = |inode| ProbeConfig { scope: Scope::Namespaces(vec![inode]), ..net.config() };
    let mut at_client = Probe::load(&of(net.client.inode)).unwrap();
    let mut at_server = Probe::load(&of(net.server.inode)).unwrap();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let (mut client, mut server) = pair(&net, &listener, addr(SERVER4, 80));
    say(&mut client, &mut server, 999);
    drop((client, server));
    let seen_by_client = read_until(&mut at_client, "the close", |pass| net.client_sum(pass, 80).closes == 1);
    let seen_by_server = read_until(&mut at_server, "the close", |pass| net.server_sum(pass, 80).closes == 1);
    assert_eq!(net.client_sum(&seen_by_client, 80).bytes_sent, 999);
    assert_eq!(net.server_sum(&seen_by_server, 80).bytes_received, 999);
    assert!(seen_by_client.flows.iter().all(|flow| flow.key.netns == net.client.inode && flow.rtt.is_some()));
    assert!(seen_by_server.flows.iter().all(|flow| flow.key.netns == net.server.inode && flow.rtt.is_some()));
}

#[test]
fn a_namespace_may_come_into_scope_later() {
    let net = Net::new();
    let mut probe = Probe::load(&ProbeConfig { scope: Scope::Namespaces(vec![net.client.inode]), ..net.config() }).unwrap();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let (mut client, mut server) = pair(&net, &listener, addr(SERVER4, 80));
    say(&mut client, &mut server, 100);
    assert_eq!(net.server_sum(&probe.read(1).unwrap(), 80), Default::default());
    probe.set_scope(&net.scope()).unwrap();
    let report = probe.mark_existing().unwrap();
    assert_eq!((report.listeners, report.sockets), (1, 1));
    say(&mut client, &mut server, 11);
    let pass = read_until(&mut probe, "the bytes", |pass| net.server_sum(pass, 80).bytes_received == 11);
    assert_eq!(net.client_sum(&pass, 80).bytes_sent, 111);
    // And out again: what happens there is not counted any more.
    probe.set_scope(&Scope::Namespaces(vec![net.client.inode])).unwrap();
    drop(pair(&net, &listener, addr(SERVER4, 80)));
    let pass = read_until(&mut probe, "the close", |pass| net.client_sum(pass, 80).closes == 1);
    assert_eq!(net.server_sum(&pass, 80).accepts, 0);
}

/// A cgroup of its own, removed with it. Its process is this test's, which goes back to where it was.
struct Cgroup {
    path: PathBuf,
    before: PathBuf,
}

impl Cgroup {
    fn enter() -> Cgroup {
        let report = edgescope_probe::kernel_report();
        let root = report.cgroup2.unwrap();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap().to_owned();
        let cgroup = Cgroup { path: root.join(unique("probe-test")), before: root.join(own) };
        std::fs::create_dir_all(cgroup.path.join("below")).unwrap();
        cgroup.move_to(&cgroup.path.join("below"));
        cgroup
    }

    fn move_to(&self, path: &std::path::Path) {
        std::fs::write(path.join("cgroup.procs"), std::process::id().to_string()).unwrap();
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        self.move_to(&self.before);
        for path in [self.path.join("below"), self.path.clone()] {
            let removed = std::fs::remove_dir(&path);
            assert!(removed.is_ok() || thread::panicking(), "{}: {removed:?}", path.display());
        }
    }
}

#[test]
fn a_cgroup_scope_holds_what_is_below_it() {
    let net = Net::new();
    let cgroup = Cgroup::enter();
    let mut probe = Probe::load(&ProbeConfig { scope: Scope::Cgroup(cgroup.path.clone()), ..net.config() }).unwrap();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    drop(pair(&net, &listener, addr(SERVER4, 80)));
    // Sockets belong to the cgroup they were made in.
    cgroup.move_to(&cgroup.before);
    let outside = net.server.run(|| TcpListener::bind(addr(SERVER4, 81)).unwrap());
    drop(pair(&net, &outside, addr(SERVER4, 81)));
    let pass = read_until(&mut probe, "the close", |pass| net.client_sum(pass, 80).closes == 1 && net.server_sum(pass, 80).closes == 1);
    assert_eq!(net.client_sum(&pass, 81).connect_attempts + net.server_sum(&pass, 81).accepts, 0);
    let inode = std::os::unix::fs::MetadataExt::ino(&std::fs::metadata(cgroup.path.join("below")).unwrap());
    assert!(pass.flows.iter().all(|flow| flow.key.cgroup == inode), "{pass:#?}");
    let missing = Probe::load(&ProbeConfig { scope: Scope::Cgroup("/nonexistent".into()), ..net.config() });
    assert!(matches!(missing, Err(ProbeError::BadCgroup { .. })));
}

fn server_ports(net: &Net, pass: &Pass) -> Vec<u16> {
    let mut ports: Vec<_> = pass.flows.iter().filter(|flow| flow.key.netns == net.server.inode).map(|flow| flow.key.client_port).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn a_split_address_keeps_its_ports_also_of_live_connections() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let (mut client, mut server) = pair(&net, &listener, addr(SERVER4, 80));
    say(&mut client, &mut server, 100);
    let pass = read_until(&mut probe, "the bytes", |pass| net.server_sum(pass, 80).bytes_received == 100);
    assert_eq!(server_ports(&net, &pass), [0]);
    probe.set_split(&[CLIENT4.parse().unwrap()]).unwrap();
    probe.read(2).unwrap();
    say(&mut client, &mut server, 50);
    let second = pair(&net, &listener, addr(SERVER4, 80));
    let mut expected = vec![0, client.local_addr().unwrap().port(), second.0.local_addr().unwrap().port()];
    expected.sort_unstable();
    let pass = read_until(&mut probe, "the bytes", |pass| net.server_sum(pass, 80).bytes_received == 150);
    assert_eq!(server_ports(&net, &pass), expected);
    let of_first = pass.flows.iter().find(|flow| flow.key.client_port == client.local_addr().unwrap().port()).unwrap();
    assert_eq!(of_first.counters.bytes_received, 50);
}

#[test]
fn forgotten_flows_hand_over_their_last_counters() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| TcpListener::bind(addr(SERVER4, 80)).unwrap());
    let (mut client, mut server) = pair(&net, &listener, addr(SERVER4, 80));
    say(&mut client, &mut server, 123);
    drop((client, server));
    let pass = read_until(&mut probe, "both closes", |pass| net.client_sum(pass, 80).closes == 1 && net.server_sum(pass, 80).closes == 1);
    let keys: Vec<_> = pass.flows.iter().map(|flow| flow.key).collect();
    let forgotten = probe.forget(&keys).unwrap();
    assert_eq!(forgotten.len(), 2);
    for (forgotten, read) in forgotten.iter().zip(&pass.flows) {
        assert_eq!((forgotten.key, forgotten.counters), (read.key, read.counters));
        assert_eq!(forgotten.handshake.is_some(), read.key.role == Role::Client);
    }
    assert_eq!(probe.forget(&keys).unwrap().len(), 0);
    assert_eq!(probe.read(9).unwrap().flows.len(), 0);
}

/// What exceeds the bound is summed under the unspecified remote address: totals stay exact, and the loss of detail is counted.
#[test]
fn a_full_flow_map_keeps_the_totals() {
    let net = Net::new();
    let mut probe = Probe::load(&ProbeConfig { flows_max: 4, rtts_max: 2, ..net.config() }).unwrap();
    for port in 80..90 {
        let listener = net.server.run(move || TcpListener::bind(addr(SERVER4, port)).unwrap());
        let (mut client, mut server) = pair(&net, &listener, addr(SERVER4, port));
        say(&mut client, &mut server, 10);
    }
    let total = |pass: &Pass| sum(pass, |_| true);
    let pass = read_until(&mut probe, "20 closes", |pass| total(pass).closes == 20);
    assert_eq!((total(&pass).bytes_sent, total(&pass).bytes_received), (100, 100));
    assert_eq!(total(&pass).connect_established, 10);
    assert_eq!(pass.flows.iter().filter(|flow| !flow.key.remote.is_unspecified()).count(), 4);
    assert!(pass.losses.flows_full >= 16 && pass.losses.rtts_full > 0 && pass.losses.others_full == 0, "{:?}", pass.losses);
}

#[test]
fn drops_are_counted_by_namespace_when_asked_for() {
    let net = Net::new();
    let mut probe = Probe::load(&ProbeConfig { drops: true, ..net.config() }).unwrap();
    net.server.nft("add table inet faults; add chain inet faults input { type filter hook input priority 0; }");
    net.server.nft("add rule inet faults input udp dport 7 counter drop");
    net.client.run(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
        (0..25).for_each(|_| assert_eq!(socket.send_to(b"gone", addr(SERVER4, 7)).unwrap(), 4));
    });
    let pass = read_until(&mut probe, "25 drops", |pass| pass.drops.iter().any(|of| of.count == 25));
    let (least, most) = (pass.drops.iter().map(|of| of.netns).min(), pass.drops.iter().map(|of| of.netns).max());
    assert_eq!((least, most), (Some(net.server.inode), Some(net.server.inode)), "{:?}", pass.drops);
    assert!(pass.drops.iter().any(|of| of.count == 25 && of.reason == "netfilter_drop"), "{:?}", pass.drops);
}

#[test]
fn a_listener_that_never_bound_has_its_port() {
    let net = Net::new();
    let mut probe = net.probe();
    let listener = net.server.run(|| {
        // SAFETY: a new socket, owned by the listener from here on.
        unsafe {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
            assert_eq!(libc::listen(socket, 8), 0);
            std::os::fd::FromRawFd::from_raw_fd(socket)
        }
    });
    let listener: TcpListener = listener;
    let port = listener.local_addr().unwrap().port();
    let pass = probe.read(1).unwrap();
    assert_eq!(pass.listeners.iter().map(|of| (of.port, of.addr)).collect::<Vec<_>>(), [(port, None)]);
}
