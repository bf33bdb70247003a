//! `edgescope dns`: what was asked of DNS, by whom, and what came of it.

use crate::client::Asking;
use crate::show;
use clap::Args;
use edgescope_model::asked::{Asked, AskedName};

/// Show which names were asked of DNS, by whom, and how many answers were no help.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope dns                              the most asked names of the last 15 minutes
  edgescope dns --workload crawler           of one workload
  edgescope dns --from -5m --limit 10 --json

Questions without an answer have no name here: `edgescope edges --group-by source.workload,dest.workload --sort -dns.timeouts` counts them.")]
pub struct DnsArgs {
    #[command(flatten)]
    pub asking: Asking,
    /// Start: a distance from now (-90s, -15m), or RFC 3339 with its zone. A server remembers an hour.
    #[arg(long, default_value = "-15m", allow_hyphen_values = true)]
    pub from: String,
    /// End.
    #[arg(long, default_value = "now", allow_hyphen_values = true)]
    pub to: String,
    /// Of this workload alone.
    #[arg(long, value_name = "NAME")]
    pub workload: Option<String>,
    /// So many names at most.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
}

/// Runs the command.
pub fn run(args: &DnsArgs) -> anyhow::Result<()> {
    let mut parameters = vec![("from", args.from.clone()), ("to", args.to.clone()), ("limit", args.limit.to_string())];
    parameters.extend(args.workload.clone().map(|workload| ("workload", workload)));
    let asked: Asked = args.asking.get("/dns/names", &parameters)?;
    Ok(show::out(&if args.asking.json { serde_json::to_string_pretty(&asked)? + "\n" } else { as_text(&asked) })?)
}

fn as_text(asked: &Asked) -> String {
    if asked.names.is_empty() {
        let from = asked.kept_from.format("%H:%M:%S");
        return format!(
            "no answer of DNS was seen in this range; what is remembered begins at {from} UTC, and agents count DNS where agent.dns and agent.names are on\n"
        );
    }
    let heads = ["workload", "name", "answers", "no such name", "errors"].map(str::to_owned);
    let mut out = show::table(&heads, &asked.names.iter().map(row).collect::<Vec<_>>(), 2);
    if asked.names_total > asked.names.len() {
        out += &format!("and {} more: --limit\n", asked.names_total - asked.names.len());
    }
    out
}

fn row(asked: &AskedName) -> Vec<String> {
    let name = if asked.name.is_empty() { "(others)" } else { &asked.name };
    let workload = if asked.workload.is_empty() { "(others)" } else { &asked.workload };
    let counts = [asked.answers, asked.nxdomain, asked.failures].map(|count| count.to_string());
    [workload, name].map(|text| show::safe(text).to_string()).into_iter().chain(counts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::time::from_seconds;

    #[test]
    fn names_are_told_with_what_came_of_them() {
        let named = |workload: &str, name: &str| AskedName {
            namespace: String::new(),
            workload: workload.into(),
            name: name.into(),
            answers: 9,
            nxdomain: 2,
            failures: 1,
        };
        let names = vec![named("web", "api.example.com"), named("crawler", "a\u{1b}[2J"), named("crawler", "")];
        let mut asked = Asked { from: from_seconds(0), to: from_seconds(60), kept_from: from_seconds(0), names, names_total: 5 };
        let text = as_text(&asked);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[1].starts_with("web") && lines[1].contains("api.example.com"), "{text}");
        assert!(!text.contains('\u{1b}') && lines[3].contains("(others)") && lines[4] == "and 2 more: --limit", "{text}");
        asked.names.clear();
        assert!(as_text(&asked).contains("agent.names"));
    }
}
