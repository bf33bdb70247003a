//! Each fault does what it says, to old connections and to new ones, where it says and nowhere else, and goes away.

#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{client_totals, eventually, shop};
use edgescope_testbed::{Fault, PeerTotals, Strength, Testbed, Truth, netns};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(60);

fn inject(testbed: &mut Testbed, fault: &str) -> Truth {
    testbed.inject(&fault.parse().unwrap(), 1).unwrap()
}

/// Connects from one pod to the service of another.
fn connect(testbed: &Testbed, from: &str, to: &str, ipv6: bool, limit: Duration) -> io::Result<TcpStream> {
    let server = &testbed.topology().pods[testbed.topology().pod(to).unwrap()];
    let ip: IpAddr = if ipv6 { server.ipv6.into() } else { server.ipv4.into() };
    let address = SocketAddr::new(ip, server.port.unwrap());
    netns::in_netns(&testbed.pod_netns(from).unwrap(), || TcpStream::connect_timeout(&address, limit)).unwrap()
}

/// One request on a connection; the time until its answer begins.
fn request(stream: &mut TcpStream, body: usize, limit: Duration) -> io::Result<Duration> {
    let began = Instant::now();
    stream.set_read_timeout(Some(limit))?;
    let head = format!("POST / HTTP/1.1\r\nhost: test\r\ncontent-length: {body}\r\n\r\n");
    stream.write_all(&[head.as_bytes(), &vec![b'.'; body]].concat())?;
    answer(stream, began)
}

/// Reads one whole answer; the time since `began` until its head was there.
fn answer(stream: &mut TcpStream, began: Instant) -> io::Result<Duration> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let took = began.elapsed();
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 "), "{head}");
    let length = head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(|n| n.parse().unwrap()));
    stream.read_exact(&mut vec![0; length.unwrap()])?;
    Ok(took)
}

/// What the kernel says of a connection that was opened in a pod's namespace.
fn tcp_info(testbed: &Testbed, pod: &str, stream: &TcpStream) -> String {
    let own = format!("sport = :{}", stream.local_addr().unwrap().port());
    netns::in_netns(&testbed.pod_netns(pod).unwrap(), || netns::tool("ss", &["-tinHO", &own], "").unwrap()).unwrap()
}

fn fails(result: io::Result<impl std::fmt::Debug>) -> ErrorKind {
    match result.unwrap_err().kind() {
        // A read time-out has this kind.
        ErrorKind::WouldBlock => ErrorKind::TimedOut,
        kind => kind,
    }
}

fn median_us(mut samples: Vec<u64>) -> u64 {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

/// Median time of a handshake, that is of a round trip.
fn handshake_us(testbed: &Testbed, from: &str, to: &str) -> u64 {
    let one = |_| {
        let began = Instant::now();
        connect(testbed, from, to, false, LONG).unwrap();
        began.elapsed().as_micros() as u64
    };
    median_us((0..15).map(one).collect())
}

/// Retransmitted segments of all pods, as their kernels count them.
fn retransmitted(testbed: &Testbed) -> u64 {
    let of = |pod: &edgescope_testbed::topology::Pod| {
        let snmp =
            netns::in_netns(&testbed.pod_netns(&pod.name).unwrap(), || std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap()).unwrap();
        let mut tcp = snmp.lines().filter(|l| l.starts_with("Tcp:")).map(|l| l.split_whitespace().collect::<Vec<_>>());
        let (names, values) = (tcp.next().unwrap(), tcp.next().unwrap());
        let column = names.iter().position(|n| *n == "RetransSegs").unwrap();
        values[column].parse::<u64>().unwrap()
    };
    testbed.topology().pods.iter().map(of).sum()
}

#[test]
fn loss_drops_its_share_and_each_drop_is_one_segment() {
    let mut testbed = shop(100.0);
    eventually("traffic", LONG, || (testbed.relay_counters().unwrap().groups.iter().map(|g| g.packets).sum::<u64>() > 5_000).then_some(()));
    let before = retransmitted(&testbed);
    inject(&mut testbed, "loss:zone=us-east-1b:clear");
    let truth = eventually("20,000 packets", LONG, || testbed.truths().unwrap().pop().filter(|t| t.measured.packets_seen > 20_000));
    let healed = testbed.heal().unwrap().remove(0);
    let (seen, hit) = (healed.measured.packets_seen as f64, healed.measured.packets_hit as f64);
    assert!(healed.measured.packets_seen >= truth.measured.packets_seen);
    // 5 % with five standard deviations of the binomial distribution to either side.
    let slack = 5.0 * (0.05 * 0.95 / seen).sqrt();
    assert!((hit / seen - 0.05).abs() < slack, "{hit} of {seen}");
    // Lost data, SYNs and SYN-ACKs are sent again, lost pure acknowledgements are not (about half of all packets).
    let again = (retransmitted(&testbed) - before) as f64;
    assert!(again > 0.3 * hit && again < 1.3 * hit, "{again} retransmissions of {hit} drops");
    assert!(healed.healed_at.unwrap() > healed.injected_at);
}

#[test]
fn without_a_fault_next_to_nothing_is_sent_again() {
    let testbed = shop(100.0);
    eventually("20,000 packets", LONG, || (testbed.relay_counters().unwrap().groups.iter().map(|g| g.packets).sum::<u64>() > 20_000).then_some(()));
    assert!(retransmitted(&testbed) < 20, "{} segments", retransmitted(&testbed));
}

#[test]
fn congestion_stretches_one_zone_pair_only() {
    let mut testbed = shop(30.0);
    // Zones a, b, c: frontend-1, productcatalogservice-2, currencyservice-2.
    let all = |testbed: &Testbed| {
        [("frontend-1", "productcatalogservice-2"), ("frontend-2", "productcatalogservice-1"), ("frontend-1", "currencyservice-2")]
            .map(|(a, b)| handshake_us(testbed, a, b))
    };
    for usual in all(&testbed) {
        assert!((4_000..9_000).contains(&usual), "{usual} µs between zones");
    }
    let inside = handshake_us(&testbed, "frontend-1", "productcatalogservice-1");
    assert!((1_000..4_000).contains(&inside), "{inside} µs within a zone");
    inject(&mut testbed, "congestion:zone_pair=us-east-1a>us-east-1b:clear");
    let [there, back, elsewhere] = all(&testbed);
    assert!((14_000..20_000).contains(&there) && (14_000..20_000).contains(&back), "{there}, {back} µs");
    assert!((4_000..9_000).contains(&elsewhere), "{elsewhere} µs");
    let healed = testbed.heal().unwrap().remove(0).measured;
    assert!(healed.packets_hit > 100 && (9_900.0..11_000.0).contains(&healed.delay_added_us_mean), "{healed:?}");
    assert!(all(&testbed)[0] < 9_000);
}

#[test]
fn a_blackhole_swallows_old_and_new_connections_until_healed() {
    let mut testbed = shop(30.0);
    for (ipv6, fault) in [(false, "blackhole:node=node-3:clear"), (true, "blackhole:edge=frontend>productcatalogservice:clear")] {
        // From node-1 to productcatalogservice-2 on node-3.
        let mut old = connect(&testbed, "frontend-1", "productcatalogservice-2", ipv6, LONG).unwrap();
        request(&mut old, 10, LONG).unwrap();
        inject(&mut testbed, fault);
        assert_eq!(fails(request(&mut old, 10, Duration::from_millis(1_500))), ErrorKind::TimedOut);
        let new = connect(&testbed, "frontend-1", "productcatalogservice-2", ipv6, Duration::from_millis(1_200));
        assert_eq!(fails(new), ErrorKind::TimedOut);
        connect(&testbed, "recommendationservice-1", "productcatalogservice-1", ipv6, LONG).unwrap();
        let healed = testbed.heal().unwrap().remove(0).measured;
        assert!(healed.packets_hit > 0 && healed.packets_hit == healed.packets_seen);
        old.set_read_timeout(Some(LONG)).unwrap();
        answer(&mut old, Instant::now()).unwrap();
    }
}

#[test]
fn a_weak_blackhole_swallows_a_share_of_the_flows_for_good() {
    let mut testbed = shop(5.0);
    inject(&mut testbed, "blackhole:pod=productcatalogservice-2:weak");
    let tries: Vec<bool> =
        (0..60).map(|_| connect(&testbed, "frontend-1", "productcatalogservice-2", false, Duration::from_millis(60)).is_ok()).collect();
    let lost = tries.iter().filter(|ok| !**ok).count();
    // 30 % of 60 with four standard deviations to either side.
    assert!((4..=32).contains(&lost), "{lost} of 60 connects failed");
    // A flow that lives is never hit: no packet of it is diced again.
    let mut lives = (0..20).find_map(|_| connect(&testbed, "frontend-1", "productcatalogservice-2", false, Duration::from_millis(100)).ok()).unwrap();
    for _ in 0..10 {
        request(&mut lives, 10, LONG).unwrap();
    }
    let said = tcp_info(&testbed, "frontend-1", &lives);
    assert!(said.contains("bytes_acked") && !said.contains("retrans"), "{said}");
}

#[test]
fn refused_resets_old_and_new_connections_while_the_listener_lives() {
    let mut testbed = shop(30.0);
    for ipv6 in [false, true] {
        let mut old = connect(&testbed, "frontend-1", "cartservice-2", ipv6, LONG).unwrap();
        request(&mut old, 10, LONG).unwrap();
        inject(&mut testbed, "refused:edge=frontend>cartservice:clear");
        assert_eq!(fails(request(&mut old, 10, LONG)), ErrorKind::ConnectionReset);
        assert_eq!(fails(connect(&testbed, "frontend-3", "cartservice-2", ipv6, LONG)), ErrorKind::ConnectionRefused);
        connect(&testbed, "checkoutservice-1", "cartservice-2", ipv6, LONG).unwrap();
        testbed.heal().unwrap();
        connect(&testbed, "frontend-1", "cartservice-2", ipv6, LONG).unwrap();
    }
}

#[test]
fn a_crashed_pod_resets_and_comes_back() {
    let mut testbed = shop(30.0);
    let mut old = connect(&testbed, "frontend-1", "adservice-1", false, LONG).unwrap();
    request(&mut old, 10, LONG).unwrap();
    let truth = inject(&mut testbed, "crash:pod=adservice-1:clear");
    assert_eq!((truth.verdict, truth.class, truth.measured.pods_killed), ("not_network", "service_down", 1));
    assert!(request(&mut old, 10, LONG).is_err());
    assert_eq!(fails(connect(&testbed, "frontend-1", "adservice-1", false, LONG)), ErrorKind::ConnectionRefused);
    connect(&testbed, "frontend-1", "adservice-2", false, LONG).unwrap();
    eventually("clients see it", LONG, || {
        (client_totals(testbed.topology(), &testbed.counters().unwrap(), "frontend", "adservice").refused > 0).then_some(())
    });
    testbed.heal().unwrap();
    connect(&testbed, "frontend-1", "adservice-1", false, LONG).unwrap();
    let generations: Vec<u32> = testbed.counters().unwrap().iter().filter(|w| w.pod == "adservice-1").map(|w| w.generation).collect();
    assert_eq!(generations, vec![0, 1]);
}

#[test]
fn a_slow_service_thinks_longer() {
    let mut testbed = shop(30.0);
    let time = |testbed: &Testbed| {
        let mut stream = connect(testbed, "frontend-1", "currencyservice-2", false, LONG).unwrap();
        median_us((0..9).map(|_| request(&mut stream, 10, LONG).unwrap().as_micros() as u64).collect())
    };
    let usual = time(&testbed);
    inject(&mut testbed, "slow_service:workload=currencyservice:clear");
    let slow = time(&testbed);
    assert!(slow > usual + 90_000 && slow < usual + 160_000, "{usual} → {slow} µs");
    let measured = testbed.heal().unwrap().remove(0).measured;
    assert!(measured.requests_delayed >= 9 && measured.think_added_us == measured.requests_delayed * 100_000, "{measured:?}");
    assert!(time(&testbed) < usual + 50_000);
}

#[test]
fn a_slow_reader_closes_its_window() {
    let mut testbed = shop(30.0);
    let limited = |testbed: &Testbed, body: usize| {
        let mut stream = connect(testbed, "frontend-1", "cartservice-1", false, LONG).unwrap();
        let took = request(&mut stream, body, LONG).unwrap();
        (took, tcp_info(testbed, "frontend-1", &stream))
    };
    let (usual, said) = limited(&testbed, 12_000);
    assert!(!said.contains("rwnd_limited"), "{said}");
    inject(&mut testbed, "slow_reader:workload=cartservice:clear");
    let (slow, said) = limited(&testbed, 12_000);
    // 12 kB at 16 kB/s.
    assert!(slow > usual + Duration::from_millis(500), "{usual:?} → {slow:?}");
    assert!(said.contains("rwnd_limited"), "{said}");
    let measured = testbed.heal().unwrap().remove(0).measured;
    assert!(measured.reads_delayed > 30, "{measured:?}");
    let (again, said) = limited(&testbed, 12_000);
    assert!(again < slow / 2 && !said.contains("rwnd_limited"), "{again:?}: {said}");
}

#[test]
fn less_demand_is_less_of_one_call_only() {
    let mut testbed = shop(100.0);
    let asked = |testbed: &Testbed, to: &str| client_totals(testbed.topology(), &testbed.counters().unwrap(), "frontend", to).requests as f64;
    let over = |testbed: &Testbed| {
        let ad_before = asked(testbed, "adservice");
        let product_before = asked(testbed, "productcatalogservice");
        eventually("500 calls", LONG, || (asked(testbed, "productcatalogservice") > product_before + 500.0).then_some(()));
        (asked(testbed, "adservice") - ad_before) / (asked(testbed, "productcatalogservice") - product_before)
    };
    let usual = over(&testbed);
    inject(&mut testbed, "demand_drop:edge=frontend>adservice:clear");
    let fewer = over(&testbed);
    // 0.4 of 0.7 calls, then 0.3 of that; 500 calls leave a fifth of noise.
    assert!((0.45..0.70).contains(&usual) && (0.10..0.25).contains(&fewer), "{usual} → {fewer}");
    assert!(testbed.heal().unwrap()[0].measured.requests_withheld > 50);
}

/// Every fault at every scope where it exists can be made and taken back, leaves no rule behind and is written down.
#[test]
fn every_fault_comes_and_goes() {
    let mut testbed = shop(20.0);
    let faults = Fault::applicable(Strength::Clear);
    for (seed, fault) in faults.iter().enumerate() {
        let truth = testbed.inject(fault, seed as u64).unwrap_or_else(|e| panic!("{fault}: {e}"));
        assert!(!truth.affected.is_empty(), "{fault}");
        assert_eq!(testbed.heal().unwrap().len(), 1);
    }
    let tables = netns::list(&format!("es{}-", testbed.id()))
        .into_iter()
        .map(|name| netns::in_netns(&netns::path_of(&name), || netns::tool("nft", &["list", "tables"], "").unwrap()).unwrap());
    assert_eq!(tables.collect::<String>(), "");
    let written: serde_json::Value = serde_json::from_slice(&std::fs::read(testbed.dir().join("truth.json")).unwrap()).unwrap();
    assert_eq!(written.as_array().unwrap().len(), faults.len());
    // And the company is as well as before.
    let failed = |t: &PeerTotals| (t.requests, t.requests_failed);
    let (requests, failures) = failed(&client_totals(testbed.topology(), &testbed.counters().unwrap(), "loadgenerator", "frontend"));
    eventually("100 good requests", LONG, || {
        let (now, bad) = failed(&client_totals(testbed.topology(), &testbed.counters().unwrap(), "loadgenerator", "frontend"));
        (now - requests - (bad - failures) >= 100).then_some(())
    });
}

#[test]
fn two_faults_overlap_and_are_measured_apart() {
    let mut testbed = shop(60.0);
    inject(&mut testbed, "loss:pod=frontend-1:strong");
    inject(&mut testbed, "congestion:zone=us-east-1c:weak");
    let truths = eventually("packets of both", LONG, || {
        let truths = testbed.truths().unwrap();
        truths.iter().all(|t| t.measured.packets_seen > 1_000).then_some(truths)
    });
    let ratio = truths[0].measured.hit_ratio();
    assert!((0.08..0.22).contains(&ratio), "{ratio}");
    assert!((990.0..1_500.0).contains(&truths[1].measured.delay_added_us_mean), "{:?}", truths[1].measured);
    assert_eq!(testbed.heal().unwrap().len(), 2);
}

#[test]
fn a_fault_that_cannot_be_is_refused_and_leaves_nothing() {
    let mut testbed = shop(5.0);
    let error = testbed.inject(&"loss:pod=nobody-1:clear".parse().unwrap(), 1).unwrap_err().to_string();
    assert!(error.contains("nobody-1") && error.contains("frontend-1"), "{error}");
    assert!(testbed.truths().unwrap().is_empty());
}
