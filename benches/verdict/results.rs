//! The results file: one JSON object a line, appended as runs end. Of one program a run counts once, the first time: what was wrong is not
//! tried again until it is right. Of several programs the newest's outcome counts.

use edgescope_tests::demo::Outcome;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Outcomes by run.
pub struct Results {
    file: File,
    /// Of what is being measured: changes with the code that decides.
    program: String,
    by_name: HashMap<String, Value>,
    /// Runs by the programs that have played them.
    played: HashSet<(String, String)>,
}

impl Results {
    /// Reads what is there; a line cut off by a crash is left out, and its run done again.
    pub fn open(path: &Path, program: &str) -> io::Result<Results> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = File::options().create(true).append(true).open(path)?;
        let text = fs::read_to_string(path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(file)?;
        }
        let mut results = Results { file, program: program.to_owned(), by_name: HashMap::new(), played: HashSet::new() };
        text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).for_each(|value| results.take(value));
        Ok(results)
    }

    fn take(&mut self, value: Value) {
        let Some(name) = value["run"].as_str().map(str::to_owned) else { return };
        let program = value["program"].as_str().unwrap_or_default().to_owned();
        if self.played.insert((name.clone(), program)) {
            self.by_name.insert(name, value);
        }
    }

    pub fn add(&mut self, name: &str, outcome: &Outcome) -> io::Result<()> {
        let json = &outcome.json;
        let verdict = &json["verdict"];
        let mut truth = json["truth"].clone();
        // Long, and judged already.
        if let Some(fields) = truth.as_object_mut() {
            fields.remove("affected");
        }
        let value = json!({
            "run": name,
            "program": self.program,
            "at": chrono::Utc::now(),
            "right": outcome.right,
            "took_s": outcome.took_s,
            "judgement": json["judgement"],
            "verdict": {
                "verdict": verdict["verdict"], "class": verdict["class"], "culprit": verdict["culprit"], "confidence": verdict["confidence"],
                "since": verdict["since"], "summary": verdict["summary"], "coverage": verdict["coverage"]["fraction"],
            },
            "said": json["said"],
            "was_asked_for": json["was_asked_for"],
            "alerts_false": json["alerts_false"].as_array().map(Vec::len),
            "truth": truth,
            // Only a run without an outcome needs what it told.
            "told": if json.is_null() { Value::from(outcome.told.as_str()) } else { Value::Null },
        });
        let mut line = serde_json::to_vec(&value)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.take(value);
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.by_name.get(name)
    }

    /// Whether this very program has played the run.
    pub fn is_of_this_program(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value["program"] == self.program.as_str())
    }

    /// Whether the run was right; absent if it was not run.
    pub fn right(&self, name: &str) -> Option<bool> {
        self.get(name).map(|value| value["right"] == true)
    }

    pub fn word(&self, name: &str) -> &'static str {
        match self.right(name) {
            None => "-",
            Some(true) => "right",
            Some(false) => "WRONG",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Results;
    use serde_json::json;

    #[test]
    fn the_first_outcome_of_the_newest_program_counts() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("results.jsonl");
        let lines = [("old", true), ("new", false), ("old", true), ("new", true)]
            .map(|(program, right)| json!({"run": "a", "program": program, "right": right}).to_string());
        std::fs::write(&path, lines.join("\n")).expect("written");
        let results = Results::open(&path, "new").expect("opened");
        assert_eq!((results.right("a"), results.is_of_this_program("a"), results.right("b")), (Some(false), true, None));
    }
}
