//! `edgescope up`: an agent and a server on this host, in one process.

use super::server;
use crate::config::Config;
use clap::Args;
use edgescope_server::Listeners;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
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
        let mut agent = super::agent::configured(config.clone());
        if agent.server == edgescope_agent::AgentConfig::default().server {
            agent.server = own_intake(&config);
        }
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

/// Where the agent beside a server finds its intake, if it is told nothing else.
fn own_intake(config: &Config) -> String {
    let listen = config.intake.listen;
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    let scheme = if config.server.tls.cert.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", SocketAddr::new(host, listen.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agent_beside_a_server_asks_its_intake() {
        let mut config = Config::default();
        assert_eq!(own_intake(&config), edgescope_agent::AgentConfig::default().server);
        config.intake.listen = "0.0.0.0:9101".parse().expect("an address");
        assert_eq!(own_intake(&config), "http://127.0.0.1:9101");
        config.intake.listen = "[2001:db8::7]:9101".parse().expect("an address");
        config.server.tls.cert = Some("cert.pem".into());
        assert_eq!(own_intake(&config), "https://[2001:db8::7]:9101");
    }
}
