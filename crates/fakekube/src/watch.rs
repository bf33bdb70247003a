//! A watch: changes since a version, one JSON object a line, until its time is over or it is cut.

use crate::answer::{Form, status};
use crate::http::{Asked, Target, failure, stream};
use crate::{Cluster, Gone};
use axum::body::Body;
use axum::response::Response;
use futures::stream as streams;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::watch as signal;
use tokio::time::Instant;

/// How long a watch lasts that does not say.
const TIMEOUT_S: u64 = 1_800;

struct Watch {
    cluster: Cluster,
    target: Target,
    form: Form,
    wants_bookmarks: bool,
    /// Changes up to this version were said.
    said: u64,
    bookmarks: u64,
    cuts: u64,
    news: signal::Receiver<u64>,
    until: Instant,
    /// Lines to be said first.
    first: Vec<String>,
    over: bool,
}

pub(crate) fn answer(cluster: Cluster, target: Target, form: Form, asked: &Asked) -> Response {
    let from: u64 = match asked.resource_version.as_deref().unwrap_or("").parse() {
        Ok(version) => version,
        Err(_) if asked.resource_version.as_deref().is_none_or(str::is_empty) => 0,
        Err(_) => return failure(400, "BadRequest", "resourceVersion is not valid"),
    };
    let news = cluster.listen();
    let state = cluster.lock();
    let too_old = from > 0 && from < state.compacted;
    if too_old && state.gone == Gone::Status {
        return failure(410, "Expired", "too old resource version");
    }
    let (bookmarks, cuts, version) = (state.bookmarks, state.cuts, state.version);
    let first = match from {
        _ if too_old => vec![line("ERROR", &status(410, "Expired", &format!("too old resource version: {from}")))],
        // Without a version a watch begins with all there is.
        0 => {
            let objects = state.objects.get(target.resource.plural).into_iter().flat_map(|objects| objects.values());
            objects.filter(|object| target.takes(object)).map(|object| line("ADDED", &form.one(object))).collect()
        }
        _ => Vec::new(),
    };
    drop(state);
    let until = Instant::now() + Duration::from_secs(asked.timeout_seconds.unwrap_or(TIMEOUT_S));
    let watch = Watch {
        said: if from == 0 { version } else { from },
        wants_bookmarks: asked.allow_watch_bookmarks.unwrap_or(false),
        over: too_old,
        cluster,
        target,
        form,
        bookmarks,
        cuts,
        news,
        until,
        first,
    };
    stream(Body::from_stream(streams::unfold(watch, |mut watch| async move { Some((Ok::<_, Infallible>(watch.next().await?), watch)) })))
}

impl Watch {
    /// Lines to be sent now; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        if !self.first.is_empty() {
            return Some(std::mem::take(&mut self.first).concat());
        }
        loop {
            if self.over {
                return None;
            }
            self.news.mark_unchanged();
            if let Some(lines) = self.lines() {
                return Some(lines);
            }
            if self.over || tokio::time::timeout_at(self.until, self.news.changed()).await.is_err() {
                return None;
            }
        }
    }

    fn lines(&mut self) -> Option<String> {
        let state = self.cluster.lock();
        if state.cuts > self.cuts {
            self.over = true;
            return None;
        }
        let resource = self.target.resource;
        if state.held.contains(resource.plural) {
            return None;
        }
        if self.said < state.compacted {
            self.over = true;
            return Some(line("ERROR", &status(410, "Expired", &format!("too old resource version: {}", self.said))));
        }
        let new = state.changes.iter().filter(|change| change.version > self.said && change.plural == resource.plural);
        let mut lines: String =
            new.filter(|change| self.target.takes(&change.object)).map(|change| line(change.what, &self.form.one(&change.object))).collect();
        self.said = self.said.max(state.version);
        if state.bookmarks > self.bookmarks {
            self.bookmarks = state.bookmarks;
            if self.wants_bookmarks {
                lines += &line("BOOKMARK", &self.form.bookmark(resource, state.version));
            }
        }
        (!lines.is_empty()).then_some(lines)
    }
}

fn line(what: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": what, "object": object}))
}
