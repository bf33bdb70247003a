//! `edgescope edges`: the edges of a range, as a table or JSON.

use crate::client::Asking;
use crate::show;
use clap::Args;
use edgescope_model::query::{Coverage, EdgeTable};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What the table shows when nothing else is asked.
const DEFAULT_GROUP_BY: &str = "source.workload,dest.workload";
const DEFAULT_MEASURES: &str =
    "tcp.bytes,tcp.rtt.p50,tcp.rtt.p95,tcp.retrans,tcp.retrans_rate,tcp.connects,tcp.connect_timeouts,tcp.connect_failure_rate";

/// Show network edges: who sends how much to whom, and how well it gets there.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope edges                                            the last 15 minutes, by workload
  edgescope edges --group-by source.zone,dest.zone           the zone matrix
  edgescope edges --filter \"dest.workload = 'cartservice'\"   who talks to the cart
  edgescope edges --sort -tcp.retrans --limit 10             most retransmissions first
  edgescope edges --from -1h --to -30m --json                for scripts")]
pub struct EdgesArgs {
    #[command(flatten)]
    pub asking: Asking,
    /// Start of the range: a distance from now (-90s, -15m, -2h, -1d), or RFC 3339 with its zone (2026-01-31T14:00:00Z).
    #[arg(long, default_value = "-15m", allow_hyphen_values = true)]
    pub from: String,
    /// End of the range.
    #[arg(long, default_value = "now", allow_hyphen_values = true)]
    pub to: String,
    /// Dimensions, comma-separated.
    #[arg(long, value_name = "D,…", default_value = DEFAULT_GROUP_BY)]
    pub group_by: String,
    /// SQL expression over dimensions and measures.
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,
    /// Measures, comma-separated (`edgescope config --catalogue` lists them).
    #[arg(long, value_name = "M,…", default_value = DEFAULT_MEASURES)]
    pub measures: String,
    /// Measure or dimension to sort by; - in front sorts descending.
    #[arg(long, value_name = "NAME", default_value = "-tcp.bytes", allow_hyphen_values = true)]
    pub sort: String,
    /// Most rows.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// Also loopback and Edgescope's own traffic.
    #[arg(long)]
    pub include_own: bool,
}

/// The API's answer.
#[derive(Debug, Deserialize)]
pub struct Answer {
    #[serde(flatten)]
    pub table: EdgeTable,
    pub coverage: Coverage,
}

impl EdgesArgs {
    /// Asks the server.
    pub fn ask(&self) -> anyhow::Result<Answer> {
        let mut measures = self.measures.clone();
        let sorted = self.sort.trim_start_matches('-');
        // The sort key must be among what is asked.
        if sorted.contains("tcp.") && !measures.split(',').any(|m| m.trim() == sorted) {
            measures = format!("{measures},{sorted}");
        }
        let mut parameters = vec![
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("group_by", self.group_by.clone()),
            ("measures", measures),
            ("sort", self.sort.clone()),
            ("limit", self.limit.to_string()),
        ];
        parameters.extend(self.filter.clone().map(|f| ("filter", f)));
        if self.include_own {
            parameters.push(("include_own", "true".to_owned()));
        }
        self.asking.get("/edges", &parameters)
    }
}

/// Runs the command.
pub fn run(args: &EdgesArgs) -> anyhow::Result<()> {
    let answer = args.ask()?;
    if args.asking.json {
        show::out(&(serde_json::to_string_pretty(&as_json(&answer))? + "\n"))?;
    } else {
        show::out(&as_text(&answer))?;
    }
    Ok(())
}

/// `{from, to, coverage, edges: [{source: {…}, dest: {…}, "tcp.bytes": …}]}`.
pub fn as_json(answer: &Answer) -> Value {
    let table = &answer.table;
    let edges: Vec<Value> = table
        .rows
        .iter()
        .map(|row| {
            let mut edge = Map::new();
            let (mut source, mut dest) = (Map::new(), Map::new());
            for (name, value) in table.group_by.iter().zip(&row.key) {
                let value = if value.is_empty() { Value::Null } else { json!(value) };
                match name.split_once('.') {
                    Some(("source", field)) => source.insert(field.to_owned(), value),
                    Some(("dest", field)) => dest.insert(field.to_owned(), value),
                    _ => edge.insert(name.clone(), value),
                };
            }
            edge.insert("source".to_owned(), Value::Object(source));
            edge.insert("dest".to_owned(), Value::Object(dest));
            for (name, value) in table.measures.iter().zip(&row.totals) {
                edge.insert(name.clone(), json!(value));
            }
            Value::Object(edge)
        })
        .collect();
    json!({ "from": table.from, "to": table.to, "coverage": answer.coverage, "groups_total": table.groups_total, "edges": edges })
}

/// A table and a line that says how much was seen.
pub fn as_text(answer: &Answer) -> String {
    let table = &answer.table;
    let heads: Vec<String> = table.group_by.iter().chain(&table.measures).cloned().collect();
    let cell = |text: &String| if text.is_empty() { "n/a".to_owned() } else { show::safe(text) };
    let rows: Vec<Vec<String>> = table
        .rows
        .iter()
        .map(|row| row.key.iter().map(cell).chain(table.measures.iter().zip(&row.totals).map(|(name, value)| show::measure(name, *value))).collect())
        .collect();
    let mut out = if rows.is_empty() {
        format!("no edges between {} and {}: is an agent running and sending here? `edgescope doctor` tells what it needs\n", table.from, table.to)
    } else {
        show::table(&heads, &rows, table.group_by.len())
    };
    let coverage = &answer.coverage;
    out += &format!(
        "\n{} of {} groups · {} to {} · coverage {} · {} of {} agents reporting\n",
        table.rows.len(),
        table.groups_total,
        // Less than was asked where no more is kept.
        table.from.format("%Y-%m-%d %H:%M:%S"),
        table.to.format("%Y-%m-%d %H:%M:%S UTC"),
        show::percent(coverage.fraction),
        coverage.agents_reporting,
        coverage.agents_expected
    );
    for (agent, since) in &coverage.silent {
        out += &format!("agent {} silent since {}\n", show::safe(agent), since.format("%H:%M:%S UTC"));
    }
    if let Some(who) = coverage.who_left() {
        out += &format!("{}\n", show::safe(&who));
    }
    out
}
