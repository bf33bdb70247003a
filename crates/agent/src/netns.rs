//! Addresses of network namespaces, read from inside each.

use crate::source::Area;
use edgescope_identity::host::{Listing, Namespace};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

/// Most addresses of one namespace: a node has a few, one with many virtual addresses a few thousand.
const ADDRESSES_MAX: usize = 8_192;

/// What was found in the namespaces.
#[derive(Debug, Default)]
pub struct Found {
    pub areas: Vec<Area>,
    /// Namespaces that could not be entered, with the reason.
    pub failed: Vec<(String, String)>,
    /// Addresses beyond [`ADDRESSES_MAX`] of a namespace.
    pub addresses_left_out: u64,
}

/// Addresses of each namespace. Entering another namespace than the own takes `CAP_SYS_ADMIN`.
pub fn addresses_in(namespaces: Vec<Namespace>) -> Found {
    // A thread of its own: it changes its network namespace and ends there.
    let visit = move || {
        let mut found = Found::default();
        for namespace in namespaces {
            match addresses_at(&namespace) {
                Ok(addresses) => {
                    found.addresses_left_out += addresses.left_out;
                    found.areas.push(Area {
                        inode: namespace.inode,
                        name: namespace.name,
                        addresses: addresses.found,
                        container: namespace.container,
                    });
                }
                // Its last process has ended, or its name was taken away: it is no more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.failed.push((namespace.path.display().to_string(), error.to_string())),
            }
        }
        found
    };
    match std::thread::spawn(visit).join() {
        Ok(found) => found,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn addresses_at(namespace: &Namespace) -> io::Result<Listing<Vec<IpAddr>>> {
    let file = File::open(&namespace.path)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    let all = getifaddrs().map_err(io::Error::from)?;
    Ok(up_to(ADDRESSES_MAX, all.filter_map(|interface| ip_of(&interface.address?))))
}

/// The first so many addresses, each once, and the number of the others.
fn up_to(max: usize, mut all: impl Iterator<Item = IpAddr>) -> Listing<Vec<IpAddr>> {
    let mut found: Vec<IpAddr> = all.by_ref().take(max).collect();
    found.sort_unstable();
    found.dedup();
    Listing { found, left_out: all.count() as u64 }
}

fn ip_of(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()).to_canonical()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_identity::host;

    #[test]
    fn addresses_beyond_the_bound_are_counted() {
        let all = [3u8, 1, 3, 2, 5].map(|n| IpAddr::from([10, 0, 0, n]));
        let some = up_to(3, all.into_iter());
        assert_eq!((some.found, some.left_out), (vec![all[1], all[0]], 2));
        assert_eq!(up_to(5, all.into_iter()).left_out, 0);
    }

    #[test]
    fn our_own_loopback_is_found() {
        let own = host::own_namespace().unwrap();
        // A thread's own path means another namespace in another thread.
        let own = Namespace { path: format!("/proc/{}/ns/net", std::process::id()).into(), ..own };
        let gone = Namespace { inode: 1, name: None, path: "/run/netns/there-is-none-of-this-name".into(), container: None };
        let Found { areas, failed, addresses_left_out } = addresses_in(vec![own.clone(), gone]);
        assert!(failed.is_empty() && addresses_left_out == 0, "{failed:?}");
        assert_eq!(areas.len(), 1);
        assert!(areas[0].inode == own.inode && areas[0].addresses.contains(&[127, 0, 0, 1].into()), "{areas:?}");
    }
}
