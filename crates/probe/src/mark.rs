//! Sockets that are older than the probe: owners over all processes, then each namespace's sockets from inside it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use libbpf_rs::{Iter, Link};

use crate::{ProbeError, Scope};

/// Runs an iterator to its end and gives what it wrote.
pub fn run(link: &Link, name: &'static str) -> Result<Vec<u8>, ProbeError> {
    let mut output = Vec::new();
    let iterator = Iter::new(link).map_err(|error| ProbeError::Iterator { name, source: io::Error::other(error.to_string()) })?;
    io::BufReader::with_capacity(64 * 1024, iterator).read_to_end(&mut output).map_err(|source| ProbeError::Iterator { name, source })?;
    Ok(output)
}

/// Every network namespace in scope that a thread is in or that is mounted somewhere: inode → a path to it.
pub fn namespaces(scope: &Scope) -> Result<BTreeMap<u32, PathBuf>, ProbeError> {
    let processes = numbered("/proc".as_ref()).map_err(|source| ProbeError::Read { path: "/proc".into(), source })?;
    // A process that is gone by now has no threads.
    let threads = processes.into_iter().flat_map(|process| numbered(&process.join("task")).unwrap_or_default());
    let mut found = BTreeMap::new();
    for path in threads.map(|thread| thread.join("ns/net")).chain(mounted()) {
        // A thread may be gone by now, a mount hidden by another: then it is not ours to see.
        let Ok(inode) = fs::metadata(&path).map(|metadata| metadata.ino() as u32) else {
            continue;
        };
        let wanted = !matches!(scope, Scope::Namespaces(inodes) if !inodes.contains(&inode));
        if wanted {
            found.entry(inode).or_insert(path);
        }
    }
    Ok(found)
}

/// Those of `scope` that nothing found leads to.
pub fn unreachable(scope: &Scope, found: &BTreeMap<u32, PathBuf>) -> Vec<(u32, String)> {
    let Scope::Namespaces(wanted) = scope else {
        return Vec::new();
    };
    let missing = wanted.iter().filter(|inode| !found.contains_key(inode));
    missing.map(|inode| (*inode, "no process is in it and it is mounted nowhere".to_owned())).collect()
}

/// The entries of a directory of /proc whose names are numbers.
fn numbered(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let is_number = |entry: &fs::DirEntry| entry.file_name().to_str().is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
    Ok(fs::read_dir(directory)?.flatten().filter(is_number).map(|entry| entry.path()).collect())
}

fn mounted() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mounts
        .lines()
        .filter(|line| line.contains(" - nsfs "))
        .filter_map(|line| {
            let mut words = line.split(' ');
            let (root, path) = (words.nth(3)?, words.next()?);
            root.starts_with("net:").then(|| PathBuf::from(path))
        })
        .collect()
}

/// Runs `link` once in each namespace; gives those that could not be entered.
pub fn in_each(link: &Link, name: &'static str, namespaces: &BTreeMap<u32, PathBuf>) -> Vec<(u32, String)> {
    // A thread of its own: it changes its network namespace and ends there.
    let visit = || {
        let mut failed = Vec::new();
        for (inode, path) in namespaces {
            let visited = enter(path).map_err(|error| error.to_string());
            if let Err(reason) = visited.and_then(|()| run(link, name).map(drop).map_err(|error| error.to_string())) {
                failed.push((*inode, reason));
            }
        }
        failed
    };
    std::thread::scope(|scope| scope.spawn(visit).join().expect("the thread does not panic"))
}

fn enter(path: &PathBuf) -> io::Result<()> {
    let namespace = File::open(path)?;
    // SAFETY: a valid file descriptor; affects this thread only.
    match unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
