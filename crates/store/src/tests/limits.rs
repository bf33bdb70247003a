use super::*;
use crate::{Committer, QueryLimits, StoreError};
use edgescope_model::query::{EdgeQuery, EdgeSource, QueryError};

/// One environment at its cap, one not: totals stay exact, known edges are not touched, the surplus is under "other".
#[tokio::test]
async fn over_the_cap_rows_are_summed_under_other() {
    let directory = tempfile::tempdir().unwrap();
    // An edge and its rolled-up form count one each; the test's edges share few rolled-up forms.
    let store = open_with(&StoreConfig { series_max: 12, ..config(&directory) }).await;
    let in_environment = |i: u64, environment: &str| {
        let mut dims = edge(i);
        dims.source.environment = environment.to_owned();
        row(T0, dims, 1 << i)
    };
    store.commit(&[batch("a", 1, (0..6).map(|i| in_environment(i, "big")).collect())]).await.unwrap();
    let rows = (0..20).map(|i| in_environment(i, "big")).chain([in_environment(30, "small")]).collect();
    store.commit(&[batch("a", 2, rows)]).await.unwrap();
    let query = EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 10), &["source.environment", "source.workload", "source.pod"], &["tcp.bytes"]);
    let table = store.edges(&query).await.unwrap();
    let named = |name: &str| table.rows.iter().filter(|row| row.key[2] == name).map(|row| row.totals[0].unwrap()).sum::<f64>() as u64;
    assert_eq!((0..6).map(|i| named(&format!("client-{i}"))).collect::<Vec<_>>(), [2, 4, 8, 16, 32, 64]);
    assert_eq!(named("client-30"), 1 << 30);
    let other: f64 = table.rows.iter().filter(|row| row.key[1] == "other").map(|row| row.totals[0].unwrap()).sum();
    assert!(other > 0.0 && table.rows.iter().all(|row| row.key[1] != "other" || row.key[0] == "big"));
    let all: f64 = table.rows.iter().map(|row| row.totals[0].unwrap()).sum();
    assert_eq!(all as u64, 63 + ((1 << 20) - 1) + (1 << 30));
    assert!(store.counters().series_capped >= 8, "{:?}", store.counters());
    let known = store.dims.read().len();
    store.commit(&[batch("a", 3, (100..1100).map(|i| in_environment(i % 60, "big")).collect())]).await.unwrap();
    assert!(store.dims.read().len() <= known + 4, "only forms of other are new");
}

/// An edge from pod `i` of the cart to an end that has no name but its block of addresses, or its address.
fn nameless(i: u64, found: &str, workload: &str, ip: &str) -> EdgeDims {
    let mut dims = edge(i);
    dims.dest = EndDims { workload: workload.to_owned(), ip: ip.to_owned(), resolution_type: found.to_owned(), ..EndDims::default() };
    dims
}

/// Clients by the thousand, each by its address: they are summed by prefix, or whose network it is, then under "other", and a new pod still has its place.
#[tokio::test]
async fn pairs_without_names_push_out_no_pair_with_names() {
    for found in ["prefix", "asn", "aws"] {
        push_out_no_pair_with_names(found).await;
    }
}

async fn push_out_no_pair_with_names(found: &str) {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(&StoreConfig { series_max: 20, ..config(&directory) }).await;
    let client = |n: u64, prefix: u64| nameless(0, found, &format!("203.0.{prefix}.0/24"), &format!("203.0.{prefix}.{n}"));
    let mut rows: Vec<_> = (0..200).map(|n| row(T0, client(n, 1), 1)).collect();
    rows.extend((0..200).map(|prefix| row(T0, client(7, prefix), 1)));
    rows.extend((0..200).map(|n| row(T0, nameless(0, "ip", &format!("10.0.0.{n}"), &format!("10.0.0.{n}")), 1)));
    store.commit(&[batch("a", 1, rows)]).await.unwrap();
    store.commit(&[batch("a", 2, (0..4).map(|i| row(T0, edge(i), 1000)).collect())]).await.unwrap();
    let query = EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 10), &["dest.workload", "dest.ip", "source.pod"], &["tcp.bytes"]);
    let table = store.edges(&query).await.unwrap();
    let sum = |wanted: &dyn Fn(&[String]) -> bool| table.rows.iter().filter(|row| wanted(&row.key)).map(|row| row.totals[0].unwrap()).sum::<f64>();
    assert_eq!(sum(&|key| key[2].starts_with("client-") && key[0] == "server"), 4000.0, "new pods have places: {:?}", table.rows);
    assert_eq!(table.rows.iter().filter(|row| !row.key[1].is_empty()).count(), 10, "ten addresses have a place");
    assert!(sum(&|key| key[0] == "203.0.1.0/24") >= 200.0, "the other addresses of a block are summed under it");
    assert!(sum(&|key| key[0] == "other") > 0.0, "without a place for the block, under other");
    assert_eq!(sum(&|_| true), 4600.0);
    let counters = store.counters();
    assert!(counters.series_folded >= 190 && counters.series_capped > 0, "{counters:?}");
    assert!(counters.edges < 50, "{counters:?}");
}

/// An agent names an environment for each owner: not without end.
#[tokio::test]
async fn environments_without_number_are_summed_under_other() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let in_environment = |environment: String| {
        let mut dims = edge(0);
        (dims.source.environment, dims.dest.environment) = (environment.clone(), environment);
        row(T0, dims, 1)
    };
    for sequence in 1..=2 {
        let rows = (0..500).map(|n| in_environment(format!("env-{n}"))).chain([in_environment(String::new())]).collect();
        store.commit(&[batch("a", sequence, rows)]).await.unwrap();
    }
    let query = EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 10), &["source.environment", "source.workload"], &["tcp.bytes"]);
    let table = store.edges(&query).await.unwrap();
    let named = table.rows.iter().filter(|row| row.key[0].starts_with("env-")).count();
    let other = table.rows.iter().find(|row| row.key[0] == "other").unwrap();
    assert_eq!((named, other.key[1].as_str(), other.totals[0]), (32, "other", Some(2.0 * (500.0 - 32.0))));
    assert!(table.rows.iter().any(|row| row.key[0].is_empty() && row.key[1] == "client-0"), "who names none has a place");
    assert_eq!(store.counters().series_capped, 2 * (500 - 32));
}

#[tokio::test]
async fn a_key_that_stands_for_another_edge_is_counted_and_its_rows_kept_apart() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    // A forged row of edge_dims: the key of edge 1 stands for edge 0.
    let forged = std::collections::HashMap::from([(edge(1).key(), edge(0))]);
    crate::commit::append(&store.dims.table, true, || crate::dims::to_batch(&forged, T0 * 1_000_000)).await.unwrap();
    store.commit(&[batch("a", 1, vec![row(T0, edge(0), 1), row(T0, edge(1), 10)])]).await.unwrap();
    let query = EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 10), &["source.workload"], &["tcp.bytes"]);
    let rows = store.edges(&query).await.unwrap().rows;
    assert_eq!(rows.iter().map(|row| (row.key[0].as_str(), row.totals[0])).collect::<Vec<_>>(), [("client-0", Some(1.0)), ("other", Some(10.0))]);
    assert_eq!(store.counters().collisions, 1);
}

async fn limited(query: QueryLimits) -> (tempfile::TempDir, Arc<Store>) {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(&StoreConfig { query, ..config(&directory) }).await;
    let rows = (0..2000).flat_map(|i| (0..10).map(move |w| row(T0 + 10 * w, edge(i), i))).collect();
    store.commit(&[batch("a", 1, rows)]).await.unwrap();
    (directory, store)
}

#[tokio::test]
async fn queries_end_at_their_limits_of_time_memory_and_rows() {
    let (_directory, store) = limited(QueryLimits { memory_mib: 1, ..QueryLimits::default() }).await;
    let mut query = EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 100), &["source.pod"], &["tcp.bytes", "tcp.rtt.p95"]);
    query.step_s = Some(10);
    assert!(matches!(store.edges(&query).await, Err(QueryError::Memory(1))));
    let pairs = "SELECT a.edge, b.edge, count(*) FROM edges_10s a, edges_10s b GROUP BY 1, 2";
    assert!(matches!(store.sql(pairs).await, Err(QueryError::Memory(1))));
    assert_eq!(store.counters().query_memory, 2);

    let (_directory, store) = limited(QueryLimits { timeout_s: 1, rows_max: 10, ..QueryLimits::default() }).await;
    let product = "SELECT a.edge, count(*) FROM edges_10s a, edges_10s b, edges_10s c GROUP BY a.edge";
    let started = std::time::Instant::now();
    assert!(matches!(store.sql(product).await, Err(QueryError::Timeout(1))));
    assert!(started.elapsed().as_millis() < 3000, "{:?}", started.elapsed());
    let answer = store.sql("SELECT edge FROM edges_10s").await.unwrap();
    assert_eq!((answer.rows.len(), answer.truncated), (10, true));
    assert!(!store.sql("SELECT edge FROM edges_10s LIMIT 10").await.unwrap().truncated);
}

/// The facts are small, the answer is not.
#[tokio::test]
async fn totals_count_as_memory() {
    let (_directory, store) = limited(QueryLimits { memory_mib: 2, ..QueryLimits::default() }).await;
    let quantiles: Vec<String> = (1..=64).map(|percent| format!("tcp.rtt.p{percent}")).collect();
    let quantiles: Vec<&str> = quantiles.iter().map(String::as_str).collect();
    let query = |measures: &[&str]| EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 10), &["source.pod"], measures);
    assert_eq!(store.edges(&query(&quantiles[..1])).await.unwrap().rows.len(), 2000);
    assert!(matches!(store.edges(&query(&quantiles)).await, Err(QueryError::Memory(2))));
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let committer = Committer::start(Arc::clone(&store));
    // The commit under way waits for this, so that nothing leaves the queue.
    let turn = store.commit_turn.lock().await;
    let mut waiting = tokio::task::JoinSet::new();
    let rows: Vec<_> = (0..20_000).map(|i| row(T0, edge(i), 1)).collect();
    for agent in 0..4 {
        let (committer, batch) = (committer.clone(), batch(&format!("agent-{agent}"), 1, rows.clone()));
        waiting.spawn(async move { committer.commit(batch).await });
    }
    let refused = tokio::time::timeout(std::time::Duration::from_secs(60), waiting.join_next()).await.unwrap().unwrap().unwrap();
    assert!(matches!(*refused.unwrap_err(), StoreError::Busy));
    drop(turn);
    let stored = waiting.join_all().await.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!(stored as u64 + store.counters().queue_refused, 4);
    assert_eq!(bytes(&store, 0, 10).await, stored as u64 * 20_000);
}

#[tokio::test]
async fn a_newer_table_and_a_strange_path_are_refused_with_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(&directory).await);
    let first = directory.path().join("edges_1m/_delta_log/00000000000000000000.json");
    let entry = std::fs::read_to_string(&first).unwrap();
    std::fs::write(&first, entry.replace("\"edgescope.schemaVersion\":\"1\"", "\"edgescope.schemaVersion\":\"9\"")).unwrap();
    let error = Store::open(&config(&directory)).await.err().unwrap().to_string();
    assert!(error.contains("edges_1m") && error.contains("version 9"), "{error}");
    let error = Store::open(&StoreConfig { path: "s3://bucket/x".to_owned(), ..config(&directory) }).await.err().unwrap().to_string();
    assert!(error.contains("s3://"), "{error}");
    let file = directory.path().join("file");
    std::fs::write(&file, b"").unwrap();
    let error = Store::open(&StoreConfig { path: file.display().to_string(), ..config(&directory) }).await.err().unwrap().to_string();
    assert!(error.contains("cannot make the directory"), "{error}");
}
