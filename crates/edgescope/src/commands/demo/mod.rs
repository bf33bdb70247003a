//! `edgescope demo`: the whole story on real packets. A shop in network namespaces, an agent a node, a server, a fault, an alert, a verdict.
//!
//! [`company`] starts the parts, [`story`] tells what happens as [`seen`] by whoever watches the API, [`judge`] holds the verdict against the truth at the end. The product
//! is told names, nodes and zones; never the fault. Where the real thing is not possible, [`simulated`] stands in for it.

mod company;
mod judge;
mod parts;
mod seen;
mod simulated;
mod story;

use crate::show;
use anyhow::{Context, bail};
use clap::Args;
use edgescope_testbed::{Fault, Spec, Topology};
use std::ffi::OsString;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;

/// The fault of the demo when none is asked for.
const DEFAULT_FAULT: &str = "loss:zone:clear";
/// And when the run is simulated: a zone that loses segments hits all workload pairs alike, which alerts by failed connects, and the simulator loses no connect.
const DEFAULT_FAULT_SIMULATED: &str = "loss:node:clear";

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
  edgescope demo --simulate                          without root or BPF: made-up readings, a real verdict on them
  edgescope demo --clean                             remove what a killed demo left

Exit code with --once: 0 the verdict was right, 1 it was not, 3 the run was simulated and proves nothing.

Faults: loss, congestion, blackhole, refused, crash, slow_service, slow_reader, demand_drop
Scopes: pod, node, zone, zone_pair, edge, workload     Strengths: weak, clear, strong")]
pub struct DemoArgs {
    /// What goes wrong: kind:scope[=NAME]:strength [default: loss:zone:clear; simulated: loss:node:clear].
    #[arg(long, value_name = "FAULT", conflicts_with = "quiet")]
    pub fault: Option<String>,
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
    /// Loopback address of the user interface and API.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8100")]
    pub listen: SocketAddr,
    /// Seconds of health before the fault.
    #[arg(long, value_name = "SECONDS", default_value_t = 80, value_parser = clap::value_parser!(u64).range(30..=3600))]
    pub calm: u64,
    /// Keep data, configuration and logs in this directory instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Make readings up instead of moving packets. Without root or BPF the demo does so by itself, and says so.
    #[arg(long)]
    pub simulate: bool,
    /// Remove what killed demos left, then end.
    #[arg(long)]
    pub clean: bool,
}

/// Runs the command.
pub fn run(args: &DemoArgs) -> anyhow::Result<ExitCode> {
    if args.clean {
        return clean();
    }
    if !args.listen.ip().is_loopback() {
        bail!(
            "--listen {}: the demo asks nobody for a token, so it listens on loopback only: give 127.0.0.1:PORT, and come from elsewhere by ssh -L",
            args.listen
        );
    }
    let spec = Spec::built_in(&args.topology).with_context(|| format!("no topology '{}': use shop or other", args.topology))?;
    let simulated = why_simulated(args);
    let default = if simulated.is_some() { DEFAULT_FAULT_SIMULATED } else { DEFAULT_FAULT };
    let fault: Option<Fault> = if args.quiet { None } else { Some(args.fault.as_deref().unwrap_or(default).parse()?) };
    if let Some(fault) = &fault {
        // A place that does not exist is told now and not after the calm.
        fault.resolve(&Topology::new(spec.clone())?, args.seed)?;
        if simulated.is_some() {
            simulated::weather(fault)?;
        }
    }
    let http = TcpListener::bind(args.listen)
        .with_context(|| format!("cannot listen on {}: if a demo or server runs there, end it or choose another --listen", args.listen))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(story::tell(story::Plot { args, spec, fault, simulated }, http))
}

/// Why no real packets can or shall move; absent if they can.
fn why_simulated(args: &DemoArgs) -> Option<String> {
    if args.simulate {
        return Some("as --simulate asks".to_owned());
    }
    let mut lacks = crate::commands::doctor::missing();
    if lacks.is_empty() && edgescope_probe::kernel_report().capabilities_missing.contains(&"cap_sys_admin") {
        lacks.push("cap_sys_admin, to make network namespaces".to_owned());
    }
    (!lacks.is_empty()).then(|| format!("this host lacks {} (`edgescope doctor` says what to do)", lacks.join(", ")))
}

/// Runs a part of the shop: a service, the relay. They are this executable, started with other arguments.
pub fn part(arguments: &[OsString]) -> anyhow::Result<ExitCode> {
    edgescope_testbed::child_main(arguments).context("not a part of the shop")
}

fn clean() -> anyhow::Result<ExitCode> {
    let removed = company::clean()?;
    let agents = removed.agents.iter().map(|id| format!("removed the kernel side of agent {id}\n"));
    let runs = removed.runs.iter().map(|id| format!("removed the namespaces, processes and files of demo {id}\n"));
    let said: String = agents.chain(runs).collect();
    show::out(if said.is_empty() { "nothing was left behind\n" } else { &said })?;
    Ok(ExitCode::SUCCESS)
}
