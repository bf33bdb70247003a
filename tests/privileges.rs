//! What a running agent may do: no more than it needs, on every thread.

use edgescope_tests::{Agent, AgentSpec, Place, Scene, Server, ServerSpec};
use std::fs;

/// CAP_DAC_READ_SEARCH, NET_ADMIN, SYS_PTRACE, SYS_ADMIN, PERFMON, BPF.
const NEEDED: u64 = 1 << 2 | 1 << 12 | 1 << 19 | 1 << 21 | 1 << 38 | 1 << 39;

#[test]
fn an_agent_at_work_has_given_up_what_it_does_not_need() {
    let scene = Scene::new("privileges");
    let server = Server::start(&scene, ServerSpec::new(&scene, "server"));
    let spec = AgentSpec::shipping_to(&scene, &server.intake(), "node-1", Place::Namespaces(vec![scene.id().to_owned()]));
    let mut agents = [Agent::start(&scene, &spec)];
    edgescope_tests::agent::wait_until_at_work(&server, &mut agents);
    let threads = fs::read_dir(format!("/proc/{}/task", agents[0].process().id())).expect("the agent runs");
    let statuses: Vec<String> = threads.flatten().filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok()).collect();
    assert!(statuses.len() > 1, "the threads for blocking work are looked at too");
    for status in &statuses {
        for field in ["CapEff:", "CapPrm:", "CapBnd:"] {
            let held = status.lines().find_map(|line| line.strip_prefix(field)).expect("every kernel tells it").trim();
            let held = u64::from_str_radix(held, 16).expect("a number");
            assert_eq!(held & !NEEDED, 0, "{field} {held:x} in {status}");
            assert_ne!(held & 1 << 39, 0, "CAP_BPF is there, so the test ran as root: {status}");
        }
        assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    }
}
