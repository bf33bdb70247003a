//! A run's directory, by which it is known to be alive, and what is done about those that are not.
//!
//! Everything a run makes carries its id: the directory `/run/edgescope-testbed/ID` and namespaces `esID-…`. The process that
//! owns a run holds a lock on its directory; the kernel lets go of it however that process ends. What is not locked is dead
//! and may be deleted.

use crate::netns::{self, NetnsError};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where runs are registered.
pub const RUNS_DIR: &str = "/run/edgescope-testbed";

/// A directory that is being made has a name that begins so, until it is locked.
const UNBORN: &str = ".new-";

/// An unborn directory older than this was left by a process that died at once.
const UNBORN_AGE_MAX: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("cannot {what} {path}: {source}", path = path.display())]
    Io { what: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Netns(#[from] NetnsError),
}

/// A live run's directory; dropping it lets go of the lock and leaves the rest to [`remove`].
#[derive(Debug)]
pub struct RunDir {
    pub id: String,
    pub path: PathBuf,
    lock: File,
}

impl RunDir {
    /// Makes a directory for a new run and locks it.
    pub fn create() -> Result<RunDir, RunError> {
        let id = format!("{:06x}", rand::random::<u32>() & 0xff_ffff);
        let unborn = Path::new(RUNS_DIR).join(format!("{UNBORN}{id}"));
        let path = Path::new(RUNS_DIR).join(&id);
        let failed = |what| {
            let path = path.clone();
            move |source| RunError::Io { what, path, source }
        };
        for part in ["control", "log", "config", "witness"] {
            fs::create_dir_all(unborn.join(part)).map_err(failed("create"))?;
        }
        let lock = File::create(unborn.join("lock")).map_err(failed("create the lock of"))?;
        lock.lock().map_err(failed("lock"))?;
        // From here on others see it, and see that it is alive. An id that exists already makes this fail.
        fs::rename(&unborn, &path).map_err(failed("create"))?;
        Ok(RunDir { id, path, lock })
    }

    /// Lets go of the lock: what is still there is from now on for the keeper to remove.
    pub fn release(&self) {
        // It fails only for a file that is not open; the lock ends with the process anyway.
        let _ = self.lock.unlock();
    }

    /// What the names of this run's namespaces begin with.
    pub fn prefix(&self) -> String {
        prefix(&self.id)
    }
}

fn prefix(id: &str) -> String {
    format!("es{id}-")
}

/// Deletes what dead runs left: processes, namespaces, directories. Runs that live are not touched. Returns the ids of those
/// removed.
///
/// # Errors
/// When something that belongs to a dead run cannot be deleted.
pub fn clean() -> Result<Vec<String>, RunError> {
    let Ok(entries) = fs::read_dir(RUNS_DIR) else { return Ok(Vec::new()) };
    let mut removed = Vec::new();
    for entry in entries.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        if id.starts_with(UNBORN) {
            clean_unborn(&entry.path());
        } else if remove_if_dead(&id)? {
            removed.push(id);
        }
    }
    Ok(removed)
}

fn clean_unborn(path: &Path) {
    let age = fs::metadata(path).and_then(|m| m.modified()).ok().and_then(|t| t.elapsed().ok());
    if age.is_some_and(|age| age > UNBORN_AGE_MAX) {
        // Somebody else may be cleaning too; whoever comes second finds nothing.
        let _ = fs::remove_dir_all(path);
    }
}

/// Removes a run unless its owner lives; says whether it did.
pub fn remove_if_dead(id: &str) -> Result<bool, RunError> {
    let path = Path::new(RUNS_DIR).join(id);
    let lock = match File::open(path.join("lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(source) => return Err(RunError::Io { what: "open the lock of", path, source }),
    };
    match lock.try_lock() {
        Ok(()) => remove(id).map(|()| true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(source)) => Err(RunError::Io { what: "lock", path, source }),
    }
}

/// Removes a run's processes, namespaces and directory. The caller owns the run, or holds a dead one's lock.
pub fn remove(id: &str) -> Result<(), RunError> {
    let namespaces = netns::list(&prefix(id));
    let own = std::process::id() as i32;
    for pid in netns::processes_in(&namespaces).into_iter().filter(|&pid| pid != own) {
        if let Some(pid) = rustix::process::Pid::from_raw(pid) {
            // It may have ended by itself since it was seen.
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    }
    netns::delete(&namespaces)?;
    let path = Path::new(RUNS_DIR).join(id);
    match fs::remove_dir_all(&path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(RunError::Io { what: "delete", path, source }),
        _ => Ok(()),
    }
}

/// Waits until standard input ends, that is until the run's owner has ended in whatever way, then removes what it left.
pub fn keep(id: &str) -> Result<(), RunError> {
    // Nothing is ever written to it; an error means the same as the end.
    let _ = io::copy(&mut io::stdin(), &mut io::sink());
    let path = Path::new(RUNS_DIR).join(id);
    let lock = match File::open(path.join("lock")) {
        Ok(lock) => lock,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(RunError::Io { what: "open the lock of", path, source }),
    };
    // A dying process closes its files one after the other: this pipe may end a moment before the lock is let go.
    lock.lock().map_err(|source| RunError::Io { what: "lock", path, source })?;
    remove(id)
}
