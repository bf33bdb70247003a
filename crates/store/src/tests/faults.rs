//! A disk that fails: whatever fails when, what was acknowledged is there, and what was not is not counted twice when it is sent again.

use super::*;
use crate::durable::{Faults, Step};
use crate::{Committed, StoreError};
use std::io;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::{Duration, Instant};

/// A disk one of whose next steps fails.
#[derive(Default)]
struct Disk {
    /// Steps until the one that fails; negative: none.
    countdown: AtomicI64,
    fired: AtomicBool,
    /// Whether all after it fail too.
    forever: bool,
}

impl Disk {
    fn new(forever: bool) -> Arc<Self> {
        Arc::new(Self { countdown: AtomicI64::new(-1), forever, ..Self::default() })
    }

    fn faults(self: &Arc<Self>) -> Option<Faults> {
        let disk = Arc::clone(self);
        Some(Arc::new(move |_, _| disk.step()))
    }

    fn step(&self) -> io::Result<()> {
        let next = |left: i64| match left {
            0 if self.forever => Some(0),
            ..0 => None,
            left => Some(left - 1),
        };
        if self.countdown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next) != Ok(0) {
            return Ok(());
        }
        self.fired.store(true, Ordering::SeqCst);
        Err(io::Error::new(io::ErrorKind::StorageFull, "no space, says the test"))
    }

    fn break_after(&self, steps: i64) {
        self.fired.store(false, Ordering::SeqCst);
        self.countdown.store(steps, Ordering::SeqCst);
    }

    /// Works again; whether something failed.
    fn repair(&self) -> bool {
        self.countdown.store(-1, Ordering::SeqCst);
        self.fired.load(Ordering::SeqCst)
    }
}

/// Every step of a commit fails once, in turn: the first write of the first file, its sync, its name, its directory's sync, and so on to the log's.
async fn each_step_fails(forever: bool) {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(forever);
    let store = Store::open_with(&config(&directory), disk.faults(), clock).await.unwrap();
    let (mut acknowledged, mut failures) = (0, 0);
    for step in 0.. {
        let sequence = step as u64 + 1;
        // A new edge each time, so that its name is written too.
        let part = batch("a", sequence, vec![row(T0 + 10 * step, edge(sequence), 1)]);
        disk.break_after(step);
        let done = store.commit(std::slice::from_ref(&part)).await;
        let fired = disk.repair();
        assert_eq!(done.is_err(), fired, "step {step}: a failure that nobody saw, or an error without one: {done:?}");
        if let Err(error) = &done {
            failures += 1;
            assert!(error.is_full(), "{error}");
            let seen = bytes(&*open(&directory).await, 0, 3600).await;
            assert!(seen == acknowledged || seen == acknowledged + 1, "step {step}: {seen} of {acknowledged}");
            // The disk works again and the agent sends the batch again.
            let outcome = store.commit(std::slice::from_ref(&part)).await.unwrap();
            assert_eq!(outcome[0] == Committed::Before, seen == acknowledged + 1, "step {step}");
        }
        acknowledged += 1;
        assert_eq!(bytes(&store, 0, 3600).await, acknowledged, "step {step}");
        if !fired {
            break;
        }
    }
    // Names, receipts and facts: a file and a log entry each, of five steps each.
    assert_eq!(failures, 30);
    store.maintain().await.unwrap();
    assert_eq!(bytes(&*open(&directory).await, 0, 86_400).await, acknowledged);
}

#[tokio::test]
async fn no_step_of_a_commit_may_fail_unseen() {
    each_step_fails(false).await;
}

#[tokio::test]
async fn a_disk_that_stays_broken_acknowledges_nothing() {
    each_step_fails(true).await;
}

/// Background work that fails anywhere loses and doubles nothing.
#[tokio::test]
async fn each_step_of_the_background_work_fails() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(false);
    let store = Store::open_with(&config(&directory), disk.faults(), clock).await.unwrap();
    let mut total = 0;
    for round in 0..40u64 {
        for part in 0..3 {
            let sequence = round * 3 + part + 1;
            store.commit(&[batch("a", sequence, vec![row(T0 + 10 * sequence as i64, edge(sequence % 4), 1)])]).await.unwrap();
            total += 1;
        }
        disk.break_after(round as i64);
        let done = store.maintain_at(from_seconds(T0 + 40_000)).await;
        assert_eq!(done.is_err(), disk.repair(), "round {round}: {done:?}");
        assert_eq!(bytes(&store, 0, 3600).await, total, "round {round}, ten seconds");
        assert_eq!(bytes(&store, 0, 86_400).await, total, "round {round}, minutes");
    }
    assert_eq!(store.counters().maintenance_failures, 40);
    store.maintain_at(from_seconds(T0 + 40_000)).await.unwrap();
    assert_eq!(bytes(&*open(&directory).await, 0, 86_400).await, total);
}

/// The order of a commit on the disk: a name only after the file's sync, an end only after the directory's, the log's entry last.
#[tokio::test]
async fn files_are_synced_before_they_are_named_and_named_before_the_acknowledgement() {
    let directory = tempfile::tempdir().unwrap();
    let steps = Arc::new(Mutex::new(Vec::<(Step, PathBuf)>::new()));
    let recorder = {
        let steps = Arc::clone(&steps);
        Arc::new(move |step, path: &std::path::Path| {
            steps.lock().unwrap().push((step, path.to_owned()));
            Ok(())
        })
    };
    let store = Store::open_with(&config(&directory), Some(recorder), clock).await.unwrap();
    store.commit(&[batch("a", 1, vec![row(T0, edge(0), 1)])]).await.unwrap();
    steps.lock().unwrap().clear();
    store.commit(&[batch("a", 2, vec![row(T0, edge(0), 1)])]).await.unwrap();
    let steps = steps.lock().unwrap().clone();
    let facts: Vec<_> = steps.iter().filter(|(_, path)| path.display().to_string().contains("/edges_10s")).collect();
    let kinds: Vec<Step> = facts.iter().map(|(step, _)| *step).collect();
    use Step::{Create, Name, SyncDirectory, SyncFile, Write};
    assert_eq!(kinds, [Create, Write, SyncFile, Name, SyncDirectory, Create, Write, SyncFile, Name, SyncDirectory]);
    let names: Vec<String> = facts.iter().filter(|(step, _)| *step == Name).map(|(_, path)| path.display().to_string()).collect();
    assert!(names[0].ends_with(".parquet") && names[1].ends_with("_delta_log/00000000000000000002.json"), "{names:?}");
    let last_receipt = steps.iter().rposition(|(_, path)| path.display().to_string().contains("/agent_windows")).unwrap();
    let entry = steps.iter().position(|(step, path)| *step == Name && path.display().to_string() == names[1]).unwrap();
    assert!(last_receipt < entry, "names and receipts are safe before the facts");
}

/// A directory whose syncs fail while this is set.
#[derive(Default)]
struct Unsynced(Mutex<Option<&'static str>>);

impl Unsynced {
    fn faults(self: &Arc<Self>) -> Option<Faults> {
        let this = Arc::clone(self);
        Some(Arc::new(move |step, path: &std::path::Path| match *this.0.lock().unwrap() {
            Some(end) if step == Step::SyncDirectory && path.ends_with(end) => Err(io::Error::other("no sync, says the test")),
            _ => Ok(()),
        }))
    }

    fn set(&self, end: Option<&'static str>) {
        *self.0.lock().unwrap() = end;
    }
}

/// Names that can be seen but may be lost with the power: facts that lean on them are not acknowledged.
#[tokio::test]
async fn a_fact_waits_until_its_name_is_safe() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Arc::new(Unsynced::default());
    let store = Store::open_with(&config(&directory), disk.faults(), clock).await.unwrap();
    disk.set(Some("edge_dims/_delta_log"));
    let first = batch("a", 1, vec![row(T0, edge(0), 1)]);
    store.commit(std::slice::from_ref(&first)).await.unwrap_err();
    // The entry is there and read, its name in the directory not safe.
    store.dims.refresh().await.unwrap();
    assert!(store.dims.read().edge(edge(0).key()).is_some());
    store.commit(std::slice::from_ref(&first)).await.unwrap_err();
    assert_eq!(bytes(&store, 0, 10).await, 0);
    disk.set(None);
    assert_eq!(store.commit(&[first]).await.unwrap(), [Committed::Now]);
}

/// A directory that was made and whose name is not safe is not taken for one that is.
#[tokio::test]
async fn a_directory_is_named_safely_before_anything_is_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/data");
    let disk = Arc::new(Unsynced::default());
    disk.set(Some("new"));
    let config = StoreConfig { path: path.display().to_string(), ..config(&directory) };
    for _ in 0..2 {
        let error = Store::open_with(&config, disk.faults(), clock).await.err().unwrap();
        assert!(error.to_string().contains("no sync"), "{error}");
        assert!(path.is_dir(), "made all the same");
    }
    disk.set(None);
    Store::open_with(&config, disk.faults(), clock).await.unwrap();
}

/// Whatever cannot be written, what only deletes is done: a disk that the store filled gets room again.
#[tokio::test]
async fn background_work_that_cannot_write_still_deletes() {
    let directory = tempfile::tempdir().unwrap();
    let disk = Disk::new(true);
    let store = Store::open_with(&config(&directory), disk.faults(), clock).await.unwrap();
    for sequence in 1..=8u64 {
        store.commit(&[batch("a", sequence, vec![row(T0, edge(sequence), 1)])]).await.unwrap();
    }
    let now = chrono::Utc::now();
    store.maintain_at(now).await.unwrap();
    store.commit(&[batch("a", 9, vec![row(T0, edge(0), 1)])]).await.unwrap();
    disk.break_after(0);
    let error = store.maintain_at(now + chrono::Duration::seconds(3600)).await.unwrap_err();
    assert!(error.is_full(), "{error}");
    assert!(store.counters().vacuumed_files >= 8, "{:?}", store.counters());
    disk.repair();
    assert_eq!(bytes(&store, 0, 10).await, 9);
}

/// Names that cannot be read any more do not take the facts with them, and come back with the edges.
#[tokio::test]
async fn an_unreadable_file_of_names_does_not_stop_the_store() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory).await;
    store.commit(&[batch("a", 1, vec![row(T0, edge(0), 1)])]).await.unwrap();
    drop(store);
    for file in std::fs::read_dir(directory.path().join("edge_dims")).unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_some_and(|end| end == "parquet") {
            std::fs::write(file, b"no parquet").unwrap();
        }
    }
    let store = open(&directory).await;
    assert_eq!((bytes(&store, 0, 10).await, store.counters().unreadable_dims), (1, 1));
    store.commit(&[batch("a", 2, vec![row(T0, edge(0), 2)])]).await.unwrap();
    assert!(store.dims.read().edge(edge(0).key()).is_some());
    assert_eq!(bytes(&store, 0, 10).await, 3);
}

/// A small file system of its own; gone with the value.
struct Tmpfs(tempfile::TempDir);

impl Tmpfs {
    fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(directory.path()).status().unwrap();
        assert!(mounted.success(), "mounting a tmpfs needs root");
        Self(directory)
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

#[tokio::test]
async fn a_full_disk_refuses_and_recovers() {
    let disk = Tmpfs::new("3m");
    let store = open(&disk.0).await;
    let ballast = disk.0.path().join("ballast");
    store.commit(&[batch("a", 1, vec![row(T0, edge(0), 1)])]).await.unwrap();
    std::fs::write(&ballast, vec![0; 64 << 20]).unwrap_err();
    let mut acknowledged = 1;
    let part = |sequence: u64| batch("a", sequence, (0..200).map(|i| row(T0, edge(i), 1)).collect());
    let error = store.commit(&[part(2)]).await.unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error}");
    assert!(error.to_string().contains("free space"));
    assert_eq!(bytes(&store, 0, 10).await, acknowledged, "what is stored can still be read");
    std::fs::remove_file(&ballast).unwrap();
    assert_eq!(store.commit(&[part(2)]).await.unwrap(), [Committed::Now]);
    acknowledged += 200;
    assert_eq!(bytes(&store, 0, 10).await, acknowledged);
    drop(store);
    assert_eq!(bytes(&*open(&disk.0).await, 0, 10).await, acknowledged);
}

const CRASH_DIRECTORY: &str = "EDGESCOPE_TEST_CRASH_DIRECTORY";

/// Not a test: what [`killed_at_any_moment_the_acknowledged_is_there`] starts and kills. Prints each sequence after its acknowledgement.
#[tokio::test]
async fn writer_to_be_killed() {
    let Ok(path) = std::env::var(CRASH_DIRECTORY) else { return };
    let store = Store::open_with(&StoreConfig { path, maintenance_interval_s: 0, ..StoreConfig::default() }, None, clock).await.unwrap();
    let first = store.committed_sequence("a").await.unwrap() + 1;
    for sequence in first.. {
        store.commit(&[batch("a", sequence, vec![row(T0 + 10 * (sequence as i64 % 360), edge(sequence % 5), 1)])]).await.unwrap();
        println!("acknowledged {sequence}");
        if sequence % 6 == 0 {
            store.maintain_at(from_seconds(T0 + 40_000)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn killed_at_any_moment_the_acknowledged_is_there() {
    use std::io::BufRead as _;
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..8u64 {
        let mut writer = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "tests::faults::writer_to_be_killed", "--nocapture"])
            .env(CRASH_DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = io::BufReader::new(writer.stdout.take().unwrap()).lines();
        let started = Instant::now();
        for line in lines.map_while(Result::ok) {
            if let Some(sequence) = line.split("acknowledged ").nth(1) {
                acknowledged = sequence.trim().parse().unwrap();
            }
            // At another point of its work each time.
            if started.elapsed() > Duration::from_millis(400 + 37 * round) && acknowledged % 7 >= round % 7 {
                break;
            }
        }
        writer.kill().unwrap();
        writer.wait().unwrap();
        let opening = Instant::now();
        let store = open(&directory).await;
        let stored = store.committed_sequence("a").await.unwrap();
        assert!(opening.elapsed() < Duration::from_secs(2), "round {round}: opened after {:?}", opening.elapsed());
        assert!(stored >= acknowledged, "round {round}: {acknowledged} acknowledged, {stored} stored");
        acknowledged = stored;
        assert_eq!(bytes(&store, 0, 3600).await, stored, "round {round}, ten seconds");
        assert_eq!(bytes(&store, 0, 86_400).await, stored, "round {round}, minutes");
    }
    assert!(acknowledged > 20, "the writer did not get to write: {acknowledged}");
}
