//! The company without faults: everybody reaches everybody, counters add up, nothing is left behind.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{command, eventually, leftovers, shop};
use edgescope_testbed::{Role, Spec, Testbed, Topology, clean, netns};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::Duration;

/// A datagram from every pod to every pod, in both families, and the delay of the wires between them.
#[test]
fn every_pod_reaches_every_pod() {
    let testbed = shop(1.0);
    let topology = testbed.topology().clone();
    let socket = |pod: usize, ip: IpAddr| {
        let path = testbed.pod_netns(&topology.pods[pod].name).unwrap();
        netns::in_netns(&path, || UdpSocket::bind(SocketAddr::new(ip, 9))).unwrap().unwrap()
    };
    for ipv6 in [false, true] {
        let ip = |pod: usize| -> IpAddr { if ipv6 { topology.pods[pod].ipv6.into() } else { topology.pods[pod].ipv4.into() } };
        let sockets: Vec<UdpSocket> = (0..topology.pods.len()).map(|p| socket(p, ip(p))).collect();
        for from in &sockets {
            for to in 0..sockets.len() {
                from.send_to(b"hello", SocketAddr::new(ip(to), 9)).unwrap();
            }
        }
        for (pod, socket) in sockets.iter().enumerate() {
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let mut heard = std::collections::BTreeSet::new();
            while heard.len() < sockets.len() {
                let (_, sender) = socket.recv_from(&mut [0; 16]).unwrap_or_else(|e| panic!("{} heard {heard:?} only: {e}", topology.pods[pod].name));
                heard.insert(sender.ip());
            }
        }
    }
}

/// Agents reach their server from every node, in both families.
#[test]
fn every_node_reaches_management() {
    let testbed = shop(1.0);
    let ips = testbed.mgmt_ips();
    for ip in ips {
        let listener = netns::in_netns(&testbed.mgmt_netns(), || TcpListener::bind((ip, 8101))).unwrap().unwrap();
        for node in testbed.nodes() {
            let stream =
                netns::in_netns(&node.netns, || TcpStream::connect_timeout(&SocketAddr::new(ip, 8101), Duration::from_secs(5))).unwrap().unwrap();
            let (_, peer) = listener.accept().unwrap();
            assert!(node.ips.contains(&peer.ip()), "{} came from {peer}", node.name);
            assert_eq!(stream.peer_addr().unwrap().ip(), ip);
        }
    }
}

/// What A wrote to B is what B read from A, for every pair, when all is quiet; and the customers were served.
#[test]
fn counters_of_both_ends_agree() {
    let mut testbed = shop(60.0);
    let topology = testbed.topology().clone();
    let served = |testbed: &Testbed| {
        let witnesses = testbed.counters().unwrap();
        common::client_totals(&topology, &witnesses, "loadgenerator", "frontend")
    };
    eventually("300 requests", Duration::from_secs(60), || (served(&testbed).requests >= 300).then_some(()));
    let witnesses = testbed.quiesce(Duration::from_secs(30)).unwrap();
    // (writer, reader, port) → bytes, as each end says.
    let (mut written, mut read) = (BTreeMap::new(), BTreeMap::new());
    for witness in &witnesses {
        for peer in &witness.peers {
            let other = topology.pods[topology.pod_at(peer.peer).expect("every peer is a pod")].name.clone();
            let role = |r: Role| matches!(r, Role::Client);
            *written.entry((witness.pod.clone(), other.clone(), peer.port, role(peer.role))).or_insert(0) += peer.totals.bytes_written;
            *read.entry((other, witness.pod.clone(), peer.port, !role(peer.role))).or_insert(0) += peer.totals.bytes_read;
            let t = &peer.totals;
            if peer.role == Role::Client {
                let failed = t.refused + t.timed_out + t.reset + t.unreachable + t.connect_failed_otherwise + t.cancelled;
                assert_eq!(t.connects, t.established + failed, "outcomes of {} to {}", witness.pod, peer.peer);
            }
        }
    }
    written.retain(|_, bytes| *bytes > 0);
    read.retain(|_, bytes| *bytes > 0);
    assert!(written.len() > 60, "only {} pairs talked", written.len());
    assert_eq!(written, read);
    assert_eq!(served(&testbed).requests_failed, 0);
}

/// Round trips are what the relay was told to make them, and what it says it made.
#[test]
fn the_relay_delays_as_told() {
    let testbed = shop(60.0);
    let counters = eventually("2,000 packets each way", Duration::from_secs(60), || {
        let counters = testbed.relay_counters().unwrap();
        let zones = testbed.topology().spec.zones.len() as u16;
        counters.groups.iter().filter(|g| g.from < zones && g.to < zones).all(|g| g.packets > 2_000).then_some(counters)
    });
    for group in counters.groups.iter().filter(|g| g.packets > 0) {
        let asked_us = if group.from == group.to { 500.0 } else { 2_000.0 };
        let held_us = group.held_us as f64 / group.packets as f64;
        // Early by at most 50 µs, late by whatever a busy machine adds: the counters say so themselves.
        let late_us = group.late_us as f64 / group.packets as f64;
        assert!(held_us > asked_us - 55.0 && held_us < asked_us + late_us + 5.0, "{group:?}: held {held_us} µs");
    }
    assert_eq!((counters.dropped_full, counters.dropped_write), (0, 0));
}

/// On all cables a packet is one segment, so that a drop is one lost segment.
#[test]
fn no_packet_is_longer_than_a_segment() {
    let testbed = shop(60.0);
    let nodes = testbed.nodes();
    let nft = |netns: &std::path::Path, args: &[&str], script: &str| netns::in_netns(netns, || netns::tool("nft", args, script).unwrap()).unwrap();
    let count = "table inet lengths {\n counter longer {\n }\n counter every {\n }\n chain forward {\n type filter hook forward priority 0;\n counter name every meta length > 1500 counter name longer\n }\n}\n";
    for node in &nodes {
        nft(&node.netns, &["-f", "-"], count);
    }
    let counted = |name: &str| -> u64 {
        let said = nodes.iter().map(|n| nft(&n.netns, &["list", "counter", "inet", "lengths", name], ""));
        said.map(|s| s.split_whitespace().skip_while(|w| *w != "packets").nth(1).unwrap().parse::<u64>().unwrap()).sum()
    };
    eventually("10,000 packets", Duration::from_secs(60), || (counted("every") > 10_000).then_some(()));
    assert_eq!(counted("longer"), 0);
}

#[test]
fn nothing_is_left_after_a_drop() {
    let testbed = shop(20.0);
    let id = testbed.id().to_string();
    assert!(leftovers(&id).len() > 50);
    let pids: Vec<u32> = testbed.processes().into_iter().map(|(_, pid)| pid).collect();
    drop(testbed);
    assert_eq!(leftovers(&id), Vec::<String>::new());
    assert!(pids.iter().all(|pid| !std::path::Path::new(&format!("/proc/{pid}")).exists()));
}

/// Starts the development binary and returns it with the id of its run.
fn start_binary() -> (std::process::Child, String) {
    let mut child = Command::new(&command()[0])
        .args(["start", "--rate", "20"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let id = line.split_whitespace().nth(1).unwrap_or_else(|| panic!("said {line:?}")).to_string();
    (child, id)
}

#[test]
fn nothing_is_left_after_the_parent_was_killed() {
    let (mut child, id) = start_binary();
    assert!(leftovers(&id).len() > 50);
    child.kill().unwrap();
    child.wait().unwrap();
    // The keeper removes it by itself; `clean` only helps if that is slow, and spares this test's neighbours.
    eventually("the keeper cleans up", Duration::from_secs(30), || leftovers(&id).is_empty().then_some(()));
}

#[test]
fn nothing_is_left_after_an_interrupt() {
    let (mut child, id) = start_binary();
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::INT).unwrap();
    child.wait().unwrap();
    assert_eq!(leftovers(&id), Vec::<String>::new());
}

/// A run whose owner and keeper both were killed is found by `clean`, and one that lives is not.
#[test]
fn clean_removes_the_dead_and_spares_the_living() {
    let living = shop(5.0);
    let (mut child, id) = start_binary();
    let keeper = keeper_of(&id);
    rustix::process::kill_process(rustix::process::Pid::from_raw(keeper).unwrap(), rustix::process::Signal::KILL).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    // Another test's start may have cleaned it up by now; in any case nothing may be left after this.
    clean().unwrap();
    eventually("clean", Duration::from_secs(10), || leftovers(&id).is_empty().then_some(()));
    assert!(leftovers(living.id()).len() > 50);
    assert!(living.counters().is_ok());
}

/// Process id of the keeper of a run, by its command line.
fn keeper_of(id: &str) -> i32 {
    let pids = std::fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let is_keeper =
        |pid: &i32| std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|c| String::from_utf8_lossy(&c).contains(&format!("keeper\0{id}\0")));
    pids.into_iter().find(is_keeper).expect("the run has a keeper")
}

/// The lab: bytes across, delay as told, drops counted where they happen.
#[test]
fn a_lab_delays_and_drops() {
    let mut lab = edgescope_testbed::Lab::builder(command()).host("a").host("b").delay_us(5_000).start().unwrap();
    for ip in [lab.ipv4("b").unwrap(), lab.ipv6("b").unwrap()] {
        let listener = lab.inside("b", || TcpListener::bind((ip, 80))).unwrap().unwrap();
        let mut client = lab.inside("a", || TcpStream::connect((ip, 80))).unwrap().unwrap();
        let (mut server, _) = listener.accept().unwrap();
        client.set_nodelay(true).unwrap();
        let began = std::time::Instant::now();
        client.write_all(b"ping").unwrap();
        server.read_exact(&mut [0; 4]).unwrap();
        assert!(began.elapsed() >= Duration::from_millis(5) && began.elapsed() < Duration::from_millis(60), "{:?}", began.elapsed());
    }
    let drop_all = lab.drop_between("a", "b", 10_000).unwrap();
    let b = lab.ipv4("b").unwrap();
    let refused = lab.inside("a", || TcpStream::connect_timeout(&SocketAddr::new(b, 80), Duration::from_millis(300))).unwrap();
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::TimedOut);
    assert!(lab.hits(&drop_all).unwrap() >= 1);
    lab.remove_filter(drop_all).unwrap();
    let refused = lab.inside("a", || TcpStream::connect_timeout(&SocketAddr::new(b, 81), Duration::from_secs(5))).unwrap();
    assert_eq!(refused.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(lab.netns("c").unwrap_err().to_string().contains("use one of a, b"));
}

/// A spec that cannot be built is refused before anything is made.
#[test]
fn a_broken_spec_makes_nothing() {
    let mut spec = Spec::built_in("shop").unwrap();
    spec.nodes[0].zone = "nowhere".to_string();
    let said = Topology::new(spec).unwrap_err().to_string();
    assert!(said.contains("nowhere"), "{said}");
}
