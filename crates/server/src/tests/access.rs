//! Who may do what.

use super::Bench;
use crate::access::{Access, ROUTES};
use crate::api::openapi;
use crate::auth::Role;
use axum::http::StatusCode;
use std::collections::BTreeSet;

/// A request that every route understands well enough to be let in or not.
fn concrete(path: &str) -> String {
    path.replace("{id}", "x")
}

#[tokio::test]
async fn every_route_lets_in_exactly_its_roles() {
    let bench = Bench::guarded();
    for (method, path, access) in ROUTES {
        for held in [None, Some("wrong".to_owned())].into_iter().chain(Role::ALL.iter().map(|r| Some(bench.secrets[r].clone()))) {
            let role = Role::ALL.into_iter().find(|r| held.as_ref() == Some(&bench.secrets[r]));
            let header = held.map(|t| format!("Bearer {t}"));
            let headers: Vec<(&str, &str)> = header.iter().map(|h| ("authorization", h.as_str())).collect();
            let (status, _, _) = bench.send(method, &concrete(path), &headers, None).await;
            let refused = status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN;
            let expected = match access {
                Access::Public => false,
                Access::Needs(wanted) => !role.is_some_and(|r| r.may(*wanted)),
            };
            assert_eq!(refused, expected, "{method} {path} as {role:?} answered {status}");
            if expected {
                assert_eq!(status == StatusCode::UNAUTHORIZED, role.is_none(), "{method} {path} as {role:?}");
            }
        }
    }
}

#[test]
fn every_documented_route_names_its_role() {
    let doc = serde_json::to_value(openapi()).unwrap();
    let documented: BTreeSet<(String, String)> = doc["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |m| (m.to_uppercase(), path.clone())))
        .collect();
    let listed: BTreeSet<(String, String)> = ROUTES
        .iter()
        .filter(|(_, p, _)| p.starts_with("/api/") && !p.ends_with("openapi.json"))
        .map(|(m, p, _)| ((*m).to_owned(), (*p).to_owned()))
        .collect();
    assert_eq!(documented, listed);
}

#[test]
fn the_description_says_what_each_route_asks() {
    let doc = serde_json::to_value(openapi()).unwrap();
    assert_eq!(doc["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    for (method, path, access) in ROUTES.iter().filter(|(_, path, _)| doc["paths"].get(path).is_some()) {
        let operation = &doc["paths"][path][method.to_lowercase()];
        let Access::Needs(role) = access else { continue };
        assert_eq!(operation["security"][0]["token"][0], role.as_str(), "{method} {path}");
        assert!(operation["responses"].get("401").is_some() && operation["responses"].get("403").is_some(), "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_not_listed_is_refused() {
    let bench = Bench::open();
    for (method, path) in [("DELETE", "/api/v1/edges"), ("POST", "/api/v1/status"), ("PUT", "/metrics"), ("TRACE", "/livez")] {
        let (status, _, _) = bench.send(method, path, &[], None).await;
        assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
    }
    let (status, body) = bench.get("/api/v1/nothing").await;
    assert_eq!((status, body["error"].as_str()), (StatusCode::NOT_FOUND, Some("no such API path: /api/v1/nothing")));
    let (status, _, _) = bench.send("POST", "/", &[], None).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn without_tokens_only_local_names_are_served() {
    let bench = Bench::open();
    for (host, expected) in
        [("localhost:8100", 200), ("127.0.0.1:8100", 200), ("[::1]:8100", 200), ("evil.example:8100", 421), ("localhost.evil.example", 421)]
    {
        for path in ["/api/v1/status", "/"] {
            let (status, _, _) = bench.send("GET", path, &[("host", host)], None).await;
            assert_eq!(status.as_u16(), expected, "{host} {path}");
        }
    }
    let guarded = Bench::guarded();
    let viewer = format!("Bearer {}", guarded.secrets[&Role::Viewer]);
    let (status, _, _) = guarded.send("GET", "/api/v1/status", &[("host", "edgescope.example"), ("authorization", &viewer)], None).await;
    assert_eq!(status, StatusCode::OK, "with tokens the name does not matter");
}

#[tokio::test]
async fn pages_of_other_origins_cannot_post() {
    let bench = Bench::open();
    let body = serde_json::json!({"sql": "SELECT 1"});
    for (origin, refused) in [("http://evil.example", true), ("http://localhost:9999", true), ("null", true), ("http://localhost:8100", false)] {
        let (status, _, _) = bench.send("POST", "/api/v1/sql", &[("origin", origin)], Some(body.clone())).await;
        assert_eq!(status == StatusCode::FORBIDDEN, refused, "{origin}");
    }
}

#[tokio::test]
async fn every_answer_carries_the_guards_of_browsers() {
    let bench = Bench::guarded();
    for path in ["/", "/map", "/api/v1/status", "/api/v1/nothing", "/livez", "/metrics"] {
        let (_, headers, _) = bench.send("GET", path, &[], None).await;
        let csp = headers["content-security-policy"].to_str().unwrap();
        assert!(csp.contains("script-src 'self';") && csp.contains("frame-ancestors 'none'") && csp.contains("default-src 'none'"), "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
        assert_eq!(headers["x-frame-options"], "DENY", "{path}");
    }
}
