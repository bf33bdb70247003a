//! Committed files that the catalogue and the protocol generate: compared here, rewritten with `UPDATE=1` (`make contracts`).
#![allow(clippy::unwrap_used)]

use edgescope_model::dims::Dim;
use edgescope_model::signal::{CATALOGUE, DERIVED, Ends, Kind};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

fn path(file: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(file)
}

fn compare(file: &str, now: &str) {
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path(file), now).unwrap();
    }
    assert!(std::fs::read_to_string(path(file)).unwrap_or_default() == now, "docs/{file} is not what the code says: run make contracts");
}

fn row(text: &mut String, cells: &[&str]) {
    writeln!(text, "| {} |", cells.join(" | ").replace('\n', " ")).unwrap();
}

fn code(names: impl IntoIterator<Item = impl AsRef<str>>) -> String {
    names.into_iter().map(|name| format!("`{}`", name.as_ref())).collect::<Vec<_>>().join(" ")
}

#[test]
fn contract_signals() {
    let mut text = "# Signals\n\nEvery measured series, as the catalogue in `crates/model` has it; `make contracts` writes this page. Units are UCUM symbols of what the \
                    API answers: `By` bytes, `s` seconds, `1` a count or a share. What the names mean for the two ends of an edge is rule 2 of \
                    [ARCHITECTURE.md](../ARCHITECTURE.md).\n\n"
        .to_owned();
    row(&mut text, &["signal", "what", "unit", "merges as", "seen by", "ask for"]);
    row(&mut text, &["---"; 6]);
    for signal in CATALOGUE {
        let merges = match signal.kind {
            Kind::Sum => "sum",
            Kind::Max => "maximum",
            Kind::Min => "minimum",
            Kind::Histogram => "histogram",
        };
        let ends = match signal.ends {
            Ends::Sender => "sender",
            Ends::Receiver => "receiver",
            Ends::Both => "both ends",
        };
        row(&mut text, &[&code([signal.name]), signal.brief, signal.unit.symbol(), merges, ends, &code(signal.measures())]);
    }
    text.push_str(
        "\n## Quotients\n\nComputed from sums of the same rows; null where a column that they need is absent, or nothing is below the line.\n\n",
    );
    row(&mut text, &["measure", "what", "unit", "above the line", "below", "needs"]);
    row(&mut text, &["---"; 6]);
    for derived in DERIVED {
        let parts = |parts: &[(&str, i8)]| code(parts.iter().map(|(name, sign)| if *sign < 0 { format!("-{name}") } else { (*name).to_owned() }));
        let (above, below) = (parts(derived.numerator), parts(derived.denominator));
        row(&mut text, &[&code([derived.name]), derived.brief, derived.unit.symbol(), &above, &below, &code(derived.required)]);
    }
    text.push_str("\n## Dimensions\n\nEdges are grouped and filtered by these. `source` is where the bytes come from, `dest` where they go.\n\n");
    row(&mut text, &["dimension", "what"]);
    row(&mut text, &["---"; 2]);
    for dim in Dim::all() {
        row(&mut text, &[&code([dim.to_string()]), dim.brief()]);
    }
    compare("signals.md", &text);
}

/// `| message | number | …`, by message and number.
fn fields(text: &str) -> BTreeMap<(String, String), String> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|line| {
        let cells: Vec<&str> = line.split(" | ").collect();
        Some(((cells.first()?.trim_matches('`').to_owned(), (*cells.get(1)?).to_owned()), cells.get(2..)?.join(" | ")))
    })
    .collect()
}

#[test]
fn contract_wire() {
    let mut text = "# The wire between agent and server\n\nEvery field of `crates/model/proto/edgescope.proto`; `make contracts` writes this page. Agents and servers of \
                    different versions talk to each other, so a number keeps its name and type for ever: the test that writes this page refuses anything else.\n\n"
        .to_owned();
    row(&mut text, &["message", "number", "type", "field"]);
    row(&mut text, &["---"; 4]);
    let proto = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("proto");
    let all = protox::compile(["edgescope.proto"], [proto]).unwrap();
    for message in all.file.iter().flat_map(|file| &file.message_type) {
        for field in &message.field {
            let kind = match field.type_name() {
                "" => format!("{:?}", field.r#type()).to_lowercase(),
                name => name.rsplit('.').next().unwrap_or(name).to_owned(),
            };
            let kind = if field.label() as i32 == 3 { format!("repeated {kind}") } else { kind };
            row(&mut text, &[&code([message.name()]), &field.number().to_string(), &kind, &code([field.name()])]);
        }
    }
    for of in all.file.iter().flat_map(|file| &file.enum_type) {
        for value in &of.value {
            row(&mut text, &[&code([of.name()]), &value.number().to_string(), "value", &code([value.name()])]);
        }
    }
    let now = fields(&text);
    for (number, was) in fields(&std::fs::read_to_string(path("wire.md")).unwrap_or_default()) {
        assert!(now.get(&number).is_none_or(|is| *is == was), "{} {}: was {was}, is {}; take a new number", number.0, number.1, now[&number]);
    }
    compare("wire.md", &text);
}
