//! Until when each receiver has everything: kept in a small file, so that a restart goes on where the last run ended.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Largest file that is read, in bytes: ten times what this server writes.
const FILE_BYTES_MAX: u64 = 16 << 10;

/// What the file holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    /// Tells this server from others over its restarts (`service.instance.id`).
    instance_id: String,
    /// End of the last slot that a receiver took, by receiver.
    exported_until: BTreeMap<String, DateTime<Utc>>,
}

/// The marks of all receivers.
#[derive(Debug)]
pub struct Marks {
    /// `None`: they are forgotten at the end.
    path: Option<PathBuf>,
    held: Mutex<Held>,
}

/// A file of marks that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    #[error("export.state_file {path}: {source}", path = .path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("export.state_file {path} is not one of this program's: {reason}; move it away, and exports begin anew", path = .path.display())]
    Broken { path: PathBuf, reason: String },
}

impl Marks {
    /// Reads the file; there may be none yet. A new server gets an id.
    ///
    /// # Errors
    /// If it cannot be read, or is of something else: to begin anew in silence would skip slots.
    pub fn open(path: Option<PathBuf>) -> Result<Self, MarkError> {
        let mut held = path.as_deref().map(read).transpose()?.flatten().unwrap_or_default();
        let new = held.instance_id.is_empty();
        if new {
            held.instance_id = format!("{:032x}", rand::random::<u128>());
        }
        let marks = Self { path, held: Mutex::new(held) };
        if new {
            marks.write().map_err(|source| MarkError::File { path: marks.path.clone().unwrap_or_default(), source })?;
        }
        Ok(marks)
    }

    pub fn instance_id(&self) -> String {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).instance_id.clone()
    }

    /// End of the last slot that this receiver took.
    pub fn of(&self, sink: &str) -> Option<DateTime<Utc>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).exported_until.get(sink).copied()
    }

    /// Remembers it. Blocks on the disk.
    ///
    /// # Errors
    /// If it cannot be written; it holds for this run then.
    pub fn set(&self, sink: &str, until: DateTime<Utc>) -> io::Result<()> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).exported_until.insert(sink.to_owned(), until);
        self.write()
    }

    /// Writes beside and renames, so that a crash leaves the old file or the new one. One writer at a time: the lock is held meanwhile.
    fn write(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let text = serde_json::to_vec_pretty(&*held).map_err(io::Error::other)?;
        let beside = path.with_extension("json.new");
        let mut file = fs::File::create(&beside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        fs::File::open(folder)?.sync_all()
    }
}

fn read(path: &Path) -> Result<Option<Held>, MarkError> {
    let file = |source| MarkError::File { path: path.to_owned(), source };
    let broken = |reason: String| MarkError::Broken { path: path.to_owned(), reason };
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file(error)),
        Ok(facts) if facts.len() > FILE_BYTES_MAX => return Err(broken(format!("it has {} bytes", facts.len()))),
        Ok(_) => {}
    }
    let text = fs::read(path).map_err(file)?;
    serde_json::from_slice(&text).map(Some).map_err(|e| broken(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::time::from_seconds;

    #[test]
    fn marks_and_id_outlive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("export.json");
        let first = Marks::open(Some(path.clone())).unwrap();
        assert_eq!(first.of("otlp"), None);
        first.set("otlp", from_seconds(60)).unwrap();
        first.set("remote_write", from_seconds(30)).unwrap();
        let again = Marks::open(Some(path.clone())).unwrap();
        assert_eq!((again.of("otlp"), again.of("remote_write")), (Some(from_seconds(60)), Some(from_seconds(30))));
        assert_eq!(again.instance_id(), first.instance_id());
        fs::write(&path, "{").unwrap();
        assert!(Marks::open(Some(path)).unwrap_err().to_string().contains("move it away"));
    }

    #[test]
    fn without_a_file_it_holds_for_the_run() {
        let marks = Marks::open(None).unwrap();
        marks.set("otlp", from_seconds(1)).unwrap();
        assert_eq!((marks.of("otlp"), marks.instance_id().len()), (Some(from_seconds(1)), 32));
    }
}
