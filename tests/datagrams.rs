//! UDP from packet to question: bytes and datagrams against the programs themselves, a capture and the kernel's counters.

use chrono::Utc;
use edgescope_testbed::netns::in_netns;
use edgescope_tests::capture::{self, Capture};
use edgescope_tests::lab::{Pair, at};
use edgescope_tests::{Question, until};
use std::net::UdpSocket;
use std::time::Duration;

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");
const STORED: Duration = Duration::from_secs(75);
const PORT: u16 = 7_001;
const ASKED: usize = 200;

/// Bytes there and back of so many questions and answers between the hosts of a pair.
fn talk(pair: &Pair, is_ipv6: bool) -> (u64, u64) {
    let to = at(&pair.lab, "right", is_ipv6, PORT);
    let open = |host: &str, port: u16| {
        let bind = || UdpSocket::bind(std::net::SocketAddr::new(at(&pair.lab, host, is_ipv6, 0).ip(), port));
        let socket = in_netns(&pair.lab.netns(host).expect("the lab has the host"), bind).expect("it can be entered").expect("the port is free");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
        socket
    };
    let (client, service) = (open("left", 0), open("right", PORT));
    let mut room = [0; 2_000];
    let (mut there, mut back) = (0, 0);
    for size in 0..ASKED {
        there += client.send_to(&vec![1; size], to).expect("sent");
        let (_, from) = service.recv_from(&mut room).expect("it arrives");
        back += service.send_to(&vec![2; 1_000 + size], from).expect("sent");
        client.recv(&mut room).expect("it arrives");
    }
    (there as u64, back as u64)
}

fn is_told(agents: &[(&str, i64)], name: &str) {
    let pair = Pair::new(TRAFFIC, name, None, agents, &[("right", "db")]);
    let from = Utc::now();
    let netns = pair.lab.netns("left").expect("the lab has the host");
    let capture = Capture::start(&netns, "eth0", pair.scene.dir(), "left.pcap", "udp");
    let of = [false, true].map(|is_ipv6| talk(&pair, is_ipv6));
    let (there, back) = (of[0].0 + of[1].0, of[0].1 + of[1].1);
    let count = 2 * ASKED as u64;
    // A capture that is ended leaves out what it has not taken yet.
    until("all in the capture", Duration::from_secs(20), || {
        for (host, bytes) in [("left", there), ("right", back)] {
            let sources = [false, true].map(|is_ipv6| at(&pair.lab, host, is_ipv6, 0).ip().to_string());
            let captured = capture::datagrams(capture.file(), &sources, PORT);
            if captured != (count, bytes) {
                return Err(format!("{captured:?} from {host}, which sent {bytes} bytes in {count}"));
            }
        }
        Ok(())
    });
    capture.stop();
    until("what was said by UDP", STORED, || {
        let edges = pair.server.api().edges(&Question {
            group_by: "source.workload,dest.workload,protocol,port,role".to_owned(),
            ..Question::since(from, &["udp.bytes", "udp.datagrams", "udp.drops"])
        })?;
        for (source, dest, role, bytes) in [("web", "db", "client", there), ("db", "web", "server", back)] {
            let rows: Vec<_> = edges.between(source, dest).filter(|row| row.dim("protocol") == "udp").collect();
            let [row] = rows.as_slice() else { return Err(format!("{source} > {dest}: {edges:#?}")) };
            let said = |measure: &str| row.measures.get(measure).copied().unwrap_or(-1.0);
            if (said("udp.bytes"), said("udp.datagrams")) != (bytes as f64, count as f64) {
                return Err(format!("{source} > {dest}: {bytes} bytes in {count} datagrams, but {row:?}"));
            }
            assert_eq!((row.dim("port"), row.dim("role")), (PORT.to_string().as_str(), role));
            println!("{source} > {dest}: {bytes} bytes in {count} datagrams, as the programs, the capture and the API have it");
        }
        Ok(())
    });
}

#[test]
fn with_an_agent_at_both_ends_each_datagram_counts_once() {
    is_told(&[("left", 0), ("right", 0)], "udp-both");
}

#[test]
fn with_an_agent_at_one_end_the_other_is_told_by_what_arrives() {
    is_told(&[("left", 0)], "udp-one");
}
