//! What `weak`, `clear` and `strong` mean for each fault: the committed table (also in `docs/testbed.md`).

use crate::fault::{Kind, Strength};
use serde::Serialize;

/// A fault's size, in the unit of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Degree {
    /// Packets dropped, in hundredths of a percent.
    DropPer10k(u32),
    /// Added to the round trip of every packet that passes.
    RttAddedUs(u32),
    /// Share of flows (by hash of addresses and ports) that is hit, in percent.
    FlowsPercent(u32),
    /// The process is gone; there is nothing more or less to it.
    Gone,
    /// Added to each request's think time.
    ThinkAddedUs(u32),
    /// What the process still reads, per connection.
    ReadBytesPerS(u32),
    /// Share of its usual requests that a client still makes, in percent.
    DemandPercent(u32),
    /// Share of questions that the resolvers answer with SERVFAIL, in percent.
    ServfailPercent(u32),
    /// The resolvers answer nothing.
    Mute,
}

/// The table. `blackhole` and `refused` hit all flows from `clear` on, and `crash` knows no degrees: there `strong` equals
/// `clear`.
pub fn degree(kind: Kind, strength: Strength) -> Degree {
    let pick = |weak: u32, clear: u32, strong: u32| match strength {
        Strength::Weak => weak,
        Strength::Clear => clear,
        Strength::Strong => strong,
    };
    match kind {
        Kind::Loss => Degree::DropPer10k(pick(100, 500, 1_500)),
        Kind::Congestion => Degree::RttAddedUs(pick(2_000, 10_000, 50_000)),
        Kind::Blackhole | Kind::Refused => Degree::FlowsPercent(pick(30, 100, 100)),
        Kind::Crash => Degree::Gone,
        Kind::SlowService => Degree::ThinkAddedUs(pick(20_000, 100_000, 500_000)),
        Kind::SlowReader => Degree::ReadBytesPerS(pick(64_000, 16_000, 4_000)),
        Kind::DemandDrop => Degree::DemandPercent(pick(70, 30, 5)),
        Kind::Dns if strength == Strength::Strong => Degree::Mute,
        Kind::Dns => Degree::ServfailPercent(pick(40, 100, 100)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docs_show_the_table_as_it_is() {
        let docs = include_str!("../../../docs/testbed.md");
        for &kind in Kind::ALL {
            let cell = |s: Strength| match degree(kind, s) {
                Degree::DropPer10k(n) => format!("{} %", n / 100),
                Degree::RttAddedUs(us) => format!("{} ms", us / 1_000),
                Degree::FlowsPercent(p) => format!("{p} %"),
                Degree::Gone => "gone".to_string(),
                Degree::ThinkAddedUs(us) => format!("{} ms", us / 1_000),
                Degree::ReadBytesPerS(b) => format!("{} kB/s", b / 1_000),
                Degree::DemandPercent(p) => format!("{p} %"),
                Degree::ServfailPercent(p) => format!("{p} % SERVFAIL"),
                Degree::Mute => "no answer".to_string(),
            };
            let cells: Vec<_> = Strength::ALL.iter().map(|&s| cell(s)).collect();
            let row = format!("| {} |", cells.join(" | "));
            let found = docs.lines().any(|l| l.starts_with(&format!("| `{kind}` |")) && l.ends_with(&row));
            assert!(found, "docs/testbed.md has no row of `{kind}` ending in {row}");
        }
    }
}
