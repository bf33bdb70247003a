//! Runs every fault at every scope through the simulator and prints how often the verdict is right: the table in docs/detection.md.
//!
//! `cargo run -p edgescope-diagnose --example calibrate -- [SEEDS] [FIRST_SEED] [STRENGTH] [--wrong] [--missing] [--late] [--windows N]`,
//! or `-- --speed` for the time that one diagnosis takes.

#[path = "../tests/sim/mod.rs"]
mod sim;

use edgescope_diagnose::{Inputs, diagnose, query};
use edgescope_model::verdict::{Answer, Verdict};
use edgescope_testbed::{Fault, Strength, Truth};
use sim::{Plan, Run};
use std::collections::{BTreeMap, BTreeSet};

#[derive(Default)]
struct Tally {
    runs: usize,
    right: usize,
    network: usize,
    since: usize,
    precision: f64,
    recall: f64,
    said: BTreeMap<String, usize>,
}

struct Options {
    seeds: u64,
    first: u64,
    wrong: bool,
    missing: bool,
    late: bool,
    windows: usize,
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let has = |flag: &str| args.iter().any(|a| a == flag);
    if has("--speed") {
        return speed();
    }
    let numbers: Vec<u64> = args.iter().take_while(|a| !a.starts_with("--")).filter_map(|a| a.parse().ok()).collect();
    let strength = Strength::ALL.iter().copied().find(|s| has(s.word())).unwrap_or(Strength::Clear);
    let windows = args.iter().position(|a| a == "--windows").and_then(|i| args.get(i + 1)?.parse().ok()).unwrap_or(14);
    let options = Options {
        seeds: numbers.first().copied().unwrap_or(5),
        first: numbers.get(1).copied().unwrap_or(1_000),
        wrong: has("--wrong"),
        missing: has("--missing"),
        late: has("--late"),
        windows,
    };
    println!("strength {}, seeds {}..{}, {} windows, both topologies", strength, options.first, options.first + options.seeds, windows);
    println!(
        "{:14} {:10} {:>5} {:>6} {:>8} {:>6} {:>10} {:>7}  wrong as",
        "fault", "scope", "runs", "right", "network", "since", "precision", "recall"
    );
    let mut sums: BTreeMap<bool, (usize, usize)> = BTreeMap::new();
    for fault in Fault::applicable(strength) {
        let tally = tally(&fault, &options);
        let n = tally.runs as f64;
        let said: Vec<String> = tally.said.iter().map(|(what, count)| format!("{count}× {what}")).collect();
        println!(
            "{:14} {:10} {:>5} {:>6} {:>8} {:>6} {:>10.2} {:>7.2}  {}",
            fault.kind.word(),
            fault.scope.word(),
            tally.runs,
            tally.right,
            tally.network,
            tally.since,
            tally.precision / n,
            tally.recall / n,
            said.join("; ")
        );
        let sum = sums.entry(fault.kind.is_network()).or_default();
        sum.0 += tally.right;
        sum.1 += tally.runs;
        if !fault.kind.is_network() && tally.network > 0 {
            println!("  !! {} verdicts \"network\" on a fault that is not", tally.network);
        }
    }
    for (network, (right, runs)) in &sums {
        println!("{}: {right} of {runs} right ({:.1} %)", if *network { "network" } else { "not the network" }, 100.0 * *right as f64 / *runs as f64);
    }
    quiet(&options);
}

/// A shop of shops: 25 copies side by side on the same nodes, 60 steps, a lossy zone in all of them.
fn speed() {
    let fault = "loss:zone=us-east-1b:clear".parse().expect("a fault");
    let run = Run::new(Plan { healthy: 30, windows: 60, ..Plan::new("shop", Some(fault), 1) });
    let (from, to) = (run.end() - chrono::Duration::seconds(60), run.end());
    let mut query = query(from, to);
    query.from = sim::start();
    let one = run.answer(&query);
    let mut table = one.clone();
    for copy in 1..25 {
        for row in &one.rows {
            let mut row = row.clone();
            for (name, dim) in row.key.iter_mut().zip(&one.group_by) {
                if dim.ends_with("workload") || dim.ends_with("pod") {
                    name.push_str(&format!("-{copy}"));
                }
            }
            table.rows.push(row);
        }
    }
    let mut took: Vec<f64> = Vec::new();
    for _ in 0..9 {
        let began = std::time::Instant::now();
        let verdict = diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope: None });
        took.push(began.elapsed().as_secs_f64() * 1e3);
        assert_eq!(verdict.culprit.name, "us-east-1b", "{}", verdict.summary);
    }
    took.sort_by(f64::total_cmp);
    println!("{} edges × {} steps: {:.0} ms at best, {:.0} ms in the middle of 9", table.rows.len(), table.steps.len(), took[0], took[4]);
}

fn plan(topology: &'static str, fault: Option<Fault>, seed: u64, options: &Options) -> Plan {
    Plan { missing_agent: options.missing, late: options.late, windows: options.windows, ..Plan::new(topology, fault, seed) }
}

fn judge(run: &Run) -> Verdict {
    let (from, to) = (run.end() - chrono::Duration::seconds(60), run.end());
    let asked = query(from, to);
    let table = run.answer_both(&asked, &edgescope_diagnose::query_dns(&asked));
    diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope: None })
}

fn tally(fault: &Fault, options: &Options) -> Tally {
    let mut tally = Tally::default();
    for topology in ["shop", "other"] {
        for seed in options.first..options.first + options.seeds {
            let run = Run::new(plan(topology, Some(fault.clone()), seed, options));
            let verdict = judge(&run);
            let truth = run.truth.as_ref().expect("has a fault");
            let right = is_right(&verdict, truth);
            let since_s = verdict.since.map(|s| (s - truth.injected_at).num_milliseconds() as f64 / 1e3);
            let (precision, recall) = pairs(&verdict, truth);
            tally.runs += 1;
            tally.right += usize::from(right);
            tally.network += usize::from(verdict.verdict == Answer::Network);
            tally.since += usize::from(since_s.is_some_and(|s| s.abs() <= 20.0));
            tally.precision += precision;
            tally.recall += recall;
            if !right {
                *tally.said.entry(format!("{} {} {}", verdict.verdict, verdict.class, verdict.culprit.scope)).or_default() += 1;
                if options.wrong {
                    println!("  {topology} {seed}: {} {}{:?} | {:?}", truth.scope, truth.name, truth.peer, verdict.culprit);
                    println!("    {} | since {since_s:?}", verdict.summary);
                    for h in verdict.hypotheses.iter().take(5) {
                        println!(
                            "      {} {:?} {} {:?} ll {:.1} {}/{}: {}",
                            h.class, h.culprit.scope, h.culprit.name, h.culprit.peer, h.log_likelihood, h.edges_bad, h.edges, h.why
                        );
                    }
                }
            }
        }
    }
    tally
}

fn is_right(verdict: &Verdict, truth: &Truth) -> bool {
    let said = (verdict.culprit.name.clone(), verdict.culprit.peer.clone());
    let named = said == (truth.name.clone(), truth.peer.clone()) || truth.same_as.contains(&said);
    verdict.verdict.as_str() == truth.verdict
        && verdict.class.as_str() == truth.class
        && verdict.culprit.scope.as_str() == truth.scope.word()
        && named
}

fn pairs(verdict: &Verdict, truth: &Truth) -> (f64, f64) {
    let pair = |a: &str, b: &str| if a <= b { (a.to_owned(), b.to_owned()) } else { (b.to_owned(), a.to_owned()) };
    let said: BTreeSet<_> = verdict.affected.iter().map(|p| pair(&p.source, &p.dest)).collect();
    let hit: BTreeSet<_> = truth.affected.iter().map(|p| pair(&p.source, &p.dest)).collect();
    let both = said.intersection(&hit).count() as f64;
    (both / (said.len().max(1) as f64), both / hit.len().max(1) as f64)
}

fn quiet(options: &Options) {
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for topology in ["shop", "other"] {
        for seed in options.first..options.first + options.seeds * 20 {
            let verdict = judge(&Run::new(plan(topology, None, seed, options)));
            if options.wrong && verdict.class != edgescope_model::verdict::Class::None {
                println!("  quiet {topology} {seed}: {}", verdict.summary);
            }
            *said.entry(format!("{} {}", verdict.verdict, verdict.class)).or_default() += 1;
        }
    }
    println!("quiet: {}", said.iter().map(|(what, count)| format!("{count}× {what}")).collect::<Vec<_>>().join("; "));
}
