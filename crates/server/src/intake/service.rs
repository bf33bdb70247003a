//! The intake as a gRPC service.

use super::{Intake, RETRY_MS, Refusal};
use crate::access::Gate;
use crate::auth::Caller;
use crate::serve::Ends;
use crate::tables::TablesError;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use edgescope_model::wire::intake_server::{Intake as Service, IntakeServer};
use edgescope_model::wire::{Ack, Batch, HelloReply, HelloRequest, LeaveReply, LeaveRequest, ServerClock};
use std::sync::Arc;
use tonic::codec::CompressionEncoding;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

/// gRPC's own header by which a server asks a client to wait before it tries again, in milliseconds.
pub const RETRY_HEADER: &str = "grpc-retry-pushback-ms";

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let code = match &refusal {
            Refusal::Invalid(_) | Refusal::Tables(TablesError::Refused(_)) => Code::InvalidArgument,
            Refusal::TooManyAgents(_) | Refusal::Full { .. } | Refusal::Tables(TablesError::Busy(_)) => Code::ResourceExhausted,
            Refusal::Stranger | Refusal::OtherBoot => Code::FailedPrecondition,
            Refusal::NotSpokenFor(_) => Code::PermissionDenied,
            Refusal::InFlight => Code::Aborted,
            Refusal::Tables(_) | Refusal::Failed(_) => Code::Unavailable,
        };
        let mut status = Status::new(code, refusal.to_string());
        if matches!(code, Code::ResourceExhausted | Code::Aborted | Code::Unavailable) {
            status.metadata_mut().insert(RETRY_HEADER, MetadataValue::from(RETRY_MS));
        }
        status
    }
}

/// Handler of all calls.
#[derive(Clone)]
struct Handler(Arc<Intake>);

#[tonic::async_trait]
impl Service for Handler {
    async fn hello(&self, request: tonic::Request<HelloRequest>) -> Result<tonic::Response<HelloReply>, Status> {
        let received = Utc::now();
        if let Some(ends) = request.extensions().get::<Ends>() {
            self.0.own.saw(ends.local);
        }
        let intake = Arc::clone(&self.0);
        let caller = request.extensions().get::<Caller>().cloned();
        // As with batches: what it says of addresses must come into the tables although the agent hangs up.
        let hello = request.into_inner();
        let agent = hello.agent_id.clone();
        let greeted = tokio::spawn(async move { intake.hello(hello, caller.as_ref(), received).await });
        let committed_sequence = greeted.await.map_err(|e| Status::internal(format!("taking the greeting failed: {e}")))??;
        let clock = Some(clock(received.timestamp_micros()));
        Ok(tonic::Response::new(HelloReply { clock, committed_sequence, split_addresses: self.0.split_addresses(&agent) }))
    }

    async fn ship(&self, request: tonic::Request<Batch>) -> Result<tonic::Response<Ack>, Status> {
        let received = Utc::now();
        let intake = Arc::clone(&self.0);
        let caller = request.extensions().get::<Caller>().cloned();
        // A task of its own: an agent that hangs up in the middle must not stop the work half way; the batch comes to its end and the next try finds it there.
        let batch = request.into_inner();
        let agent = batch.agent_id.clone();
        let shipped = tokio::spawn(async move { intake.ship(batch, caller.as_ref(), received).await });
        let committed_sequence = shipped.await.map_err(|e| Status::internal(format!("taking the batch failed: {e}")))??;
        let clock = Some(clock(received.timestamp_micros()));
        Ok(tonic::Response::new(Ack { clock, committed_sequence, split_addresses: self.0.split_addresses(&agent) }))
    }

    async fn leave(&self, request: tonic::Request<LeaveRequest>) -> Result<tonic::Response<LeaveReply>, Status> {
        let received = Utc::now();
        let intake = Arc::clone(&self.0);
        let caller = request.extensions().get::<Caller>().cloned();
        let left = tokio::spawn(async move { intake.leave(request.get_ref(), caller.as_ref(), received).await });
        left.await.map_err(|e| Status::internal(format!("taking the farewell failed: {e}")))??;
        Ok(tonic::Response::new(LeaveReply {}))
    }
}

fn clock(received_us: i64) -> ServerClock {
    ServerClock { received_us, replied_us: Utc::now().timestamp_micros() }
}

/// The intake behind its doorkeeper.
///
/// `private`: only the caller's own agents reach it, so that no tokens are asked for.
pub fn router(intake: Arc<Intake>, gate: Arc<Gate>, private: bool) -> Router {
    let batch_bytes_max = intake.batch_bytes_max;
    let service = IntakeServer::new(Handler(intake))
        .accept_compressed(CompressionEncoding::Zstd)
        // Holds for the compressed and for the decompressed size.
        .max_decoding_message_size(batch_bytes_max);
    let router = Router::new().route_service("/edgescope.v1.Intake/{call}", service);
    if private { router } else { router.layer(from_fn_with_state(gate, admit)) }
}

/// Only agents come in, and only what speaks gRPC: without tokens nothing else tells them from a web page on the same host.
async fn admit(State(gate): State<Arc<Gate>>, mut request: Request, next: Next) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|t| t.to_str().ok()).unwrap_or_default();
    if !content_type.starts_with("application/grpc") || content_type.starts_with("application/grpc-web") {
        gate.count_refused("content_type");
        return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
    }
    match gate.admits_agent(request.headers()) {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(said) => {
            gate.count_refused("agent_token");
            if gate.may_tell() {
                let peer = request.extensions().get::<Ends>().map(|ends| ends.peer.to_string());
                tracing::warn!(peer, "an agent is refused: {said} (more in edgescope_server_requests_refused)");
            }
            let status = Status::unauthenticated(format!("{said}: set agent.token_file to a file with a token of role agent"));
            status.into_http::<axum::body::Body>().into_response()
        }
    }
}
