//! `edgescope replay` against tcptrace and tshark: on captures that the lab makes under faults of the network, and on those that
//! other projects ship. The tables that these tests print are explained in docs/decisions.

use edgescope_testbed::netns::{in_netns, tool};
use edgescope_tests::capture::Capture;
use edgescope_tests::lab::{at, lab};
use edgescope_tests::replayed::{Comparison, compare, replayed};
use edgescope_tests::traffic::{Exchange, Order};
use edgescope_tests::{Actor, Scene, until};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");

/// Two hosts, traffic of both families between them, and a capture on either side of the router.
struct Bench {
    // In the order in which they go.
    captures: Vec<Capture>,
    web: Actor,
    db: Actor,
    lab: edgescope_testbed::Lab,
    scene: Scene,
}

const PORTS: [(u16, bool); 2] = [(7_001, false), (7_002, true)];

impl Bench {
    fn new(name: &str, delay_us: Option<u32>) -> Bench {
        let scene = Scene::new(name);
        let lab = lab(TRAFFIC, &["left", "right"], delay_us);
        let actor = |host: &str, name: &str| Actor::start(&scene, TRAFFIC, name, Some(&lab.netns(host).expect("the lab has the host")));
        let (web, db) = (actor("left", "web"), actor("right", "db"));
        for (port, is_ipv6) in PORTS {
            db.listen(at(&lab, "right", is_ipv6, port));
        }
        let capture = |interface: &str| Capture::start(&lab.router_netns(), interface, scene.dir(), &format!("{name}-{interface}.pcap"), "tcp");
        let captures = ["host0", "host1"].map(capture).into();
        Bench { captures, web, db, lab, scene }
    }

    /// Long and short conversations over both families.
    fn talk(&self) {
        for (port, is_ipv6) in PORTS {
            let to = at(&self.lab, "right", is_ipv6, port);
            self.web.exchange(&Exchange { connections: 3, requests: 3, request_bytes: 400_000, response_bytes: 300_000, ..Exchange::new(to) });
            self.web.exchange(&Exchange {
                connections: 10,
                requests: 6,
                request_bytes: 100,
                response_bytes: 900,
                new_each: true,
                ..Exchange::new(to)
            });
        }
    }

    /// Keeps exchanging small messages while `work` is done.
    fn load_while(&self, work: impl FnOnce()) {
        for (port, is_ipv6) in PORTS {
            let exchange = Exchange {
                connections: 4,
                requests: 50,
                request_bytes: 300,
                response_bytes: 3_000,
                pause_ms: 20,
                ..Exchange::new(at(&self.lab, "right", is_ipv6, port))
            };
            self.web.order(&Order::Load(exchange));
        }
        work();
    }

    /// Ends the captures and compares each.
    fn compare(self) -> [Comparison; 2] {
        let Bench { captures, web, db, lab, scene } = self;
        drop((web, db));
        let files: Vec<PathBuf> = captures.into_iter().map(Capture::stop).collect();
        let compared = [0, 1].map(|place| compare(&files[place].file_stem().unwrap_or_default().to_string_lossy(), &files[place]));
        drop((lab, scene));
        compared.iter().for_each(Comparison::check);
        compared
    }
}

fn pass(time: Duration) {
    let began = Instant::now();
    until("time to pass", time * 2, || if began.elapsed() >= time { Ok(()) } else { Err(String::new()) });
}

#[test]
fn a_calm_path() {
    let bench = Bench::new("calm", Some(2_000));
    bench.talk();
    bench.web.quiet();
    for compared in bench.compare() {
        assert!(compared.sum(|d| d.packets_with_payload) > 1_000 && compared.sum(|d| d.rtt.samples) > 500, "{}", compared.table());
        let acknowledged = compared.sum(|d| d.bytes.expect("both directions were captured"));
        assert_eq!(acknowledged, compared.sum(|d| d.bytes_unique), "all that was sent arrived");
        assert!(compared.connections.iter().all(|c| c.connect.established == 1));
        // The relay holds a packet for 2 ms on each way, a little less where its clock ticks late.
        assert!(compared.connections.iter().all(|c| c.connect.handshake.is_some_and(|s| s > 0.003)), "{:#?}", compared.connections);
    }
}

#[test]
fn a_lossy_path_before_and_behind_the_capture() {
    for (name, per_10k) in [("loss", 200), ("much-loss", 1_000)] {
        let mut bench = Bench::new(name, None);
        for (from, to) in [("left", "right"), ("right", "left")] {
            bench.lab.drop_between(from, to, per_10k).expect("the router drops");
        }
        bench.talk();
        bench.web.quiet();
        let [left, right] = bench.compare();
        for compared in [left, right] {
            let (again, unseen) = (compared.sum(|d| d.retrans), compared.sum(|d| d.retrans_unseen));
            // Each side captures one direction before the loss and the other behind it.
            assert!(again > 20 && unseen > 5 && unseen < again, "{again} sent again, {unseen} unseen: {}", compared.table());
            assert_eq!(compared.sum(|d| d.retrans_fast + d.retrans_rto + d.retrans_probe), again);
        }
    }
}

#[test]
fn packets_that_overtake_each_other_are_not_taken_for_lost() {
    let bench = Bench::new("overtake", Some(3_000));
    // One packet in thirty takes the way past the relay, and is 3 ms ahead of the others.
    let mark = "table inet overtake {\n chain pre {\n type filter hook prerouting priority -300;\n iifname { host0, host1 } numgen random mod 30 == 0 meta mark set 7\n }\n}\n";
    let past = "rule add fwmark 7 lookup main priority 1\n";
    in_netns(&bench.lab.router_netns(), || {
        tool("nft", &["-f", "-"], mark)?;
        tool("ip", &["-batch", "-"], past)?;
        tool("ip", &["-6", "-batch", "-"], past)
    })
    .expect("the router can be entered")
    .expect("the router takes rules");
    bench.talk();
    bench.web.quiet();
    let [left, right] = bench.compare();
    for compared in [left, right] {
        let (late, again) = (compared.sum(|d| d.out_of_order), compared.sum(|d| d.retrans));
        assert!(late > 20, "{late} late, {again} again: {}", compared.table());
        // Nothing was lost: what passed again had passed before.
        let unseen = compared.sum(|d| d.retrans_unseen);
        println!("{late} late, {again} again, {unseen} of them taken for lost before the capture");
        assert!(unseen * 50 <= late, "{unseen} of {late} late ones: {}", compared.table());
    }
}

#[test]
fn a_path_that_ends() {
    let mut bench = Bench::new("hole", None);
    bench.talk();
    let filters = std::cell::RefCell::new(Vec::new());
    bench.load_while(|| pass(Duration::from_secs(1)));
    filters.borrow_mut().push(bench.lab.drop_between("left", "right", 10_000).expect("the router drops"));
    pass(Duration::from_secs(5));
    for compared in bench.compare() {
        let stalled = compared.connections.iter().filter(|c| c.client_to_server.stalled > 0.0).count();
        println!("{stalled} connections stalled");
        if compared.name.ends_with("host0") {
            assert!(stalled >= 8, "every open connection: {}", compared.table());
            assert!(compared.sum(|d| d.time_outs) >= 8, "{}", compared.table());
        }
    }
}

#[test]
fn a_middlebox_that_resets() {
    let mut bench = Bench::new("refused", None);
    bench.load_while(|| pass(Duration::from_secs(1)));
    bench.lab.filter("meta l4proto tcp reject with tcp reset").expect("the router resets");
    bench.web.order(&Order::Connect { to: at(&bench.lab, "right", false, PORTS[0].0), times: 5, timeout_ms: 3_000 });
    pass(Duration::from_secs(1));
    let [left, _] = bench.compare();
    assert!(left.sum(|d| d.resets) >= 8, "{}", left.table());
    let refused = left.connections.iter().filter(|c| c.connect.refused == 1).count();
    assert!(refused >= 5, "{refused} refused");
}

/// The folder of a package that this workspace's lock file names, in cargo's own store.
fn package(name: &str) -> PathBuf {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"]);
    command.args(["--manifest-path", concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml")]);
    let output = edgescope_tests::program::finish(command, Duration::from_secs(60));
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout).expect("cargo says what it knows");
    let found = metadata["packages"].as_array().into_iter().flatten().find(|package| package["name"] == name);
    let manifest = found.and_then(|package| package["manifest_path"].as_str()).unwrap_or_else(|| panic!("no package {name}"));
    Path::new(manifest).parent().expect("a manifest lies in a folder").to_owned()
}

/// Datagrams and their payload in a capture, by tshark.
fn datagrams(file: &Path) -> (u64, u64) {
    let mut command = Command::new("tshark");
    // The outer one of each packet.
    command.args(["-n", "-Y", "udp && !icmp && !icmpv6", "-T", "fields", "-E", "occurrence=f", "-e", "udp.length", "-r"]).arg(file);
    let output = edgescope_tests::program::finish(command, Duration::from_secs(60));
    let lengths: Vec<u64> = String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.trim().parse().ok()).collect();
    (lengths.len() as u64, lengths.iter().map(|length| length - 8).sum())
}

#[test]
fn captures_that_others_ship() {
    let (pcap_parser, netflow) = (package("pcap-parser"), package("netflow_parser"));
    let mut files: Vec<PathBuf> = [pcap_parser.join("assets"), netflow.join("pcaps")]
        .iter()
        .flat_map(|dir| std::fs::read_dir(dir).expect("the package has captures"))
        .map(|entry| entry.expect("a file").path())
        .collect();
    files.sort();
    assert!(files.len() >= 12, "{files:?}");
    let (mut tcp, mut udp) = (0, 0);
    for file in &files {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (capture, _) = replayed(file);
        let mut said = (0, 0);
        let sink = |report| {
            if let edgescope_replay::Report::Udp(report) = report {
                for direction in [&report.client_to_server, &report.server_to_client] {
                    said = (said.0 + direction.datagrams, said.1 + direction.bytes);
                }
            }
            std::ops::ControlFlow::Continue(())
        };
        edgescope_replay::replay_file(file, &edgescope_replay::Settings::default(), sink, |_| {}).expect("readable");
        let witness = datagrams(file);
        println!("{name}: {} packets, damage {:?}; datagrams and bytes {said:?}, tshark {witness:?}", capture.packets, capture.damage);
        assert_eq!(said, witness, "{name}");
        compare(&name, file).check();
        (tcp, udp) = (tcp + capture.tcp_packets, udp + capture.udp_packets);
    }
    assert!(tcp >= 42 && udp > 10_000, "{tcp} segments, {udp} datagrams");
}
