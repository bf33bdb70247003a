//! `edgescope diagnose`: is it the network?

use crate::client::Asking;
use crate::show;
use clap::Args;
use edgescope_model::verdict::{Answer, Verdict};

/// Ask for a verdict: is it the network, where, since when, who else is hit. Exit code 0 whatever the answer is.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope diagnose                                   everything, the last 15 minutes
  edgescope diagnose --workload checkoutservice        only what touches checkoutservice
  edgescope diagnose --from -2h --to -1h               an hour that has passed
  edgescope diagnose --from 2026-01-31T14:00:00Z --to 2026-01-31T14:30:00Z --json")]
pub struct DiagnoseArgs {
    #[command(flatten)]
    pub asking: Asking,
    /// Only edges from or to this workload.
    #[arg(long)]
    pub workload: Option<String>,
    /// Start of the range: a distance from now (-90s, -15m, -2h, -1d), or RFC 3339 with its zone (2026-01-31T14:00:00Z).
    #[arg(long, default_value = "-15m", allow_hyphen_values = true)]
    pub from: String,
    /// End of the range.
    #[arg(long, default_value = "now", allow_hyphen_values = true)]
    pub to: String,
}

/// Runs the command.
pub fn run(args: &DiagnoseArgs) -> anyhow::Result<()> {
    let mut parameters = vec![("from", args.from.clone()), ("to", args.to.clone())];
    parameters.extend(args.workload.clone().map(|w| ("workload", w)));
    let verdict: Verdict = args.asking.get("/diagnose", &parameters)?;
    if args.asking.json {
        show::out(&(serde_json::to_string_pretty(&verdict)? + "\n"))?;
    } else {
        show::out(&as_text(&verdict))?;
    }
    Ok(())
}

/// First the answer, then the evidence, then everything else.
pub fn as_text(verdict: &Verdict) -> String {
    let head = match verdict.verdict {
        Answer::Network => "NETWORK",
        Answer::NotNetwork => "NOT THE NETWORK",
        Answer::Ambiguous => "AMBIGUOUS",
        Answer::InsufficientEvidence => "CANNOT SAY",
    };
    let mut out = format!("{head} · {}\n\n", show::safe(&verdict.summary));
    if let Some(since) = verdict.since {
        out += &format!("since       {} UTC\n", since.format("%Y-%m-%d %H:%M:%S"));
    }
    out += &format!(
        "confidence  {}   coverage {}   {} edges looked at\n",
        show::percent(verdict.confidence),
        show::percent(verdict.coverage.fraction),
        verdict.edges
    );
    section(
        &mut out,
        "evidence",
        &["signal", "where", "now", "before", "samples", "test"],
        verdict.evidence.iter().map(|e| {
            let value = |v: Option<f64>| show::measure(&e.signal, v);
            vec![e.signal.clone(), e.scope.clone(), value(e.value), value(e.baseline), e.samples.to_string(), e.test.clone()]
        }),
    );
    section(
        &mut out,
        "affected",
        &["source", "dest", "impact", "symptom"],
        verdict.affected.iter().map(|a| vec![a.source.clone(), a.dest.clone(), show::percent(a.impact), a.symptom.clone()]),
    );
    section(
        &mut out,
        "healthy controls",
        &["what", "edges", "bad", "why"],
        verdict.controls.iter().map(|c| vec![c.what.clone(), c.edges.to_string(), c.bad.to_string(), c.why.clone()]),
    );
    section(
        &mut out,
        "other explanations",
        &["class", "culprit", "log-likelihood", "bad of edges", "why"],
        verdict.hypotheses.iter().map(|h| {
            let peer = h.culprit.peer.as_ref().map(|p| format!(" → {p}")).unwrap_or_default();
            vec![
                h.class.to_string(),
                format!("{} {}{peer}", h.culprit.scope, h.culprit.name),
                format!("{:.0}", h.log_likelihood),
                format!("{} of {}", h.edges_bad, h.edges),
                h.why.clone(),
            ]
        }),
    );
    out
}

/// A titled table; nothing where there are no rows.
fn section(out: &mut String, title: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    /// Longer lists are for the UI and `--json`.
    const ROWS_SHOWN: usize = 12;
    let rows: Vec<Vec<String>> = rows.map(|row| row.iter().map(|cell| show::safe(cell)).collect()).collect();
    if rows.is_empty() {
        return;
    }
    let heads: Vec<String> = heads.iter().map(|&h| h.to_owned()).collect();
    *out += &format!("\n{}\n{}", title.to_uppercase(), show::table(&heads, &rows[..rows.len().min(ROWS_SHOWN)], heads.len()));
    if rows.len() > ROWS_SHOWN {
        *out += &format!("… and {} more: --json shows all\n", rows.len() - ROWS_SHOWN);
    }
}
