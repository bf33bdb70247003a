//! The interface that Kubernetes asks of its runtimes (CRI, `runtime.v1`), as containerd and CRI-O speak it. Only lists and states are asked for.

use super::SourceError;
use super::grpc::call;
use edgescope_identity::container::{Contained, Kind};
use edgescope_identity::found_by;
use edgescope_identity::runtime::{PodWords, Said};
use std::collections::HashMap;
use tonic::Code;
use tonic::transport::Channel;

const UID_LABEL: &str = "io.kubernetes.pod.uid";

/// What the runtime says of a container, or of the pod whose network it is; `None` if it knows neither.
///
/// # Errors
/// If it does not answer, or speaks no CRI.
pub async fn ask(channel: &Channel, contained: &Contained) -> Result<Option<Said>, SourceError> {
    let container = match &contained.kind {
        Kind::Container { id, .. } => {
            list_containers(channel, ContainerFilter { id: id.clone(), ..ContainerFilter::default() }).await?.into_iter().next()
        }
        _ => None,
    };
    let filter = match (&container, &contained.kind) {
        (Some(container), _) => PodSandboxFilter { id: container.pod_sandbox_id.clone(), ..PodSandboxFilter::default() },
        (None, _) if !contained.pod_uid.is_empty() => {
            PodSandboxFilter { label_selector: HashMap::from([(UID_LABEL.to_owned(), contained.pod_uid.clone())]), ..PodSandboxFilter::default() }
        }
        (None, Kind::Container { id, .. }) => PodSandboxFilter { id: id.clone(), ..PodSandboxFilter::default() },
        (None, _) => return Ok(None),
    };
    let request = ListPodSandboxRequest { filter: Some(filter) };
    let pods: ListPodSandboxResponse = call(channel, "/runtime.v1.RuntimeService/ListPodSandbox", request, None).await?;
    // Of a pod that was made anew the newest.
    let pod = pods.items.into_iter().max_by_key(|pod| pod.created_at);
    let sole = match (&container, &pod) {
        (None, None) => return Ok(None),
        // The pod itself is asked for: its image is that of its only container.
        (None, Some(pod)) => sole_container(channel, &pod.id).await?,
        (Some(_), _) => container,
    };
    let image = match &sole {
        Some(container) => image_of(channel, container).await?,
        None => String::new(),
    };
    Ok(Some(said(sole, pod, image)))
}

async fn list_containers(channel: &Channel, filter: ContainerFilter) -> Result<Vec<Container>, SourceError> {
    let request = ListContainersRequest { filter: Some(filter) };
    let listed: ListContainersResponse = call(channel, "/runtime.v1.RuntimeService/ListContainers", request, None).await?;
    Ok(listed.containers)
}

async fn sole_container(channel: &Channel, pod_sandbox_id: &str) -> Result<Option<Container>, SourceError> {
    let mut all = list_containers(channel, ContainerFilter { pod_sandbox_id: pod_sandbox_id.to_owned(), ..ContainerFilter::default() }).await?;
    Ok(if all.len() == 1 { all.pop() } else { None })
}

/// The image as people call it: lists have what the kubelet asked for, which is a hash.
async fn image_of(channel: &Channel, container: &Container) -> Result<String, SourceError> {
    let request = ContainerStatusRequest { container_id: container.id.clone() };
    let of = |image: Option<&ImageSpec>| {
        let image = image.cloned().unwrap_or_default();
        if image.user_specified_image.is_empty() { image.image } else { image.user_specified_image }
    };
    let listed = of(container.image.as_ref());
    match call::<_, ContainerStatusResponse>(channel, "/runtime.v1.RuntimeService/ContainerStatus", request, None).await {
        Ok(status) => {
            let image = of(status.status.as_ref().and_then(|status| status.image.as_ref()));
            Ok(if image.is_empty() { listed } else { image })
        }
        // It ended between the two questions.
        Err(status) if status.code() == Code::NotFound => Ok(listed),
        Err(status) => Err(status.into()),
    }
}

fn said(container: Option<Container>, pod: Option<PodSandbox>, image: String) -> Said {
    let container = container.unwrap_or_default();
    let pod = pod.unwrap_or_default();
    let words = pod.metadata.unwrap_or_default();
    Said {
        found_by: found_by::CRI,
        name: container.metadata.unwrap_or_default().name,
        image,
        pod: PodWords { name: words.name, namespace: words.namespace, uid: words.uid },
        labels: container.labels.into_iter().collect(),
        pod_labels: pod.labels.into_iter().collect(),
        ..Said::default()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ListContainersRequest {
    #[prost(message, optional, tag = "1")]
    pub filter: Option<ContainerFilter>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerFilter {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "3")]
    pub pod_sandbox_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ListContainersResponse {
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Container {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<ContainerMetadata>,
    #[prost(message, optional, tag = "4")]
    pub image: Option<ImageSpec>,
    #[prost(map = "string, string", tag = "8")]
    pub labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ImageSpec {
    #[prost(string, tag = "1")]
    pub image: String,
    #[prost(string, tag = "18")]
    pub user_specified_image: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatusRequest {
    #[prost(string, tag = "1")]
    pub container_id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatusResponse {
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ContainerStatus {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "8")]
    pub image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ListPodSandboxRequest {
    #[prost(message, optional, tag = "1")]
    pub filter: Option<PodSandboxFilter>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxFilter {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(map = "string, string", tag = "3")]
    pub label_selector: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ListPodSandboxResponse {
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<PodSandbox>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandbox {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
    #[prost(int64, tag = "4")]
    pub created_at: i64,
    #[prost(map = "string, string", tag = "5")]
    pub labels: HashMap<String, String>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct PodSandboxMetadata {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub uid: String,
    #[prost(string, tag = "3")]
    pub namespace: String,
}
