//! Static rules: names from the configuration, for hosts without an orchestrator and for far ends without an agent.

use edgescope_model::dims::{EndDims, VALUE_BYTES_MAX};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Most rules: they are tried one after the other for each new socket owner and each unnamed peer.
pub const RULES_MAX: usize = 10_000;

/// One rule: whatever its `match` fits gets the names that it gives; absent ones come from weaker sources. The first rule that fits wins.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    #[serde(rename = "match")]
    pub when: Match,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<String>,
}

/// Conditions; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// Name of a network namespace under `/run/netns`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub netns: Option<String>,
    /// Holds the end's own address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr: Option<IpNet>,
    /// The port that the end serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// Name of the process (`comm`, at most 15 bytes).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub process: Option<String>,
    /// Path of the cgroup below the root of the hierarchy, or of one above it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// Name of the systemd unit, with its suffix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// What the rules can look at, of one socket owner.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'a> {
    pub netns: Option<&'a str>,
    pub address: IpAddr,
    /// The port it serves; `None` for a client.
    pub port: Option<u16>,
    pub process: &'a str,
    pub cgroup: &'a str,
    pub unit: Option<&'a str>,
}

/// A rule that cannot work.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum RuleError {
    #[error("identity.rules[{0}].match is empty: give at least one of netns, cidr, port, process, cgroup, unit")]
    EmptyMatch(usize),
    #[error("identity.rules[{0}] gives no name: give at least one of workload, namespace, node, zone, region, environment, pod")]
    NoNames(usize),
    #[error("identity.rules[{rule}].{field} is empty: leave it out, or give it a value")]
    EmptyValue { rule: usize, field: &'static str },
    #[error("identity.rules[{rule}].{field} has {bytes} bytes, at most {VALUE_BYTES_MAX}")]
    TooLong { rule: usize, field: &'static str, bytes: usize },
    #[error(
        "identity.rules[{rule}].match.process '{process}' has more than the 15 bytes that the kernel keeps of a process name: it can never match"
    )]
    Process { rule: usize, process: String },
    #[error("identity.rules has {0} rules, at most {RULES_MAX}")]
    TooMany(usize),
}

/// Checked rules, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules(Vec<Rule>);

impl Rules {
    /// Checks the rules.
    ///
    /// # Errors
    /// Names the first rule and field that cannot work.
    pub fn new(rules: Vec<Rule>) -> Result<Self, RuleError> {
        if rules.len() > RULES_MAX {
            return Err(RuleError::TooMany(rules.len()));
        }
        for (at, rule) in rules.iter().enumerate() {
            check(at, rule)?;
        }
        Ok(Self(rules))
    }

    /// The first rule that fits a local socket owner.
    pub fn find(&self, subject: &Subject<'_>) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.when.fits(subject))
    }

    /// The first rule that fits a far end, of which only the address and the served port are known.
    pub fn find_far(&self, address: IpAddr, port: Option<u16>) -> Option<&Rule> {
        self.0.iter().find(|rule| rule.when.knows_far_ends() && rule.when.fits_address(address, port))
    }

    /// Whether all sockets with this address in this namespace get their names from one rule, so that the address alone names its owner.
    pub fn name_by_address(&self, netns: Option<&str>, address: IpAddr) -> bool {
        let possible = self.0.iter().find(|rule| rule.when.fits_place(netns, address));
        possible.is_some_and(|rule| !rule.when.looks_at_sockets() && rule.workload.is_some())
    }
}

impl Match {
    fn fits(&self, subject: &Subject<'_>) -> bool {
        self.fits_place(subject.netns, subject.address)
            && self.port.is_none_or(|port| subject.port == Some(port))
            && self.process.as_deref().is_none_or(|process| subject.process == process)
            && self.cgroup.as_deref().is_none_or(|cgroup| is_below(subject.cgroup, cgroup))
            && self.unit.as_deref().is_none_or(|unit| subject.unit == Some(unit))
    }

    fn fits_place(&self, netns: Option<&str>, address: IpAddr) -> bool {
        self.netns.as_deref().is_none_or(|wanted| netns == Some(wanted)) && self.cidr.is_none_or(|cidr| cidr.contains(&address))
    }

    fn fits_address(&self, address: IpAddr, port: Option<u16>) -> bool {
        self.cidr.is_none_or(|cidr| cidr.contains(&address)) && self.port.is_none_or(|wanted| port == Some(wanted))
    }

    /// True if sockets of one address can differ in what is asked for.
    fn looks_at_sockets(&self) -> bool {
        self.port.is_some() || self.process.is_some() || self.cgroup.is_some() || self.unit.is_some()
    }

    fn knows_far_ends(&self) -> bool {
        self.cidr.is_some() && self.netns.is_none() && self.process.is_none() && self.cgroup.is_none() && self.unit.is_none()
    }
}

impl Rule {
    /// Writes the given names over those of `dims`.
    pub fn apply(&self, dims: &mut EndDims) {
        let pairs = [
            (&self.workload, &mut dims.workload),
            (&self.namespace, &mut dims.namespace),
            (&self.node, &mut dims.node),
            (&self.zone, &mut dims.zone),
            (&self.region, &mut dims.region),
            (&self.environment, &mut dims.environment),
            (&self.pod, &mut dims.pod),
        ];
        for (given, field) in pairs {
            if let Some(given) = given {
                field.clone_from(given);
            }
        }
    }

    fn names(&self) -> [(&'static str, &Option<String>); 7] {
        [
            ("workload", &self.workload),
            ("namespace", &self.namespace),
            ("node", &self.node),
            ("zone", &self.zone),
            ("region", &self.region),
            ("environment", &self.environment),
            ("pod", &self.pod),
        ]
    }
}

/// `/a/b` is below `/a` and below itself, not below `/a/bc`.
fn is_below(path: &str, top: &str) -> bool {
    let top = top.trim_end_matches('/');
    path.strip_prefix(top).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn check(at: usize, rule: &Rule) -> Result<(), RuleError> {
    let when = &rule.when;
    if *when == Match::default() {
        return Err(RuleError::EmptyMatch(at));
    }
    if rule.names().iter().all(|(_, name)| name.is_none()) {
        return Err(RuleError::NoNames(at));
    }
    let conditions = [("match.netns", &when.netns), ("match.process", &when.process), ("match.cgroup", &when.cgroup), ("match.unit", &when.unit)];
    for (field, value) in conditions.into_iter().chain(rule.names()) {
        let Some(value) = value else { continue };
        if value.is_empty() {
            return Err(RuleError::EmptyValue { rule: at, field });
        }
        if value.len() > VALUE_BYTES_MAX {
            return Err(RuleError::TooLong { rule: at, field, bytes: value.len() });
        }
    }
    match &when.process {
        Some(process) if process.len() > 15 => Err(RuleError::Process { rule: at, process: process.clone() }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(json: &str) -> Result<Rules, String> {
        let rules: Vec<Rule> = serde_json::from_str(json).map_err(|e| e.to_string())?;
        Rules::new(rules).map_err(|e| e.to_string())
    }

    fn subject<'a>() -> Subject<'a> {
        Subject {
            netns: Some("cart-1"),
            address: "10.0.0.5".parse().unwrap(),
            port: Some(7070),
            process: "cart",
            cgroup: "/system.slice/cart.service",
            unit: Some("cart.service"),
        }
    }

    #[test]
    fn all_conditions_must_hold_and_the_first_rule_wins() {
        let rules = rules(
            r#"[{"match": {"netns": "cart-1", "port": 9}, "workload": "no"},
                {"match": {"netns": "cart-1", "cgroup": "/system.slice"}, "workload": "yes", "zone": "a"},
                {"match": {"netns": "cart-1"}, "workload": "later"}]"#,
        )
        .unwrap();
        assert_eq!(rules.find(&subject()).unwrap().workload.as_deref(), Some("yes"));
        assert_eq!(rules.find(&Subject { cgroup: "/system.slicer", ..subject() }).unwrap().workload.as_deref(), Some("later"));
        assert!(rules.find(&Subject { netns: None, ..subject() }).is_none());
    }

    #[test]
    fn an_address_names_its_owner_only_if_no_earlier_rule_looks_at_sockets() {
        let by_netns = rules(r#"[{"match": {"netns": "cart-1"}, "workload": "cart"}, {"match": {"process": "x"}, "workload": "y"}]"#).unwrap();
        assert!(by_netns.name_by_address(Some("cart-1"), subject().address));
        assert!(!by_netns.name_by_address(Some("other"), subject().address));
        let by_process = rules(r#"[{"match": {"process": "x"}, "workload": "y"}, {"match": {"netns": "cart-1"}, "workload": "cart"}]"#).unwrap();
        assert!(!by_process.name_by_address(Some("cart-1"), subject().address));
    }

    #[test]
    fn far_ends_are_known_by_address_and_port_only() {
        let rules =
            rules(r#"[{"match": {"netns": "cart-1"}, "workload": "no"}, {"match": {"cidr": "10.0.0.0/8", "port": 5432}, "workload": "postgres"}]"#)
                .unwrap();
        assert_eq!(rules.find_far(subject().address, Some(5432)).unwrap().workload.as_deref(), Some("postgres"));
        assert!(rules.find_far(subject().address, None).is_none());
    }

    #[test]
    fn wrong_rules_are_told_by_number_and_field() {
        for (json, expected) in [
            (r#"[{"match": {}, "workload": "a"}]"#, "identity.rules[0].match is empty"),
            (r#"[{"match": {"port": 1}}]"#, "identity.rules[0] gives no name"),
            (r#"[{"match": {"port": 1}, "workload": ""}]"#, "identity.rules[0].workload is empty"),
            (r#"[{"match": {"process": "a-name-longer-than-fifteen"}, "workload": "a"}]"#, "15 bytes"),
            (r#"[{"match": {"netnz": "a"}, "workload": "a"}]"#, "netnz"),
            (r#"[{"match": {"netns": "a"}, "wurkload": "a"}]"#, "wurkload"),
            (r#"[{"match": {"cidr": "10.0.0.0/99"}, "workload": "a"}]"#, "invalid IP address"),
        ] {
            let message = rules(json).unwrap_err();
            assert!(message.contains(expected), "{json}: {message}");
        }
    }
}
