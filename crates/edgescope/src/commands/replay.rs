//! `edgescope replay`: packet captures in place of the kernel.

mod table;

use crate::show;
use clap::Args;
use edgescope_replay::{Damage, Position, Report, Settings, replay_file};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use table::Table;

/// A damaged capture was read as far as it goes.
const DAMAGED: u8 = 3;
/// Between two lines of progress.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Read packet captures in place of the kernel: the same signals for each connection. Reads pcap and pcapng, plain or compressed by gzip or
/// zstd; needs no server, no root, no BPF. A damaged capture is read up to the damage; the exit code is then 3.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope replay incident.pcap                        the worst connections first, and what could not be told
  edgescope replay incident.pcapng.gz --limit 200       more of them
  edgescope replay left.pcap right.pcap                 several captures, each by itself
  edgescope replay - < incident.pcap                    from a pipe
  edgescope replay incident.pcap --json                 one object a connection, one a line; the last is of the capture

How to read it (docs/replay.md says more):
  rtt      two parts: from the capture point to the server and back, and to the client and back
  lost     time that went by in time-outs, stalls, closed windows and failed connects
  retrans  12 (7 unseen): 12 were sent again; 7 of them had been lost on the sender's side")]
pub struct ReplayArgs {
    /// Captures; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
    /// Print JSON, one object a line: one for each connection (kind tcp or udp), as soon as it is over, then one for the capture.
    #[arg(long)]
    pub json: bool,
    /// Most connections in the table.
    #[arg(long, default_value_t = 50)]
    pub limit: usize,
    /// TCP connections, and UDP conversations, that are followed at once. What exceeds it is reported early, and counted.
    #[arg(long, value_name = "N", default_value_t = Settings::default().connections_max)]
    pub max_connections: usize,
}

/// Runs the command.
pub fn run(args: &ReplayArgs) -> anyhow::Result<ExitCode> {
    let settings = Settings { connections_max: args.max_connections };
    let mut damaged = false;
    for file in &args.files {
        let mut progress = Progress::new();
        let name = show::safe(&file.display().to_string());
        let damage = if args.json {
            let mut lines = Lines::new();
            let damage = replay_file(file, &settings, |report| lines.print(&report), |position| progress.goes_on(position));
            progress.clear();
            lines.finish()?;
            damage?
        } else {
            let mut table = Table::new(args.limit);
            let damage = replay_file(file, &settings, |report| table.takes(report), |position| progress.goes_on(position));
            progress.clear();
            let damage = damage?;
            if damage.as_ref().is_none_or(Damage::leaves_something) {
                show::out(&table.text())?;
            }
            damage
        };
        if let Some(damage) = damage {
            anyhow::ensure!(damage.leaves_something(), "{name} cannot be read: {}", damage.what);
            damaged = true;
            eprintln!("edgescope: {name} is {damage}");
        }
    }
    Ok(if damaged { ExitCode::from(DAMAGED) } else { ExitCode::SUCCESS })
}

/// JSON lines; the first failure is kept, and ends it.
struct Lines {
    out: BufWriter<io::Stdout>,
    failed: Option<io::Error>,
}

impl Lines {
    fn new() -> Self {
        Self { out: BufWriter::new(io::stdout()), failed: None }
    }

    fn print(&mut self, report: &Report) -> ControlFlow<()> {
        let written = serde_json::to_writer(&mut self.out, report).map_err(io::Error::from).and_then(|()| self.out.write_all(b"\n"));
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                self.failed.get_or_insert(error);
                ControlFlow::Break(())
            }
        }
    }

    fn finish(mut self) -> io::Result<()> {
        match self.failed {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }
}

/// How far it is, on a terminal only.
struct Progress {
    is_shown: bool,
    began: Instant,
    said: Option<Instant>,
}

impl Progress {
    fn new() -> Self {
        Self { is_shown: io::stderr().is_terminal(), began: Instant::now(), said: None }
    }

    fn goes_on(&mut self, position: &Position) {
        if !self.is_shown || self.said.unwrap_or(self.began).elapsed() < PROGRESS_EVERY {
            return;
        }
        self.said = Some(Instant::now());
        let read = position.read() as f64;
        let rate = read / self.began.elapsed().as_secs_f64().max(0.001);
        let done = if position.total > 0 {
            let left = (position.total as f64 - read).max(0.0) / rate.max(1.0);
            format!("{} of {}, about {} left", show::bytes(read), show::bytes(position.total as f64), show::seconds(left))
        } else {
            show::bytes(read)
        };
        eprint!("\r\x1b[Kreading: {done}");
    }

    fn clear(&self) {
        if self.said.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
