//! Why an address has the name that it has, or none.

use crate::dims::EndDims;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What an end of an edge was called at a moment, and who said so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Why {
    pub address: String,
    /// The port that was asked about: the one that the end serves.
    pub port: Option<u16>,
    pub at: DateTime<Utc>,
    /// As rows of that moment have it.
    pub name: EndDims,
    /// An agent held the address then, and reports what it sends and receives.
    pub owned: bool,
    /// False where several workloads share the address and the port tells none of them: `name` is then the node that holds it.
    pub named: bool,
    /// In a sentence: by what the name was found, or what to do to have one.
    pub reason: String,
    /// Who ever said that he holds the address, as far as is remembered (a day): open ones first, then the newest; at most a hundred.
    pub claims: Vec<Claim>,
    pub claims_total: usize,
}

/// The word of an agent, or of Kubernetes, on who has an address.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Claim {
    /// The agent's id; `kubernetes/UID` where the API told of a pod.
    pub agent: String,
    /// 0: the whole address.
    pub port: u16,
    pub owner: EndDims,
    /// Several workloads share the address; `owner` is the node that holds it.
    pub shared: bool,
    pub from: DateTime<Utc>,
    /// The last moment at which it was said so.
    pub until: DateTime<Utc>,
    /// It holds on, as far as is known.
    pub open: bool,
}
