//! Names that are not resolved, and what is not to be taken for it.
#![allow(clippy::unwrap_used)]

mod sim;

use chrono::Duration;
use edgescope_diagnose::{Inputs, diagnose, query, query_dns};
use edgescope_model::verdict::{Answer, Class, Scope, Verdict};
use sim::{Plan, Run};

fn verdict(fault: &str, topology: &'static str, seed: u64) -> Verdict {
    let run = Run::new(Plan::new(topology, Some(fault.parse().unwrap()), seed));
    let (from, to) = (run.end() - Duration::seconds(60), run.end());
    let query = query(from, to);
    diagnose(&Inputs { table: &run.answer_both(&query, &query_dns(&query)), coverage: &run.coverage(), from, to, scope: None })
}

#[test]
fn failing_resolvers_are_named_as_dns() {
    for (topology, name) in [("shop", "kube-dns"), ("other", "resolver")] {
        for strength in ["weak", "clear", "strong"] {
            for seed in 0..3 {
                let verdict = verdict(&format!("dns:dns:{strength}"), topology, seed);
                let said = (verdict.verdict, verdict.class, verdict.culprit.scope, verdict.culprit.name.as_str());
                assert_eq!(said, (Answer::Network, Class::Dns, Scope::Dns, name), "{strength} {seed}: {}", verdict.summary);
                assert!(verdict.affected.iter().all(|pair| pair.dest == name) && !verdict.affected.is_empty());
                assert!(!verdict.controls.is_empty() && verdict.evidence.iter().any(|e| e.signal == "dns.failure_rate"));
            }
        }
    }
}

/// Questions do not get through a cut or lossy path either: the path is at fault.
#[test]
fn a_path_that_questions_do_not_pass_is_named_itself() {
    for fault in ["blackhole:zone=us-east-1b:clear", "blackhole:node=node-2:clear", "loss:zone=us-east-1a:strong", "loss:node=node-5:strong"] {
        let verdict = verdict(fault, "shop", 1);
        assert_eq!(verdict.verdict, Answer::Network, "{fault}: {}", verdict.summary);
        assert!(matches!(verdict.class, Class::Unreachable | Class::Loss), "{fault}: {}", verdict.summary);
    }
}
