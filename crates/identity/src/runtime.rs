//! Names from container runtimes and orchestrators: what a runtime says of a container, turned into the names that people use.
//!
//! The first of these that the words hold decides: a Kubernetes pod, a Nomad task, an ECS task, a Compose or Swarm service, the container's own name. All
//! texts are chosen by whoever starts containers, so they are hostile: control characters are replaced, long ones cut.

use crate::found_by;
use edgescope_model::dims::{EndDims, VALUE_BYTES_MAX, shortened};
use std::collections::BTreeMap;

/// Digits of the minute, or second, that a CronJob puts behind its name.
const CRON_DIGITS: std::ops::RangeInclusive<usize> = 8..=10;
/// Characters that Kubernetes puts behind the name of a pod's owner.
const POD_SUFFIX_BYTES: usize = 5;
/// How much of a long id is shown.
const ID_BYTES_SHOWN: usize = 12;

/// What a runtime says of a container, as far as it names it. Absent texts are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// Who says it, as `resolution_type` does.
    pub found_by: &'static str,
    /// The container's own name.
    pub name: String,
    pub image: String,
    /// What names the pod, where the runtime knows pods by itself.
    pub pod: PodWords,
    /// Of the container.
    pub labels: BTreeMap<String, String>,
    /// Of its pod.
    pub pod_labels: BTreeMap<String, String>,
    /// The few variables of its environment that name it.
    pub environment: BTreeMap<String, String>,
}

/// A pod, as a runtime knows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodWords {
    pub name: String,
    pub namespace: String,
    pub uid: String,
}

/// What a container is called.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Named {
    pub workload: String,
    pub namespace: String,
    /// The endpoint's name: pod, container or task.
    pub pod: String,
    /// The endpoint's name is one on its node alone.
    pub is_local: bool,
    pub image: String,
    pub pod_uid: String,
    pub resolution_type: &'static str,
    /// Texts that were cut.
    pub cut: u64,
}

/// Variables of a process's environment that are ever looked at; nothing else of it is kept.
pub mod variable {
    pub const NOMAD_ALLOC: &str = "NOMAD_ALLOC_ID";
    pub const NOMAD_JOB: &str = "NOMAD_JOB_NAME";
    pub const NOMAD_GROUP: &str = "NOMAD_GROUP_NAME";
    pub const NOMAD_TASK: &str = "NOMAD_TASK_NAME";
    pub const NOMAD_NAMESPACE: &str = "NOMAD_NAMESPACE";
    pub const ECS_METADATA: &str = "ECS_CONTAINER_METADATA_URI_V4";
    pub const ALL: [&str; 6] = [NOMAD_ALLOC, NOMAD_JOB, NOMAD_GROUP, NOMAD_TASK, NOMAD_NAMESPACE, ECS_METADATA];
}

/// Labels that name things.
mod label {
    pub const POD_NAME: &str = "io.kubernetes.pod.name";
    pub const POD_NAMESPACE: &str = "io.kubernetes.pod.namespace";
    pub const POD_UID: &str = "io.kubernetes.pod.uid";
    pub const ECS_FAMILY: &str = "com.amazonaws.ecs.task-definition-family";
    pub const ECS_CLUSTER: &str = "com.amazonaws.ecs.cluster";
    pub const ECS_CONTAINER: &str = "com.amazonaws.ecs.container-name";
    pub const ECS_TASK: &str = "com.amazonaws.ecs.task-arn";
    pub const COMPOSE_SERVICE: &str = "com.docker.compose.service";
    pub const COMPOSE_PROJECT: &str = "com.docker.compose.project";
    pub const SWARM_SERVICE: &str = "com.docker.swarm.service.name";
    pub const SWARM_TASK: &str = "com.docker.swarm.task.name";
    pub const SWARM_STACK: &str = "com.docker.stack.namespace";
    pub const NERDCTL_NAME: &str = "nerdctl/name";
    pub const TEMPLATE_HASH: &str = "pod-template-hash";
    pub const STATEFUL_POD: &str = "statefulset.kubernetes.io/pod-name";
    pub const JOB: &str = "batch.kubernetes.io/job-name";
    pub const JOB_BEFORE_1_27: &str = "job-name";
    pub const REVISION: &str = "controller-revision-hash";
    pub const GENERATION: &str = "pod-template-generation";
}

impl Said {
    /// The names in what was said; `None` if there is not even one.
    pub fn named(&self) -> Option<Named> {
        let mut named = self
            .kubernetes()
            .or_else(|| self.nomad())
            .or_else(|| self.ecs())
            .or_else(|| self.compose())
            .or_else(|| self.swarm())
            .or_else(|| self.own_name())?;
        named.image.clone_from(&self.image);
        for text in [&mut named.workload, &mut named.namespace, &mut named.pod, &mut named.image, &mut named.pod_uid] {
            let (sound, cut) = sound(text);
            named.cut += u64::from(cut);
            *text = sound;
        }
        (!named.workload.is_empty()).then_some(named)
    }

    fn label(&self, name: &str) -> Option<&str> {
        self.labels.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn variable(&self, name: &str) -> Option<&str> {
        self.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn kubernetes(&self) -> Option<Named> {
        let or = |own: &str, label| if own.is_empty() { self.label(label).unwrap_or_default().to_owned() } else { own.to_owned() };
        let pod = or(&self.pod.name, label::POD_NAME);
        let workload = workload_of_pod(&pod, &self.pod_labels).to_owned();
        let named = Named {
            workload,
            namespace: or(&self.pod.namespace, label::POD_NAMESPACE),
            pod_uid: or(&self.pod.uid, label::POD_UID),
            pod,
            resolution_type: self.found_by,
            ..Named::default()
        };
        (!named.pod.is_empty()).then_some(named)
    }

    /// The original's name for it: job, group and task.
    fn nomad(&self) -> Option<Named> {
        let (job, task, alloc) = (self.variable(variable::NOMAD_JOB)?, self.variable(variable::NOMAD_TASK)?, self.variable(variable::NOMAD_ALLOC)?);
        let group = self.variable(variable::NOMAD_GROUP).unwrap_or(task);
        Some(Named {
            workload: format!("{job}.{group}.{task}"),
            namespace: self.variable(variable::NOMAD_NAMESPACE).unwrap_or_default().to_owned(),
            pod: format!("{}.{task}", shortened(alloc, ID_BYTES_SHOWN)),
            resolution_type: found_by::NOMAD,
            ..Named::default()
        })
    }

    fn ecs(&self) -> Option<Named> {
        let family = self.label(label::ECS_FAMILY)?;
        let container = self.label(label::ECS_CONTAINER).unwrap_or(&self.name);
        let task = self.label(label::ECS_TASK).map_or("", last_of_arn);
        Some(Named {
            workload: family.to_owned(),
            namespace: self.label(label::ECS_CLUSTER).map_or("", last_of_arn).to_owned(),
            pod: format!("{}.{container}", shortened(task, ID_BYTES_SHOWN)),
            resolution_type: found_by::ECS,
            ..Named::default()
        })
    }

    fn compose(&self) -> Option<Named> {
        let service = self.label(label::COMPOSE_SERVICE)?;
        Some(self.on_this_node(service, self.label(label::COMPOSE_PROJECT)))
    }

    fn swarm(&self) -> Option<Named> {
        let service = self.label(label::SWARM_SERVICE)?;
        let mut named = self.on_this_node(service, self.label(label::SWARM_STACK));
        if let Some(task) = self.label(label::SWARM_TASK) {
            (named.pod, named.is_local) = (task.to_owned(), false);
        }
        Some(named)
    }

    fn own_name(&self) -> Option<Named> {
        let name = self.label(label::NERDCTL_NAME).unwrap_or(&self.name);
        (!name.is_empty()).then(|| self.on_this_node(name, None))
    }

    fn on_this_node(&self, workload: &str, namespace: Option<&str>) -> Named {
        let name = self.label(label::NERDCTL_NAME).unwrap_or(&self.name);
        Named {
            workload: workload.to_owned(),
            namespace: namespace.unwrap_or_default().to_owned(),
            pod: if name.is_empty() { workload } else { name }.to_owned(),
            is_local: true,
            resolution_type: self.found_by,
            ..Named::default()
        }
    }
}

impl Named {
    /// Writes the names over those of `dims`, whose node is known.
    pub fn apply(&self, dims: &mut EndDims) {
        dims.workload.clone_from(&self.workload);
        dims.namespace.clone_from(&self.namespace);
        dims.pod = if self.is_local { format!("{}@{}", self.pod, dims.node) } else { self.pod.clone() };
        dims.image.clone_from(&self.image);
        self.resolution_type.clone_into(&mut dims.resolution_type);
    }
}

/// What a pod's controller is called, by the labels that controllers put on their pods and the manner in which they call them; the pod's own name where no
/// controller is to be seen. The API knows better, where a server reads it.
fn workload_of_pod<'a>(pod: &'a str, labels: &BTreeMap<String, String>) -> &'a str {
    let label = |name: &str| labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let without_suffix = || pod.rsplit_once('-').filter(|(_, suffix)| suffix.len() == POD_SUFFIX_BYTES).map(|(name, _)| name);
    let deployment = || without_suffix()?.strip_suffix(label(label::TEMPLATE_HASH)?)?.strip_suffix('-');
    let stateful_set = || {
        let (name, ordinal) = pod.rsplit_once('-')?;
        (label(label::STATEFUL_POD)? == pod && ordinal.bytes().all(|b| b.is_ascii_digit())).then_some(name)
    };
    let job = || {
        let job = label(label::JOB).or_else(|| label(label::JOB_BEFORE_1_27))?;
        // The pod's own name begins with its job's.
        let job = pod.get(..job.len()).filter(|start| *start == job)?;
        let cron = job.rsplit_once('-').filter(|(_, at)| CRON_DIGITS.contains(&at.len()) && at.bytes().all(|b| b.is_ascii_digit()));
        Some(cron.map_or(job, |(cron, _)| cron))
    };
    let daemon_set = || {
        label(label::REVISION)?;
        label(label::GENERATION)?;
        without_suffix()
    };
    deployment().or_else(stateful_set).or_else(job).or_else(daemon_set).filter(|name| !name.is_empty()).unwrap_or(pod)
}

/// `arn:aws:ecs:eu-west-1:1:cluster/prod` → `prod`; a plain name is itself.
pub fn last_of_arn(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// A text without control characters, no longer than a dimension may be, and whether it was cut.
fn sound(text: &str) -> (String, bool) {
    let text: String = text.trim().chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    (shortened(&text, VALUE_BYTES_MAX).to_owned(), text.len() > VALUE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
    }

    fn names(said: &Said) -> [String; 4] {
        let named = said.named().unwrap();
        [named.workload, named.namespace, named.pod, named.resolution_type.to_owned()]
    }

    #[test]
    fn a_pod_is_called_after_its_controller() {
        for (pod, labels, workload) in [
            ("cart-7d9f8b6c5d-x2x4z", map(&[("pod-template-hash", "7d9f8b6c5d")]), "cart"),
            ("my-cart-v2-7d9f8b6c5d-x2x4z", map(&[("pod-template-hash", "7d9f8b6c5d")]), "my-cart-v2"),
            ("db-12", map(&[("statefulset.kubernetes.io/pod-name", "db-12"), ("controller-revision-hash", "db-5c")]), "db"),
            ("node-exporter-abcde", map(&[("controller-revision-hash", "6f"), ("pod-template-generation", "1")]), "node-exporter"),
            ("import-x8q2z", map(&[("batch.kubernetes.io/job-name", "import")]), "import"),
            ("report-28401120-x8q2z", map(&[("job-name", "report-28401120")]), "report"),
            ("report-284-x8q2z", map(&[("job-name", "report-284")]), "report-284"),
            ("plain", map(&[]), "plain"),
            // Labels that do not fit the name are the user's own.
            ("cart-7d9f8b6c5d-x2x4z", map(&[("pod-template-hash", "other")]), "cart-7d9f8b6c5d-x2x4z"),
            ("other-12", map(&[("statefulset.kubernetes.io/pod-name", "db-12")]), "other-12"),
            ("db-x", map(&[("statefulset.kubernetes.io/pod-name", "db-x")]), "db-x"),
            ("x", map(&[("job-name", "longer-than-the-pod")]), "x"),
            ("-7d9f8b6c5d-x2x4z", map(&[("pod-template-hash", "7d9f8b6c5d")]), "-7d9f8b6c5d-x2x4z"),
        ] {
            assert_eq!(workload_of_pod(pod, &labels), workload, "{pod} {labels:?}");
        }
    }

    #[test]
    fn a_pod_goes_before_all_else_and_is_told_by_labels_or_by_the_runtime() {
        let labels = map(&[
            ("io.kubernetes.pod.name", "cart-0"),
            ("io.kubernetes.pod.namespace", "shop"),
            ("io.kubernetes.pod.uid", "u-1"),
            ("com.docker.compose.service", "no"),
        ]);
        let by_docker = Said { found_by: found_by::DOCKER, name: "k8s_cart".into(), labels, ..Said::default() };
        assert_eq!(names(&by_docker), ["cart-0", "shop", "cart-0", "docker"]);
        assert_eq!(by_docker.named().unwrap().pod_uid, "u-1");
        let pod = PodWords { name: "cart-0".into(), namespace: "shop".into(), uid: "u-2".into() };
        let by_cri = Said { found_by: found_by::CRI, pod, image: "shop/cart:1.2".into(), ..Said::default() };
        assert_eq!(names(&by_cri), ["cart-0", "shop", "cart-0", "cri"]);
        assert_eq!(by_cri.named().unwrap().image, "shop/cart:1.2");
    }

    #[test]
    fn orchestrators_without_kubernetes_name_their_tasks() {
        let nomad = [
            ("NOMAD_ALLOC_ID", "3f2a1b2c-0a2b-4c6d-8e0f-123456789abc"),
            ("NOMAD_JOB_NAME", "shop"),
            ("NOMAD_GROUP_NAME", "web"),
            ("NOMAD_TASK_NAME", "api"),
            ("NOMAD_NAMESPACE", "prod"),
        ];
        let by_nomad = Said { found_by: found_by::DOCKER, name: "api-3f2a".into(), environment: map(&nomad), ..Said::default() };
        assert_eq!(names(&by_nomad), ["shop.web.api", "prod", "3f2a1b2c-0a2.api", "nomad"]);
        let ecs = map(&[
            ("com.amazonaws.ecs.task-definition-family", "checkout"),
            ("com.amazonaws.ecs.cluster", "arn:aws:ecs:eu-west-1:1:cluster/prod"),
            ("com.amazonaws.ecs.container-name", "app"),
            ("com.amazonaws.ecs.task-arn", "arn:aws:ecs:eu-west-1:1:task/prod/c0ffee00c0ffee00"),
        ]);
        let by_ecs = Said { found_by: found_by::DOCKER, name: "ecs-checkout-1-app".into(), labels: ecs, ..Said::default() };
        assert_eq!(names(&by_ecs), ["checkout", "prod", "c0ffee00c0ff.app", "ecs"]);
        let compose = map(&[("com.docker.compose.service", "web"), ("com.docker.compose.project", "blog")]);
        let by_compose = Said { found_by: found_by::DOCKER, name: "blog-web-1".into(), labels: compose, ..Said::default() };
        assert_eq!(names(&by_compose), ["web", "blog", "blog-web-1", "docker"]);
        assert!(by_compose.named().unwrap().is_local);
        let swarm = map(&[
            ("com.docker.swarm.service.name", "blog_web"),
            ("com.docker.swarm.task.name", "blog_web.1.x"),
            ("com.docker.stack.namespace", "blog"),
        ]);
        let by_swarm = Said { found_by: found_by::DOCKER, name: "x".into(), labels: swarm, ..Said::default() };
        assert_eq!(names(&by_swarm), ["blog_web", "blog", "blog_web.1.x", "docker"]);
        assert_eq!(names(&Said { found_by: found_by::PODMAN, name: "one".into(), ..Said::default() }), ["one", "", "one", "podman"]);
        assert_eq!(Said::default().named(), None);
    }

    #[test]
    fn hostile_texts_are_made_harmless_and_counted() {
        let labels = map(&[("com.docker.compose.service", "a\u{1b}[2J\nb"), ("com.docker.compose.project", &"x".repeat(300))]);
        let named = Said { name: "n".into(), labels, ..Said::default() }.named().unwrap();
        assert_eq!((named.workload.as_str(), named.namespace.len(), named.cut), ("a\u{fffd}[2J\u{fffd}b", VALUE_BYTES_MAX, 1));
        assert_eq!(Said { name: " \n ".into(), ..Said::default() }.named(), None, "blank");
    }

    #[test]
    fn what_is_named_on_its_node_alone_says_which() {
        let named = Said { found_by: found_by::DOCKER, name: "web".into(), image: "nginx:1.25".into(), ..Said::default() }.named().unwrap();
        let mut dims = EndDims { node: "n1".into(), workload: "old".into(), process: "nginx".into(), ..EndDims::default() };
        named.apply(&mut dims);
        assert_eq!((dims.workload.as_str(), dims.pod.as_str(), dims.image.as_str(), dims.process.as_str()), ("web", "web@n1", "nginx:1.25", "nginx"));
    }
}
