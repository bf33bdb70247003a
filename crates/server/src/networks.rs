//! The user's files about the outside (`identity.networks`), taken again when they change.

use crate::intake::Names;
use crate::server::stopped_within;
use crate::tables::{Reading, ReadingKind};
use edgescope_identity::networks::files::Files;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often the files are looked at for changes.
pub(crate) const EVERY: Duration = Duration::from_secs(10);

/// Takes changed files; of a broken one what was read before stays in force.
pub(crate) async fn watch(mut files: Files, names: Arc<Names>, every: Duration, mut stop: watch::Receiver<bool>) {
    while !stopped_within(every, &mut stop).await {
        let mut looked = files.clone();
        let (looked, changes) = match tokio::task::spawn_blocking(move || {
            let changes = looked.read_changed();
            (looked, changes)
        })
        .await
        {
            Ok(done) => done,
            Err(error) => {
                tracing::warn!(%error, "reading the files of identity.networks failed; what was read before stays in force");
                continue;
            }
        };
        files = looked;
        for error in &changes.broken {
            tracing::warn!(%error, "what was read of this file before stays in force");
        }
        if !changes.read.is_empty() {
            tracing::info!(files = ?changes.read, "files of identity.networks read again");
            names.set_networks(Arc::new(files.networks()));
        }
    }
}

/// Their numbers, for `/metrics`.
pub(crate) fn readings(names: &Names) -> Vec<Reading> {
    let reading =
        |name: &str, help: &str, kind, value: u64| Reading { name: format!("networks_{name}"), help: help.to_owned(), kind, value: value as f64 };
    names.read(|directory| {
        let networks = directory.networks();
        vec![
            reading("files", "Files that tell whose addresses outside are", ReadingKind::Gauge, networks.files() as u64),
            reading("ranges", "Ranges of addresses that their lists tell apart", ReadingKind::Gauge, networks.ranges() as u64),
            reading("files_broken", "Changed files that could not be used", ReadingKind::Counter, networks.files_broken()),
            reading("lookup_failures", "Addresses that a damaged database could not look up", ReadingKind::Counter, networks.lookup_failures()),
        ]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_identity::directory::{Directory, Limits};
    use edgescope_identity::networks::NetworksConfig;
    use edgescope_identity::rules::Rules;
    use std::fs;
    use std::time::SystemTime;

    const LOOK: Duration = Duration::from_millis(10);

    fn called(names: &Names) -> Option<String> {
        names.read(|directory| directory.networks().find("203.0.113.7".parse().unwrap()).named.map(|hit| hit.name.to_string()))
    }

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while !is_so() {
            assert!(tokio::time::Instant::now() < deadline, "{what} did not come within 20 s");
            tokio::time::sleep(LOOK).await;
        }
    }

    #[tokio::test]
    async fn changed_files_name_ends_without_a_restart_and_broken_ones_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("offices.csv");
        // Each with another time, however fast the test runs.
        let write = |text: &str, seconds: u64| {
            fs::write(&path, text).unwrap();
            fs::File::options().write(true).open(&path).unwrap().set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
        };
        write("203.0.113.0/24,office", 1000);
        let files = Files::read(&NetworksConfig { files: vec![path.clone()] }).unwrap();
        let names = Arc::new(Names::new(Directory::new(Limits::default(), Rules::default())));
        names.set_networks(Arc::new(files.networks()));
        assert_eq!(called(&names).as_deref(), Some("office"));
        let stop = watch::Sender::new(false);
        let task = tokio::spawn(super::watch(files, Arc::clone(&names), LOOK, stop.subscribe()));
        write("203.0.113.0/24,bureau", 2000);
        until("the new name", || called(&names).as_deref() == Some("bureau")).await;
        write("nonsense", 3000);
        let value = |name: &str| readings(&names).into_iter().find(|reading| reading.name == name).unwrap().value;
        until("the broken file", || value("networks_files_broken") == 1.0).await;
        assert_eq!(called(&names).as_deref(), Some("bureau"), "as before it was broken");
        assert_eq!((value("networks_files"), value("networks_ranges"), value("networks_lookup_failures")), (1.0, 1.0, 0.0));
        stop.send_replace(true);
        task.await.unwrap();
    }
}
