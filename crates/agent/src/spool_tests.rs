//! The spool by itself: what it keeps, and what it does not believe.

use super::*;
use crate::delta::Told;
use crate::testing::key;
use tempfile::TempDir;

fn files(directory: &TempDir, ending: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(directory.path()).unwrap().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = all.filter(|path| path.extension().is_some_and(|e| e == ending)).collect();
    files.sort();
    files
}

fn open(directory: &TempDir) -> (Spool, Option<Checkpoint>) {
    Spool::open(directory.path(), Limits::default()).unwrap()
}

fn checkpoint(flows: u8) -> Checkpoint {
    let flows = (0..flows).map(|n| (key(n), Told { quiet: 1, ..Told::default() })).collect();
    Checkpoint { epoch: 7, baseline: Baseline { flows }, window_end_us: 9, ..Checkpoint::default() }
}

#[test]
fn damaged_files_are_few_and_a_damaged_base_is_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&directory);
    (0..7).for_each(|_| spool.append(&checkpoint(1), vec![Batch::default()]).unwrap());
    drop(spool);
    files(&directory, SUFFIX).iter().for_each(|path| fs::write(path, b"x").unwrap());
    assert_eq!(open(&directory).0.corrupt(), 7);
    assert_eq!(files(&directory, DAMAGED).len(), DAMAGED_MAX);
    fs::write(directory.path().join(BASE), b"seven").unwrap();
    let error = Spool::open(directory.path(), Limits::default()).unwrap_err().to_string();
    assert!(error.contains("base is not a number"), "{error}");
}

#[test]
fn only_the_newest_of_the_waiting_files_has_the_baseline() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&directory);
    let told = checkpoint(200);
    for sockets in 1..=3 {
        spool.append(&told, vec![Batch { sockets, ..Batch::default() }]).unwrap();
    }
    let sizes: Vec<u64> = files(&directory, SUFFIX).iter().map(|path| path.metadata().unwrap().len()).collect();
    assert!(sizes[0] < 100 && sizes[1] < 100 && sizes[2] > 10_000, "{sizes:?}");
    assert_eq!(spool.bytes(), sizes.iter().sum::<u64>());
    drop(spool);
    let (mut spool, again) = open(&directory);
    assert_eq!(again, Some(told));
    spool.contact(0).unwrap();
    for sockets in 1..=3 {
        let batch = spool.oldest().unwrap().unwrap();
        assert_eq!((batch.sockets, batch.sequence), (sockets, sockets));
        spool.acknowledge(batch.sequence);
    }
    assert!(spool.oldest().unwrap().is_none());
}

/// Else what the newest has told would be told again.
#[test]
fn an_older_file_is_no_baseline() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&directory);
    (0..2).for_each(|_| spool.append(&checkpoint(1), vec![Batch::default()]).unwrap());
    drop(spool);
    fs::write(files(&directory, SUFFIX).pop().unwrap(), b"x").unwrap();
    // Set aside by the first, not there for the second.
    assert_eq!(open(&directory).1, None);
    assert_eq!(open(&directory).1, None);
}

#[test]
fn a_sequence_that_no_agent_gave_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let (mut spool, _) = open(&directory);
    for committed in [u64::MAX, SEQUENCE_MAX] {
        assert!(spool.contact(committed).unwrap_err().to_string().contains("give it another agent.id"), "{committed}");
    }
    spool.contact(SEQUENCE_MAX - 1).unwrap();
    spool.append(&checkpoint(0), vec![Batch::default()]).unwrap();
    assert_eq!(spool.oldest().unwrap().unwrap().sequence, SEQUENCE_MAX, "the last one that the intake takes");
}
