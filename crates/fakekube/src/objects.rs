//! Objects as clusters have them: as large, and with what a client has to step over.

use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// A pod that runs.
#[derive(Debug, Clone)]
pub struct Pod<'a> {
    pub namespace: &'a str,
    pub name: &'a str,
    pub uid: &'a str,
    pub node: &'a str,
    pub node_address: &'a str,
    /// None while its network is not there yet.
    pub addresses: &'a [&'a str],
    /// Kind, name and uid of its controller.
    pub owner: Option<(&'a str, &'a str, &'a str)>,
    pub host_network: bool,
    pub image: &'a str,
    pub ports: &'a [u16],
    /// When it was made and had its network, in seconds.
    pub since_s: i64,
}

impl Default for Pod<'_> {
    fn default() -> Self {
        Self {
            namespace: "default",
            name: "pod",
            uid: "",
            node: "node-1",
            node_address: "192.168.0.1",
            addresses: &[],
            owner: None,
            host_network: false,
            image: "registry.example/app:v1",
            ports: &[8080],
            since_s: now_s(),
        }
    }
}

impl Pod<'_> {
    /// As the API tells it: about 6 KiB with its managed fields, environment, volumes and conditions.
    pub fn json(&self) -> Value {
        let since = time(self.since_s);
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": self.name, "namespace": self.namespace, "creationTimestamp": since,
                "labels": {"app.kubernetes.io/name": self.name, "app.kubernetes.io/part-of": "shop", "app.kubernetes.io/managed-by": "Helm",
                    "helm.sh/chart": "shop-1.2.3"},
                "annotations": {"prometheus.io/scrape": "true", "prometheus.io/port": "9090", "checksum/config": "0".repeat(64),
                    "kubernetes.io/config.seen": since, "cni.projectcalico.org/podIP": self.addresses.first().unwrap_or(&"")},
                "managedFields": managed_fields(&since),
            },
            "spec": self.spec(),
            "status": self.status(&since),
        });
        if !self.uid.is_empty() {
            pod["metadata"]["uid"] = self.uid.into();
        }
        if let Some((kind, name, uid)) = self.owner {
            pod["metadata"]["ownerReferences"] = owners(kind, name, uid);
        }
        pod
    }

    fn spec(&self) -> Value {
        let ports: Vec<Value> = self.ports.iter().map(|port| json!({"name": format!("p{port}"), "containerPort": port, "protocol": "TCP"})).collect();
        let env: Vec<Value> = (0..20).map(|n| json!({"name": format!("SETTING_{n}"), "value": format!("a value of setting number {n}")})).collect();
        json!({
            "nodeName": self.node, "hostNetwork": self.host_network, "serviceAccountName": "default", "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler", "priority": 0,
            "containers": [{
                "name": "app", "image": self.image, "imagePullPolicy": "IfNotPresent", "ports": ports, "env": env,
                "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "256Mi"}},
                "livenessProbe": {"httpGet": {"path": "/livez", "port": 8080}, "periodSeconds": 10, "failureThreshold": 3},
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}, "periodSeconds": 10, "failureThreshold": 3},
                "volumeMounts": [{"name": "kube-api-access", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": true}],
            }],
            "tolerations": [{"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}],
            "volumes": [{"name": "kube-api-access", "projected": {"sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}, {"configMap": {"name": "kube-root-ca.crt"}}]}}],
        })
    }

    fn status(&self, since: &str) -> Value {
        let condition = |kind: &str| json!({"type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": since});
        if self.addresses.is_empty() {
            return json!({"phase": "Pending", "conditions": [condition("PodScheduled")], "qosClass": "Burstable"});
        }
        let conditions = ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"].map(condition);
        let addresses: Vec<Value> = self.addresses.iter().map(|ip| json!({"ip": ip})).collect();
        json!({
            "phase": "Running", "hostIP": self.node_address, "hostIPs": [{"ip": self.node_address}], "podIP": self.addresses[0], "podIPs": addresses,
            "startTime": since, "qosClass": "Burstable",
            "conditions": conditions,
            "containerStatuses": [{
                "name": "app", "image": self.image, "imageID": format!("registry.example/app@sha256:{}", "0".repeat(64)), "ready": true,
                "containerID": format!("containerd://{}", container_id(self.uid)), "started": true, "restartCount": 0, "lastState": {},
                "state": {"running": {"startedAt": since}},
            }],
        })
    }
}

/// The id that the container of a pod with this uid gets here.
pub fn container_id(uid: &str) -> String {
    let hex: String = uid.chars().filter(char::is_ascii_hexdigit).collect();
    format!("{hex:0>64}")
}

/// Marks a pod as ended, as a Job's pod is: its object stays, with the address that it had.
pub fn end(pod: &mut Value, at_s: i64) {
    pod["status"]["phase"] = "Succeeded".into();
    pod["status"]["containerStatuses"][0]["state"] = json!({"terminated": {"exitCode": 0, "startedAt": time(at_s), "finishedAt": time(at_s)}});
}

/// A ReplicaSet, Deployment, Job, …: only its owner matters here.
pub fn controller(kind: &str, namespace: &str, name: &str, uid: &str, owner: Option<(&str, &str, &str)>) -> Value {
    let group = if kind.ends_with("Job") { "batch/v1" } else { "apps/v1" };
    let mut object = json!({"apiVersion": group, "kind": kind, "metadata": {"name": name, "namespace": namespace, "uid": uid,
        "managedFields": managed_fields("2025-01-01T00:00:00Z")}, "spec": {"replicas": 1}, "status": {}});
    if let Some((kind, name, uid)) = owner {
        object["metadata"]["ownerReferences"] = owners(kind, name, uid);
    }
    object
}

pub fn node(name: &str, address: &str, zone: &str, region: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": format!("node-{name}"), "labels": {
            "topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": region, "kubernetes.io/hostname": name, "kubernetes.io/os": "linux"}},
        "spec": {"podCIDR": "10.0.0.0/24"},
        "status": {"addresses": [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}],
            "images": (0..50).map(|n| json!({"names": [format!("registry.example/image-{n}:v1")], "sizeBytes": 100_000_000})).collect::<Vec<_>>()}})
}

/// A service with one port, reached on the nodes by another.
pub fn service(namespace: &str, name: &str, address: &str, port: u16, node_port: Option<u16>) -> Value {
    let mut one = json!({"name": "main", "protocol": "TCP", "port": port, "targetPort": 8080});
    if let Some(node_port) = node_port {
        one["nodePort"] = node_port.into();
    }
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace},
        "spec": {"type": if node_port.is_some() { "NodePort" } else { "ClusterIP" }, "clusterIP": address, "clusterIPs": [address], "ports": [one]},
        "status": {"loadBalancer": {}}})
}

/// Who is ready behind a service: uids of pods with their addresses.
pub fn slice(namespace: &str, service: &str, pods: &[(&str, &str)]) -> Value {
    let endpoint = |(uid, address): &(&str, &str)| {
        json!({"addresses": [address], "conditions": {"ready": true, "serving": true, "terminating": false},
            "targetRef": {"kind": "Pod", "namespace": namespace, "name": "a pod", "uid": uid}})
    };
    json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": format!("{service}-abcde"), "namespace": namespace, "labels": {"kubernetes.io/service-name": service}},
        "endpoints": pods.iter().map(endpoint).collect::<Vec<_>>(), "ports": [{"name": "main", "port": 8080, "protocol": "TCP"}]})
}

/// Seconds since the epoch.
pub fn now_s() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// RFC 3339, in UTC and whole seconds, as Kubernetes writes times. The calendar is Howard Hinnant's `civil_from_days`.
pub fn time(at_s: i64) -> String {
    let (days, second) = (at_s.div_euclid(86_400), at_s.rem_euclid(86_400));
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3_600, second / 60 % 60, second % 60)
}

fn owners(kind: &str, name: &str, uid: &str) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true, "blockOwnerDeletion": true}])
}

fn managed_fields(since: &str) -> Value {
    let fields: serde_json::Map<String, Value> =
        (0..15).map(|n| (format!("f:field-{n}"), json!({".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:name": {}}))).collect();
    json!([{"manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1", "time": since, "fieldsType": "FieldsV1", "fieldsV1": {"f:spec": fields}},
        {"manager": "kubelet", "operation": "Update", "apiVersion": "v1", "time": since, "fieldsType": "FieldsV1", "subresource": "status",
            "fieldsV1": {"f:status": {"f:conditions": {".": {}}, "f:containerStatuses": {}, "f:hostIP": {}, "f:podIPs": {}}}}])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_kubernetes_does() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(951_782_400 + 86_399), "2000-02-29T23:59:59Z");
        assert_eq!(time(1_764_201_600), "2025-11-27T00:00:00Z");
    }

    #[test]
    fn pods_are_as_large_as_usual() {
        let bytes = Pod { addresses: &["10.0.0.1"], uid: "00000000-0000-4000-8000-000000000001", ..Pod::default() }.json().to_string().len();
        assert!((5_000..9_000).contains(&bytes), "{bytes} bytes");
    }
}
