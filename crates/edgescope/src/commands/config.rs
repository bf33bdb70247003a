//! `edgescope config`: the effective configuration, its keys, the catalogue, and tokens.

use crate::config;
use crate::show;
use clap::{ArgMatches, Args, Subcommand};
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
  edgescope config token --role agent --agent-id node-1 --name node-1 > node-1.token 2>> tokens   a secret, and its line for server.tokens_file")]
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
    },
}

/// Runs the command.
pub fn run(args: &ConfigArgs, matches: &ArgMatches) -> anyhow::Result<()> {
    #[cfg(feature = "server")]
    if let Some(Action::Token { role, agent_id, name }) = &args.action {
        return token(*role, agent_id, name.as_deref());
    }
    if args.keys {
        return list(
            args.json,
            &["key", "flag", "variable", "default", "meaning"],
            config::reference().into_iter().map(|k| vec![k.key, k.flag, k.variable, k.default, k.meaning]).collect(),
        );
    }
    if args.catalogue {
        return list(args.json, &["name", "unit", "kind", "ends", "what"], catalogue());
    }
    let config = config::load(matches)?;
    let tree = serde_json::to_value(&config)?;
    Ok(show::out(&if args.json { serde_json::to_string_pretty(&tree)? + "\n" } else { yaml(&tree, 0) })?)
}

/// The secret alone goes to standard output, what belongs into the server's file to standard error: each can be sent into its file.
#[cfg(feature = "server")]
fn token(role: edgescope_server::Role, agent_ids: &[String], name: Option<&str>) -> anyhow::Result<()> {
    let token = edgescope_server::new_token(role, agent_ids, name).map_err(|why| anyhow::anyhow!("no token was made: {why}"))?;
    show::out(&format!("{}\n", token.secret))?;
    eprintln!("# add this line to the file that server.tokens_file names:\n{}", token.line);
    Ok(())
}

fn catalogue() -> Vec<Vec<String>> {
    let signals =
        CATALOGUE.iter().map(|s| vec![s.name.to_owned(), s.unit.symbol().to_owned(), word(json!(s.kind)), word(json!(s.ends)), s.brief.to_owned()]);
    let derived =
        DERIVED.iter().map(|d| vec![d.name.to_owned(), d.unit.symbol().to_owned(), "derived".to_owned(), String::new(), d.brief.to_owned()]);
    signals.chain(derived).collect()
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
