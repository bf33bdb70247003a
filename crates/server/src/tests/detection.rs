//! From rows to an alert, an incident and its verdict.

use super::{Bench, end, row};
use crate::detection::Detection;
use crate::tables::{AgentRecord, TablesError};
use chrono::{DateTime, Duration, Utc};
use edgescope_detect::DetectorsConfig;
use edgescope_model::alert::AlertState;
use edgescope_model::fact::{FactRow, column_of};
use edgescope_model::histogram::Histogram;
use edgescope_model::signal::{Side, TCP_ACTIVE, TCP_BYTES, TCP_CONNECTS, TCP_CONNECTS_ESTABLISHED, TCP_RETRANS, TCP_RTT, TCP_SEGMENTS};
use edgescope_model::verdict::{Answer, Class};
use std::sync::Arc;

/// Pods of a small company: three zones, two nodes each, each with a pod of three workloads.
const WORKLOADS: [&str; 3] = ["frontend", "cart", "payment"];
const NODES: [(&str, &str); 6] = [("n1", "a"), ("n2", "a"), ("n3", "b"), ("n4", "b"), ("n5", "c"), ("n6", "c")];

/// One window: everybody talks to everybody of another workload; of what enters or leaves `bad_zone` a tenth of the segments is lost.
fn window(at: i64, bad_zone: Option<&str>) -> Vec<FactRow> {
    let mut rows = Vec::new();
    let pods = || WORKLOADS.iter().flat_map(|w| NODES.iter().map(move |n| (*w, n.0, n.1)));
    for (n, from) in pods().enumerate() {
        for to in pods().filter(|to| to.0 != from.0) {
            let crosses = bad_zone.is_some_and(|z| (from.2 == z) != (to.2 == z));
            let retrans = if crosses { 20 } else { u64::from((n + at as usize / 10).is_multiple_of(9)) };
            let values = [
                (TCP_BYTES, Side::Merged, 200_000),
                (TCP_BYTES, Side::Sent, 200_000),
                (TCP_SEGMENTS, Side::Sent, 200),
                (TCP_SEGMENTS, Side::Merged, 200),
                (TCP_RETRANS, Side::Merged, retrans),
                (TCP_ACTIVE, Side::Merged, 20_000),
                (TCP_CONNECTS, Side::Merged, 10),
                (TCP_CONNECTS_ESTABLISHED, Side::Merged, 10),
            ];
            let mut row = row(at, end(from.0, from.1, from.2), end(to.0, to.1, to.2), &values);
            let rtt_us = if from.2 == to.2 { 1_000 } else { 4_000 };
            row.add_histogram(
                column_of(&TCP_RTT, Side::Merged).unwrap(),
                &(0..40).fold(Histogram::default(), |mut h, i| {
                    h.record(rtt_us + i * 10);
                    h
                }),
            );
            rows.push(row);
        }
    }
    rows
}

struct Clock {
    bench: Bench,
    detection: Detection,
    now: DateTime<Utc>,
}

async fn detection(bench: &Bench) -> Detection {
    detection_of(bench, DetectorsConfig::default()).await
}

async fn detection_of(bench: &Bench, config: DetectorsConfig) -> Detection {
    let state = &bench.state;
    Detection::new(config, state.tables.clone(), Arc::clone(&state.metrics), Arc::clone(&state.intake), Arc::clone(&state.live)).await.unwrap()
}

impl Clock {
    async fn new() -> Self {
        let bench = Bench::open();
        // Real time, since what is open is looked for in the recent past.
        let now = DateTime::from_timestamp(Utc::now().timestamp() / 10 * 10 - 900, 0).unwrap();
        for (node, _) in NODES {
            bench.state.intake.agents.greet(AgentRecord { agent_id: node.into(), node: node.into(), ..AgentRecord::default() }).unwrap();
        }
        let detection = detection(&bench).await;
        Self { bench, detection, now }
    }

    /// Lets windows pass, each shipped by all agents and followed by a round.
    async fn pass(&mut self, windows: usize, bad_zone: Option<&str>) {
        for _ in 0..windows {
            let at = self.now;
            self.bench.tables.held().rows.extend(window(at.timestamp(), bad_zone));
            self.now += Duration::seconds(10);
            for (node, _) in NODES {
                self.bench.state.intake.agents.update(node, |a| a.last_window_end = Some(at + Duration::seconds(10)));
            }
            self.detection.round_at(self.now + Duration::seconds(1)).await;
        }
    }
}

#[tokio::test]
async fn a_lossy_zone_becomes_alerts_one_incident_and_a_verdict_and_closes() {
    let mut clock = Clock::new().await;
    clock.pass(12, None).await;
    let state = Arc::clone(&clock.bench.state);
    assert!(state.live.now().incidents.is_empty() && state.live.now().rounds.error.is_none(), "{:?}", state.live.now().rounds);
    assert_eq!((state.live.now().counts.edges, state.live.now().counts.workloads), (6, 3));
    assert_eq!(clock.bench.get("/api/v1/status").await.1["headline"]["state"], "clear");

    let onset = clock.now;
    clock.pass(6, Some("b")).await;
    let incidents: Vec<_> = clock.bench.tables.held().incidents.clone();
    assert_eq!(incidents.len(), 1, "{:?}", incidents.iter().map(|i| &i.id).collect::<Vec<_>>());
    let verdict = incidents[0].verdict.as_ref().expect("an open incident has a verdict");
    assert_eq!((verdict.verdict, verdict.class, verdict.culprit.name.as_str()), (Answer::Network, Class::Loss, "b"), "{}", verdict.summary);
    assert!((verdict.since.unwrap() - onset).num_seconds().abs() <= 20);
    let alerts = clock.bench.tables.held().alerts.clone();
    assert!(!alerts.is_empty() && alerts.iter().all(|a| a.state == AlertState::Firing && a.incident.is_some()));

    let (_, status) = clock.bench.get("/api/v1/status").await;
    assert_eq!(status["headline"]["state"], "network", "{}", status["headline"]);
    assert_eq!(status["incident"]["id"], incidents[0].id.as_str());
    assert_eq!(status["incident"]["verdict"]["culprit"]["name"], "b");
    let (_, one) = clock.bench.get(&format!("/api/v1/incidents/{}", incidents[0].id)).await;
    assert_eq!(one["alerts_full"].as_array().unwrap().len(), one["alerts"].as_array().unwrap().len());
    let range = format!("from={}&to={}", onset.to_rfc3339().replace('+', "%2B"), clock.now.to_rfc3339().replace('+', "%2B"));
    let (_, asked) = clock.bench.get(&format!("/api/v1/diagnose?{range}&workload=cart")).await;
    assert_eq!(
        (asked["verdict"].as_str(), asked["class"].as_str(), asked["culprit"]["scope"].as_str()),
        (Some("network"), Some("loss"), Some("zone")),
        "{asked}"
    );
    let (_, map) = clock.bench.get(&format!("/api/v1/map?{range}")).await;
    assert!(map["edges"].as_array().unwrap().iter().all(|e| e["health"] == "bad"));

    clock.pass(30, None).await;
    let closed = clock.bench.tables.held().incidents.clone();
    assert_eq!(closed.len(), 1);
    assert!(closed[0].closed_at.is_some(), "still open after five healthy minutes");
    assert_eq!(closed[0].verdict.as_ref().map(|v| v.verdict), Some(Answer::Network), "the last verdict is kept");
    assert!(state.live.now().incidents.is_empty());
    assert!(clock.bench.tables.held().alerts.iter().all(|a| a.state == AlertState::Resolved));
}

#[tokio::test]
async fn what_the_detectors_have_no_room_for_is_told_as_coverage() {
    let mut clock = Clock::new().await;
    clock.pass(2, None).await;
    let losses = async |clock: &Clock| clock.bench.get("/api/v1/status").await.1["coverage"]["losses"]["server.slices_not_judged"].as_u64();
    assert_eq!(losses(&clock).await, None);
    clock.detection = detection_of(&clock.bench, DetectorsConfig { series_max: 100, ..DetectorsConfig::default() }).await;
    clock.pass(1, None).await;
    let not_judged = losses(&clock).await.expect("told");
    assert_eq!(clock.bench.state.metrics.detection_slices.get(), 100);
    assert!(not_judged > 100, "{not_judged}");
    assert_eq!(clock.bench.state.metrics.detection_turned_away.get(), not_judged as i64);
}

#[tokio::test]
async fn what_was_open_goes_on_after_a_restart() {
    let mut clock = Clock::new().await;
    clock.pass(12, None).await;
    clock.pass(6, Some("b")).await;
    let before = clock.bench.tables.held().incidents.clone();
    clock.detection = detection(&clock.bench).await;
    assert_eq!(clock.bench.state.live.now().incidents.len(), 1, "known at once");
    let restarted = clock.now;
    clock.pass(3, Some("b")).await;
    let after = clock.bench.tables.held().incidents.clone();
    assert_eq!(after.iter().map(|i| &i.id).collect::<Vec<_>>(), before.iter().map(|i| &i.id).collect::<Vec<_>>(), "no second incident");
    assert!(after[0].verdict.is_some());
    clock.pass(30, None).await;
    let closed = clock.bench.tables.held().incidents[0].clone();
    assert!(closed.closed_at.is_some());
    assert!(closed.diagnosed_at.is_some_and(|at| at > restarted), "the verdict from before the restart came back: {:?}", closed.diagnosed_at);
}

#[tokio::test]
async fn detectors_that_failed_go_on_with_what_was_open() {
    let mut clock = Clock::new().await;
    clock.pass(12, None).await;
    clock.pass(6, Some("b")).await;
    let before = clock.bench.tables.held().incidents.clone();
    clock.detection.lose_engine();
    clock.pass(30, None).await;
    let after = clock.bench.tables.held().incidents.clone();
    assert_eq!(after.iter().map(|i| &i.id).collect::<Vec<_>>(), before.iter().map(|i| &i.id).collect::<Vec<_>>());
    assert!(after[0].closed_at.is_some(), "it closes without a restart");
}

#[tokio::test]
async fn a_round_that_panics_is_told_and_not_the_last() {
    let mut clock = Clock::new().await;
    clock.pass(2, None).await;
    let state = Arc::clone(&clock.bench.state);
    clock.bench.tables.held().panics = true;
    clock.detection.guarded_round(clock.now + Duration::seconds(11)).await;
    assert!(state.live.now().rounds.error.is_some());
    assert_eq!(state.metrics.round_failures.get(), 1);
    assert_eq!(clock.bench.get("/api/v1/status").await.1["headline"]["state"], "cannot_say");
    clock.bench.tables.held().panics = false;
    clock.detection.guarded_round(clock.now + Duration::seconds(21)).await;
    assert_eq!((state.live.now().rounds.error, state.metrics.rounds.get()), (None, 4));
}

#[tokio::test]
async fn what_the_store_does_not_take_is_told_and_stored_later() {
    let mut clock = Clock::new().await;
    clock.pass(12, None).await;
    clock.bench.tables.held().failure = Some(TablesError::Write("no space left".into()));
    clock.pass(6, Some("b")).await;
    let live = clock.bench.state.live.now();
    assert_eq!(live.rounds.error.as_deref(), Some("the store cannot write: no space left"));
    assert_eq!(live.incidents.len(), 1, "people see it all the same");
    assert!(clock.bench.tables.held().incidents.is_empty());
    clock.bench.tables.held().failure = None;
    clock.pass(1, Some("b")).await;
    assert_eq!(clock.bench.tables.held().incidents.len(), 1);
    assert!(!clock.bench.tables.held().alerts.is_empty());
}

#[tokio::test]
async fn a_late_agent_is_waited_for_but_not_for_ever() {
    let mut clock = Clock::new().await;
    clock.pass(2, None).await;
    let agents = &clock.bench.state.intake.agents;
    let end = clock.now;
    assert_eq!(agents.watermark(end + Duration::seconds(1)), Some(end));
    for (node, _) in &NODES[1..] {
        agents.update(node, |a| a.last_window_end = Some(end + Duration::seconds(10)));
    }
    assert_eq!(agents.watermark(end + Duration::seconds(11)), Some(end), "n1 is late");
    assert_eq!(agents.watermark(end + Duration::seconds(30)), Some(end + Duration::seconds(5)), "but only for a while");
    assert_eq!(agents.watermark(end + Duration::seconds(61)), Some(end + Duration::seconds(36)), "n1 is gone, the others are late");
    assert_eq!(agents.watermark(end + Duration::seconds(900)), Some(end + Duration::seconds(875)), "all are gone");
}
