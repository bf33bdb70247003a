//! Why an end is called what it is called: the directory's answer in words, with all that was ever said of the address.

use super::{Claimed, Directory, End, Found, Span};
use crate::{address, found_by};

impl Directory {
    /// Who has an end at a moment, why in a sentence, and every claim of its address that is remembered: open ones first, then the newest.
    pub fn explain(&self, end: End, at_us: i64) -> (Found, String, Vec<Claimed>) {
        let found = self.find("", end, Span { from_us: at_us, to_us: at_us + 1 });
        let mut claims: Vec<Claimed> = self.claimed(end.address).collect();
        claims.sort_by(|a, b| (b.open, b.from_us, a.port, &a.agent).cmp(&(a.open, a.from_us, b.port, &b.agent)));
        let reason = reason(end, &found, &claims, at_us);
        (found, reason, claims)
    }
}

fn reason(end: End, found: &Found, claims: &[Claimed], at_us: i64) -> String {
    let dims = &found.dims;
    if !found.named {
        return format!("several workloads share the address on node {}, and the port tells them apart: ask for {}", dims.node, with_port(end));
    }
    if found.owned {
        let spoke = claims.iter().find(|claim| claim.owner == *dims && claim.from_us <= at_us && (claim.open || claim.until_us >= at_us));
        let agent = spoke.map_or_else(|| "its agent".to_owned(), |claim| format!("agent {}", claim.agent));
        let by = match dims.resolution_type.as_str() {
            found_by::RULE => "a static rule of its own names it",
            found_by::UNIT => "the systemd unit of its sockets names it",
            found_by::PROCESS => "the process names it",
            found_by::NODE => "no workload of it was seen, so it is the node's",
            _ => "nothing there has a name",
        };
        return format!("{agent} holds the address: {by}");
    }
    match dims.resolution_type.as_str() {
        found_by::RULE => "no agent holds it; a static rule of the server names it".to_owned(),
        found_by::LOOPBACK => "a loopback address is another one on each node: its own agent alone knows whose it is".to_owned(),
        found_by::UNKNOWN => "the unspecified address stands for ends that are not told apart".to_owned(),
        found_by::PREFIX => "no agent holds it and no rule names it: public addresses are grouped by their prefix".to_owned(),
        _ if address::is_node_local(end.address) => {
            "a link-local address is another one on each node: its own agent alone knows whose it is".to_owned()
        }
        _ => format!(
            "no agent {} it and no rule names it: run an agent on its host, or name it by a rule (identity.rules)",
            if claims.is_empty() { "has ever held" } else { "held" }
        ),
    }
}

/// How to write an address with the port that is still to be chosen.
fn with_port(end: End) -> String {
    if end.address.is_ipv4() { format!("{}:PORT", end.address) } else { format!("[{}]:PORT", end.address) }
}
