//! One module a command.

pub mod agent;
pub mod config;
#[cfg(feature = "demo")]
pub mod demo;
pub mod diagnose;
pub mod dns;
pub mod doctor;
pub mod edges;
pub mod replay;
#[cfg(feature = "server")]
pub mod server;
#[cfg(feature = "server")]
mod token;
pub mod top;
#[cfg(feature = "server")]
pub mod up;
pub mod why;

/// Waits for Ctrl-C or SIGTERM.
pub async fn until_asked() -> anyhow::Result<()> {
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _ = terminate.recv() => {}
    }
    tracing::info!("asked to stop");
    Ok(())
}
