//! How often the verdict is right: every fault at every scope where it exists, with three seeds, at `clear`; runs in which
//! nothing is wrong; and a second company with other names and another shape.
//!
//! Each run is one `edgescope demo --once --json`, a process of its own with a company of its own; its outcome is one line in the
//! results file. That file is the state: a run that has a line is not run again, so that the bench goes on where it was stopped.

mod plan;
mod results;
mod summary;

use clap::Parser;
use plan::Run;
use results::Results;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;
use summary::Summary;

/// How often is the verdict right? Exit 0 if all runs are done and every criterion is met.
#[derive(Debug, Parser)]
#[command(name = "bench-verdict", version)]
struct Args {
    /// Outcomes, one JSON object a line; also what makes the bench resumable.
    #[arg(long)]
    results: PathBuf,
    /// What is measured: a word that changes with the code. `run` makes it from the sources.
    #[arg(long, default_value = "unnamed")]
    program: String,
    /// Only runs whose name contains this, such as `loss:` or `other/`.
    #[arg(long)]
    only: Option<String>,
    /// Runs at the same time: each takes most of a core.
    #[arg(long, default_value_t = 2)]
    jobs: usize,
    /// Run again what another program told wrong.
    #[arg(long)]
    again: bool,
    /// Run again all that this program has not played.
    #[arg(long)]
    afresh: bool,
    /// Seeds of the first company's faults.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 3])]
    seeds: Vec<u64>,
    /// At most so many runs, then the summary.
    #[arg(long)]
    limit: Option<usize>,
    /// List the runs and their state, and end.
    #[arg(long)]
    list: bool,
    /// Only the summary of what was run.
    #[arg(long)]
    summary: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let mut runs = plan::all(&args.seeds);
    if let Some(only) = &args.only {
        runs.retain(|run| run.name().contains(only.as_str()));
    }
    let results = match Results::open(&args.results, &args.program) {
        Ok(results) => results,
        Err(error) => {
            eprintln!("error: {}: {error}", args.results.display());
            return ExitCode::FAILURE;
        }
    };
    if args.list {
        for run in &runs {
            println!("{:<60} {}", run.name(), results.word(&run.name()));
        }
        return ExitCode::SUCCESS;
    }
    let results = Mutex::new(results);
    if !args.summary {
        play(&args, &runs, &results);
    }
    let results = results.into_inner().unwrap_or_else(|e| e.into_inner());
    let summary = Summary::of(&runs, &results);
    println!("{summary}");
    if summary.is_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs what has no outcome yet, a few at once.
fn play(args: &Args, runs: &[Run], results: &Mutex<Results>) {
    let is_open = |run: &&Run| {
        let results = results.lock().unwrap_or_else(|e| e.into_inner());
        let right = results.right(&run.name());
        right.is_none_or(|right| (args.afresh || (args.again && !right)) && !results.is_of_this_program(&run.name()))
    };
    let open: Vec<&Run> = runs.iter().filter(is_open).take(args.limit.unwrap_or(usize::MAX)).collect();
    println!("{} of {} runs to do, {} at a time", open.len(), runs.len(), args.jobs);
    let (next, done, failed) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.max(1) {
            scope.spawn(|| {
                while let Some(run) = open.get(next.fetch_add(1, Ordering::Relaxed)).filter(|_| !failed.load(Ordering::Relaxed)) {
                    let outcome = edgescope_tests::demo::play(&run.arguments());
                    let stored = results.lock().unwrap_or_else(|e| e.into_inner()).add(&run.name(), &outcome);
                    if let Err(error) = stored {
                        eprintln!("error: {}: {error}", args.results.display());
                        failed.store(true, Ordering::Relaxed);
                    }
                    let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                    let each_s = began.elapsed().as_secs() / done as u64;
                    println!("[{done}/{} · about {} min left] {outcome}", open.len(), each_s * (open.len() - done) as u64 / 60);
                }
            });
        }
    });
}
