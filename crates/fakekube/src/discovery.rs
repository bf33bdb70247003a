//! What clients ask before they ask for objects: which groups, versions and resources there are.

use crate::{RESOURCES, Resource};
use serde_json::{Value, json};

const VERBS: [&str; 3] = ["get", "list", "watch"];

/// `/version`.
pub fn version() -> Value {
    json!({"major": "1", "minor": "34", "gitVersion": "v1.34.0", "gitCommit": "", "gitTreeState": "clean", "buildDate": "2025-08-27T00:00:00Z",
        "goVersion": "go1.24", "compiler": "gc", "platform": "linux/amd64"})
}

/// `/api`.
pub fn core() -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []})
}

/// `/apis`.
pub fn groups() -> Value {
    let mut names: Vec<&str> = RESOURCES.iter().map(|resource| resource.group).filter(|group| !group.is_empty()).collect();
    names.dedup();
    let group = |name: &str| {
        let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        json!({"name": name, "versions": [version], "preferredVersion": version})
    };
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": names.into_iter().map(group).collect::<Vec<_>>()})
}

/// `/api/v1`, `/apis/GROUP/v1`; `None` if there is no such group.
pub fn resources(group: &str) -> Option<Value> {
    let resource = |resource: &Resource| {
        json!({"name": resource.plural, "singularName": resource.kind.to_lowercase(), "namespaced": resource.namespaced, "kind": resource.kind,
            "verbs": VERBS, "shortNames": [resource.short]})
    };
    let all: Vec<Value> = RESOURCES.iter().filter(|resource| resource.group == group).map(resource).collect();
    let version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
    (!all.is_empty()).then(|| json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": all}))
}
