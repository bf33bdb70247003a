use std::io;
use std::path::PathBuf;

/// Why the probe cannot do what was asked; each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    #[error("this kernel ({release}) has no BTF at /sys/kernel/btf/vmlinux: boot one built with CONFIG_DEBUG_INFO_BTF=y")]
    NoBtf { release: String },
    #[error("kernel {release} is too old: Linux 5.12 or later is needed")]
    KernelTooOld { release: String },
    #[error("missing {}: run as root or grant {} to the binary (setcap) or its service", missing.join(", "), missing.join(","))]
    MissingCapability { missing: Vec<&'static str> },
    #[error("agent id {agent_id:?} is in use by another running probe: stop it, or give this one another id")]
    InUse { agent_id: String },
    #[error("agent id {agent_id:?} is not usable: give 1 to 64 letters, digits, '-', '_' or '.'")]
    BadAgentId { agent_id: String },
    #[error("cannot use the BPF file system at {}: {source}; mount it with `mount -t bpf bpf /sys/fs/bpf`", path.display())]
    Bpffs { path: PathBuf, source: io::Error },
    #[error("the kernel refused the mandatory hook {hook}: {reason}")]
    Refused { hook: &'static str, reason: String },
    #[error("cannot load the BPF programs: {0}")]
    Load(String),
    #[error("scope: {} is not a cgroup v2 directory: {reason}", path.display())]
    BadCgroup { path: PathBuf, reason: String },
    #[error("{what}: {got} entries, at most {max} fit: narrow it down")]
    TooMany { what: &'static str, got: usize, max: usize },
    #[error("map {map}: cannot {what}: {source}")]
    Map { map: &'static str, what: &'static str, source: io::Error },
    #[error("iterator {name}: {source}")]
    Iterator { name: &'static str, source: io::Error },
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
}
