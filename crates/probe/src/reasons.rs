//! The kernel's words for why it dropped a packet or sent a reset. Their numbers differ between versions, so they come from the running kernel's BTF; what
//! they mean to whoever looks for a fault is a table of names.

use std::collections::HashMap;
use std::sync::OnceLock;

use libbpf_rs::btf::{Btf, types::Enum};

use crate::ProbeError;
use crate::layout::{DROP_REASONS, RESET_REASONS, RawClasses};

/// Before every name of `enum skb_drop_reason`, and of `enum sk_rst_reason`.
const DROP_PREFIX: &str = "SKB_DROP_REASON_";
const RESET_PREFIX: &str = "SK_RST_REASON_";

/// What a reason for a drop comes to; `enum drop_class`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DropClass {
    /// All that nobody has sorted: no route, no neighbour, reasons of later kernels.
    Other = 0,
    /// Someone wants it dropped: a packet filter, a program on the way, a security rule.
    Policy = 1,
    /// No room: a full queue or buffer, no memory, data beyond the window.
    Queue = 2,
    /// The packet is broken, or does not belong to its connection.
    Invalid = 3,
    /// Nothing is lost by it, or another counter has it: not counted for an edge.
    NoLoss = 4,
}

/// `enum reset_class`; 0 where the kernel gives no reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ResetClass {
    NoListener = 1,
    /// This end gave the connection up.
    Aborted = 2,
    /// The segment does not belong to its connection, or is too old.
    Invalid = 3,
}

/// Reasons for drops by class, as kernels from 5.17 to 6.18 have them. What is not here is `Other`.
const DROPS: &[(DropClass, &[&str])] = &[
    (
        DropClass::Policy,
        &[
            "netfilter_drop",
            "xfrm_policy",
            "bpf_cgroup_egress",
            "socket_filter",
            "security_hook",
            "tc_egress",
            "tc_ingress",
            "xdp",
            "ip_rpfilter",
            "tcp_minttl",
            "tap_filter",
            "tap_txfilter",
            "arp_pvlan_disable",
            "bridge_ingress_stp_state",
        ],
    ),
    (
        DropClass::Queue,
        &[
            "socket_rcvbuff",
            "socket_backlog",
            "proto_mem",
            "nomem",
            "pfmemalloc",
            "cpu_backlog",
            "full_ring",
            "qdisc_drop",
            "qdisc_overlimit",
            "qdisc_congested",
            "cake_flood",
            "fq_band_limit",
            "fq_horizon_limit",
            "fq_flow_limit",
            "dualpi2_step_drop",
            "neigh_queuefull",
            "tcp_zerowindow",
            "tcp_overwindow",
            "tcp_invalid_end_sequence",
            "tcp_ofo_queue_prune",
            "tcp_ofo_drop",
        ],
    ),
    (
        DropClass::Invalid,
        &[
            "pkt_too_small",
            "hdr_trunc",
            "tcp_csum",
            "udp_csum",
            "ip_csum",
            "icmp_csum",
            "skb_csum",
            "ip_inhdr",
            "ipv6_bad_exthdr",
            "dev_hdr",
            "tcp_auth_hdr",
            "tcp_md5notfound",
            "tcp_md5unexpected",
            "tcp_md5failure",
            "tcp_aonotfound",
            "tcp_aounexpected",
            "tcp_aokeynotfound",
            "tcp_aofailure",
            "tcp_flags",
            "tcp_rfc7323_paws",
            "tcp_rfc7323_tsecr",
            "tcp_invalid_sequence",
            "tcp_invalid_ack_sequence",
            "tcp_ack_unsent_data",
            "tcp_too_old_ack",
            "psp_input",
        ],
    ),
    (
        DropClass::NoLoss,
        &[
            // Copies of what has arrived, and what asks whether someone is there: repeated segments, keepalives, probes of a closed window, a SYN-ACK that
            // is sent again since the last ACK was lost.
            "tcp_invalid_syn",
            "tcp_old_data",
            "tcp_old_sequence",
            "tcp_ofomerge",
            "tcp_old_ack",
            "tcp_rfc7323_paws_ack",
            "dup_frag",
            // They did their work: a reset that ended its connection, what came for one that is closed or closing, what nobody reads any more.
            "tcp_reset",
            "tcp_close",
            "tcp_abort_on_data",
            "tcp_rfc7323_tw_paws",
            "tcp_fastopen",
            "socket_close",
            "queue_purge",
            // For somebody else, or seen in passing.
            "otherhost",
            "no_socket",
            "unicast_in_l2_multicast",
            "unhandled_proto",
            "packet_sock_error",
            "unix_disconnect",
            "unix_skip_oob",
            // Counted as the listener's overflow.
            "tcp_listen_overflow",
        ],
    ),
];

/// A listener's own counter of drops does not hold these (`DROP_BESIDE_LISTENER`): they are dropped before it, or where it counts an overflow only.
const BESIDE_LISTENER: &[&str] = &["tcp_csum", "no_socket"];
/// Nor these if the segment is an acknowledgement (`DROP_BESIDE_LISTENER_IF_ACK`): it is answered by a reset.
const BESIDE_LISTENER_IF_ACK: &[&str] = &["tcp_flags"];
const FLAG_BESIDE_LISTENER: u8 = 8;
const FLAG_BESIDE_LISTENER_IF_ACK: u8 = 16;

const RESETS: &[(ResetClass, &[&str])] = &[
    (ResetClass::NoListener, &["no_socket"]),
    (
        ResetClass::Aborted,
        &[
            "tcp_abort_on_data",
            "tcp_abort_on_close",
            "tcp_abort_on_linger",
            "tcp_abort_on_memory",
            "tcp_state",
            "tcp_keepalive_timeout",
            "tcp_disconnect_with_data",
        ],
    ),
    (
        ResetClass::Invalid,
        &[
            "tcp_invalid_ack_sequence",
            "tcp_rfc7323_paws",
            "tcp_too_old_ack",
            "tcp_ack_unsent_data",
            "tcp_flags",
            "tcp_old_ack",
            "tcp_timewait_socket",
            "invalid_syn",
        ],
    ),
];

/// Names by number, in lower case: `netfilter_drop`.
#[derive(Debug)]
pub struct Reasons {
    drops: HashMap<u32, String>,
    /// Empty before Linux 6.10.
    resets: HashMap<u32, String>,
}

impl Reasons {
    /// Read once; a kernel does not change while it runs.
    pub fn of_this_kernel() -> Result<&'static Reasons, ProbeError> {
        static READ: OnceLock<Reasons> = OnceLock::new();
        if let Some(reasons) = READ.get() {
            return Ok(reasons);
        }
        let btf = Btf::from_vmlinux().map_err(|error| ProbeError::Load(format!("the kernel's BTF: {error}")))?;
        // No reasons for drops before Linux 5.17; then no hook tells them either.
        let reasons = Reasons { drops: named(&btf, "skb_drop_reason", DROP_PREFIX), resets: named(&btf, "sk_rst_reason", RESET_PREFIX) };
        Ok(READ.get_or_init(|| reasons))
    }

    /// Parts of the kernel that are modules have reasons of their own, which this list does not name.
    pub fn name(&self, reason: u32) -> String {
        self.drops.get(&reason).cloned().unwrap_or_else(|| format!("reason_{reason}"))
    }

    /// What the programs are told of each number.
    pub fn classes(&self) -> RawClasses {
        let mut classes = RawClasses { drops: [DropClass::Other as u8; DROP_REASONS], resets: [0; RESET_REASONS] };
        for (at, name) in &self.drops {
            if let Some(class) = classes.drops.get_mut(*at as usize) {
                *class = drop_class(name) as u8 | listener_flags(name);
            }
        }
        for (at, name) in &self.resets {
            if let Some(class) = classes.resets.get_mut(*at as usize) {
                *class = reset_class(name).map_or(0, |class| class as u8);
            }
        }
        classes
    }
}

fn named(btf: &Btf<'_>, of: &str, prefix: &str) -> HashMap<u32, String> {
    let Some(all) = btf.type_by_name::<Enum<'_>>(of) else { return HashMap::new() };
    let named = all.iter().filter_map(|member| {
        let name = member.name?.to_str()?.strip_prefix(prefix)?.to_lowercase();
        Some((u32::try_from(member.value).ok()?, name))
    });
    named.collect()
}

/// Class of a reason for a drop, by its name in lower case.
pub fn drop_class(name: &str) -> DropClass {
    DROPS.iter().find(|(_, names)| names.contains(&name)).map_or(DropClass::Other, |(class, _)| *class)
}

/// Class of a reason for a reset; `None`: the kernel did not say, or what it says is not known here.
pub fn reset_class(name: &str) -> Option<ResetClass> {
    RESETS.iter().find(|(_, names)| names.contains(&name)).map(|(class, _)| *class)
}

fn listener_flags(name: &str) -> u8 {
    let flag = |names: &[&str], flag| if names.contains(&name) { flag } else { 0 };
    flag(BESIDE_LISTENER, FLAG_BESIDE_LISTENER) | flag(BESIDE_LISTENER_IF_ACK, FLAG_BESIDE_LISTENER_IF_ACK)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn this_kernel_has_names() {
        let reasons = Reasons::of_this_kernel().expect("the kernel has BTF");
        assert!(reasons.drops.values().any(|name| name == "netfilter_drop"), "{reasons:?}");
        assert_eq!(reasons.name(0x7fff_0000), "reason_2147418112");
    }

    #[test]
    fn a_name_is_sorted_once() {
        for names in [DROPS.iter().flat_map(|(_, names)| *names).collect::<Vec<_>>(), RESETS.iter().flat_map(|(_, names)| *names).collect()] {
            assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
        }
        assert_eq!((drop_class("netfilter_drop"), drop_class("of_a_later_kernel")), (DropClass::Policy, DropClass::Other));
        assert_eq!((reset_class("no_socket"), reset_class("not_specified")), (Some(ResetClass::NoListener), None));
    }

    /// A kernel may number them as it likes.
    #[test]
    fn classes_follow_names_and_not_numbers() {
        let reasons = |pairs: &[(u32, &str)]| pairs.iter().map(|(at, name)| (*at, (*name).to_owned())).collect();
        let of = Reasons { drops: reasons(&[(9, "netfilter_drop"), (3, "tcp_flags"), (70_000, "qdisc_drop")]), resets: reasons(&[(5, "tcp_state")]) };
        let classes = of.classes();
        assert_eq!((classes.drops[9], classes.drops[3], classes.drops[4]), (1, 3 | FLAG_BESIDE_LISTENER_IF_ACK, 0));
        assert_eq!((classes.resets[5], classes.resets[1]), (2, 0));
    }

    /// No name is misspelt: the tables are of one kernel, and all before it have a part of its names.
    #[test]
    fn the_tables_names_are_the_kernels() {
        let reasons = Reasons::of_this_kernel().expect("the kernel has BTF");
        if !reasons.drops.values().any(|name| name == "psp_input") {
            println!("COMPARED NOTHING: this kernel is older than the tables, which are of Linux 6.18");
            return;
        }
        let known: HashSet<&String> = reasons.drops.values().chain(reasons.resets.values()).collect();
        let names = DROPS.iter().flat_map(|(_, names)| *names).chain(RESETS.iter().flat_map(|(_, names)| *names));
        let unknown: Vec<_> = names.filter(|name| !known.contains(&(**name).to_owned())).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
}
