//! The command reference and the configuration reference are committed files that the code generates: `UPDATE=1` rewrites them.

use crate::{command_line, config};
use clap::Command;
use std::fmt::Write;
use std::path::Path;

/// Width of the help in the reference, whatever the terminal.
const COLUMNS: usize = 120;

fn is_current(name: &str, now: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, now).expect("docs/ can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == now, "docs/{name} is not what the code says: run `make contracts`");
}

/// Names of a command and of those above it, with its long help.
fn pages(mut command: Command, above: &str, out: &mut String) {
    let name = format!("{above}{}", command.get_name());
    let help = command.clone().bin_name(&name).term_width(COLUMNS).render_long_help().to_string();
    let lines = help.trim_end().lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
    let _ = write!(out, "\n{} {name}\n\n```text\n{lines}\n```\n", "#".repeat(2 + above.split_whitespace().count()));
    command.build();
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set() && inner.get_name() != "help") {
        pages(inner.clone(), &format!("{name} "), out);
    }
}

/// All options and arguments, without the values that the environment gives them just now, and without the configuration keys, which have a page of their own.
fn documented(command: Command, keys: &[String]) -> Command {
    let command = command.mut_args(|arg| {
        let is_key = keys.iter().any(|key| *key == arg.get_id().as_str());
        arg.hide_env_values(true).hide(is_key)
    });
    command.mut_subcommands(|inner| documented(inner, keys))
}

#[test]
fn contract_command_reference() {
    let keys: Vec<String> = config::reference().into_iter().map(|key| key.key).collect();
    let mut text =
        "# Commands\n\nWhat `edgescope COMMAND --help` says; written by `make contracts`. `up`, `agent`, `server`, `config` and `doctor` also take \
        every\nconfiguration key as a flag: [configuration.md](configuration.md) lists them.\n"
            .to_owned();
    pages(documented(command_line(), &keys), "", &mut text);
    is_current("cli.md", &text);
}

#[test]
fn contract_configuration_reference() {
    let mut text = "# Configuration\n\nWritten by `make contracts`. A value comes from the default, then from the file (`--config FILE`, YAML), then from the \
        environment\nvariable, then from the flag: the last word wins. In the file a dot is a level: `store.path` is `path` below `store`. A key that\ndoes not \
        exist, in the file or as a variable, is refused. `edgescope config` prints what applies, `edgescope config --config FILE` checks\na file.\n\n\
        `identity.rules` stands in the file only: names for what nothing else names. The first rule whose `match` fits wins; all conditions\nthat a `match` gives must \
        hold.\n\n```yaml\nidentity:\n  rules:\n    - match: { unit: cart.service }   # also: netns, cidr, port, process, cgroup\n      workload: cartservice            \
        # also: namespace, node, zone, region, environment, pod\n      namespace: shop\n    - match: { cidr: 10.9.0.0/16, port: 5432 }\n      workload: postgres\n```\n\n\
        `export.otlp.headers` and `export.prometheus.remote_write.headers` (`name: value`) stand in the file only too. Their values are secrets: nothing prints\nthem.\n"
        .to_owned();
    let mut section = String::new();
    for key in config::reference() {
        let of = key.key.split('.').next().unwrap_or_default();
        if section != of {
            section = of.to_owned();
            let _ = write!(text, "\n## {section}\n\n| key | flag | variable | default | meaning |\n|---|---|---|---|---|\n");
        }
        let default = if key.default == "null" { "–".to_owned() } else { format!("`{}`", key.default) };
        let _ = writeln!(text, "| `{}` | `{}` | `{}` | {default} | {} |", key.key, key.flag, key.variable, key.meaning.replace('|', "\\|"));
    }
    is_current("configuration.md", &text);
}

/// Words of a command line; quotes hold words together.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quote, mut begun) = (Vec::new(), String::new(), None, false);
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => (quote, begun) = (Some(c), true),
            (None, ' ') if begun => {
                words.push(std::mem::take(&mut word));
                begun = false;
            }
            (None, ' ') => {}
            _ => {
                word.push(c);
                begun = true;
            }
        }
    }
    words.extend(begun.then_some(word));
    words
}

#[test]
fn every_example_in_the_help_is_understood() {
    let mut tried = 0;
    for command in command_line().get_subcommands().filter(|command| !command.is_hide_set()) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(help.contains("Examples:"), "{} has no examples", command.get_name());
        for line in help.lines().map(str::trim).filter(|line| line.starts_with("edgescope ")) {
            // What follows two blanks says what it does; what follows `>` is the shell's.
            let line = line.split("  ").next().unwrap_or(line).split(" >").next().unwrap_or(line);
            let words = words(line);
            let matches = command_line().try_get_matches_from(&words);
            assert!(matches.is_ok(), "{line}: {}", matches.expect_err("refused"));
            for pair in words.windows(2).filter(|pair| pair[0] == "--from" || pair[0] == "--to") {
                let read = edgescope_model::time::parse_time(&pair[1], edgescope_model::time::from_seconds(1_000_000));
                assert!(read.is_ok(), "{line}: {}", read.expect_err("refused"));
            }
            tried += 1;
        }
    }
    assert!(tried > 20, "only {tried} examples were found");
}
