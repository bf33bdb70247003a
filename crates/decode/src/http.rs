//! What HTTP says in any of its versions: methods, paths, hosts; and how little of them is kept.

use crate::text;

/// The methods that are told apart; any other is [`OTHER`]. The list and the word are OpenTelemetry's (`http.request.method`).
pub const METHODS: [&str; 10] = ["CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"];
pub const OTHER: &str = "_OTHER";

/// A path's template is no longer than this, whatever was asked for.
pub const PATH_BYTES_MAX: usize = 128;
/// Segments of a path that are kept. gRPC has two, REST about twice the depth of its resources.
pub const SEGMENTS_MAX: usize = 8;

/// A longer word of a path is taken for a token, unless it has few capitals (`RecommendationService`); then up to twice that.
const WORD_BYTES_MAX: usize = 20;
/// Names of gRPC services, with their packages.
const SEGMENT_BYTES_MAX: usize = 80;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    Client,
    Server,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Counted from 0 in this connection.
    pub number: u64,
    pub at_ns: u64,
    /// One of [`METHODS`] or [`OTHER`].
    pub method: &'static str,
    /// See [`path_template`].
    pub path: String,
    /// Of the target, else of the `Host` field; none if it is missing or no host.
    pub host: Option<String>,
    /// By its content type; of HTTP/2 alone.
    pub is_grpc: bool,
}

/// A final response: interim ones (1xx but 101) are no answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    pub at_ns: u64,
    pub status: u16,
    /// The request that it answers, where that was seen.
    pub answers: Option<Asked>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub number: u64,
    pub at_ns: u64,
}

/// What is spoken on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Unsure,
    Http1,
    Http2,
    /// Something else, from the start or since an upgrade: nothing more will be found.
    Other,
}

pub(crate) fn method(name: &[u8]) -> &'static str {
    METHODS.into_iter().find(|it| it.as_bytes() == name).unwrap_or(OTHER)
}

/// What a request's target asks for, without what is one customer's: `/cart/7d0c…/items?coupon=X` becomes `/cart/{}/items`.
///
/// Query, fragment and parameters (`;…`) are dropped. A segment is kept if it reads like a word that a programmer wrote; numbers, UUIDs, hexadecimal,
/// long tokens and whatever has other signs than letters, digits and `.-_~` become `{}`. What lies deeper than [`SEGMENTS_MAX`] or goes beyond
/// [`PATH_BYTES_MAX`] becomes `*`. Takes the path of an absolute target (`http://host/path`); a CONNECT's target has none.
pub fn path_template(target: &str) -> String {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => rest.find('/').map_or("/", |start| &rest[start..]),
        _ => target,
    };
    let path = &path[..path.find(['?', '#']).unwrap_or(path.len())];
    let Some(path) = path.strip_prefix('/') else {
        return if path == "*" { "*".to_owned() } else { String::new() };
    };
    let mut template = String::with_capacity(path.len().min(PATH_BYTES_MAX));
    for (nth, segment) in path.split('/').enumerate() {
        let segment = segment.split(';').next().unwrap_or_default();
        let kept = if is_literal(segment) { segment } else { "{}" };
        if nth == SEGMENTS_MAX || template.len() + kept.len() + "//*".len() > PATH_BYTES_MAX {
            template.push_str("/*");
            break;
        }
        template.push('/');
        template.push_str(kept);
    }
    template
}

/// The template of a target whose end was not captured: its last segment may be the start of anything.
pub(crate) fn path_template_cut(target: &str) -> String {
    if target.contains(['?', '#']) {
        return path_template(target);
    }
    let mut template = path_template(target);
    let whole = template.rfind('/').unwrap_or(0);
    template.truncate(whole);
    template.push_str("/*");
    template
}

fn is_literal(segment: &str) -> bool {
    segment.len() <= SEGMENT_BYTES_MAX && (is_version(segment) || segment.split(['.', '-', '_', '~']).all(is_word))
}

/// `v2.1`
fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|numbers| numbers.split('.').all(is_small_number))
}

fn is_small_number(text: &str) -> bool {
    matches!(text.len(), 1 | 2) && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Letters, then perhaps one or two digits (`v1`, `GetItemsV2`), or a short word around a number (`k8s`, `v1beta1`); not hexadecimal.
fn is_word(word: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphabetic();
    if word.is_empty() {
        return true;
    }
    let count = |is: fn(&u8) -> bool| word.bytes().filter(is).count();
    let (digits, capitals) = (count(u8::is_ascii_digit), count(u8::is_ascii_uppercase));
    let short = word.len() <= WORD_BYTES_MAX || (word.len() <= 2 * WORD_BYTES_MAX && capitals * 4 <= word.len());
    let plain = digits + count(u8::is_ascii_alphabetic) == word.len() && word.starts_with(|first: char| first.is_ascii_alphabetic());
    let hexadecimal = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let trailing = word.trim_end_matches(|last: char| last.is_ascii_digit()).bytes().all(letter);
    let early =
        ["alpha", "beta"].iter().any(|stage| word.split_once(stage).is_some_and(|(version, number)| is_version(version) && is_small_number(number)));
    short && plain && !hexadecimal && digits <= 2 && (trailing || early || word.len() <= 4)
}

/// The host of a `Host` or `:authority` field, or of an absolute target: lower case, without credentials, port and final dot. None if it is not
/// made of what names and addresses are made of.
pub fn host(authority: &[u8]) -> Option<String> {
    let after_credentials = authority.iter().rposition(|byte| *byte == b'@').map_or(authority, |at| &authority[at + 1..]);
    let authority = std::str::from_utf8(after_credentials).ok()?.trim();
    let bare = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    text::host(bare.as_bytes())
}

/// The authority of an absolute target, or a CONNECT's target.
pub(crate) fn target_authority(method: &str, target: &str) -> Option<String> {
    if method == "CONNECT" {
        return host(target.as_bytes());
    }
    let (_, rest) = target.split_once("://").filter(|_| !target.starts_with('/'))?;
    host(rest.split(['/', '?', '#']).next()?.as_bytes())
}
