//! Who may call which route. Deny by default: a route that is not in [`ROUTES`] is refused to all.

use crate::api::error::ApiError;
use crate::auth::{Caller, Role, Tokens, bearer};
use crate::metrics::Metrics;
use crate::seldom::Seldom;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

/// What a route needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    Public,
    Needs(Role),
}

use Access::{Needs, Public};

/// Every route with the least role that may call it.
pub const ROUTES: &[(&str, &str, Access)] = &[
    ("GET", "/livez", Public),
    ("GET", "/readyz", Public),
    ("GET", "/metrics", Needs(Role::Viewer)),
    ("GET", "/metrics/edges", Needs(Role::Viewer)),
    ("GET", "/api/v1/openapi.json", Public),
    ("GET", "/api/v1/edges", Needs(Role::Viewer)),
    // Asks, and changes nothing: a POST since queries may be long.
    ("POST", "/api/v1/edges", Needs(Role::Viewer)),
    ("GET", "/api/v1/catalogue", Needs(Role::Viewer)),
    ("GET", "/api/v1/workloads", Needs(Role::Viewer)),
    ("GET", "/api/v1/map", Needs(Role::Viewer)),
    ("GET", "/api/v1/alerts", Needs(Role::Viewer)),
    ("GET", "/api/v1/alerts/{id}", Needs(Role::Viewer)),
    ("GET", "/api/v1/incidents", Needs(Role::Viewer)),
    ("GET", "/api/v1/incidents/{id}", Needs(Role::Viewer)),
    ("GET", "/api/v1/diagnose", Needs(Role::Viewer)),
    ("GET", "/api/v1/why", Needs(Role::Viewer)),
    ("GET", "/api/v1/dns/names", Needs(Role::Viewer)),
    ("GET", "/api/v1/status", Needs(Role::Viewer)),
    ("GET", "/api/v1/agents", Needs(Role::Viewer)),
    ("GET", "/api/v1/coverage", Needs(Role::Viewer)),
    // SQL sees every table and column, and costs what its author likes within the limits.
    ("POST", "/api/v1/sql", Needs(Role::Editor)),
];

/// The doorkeeper of the UI and API.
#[derive(Debug)]
pub struct Gate {
    /// `None`: no tokens are configured.
    tokens: Option<RwLock<Tokens>>,
    /// Open to all on purpose, beyond loopback.
    insecure: bool,
    /// Host names accepted without tokens, beside loopback's.
    hosts: Vec<String>,
    metrics: Arc<Metrics>,
    /// Of refused agents.
    told: Seldom,
}

impl Gate {
    pub fn new(tokens: Option<Tokens>, insecure: bool, hosts: Vec<String>, metrics: Arc<Metrics>) -> Self {
        Self { tokens: tokens.map(RwLock::new), insecure, hosts, metrics, told: Seldom::default() }
    }

    /// Whether it is time for a word in the log on a refused agent.
    pub fn may_tell(&self) -> bool {
        self.told.may_speak(Instant::now())
    }

    /// Takes a newly read token file.
    pub fn replace_tokens(&self, tokens: Tokens) {
        if let Some(held) = &self.tokens {
            *held.write().unwrap_or_else(PoisonError::into_inner) = tokens;
        }
    }

    /// Whether callers must show a token.
    pub fn wants_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// Whose token the headers carry; the error says what is wrong.
    pub fn caller(&self, headers: &HeaderMap) -> Result<Caller, &'static str> {
        let Some(tokens) = &self.tokens else {
            return Ok(Caller { role: Role::Admin, name: String::new(), agent_ids: None });
        };
        let header = headers.get(AUTHORIZATION).and_then(|h| h.to_str().ok());
        let token = bearer(header).ok_or("no bearer token given")?;
        tokens.read().unwrap_or_else(PoisonError::into_inner).caller(token).ok_or("the bearer token is not known here")
    }

    /// Whose token lets an agent ship with these headers; for which agents it speaks is the intake's to ask. Without tokens every caller who reaches the
    /// intake may.
    pub fn admits_agent(&self, headers: &HeaderMap) -> Result<Caller, &'static str> {
        let caller = self.caller(headers)?;
        let may = self.tokens.is_none() || caller.role.may(Role::Agent);
        if may { Ok(caller) } else { Err("the bearer token is not one of role agent") }
    }

    /// Counts a request that was refused.
    pub fn count_refused(&self, reason: &'static str) {
        self.metrics.refused(reason);
    }

    fn check(&self, request: &Request) -> Result<(), (&'static str, ApiError)> {
        let access = match request.extensions().get::<MatchedPath>() {
            // The UI's files, which hold no data.
            None => Public,
            Some(path) => {
                let method = if request.method() == Method::HEAD { "GET" } else { request.method().as_str() };
                let route = ROUTES.iter().find(|(m, p, _)| *m == method && *p == path.as_str());
                match route {
                    Some((_, _, access)) => *access,
                    None => {
                        return Err((
                            "route",
                            ApiError::new(StatusCode::METHOD_NOT_ALLOWED, format!("{} is not allowed on {}", request.method(), path.as_str())),
                        ));
                    }
                }
            }
        };
        self.check_host(request)?;
        self.check_origin(request)?;
        let Needs(role) = access else { return Ok(()) };
        match self.caller(request.headers()) {
            Err(said) => Err((
                "token",
                ApiError::new(StatusCode::UNAUTHORIZED, said)
                    .remedy("send a token in the header 'authorization: Bearer …'; `edgescope config token --role viewer` makes one"),
            )),
            Ok(caller) if caller.role.may(role) => Ok(()),
            Ok(caller) => Err(("role", ApiError::new(StatusCode::FORBIDDEN, format!("role {} may not do this: it needs {role}", caller.role)))),
        }
    }

    /// Without tokens, loopback is the only guard; a web page whose name is rebound to loopback gets around it, but cannot choose the host header.
    fn check_host(&self, request: &Request) -> Result<(), (&'static str, ApiError)> {
        if self.tokens.is_some() || self.insecure {
            return Ok(());
        }
        let host = host(request.headers(), request.uri()).unwrap_or_default();
        if is_loopback_name(host) || self.hosts.iter().any(|h| h.eq_ignore_ascii_case(host)) {
            return Ok(());
        }
        let error = ApiError::new(StatusCode::MISDIRECTED_REQUEST, format!("host '{host}' is not served without tokens"))
            .remedy("call it localhost, list the name in server.hosts, or configure tokens");
        Err(("host", error))
    }

    /// A browser names the page that a request comes from; other sites' pages may not change anything.
    fn check_origin(&self, request: &Request) -> Result<(), (&'static str, ApiError)> {
        if request.method().is_safe() {
            return Ok(());
        }
        let Some(origin) = request.headers().get(ORIGIN).and_then(|o| o.to_str().ok()) else { return Ok(()) };
        let authority = origin.split_once("://").map_or(origin, |(_, rest)| rest);
        let own = request.headers().get(HOST).and_then(|h| h.to_str().ok()).or_else(|| request.uri().authority().map(|a| a.as_str()));
        if own.is_some_and(|own| own.eq_ignore_ascii_case(authority)) {
            return Ok(());
        }
        Err(("origin", ApiError::new(StatusCode::FORBIDDEN, "a page of another origin may not send this request")))
    }
}

/// Middleware: lets a request pass or answers it.
pub async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match gate.check(&request) {
        Ok(()) => next.run(request).await,
        Err((reason, error)) => {
            gate.metrics.refused(reason);
            let unauthorized = error.status == StatusCode::UNAUTHORIZED;
            let mut response = error.into_response();
            if unauthorized {
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

/// The host asked for, without its port.
fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    let authority = headers.get(HOST).and_then(|h| h.to_str().ok()).or_else(|| uri.authority().map(|a| a.as_str()))?;
    if let Some(rest) = authority.strip_prefix('[') {
        return rest.split_once(']').map(|(ip, _)| ip);
    }
    Some(authority.rsplit_once(':').map_or(authority, |(name, _)| name))
}

fn is_loopback_name(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_read_without_port() {
        for (header, expected) in
            [("localhost:8100", "localhost"), ("127.0.0.1", "127.0.0.1"), ("[::1]:8100", "::1"), ("evil.example:80", "evil.example")]
        {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(header));
            assert_eq!(host(&headers, &Uri::from_static("/")), Some(expected));
        }
        assert!(is_loopback_name("LocalHost") && is_loopback_name("::1") && is_loopback_name("127.8.8.8"));
        assert!(!is_loopback_name("localhost.evil.example") && !is_loopback_name("0.0.0.0") && !is_loopback_name(""));
    }
}
