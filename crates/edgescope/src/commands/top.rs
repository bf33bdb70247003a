//! `edgescope top`: the edges again and again, worst first.

use crate::commands::edges::{self, EdgesArgs};
use clap::Args;
use std::io::{IsTerminal, Write};
use std::time::Duration;

/// Watch edges live, refreshed every few seconds.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope top                                              most bytes first, every 5 seconds
  edgescope top --sort -tcp.retrans_rate --from -2m          worst loss first
  edgescope top --filter \"dest.workload = 'cartservice'\"     who talks to the cart
  edgescope top --every 10 --times 6 --json                  a minute, one document a line")]
pub struct TopArgs {
    #[command(flatten)]
    pub edges: EdgesArgs,
    /// Seconds between refreshes.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
    /// Refresh this often, then end; 0: until Ctrl-C.
    #[arg(long, default_value_t = 0)]
    pub times: u64,
}

/// Runs until interrupted, or as often as asked. With `--json` one document a line.
pub fn run(args: &TopArgs) -> anyhow::Result<()> {
    let mut out = std::io::stdout();
    let clear = out.is_terminal() && !args.edges.asking.json;
    let mut round = 0;
    loop {
        let answer = args.edges.ask()?;
        if args.edges.asking.json {
            writeln!(out, "{}", edges::as_json(&answer))?;
        } else {
            if clear {
                write!(out, "\x1b[2J\x1b[H")?;
            }
            writeln!(out, "edgescope top · {} to {} · every {} s · Ctrl-C ends\n", args.edges.from, args.edges.to, args.every)?;
            write!(out, "{}", edges::as_text(&answer))?;
        }
        out.flush()?;
        round += 1;
        if round == args.times {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(args.every));
    }
}
