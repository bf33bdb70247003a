//! Verdicts on simulated faults of known truth.

mod sim;

use edgescope_diagnose::{Inputs, diagnose, query};
use edgescope_model::verdict::{Answer, Verdict};
use edgescope_testbed::{Fault, Strength};
use sim::{Plan, Run};

fn verdict(run: &Run) -> Verdict {
    let (from, to) = (run.end() - chrono::Duration::seconds(60), run.end());
    let table = run.answer(&query(from, to));
    diagnose(&Inputs { table: &table, coverage: &run.coverage(), from, to, now: to, scope: None })
}

#[test]
fn clear_faults() {
    for fault in Fault::applicable(Strength::Clear) {
        for seed in 0..3 {
            let run = Run::new(Plan::new("shop", Some(fault.clone()), seed));
            let v = verdict(&run);
            let truth = run.truth.as_ref().unwrap();
            println!("{fault} {:?} {:?} -> {} {} {:?} {:.2} | {}", truth.name, truth.peer, v.verdict, v.class, v.culprit, v.confidence, v.summary);
        }
    }
    for seed in 0..20 {
        let v = verdict(&Run::new(Plan::new("shop", None, seed)));
        println!("quiet {} {} | {}", v.verdict, v.class, v.summary);
        assert_ne!(v.verdict, Answer::Network);
    }
}
