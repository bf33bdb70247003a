//! Gives up what the agent does not need.
//!
//! | capability | what for |
//! |---|---|
//! | `CAP_BPF`, `CAP_PERFMON` | reading maps and running iterators, every window |
//! | `CAP_NET_ADMIN` | programs of the network types, at every load |
//! | `CAP_SYS_ADMIN` | entering other network namespaces: their addresses, and sockets that were open before the agent |
//! | `CAP_SYS_PTRACE` | finding the namespaces of other users' processes under `/proc` |
//! | `CAP_DAC_READ_SEARCH` | reading what is another user's: tokens, certificates, cgroup directories |
//!
//! The last three serve naming only; an agent in its node's one namespace, run as root, works without them.

use rustix::io;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
    set_no_new_privs,
};

/// What an agent keeps.
pub const NEEDED: CapabilitySet = CapabilitySet::BPF
    .union(CapabilitySet::PERFMON)
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::SYS_ADMIN)
    .union(CapabilitySet::SYS_PTRACE)
    .union(CapabilitySet::DAC_READ_SEARCH);

/// Drops all other capabilities for good, of the calling thread and those that it starts from now on; so call it before any other thread is started. Returns
/// what is left.
///
/// # Errors
/// If the kernel refuses.
pub fn drop_to_needed() -> io::Result<CapabilitySet> {
    set_no_new_privs(true)?;
    clear_ambient_capability_set()?;
    let held = capabilities(None)?;
    if held.effective.contains(CapabilitySet::SETPCAP) {
        // Bits that this kernel does not know are refused, and bound nothing.
        for unneeded in CapabilitySet::all().difference(NEEDED).iter().filter(|one| one.bits().count_ones() == 1) {
            match remove_capability_from_bounding_set(unneeded) {
                Ok(()) | Err(io::Errno::INVAL) => {}
                Err(error) => return Err(error),
            }
        }
    }
    let kept = held.permitted.intersection(NEEDED);
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() })?;
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_is_left() {
        // A thread of its own: what it gives up is gone for it alone.
        let (kept, after) = std::thread::spawn(|| (drop_to_needed(), capabilities(None))).join().unwrap();
        let (kept, after) = (kept.unwrap(), after.unwrap());
        assert_eq!(after.effective, kept);
        assert!(NEEDED.contains(after.permitted) && after.inheritable.is_empty(), "{after:?}");
    }
}
