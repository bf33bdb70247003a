//! How many instructions the verifier looked at, against what was recorded: a program that grows much is on its way to be refused by some kernel, and a
//! compiler that unrolls what it did not before shows here first. The numbers depend on kernel and compiler, so each pair has its own part.
#![allow(dead_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use edgescope_probe::{VerifiedProgram, kernel_report};

/// `kernel 6.18 clang 14`, then a line for each program: its name, and a number or `refused`.
pub const RECORDED: &str = include_str!("../golden/verified_insns.txt");

/// A program may grow by this share, in percent, before someone has to look at it.
pub const TOLERANCE_PERCENT: u64 = 10;

/// Which kernel and compiler the numbers belong to: `kernel 6.18 clang 14`.
pub fn part_name() -> String {
    let release = kernel_report().release;
    let numbers: Vec<&str> = release.split(['.', '-']).take(2).collect();
    format!("kernel {} clang {}", numbers.join("."), env!("EDGESCOPE_CLANG"))
}

/// Program → instructions, `None` where the kernel refused it.
pub type Part = BTreeMap<String, Option<u64>>;

pub fn part_of(programs: &[VerifiedProgram]) -> Part {
    programs.iter().map(|of| (of.name.clone(), of.instructions.as_ref().ok().map(|count| u64::from(*count)))).collect()
}

/// The part of `recorded` with this name; `None` if there is none.
pub fn find(recorded: &str, name: &str) -> Option<Part> {
    let mut lines = recorded.lines().skip_while(|line| *line != name);
    lines.next()?;
    let lines = lines.take_while(|line| !line.is_empty());
    Some(lines.filter_map(|line| line.split_once(' ')).map(|(program, count)| (program.to_owned(), count.parse().ok())).collect())
}

/// `recorded` with this part anew; others stay.
pub fn with(recorded: &str, name: &str, part: &Part) -> String {
    let blocks = recorded.trim_end().split("\n\n").filter(|block| block.lines().next() != Some(name)).map(str::to_owned);
    let mut blocks: Vec<String> = blocks.filter(|block| !block.is_empty()).collect();
    blocks.push(print(name, part));
    blocks.join("\n\n") + "\n"
}

pub fn print(name: &str, part: &Part) -> String {
    let mut block = name.to_owned();
    for (program, count) in part {
        let _ = match count {
            Some(count) => write!(block, "\n{program} {count}"),
            None => write!(block, "\n{program} refused"),
        };
    }
    block
}

/// What is wrong with `now`, a line each.
pub fn faults(recorded: &Part, now: &Part) -> Vec<String> {
    let gone = recorded.keys().filter(|name| !now.contains_key(*name)).map(|name| format!("{name}: recorded, and not in the object"));
    let changed = now.iter().filter_map(|(name, count)| match (recorded.get(name), count) {
        (None, _) => Some(format!("{name}: not recorded")),
        (Some(Some(was)), None) => Some(format!("{name}: refused; it had {was} instructions")),
        (Some(Some(was)), Some(count)) if *count * 100 > was * (100 + TOLERANCE_PERCENT) => {
            Some(format!("{name}: {count} instructions, {was} recorded: more than {TOLERANCE_PERCENT} % above"))
        }
        _ => None,
    });
    gone.chain(changed).collect()
}
