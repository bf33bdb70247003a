//! The web interface's files, embedded in the binary.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::api::error::ApiError;
use crate::auth::hex;

#[derive(RustEmbed)]
#[folder = "$EDGESCOPE_UI_DIST"]
struct Files;

/// Answers what no route does: a file; for a view's address the page itself, which reads the address; JSON for a wrong API path.
pub async fn file(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    if path.starts_with("api/") {
        return ApiError::new(StatusCode::NOT_FOUND, format!("no such API path: /{path}")).remedy("/api/v1/openapi.json lists all").into_response();
    }
    if method != Method::GET && method != Method::HEAD {
        return ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{method} is not allowed here")).into_response();
    }
    match Files::get(path) {
        Some(file) => answer(path, &file, &headers),
        // A missing asset must not answer with the page: a browser would try to run it.
        None if path.rsplit('/').next().is_some_and(|name| name.contains('.')) && path.starts_with("assets/") => {
            StatusCode::NOT_FOUND.into_response()
        }
        None => match Files::get("index.html") {
            Some(page) => answer("index.html", &page, &headers),
            None => ApiError::new(StatusCode::NOT_FOUND, "this binary has no web interface").into_response(),
        },
    }
}

fn answer(path: &str, file: &EmbeddedFile, headers: &HeaderMap) -> Response {
    let etag = format!("\"{}\"", hex(&file.metadata.sha256_hash()[..16]));
    // Vite puts a hash of the content into the names below assets/.
    let caching = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let status = if headers
        .get(IF_NONE_MATCH)
        .and_then(|h| h.to_str().ok())
        .is_some_and(|tags| tags.split(',').any(|t| t.trim().trim_start_matches("W/") == etag))
    {
        StatusCode::NOT_MODIFIED
    } else {
        StatusCode::OK
    };
    let body = if status == StatusCode::OK { Body::from(file.data.to_vec()) } else { Body::empty() };
    (status, [(CONTENT_TYPE, content_type(path)), (CACHE_CONTROL, caching), (ETAG, &etag)], body).into_response()
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        "webmanifest" => "application/manifest+json",
        _ => "application/octet-stream",
    }
}
