//! The engine on made-up tables: what fires, when, since when, and what must not.

use chrono::{DateTime, Duration, TimeZone, Utc};
use edgescope_detect::{DetectorsConfig, Engine, Transition, add_failing, query, query_failing};
use edgescope_model::alert::{Alert, AlertState, Incident};
use edgescope_model::query::{EdgeQuery, EdgeRow, EdgeTable};
use std::collections::BTreeSet;

const WINDOW_S: i64 = 10;

/// What one edge does in one window.
#[derive(Clone, Copy)]
struct Does {
    /// The agent of the source says nothing at all.
    silent: bool,
    bytes: f64,
    segments: f64,
    retrans: f64,
    rtt_s: f64,
    connects: f64,
    timeouts: f64,
    stalled: f64,
}

const WELL: Does =
    Does { silent: false, bytes: 500_000.0, segments: 1000.0, retrans: 1.0, rtt_s: 0.002, connects: 100.0, timeouts: 0.0, stalled: 0.0 };

/// What a round told.
#[derive(Debug, Default, PartialEq)]
struct Told {
    alerts: Vec<Alert>,
    incidents: Vec<Incident>,
}

fn start() -> DateTime<Utc> {
    Utc.timestamp_opt(1_800_000_000, 0).single().expect("a moment")
}

fn when(w: i64) -> DateTime<Utc> {
    start() + Duration::seconds(w * WINDOW_S)
}

/// The table of the last windows before `until`; a window is listed only once it has `arrived`.
fn table(does: &dyn Fn(i64) -> Does, until: i64, arrived: &dyn Fn(i64, i64) -> bool) -> EdgeTable {
    table_of("a", "node-1", does, until, arrived)
}

/// The same of one source pod of the edge.
fn table_of(pod: &str, node: &str, does: &dyn Fn(i64) -> Does, until: i64, arrived: &dyn Fn(i64, i64) -> bool) -> EdgeTable {
    let query = query(when(until));
    let from = (query.from - start()).num_seconds() / WINDOW_S;
    let value = |w: i64, measure: &str| {
        let d = does(w);
        if w < 0 || d.silent || !arrived(w, until) {
            return None;
        }
        match measure {
            "tcp.bytes.sent" => Some(d.bytes),
            "tcp.segments.sent" => Some(d.segments),
            "tcp.retrans" => Some(d.retrans),
            "tcp.rtt.p20" => Some(d.rtt_s),
            "tcp.rtt.count" => Some(200.0),
            "tcp.active" => Some(100.0),
            "tcp.stalled" => Some(d.stalled),
            "tcp.connects" => Some(d.connects),
            "tcp.connect_timeouts" => Some(d.timeouts),
            _ => None,
        }
    };
    let row = |source: &str, dest: &str| EdgeRow {
        key: query
            .group_by
            .iter()
            .map(|d| match d.as_str() {
                "role" => "client".to_owned(),
                "source.node" => node.to_owned(),
                "source.pod" => pod.to_owned(),
                "dest.node" => "node-2".to_owned(),
                d if d.ends_with("namespace") || d.ends_with("zone") => String::new(),
                d => if d.starts_with("source") { source } else { dest }.to_owned(),
            })
            .collect(),
        totals: Vec::new(),
        compare: Vec::new(),
        series: query.measures.iter().map(|m| (from..until).map(|w| value(w, m)).collect()).collect(),
        buckets: Vec::new(),
    };
    EdgeTable {
        from: query.from,
        to: query.to,
        step_s: query.step_s,
        steps: (from..until).map(when).collect(),
        group_by: query.group_by.clone(),
        measures: query.measures.clone(),
        rows: vec![row("a", "b")],
        groups_total: 1,
        resolution_s: 10,
    }
}

/// Runs windows one by one through an engine; `does(window)` tells of the one edge.
fn run(windows: i64, does: impl Fn(i64) -> Does) -> Vec<(i64, Told)> {
    run_late(windows, &does, &|_, _| true)
}

fn run_late(windows: i64, does: &dyn Fn(i64) -> Does, arrived: &dyn Fn(i64, i64) -> bool) -> Vec<(i64, Told)> {
    let mut engine = Engine::new(DetectorsConfig::default());
    let round = |until: i64| {
        let mut told = Told::default();
        for transition in engine.round(&table(does, until, arrived), when(until)) {
            match transition {
                Transition::Alert(alert) => told.alerts.push(*alert),
                Transition::Incident(incident) => told.incidents.push(*incident),
            }
        }
        (until, told)
    };
    (1..=windows).map(round).collect()
}

fn fired<'a>(rounds: &'a [(i64, Told)], detector: &'a str) -> Option<(i64, &'a Alert)> {
    let mut all = rounds.iter().flat_map(|(until, told)| told.alerts.iter().map(move |alert| (*until, alert)));
    all.find(|(_, a)| a.detector == detector && a.state == AlertState::Firing)
}

fn ended(rounds: &[(i64, Told)], id: &str) -> Option<i64> {
    rounds.iter().find(|(_, r)| r.alerts.iter().any(|a| a.id == id && a.state == AlertState::Resolved)).map(|(until, _)| *until)
}

#[test]
fn loss_fires_after_two_windows_knows_its_start_and_ends() {
    let rounds = run(30, |w| if (10..16).contains(&w) { Does { retrans: 50.0, ..WELL } } else { WELL });
    let (until, alert) = fired(&rounds, "retransmissions").expect("fires");
    assert_eq!((until, alert.since), (12, when(10)));
    assert!((alert.baseline.expect("has a past") - 0.001).abs() < 1e-9);
    assert!((80..=100).contains(&alert.baseline_s), "{}", alert.baseline_s);
    let ended = ended(&rounds, &alert.id).expect("ends");
    assert!((19..=23).contains(&ended), "{ended}");
    let incidents: BTreeSet<_> = rounds.iter().flat_map(|(_, r)| &r.incidents).map(|i| &i.id).collect();
    assert_eq!(incidents.len(), 1);
    assert!(rounds.iter().flat_map(|(_, r)| &r.incidents).any(|i| i.closed_at.is_some()));
}

#[test]
fn every_detector_fires_on_its_own_trouble_and_on_no_other() {
    let cases: [(&str, Does); 5] = [
        ("retransmissions", Does { retrans: 50.0, ..WELL }),
        ("connect_failures", Does { timeouts: 20.0, ..WELL }),
        ("stalled", Does { stalled: 30.0, ..WELL }),
        ("rtt_shift", Does { rtt_s: 0.012, ..WELL }),
        ("traffic_drop", Does { bytes: 100_000.0, ..WELL }),
    ];
    for (detector, trouble) in cases {
        let rounds = run(20, |w| if w >= 10 { trouble } else { WELL });
        let all: BTreeSet<_> = rounds.iter().flat_map(|(_, r)| &r.alerts).map(|a| a.detector.as_str()).collect();
        assert_eq!(all, [detector].into(), "{detector}");
        let (until, alert) = fired(&rounds, detector).expect(detector);
        assert_eq!(alert.since, when(10), "{detector}");
        assert!(until <= 13, "{detector} took until {until}");
    }
}

#[test]
fn a_silent_agent_is_not_traffic_that_dropped() {
    let stopped = run(20, |w| if w >= 10 { Does { bytes: 0.0, segments: 0.0, connects: 0.0, ..WELL } } else { WELL });
    assert!(fired(&stopped, "traffic_drop").is_some(), "its agent said that nothing was sent");
    let silent = run(20, |w| if w >= 10 { Does { silent: true, ..WELL } } else { WELL });
    assert_eq!(silent.iter().map(|(_, r)| r.alerts.len()).sum::<usize>(), 0);
}

/// Two pods of `a`; the second one's agent does as it is told.
fn two_pods(windows: i64, second: impl Fn(i64) -> Does) -> Vec<Alert> {
    let mut engine = Engine::new(DetectorsConfig::default());
    let round = |until: i64| {
        let mut both = table_of("a-1", "node-1", &|_| WELL, until, &|_, _| true);
        let other = table_of("a-2", "node-3", &second, until, &|_, _| true);
        // As a store answers: a row without any value in the range is none.
        both.rows.extend(other.rows.into_iter().filter(|row| row.series.iter().flatten().any(Option::is_some)));
        engine.round(&both, when(until))
    };
    let told: Vec<Transition> = (1..=windows).flat_map(round).collect();
    told.into_iter().filter_map(|t| if let Transition::Alert(alert) = t { Some(*alert) } else { None }).collect()
}

#[test]
fn what_one_of_two_agents_no_longer_tells_is_not_traffic_that_dropped() {
    let heavy = Does { bytes: 5_000_000.0, ..WELL };
    let stopped = two_pods(40, |w| if w >= 10 { Does { bytes: 0.0, ..WELL } } else { heavy });
    assert!(stopped.iter().any(|a| a.detector == "traffic_drop"), "its agent says that nothing is sent");
    // For longer than the windows that are read again, too.
    assert_eq!(two_pods(40, |w| if w >= 10 { Does { silent: true, ..WELL } } else { heavy }), []);
    assert_eq!(two_pods(40, |w| if (10..14).contains(&w) { Does { silent: true, ..WELL } } else { heavy }), []);
}

#[test]
fn an_alert_without_data_ends_and_says_so() {
    let rounds = run(60, |w| match w {
        ..10 => WELL,
        10..20 => Does { bytes: 0.0, segments: 0.0, connects: 0.0, ..WELL },
        _ => Does { silent: true, ..WELL },
    });
    let alert = fired(&rounds, "traffic_drop").expect("fires").1;
    let end = ended(&rounds, &alert.id).expect("does not stand for ever");
    assert!((49..=51).contains(&end), "{end}");
    let last = rounds.iter().flat_map(|(_, r)| &r.alerts).rfind(|a| a.id == alert.id).expect("told");
    assert!(last.summary.contains("without data"), "{}", last.summary);
}

#[test]
fn few_opportunities_prove_nothing() {
    let rounds = run(20, |w| if w >= 10 { Does { segments: 20.0, retrans: 1.0, connects: 4.0, timeouts: 1.0, ..WELL } } else { WELL });
    assert!(rounds.iter().all(|(_, r)| r.alerts.is_empty()), "{rounds:?}");
}

#[test]
fn noise_is_no_alert() {
    // A fixed multiplicative hash: the test must not depend on luck.
    let noise = |w: i64, kind: u64, spread: f64| {
        let mixed =
            (w as u64).wrapping_mul(8).wrapping_add(kind).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        1.0 + ((mixed >> 33) as f64 / (1u64 << 31) as f64 - 0.5) * 2.0 * spread
    };
    let rounds = run(300, |w| Does {
        bytes: 500_000.0 * noise(w, 0, 0.4),
        retrans: 2.0 * noise(w, 1, 1.0),
        rtt_s: 0.002 * noise(w, 2, 0.15),
        timeouts: if noise(w, 3, 1.0) > 1.9 { 1.0 } else { 0.0 },
        ..WELL
    });
    let alerts: Vec<_> = rounds.iter().flat_map(|(_, r)| &r.alerts).map(|a| &a.summary).collect();
    assert!(alerts.is_empty(), "{alerts:?}");
}

#[test]
fn a_long_trouble_does_not_become_normal() {
    let rounds = run(250, |w| if w >= 10 { Does { rtt_s: 0.012, ..WELL } } else { WELL });
    let alert = fired(&rounds, "rtt_shift").expect("fires").1;
    assert_eq!(ended(&rounds, &alert.id), None);
}

/// Twenty minutes of 5 % on an edge of which 0.4 % is usual, and back: nothing of the past from before the trouble is kept when it ends.
fn long_loss(w: i64) -> Does {
    Does { retrans: if (10..130).contains(&w) { 50.0 } else { 4.0 }, ..WELL }
}

#[test]
fn a_long_loss_is_well_again_at_what_was_usual_before_it() {
    let rounds = run(160, long_loss);
    let alert = fired(&rounds, "retransmissions").expect("fires").1;
    assert!((alert.threshold - 0.012).abs() < 1e-9, "{}", alert.threshold);
    let told: Vec<&Alert> = rounds.iter().flat_map(|(_, r)| &r.alerts).filter(|a| a.id == alert.id).collect();
    let thresholds: Vec<f64> = told.iter().map(|a| a.threshold).collect();
    assert!(thresholds.iter().all(|t| (t - 0.012).abs() < 1e-9), "{thresholds:?}");
    let end = ended(&rounds, &alert.id).expect("ends");
    assert!((130..=140).contains(&end), "{end}");
    assert!(told.last().is_some_and(|a| a.baseline_s == 90 && a.summary.ends_with("well again")), "{told:#?}");
}

#[test]
fn a_pod_that_is_new_in_a_long_loss_goes_by_what_was_usual_for_the_edge() {
    let mut engine = Engine::new(DetectorsConfig::default());
    let round = |until: i64| {
        let at = |from: i64| move |w: i64| if (from..from + 100).contains(&w) { long_loss(w) } else { Does { silent: true, ..WELL } };
        let mut both = table_of("a-1", "node-1", &at(-40), until, &|_, _| true);
        both.rows.extend(table_of("a-2", "node-1", &at(60), until, &|_, _| true).rows);
        engine.round(&both, when(until))
    };
    let told: Vec<Alert> = (1..=160).flat_map(round).filter_map(|t| if let Transition::Alert(a) = t { Some(*a) } else { None }).collect();
    assert!(told.last().is_some_and(|a| a.state == AlertState::Resolved && a.summary.ends_with("well again")), "{told:#?}");
}

#[test]
fn a_long_loss_ends_after_a_restart_as_well() {
    let rounds = run(125, long_loss);
    let alert = fired(&rounds, "retransmissions").expect("fires").1.clone();
    let mut engine = Engine::new(DetectorsConfig::default());
    engine.resume(vec![alert.clone()], Vec::new(), when(126));
    let told: Vec<Transition> = (126..160).flat_map(|until| engine.round(&table(&long_loss, until, &|_, _| true), when(until))).collect();
    let ends = |t: &Transition| matches!(t, Transition::Alert(a) if a.id == alert.id && a.summary.ends_with("well again"));
    assert!(told.iter().any(ends), "{told:#?}");
}

#[test]
fn late_windows_count() {
    // All of windows 10 to 17 arrive with window 18.
    let does = |w: i64| if w >= 10 { Does { retrans: 50.0, ..WELL } } else { WELL };
    let rounds = run_late(24, &does, &|w, until| !(10..18).contains(&w) || until >= 19);
    let (until, alert) = fired(&rounds, "retransmissions").expect("fires");
    assert_eq!((until, alert.since), (19, when(10)));
}

#[test]
fn the_same_tables_give_the_same_alerts() {
    let trouble = |w: i64| if w >= 10 { Does { retrans: 50.0, ..WELL } } else { WELL };
    assert_eq!(run(20, trouble), run(20, trouble));
}

#[test]
fn a_restarted_server_goes_on_with_its_alerts() {
    let does = |w: i64| if (10..20).contains(&w) { Does { retrans: 50.0, ..WELL } } else { WELL };
    let rounds = run(15, does);
    let alert = fired(&rounds, "retransmissions").expect("fires").1.clone();
    let incident = rounds.iter().flat_map(|(_, r)| &r.incidents).next_back().expect("an incident").clone();
    let mut engine = Engine::new(DetectorsConfig::default());
    engine.resume(vec![alert.clone()], vec![incident.clone()], when(16));
    let mut told = Vec::new();
    for until in 16..32 {
        told.extend(engine.round(&table(&does, until, &|_, _| true), when(until)));
    }
    let alerts: Vec<_> = told.iter().filter_map(|t| if let Transition::Alert(a) = t { Some(a) } else { None }).collect();
    assert!(alerts.iter().all(|a| a.id == alert.id), "no second alert for the same trouble: {alerts:?}");
    assert!(alerts.iter().any(|a| a.state == AlertState::Resolved));
    assert!(told.iter().any(|t| matches!(t, Transition::Incident(i) if i.id == incident.id && i.closed_at.is_some())));
}

/// Rounds in which an alert is resolved.
fn resolved(rounds: impl Iterator<Item = (i64, Vec<Transition>)>, id: &str) -> Vec<(i64, String)> {
    let summary = |t: Transition| match t {
        Transition::Alert(a) if a.id == id && a.state == AlertState::Resolved => Some(a.summary),
        _ => None,
    };
    rounds.flat_map(|(until, told)| told.into_iter().filter_map(summary).map(move |s| (until, s))).collect()
}

fn without_rows(until: i64) -> EdgeTable {
    EdgeTable { rows: Vec::new(), groups_total: 0, ..table(&|_| WELL, until, &|_, _| true) }
}

#[test]
fn a_resumed_alert_whose_edge_does_not_come_back_ends_without_data() {
    let rounds = run(15, |w| if w >= 10 { Does { retrans: 50.0, ..WELL } } else { WELL });
    let alert = fired(&rounds, "retransmissions").expect("fires").1.clone();
    let incident = rounds.iter().flat_map(|(_, r)| &r.incidents).next_back().expect("an incident").clone();
    // The server was away for an hour: that nobody spoke to it is not the edge's silence.
    let mut engine = Engine::new(DetectorsConfig::default());
    engine.resume(vec![alert.clone()], vec![incident], when(375));
    let ends = resolved((376..420).map(|until| (until, engine.round(&without_rows(until), when(until)))), &alert.id);
    assert!(matches!(&ends[..], [(405..=407, summary)] if summary.contains("without data")), "{ends:?}");
    assert_eq!((engine.alerts().count(), engine.incidents().count()), (0, 0));
}

#[test]
fn an_alert_whose_edge_is_forgotten_or_turned_away_ends_without_data() {
    // The past of a silent edge is forgotten after 15 minutes, before this alert may end.
    let mut patient = DetectorsConfig::default();
    patient.retransmissions.life.no_data_s = 1_000;
    let does = |w: i64| if w >= 10 { Does { retrans: 50.0, ..WELL } } else { WELL };
    let mut engine = Engine::new(patient);
    (1..20).for_each(|until| drop(engine.round(&table(&does, until, &|_, _| true), when(until))));
    let alert = engine.alerts().next().expect("fires").clone();
    let ends = resolved((20..160).map(|until| (until, engine.round(&without_rows(until), when(until)))), &alert.id);
    assert!(matches!(&ends[..], [(118..=121, _)]), "{ends:?}");

    let mut full = Engine::new(DetectorsConfig { series_max: 0, ..DetectorsConfig::default() });
    full.resume(vec![alert.clone()], Vec::new(), when(20));
    let ends = resolved((21..80).map(|until| (until, full.round(&table(&does, until, &|_, _| true), when(until)))), &alert.id);
    assert!(matches!(&ends[..], [(50..=52, _)]), "{ends:?}");
}

#[test]
fn a_resumed_round_trip_is_not_compared_with_that_of_other_paths() {
    let near = Does { rtt_s: 0.012, ..WELL };
    let far = Does { rtt_s: 0.05, ..WELL };
    let rounds = run(15, |w| if w >= 10 { near } else { WELL });
    let alert = fired(&rounds, "rtt_shift").expect("fires").1.clone();
    let mut engine = Engine::new(DetectorsConfig::default());
    engine.resume(vec![alert.clone()], Vec::new(), when(17));
    let mut told = Vec::new();
    for until in 17..30 {
        // The past from before the trouble is no longer there, and most paths of the edge are far ones.
        let since = |does: Does| move |w: i64| if w < 12 { Does { silent: true, ..WELL } } else { does };
        let mut table = table_of("a", "node-1", &since(WELL), until, &|_, _| true);
        for pod in ["a-2", "a-3"] {
            table.rows.extend(table_of(pod, "node-3", &since(far), until, &|_, _| true).rows);
        }
        told.extend(engine.round(&table, when(until)));
    }
    let values: Vec<f64> = told.iter().filter_map(|t| if let Transition::Alert(a) = t { Some(a.value) } else { None }).collect();
    assert!(values.iter().all(|v| *v < 0.04), "{values:?}");
}

/// One row for each pair of names, lossy from window 10 on where `bad` says so.
fn table_of_pairs(pairs: &[(&str, &str)], bad: &dyn Fn(&str) -> bool, until: i64) -> EdgeTable {
    let mut all = without_rows(until);
    for (source, dest) in pairs {
        let does = |w: i64| if w >= 10 && bad(source) { Does { retrans: 50.0, ..WELL } } else { WELL };
        let mut one = table(&does, until, &|_, _| true);
        for (dim, value) in one.group_by.iter().zip(&mut one.rows[0].key) {
            match dim.as_str() {
                "source.workload" => (*source).clone_into(value),
                "dest.workload" => (*dest).clone_into(value),
                _ => {}
            }
        }
        all.rows.extend(one.rows);
    }
    all.groups_total = all.rows.len();
    all
}

fn alerting(engine: &Engine) -> Vec<&str> {
    engine.alerts().map(|a| a.labels["source.workload"].as_str()).collect()
}

#[test]
fn edges_with_names_are_admitted_before_those_without() {
    let pairs = [("1.2.3.0/24", "shop"), ("10.0.0.7", "shop"), ("2001:db8:1::/48", "shop"), ("cart", "shop"), ("web", "shop")];
    let four_each = DetectorsConfig { series_max: 2 * 4 + 1, ..DetectorsConfig::default() };
    let mut engine = Engine::new(four_each);
    (1..20).for_each(|until| drop(engine.round(&table_of_pairs(&pairs, &|_| true, until), when(until))));
    // Of what has no name, the address comes before public prefixes, and its whole before its parts.
    assert_eq!(alerting(&engine), ["10.0.0.7", "cart", "web"]);
    let counters = engine.counters();
    assert_eq!((counters.slices, counters.slices_not_judged, counters.slices_turned_away), (9, 11, 19 * 11));
}

#[test]
fn the_wholes_of_all_edges_come_before_their_parts() {
    let mut engine = Engine::new(DetectorsConfig { series_max: 3, ..DetectorsConfig::default() });
    let pairs = [("cart", "shop"), ("pay", "shop"), ("web", "shop")];
    (1..20).for_each(|until| drop(engine.round(&table_of_pairs(&pairs, &|_| true, until), when(until))));
    assert_eq!(alerting(&engine), ["cart", "pay", "web"]);
}

#[test]
fn an_edge_with_names_that_comes_later_takes_the_place_of_one_without() {
    let mut engine = Engine::new(DetectorsConfig { series_max: 8, ..DetectorsConfig::default() });
    let strangers = [("1.2.3.0/24", "shop"), ("10.0.0.7", "shop")];
    let both = [strangers[0], strangers[1], ("web", "shop")];
    (1..5).for_each(|until| drop(engine.round(&table_of_pairs(&strangers, &|_| true, until), when(until))));
    assert_eq!(engine.counters().slices_not_judged, 0);
    (5..20).for_each(|until| drop(engine.round(&table_of_pairs(&both, &|_| true, until), when(until))));
    assert_eq!((alerting(&engine), engine.counters().slices, engine.counters().slices_not_judged), (vec!["10.0.0.7", "web"], 8, 4));
}

/// The answer of somebody who has more than the limit: the last row's open connections tell whether what is left out matters.
fn cut(mut table: EdgeTable, left_out: usize, active_s: Option<f64>) -> EdgeTable {
    let at = table.measure("tcp.active").expect("asked for");
    for row in &mut table.rows {
        row.totals = vec![None; table.measures.len()];
        row.totals[at] = active_s;
    }
    table.groups_total = table.rows.len() + left_out;
    table
}

#[test]
fn rows_that_are_left_out_are_counted() {
    let mut engine = Engine::new(DetectorsConfig::default());
    let counted = |engine: &Engine| (engine.counters().pairs_not_judged, engine.counters().pairs_turned_away);
    for (left_out, active_s, expected) in [(7, Some(0.5), (7, 7)), (0, Some(0.5), (0, 7)), (7, None, (0, 7)), (3, Some(0.0), (3, 10))] {
        engine.round(&cut(table(&|_| WELL, 5, &|_, _| true), left_out, active_s), when(5));
        assert_eq!(counted(&engine), expected, "{left_out} left out, {active_s:?} s");
    }
}

#[test]
fn pairs_that_reach_nobody_are_asked_for_where_rows_are_cut() {
    let asked = EdgeQuery { filter: Some("source.zone = 'a' OR dest.zone = 'a'".to_owned()), ..query(when(20)) };
    let pairs = [("cart", "shop"), ("pay", "shop")];
    assert_eq!(query_failing(&asked, &cut(table_of_pairs(&pairs, &|_| false, 20), 0, Some(0.5))), None);
    let mut answer = cut(table_of_pairs(&pairs, &|_| false, 20), 2, Some(0.5));
    let failing = query_failing(&asked, &answer).expect("rows were cut");
    assert_eq!(failing.filter.as_deref(), Some("(source.zone = 'a' OR dest.zone = 'a') AND tcp.active = 0 AND tcp.connects > 0"));
    assert!(failing.check().is_ok());
    assert_eq!((failing.from, failing.to, failing.step_s, &failing.group_by), (asked.from, asked.to, asked.step_s, &asked.group_by));
    add_failing(&mut answer, cut(table_of_pairs(&[("pay", "shop"), ("web", "shop")], &|_| true, 20), 0, Some(0.0)));
    assert_eq!((answer.rows.len(), answer.groups_total), (3, 4), "each pair once");
    let mut engine = Engine::new(DetectorsConfig::default());
    engine.round(&answer, when(20));
    assert_eq!((alerting(&engine), engine.counters().pairs_not_judged), (vec!["web"], 1));
}
