//! Userland proxies from socket to question: a real one for each published port, with an agent at the node and one at the clients. The answer names the container and whoever
//! asks it, never the proxy, and its bytes are the programs' own.

use chrono::{DateTime, Utc};
use edgescope_testbed::Lab;
use edgescope_testbed::netns::in_netns;
use edgescope_tests::agent::wait_until_at_work;
use edgescope_tests::lab::{at, lab, netns_name};
use edgescope_tests::program::Process;
use edgescope_tests::{Agent, AgentSpec, Place, Question, Scene, Server, ServerSpec, until};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");
const PROXY: &str = env!("CARGO_BIN_EXE_docker-proxy");
const STORED: Duration = Duration::from_secs(75);
const START: Duration = Duration::from_secs(10);
const BOX_PORT: u16 = 8_080;
/// At the node: of `box` by IPv4 and IPv6; by IPv6 where `box` is reached by IPv4.
const PUBLISHED: u16 = 18_080;
const CROSSED: u16 = 18_081;
/// Lengths of a request and of each container's answers: a byte at the wrong one shows.
const REQUEST: usize = 100;
const ANSWERS: [(&str, usize); 2] = [("box", 1_000), ("shop", 1_100)];

/// Bytes by who sent them to whom.
type Truth = BTreeMap<(String, String), u64>;

fn add(truth: &mut Truth, client: &str, (server, answer): (&str, usize)) {
    *truth.entry((client.to_owned(), server.to_owned())).or_default() += REQUEST as u64;
    *truth.entry((server.to_owned(), client.to_owned())).or_default() += answer as u64;
}

/// A proxy at the node, once it accepts.
fn publish(scene: &Scene, lab: &Lab, protocol: &str, host: SocketAddr, container: SocketAddr) -> Process {
    let (host_ip, host_port) = (host.ip().to_string(), host.port().to_string());
    let (ip, port) = (container.ip().to_string(), container.port().to_string());
    let mut command = Command::new(PROXY);
    command.args(["-proto", protocol, "-host-ip", &host_ip, "-host-port", &host_port, "-container-ip", &ip, "-container-port", &port]);
    let netns = lab.netns("node").expect("the lab has the host");
    let process = Process::start("docker-proxy", command, &scene.path("proxies.log"), Some(&netns));
    let table = format!("/proc/{}/net/{protocol}{}", process.id(), if host.is_ipv6() { "6" } else { "" });
    let bound = format!(":{:04X} ", host.port());
    until("a proxy that accepts", START, || {
        let sockets = std::fs::read_to_string(&table).map_err(|error| format!("{table}: {error}"))?;
        if sockets.contains(&bound) { Ok(()) } else { Err(format!("no {bound} in {sockets}")) }
    });
    process
}

/// Serves on a host until the test ends; the first byte of each answer tells which it is.
fn serve(lab: &Lab, host: usize) {
    let (name, answer) = ANSWERS[host];
    for is_ipv6 in [false, true] {
        let bind = || TcpListener::bind(at(lab, name, is_ipv6, BOX_PORT));
        let listener = in_netns(&lab.netns(name).expect("the lab has the host"), bind).expect("it can be entered").expect("the port is free");
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                std::thread::spawn(move || {
                    let mut request = [0; REQUEST];
                    while stream.read_exact(&mut request).is_ok() && stream.write_all(&vec![host as u8; answer]).is_ok() {}
                });
            }
        });
    }
}

/// Connections one after the other, each with an exchange or two.
fn ask(lab: &Lab, (host, client): (&str, &str), to: SocketAddr, truth: &mut Truth) {
    for turn in 0..4 {
        let connect = || TcpStream::connect_timeout(&to, Duration::from_secs(5));
        let mut stream = in_netns(&lab.netns(host).expect("the lab has the host"), connect).expect("it can be entered").expect("it answers");
        for _ in 0..=turn % 2 {
            stream.write_all(&[9; REQUEST]).expect("sent");
            let mut first = [0; 1];
            stream.read_exact(&mut first).expect("an answer");
            let server = ANSWERS[usize::from(first[0])];
            stream.read_exact(&mut vec![0; server.1 - 1]).expect("the rest of it");
            add(truth, client, server);
        }
        stream.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(stream.read(&mut [0; 1]).expect("the other end closes"), 0);
    }
}

/// Waits until the server knows whose port it is: what goes to a port of a shared address before its agent has told of it may be missed by both ends' words.
fn is_claimed(server: &Server, port: SocketAddr, name: &str) {
    until("a port that is known", STORED, || {
        let why = server.api().v1("/why", &[("address", &port.to_string())])?;
        if why["name"]["workload"] == name { Ok(()) } else { Err(why.to_string()) }
    });
}

/// Bytes of every pair in the answer, by merged, sent and received, but those of the intake.
fn told(server: &Server, from: DateTime<Utc>, protocol: &str) -> Result<[Truth; 3], String> {
    let measures = ["", ".sent", ".received"].map(|side| format!("{protocol}.bytes{side}"));
    let measures = measures.each_ref().map(String::as_str);
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

/// The merged sums are the truth; between hosts, the ends' own are too. A client on the node has the node's address, which its server cannot name.
fn is_told(server: &Server, from: DateTime<Utc>, protocol: &str, truth: &Truth) {
    let between_hosts =
        |sums: &Truth| -> Truth { sums.iter().filter(|((a, b), _)| a == "client" || b == "client").map(|(pair, n)| (pair.clone(), *n)).collect() };
    until("all of it, between who really talks", STORED, || {
        let [merged, sent, received] = told(server, from, protocol)?;
        let is_right = merged == *truth && [&sent, &received].into_iter().all(|sums| between_hosts(sums) == between_hosts(truth));
        if is_right { Ok(()) } else { Err(format!("{truth:#?} became {merged:#?}, sent {sent:#?}, received {received:#?}")) }
    });
    let ends: BTreeSet<String> = told(server, from, protocol).expect("an answer").into_iter().flatten().flat_map(|((a, b), _)| [a, b]).collect();
    assert!(!ends.contains("docker-proxy"), "{ends:?}");
    println!("{truth:#?}: as the programs and the API have it");
}

#[test]
fn a_container_is_named_behind_its_proxy_and_each_byte_counts_once() {
    let scene = Scene::new("proxies");
    let lab = lab(TRAFFIC, &["client", "node", "box", "shop"], None);
    let server = Server::start(&scene, ServerSpec::new(&scene, "server"));
    let netns = |host: &str| netns_name(&lab, host);
    let own_name = std::fs::read_to_string("/proc/self/comm").expect("a process has a name");
    let node = AgentSpec::new(&scene, &server, "node", Place::Namespaces(["node", "box", "shop"].map(netns).to_vec()))
        .name_netns(&netns("box"), "box")
        .name_netns(&netns("shop"), "shop")
        .name_process(&netns("node"), own_name.trim_end(), "local");
    let beyond = AgentSpec::new(&scene, &server, "beyond", Place::Namespaces(vec![netns("client")])).name_netns(&netns("client"), "client");
    [0, 1].into_iter().for_each(|host| serve(&lab, host));
    let any: SocketAddr = ([0, 0, 0, 0], PUBLISHED).into();
    let mut proxies = vec![
        publish(&scene, &lab, "tcp", any, at(&lab, "box", false, BOX_PORT)),
        publish(&scene, &lab, "tcp", at(&lab, "node", true, PUBLISHED), at(&lab, "box", true, BOX_PORT)),
        publish(&scene, &lab, "tcp", at(&lab, "node", true, CROSSED), at(&lab, "box", false, BOX_PORT)),
    ];
    let mut agents = [node, beyond].map(|spec| Agent::start(&scene, &spec));
    wait_until_at_work(&server, &mut agents);

    // Proxies of before the agent.
    is_claimed(&server, at(&lab, "node", false, PUBLISHED), "box");
    is_claimed(&server, at(&lab, "node", true, PUBLISHED), "box");
    is_claimed(&server, at(&lab, "node", true, CROSSED), "box");
    let from = Utc::now();
    let mut truth = Truth::new();
    for (is_ipv6, port) in [(false, PUBLISHED), (true, PUBLISHED), (true, CROSSED)] {
        ask(&lab, ("client", "client"), at(&lab, "node", is_ipv6, port), &mut truth);
        ask(&lab, ("node", "local"), at(&lab, "node", is_ipv6, port), &mut truth);
    }
    // By loopback, which is apart from edges between workloads as all of loopback is: no byte of it may come among them.
    ask(&lab, ("node", "local"), ([127, 0, 0, 1], PUBLISHED).into(), &mut Truth::new());
    is_told(&server, from, "tcp", &truth);

    // The port goes to another container by a proxy that comes now, a window later; and somebody on the node talks to that without one.
    drop(proxies.remove(0));
    std::thread::sleep(Duration::from_secs(2 * edgescope_tests::agent::interval_s()));
    proxies.push(publish(&scene, &lab, "tcp", any, at(&lab, "shop", false, BOX_PORT)));
    is_claimed(&server, at(&lab, "node", false, PUBLISHED), "shop");
    ask(&lab, ("client", "client"), at(&lab, "node", false, PUBLISHED), &mut truth);
    ask(&lab, ("node", "local"), at(&lab, "shop", false, BOX_PORT), &mut truth);
    is_told(&server, from, "tcp", &truth);
    assert_eq!(truth.keys().filter(|(client, _)| client == "client").count(), 2, "both containers: {truth:?}");
}
