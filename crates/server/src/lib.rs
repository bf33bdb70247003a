//! The server: what agents ship comes in, what people ask goes out.
//!
//! In flow batches of observations ([`intake`], gRPC): checked, named, committed through [`tables`] and acknowledged once durable. Out flow edges,
//! alerts, incidents and the verdict ([`api`], HTTP and JSON, described by `openapi/server.json`), the embedded UI ([`ui`]) and the server's own numbers
//! ([`metrics`]). Between them the detection loop runs the detectors on windows as they arrive and asks for the verdict while an incident is open
//! ([`live`] is its state). [`export`] sends what is complete to others: OTLP, Prometheus, flow logs. [`kubernetes`] reads names from the Kubernetes API.
//! [`access`] says who may call what; [`serve`] is the one loop that accepts connections for both doors. The tables themselves are behind
//! a trait, so that everything here is tested in memory; [`delta`] ties it to the store.
#![forbid(unsafe_code)]

pub mod access;
pub mod api;
pub mod auth;
pub mod config;
#[cfg(feature = "store")]
pub mod delta;
pub mod detection;
pub mod diagnosis;
pub mod export;
pub mod intake;
pub mod kubernetes;
pub mod live;
pub mod metrics;
mod networks;
mod seldom;
pub mod serve;
pub mod server;
pub mod state;
pub mod tables;
pub mod tls;
pub mod ui;

#[cfg(test)]
mod tests;

pub use auth::{Role, new_token};
pub use config::{ConfigError, HttpConfig, IntakeConfig, TlsConfig};
pub use edgescope_detect::DetectorsConfig;
pub use export::ExportConfig;
pub use kubernetes::{KubernetesConfig, KubernetesError};
pub use server::{Listeners, Server, ServerConfig, ServerError};
