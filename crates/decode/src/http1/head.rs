//! One head of a message: read by `httparse` where it is whole, by its first line where it was cut or has faults further down.

use httparse::Status;

use super::HEAD_BYTES_MAX;
use super::body::Body;
use crate::http::{self, host, path_template, path_template_cut, target_authority};

/// Fields of a head; one with more is read by its first line alone.
const FIELDS_MAX: usize = 96;

/// What a request's head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestHead {
    pub method: &'static str,
    pub path: String,
    pub host: Option<String>,
    /// None if it cannot be known.
    pub body: Option<Body>,
}

/// What a response's head says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResponseHead {
    pub status: u16,
    /// None if it cannot be known; as the fields say it, whatever was asked.
    pub body: Option<Body>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Reading<T> {
    /// The head ends after so many bytes.
    Whole(usize, T),
    /// It has not ended yet, and is one so far.
    Partial,
    /// The first line is one, what follows is not: it is not known where the message ends.
    Faulty(T),
    /// Not HTTP/1.
    Wrong,
}

pub(super) fn request(bytes: &[u8]) -> Reading<RequestHead> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(Status::Complete(length)) => {
            let method = http::method(parsed.method.unwrap_or_default().as_bytes());
            let target = parsed.path.unwrap_or_default();
            let named = parsed.headers.iter().find(|field| field.name.eq_ignore_ascii_case("host")).and_then(|field| host(field.value));
            let host = target_authority(method, target).or(named);
            let body = body(parsed.headers, Body::Length(0));
            Reading::Whole(length, RequestHead { method, path: path_template(target), host, body })
        }
        Ok(Status::Partial) if method_begins(bytes) => Reading::Partial,
        Ok(Status::Partial) => Reading::Wrong,
        Err(_) => request_line(bytes).map_or(Reading::Wrong, Reading::Faulty),
    }
}

/// What can be said of a request whose head ends in a hole. Its host is in whole lines after the first.
pub(super) fn request_cut(bytes: &[u8]) -> Option<RequestHead> {
    let lines = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    match request(&[&bytes[..lines], b"\r\n"].concat()) {
        Reading::Whole(_, head) => Some(RequestHead { body: None, ..head }),
        Reading::Faulty(head) => Some(head),
        Reading::Partial | Reading::Wrong => request_line(bytes),
    }
}

/// The first line alone, perhaps without its end.
fn request_line(bytes: &[u8]) -> Option<RequestHead> {
    let bytes = &bytes[..bytes.len().min(HEAD_BYTES_MAX)];
    let bytes = bytes.trim_ascii_start();
    let line = bytes.split(|byte| *byte == b'\n').next()?;
    let whole = line.len() < bytes.len();
    let (name, rest) = line.split_at(line.iter().position(|byte| *byte == b' ')?);
    let method = http::method(name);
    let rest = &rest[1..];
    let end = rest.iter().position(|byte| *byte == b' ');
    if method == http::OTHER || (whole && !rest.get(end?..)?.starts_with(b" HTTP/1.")) {
        return None;
    }
    let target = String::from_utf8_lossy(&rest[..end.unwrap_or(rest.len())]);
    let path = if end.is_some() || method == "CONNECT" { path_template(&target) } else { path_template_cut(&target) };
    let host = end.and_then(|_| target_authority(method, &target));
    Some(RequestHead { method, path, host, body: None })
}

pub(super) fn response(bytes: &[u8]) -> Reading<ResponseHead> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(Status::Complete(length)) => match parsed.code {
            Some(status @ 100..) => Reading::Whole(length, ResponseHead { status, body: body(parsed.headers, Body::UntilClose) }),
            _ => Reading::Wrong,
        },
        Ok(Status::Partial) if version_begins(bytes) => Reading::Partial,
        Ok(Status::Partial) => Reading::Wrong,
        Err(_) => response_cut(bytes).map_or(Reading::Wrong, Reading::Faulty),
    }
}

/// The status alone, which stands in the first 12 bytes: `HTTP/1.1 200`.
pub(super) fn response_cut(bytes: &[u8]) -> Option<ResponseHead> {
    let bytes = bytes.trim_ascii_start();
    let rest = bytes.strip_prefix(b"HTTP/1.0 ").or_else(|| bytes.strip_prefix(b"HTTP/1.1 "))?;
    let digits = std::str::from_utf8(rest.get(..3)?).ok()?;
    let status = digits.parse().ok().filter(|status| (100..1000).contains(status))?;
    Some(ResponseHead { status, body: None })
}

/// How the body is delimited: chunks before length (RFC 9112, §6.3). None where the fields contradict themselves.
fn body(fields: &[httparse::Header<'_>], otherwise: Body) -> Option<Body> {
    let of = |name: &'static str| fields.iter().filter(move |field| field.name.eq_ignore_ascii_case(name)).map(|field| field.value);
    if let Some(codings) = of("transfer-encoding").next_back() {
        let last = codings.rsplit(|byte| *byte == b',').next()?.trim_ascii();
        return last.eq_ignore_ascii_case(b"chunked").then(Body::chunked).or_else(|| (otherwise == Body::UntilClose).then_some(otherwise));
    }
    let mut length = None;
    // the same length again is one length
    for value in of("content-length").flat_map(|value| value.split(|byte| *byte == b',')) {
        let digits = std::str::from_utf8(value.trim_ascii()).ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        let bytes: u64 = digits.parse().ok()?;
        if length.replace(bytes).is_some_and(|before| before != bytes) {
            return None;
        }
    }
    Some(length.map_or(otherwise, Body::Length))
}

/// Whether a piece that starts anywhere looks like the start of a request: a method that is told apart, and a space.
pub(super) fn begins_request(bytes: &[u8]) -> bool {
    http::METHODS.iter().any(|method| bytes.strip_prefix(method.as_bytes()).is_some_and(|rest| rest.starts_with(b" ")))
}

pub(super) fn begins_response(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.")
}

/// Methods are capitals, by custom; other protocols' first bytes are not.
fn method_begins(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().iter().take_while(|byte| **byte != b' ').take(32).all(|byte| byte.is_ascii_uppercase() || *byte == b'-')
}

fn version_begins(bytes: &[u8]) -> bool {
    let version = b"HTTP/1.";
    let start = bytes.trim_ascii_start();
    let common = start.len().min(version.len());
    start[..common] == version[..common]
}
