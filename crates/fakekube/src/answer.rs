//! The forms in which objects are answered: whole, their metadata alone, or rows of a table.

use crate::Resource;
use serde_json::{Value, json};

/// What a client wants, by its `Accept`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Whole,
    Metadata,
    Table,
}

impl Form {
    /// The first form asked for that is known.
    pub fn of(accept: &str) -> Self {
        let wanted = accept.split(',').map(|one| {
            let has = |what: &str| one.split(';').any(|part| part.trim() == what);
            if has("as=PartialObjectMetadata") || has("as=PartialObjectMetadataList") {
                Self::Metadata
            } else if has("as=Table") && has("v=v1") {
                Self::Table
            } else {
                Self::Whole
            }
        });
        wanted.into_iter().next().unwrap_or(Self::Whole)
    }

    /// One object, as an answer or within an event.
    pub fn one(self, object: &Value) -> Value {
        match self {
            Self::Whole => object.clone(),
            Self::Metadata => metadata(object),
            Self::Table => table(std::iter::once(object), &json!({"resourceVersion": object["metadata"]["resourceVersion"]})),
        }
    }

    /// A list with its own metadata.
    pub fn list<'a>(self, resource: Resource, objects: impl Iterator<Item = &'a Value>, meta: &Value) -> Value {
        match self {
            Self::Whole => {
                // Items of a list have neither kind nor version of their own.
                let item = |object: &Value| {
                    let mut object = object.clone();
                    let fields = object.as_object_mut().expect("an object");
                    fields.remove("kind");
                    fields.remove("apiVersion");
                    object
                };
                json!({"kind": format!("{}List", resource.kind), "apiVersion": api_version(resource), "metadata": meta,
                    "items": objects.map(item).collect::<Vec<_>>()})
            }
            Self::Metadata => json!({"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
                "items": objects.map(metadata).collect::<Vec<_>>()}),
            Self::Table => table(objects, meta),
        }
    }

    /// A bookmark holds a version alone.
    pub fn bookmark(self, resource: Resource, version: u64) -> Value {
        let meta = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        match self {
            Self::Whole => json!({"kind": resource.kind, "apiVersion": api_version(resource), "metadata": meta}),
            Self::Metadata => json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta}),
            Self::Table => table(std::iter::empty(), &meta),
        }
    }
}

/// An error as the API tells it.
pub fn status(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": message, "reason": reason, "code": code})
}

fn api_version(resource: Resource) -> String {
    if resource.group.is_empty() { "v1".to_owned() } else { format!("{}/v1", resource.group) }
}

fn metadata(object: &Value) -> Value {
    json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]})
}

fn table<'a>(objects: impl Iterator<Item = &'a Value>, meta: &Value) -> Value {
    let column = |name: &str, form: &str| json!({"name": name, "type": "string", "format": form, "description": name, "priority": 0});
    let row = |object: &Value| json!({"cells": [object["metadata"]["name"], object["metadata"]["creationTimestamp"]], "object": metadata(object)});
    json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": meta,
        "columnDefinitions": [column("Name", "name"), column("Created At", "")], "rows": objects.map(row).collect::<Vec<_>>()})
}
