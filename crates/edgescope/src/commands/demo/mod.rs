//! `edgescope demo`: the whole story on real packets. A shop in network namespaces, an agent a node, a server, a fault, an alert, a verdict.
//!
//! [`company`] starts the parts, [`story`] waits for what happens and tells it, [`judge`] holds the verdict against the truth at the end. The product
//! is told names, nodes and zones; never the fault.

mod company;
mod judge;
mod story;

use anyhow::{Context, bail};
use clap::Args;
use edgescope_testbed::{Fault, Spec, Topology};
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// The fault of the demo when none is asked for.
const DEFAULT_FAULT: &str = "loss:zone:clear";

/// See it all happen in three minutes: a shop's services talk over a real network, a fault strikes, Edgescope alerts and says what it is, where, since when
/// and who else is hit.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope demo                                     a zone loses packets; stays up for you to explore
  edgescope demo --fault blackhole:node:clear        another fault; the seed picks the node
  edgescope demo --fault loss:zone_pair='us-east-1a>us-east-1b':strong
  edgescope demo --once --json                       ends by itself; exit 0 only if the verdict was right
  edgescope demo --quiet --once                      no fault: the network must be cleared
  edgescope demo --clean                             remove what a killed demo left

Faults: loss, congestion, blackhole, refused, crash, slow_service, slow_reader, demand_drop
Scopes: pod, node, zone, zone_pair, edge, workload     Strengths: weak, clear, strong")]
pub struct DemoArgs {
    /// What goes wrong: kind:scope[=NAME]:strength.
    #[arg(long, value_name = "FAULT", default_value = DEFAULT_FAULT, conflicts_with = "quiet")]
    pub fault: String,
    /// Nothing goes wrong.
    #[arg(long)]
    pub quiet: bool,
    /// Seeds the traffic's dice and the choice of a place where the fault names none.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// End after the verdict; exit 0 only if it was right.
    #[arg(long)]
    pub once: bool,
    /// Print JSON: one object at the end.
    #[arg(long)]
    pub json: bool,
    /// Company to use: shop, or another with other names.
    #[arg(long, default_value = "shop")]
    pub topology: String,
    /// Address of the user interface and API.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8100")]
    pub listen: SocketAddr,
    /// Seconds of health before the fault.
    #[arg(long, value_name = "SECONDS", default_value_t = 80, value_parser = clap::value_parser!(u64).range(30..=3600))]
    pub calm: u64,
    /// Keep data, configuration and logs in this directory instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Remove what killed demos left, then end.
    #[arg(long)]
    pub clean: bool,
}

/// Runs the command.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    if args.clean {
        return clean();
    }
    let missing = crate::commands::doctor::missing();
    if !missing.is_empty() {
        bail!("the demo needs root and BPF; this host lacks {}: `edgescope doctor` says what to do", missing.join(", "));
    }
    let spec = Spec::built_in(&args.topology).with_context(|| format!("no topology '{}': use shop or other", args.topology))?;
    let fault: Option<Fault> = if args.quiet { None } else { Some(args.fault.parse()?) };
    if let Some(fault) = &fault {
        // A place that does not exist is told now and not after the calm.
        fault.resolve(&Topology::new(spec.clone())?, args.seed)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(story::tell(args, spec, fault))
}

/// Runs a part of the shop: a service, the relay. They are this executable, started with other arguments.
pub fn part(arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    edgescope_testbed::child_main(arguments).context("not a part of the shop")
}

fn clean() -> anyhow::Result<ExitCode> {
    let removed = edgescope_testbed::clean().context("cleaning up after killed demos")?;
    let orphans = company::orphaned_agents()?;
    for agent in &orphans {
        edgescope_probe::Probe::remove(agent).with_context(|| format!("removing the kernel side of agent {agent}"))?;
        println!("removed the kernel side of agent {agent}");
    }
    for id in &removed {
        println!("removed the namespaces, processes and files of demo {id}");
    }
    if removed.is_empty() && orphans.is_empty() {
        println!("nothing was left behind");
    }
    Ok(ExitCode::SUCCESS)
}
