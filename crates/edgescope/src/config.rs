//! The configuration: defaults, then the file, then `EDGESCOPE_…`, then flags; the last word wins.
//!
//! Every key of [`Config`] but `identity.rules` has a flag and an environment variable, both made from its path: `store.path` is `--store-path` and
//! `EDGESCOPE_STORE_PATH`. A key that does not exist, or a value that cannot be used, is an error that names file, line and field.

mod help;
mod lines;

use anyhow::{Context, anyhow, bail};
use clap::builder::PathBufValueParser;
use clap::{Arg, ArgMatches, Command};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Largest configuration file read, in bytes: ten thousand identity rules of 100 bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// What reading a configuration may hold of the heap, for each byte of the file: its tree is held twice, and its parser's words beside.
pub const HEAP_PER_BYTE_MAX: usize = 200;
/// What it may hold beside: the tree of all defaults.
pub const HEAP_BYTES_MIN: usize = 256 << 10;
/// Environment variables that are not configuration keys.
const RESERVED: &[&str] = &[
    "EDGESCOPE_CA_FILE",
    "EDGESCOPE_CACHE",
    "EDGESCOPE_CONFIG",
    "EDGESCOPE_SERVER",
    "EDGESCOPE_TOKEN_FILE",
    "EDGESCOPE_LOG",
    // What steers and marks builds and runs of the tests.
    "EDGESCOPE_BIN",
    "EDGESCOPE_FUZZ_INPUTS",
    "EDGESCOPE_FUZZ_ONLY",
    "EDGESCOPE_FUZZ_SEED",
    "EDGESCOPE_LONG",
    "EDGESCOPE_PROGRESS_SECONDS",
    "EDGESCOPE_SHOTS",
    "EDGESCOPE_SKIP_BPF",
    "EDGESCOPE_TEST_RUN",
];
/// Keys without flag and variable: lists of more than text.
const FILE_ONLY: &[&str] = &["identity.rules"];
/// Name of the flag that gives the file.
const FILE_FLAG: &str = "config";

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
    #[cfg(feature = "server")]
    pub export: edgescope_server::ExportConfig,
}

/// Where names come from, beside what agents see.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityConfig {
    pub rules: Vec<edgescope_identity::rules::Rule>,
    #[cfg(feature = "server")]
    pub kubernetes: edgescope_server::KubernetesConfig,
    #[cfg(feature = "server")]
    pub networks: edgescope_identity::networks::NetworksConfig,
}

/// Default of every key.
static DEFAULTS: LazyLock<Value> = LazyLock::new(|| serde_json::to_value(Config::default()).expect("the default configuration serialises"));
/// Every key that has a flag, with its variable.
static KEYS: LazyLock<Vec<(String, String)>> = LazyLock::new(|| keys().into_iter().map(|key| (key.clone(), variable(&key))).collect());

/// A key as it is written, and what it means.
#[derive(Debug, Clone, Serialize)]
pub struct Key {
    pub key: String,
    pub flag: String,
    pub variable: String,
    /// As JSON, which YAML reads alike.
    pub default: String,
    pub meaning: String,
}

/// Every key, for flags, `edgescope config --keys` and the reference.
pub fn reference() -> Vec<Key> {
    let default = |key: &str| DEFAULTS.pointer(&format!("/{}", key.replace('.', "/"))).map(ToString::to_string).unwrap_or_default();
    let known = |key: String| Key {
        flag: flag(&key),
        variable: variable(&key),
        default: default(&key),
        meaning: help::meaning(&key).unwrap_or_default().to_owned(),
        key,
    };
    keys().into_iter().map(known).collect()
}

/// Adds `--config` and a flag for every key.
pub fn with_flags(command: Command) -> Command {
    let file = Arg::new(FILE_FLAG)
        .long(FILE_FLAG)
        .value_name("FILE")
        .env("EDGESCOPE_CONFIG")
        .value_parser(PathBufValueParser::new())
        .help("Configuration file (YAML); variables and flags go before what it says");
    reference().into_iter().fold(command.arg(file), |command, key| {
        let default = match key.default.as_str() {
            "null" | "\"\"" | "[]" => String::new(),
            given => format!(" [default: {}]", given.trim_matches('"')),
        };
        command.arg(
            Arg::new(key.key.clone())
                .long(key.flag.trim_start_matches('-').to_owned())
                .value_name("VALUE")
                .help(format!("{}{default} [env: {}]", key.meaning, key.variable))
                .help_heading("Configuration keys")
                .hide_short_help(true),
        )
    })
}

/// Reads the configuration.
///
/// # Errors
/// Names the file, the line and the field, or the variable or flag, that is wrong.
pub fn load(matches: &ArgMatches) -> anyhow::Result<Config> {
    let file = matches.try_get_one::<PathBuf>(FILE_FLAG).ok().flatten().map(|path| File::read(path)).transpose()?;
    unknown_variables()?;
    let flag = |key: &str| matches.try_get_one::<String>(key).ok().flatten().cloned();
    assemble(file.as_ref(), |variable| std::env::var(variable).ok(), flag)
}

/// The configuration of a file, of variables by their name and of flags by their key.
///
/// # Errors
/// As [`load`].
pub fn assemble(
    file: Option<&File>,
    variable_of: impl Fn(&str) -> Option<String>,
    flag_of: impl Fn(&str) -> Option<String>,
) -> anyhow::Result<Config> {
    let mut tree = DEFAULTS.clone();
    if let Some(file) = file {
        merge(&mut tree, file.tree()?);
    }
    // Where each key that was not left to its default and the file came from, in words.
    let mut given = Vec::new();
    for (key, variable) in &*KEYS {
        if let Some(text) = variable_of(variable) {
            let from = format!("environment variable {variable} is '{}'", in_line(&text));
            set(&mut tree, key, &text).with_context(|| from.clone())?;
            given.push((key.clone(), from));
        }
        if let Some(text) = flag_of(key) {
            let from = format!("flag {} is '{}'", flag(key), in_line(&text));
            set(&mut tree, key, &text).with_context(|| from.clone())?;
            given.push((key.clone(), from));
        }
    }
    let config = typed(&tree)?;
    check(&config).map_err(|error| placed(&error, &given, file))?;
    Ok(config)
}

/// What types cannot say: each part of the product checks its own section.
fn check(config: &Config) -> anyhow::Result<()> {
    #[cfg(feature = "server")]
    {
        config.server.check(&config.intake)?;
        config.detectors.check()?;
        config.export.check()?;
        config.identity.kubernetes.check()?;
        config.identity.networks.check()?;
    }
    edgescope_identity::rules::Rules::new(config.identity.rules.clone())?;
    // The host's name is asked for when an agent starts; any will do here.
    config.agent.clone().completed("localhost")?;
    Ok(())
}

/// A wrong value with the place that it came from. Such errors begin with the key.
fn placed(error: &anyhow::Error, given: &[(String, String)], file: Option<&File>) -> anyhow::Error {
    let said = in_line(&error.to_string());
    let key = said.split(|c: char| c.is_whitespace() || c == ':').next().unwrap_or_default();
    if let Some((_, from)) = given.iter().rfind(|(name, _)| name == key) {
        return anyhow!("{from}: {said}");
    }
    match file.and_then(|file| Some((file, lines::line_of(&file.text, key)?))) {
        Some((file, line)) => anyhow!("configuration file {}: line {line}: {}", file.path.display(), with_line(&said, &file.text, Some(line))),
        None => anyhow!("configuration: {said}"),
    }
}

/// A text that may hold anything, in one line of a refusal.
fn in_line(text: &str) -> String {
    text.chars().map(|sign| if sign.is_control() { char::REPLACEMENT_CHARACTER } else { sign }).collect()
}

/// The tree as the types want it; errors name the path.
fn typed(tree: &Value) -> anyhow::Result<Config> {
    serde_path_to_error::deserialize(tree)
        .map_err(|e| anyhow!("configuration key {}: {}", in_line(&e.path().to_string()), in_line(&e.inner().to_string())))
}

/// A configuration file.
#[derive(Debug, Clone)]
pub struct File {
    path: PathBuf,
    text: String,
}

impl File {
    /// A file of that text, as if it was read from there.
    pub fn new(path: &Path, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let shown = path.display();
        let read = || format!("cannot read configuration file {shown}: check the path given to --config, and who may read it");
        if path.is_dir() {
            bail!("cannot read configuration file {shown}: it is a directory, not a file; give the path of a YAML file to --config");
        }
        let mut bytes = Vec::new();
        fs::File::open(path).with_context(read)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).with_context(read)?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            bail!("configuration file {shown} has more than {FILE_BYTES_MAX} bytes: is it the right file?");
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(Self { path: path.to_owned(), text }),
            Err(error) => {
                let good = error.utf8_error().valid_up_to();
                let line = 1 + error.as_bytes()[..good].iter().filter(|&&byte| byte == b'\n').count();
                bail!("configuration file {shown}: line {line}: not UTF-8 text: save it as UTF-8, or is it the right file?")
            }
        }
    }

    /// The file as a tree, once its types were found right.
    fn tree(&self) -> anyhow::Result<Value> {
        if self.text.trim().is_empty() {
            return Ok(Value::Object(serde_json::Map::new()));
        }
        let wrong = |e: serde_saphyr::Error| anyhow!("configuration file {}: {}", self.path.display(), one_line(&e, &self.text));
        // Once into the types, for errors with line and field; once into a tree, for merging.
        serde_saphyr::from_str::<Config>(&self.text).map_err(wrong)?;
        serde_saphyr::from_str::<Value>(&self.text).map_err(wrong)
    }
}

/// Characters of a wrong line that are shown.
const SHOWN_MAX: usize = 80;

/// What is wrong, with line and column, and that line, which names the field; without the rest of the excerpt that the parser prints.
fn one_line(error: &serde_saphyr::Error, file: &str) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    let said = first.strip_prefix("error: ").unwrap_or(first);
    let number = error.location().and_then(|at| usize::try_from(at.line()).ok());
    with_line(said, file, number)
}

fn with_line(said: &str, file: &str, number: Option<usize>) -> String {
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

/// Sets one key from text, read as a YAML scalar or, for a list, as values between commas, and checks it at once so that the error names its source.
fn set(tree: &mut Value, key: &str, text: &str) -> anyhow::Result<()> {
    let pointer = format!("/{}", key.replace('.', "/"));
    let place = tree.pointer_mut(&pointer).ok_or_else(|| anyhow!("no key {key}"))?;
    if place.is_array() {
        *place = text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(|item| Value::String(item.to_owned())).collect();
        return typed(tree).map(drop);
    }
    let read = || serde_saphyr::from_str::<Value>(text).ok().filter(|v| !v.is_object() && !v.is_array());
    // A key that is text by default stays text, even where the value looks like a number.
    *place = if place.is_string() { Value::String(text.to_owned()) } else { read().unwrap_or_else(|| Value::String(text.to_owned())) };
    if typed(tree).is_err() {
        // An optional text that looks like a number.
        *tree.pointer_mut(&pointer).expect("the key was just found") = Value::String(text.to_owned());
    }
    typed(tree).map(drop)
}

/// Dotted paths of all keys that have a flag.
fn keys() -> Vec<String> {
    fn walk(value: &Value, path: &str, out: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| walk(value, &if path.is_empty() { key.clone() } else { format!("{path}.{key}") }, out))
            }
            _ if FILE_ONLY.contains(&path) => {}
            _ => out.push(path.to_owned()),
        }
    }
    let mut out = Vec::new();
    walk(&DEFAULTS, "", &mut out);
    out
}

fn flag(key: &str) -> String {
    format!("--{}", key.replace(['.', '_'], "-"))
}

fn variable(key: &str) -> String {
    format!("EDGESCOPE_{}", key.replace('.', "_").to_uppercase())
}

/// A misspelt variable would be a silent no.
fn unknown_variables() -> anyhow::Result<()> {
    for (name, _) in std::env::vars_os() {
        let Some(name) = name.to_str().filter(|n| n.starts_with("EDGESCOPE_")) else { continue };
        if !RESERVED.contains(&name) && !KEYS.iter().any(|(_, variable)| variable == name) {
            bail!("environment variable {name} sets nothing: `edgescope config --keys` lists the keys and their variables");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(arguments: &[&str]) -> ArgMatches {
        let command = with_flags(Command::new("test"));
        command.try_get_matches_from(std::iter::once("test").chain(arguments.iter().copied())).expect("known flags")
    }

    fn refusal(arguments: &[&str]) -> String {
        load(&matches(arguments)).expect_err("refused").to_string()
    }

    fn file(text: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join("e.yaml");
        fs::write(&path, text).expect("written");
        (dir, path.display().to_string())
    }

    #[test]
    #[cfg(feature = "server")]
    fn lists_are_given_between_commas() {
        let config = load(&matches(&["--server-hosts", "edge.example, other.example"])).expect("sound");
        assert_eq!(config.server.hosts, ["edge.example", "other.example"]);
        assert_eq!(load(&matches(&["--server-hosts", ""])).expect("sound").server.hosts, Vec::<String>::new());
    }

    #[test]
    fn a_value_that_cannot_be_used_is_told_with_its_place() {
        let (_dir, path) = file("agent:\n  id: a\nidentity:\n  rules:\n    - workload: shop\n      match: {}\n");
        let said = refusal(&["--config", &path]);
        assert!(said.contains("e.yaml: line 6: identity.rules[0].match is empty") && said.ends_with("(in 'match: {}')"), "{said}");
        let (_dir, path) = file("agent:\n  id: a\n  server: nowhere\n");
        let said = refusal(&["--config", &path]);
        assert!(said.contains("e.yaml: line 3: agent.server 'nowhere'"), "{said}");
        let said = refusal(&["--config", &path, "--agent-server", "some\nwhere"]);
        assert!(!said.contains('\n'), "one line, whatever the value holds: {said}");
        let said = refusal(&["--config", &path, "--agent-server", "somewhere"]);
        assert!(said.starts_with("flag --agent-server is 'somewhere': agent.server 'somewhere'"), "{said}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told() {
        let (dir, path) = file("");
        assert!(load(&matches(&["--config", &path])).is_ok(), "an empty file changes nothing");
        assert!(refusal(&["--config", &dir.path().display().to_string()]).contains("not a file"));
        fs::write(&path, b"agent:\n  id: \xff\n").expect("written");
        assert!(refusal(&["--config", &path]).contains("e.yaml: line 2: not UTF-8"));
        assert!(refusal(&["--config", "/nowhere/e.yaml"]).contains("cannot read configuration file /nowhere/e.yaml"));
    }
}
