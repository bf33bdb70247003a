//! Network namespaces: enter one, run something in one, make and delete them by name.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Where `ip netns` keeps named namespaces.
pub const NETNS_DIR: &str = "/run/netns";

pub fn path_of(name: &str) -> PathBuf {
    Path::new(NETNS_DIR).join(name)
}

/// What went wrong with a namespace or with a tool that configures one.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    #[error("cannot enter network namespace {path}: {source} (root, or CAP_SYS_ADMIN, is needed)", path = path.display())]
    Enter { path: PathBuf, source: io::Error },
    #[error("cannot run {tool}: {source} (the testbed needs iproute2, nftables and ethtool)")]
    Tool { tool: String, source: io::Error },
    #[error("{tool} failed: {said}")]
    Failed { tool: String, said: String },
    #[error("cannot set up namespace {netns}: {source}")]
    SetUp { netns: String, source: Box<NetnsError> },
    #[error("cannot set {key} to {value}: {source}")]
    Sysctl { key: String, value: String, source: io::Error },
}

/// Moves the calling thread into a namespace for good. Sockets it opens and processes it starts from now on are inside.
pub fn enter(netns: &Path) -> Result<(), NetnsError> {
    let error = |source: io::Error| NetnsError::Enter { path: netns.to_path_buf(), source };
    let file = File::open(netns).map_err(error)?;
    let network = Some(rustix::thread::LinkNameSpaceType::Network);
    rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), network).map_err(|e| error(e.into()))
}

/// Runs `work` in a namespace, on a thread of its own, and waits for it. What it opens stays inside after it returns.
pub fn in_netns<T: Send>(netns: &Path, work: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| enter(netns).map(|()| work()));
        match inside.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Starts a process in a namespace. Do not give it a parent-death signal: that one follows the thread that started it, and
/// that thread is gone when this returns. A pipe on standard input does the same for the process as a whole.
pub fn spawn_in(netns: &Path, command: &mut Command) -> Result<Child, NetnsError> {
    let tool = command.get_program().to_string_lossy().into_owned();
    in_netns(netns, || command.spawn())?.map_err(|source| NetnsError::Tool { tool, source })
}

/// Runs a tool with `input` on its standard input, in the namespace of the calling thread; returns what it printed.
pub fn tool(program: &str, args: &[&str], input: &str) -> Result<String, NetnsError> {
    let name = || format!("{program} {}", args.join(" "));
    let failed = |source| NetnsError::Tool { tool: name(), source };
    let mut child = Command::new(program).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    // A tool that dies early shows in its exit code; the broken pipe itself says nothing new. Inputs are far below what a
    // pipe and the tool's own buffer hold, so that writing before reading cannot block for ever.
    let mut stdin = child.stdin.take().expect("standard input was piped");
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
    Err(NetnsError::Failed { tool: name(), said: if said.is_empty() { output.status.to_string() } else { said } })
}

/// Sets a key of `/proc/sys` in the namespace of the calling thread.
pub fn sysctl(key: &str, value: &str) -> Result<(), NetnsError> {
    fs::write(Path::new("/proc/sys").join(key), value).map_err(|source| NetnsError::Sysctl { key: key.to_string(), value: value.to_string(), source })
}

/// Names of existing namespaces that begin with `prefix`.
pub fn list(prefix: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(NETNS_DIR) else { return Vec::new() };
    let names = entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with(prefix)).collect()
}

/// Deletes namespaces; those already gone are fine.
pub fn delete(names: &[String]) -> Result<(), NetnsError> {
    let batch: String = names.iter().filter(|n| path_of(n).exists()).map(|n| format!("netns del {n}\n")).collect();
    if batch.is_empty() {
        return Ok(());
    }
    tool("ip", &["-force", "-batch", "-"], &batch).map(|_| ())
}

/// Process ids whose network namespace is one of `names`.
pub fn processes_in(names: &[String]) -> Vec<i32> {
    use std::os::unix::fs::MetadataExt;
    let inodes: Vec<u64> = names.iter().filter_map(|n| fs::metadata(path_of(n)).ok()).map(|m| m.ino()).collect();
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|e| e.file_name().to_str()?.parse::<i32>().ok());
    let inside = |pid: &i32| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| inodes.contains(&m.ino()));
    pids.filter(inside).collect()
}
