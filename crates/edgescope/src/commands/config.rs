//! `edgescope config`: the effective configuration, its keys, the catalogue, and tokens.

use crate::config;
use crate::show;
use clap::{ArgMatches, Args, Subcommand};
use edgescope_model::dims::Dim;
use edgescope_model::signal::{CATALOGUE, DERIVED};
use serde_json::{Value, json};

/// Print the effective configuration; secrets are hidden.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope config                              what applies here and now
  edgescope config --config edgescope.yaml      check a file: exit 0 if it is good
  edgescope config --keys                       every key: flag, variable, default, meaning
  edgescope config --catalogue                  every signal and measure
  edgescope config token --role agent --agent-id node-1 --name node-1 --add-to tokens > node-1.token")]
pub struct ConfigArgs {
    /// List every key with its flag, environment variable, default and meaning.
    #[arg(long, conflicts_with = "catalogue")]
    pub keys: bool,
    /// List the signal catalogue.
    #[arg(long)]
    pub catalogue: bool,
    /// Print JSON.
    #[arg(long)]
    pub json: bool,
    #[command(subcommand)]
    pub action: Option<Action>,
}

/// What else the configuration needs.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Make a bearer token: the secret for its holder, and the line for the server's token file.
    #[cfg(feature = "server")]
    Token {
        /// agent, viewer, editor or admin.
        #[arg(long)]
        role: edgescope_server::Role,
        /// The agent that it speaks for (its agent.id), several with commas between; without, any agent.
        #[arg(long, value_delimiter = ',', value_name = "ID")]
        agent_id: Vec<String>,
        /// Whose it is, for the server's log.
        #[arg(long)]
        name: Option<String>,
        /// Add the line to this file, the one that server.tokens_file names, and make it where there is none; without, the line goes to standard error.
        #[arg(long, value_name = "FILE")]
        add_to: Option<std::path::PathBuf>,
    },
}

/// Runs the command.
pub fn run(args: &ConfigArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    #[cfg(feature = "server")]
    if let Some(Action::Token { role, agent_id, name, add_to }) = &args.action {
        return super::token::run(*role, agent_id, name.as_deref(), add_to.as_deref());
    }
    if args.keys {
        return list(
            args.json,
            &["key", "flag", "variable", "default", "meaning"],
            config::reference().into_iter().map(|k| vec![k.key, k.flag, k.variable, k.default, k.meaning]).collect(),
        );
    }
    if args.catalogue {
        return list(args.json, &["name", "unit", "kind", "ends", "what", "ask for"], catalogue());
    }
    let config = config::load(matches)?;
    let tree = serde_json::to_value(&config)?;
    Ok(show::out(&if args.json { serde_json::to_string_pretty(&tree)? + "\n" } else { yaml(&tree, 0) })?)
}

/// Signals, quotients of them, and dimensions; the last column has the names that questions take.
fn catalogue() -> Vec<Vec<String>> {
    let row =
        |name: &str, unit: &str, kind: &str, ends: &str, brief: &str, ask: &str| [name, unit, kind, ends, brief, ask].map(str::to_owned).to_vec();
    let signals =
        CATALOGUE.iter().map(|s| row(s.name, s.unit.symbol(), &word(json!(s.kind)), &word(json!(s.ends)), s.brief, &s.measures().join(" ")));
    let derived = DERIVED.iter().map(|d| row(d.name, d.unit.symbol(), "derived", "", d.brief, d.name));
    let dimensions = Dim::all().map(|d| row(&d.to_string(), "", "dimension", "", d.brief(), &d.to_string()));
    signals.chain(derived).chain(dimensions).collect()
}

fn word(value: Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(as_json: bool, heads: &[&str], rows: Vec<Vec<String>>) -> anyhow::Result<()> {
    let heads: Vec<String> = heads.iter().map(|&h| h.to_owned()).collect();
    if as_json {
        let objects: Vec<Value> =
            rows.iter().map(|row| heads.iter().cloned().zip(row.iter().map(|cell| json!(cell))).collect::<serde_json::Map<_, _>>().into()).collect();
        show::out(&(serde_json::to_string_pretty(&objects)? + "\n"))?;
    } else {
        show::out(&show::table(&heads, &rows, heads.len()))?;
    }
    Ok(())
}

/// The tree as YAML. Every text is quoted as JSON does it, which YAML reads alike.
fn yaml(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth);
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(key, value)| match value {
                Value::Object(inner) if !inner.is_empty() => format!("{pad}{key}:\n{}", yaml(value, depth + 1)),
                Value::Array(inner) if !inner.is_empty() => {
                    format!("{pad}{key}:\n{}", inner.iter().map(|item| format!("{pad}  - {item}\n")).collect::<String>())
                }
                _ => format!("{pad}{key}: {value}\n"),
            })
            .collect(),
        other => format!("{pad}{other}\n"),
    }
}
