//! `edgescope replay` against tcptrace and tshark on captures of the shop, under each fault that the testbed has.

use edgescope_testbed::{Options, Spec, Testbed};
use edgescope_tests::capture::Capture;
use edgescope_tests::replayed::{Comparison, compare};
use edgescope_tests::{Scene, is_long, until};
use std::time::{Duration, Instant};

const TRAFFIC: &str = env!("CARGO_BIN_EXE_edgescope-traffic");
/// Who is captured: it calls most of the others, and is called.
const POD: &str = "frontend-1";
const RATE_PER_S: f64 = 60.0;
/// Of each fault, begun and ended within the capture.
const BEFORE: Duration = Duration::from_secs(1);
const DURING: Duration = Duration::from_secs(5);

/// In the long form: in one run of forty, tshark has one segment less sent again than replay and tcptrace, which was not looked into.
const LOSS: &str = "loss:pod=frontend-1:strong";
/// One of each other kind, where the captured pod feels it.
const FAULTS: [&str; 8] = [
    "congestion:pod=frontend-1:strong",
    "blackhole:pod=frontend-1:weak",
    "refused:edge=frontend>currencyservice:clear",
    "crash:workload=productcatalogservice:clear",
    "slow_service:workload=cartservice:strong",
    "slow_reader:workload=frontend:strong",
    "demand_drop:workload=loadgenerator:strong",
    "dns:dns:strong",
];

fn pass(time: Duration) {
    let began = Instant::now();
    until("time to pass", time * 2, || if began.elapsed() >= time { Ok(()) } else { Err(String::new()) });
}

/// Captures the pod while a fault comes and stays; what is compared is all of it.
fn under(testbed: &mut Testbed, scene: &Scene, fault: &str) -> Comparison {
    let netns = testbed.pod_netns(POD).expect("the shop has the pod");
    let name = fault.split(':').next().unwrap_or_default();
    let capture = Capture::start(&netns, "eth0", scene.dir(), &format!("{name}.pcap"), "tcp");
    pass(BEFORE);
    testbed.inject(&fault.parse().expect("a fault"), 1).expect("it is injected");
    pass(DURING);
    let file = capture.stop();
    testbed.heal().expect("it is healed");
    compare(name, &file)
}

#[test]
fn the_shop_under_each_fault() {
    let scene = Scene::new("replay-shop");
    let mut spec = Spec::built_in("shop").expect("there is a shop");
    spec.rate_per_s = RATE_PER_S;
    let mut testbed = Testbed::start(Options { spec, command: vec![TRAFFIC.into(), "testbed".into()], seed: 1 }).expect("the shop opens");
    let mut unexplained = Vec::new();
    for fault in FAULTS.into_iter().chain(is_long().then_some(LOSS)) {
        let compared = under(&mut testbed, &scene, fault);
        println!("{fault}\n{}", compared.table());
        assert!(compared.sum(|d| d.packets_with_payload) > 300, "{fault}: hardly any traffic");
        unexplained.extend(compared.unexplained.iter().map(|what| format!("{fault}: {what}")));
    }
    assert!(unexplained.is_empty(), "{unexplained:#?}");
}
