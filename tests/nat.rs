//! Translated addresses from packet to question: a service's virtual address, a port of the node and a masqueraded client, with an agent at each side. The answer names
//! who really talks, and its bytes are the programs' own.

use chrono::Utc;
use edgescope_testbed::Lab;
use edgescope_testbed::netns::{in_netns, tool};
use edgescope_tests::agent::wait_until_at_work;
use edgescope_tests::lab::{at, lab, netns_name};
use edgescope_tests::{Agent, AgentSpec, Place, Question, Scene, Server, ServerSpec, until};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");
const STORED: Duration = Duration::from_secs(75);
/// Hosts of the node that translates; beyond it is `server`.
const INSIDE: [&str; 3] = ["pod", "one", "two"];
const SERVICE: [&str; 2] = ["10.96.0.1", "fd00:96::1"];
/// The router's own: the lab gives it none but of its links.
const NODE: [&str; 2] = ["10.200.0.1", "fd00:200::1"];
const SERVICE_PORT: u16 = 80;
const NODE_PORT: u16 = 30_080;
const BACKEND_PORT: u16 = 8_080;
const SERVER_PORT: u16 = 5_432;
/// Lengths of a request and of each server's answers: a byte at the wrong one shows.
const REQUEST: usize = 100;
const ANSWERS: [(&str, usize); 3] = [("one", 1_000), ("two", 1_100), ("server", 2_000)];

/// Bytes by who sent them to whom.
type Truth = BTreeMap<(String, String), u64>;

/// The router translates as kube-proxy does: the service to two backends in turn, its port at the router, behind whose address clients from outside are hidden
/// as is `pod` from `server`.
fn translate(lab: &Lab) {
    let rules = [false, true].map(|is_ipv6| {
        let (family, service, node) = if is_ipv6 { ("ip6", SERVICE[1], NODE[1]) } else { ("ip", SERVICE[0], NODE[0]) };
        let ip = |host| at(lab, host, is_ipv6, 0).ip();
        let (pod, server) = (ip("pod"), ip("server"));
        let [one, two] = ["one", "two"].map(|host| at(lab, host, is_ipv6, BACKEND_PORT));
        format!(
            "table {family} nat {{
                chain one {{ meta l4proto tcp dnat to {one}; }}
                chain two {{ meta l4proto tcp dnat to {two}; }}
                chain backends {{ numgen inc mod 2 vmap {{ 0 : goto one, 1 : goto two }}; }}
                chain node-port {{ meta mark set 0x4000; goto backends; }}
                chain pre {{
                    type nat hook prerouting priority dstnat
                    {family} daddr {service} tcp dport {SERVICE_PORT} goto backends
                    fib daddr type local tcp dport {NODE_PORT} goto node-port
                }}
                chain post {{
                    type nat hook postrouting priority srcnat
                    meta mark 0x4000 snat to {node} fully-random
                    {family} saddr {pod} {family} daddr {server} snat to {node}
                }}
            }}\n"
        )
    });
    let addresses = NODE.map(|address| format!("addr add {address} dev lo\n")).concat();
    let set_up = || tool("ip", &["-batch", "-"], &addresses).and_then(|_| tool("nft", &["-f", "-"], &rules.concat()));
    in_netns(&lab.router_netns(), set_up).expect("the router is there").expect("it takes addresses and rules");
}

/// Serves on a host until the test ends; the first byte of each answer tells which host it is.
fn serve(lab: &Lab, host: usize, port: u16) {
    let (name, answer) = ANSWERS[host];
    for is_ipv6 in [false, true] {
        let at = at(lab, name, is_ipv6, port);
        let bound = in_netns(&lab.netns(name).expect("the lab has the host"), || TcpListener::bind(at));
        let listener = bound.expect("it can be entered").expect("the port is free");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let mut request = [0; REQUEST];
                while stream.read_exact(&mut request).is_ok() && stream.write_all(&vec![host as u8; answer]).is_ok() {}
            }
        });
    }
}

/// Some connections one after the other, each with an exchange or two.
fn ask(lab: &Lab, host: &str, to: SocketAddr, truth: &mut Truth) {
    for turn in 0..8 {
        let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(5));
        let mut stream = in_netns(&lab.netns(host).expect("the lab has the host"), connect).expect("it can be entered").expect("it answers");
        for _ in 0..=turn % 2 {
            stream.write_all(&[9; REQUEST]).expect("sent");
            let mut first = [0; 1];
            stream.read_exact(&mut first).expect("an answer");
            let (server, answer) = ANSWERS[usize::from(first[0])];
            stream.read_exact(&mut vec![0; answer - 1]).expect("the rest of it");
            *truth.entry((host.to_owned(), server.to_owned())).or_default() += REQUEST as u64;
            *truth.entry((server.to_owned(), host.to_owned())).or_default() += answer as u64;
        }
        stream.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(stream.read(&mut [0; 1]).expect("the other end closes"), 0);
    }
}

/// All three kinds, by both families.
fn ask_all(lab: &Lab, truth: &mut Truth) {
    for is_ipv6 in [false, true] {
        let service: IpAddr = SERVICE[usize::from(is_ipv6)].parse().expect("an address");
        ask(lab, "pod", SocketAddr::new(service, SERVICE_PORT), truth);
        ask(lab, "pod", at(lab, "server", is_ipv6, SERVER_PORT), truth);
        let node: IpAddr = NODE[usize::from(is_ipv6)].parse().expect("an address");
        ask(lab, "server", SocketAddr::new(node, NODE_PORT), truth);
    }
}

/// Bytes of every pair in the answer, by merged, sent and received, but those of the intake.
fn told(server: &Server, from: chrono::DateTime<Utc>) -> Result<[Truth; 3], String> {
    let measures = ["tcp.bytes", "tcp.bytes.sent", "tcp.bytes.received"];
    let edges = server.api().edges(&Question { from, include_own: false, ..Question::since(from, &measures) })?;
    let of = |measure: &str| {
        let mut sums = Truth::new();
        for row in &edges.rows {
            let bytes = row.measures.get(measure).copied().unwrap_or(0.0) as u64;
            if bytes > 0 {
                *sums.entry((row.dim("source.workload").to_owned(), row.dim("dest.workload").to_owned())).or_default() += bytes;
            }
        }
        sums
    };
    Ok(measures.map(of))
}

#[test]
fn whoever_really_talks_is_named_at_both_ends_and_each_byte_counts_once() {
    let scene = Scene::new("nat");
    let lab = lab(TRAFFIC, &["pod", "one", "two", "server"], None);
    translate(&lab);
    let server = Server::start(&scene, ServerSpec::new(&scene, "server"));
    let netns = |host: &str| netns_name(&lab, host);
    let router_name = lab.router_netns().file_name().expect("a namespace has a name").to_string_lossy().into_owned();
    let inside = INSIDE.iter().map(|host| netns(host)).chain([router_name]).collect();
    let node = AgentSpec::new(&scene, &server, "node-inside", Place::Namespaces(inside));
    let node = INSIDE.iter().fold(node, |spec, host| spec.name_netns(&netns(host), host));
    let beyond = AgentSpec::new(&scene, &server, "node-beyond", Place::Namespaces(vec![netns("server")])).name_netns(&netns("server"), "server");
    let mut agents = [node, beyond].map(|spec| Agent::start(&scene, &spec));
    wait_until_at_work(&server, &mut agents);
    for (host, port) in [(0, BACKEND_PORT), (1, BACKEND_PORT), (2, SERVER_PORT)] {
        serve(&lab, host, port);
    }
    // The first of each kind shows who translates: the far agent learns of it by the replies to its next windows. What one agent sees both ends of, and what is
    // masqueraded, is right from the first packet on.
    let first = Utc::now();
    let mut before = Truth::new();
    ask_all(&lab, &mut before);
    until("all that the pod says and hears, from the first packet on", STORED, || {
        let [merged, ..] = told(&server, first)?;
        let of = |sums: &Truth| -> Truth {
            sums.iter().filter(|((a, b), _)| a == "pod" || b == "pod").map(|(pair, bytes)| (pair.clone(), *bytes)).collect()
        };
        if of(&merged) == of(&before) { Ok(()) } else { Err(format!("{before:#?} became {merged:#?}")) }
    });
    // Windows that the far agent told since have been answered with what it is to keep apart.
    std::thread::sleep(Duration::from_secs(3 * edgescope_tests::agent::interval_s()));
    let from = until_next_window();
    let mut truth = Truth::new();
    ask_all(&lab, &mut truth);
    until("all of it, at both ends", STORED, || {
        let all = told(&server, from)?;
        if all.iter().all(|sums| *sums == truth) { Ok(()) } else { Err(format!("{truth:#?} became {all:#?}")) }
    });
    println!("{truth:#?}: as the programs and the API have it");
}

/// Rows of ten seconds: what comes from here on is in none of before. An agent reads a window within a second of its end, and what goes by meanwhile is of that window.
fn until_next_window() -> chrono::DateTime<Utc> {
    let now_ms = Utc::now().timestamp_millis();
    let next_ms = now_ms - now_ms.rem_euclid(10_000) + 10_000;
    std::thread::sleep(Duration::from_millis((next_ms - now_ms).unsigned_abs() + 2_000));
    chrono::DateTime::from_timestamp_millis(next_ms).expect("a time of today")
}
