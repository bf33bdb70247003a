//! Which pod and container a cgroup belongs to, by its path.
//!
//! The kubelet writes `/kubepods/burstable/podUID/ID` (driver cgroupfs) or
//! `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podU_I_D.slice/cri-containerd-ID.scope` (driver systemd), below a slice of its own where it is
//! told so. Where the kubelet uses one driver and the runtime the other, one directory is called `kubepods-burstable-podU_I_D.slice:cri-containerd:ID`.

/// Digits of a container's id.
const CONTAINER_DIGITS: usize = 64;
/// A pod's uid is a UUID; that of a static pod is a hash of 32 digits.
const UID_BYTES: [usize; 2] = [36, 32];

/// A pod and a container of it, as a node knows them without the API. An empty text is an unknown one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PodRef {
    pub pod_uid: String,
    pub container_id: String,
}

impl PodRef {
    /// What the path says; `None` if it leads through neither pod nor container.
    pub fn of(cgroup: &str) -> Option<Self> {
        let pod_uid = pod_uid(cgroup).unwrap_or_default();
        let container_id = container_id(cgroup).unwrap_or_default().to_owned();
        (!pod_uid.is_empty() || !container_id.is_empty()).then_some(Self { pod_uid, container_id })
    }

    pub fn is_empty(&self) -> bool {
        self.pod_uid.is_empty() && self.container_id.is_empty()
    }
}

/// The uid of the outermost pod: what lies further in is made by the pod itself, which could call it after another.
pub(crate) fn pod_uid(cgroup: &str) -> Option<String> {
    let mut below_kubepods = false;
    for part in cgroup.split('/') {
        below_kubepods |= part.contains("kubepods");
        if !below_kubepods {
            continue;
        }
        if let Some(uid) = pod_uid_of(part) {
            return Some(uid);
        }
    }
    None
}

/// The uid in the name of a pod's cgroup.
pub(crate) fn pod_uid_of(part: &str) -> Option<String> {
    let part = part.split(':').next().unwrap_or_default();
    let systemd = part.strip_suffix(".slice").and_then(|name| name.rsplit_once("-pod")).map(|(_, uid)| uid.replace('_', "-"));
    let uid = systemd.or_else(|| part.strip_prefix("pod").map(str::to_owned));
    uid.filter(|uid| is_uid(uid))
}

fn is_uid(text: &str) -> bool {
    UID_BYTES.contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

/// The id of the outermost container, whole.
pub fn container_id(cgroup: &str) -> Option<&str> {
    cgroup.split('/').find_map(container_id_of)
}

/// The id in the name of a container's cgroup.
pub(crate) fn container_id_of(part: &str) -> Option<&str> {
    let id = part.strip_suffix(".scope").unwrap_or(part).rsplit(['-', ':']).next()?;
    (id.len() == CONTAINER_DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const UID: &str = "1b3c5d7e-0a2b-4c6d-8e0f-123456789abc";
    const STATIC: &str = "0123456789abcdef0123456789abcdef";

    fn id() -> String {
        "0123456789abcdef".repeat(4)
    }

    #[test]
    fn pods_are_found_in_the_ways_kubelets_and_runtimes_write_them() {
        let (id, under) = (id(), UID.replace('-', "_"));
        for path in [
            format!("/kubepods/burstable/pod{UID}/{id}"),
            format!("/kubepods/pod{UID}/{id}"),
            format!("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{under}.slice/cri-containerd-{id}.scope"),
            format!("/kubepods.slice/kubepods-pod{under}.slice/crio-{id}.scope"),
            format!("/kubepods.slice/kubepods-pod{under}.slice/crio-{id}.scope/container"),
            format!("/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{under}.slice/docker-{id}.scope"),
            format!("/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{under}.slice/cri-containerd-{id}.scope"),
            format!("/system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:{id}"),
        ] {
            let found = PodRef::of(&path).unwrap();
            assert_eq!((found.pod_uid.as_str(), found.container_id.as_str()), (UID, id.as_str()), "{path}");
        }
        assert_eq!(PodRef::of(&format!("/kubepods/pod{STATIC}")).unwrap(), PodRef { pod_uid: STATIC.into(), container_id: String::new() });
    }

    #[test]
    fn what_is_no_pod_has_no_uid() {
        let id = id();
        assert_eq!(PodRef::of(&format!("/docker/{id}")).unwrap(), PodRef { pod_uid: String::new(), container_id: id.clone() });
        for path in ["/", "/system.slice/kubelet.service", "/kubepods.slice/kubepods-burstable.slice", "/kubepods/podinfo", "/user.slice/pod12"] {
            assert_eq!(PodRef::of(path), None, "{path}");
        }
        assert_eq!(PodRef::of(&format!("/user.slice/pod{UID}")), None, "not the kubelet's");
    }

    #[test]
    fn a_pod_cannot_call_itself_another() {
        let (id, other) = (id(), "ffffffff-0000-4000-8000-000000000000");
        let found = PodRef::of(&format!("/kubepods/pod{UID}/{id}/kubepods/pod{other}/{}", "f".repeat(64))).unwrap();
        assert_eq!(found, PodRef { pod_uid: UID.into(), container_id: id });
    }
}
