//! `edgescope up`: an agent and a server on this host, in one process.

use super::server;
use crate::config::Config;
use clap::Args;
use edgescope_server::Listeners;
use std::sync::Arc;

/// Watch this host: agent, server and UI in one process.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope up                                            then open http://127.0.0.1:8100
  edgescope up --store-path /var/lib/edgescope/data       keep the data there
  edgescope up --config /etc/edgescope.yaml

`--help` (not -h) lists every configuration key as a flag.")]
pub struct UpArgs {}

/// Runs until a signal asks to stop.
pub fn run(_: &UpArgs, config: Config) -> anyhow::Result<()> {
    server::runtime()?.block_on(async {
        let agent = super::agent::configured(config.clone());
        let scheme = if config.server.tls.cert.is_some() { "https" } else { "http" };
        let server = server::start(config, Listeners::default()).await?;
        println!("open {scheme}://{}", server.http);
        let mut failed = None;
        let asked = async { failed = crate::commands::until_asked().await.err() };
        // The agent ends first: its last window still finds the server.
        let ended = edgescope_agent::run(agent, Arc::default(), asked).await;
        server.stop().await;
        ended?;
        failed.map_or(Ok(()), Err)
    })
}
