//! The engine on the simulated company: alerts on faults of known truth, and silence on quiet runs.

#[path = "../../diagnose/tests/sim/mod.rs"]
mod sim;

use chrono::Duration;
use edgescope_detect::{DetectorsConfig, Engine, Transition, query_dns};
use edgescope_model::alert::{Alert, AlertState, Incident};
use edgescope_testbed::{Fault, Strength};
use sim::{Plan, Run, WINDOW_S, start};
use std::collections::BTreeMap;

/// Seconds from a window's end to the round that judges it: shipping, commit, query.
const LAG_S: i64 = 5;

struct Told {
    fired: Vec<Alert>,
    incidents: BTreeMap<String, Incident>,
}

fn follow(run: &Run) -> Told {
    let mut engine = Engine::new(DetectorsConfig::default());
    let mut told = Told { fired: Vec::new(), incidents: BTreeMap::new() };
    for window in 1..=run.plan.windows as i64 {
        let until = start() + Duration::seconds(window * WINDOW_S);
        let query = engine.query(until);
        let table = run.answer_both(&query, &query_dns(&query));
        for transition in engine.round(&table, until + Duration::seconds(LAG_S)) {
            match transition {
                Transition::Alert(alert) if alert.state == AlertState::Firing => told.fired.push(*alert),
                Transition::Alert(_) => {}
                Transition::Incident(incident) => drop(told.incidents.insert(incident.id.clone(), *incident)),
            }
        }
    }
    told
}

#[test]
fn every_clear_network_fault_raises_an_alert_in_time() {
    let (mut runs, mut in_time, mut since_right, mut one_incident) = (0, 0, 0, 0);
    let mut wrong = Vec::new();
    for topology in ["shop", "other"] {
        for fault in Fault::applicable(Strength::Clear).into_iter().filter(|f| f.kind.is_network()) {
            let run = Run::new(Plan { windows: 16, ..Plan::new(topology, Some(fault), 0) });
            let truth = run.truth.as_ref().expect("has a fault");
            let told = follow(&run);
            let first = told.fired.iter().filter_map(|a| a.fired_at).min();
            let after_s = first.map(|at| (at - truth.injected_at).num_seconds());
            let since_s = told.fired.iter().map(|a| (a.since - truth.injected_at).num_seconds()).min();
            runs += 1;
            in_time += usize::from(after_s.is_some_and(|s| (0..=45).contains(&s)));
            since_right += usize::from(since_s.is_some_and(|s| s.abs() <= 20));
            one_incident += usize::from(told.incidents.len() == 1);
            if after_s.is_none_or(|s| s > 45) {
                wrong.push(format!("{topology} {} {}: alert after {after_s:?} s", truth.fault, truth.name));
            }
        }
    }
    println!("{runs} runs: alert within 45 s in {in_time}, since within 20 s in {since_right}, one incident in {one_incident}");
    assert!(in_time as f64 >= 0.95 * runs as f64, "{wrong:#?}");
    assert!(since_right as f64 >= 0.95 * runs as f64, "{since_right} of {runs}");
    assert!(one_incident as f64 >= 0.95 * runs as f64, "{one_incident} of {runs}");
}

/// Each workload has replicas in each zone, so that a lossy zone is in nearly every edge: that must not make it common.
#[test]
fn a_lossy_zone_is_not_what_all_edges_have_in_common() {
    for topology in ["shop", "other"] {
        for seed in 0..3 {
            let told = follow(&Run::new(Plan { windows: 16, ..Plan::new(topology, Some("loss:zone:clear".parse().expect("a fault")), seed) }));
            let detectors: Vec<&str> = told.fired.iter().map(|a| a.detector.as_str()).collect();
            assert!(detectors.contains(&"retransmissions"), "{topology} {seed}: {detectors:?}");
        }
    }
}

#[test]
fn quiet_runs_raise_nothing() {
    for topology in ["shop", "other"] {
        for seed in 0..4 {
            let told = follow(&Run::new(Plan { windows: 60, ..Plan::new(topology, None, seed) }));
            assert!(told.fired.is_empty(), "{topology} {seed}: {:?}", told.fired.iter().map(|a| &a.summary).collect::<Vec<_>>());
        }
    }
}

#[test]
fn less_demand_raises_an_alert_and_a_silent_agent_none() {
    let drop = Run::new(Plan { windows: 16, ..Plan::new("shop", Some("demand_drop:workload=loadgenerator:clear".parse().expect("a fault")), 1) });
    let told = follow(&drop);
    assert!(told.fired.iter().any(|a| a.detector == "traffic_drop"));
    assert!(told.fired.iter().all(|a| a.detector == "traffic_drop"), "{:?}", told.fired.iter().map(|a| &a.summary).collect::<Vec<_>>());
    // What the pods of a cut-off zone send is not seen at all: that is no drop.
    let cut: Fault = "blackhole:zone=us-east-1b:clear".parse().expect("a fault");
    let run = Run::new(Plan { windows: 16, ..Plan::new("shop", Some(cut), 1) });
    let told = follow(&run);
    let unseen: Vec<&str> =
        run.topology.pods.iter().filter(|p| run.topology.spec.zones[p.zone] == "us-east-1b").map(|p| p.workload.as_str()).collect();
    let dropped: Vec<&Alert> =
        told.fired.iter().filter(|a| a.detector == "traffic_drop" && unseen.contains(&a.labels["source.workload"].as_str())).collect();
    assert!(dropped.is_empty(), "{dropped:#?}");
    assert!(told.fired.iter().any(|a| a.detector == "connect_failures"));
}
