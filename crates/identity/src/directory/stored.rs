//! Claims on their way to the `endpoints` table and back.

use super::{Claim, Directory, intern};
use crate::kubernetes::Kubernetes;
use edgescope_model::dims::EndDims;
use std::net::IpAddr;
use std::sync::Arc;

/// One claim, for the `endpoints` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    pub agent: String,
    pub address: IpAddr,
    /// 0: the whole address.
    pub port: u16,
    pub owner: Arc<EndDims>,
    pub shared: bool,
    pub from_us: i64,
    /// The last moment at which the agent said so.
    pub until_us: i64,
    /// It is in the agent's newest list.
    pub open: bool,
}

impl Directory {
    /// Takes back what was stored, at a start. Open claims are taken as just heard of, until their agents speak again.
    pub fn restore(&mut self, stored: impl IntoIterator<Item = Claimed>, now_us: i64) {
        for claimed in stored {
            if Kubernetes::is_claim(&claimed) {
                self.kubernetes.restore(claimed, now_us);
                continue;
            }
            let Some(number) = self.agent_number(&claimed.agent) else {
                self.counters.claims_dropped += 1;
                continue;
            };
            let until_us = if claimed.open { now_us } else { claimed.until_us };
            let of = &mut self.agents[number as usize];
            // An agent of which all was closed was last heard of as long before that as the silent are waited for.
            let (listed_us, heard_us) =
                if claimed.open { (now_us, now_us) } else { (until_us.saturating_add(1), until_us.saturating_sub(self.limits.silent_us_max)) };
            (of.listed_us, of.heard_us) = (of.listed_us.max(listed_us), of.heard_us.max(heard_us));
            if claimed.open {
                of.addresses.insert(claimed.address);
            }
            let owner = intern(&mut of.owners, claimed.owner);
            let claim = Claim { agent: number, port: claimed.port, shared: claimed.shared, owner, pod: None, from_us: claimed.from_us, until_us };
            self.claim(claimed.address, claim, i64::MAX);
        }
        // What came from the table need not go back into it.
        self.changed.clear();
    }

    /// All claims of the addresses for which a claim was made or closed since the last call, to be stored.
    pub fn take_changed(&mut self) -> Vec<Claimed> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.extend(self.kubernetes.take_changed());
        changed.iter().flat_map(|address| self.claimed(*address)).collect()
    }

    pub(super) fn claimed(&self, address: IpAddr) -> impl Iterator<Item = Claimed> {
        let claims = self.claims.get(&address).map(Vec::as_slice).unwrap_or_default();
        let of_agents = claims.iter().map(move |claim| {
            let agent = &self.agents[claim.agent as usize];
            let listed = claim.until_us >= agent.listed_us;
            Claimed {
                agent: agent.id.clone(),
                address,
                port: claim.port,
                owner: Arc::clone(&claim.owner),
                shared: claim.shared,
                from_us: claim.from_us,
                until_us: if listed && agent.silent { self.ends_us(claim) } else { claim.until_us },
                open: listed && !agent.silent,
            }
        });
        of_agents.chain(self.kubernetes.claimed(address))
    }
}
