//! An OTLP receiver, over gRPC or HTTP.

use super::config::{Compression, OtlpConfig, OtlpProtocol};
use super::courier::Answer;
use super::http::{Poster, TrustError, causes};
use bytes::Bytes;
use flate2::write::GzEncoder;
use hyper::Uri;
use hyper::header::HeaderMap;
use opentelemetry_proto::tonic::collector::logs::v1::logs_service_client::LogsServiceClient;
use opentelemetry_proto::tonic::collector::logs::v1::{ExportLogsServiceRequest, ExportLogsServiceResponse};
use opentelemetry_proto::tonic::collector::metrics::v1::metrics_service_client::MetricsServiceClient;
use opentelemetry_proto::tonic::collector::metrics::v1::{ExportMetricsServiceRequest, ExportMetricsServiceResponse};
use prost::Message;
use std::fs;
use std::io::Write as _;
use std::time::Duration;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataMap;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint};
use tonic::{Code, Status};

/// The receiver's door.
pub struct Receiver {
    door: Door,
    compression: Compression,
}

enum Door {
    Grpc { channel: Channel, headers: HeaderMap },
    Http { poster: Poster, metrics: Uri, logs: Uri },
}

impl Receiver {
    /// Makes ready; connects when the first request goes.
    ///
    /// # Errors
    /// If the authority cannot be used. The rest was checked with the configuration.
    pub fn new(config: &OtlpConfig, endpoint: &str) -> Result<Self, TrustError> {
        let headers = config.headers.map().unwrap_or_default();
        let timeout = Duration::from_secs(u64::from(config.timeout_s));
        let wrong = |e: &dyn std::error::Error| TrustError::Endpoint(causes(e));
        let door = match config.protocol {
            OtlpProtocol::Grpc => Door::Grpc { channel: channel(config, endpoint, timeout)?, headers },
            OtlpProtocol::Http => {
                let at = |path: &str| format!("{}{path}", endpoint.trim_end_matches('/')).parse::<Uri>().map_err(|e| wrong(&e));
                let (metrics, logs) = (at("/v1/metrics")?, at("/v1/logs")?);
                let poster = Poster::new(&metrics, config.ca_file.as_deref(), "export.otlp.ca_file", headers, timeout)?;
                Door::Http { poster, metrics, logs }
            }
        };
        Ok(Self { door, compression: config.compression })
    }

    /// Sends metrics once.
    pub async fn metrics(&self, request: &ExportMetricsServiceRequest) -> Answer {
        match &self.door {
            Door::Grpc { channel, headers } => {
                let client = MetricsServiceClient::new(channel.clone());
                let mut client = if self.compression == Compression::Gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client };
                match client.export(enclosed(request.clone(), headers)).await {
                    Ok(reply) => partly_metrics(reply.into_inner()),
                    Err(status) => failed(&status),
                }
            }
            Door::Http { poster, metrics, .. } => {
                self.post(poster, metrics, request, |body| ExportMetricsServiceResponse::decode(body).map(partly_metrics)).await
            }
        }
    }

    /// Sends logs once.
    pub async fn logs(&self, request: &ExportLogsServiceRequest) -> Answer {
        match &self.door {
            Door::Grpc { channel, headers } => {
                let client = LogsServiceClient::new(channel.clone());
                let mut client = if self.compression == Compression::Gzip { client.send_compressed(CompressionEncoding::Gzip) } else { client };
                match client.export(enclosed(request.clone(), headers)).await {
                    Ok(reply) => partly_logs(reply.into_inner()),
                    Err(status) => failed(&status),
                }
            }
            Door::Http { poster, logs, .. } => {
                self.post(poster, logs, request, |body| ExportLogsServiceResponse::decode(body).map(partly_logs)).await
            }
        }
    }

    async fn post(&self, poster: &Poster, uri: &Uri, request: &impl Message, read: impl Fn(Bytes) -> Result<Answer, prost::DecodeError>) -> Answer {
        let body = request.encode_to_vec();
        let (body, encoding) = match self.compression {
            Compression::None => (body, None),
            Compression::Gzip => match gzip(&body) {
                Ok(body) => (body, Some("gzip")),
                Err(error) => return Answer::Refused { why: format!("cannot compress: {error}") },
            },
        };
        match poster.post(uri, "application/x-protobuf", encoding, &[], body.into()).await {
            Ok(reply) if reply.status.is_success() => {
                // An answer that is no message was an answer still: what was sent is taken.
                read(reply.body.clone()).unwrap_or_else(|_| reply.meaning(false))
            }
            Ok(reply) => reply.meaning(false),
            Err(why) => Answer::Again { after: None, why },
        }
    }
}

fn channel(config: &OtlpConfig, endpoint: &str, timeout: Duration) -> Result<Channel, TrustError> {
    let wrong = |e: &dyn std::error::Error| TrustError::Endpoint(causes(e));
    let mut door = Endpoint::from_shared(endpoint.to_owned()).map_err(|e| wrong(&e))?.timeout(timeout).connect_timeout(timeout);
    if endpoint.starts_with("https:") {
        let tls = match &config.ca_file {
            Some(path) => {
                // Read here for an error that names the file, and that it holds certificates.
                super::http::roots(path, "export.otlp.ca_file")?;
                let pem = fs::read(path).map_err(|e| wrong(&e))?;
                ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
            }
            None => ClientTlsConfig::new().with_native_roots(),
        };
        door = door.tls_config(tls).map_err(|e| wrong(&e))?;
    }
    Ok(door.connect_lazy())
}

fn enclosed<T>(message: T, headers: &HeaderMap) -> tonic::Request<T> {
    tonic::Request::from_parts(MetadataMap::from_headers(headers.clone()), tonic::Extensions::default(), message)
}

fn gzip(body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 8), flate2::Compression::fast());
    encoder.write_all(body)?;
    encoder.finish()
}

fn partly_metrics(reply: ExportMetricsServiceResponse) -> Answer {
    let part = reply.partial_success.unwrap_or_default();
    taken(part.rejected_data_points, part.error_message)
}

fn partly_logs(reply: ExportLogsServiceResponse) -> Answer {
    let part = reply.partial_success.unwrap_or_default();
    taken(part.rejected_log_records, part.error_message)
}

fn taken(rejected: i64, why: String) -> Answer {
    Answer::Taken { rejected: rejected.max(0).unsigned_abs(), why: why.chars().take(300).flat_map(char::escape_default).collect() }
}

/// What the protocol says of each status. A receiver that is full says when to come again, or means never.
fn failed(status: &Status) -> Answer {
    let why = format!("{:?}: {}", status.code(), status.message().chars().take(300).flat_map(char::escape_default).collect::<String>());
    let after = retry_delay(status.details());
    match status.code() {
        Code::Cancelled | Code::DeadlineExceeded | Code::Aborted | Code::OutOfRange | Code::Unavailable | Code::DataLoss => {
            Answer::Again { after, why }
        }
        Code::ResourceExhausted if after.is_some() => Answer::Again { after, why },
        // What the connection itself met has no status of the receiver's.
        Code::Unknown if status.details().is_empty() && std::error::Error::source(status).is_some() => Answer::Again { after, why },
        _ => Answer::Refused { why },
    }
}

/// `google.rpc.Status`, as far as it is read.
#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<Delay>,
}

/// `google.protobuf.Duration`.
#[derive(Clone, Copy, PartialEq, Message)]
struct Delay {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

/// The hint in a status' details.
fn retry_delay(details: &[u8]) -> Option<Duration> {
    let status = RpcStatus::decode(details).ok()?;
    let info = status.details.iter().find(|any| any.type_url.ends_with("google.rpc.RetryInfo"))?;
    let delay = RetryInfo::decode(info.value.as_slice()).ok()?.retry_delay?;
    Some(Duration::new(u64::try_from(delay.seconds).ok()?, u32::try_from(delay.nanos).ok()?.min(999_999_999)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(seconds: i64) -> Vec<u8> {
        let info = RetryInfo { retry_delay: Some(Delay { seconds, nanos: 500_000_000 }) };
        let any = Any { type_url: "type.googleapis.com/google.rpc.RetryInfo".into(), value: info.encode_to_vec() };
        RpcStatus { details: vec![any] }.encode_to_vec()
    }

    #[test]
    fn a_full_receiver_is_tried_again_only_if_it_says_when() {
        let full = Status::with_details(Code::ResourceExhausted, "full", details(7).into());
        assert_eq!(failed(&full), Answer::Again { after: Some(Duration::from_millis(7_500)), why: "ResourceExhausted: full".into() });
        assert!(matches!(failed(&Status::new(Code::ResourceExhausted, "full")), Answer::Refused { .. }));
        assert!(matches!(failed(&Status::new(Code::Unavailable, "soon")), Answer::Again { after: None, .. }));
        assert!(matches!(failed(&Status::new(Code::InvalidArgument, "no")), Answer::Refused { .. }));
        assert_eq!(retry_delay(&details(-1)), None, "a hint of the past is none");
        assert_eq!(retry_delay(b"\xff\xff"), None);
    }
}
