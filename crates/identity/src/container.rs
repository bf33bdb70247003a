//! Which container or task a cgroup belongs to, by its path: whom a runtime can be asked about.
//!
//! | path | whose |
//! |---|---|
//! | `…/kubepods…/podUID/ID`, `…-podU_I_D.slice/cri-containerd-ID.scope`, `…/crio-ID.scope`, `…:cri-containerd:ID` | a container of a pod |
//! | `…/docker/ID`, `…/docker-ID.scope` | Docker's |
//! | `…/libpod-ID.scope`, `/libpod_parent/libpod-ID` | Podman's |
//! | `/ecs/TASK/ID`, `/ecs/CLUSTER/TASK/ID`, `/ecstasks.slice/ecstasks-TASK.slice/docker-ID.scope` | Docker's, started by ECS |
//! | `/nomad.slice/share.slice/ALLOC.TASK.scope`, `/nomad.slice/ALLOC.TASK.scope`, `/nomad/ALLOC.TASK` (version 1) | a task of Nomad without a container |
//! | `/NAMESPACE/NAME` | perhaps one of containerd's: containerd knows |
//!
//! What is outermost counts: all further in is made by the container itself, which could call it after another.

use crate::cgroup::{PodRef, container_id_of, pod_uid, pod_uid_of};

/// Longest name of a namespace or container that containerd takes.
const CONTAINERD_NAME_BYTES_MAX: usize = 76;
/// A Nomad allocation's id is a UUID.
const ALLOC_BYTES: usize = 36;
/// What systemd calls its own cgroups.
const SYSTEMD_SUFFIXES: [&str; 6] = [".slice", ".scope", ".service", ".mount", ".socket", ".swap"];

/// Who made a container, as its cgroup is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Maker {
    /// A runtime of Kubernetes: containerd or CRI-O.
    Cri,
    Docker,
    Podman,
    /// The path does not say.
    Unknown,
}

/// What kind of thing it is, and what it is called where it was made.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A container; its id is 64 digits.
    Container { id: String, maker: Maker },
    /// A pod, outside of its containers.
    Pod,
    /// A task that Nomad runs by itself.
    NomadTask { alloc: String, task: String },
    /// Perhaps a container of containerd's own, in one of its namespaces.
    Containerd { namespace: String, name: String },
}

/// A container or task, as the path of a cgroup in it says.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Contained {
    /// The path of its own cgroup, below the root of the hierarchy.
    pub path: String,
    /// The uid of the outermost pod on the way, which may be one in a container that is itself the node of a cluster; empty outside of pods.
    pub pod_uid: String,
    pub kind: Kind,
    /// ECS has started it.
    pub is_ecs: bool,
}

impl Contained {
    /// What the path says; `None` if it leads through neither container nor task.
    pub fn of(cgroup: &str) -> Option<Self> {
        let mut pod = None;
        let mut maker = Maker::Unknown;
        let (mut below_kubepods, mut is_nomad, mut is_ecs) = (false, false, false);
        for (end, part) in parts(cgroup) {
            let path = || cgroup[..end].to_owned();
            below_kubepods |= part.contains("kubepods");
            if below_kubepods && pod.is_none() {
                pod = pod_uid_of(part).map(|uid| (path(), uid));
            }
            if let Some((id, named)) = container_of(part) {
                let maker = if named == Maker::Unknown { maker } else { named };
                let pod_uid = pod_uid(cgroup).unwrap_or_default();
                return Some(Self { path: path(), pod_uid, kind: Kind::Container { id: id.to_owned(), maker }, is_ecs });
            }
            if let Some((alloc, task)) = is_nomad.then(|| nomad_task(part)).flatten() {
                let kind = Kind::NomadTask { alloc: alloc.to_owned(), task: task.to_owned() };
                return Some(Self { path: path(), pod_uid: String::new(), kind, is_ecs: false });
            }
            is_nomad |= part.contains("nomad");
            is_ecs |= part == "ecs" || part == "ecstasks.slice";
            maker = maker_called(part).unwrap_or(maker);
        }
        match pod {
            Some((path, pod_uid)) => Some(Self { path, pod_uid, kind: Kind::Pod, is_ecs: false }),
            None => containerd_of(cgroup),
        }
    }

    /// Of a process that is in several hierarchies: `/proc/PID/cgroup`, where the line of version 2 comes last, as `0::/path`. A path that says for sure goes
    /// before one that may be anything.
    pub fn of_process(lines: &str) -> Option<Self> {
        let all = || lines.lines().rev().filter_map(|line| Self::of(line.splitn(3, ':').nth(2)?));
        all().find(Self::is_sure).or_else(|| all().next())
    }

    /// The path itself says that there is a container; else a runtime has to confirm it.
    pub fn is_sure(&self) -> bool {
        !matches!(self.kind, Kind::Containerd { .. })
    }

    /// The part of it that goes over the wire, for names from Kubernetes.
    pub fn pod_ref(&self) -> PodRef {
        let container_id = match &self.kind {
            Kind::Container { id, .. } => id.clone(),
            _ => String::new(),
        };
        PodRef { pod_uid: self.pod_uid.clone(), container_id }
    }
}

/// The parts of a path, each with where it ends.
fn parts(path: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut end = 0;
    path.split('/').map(move |part| {
        let at = end + part.len();
        end = at + 1;
        (at, part)
    })
}

/// The id in the name of a container's cgroup, and who calls them so. The monitors of containers are none.
fn container_of(part: &str) -> Option<(&str, Maker)> {
    let id = container_id_of(part)?;
    let before = part.strip_suffix(".scope").unwrap_or(part).strip_suffix(id)?;
    if before.ends_with("conmon-") {
        return None;
    }
    let maker = match before.trim_end_matches(['-', ':']).rsplit([':', '/']).next().unwrap_or_default() {
        "cri-containerd" | "crio" => Maker::Cri,
        "docker" => Maker::Docker,
        "libpod" => Maker::Podman,
        _ => Maker::Unknown,
    };
    Some((id, maker))
}

/// Directories under which one maker's containers have their bare ids.
fn maker_called(part: &str) -> Option<Maker> {
    match part {
        "docker" | "ecs" => Some(Maker::Docker),
        "libpod_parent" => Some(Maker::Podman),
        _ => None,
    }
}

/// `ALLOC.TASK.scope` or `ALLOC.TASK`; a task's name may have dots.
fn nomad_task(part: &str) -> Option<(&str, &str)> {
    let (alloc, task) = part.strip_suffix(".scope").unwrap_or(part).split_once('.')?;
    let is_id = alloc.len() == ALLOC_BYTES && alloc.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    (is_id && !task.is_empty()).then_some((alloc, task))
}

fn containerd_of(cgroup: &str) -> Option<Contained> {
    let mut parts = cgroup.strip_prefix('/')?.split('/');
    let (namespace, name) = (parts.next()?, parts.next()?);
    let kind = Kind::Containerd { namespace: namespace.to_owned(), name: name.to_owned() };
    let path = format!("/{namespace}/{name}");
    [namespace, name].into_iter().all(may_be_containerds).then_some(Contained { path, pod_uid: String::new(), kind, is_ecs: false })
}

/// Letters and digits, with single `.`, `_` or `-` between them, and nothing that systemd would call a cgroup.
fn may_be_containerds(name: &str) -> bool {
    let is_name = name.len() <= CONTAINERD_NAME_BYTES_MAX
        && name.split(['.', '_', '-']).all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric()));
    is_name && !SYSTEMD_SUFFIXES.iter().any(|suffix| name.ends_with(suffix)) && !name.contains("kubepods")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const UID: &str = "1b3c5d7e-0a2b-4c6d-8e0f-123456789abc";
    const ALLOC: &str = "3f2a1b2c-0a2b-4c6d-8e0f-123456789abc";

    fn id() -> String {
        "0123456789abcdef".repeat(4)
    }

    fn container(path: &str) -> (String, Maker, String) {
        match Contained::of(path) {
            Some(Contained { kind: Kind::Container { id, maker }, pod_uid, .. }) => (id, maker, pod_uid),
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn containers_are_found_in_the_ways_runtimes_write_them() {
        let (id, under) = (id(), UID.replace('-', "_"));
        for (path, maker, uid) in [
            (format!("/kubepods/burstable/pod{UID}/{id}"), Maker::Unknown, UID),
            (format!("/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod{under}.slice/cri-containerd-{id}.scope"), Maker::Cri, UID),
            (format!("/kubepods.slice/kubepods-pod{under}.slice/crio-{id}.scope/container"), Maker::Cri, UID),
            (format!("/kubepods.slice/kubepods-pod{under}.slice/docker-{id}.scope"), Maker::Docker, UID),
            (format!("/system.slice/containerd.service/kubepods-burstable-pod{under}.slice:cri-containerd:{id}"), Maker::Cri, UID),
            (format!("/docker/{id}"), Maker::Docker, ""),
            (format!("/docker/{id}/system.slice/nginx.service"), Maker::Docker, ""),
            (format!("/system.slice/docker-{id}.scope"), Maker::Docker, ""),
            (format!("/system.slice/cri-containerd-{id}.scope"), Maker::Cri, ""),
            (format!("/machine.slice/libpod-{id}.scope/container"), Maker::Podman, ""),
            (format!("/libpod_parent/libpod-{id}"), Maker::Podman, ""),
            (format!("/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{id}.scope"), Maker::Podman, ""),
            (format!("/system.slice/nerdctl-{id}.scope"), Maker::Unknown, ""),
            (format!("/k8s.io/{id}"), Maker::Unknown, ""),
        ] {
            assert_eq!(container(&path), (id.clone(), maker, uid.to_owned()), "{path}");
        }
    }

    #[test]
    fn ecs_is_seen_in_both_layouts() {
        let (id, task) = (id(), "c0ffee00c0ffee00c0ffee00c0ffee00");
        for path in
            [format!("/ecs/{task}/{id}"), format!("/ecs/prod/{task}/{id}"), format!("/ecstasks.slice/ecstasks-{task}.slice/docker-{id}.scope")]
        {
            let found = Contained::of(&path).unwrap();
            assert!(found.is_ecs && found.kind == Kind::Container { id: id.clone(), maker: Maker::Docker }, "{path}: {found:?}");
        }
        assert!(!Contained::of(&format!("/docker/{id}/ecs")).unwrap().is_ecs, "made inside the container");
    }

    #[test]
    fn nomads_tasks_are_found_and_nothing_like_them_elsewhere() {
        for (path, task) in [
            (format!("/nomad.slice/share.slice/{ALLOC}.web.scope"), "web"),
            (format!("/nomad.slice/reserve.slice/{ALLOC}.web.v2.scope/inner"), "web.v2"),
            (format!("/nomad.slice/{ALLOC}.web.scope"), "web"),
            (format!("/nomad/{ALLOC}.web"), "web"),
            (format!("/nomad/share/{ALLOC}.web"), "web"),
        ] {
            let found = Contained::of(&path).unwrap();
            assert_eq!(found.kind, Kind::NomadTask { alloc: ALLOC.into(), task: task.into() }, "{path}");
            assert!(path.starts_with(&found.path) && !found.path.ends_with("inner"), "{path}");
        }
        assert!(!matches!(Contained::of(&format!("/user.slice/{ALLOC}.web.scope")), Some(Contained { kind: Kind::NomadTask { .. }, .. })));
    }

    #[test]
    fn what_only_containerd_can_tell_is_no_sure_container() {
        let found = Contained::of("/default/hello/sub").unwrap();
        assert_eq!((found.path.as_str(), found.is_sure()), ("/default/hello", false));
        for path in ["/", "", "/system.slice/ssh.service", "/user.slice/user-0.slice", "/init.scope", "/a--b/c", "/kubepods/burstable", "relative/x"]
        {
            assert_eq!(Contained::of(path), None, "{path}");
        }
        assert_eq!(Contained::of(&format!("/machine.slice/libpod-conmon-{}.scope", id())), None, "a monitor");
    }

    #[test]
    fn the_outermost_counts() {
        let (id, other) = (id(), "f".repeat(64));
        let node = Contained::of(&format!("/docker/{id}/kubepods/pod{UID}/{other}")).unwrap();
        assert_eq!((node.pod_uid.as_str(), node.path), (UID, format!("/docker/{id}")), "a pod in a node that is a container");
        let inner = Contained::of(&format!("/kubepods/pod{UID}/{id}/kubepods/podffffffff-0000-4000-8000-000000000000/{other}")).unwrap();
        assert_eq!((inner.pod_uid.as_str(), inner.path), (UID, format!("/kubepods/pod{UID}/{id}")), "a pod cannot call itself another");
        let pod = Contained::of(&format!("/kubepods/pod{UID}")).unwrap();
        assert_eq!((pod.kind, pod.pod_uid.as_str()), (Kind::Pod, UID));
    }

    #[test]
    fn of_a_process_in_several_hierarchies_the_sure_path_counts() {
        let id = id();
        let found = Contained::of_process(&format!("9:memory:/docker/{id}\n1:name=systemd:/default/x\n0::/some/thing\n")).unwrap();
        assert_eq!(found.path, format!("/docker/{id}"));
        assert_eq!(Contained::of_process("4:memory:/a/b\n0::/default/x\n").unwrap().path, "/default/x", "version 2 goes first");
        assert_eq!(Contained::of_process("0::/\n"), None);
    }

    proptest! {
        /// Whatever the path, what is found is a prefix of it that ends where a part does, and asking for it finds the same.
        #[test]
        fn a_find_is_the_path_of_a_cgroup_above(parts in proptest::collection::vec(prop_oneof![
            "[a-z]{1,6}", "[0-9a-f]{64}", Just(format!("nomad.slice/{ALLOC}.t.scope")), Just(format!("kubepods/pod{UID}")), "docker-[0-9a-f]{64}\\.scope", "\\PC{0,9}"
        ], 0..6)) {
            let path = format!("/{}", parts.join("/"));
            if let Some(found) = Contained::of(&path) {
                prop_assert!(path.strip_prefix(&found.path).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')), "{found:?}");
                let again = Contained::of(&found.path);
                prop_assert_eq!(again.map(|again| (again.path, again.kind)), Some((found.path, found.kind)));
            }
        }
    }
}
