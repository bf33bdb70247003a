//! What the verifier says of each program, against the record. `UPDATE=1` writes the record of this kernel and compiler.
#![allow(clippy::unwrap_used)]

#[path = "support/golden.rs"]
mod golden;

use std::path::Path;

use golden::{Part, RECORDED};

#[test]
fn no_program_grew_or_is_gone() {
    let programs = edgescope_probe::verified_programs().unwrap();
    let (name, now) = (golden::part_name(), golden::part_of(&programs));
    if std::env::var_os("UPDATE").is_some() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/verified_insns.txt");
        let recorded = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, golden::with(&recorded, &name, &now)).unwrap();
        return;
    }
    let Some(recorded) = golden::find(RECORDED, &name) else {
        println!("COMPARED NOTHING: no numbers are recorded of {name}; UPDATE=1 records these:\n{}", golden::print(&name, &now));
        return;
    };
    let faults = golden::faults(&recorded, &now);
    assert!(faults.is_empty(), "{name}\n{}\nif that is meant: UPDATE=1, and say why in the commit", faults.join("\n"));
    println!("{} programs compared with the record of {name}", now.len());
}

fn part(lines: &str) -> Part {
    golden::find(&format!("first\na 1\n\nx\n{lines}\n\nlast\nb 2\n"), "x").unwrap()
}

#[test]
fn growth_absence_and_strangers_are_faults() {
    let recorded = part("a 100\nb refused\nc 7");
    let faults = |now: &str| golden::faults(&recorded, &part(now));
    assert!(faults("a 110\nb refused\nc 7").is_empty(), "as much as is allowed");
    assert!(faults("a 50\nb 9\nc 7").is_empty(), "less, and one that is taken now");
    assert_eq!(faults("a 111\nb refused\nc 7"), ["a: 111 instructions, 100 recorded: more than 10 % above"]);
    assert_eq!(faults("a refused\nb refused\nc 7"), ["a: refused; it had 100 instructions"]);
    assert_eq!(faults("a 100\nb refused\nd 1"), ["c: recorded, and not in the object", "d: not recorded"]);
}

#[test]
fn a_part_is_written_without_touching_others() {
    let recorded = "# words\n\nkernel 1\na 1\n\nkernel 2\nb 2\n";
    assert_eq!(golden::find(recorded, "kernel 3"), None);
    let more = golden::with(recorded, "kernel 1", &part("c 3\nd refused"));
    assert_eq!(more, "# words\n\nkernel 2\nb 2\n\nkernel 1\nc 3\nd refused\n");
    assert_eq!(golden::find(&more, "kernel 1").unwrap(), part("c 3\nd refused"));
}
