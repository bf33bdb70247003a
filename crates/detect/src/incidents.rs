//! Alerts that share a component become one incident.

use crate::series::{EdgeKey, Places};
use edgescope_model::alert::Incident;
use edgescope_model::time::Time;
use edgescope_model::verdict::{Culprit, Scope};
use std::collections::{BTreeMap, BTreeSet};

/// Alerts that begin this close to each other and are connected by calls have one cause, and so have those that begin this soon after another of their
/// workload was last bad: as long as windows are judged again, 12 × 10 s.
const TOGETHER_S: i64 = 120;

/// What grouping needs to know of an alert.
#[derive(Debug, Clone)]
pub struct Member {
    pub since: Time,
    /// Start of its last bad window.
    pub last_bad: Time,
    pub workloads: BTreeSet<String>,
    pub places: Places,
}

impl Member {
    pub fn new(since: Time, edge: &EdgeKey, places: &Places) -> Self {
        let workloads = [name(&edge.source_namespace, &edge.source), name(&edge.dest_namespace, &edge.dest)].into();
        Self { since, last_bad: since, workloads, places: places.clone() }
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

/// The open incident that an alert belongs to: the newest with a member that shares a workload and was bad when the alert began or shortly before, else one
/// that began with it and is connected to it by calls. What was last bad long ago (its agents are silent) does not swallow what comes later.
pub fn home(member: &Member, open: &[(&Incident, Vec<&Member>)], islands: &BTreeMap<String, usize>) -> Option<String> {
    let shares = |other: &&&Member| !other.workloads.is_disjoint(&member.workloads) && (member.since - other.last_bad).num_seconds() <= TOGETHER_S;
    let last = |members: &[&Member]| members.iter().filter(shares).map(|m| m.last_bad).max();
    let akin = open.iter().filter_map(|(incident, members)| Some((last(members)?, incident)));
    if let Some((_, incident)) = akin.max_by_key(|(last, _)| *last) {
        return Some(incident.id.clone());
    }
    let island = |m: &Member| m.workloads.iter().find_map(|w| islands.get(w).copied());
    let own = island(member);
    let together = |other: &&Member| (other.since - member.since).num_seconds().abs() <= TOGETHER_S && own.is_some() && island(other) == own;
    open.iter().find(|(_, members)| members.iter().any(together)).map(|(incident, _)| incident.id.clone())
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

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::time::from_seconds;

    fn member(source: &str, dest: &str, since: i64, last_bad: i64) -> Member {
        let edge =
            EdgeKey { source_namespace: String::new(), source: source.into(), dest_namespace: String::new(), dest: dest.into(), from_client: true };
        Member { last_bad: from_seconds(last_bad), ..Member::new(from_seconds(since), &edge, &Places::default()) }
    }

    fn incident(id: &str) -> Incident {
        let (opened_at, component) = (from_seconds(0), Culprit::none());
        let (closed_at, verdict, diagnosed_at) = (None, None, None);
        Incident { id: id.into(), opened_at, since: opened_at, closed_at, alerts: Vec::new(), component, verdict, diagnosed_at }
    }

    #[test]
    fn an_incident_that_was_last_bad_long_ago_does_not_swallow_what_comes_later() {
        let (old, new) = (incident("old"), incident("new"));
        let (gone, bad) = (member("a", "b", 0, 100), member("b", "c", 500, 1_000));
        let later = member("d", "b", 1_010, 1_010);
        let home_of = |open: &[(&Incident, Vec<&Member>)]| home(&later, open, &BTreeMap::new());
        assert_eq!(home_of(&[(&old, vec![&gone])]), None);
        assert_eq!(home_of(&[(&old, vec![&gone]), (&new, vec![&bad])]), Some("new".to_owned()));
    }
}
