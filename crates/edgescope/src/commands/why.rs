//! `edgescope why`: why an address has its name, or none.

use crate::client::Asking;
use crate::show;
use clap::Args;
use edgescope_model::why::{Claim, Why};

/// Explain the name of an address, or the lack of one: by what it was found, and who said so when.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope why 10.0.0.5                      whose address it is
  edgescope why 10.0.0.5:5432                 who serves that port, where several workloads share the address
  edgescope why '[fd00::5]:443' --at -2h      whose it was two hours ago")]
pub struct WhyArgs {
    #[command(flatten)]
    pub asking: Asking,
    /// An address, with the port that it serves where several workloads share it.
    #[arg(value_name = "IP[:PORT]")]
    pub address: String,
    /// When: a distance from now (-90s, -15m, -2h), or RFC 3339 with its zone (2026-01-31T14:00:00Z). Names are remembered for a day.
    #[arg(long, default_value = "now", allow_hyphen_values = true)]
    pub at: String,
}

/// Runs the command.
pub fn run(args: &WhyArgs) -> anyhow::Result<()> {
    let why: Why = args.asking.get("/why", &[("address", args.address.clone()), ("at", args.at.clone())])?;
    Ok(show::out(&if args.asking.json { serde_json::to_string_pretty(&why)? + "\n" } else { as_text(&why) })?)
}

fn as_text(why: &Why) -> String {
    let name = [&why.name.namespace, &why.name.workload].into_iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join("/");
    let asked = why.port.map_or_else(|| why.address.clone(), |port| format!("{} port {port}", why.address));
    let mut out = format!("{asked} is {} at {} UTC\n{}\n", show::safe(&name), time(why.at), show::safe(&why.reason));
    if why.claims.is_empty() {
        return out;
    }
    let heads = ["port", "workload", "pod", "node", "found by", "agent", "from", "until"].map(str::to_owned);
    out += &format!("\nWHO HELD IT\n{}", show::table(&heads, &why.claims.iter().map(row).collect::<Vec<_>>(), heads.len()));
    if why.claims_total > why.claims.len() {
        out += &format!("and {} more\n", why.claims_total - why.claims.len());
    }
    out
}

fn row(claim: &Claim) -> Vec<String> {
    let port = if claim.port == 0 { "all".to_owned() } else { claim.port.to_string() };
    let until = if claim.open { "now".to_owned() } else { time(claim.until) };
    let owner = &claim.owner;
    let workload = if claim.shared { "(shared)" } else { &owner.workload };
    let texts = [workload, &owner.pod, &owner.node, &owner.resolution_type, &claim.agent].map(show::safe);
    let [workload, pod, node, found_by, agent] = texts.map(|text| text.to_string());
    vec![port, workload, pod, node, found_by, agent, time(claim.from), until]
}

fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::dims::EndDims;
    use edgescope_model::time::from_seconds;

    #[test]
    fn a_name_is_told_with_who_held_the_address() {
        let owner = EndDims { workload: "cart\u{1b}[2J".into(), namespace: "shop".into(), node: "n1".into(), ..EndDims::default() };
        let claim =
            Claim { agent: "n1".into(), port: 0, owner: owner.clone(), shared: false, from: from_seconds(0), until: from_seconds(60), open: false };
        let holder = Claim { port: 0, shared: true, open: true, ..claim.clone() };
        let why = Why {
            address: "10.0.0.5".into(),
            port: Some(443),
            at: from_seconds(30),
            name: owner,
            owned: true,
            named: true,
            reason: "agent n1 holds the address".into(),
            claims: vec![holder, claim],
            claims_total: 7,
        };
        let text = as_text(&why);
        assert!(text.starts_with("10.0.0.5 port 443 is shop/cart\u{fffd}[2J at 1970-01-01 00:00:30 UTC\nagent n1 holds the address\n"), "{text}");
        let rows: Vec<&str> = text.lines().skip(5).collect();
        assert!(rows[0].contains("(shared)") && rows[0].ends_with("now"), "{text}");
        assert!(rows[1].ends_with("1970-01-01 00:00:00  1970-01-01 00:01:00") && rows[2] == "and 5 more", "{text}");
    }
}
