//! The demo, as a newcomer and as a script run it: the story ends with the right verdict, and nothing is left behind.

use edgescope_testbed::netns;
use edgescope_tests::demo::{Demo, Outcome, play, play_all};
use edgescope_tests::{Scene, is_long, program, scene, until};
use rustix::process::Signal;
use std::time::Duration;

/// From the start to the shop that is open.
const OPEN: Duration = Duration::from_secs(60);
const END: Duration = Duration::from_secs(30);

/// One fault of every kind that is not in the demo by default, over all scopes; the seeds pick the places.
const FAULTS: [&str; 9] = [
    "loss:zone_pair:clear",
    "loss:pod:clear",
    "congestion:node:clear",
    "blackhole:edge:clear",
    "blackhole:zone:clear",
    "refused:workload:clear",
    "crash:workload:clear",
    "slow_service:pod:clear",
    "demand_drop:workload:clear",
];

fn must_be_right(outcomes: &[Outcome]) {
    let wrong: Vec<String> = outcomes.iter().filter(|o| !o.right).map(ToString::to_string).collect();
    outcomes.iter().for_each(|o| println!("{o}"));
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), outcomes.len(), wrong.join("\n"));
}

#[test]
fn the_story_ends_with_the_right_verdict_within_three_minutes() {
    let outcome = play(&[]);
    println!("{outcome}");
    assert!(outcome.right, "{outcome}");
    assert!(outcome.took_s <= 180.0, "it took {} s", outcome.took_s);
    assert!(outcome.json["alerts"].as_array().is_some_and(|a| !a.is_empty()), "no alert");
    assert!(outcome.json["verdict"]["evidence"].as_array().is_some_and(|e| !e.is_empty()), "no evidence");
}

#[test]
fn nine_faults_are_told_and_a_quiet_network_is_cleared() {
    let seed = if is_long() { "2" } else { "1" };
    let mut runs: Vec<Vec<String>> = FAULTS.iter().map(|f| ["--fault", f, "--seed", seed].map(str::to_owned).into()).collect();
    runs.push(["--quiet", "--seed", seed].map(str::to_owned).into());
    must_be_right(&play_all(&runs));
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
