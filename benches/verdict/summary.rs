//! What all runs together came to, held against the criteria.

use crate::plan::Run;
use crate::results::Results;
use edgescope_testbed::{Kind, Scope};
use edgescope_tests::demo::accuses_the_network;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// Network faults whose verdict, class, scope, name and peer are all right, at least.
const RIGHT_MIN: f64 = 0.9;
/// 95 of 100 alerts are stored within this of the fault, in seconds.
const ALERT_P95_S_MAX: f64 = 60.0;
/// Of the network faults, those whose `since` is right (see the judge: within 20 s), at least.
const SINCE_MIN: f64 = 0.9;
/// Of pairs named as affected those that are, and of those affected the ones named; means over network faults.
const PAIRS_MIN: f64 = 0.9;

/// One criterion: what was asked, what came out, and whether it is met.
struct Criterion {
    what: String,
    asked: String,
    got: String,
    is_met: bool,
}

/// Runs that were right, and all that were done; absent where there are none.
type Cell = Option<(usize, usize)>;

/// The whole.
pub struct Summary {
    runs: usize,
    done: usize,
    /// Outcomes by the program that they are of.
    programs: BTreeMap<String, usize>,
    criteria: Vec<Criterion>,
    /// Right and done by kind and scope, over all companies and seeds.
    table: Vec<(Kind, Vec<Cell>)>,
    wrong: Vec<String>,
}

impl Summary {
    pub fn of(runs: &[Run], results: &Results) -> Summary {
        let done: Vec<(&Run, &Value)> = runs.iter().filter_map(|run| Some((run, results.get(&run.name())?))).collect();
        let mut criteria = Vec::new();
        for topology in ["shop", "other"] {
            let of: Vec<(&Run, &Value)> = done.iter().filter(|(run, _)| run.topology == topology).copied().collect();
            if !of.is_empty() {
                criteria.extend(criteria_of(topology, &of));
            }
        }
        let wrong = done.iter().filter(|(_, v)| v["right"] != true).map(|(run, v)| why(run, v)).collect();
        let mut programs = BTreeMap::new();
        done.iter().for_each(|(_, v)| *programs.entry(v["program"].as_str().unwrap_or("unnamed").to_owned()).or_default() += 1);
        Summary { runs: runs.len(), done: done.len(), programs, criteria, table: table(&done), wrong }
    }

    /// All runs were done and every criterion is met.
    pub fn is_met(&self) -> bool {
        self.done == self.runs && !self.criteria.is_empty() && self.criteria.iter().all(|c| c.is_met)
    }
}

fn criteria_of(topology: &str, done: &[(&Run, &Value)]) -> Vec<Criterion> {
    let is_network = |run: &Run| run.fault.as_ref().is_some_and(|f| f.kind.is_network());
    let network: Vec<&Value> = done.iter().filter(|(run, _)| is_network(run)).map(|(_, v)| *v).collect();
    let others: Vec<&Value> = done.iter().filter(|(run, _)| run.fault.is_some() && !is_network(run)).map(|(_, v)| *v).collect();
    let quiet: Vec<&Value> = done.iter().filter(|(run, _)| run.fault.is_none()).map(|(_, v)| *v).collect();
    let right = |values: &[&Value]| values.iter().filter(|v| v["right"] == true).count();
    let accused = |values: &[&Value]| values.iter().filter(|v| accuses_the_network(v)).count();
    let since = network.iter().filter(|v| v["judgement"]["since_right"] == true).count();
    let criterion = |what: &str, asked: String, got: String, is_met: bool| Criterion { what: format!("{topology}: {what}"), asked, got, is_met };
    let told = |what: &str, got: String| criterion(&format!("{what} (not a criterion)"), "-".to_owned(), got, true);
    let share = |what: &str, count: usize, of: usize, min: f64| {
        criterion(what, format!(">= {:.0} %", min * 100.0), format!("{count} of {of}"), of > 0 && count as f64 >= min * of as f64)
    };
    let none =
        |what: &str, values: &[&Value]| criterion(what, "0".to_owned(), format!("{} of {}", accused(values), values.len()), accused(values) == 0);
    let alert = alert_p95_s(&network);
    let mean = |field: &str| {
        let values: Vec<f64> = network.iter().map(|v| v["judgement"][field].as_f64().unwrap_or(0.0)).collect();
        values.iter().sum::<f64>() / values.len().max(1) as f64
    };
    let pairs = |what: &str, field: &str| criterion(what, format!(">= {PAIRS_MIN}"), format!("{:.3}", mean(field)), mean(field) >= PAIRS_MIN);
    vec![
        share("network faults told right (verdict, class, scope, name, peer)", right(&network), network.len(), RIGHT_MIN),
        criterion(
            "alert stored after, p95 over network faults",
            format!("<= {ALERT_P95_S_MAX} s"),
            format!("{alert:.1} s"),
            alert <= ALERT_P95_S_MAX,
        ),
        share("since within 20 s", since, network.len(), SINCE_MIN),
        pairs("affected pairs, precision", "precision"),
        pairs("affected pairs, recall", "recall"),
        none("other faults accused of being the network", &others),
        none("quiet runs accused of being the network", &quiet),
        told("other faults told right", format!("{} of {}", right(&others), others.len())),
        told("network faults that only the question told, no alert", format!("{} of {}", asked_for(&network), network.len())),
        told("right only as the mirror of the true pair (delays have no direction)", format!("{} of {}", mirrored(&network), right(&network))),
        told("alerts before there was a fault", format!("{}", false_alarms(done))),
    ]
}

fn asked_for(values: &[&Value]) -> usize {
    values.iter().filter(|v| v["was_asked_for"] == true).count()
}

/// Right verdicts whose names are not the truth's but those that nobody could tell from it.
fn mirrored(values: &[&Value]) -> usize {
    let is = |v: &&&Value| v["right"] == true && v["verdict"]["culprit"]["name"] != v["truth"]["name"];
    values.iter().filter(is).count()
}

fn false_alarms(done: &[(&Run, &Value)]) -> u64 {
    done.iter().filter_map(|(_, v)| v["alerts_false"].as_u64()).sum()
}

/// A run without an alert waited for ever.
fn alert_p95_s(network: &[&Value]) -> f64 {
    let mut times: Vec<f64> = network.iter().map(|v| v["judgement"]["alert_after_s"].as_f64().unwrap_or(f64::INFINITY)).collect();
    times.sort_by(f64::total_cmp);
    // Nearest rank: of 20 values the 19th.
    let rank = (times.len() as f64 * 0.95).ceil() as usize;
    times.get(rank.max(1) - 1).copied().unwrap_or(f64::INFINITY)
}

fn table(done: &[(&Run, &Value)]) -> Vec<(Kind, Vec<Cell>)> {
    let cell = |kind: Kind, scope: Scope| {
        let of: Vec<_> = done.iter().filter(|(run, _)| run.fault.as_ref().is_some_and(|f| (f.kind, f.scope) == (kind, scope))).collect();
        (!of.is_empty()).then(|| (of.iter().filter(|(_, v)| v["right"] == true).count(), of.len()))
    };
    Kind::ALL.iter().map(|&kind| (kind, Scope::ALL.iter().map(|&scope| cell(kind, scope)).collect())).collect()
}

fn why(run: &Run, value: &Value) -> String {
    let differences = value["judgement"]["differences"].as_array().map(|d| d.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("; "));
    let told = value["told"].as_str().and_then(|told| told.lines().next_back()).unwrap_or("no outcome");
    format!("{}: {}", run.name(), differences.unwrap_or_else(|| told.to_owned()))
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let programs: Vec<String> = self.programs.iter().map(|(program, runs)| format!("{runs} of program {program}")).collect();
        writeln!(f, "{} of {} runs done: {}\n", self.done, self.runs, programs.join(", "))?;
        writeln!(f, "| right of done | {} |", Scope::ALL.iter().map(|s| s.word()).collect::<Vec<_>>().join(" | "))?;
        writeln!(f, "|---|{}", "---|".repeat(Scope::ALL.len()))?;
        for (kind, cells) in &self.table {
            let cells: Vec<String> = cells.iter().map(|cell| cell.map_or("".to_owned(), |(right, of)| format!("{right}/{of}"))).collect();
            writeln!(f, "| {kind} | {} |", cells.join(" | "))?;
        }
        writeln!(f, "\n| criterion | asked | got | met |\n|---|---|---|---|")?;
        for Criterion { what, asked, got, is_met } in &self.criteria {
            writeln!(f, "| {what} | {asked} | {got} | {} |", if *is_met { "yes" } else { "NO" })?;
        }
        for wrong in &self.wrong {
            write!(f, "\nwrong: {wrong}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::alert_p95_s;
    use serde_json::{Value, json};

    #[test]
    fn one_missing_alert_in_twenty_is_forgiven_two_are_not() {
        let run = |after: Value| json!({ "judgement": { "alert_after_s": after } });
        let mut runs: Vec<Value> = (1..=19).map(|s| run(json!(s))).collect();
        runs.push(run(Value::Null));
        assert_eq!(alert_p95_s(&runs.iter().collect::<Vec<_>>()), 19.0);
        runs[0] = run(Value::Null);
        assert_eq!(alert_p95_s(&runs.iter().collect::<Vec<_>>()), f64::INFINITY);
    }
}
