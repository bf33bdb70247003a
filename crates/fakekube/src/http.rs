//! Paths and queries to answers.

use crate::answer::{Form, status};
use crate::{Cluster, RESOURCES, Resource, discovery, watch};
use axum::Router;
use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What a list or watch can be asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Asked {
    pub limit: Option<usize>,
    #[serde(rename = "continue")]
    pub go_on: Option<String>,
    pub watch: Option<String>,
    pub resource_version: Option<String>,
    pub timeout_seconds: Option<u64>,
    pub allow_watch_bookmarks: Option<bool>,
    pub field_selector: Option<String>,
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub resource: Resource,
    /// Empty: all.
    pub namespace: String,
    pub name: Option<String>,
}

pub(crate) fn router(cluster: Cluster) -> Router {
    Router::new().fallback(answer).with_state(cluster)
}

async fn answer(State(cluster): State<Cluster>, Query(asked): Query<Asked>, request: Request) -> Response {
    cluster.lock().requests.push(request.uri().to_string());
    if request.method() != Method::GET {
        return failure(405, "MethodNotAllowed", "this server is for reading");
    }
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("application/json");
    let form = Form::of(accept);
    let path = request.uri().path().trim_end_matches('/').to_owned();
    match path.as_str() {
        "/version" => return json(&discovery::version()),
        "/api" => return json(&discovery::core()),
        "/apis" => return json(&discovery::groups()),
        "/livez" | "/readyz" | "/healthz" => return "ok".into_response(),
        _ => {}
    }
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let (group, rest) = match parts.as_slice() {
        ["api", "v1", rest @ ..] => ("", rest),
        ["apis", group, "v1", rest @ ..] => (*group, rest),
        _ => return failure(404, "NotFound", "the server could not find the requested resource"),
    };
    if rest.is_empty() {
        return discovery::resources(group).map_or_else(|| failure(404, "NotFound", "no such group"), |all| json(&all));
    }
    let Some(target) = target(group, rest) else {
        return failure(404, "NotFound", "the server could not find the requested resource");
    };
    if let Some(code) = cluster.lock().refused.get(target.resource.plural) {
        return failure(*code, if *code == 403 { "Forbidden" } else { "InternalError" }, &format!("{} are refused", target.resource.plural));
    }
    let target = selected(target, &asked);
    if asked.watch.as_deref().is_some_and(|watch| watch == "true" || watch == "1") {
        return watch::answer(cluster, target, form, &asked);
    }
    match &target.name {
        Some(name) if asked.field_selector.is_none() => one(&cluster, &target, name, form),
        _ => list(&cluster, &target, form, &asked),
    }
}

/// `plural`, `plural/name`, `namespaces/NS/plural`, `namespaces/NS/plural/name`.
fn target(group: &str, rest: &[&str]) -> Option<Target> {
    let (namespace, plural, name) = match rest {
        ["namespaces", namespace, plural] => (*namespace, *plural, None),
        ["namespaces", namespace, plural, name] => (*namespace, *plural, Some(*name)),
        [plural] => ("", *plural, None),
        [plural, name] => ("", *plural, Some(*name)),
        _ => return None,
    };
    let resource = *RESOURCES.iter().find(|resource| resource.group == group && resource.plural == plural)?;
    Some(Target { resource, namespace: namespace.to_owned(), name: name.map(str::to_owned) })
}

/// The one selector that is known: a name.
fn selected(target: Target, asked: &Asked) -> Target {
    let name = asked.field_selector.as_deref().and_then(|selector| selector.strip_prefix("metadata.name="));
    Target { name: name.map(str::to_owned).or(target.name), ..target }
}

impl Target {
    pub fn takes(&self, object: &Value) -> bool {
        let meta = &object["metadata"];
        (self.namespace.is_empty() || meta["namespace"] == self.namespace) && self.name.as_ref().is_none_or(|name| meta["name"] == *name)
    }
}

fn one(cluster: &Cluster, target: &Target, name: &str, form: Form) -> Response {
    let key = (target.namespace.clone(), name.to_owned());
    let found = cluster.lock().objects.get(target.resource.plural).and_then(|objects| objects.get(&key).cloned());
    let missing = || failure(404, "NotFound", &format!("{} \"{name}\" not found", target.resource.plural));
    found.map_or_else(missing, |object| json(&form.one(&object)))
}

/// A list, or a chunk of one: all chunks are of the moment of the first.
fn list(cluster: &Cluster, target: &Target, form: Form, asked: &Asked) -> Response {
    let mut state = cluster.lock();
    let plural = target.resource.plural;
    let (version, from) =
        match asked.go_on.as_deref().map(|token| token.split_once('-').and_then(|(v, at)| Some((v.parse().ok()?, at.parse().ok()?)))) {
            None => (state.version, 0_usize),
            Some(Some(at)) => at,
            Some(None) => return failure(400, "BadRequest", "continue key is not valid"),
        };
    let snapshot = match state.snapshots.get(&(version, plural, target.namespace.clone())) {
        Some(snapshot) if asked.go_on.is_some() => Arc::clone(snapshot),
        _ if asked.go_on.is_some() => {
            return failure(410, "Expired", "The provided continue parameter is too old to display a consistent list result.");
        }
        _ => {
            let objects = state.objects.get(plural).into_iter().flat_map(|objects| objects.values().cloned());
            let snapshot: Arc<Vec<Arc<Value>>> = Arc::new(objects.filter(|object| target.takes(object)).collect());
            if asked.limit.is_some_and(|limit| limit < snapshot.len()) {
                state.snapshots.insert((version, plural, target.namespace.clone()), Arc::clone(&snapshot));
            }
            snapshot
        }
    };
    drop(state);
    let limit = asked.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
    let page: Vec<&Value> = snapshot.iter().skip(from).take(limit).map(|object| &**object).collect();
    let next = from + page.len();
    let mut meta = json!({"resourceVersion": version.to_string()});
    if next < snapshot.len() {
        meta["continue"] = format!("{version}-{next}").into();
        meta["remainingItemCount"] = (snapshot.len() - next).into();
    }
    json(&form.list(target.resource, page.into_iter(), &meta))
}

fn json(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

pub(crate) fn failure(code: u16, reason: &str, message: &str) -> Response {
    let status_code = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status_code, json(&status(code, reason, message))).into_response()
}

pub(crate) fn stream(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
