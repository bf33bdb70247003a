//! `edgescope server`: intake, store, detection, API and UI.

use crate::config::Config;
use clap::Args;
use edgescope_server::{Listeners, Server, ServerConfig};

/// Run a server: agents ship to it, people and scripts ask it.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  edgescope server                                          on loopback, data under ./data
  edgescope server --config /etc/edgescope.yaml
  edgescope server --store-path /var/lib/edgescope --server-listen 127.0.0.1:9100

Other than loopback addresses want TLS and tokens: server.tls and server.tokens_file in the configuration.
`--help` (not -h) lists every configuration key as a flag.")]
pub struct ServerArgs {}

/// Runs until a signal asks to stop.
pub fn run(_: &ServerArgs, config: Config) -> anyhow::Result<()> {
    runtime()?.block_on(async {
        let scheme = if config.server.tls.cert.is_some() { "https" } else { "http" };
        let server = start(config, Listeners::default()).await?;
        tracing::info!("user interface and API at {scheme}://{}, intake at {}", server.http, server.intake);
        crate::commands::until_asked().await?;
        server.stop().await;
        Ok(())
    })
}

/// Opens the store and starts a server on it.
pub async fn start(config: Config, listeners: Listeners) -> anyhow::Result<Server> {
    let store = config.store;
    let config = ServerConfig {
        server: config.server,
        intake: config.intake,
        rules: config.identity.rules,
        kubernetes: config.identity.kubernetes,
        networks: config.identity.networks,
        detectors: config.detectors,
        export: config.export,
    };
    Ok(Server::open(config, &store, listeners).await?)
}

/// A thread for each core: intake, API and the scans of queries share them.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}
