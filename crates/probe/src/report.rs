//! What this kernel and this process can do, for `edgescope doctor`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::pins::bpffs;
use crate::scope::cgroup_root;
use crate::{HookStatus, ProbeConfig, ProbeError, Scope};

/// How much of the kernel side works on this kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tier {
    /// Linux 6.12 and later: everything.
    Full,
    /// Linux 5.12 to 6.11: no RTT samples of sockets older than the probe, no RTO count before 6.7, no UDP before 6.2.
    Basic,
    /// Older, or without BTF.
    Unsupported,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelReport {
    pub release: String,
    pub btf: bool,
    pub tier: Tier,
    pub capabilities_held: Vec<&'static str>,
    /// Needed, and not held.
    pub capabilities_missing: Vec<&'static str>,
    /// Needed to name other users' workloads only, and not held.
    pub naming_missing: Vec<&'static str>,
    /// Mount point of cgroup v2; without one there is no RTT callback.
    pub cgroup2: Option<PathBuf>,
    /// Mount point of bpffs; `None`: it is mounted when a probe is loaded.
    pub bpffs: Option<PathBuf>,
}

/// Number, name, and whether nothing works without it.
const CAPABILITIES: &[(u32, &str, bool)] = &[
    (39, "cap_bpf", true),
    (38, "cap_perfmon", true),
    (12, "cap_net_admin", true),
    // To mount bpffs, and to enter namespaces when older sockets are marked.
    (21, "cap_sys_admin", false),
];

/// What naming needs beside them: namespaces of other users' processes, and files that only their owners may read.
const NAMING: &[(u32, &str, bool)] = &[(19, "cap_sys_ptrace", false), (2, "cap_dac_read_search", false)];

pub fn kernel_report() -> KernelReport {
    let release = release();
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    let effective = effective_capabilities();
    let (held, missing): (Vec<_>, Vec<_>) = CAPABILITIES.iter().partition(|(number, ..)| effective & (1 << number) != 0);
    let names = |of: Vec<&(u32, &'static str, bool)>| of.into_iter().map(|(_, name, _)| *name).collect();
    KernelReport {
        tier: tier(&release, btf),
        release,
        btf,
        capabilities_held: names(held),
        capabilities_missing: names(missing),
        naming_missing: names(NAMING.iter().filter(|(number, ..)| effective & (1 << number) == 0).collect()),
        cgroup2: cgroup_root(),
        bpffs: bpffs(),
    }
}

/// Which hooks this kernel takes, tried one by one with nothing in scope and taken away again.
///
/// # Errors
/// As [`crate::Probe::load`].
pub fn hook_report() -> Result<Vec<HookStatus>, ProbeError> {
    let config = ProbeConfig {
        scope: Scope::Namespaces(Vec::new()),
        pin: false,
        drops: true,
        udp: true,
        dns: true,
        http: true,
        http2: true,
        names: true,
        ..ProbeConfig::default()
    };
    Ok(crate::Probe::load(&config)?.hooks().to_vec())
}

/// Says in one error what keeps a probe from loading here.
pub fn check() -> Result<(), ProbeError> {
    let report = kernel_report();
    if !report.btf {
        return Err(ProbeError::NoBtf { release: report.release });
    }
    if report.tier == Tier::Unsupported {
        return Err(ProbeError::KernelTooOld { release: report.release });
    }
    // CAP_SYS_ADMIN stands for the three that were split off from it.
    let admin = report.capabilities_held.contains(&"cap_sys_admin");
    let stands_in = |name: &str| admin && name != "cap_net_admin";
    let needed = |name: &&'static str| CAPABILITIES.iter().any(|(_, of, needed)| of == name && *needed);
    let missing: Vec<_> = report.capabilities_missing.into_iter().filter(|name| needed(name) && !stands_in(name)).collect();
    if missing.is_empty() { Ok(()) } else { Err(ProbeError::MissingCapability { missing }) }
}

pub fn release() -> String {
    // Always readable where /proc is; an empty release is reported as such.
    fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned()
}

/// (major, minor) of a release such as `6.1.0-52-cloud-amd64`.
pub fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

fn tier(release: &str, btf: bool) -> Tier {
    match version(release) {
        _ if !btf => Tier::Unsupported,
        Some(version) if version >= (6, 12) => Tier::Full,
        Some(version) if version >= (5, 12) => Tier::Basic,
        _ => Tier::Unsupported,
    }
}

fn effective_capabilities() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    // No such line: nothing is held, which the error then says.
    of.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_tiers() {
        assert_eq!(tier("6.18.44-fc-v669", true), Tier::Full);
        assert_eq!(tier("6.1.0-52-cloud-amd64", true), Tier::Basic);
        assert_eq!(tier("5.10.0", true), Tier::Unsupported);
        assert_eq!(tier("6.18.44", false), Tier::Unsupported);
        assert_eq!(tier("", true), Tier::Unsupported);
    }
}
