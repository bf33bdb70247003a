//! What a company is made of: zones, nodes, services and who calls whom. Pure data, no addresses yet.

mod bank;
mod shop;

use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};

/// A company as somebody would describe it on a whiteboard.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// Name of the built-in topology, or of the caller's own.
    pub name: String,
    /// What a Kubernetes namespace would be: the same for all services.
    pub namespace: String,
    pub zones: Vec<String>,
    pub nodes: Vec<NodeSpec>,
    pub services: Vec<ServiceSpec>,
    /// Who tells the services each other's addresses.
    pub resolver: ResolverSpec,
    /// Who calls whom; a service makes its calls in this order, one after the other.
    pub calls: Vec<CallSpec>,
    /// Requests per second that all load generators together send.
    pub rate_per_s: f64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeSpec {
    pub name: String,
    pub zone: String,
}

/// The company's own DNS, with one replica on each of `nodes`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ResolverSpec {
    pub name: String,
    pub nodes: Vec<String>,
}

/// A workload with one replica (a pod) on each of `nodes`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceSpec {
    pub name: String,
    /// Where it listens; a load generator listens nowhere.
    pub port: Option<u16>,
    pub nodes: Vec<String>,
    /// Mean time it computes for one request, exponentially distributed.
    pub think_us: u32,
    /// Mean size of a response's body.
    pub response_bytes: u32,
}

impl ServiceSpec {
    /// A load generator makes requests of its own accord and answers none.
    pub fn is_load_generator(&self) -> bool {
        self.port.is_none()
    }
}

/// `from` calls `to` with `probability` for each request that `from` itself handles.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CallSpec {
    pub from: String,
    pub to: String,
    pub probability: f64,
    /// Mean size of a request's body.
    pub request_bytes: u32,
}

/// Why a [`Spec`] cannot be built.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum SpecError {
    #[error("unknown topology {0:?}: use one of {known}", known = Spec::BUILT_IN.join(", "))]
    UnknownTopology(String),
    #[error("{what} {name:?} is named twice")]
    Twice { what: &'static str, name: String },
    #[error("{user} names the {what} {name:?}, which the spec does not have")]
    Unknown { user: String, what: &'static str, name: String },
    #[error("service {0:?} has no replica: name at least one node")]
    NoReplica(String),
    #[error("service {0:?} has two replicas on node {1:?}: name a node once")]
    ReplicaTwice(String, String),
    #[error("call {0}>{1} has probability {2}: use a number above 0 and at most 1")]
    Probability(String, String, f64),
    #[error("call {0}>{1} goes to a load generator, which does not listen")]
    CallsLoadGenerator(String, String),
    #[error("the calls run in a circle through {0:?}: a request would never end")]
    Circle(String),
    #[error("{what} {count} exceeds {max}, the most the address plan has room for")]
    TooMany { what: &'static str, count: usize, max: usize },
}

/// 10.ZONE.NODE.POD and its IPv6 twin give one octet to each; 250 is used by the management network, 0 by routers.
const ZONES_MAX: usize = 200;
const NODES_MAX: usize = 200;
const SERVICES_MAX: usize = 200;

impl Spec {
    /// Names that [`Spec::built_in`] knows.
    pub const BUILT_IN: [&'static str; 2] = ["shop", "other"];

    /// A topology that comes with the testbed: `shop` (the default) or `other` (all names and the shape differ).
    pub fn built_in(name: &str) -> Result<Spec, SpecError> {
        match name {
            "shop" => Ok(shop::spec()),
            "other" => Ok(bank::spec()),
            _ => Err(SpecError::UnknownTopology(name.to_string())),
        }
    }

    pub fn service(&self, name: &str) -> Option<&ServiceSpec> {
        self.services.iter().find(|s| s.name == name)
    }

    /// Checks that every name exists, that nothing is named twice and that calls come to an end.
    pub fn check(&self) -> Result<(), SpecError> {
        unique("zone", self.zones.iter())?;
        unique("node", self.nodes.iter().map(|n| &n.name))?;
        unique("service", self.services.iter().map(|s| &s.name).chain([&self.resolver.name]))?;
        at_most("number of zones", self.zones.len(), ZONES_MAX)?;
        at_most("number of nodes", self.nodes.len(), NODES_MAX)?;
        at_most("number of services", self.services.len(), SERVICES_MAX)?;
        for node in &self.nodes {
            known(&self.zones, &node.zone, "zone", || format!("node {:?}", node.name))?;
        }
        let nodes: Vec<String> = self.nodes.iter().map(|n| n.name.clone()).collect();
        let resolver = (&self.resolver.name, &self.resolver.nodes);
        for (name, on) in self.services.iter().map(|service| (&service.name, &service.nodes)).chain([resolver]) {
            if on.is_empty() {
                return Err(SpecError::NoReplica(name.clone()));
            }
            let mut seen = HashSet::new();
            for node in on {
                known(&nodes, node, "node", || format!("service {name:?}"))?;
                if !seen.insert(node) {
                    return Err(SpecError::ReplicaTwice(name.clone(), node.clone()));
                }
            }
        }
        self.check_calls()
    }

    fn check_calls(&self) -> Result<(), SpecError> {
        let services: Vec<String> = self.services.iter().map(|s| s.name.clone()).collect();
        for call in &self.calls {
            let user = || format!("call {}>{}", call.from, call.to);
            known(&services, &call.from, "service", user)?;
            known(&services, &call.to, "service", user)?;
            if !(call.probability > 0.0 && call.probability <= 1.0) {
                return Err(SpecError::Probability(call.from.clone(), call.to.clone(), call.probability));
            }
            if self.service(&call.to).is_some_and(ServiceSpec::is_load_generator) {
                return Err(SpecError::CallsLoadGenerator(call.from.clone(), call.to.clone()));
            }
        }
        self.call_order().map(|_| ())
    }

    /// Services such that each comes after all its callers.
    fn call_order(&self) -> Result<Vec<&str>, SpecError> {
        let mut waiting: Vec<&str> = self.services.iter().map(|s| s.name.as_str()).collect();
        let mut order = Vec::new();
        while !waiting.is_empty() {
            let has_waiting_caller = |name: &str| self.calls.iter().any(|c| c.to == name && waiting.contains(&c.from.as_str()));
            let (ready, rest): (Vec<&str>, Vec<&str>) = waiting.iter().partition(|name| !has_waiting_caller(name));
            if ready.is_empty() {
                return Err(SpecError::Circle(rest[0].to_string()));
            }
            order.extend(ready);
            waiting = rest;
        }
        Ok(order)
    }

    /// Calls per second that each entry of `calls` makes when nothing is wrong, in the order of `calls`.
    ///
    /// # Errors
    /// When the calls run in a circle.
    pub fn call_rates_per_s(&self) -> Result<Vec<f64>, SpecError> {
        let mut handled: HashMap<&str, f64> =
            self.services.iter().filter(|s| s.is_load_generator()).map(|s| (s.name.as_str(), self.rate_per_s)).collect();
        let mut rates = vec![0.0; self.calls.len()];
        for service in self.call_order()? {
            let requests = handled.get(service).copied().unwrap_or(0.0);
            for (rate, call) in rates.iter_mut().zip(&self.calls).filter(|(_, call)| call.from == service) {
                *rate = requests * call.probability;
                *handled.entry(call.to.as_str()).or_default() += *rate;
            }
        }
        Ok(rates)
    }
}

fn unique<'a>(what: &'static str, names: impl Iterator<Item = &'a String>) -> Result<(), SpecError> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            return Err(SpecError::Twice { what, name: name.clone() });
        }
    }
    Ok(())
}

fn known(names: &[String], name: &str, what: &'static str, user: impl Fn() -> String) -> Result<(), SpecError> {
    if names.iter().any(|n| n == name) { Ok(()) } else { Err(SpecError::Unknown { user: user(), what, name: name.to_string() }) }
}

fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), SpecError> {
    if count <= max { Ok(()) } else { Err(SpecError::TooMany { what, count, max }) }
}

/// The rows of a built-in topology, as tables that can be read at a glance.
struct Tables {
    name: &'static str,
    namespace: &'static str,
    rate_per_s: f64,
    /// zone, its nodes
    zones: &'static [(&'static str, &'static [&'static str])],
    /// service, port (0: load generator), think µs, response bytes, nodes
    services: &'static [(&'static str, u16, u32, u32, &'static [&'static str])],
    /// name of the resolvers, their nodes
    resolver: (&'static str, &'static [&'static str]),
    /// from, to, probability, request bytes
    calls: &'static [(&'static str, &'static str, f64, u32)],
}

impl Tables {
    fn spec(&self) -> Spec {
        let node = |zone: &str, name: &&str| NodeSpec { name: name.to_string(), zone: zone.to_string() };
        Spec {
            name: self.name.to_string(),
            namespace: self.namespace.to_string(),
            zones: self.zones.iter().map(|(zone, _)| zone.to_string()).collect(),
            nodes: self.zones.iter().flat_map(|(zone, nodes)| nodes.iter().map(|n| node(zone, n))).collect(),
            services: self
                .services
                .iter()
                .map(|&(name, port, think_us, response_bytes, nodes)| ServiceSpec {
                    name: name.to_string(),
                    port: (port != 0).then_some(port),
                    nodes: nodes.iter().map(|n| n.to_string()).collect(),
                    think_us,
                    response_bytes,
                })
                .collect(),
            resolver: ResolverSpec { name: self.resolver.0.to_string(), nodes: self.resolver.1.iter().map(|n| n.to_string()).collect() },
            calls: self
                .calls
                .iter()
                .map(|&(from, to, probability, request_bytes)| CallSpec { from: from.to_string(), to: to.to_string(), probability, request_bytes })
                .collect(),
            rate_per_s: self.rate_per_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_specs_are_sound() {
        for name in Spec::BUILT_IN {
            Spec::built_in(name).expect(name).check().expect(name);
        }
    }

    #[test]
    fn an_unknown_topology_is_refused_with_the_known_names() {
        let error = Spec::built_in("shoop").expect_err("no such topology");
        assert_eq!(error.to_string(), "unknown topology \"shoop\": use one of shop, other");
    }

    #[test]
    fn rates_follow_the_call_tree() {
        let mut spec = Spec::built_in("shop").expect("built in");
        spec.rate_per_s = 100.0;
        spec.calls = vec![
            CallSpec { from: "loadgenerator".into(), to: "frontend".into(), probability: 1.0, request_bytes: 1 },
            CallSpec { from: "frontend".into(), to: "cartservice".into(), probability: 0.5, request_bytes: 1 },
            CallSpec { from: "frontend".into(), to: "redis-cart".into(), probability: 0.1, request_bytes: 1 },
            CallSpec { from: "cartservice".into(), to: "redis-cart".into(), probability: 1.0, request_bytes: 1 },
        ];
        assert_eq!(spec.call_rates_per_s().expect("no circle"), vec![100.0, 50.0, 10.0, 50.0]);
    }

    #[test]
    fn a_circle_of_calls_is_refused() {
        let mut spec = Spec::built_in("shop").expect("built in");
        spec.calls.push(CallSpec { from: "redis-cart".into(), to: "cartservice".into(), probability: 0.1, request_bytes: 1 });
        assert!(matches!(spec.check(), Err(SpecError::Circle(_))));
    }

    #[test]
    fn wrong_names_are_refused_by_name() {
        let mut spec = Spec::built_in("shop").expect("built in");
        spec.services[0].nodes.push("node-77".into());
        let said = spec.check().expect_err("unknown node").to_string();
        assert!(said.contains("node-77"), "{said}");
    }
}
