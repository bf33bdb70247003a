//! The directory of pinned maps and links: `/sys/fs/bpf/edgescope/<agent-id>/`.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::ProbeError;

const BPFFS: &str = "/sys/fs/bpf";
const OURS: &str = "edgescope";
const AGENT_ID_MAX: usize = 64;

/// One agent's directory, locked for as long as this lives.
#[derive(Debug)]
pub struct Pins {
    path: PathBuf,
    _lock: File,
}

/// What [`crate::Probe::remove`] took away.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemoveReport {
    /// Pinned maps and links that were unpinned; the kernel frees them when nobody uses them any more.
    pub removed: Vec<String>,
}

impl Pins {
    /// Opens or makes the directory of `agent_id`, mounting bpffs if there is none.
    pub fn open(agent_id: &str) -> Result<Pins, ProbeError> {
        let name = directory_name(agent_id)?;
        let root = bpffs().map_or_else(mount_bpffs, Ok)?;
        let path = root.join(OURS).join(name);
        let bpffs_error = |source| ProbeError::Bpffs { path: path.clone(), source };
        // 0700: who can open a pinned map can write it.
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(bpffs_error)?;
        let lock = lock(&path, agent_id)?;
        Ok(Pins { path, _lock: lock })
    }

    pub fn at(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn has(&self, name: &str) -> bool {
        self.at(name).exists()
    }

    /// Removes what is pinned under `name`; that there is nothing is no error.
    pub fn unpin(&self, name: &str) -> Result<(), ProbeError> {
        match fs::remove_file(self.at(name)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => Err(ProbeError::Bpffs { path: self.at(name), source }),
            _ => Ok(()),
        }
    }

    /// Removes everything pinned; links first, so that no program runs on while its maps go.
    pub fn clear(&self) -> Result<Vec<String>, ProbeError> {
        let mut names = self.names()?;
        names.sort_by_key(|name| (!name.starts_with("link_"), name.clone()));
        for name in &names {
            self.unpin(name)?;
        }
        Ok(names)
    }

    pub fn names(&self) -> Result<Vec<String>, ProbeError> {
        let bpffs_error = |source| ProbeError::Bpffs { path: self.path.clone(), source };
        fs::read_dir(&self.path)
            .map_err(bpffs_error)?
            .map(|entry| Ok(entry.map_err(bpffs_error)?.file_name().to_string_lossy().into_owned()))
            .collect()
    }
}

/// Unpins all of `agent_id` and removes its directory. Refused while a probe with this id runs.
pub fn remove(agent_id: &str) -> Result<RemoveReport, ProbeError> {
    let name = directory_name(agent_id)?;
    let Some(path) = bpffs().map(|root| root.join(OURS).join(name)).filter(|path| path.exists()) else {
        return Ok(RemoveReport::default());
    };
    let pins = Pins { _lock: lock(&path, agent_id)?, path };
    let removed = pins.clear()?;
    fs::remove_dir(&pins.path).map_err(|source| ProbeError::Bpffs { path: pins.path.clone(), source })?;
    Ok(RemoveReport { removed })
}

/// Ids of all agents that have something pinned here, running or not.
pub fn pinned() -> Result<Vec<String>, ProbeError> {
    let Some(ours) = bpffs().map(|root| root.join(OURS)).filter(|path| path.exists()) else { return Ok(Vec::new()) };
    let bpffs_error = |source| ProbeError::Bpffs { path: ours.clone(), source };
    let name = |entry: io::Result<fs::DirEntry>| Ok(entry.map_err(bpffs_error)?.file_name().to_string_lossy().replace("%2E", "."));
    fs::read_dir(&ours).map_err(bpffs_error)?.map(name).collect()
}

/// Where bpffs is mounted: the usual place, else the first found.
pub fn bpffs() -> Option<PathBuf> {
    let mounts = mounts_of("bpf");
    mounts.iter().find(|path| *path == Path::new(BPFFS)).or(mounts.first()).cloned()
}

/// Mount points of a file system type, in the order of `/proc/self/mounts`.
pub fn mounts_of(kind: &str) -> Vec<PathBuf> {
    // Unreadable only without /proc; then nothing is found, and the caller says what is missing.
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts
        .lines()
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (_, path, of) = (words.next()?, words.next()?, words.next()?);
            (of == kind).then(|| PathBuf::from(path))
        })
        .collect()
}

fn mount_bpffs() -> Result<PathBuf, ProbeError> {
    // SAFETY: four zero-terminated strings and a null pointer for the options.
    let failed = unsafe { libc::mount(c"bpf".as_ptr(), c"/sys/fs/bpf".as_ptr(), c"bpf".as_ptr(), 0, std::ptr::null()) } != 0;
    let source = io::Error::last_os_error();
    // Somebody else may have mounted it at the same time.
    if failed && bpffs().is_none() {
        return Err(ProbeError::Bpffs { path: BPFFS.into(), source });
    }
    tracing::info!("mounted the BPF file system at {BPFFS}");
    Ok(BPFFS.into())
}

/// bpffs refuses names with a dot, so those are escaped.
fn directory_name(agent_id: &str) -> Result<String, ProbeError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    if agent_id.is_empty() || agent_id.len() > AGENT_ID_MAX || !agent_id.bytes().all(allowed) {
        return Err(ProbeError::BadAgentId { agent_id: agent_id.into() });
    }
    Ok(agent_id.replace('.', "%2E"))
}

/// The lock is on the directory; one that `remove` took away between our opening and locking it locks nobody out.
fn lock(path: &Path, agent_id: &str) -> Result<File, ProbeError> {
    let bpffs_error = |source| ProbeError::Bpffs { path: path.into(), source };
    let directory = File::open(path).map_err(bpffs_error)?;
    // SAFETY: a valid file descriptor, owned by `directory`.
    if unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } != 0 {
        return Err(ProbeError::InUse { agent_id: agent_id.into() });
    }
    let still_there = fs::metadata(path).is_ok_and(|now| directory.metadata().is_ok_and(|held| held.ino() == now.ino()));
    if !still_there {
        return Err(ProbeError::InUse { agent_id: agent_id.into() });
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agent_ids_become_directory_names_or_are_refused() {
        assert_eq!(directory_name("node-1.example").expect("valid"), "node-1%2Eexample");
        for bad in ["", "a/b", "..%", "a b", &"x".repeat(65)] {
            assert!(directory_name(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
