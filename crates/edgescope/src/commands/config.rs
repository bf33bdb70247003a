//! `edgescope config`: the effective configuration, its keys, the catalogue, and tokens.

use crate::config;
use crate::show;
use clap::{ArgMatches, Args, Subcommand};
use edgescope_model::signal::{CATALOGUE, DERIVED};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Print the effective configuration; secrets are hidden.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope config                              what applies here and now
  edgescope config --config edgescope.yaml      check a file: exit 0 if it is good
  edgescope config --keys                       every key, its flag, its variable, its default
  edgescope config --catalogue                  every signal and measure
  edgescope config token --role agent > token   a secret for an agent; its line for the token file is shown")]
pub struct ConfigArgs {
    /// List every key with its flag, environment variable and default.
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
        /// Whose it is, for the server's log.
        #[arg(long)]
        name: Option<String>,
    },
}

/// Runs the command.
pub fn run(args: &ConfigArgs, file: Option<&PathBuf>, matches: &ArgMatches) -> anyhow::Result<()> {
    #[cfg(feature = "server")]
    if let Some(Action::Token { role, name }) = &args.action {
        return token(*role, name.as_deref());
    }
    if args.keys {
        return list(
            args.json,
            &["key", "flag", "variable", "default"],
            config::reference().into_iter().map(|(a, b, c, d)| vec![a, b, c, d]).collect(),
        );
    }
    if args.catalogue {
        return list(args.json, &["name", "unit", "kind", "ends", "what"], catalogue());
    }
    let config = config::load(file.map(PathBuf::as_path), matches)?;
    let tree = serde_json::to_value(&config)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&tree)?)
    } else {
        print!("{}", yaml(&tree, 0))
    }
    Ok(())
}

/// The secret alone goes to standard output, so that it can be piped into a file.
#[cfg(feature = "server")]
fn token(role: edgescope_server::Role, name: Option<&str>) -> anyhow::Result<()> {
    let token = edgescope_server::new_token(role, name).map_err(anyhow::Error::msg)?;
    println!("{}", token.secret);
    eprintln!("add this line to the file that server.tokens_file names:\n{}", token.line);
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
        println!("{}", serde_json::to_string_pretty(&objects)?);
    } else {
        print!("{}", show::table(&heads, &rows, heads.len()));
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
