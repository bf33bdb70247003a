//! The same tables in the real store.

use super::{end, row};
use crate::delta::DeltaTables;
use crate::tables::{AgentBatch, AgentRecord, Committed, Tables, TablesError};
use chrono::{DateTime, Duration, Utc};
use edgescope_identity::directory::Claimed;
use edgescope_model::alert::{Alert, AlertState};
use edgescope_model::query::{EdgeQuery, EdgeSource};
use edgescope_model::signal::{Side, TCP_BYTES};
use edgescope_model::time::from_micros;
use edgescope_store::StoreConfig;
use std::collections::BTreeMap;
use std::sync::Arc;

async fn open(dir: &tempfile::TempDir) -> Arc<DeltaTables> {
    let path = dir.path().join("data").display().to_string();
    DeltaTables::open(&StoreConfig { path, maintenance_interval_s: 0, ..StoreConfig::default() }).await.unwrap()
}

/// The newest whole window that is due.
fn window() -> i64 {
    Utc::now().timestamp() / 10 * 10 - 60
}

fn claim(port: u16, open: bool) -> Claimed {
    let now_us = Utc::now().timestamp_micros();
    Claimed {
        agent: "a".into(),
        address: "10.0.0.1".parse().unwrap(),
        port,
        owner: Arc::new(end("frontend", "n1", "z")),
        shared: port > 0,
        from_us: now_us - 60_000_000,
        until_us: now_us,
        open,
    }
}

fn batch(sequence: u64, claims: Vec<Claimed>) -> AgentBatch {
    let from_us = window() * 1_000_000;
    let rows = vec![row(window(), end("frontend", "n1", "z"), end("cart", "n2", "z"), &[(TCP_BYTES, Side::Merged, 500)])];
    let losses = BTreeMap::from([("ring_full".to_owned(), 4)]);
    AgentBatch {
        agent_id: "a".into(),
        sequence,
        window_start_us: from_us,
        window_end_us: from_us + 10_000_000,
        rows,
        claims,
        losses,
        sockets: 3,
        ..AgentBatch::default()
    }
}

fn agent() -> AgentRecord {
    let seen = Some(from_micros(Utc::now().timestamp_micros() - 1_000_000));
    AgentRecord {
        agent_id: "a".into(),
        boot_id: "b".into(),
        node: "n1".into(),
        interval_s: 10,
        hooks: vec!["simulated: no kernel was read".into()],
        simulated: true,
        first_seen: seen,
        last_seen: seen,
        ..AgentRecord::default()
    }
}

#[tokio::test]
async fn what_is_committed_is_there_once_and_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(&dir).await;
    let agent = agent();
    tables.put_agent(&agent, &[claim(0, true)]).await.unwrap();
    let sent = batch(7, vec![claim(80, true)]);
    let last_window_end = Some(from_micros(sent.window_end_us));
    assert_eq!(tables.commit(sent).await, Ok(Committed::Now));
    assert_eq!(tables.commit(batch(7, vec![claim(80, false)])).await, Ok(Committed::Before));
    drop(tables);

    let tables = open(&dir).await;
    assert_eq!(tables.committed_sequence("a").await, Ok(7));
    assert_eq!(tables.agents().await.unwrap(), [AgentRecord { last_window_end, ..agent }], "what it shipped is known before it ships again");
    let from = from_micros(window() * 1_000_000) - Duration::seconds(100);
    let query = EdgeQuery::totals(from, from + Duration::seconds(200), &["dest.workload"], &["tcp.bytes"]);
    let table = EdgeSource::edges(&*tables, &query).await.unwrap();
    assert_eq!((table.rows[0].key[0].as_str(), table.rows[0].totals[0]), ("cart", Some(500.0)));
    let coverage = tables.coverage(from, from + Duration::seconds(200)).await.unwrap();
    assert_eq!((coverage.agents_expected, coverage.losses["ring_full"]), (1, 4));
    let answer = tables.sql("SELECT count(*) AS n FROM edges_10s").await.unwrap();
    assert_eq!((answer.columns, answer.rows), (vec!["n".to_owned()], vec![vec![serde_json::json!(1)]]));
    assert!(matches!(tables.sql("DROP TABLE edges_10s").await, Err(TablesError::Refused(_))));
    assert_eq!(tables.writable().await, Ok(()));
    assert!(tables.readings().iter().any(|r| r.name == "store_commits"));
}

#[tokio::test]
async fn the_last_word_on_an_address_counts() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(&dir).await;
    tables.put_agent(&agent(), &[claim(0, true), claim(80, true)]).await.unwrap();
    tables.put_agent(&agent(), &[claim(80, false)]).await.unwrap();
    let mut claims = tables.claims(0).await.unwrap();
    claims.sort_by_key(|c| c.port);
    assert_eq!(claims.iter().map(|c| (c.port, c.open)).collect::<Vec<_>>(), [(0, true), (80, false)]);
    assert_eq!(claims[0].owner.workload, "frontend");
    let later = Utc::now().timestamp_micros() + 1;
    assert_eq!(tables.claims(later).await.unwrap().len(), 1, "the closed one is of no use any more");
}

#[tokio::test]
async fn alerts_are_listed_by_when_they_were_open() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(&dir).await;
    let at = |s: i64| DateTime::from_timestamp(1_800_000_000 + s, 0).unwrap();
    let alert = Alert {
        id: "x".into(),
        detector: "d".into(),
        signal: "tcp.bytes".into(),
        state: AlertState::Firing,
        labels: BTreeMap::new(),
        since: at(0),
        fired_at: Some(at(10)),
        resolved_at: None,
        value: 1.0,
        threshold: 0.5,
        baseline: None,
        baseline_s: 80,
        samples: 9,
        summary: "s".into(),
        incident: None,
    };
    tables.put_alerts(std::slice::from_ref(&alert)).await.unwrap();
    tables.put_alerts(&[Alert { state: AlertState::Resolved, resolved_at: Some(at(100)), ..alert }]).await.unwrap();
    for (from, to, count) in [(-50, 0, 0), (-50, 1, 1), (50, 60, 1), (101, 200, 0)] {
        assert_eq!(tables.alerts(at(from), at(to)).await.unwrap().len(), count, "{from} to {to}");
    }
}

#[tokio::test]
async fn a_directory_that_is_gone_is_not_writable() {
    let dir = tempfile::tempdir().unwrap();
    let tables = open(&dir).await;
    std::fs::remove_dir_all(dir.path()).unwrap();
    assert!(matches!(tables.writable().await, Err(TablesError::Write(_))));
}
