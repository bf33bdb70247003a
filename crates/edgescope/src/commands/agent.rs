//! `edgescope agent`: watches this node's connections and ships what it sees.

use crate::config::Config;
use clap::Args;
use edgescope_agent::AgentConfig;
use std::sync::Arc;

/// Run an agent on this node.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope agent --agent-server https://edgescope.example:8101 --agent-ca-file ca.pem --agent-token-file token
  edgescope agent --remove          take the kernel side away that an ended agent left counting

`--help` (not -h) lists every configuration key as a flag.")]
pub struct AgentArgs {
    /// Unpin what an ended agent left in the kernel, then end.
    #[arg(long)]
    pub remove: bool,
}

/// Runs until a signal asks to stop.
pub fn run(args: &AgentArgs, config: Config) -> anyhow::Result<()> {
    let agent = configured(config);
    if args.remove {
        return remove(&agent.id);
    }
    // Before any thread is started: a thread keeps what it was started with.
    if let Err(error) = edgescope_agent::privileges::drop_to_needed() {
        tracing::warn!(%error, "capabilities that an agent does not need could not be given up");
    }
    // One thread: an agent mostly sleeps.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut failed = None;
        let asked = async { failed = crate::commands::until_asked().await.err() };
        edgescope_agent::run(agent, Arc::default(), asked).await?;
        failed.map_or(Ok(()), Err)
    })
}

/// Takes away what an agent left, and says what; nothing of its own left, others are named.
fn remove(id: &str) -> anyhow::Result<()> {
    if !rustix::process::geteuid().is_root() {
        anyhow::bail!("only root sees what agents left in the kernel: try again with sudo");
    }
    let removed = edgescope_agent::remove(id)?.removed;
    let mut others = edgescope_probe::Probe::pinned()?;
    others.sort();
    let told = match (removed.is_empty(), others.is_empty()) {
        (false, _) => format!("removed from the kernel: {}", removed.join(", ")),
        (true, true) => "nothing was left in the kernel".to_owned(),
        (true, false) => {
            let name = if id.is_empty() { "this host's name" } else { id };
            format!("nothing was left by an agent called {name}; others have something there: {} (--agent-id names one)", others.join(", "))
        }
    };
    Ok(crate::show::out(&format!("{told}\n"))?)
}

/// The agent's configuration with the rules that stand in a section of their own.
pub fn configured(config: Config) -> AgentConfig {
    AgentConfig { rules: config.identity.rules, ..config.agent }
}
