//! What the agent costs its node, measured with it and without it in turns on one machine.
//!
//! Two hosts in namespaces, one cable through a router. A turn is one load of throughput and one of connections; turns come as
//! with, without, without, with (ABBA), so that a machine that drifts hurts both alike. Pairs of neighbours give ratios; their
//! geometric mean has a bootstrap interval, and the criterion is met only if all of the interval meets it. The same with the
//! agent in no turn (A/A) shows what the machine alone does. The agent ships to an intake that acknowledges at once: a server
//! would be elsewhere.

mod intake;
mod load;
mod turns;

use clap::Parser;
use edgescope_tests::agent::{AgentSpec, Place};
use edgescope_tests::lab::{lab, netns_name};
use edgescope_tests::{Agent, Scene, until};
use intake::Intake;
use load::Load;
use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;
use turns::{Decision, Ratios};

/// Of throughput and of connections/s: what must be left with the agent.
const THROUGHPUT_MIN: f64 = 0.99;
const CONNECTIONS_MIN: f64 = 0.97;
/// Resident memory of the node binary, in MiB.
const RSS_MIB_MAX: f64 = 40.0;
/// Open connections while memory is measured.
const SOCKETS: usize = 10_000;

/// Throughput, connections/s and memory, with the agent and without it.
#[derive(Debug, Parser)]
#[command(name = "bench-agent-cost", version)]
struct Args {
    /// Seconds of one load; the agent's window is as long, so that every load has one reading.
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Pairs to begin with.
    #[arg(long, default_value_t = 20)]
    pairs: usize,
    /// Pairs after which "not decided" stays.
    #[arg(long, default_value_t = 80)]
    pairs_max: usize,
    /// Pairs without the agent in either turn.
    #[arg(long, default_value_t = 10)]
    null_pairs: usize,
    /// Count UDP too: its programs see each packet of TCP as well. What they cost is told by a second run with it.
    #[arg(long)]
    udp: bool,
    /// Count DNS too, at the same place.
    #[arg(long)]
    dns: bool,
    /// Count HTTP/1 too, at the same place.
    #[arg(long)]
    http: bool,
    /// Read HTTP/2 too, at the same place.
    #[arg(long)]
    http2: bool,
}

impl Args {
    /// What of packets is counted, in words.
    fn packets(&self) -> String {
        let wanted: Vec<&str> = [(self.udp, "UDP"), (self.dns, "DNS"), (self.http, "HTTP"), (self.http2, "HTTP/2")]
            .iter()
            .filter(|(on, _)| *on)
            .map(|(_, name)| *name)
            .collect();
        if wanted.is_empty() { "no packets counted".to_owned() } else { format!("counted of packets: {}", wanted.join(", ")) }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    // The lab's own processes are this program too.
    if let Some((first, rest)) = arguments.split_first()
        && first == "testbed"
        && let Some(code) = edgescope_testbed::child_main(rest)
    {
        return code;
    }
    let args = Args::parse();
    let bench = Bench::new(&args);
    println!("{} s a load, window {} s, {}; program {}", args.seconds, args.seconds, args.packets(), edgescope_tests::program::edgescope().display());
    let null = bench.pairs(args.null_pairs, false);
    println!("\nA/A, {} pairs without the agent in either turn:\n{null}", args.null_pairs);
    let mut met = bench.decide(&args);
    met &= bench.memory();
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Both measures of a set of pairs.
struct Both {
    throughput: Ratios,
    connections: Ratios,
}

impl std::fmt::Display for Both {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "  throughput     {}", self.throughput)?;
        write!(f, "  connections/s  {}", self.connections)
    }
}

struct Bench {
    load: Load,
    spec: AgentSpec,
    intake: Intake,
    seconds: u64,
    // Last: what runs in it goes first.
    scene: Scene,
}

impl Bench {
    fn new(args: &Args) -> Bench {
        let scene = Scene::new("cost");
        let own = std::env::current_exe().expect("a running program has a path");
        let lab = lab(&own.to_string_lossy(), &["left", "right"], None);
        let intake = Intake::start();
        let names = vec![netns_name(&lab, "left"), netns_name(&lab, "right")];
        let mut spec = AgentSpec::shipping_to(&scene, &intake.url(), "node", Place::Namespaces(names.clone()));
        for name in &names {
            spec = spec.name_netns(name, "load");
        }
        spec.more = serde_json::json!({ "agent": { "interval": format!("{}s", args.seconds), "udp": args.udp, "dns": args.dns, "http": args.http, "http2": args.http2 } });
        Bench { load: Load::start(lab), spec, intake, seconds: args.seconds, scene }
    }

    /// One turn: bytes/s and connections/s.
    fn turn(&self, with_agent: bool) -> (f64, f64) {
        let agent = with_agent.then(|| self.agent());
        let time = Duration::from_secs(self.seconds);
        let measured = (self.load.bytes_per_s(time), self.load.connections_per_s(time));
        // It goes with its kernel side.
        drop(agent);
        measured
    }

    fn agent(&self) -> Agent {
        let before = self.intake.hellos();
        let mut agent = Agent::start(&self.scene, &self.spec);
        until("the agent's hello", Duration::from_secs(30), || {
            assert!(agent.process().is_running(), "the agent ended: {}", agent.log());
            if self.intake.hellos() > before { Ok(()) } else { Err("none".to_owned()) }
        });
        agent
    }

    /// Pairs in ABBA order: of each two neighbours the ratio of the first kind to the second.
    fn pairs(&self, count: usize, with_agent: bool) -> Both {
        let (mut throughput, mut connections) = (Ratios::default(), Ratios::default());
        for pair in 0..count {
            let turn = |first: bool| self.turn(with_agent && first);
            let (with, without) = if pair % 2 == 0 {
                let with = turn(true);
                (with, turn(false))
            } else {
                let without = turn(false);
                (turn(true), without)
            };
            throughput.add(with.0, without.0);
            connections.add(with.1, without.1);
        }
        Both { throughput, connections }
    }

    /// More pairs until both are decided.
    fn decide(&self, args: &Args) -> bool {
        let mut all = self.pairs(args.pairs, true);
        loop {
            let decisions = [all.throughput.decide(THROUGHPUT_MIN), all.connections.decide(CONNECTIONS_MIN)];
            println!("\nwith the agent ÷ without, {} pairs:\n{all}", all.throughput.len());
            println!("  throughput >= {THROUGHPUT_MIN}: {}; connections/s >= {CONNECTIONS_MIN}: {}", decisions[0], decisions[1]);
            if all.throughput.len() >= args.pairs_max || !decisions.contains(&Decision::Open) {
                return decisions.iter().all(|d| *d == Decision::Met);
            }
            let more = self.pairs(args.pairs.max(2), true);
            all.throughput.extend(more.throughput);
            all.connections.extend(more.connections);
        }
    }

    /// Resident memory of the agent with many sockets and much traffic.
    fn memory(&self) -> bool {
        let mut agent = self.agent();
        let held = self.load.hold(SOCKETS);
        let batches = self.intake.batches();
        self.load.connections_per_s(Duration::from_secs(3 * self.seconds));
        until("three windows with all sockets", Duration::from_secs(60), || {
            let seen = self.intake.batches() - batches;
            if seen >= 3 && self.intake.sockets() >= SOCKETS as u64 {
                Ok(())
            } else {
                Err(format!("{seen} batches, {} sockets", self.intake.sockets()))
            }
        });
        let (now, peak) = (memory_mib(agent.process().id(), "VmRSS:"), memory_mib(agent.process().id(), "VmHWM:"));
        let sockets = self.intake.sockets();
        drop(held);
        println!(
            "\nnode binary: {now:.1} MiB resident, {peak:.1} MiB at most, with {sockets} sockets (<= {RSS_MIB_MAX} MiB: {})",
            if peak <= RSS_MIB_MAX { "met" } else { "NOT MET" }
        );
        peak <= RSS_MIB_MAX
    }
}

fn memory_mib(process: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("the agent runs");
    let line = status.lines().find_map(|l| l.strip_prefix(field)).expect("the kernel tells a process's memory");
    line.split_whitespace().next().and_then(|kb| kb.parse::<f64>().ok()).expect("in kB") / 1024.0
}
