use super::*;
use edgescope_model::query::{EdgeQuery, EdgeSource, QueryError};

async fn filled(directory: &tempfile::TempDir) -> Arc<Store> {
    let store = open(directory).await;
    let rows = (0..6).flat_map(|i| (0..4).map(move |w| row(T0 + 10 * w, edge(i), 100 * (i + 1)))).collect();
    store.commit(&[batch("a", 1, rows)]).await.unwrap();
    store
}

fn query(group_by: &[&str], measures: &[&str]) -> EdgeQuery {
    EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 600), group_by, measures)
}

async fn keys(store: &Store, group_by: &[&str], filter: &str) -> Vec<String> {
    let asked = EdgeQuery { filter: Some(filter.to_owned()), ..query(group_by, &["tcp.rtt_max"]) };
    store.edges(&asked).await.unwrap_or_else(|e| panic!("{filter}: {e}")).rows.into_iter().map(|row| row.key.join("/")).collect()
}

#[tokio::test]
async fn filters_choose_edges_by_dimensions_and_groups_by_measures() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory).await;
    let pods = ["source.pod"];
    assert_eq!(keys(&store, &pods, "source.zone = 'zone-1'").await, ["client-1", "client-4"]);
    assert_eq!(keys(&store, &pods, "source.zone = ''").await, ["client-2", "client-5"]);
    assert_eq!(keys(&store, &pods, "port IN (7000, 7001) AND source.workload LIKE '%-1'").await, ["client-1", "client-3"]);
    assert_eq!(keys(&store, &pods, "NOT (role = 'client' OR dest.pod = 'server-0')").await, ["client-3", "client-5"]);
    assert_eq!(keys(&store, &pods, "az_equal").await, ["client-0", "client-1"]);
    assert_eq!(keys(&store, &pods, "az_equal IS NULL AND role = 'client'").await, ["client-2"]);
    // A measure that is not asked for; its sum over four windows.
    assert_eq!(keys(&store, &pods, "tcp.bytes >= 2000").await, ["client-4", "client-5"]);
    assert_eq!(keys(&store, &pods, "tcp.bytes BETWEEN 400 AND 800 AND source.zone = 'zone-0'").await, ["client-0"]);
    // The measure is of the group, the dimension of the edges in it.
    assert_eq!(keys(&store, &["source.workload"], "tcp.bytes > 3600 AND port <> 7001").await, ["client-1"]);
    assert_eq!(keys(&store, &pods, "tcp.retrans > 0").await, [""; 0]);
    assert_eq!(keys(&store, &pods, "(tcp.bytes > 2300) OR (tcp.bytes < 401)").await, ["client-0", "client-5"]);
}

#[tokio::test]
async fn a_wrong_filter_says_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory).await;
    for (filter, says) in [
        ("source.zone = \"zone-1\"", "'zone-1'"),
        ("sorce.zone = 'a'", "'sorce.zone'"),
        ("tcp.byte > 1", "'tcp.byte'"),
        ("source.zone = 'a' OR tcp.bytes > 1", "source.zone and the measure tcp.bytes"),
        ("source.zone", "not a condition"),
        ("port = 1; DROP TABLE edges", "does not end"),
        ("port = (SELECT 1)", "cannot use"),
        ("length(source.zone) > 1", "cannot use"),
        ("port >", "Expected"),
        ("tcp.rtt > 1", "'tcp.rtt'"),
        ("source.zone ~ 'a'", "no operator"),
    ] {
        let asked = EdgeQuery { filter: Some(filter.to_owned()), ..query(&[], &["tcp.bytes"]) };
        match store.edges(&asked).await {
            Err(QueryError::Filter(why)) => assert!(why.contains(says), "{filter}: {why}"),
            other => panic!("{filter}: {other:?}"),
        }
    }
    let long = format!("port = {}1", "1 + ".repeat(2000));
    let deep = format!("{}port = 1{}", "(".repeat(500), ")".repeat(500));
    for filter in [long, deep] {
        let asked = EdgeQuery { filter: Some(filter), ..query(&[], &["tcp.bytes"]) };
        assert!(matches!(store.edges(&asked).await, Err(QueryError::Filter(_))));
    }
}

#[tokio::test]
async fn answers_are_sorted_limited_and_compared() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory).await;
    store.commit(&[batch("a", 2, vec![row(T0 + 3600, edge(2), 7), FactRow::new(T0, edge(7))])]).await.unwrap();
    let mut asked = query(&["source.pod"], &["tcp.bytes", "tcp.retrans"]);
    asked.sort = Some("-tcp.bytes".to_owned());
    asked.limit = Some(2);
    asked.compare_from = Some(from_seconds(T0 + 3600));
    asked.compare_to = Some(from_seconds(T0 + 4200));
    let table = store.edges(&asked).await.unwrap();
    assert_eq!(table.groups_total, 6);
    assert_eq!(table.rows.iter().map(|row| row.key[0].as_str()).collect::<Vec<_>>(), ["client-5", "client-4"]);
    assert_eq!(table.rows[0].totals, [Some(2400.0), None]);
    assert_eq!(table.rows[0].compare, [None, None]);
    asked.sort = Some("port".to_owned());
    asked.group_by = vec!["port".to_owned(), "source.pod".to_owned()];
    asked.limit = Some(3);
    let table = store.edges(&asked).await.unwrap();
    assert_eq!(table.rows.iter().map(|row| row.key.join("/")).collect::<Vec<_>>(), ["7000/client-0", "7000/client-3", "7001/client-1"]);
    asked.filter = Some("source.pod = 'client-2'".to_owned());
    assert_eq!(store.edges(&asked).await.unwrap().rows[0].compare, [Some(7.0), None]);
    asked.compare_to = None;
    assert!(matches!(store.edges(&asked).await, Err(QueryError::CompareHalf("compare_to"))));
}

/// Traffic that vanished is what one compares for.
#[tokio::test]
async fn a_comparison_shows_groups_that_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory).await;
    store.commit(&[batch("a", 2, vec![row(T0 + 3600, edge(1), 7)])]).await.unwrap();
    let mut asked = EdgeQuery::totals(from_seconds(T0 + 3600), from_seconds(T0 + 4200), &["source.workload"], &["tcp.bytes"]);
    (asked.compare_from, asked.compare_to) = (Some(from_seconds(T0)), Some(from_seconds(T0 + 600)));
    let table = store.edges(&asked).await.unwrap();
    let rows: Vec<_> = table.rows.iter().map(|row| (row.key[0].as_str(), row.totals[0], row.compare[0])).collect();
    assert_eq!(rows, [("client-0", None, Some(3600.0)), ("client-1", Some(7.0), Some(4800.0))]);
    assert_eq!(table.groups_total, 2);
    asked.filter = Some("tcp.bytes > 1".to_owned());
    assert_eq!(store.edges(&asked).await.unwrap().rows.len(), 1, "what is not there is not more than one");
}

/// Windows that a range cuts count whole, in the sum and in the time of a rate alike; the answer says so.
#[tokio::test]
async fn a_range_that_cuts_windows_is_answered_for_whole_ones() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let rows = (0..6).map(|w| row(T0 + 10 * w, edge(0), 100)).collect();
    store.commit(&[batch("a", 1, rows)]).await.unwrap();
    let mut asked = EdgeQuery::totals(from_seconds(T0 + 15), from_seconds(T0 + 41), &[], &["tcp.bytes", "tcp.bytes.rate"]);
    asked.step_s = Some(10);
    let table = store.edges(&asked).await.unwrap();
    assert_eq!((table.from, table.to), (from_seconds(T0 + 10), from_seconds(T0 + 50)));
    assert_eq!(table.rows[0].totals, [Some(400.0), Some(10.0)]);
    assert_eq!(table.rows[0].series[1], [Some(10.0); 4]);
    assert_eq!(table.steps[0], table.from);
    // The clock stands at 100 s: the window that still runs is no longer than that.
    let table = store.edges(&EdgeQuery::totals(from_seconds(T0 + 33), from_seconds(T0 + 91), &[], &["tcp.bytes"])).await.unwrap();
    assert_eq!((table.from, table.to), (from_seconds(T0 + 30), from_seconds(T0 + 100)));
}

/// Pods are in ten-second rows alone: of older ones there are minutes, and no pods.
#[tokio::test]
async fn what_is_asked_by_pod_begins_with_what_is_kept_of_pods() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(&StoreConfig { retention_10s_s: 60, ..config(&directory) }).await;
    for (sequence, window_s) in [(1, -7200), (2, -3600), (3, 50)] {
        store.commit(&[batch("a", sequence, vec![row(T0 + window_s, edge(0), 600)])]).await.unwrap();
    }
    let asked = |by: &str, from_s: i64, to_s: i64| {
        EdgeQuery::totals(from_seconds(T0 + from_s), from_seconds(T0 + to_s), &[by], &["tcp.bytes", "tcp.bytes.rate"])
    };
    // Before anything went, all of the range is counted.
    let table = store.edges(&asked("source.pod", -7200, 100)).await.unwrap();
    assert_eq!((table.from, table.rows[0].totals[0]), (from_seconds(T0 - 7200), Some(1800.0)));
    store.maintain().await.unwrap();
    // The clock stands at 100 s: pods are kept since 40 s.
    let table = store.edges(&asked("source.pod", -7200, 100)).await.unwrap();
    assert_eq!((table.from, table.to), (from_seconds(T0 + 40), from_seconds(T0 + 100)));
    assert_eq!(table.rows[0].totals, [Some(600.0), Some(10.0)]);
    let whole = store.edges(&asked("source.workload", -7200, 120)).await.unwrap();
    assert_eq!((whole.from, whole.rows[0].totals[0]), (from_seconds(T0 - 7200), Some(1800.0)));
    let by_filter = EdgeQuery { filter: Some("source.pod = 'client-0'".to_owned()), ..asked("source.workload", -7200, 100) };
    assert_eq!(store.edges(&by_filter).await.unwrap().from, from_seconds(T0 + 40));
    let gone = store.edges(&asked("dest.ip", -7200, -600)).await.unwrap_err();
    assert!(matches!(&gone, QueryError::Gone { kept_from, .. } if *kept_from == from_seconds(T0 + 40)), "{gone}");
    let compared = EdgeQuery { compare_from: Some(from_seconds(T0 - 7200)), compare_to: Some(from_seconds(T0 + 40)), ..asked("source.pod", 40, 100) };
    let gone = store.edges(&compared).await.unwrap_err();
    assert!(matches!(&gone, QueryError::CompareGone { kept_from, .. } if *kept_from == from_seconds(T0 + 40)), "{gone}");
}

#[tokio::test]
async fn sql_reads_tables_and_views_with_names_and_shown_units() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory).await;
    let answer = store
        .sql(r#"SELECT "source.workload", sum("tcp.bytes") AS bytes, max("tcp.rtt_max"), histogram_count(histogram_merge("tcp.rtt")) FROM edges GROUP BY 1 ORDER BY 1"#)
        .await
        .unwrap();
    let rows: Vec<String> = answer.rows.iter().map(|row| serde_json::to_string(row).unwrap()).collect();
    assert_eq!(rows, [r#"["client-0",3600,0.0005,12]"#, r#"["client-1",4800,0.0006,12]"#]);
    assert_eq!(answer.columns[1], "bytes");
    let answer =
        store.sql("SELECT count(*), min(window_start), histogram_quantile(histogram_merge(tcp_rtt), 0.5) > 300 FROM edges_10s").await.unwrap();
    assert_eq!(serde_json::to_string(&answer.rows[0]).unwrap(), format!(r#"[24,"{}",true]"#, from_seconds(T0).format("%Y-%m-%dT%H:%M:%SZ")));
    for table in ["edges_1m", "edge_dims", "dims", "endpoints", "agent_windows", "agents", "alerts", "incidents", "edges_minutes"] {
        store.sql(&format!("SELECT * FROM {table} LIMIT 1")).await.unwrap_or_else(|e| panic!("{table}: {e}"));
    }
}

/// Who asks wrongly and what cannot be read are told apart.
#[tokio::test]
async fn sql_that_the_disk_fails_is_not_the_askers_mistake() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory).await;
    for wrong in ["SELECT nothing FROM edges_10s", "SELECT CAST('x' AS BIGINT)", "SELECT 1 / 0"] {
        let answer = store.sql(wrong).await;
        assert!(matches!(answer, Err(QueryError::Sql(_))), "{wrong}: {answer:?}");
    }
    for file in store.facts_10s.refresh().await.unwrap().files().iter() {
        std::fs::remove_file(directory.path().join("edges_10s").join(&file.path)).unwrap();
    }
    let answer = store.sql("SELECT sum(tcp_bytes) FROM edges_10s").await;
    assert!(matches!(answer, Err(QueryError::Store(_))), "{answer:?}");
}

#[tokio::test]
async fn sql_refuses_all_but_reading() {
    let directory = tempfile::tempdir().unwrap();
    let store = filled(&directory).await;
    let secret = directory.path().join("secret.csv");
    std::fs::write(&secret, "a,b\n1,2\n").unwrap();
    let secret = secret.display();
    for text in [
        "DROP TABLE edges_10s".to_owned(),
        "DELETE FROM edges_10s".to_owned(),
        "INSERT INTO alerts SELECT * FROM alerts".to_owned(),
        "UPDATE edges_10s SET edge = 1".to_owned(),
        "CREATE TABLE x AS SELECT 1".to_owned(),
        "CREATE VIEW x AS SELECT 1".to_owned(),
        format!("CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '{secret}'"),
        format!("COPY (SELECT 1) TO '{secret}'"),
        "SET datafusion.execution.batch_size = 1".to_owned(),
        "SHOW ALL".to_owned(),
        "EXPLAIN ANALYZE SELECT 1".to_owned(),
        "EXPLAIN SELECT 1".to_owned(),
        format!("SELECT * FROM '{secret}'"),
        format!("SELECT * FROM read_csv('{secret}')"),
        "SELECT * FROM generate_series(1, 10)".to_owned(),
        "SELECT * FROM edges_10s WHERE edge IN (SELECT value FROM generate_series(1, 10))".to_owned(),
        "SELECT * FROM information_schema.df_settings".to_owned(),
        "SELECT 1 INTO x".to_owned(),
        "SELECT 1; SELECT 2".to_owned(),
        "WITH x AS (INSERT INTO alerts SELECT * FROM alerts) SELECT * FROM x".to_owned(),
        "PREPARE p AS SELECT 1".to_owned(),
        // What makes much out of nothing, beside every count of memory.
        "SELECT repeat('x', 1 << 31)".to_owned(),
        "SELECT lpad('x', 1 << 30, 'y')".to_owned(),
        "SELECT rpad('x', 1 << 30, 'y')".to_owned(),
        "SELECT replace(dest_workload, 'e', source_workload) FROM dims".to_owned(),
        "SELECT range(1, 1000000000)".to_owned(),
        "SELECT generate_series(1, 1000000000)".to_owned(),
        "SELECT array_repeat(1, 1000000000)".to_owned(),
        "SELECT list_repeat(1, 1000000000)".to_owned(),
        "SELECT array_resize(array_agg(edge), 1000000000) FROM edges_10s".to_owned(),
        "SELECT [edge, edge] FROM edges_10s".to_owned(),
        "SELECT encode(source_workload, 'hex') FROM dims".to_owned(),
        "SELECT 'a'||'b'||'c'||'d'||'e'||'f'||'g'||'h'".to_owned(),
        format!("SELECT '{}'", "x".repeat(2000)),
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT * FROM n".to_owned(),
        String::new(),
    ] {
        let answer = store.sql(&text).await;
        assert!(matches!(answer, Err(QueryError::Sql(_))), "{text}: {answer:?}");
    }
    for text in [
        "SELECT source_namespace || '/' || source_workload FROM dims",
        "SELECT date_trunc('minute', window_start), date_bin(INTERVAL '1 minute', window_start), extract(hour FROM window_start) FROM edges_10s",
        "SELECT upper(substring(dest_workload, 1, 3)), length(dest_workload), coalesce(dest_zone, ''), trim(dest_zone) FROM dims",
        "SELECT round(avg(tcp_bytes), 1), approx_percentile_cont(tcp_bytes, 0.9), count(DISTINCT edge), abs(-1), CAST('1' AS BIGINT) FROM edges_10s",
        "SELECT edge, row_number() OVER (PARTITION BY edge ORDER BY window_start) FROM edges_10s WHERE window_start < now() OR edge IN (1, 2)",
    ] {
        store.sql(text).await.unwrap_or_else(|e| panic!("{text}: {e}"));
    }
    assert!(std::fs::read_to_string(directory.path().join("secret.csv")).unwrap().starts_with("a,b"));
    assert_eq!(bytes(&store, 0, 600).await, 8400);
}
