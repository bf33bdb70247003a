//! Lists and watches one kind of object, over and over.
//!
//! A list in pages gives all there is and a version; a watch from that version gives what changes; where the version is too old (410 Gone), a list comes again.
//! A watch that ends, as the API ends each after some minutes, goes on from the last version, which bookmarks keep young where nothing changes.

use super::slim::{Metadata, Page, Slim, SlimController, SlimNode, SlimPod, SlimService, SlimSlice};
use crate::intake::Names;
use chrono::Utc;
use edgescope_identity::kubernetes::object::{Kind, Object};
use futures::StreamExt;
use kube::core::params::{ListParams, WatchParams};
use kube::core::{Request, WatchEvent};
use rand::Rng;
use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// How long a connection may take to be made.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A watch that says nothing for longer is taken as broken: bookmarks come about every minute.
pub const SILENCE_MAX: Duration = Duration::from_secs(180);
/// How long one watch is asked to last, in seconds. The API server's own limit is 5 to 10 minutes.
const WATCH_S: std::ops::Range<u32> = 240..300;
/// A change is taken to have arrived after so long: a kubelet tells the API within about two seconds, the API server sends it on within milliseconds.
const LAG: Duration = Duration::from_secs(5);
/// How often it is noted that a watch goes on.
const TICK: Duration = Duration::from_secs(1);
/// Waits after failures: doubled each time, from one to the other.
const WAIT_MIN: Duration = Duration::from_millis(500);
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How soon a kind that may not be read is tried again.
const FORBIDDEN_WAIT: Duration = Duration::from_secs(300);

/// Why a list or a watch ended.
#[derive(Debug)]
enum End {
    /// It goes on from this version.
    Over(String),
    /// The version is too old: a list must come.
    Gone,
    /// It goes on from this version, if there is one.
    Failed(kube::Error, Option<String>),
}

/// Reads one kind.
pub struct Reader {
    kind: Kind,
    client: kube::Client,
    page_size: u32,
    names: Arc<Names>,
    wait: Duration,
    /// Its last failure was told.
    told: bool,
}

impl Reader {
    pub fn new(kind: Kind, client: kube::Client, page_size: u32, names: Arc<Names>) -> Self {
        Self { kind, client, page_size, names, wait: WAIT_MIN, told: false }
    }

    /// Reads until `stop` is true.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            () = self.read() => {}
            _ = stop.wait_for(|&stopped| stopped) => {}
        }
    }

    async fn read(mut self) {
        match self.kind {
            Kind::Pod => self.read_all::<SlimPod>().await,
            Kind::ReplicaSet | Kind::Job => self.read_all::<SlimController>().await,
            Kind::Node => self.read_all::<SlimNode>().await,
            Kind::Service => self.read_all::<SlimService>().await,
            Kind::EndpointSlice => self.read_all::<SlimSlice>().await,
        }
    }

    async fn read_all<T: Slim>(&mut self) {
        let mut version = None;
        loop {
            let end = match version.take() {
                None => self.list::<T>().await,
                Some(from) => self.watch::<T>(from).await,
            };
            match end {
                End::Over(next) => version = Some(next),
                End::Gone => tracing::debug!(kind = self.kind.as_str(), "what Kubernetes told is too old to go on from: listing again"),
                End::Failed(error, next) => {
                    version = next;
                    self.pause(&error).await;
                }
            }
        }
    }

    /// Waits after a failure; told once, until it works again.
    async fn pause(&mut self, error: &kube::Error) {
        let code = if let kube::Error::Api(status) = error { status.code } else { 0 };
        let is_refused = matches!(code, 401 | 403 | 404);
        if !std::mem::replace(&mut self.told, true) {
            let hint = if is_refused { ": grant list and watch for it (docs/install.md); names do without it meanwhile" } else { "" };
            tracing::warn!(kind = self.kind.as_str(), error = ?error.to_string(), "Kubernetes cannot be read{hint}");
        }
        if is_refused {
            let kind = self.kind;
            self.names.in_kubernetes(|kubernetes| kubernetes.give_up(kind));
        }
        // Servers that start together must not ask together.
        let wait = if is_refused { FORBIDDEN_WAIT } else { self.wait };
        let jitter = rand::rng().random_range(0.5..1.0);
        self.wait = (self.wait * 2).min(WAIT_MAX);
        tokio::time::sleep(wait.mul_f64(jitter)).await;
    }

    fn works(&mut self) {
        self.wait = WAIT_MIN;
        if std::mem::take(&mut self.told) {
            tracing::info!(kind = self.kind.as_str(), "Kubernetes can be read again");
        }
    }

    /// Takes in all objects, page by page. A page that is asked for too late begins the list anew.
    async fn list<T: Slim>(&mut self) -> End {
        let started_us = Utc::now().timestamp_micros();
        let mut params = ListParams { limit: Some(self.page_size), ..ListParams::default() };
        let mut uids = HashSet::new();
        loop {
            let page = match self.page::<T>(&params).await {
                Ok(page) => page,
                Err(error) => return ended(error, None),
            };
            uids.extend(page.items.iter().map(|item| item.metadata().uid.clone()));
            let (kind, at_us) = (self.kind, Utc::now().timestamp_micros());
            self.names.in_kubernetes(|kubernetes| page.items.into_iter().for_each(|item| kubernetes.apply(item.into_object(kind), at_us)));
            params.continue_token = page.metadata.go_on.filter(|token| !token.is_empty());
            if params.continue_token.is_none() {
                let objects = uids.len();
                self.names.in_kubernetes(|kubernetes| {
                    kubernetes.watch(kind);
                    kubernetes.list(kind, &uids, started_us, started_us.saturating_sub(lag_us()));
                });
                self.works();
                tracing::info!(kind = kind.as_str(), objects, "listed from Kubernetes");
                return End::Over(page.metadata.resource_version);
            }
        }
    }

    async fn page<T: Slim>(&self, params: &ListParams) -> kube::Result<Page<T>> {
        let request = Request::new(url(self.kind));
        let request = if T::METADATA_ALONE { request.list_metadata(params) } else { request.list(params) };
        self.client.request(request.map_err(kube::Error::BuildRequest)?).await
    }

    /// Follows changes from a version until the watch ends.
    async fn watch<T: Slim>(&mut self, mut version: String) -> End {
        let params = WatchParams::default().timeout(rand::rng().random_range(WATCH_S));
        let request = Request::new(url(self.kind));
        let request = if T::METADATA_ALONE { request.watch_metadata(&params, &version) } else { request.watch(&params, &version) };
        let request = match request {
            Ok(request) => request,
            Err(error) => return End::Failed(kube::Error::BuildRequest(error), None),
        };
        let opened = match timeout(SILENCE_MAX, self.client.request_events::<T>(request)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return ended(error, Some(version)),
            Err(_) => return End::Over(version),
        };
        let mut events = pin!(opened);
        // What had happened before is sent at once.
        let since = Instant::now();
        let mut spoke = since;
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                // Before it is said that all has arrived, all that has arrived is taken in.
                biased;
                event = events.next() => {
                    spoke = Instant::now();
                    match event {
                        Some(Ok(event)) => match self.take(event, &mut version) {
                            None => self.works(),
                            Some(end) => return end,
                        },
                        Some(Err(error)) => return ended(error, Some(version)),
                        // One that ends at once would be asked for without end.
                        None => {
                            tokio::time::sleep_until(since + WAIT_MIN).await;
                            return End::Over(version);
                        }
                    }
                }
                _ = ticks.tick() => {
                    if spoke.elapsed() > SILENCE_MAX {
                        return End::Over(version);
                    }
                    if since.elapsed() >= LAG {
                        self.hear();
                    }
                }
            }
        }
    }

    /// Notes that all is known that happened until just now.
    fn hear(&self) {
        let at_us = Utc::now().timestamp_micros().saturating_sub(lag_us());
        self.names.in_kubernetes(|kubernetes| kubernetes.hear(self.kind, at_us));
    }

    /// Takes in one event; an end of the watch is one, too.
    fn take<T: Slim>(&self, event: WatchEvent<T>, version: &mut String) -> Option<End> {
        let (kind, at_us) = (self.kind, Utc::now().timestamp_micros());
        let mut note = |metadata: &Metadata| version.clone_from(&metadata.resource_version);
        match event {
            WatchEvent::Added(item) | WatchEvent::Modified(item) => {
                note(item.metadata());
                let object = item.into_object(kind);
                self.names.in_kubernetes(|kubernetes| kubernetes.apply(object, at_us));
            }
            WatchEvent::Deleted(item) => {
                note(item.metadata());
                let object: Object = item.into_object(kind);
                let uid = object.uid().to_owned();
                // Its last state says when it ended.
                self.names.in_kubernetes(|kubernetes| {
                    kubernetes.apply(object, at_us);
                    kubernetes.delete(kind, &uid, at_us);
                });
            }
            WatchEvent::Bookmark(bookmark) => *version = bookmark.metadata.resource_version,
            WatchEvent::Error(status) => return Some(ended(kube::Error::Api(status), Some(std::mem::take(version)))),
        }
        None
    }
}

fn lag_us() -> i64 {
    i64::try_from(LAG.as_micros()).unwrap_or(i64::MAX)
}

fn ended(error: kube::Error, version: Option<String>) -> End {
    match error {
        kube::Error::Api(status) if status.code == 410 => End::Gone,
        error => End::Failed(error, version),
    }
}

const fn url(kind: Kind) -> &'static str {
    match kind {
        Kind::Pod => "/api/v1/pods",
        Kind::Node => "/api/v1/nodes",
        Kind::Service => "/api/v1/services",
        Kind::ReplicaSet => "/apis/apps/v1/replicasets",
        Kind::Job => "/apis/batch/v1/jobs",
        Kind::EndpointSlice => "/apis/discovery.k8s.io/v1/endpointslices",
    }
}
