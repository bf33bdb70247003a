//! The interface in a real browser, on real packets: a zone loses packets, an alert fires, its link shows the incident; what stands
//! on the page is what the API says, and what the API says is what the services wrote.

use chrono::{DateTime, Utc};
use edgescope_tests::demo::Demo;
use edgescope_tests::program::finish;
use edgescope_tests::shop::{Shop, Written};
use edgescope_tests::{Api, Edge, Question, Scene, scene, until};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

const OPEN: Duration = Duration::from_secs(60);
const TOLD: Duration = Duration::from_secs(240);
const LOOK: Duration = Duration::from_secs(120);
const CULPRIT: &str = "us-east-1b";
/// Columns of the table, by what stands over them.
const COLUMNS: [(&str, &str); 4] =
    [("Bytes", "tcp.bytes"), ("RTT p95", "tcp.rtt.p95"), ("Retransmitted", "tcp.retrans_rate"), ("Connects failed", "tcp.connect_failure_rate")];
/// The four that show an incident, and the measure of each.
const CHARTS: [(&str, &str); 4] = [
    ("TCP traffic (bytes)", "tcp.bytes"),
    ("Max round trip time", "tcp.rtt_max"),
    ("# TCP connection timeouts", "tcp.connect_timeouts"),
    ("# Retransmissions", "tcp.retrans"),
];

/// What stands on a page.
fn look(scene: &Scene, url: &str, path: &str, alert: &str) -> Value {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/browser/look.mjs");
    let screenshot = scene.path("page.png");
    let mut command = Command::new("node");
    command.args([script, url, path, alert]).arg(&screenshot);
    let output = finish(command, LOOK);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the page could not be looked at (`scripts/ui build` installs what that needs): {said}");
    // For the eyes of whoever wants them.
    if let Some(keep) = std::env::var_os("EDGESCOPE_SHOTS") {
        std::fs::copy(&screenshot, keep).expect("the screenshot can be kept");
    }
    let seen: Value = serde_json::from_slice(&output.stdout).expect("the script prints JSON");
    assert_eq!(seen["wrong"], serde_json::json!([]), "errors on the page");
    seen
}

fn parameter(address: &str, name: &str) -> Option<String> {
    let query = address.split_once('?')?.1;
    let raw = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")))?;
    let bytes = raw.replace('+', " ").into_bytes();
    let mut decoded = Vec::new();
    let mut rest = bytes.as_slice();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|h| u8::from_str_radix(std::str::from_utf8(h).ok()?, 16).ok());
        match (byte, hex) {
            (b'%', Some(hex)) => {
                decoded.push(hex);
                rest = &after[2..];
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(decoded).ok()
}

fn moment(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_else(|e| panic!("{text} is no moment: {e}"))
}

/// The question that a page of edges with this address asks.
fn question_of(address: &str) -> Question {
    let time = |name: &str| moment(&parameter(address, name).unwrap_or_else(|| panic!("no {name} in {address}")));
    Question {
        from: time("from"),
        to: time("to"),
        group_by: "source.workload,dest.workload".to_owned(),
        measures: COLUMNS.iter().map(|(_, measure)| (*measure).to_owned()).collect(),
        filter: parameter(address, "filter"),
        include_own: false,
    }
}

/// Every number of the table is the API's, and none is missing.
fn table_is_the_api_s(seen: &Value, api: &Api) -> Vec<Edge> {
    let question = question_of(seen["address"].as_str().expect("an address"));
    let edges = api.edges(&question).expect("an answer").rows;
    let rows = seen["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), edges.len(), "rows on the page and edges of the API");
    assert!(!rows.is_empty(), "a table without rows proves nothing");
    for row in rows {
        let name = |at: usize| row["names"][at].as_str().unwrap_or_default();
        let edge = edges.iter().find(|e| (e.dim("source.workload"), e.dim("dest.workload")) == (name(0), name(1)));
        let edge = edge.unwrap_or_else(|| panic!("the API has no edge {}", row["names"]));
        for (column, measure) in COLUMNS {
            let exact = row["cells"][column]["exact"].as_str().unwrap_or_else(|| panic!("no {column} in {row}"));
            let (page, api) = (number(exact), edge.measures.get(measure).copied());
            assert!(same(page, api), "{column} of {}: the page says {exact:?}, the API {api:?}", row["names"]);
        }
    }
    println!("{} rows, {} numbers: all as the API has them", rows.len(), rows.len() * COLUMNS.len());
    edges
}

/// `12,345 bytes`, `0.0123 s`, `no data`.
fn number(text: &str) -> Option<f64> {
    text.split_whitespace().next()?.replace(',', "").parse().ok()
}

/// Equal but for what the hover rounds: six digits.
fn same(page: Option<f64>, api: Option<f64>) -> bool {
    match (page, api) {
        (None, None) => true,
        (Some(page), Some(api)) => (page - api).abs() <= 1e-5 * api.abs() + 1e-6,
        _ => false,
    }
}

/// Every point of every chart is the API's; returns the charts' totals before and after `since`, by measure.
fn charts_are_the_api_s(seen: &Value, api: &Api, since: DateTime<Utc>) -> Vec<(&'static str, f64, f64)> {
    let question = question_of(seen["address"].as_str().expect("an address"));
    let charts = seen["charts"].as_array().expect("charts");
    let titles: Vec<&str> = charts.iter().filter_map(|c| c["title"].as_str()).collect();
    assert_eq!(titles, CHARTS.map(|(title, _)| title), "the four charts");
    let mut sums = Vec::new();
    for (chart, (title, measure)) in charts.iter().zip(CHARTS) {
        assert!(chart["ink"].as_u64().is_some_and(|ink| ink > 500), "{title} is empty: {}", chart["ink"]);
        let (names, points) = csv(chart["csv"].as_str().expect("a table"));
        assert!(points.len() >= 3, "{title} has {} points", points.len());
        let step_s = (points[1].0 - points[0].0).num_seconds();
        let asked = serde_json::json!({
            "from": question.from, "to": question.to, "step_s": step_s, "filter": question.filter,
            "group_by": ["source.workload", "dest.workload"], "measures": [measure],
        });
        let answer = api.post("/api/v1/edges", &asked).expect("an answer");
        let (mut before, mut after) = (0.0, 0.0);
        for (column, name) in names.iter().enumerate().filter(|(_, name)| *name != "other edges") {
            let row = answer["rows"].as_array().into_iter().flatten().find(|r| edge_name(&r["key"]) == *name);
            let row = row.unwrap_or_else(|| panic!("{title} draws {name:?}, which the API does not have"));
            for (at, (time, values)) in points.iter().enumerate() {
                assert_eq!(answer["steps"][at].as_str().map(moment), Some(*time), "{title}: moments of the points");
                let api = row["series"][0][at].as_f64();
                assert!(same(values[column], api), "{title}, {name} at {time}: the page draws {:?}, the API says {api:?}", values[column]);
                *(if *time < since { &mut before } else { &mut after }) += api.unwrap_or_default();
            }
        }
        println!("{title}: {} series of {} points as the API has them; {before} before, {after} since the incident", names.len(), points.len());
        sums.push((measure, before, after));
    }
    sums
}

/// As the interface writes a group of two workloads.
fn edge_name(key: &Value) -> String {
    format!("{} → {}", key[0].as_str().unwrap_or_default(), key[1].as_str().unwrap_or_default())
}

type Points = Vec<(DateTime<Utc>, Vec<Option<f64>>)>;

/// Names of the series, then a moment and its values a line.
fn csv(text: &str) -> (Vec<String>, Points) {
    let mut lines = text.lines();
    let names = lines.next().unwrap_or_default().split(',').skip(1).map(|n| n.trim_matches('"').to_owned()).collect();
    let point = |line: &str| {
        let mut fields = line.split(',');
        (moment(fields.next().unwrap_or_default()), fields.map(|f| f.parse().ok()).collect())
    };
    (names, lines.map(point).collect())
}

/// Each pair's bytes lie between what was written since the agents were at work and what was written in all.
fn as_written(edges: &[Edge], at_work: &Written, end: &Written) -> Result<(), String> {
    /// Bytes that were written to a connection which was then reset never arrived, and were not acknowledged: a fault that loses
    /// packets leaves some.
    const RESET: f64 = 0.01;
    let mut wrong = Vec::new();
    for ((source, dest), all) in end {
        let least = all - at_work.get(&(source.clone(), dest.clone())).copied().unwrap_or_default();
        let edge = edges.iter().find(|e| (e.dim("source.workload"), e.dim("dest.workload")) == (source, dest));
        let said = edge.and_then(|e| e.measures.get("tcp.bytes").copied()).unwrap_or_default();
        if said < least as f64 * (1.0 - RESET) || said > *all as f64 {
            wrong.push(format!("{source} > {dest}: {said} bytes, the services wrote {least} to {all}"));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("\n")) }
}

#[test]
fn an_alert_s_link_shows_the_incident_and_every_number_is_what_happened() {
    let scene = Scene::new("browser");
    let mut demo = Demo::start_with(&scene, scene::free_port(), &["--fault", &format!("loss:zone={CULPRIT}:clear"), "--calm", "60"]);
    let from = Utc::now();
    demo.wait_until_open(OPEN);
    let api = Api::new(demo.url());
    let shop = Shop::of_run(&demo.run()).expect("the shop is open");
    until("all agents at work", OPEN, || {
        let known = api.v1("/agents", &[])?;
        let count = known["agents"].as_array().map_or(0, Vec::len);
        if count == 6 { Ok(()) } else { Err(format!("{count} agents")) }
    });
    let at_work = shop.written().expect("the services answer");

    let (incident, alert) = until("an incident with a verdict and a firing alert", TOLD, || {
        let incidents = api.v1("/incidents", &[])?;
        let with_verdict = |i: &&Value| i["verdict"]["verdict"] == "network" && i["verdict"]["culprit"]["name"] == CULPRIT;
        let incident = list(&incidents).iter().find(with_verdict).cloned().ok_or_else(|| demo.process().log())?;
        let alerts = api.v1("/alerts", &[])?;
        // Of requests: an edge of answers opens no connections, and its chart of time-outs is rightly empty.
        let shows_all = |a: &&Value| a["incident"] == incident["id"] && a["state"] == "firing" && a["labels"]["role"] == "client";
        let alert = list(&alerts).iter().filter(shows_all).find(|a| a["detector"].as_str().is_some_and(|d| d.contains("retrans"))).cloned();
        Ok((incident, alert.ok_or_else(|| format!("no firing alert of the incident among {alerts}"))?))
    });
    let since = moment(incident["since"].as_str().expect("an incident has a beginning"));
    let id = alert["id"].as_str().expect("an alert has an id");
    // Some windows of the incident, to be seen.
    until("a minute of the incident", Duration::from_secs(120), || {
        if Utc::now() - since > chrono::TimeDelta::seconds(60) { Ok(()) } else { Err(String::new()) }
    });
    let seen = look(&scene, demo.url(), &format!("/alerts?alert={id}"), id);
    let banner = seen["banner"].as_str().unwrap_or_default();
    println!("banner: {}", banner.replace('\n', " "));
    assert!(banner.to_lowercase().contains("network") && banner.contains(CULPRIT), "the banner does not name the culprit: {banner}");
    table_is_the_api_s(&seen, &api);
    let sums = charts_are_the_api_s(&seen, &api, since);
    let retransmissions = sums.iter().find(|s| s.0 == "tcp.retrans").expect("drawn");
    assert!(retransmissions.2 > 20.0 && retransmissions.2 > 5.0 * retransmissions.1, "the incident is not to be seen in {retransmissions:?}");

    let end = until("all traffic to end", Duration::from_secs(90), || shop.drain());
    let pairs = |to: DateTime<Utc>| -> Result<Vec<Edge>, String> {
        let mut question = Question::since(from, &["tcp.bytes"]);
        (question.to, question.group_by, question.include_own) = (to, "source.workload,dest.workload".to_owned(), false);
        Ok(api.edges(&question)?.rows)
    };
    until("what the services wrote", Duration::from_secs(60), || as_written(&pairs(Utc::now())?, &at_work, &end));
    let (begin, end_of) = (from - chrono::TimeDelta::seconds(30), Utc::now());
    let seen = look(&scene, demo.url(), &format!("/edges?from={}&to={}", instant(begin), instant(end_of)), "");
    let edges = table_is_the_api_s(&seen, &api);
    as_written(&edges, &at_work, &end).expect("the page's numbers are what the services wrote");
}

/// As the interface writes a moment.
fn instant(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// A list, plain or in an object of one field.
fn list(answer: &Value) -> Vec<Value> {
    let inner = answer.as_object().and_then(|o| o.values().find(|v| v.is_array())).unwrap_or(answer);
    inner.as_array().cloned().unwrap_or_default()
}
