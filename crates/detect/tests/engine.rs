//! The engine on made-up tables: what fires, when, since when, and what must not.

use chrono::{DateTime, Duration, TimeZone, Utc};
use edgescope_detect::{DetectorsConfig, Engine, LEVELS, Round, WINDOW_S, queries};
use edgescope_model::alert::AlertState;
use edgescope_model::query::{Coverage, EdgeRow, EdgeTable};

/// What one edge does in one window.
#[derive(Clone, Copy)]
struct Does {
    bytes: Option<f64>,
    segments: f64,
    retrans: f64,
    rtt_p50_s: f64,
    connects: f64,
    timeouts: f64,
    stalled: f64,
}

const WELL: Does = Does { bytes: Some(500_000.0), segments: 1000.0, retrans: 1.0, rtt_p50_s: 0.002, connects: 100.0, timeouts: 0.0, stalled: 0.0 };

fn start() -> DateTime<Utc> {
    Utc.timestamp_opt(1_800_000_000, 0).unwrap()
}

/// Runs windows one by one through an engine, each round with the last twelve; `does(window)` tells of the one edge.
fn run(windows: i64, coverage: &Coverage, mut does: impl FnMut(i64) -> Does) -> Vec<(i64, Round)> {
    let mut engine = Engine::new(DetectorsConfig::default()).unwrap();
    let told: Vec<Does> = (0..windows).map(&mut does).collect();
    (1..=windows).map(|until| (until, engine.round(&tables(&told, until), coverage, start() + Duration::seconds(until * WINDOW_S)))).collect()
}

fn tables(told: &[Does], until: i64) -> Vec<EdgeTable> {
    let end = start() + Duration::seconds(until * WINDOW_S);
    let queries = queries(end);
    queries
        .iter()
        .zip(LEVELS)
        .map(|(query, level)| {
            let from = (query.from - start()).num_seconds() / WINDOW_S;
            let steps: Vec<_> = (from..until).map(|w| start() + Duration::seconds(w * WINDOW_S)).collect();
            let value = |w: i64, measure: &str| {
                let d = told.get(usize::try_from(w).ok()?)?;
                match measure {
                    "tcp.bytes" => d.bytes,
                    "tcp.segments.sent" => Some(d.segments),
                    "tcp.retrans" => Some(d.retrans),
                    "tcp.rtt.p50" => Some(d.rtt_p50_s),
                    "tcp.rtt.p95" => Some(d.rtt_p50_s * 2.0),
                    "tcp.rtt.count" => Some(200.0),
                    "tcp.active" => Some(100.0),
                    "tcp.stalled" => Some(d.stalled),
                    "tcp.connects" => Some(d.connects),
                    "tcp.connect_timeouts" => Some(d.timeouts),
                    _ => None,
                }
            };
            let series = query.measures.iter().map(|m| (from..until).map(|w| value(w, m)).collect()).collect();
            let key = level.dims.iter().map(|d| if d.starts_with("source") { "a".to_owned() } else { "b".to_owned() }).collect();
            EdgeTable {
                from: query.from,
                to: query.to,
                step_s: query.step_s,
                steps,
                group_by: query.group_by.clone(),
                measures: query.measures.clone(),
                rows: vec![EdgeRow { key, totals: Vec::new(), compare: Vec::new(), series }],
                groups_total: 1,
                resolution_s: 10,
            }
        })
        .collect()
}

fn fired<'a>(rounds: &'a [(i64, Round)], detector: &'a str) -> Option<(i64, &'a edgescope_model::alert::Alert)> {
    let mut all = rounds.iter().flat_map(|(until, round)| round.alerts.iter().map(move |alert| (*until, alert)));
    all.find(|(_, a)| a.detector == detector && a.state == AlertState::Firing && a.labels["level"] == "edge")
}

fn when(w: i64) -> DateTime<Utc> {
    start() + Duration::seconds(w * WINDOW_S)
}

#[test]
fn loss_fires_after_two_windows_knows_its_start_and_ends() {
    let rounds = run(30, &Coverage::default(), |w| if (10..16).contains(&w) { Does { retrans: 50.0, ..WELL } } else { WELL });
    let (until, alert) = fired(&rounds, "retransmissions").expect("fires");
    assert_eq!((until, alert.since), (12, when(10)));
    assert_eq!(alert.baseline, Some(0.001));
    assert_eq!(alert.baseline_s, 100);
    let ended: Vec<_> =
        rounds.iter().filter(|(_, r)| r.alerts.iter().any(|a| a.id == alert.id && a.state == AlertState::Resolved)).map(|(u, _)| *u).collect();
    assert_eq!(ended, [19], "three clear windows after the last bad one");
    // All levels see it; they are one incident, which closes.
    let incidents: std::collections::BTreeSet<_> = rounds.iter().flat_map(|(_, r)| &r.incidents).map(|i| &i.id).collect();
    assert_eq!(incidents.len(), 1);
    assert!(rounds.iter().flat_map(|(_, r)| &r.incidents).any(|i| i.closed_at.is_some()));
}

#[test]
fn every_detector_fires_on_its_own_trouble_and_on_no_other() {
    let cases: [(&str, Does); 5] = [
        ("retransmissions", Does { retrans: 50.0, ..WELL }),
        ("connect_failures", Does { timeouts: 20.0, ..WELL }),
        ("stalled_sockets", Does { stalled: 30.0, ..WELL }),
        ("rtt_shift", Does { rtt_p50_s: 0.012, ..WELL }),
        ("traffic_drop", Does { bytes: Some(100_000.0), ..WELL }),
    ];
    for (detector, trouble) in cases {
        let rounds = run(20, &Coverage::default(), |w| if w >= 10 { trouble } else { WELL });
        let all: std::collections::BTreeSet<_> = rounds.iter().flat_map(|(_, r)| &r.alerts).map(|a| a.detector.as_str()).collect();
        assert_eq!(all, [detector].into(), "{detector}");
        let (until, alert) = fired(&rounds, detector).expect(detector);
        assert_eq!(alert.since, when(10), "{detector}");
        assert!(until <= 13, "{detector} took until {until}");
    }
}

#[test]
fn a_silent_agent_is_not_traffic_that_dropped() {
    let gone = |w: i64| if w >= 10 { Does { bytes: None, segments: 0.0, connects: 0.0, ..WELL } } else { WELL };
    let mut coverage = Coverage::default();
    assert!(fired(&run(20, &coverage, gone), "traffic_drop").is_some(), "with all agents reporting nothing was sent");
    coverage.silent.insert("node-1".to_owned(), when(10));
    assert!(fired(&run(20, &coverage, gone), "traffic_drop").is_none());
}

#[test]
fn few_opportunities_prove_nothing() {
    let rounds =
        run(20, &Coverage::default(), |w| if w >= 10 { Does { segments: 20.0, retrans: 3.0, connects: 4.0, timeouts: 2.0, ..WELL } } else { WELL });
    assert!(rounds.iter().all(|(_, r)| r.alerts.is_empty()));
}

#[test]
fn noise_is_no_alert() {
    // A fixed linear congruential generator: the test must not depend on luck.
    let mut state = 42u64;
    let mut noise = move |spread: f64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        1.0 + ((state >> 33) as f64 / (1u64 << 31) as f64 - 0.5) * 2.0 * spread
    };
    let rounds = run(300, &Coverage::default(), |_| Does {
        bytes: Some(500_000.0 * noise(0.4)),
        retrans: 2.0 * noise(1.0),
        rtt_p50_s: 0.002 * noise(0.15),
        timeouts: if noise(1.0) > 1.9 { 1.0 } else { 0.0 },
        ..WELL
    });
    assert_eq!(rounds.iter().map(|(_, r)| r.alerts.len()).sum::<usize>(), 0);
}

#[test]
fn a_long_trouble_does_not_become_normal() {
    let rounds = run(250, &Coverage::default(), |w| if w >= 10 { Does { rtt_p50_s: 0.012, ..WELL } } else { WELL });
    let alert = fired(&rounds, "rtt_shift").expect("fires").1;
    assert!(rounds.iter().all(|(_, r)| r.alerts.iter().all(|a| a.id != alert.id || a.state == AlertState::Firing)));
}

#[test]
fn the_same_tables_give_the_same_alerts() {
    let trouble = |w: i64| if w >= 10 { Does { retrans: 50.0, ..WELL } } else { WELL };
    assert_eq!(run(20, &Coverage::default(), trouble), run(20, &Coverage::default(), trouble));
}
