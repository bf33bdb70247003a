//! Retransmissions, round-trip times and connect outcomes against other witnesses: the kernel's own counters, a capture with the
//! relay's known delay, what was tried.

use chrono::{DateTime, Utc};
use edgescope_tests::capture::{self, Capture};
use edgescope_tests::lab::{Pair, at, netns_name};
use edgescope_tests::traffic::{Exchange, Order, Role};
use edgescope_tests::witness::retransmitted_segments;
use edgescope_tests::{Edges, Question, until};
use std::collections::BTreeMap;
use std::time::Duration;

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");
const STORED: Duration = Duration::from_secs(75);
/// Both ends of the pair have an agent with the right time.
const BOTH: [(&str, i64); 2] = [("left", 0), ("right", 0)];

/// Of a hundred of the witness.
fn is_within(percent: f64, said: f64, witness: f64) -> bool {
    (said - witness).abs() <= witness * percent / 100.0
}

fn ask(pair: &Pair, from: DateTime<Utc>, measures: &[&str]) -> Result<Edges, String> {
    pair.server.api().edges(&Question::since(from, measures))
}

#[test]
fn retransmissions_are_those_that_the_kernel_counts() {
    /// One percent of it is more than one segment.
    const ENOUGH: u64 = 200;
    let mut pair = Pair::new(TRAFFIC, "retrans", None, &BOTH, &[]);
    let (left, right) = (netns_name(&pair.lab, "left"), netns_name(&pair.lab, "right"));
    for (from, to) in [("left", "right"), ("right", "left")] {
        pair.lab.drop_between(from, to, 400).expect("the router drops");
    }
    let from = Utc::now();
    for (port, is_ipv6) in [(7_001, false), (7_002, true)] {
        let to = at(&pair.lab, "right", is_ipv6, port);
        pair.db.listen(to);
        pair.web.exchange(&Exchange { connections: 8, request_bytes: 3 << 20, response_bytes: 3 << 20, ..Exchange::new(to) });
        // Lost SYNs, and on the other side lost SYN-ACKs.
        pair.web.exchange(&Exchange { connections: 40, requests: 5, request_bytes: 10, response_bytes: 10, new_each: true, ..Exchange::new(to) });
    }
    pair.web.quiet();
    pair.db.quiet();
    let sides = [("web", left.as_str()), ("db", right.as_str())];
    until("the retransmissions that the kernel counted", STORED, || {
        let edges = ask(&pair, from, &["tcp.retrans", "tcp.retrans_syn", "tcp.retrans_synack"])?;
        for (workload, netns) in sides {
            let of = |measure: &str| {
                edges.rows.iter().filter(|e| e.dim("source.workload") == workload).filter_map(|e| e.measures.get(measure)).sum::<f64>()
            };
            let (said, kernel) = (of("tcp.retrans"), retransmitted_segments(netns));
            assert!(kernel >= ENOUGH, "only {kernel} retransmissions in {netns}: the test proves nothing");
            if !is_within(1.0, said, kernel as f64) {
                return Err(format!("{workload}: {said} against {kernel} of the kernel; {edges:#?}"));
            }
            let handshakes = if workload == "web" { "tcp.retrans_syn" } else { "tcp.retrans_synack" };
            if of(handshakes) == 0.0 {
                return Err(format!("{workload}: no {handshakes} among {kernel} retransmissions"));
            }
            println!("{workload}: {said} retransmissions, the kernel counted {kernel}; {handshakes} {}", of(handshakes));
        }
        Ok(())
    });
}

#[test]
fn round_trips_are_those_of_the_capture_and_the_relay() {
    const ONE_WAY_US: u32 = 5_000;
    let pair = Pair::new(TRAFFIC, "rtt", Some(ONE_WAY_US), &BOTH, &[]);
    let from = Utc::now();
    let to = at(&pair.lab, "right", false, 7_001);
    pair.db.listen(to);
    let netns = pair.lab.netns("left").expect("the lab has the host");
    let capture = Capture::start(&netns, "eth0", pair.scene.dir(), "left.pcap", "tcp");
    // The answer comes at once and carries the acknowledgement: no delayed ones in the client's round trips.
    pair.web.exchange(&Exchange { connections: 4, requests: 300, request_bytes: 700, response_bytes: 900, pause_ms: 3, ..Exchange::new(to) });
    pair.web.quiet();
    let witness = capture::round_trips_s(&capture.stop(), &at(&pair.lab, "left", false, 0).ip().to_string());
    assert!(witness.len() > 1_000, "the capture has only {} round trips", witness.len());
    let known_s = f64::from(2 * ONE_WAY_US) / 1e6;
    until("the round trips of the capture", STORED, || {
        let edges = ask(&pair, from, &["tcp.rtt.p50", "tcp.rtt.p95", "tcp.rtt.count", "tcp.rtt_min"])?;
        let row = edges.between("web", "db").next().ok_or("no edge web > db")?;
        let of = |measure: &str| row.measures.get(measure).copied().ok_or_else(|| format!("no {measure} in {row:?}"));
        if of("tcp.rtt.count")? < 1_000.0 {
            return Err(format!("only {} round trips", of("tcp.rtt.count")?));
        }
        let mut wrong = Vec::new();
        for (measure, expected, by) in [
            ("tcp.rtt.p50", capture::quantile(&witness, 0.5), "capture"),
            ("tcp.rtt.p95", capture::quantile(&witness, 0.95), "capture"),
            ("tcp.rtt.p50", known_s, "relay"),
            ("tcp.rtt_min", known_s, "relay"),
        ] {
            let said = of(measure)?;
            println!("{measure}: {:.3} ms, the {by} has {:.3} ms", said * 1e3, expected * 1e3);
            if !is_within(10.0, said, expected) {
                wrong.push(format!("{measure} is {said} s, the {by} has {expected} s"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
    });
}

#[test]
fn connect_outcomes_are_the_attempts_made() {
    let mut pair = Pair::new(TRAFFIC, "connects", None, &BOTH, &[]);
    let (silent, forbidden, far) = (7_003, 7_004, 7_005);
    for rule in [
        format!("tcp dport {silent} counter name hit drop"),
        format!("tcp dport {forbidden} counter name hit reject with tcp reset"),
        format!("tcp dport {far} counter name hit reject with icmpx type host-unreachable"),
    ] {
        pair.lab.filter(&rule).expect("the router filters");
    }
    let from = Utc::now();
    let mut expected: BTreeMap<u16, [u64; 6]> = BTreeMap::new();
    for is_ipv6 in [false, true] {
        let to = |port| at(&pair.lab, "right", is_ipv6, port);
        let connect = |port: u16, times, timeout_ms| drop(pair.web.order(&Order::Connect { to: to(port), times, timeout_ms }));
        pair.db.listen(to(7_001));
        connect(7_001, 20, 5_000);
        // Nobody listens there.
        connect(7_002, 7, 5_000);
        // Given up after a second SYN, and before it.
        connect(silent, 5, 1_500);
        connect(silent, 6, 300);
        connect(forbidden, 3, 5_000);
        connect(far, 4, 5_000);
    }
    let counted = pair.web.quiet();
    for port in [7_001, 7_002, silent, forbidden, far] {
        let t = counted.of(port, Role::Client);
        assert_eq!(t.failed_otherwise, 0, "port {port}: {t:?}");
        expected.insert(port, [t.attempts, t.established, t.timed_out, t.cancelled, t.refused, t.unreachable]);
    }
    assert_eq!(expected[&7_001], [40, 40, 0, 0, 0, 0]);
    assert_eq!(expected[&silent], [22, 0, 10, 12, 0, 0]);
    assert_eq!(expected[&far][5], 8, "the router's answer reached the client");
    let measures = [
        "tcp.connects",
        "tcp.connects_established",
        "tcp.connect_timeouts",
        "tcp.connects_cancelled",
        "tcp.connects_refused",
        "tcp.connects_unreachable",
    ];
    until("the outcomes of all attempts", STORED, || {
        let mut asked = measures.to_vec();
        asked.extend(["tcp.accepts", "tcp.connects_reset"]);
        let edges = ask(&pair, from, &asked)?;
        let total = |port: u16, measure: &str| {
            let rows = edges.between("web", "db").filter(|e| e.dim("port") == port.to_string());
            rows.filter_map(|e| e.measures.get(measure)).sum::<f64>().round() as u64
        };
        for (port, tried) in &expected {
            let said = measures.map(|m| total(*port, m));
            if said != *tried || total(*port, "tcp.connects_reset") > 0 {
                return Err(format!("port {port}: {measures:?} are {said:?}, tried {tried:?}; {edges:#?}"));
            }
        }
        let accepts = total(7_001, "tcp.accepts");
        if accepts == 40 { Ok(()) } else { Err(format!("{accepts} accepted of 40")) }
    });
}
