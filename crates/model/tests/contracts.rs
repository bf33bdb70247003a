//! Committed files that the catalogue and the protocol generate: compared here, rewritten with `UPDATE=1` (`make contracts`).
#![allow(clippy::unwrap_used)]

use edgescope_model::dims::Dim;
use edgescope_model::metric::internal::{Fate, INTERNAL};
use edgescope_model::metric::labels::{EDGE_LABELS, END_LABELS};
use edgescope_model::metric::{self, Instrument, Metric, Set, legacy};
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

/// Exported metrics that are made of a signal.
fn leaves_in(signal: &str) -> Vec<&'static str> {
    let made_of =
        |metric: &&Metric| metric.parts.iter().flat_map(|p| p.formula.measures()).any(|m| m == signal || m.strip_suffix(".buckets") == Some(signal));
    metric::all().iter().filter(made_of).map(|metric| metric.name).collect()
}

const fn kind(instrument: Instrument) -> &'static str {
    match instrument {
        Instrument::Sum => "Sum",
        Instrument::Gauge => "Gauge",
        Instrument::Histogram => "Histogram",
    }
}

/// What exports send: names, types, units, formulas, dimensions, and what became of the original's.
fn exported(text: &mut String) {
    text.push_str(
        "\n## Exported metrics\n\nWhat leaves over OTLP and to Prometheus ([export.md](export.md) says how). A Sum leaves over OTLP as a delta, monotonic, \
         from the slot's start to its end, and is a counter in Prometheus. Histograms have explicit buckets with bounds at the powers of two from 128 µs to 16.8 s; \
         their sum takes each value as the middle of its stored bucket (within 6.25 %). A point carries the dimensions below, and the attributes of its \
         row. Gauges marked as averages, maxima and minima have no trailing zero.\n",
    );
    for (set, title) in [
        (Set::Legacy, "The original collector's flow metrics"),
        (Set::Own, "Further signals, under the catalogue's names"),
        (Set::Otel, "Names proposed to OpenTelemetry's semantic conventions"),
    ] {
        write!(text, "\n### {title}\n\n").unwrap();
        row(text, &["OTLP", "Prometheus", "type", "unit", "default", "category", "made of", "attributes", "what"]);
        row(text, &["---"; 9]);
        for metric in metric::all().iter().filter(|metric| metric.set == set) {
            let made_of: Vec<_> = metric.parts.iter().map(part).collect();
            let unit = metric.unit_original.map_or(metric.unit.to_owned(), |original| format!("{} (original: {original})", metric.unit));
            let default = if metric.on { "on" } else { "off" };
            let names = (code([metric.name]), code([metric.prometheus_name()]));
            let cells = [
                &names.0,
                &names.1,
                kind(metric.instrument),
                &unit,
                default,
                metric.category.as_str(),
                &made_of.join("; "),
                &code(metric.attributes()),
                metric.brief,
            ];
            row(text, &cells);
        }
    }
    text.push_str("\n### Dimensions of exported points\n\nOf each end, as `source.X` and `dest.X`; in Prometheus with `_` for `.`, and left out where they are `-`.\n\n");
    row(text, &["dimension", "what", "where unknown", "levels"]);
    row(text, &["---"; 4]);
    for label in END_LABELS {
        let levels = if label.of_endpoint { "the end that the level tells apart" } else { "all" };
        row(text, &[&code([label.name]), label.brief, &code([label.unknown]), levels]);
    }
    text.push_str("\nOf the edge:\n\n");
    row(text, &["dimension", "what"]);
    row(text, &["---"; 2]);
    for (name, brief) in EDGE_LABELS {
        row(text, &[&code([name]), brief]);
    }
    text.push_str("\n### Known errors of the original\n\n");
    row(text, &["the original", "Edgescope"]);
    row(text, &["---"; 2]);
    legacy::DEFECTS.iter().for_each(|(theirs, ours)| row(text, &[theirs, ours]));
    text.push_str(
        "\nNames that its documents give to metrics which its code calls otherwise are understood in `export.enable` and `export.disable`:\n\n",
    );
    row(text, &["documented", "emitted"]);
    row(text, &["---"; 2]);
    legacy::ALIASES.iter().for_each(|(documented, emitted)| row(text, &[&code([documented]), &code([emitted])]));
    text.push_str("\n### The original's own metrics (`ebpf_net.*`)\n\nThose that still mean something leave over OTLP under the same name; Edgescope's further numbers are at `/metrics`.\n\n");
    row(text, &["metric", "default", "type", "unit", "what, or why it is gone"]);
    row(text, &["---"; 5]);
    for internal in INTERNAL {
        let default = if internal.on { "on" } else { "off" };
        match internal.fate {
            Fate::Kept { instrument, unit, brief } => row(text, &[&code([internal.name]), default, kind(instrument), unit, brief]),
            Fate::Gone(why) => row(text, &[&code([internal.name]), "–", "gone", "–", why]),
        }
    }
}

/// `status_code=200: http.status_2xx`.
fn part(part: &metric::Part) -> String {
    let attributes: Vec<_> = part.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if attributes.is_empty() { part.formula.to_string() } else { format!("{}: {}", attributes.join(","), part.formula) }
}

#[test]
fn contract_signals() {
    let mut text = "# Signals\n\nEvery measured series, as the catalogue in `crates/model` has it; `make contracts` writes this page. Units are UCUM symbols of what the \
                    API answers: `By` bytes, `s` seconds, `1` a count or a share. What the names mean for the two ends of an edge is rule 2 of \
                    [ARCHITECTURE.md](../ARCHITECTURE.md).\n\n"
        .to_owned();
    row(&mut text, &["signal", "what", "unit", "merges as", "seen by", "ask for", "leaves in"]);
    row(&mut text, &["---"; 7]);
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
            Ends::Each => "each end its part",
        };
        row(
            &mut text,
            &[&code([signal.name]), signal.brief, signal.unit.symbol(), merges, ends, &code(signal.measures()), &code(leaves_in(signal.name))],
        );
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
    exported(&mut text);
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
