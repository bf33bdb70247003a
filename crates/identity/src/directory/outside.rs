//! Ends that no agent owns: what they are called at last.

use super::{Directory, End, Found};
use crate::networks::{Networks, Outside};
use crate::{address, found_by};
use edgescope_model::dims::EndDims;
use std::net::IpAddr;
use std::sync::Arc;

impl Directory {
    /// Puts the user's files in place of those before. They hold for every moment from now on, past ones included.
    pub fn set_networks(&mut self, networks: Arc<Networks>) {
        self.networks = networks;
    }

    pub fn networks(&self) -> &Networks {
        &self.networks
    }

    /// An end that no agent owns: many ends at once (`::`), a static rule, what the user's files say of it, the loopback, a prefix for public addresses, else the
    /// address itself.
    pub(super) fn unowned(&self, end: End) -> Found {
        let mut dims = plain(end.address);
        let Outside { named, region } = self.networks.find(end.address);
        if let Some(hit) = named {
            hit.name.as_ref().clone_into(&mut dims.workload);
            hit.region.as_ref().clone_into(&mut dims.region);
            hit.by.clone_into(&mut dims.resolution_type);
            // A label of the user's own is a name. Somebody else's block is not: which address of it, may matter.
            if hit.by == found_by::NETWORK {
                dims.ip.clear();
            }
        }
        if let Some((region, _)) = region {
            dims.region = region;
        }
        if let Some(rule) = self.rules.find_far(end.address, end.port) {
            rule.apply(&mut dims);
            if rule.workload.is_some() {
                found_by::RULE.clone_into(&mut dims.resolution_type);
                dims.ip.clear();
            }
        }
        Found { dims: Arc::new(dims), owned: false, returned_us: i64::MIN, named: true, told: false }
    }

    /// Whether the user's own list names the address: nothing better is waited for.
    pub(super) fn is_listed(&self, address: IpAddr) -> bool {
        self.networks.find(address).named.is_some_and(|hit| hit.by == found_by::NETWORK)
    }

    /// By which file and block an end got its name or its region.
    pub(super) fn told_by_file(&self, address: IpAddr, dims: &EndDims) -> Option<String> {
        let Outside { named, region } = self.networks.find(address);
        let name = named.filter(|hit| dims.resolution_type == hit.by).map(|hit| {
            let what = match hit.by {
                found_by::NETWORK => "a list of the configuration",
                found_by::ASN => "a database of networks",
                _ => "its provider's published list",
            };
            format!("no agent holds it and no rule names it: {what} does, {} of {}", hit.block, hit.file)
        });
        let region = region.filter(|(region, _)| *region == dims.region).map(|(region, file)| format!("its region {region} is by {file}"));
        match (name, region) {
            (Some(name), Some(region)) => Some(format!("{name}; {region}")),
            (None, Some(region)) if dims.resolution_type == found_by::PREFIX => {
                Some(format!("no agent holds it and no rule names it: public addresses are grouped by their prefix; {region}"))
            }
            (name, _) => name,
        }
    }
}

/// What an address is called where nothing is known of it.
fn plain(address: IpAddr) -> EndDims {
    let mut dims = EndDims { ip: address.to_string(), ..EndDims::default() };
    let (workload, found) = if address.is_unspecified() {
        dims.ip.clear();
        (found_by::UNKNOWN.to_owned(), found_by::UNKNOWN)
    } else if address.is_loopback() {
        (found_by::LOOPBACK.to_owned(), found_by::LOOPBACK)
    } else if address::is_private(address) {
        (dims.ip.clone(), found_by::IP)
    } else {
        (address::prefix_of(address), found_by::PREFIX)
    };
    (dims.workload, dims.resolution_type) = (workload, found.to_owned());
    dims
}
