//! A million hostile configuration files, and as many values of variables and flags: each is taken, or refused in one readable line; within time and memory.
//!
//! A file costs 0.1 ms in the build of the tests (YAML is read into the types and into a tree), a value 0.04 ms: a million of each take two minutes and less than one.

#![allow(clippy::unwrap_used, reason = "tests")]

use edgescope::config::{Config, File, HEAP_BYTES_MIN, HEAP_PER_BYTE_MAX, assemble, reference};
use edgescope_fuzz::{Campaign, Source};
use std::path::Path;

const CORPUS: &str = include_str!("corpus/config.yaml");
/// Longest file that is tried: the longest of the corpus, twice.
const BYTES_MAX: usize = 1200;
/// Longest refusal: a path, a value and what to do. A value is as long as the input at most.
const SAID_BYTES_MAX: usize = 2 * BYTES_MAX + 600;

const WORDS: [&[u8]; 34] = [
    b"identity:\n",
    b"  rules:\n",
    b"    - match: ",
    b"agent:\n",
    b"store:\n",
    b"  networks: { files: [",
    b": ",
    b"\n  ",
    b"\n",
    b"- ",
    b"{",
    b"}",
    b"[",
    b"]",
    b"&a ",
    b"*a",
    b"<<: *a",
    b"!!binary ",
    b"|\n",
    b">-\n",
    b"---\n",
    b"? ",
    b"\"\\u202e\"",
    b"'",
    b"~",
    b"true",
    b".inf",
    b"0x7fffffffffffffff",
    b"18446744073709551616",
    b"-1",
    b"1e400",
    b"10.0.0.0/8",
    b"2001:db8::/129",
    b"127.0.0.1:99999",
];

/// A refusal is one line that can be printed, and says something.
fn is_readable(said: &str) -> bool {
    !said.is_empty() && said.len() <= SAID_BYTES_MAX && !said.contains('\n')
}

/// Whether a configuration was taken; what is refused is refused in words.
fn is_taken(outcome: anyhow::Result<Config>) -> bool {
    match outcome {
        Ok(config) => {
            // What was taken is taken again as it is printed.
            let tree = serde_json::to_value(&config).unwrap();
            assert!(tree.is_object());
            true
        }
        Err(error) => {
            let said = format!("{error:#}");
            assert!(is_readable(&said), "{said:?}");
            false
        }
    }
}

fn scalar(source: &mut Source) -> String {
    let words = [
        "1",
        "0",
        "-1",
        "10",
        "65536",
        "true",
        "false",
        "~",
        "''",
        "auto",
        "always",
        "n1",
        "shop",
        "10.0.0.0/8",
        "fd00::/8",
        "10.0.0.1:8101",
        "[::1]:8101",
        "127.0.0.1:0",
        "0.5",
        ".nan",
        "1e3",
        "/var/lib/x",
        "cart.service",
        "18446744073709551615",
        "18446744073709551616",
        "a-process-with-a-long-name",
        "http://h:4317",
        "\"\\u202e\"",
        "'it''s'",
        "[a, b]",
        "{a: b}",
        "12_000",
        "0x10",
        "2026-01-31",
        "null",
    ];
    (*source.pick(&words)).to_owned()
}

/// Some keys that there are, with values of their kind or of another; and rules.
fn generate(source: &mut Source, keys: &[(String, String)]) -> Vec<u8> {
    let mut sections: Vec<(String, Vec<String>)> = Vec::new();
    for _ in 0..source.length(6) {
        let (key, default) = source.pick(keys);
        let value = if source.one_in(2) { default.clone() } else { scalar(source) };
        let (section, rest) = key.split_once('.').unwrap();
        let line = nested(rest, &value, source);
        match sections.iter_mut().find(|(name, _)| name == section) {
            Some((_, lines)) => lines.push(line),
            None => sections.push((section.to_owned(), vec![line])),
        }
    }
    let mut out = String::new();
    for (section, lines) in sections {
        out += &format!("{section}:\n{}", lines.concat());
    }
    if source.one_in(2) && !out.contains("identity:") {
        out += "identity:\n  rules:\n";
        for _ in 0..source.length(5) {
            out += &rule(source);
        }
    }
    if source.one_in(20) {
        out += &format!("{}: {}\n", scalar(source), scalar(source));
    }
    out.into_bytes()
}

/// `a.b` as a level below its section, in one of the ways in which it can be written.
fn nested(path: &str, value: &str, source: &mut Source) -> String {
    let flow = source.one_in(3);
    match path.split_once('.') {
        Some((first, rest)) if flow => format!("  {first}: {{ {}: {value} }}\n", rest.replace('.', ": { ")),
        Some((first, rest)) => format!("  {first}:\n    {}: {value}\n", rest.replace('.', ":\n      ")),
        None => format!("  {path}: {value}\n"),
    }
}

fn rule(source: &mut Source) -> String {
    let mut out = String::from("    - match: {");
    for field in ["netns", "cidr", "port", "process", "cgroup", "unit"] {
        if source.one_in(3) {
            let value = match field {
                "cidr" if !source.one_in(4) => "10.0.0.0/8".to_owned(),
                "port" if !source.one_in(4) => source.below(65_536).to_string(),
                _ => scalar(source),
            };
            out += &format!(" {field}: {value},");
        }
    }
    out += " }\n";
    for field in ["workload", "namespace", "node", "zone", "region", "environment", "pod", "wurkload"] {
        if source.one_in(if field == "wurkload" { 40 } else { 3 }) {
            out += &format!("      {field}: {}\n", scalar(source));
        }
    }
    out
}

fn campaign(decoder: &str, corpus: Vec<Vec<u8>>) -> Campaign<'_> {
    let heaviest = vec![b"[".repeat(BYTES_MAX), b"{a: ".repeat(BYTES_MAX / 4), b"- ".repeat(BYTES_MAX / 2), aliases(), b"? ".repeat(BYTES_MAX / 2)];
    Campaign {
        decoder,
        corpus,
        heaviest,
        dictionary: &WORDS,
        input_bytes_max: BYTES_MAX,
        heap_bytes_max: (HEAP_BYTES_MIN + BYTES_MAX * HEAP_PER_BYTE_MAX) as u64,
    }
}

/// Each name stands for ten of the one before.
fn aliases() -> Vec<u8> {
    let mut out = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..9 {
        let before = format!("*a{}", level - 1);
        out += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(", "));
    }
    out.into_bytes()
}

fn documents() -> Vec<Vec<u8>> {
    CORPUS.split("\n---\n").map(|document| document.as_bytes().to_vec()).collect()
}

fn keys() -> Vec<(String, String)> {
    reference().into_iter().map(|key| (key.key, key.default)).collect()
}

#[test]
fn config_files() {
    let keys = keys();
    campaign("config files", documents()).run(
        |source| generate(source, &keys),
        |input| {
            let Ok(text) = std::str::from_utf8(input) else { return false };
            is_taken(assemble(Some(&File::new(Path::new("e.yaml"), text)), |_| None, |_| None))
        },
    );
}

/// A key by its number, then its value: what stands in a variable, and half of the time another in the flag of the same key.
#[test]
fn config_values() {
    let reference = reference();
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for (number, key) in reference.iter().enumerate() {
        corpus.push([&[number as u8, 0], key.default.trim_matches('"').as_bytes()].concat());
    }
    let generate = |source: &mut Source| [&[source.below(reference.len()) as u8, source.below(2) as u8], scalar(source).as_bytes()].concat();
    Campaign { heaviest: Vec::new(), ..campaign("config values", corpus) }.run(generate, |input| {
        let [number, both, rest @ ..] = input else { return false };
        let key = &reference[usize::from(*number) % reference.len()];
        // The environment and the command line hold text without NUL.
        let Ok(text) = std::str::from_utf8(rest) else { return false };
        let variable = |name: &str| (name == key.variable).then(|| text.to_owned());
        let flag = |name: &str| (both % 2 == 1 && name == key.key).then(|| text.chars().rev().collect());
        is_taken(assemble(None, variable, flag))
    });
}
