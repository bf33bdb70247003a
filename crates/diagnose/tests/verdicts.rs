//! Verdicts on simulated faults of known truth. Seeds here are none that thresholds were calibrated on (docs/detection.md: 1000 and above).

mod sim;

use chrono::{DateTime, Duration, Utc};
use edgescope_diagnose::{Inputs, diagnose, query, query_dns};
use edgescope_model::query::{Coverage, EdgeTable};
use edgescope_model::verdict::{Answer, Class, Scope, Verdict};
use edgescope_testbed::{Fault, Kind, Strength, Truth};
use sim::{Plan, Run, start};
use std::collections::BTreeSet;
use std::ops::Range;

const SEEDS: Range<u64> = 0..3;

fn ask(run: &Run, from: DateTime<Utc>, to: DateTime<Utc>, scope: Option<&str>) -> Verdict {
    let query = query(from, to);
    let table = run.answer_both(&query, &query_dns(&query));
    diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope })
}

/// As an incident's verdict is asked for: from the minute before the end.
fn verdict(run: &Run) -> Verdict {
    ask(run, run.end() - Duration::seconds(60), run.end(), None)
}

fn is_right(verdict: &Verdict, truth: &Truth) -> bool {
    let said = (verdict.culprit.name.clone(), verdict.culprit.peer.clone());
    let named = said == (truth.name.clone(), truth.peer.clone()) || truth.same_as.contains(&said);
    let kind = (verdict.verdict.as_str(), verdict.class.as_str(), verdict.culprit.scope.as_str());
    named && kind == (truth.verdict, truth.class, truth.scope.word())
}

/// Precision and recall of affected workload pairs, whichever way they point.
fn pairs(verdict: &Verdict, truth: &Truth) -> (f64, f64) {
    let pair = |a: &str, b: &str| if a <= b { (a.to_owned(), b.to_owned()) } else { (b.to_owned(), a.to_owned()) };
    let said: BTreeSet<_> = verdict.affected.iter().map(|p| pair(&p.source, &p.dest)).collect();
    let hit: BTreeSet<_> = truth.affected.iter().map(|p| pair(&p.source, &p.dest)).collect();
    let both = said.intersection(&hit).count() as f64;
    (both / said.len().max(1) as f64, both / hit.len().max(1) as f64)
}

fn plans(topology: &'static str, strength: Strength, of: impl Fn(Kind) -> bool) -> Vec<Plan> {
    let faults = Fault::applicable(strength).into_iter().filter(move |f| of(f.kind));
    faults.flat_map(|fault| SEEDS.map(move |seed| Plan::new(topology, Some(fault.clone()), seed))).collect()
}

/// Runs plans and returns the share that is right, with what was wrong.
fn share_right(plans: Vec<Plan>) -> (f64, Vec<String>) {
    let all = plans.len() as f64;
    let wrong = |plan: Plan| {
        let run = Run::new(plan);
        let (verdict, truth) = (verdict(&run), run.truth.as_ref().expect("has a fault"));
        (!is_right(&verdict, truth)).then(|| format!("{} at {} {:?}: {}", truth.fault, truth.name, truth.peer, verdict.summary))
    };
    let wrong: Vec<String> = plans.into_iter().filter_map(wrong).collect();
    (1.0 - wrong.len() as f64 / all, wrong)
}

#[test]
fn clear_network_faults_are_named() {
    for topology in ["shop", "other"] {
        let (right, wrong) = share_right(plans(topology, Strength::Clear, Kind::is_network));
        assert!(right >= 0.9, "{topology}: {right}: {wrong:#?}");
    }
}

#[test]
fn two_windows_after_the_onset_are_enough() {
    let short = |plan: Plan| Plan { windows: 10, ..plan };
    let (right, wrong) = share_right(plans("shop", Strength::Clear, Kind::is_network).into_iter().map(short).collect());
    assert!(right >= 0.9, "{right}: {wrong:#?}");
}

#[test]
fn faults_of_the_ends_never_accuse_the_network() {
    for topology in ["shop", "other"] {
        for strength in [Strength::Clear, Strength::Strong] {
            let plans = plans(topology, strength, |k| !k.is_network());
            for plan in &plans {
                let verdict = verdict(&Run::new(plan.clone()));
                assert_ne!(verdict.verdict, Answer::Network, "{topology} {:?}: {}", plan.fault, verdict.summary);
            }
            let (right, wrong) = share_right(plans);
            assert!(right >= 0.8, "{topology}: {right}: {wrong:#?}");
        }
    }
}

#[test]
fn when_and_who_else() {
    let plans = plans("shop", Strength::Clear, Kind::is_network);
    let (all, mut since, mut precision, mut recall) = (plans.len() as f64, 0.0, 0.0, 0.0);
    for plan in plans {
        let run = Run::new(plan);
        let (verdict, truth) = (verdict(&run), run.truth.as_ref().expect("has a fault"));
        since += f64::from(u8::from(verdict.since.is_some_and(|s| (s - truth.injected_at).num_seconds().abs() <= 20)));
        let (p, r) = pairs(&verdict, truth);
        precision += p;
        recall += r;
    }
    println!("since {:.2}, precision {:.2}, recall {:.2}", since / all, precision / all, recall / all);
    assert!(since / all >= 0.9 && precision / all >= 0.9 && recall / all >= 0.9, "{} {} {}", since / all, precision / all, recall / all);
}

#[test]
fn quiet_runs_are_quiet() {
    for topology in ["shop", "other"] {
        for seed in 0..20 {
            let verdict = verdict(&Run::new(Plan::new(topology, None, seed)));
            assert_eq!((verdict.verdict, verdict.class), (Answer::NotNetwork, Class::None), "{topology} {seed}: {}", verdict.summary);
            assert!(verdict.confidence > 0.9, "{}", verdict.confidence);
        }
    }
}

#[test]
fn a_missing_agent_and_late_windows_are_borne() {
    let hard = |plan: Plan| Plan { missing_agent: plan.seed.is_multiple_of(2), late: plan.seed % 2 == 1, ..plan };
    let (right, wrong) = share_right(plans("shop", Strength::Clear, Kind::is_network).into_iter().map(hard).collect());
    assert!(right >= 0.85, "{right}: {wrong:#?}");
}

#[test]
fn low_coverage_never_reads_as_no_problem() {
    let verdict = verdict(&Run::new(Plan { missing_agent: true, ..Plan::new("shop", None, 4) }));
    assert_eq!(verdict.verdict, Answer::InsufficientEvidence, "{}", verdict.summary);
    let empty = Run::new(Plan::new("shop", None, 5));
    let before = start() - Duration::hours(2);
    assert_eq!(ask(&empty, before, before + Duration::minutes(1), None).verdict, Answer::InsufficientEvidence);
}

fn lossy_zone() -> Run {
    Run::new(Plan { windows: 30, ..Plan::new("shop", Some("loss:zone=us-east-1b:clear".parse().expect("a fault")), 1) })
}

#[test]
fn trouble_that_began_before_the_range_is_still_found() {
    let run = lossy_zone();
    let verdict = ask(&run, run.end() - Duration::seconds(30), run.end(), None);
    assert!(is_right(&verdict, run.truth.as_ref().expect("has a fault")), "{}", verdict.summary);
}

#[test]
fn a_range_before_the_trouble_is_well() {
    let run = lossy_zone();
    let verdict = ask(&run, start() + Duration::seconds(30), start() + Duration::seconds(80), None);
    assert_eq!((verdict.verdict, verdict.class), (Answer::NotNetwork, Class::None), "{}", verdict.summary);
}

#[test]
fn the_verdict_is_about_the_workload_asked_for() {
    let run = Run::new(Plan::new("shop", Some("refused:edge=checkoutservice>emailservice:clear".parse().expect("a fault")), 1));
    let ask = |workload: &str| ask(&run, run.end() - Duration::seconds(60), run.end(), Some(workload));
    assert_eq!(ask("emailservice").verdict, Answer::Network);
    let other = ask("adservice");
    assert_eq!((other.verdict, other.class), (Answer::NotNetwork, Class::None));
    assert!(other.summary.contains("Elsewhere"), "{}", other.summary);
}

/// Replaces values of some rows: `change(client, measure, step)`.
fn change(table: &mut EdgeTable, change: impl Fn(&str, &str, usize) -> Option<f64>) {
    let (pod, role) = (table.dim("source.pod").expect("asked for"), table.dim("role").expect("asked for"));
    for row in table.rows.iter_mut().filter(|r| r.key[role] == "client") {
        for (m, name) in table.measures.iter().enumerate() {
            for step in 0..table.steps.len() {
                if let Some(value) = change(&row.key[pod], name, step) {
                    row.series[m][step] = Some(value);
                }
            }
        }
    }
}

fn judge(table: &EdgeTable, run: &Run) -> Verdict {
    let coverage = Coverage { fraction: 1.0, agents_reporting: 6, agents_expected: 6, ..Coverage::default() };
    diagnose(&Inputs { table, coverage: &coverage, from: start(), to: run.end(), scope: None })
}

#[test]
fn clients_that_are_up_before_their_servers_are_no_fault() {
    let run = Run::new(Plan::new("shop", None, 6));
    let mut table = run.answer(&query(start(), run.end()));
    let first = table.steps.iter().position(|&s| s == start()).expect("the run's first step is in the table");
    change(&mut table, |_, name, step| match name {
        "tcp.connects" if step == first => Some(50.0),
        "tcp.connects_refused" if step == first => Some(40.0),
        _ => None,
    });
    let verdict = judge(&table, &run);
    assert_eq!((verdict.verdict, verdict.class), (Answer::NotNetwork, Class::None), "{}", verdict.summary);
}

#[test]
fn a_burst_that_is_over_is_no_state() {
    let run = Run::new(Plan::new("shop", None, 7));
    let mut table = run.answer(&query(start(), run.end()));
    let last = table.steps.len();
    change(&mut table, |pod, name, step| (name == "tcp.retrans" && pod == "frontend-1" && step == last - 4).then_some(30.0));
    assert_ne!(judge(&table, &run).verdict, Answer::Network);
}

#[test]
fn what_hits_everything_alike_is_nobodys_fault() {
    let run = Run::new(Plan::new("shop", None, 8));
    let mut table = run.answer(&query(start(), run.end()));
    let last = table.steps.len();
    let (p50, p20) = (table.measure("tcp.handshake.p50").expect("asked for"), table.measure("tcp.rtt.p20").expect("asked for"));
    for row in &mut table.rows {
        for m in [p50, p20] {
            row.series[m][last - 5..].iter_mut().flatten().for_each(|v| *v += 0.008);
        }
    }
    assert_ne!(judge(&table, &run).verdict, Answer::Network);
}

#[test]
fn a_dead_server_whose_agent_is_silent_is_not_told_from_a_middlebox() {
    let run = Run::new(Plan::new("shop", Some("crash:pod=cartservice-1:clear".parse().expect("a fault")), 1));
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    let mut table = run.answer(&query(from, to));
    let onset = table.steps.iter().position(|&s| s > run.truth.as_ref().expect("has a fault").injected_at).expect("inside") - 1;
    let nodes = [table.dim("source.node").expect("asked for"), table.dim("dest.node").expect("asked for")];
    let by_dest = |name: &str| name.ends_with(".received") || name.starts_with("tcp.accept");
    for row in &mut table.rows {
        for (m, name) in table.measures.iter().enumerate() {
            if row.key[nodes[usize::from(by_dest(name))]] == "node-2" {
                row.series[m][onset..].iter_mut().for_each(|v| *v = None);
            }
        }
    }
    let verdict = diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope: None });
    assert_eq!((verdict.verdict, verdict.class), (Answer::Ambiguous, Class::Policy), "{}", verdict.summary);
}

#[test]
fn a_verdict_shows_its_numbers() {
    let run = lossy_zone();
    let verdict = verdict(&run);
    let main = &verdict.evidence[0];
    assert_eq!(main.signal, "tcp.retrans_rate");
    assert!((0.03..0.08).contains(&main.value.expect("measured")), "{main:?}");
    assert!(main.samples > 1_000);
    assert!(verdict.controls.iter().any(|c| c.what == "within zone us-east-1b" && c.bad == 0), "{:#?}", verdict.controls);
    let cleared = verdict.hypotheses.iter().find(|h| h.culprit.scope == Scope::Node).expect("nodes were weighed");
    assert!(cleared.why.starts_with("cleared"), "{}", cleared.why);
    assert!(verdict.affected.windows(2).all(|w| w[0].impact >= w[1].impact));
    assert!(verdict.affected.iter().all(|a| (0.0..=1.0).contains(&a.impact)));
}

#[test]
fn a_generator_that_asks_one_of_two_targets_less_is_an_edge() {
    for seed in SEEDS {
        let run = Run::new(Plan::new("other", Some("demand_drop:edge=customers>webapp:clear".parse().expect("a fault")), seed));
        let verdict = verdict(&run);
        assert!(is_right(&verdict, run.truth.as_ref().expect("has a fault")), "{seed}: {}", verdict.summary);
    }
}

/// Kept connections carry many questions: their number says nothing of how much is asked.
#[test]
fn less_demand_shows_without_a_single_connect() {
    for seed in SEEDS {
        let run = Run::new(Plan::new("shop", Some("demand_drop:edge=paymentservice>currencyservice:clear".parse().expect("a fault")), seed));
        let (from, to) = (run.end() - Duration::seconds(60), run.end());
        let mut table = run.answer(&query(from, to));
        let connects: Vec<usize> = (0..table.measures.len()).filter(|&m| table.measures[m].starts_with("tcp.connects")).collect();
        table.rows.iter_mut().for_each(|row| connects.iter().for_each(|&m| row.series[m].fill(None)));
        let verdict = diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope: None });
        assert!(is_right(&verdict, run.truth.as_ref().expect("has a fault")), "{seed}: {}", verdict.summary);
    }
}

/// A client that three of its servers do not answer sends them less: that is no demand of its own.
#[test]
fn who_gets_no_answer_does_not_ask_less() {
    let well = Run::new(Plan::new("shop", None, 1));
    let (from, to) = (well.end() - Duration::seconds(60), well.end());
    let mut table = well.answer(&query(from, to));
    let (source, dest) = (table.dim("source.workload").expect("asked for"), table.dim("dest.workload").expect("asked for"));
    for server in ["cartservice", "currencyservice", "productcatalogservice"] {
        let cut = Run::new(Plan::new("shop", Some(format!("blackhole:edge=frontend>{server}:clear").parse().expect("a fault")), 1));
        let ill = cut.answer(&query(from, to));
        let is_cut = |key: &[String]| [(source, dest), (dest, source)].iter().any(|&(a, b)| key[a] == "frontend" && key[b] == server);
        for row in table.rows.iter_mut().filter(|row| is_cut(&row.key)) {
            if let Some(other) = ill.rows.iter().find(|other| other.key == row.key) {
                row.series.clone_from(&other.series);
            }
        }
    }
    let verdict = diagnose(&Inputs { table: &table, coverage: &well.coverage(), from, to, scope: None });
    assert_eq!(verdict.verdict, Answer::Ambiguous, "{}", verdict.summary);
}

#[test]
fn resets_that_no_server_sent_are_not_a_dead_server() {
    let run = Run::new(Plan::new("shop", None, 9));
    let mut table = run.answer(&query(start(), run.end()));
    let last = table.steps.len();
    change(&mut table, |pod, name, step| match name {
        "tcp.connects_reset" if pod.starts_with("checkoutservice") && step >= last - 5 => Some(20.0),
        "tcp.connects" if pod.starts_with("checkoutservice") && step >= last - 5 => Some(25.0),
        _ => None,
    });
    let verdict = judge(&table, &run);
    assert_eq!((verdict.verdict, verdict.class), (Answer::Network, Class::Policy), "{}", verdict.summary);
}

#[test]
fn a_cut_pair_of_which_no_direction_is_seen_says_so() {
    let run = Run::new(Plan::new("shop", Some("blackhole:zone_pair=us-east-1a>us-east-1b:clear".parse().expect("a fault")), 1));
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    let mut table = run.answer(&query(from, to));
    let seen = diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope: None });
    assert!(is_right(&seen, run.truth.as_ref().expect("has a fault")) && !seen.summary.contains("direction unknown"), "{}", seen.summary);
    for name in ["tcp.segments.sent", "tcp.segments.received", "tcp.retrans_synack"] {
        let measure = table.measure(name).expect("asked for");
        table.rows.iter_mut().for_each(|row| row.series[measure].fill(None));
    }
    let verdict = diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope: None });
    assert_eq!((verdict.class, verdict.culprit.scope), (Class::Unreachable, Scope::ZonePair), "{}", verdict.summary);
    assert!(verdict.summary.contains("direction unknown"), "{}", verdict.summary);
}

#[test]
fn what_clears_the_network_is_shown_with_its_counts() {
    let quiet = verdict(&Run::new(Plan::new("shop", None, 3)));
    let slow = verdict(&Run::new(Plan::new("shop", Some("slow_service:workload=cartservice:clear".parse().expect("a fault")), 3)));
    for verdict in [&quiet, &slow] {
        assert_eq!(verdict.verdict, Answer::NotNetwork, "{}", verdict.summary);
        for signal in ["tcp.retrans_rate", "tcp.connect_failure_rate", "tcp.rtt.p20", "dns.failure_rate"] {
            let row = verdict.evidence.iter().find(|e| e.signal == signal).expect(signal);
            assert!(row.samples > 100 && row.value.is_some() && row.baseline.is_some(), "{row:?}");
        }
        assert_eq!(verdict.controls.len(), 5, "{:?}", verdict.controls);
        assert!(verdict.controls.iter().all(|c| c.edges > 20 && c.bad * 10 <= c.edges), "{:?}", verdict.controls);
    }
}

#[test]
fn a_workload_with_signs_of_its_own_is_not_cleared_because_another_is_worse() {
    let run = Run::new(Plan::new("shop", Some("refused:edge=checkoutservice>emailservice:clear".parse().expect("a fault")), 1));
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    let mut table = run.answer(&query(from, to));
    let last = table.steps.len();
    change(&mut table, |pod, name, step| (name == "tcp.retrans" && pod.starts_with("adservice") && step >= last - 5).then_some(15.0));
    let ask = |workload: &str| diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope: Some(workload) });
    let own = ask("adservice");
    assert_eq!((own.verdict, own.class), (Answer::Ambiguous, Class::Loss), "{}", own.summary);
    assert_eq!(ask("recommendationservice").verdict, Answer::NotNetwork);
}

#[test]
fn every_signal_of_the_evidence_is_a_measure_of_the_catalogue() {
    for fault in Fault::applicable(Strength::Clear) {
        let verdict = verdict(&Run::new(Plan::new("shop", Some(fault.clone()), 1)));
        assert!(!verdict.evidence.is_empty() && !verdict.controls.is_empty(), "{fault}: {}", verdict.summary);
        for evidence in &verdict.evidence {
            assert!(edgescope_model::signal::Measure::parse(&evidence.signal).is_ok(), "{fault}: {}", evidence.signal);
        }
    }
}

#[test]
fn a_slow_service_without_an_agent_is_told_by_how_long_its_connections_live() {
    let slow = |k: Kind| k == Kind::SlowService;
    for plan in plans("shop", Strength::Clear, slow) {
        let run = Run::new(plan);
        let (from, to) = (run.end() - Duration::seconds(60), run.end());
        let mut table = run.answer(&query(from, to));
        let ask = |table: &EdgeTable| diagnose(&Inputs { table, coverage: &run.coverage(), from, to, scope: None });
        let signal = |verdict: &Verdict| verdict.evidence[0].signal.clone();
        let (truth, answers) = (run.truth.as_ref().expect("has a fault"), ask(&table));
        assert!(is_right(&answers, truth), "{}", answers.summary);
        assert_eq!(signal(&answers), "tcp.response_time_mean", "{}", answers.summary);
        // Servers' own kernels are the only ones that know how long an answer takes.
        for name in ["tcp.responses", "tcp.response_time"] {
            let measure = table.measure(name).expect("asked for");
            table.rows.iter_mut().for_each(|row| row.series[measure].fill(None));
        }
        let lives = ask(&table);
        assert!(is_right(&lives, truth), "{} at {}: {}", truth.fault, truth.name, lives.summary);
        assert_eq!(signal(&lives), "tcp.active.rate", "{}", lives.summary);
    }
}

#[test]
fn a_slow_server_contests_a_path_unless_it_waits_for_it() {
    let run = Run::new(Plan::new("shop", Some("loss:edge=checkoutservice>shippingservice:clear".parse().expect("a fault")), 1));
    let truth = run.truth.as_ref().expect("has a fault");
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    let slow_too = |workload: &str| {
        let mut table = run.answer(&query(from, to));
        let ill = table.steps.iter().position(|&s| s >= truth.injected_at).expect("inside");
        let (server, time) = (table.dim("source.workload").expect("asked for"), table.measure("tcp.response_time").expect("asked for"));
        for row in table.rows.iter_mut().filter(|r| r.key[server] == workload) {
            row.series[time][ill..].iter_mut().flatten().for_each(|v| *v *= 1_000.0);
        }
        diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope: None })
    };
    // It calls over the lossy edge: its answers wait for what is sent again.
    let caller = slow_too("checkoutservice");
    assert!(is_right(&caller, truth), "{}", caller.summary);
    // And so does whoever calls it.
    let above = slow_too("frontend");
    assert!(is_right(&above, truth), "{}", above.summary);
    let apart = slow_too("productcatalogservice");
    assert_eq!(apart.verdict, Answer::Ambiguous, "{}", apart.summary);
    assert!(apart.summary.contains("productcatalogservice"), "{}", apart.summary);
}

/// Connections that the pods of `server` dropped for a full queue, from a step on. As the agent has it: whose they were, the kernel does not say.
fn overflow_at(table: &mut EdgeTable, server: &str, steps: Range<usize>) {
    let (pod, role) = (table.dim("dest.pod").expect("asked for"), table.dim("role").expect("asked for"));
    let mut servers: Vec<_> = table.rows.iter().filter(|r| r.key[role] == "client" && r.key[pod].starts_with(server)).cloned().collect();
    servers.sort_by(|a, b| a.key[pod].cmp(&b.key[pod]));
    servers.dedup_by_key(|r| r.key[pod].clone());
    assert!(!servers.is_empty(), "{server} serves nobody");
    let overflow = table.measure("tcp.accept_overflow").expect("asked for");
    for mut row in servers {
        for (d, dim) in table.group_by.iter().enumerate().filter(|(_, dim)| dim.starts_with("source.")) {
            row.key[d] = if dim == "source.workload" { "unknown".into() } else { String::new() };
        }
        row.series.iter_mut().for_each(|series| series.fill(None));
        row.series[overflow][steps.clone()].fill(Some(1_000.0));
        table.rows.push(row);
    }
}

fn with_overflow(fault: &str, server: &str) -> (Verdict, Verdict) {
    let run = Run::new(Plan::new("shop", Some(fault.parse().expect("a fault")), 1));
    let truth = run.truth.as_ref().expect("has a fault");
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    let mut table = run.answer(&query(from, to));
    let ask = |table: &EdgeTable| diagnose(&Inputs { table, coverage: &run.coverage(), from, to, scope: None });
    let without = ask(&table);
    let ill = table.steps.iter().position(|&s| s >= truth.injected_at).expect("inside");
    let steps = ill..table.steps.len();
    overflow_at(&mut table, server, steps);
    (without, ask(&table))
}

#[test]
fn a_full_accept_queue_is_the_services_doing() {
    let (without, verdict) = with_overflow("blackhole:workload=cartservice:clear", "cartservice");
    assert_eq!(without.verdict, Answer::Network, "{}", without.summary);
    assert_eq!((verdict.verdict, verdict.class), (Answer::NotNetwork, Class::ServiceSlow), "{}", verdict.summary);
    assert_eq!(verdict.culprit.name, "cartservice", "{}", verdict.summary);
}

#[test]
fn a_full_accept_queue_spares_no_client() {
    let (_, verdict) = with_overflow("blackhole:edge=checkoutservice>cartservice:clear", "cartservice");
    assert_eq!((verdict.verdict, verdict.class), (Answer::Network, Class::Unreachable), "{}", verdict.summary);
    assert_eq!(verdict.culprit.scope, Scope::Edge, "{}", verdict.summary);
}

#[test]
fn an_end_that_was_ill_before_the_range_is_well() {
    for fault in ["slow_service:workload=cartservice:clear", "slow_reader:workload=cartservice:clear", "demand_drop:workload=loadgenerator:clear"] {
        let ill = Run::new(Plan { windows: 30, ..Plan::new("shop", Some(fault.parse().expect("a fault")), 1) });
        let well = Run::new(Plan { windows: 30, ..Plan::new("shop", None, 1) });
        let (from, to) = (ill.end() - Duration::seconds(60), ill.end());
        let (mut table, healed) = (ill.answer(&query(from, to)), well.answer(&query(from, to)));
        let over = table.steps.len() - 14;
        for row in &mut table.rows {
            let Some(other) = healed.rows.iter().find(|r| r.key == row.key) else { continue };
            for (series, good) in row.series.iter_mut().zip(&other.series) {
                series[over..].clone_from_slice(&good[over..]);
            }
        }
        let coverage = ill.coverage();
        let ask = |table: &EdgeTable, from, to| diagnose(&Inputs { table, coverage: &coverage, from, to, scope: None });
        let was = ask(&ill.answer(&query(from, to)), from, to);
        assert!(is_right(&was, ill.truth.as_ref().expect("has a fault")), "{fault}: {}", was.summary);
        let is = ask(&table, from, to);
        assert_eq!((is.verdict, is.class), (Answer::NotNetwork, Class::None), "{fault}: {}", is.summary);
    }
}

#[test]
fn a_round_trip_is_told_by_the_measure_that_it_is_a_value_of() {
    let run = Run::new(Plan::new("shop", Some("congestion:zone=us-east-1b:clear".parse().expect("a fault")), 1));
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    let mut table = run.answer(&query(from, to));
    let ask = |table: &EdgeTable| diagnose(&Inputs { table, coverage: &run.coverage(), from, to, scope: None });
    // Connections that are kept for ever make no handshakes.
    let handshake = table.measure("tcp.handshake.p50").expect("asked for");
    table.rows.iter_mut().for_each(|row| row.series[handshake].fill(None));
    let kept = ask(&table);
    assert_eq!((kept.class, kept.evidence[0].signal.as_str()), (Class::Latency, "tcp.rtt.p20"), "{}", kept.summary);
}
