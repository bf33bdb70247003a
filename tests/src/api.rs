//! Questions to a server: by HTTP, and by the command line as a user would.

use crate::program;
use chrono::{DateTime, Utc};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// Longest that one question may take.
const ANSWER: Duration = Duration::from_secs(30);
/// What is asked of edges unless said otherwise; every row of one pair and port.
const GROUP_BY: &str = "source.workload,dest.workload,port,role";

/// A server's HTTP interface.
#[derive(Clone)]
pub struct Api {
    base: String,
    agent: ureq::Agent,
    token: Option<String>,
}

impl Api {
    pub fn new(base: &str) -> Api {
        let agent = ureq::Agent::config_builder().timeout_global(Some(ANSWER)).http_status_as_error(false).max_redirects(0).build().into();
        Api { base: base.to_owned(), agent, token: None }
    }

    #[must_use]
    pub fn with_token(mut self, token: &str) -> Api {
        self.token = Some(token.to_owned());
        self
    }

    /// GETs a path below the root; the answer as JSON, or as a string where it is something else.
    ///
    /// # Errors
    /// No answer, or a status that is no success, in words.
    pub fn get(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        let mut request = self.agent.get(format!("{}{path}", self.base));
        for (name, value) in parameters {
            request = request.query(name, value);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = request.call().map_err(|e| format!("no answer from {}{path}: {e}", self.base))?;
        Self::read(path, answer)
    }

    /// POSTs JSON to a path below the root.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let mut request = self.agent.post(format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let answer = request.send_json(body).map_err(|e| format!("no answer from {}{path}: {e}", self.base))?;
        Self::read(path, answer)
    }

    fn read(path: &str, mut answer: ureq::http::Response<ureq::Body>) -> Result<Value, String> {
        let body = answer.body_mut().read_to_string().map_err(|e| format!("the answer of {path} broke off: {e}"))?;
        if !answer.status().is_success() {
            return Err(format!("{path} answered {}: {body}", answer.status()));
        }
        Ok(serde_json::from_str(&body).unwrap_or(Value::String(body)))
    }

    /// GETs a path of `/api/v1`.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub fn v1(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Value, String> {
        self.get(&format!("/api/v1{path}"), parameters)
    }

    /// Asks for edges through `edgescope edges --json`.
    ///
    /// # Errors
    /// What the command said.
    pub fn edges(&self, question: &Question) -> Result<Edges, String> {
        let output = program::run(&question.arguments(&self.base), ANSWER);
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let json = serde_json::from_slice(&output.stdout).map_err(|e| format!("`edgescope edges --json` printed no JSON: {e}"))?;
        Edges::read(&json)
    }
}

/// What to ask of edges.
#[derive(Clone, Debug)]
pub struct Question {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub group_by: String,
    pub measures: Vec<String>,
    pub filter: Option<String>,
    pub include_own: bool,
}

impl Question {
    /// Totals of every pair since `from`.
    pub fn since(from: DateTime<Utc>, measures: &[&str]) -> Question {
        Question {
            // Windows that began before; the whole window counts.
            from: from - chrono::TimeDelta::seconds(30),
            to: Utc::now() + chrono::TimeDelta::seconds(30),
            group_by: GROUP_BY.to_owned(),
            measures: measures.iter().map(|m| (*m).to_owned()).collect(),
            filter: None,
            include_own: true,
        }
    }

    fn arguments(&self, server: &str) -> Vec<String> {
        let mut arguments: Vec<String> = ["edges", "--json", "--limit", "10000", "--server", server].iter().map(|a| (*a).to_owned()).collect();
        let mut option = |name: &str, value: &str| arguments.extend([format!("--{name}"), value.to_owned()]);
        option("from", &self.from.to_rfc3339());
        option("to", &self.to.to_rfc3339());
        option("group-by", &self.group_by);
        option("measures", &self.measures.join(","));
        option("sort", self.group_by.split(',').next().unwrap_or_default());
        if let Some(filter) = &self.filter {
            option("filter", filter);
        }
        if self.include_own {
            arguments.push("--include-own".to_owned());
        }
        arguments
    }
}

/// Edges by their group, with what was measured; absent measures are absent here.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edges {
    pub rows: Vec<Edge>,
    pub coverage: Value,
}

/// One group: its dimensions by name (`source.workload`), its measures by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edge {
    pub dims: BTreeMap<String, String>,
    pub measures: BTreeMap<String, f64>,
}

impl Edges {
    fn read(json: &Value) -> Result<Edges, String> {
        let edges = json["edges"].as_array().ok_or_else(|| format!("`edgescope edges --json` printed no edges: {json}"))?;
        Ok(Edges { rows: edges.iter().map(Edge::read).collect(), coverage: json["coverage"].clone() })
    }

    /// Rows from one workload to another.
    pub fn between<'a>(&'a self, source: &'a str, dest: &'a str) -> impl Iterator<Item = &'a Edge> {
        self.rows.iter().filter(move |e| e.dim("source.workload") == source && e.dim("dest.workload") == dest)
    }

    /// Sum of a measure over rows from one workload to another; none of them has it: none.
    pub fn total(&self, source: &str, dest: &str, measure: &str) -> Option<u64> {
        let values: Vec<f64> = self.between(source, dest).filter_map(|e| e.measures.get(measure).copied()).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f64>().round() as u64)
    }

    /// Sum of a measure over all rows.
    pub fn sum(&self, measure: &str) -> u64 {
        self.rows.iter().filter_map(|e| e.measures.get(measure)).sum::<f64>().round() as u64
    }
}

impl Edge {
    fn read(json: &Value) -> Edge {
        let mut edge = Edge::default();
        for (name, value) in json.as_object().into_iter().flatten() {
            match value {
                Value::Object(end) => edge.dims.extend(end.iter().map(|(field, v)| (format!("{name}.{field}"), text(v)))),
                Value::Number(number) => drop(edge.measures.insert(name.clone(), number.as_f64().unwrap_or(f64::NAN))),
                Value::String(_) => drop(edge.dims.insert(name.clone(), text(value))),
                _ => {}
            }
        }
        edge
    }

    /// A dimension; empty if unknown or not asked for.
    pub fn dim(&self, name: &str) -> &str {
        self.dims.get(name).map_or("", String::as_str)
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
