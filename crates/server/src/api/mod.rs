//! The HTTP API, its description, and what surrounds every answer: limits, headers, the doorkeeper.

pub mod alerts;
pub mod catalogue;
pub mod diagnose;
pub mod edges;
pub mod error;
pub mod health;
pub mod map;
pub mod questions;
pub mod range;
pub mod sql;
pub mod status;
pub mod why;

use crate::access::{Access, ROUTES, guard};
use crate::export::scrape;
use crate::serve::Ends;
use crate::state::AppState;
use crate::ui;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use error::ApiError;
use std::sync::Arc;
use std::time::Instant;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::CompressionLayer;
use tower_http::set_header::SetResponseHeaderLayer;
use utoipa::OpenApi;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Largest body of a request: a query with a long filter is a few kilobytes.
const BODY_BYTES_MAX: usize = 256 << 10;

/// Only our own scripts run and nothing frames us. Inline styles are what the component library writes; they cannot run anything.
const CSP: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self' data:; connect-src 'self'; \
                   manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

#[derive(OpenApi)]
#[openapi(
    info(title = "Edgescope", description = "Network edges, alerts, incidents and the verdict: is it the network?", license(name = "Apache-2.0", identifier = "Apache-2.0")),
    tags((name = "edges", description = "What flows between whom"), (name = "alerts", description = "What is wrong"), (name = "status", description = "How Edgescope itself is"))
)]
struct Doc;

fn routes() -> OpenApiRouter<Arc<AppState>> {
    OpenApiRouter::new()
        .routes(routes!(edges::get, edges::post))
        .routes(routes!(catalogue::get))
        .routes(routes!(map::map))
        .routes(routes!(map::workloads))
        .routes(routes!(alerts::alerts))
        .routes(routes!(alerts::alert))
        .routes(routes!(alerts::incidents))
        .routes(routes!(alerts::incident))
        .routes(routes!(diagnose::get))
        .routes(routes!(why::get))
        .routes(routes!(questions::get))
        .routes(routes!(status::status))
        .routes(routes!(status::agents))
        .routes(routes!(status::coverage))
        .routes(routes!(sql::post))
}

fn documented() -> (Router<Arc<AppState>>, utoipa::openapi::OpenApi) {
    let (router, mut description) = OpenApiRouter::with_openapi(Doc::openapi()).nest("/api/v1", routes()).split_for_parts();
    describe_access(&mut description);
    (router, description)
}

/// Says of each route what [`ROUTES`] asks of its callers.
fn describe_access(description: &mut utoipa::openapi::OpenApi) {
    const SCHEME: &str = "token";
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some("asked for where server.tokens_file is set")).build();
    description.components.get_or_insert_default().add_security_scheme(SCHEME, SecurityScheme::Http(bearer));
    for (method, path, access) in ROUTES {
        let (Access::Needs(role), Some(item)) = (access, description.paths.paths.get_mut(*path)) else { continue };
        let operation = match *method {
            "GET" => item.get.as_mut(),
            "POST" => item.post.as_mut(),
            _ => None,
        };
        let Some(operation) = operation else { continue };
        // The empty one: a server without tokens asks for none.
        operation.security = Some(vec![SecurityRequirement::new(SCHEME, [role.as_str()]), SecurityRequirement::default()]);
        for (status, said) in
            [("401", "no token, or one that is not known".to_owned()), ("403", format!("the token's role may not: it needs {role}"))]
        {
            let body = ContentBuilder::new().schema(Some(Ref::from_schema_name("ErrorBody"))).build();
            let response = ResponseBuilder::new().description(said).content("application/json", body).build();
            operation.responses.responses.insert(status.to_owned(), response.into());
        }
    }
}

/// The description of the API, as committed in `openapi/server.json`.
pub fn openapi() -> utoipa::openapi::OpenApi {
    documented().1
}

/// Everything that is served over HTTP.
pub fn router(state: Arc<AppState>) -> Router {
    let (api, description) = documented();
    let description = Arc::new(description);
    let header = |name: HeaderName, value: &'static str| SetResponseHeaderLayer::if_not_present(name, HeaderValue::from_static(value));
    let gate = Arc::clone(&state.gate);
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/metrics/edges", get(scrape::get))
        .route("/api/v1/openapi.json", get(move || async move { Json((*description).clone()) }))
        .merge(api)
        .method_not_allowed_fallback(|| async { ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this method is not allowed here") })
        .fallback(ui::file)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(gate, guard))
        .layer(from_fn_with_state(Arc::clone(&state), measured))
        .layer(CatchPanicLayer::custom(|_| {
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed at this request; its log says more").into_response()
        }))
        .layer(CompressionLayer::new())
        .layer(header(header::CONTENT_SECURITY_POLICY, CSP))
        .layer(header(header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .layer(header(header::X_FRAME_OPTIONS, "DENY"))
        .layer(header(header::REFERRER_POLICY, "no-referrer"))
        .layer(header(HeaderName::from_static("cross-origin-opener-policy"), "same-origin"))
        .layer(header(HeaderName::from_static("cross-origin-resource-policy"), "same-origin"))
        .layer(header(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"))
        .layer(header(header::CACHE_CONTROL, "no-store"))
        .with_state(state)
}

/// Bounds the time of a request, and counts it under its route's pattern.
async fn measured(State(state): State<Arc<AppState>>, request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or_else(|| "ui".to_owned(), |p| p.as_str().to_owned());
    if let Some(ends) = request.extensions().get::<Ends>() {
        state.intake.own.saw(ends.local);
    }
    let started = Instant::now();
    let response = match tokio::time::timeout(state.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => ApiError::new(StatusCode::GATEWAY_TIMEOUT, format!("the request took longer than {} s", state.request_timeout.as_secs()))
            .remedy("ask for a shorter range, or raise server.request_timeout_s")
            .into_response(),
    };
    state.metrics.request(&route, response.status().as_u16(), started.elapsed());
    response
}
