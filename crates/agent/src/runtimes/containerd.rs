//! containerd's own gRPC interface, for containers that were made without CRI (`ctr`, `nerdctl`). Every container is in a namespace of containerd's.

use super::SourceError;
use super::grpc::call;
use edgescope_identity::container::{Contained, Kind};
use edgescope_identity::found_by;
use edgescope_identity::runtime::Said;
use std::collections::HashMap;
use tonic::Code;
use tonic::transport::Channel;

/// Most namespaces asked for one container: a host has `default`, `moby`, `k8s.io`, and few others.
const NAMESPACES_MAX: usize = 16;
/// Where Kubernetes' are; those are asked for by CRI.
const OF_KUBERNETES: &str = "k8s.io";
const NAMESPACE_HEADER: &str = "containerd-namespace";

/// What containerd says of a container; `None` if it is none of its own.
///
/// # Errors
/// If it does not answer.
pub async fn ask(channel: &Channel, contained: &Contained) -> Result<Option<Said>, SourceError> {
    let (wanted, id) = match &contained.kind {
        Kind::Containerd { namespace, name } => (Some(namespace.as_str()), name.as_str()),
        Kind::Container { id, .. } => (None, id.as_str()),
        _ => return Ok(None),
    };
    let listed: ListNamespacesResponse = call(channel, "/containerd.services.namespaces.v1.Namespaces/List", ListNamespacesRequest {}, None).await?;
    let names = listed.namespaces.into_iter().map(|namespace| namespace.name);
    let asked = names.filter(|name| wanted.map_or(name != OF_KUBERNETES, |wanted| name == wanted)).take(NAMESPACES_MAX);
    for namespace in asked {
        let request = GetContainerRequest { id: id.to_owned() };
        let metadata = Some((NAMESPACE_HEADER, namespace.as_str()));
        match call::<_, GetContainerResponse>(channel, "/containerd.services.containers.v1.Containers/Get", request, metadata).await {
            Ok(answer) => return Ok(answer.container.map(said)),
            Err(status) if status.code() == Code::NotFound => {}
            Err(status) => return Err(status.into()),
        }
    }
    Ok(None)
}

fn said(container: Container) -> Said {
    Said {
        found_by: found_by::CONTAINERD,
        // An id of 64 digits is nobody's name: then labels alone name it.
        name: if container.id.len() == 64 { String::new() } else { container.id },
        image: container.image,
        labels: container.labels.into_iter().collect(),
        ..Said::default()
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ListNamespacesRequest {}

#[derive(Clone, PartialEq, prost::Message)]
pub struct ListNamespacesResponse {
    #[prost(message, repeated, tag = "1")]
    pub namespaces: Vec<Namespace>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Namespace {
    #[prost(string, tag = "1")]
    pub name: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetContainerRequest {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct GetContainerResponse {
    #[prost(message, optional, tag = "1")]
    pub container: Option<Container>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct Container {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(map = "string, string", tag = "2")]
    pub labels: HashMap<String, String>,
    #[prost(string, tag = "3")]
    pub image: String,
}
