//! Receivers of OTLP, over gRPC and HTTP, that answer as they are told and keep what they took.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use flate2::read::GzDecoder;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_server::{LogsService, LogsServiceServer};
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_server::{MetricsService, MetricsServiceServer};
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsPartialSuccess, ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value;
use opentelemetry_proto::tonic::metrics::v1::{Metric, NumberDataPoint};
use prost::Message as _;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::codec::CompressionEncoding;
use tonic::transport::Server;
use tonic::{Code, Request, Status};

/// What the next request is answered; without a word, it is taken.
#[derive(Debug, Clone, Copy)]
pub enum Reply {
    Taken,
    /// So many points are rejected.
    Partly(i64),
    /// An HTTP status, with its `Retry-After`.
    Status(u16, Option<&'static str>),
    /// No answer.
    Hang,
    Unavailable,
    Invalid,
    /// Come again in so many seconds.
    Full(u8),
}

/// A request that was taken, wholly or in part.
#[derive(Debug, Clone)]
pub struct Taken {
    pub metrics: ExportMetricsServiceRequest,
    pub authorization: Option<String>,
    pub encoding: Option<String>,
}

#[derive(Debug, Default)]
struct Held {
    replies: Mutex<VecDeque<Reply>>,
    taken: Mutex<Vec<Taken>>,
    logs: Mutex<Vec<ExportLogsServiceRequest>>,
    came: Notify,
}

/// A receiver; it ends with the test.
pub struct Collector {
    pub url: String,
    held: Arc<Held>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An address at which nobody listens.
pub async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

/// GETs a page.
pub async fn get(url: &str) -> Vec<u8> {
    let client: Client<HttpConnector, Full<Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    client.get(url.parse().unwrap()).await.unwrap().into_body().collect().await.unwrap().to_bytes().to_vec()
}

impl Collector {
    pub async fn grpc(replies: Vec<Reply>) -> Self {
        let (listener, url, held) = Self::parts(replies).await;
        let metrics = MetricsServiceServer::new(Service(Arc::clone(&held))).accept_compressed(CompressionEncoding::Gzip);
        let logs = LogsServiceServer::new(Service(Arc::clone(&held))).accept_compressed(CompressionEncoding::Gzip);
        let serve = Server::builder().add_service(metrics).add_service(logs).serve_with_incoming(TcpListenerStream::new(listener));
        Self { url, held, task: tokio::spawn(async move { serve.await.unwrap() }) }
    }

    pub async fn http(replies: Vec<Reply>) -> Self {
        let (listener, url, held) = Self::parts(replies).await;
        let router = Router::new().route("/v1/metrics", post(metrics)).with_state(Arc::clone(&held));
        Self { url, held, task: tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }) }
    }

    async fn parts(replies: Vec<Reply>) -> (TcpListener, String, Arc<Held>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url, Arc::new(Held { replies: Mutex::new(replies.into()), ..Held::default() }))
    }

    pub fn requests(&self) -> Vec<Taken> {
        locked(&self.held.taken).clone()
    }

    pub fn logs(&self) -> Vec<ExportLogsServiceRequest> {
        locked(&self.held.logs).clone()
    }

    /// Waits until a metric has points of so many slots.
    pub async fn slots(&self, name: &str, at_least: usize) {
        let waited = tokio::time::timeout(Duration::from_secs(30), async {
            loop {
                let came = self.held.came.notified();
                let metrics = self.requests();
                let ends: BTreeSet<u64> = metrics.iter().flat_map(|t| all(&t.metrics)).filter(|m| m.name == name).flat_map(times).collect();
                if ends.len() >= at_least {
                    return;
                }
                came.await;
            }
        });
        assert!(waited.await.is_ok(), "{name} did not come for {at_least} slots");
    }

    /// Start and end in seconds, and value, of a sum's points of edges to a workload, in the order in which they came.
    pub fn sums(&self, name: &str, dest: &str) -> Vec<((i64, i64), i64)> {
        let mut sums = Vec::new();
        for metric in self.requests().iter().flat_map(|t| all(&t.metrics)).filter(|m| m.name == name) {
            let Some(Data::Sum(sum)) = &metric.data else { panic!("{name} is a sum") };
            for point in sum.data_points.iter().filter(|p| attribute(&p.attributes, "dest.workload.name") == Some(dest)) {
                let seconds = |nanos: u64| i64::try_from(nanos / 1_000_000_000).unwrap();
                let Some(Value::AsInt(value)) = point.value else { panic!("{name} counts whole numbers") };
                sums.push(((seconds(point.start_time_unix_nano), seconds(point.time_unix_nano)), value));
            }
        }
        sums
    }

    /// Type, unit and the attributes that any point had, by name.
    pub fn described(&self) -> BTreeMap<String, (&'static str, String, BTreeSet<String>)> {
        let mut described: BTreeMap<String, (&'static str, String, BTreeSet<String>)> = BTreeMap::new();
        for metric in self.requests().iter().flat_map(|t| all(&t.metrics)) {
            let kind = match metric.data {
                Some(Data::Sum(_)) => "Sum",
                Some(Data::Gauge(_)) => "Gauge",
                Some(Data::Histogram(_)) => "Histogram",
                _ => "none",
            };
            let entry = described.entry(metric.name.clone()).or_insert_with(|| (kind, metric.unit.clone(), BTreeSet::new()));
            entry.2.extend(attributes(metric).into_iter().map(|a| a.key.clone()));
        }
        described
    }
}

fn all(request: &ExportMetricsServiceRequest) -> impl Iterator<Item = &Metric> {
    request.resource_metrics.iter().flat_map(|r| &r.scope_metrics).flat_map(|s| &s.metrics)
}

fn numbers(metric: &Metric) -> &[NumberDataPoint] {
    match &metric.data {
        Some(Data::Sum(sum)) => &sum.data_points,
        Some(Data::Gauge(gauge)) => &gauge.data_points,
        _ => &[],
    }
}

fn times(metric: &Metric) -> Vec<u64> {
    numbers(metric).iter().map(|point| point.time_unix_nano).collect()
}

fn attributes(metric: &Metric) -> Vec<&KeyValue> {
    match &metric.data {
        Some(Data::Histogram(histogram)) => histogram.data_points.iter().flat_map(|p| &p.attributes).collect(),
        _ => numbers(metric).iter().flat_map(|p| &p.attributes).collect(),
    }
}

/// A text attribute.
pub fn attribute<'a>(attributes: &'a [KeyValue], key: &str) -> Option<&'a str> {
    match attributes.iter().find(|a| a.key == key)?.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text),
        _ => None,
    }
}

impl Held {
    fn next(&self) -> Reply {
        locked(&self.replies).pop_front().unwrap_or(Reply::Taken)
    }

    fn take(&self, taken: Taken) {
        locked(&self.taken).push(taken);
        self.came.notify_waiters();
    }
}

fn answer(rejected: i64) -> ExportMetricsServiceResponse {
    let partial = ExportMetricsPartialSuccess { rejected_data_points: rejected, error_message: "some were bad".to_owned() };
    ExportMetricsServiceResponse { partial_success: (rejected > 0).then_some(partial) }
}

struct Service(Arc<Held>);

#[tonic::async_trait]
impl MetricsService for Service {
    async fn export(&self, request: Request<ExportMetricsServiceRequest>) -> Result<tonic::Response<ExportMetricsServiceResponse>, Status> {
        let header = |name: &str| request.metadata().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // The transport has taken the encoding off already, and its header stays.
        let (authorization, encoding) = (header("authorization"), header("grpc-encoding"));
        let rejected = match self.0.next() {
            Reply::Taken => 0,
            Reply::Partly(rejected) => rejected,
            Reply::Invalid => return Err(Status::invalid_argument("not like this")),
            // The details are google.rpc.Status with RetryInfo, written out: seconds are the last byte.
            Reply::Full(seconds) => {
                let info = [0x0a, 0x02, 0x08, seconds];
                let url = b"type.googleapis.com/google.rpc.RetryInfo";
                let mut any = vec![0x0a, url.len() as u8];
                any.extend(url);
                any.extend([0x12, info.len() as u8]);
                any.extend(info);
                let mut details = vec![0x1a, any.len() as u8];
                details.extend(any);
                return Err(Status::with_details(Code::ResourceExhausted, "full", details.into()));
            }
            _ => return Err(Status::unavailable("not now")),
        };
        self.0.take(Taken { metrics: request.into_inner(), authorization, encoding });
        Ok(tonic::Response::new(answer(rejected)))
    }
}

#[tonic::async_trait]
impl LogsService for Service {
    async fn export(&self, request: Request<ExportLogsServiceRequest>) -> Result<tonic::Response<ExportLogsServiceResponse>, Status> {
        locked(&self.0.logs).push(request.into_inner());
        Ok(tonic::Response::new(ExportLogsServiceResponse::default()))
    }
}

async fn metrics(State(held): State<Arc<Held>>, headers: HeaderMap, body: Bytes) -> Response {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let rejected = match held.next() {
        Reply::Taken => 0,
        Reply::Partly(rejected) => rejected,
        Reply::Status(status, after) => {
            let status = StatusCode::from_u16(status).unwrap();
            return after.map_or_else(|| status.into_response(), |after| (status, [("retry-after", after)]).into_response());
        }
        _ => std::future::pending().await,
    };
    assert_eq!(header("content-type").as_deref(), Some("application/x-protobuf"));
    let encoding = header("content-encoding");
    let mut bytes = Vec::new();
    match encoding.as_deref() {
        Some("gzip") => drop(GzDecoder::new(&body[..]).read_to_end(&mut bytes).unwrap()),
        _ => bytes = body.to_vec(),
    }
    let metrics = ExportMetricsServiceRequest::decode(bytes.as_slice()).unwrap();
    held.take(Taken { metrics, authorization: header("authorization"), encoding });
    answer(rejected).encode_to_vec().into_response()
}
