//! What the API answers.

use super::{Bench, end, row};
use crate::api::openapi;
use crate::tables::TablesError;
use axum::http::StatusCode;
use chrono::Utc;
use edgescope_model::signal::{Side, TCP_BYTES, TCP_CONNECTS, TCP_RETRANS, TCP_SEGMENTS};
use edgescope_model::wire::{Endpoint, HelloRequest};
use serde_json::json;

/// 100 windows of frontend → cart, with the node's loopback and own traffic beside it.
fn bench_with_edges() -> Bench {
    let bench = Bench::open();
    let now = Utc::now().timestamp() / 10 * 10;
    let mut marked = [end("frontend", "n1", "a"), end("agent", "n1", "a")];
    (marked[0].resolution_type, marked[1].resolution_type) = ("loopback".into(), "own".into());
    for window in 1..=6 {
        let at = now - window * 10;
        let values =
            [(TCP_BYTES, Side::Merged, 1_000), (TCP_SEGMENTS, Side::Sent, 100), (TCP_RETRANS, Side::Merged, 2), (TCP_CONNECTS, Side::Merged, 5)];
        let mut held = bench.tables.held();
        held.rows.push(row(at, end("frontend", "n1", "a"), end("cart", "n2", "b"), &values));
        held.rows.push(row(at, end("cart", "n2", "b"), end("frontend", "n1", "a"), &[(TCP_BYTES, Side::Merged, 50)]));
        for own in &marked {
            held.rows.push(row(at, own.clone(), own.clone(), &[(TCP_BYTES, Side::Merged, 7)]));
        }
    }
    bench
}

#[tokio::test]
async fn edges_by_get_and_by_post_are_the_same() {
    let bench = bench_with_edges();
    let (status, got) =
        bench.get("/api/v1/edges?from=-5m&group_by=source.workload,dest.workload&measures=tcp.bytes,tcp.retrans_rate&sort=-tcp.bytes").await;
    assert_eq!(status, StatusCode::OK, "{got}");
    assert_eq!(got["groups_total"], 2);
    assert_eq!(got["rows"][0]["key"], json!(["frontend", "cart"]));
    assert_eq!(got["rows"][0]["totals"], json!([6_000.0, 0.02]));
    assert_eq!(got["rows"][1]["totals"], json!([300.0, null]), "what was not measured is null, not zero");
    assert_eq!((got["coverage"]["fraction"].as_f64(), got["own_hidden"].as_bool()), (Some(1.0), Some(true)));
    let query = json!({"from": got["from"], "to": got["to"], "group_by": ["source.workload", "dest.workload"], "measures": ["tcp.bytes", "tcp.retrans_rate"], "sort": "-tcp.bytes"});
    let (status, _, body) = bench.send("POST", "/api/v1/edges", &[], Some(query)).await;
    let posted: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((status, &posted["rows"]), (StatusCode::OK, &got["rows"]));
}

#[tokio::test]
async fn own_traffic_and_loopback_are_shown_when_asked_for() {
    let bench = bench_with_edges();
    let (_, all) = bench.get("/api/v1/edges?from=-5m&group_by=&measures=tcp.bytes&include_own=true").await;
    assert_eq!(all["rows"][0]["totals"][0], 6.0 * (1_000.0 + 50.0 + 14.0));
    let (_, shown) = bench.get("/api/v1/edges?from=-5m&group_by=&measures=tcp.bytes").await;
    assert_eq!(shown["rows"][0]["totals"][0], 6.0 * 1_050.0);
    let (_, filtered) = bench.get("/api/v1/edges?from=-5m&measures=tcp.bytes&filter=dest.workload%20%3D%20%27cart%27").await;
    assert_eq!(filtered["groups_total"], 1);
}

#[tokio::test]
async fn series_come_by_step() {
    let bench = bench_with_edges();
    let (_, got) = bench.get("/api/v1/edges?from=-2m&measures=tcp.bytes&step=10s&sort=-tcp.bytes").await;
    let series = got["rows"][0]["series"][0].as_array().unwrap();
    assert_eq!(series.len(), got["steps"].as_array().unwrap().len());
    assert_eq!(series.iter().filter_map(|v| v.as_f64()).sum::<f64>(), 6_000.0);
}

#[tokio::test]
async fn errors_name_the_field() {
    let bench = Bench::open();
    for (query, field) in [
        ("from=yesterday", "from"),
        ("from=now&to=-1m", "to"),
        ("group_by=colour", "group_by"),
        ("measures=tcp.nothing", "measures"),
        ("measures=tcp.bytes,tcp.bytes", "measures"),
        ("group_by=port,role,port", "group_by"),
        ("sort=colour", "sort"),
        ("step=fast", "step"),
        ("step=0s", "step"),
        ("compare=x", "compare"),
        ("limit=100000000", "limit"),
        ("filter=colour%20%3D%201", "filter"),
    ] {
        let (status, body) = bench.get(&format!("/api/v1/edges?{query}")).await;
        assert_eq!((status, body["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)), "{query}: {body}");
        assert!(!body["error"].as_str().unwrap().is_empty());
    }
    for (query, field) in [("fro=-1m", "fro"), ("limit=many", "limit")] {
        let (status, body) = bench.get(&format!("/api/v1/edges?{query}")).await;
        assert_eq!((status, body["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)), "{query}: {body}");
    }
    let range = json!({"from": "2026-01-01T00:00:00Z", "to": "2026-01-01T01:00:00Z", "measures": ["tcp.bytes"]});
    for (name, value, expected) in [
        ("from", json!(1), StatusCode::UNPROCESSABLE_ENTITY),
        ("mesures", json!([]), StatusCode::UNPROCESSABLE_ENTITY),
        ("compare_to", json!("2025-01-01T00:00:00Z"), StatusCode::BAD_REQUEST),
    ] {
        let mut query = range.clone();
        query[name] = value;
        let (status, _, body) = bench.send("POST", "/api/v1/edges", &[], Some(query)).await;
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let field = if name == "compare_to" { "compare_from" } else { name };
        assert_eq!((status, body["field"].as_str()), (expected, Some(field)), "{name}: {body}");
    }
    let (status, _, _) = bench.send("POST", "/api/v1/sql", &[], Some(json!({"sql": "x".repeat(300_000)}))).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, body) = bench.get("/api/v1/diagnose?from=-40d").await;
    assert_eq!((status, body["field"].as_str()), (StatusCode::BAD_REQUEST, Some("from")));
    assert_eq!(bench.get("/api/v1/alerts/x").await.0, StatusCode::NOT_FOUND);
    assert_eq!(bench.get("/api/v1/incidents/x").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_map_and_the_workloads_fold_to_names() {
    let bench = bench_with_edges();
    let (status, map) = bench.get("/api/v1/map?from=-5m").await;
    assert_eq!(status, StatusCode::OK, "{map}");
    assert_eq!(map["edges"].as_array().unwrap().len(), 2);
    assert_eq!(
        (map["edges"][0]["source"].as_str(), map["edges"][0]["bytes"].as_f64(), map["edges"][0]["health"].as_str()),
        (Some("frontend"), Some(6_000.0), Some("ok"))
    );
    assert_eq!(map["edges"][1]["health"], "unknown", "bytes alone tell nothing of health");
    assert_eq!(map["nodes"][0]["id"], "cart");
    assert_eq!(map["nodes"][0]["zones"], json!(["b"]));
    let (_, list) = bench.get("/api/v1/workloads?from=-5m").await;
    assert_eq!(list["workloads"][0]["workload"], "frontend");
    assert_eq!((list["workloads_total"].as_u64(), list["pairs_left_out"].as_u64()), (Some(2), Some(0)));
    let (_, cut) = bench.get("/api/v1/workloads?from=-5m&limit=1").await;
    assert_eq!((cut["workloads"].as_array().unwrap().len(), cut["workloads_total"].as_u64()), (1, Some(2)), "what is cut is told");
    assert_eq!(
        (
            list["workloads"][0]["outbound"]["bytes"].as_f64(),
            list["workloads"][0]["inbound"]["bytes"].as_f64(),
            list["workloads"][0]["peers"].as_u64()
        ),
        (Some(6_000.0), Some(300.0), Some(1))
    );
}

#[tokio::test]
async fn readiness_follows_the_store() {
    let bench = Bench::open();
    assert_eq!(bench.get("/readyz").await.0, StatusCode::OK);
    bench.tables.held().failure = Some(TablesError::Write("no space left".into()));
    let (status, body) = bench.get("/readyz").await;
    assert_eq!((status, body["error"].as_str()), (StatusCode::SERVICE_UNAVAILABLE, Some("the store cannot write: no space left")));
    assert_eq!(bench.get("/livez").await.0, StatusCode::OK);
    assert_eq!(bench.get("/api/v1/status").await.1["store_error"], "the store cannot write: no space left");
}

#[tokio::test]
async fn metrics_are_text_with_the_stores_own() {
    let bench = bench_with_edges();
    bench.get("/api/v1/edges").await;
    let (status, _, body) = bench.send("GET", "/metrics", &[], None).await;
    let text = String::from_utf8(body).unwrap();
    assert_eq!(status, StatusCode::OK);
    assert!(text.contains("edgescope_server_requests_total{route=\"/api/v1/edges\",status=\"200\"} 1"), "{text}");
    assert!(text.contains("store_rows 24"), "{text}");
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn agents_cannot_name_more_reasons_than_fit() {
    let bench = Bench::open();
    (0..1_000).for_each(|n| bench.state.metrics.loss(&format!("reason-{n}"), 1));
    let text = bench.state.metrics.encode().unwrap();
    assert_eq!(text.lines().filter(|l| l.starts_with("edgescope_server_agent_losses_total")).count(), 201);
    assert!(text.contains("agent_losses_total{reason=\"other\"} 800"));
}

#[tokio::test]
async fn too_many_queries_are_told_to_come_again() {
    let bench = bench_with_edges();
    let all = bench.state.turns.acquire_many(8).await.unwrap();
    let (status, headers, _) = bench.send("GET", "/api/v1/edges", &[], None).await;
    assert_eq!((status, headers.contains_key("retry-after")), (StatusCode::TOO_MANY_REQUESTS, true));
    drop(all);
    assert_eq!(bench.get("/api/v1/edges").await.0, StatusCode::OK);
}

#[tokio::test]
async fn the_interface_is_served_for_every_view() {
    let bench = Bench::open();
    let (status, headers, page) = bench.send("GET", "/", &[], None).await;
    assert_eq!((status, headers["content-type"].to_str().unwrap()), (StatusCode::OK, "text/html; charset=utf-8"));
    let etag = headers["etag"].to_str().unwrap().to_owned();
    for view in ["/edges?from=-15m", "/edges/frontend/cart.v1", "/map"] {
        assert_eq!(bench.send("GET", view, &[], None).await.2, page, "{view}");
    }
    assert_eq!(bench.send("GET", "/", &[("if-none-match", &etag)], None).await.0, StatusCode::NOT_MODIFIED);
    assert_eq!(bench.send("GET", "/assets/missing.js", &[], None).await.0, StatusCode::NOT_FOUND);
    assert_eq!(bench.send("GET", "/assets/../../../etc/passwd", &[], None).await.2.windows(5).filter(|w| w == b"root:").count(), 0);
}

/// The committed description is what the code says; `UPDATE=1` rewrites it.
#[test]
fn contract_openapi() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../openapi/server.json");
    let now = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
    if std::env::var_os("UPDATE").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &now).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == now, "openapi/server.json is not what the code says: run make contracts");
}

#[tokio::test]
async fn a_name_is_explained() {
    let bench = bench_with_edges();
    let owner = edgescope_identity::owner_of(&end("cart", "n1", "a"));
    let endpoint = Endpoint { address: vec![10, 0, 0, 5], ..Endpoint::default() };
    let hello = HelloRequest { agent_id: "n1".into(), owners: vec![owner], endpoints: vec![endpoint], ..HelloRequest::default() };
    bench.state.intake.names.list(&hello, Utc::now().timestamp_micros());
    let (status, why) = bench.get("/api/v1/why?address=10.0.0.5:443").await;
    assert_eq!(status, StatusCode::OK, "{why}");
    assert_eq!((&why["name"]["workload"], &why["owned"], &why["port"]), (&json!("cart"), &json!(true), &json!(443)), "{why}");
    assert_eq!(
        (why["reason"].as_str(), &why["claims"][0]["agent"]),
        (Some("agent n1 holds the address: a static rule of its own names it"), &json!("n1"))
    );
    for (query, field) in [("address=cart", "address"), ("address=10.0.0.5&at=soon", "at"), ("", "address")] {
        let (status, body) = bench.get(&format!("/api/v1/why?{query}")).await;
        assert_eq!((status, body["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)), "{body}");
    }
}

#[tokio::test]
async fn what_was_asked_of_dns_is_told_and_wrong_parameters_are_named() {
    let bench = bench_with_edges();
    let (status, asked) = bench.get("/api/v1/dns/names").await;
    assert_eq!((status, &asked["names"], &asked["names_total"]), (StatusCode::OK, &json!([]), &json!(0)), "{asked}");
    for (query, field) in [("limit=0", "limit"), ("limit=1001", "limit"), ("from=soon", "from")] {
        let (status, body) = bench.get(&format!("/api/v1/dns/names?{query}")).await;
        assert_eq!((status, body["field"].as_str()), (StatusCode::BAD_REQUEST, Some(field)), "{body}");
    }
}
