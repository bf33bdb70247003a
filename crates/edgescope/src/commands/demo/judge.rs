//! Holds a verdict against the truth, after the product has spoken.

use chrono::{DateTime, Utc};
use edgescope_model::verdict::{Answer, Verdict};
use edgescope_testbed::truth::Truth;
use serde::Serialize;
use std::collections::BTreeSet;

/// `since` is right within this of the injection, in seconds.
const SINCE_SLACK_S: f64 = 20.0;

/// What was right and what was not.
#[derive(Debug, Clone, Serialize)]
pub struct Judgement {
    /// Verdict, class, scope, name and peer are all the truth's.
    pub right: bool,
    /// What differs, in words.
    pub differences: Vec<String>,
    /// Seconds from injection to the moment when the API had an alert; absent if none fired.
    pub alert_after_s: Option<f64>,
    /// Seconds that `since` lies after (or, negative, before) the injection.
    pub since_error_s: Option<f64>,
    pub since_right: bool,
    /// Of the pairs named as affected, the share that is.
    pub precision: Option<f64>,
    /// Of the affected pairs, the share that is named.
    pub recall: Option<f64>,
}

/// Judges a verdict of a run with a fault. `alerted_at` is when the API first told of an alert.
pub fn fault(verdict: &Verdict, truth: &Truth, alerted_at: Option<DateTime<Utc>>) -> Judgement {
    let seconds = |at: DateTime<Utc>| (at - truth.injected_at).num_milliseconds() as f64 / 1000.0;
    let mut differences = Vec::new();
    let mut differ = |what: &str, said: &str, truth: &str| {
        if said != truth {
            differences.push(format!("{what} is {truth:?}, the verdict says {said:?}"));
        }
    };
    differ("verdict", verdict.verdict.as_str(), truth.verdict);
    differ("class", verdict.class.as_str(), truth.class);
    differ("scope", verdict.culprit.scope.as_str(), &truth.scope.to_string());
    let said = (verdict.culprit.name.clone(), verdict.culprit.peer.clone());
    // Names that no observer of end points could tell from the true one count as it.
    if !truth.same_as.contains(&said) {
        differ("name", &said.0, &truth.name);
        differ("peer", said.1.as_deref().unwrap_or("none"), truth.peer.as_deref().unwrap_or("none"));
    }
    let (precision, recall) = pairs(verdict, truth);
    let since_error_s = verdict.since.map(seconds);
    Judgement {
        right: differences.is_empty(),
        differences,
        alert_after_s: alerted_at.map(seconds),
        since_right: since_error_s.is_some_and(|e| e.abs() <= SINCE_SLACK_S),
        since_error_s,
        precision,
        recall,
    }
}

/// Judges a run without a fault: right unless the verdict at the end, or that of any incident on the way, says "network".
pub fn quiet(verdict: &Verdict, accused: bool) -> Judgement {
    let mut differences = Vec::new();
    if verdict.verdict == Answer::Network {
        differences.push(format!("nothing was wrong, the verdict says network: {}", verdict.summary));
    }
    if accused {
        differences.push("nothing was wrong, an incident's verdict said network".to_owned());
    }
    let right = differences.is_empty();
    Judgement { right, differences, alert_after_s: None, since_error_s: None, since_right: true, precision: None, recall: None }
}

/// Precision and recall over unordered workload pairs: which of its two directions hurts a pair is the evidence's business.
fn pairs(verdict: &Verdict, truth: &Truth) -> (Option<f64>, Option<f64>) {
    let pair = |a: &str, b: &str| if a <= b { (a.to_owned(), b.to_owned()) } else { (b.to_owned(), a.to_owned()) };
    let said: BTreeSet<_> = verdict.affected.iter().map(|p| pair(&p.source, &p.dest)).collect();
    let hit: BTreeSet<_> = truth.affected.iter().map(|p| pair(&p.source, &p.dest)).collect();
    let both = said.intersection(&hit).count() as f64;
    let share = |of: usize| (of > 0).then(|| both / of as f64);
    (share(said.len()), share(hit.len()))
}
