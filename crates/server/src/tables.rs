//! What the server asks of the store. [`crate::delta`] answers it from the Delta tables; the tests of this crate have it answered from memory.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use edgescope_identity::directory::Claimed;
use edgescope_model::alert::{Alert, Incident};
use edgescope_model::fact::FactRow;
use edgescope_model::query::{Coverage, EdgeSource};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// What is known of one agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct AgentRecord {
    pub agent_id: String,
    /// Changes at every boot of the node.
    pub boot_id: String,
    pub version: String,
    pub kernel: String,
    pub node: String,
    pub zone: String,
    pub region: String,
    pub environment: String,
    /// Seconds of its windows.
    pub interval_s: u32,
    /// `hook: attached` or `hook: refused, reason`.
    pub hooks: Vec<String>,
    pub scope: String,
    /// Server clock minus agent clock, in seconds.
    pub clock_offset_s: f64,
    /// Its last batch was over a second away from when it said that it sent it.
    pub clock_suspect: bool,
    /// Its readings come from a simulator, not from a kernel.
    pub simulated: bool,
    pub first_seen: Option<DateTime<Utc>>,
    pub last_seen: Option<DateTime<Utc>>,
    /// When it said that it ends; absent since it greeted again.
    pub left_at: Option<DateTime<Utc>>,
    /// End of the last window that is durable here.
    pub last_window_end: Option<DateTime<Utc>>,
    /// Highest durable sequence.
    pub sequence: u64,
    /// Sockets that it watched in its last window.
    pub sockets: u64,
    /// Everything it lost since this server started, by reason.
    pub losses: BTreeMap<String, u64>,
    /// Packets that its node's kernel dropped since this server started, by the kernel's reason.
    pub kernel_drops: BTreeMap<String, u64>,
    /// Its round-trip times are smoothed ones, sampled at window ends: its kernel gives no sample a round trip.
    pub rtt_sampled: bool,
}

/// One agent's window, resolved, as it is committed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct AgentBatch {
    pub agent_id: String,
    pub sequence: u64,
    /// Microseconds since the epoch, server time.
    pub window_start_us: i64,
    pub window_end_us: i64,
    pub rows: Vec<FactRow>,
    /// Addresses whose owners changed, to be durable before the rows that they name.
    pub claims: Vec<Claimed>,
    pub losses: BTreeMap<String, u64>,
    pub sockets: u64,
    /// Server clock minus agent clock.
    pub clock_offset_us: i64,
    /// How long before the window its readings reach back.
    pub caught_up_us: i64,
}

/// What became of a batch. Both are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    Now,
    Before,
}

/// Why the tables did not do what was asked.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum TablesError {
    /// Too much waits already: come again.
    #[error("the store is behind: {0}")]
    Busy(String),
    /// The disk is full or broken.
    #[error("the store cannot write: {0}")]
    Write(String),
    #[error("the store cannot read: {0}")]
    Read(String),
    /// The caller's own mistake, as with SQL that is not a SELECT.
    #[error("{0}")]
    Refused(String),
    /// Over the limit of time or memory.
    #[error("{0}")]
    Limit(String),
}

/// Answer of a free SQL query.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct SqlAnswer {
    pub columns: Vec<String>,
    /// One array a row, in the order of `columns`.
    #[schema(value_type = Vec<Vec<serde_json::Value>>)]
    pub rows: Vec<Vec<serde_json::Value>>,
    /// The answer had more rows than the limit.
    pub truncated: bool,
}

/// A number for `/metrics`.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Without the program's prefix: `store_commits`, `directory_claims`.
    pub name: String,
    pub help: String,
    pub kind: ReadingKind,
    pub value: f64,
}

/// Whether a reading only rises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadingKind {
    Counter,
    Gauge,
}

/// The tables behind the server.
#[async_trait]
pub trait Tables: EdgeSource {
    /// Makes a batch durable; returns only then.
    async fn commit(&self, batch: AgentBatch) -> Result<Committed, TablesError>;
    /// The highest durable sequence of an agent; 0 if none.
    async fn committed_sequence(&self, agent_id: &str) -> Result<u64, TablesError>;
    /// Records what an agent said of itself, and its addresses, durably.
    async fn put_agent(&self, agent: &AgentRecord, claims: &[Claimed]) -> Result<(), TablesError>;
    /// The agents on record.
    async fn agents(&self) -> Result<Vec<AgentRecord>, TablesError>;
    /// The addresses that were held at or after a moment (microseconds).
    async fn claims(&self, since_us: i64) -> Result<Vec<Claimed>, TablesError>;
    async fn coverage(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Coverage, TablesError>;
    /// Appends states of alerts; the latest of an id wins.
    async fn put_alerts(&self, alerts: &[Alert]) -> Result<(), TablesError>;
    /// Alerts that were open at some time between two moments, latest state each, newest first.
    async fn alerts(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Alert>, TablesError>;
    async fn put_incidents(&self, incidents: &[Incident]) -> Result<(), TablesError>;
    /// Incidents that were open at some time between two moments, latest state each, newest first.
    async fn incidents(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Result<Vec<Incident>, TablesError>;
    /// Answers a SELECT over the tables.
    async fn sql(&self, query: &str) -> Result<SqlAnswer, TablesError>;
    /// Whether a commit would succeed now, as far as that can be told without one.
    async fn writable(&self) -> Result<(), TablesError>;
    /// Numbers for `/metrics`.
    fn readings(&self) -> Vec<Reading>;
}
