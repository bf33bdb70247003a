//! Tells the kernel side which sockets are in scope, and which remote addresses stand for several ends.

use std::collections::HashSet;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use libbpf_rs::{MapCore, MapHandle};

use crate::layout::address_bytes;
use crate::maps::{self, Maps};
use crate::pins::mounts_of;
use crate::{ProbeError, Scope};

const SCOPE_ALL: u32 = 0;
const SCOPE_NAMESPACES: u32 = 1;
const SCOPE_CGROUP: u32 = 2;

/// Mode, cgroup id, level.
pub type ScopeControl = (u32, u64, u32);

pub fn control_of(scope: &Scope) -> Result<ScopeControl, ProbeError> {
    match scope {
        Scope::All => Ok((SCOPE_ALL, 0, 0)),
        Scope::Namespaces(_) => Ok((SCOPE_NAMESPACES, 0, 0)),
        Scope::Cgroup(path) => cgroup(path),
    }
}

/// Number of a scope that follows the one with `version`. 0 is that of sockets that were found in none.
pub fn next_version(version: u32) -> u32 {
    version.wrapping_add(1).max(1)
}

/// Values of the set of addresses: whose sockets look one up, and that a [`crate::Translator`] put it there, whose members are its own.
pub const FOR_CLIENTS: u32 = 1;
pub const FOR_SERVERS: u32 = 2;
pub const TRANSLATORS: u32 = 4;
const OURS: u32 = FOR_CLIENTS | FOR_SERVERS;

/// Makes the kernel's set of namespaces that of `scope`. Call before the mode changes to `Namespaces`, and before it is needed.
pub fn write_namespaces(maps: &Maps, scope: &Scope) -> Result<(), ProbeError> {
    let Scope::Namespaces(namespaces) = scope else {
        return Ok(());
    };
    let wanted: HashSet<Vec<u8>> = namespaces.iter().map(|inode| inode.to_ne_bytes().to_vec()).collect();
    replace(&maps.scope, "scope", "namespaces in scope", &wanted)
}

pub fn write_split(maps: &Maps, addresses: &[IpAddr]) -> Result<usize, ProbeError> {
    let wanted: HashSet<Vec<u8>> = addresses.iter().map(|address| address_bytes(*address).to_vec()).collect();
    replace(&maps.split, "split", "addresses that stand for several ends", &wanted)?;
    Ok(wanted.len())
}

/// New members first, so that what stays is never absent.
fn replace(map: &MapHandle, name: &'static str, what: &'static str, wanted: &HashSet<Vec<u8>>) -> Result<(), ProbeError> {
    if wanted.len() > map.max_entries() as usize {
        return Err(ProbeError::TooMany { what, got: wanted.len(), max: map.max_entries() as usize });
    }
    let mut gone = Vec::new();
    let mut others: HashSet<Vec<u8>> = HashSet::new();
    maps::for_each(map, name, |key, value| {
        if value != OURS.to_ne_bytes() {
            others.insert(key.to_vec());
        } else if !wanted.contains(key) {
            gone.push(key.to_vec());
        }
    })?;
    // Where both sets together do not fit, the old must go first.
    let crowded = gone.len() + wanted.len() > map.max_entries() as usize;
    let delete = |gone: &[Vec<u8>]| gone.iter().try_for_each(|key| maps::delete(map, name, key));
    if crowded {
        delete(&gone)?;
    }
    wanted.difference(&others).try_for_each(|key| maps::put(map, name, key, &OURS.to_ne_bytes()))?;
    if !crowded {
        delete(&gone)?;
    }
    Ok(())
}

/// Where cgroup v2 is mounted: the root of the hierarchy, or `unified` beside version 1.
pub fn cgroup_root() -> Option<std::path::PathBuf> {
    mounts_of("cgroup2").into_iter().next()
}

fn cgroup(path: &Path) -> Result<ScopeControl, ProbeError> {
    let bad = |reason: &str| ProbeError::BadCgroup { path: path.into(), reason: reason.into() };
    let root = cgroup_root().ok_or_else(|| bad("no cgroup v2 hierarchy is mounted"))?;
    let path = path.canonicalize().map_err(|error| bad(&error.to_string()))?;
    let below = path.strip_prefix(&root).map_err(|_| bad(&format!("it is not below {}", root.display())))?;
    let metadata = path.metadata().map_err(|error| bad(&error.to_string()))?;
    if !metadata.is_dir() {
        return Err(bad("not a directory"));
    }
    Ok((SCOPE_CGROUP, metadata.ino(), below.components().count() as u32))
}
