//! What the server gives the store: an agent's batch, resolved to edges, with what came along.

use chrono::{DateTime, Utc};
use edgescope_model::dims::EndDims;
use edgescope_model::fact::FactRow;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// One batch of one agent, to be stored exactly once.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentBatch {
    pub agent_id: String,
    /// Rises with every batch of the agent, over restarts too. A batch whose sequence is not above the last committed one is there already.
    pub sequence: u64,
    pub rows: Vec<FactRow>,
    /// Addresses that the batch tells of; stored before the facts.
    pub endpoints: Vec<EndpointRow>,
    pub receipt: Receipt,
}

/// What arrived, whatever it said: the base of coverage.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    /// Server time.
    pub window_start: DateTime<Utc>,
    pub window_end: DateTime<Utc>,
    pub received_at: DateTime<Utc>,
    /// Sockets that the agent read.
    pub sockets: u64,
    /// Server clock minus agent clock.
    pub clock_offset_us: i64,
    /// How long before the window its readings reach back.
    pub caught_up_us: i64,
    /// What was lost since the last batch, by reason; by the agent or on the way in.
    pub losses: BTreeMap<String, u64>,
}

/// Who held an address from when to when, as an agent said.
#[derive(Debug, Clone, PartialEq)]
pub struct EndpointRow {
    pub address: IpAddr,
    /// 0: all ports.
    pub port: u16,
    pub owner: EndDims,
    pub agent_id: String,
    pub from: DateTime<Utc>,
    /// `None`: still held.
    pub to: Option<DateTime<Utc>>,
    /// Several owners share the address.
    pub shared: bool,
}

/// An agent as it introduced itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentFacts {
    pub agent_id: String,
    pub boot_id: String,
    pub version: String,
    pub kernel: String,
    pub node: String,
    pub zone: String,
    pub region: String,
    pub environment: String,
    pub interval_ms: u32,
    /// `hook: attached` or `hook: refused, reason`.
    pub hooks: Vec<String>,
    pub scope: String,
    pub clock_offset_us: i64,
    /// When it was first and last heard of; the store keeps the first.
    pub first_seen: DateTime<Utc>,
    pub last_seen: DateTime<Utc>,
    /// When it said that it ends; `None` since it greeted again.
    pub left_at: Option<DateTime<Utc>>,
}

/// How a batch came to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Committed {
    /// By this commit.
    Now,
    /// By an earlier one: acknowledge it the same way.
    Before,
}
