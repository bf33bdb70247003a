//! One question by HTTP/1 over a stream that is open already: to a socket of this node, or to an address of its cloud. Bounded in bytes and time, and never
//! through a proxy: nothing here reads the environment.

use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

/// Most bytes of an answer's head: hyper's own bound is 400 KiB.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What is asked. There is never a body.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    pub method: Method,
    /// What the server is called.
    pub host: &'a str,
    pub path: &'a str,
    pub headers: &'a [(&'static str, &'a str)],
    /// Most bytes of the answer's body.
    pub bytes_max: usize,
    pub timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    #[error("an answer of more than {0} bytes")]
    TooLarge(usize),
    #[error("no HTTP: {0}")]
    Protocol(String),
}

/// Asks once, and waits for all of the answer.
///
/// # Errors
/// If the answer is late, too large, or none of HTTP.
pub async fn ask<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, question: &Question<'_>) -> Result<Answer, HttpError> {
    let answered = tokio::time::timeout(question.timeout, exchange(stream, question)).await;
    answered.unwrap_or(Err(HttpError::Timeout(question.timeout)))
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, question: &Question<'_>) -> Result<Answer, HttpError> {
    let broken = |error: hyper::Error| HttpError::Protocol(error.to_string());
    let mut request = Request::builder().method(question.method.clone()).uri(question.path).header("host", question.host);
    for (name, value) in question.headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| HttpError::Protocol(error.to_string()))?;
    let (mut sender, connection) = http1::Builder::new().max_buf_size(HEAD_BYTES_MAX).handshake(TokioIo::new(stream)).await.map_err(broken)?;
    // Ends with this function.
    let mut beside = JoinSet::new();
    beside.spawn(async move { drop(connection.await) });
    let response = sender.send_request(request).await.map_err(broken)?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), question.bytes_max).collect().await.map_err(|error| {
        if error.is::<LengthLimitError>() { HttpError::TooLarge(question.bytes_max) } else { HttpError::Protocol(error.to_string()) }
    })?;
    Ok(Answer { status, body: body.to_bytes().to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    const QUESTION: Question<'_> =
        Question { method: Method::GET, host: "x", path: "/a", headers: &[("metadata", "true")], bytes_max: 16, timeout: Duration::from_millis(200) };

    /// Asks somebody who says this, whatever is asked, and gives back what was asked too.
    async fn told(answer: &'static [u8]) -> (Result<Answer, HttpError>, String) {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let server = tokio::spawn(async move {
            let mut asked = vec![0; 4_096];
            let length = far.read(&mut asked).await.unwrap();
            // Whoever found it too large hangs up.
            drop(far.write_all(answer).await);
            asked.truncate(length);
            (String::from_utf8(asked).unwrap(), far)
        });
        let got = ask(near, &QUESTION).await;
        let (asked, _open) = server.await.unwrap();
        (got, asked)
    }

    #[tokio::test]
    async fn an_answer_comes_whole() {
        let (got, asked) = told(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello").await;
        assert_eq!(got.unwrap(), Answer { status: 200, body: b"hello".to_vec() });
        assert!(asked.starts_with("GET /a HTTP/1.1\r\n") && asked.contains("metadata: true\r\n") && asked.contains("host: x\r\n"), "{asked}");
        let (chunked, _) = told(b"HTTP/1.1 404 No\r\ntransfer-encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n").await;
        assert_eq!(chunked.unwrap(), Answer { status: 404, body: b"no".to_vec() });
    }

    #[tokio::test]
    async fn what_is_late_too_large_or_nonsense_is_refused() {
        let late = told(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel").await.0.unwrap_err();
        assert!(matches!(late, HttpError::Timeout(_)), "{late}");
        let large = told(b"HTTP/1.1 200 OK\r\ncontent-length: 17\r\n\r\n12345678901234567").await.0.unwrap_err();
        assert!(matches!(large, HttpError::TooLarge(16)), "{large}");
        let nonsense = told(b"\x00\x01 nothing of HTTP\r\n\r\n").await.0.unwrap_err();
        assert!(matches!(nonsense, HttpError::Protocol(_)), "{nonsense}");
    }
}
