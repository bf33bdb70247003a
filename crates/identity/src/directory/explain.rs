//! Why an end is called what it is called: the directory's answer in words, with all that was ever said of the address.

use super::heard::Word;
use super::{Claimed, Directory, End, Found, Span};
use crate::kubernetes::Kubernetes;
use crate::kubernetes::held::Choice;
use crate::resolve::Heard;
use crate::{address, found_by};
use edgescope_model::time::from_micros;

impl Directory {
    /// Who has an end at a moment, why in a sentence, and every claim of its address that is remembered: open ones first, then the newest.
    pub fn explain(&self, end: End, at_us: i64) -> (Found, String, Vec<Claimed>) {
        let window = Span { from_us: at_us, to_us: at_us + 1 };
        let (mut found, about) = self.in_kubernetes(None, end, window, self.find_claimed(None, end, window));
        let mut claims: Vec<Claimed> = self.claimed(end.address).collect();
        claims.sort_by(|a, b| (b.open, b.from_us, a.port, &a.agent).cmp(&(a.open, a.from_us, b.port, &b.agent)));
        let word = self.word_on(end, at_us).filter(|word| Heard { name: &word.name, resolution_type: word.resolution_type }.name(&mut found));
        let reason = match (about, word) {
            (Some(about), _) => self.told_by(end, window, &about, &claims),
            (None, Some(word)) => heard(word),
            (None, None) => self.told_outside(end, &found).unwrap_or_else(|| reason(end, &found, &claims, at_us)),
        };
        let lack = if found.told { None } else { self.lack(end, window) };
        (found, lack.map_or_else(|| reason.clone(), |lack| format!("{reason}; {lack}")), claims)
    }

    /// How the user's files came to name it, or told its region.
    fn told_outside(&self, end: End, found: &Found) -> Option<String> {
        if found.owned { None } else { self.told_by_file(end.address, &found.dims) }
    }

    /// How Kubernetes came to name it.
    fn told_by(&self, end: End, window: Span, about: &str, claims: &[Claimed]) -> String {
        let agent = self.agent_that_saw(end, window).map(|agent| format!("agent {agent} sees its cgroup there, and "));
        let since = claims
            .iter()
            .find(|claim| Kubernetes::is_claim(claim) && claim.from_us < window.to_us && (claim.open || claim.until_us > window.from_us));
        let since =
            since.filter(|_| agent.is_none()).map(|claim| format!(", which holds the address since {}", from_micros(claim.from_us).to_rfc3339()));
        format!("{}Kubernetes names it: {about}{}", agent.unwrap_or_default(), since.unwrap_or_default())
    }

    /// Why Kubernetes has no name for it, where it might have one.
    fn lack(&self, end: End, window: Span) -> Option<&'static str> {
        if self.kubernetes().is_empty() {
            return None;
        }
        match self.kubernetes().find(end, window) {
            Choice::Several(_) => Some("Kubernetes had several pods of different workloads on it in that moment, and nothing tells which it was"),
            Choice::Unsure if self.kubernetes().has_pod_at(end.address) => {
                Some("a pod has or had the address, but what Kubernetes told does not cover that moment (edgescope_kubernetes_behind_seconds)")
            }
            _ => None,
        }
    }
}

/// How an agent came to call it so.
fn heard(word: &Word) -> String {
    let how = match word.resolution_type {
        found_by::TLS_SNI => "its clients greet it by this name in TLS",
        _ => "it is in the answer that its clients got when they asked DNS for this name",
    };
    format!("no agent holds it and no rule names it; agent {} hears what it is called: {how}", word.agent)
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
