//! Facts of this node, read from `/proc`, `/run/netns` and the cgroup file system. The only I/O of the crate; every listing has a bound.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most network namespaces looked at: one a pod, and a node runs a few hundred.
pub const NAMESPACES_MAX: usize = 4_096;
/// Most cgroups kept: a few a container or unit.
pub const CGROUPS_MAX: usize = 65_536;
/// Deepest cgroup looked at.
const CGROUP_DEPTH_MAX: usize = 32;

/// A network namespace of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Inode of the namespace.
    pub inode: u32,
    /// Name under `/run/netns`.
    pub name: Option<String>,
    /// A file that opens it.
    pub path: PathBuf,
}

/// The namespace of the calling thread.
///
/// # Errors
/// If `/proc/thread-self/ns/net` cannot be read.
pub fn own_namespace() -> io::Result<Namespace> {
    let path = PathBuf::from("/proc/thread-self/ns/net");
    Ok(Namespace { inode: inode_of(&path)?, name: None, path })
}

/// All namespaces: the named ones, and those that a process is in. Processes that end meanwhile are passed over.
pub fn namespaces() -> Vec<Namespace> {
    let mut found: HashMap<u32, Namespace> = HashMap::new();
    for entry in entries(Path::new("/run/netns")) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // A plain file left behind by a failed mount is no namespace: those have their own file system.
        if let Ok(inode) = inode_of(&path).and_then(|inode| is_namespace(&path).map(|yes| yes.then_some(inode))) {
            let Some(inode) = inode else { continue };
            found.insert(inode, Namespace { inode, name: Some(name), path });
        }
    }
    for entry in entries(Path::new("/proc")) {
        if found.len() >= NAMESPACES_MAX {
            break;
        }
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let path = entry.path().join("ns/net");
        if let Ok(inode) = inode_of(&path) {
            found.entry(inode).or_insert(Namespace { inode, name: None, path });
        }
    }
    let mut all: Vec<_> = found.into_values().collect();
    all.sort_by_key(|namespace| namespace.inode);
    all
}

/// Where cgroup v2 is mounted: the root itself, or `unified` beside version 1.
pub fn cgroup_root() -> Option<PathBuf> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().map(PathBuf::from).find(|path| path.join("cgroup.controllers").exists())
}

/// Paths of all cgroups below `root`, by id. The id of a cgroup is the inode of its directory.
pub fn cgroups(root: &Path) -> HashMap<u64, String> {
    let mut paths = HashMap::new();
    let mut open = vec![(root.to_owned(), 0)];
    while let Some((directory, depth)) = open.pop() {
        let Ok(meta) = fs::metadata(&directory) else { continue };
        let below = directory.strip_prefix(root).unwrap_or(Path::new(""));
        paths.insert(meta.ino(), format!("/{}", below.display()));
        if paths.len() >= CGROUPS_MAX || depth >= CGROUP_DEPTH_MAX {
            continue;
        }
        let children = entries(&directory).into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(children.map(|entry| (entry.path(), depth + 1)));
    }
    paths
}

/// Identifies this boot of the node.
///
/// # Errors
/// If `/proc/sys/kernel/random/boot_id` cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// Name of this node.
///
/// # Errors
/// If `/proc/sys/kernel/hostname` cannot be read.
pub fn hostname() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/hostname")?.trim().to_owned())
}

/// Release of the kernel.
///
/// # Errors
/// If `/proc/sys/kernel/osrelease` cannot be read.
pub fn kernel() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned())
}

/// Inode numbers of namespaces are 32 bits wide.
fn inode_of(path: &Path) -> io::Result<u32> {
    let inode = fs::metadata(path)?.ino();
    u32::try_from(inode)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("{} has inode {inode}, not that of a namespace", path.display())))
}

fn is_namespace(path: &Path) -> io::Result<bool> {
    const NSFS_MAGIC: i64 = 0x6e73_6673;
    Ok(rustix::fs::statfs(path)?.f_type as i64 == NSFS_MAGIC)
}

fn entries(directory: &Path) -> Vec<fs::DirEntry> {
    fs::read_dir(directory).map(|all| all.flatten().collect()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_namespace_is_among_all() {
        let own = own_namespace().unwrap();
        assert!(namespaces().iter().any(|n| n.inode == own.inode));
        assert!(!boot_id().unwrap().is_empty() && !hostname().unwrap().is_empty() && kernel().unwrap().contains('.'));
    }

    #[test]
    fn cgroups_are_listed_by_inode() {
        let root = tempfile::tempdir().unwrap();
        let leaf = root.path().join("system.slice/web.service");
        fs::create_dir_all(&leaf).unwrap();
        let paths = cgroups(root.path());
        assert_eq!(paths.get(&fs::metadata(&leaf).unwrap().ino()).map(String::as_str), Some("/system.slice/web.service"));
        assert_eq!(paths.get(&fs::metadata(root.path()).unwrap().ino()).map(String::as_str), Some("/"));
        assert_eq!(paths.len(), 3);
    }
}
