//! What was not seen is not cleared: workloads that nobody saw, pairs that were not looked at, ranges that are kept in part, silent agents.

mod sim;

use chrono::Duration;
use edgescope_diagnose::{Inputs, diagnose, query};
use edgescope_model::query::{Coverage, EdgeTable};
use edgescope_model::verdict::Answer;
use sim::{Plan, Run};

#[test]
fn a_range_that_is_kept_in_part_is_not_cleared_and_silent_agents_are_named() {
    let run = Run::new(Plan::new("shop", None, 3));
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    let table = run.answer(&query(from, to));
    let late = EdgeTable { from: from + Duration::seconds(10), ..table.clone() };
    let left = Coverage { left: [("node-9".to_owned(), from)].into(), ..run.coverage() };
    let silent = Coverage { silent: (1..=4).map(|n| (format!("node-{n}"), from)).collect(), ..run.coverage() };
    for (table, coverage, answer, words) in [
        (&table, left, Answer::NotNetwork, "1 agent has left: node-9"),
        (&late, run.coverage(), Answer::InsufficientEvidence, "kept from"),
        (&table, silent, Answer::InsufficientEvidence, "(node-1, node-2, node-3, …)"),
    ] {
        let verdict = diagnose(&Inputs { table, coverage: &coverage, from, to, scope: None });
        assert!(verdict.verdict == answer && verdict.summary.contains(words), "{}", verdict.summary);
    }
}

#[test]
fn a_workload_that_nobody_saw_is_not_cleared() {
    let run = Run::new(Plan::new("shop", None, 3));
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    let inputs = Inputs { table: &run.answer(&query(from, to)), coverage: &run.coverage(), from, to, scope: Some("chekout") };
    let verdict = diagnose(&inputs);
    assert_eq!(verdict.verdict, Answer::InsufficientEvidence, "{}", verdict.summary);
    assert!(verdict.summary.contains("chekout"), "{}", verdict.summary);
}

#[test]
fn edges_that_were_not_looked_at_are_not_cleared() {
    let run = Run::new(Plan::new("shop", None, 3));
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    let mut table = run.answer(&query(from, to));
    table.groups_total = table.rows.len() + 7;
    let verdict = diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope: None });
    assert_eq!(verdict.verdict, Answer::InsufficientEvidence, "{}", verdict.summary);
    assert!(verdict.summary.contains("7 of"), "{}", verdict.summary);
}

#[test]
fn what_was_seen_for_a_moment_is_not_cleared_and_a_verdict_claims_no_more_past_than_there_is() {
    let run = Run::new(Plan::new("shop", None, 3));
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    for (steps, answer, words) in
        [(2, Answer::InsufficientEvidence, "for 20 s only"), (5, Answer::NotNetwork, "over 50 s are"), (13, Answer::NotNetwork, "over 2 minutes are")]
    {
        let mut table = run.answer(&query(from, to));
        let unseen = table.steps.len() - steps;
        table.rows.iter_mut().flat_map(|row| &mut row.series).for_each(|series| series[..unseen].fill(None));
        let verdict = diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, scope: None });
        assert!(verdict.verdict == answer && verdict.summary.contains(words), "{}", verdict.summary);
    }
}
