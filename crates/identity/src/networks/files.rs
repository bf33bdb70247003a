//! The files on disk: read at start, and again when they change.

use super::{Counters, DATABASE_BYTES_MAX, Networks, NetworksConfig, NetworksError, Source, Wrong};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// By what a change of a file is seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    bytes: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|data| Self { modified: data.modified().ok(), bytes: data.len() })
    }
}

/// A file with what was last read of it.
#[derive(Debug, Clone)]
struct Watched {
    path: PathBuf,
    seen: Option<Stamp>,
    source: Arc<Source>,
}

/// The files of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Files {
    watched: Vec<Watched>,
    counters: Arc<Counters>,
}

/// What looking again has found.
#[derive(Debug, Default)]
pub struct Changes {
    /// Files that were read anew, by name.
    pub read: Vec<String>,
    /// Files that changed and cannot be used: what was read of them before stays.
    pub broken: Vec<NetworksError>,
}

impl Files {
    /// Reads all of them.
    ///
    /// # Errors
    /// Names the first file that cannot be used, with line or field.
    pub fn read(config: &NetworksConfig) -> Result<Self, NetworksError> {
        config.check()?;
        let read = |path: &PathBuf| {
            let seen = Stamp::of(path);
            Ok(Watched { source: Arc::new(read(path)?), path: path.clone(), seen })
        };
        Ok(Self { watched: config.files.iter().map(read).collect::<Result<_, _>>()?, counters: Arc::default() })
    }

    /// Reads those again that have another time or size than before. A broken one is tried once more only when it has changed again.
    pub fn read_changed(&mut self) -> Changes {
        let mut changes = Changes::default();
        for file in &mut self.watched {
            let now = Stamp::of(&file.path);
            if now == file.seen {
                continue;
            }
            file.seen = now;
            match read(&file.path) {
                Ok(source) => {
                    file.source = Arc::new(source);
                    changes.read.push(file.path.display().to_string());
                }
                Err(error) => {
                    self.counters.files_broken.fetch_add(1, Ordering::Relaxed);
                    changes.broken.push(error);
                }
            }
        }
        changes
    }

    /// What they say together.
    pub fn networks(&self) -> Networks {
        let sources = self.watched.iter().map(|file| Arc::clone(&file.source)).collect();
        Networks { sources, counters: Arc::clone(&self.counters) }
    }

    pub fn is_empty(&self) -> bool {
        self.watched.is_empty()
    }
}

fn read(path: &Path) -> Result<Source, NetworksError> {
    let wrong = |wrong: Wrong| NetworksError::File { path: path.to_owned(), wrong };
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
    let bytes = bounded(path).map_err(wrong)?;
    Source::parse(&name, bytes).map_err(wrong)
}

fn bounded(path: &Path) -> Result<Vec<u8>, Wrong> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(DATABASE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > DATABASE_BYTES_MAX { Err(Wrong::TooLarge(DATABASE_BYTES_MAX)) } else { Ok(bytes) }
}
