//! Addresses of network namespaces, read from inside each.

use crate::source::Area;
use edgescope_identity::host::Namespace;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

/// Most addresses of one namespace: a node has a few, one with many virtual addresses a few thousand.
const ADDRESSES_MAX: usize = 8_192;

/// Addresses of each namespace, and those that could not be entered, with the reason. Entering another namespace than the own takes `CAP_SYS_ADMIN`.
pub fn addresses_in(namespaces: Vec<Namespace>) -> (Vec<Area>, Vec<(String, String)>) {
    // A thread of its own: it changes its network namespace and ends there.
    let visit = move || {
        let (mut areas, mut failed) = (Vec::with_capacity(namespaces.len()), Vec::new());
        for namespace in namespaces {
            match addresses_at(&namespace) {
                Ok(addresses) => areas.push(Area { inode: namespace.inode, name: namespace.name, addresses }),
                // Its last process has ended, or its name was taken away: it is no more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => failed.push((namespace.path.display().to_string(), error.to_string())),
            }
        }
        (areas, failed)
    };
    match std::thread::spawn(visit).join() {
        Ok(found) => found,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn addresses_at(namespace: &Namespace) -> io::Result<Vec<IpAddr>> {
    let file = File::open(&namespace.path)?;
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
    let all = getifaddrs().map_err(io::Error::from)?;
    let mut addresses: Vec<IpAddr> = all.filter_map(|interface| ip_of(&interface.address?)).take(ADDRESSES_MAX).collect();
    addresses.sort_unstable();
    addresses.dedup();
    Ok(addresses)
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
    fn our_own_loopback_is_found() {
        let own = host::own_namespace().unwrap();
        // A thread's own path means another namespace in another thread.
        let own = Namespace { path: format!("/proc/{}/ns/net", std::process::id()).into(), ..own };
        let gone = Namespace { inode: 1, name: None, path: "/run/netns/there-is-none-of-this-name".into() };
        let (areas, failed) = addresses_in(vec![own.clone(), gone]);
        assert!(failed.is_empty(), "{failed:?}");
        assert_eq!(areas.len(), 1);
        assert!(areas[0].inode == own.inode && areas[0].addresses.contains(&[127, 0, 0, 1].into()), "{areas:?}");
    }
}
