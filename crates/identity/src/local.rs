//! Who owns a socket on this node: the strongest source that knows, and by which way it was found.

use crate::cgroup::{PodRef, container_id};
use crate::container::Contained;
use crate::rules::{Rules, Subject};
use crate::runtime::Named;
use crate::{found_by, owner_of};
use edgescope_model::dims::EndDims;
use edgescope_model::wire::Owner;
use std::net::IpAddr;

/// Where an agent's node is; rules may say otherwise for single workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Place {
    pub node: String,
    pub zone: String,
    pub region: String,
    pub environment: String,
}

/// What is known of a socket's owner.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Name of its network namespace, where that has one.
    pub netns: Option<&'a str>,
    pub address: IpAddr,
    /// The port it serves; `None` for a client.
    pub port: Option<u16>,
    /// `comm` of the process.
    pub process: &'a str,
    /// Path of its cgroup below the root of the hierarchy; empty if unknown.
    pub cgroup: &'a str,
    /// What a runtime says of its container, where there is one.
    pub container: Option<&'a Named>,
    /// The address is one container's, or one pod's, by its network: then the process is left out, so that far ends, who know the address alone, say the same.
    pub has_own_network: bool,
}

/// Who owns a socket, as its node sees it: the names, and the pod by which a server may find better ones.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Local {
    pub dims: EndDims,
    /// Empty outside of pods and containers.
    pub pod: PodRef,
}

impl Local {
    /// As it goes over the wire.
    pub fn to_wire(&self) -> Owner {
        Owner { pod_uid: self.pod.pod_uid.clone(), container_id: self.pod.container_id.clone(), ..owner_of(&self.dims) }
    }
}

/// Names local socket owners.
#[derive(Debug, Clone, Default)]
pub struct Namer {
    rules: Rules,
    place: Place,
}

impl Namer {
    pub fn new(rules: Rules, place: Place) -> Self {
        Self { rules, place }
    }

    /// The owner's names. `process` is filled only where the address alone does not tell the owner, so that both ends of an edge name it alike.
    pub fn owner(&self, facts: &Facts<'_>) -> EndDims {
        let unit = unit_of(facts.cgroup);
        let subject = Subject { netns: facts.netns, address: facts.address, port: facts.port, process: facts.process, cgroup: facts.cgroup, unit };
        let rule = self.rules.find(&subject);
        let mut dims = self.placed();
        if self.names_by_address(facts.netns, facts.address) {
            dims.pod = facts.netns.unwrap_or_default().to_owned();
        } else {
            self.name_by_process(&mut dims, facts, unit);
        }
        if let Some(rule) = rule {
            rule.apply(&mut dims);
            if rule.workload.is_some() {
                dims.resolution_type = found_by::RULE.to_owned();
            }
        }
        dims
    }

    /// Whether the address alone names its owner in this namespace. Decided by the rules only, so that it does not change with the traffic.
    pub fn names_by_address(&self, netns: Option<&str>, address: IpAddr) -> bool {
        self.rules.name_by_address(netns, address)
    }

    /// Puts the node elsewhere than the configuration says.
    pub fn set_place(&mut self, place: Place) {
        self.place = place;
    }

    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Who holds an address that is a container's by its network: the container, though others may share its network.
    pub fn container_holder(&self, container: &Named) -> EndDims {
        let mut dims = self.placed();
        container.apply(&mut dims);
        dims
    }

    /// Who holds an address that several workloads share: the node.
    pub fn holder(&self) -> EndDims {
        EndDims { workload: self.place.node.clone(), resolution_type: found_by::NODE.to_owned(), ..self.placed() }
    }

    fn placed(&self) -> EndDims {
        let place = self.place.clone();
        EndDims { node: place.node, zone: place.zone, region: place.region, environment: place.environment, ..EndDims::default() }
    }

    fn name_by_process(&self, dims: &mut EndDims, facts: &Facts<'_>, unit: Option<&str>) {
        dims.process = facts.process.to_owned();
        if let Some(container) = facts.container {
            if facts.has_own_network {
                dims.process.clear();
            }
            container.apply(dims);
            return;
        }
        let (workload, found) = match unit {
            Some(unit) => (workload_of_unit(unit), found_by::UNIT),
            None if !facts.process.is_empty() => (facts.process.to_owned(), found_by::PROCESS),
            None => (found_by::UNKNOWN.to_owned(), found_by::UNKNOWN),
        };
        let instance = unit.or(container_id(facts.cgroup).map(|id| &id[..12])).unwrap_or(facts.process);
        dims.pod = if instance.is_empty() { String::new() } else { format!("{instance}@{}", self.place.node) };
        dims.workload = workload;
        dims.resolution_type = found.to_owned();
    }
}

/// The systemd service that a cgroup path leads through, the innermost; scopes and slices name no workload. A service that a container lies in is its
/// runtime's, not the container's; and a user's manager is not what its user runs.
pub fn unit_of(cgroup: &str) -> Option<&str> {
    let within = match Contained::of(cgroup).filter(Contained::is_sure) {
        Some(contained) => cgroup.get(contained.path.len()..).unwrap_or_default(),
        None => cgroup,
    };
    let unit = within.rsplit('/').find(|part| part.len() > ".service".len() && part.ends_with(".service"))?;
    let is_users_manager = unit.strip_prefix("user@").and_then(|rest| rest.strip_suffix(".service")).is_some_and(|uid| uid.parse::<u32>().is_ok());
    (!is_users_manager || within.ends_with("/init.scope")).then_some(unit)
}

/// `nginx.service` → `nginx`; `worker@3.service` → `worker`, since instances of a template are one workload.
fn workload_of_unit(unit: &str) -> String {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    name.split_once('@').map_or(name, |(template, _)| template).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::{Match, Rule};

    fn namer() -> Namer {
        let rule = Rule {
            when: Match { netns: Some("cart-1".into()), ..Match::default() },
            workload: Some("cartservice".into()),
            zone: Some("b".into()),
            ..Rule::default()
        };
        let by_port = Rule { when: Match { port: Some(5432), ..Match::default() }, workload: Some("postgres".into()), ..Rule::default() };
        let place = Place { node: "n1".into(), zone: "a".into(), region: "r".into(), environment: "e".into() };
        Namer::new(Rules::new(vec![rule, by_port]).unwrap(), place)
    }

    fn facts<'a>() -> Facts<'a> {
        Facts {
            netns: None,
            address: "10.0.0.1".parse().unwrap(),
            port: None,
            process: "nginx",
            cgroup: "/system.slice/web@2.service",
            container: None,
            has_own_network: false,
        }
    }

    #[test]
    fn the_strongest_source_names() {
        let by_rule = namer().owner(&Facts { netns: Some("cart-1"), ..facts() });
        assert_eq!((by_rule.workload.as_str(), by_rule.zone.as_str(), by_rule.node.as_str()), ("cartservice", "b", "n1"));
        assert_eq!((by_rule.resolution_type.as_str(), by_rule.pod.as_str(), by_rule.process.as_str()), ("rule", "cart-1", ""));
        let by_port = namer().owner(&Facts { port: Some(5432), ..facts() });
        assert_eq!((by_port.workload.as_str(), by_port.resolution_type.as_str(), by_port.process.as_str()), ("postgres", "rule", "nginx"));
        let by_unit = namer().owner(&facts());
        assert_eq!((by_unit.workload.as_str(), by_unit.pod.as_str(), by_unit.resolution_type.as_str()), ("web", "web@2.service@n1", "systemd"));
        let by_process = namer().owner(&Facts { cgroup: "/user.slice/session-1.scope", ..facts() });
        assert_eq!((by_process.workload.as_str(), by_process.pod.as_str(), by_process.resolution_type.as_str()), ("nginx", "nginx@n1", "process"));
        let unknown = namer().owner(&Facts { cgroup: "", process: "", ..facts() });
        assert_eq!((unknown.workload.as_str(), unknown.pod.as_str()), ("unknown", ""));
    }

    #[test]
    fn the_innermost_service_is_the_unit() {
        // A container below containerd.service is not that service: its own scope is not a unit, but the innermost service wins.
        assert_eq!(unit_of("/system.slice/a.service/b.service"), Some("b.service"));
        assert_eq!(unit_of("/.service"), None);
        let user = "/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(unit_of(&format!("{user}/app.slice/syncthing.service")), Some("syncthing.service"));
        assert_eq!(unit_of(&format!("{user}/app.slice/app-firefox-1.scope")), None, "named by the process");
        assert_eq!(unit_of(&format!("{user}/init.scope")), Some("user@1000.service"));
    }

    #[test]
    fn a_container_is_not_the_service_that_runs_it() {
        let id = "0123456789abcdef".repeat(4);
        // What a kubelet and a runtime with different cgroup drivers make of a pod.
        let mixed = format!("/system.slice/containerd.service/kubepods-burstable-pod1b3c5d7e_0a2b_4c6d_8e0f_123456789abc.slice:cri-containerd:{id}");
        assert_eq!(unit_of(&mixed), None);
        assert_eq!(unit_of(&format!("/docker/{id}/system.slice/sshd.service")), Some("sshd.service"), "a whole system in a container");
        let silent = namer().owner(&Facts { cgroup: &mixed, ..facts() });
        assert_eq!((silent.workload.as_str(), silent.pod.as_str(), silent.resolution_type.as_str()), ("nginx", "0123456789ab@n1", "process"));
    }

    #[test]
    fn a_runtimes_word_goes_before_unit_and_process_and_after_rules() {
        let named = Named {
            workload: "web".into(),
            namespace: "blog".into(),
            pod: "blog-web-1".into(),
            is_local: true,
            resolution_type: "docker",
            ..Named::default()
        };
        let of = |has_own_network, port| namer().owner(&Facts { container: Some(&named), has_own_network, port, ..facts() });
        let own = of(true, None);
        assert_eq!((own.workload.as_str(), own.namespace.as_str(), own.pod.as_str(), own.process.as_str()), ("web", "blog", "blog-web-1@n1", ""));
        assert_eq!(
            (of(false, None).process.as_str(), own.resolution_type.as_str()),
            ("nginx", "docker"),
            "on the node's network the process tells more"
        );
        let ruled = of(true, Some(5432));
        assert_eq!((ruled.workload.as_str(), ruled.resolution_type.as_str(), ruled.namespace.as_str()), ("postgres", "rule", "blog"));
        let holder = namer().container_holder(&named);
        assert_eq!((holder.workload, holder.pod, holder.node), (own.workload, own.pod, own.node), "far ends say the same");
    }
}
