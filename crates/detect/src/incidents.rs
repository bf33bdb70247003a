//! Alerts that share a component become one incident.

use crate::series::{EdgeKey, Places};
use edgescope_model::alert::Incident;
use edgescope_model::time::Time;
use edgescope_model::verdict::{Culprit, Scope};
use std::collections::{BTreeMap, BTreeSet};

/// Alerts that begin this close to each other and are connected by calls have one cause.
const TOGETHER_S: i64 = 120;

/// What grouping needs to know of an alert.
#[derive(Debug, Clone)]
pub struct Member {
    pub since: Time,
    pub workloads: BTreeSet<String>,
    pub places: Places,
}

impl Member {
    pub fn new(since: Time, edge: &EdgeKey, places: &Places) -> Self {
        let workloads = [name(&edge.source_namespace, &edge.source), name(&edge.dest_namespace, &edge.dest)].into();
        Self { since, workloads, places: places.clone() }
    }
}

fn name(namespace: &str, workload: &str) -> String {
    if namespace.is_empty() { workload.to_owned() } else { format!("{namespace}/{workload}") }
}

/// Which workloads are connected by calls, directly or through others.
pub fn islands<'a>(edges: impl Iterator<Item = &'a EdgeKey>) -> BTreeMap<String, usize> {
    let mut island: BTreeMap<String, usize> = BTreeMap::new();
    let mut next = 0;
    for edge in edges {
        let (a, b) = (name(&edge.source_namespace, &edge.source), name(&edge.dest_namespace, &edge.dest));
        match (island.get(&a).copied(), island.get(&b).copied()) {
            (None, None) => {
                island.insert(a, next);
                island.insert(b, next);
                next += 1;
            }
            (Some(i), None) => drop(island.insert(b, i)),
            (None, Some(i)) => drop(island.insert(a, i)),
            (Some(i), Some(j)) if i != j => island.values_mut().filter(|v| **v == j).for_each(|v| *v = i),
            _ => {}
        }
    }
    island
}

/// The open incident that an alert belongs to: one it shares a workload with, else one that began with it and is connected to it by calls.
pub fn home<'a>(
    member: &Member,
    open: impl Iterator<Item = (&'a Incident, Vec<&'a Member>)> + Clone,
    islands: &BTreeMap<String, usize>,
) -> Option<String> {
    let shares = |other: &Member| !other.workloads.is_disjoint(&member.workloads);
    if let Some((incident, _)) = open.clone().find(|(_, members)| members.iter().any(|m| shares(m))) {
        return Some(incident.id.clone());
    }
    let island = |m: &Member| m.workloads.iter().find_map(|w| islands.get(w).copied());
    let own = island(member);
    let together = |other: &&Member| (other.since - member.since).num_seconds().abs() <= TOGETHER_S && own.is_some() && island(other) == own;
    open.clone().find(|(_, members)| members.iter().any(together)).map(|(incident, _)| incident.id.clone())
}

/// What all members share, the smallest first: a pod, a node, a workload, a zone; nobody if nothing is shared.
pub fn shared(members: &[&Member]) -> Culprit {
    let common = |set: &dyn Fn(&Member) -> BTreeSet<String>| {
        let mut sets = members.iter().map(|m| set(m));
        let first = sets.next().unwrap_or_default();
        let both = sets.fold(first, |a, b| a.intersection(&b).cloned().collect());
        // Two ends shared by all members say nothing of which it is.
        (both.len() == 1).then(|| both.into_iter().next()).flatten()
    };
    let found = [
        (Scope::Pod, common(&|m| m.places.pods.clone())),
        (Scope::Node, common(&|m| m.places.nodes.clone())),
        (Scope::Workload, common(&|m| m.workloads.iter().map(|w| w.rsplit('/').next().unwrap_or(w).to_owned()).collect())),
        (Scope::Zone, common(&|m| m.places.zones.clone())),
    ];
    found.into_iter().find_map(|(scope, name)| Some(Culprit { scope, name: name?, peer: None })).unwrap_or_else(Culprit::none)
}
