//! Edgescope's own traffic (agents to the intake, people to the API) and each node's loopback: kept, and marked, so that queries leave them out unless asked.
//!
//! The mark is the `resolution_type` of both ends, which roll-ups keep: `own` or `loopback`.

use edgescope_identity::{address, found_by};
use edgescope_model::fact::FactRow;
use edgescope_model::wire::{Batch, Observation, Role};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::{PoisonError, RwLock};

/// `resolution_type` of both ends of an edge between this server and whoever calls it.
pub const OWN: &str = "own";
/// Addresses at which this server is reached: two doors a network that it is in.
const ADDRESSES_MAX: usize = 128;

/// What leaves marked edges out of a query.
pub fn hidden_filter() -> String {
    format!("source.resolution_type <> '{OWN}' AND source.resolution_type <> '{}'", found_by::LOOPBACK)
}

/// Adds the filter that hides marked edges to one that was asked for.
pub fn without_own(filter: Option<&str>) -> String {
    match filter.map(str::trim).filter(|f| !f.is_empty()) {
        Some(asked) => format!("({asked}) AND {}", hidden_filter()),
        None => hidden_filter(),
    }
}

/// The doors' addresses, as seen on the connections that came in.
#[derive(Debug, Default)]
pub struct OwnAddresses {
    seen: RwLock<BTreeSet<(IpAddr, u16)>>,
}

impl OwnAddresses {
    /// Remembers the local end of a connection to one of the doors.
    pub fn saw(&self, local: SocketAddr) {
        let local = (local.ip().to_canonical(), local.port());
        if self.seen.read().unwrap_or_else(PoisonError::into_inner).contains(&local) {
            return;
        }
        let mut seen = self.seen.write().unwrap_or_else(PoisonError::into_inner);
        if seen.len() < ADDRESSES_MAX {
            seen.insert(local);
        }
    }

    /// Whether the observation is of a conversation with this server.
    fn is_own(&self, observation: &Observation) -> bool {
        let server = if observation.role() == Role::Server { &observation.local_address } else { &observation.remote_address };
        let Some(ip) = address::from_bytes(server) else { return false };
        let Ok(port) = u16::try_from(observation.service_port) else { return false };
        self.seen.read().unwrap_or_else(PoisonError::into_inner).contains(&(ip, port))
    }

    /// Takes the observations apart: ordinary ones stay in the batch; own and loopback ones come in batches of their own, with their mark.
    pub fn take_apart(&self, batch: &mut Batch) -> Vec<(&'static str, Batch)> {
        let all = std::mem::take(&mut batch.observations);
        let (mut own, mut loopback) = (Vec::new(), Vec::new());
        for observation in all {
            let kind = if self.is_own(&observation) {
                &mut own
            } else if is_loopback(&observation) {
                &mut loopback
            } else {
                &mut batch.observations
            };
            kind.push(observation);
        }
        let apart = [(OWN, own), (found_by::LOOPBACK, loopback)];
        let with = |observations| Batch {
            observations,
            owners: batch.owners.clone(),
            agent_id: batch.agent_id.clone(),
            losses: Default::default(),
            drops: Vec::new(),
            questions: Vec::new(),
            endpoints: Vec::new(),
            // The directory has them.
            translations: Vec::new(),
            boot_id: String::new(),
            ..*batch
        };
        apart.into_iter().filter(|(_, observations)| !observations.is_empty()).map(|(mark, observations)| (mark, with(observations))).collect()
    }
}

fn is_loopback(observation: &Observation) -> bool {
    address::from_bytes(&observation.remote_address).is_some_and(|ip| ip.is_loopback())
}

/// Marks rows.
pub fn mark(rows: &mut [FactRow], mark: &str) {
    for row in rows {
        mark.clone_into(&mut row.dims.source.resolution_type);
        mark.clone_into(&mut row.dims.dest.resolution_type);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(local: [u8; 4], remote: [u8; 4], port: u32, role: Role) -> Observation {
        Observation {
            local_address: local.to_vec(),
            remote_address: remote.to_vec(),
            service_port: port,
            role: role.into(),
            ..Observation::default()
        }
    }

    #[test]
    fn own_and_loopback_are_told_from_the_rest() {
        let own = OwnAddresses::default();
        own.saw("[::ffff:10.0.0.9]:8101".parse().unwrap());
        let mut batch = Batch {
            observations: vec![
                observation([10, 0, 0, 1], [10, 0, 0, 9], 8101, Role::Client),
                observation([10, 0, 0, 9], [10, 0, 0, 1], 8101, Role::Server),
                observation([10, 0, 0, 1], [10, 0, 0, 2], 8101, Role::Client),
                observation([10, 0, 0, 1], [10, 0, 0, 9], 80, Role::Client),
                observation([127, 0, 0, 1], [127, 0, 0, 1], 80, Role::Client),
            ],
            ..Batch::default()
        };
        let apart = own.take_apart(&mut batch);
        let counts: Vec<_> = apart.iter().map(|(mark, b)| (*mark, b.observations.len())).collect();
        assert_eq!(counts, [("own", 2), ("loopback", 1)]);
        assert_eq!(batch.observations.len(), 2);
    }

    #[test]
    fn the_filter_keeps_what_was_asked() {
        assert_eq!(without_own(Some("a OR b")), format!("(a OR b) AND {}", hidden_filter()));
        assert_eq!(without_own(Some("  ")), hidden_filter());
        assert_eq!(without_own(None), hidden_filter());
    }
}
