//! The configuration: defaults, then the file, then `EDGESCOPE_…`, then flags; the last word wins.
//!
//! Every scalar key of [`Config`] has a flag and an environment variable, both made from its path: `store.path` is `--store-path` and
//! `EDGESCOPE_STORE_PATH`. A key that does not exist is an error that names file, line and field.

use anyhow::{Context, anyhow, bail};
use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::path::Path;

/// Largest configuration file read, in bytes: ten thousand identity rules of 100 bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Environment variables that are not configuration keys.
const RESERVED: &[&str] = &[
    "EDGESCOPE_CONFIG",
    "EDGESCOPE_CACHE",
    "EDGESCOPE_TOKEN_FILE",
    "EDGESCOPE_SERVER",
    "EDGESCOPE_LOG",
    // What steers and marks runs of the tests.
    "EDGESCOPE_BIN",
    "EDGESCOPE_LONG",
    "EDGESCOPE_TEST_RUN",
];

/// All that can be configured. The sections belong to the parts of the product that read them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    #[cfg(feature = "server")]
    pub store: edgescope_store::StoreConfig,
    #[cfg(feature = "server")]
    pub server: edgescope_server::HttpConfig,
    #[cfg(feature = "server")]
    pub intake: edgescope_server::IntakeConfig,
    pub agent: edgescope_agent::AgentConfig,
    pub identity: IdentityConfig,
    #[cfg(feature = "server")]
    pub detectors: edgescope_detect::DetectorsConfig,
}

/// Static names, for hosts and addresses that nothing else names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    pub rules: Vec<edgescope_identity::rules::Rule>,
}

/// Adds a flag for every scalar key.
pub fn with_flags(command: Command) -> Command {
    let keys = keys();
    keys.into_iter().fold(command, |command, key| {
        let help = format!("Sets {key} [env: {}]", variable(&key));
        command.arg(
            Arg::new(key.clone())
                .long(key.replace(['.', '_'], "-"))
                .value_name("VALUE")
                .help(help)
                .help_heading("Configuration keys")
                .hide_short_help(true)
                .global(false),
        )
    })
}

/// Reads the configuration.
///
/// # Errors
/// Names the file, the line and the field, or the variable or flag, that is wrong.
pub fn load(file: Option<&Path>, matches: &ArgMatches) -> anyhow::Result<Config> {
    let mut tree = serde_json::to_value(Config::default())?;
    if let Some(path) = file {
        merge(&mut tree, read_file(path)?);
    }
    for key in keys() {
        let variable = variable(&key);
        if let Ok(text) = std::env::var(&variable) {
            set(&mut tree, &key, &text).with_context(|| format!("environment variable {variable} is '{text}'"))?;
        }
        if let Ok(Some(text)) = matches.try_get_one::<String>(&key) {
            set(&mut tree, &key, text).with_context(|| format!("flag --{} is '{text}'", key.replace(['.', '_'], "-")))?;
        }
    }
    unknown_variables()?;
    typed(tree)
}

/// The tree as the types want it; errors name the path.
fn typed(tree: Value) -> anyhow::Result<Config> {
    serde_path_to_error::deserialize(tree).map_err(|e| anyhow!("configuration key {}: {}", e.path(), e.inner()))
}

fn read_file(path: &Path) -> anyhow::Result<Value> {
    let shown = path.display();
    let size = std::fs::metadata(path).with_context(|| format!("cannot read configuration file {shown}: check the path given to --config"))?.len();
    if size > FILE_BYTES_MAX {
        bail!("configuration file {shown} has {size} bytes, at most {FILE_BYTES_MAX}: is it the right file?");
    }
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read configuration file {shown}"))?;
    if text.trim().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    // Once into the types, for errors with line and field; once into a tree, for merging.
    serde_saphyr::from_str::<Config>(&text).map_err(|e| anyhow!("configuration file {shown}: {}", one_line(&e, &text)))?;
    serde_saphyr::from_str::<Value>(&text).map_err(|e| anyhow!("configuration file {shown}: {}", one_line(&e, &text)))
}

/// Characters of a wrong line that are shown.
const SHOWN_MAX: usize = 80;

/// What is wrong, with line and column, and that line, which names the field; without the rest of the excerpt that the parser prints.
fn one_line(error: &serde_saphyr::Error, file: &str) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let said = first.strip_prefix("error: ").unwrap_or(first);
    let number = error.location().and_then(|at| usize::try_from(at.line()).ok());
    match number.and_then(|number| file.lines().nth(number.checked_sub(1)?)) {
        Some(line) if !line.trim().is_empty() => format!("{said} (in '{}')", line.trim().chars().take(SHOWN_MAX).collect::<String>()),
        _ => said.to_owned(),
    }
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// Sets one key from text, read as a YAML scalar, and checks it at once so that the error names its source.
fn set(tree: &mut Value, key: &str, text: &str) -> anyhow::Result<()> {
    let pointer = format!("/{}", key.replace('.', "/"));
    let place = tree.pointer_mut(&pointer).ok_or_else(|| anyhow!("no key {key}"))?;
    let read = || serde_saphyr::from_str::<Value>(text).ok().filter(|v| !v.is_object() && !v.is_array());
    // A key that is text by default stays text, even where the value looks like a number.
    *place = if place.is_string() { Value::String(text.to_owned()) } else { read().unwrap_or_else(|| Value::String(text.to_owned())) };
    if typed(tree.clone()).is_err() {
        // An optional text that looks like a number.
        *tree.pointer_mut(&pointer).expect("the key was just found") = Value::String(text.to_owned());
    }
    typed(tree.clone()).map(drop)
}

/// Dotted paths of all scalar keys.
fn keys() -> Vec<String> {
    fn walk(value: &Value, path: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| walk(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, out))
            }
            Value::Array(_) => {}
            _ => out.push(path.to_owned()),
        }
    }
    let mut out = Vec::new();
    walk(&serde_json::to_value(Config::default()).expect("the default configuration serialises"), "", &mut out);
    out
}

fn variable(key: &str) -> String {
    format!("EDGESCOPE_{}", key.replace('.', "_").to_uppercase())
}

/// A misspelt variable would be a silent no.
fn unknown_variables() -> anyhow::Result<()> {
    let known: Vec<String> = keys().iter().map(|k| variable(k)).collect();
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|n| n.starts_with("EDGESCOPE_")) else { continue };
        if !RESERVED.contains(&name) && !known.iter().any(|k| k == name) {
            bail!("environment variable {name} sets nothing: `edgescope config --keys` lists the keys and their variables");
        }
    }
    Ok(())
}

/// Every key with its flag, variable and default, for `edgescope config --keys` and the reference.
pub fn reference() -> Vec<(String, String, String, String)> {
    let defaults = serde_json::to_value(Config::default()).expect("the default configuration serialises");
    keys()
        .into_iter()
        .map(|key| {
            let default = defaults.pointer(&format!("/{}", key.replace('.', "/"))).map(ToString::to_string).unwrap_or_default();
            (key.clone(), format!("--{}", key.replace(['.', '_'], "-")), variable(&key), default)
        })
        .collect()
}
