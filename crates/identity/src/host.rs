//! Facts of this node, read from `/proc`, `/run/netns` and the cgroup file system. The only I/O of the crate; every listing has a bound, and says what was
//! beyond it.

use crate::container::Contained;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most network namespaces looked at: one a pod, and a node runs a few hundred.
pub const NAMESPACES_MAX: usize = 4_096;
/// Most cgroups kept: a few a container or unit.
pub const CGROUPS_MAX: usize = 65_536;
/// Deepest cgroup looked at.
const CGROUP_DEPTH_MAX: usize = 32;
/// Most cgroups looked into for one process of a task: its own has one, as a rule.
const PROCESS_LOOKS_MAX: usize = 64;
/// Most of an environment read, in bytes: an orchestrator's variables are among some kilobytes of others; the kernel allows megabytes.
const ENVIRONMENT_BYTES_MAX: u64 = 256 << 10;

/// Most bytes of a process' arguments: ten short words are 200.
pub const ARGUMENTS_BYTES_MAX: u64 = 4_096;

/// What was found up to a bound, and how much more there was.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing<T> {
    pub found: T,
    pub left_out: u64,
}

/// A network namespace of this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// Inode of the namespace.
    pub inode: u32,
    /// Name under `/run/netns`.
    pub name: Option<String>,
    /// A file that opens it.
    pub path: PathBuf,
    /// Whose network this is, by the cgroup of a process in it.
    pub container: Option<Contained>,
}

/// The namespace of the calling thread.
///
/// # Errors
/// If `/proc/thread-self/ns/net` cannot be read.
pub fn own_namespace() -> io::Result<Namespace> {
    let path = PathBuf::from("/proc/thread-self/ns/net");
    Ok(Namespace { inode: inode_of(&path)?, name: None, path, container: None })
}

/// The namespaces that are wanted, by their name if they have one: the named ones first, then those that a process is in. Processes that end meanwhile are
/// passed over.
pub fn namespaces(is_wanted: impl Fn(Option<&str>) -> bool) -> Listing<Vec<Namespace>> {
    let mut distinct = Distinct::new(NAMESPACES_MAX);
    let mut unwanted = Vec::new();
    for entry in entries(Path::new("/run/netns")) {
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
        // A plain file left behind by a failed mount is no namespace: those have their own file system.
        if let Ok(inode) = inode_of(&path).and_then(|inode| is_namespace(&path).map(|yes| yes.then_some(inode))) {
            let Some(inode) = inode else { continue };
            if is_wanted(Some(&name)) {
                distinct.take(Namespace { inode, name: Some(name), path, container: None });
            } else {
                unwanted.push(inode);
            }
        }
    }
    // Processes are in them, too: they do not come in by that door.
    distinct.seen.extend(unwanted);
    let mut holders = Holders::new();
    let unnamed = if is_wanted(None) { entries(Path::new("/proc")) } else { Vec::new() };
    for entry in unnamed {
        if !entry.file_name().as_encoded_bytes().iter().all(u8::is_ascii_digit) {
            continue;
        }
        let path = entry.path().join("ns/net");
        if let Ok(inode) = inode_of(&path) {
            distinct.take(Namespace { inode, name: None, path, container: None });
            holders.look(inode, &entry.path());
        }
    }
    for namespace in &mut distinct.kept.found {
        namespace.container = holders.found.remove(&namespace.inode).flatten();
    }
    distinct.kept.found.sort_by_key(|namespace| namespace.inode);
    distinct.kept
}

/// Finds out whose network a namespace is. All processes of a pod's own network are the pod's; a container's may be shared by others that were put into it; the
/// host's holds those of many.
struct Holders {
    /// Inode of the host's network namespace.
    host: Option<u32>,
    /// By inode; `None` where the first process is of no container. As many as there are namespaces.
    found: HashMap<u32, Option<Contained>>,
}

impl Holders {
    fn new() -> Self {
        Self { host: inode_of(Path::new("/proc/1/ns/net")).ok(), found: HashMap::new() }
    }

    /// Looks at one process of a namespace: the first tells, since it costs a read each. A debugger that entered a pod's network is in another cgroup, but
    /// the pod's own first process is older and so has the lower number; after a wrap of numbers the address alone is left to name it.
    fn look(&mut self, inode: u32, process: &Path) {
        if Some(inode) != self.host {
            self.found.entry(inode).or_insert_with(|| container_of(process));
        }
    }
}

/// Also on hosts with version 1 alone: there every hierarchy has the same path for a container.
fn container_of(process: &Path) -> Option<Contained> {
    Contained::of_process(&fs::read_to_string(process.join("cgroup")).ok()?)
}

/// Keeps each namespace once, up to a bound, and counts the others.
struct Distinct {
    max: usize,
    /// Inodes: at most one a process and a name, so that the node's own bounds hold here.
    seen: HashSet<u32>,
    kept: Listing<Vec<Namespace>>,
}

impl Distinct {
    fn new(max: usize) -> Self {
        Self { max, seen: HashSet::new(), kept: Listing::default() }
    }

    fn take(&mut self, namespace: Namespace) {
        if !self.seen.insert(namespace.inode) {
            return;
        }
        if self.kept.found.len() < self.max {
            self.kept.found.push(namespace);
        } else {
            self.kept.left_out += 1;
        }
    }
}

/// Where cgroup v2 is mounted: the root itself, or `unified` beside version 1.
pub fn cgroup_root() -> Option<PathBuf> {
    ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].into_iter().map(PathBuf::from).find(|path| path.join("cgroup.controllers").exists())
}

/// Paths of all cgroups below `root`, by id. The id of a cgroup is the inode of its directory. What is below one that was left out is not counted: nobody
/// looks there.
pub fn cgroups(root: &Path) -> Listing<HashMap<u64, String>> {
    cgroups_up_to(root, CGROUPS_MAX, CGROUP_DEPTH_MAX)
}

fn cgroups_up_to(root: &Path, count_max: usize, depth_max: usize) -> Listing<HashMap<u64, String>> {
    let mut paths = HashMap::new();
    let mut left_out = 0;
    let mut open = vec![(root.to_owned(), 0)];
    while let Some((directory, depth)) = open.pop() {
        if paths.len() >= count_max || depth > depth_max {
            left_out += 1;
            continue;
        }
        let Ok(meta) = fs::metadata(&directory) else { continue };
        let below = directory.strip_prefix(root).unwrap_or(Path::new(""));
        paths.insert(meta.ino(), format!("/{}", below.display()));
        let children = entries(&directory).into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(children.map(|entry| (entry.path(), depth + 1)));
    }
    Listing { found: paths, left_out }
}

/// A process in a cgroup, or in one below it. `None` where there is none, or nobody may look.
pub fn process_in(cgroup: &Path) -> Option<u32> {
    let mut open = std::collections::VecDeque::from([cgroup.to_owned()]);
    for _ in 0..PROCESS_LOOKS_MAX {
        let directory = open.pop_front()?;
        let listed = fs::read_to_string(directory.join("cgroup.procs")).unwrap_or_default();
        // 0 is a process of another namespace of process ids.
        if let Some(process) = listed.lines().find_map(|line| line.parse().ok().filter(|pid| *pid != 0)) {
            return Some(process);
        }
        open.extend(entries(&directory).into_iter().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()));
    }
    None
}

/// Variables of a process's environment, of the names given; all else of it is passed over and not kept. A process may have changed its environment since it
/// was started.
///
/// # Errors
/// If `/proc/PID/environ` cannot be read: that takes `CAP_SYS_PTRACE`.
pub fn environment(process: u32, names: &[&str]) -> io::Result<BTreeMap<String, String>> {
    let mut bytes = Vec::new();
    fs::File::open(format!("/proc/{process}/environ"))?.take(ENVIRONMENT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(variables_in(&bytes, names))
}

fn variables_in(environment: &[u8], names: &[&str]) -> BTreeMap<String, String> {
    let pairs = environment.split(|byte| *byte == 0).filter_map(|pair| std::str::from_utf8(pair).ok()?.split_once('='));
    pairs.filter(|(name, _)| names.contains(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
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

/// The arguments of a process, each with a zero byte behind it, if it has this name; at most [`ARGUMENTS_BYTES_MAX`] of them.
///
/// # Errors
/// If it has ended, has another name, or may not be looked at.
pub fn arguments(pid: u32, name: &str) -> io::Result<Vec<u8>> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let found = fs::read_to_string(process.join("comm"))?;
    if found.trim_end_matches('\n') != name {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("process {pid} is not {name} any more")));
    }
    let mut arguments = Vec::new();
    fs::File::open(process.join("cmdline"))?.take(ARGUMENTS_BYTES_MAX).read_to_end(&mut arguments)?;
    Ok(arguments)
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
        let all = namespaces(|_| true);
        assert!(all.found.iter().any(|n| n.inode == own.inode) && all.left_out == 0, "{all:?}");
        assert!(namespaces(|name| name.is_some()).found.iter().all(|n| n.name.is_some()));
        assert!(!boot_id().unwrap().is_empty() && !hostname().unwrap().is_empty() && kernel().unwrap().contains('.'));
    }

    #[test]
    fn arguments_are_those_of_the_named_process_alone() {
        let (pid, name) = (std::process::id(), fs::read_to_string("/proc/self/comm").unwrap());
        let own = arguments(pid, name.trim_end()).unwrap();
        assert!(own.ends_with(&[0]) && own.starts_with(std::env::args().next().unwrap().as_bytes()), "{own:?}");
        assert_eq!(arguments(pid, "another").unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn cgroups_are_listed_by_inode() {
        let root = tempfile::tempdir().unwrap();
        let leaf = root.path().join("system.slice/web.service");
        fs::create_dir_all(&leaf).unwrap();
        let Listing { found: paths, left_out } = cgroups(root.path());
        assert_eq!(left_out, 0);
        assert_eq!(paths.get(&fs::metadata(&leaf).unwrap().ino()).map(String::as_str), Some("/system.slice/web.service"));
        assert_eq!(paths.get(&fs::metadata(root.path()).unwrap().ino()).map(String::as_str), Some("/"));
        assert_eq!(paths.len(), 3);
    }

    #[test]
    fn a_namespace_is_the_pods_whose_process_is_in_it() {
        let uid = "1b3c5d7e-0a2b-4c6d-8e0f-123456789abc";
        let process = |lines: &str| {
            let process = tempfile::tempdir().unwrap();
            fs::write(process.path().join("cgroup"), lines).unwrap();
            process
        };
        let (v2, v1) = (process(&format!("0::/kubepods/pod{uid}/x\n")), process(&format!("9:cpu:/kubepods/pod{uid}/x\n1:name=systemd:/\n0::/\n")));
        let (host, other) = (process("0::/system.slice/kubelet.service\n"), process("0::/kubepods/podffffffff-0000-4000-8000-000000000000/x\n"));
        let mut holders = Holders { host: Some(1), found: HashMap::new() };
        for (inode, process) in [(1, &v2), (2, &v2), (2, &other), (3, &v1), (4, &host)] {
            holders.look(inode, process.path());
        }
        let uid_of = |inode| holders.found.get(&inode).cloned().flatten().map(|container| container.pod_uid);
        assert_eq!([1, 2, 3, 4].map(uid_of), [None, Some(uid.to_owned()), Some(uid.to_owned()), None]);
    }

    #[test]
    fn of_an_environment_only_what_is_asked_for_is_kept() {
        let found = variables_in(b"PASSWORD=secret\0NOMAD_JOB_NAME=shop=1\0NOMAD_JOB_NAMES=x\0\xff\xfe=\0NOMAD", &["NOMAD_JOB_NAME", "PATH"]);
        assert_eq!(found, BTreeMap::from([("NOMAD_JOB_NAME".to_owned(), "shop=1".to_owned())]));
        let process = std::process::id();
        assert!(environment(process, &["PATH"]).unwrap().len() <= 1 && environment(u32::MAX, &["PATH"]).is_err());
    }

    #[test]
    fn a_process_is_found_in_a_cgroup_below() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(process_in(root.path()), None);
        fs::create_dir_all(root.path().join("inner")).unwrap();
        fs::write(root.path().join("cgroup.procs"), "0\n").unwrap();
        fs::write(root.path().join("inner/cgroup.procs"), "41\n42\n").unwrap();
        assert_eq!(process_in(root.path()), Some(41));
    }

    #[test]
    fn namespaces_beyond_the_bound_are_counted_once_each() {
        let mut distinct = Distinct::new(2);
        for inode in [1, 2, 1, 3, 4, 3] {
            distinct.take(Namespace { inode, name: None, path: PathBuf::new(), container: None });
        }
        assert_eq!((distinct.kept.found.len(), distinct.kept.left_out), (2, 2));
    }

    #[test]
    fn cgroups_beyond_a_bound_are_counted() {
        let root = tempfile::tempdir().unwrap();
        (0..5).for_each(|n| fs::create_dir(root.path().join(format!("{n}.slice"))).unwrap());
        fs::create_dir_all(root.path().join("0.slice/a/b")).unwrap();
        let bounded = |count_max, depth_max| {
            let Listing { found, left_out } = cgroups_up_to(root.path(), count_max, depth_max);
            (found.len(), left_out)
        };
        assert_eq!(bounded(8, 3), (8, 0));
        assert_eq!(bounded(8, 1), (6, 1), "a is too deep; b lies below it");
        let (kept, left_out) = bounded(4, 3);
        assert!(kept == 4 && left_out >= 2, "{left_out}");
    }
}
