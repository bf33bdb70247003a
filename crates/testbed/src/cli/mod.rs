//! Commands of the development binary.

mod measure;

use clap::{Parser, Subcommand};
use edgescope_testbed::{Fault, Options, Spec, Strength, Testbed, Topology, Witness, clean, run, this_executable};
use std::error::Error;
use std::io::BufRead;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// A small company in network namespaces, with traffic and faults of known truth.
#[derive(Parser)]
#[command(name = "edgescope-testbed", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Start the company; then obey lines on standard input (inject FAULT | heal | truth | counters | relay | quiesce | stop)
    Start {
        #[command(flatten)]
        company: Company,
        /// Inject this fault, for example loss:zone=us-east-1b:clear
        #[arg(long)]
        fault: Option<Fault>,
        /// Seconds until the fault
        #[arg(long, default_value_t = 10.0)]
        after: f64,
        /// Seconds until the end; without it, until Ctrl-C or `stop`
        #[arg(long = "for")]
        duration: Option<f64>,
    },
    /// Print the counters of a run that lives, as JSON
    Counters { run: String },
    /// Start the company, let it run, and print what it costs
    Measure {
        #[command(flatten)]
        company: Company,
        /// Seconds to measure
        #[arg(long = "for", default_value_t = 20.0)]
        duration: f64,
    },
    /// List all faults that exist, with the places that a seed may pick
    Faults {
        #[command(flatten)]
        company: Company,
    },
    /// Delete what dead runs left; runs that live are not touched
    Clean,
}

#[derive(clap::Args)]
struct Company {
    /// shop, or other (all names and the shape differ)
    #[arg(long, default_value = "shop")]
    topology: String,
    /// Requests per second at the front
    #[arg(long)]
    rate: Option<f64>,
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

type Outcome = Result<(), Box<dyn Error>>;

pub fn main() -> ExitCode {
    let done = match Cli::parse().command {
        Command::Start { company, fault, after, duration } => start(&company, fault, after, duration),
        Command::Counters { run } => counters(&run),
        Command::Measure { company, duration } => measure::measure(&company.options(), duration),
        Command::Faults { company } => faults(&company),
        Command::Clean => clean_up(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

impl Company {
    fn spec(&self) -> Result<Spec, Box<dyn Error>> {
        let mut spec = Spec::built_in(&self.topology)?;
        spec.rate_per_s = self.rate.unwrap_or(spec.rate_per_s);
        Ok(spec)
    }

    fn options(&self) -> Result<Options, Box<dyn Error>> {
        Ok(Options { spec: self.spec()?, command: this_executable(&[])?, seed: self.seed })
    }
}

/// What may happen while the company runs.
enum Event {
    Line(String),
    Signal,
}

/// Lines that wait to be obeyed; whoever types faster waits too.
const LINES_MAX: usize = 64;

/// Lines of standard input, and Ctrl-C or SIGTERM, as they come.
fn events() -> Result<Receiver<Event>, Box<dyn Error>> {
    let (sender, receiver) = mpsc::sync_channel(LINES_MAX);
    let lines = sender.clone();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if lines.send(Event::Line(line)).is_err() {
                return;
            }
        }
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut terminate = {
        let _inside = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = terminate.recv() => {} }
        });
        // If nobody listens any more the company is being stopped already.
        let _ = sender.send(Event::Signal);
    });
    Ok(receiver)
}

fn start(company: &Company, fault: Option<Fault>, after: f64, duration: Option<f64>) -> Outcome {
    let events = events()?;
    let began = Instant::now();
    let mut testbed = Testbed::start(company.options()?)?;
    eprintln!("run {} started in {:.1} s: {}", testbed.id(), began.elapsed().as_secs_f64(), testbed.dir().display());
    let began = Instant::now();
    let mut fault = fault.map(|f| (f, began + Duration::from_secs_f64(after)));
    let end = duration.map(|s| began + Duration::from_secs_f64(s));
    loop {
        let now = Instant::now();
        if let Some((due, _)) = fault.take_if(|(_, at)| *at <= now) {
            print(&testbed.inject(&due, company.seed)?)?;
        }
        if end.is_some_and(|end| end <= now) {
            break;
        }
        let next = fault.iter().map(|(_, at)| *at).chain(end).min();
        match wait(&events, next) {
            Some(Event::Line(line)) if line.trim() == "stop" => break,
            // A mistyped command is told, and the company goes on.
            Some(Event::Line(line)) => obey(&mut testbed, &line, company.seed).unwrap_or_else(|error| eprintln!("error: {error}")),
            Some(Event::Signal) => break,
            None => {}
        }
    }
    print(&testbed.heal()?)?;
    Ok(())
}

/// The next event, or none until `until`.
fn wait(events: &Receiver<Event>, until: Option<Instant>) -> Option<Event> {
    let Some(until) = until else { return events.recv().ok() };
    match events.recv_timeout(until.saturating_duration_since(Instant::now())) {
        Ok(event) => Some(event),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => None,
    }
}

fn obey(testbed: &mut Testbed, line: &str, seed: u64) -> Outcome {
    match line.split_whitespace().collect::<Vec<_>>()[..] {
        [] => Ok(()),
        ["inject", fault] => print(&testbed.inject(&fault.parse()?, seed)?),
        ["heal"] => print(&testbed.heal()?),
        ["truth"] => print(&testbed.truths()?),
        ["counters"] => print(&testbed.counters()?),
        ["relay"] => print(&testbed.relay_counters()?),
        ["quiesce"] => print(&testbed.quiesce(Duration::from_secs(30))?),
        _ => Err(format!("unknown command {line:?}: use inject FAULT, heal, truth, counters, relay, quiesce or stop").into()),
    }
}

fn print(value: &impl serde::Serialize) -> Outcome {
    println!("{}", serde_json::to_string_pretty(value)?);
    Ok(())
}

fn counters(id: &str) -> Outcome {
    let control = std::path::Path::new(run::RUNS_DIR).join(id).join("control");
    let sockets = std::fs::read_dir(&control).map_err(|e| format!("no run {id:?} lives here ({}: {e})", control.display()))?;
    let mut all: Vec<Witness> = Vec::new();
    for socket in sockets.flatten().filter(|s| !s.file_name().to_string_lossy().starts_with("ask-") && s.file_name() != "relay") {
        all.push(edgescope_testbed::service::control::ask(&socket.path(), &edgescope_testbed::service::control::Command::Counters)?);
    }
    print(&all)
}

fn faults(company: &Company) -> Outcome {
    let topology = Topology::new(company.spec()?)?;
    for fault in Fault::applicable(Strength::Clear) {
        let names: Vec<_> = fault.candidates(&topology).iter().map(|c| c.name(&topology)).collect();
        println!("{fault}: {}", names.join(", "));
    }
    Ok(())
}

fn clean_up() -> Outcome {
    let removed = clean()?;
    println!("removed {} dead run(s){}{}", removed.len(), if removed.is_empty() { "" } else { ": " }, removed.join(", "));
    Ok(())
}
