use super::*;
use crate::{Committed, Committer, LifeFilter};
use edgescope_model::query::{EdgeQuery, EdgeSource};

#[tokio::test]
async fn a_committed_batch_is_there_once_and_after_reopening() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let first = batch("a", 1, vec![row(T0, edge(0), 100), row(T0, edge(1), 10)]);
    assert_eq!(store.commit(std::slice::from_ref(&first)).await.unwrap(), [Committed::Now]);
    assert_eq!(store.commit(std::slice::from_ref(&first)).await.unwrap(), [Committed::Before]);
    assert_eq!(bytes(&store, 0, 60).await, 110);
    drop(store);
    let store = open(&directory).await;
    assert_eq!(store.commit(&[first]).await.unwrap(), [Committed::Before]);
    assert_eq!(bytes(&store, 0, 60).await, 110);
    assert_eq!(store.committed_sequence("a").await.unwrap(), 1);
    assert_eq!(store.committed_sequence("b").await.unwrap(), 0);
    let table = store.edges(&EdgeQuery::totals(from_seconds(T0), from_seconds(T0 + 60), &["source.pod"], &["tcp.bytes"])).await.unwrap();
    assert_eq!(
        table.rows.iter().map(|row| (row.key[0].as_str(), row.totals[0])).collect::<Vec<_>>(),
        [("client-0", Some(100.0)), ("client-1", Some(10.0))]
    );
}

#[tokio::test]
async fn a_group_tells_new_from_old_and_takes_one_of_two_equals() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.commit(&[batch("a", 4, vec![row(T0, edge(0), 1)])]).await.unwrap();
    let group = [
        batch("a", 4, vec![row(T0, edge(0), 1)]),
        batch("b", 1, vec![row(T0, edge(0), 2)]),
        batch("a", 5, vec![row(T0, edge(0), 4)]),
        batch("b", 1, vec![row(T0, edge(0), 2)]),
        batch("c", 1, Vec::new()),
    ];
    use Committed::{Before, Now};
    assert_eq!(store.commit(&group).await.unwrap(), [Before, Now, Now, Before, Now]);
    assert_eq!(bytes(&store, 0, 10).await, 7);
    assert_eq!(store.committed_sequence("c").await.unwrap(), 1);
    let counters = store.counters();
    assert_eq!((counters.batches, counters.duplicates, counters.commits), (4, 2, 2));
}

/// Four stores on one directory, as four processes would have it, get the same batches at once, in groups of their own.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn four_writers_store_each_batch_once() {
    let directory = tempfile::tempdir().unwrap();
    let agents = 5;
    let mut writers = tokio::task::JoinSet::new();
    for writer in 0..4u64 {
        // By the real clock, as processes have it: files that the others are about to name are young by it.
        let store = Store::open(&config(&directory)).await.unwrap();
        writers.spawn(async move {
            let mut now = 0;
            for sequence in 1..=12u64 {
                let mut group: Vec<_> =
                    (0..agents).map(|a| batch(&format!("agent-{a}"), sequence, vec![row(T0 + 10 * sequence as i64, edge(a), 1 << a)])).collect();
                group.rotate_left(writer as usize);
                let half = group.split_off(2);
                for part in [group, half] {
                    now += store.commit(&part).await.unwrap().iter().filter(|c| **c == Committed::Now).count();
                }
                if writer == 0 && sequence % 4 == 0 {
                    store.maintain().await.unwrap();
                }
            }
            (now, store.counters().conflicts)
        });
    }
    let done = writers.join_all().await;
    assert_eq!(done.iter().map(|(now, _)| now).sum::<usize>(), 60, "{done:?}");
    assert!(done.iter().any(|(_, conflicts)| *conflicts > 0), "the writers never met: {done:?}");
    let store = open(&directory).await;
    assert_eq!(bytes(&store, 0, 3600).await, 12 * 31);
    assert_eq!(bytes(&store, 0, 86_400).await, 12 * 31);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_committer_answers_each_batch_after_a_common_commit() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let committer = Committer::start(Arc::clone(&store));
    let mut waiting = tokio::task::JoinSet::new();
    for agent in 0..50 {
        let committer = committer.clone();
        waiting.spawn(async move { committer.commit(batch(&format!("agent-{agent}"), 1, vec![row(T0, edge(agent), 1)])).await.unwrap() });
    }
    assert!(waiting.join_all().await.iter().all(|c| *c == Committed::Now));
    assert_eq!(bytes(&store, 0, 10).await, 50);
    assert!(store.counters().commits < 25, "{:?}", store.counters());
}

#[tokio::test]
async fn a_batch_that_can_never_be_stored_fails_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let committer = Committer::start(Arc::clone(&store));
    let (bad, good) = tokio::join!(
        committer.commit(batch("bad", u64::MAX, vec![row(T0, edge(0), 1)])),
        committer.commit(batch("good", 1, vec![row(T0, edge(0), 2)]))
    );
    assert!(bad.unwrap_err().to_string().contains("18446744073709551615"));
    assert_eq!(good.unwrap(), Committed::Now);
    assert_eq!(bytes(&store, 0, 10).await, 2);
}

/// Receipts are committed before facts: while facts fail, or after they are gone, nothing of them counts as covered.
#[tokio::test]
async fn coverage_is_of_facts_that_are_stored() {
    use crate::AgentFacts;
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let hello = AgentFacts { agent_id: "a".to_owned(), interval_ms: 10_000, first_seen: from_seconds(T0), ..AgentFacts::default() };
    store.put_agent(hello).await.unwrap();
    store.commit(&[batch("a", 1, vec![row(T0, edge(0), 1)])]).await.unwrap();
    // The receipt of a batch whose facts did not get in, written twice.
    let failed = batch("a", 2, vec![row(T0 + 10, edge(0), 1)]);
    for _ in 0..2 {
        crate::commit::append(&store.receipts.table, true, || crate::receipts::to_batch(&[&failed])).await.unwrap();
    }
    let coverage = store.coverage_at(from_seconds(T0), from_seconds(T0 + 50), from_seconds(T0 + 300)).await.unwrap();
    assert!((coverage.fraction - 0.2).abs() < 1e-9, "{coverage:?}");
    assert_eq!(coverage.silent, BTreeMap::from([("a".to_owned(), from_seconds(T0 + 10))]));
    store.commit(&[failed]).await.unwrap();
    let coverage = store.coverage_at(from_seconds(T0), from_seconds(T0 + 50), from_seconds(T0 + 300)).await.unwrap();
    assert!((coverage.fraction - 0.4).abs() < 1e-9 && coverage.silent.is_empty(), "{coverage:?}");
}

/// A node that died is not well: its agent is missed for a day.
#[tokio::test]
async fn a_silent_agent_is_expected_for_a_day() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.commit(&[batch("a", 1, vec![row(T0, edge(0), 1)])]).await.unwrap();
    let after = |to_s: i64| {
        let (from, to) = (from_seconds(T0 + to_s - 300), from_seconds(T0 + to_s));
        let store = Arc::clone(&store);
        async move { store.coverage_at(from, to, to + chrono::Duration::seconds(20)).await.unwrap() }
    };
    for hours in [1, 2, 12, 24] {
        let coverage = after(hours * 3600).await;
        assert_eq!((coverage.agents_expected, coverage.blind_spot().as_deref()), (1, Some("1 of 1 agents silent")), "{hours} h: {coverage:?}");
    }
    assert_eq!(after(24 * 3600 + 311).await.agents_expected, 0);
}

/// A new version of an agent is away for a moment, while the kernel counts on: what its next window tells with it was not missed.
#[tokio::test]
async fn windows_that_a_returned_agent_tells_later_are_covered() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let window = |sequence, start_s, caught_up_s: i64| {
        let mut batch = batch("a", sequence, vec![row(T0 + start_s, edge(0), 1)]);
        batch.receipt.caught_up_us = caught_up_s * 1_000_000;
        batch
    };
    // Windows 10, 20 and 30 come with that of 40; those from 50 to 90 with that of 100, which is too long ago to say when it was.
    for batch in [window(1, 0, 0), window(2, 40, 30), window(3, 100, 50)] {
        store.commit(&[batch]).await.unwrap();
    }
    let coverage = store.coverage_at(from_seconds(T0), from_seconds(T0 + 110), from_seconds(T0 + 120)).await.unwrap();
    assert!((coverage.fraction - 6.0 / 11.0).abs() < 1e-9, "{coverage:?}");
}

/// Whoever says that it ends is not missed: a node that is scaled away is no blind spot.
#[tokio::test]
async fn an_agent_that_left_is_expected_until_then() {
    use crate::AgentFacts;
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let greeting = AgentFacts { agent_id: "a".to_owned(), interval_ms: 10_000, first_seen: from_seconds(T0), ..AgentFacts::default() };
    for sequence in 1..=3 {
        store.commit(&[batch("a", sequence, vec![row(T0 + 10 * (sequence as i64 - 1), edge(0), 1)])]).await.unwrap();
    }
    let between = |from_s: i64, to_s: i64| {
        let (store, from, to) = (Arc::clone(&store), from_seconds(T0 + from_s), from_seconds(T0 + to_s));
        async move { store.coverage_at(from, to, to + chrono::Duration::seconds(20)).await.unwrap() }
    };
    store.put_agent(greeting.clone()).await.unwrap();
    assert_eq!(between(0, 300).await.blind_spot().as_deref(), Some("1 of 1 agents silent"));
    store.put_agent(AgentFacts { left_at: Some(from_seconds(T0 + 34)), ..greeting.clone() }).await.unwrap();
    let (while_there, after) = (between(0, 300).await, between(40, 300).await);
    assert_eq!((while_there.agents_expected, while_there.fraction, while_there.blind_spot()), (1, 1.0, None), "{while_there:?}");
    assert_eq!(after.agents_expected, 0, "{after:?}");
    let left = BTreeMap::from([("a".to_owned(), from_seconds(T0 + 34))]);
    assert_eq!((while_there.left, after.left), (left.clone(), left), "who looks is told that nobody is there");
    // Before it left it was expected as anybody is.
    store.put_agent(AgentFacts { left_at: Some(from_seconds(T0 + 400)), ..greeting }).await.unwrap();
    let before = between(0, 300).await;
    assert_eq!((before.blind_spot().as_deref(), before.left.len()), (Some("1 of 1 agents silent"), 0));
    store.commit(&[batch("a", 4, vec![row(T0 + 600, edge(0), 1)])]).await.unwrap();
    assert_eq!(between(450, 700).await.blind_spot().as_deref(), Some("1 of 1 agents silent"), "it came back, and fell silent");
}

/// Receipts of an older program may hold any number.
#[tokio::test]
async fn losses_without_measure_leave_coverage_readable() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    for sequence in 1..=2 {
        let mut lost = batch("a", sequence, vec![row(T0 + 10 * sequence as i64, edge(0), 1)]);
        lost.receipt.losses = BTreeMap::from([("x".to_owned(), u64::MAX), ("y".to_owned(), 1)]);
        store.commit(&[lost]).await.unwrap();
    }
    let coverage = store.coverage_at(from_seconds(T0), from_seconds(T0 + 60), from_seconds(T0 + 90)).await.unwrap();
    assert_eq!(coverage.losses, BTreeMap::from([("x".to_owned(), u64::MAX), ("y".to_owned(), 2)]));
}

#[tokio::test]
async fn endpoints_agents_alerts_and_coverage_come_back() {
    use crate::{AgentFacts, EndpointRow};
    use edgescope_model::alert::{Alert, AlertState};
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    let endpoint = EndpointRow {
        address: "fd00::7".parse().unwrap(),
        port: 0,
        owner: edge(3).source,
        agent_id: "a".to_owned(),
        from: from_seconds(T0),
        to: None,
        shared: true,
    };
    let mut with_endpoint = batch("a", 1, vec![row(T0, edge(0), 1)]);
    with_endpoint.endpoints.push(endpoint.clone());
    with_endpoint.receipt.losses.insert("ring_full".to_owned(), 3);
    store.commit(&[with_endpoint]).await.unwrap();
    // Windows 10 and 20 of 0..60 are missing.
    for (sequence, window) in [(2, 30), (3, 40), (4, 50)] {
        store.commit(&[batch("a", sequence, vec![row(T0 + window, edge(0), 1)])]).await.unwrap();
    }
    let hello = |seen| AgentFacts { agent_id: "a".to_owned(), interval_ms: 10_000, first_seen: from_seconds(seen), ..AgentFacts::default() };
    store.put_agent(hello(T0)).await.unwrap();
    store.put_agent(hello(T0 + 500)).await.unwrap();
    let mut alert = Alert {
        id: "x".to_owned(),
        detector: "retransmission".to_owned(),
        signal: "tcp.retrans_rate".to_owned(),
        state: AlertState::Firing,
        labels: BTreeMap::new(),
        since: from_seconds(T0),
        fired_at: None,
        resolved_at: None,
        value: 0.1,
        threshold: 0.02,
        baseline: None,
        baseline_s: 0,
        samples: 10,
        summary: String::new(),
        incident: None,
    };
    store.put_alerts(std::slice::from_ref(&alert)).await.unwrap();
    alert.state = AlertState::Resolved;
    store.put_alerts(std::slice::from_ref(&alert)).await.unwrap();
    drop(store);

    let store = open(&directory).await;
    assert_eq!(store.endpoints_since(from_seconds(T0)).await.unwrap(), [endpoint]);
    assert_eq!(store.agents().await.unwrap()[0].first_seen, from_seconds(T0));
    assert_eq!(store.alerts(&LifeFilter::default()).await.unwrap(), [alert]);
    assert!(store.alerts(&LifeFilter { open: true, ..LifeFilter::default() }).await.unwrap().is_empty());
    let coverage = store.coverage_at(from_seconds(T0), from_seconds(T0 + 60), from_seconds(T0 + 90)).await.unwrap();
    assert_eq!((coverage.agents_expected, coverage.agents_reporting), (1, 1));
    assert!((coverage.fraction - 4.0 / 6.0).abs() < 1e-9, "{coverage:?}");
    assert_eq!(coverage.losses, BTreeMap::from([("ring_full".to_owned(), 3)]));
    assert!(coverage.silent.is_empty());
    let later = store.coverage_at(from_seconds(T0), from_seconds(T0 + 120), from_seconds(T0 + 200)).await.unwrap();
    assert_eq!(later.silent, BTreeMap::from([("a".to_owned(), from_seconds(T0 + 60))]));
}
