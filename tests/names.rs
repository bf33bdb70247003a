//! Names of ends of which no agent speaks, as clients hear them: from packet to edge, explanation and the list of what was asked.

use chrono::Utc;
use edgescope_testbed::netns::in_netns;
use edgescope_tests::capture::{self, Capture};
use edgescope_tests::lab::{Pair, at};
use edgescope_tests::{Question, program, until};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");
const STORED: Duration = Duration::from_secs(75);
const DNS: u16 = 53;
const PLAIN: u16 = 5432;
/// One of tshark's own for TLS.
const TLS: u16 = 443;
const SECRET: &str = "only-asked-for.example.com";

fn inside<T: Send + 'static>(pair: &Pair, host: &str, make: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> T {
    in_netns(&pair.lab.netns(host).expect("the lab has the host"), make).expect("it can be entered").expect("a socket")
}

/// RFC 1035: a question for a name's addresses of a kind, and the answer to it.
fn question(id: u16, name: &str, is_ipv6: bool) -> Vec<u8> {
    let mut message = [&id.to_be_bytes()[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        message.push(label.len() as u8);
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, if is_ipv6 { 28 } else { 1 }, 0, 1]);
    message
}

fn answer(question: &[u8], code: u8, address: Option<IpAddr>) -> Vec<u8> {
    let mut message = question.to_vec();
    (message[2], message[3], message[7]) = (0x81, 0x80 | code, u8::from(address.is_some()));
    let (kind, octets) = match address {
        Some(IpAddr::V4(v4)) => (1, v4.octets().to_vec()),
        Some(IpAddr::V6(v6)) => (28, v6.octets().to_vec()),
        None => return message,
    };
    message.extend([0xc0, 12, 0, kind, 0, 1, 0, 0, 0, 60, 0, octets.len() as u8]);
    message.extend(octets);
    message
}

/// The client on `left` asks a resolver on `right`, which leads it to `right` itself.
fn resolve(pair: &Pair, name: &str, is_ipv6: bool, code: u8) {
    let to = at(&pair.lab, "right", is_ipv6, DNS);
    let any: SocketAddr = if is_ipv6 { "[::]:0" } else { "0.0.0.0:0" }.parse().expect("an address");
    let (client, resolver) = (inside(pair, "left", move || UdpSocket::bind(any)), inside(pair, "right", move || UdpSocket::bind(to)));
    [&client, &resolver].iter().for_each(|end| end.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out"));
    client.send_to(&question(7, name, is_ipv6), to).expect("sent");
    let mut room = [0; 512];
    let (size, asker) = resolver.recv_from(&mut room).expect("it arrives");
    resolver.send_to(&answer(&room[..size], code, (code == 0).then_some(to.ip())), asker).expect("sent");
    client.recv(&mut room).expect("it arrives");
}

/// Says something to a port of `right`, and stays for an answer.
fn talk(pair: &Pair, is_ipv6: bool, port: u16, words: &[u8]) {
    let to = at(&pair.lab, "right", is_ipv6, port);
    let listener = inside(pair, "right", move || TcpListener::bind(to));
    let mut client = inside(pair, "left", move || TcpStream::connect(to));
    let (mut server, _) = listener.accept().expect("a connection");
    client.write_all(words).expect("sent");
    server.read_exact(&mut vec![0; words.len()]).expect("it arrives");
    server.write_all(b"answer").expect("sent");
    client.read_exact(&mut [0; 6]).expect("it arrives");
}

/// What a TLS client says first to a server of this name.
fn greeting(name: &'static str) -> Vec<u8> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let mut client = ClientConnection::new(Arc::new(config), ServerName::try_from(name).expect("a name")).expect("a client");
    let mut hello = Vec::new();
    client.write_tls(&mut hello).expect("a greeting");
    hello
}

fn command(pair: &Pair, arguments: &[&str]) -> Value {
    let url = pair.server.url();
    let all: Vec<String> = arguments.iter().chain(&["--json", "--server", &url]).map(|argument| (*argument).to_owned()).collect();
    let output = program::run(&all, Duration::from_secs(30));
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn ends_without_an_agent_are_called_what_clients_call_them() {
    // No agent on the right, and no rule for it.
    let pair = Pair::new(TRAFFIC, "names", None, &[("left", 0)], &[]);
    let from = Utc::now();
    let netns = pair.lab.netns("left").expect("the lab has the host");
    let capture = Capture::whole(&netns, "eth0", pair.scene.dir(), "left.pcap", "tcp port 443");
    for is_ipv6 in [false, true] {
        resolve(&pair, "db.example.com", is_ipv6, 0);
        resolve(&pair, SECRET, is_ipv6, 3);
        talk(&pair, is_ipv6, PLAIN, b"select");
        talk(&pair, is_ipv6, TLS, &greeting("api.example.com"));
    }
    until("both greetings in the capture", Duration::from_secs(20), || {
        let names = capture::texts(capture.file(), "tls.handshake.type == 1", "tls.handshake.extensions_server_name");
        if names == ["api.example.com", "api.example.com"] { Ok(()) } else { Err(format!("{names:?}")) }
    });
    drop(capture.stop());
    let question =
        Question { group_by: "source.workload,dest.workload,dest.resolution_type,port,role".to_owned(), ..Question::since(from, &["tcp.connects"]) };
    until("edges by the names that were heard", STORED, || {
        let edges = pair.server.api().edges(&question)?;
        for (name, found_by, port) in [("db.example.com", "dns", PLAIN), ("api.example.com", "tls_sni", TLS)] {
            let port = port.to_string();
            let row = edges.between("web", name).find(|row| row.dim("port") == port && row.dim("role") == "client");
            let row = row.ok_or_else(|| format!("no edge web > {name}: {edges:#?}"))?;
            if (row.dim("dest.resolution_type"), row.measures.get("tcp.connects")) != (found_by, Some(&2.0)) {
                return Err(format!("{name}: {row:?}"));
            }
        }
        Ok(())
    });
    let right = at(&pair.lab, "right", false, TLS);
    let why = command(&pair, &["why", &right.to_string()]);
    assert_eq!(why["name"]["workload"], "api.example.com", "{why}");
    assert!(why["reason"].as_str().is_some_and(|reason| reason.contains("node-left") && reason.contains("TLS")), "{why}");
    let asked = command(&pair, &["dns", "--workload", "web"]);
    let told = |name: &str| asked["names"].as_array().and_then(|names| names.iter().find(|of| of["name"] == name)).cloned().unwrap_or_default();
    assert_eq!((&told("db.example.com")["answers"], &told("db.example.com")["nxdomain"]), (&2.into(), &0.into()), "{asked}");
    assert_eq!((&told(SECRET)["answers"], &told(SECRET)["nxdomain"]), (&2.into(), &2.into()), "{asked}");
}
