//! The kernel's words for why it dropped a packet: their numbers differ between versions, so they come from the running kernel's BTF.

use std::collections::HashMap;

use libbpf_rs::btf::{Btf, types::Enum};

use crate::ProbeError;

/// Before every name of `enum skb_drop_reason`.
const PREFIX: &str = "SKB_DROP_REASON_";

/// Names by number, in lower case: `netfilter_drop`.
#[derive(Debug, Default)]
pub struct Reasons(HashMap<u32, String>);

impl Reasons {
    pub fn read() -> Result<Reasons, ProbeError> {
        let btf = Btf::from_vmlinux().map_err(|error| ProbeError::Load(format!("the kernel's BTF: {error}")))?;
        // None before Linux 5.17; then no hook tells reasons either.
        let Some(all) = btf.type_by_name::<Enum<'_>>("skb_drop_reason") else { return Ok(Reasons::default()) };
        let named = all.iter().filter_map(|member| {
            let name = member.name?.to_str()?.strip_prefix(PREFIX)?.to_lowercase();
            Some((u32::try_from(member.value).ok()?, name))
        });
        Ok(Reasons(named.collect()))
    }

    /// Parts of the kernel that are modules have reasons of their own, which this list does not name.
    pub fn name(&self, reason: u32) -> String {
        self.0.get(&reason).cloned().unwrap_or_else(|| format!("reason_{reason}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_kernel_has_names() {
        let reasons = Reasons::read().expect("the kernel has BTF");
        assert!(reasons.0.values().any(|name| name == "netfilter_drop"), "{reasons:?}");
        assert_eq!(reasons.name(0x7fff_0000), "reason_2147418112");
    }
}
