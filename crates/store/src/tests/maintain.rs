use super::*;
use edgescope_model::query::{EdgeQuery, EdgeSource};
use std::collections::HashSet;

fn day(measures: &[&str]) -> EdgeQuery {
    EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 86_400), &["source.workload", "dest.zone"], measures)
}

fn data_files(directory: &tempfile::TempDir, table: &str) -> HashSet<String> {
    let names = std::fs::read_dir(directory.path().join(table)).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".parquet")).collect()
}

/// Rows arrive in no order and late, between roll-ups; minutes hold what ten seconds hold, whoever rolls up how often.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn minutes_equal_ten_seconds_with_late_rows_and_two_who_roll_up() {
    let directory = tempfile::tempdir().unwrap();
    let (store, other) = (open(&directory).await, open(&directory).await);
    for sequence in 1..=30u64 {
        // 7 is no divisor of 360: windows come late by up to an hour, again and again.
        let window = (sequence * 7 % 36) as i64 * 100;
        let rows = (0..8).map(|i| row(T0 + window, edge(i), sequence * 10 + i)).collect();
        let part = batch("a", sequence, rows);
        if sequence % 2 == 0 {
            store.commit(&[part]).await.unwrap()
        } else {
            other.commit(&[part]).await.unwrap()
        };
        if sequence % 3 == 0 {
            let (mine, others) = tokio::join!(store.roll_up(), other.roll_up());
            mine.unwrap();
            others.unwrap();
        }
        if sequence % 10 == 0 {
            store.maintain_at(from_seconds(T0 + 40_000)).await.unwrap();
        }
    }
    let measures = ["tcp.bytes", "tcp.rtt_max", "tcp.rtt.p50", "tcp.rtt.count"];
    let minutes = store.edges(&day(&measures)).await.unwrap();
    assert_eq!(minutes.resolution_s, 60);
    // A filter on a pod that all have: only ten-second rows can answer.
    let fine = EdgeQuery { filter: Some("source.pod <> 'nobody'".to_owned()), ..day(&measures) };
    let fine = store.edges(&fine).await.unwrap();
    assert_eq!(fine.resolution_s, 10);
    assert_eq!(minutes.rows, fine.rows);
    let expected: u64 = (1..=30u64).flat_map(|s| (0..8).map(move |i| s * 10 + i)).sum();
    assert_eq!(minutes.rows.iter().map(|row| row.totals[0].unwrap()).sum::<f64>(), expected as f64);
    assert_eq!(other.edges(&day(&measures)).await.unwrap().rows, minutes.rows);
    let rolled = store.counters().rolled_rows + other.counters().rolled_rows;
    assert!(rolled > 0 && store.counters().rollup_gaps == 0);
}

/// While roll-ups are committed, a range that minutes answer never lacks what was acknowledged before it was asked for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_row_is_missed_or_doubled_while_it_is_rolled_up() {
    use std::sync::atomic::{AtomicU64, Ordering};
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let (stored, done) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let (store, stored, done) = (Arc::clone(&store), Arc::clone(&stored), Arc::clone(&done));
        readers.spawn(async move {
            while done.load(Ordering::SeqCst) == 0 {
                let before = stored.load(Ordering::SeqCst);
                let seen = bytes(&store, 0, 86_400).await;
                // One commit may have come to its end and not been counted yet.
                let after = stored.load(Ordering::SeqCst) + 1;
                assert!((before..=after).contains(&seen), "{seen}, not {before} to {after}");
            }
        });
    }
    for sequence in 1..=60u64 {
        store.commit(&[batch("a", sequence, vec![row(T0 + 10 * sequence as i64, edge(sequence % 4), 1)])]).await.unwrap();
        stored.store(sequence, Ordering::SeqCst);
        store.roll_up().await.unwrap();
    }
    done.store(1, Ordering::SeqCst);
    readers.join_all().await;
}

/// What an older program does not know it does not rewrite.
#[tokio::test]
async fn a_table_with_columns_of_a_newer_program_is_not_compacted() {
    use deltalake::kernel::{DataType, StructField};
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for sequence in 1..=8u64 {
        store.commit(&[batch("a", sequence, vec![row(T0 + 10 * sequence as i64, edge(0), 1)])]).await.unwrap();
    }
    let table = &store.facts_10s;
    let newer = [StructField::new("from_the_future", DataType::LONG, true)];
    table.delta(&table.refresh().await.unwrap()).add_columns().with_fields(newer).await.unwrap();
    store.maintain().await.unwrap();
    assert_eq!(table.refresh().await.unwrap().files().len(), 8);
    assert_eq!(bytes(&store, 0, 100).await, 8);
}

/// A row that comes hours late lies in a file with younger ones. The file is cut, so that the old part expires and nobody takes it for all of that time.
#[tokio::test]
async fn a_late_row_does_not_hide_that_older_ten_seconds_are_gone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.commit(&[batch("a", 1, vec![row(T0, edge(0), 1), row(T0 + 5 * 3600, edge(0), 2)])]).await.unwrap();
    store.maintain_at(from_seconds(T0 + 86_400)).await.unwrap();
    let files = store.facts_10s.refresh().await.unwrap().files();
    assert_eq!(files.len(), 2, "{files:?}");
    assert_eq!(bytes(&store, 0, 86_400).await, 3);
}

/// Edges that are long gone leave memory as they leave the table.
#[tokio::test]
async fn expired_edges_and_agents_are_forgotten() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(&StoreConfig { retention_10s_s: 7200, retention_1m_s: 86_400, ..config(&directory) }).await;
    store.commit(&[batch("a", 1, vec![row(T0, edge(0), 1)])]).await.unwrap();
    let known = store.dims.read().len();
    store.maintain_at(from_seconds(T0 + 2 * 86_400)).await.unwrap();
    assert_eq!(store.dims.read().len(), known, "names outlive facts");
    store.maintain_at(from_seconds(T0 + 5 * 86_400)).await.unwrap();
    assert_eq!(store.dims.read().len(), 0);
    store.commit(&[batch("a", 2, vec![row(T0 + 10, edge(0), 1)])]).await.unwrap();
    assert_eq!(store.dims.read().len(), known);
}

/// Two owners of one address that began at one time are two, before and after a compaction.
#[tokio::test]
async fn compaction_keeps_every_owner_of_a_shared_address() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for i in 0..8u64 {
        let row = crate::EndpointRow {
            address: "10.0.0.1".parse().unwrap(),
            port: 0,
            owner: edge(i % 2).source,
            agent_id: "a".to_owned(),
            from: from_seconds(T0),
            to: None,
            shared: true,
        };
        store.put_endpoints(&[row]).await.unwrap();
    }
    store.maintain_at(from_seconds(T0 + 100)).await.unwrap();
    assert_eq!(store.endpoints.refresh().await.unwrap().files().len(), 1);
    let mut pods: Vec<_> = store.endpoints_since(from_seconds(T0)).await.unwrap().into_iter().map(|row| row.owner.pod).collect();
    pods.sort();
    assert_eq!(pods, ["client-0", "client-1"]);
}

#[tokio::test]
async fn compaction_leaves_one_file_a_span_and_the_same_answers() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for sequence in 1..=24u64 {
        let rows = (0..4).map(|i| row(T0 + 300 * sequence as i64, edge(i), 1)).chain([row(T0, edge(0), 5)]).collect();
        store.commit(&[batch("a", sequence, rows)]).await.unwrap();
    }
    let before = store.edges(&day(&["tcp.bytes", "tcp.rtt.p95"])).await.unwrap();
    assert_eq!(store.facts_10s.refresh().await.unwrap().files().len(), 24);
    // Once for what is there, once more for the pieces that lay in other spans.
    for _ in 0..2 {
        store.maintain_at(from_seconds(T0 + 86_400)).await.unwrap();
    }
    let files = store.facts_10s.refresh().await.unwrap().files();
    assert_eq!(files.len(), 3, "two hours and five minutes: {files:?}");
    let spans: Vec<i64> = files.iter().filter_map(|file| file.span_us).map(|(a, b)| (b - a) / 1_000_000).collect();
    assert!(spans.iter().all(|span| *span < 3600), "{spans:?}");
    assert_eq!(store.edges(&day(&["tcp.bytes", "tcp.rtt.p95"])).await.unwrap().rows, before.rows);
    // Rows of one window and edge became one.
    let rows = store.sql("SELECT count(*) FROM edges_10s").await.unwrap();
    assert_eq!(rows.rows[0][0], 24 * 4 + 1);
    assert_eq!(store.commit(&[batch("a", 24, vec![row(T0, edge(0), 5)])]).await.unwrap(), [crate::Committed::Before]);
    drop(store);
    assert_eq!(open(&directory).await.edges(&day(&["tcp.bytes", "tcp.rtt.p95"])).await.unwrap().rows, before.rows);
}

#[tokio::test]
async fn a_span_that_still_grows_is_compacted_by_size_class() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for sequence in 1..=7u64 {
        store.commit(&[batch("a", sequence, vec![row(T0 + 10 * sequence as i64, edge(0), 1)])]).await.unwrap();
    }
    store.maintain_at(from_seconds(T0 + 80)).await.unwrap();
    assert_eq!(store.facts_10s.refresh().await.unwrap().files().len(), 7);
    store.commit(&[batch("a", 8, vec![row(T0 + 80, edge(0), 1)])]).await.unwrap();
    store.maintain_at(from_seconds(T0 + 90)).await.unwrap();
    assert_eq!(store.facts_10s.refresh().await.unwrap().files().len(), 1);
    assert_eq!(bytes(&store, 0, 100).await, 8);
}

/// Replaced files stay while somebody may read them, then go; those that nobody ever named go too; what is there stays right.
#[tokio::test]
async fn vacuum_deletes_what_nothing_names_and_no_more() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for sequence in 1..=8u64 {
        store.commit(&[batch("a", sequence, vec![row(T0, edge(sequence), sequence)])]).await.unwrap();
    }
    let orphan = directory.path().join("edges_10s/part-orphan.parquet");
    std::fs::write(&orphan, b"left by a crash").unwrap();
    let now = chrono::Utc::now();
    store.maintain_at(now).await.unwrap();
    let table = &store.facts_10s;
    store.vacuum(table, now).await.unwrap();
    assert_eq!(data_files(&directory, "edges_10s").len(), 10, "eight replaced, one new, one orphan");
    let later = now + chrono::Duration::seconds(3600);
    let reading = store.readers.enter_at(now - chrono::Duration::seconds(3000));
    store.vacuum(table, later).await.unwrap();
    assert_eq!(data_files(&directory, "edges_10s").len(), 10, "somebody reads");
    drop(reading);
    store.vacuum(table, later).await.unwrap();
    let active: HashSet<String> = table.refresh().await.unwrap().files().iter().map(|file| file.path.clone()).collect();
    assert_eq!(data_files(&directory, "edges_10s"), active);
    assert_eq!(bytes(&store, 0, 10).await, 36);
    assert_eq!(store.counters().vacuumed_files, 9);
}

#[tokio::test]
async fn rows_expire_by_their_tables_retention_and_edges_after_their_facts() {
    let directory = tempfile::tempdir().unwrap();
    let config = StoreConfig { retention_10s_s: 7200, retention_1m_s: 86_400, ..config(&directory) };
    let store = open_with(&config).await;
    store.commit(&[batch("a", 1, vec![row(T0, edge(0), 1)])]).await.unwrap();
    store.commit(&[batch("a", 2, vec![row(T0 + 5000, edge(0), 2)])]).await.unwrap();
    store.maintain_at(from_seconds(T0 + 7300)).await.unwrap();
    let pods = EdgeQuery { filter: Some("source.pod = 'client-0'".to_owned()), ..day(&["tcp.bytes"]) };
    assert_eq!(store.edges(&pods).await.unwrap().rows[0].totals, [Some(2.0)]);
    // Minutes still know both, and are asked, short as the range is.
    let short = EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 6000), &[], &["tcp.bytes"]);
    let table = store.edges(&short).await.unwrap();
    assert_eq!((table.resolution_s, table.rows[0].totals[0]), (60, Some(3.0)));
    // So short a step too: better minutes than nothing.
    let fine = EdgeQuery { step_s: Some(10), ..EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 60), &[], &["tcp.bytes"]) };
    let table = store.edges(&fine).await.unwrap();
    assert_eq!((table.resolution_s, table.step_s, table.rows[0].series[0].clone()), (60, Some(60), vec![Some(1.0)]));
    assert_eq!(store.counters().expired_files, 1, "facts of the first batch; its receipt is kept with the minutes");
    let coverage = store.coverage_at(from_seconds(T0), from_seconds(T0 + 10), from_seconds(T0 + 7300)).await.unwrap();
    assert_eq!(coverage.fraction, 1.0);
    store.maintain_at(from_seconds(T0 + 2 * 86_400)).await.unwrap();
    assert!(store.edges(&short).await.unwrap().rows.is_empty());
}

#[tokio::test]
async fn over_its_size_the_store_drops_the_oldest_facts_that_are_rolled_up() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for sequence in 1..=20u64 {
        let rows = (0..50).map(|i| row(T0 + 3600 * sequence as i64, edge(i), 1)).collect();
        store.commit(&[batch("a", sequence, rows)]).await.unwrap();
    }
    store.maintain().await.unwrap();
    let full = store.counters().bytes;
    drop(store);
    let store = open_with(&StoreConfig { max_bytes: full * 3 / 4, ..config(&directory) }).await;
    store.maintain().await.unwrap();
    let counters = store.counters();
    assert!(counters.bytes <= full * 3 / 4 && counters.bytes > full / 2, "{} of {full}", counters.bytes);
    assert!(counters.evicted_files > 0);
    assert_eq!(bytes(&store, 20 * 3600, 21 * 3600).await, 50, "the newest stay");
    let pods = EdgeQuery {
        filter: Some("source.pod <> ''".to_owned()),
        ..EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 7200), &[], &["tcp.bytes"])
    };
    assert!(store.edges(&pods).await.unwrap().rows.is_empty(), "the oldest go");
}

/// Facts that went for want of room were not covered any more, whatever arrived.
#[tokio::test]
async fn receipts_go_with_the_minutes_that_they_speak_of() {
    use crate::AgentFacts;
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let hello = AgentFacts { agent_id: "a".to_owned(), interval_ms: 10_000, first_seen: from_seconds(T0), ..AgentFacts::default() };
    store.put_agent(hello).await.unwrap();
    for sequence in 1..=12u64 {
        let rows = (0..50).map(|i| row(T0 + 3600 * sequence as i64, edge(i), 1)).collect();
        store.commit(&[batch("a", sequence, rows)]).await.unwrap();
        store.roll_up().await.unwrap();
    }
    let held: u64 = store.sizes().await.unwrap().iter().map(|size| size.bytes).sum();
    drop(store);
    let store = open_with(&StoreConfig { max_bytes: held / 2, ..config(&directory) }).await;
    let covered = async |hour: i64| {
        let from = from_seconds(T0 + 3600 * hour);
        store.coverage_at(from, from + chrono::Duration::seconds(10), from_seconds(T0 + 90_000)).await.unwrap().fraction
    };
    assert_eq!((covered(1).await, covered(12).await), (1.0, 1.0));
    store.evict(from_seconds(T0 + 90_000)).await.unwrap();
    assert_eq!((bytes(&store, 3600, 7200).await, bytes(&store, 12 * 3600, 13 * 3600).await), (0, 50));
    assert_eq!((covered(1).await, covered(12).await), (0.0, 1.0));
}

/// A roll-up that cannot go on does not keep the store from its size.
#[tokio::test]
async fn over_its_size_the_store_drops_rows_that_are_not_rolled_up_at_last() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_with(&StoreConfig { max_bytes: 1, ..config(&directory) }).await;
    for sequence in 1..=3u64 {
        store.commit(&[batch("a", sequence, vec![row(T0 + 10 * sequence as i64, edge(0), 1)])]).await.unwrap();
    }
    store.evict(from_seconds(T0 + 100)).await.unwrap();
    assert!(store.facts_10s.refresh().await.unwrap().files().is_empty());
    let sizes = store.sizes().await.unwrap();
    assert_eq!((sizes[0].table, sizes[0].rows, sizes[0].bytes), ("edges_10s", 0, 0));
    assert!(sizes[0].disk_bytes > 0, "dropped files wait for their readers");
}

/// A hundred commits and more: checkpoint, clean log, and an opening that still knows every sequence.
#[tokio::test]
async fn the_log_is_checkpointed_and_cleaned_without_forgetting() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for sequence in 1..=120u64 {
        store.commit(&[batch(&format!("agent-{}", sequence % 3), sequence, vec![row(T0 + sequence as i64 * 10, edge(0), 1)])]).await.unwrap();
    }
    let sleeper = open(&directory).await;
    let later = chrono::Utc::now() + chrono::Duration::seconds(7200);
    store.maintain_at(later).await.unwrap();
    // The checkpoint holds a compaction that was after the roll-up: the next commit lets the roll-up, and so the clean-up, pass it.
    assert_eq!(store.commit(&[batch("agent-0", 121, vec![row(T0, edge(0), 1)])]).await.unwrap(), [crate::Committed::Now]);
    store.maintain_at(later).await.unwrap();
    assert!(store.facts_10s.checkpointed().await.unwrap() > 100);
    assert_eq!(store.facts_10s.entry(5).await.unwrap().map(|actions| actions.len()), None, "the log's start is gone");
    assert_eq!(sleeper.committed_sequence("agent-2").await.unwrap(), 119);
    let store = open(&directory).await;
    for (agent, sequence) in [("agent-0", 121), ("agent-1", 118), ("agent-2", 119)] {
        assert_eq!(store.committed_sequence(agent).await.unwrap(), sequence);
    }
    assert_eq!(bytes(&store, 0, 86_400).await, 121);
    assert_eq!(store.commit(&[batch("agent-0", 121, vec![row(T0, edge(0), 1)])]).await.unwrap(), [crate::Committed::Before]);
    assert_eq!(store.commit(&[batch("agent-0", 122, vec![row(T0, edge(0), 1)])]).await.unwrap(), [crate::Committed::Now]);
    assert_eq!(bytes(&sleeper, 0, 86_400).await, 122);
}
