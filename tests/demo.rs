//! The demo, as a newcomer and as a script run it: the story ends with the right verdict, and nothing is left behind.

use edgescope_testbed::netns;
use edgescope_tests::demo::{Demo, play};
use edgescope_tests::{Scene, is_long, program, scene, until};
use rustix::process::Signal;
use std::time::Duration;

/// From the start to the shop that is open.
const OPEN: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(30);

/// Calm before the fault in the short form: enough of a past for rates, less than the default's.
const CALM_SHORT_S: &str = "50";

/// Plays a demo with these arguments; its verdict must be right.
fn must_be_told(arguments: &[&str]) {
    let seed = if is_long() { "2" } else { "1" };
    let all = arguments.iter().copied().chain(["--seed", seed]);
    let outcome = play(&all.map(str::to_owned).collect::<Vec<_>>());
    println!("{outcome}");
    assert!(outcome.right, "{outcome}");
}

fn fault_must_be_told(fault: &str) {
    let short = ["--fault", fault, "--calm", CALM_SHORT_S];
    must_be_told(if is_long() { &short[..2] } else { &short });
}

#[test]
fn the_story_ends_with_the_right_verdict_within_three_minutes() {
    let outcome = play(&[]);
    println!("{outcome}");
    assert!(outcome.right, "{outcome}");
    let told_s = outcome.json["told_s"].as_f64().expect("the demo says when it told");
    assert!(told_s <= 180.0, "fault, alert and verdict took {told_s} s");
    assert!(outcome.json["alerts"].as_array().is_some_and(|a| !a.is_empty()), "no alert");
    assert!(outcome.json["verdict"]["evidence"].as_array().is_some_and(|e| !e.is_empty()), "no evidence");
}

// The other seven kinds, over all scopes; the seed picks the places.

#[test]
fn congestion_of_a_node_is_told() {
    fault_must_be_told("congestion:node:clear");
}

#[test]
fn a_black_hole_between_two_zones_is_told() {
    fault_must_be_told("blackhole:zone_pair:clear");
}

#[test]
fn a_middlebox_that_refuses_on_an_edge_is_told() {
    fault_must_be_told("refused:edge:clear");
}

#[test]
fn a_crashed_workload_is_not_the_network() {
    fault_must_be_told("crash:workload:clear");
}

#[test]
fn a_slow_pod_is_not_the_network() {
    // How long connections live is told against half a minute of the past after the start at least.
    must_be_told(&["--fault", "slow_service:pod:clear"]);
}

#[test]
fn a_slow_reader_is_not_the_network() {
    fault_must_be_told("slow_reader:pod:clear");
}

#[test]
fn clients_that_ask_less_are_not_the_network() {
    // A drop is told against a minute of the past at least.
    must_be_told(&["--fault", "demand_drop:workload:clear"]);
}

#[test]
fn a_quiet_network_is_cleared() {
    must_be_told(&["--quiet"]);
}

#[test]
fn a_second_demo_is_refused_and_interrupted_or_killed_ones_leave_nothing() {
    let scene = Scene::new("demo");
    let port = scene::free_port();
    let mut first = Demo::start(&scene, port);
    first.wait_until_open(OPEN);
    let run = first.run();
    let refused = program::run(&["demo", "--once", "--listen", &format!("127.0.0.1:{port}")], Duration::from_secs(20));
    let said = String::from_utf8_lossy(&refused.stderr);
    let lines: Vec<&str> = said.lines().filter(|l| l.starts_with("edgescope: ")).collect();
    assert!(!refused.status.success() && lines.len() == 1 && lines[0].contains(&port.to_string()), "{said}");
    assert!(first.process().is_running(), "the first demo ended when a second was refused");
    assert!(!leftovers(&run).is_empty(), "a demo that runs has namespaces");
    first.process().signal(Signal::INT);
    first.process().wait(END);
    assert_eq!(leftovers(&run), Vec::<String>::new(), "left by a demo that was interrupted");

    let mut killed = Demo::start(&scene, scene::free_port());
    killed.wait_until_open(OPEN);
    let run = killed.run();
    killed.process().kill();
    // Its keeper removes the namespaces; what is pinned in the kernel is what `--clean` is for.
    until("the namespaces of a killed demo to go", END, || {
        let left = netns::list(&format!("es{run}-"));
        if left.is_empty() { Ok(()) } else { Err(left.join(", ")) }
    });
    let cleaned = program::run(&["demo", "--clean"], END);
    assert!(cleaned.status.success(), "{}", String::from_utf8_lossy(&cleaned.stderr));
    assert_eq!(leftovers(&run), Vec::<String>::new(), "left after `demo --clean`");
}

/// Namespaces, pinned kernel sides and processes of a run.
fn leftovers(run: &str) -> Vec<String> {
    let namespaces = netns::list(&format!("es{run}-"));
    let processes = netns::processes_in(&namespaces).into_iter().map(|pid| format!("process {pid}"));
    let pinned = edgescope_probe::Probe::pinned().expect("bpffs can be listed");
    let pinned = pinned.into_iter().filter(|id| id.contains(run)).map(|id| format!("agent {id}"));
    processes.chain(pinned).chain(namespaces.iter().map(|n| format!("namespace {n}"))).collect()
}
