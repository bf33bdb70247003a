//! The results file: one JSON object a line, appended as runs end; the last line of a run counts.

use edgescope_tests::demo::Outcome;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Outcomes by run.
pub struct Results {
    file: File,
    by_name: HashMap<String, Value>,
}

impl Results {
    /// Reads what is there; a line cut off by a crash is left out, and its run done again.
    pub fn open(path: &Path) -> io::Result<Results> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let mut file = File::options().create(true).append(true).open(path)?;
        let text = fs::read_to_string(path)?;
        if !text.is_empty() && !text.ends_with('\n') {
            writeln!(file)?;
        }
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let by_name = lines.filter_map(|value| Some((value["run"].as_str()?.to_owned(), value))).collect();
        Ok(Results { file, by_name })
    }

    pub fn add(&mut self, name: &str, outcome: &Outcome) -> io::Result<()> {
        let json = &outcome.json;
        let verdict = &json["verdict"];
        let value = json!({
            "run": name,
            "at": chrono::Utc::now(),
            "right": outcome.right,
            "took_s": outcome.took_s,
            "judgement": json["judgement"],
            "verdict": {
                "verdict": verdict["verdict"], "class": verdict["class"], "culprit": verdict["culprit"], "confidence": verdict["confidence"],
                "since": verdict["since"], "summary": verdict["summary"], "coverage": verdict["coverage"]["fraction"],
            },
            "truth": json["truth"],
            // Only a run without an outcome needs what it told.
            "told": if json.is_null() { Value::from(outcome.told.as_str()) } else { Value::Null },
        });
        let mut line = serde_json::to_vec(&value)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.by_name.insert(name.to_owned(), value);
        Ok(())
    }

    pub fn get(&self, name: &str) -> Option<&Value> {
        self.by_name.get(name)
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
