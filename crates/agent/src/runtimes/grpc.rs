//! Single calls by gRPC over a unix socket. The messages are the few fields that are needed, written by hand: whole descriptions of the runtimes' interfaces
//! would be many times as long as what is read of them.

use prost::Message;
use std::path::Path;
use std::time::Duration;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_prost::ProstCodec;

/// Largest answer taken, in bytes: one container with its labels has some kilobytes, and Kubernetes bounds all annotations of an object at 256 KiB.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// A connection to the socket.
///
/// # Errors
/// If nobody listens there.
pub async fn connect(socket: &Path, timeout: Duration) -> Result<Channel, String> {
    let endpoint = Endpoint::from_shared(format!("unix://{}", socket.display())).map_err(|error| error.to_string())?;
    endpoint.connect_timeout(timeout).timeout(timeout).connect().await.map_err(|error| reasons(&error))
}

/// One call; `metadata` goes with it.
///
/// # Errors
/// As the far side says, or why it did not say anything.
pub async fn call<Q: Message + 'static, A: Message + Default + 'static>(
    channel: &Channel,
    path: &'static str,
    message: Q,
    metadata: Option<(&'static str, &str)>,
) -> Result<A, Status> {
    let mut request = Request::new(message);
    if let Some((name, value)) = metadata {
        let value: MetadataValue<Ascii> = value.parse().map_err(|_| Status::invalid_argument("not a header"))?;
        request.metadata_mut().insert(name, value);
    }
    let mut client = tonic::client::Grpc::new(channel.clone()).max_decoding_message_size(ANSWER_BYTES_MAX);
    client.ready().await.map_err(|error| Status::unavailable(reasons(&error)))?;
    Ok(client.unary(request, PathAndQuery::from_static(path), ProstCodec::<Q, A>::default()).await?.into_inner())
}

/// An error with all that caused it: the outermost alone says only "transport error".
fn reasons(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(deeper) = cause {
        text = format!("{text}: {deeper}");
        cause = deeper.source();
    }
    text
}
