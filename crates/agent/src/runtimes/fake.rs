//! Runtimes of the tests' own, each on a unix socket: what it says is given, and what it was asked is written down.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;

/// A call as it came: its path, containerd's namespace if it named one, the message.
#[derive(Debug, Clone)]
pub struct Call {
    pub path: String,
    pub namespace: String,
    pub message: Vec<u8>,
}

impl Call {
    pub fn read<M: Message + Default>(&self) -> M {
        M::decode(self.message.as_slice()).unwrap()
    }
}

/// The bytes of a message, or the number of a gRPC status.
pub type Reply = Result<Vec<u8>, u16>;

/// A runtime, gone when dropped.
pub struct Fake {
    pub socket: PathBuf,
    pub calls: Arc<Mutex<Vec<Call>>>,
    _directory: tempfile::TempDir,
    task: JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fake {
    /// Speaks gRPC.
    pub fn grpc(reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        Self::slow_grpc(Duration::ZERO, reply)
    }

    /// Speaks gRPC, each answer after a pause.
    pub fn slow_grpc(pause: Duration, reply: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let (reply, calls) = (Arc::new(reply), Arc::new(Mutex::new(Vec::new())));
        let book = Arc::clone(&calls);
        Self::listening(calls, move |stream| {
            let (reply, book) = (Arc::clone(&reply), Arc::clone(&book));
            let service = service_fn(move |request: Request<Incoming>| {
                let (reply, book) = (Arc::clone(&reply), Arc::clone(&book));
                async move {
                    let call = read(request).await;
                    book.lock().unwrap().push(call.clone());
                    tokio::time::sleep(pause).await;
                    Ok::<_, Infallible>(answer(reply(&call)))
                }
            });
            async move { drop(hyper::server::conn::http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await) }
        })
    }

    /// Says the same to everybody, whatever is asked.
    pub fn saying(said: Vec<u8>) -> Self {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let book = Arc::clone(&calls);
        Self::listening(calls, move |mut stream| {
            let (said, book) = (said.clone(), Arc::clone(&book));
            async move {
                let mut asked = vec![0; 4_096];
                let length = stream.read(&mut asked).await.unwrap_or(0);
                let text = String::from_utf8_lossy(&asked[..length]).into_owned();
                let path = text.split_whitespace().nth(1).unwrap_or_default().to_owned();
                book.lock().unwrap().push(Call { path, namespace: String::new(), message: Vec::new() });
                // Whoever has heard enough hangs up.
                drop(stream.write_all(&said).await);
            }
        })
    }

    fn listening<F: Future<Output = ()> + Send + 'static>(
        calls: Arc<Mutex<Vec<Call>>>,
        serve: impl Fn(tokio::net::UnixStream) -> F + Send + 'static,
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("runtime.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let task = tokio::spawn(async move {
            let mut served = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                served.spawn(serve(stream));
            }
        });
        Self { socket, calls, _directory: directory, task }
    }

    pub fn paths(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().map(|call| call.path.clone()).collect()
    }
}

/// Docker's answer over HTTP.
pub fn http(status: u16, body: &str) -> Vec<u8> {
    format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

async fn read(request: Request<Incoming>) -> Call {
    let path = request.uri().path().to_owned();
    let namespace = request.headers().get("containerd-namespace").map(|name| name.to_str().unwrap().to_owned()).unwrap_or_default();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    // A flag and four bytes of length stand before the message.
    Call { path, namespace, message: body.get(5..).unwrap_or_default().to_vec() }
}

fn answer(reply: Reply) -> Response<http_body_util::combinators::UnsyncBoxBody<Bytes, Infallible>> {
    let (message, status) = match reply {
        Ok(message) => (Some(message), 0),
        Err(status) => (None, status),
    };
    let mut frame = Vec::new();
    if let Some(message) = message {
        frame.push(0);
        frame.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
        frame.extend_from_slice(&message);
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", status.into());
    let body = Full::new(Bytes::from(frame)).with_trailers(async move { Some(Ok(trailers)) });
    Response::builder().header("content-type", "application/grpc").body(body.boxed_unsync()).unwrap()
}
