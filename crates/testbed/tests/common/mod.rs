//! Shared by the tests that build namespaces. They need root.

#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, reason = "tests")]

use edgescope_testbed::{Options, PeerTotals, Role, Spec, Testbed, Topology, Witness};
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

/// The development binary, which knows how to be the testbed's child processes.
pub fn command() -> Vec<OsString> {
    vec![env!("CARGO_BIN_EXE_edgescope-testbed").into()]
}

/// A running shop at a rate that leaves the machine room for other tests.
pub fn shop(rate_per_s: f64) -> Testbed {
    let mut spec = Spec::built_in("shop").unwrap();
    spec.rate_per_s = rate_per_s;
    Testbed::start(Options { spec, command: command(), seed: 1 }).unwrap()
}

/// Polls until `check` gives something.
///
/// # Panics
/// When it has not within `limit`.
pub fn eventually<T>(what: &str, limit: Duration, mut check: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(began.elapsed() < limit, "{what}: not within {limit:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Sum of what the clients of `from` counted towards `to`, since `before`.
pub fn client_totals(topology: &Topology, witnesses: &[Witness], from: &str, to: &str) -> PeerTotals {
    let mut sum = PeerTotals::default();
    for witness in witnesses.iter().filter(|w| w.workload == from) {
        for peer in witness.peers.iter().filter(|p| p.role == Role::Client) {
            let target = topology.pod_at(peer.peer).map(|p| topology.pods[p].workload.as_str());
            if target == Some(to) {
                sum.merge(&peer.totals);
            }
        }
    }
    sum
}

/// Everything of a run that a test could find left: namespaces, processes inside them, its directory.
pub fn leftovers(id: &str) -> Vec<String> {
    let namespaces = edgescope_testbed::netns::list(&format!("es{id}-"));
    let processes = edgescope_testbed::netns::processes_in(&namespaces).into_iter().map(|p| format!("process {p}"));
    let dir = Path::new(edgescope_testbed::run::RUNS_DIR).join(id);
    let dir = dir.exists().then(|| dir.display().to_string());
    processes.chain(dir).chain(namespaces.clone()).collect()
}
