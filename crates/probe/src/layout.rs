//! Mirrors of `bpf/edgescope.h`, byte for byte. `tests::mirrors_match_the_object` compares them with the object's BTF.

use std::net::{IpAddr, Ipv6Addr};

use crate::ProbeConfig;
use crate::types::{Comm, Counters, FlowKey, Heard, Hist, Listener, Losses, Protocol, Role, Said};

/// `EDGESCOPE_LAYOUT`: pinned maps with another number are replaced.
pub const LAYOUT: u32 = 10;
pub const BUCKETS: usize = 200;

const ROLE_CLIENT: u8 = 1;
const ROLE_SERVER: u8 = 2;
const FLOW_ROLE_INFERRED: u8 = 1;
const FLOW_MASKED: u8 = 2;
const FLOW_DNS: u8 = 4;
const IPPROTO_TCP: u8 = 6;
const IPPROTO_UDP: u8 = 17;

/// `enum packets`.
const PACKETS_UDP: u32 = 1;
const PACKETS_DNS: u32 = 2;
const PACKETS_HTTP: u32 = 4;
pub const PACKETS_HTTP2: u32 = 8;
const PACKETS_NAMES: u32 = 16;

/// What the programs look for in packets.
pub fn packets(config: &ProbeConfig) -> u32 {
    let names = config.names && (config.dns || config.http || config.http2);
    let wanted =
        [(config.udp, PACKETS_UDP), (config.dns, PACKETS_DNS), (config.http, PACKETS_HTTP), (config.http2, PACKETS_HTTP2), (names, PACKETS_NAMES)];
    wanted.iter().filter(|(wanted, _)| *wanted).map(|(_, packets)| packets).sum()
}

const HEARD_ANSWER: u32 = 1;
const HEARD_GREETING: u32 = 2;

/// `enum http2_what`.
pub const HTTP2_BEGINS: u8 = 1;
pub const HTTP2_SAYS: u8 = 2;
pub const HTTP2_ENDS: u8 = 3;
pub const HTTP2_GIVEN_UP: u8 = 4;
pub const HTTP2_MISSES: u8 = 5;
pub const HTTP2_WHOLE: u8 = 6;
pub const HTTP2_LEAVE: u32 = u32::MAX;
pub const HTTP2_TIMES_MAX: usize = 64;

/// Plain data shared with the kernel: any bytes are a value, no padding.
///
/// # Safety
/// Only for `repr(C)` structs of integers without padding.
pub unsafe trait Plain: Copy {
    fn bytes(&self) -> &[u8] {
        // SAFETY: no padding, so every byte is initialised.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// From the first bytes of `data`; `None` if there are too few.
    fn from_bytes(data: &[u8]) -> Option<Self> {
        // SAFETY: long enough, and any bytes are a value.
        (data.len() >= size_of::<Self>()).then(|| unsafe { data.as_ptr().cast::<Self>().read_unaligned() })
    }
}

macro_rules! plain {
    ($($t:ty),*) => { $(
        // SAFETY: a repr(C) struct of integers; the test compares its size and offsets with the kernel's, which has no holes.
        unsafe impl Plain for $t {}
    )* };
}
plain!(
    RawKey,
    Counters,
    RawHistogram,
    RawControl,
    RawTally,
    RawListener,
    RawDrop,
    RawClasses,
    RawConnection,
    RawRealEnd,
    RawHeard,
    RawHttp2Record,
    RawHttp2Resumption,
    RawHttp2Count,
    Losses
);

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawKey {
    pub cgroup: u64,
    pub netns: u32,
    pub service_port: u16,
    pub client_port: u16,
    pub local: [u8; 16],
    pub remote: [u8; 16],
    pub comm: [u8; 16],
    pub role: u8,
    pub flags: u8,
    pub protocol: u8,
    pub unused: [u8; 5],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawHistogram {
    pub counts: [u64; BUCKETS],
    pub max: [u64; 2],
    pub min_inverted: [u64; 2],
}

#[repr(C)]
#[derive(Clone, Copy, Default, Debug)]
pub struct RawControl {
    pub epoch: u64,
    pub scope_cgroup: u64,
    pub layout: u32,
    pub scope_mode: u32,
    pub scope_level: u32,
    pub window: u32,
    pub window_label: u32,
    pub nat: u32,
    pub split_count: u32,
    pub tick_us: u32,
    pub rtt_callback: u32,
    pub ephemeral_from: u32,
    pub scope_version: u32,
    pub packets: u32,
    pub programs: u64,
    pub pass_us: u64,
    pub drops: u32,
    pub http2_reader: u32,
}

/// Lengths of the tables in `struct reason_classes`.
pub const DROP_REASONS: usize = 256;
pub const RESET_REASONS: usize = 64;

/// `struct reason_classes`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawClasses {
    pub drops: [u8; DROP_REASONS],
    pub resets: [u8; RESET_REASONS],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct RawTally {
    pub swept: u64,
    pub marked_owners: u64,
    pub marked_listeners: u64,
    pub marked_sockets: u64,
    pub marked_without_rtt: u64,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawDrop {
    pub netns: u32,
    pub reason: u32,
}

#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct RawConnection {
    pub client: [u8; 16],
    pub server: [u8; 16],
    pub client_port: u16,
    pub server_port: u16,
    pub role: u8,
    pub protocol: u8,
    pub unused: [u8; 2],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawRealEnd {
    pub address: [u8; 16],
    pub service_port: u16,
    pub masked: u8,
    pub unused: [u8; 5],
}

/// What stands before a packet's data.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawHeard {
    pub flow: RawKey,
    pub kind: u32,
    pub bytes: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawHttp2Record {
    pub key: RawKey,
    pub at_ns: u64,
    pub id: u64,
    pub reader: u32,
    pub client_port: u16,
    pub bytes: u16,
    pub what: u8,
    pub by_client: u8,
    pub unused: [u8; 2],
    pub seq: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawHttp2Resumption {
    pub next: u32,
    pub wholes: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawHttp2Count {
    pub key: RawKey,
    pub client_port: u32,
    pub requests: u32,
    pub answers: [u32; 5],
    pub unanswered: u32,
    pub grpc_requests: u32,
    pub grpc_ok: u32,
    pub grpc_unavailable: u32,
    pub grpc_deadline: u32,
    pub grpc_other: u32,
    pub grpc_unsaid: u32,
    pub unreadable: u32,
    pub times: u32,
    pub times_us: [u32; HTTP2_TIMES_MAX],
}

impl RawHttp2Count {
    /// Of no flow, and nothing.
    pub fn none() -> Self {
        let zeros = [0u8; size_of::<Self>()];
        Self::from_bytes(&zeros).expect("as long as it is")
    }

    /// With at most `HTTP2_TIMES_MAX` times.
    pub fn with_times(&mut self, times_us: &[u32]) -> &Self {
        self.times = times_us.len() as u32;
        self.times_us[..times_us.len()].copy_from_slice(times_us);
        self
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawOwner {
    pub cgroup: u64,
    pub comm: [u8; 16],
    pub tgid: u32,
    pub unused: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct RawListener {
    pub owner: RawOwner,
    pub netns: u32,
    pub port: u32,
    pub local: [u8; 16],
}

fn address(bytes: [u8; 16]) -> IpAddr {
    let v6 = Ipv6Addr::from(bytes);
    v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4)
}

/// IPv4 as `::ffff:a.b.c.d`, as the kernel side keys it.
pub fn address_bytes(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    }
}

fn flag(is_set: bool, flag: u8) -> u8 {
    if is_set { flag } else { 0 }
}

pub fn role_number(role: Role) -> u8 {
    match role {
        Role::Client => ROLE_CLIENT,
        Role::Server => ROLE_SERVER,
    }
}

pub fn protocol_number(protocol: Protocol) -> u8 {
    match protocol {
        Protocol::Tcp => IPPROTO_TCP,
        Protocol::Udp => IPPROTO_UDP,
    }
}

impl From<&RawKey> for FlowKey {
    fn from(raw: &RawKey) -> Self {
        FlowKey {
            netns: raw.netns,
            cgroup: raw.cgroup,
            comm: Comm(raw.comm),
            local: address(raw.local),
            remote: address(raw.remote),
            service_port: raw.service_port,
            client_port: raw.client_port,
            role: if raw.role == ROLE_CLIENT { Role::Client } else { Role::Server },
            role_inferred: raw.flags & FLOW_ROLE_INFERRED != 0,
            masked: raw.flags & FLOW_MASKED != 0,
            is_dns: raw.flags & FLOW_DNS != 0,
            protocol: if raw.protocol == IPPROTO_UDP { Protocol::Udp } else { Protocol::Tcp },
        }
    }
}

impl From<&FlowKey> for RawKey {
    fn from(key: &FlowKey) -> Self {
        RawKey {
            cgroup: key.cgroup,
            netns: key.netns,
            service_port: key.service_port,
            client_port: key.client_port,
            local: address_bytes(key.local),
            remote: address_bytes(key.remote),
            comm: key.comm.0,
            role: role_number(key.role),
            flags: flag(key.role_inferred, FLOW_ROLE_INFERRED) | flag(key.masked, FLOW_MASKED) | flag(key.is_dns, FLOW_DNS),
            protocol: protocol_number(key.protocol),
            unused: [0; 5],
        }
    }
}

impl RawHistogram {
    /// As seen when `window` has just ended.
    pub fn reading(&self, window: u32) -> Hist {
        let slot = (window & 1) as usize;
        let of_window = |stamped: u64| ((stamped >> 32) as u32 == window).then_some(stamped as u32);
        Hist {
            buckets: (0u16..).zip(self.counts).filter(|(_, count)| *count > 0).collect(),
            max_us: of_window(self.max[slot]),
            min_us: of_window(self.min_inverted[slot]).map(|inverted| !inverted),
        }
    }
}

impl From<&RawListener> for Listener {
    fn from(raw: &RawListener) -> Self {
        let local = address(raw.local);
        Listener {
            netns: raw.netns,
            addr: (!local.is_unspecified()).then_some(local),
            // Ports are 16 bits; the record keeps them in 32 for its alignment.
            port: raw.port as u16,
            comm: Comm(raw.owner.comm),
            cgroup: raw.owner.cgroup,
            tgid: raw.owner.tgid,
        }
    }
}

impl Heard {
    /// From a record of the ring; `None` if it is none.
    pub(crate) fn from_record(record: &[u8]) -> Option<Self> {
        let raw = RawHeard::from_bytes(record)?;
        let said = match raw.kind {
            HEARD_ANSWER => Said::Answer,
            HEARD_GREETING => Said::Greeting,
            _ => return None,
        };
        let payload = record.get(size_of::<RawHeard>()..)?.get(..raw.bytes as usize)?;
        Some(Self { flow: (&raw.flow).into(), said, payload: payload.into() })
    }
}

#[cfg(test)]
#[path = "layout_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "layout_fuzz.rs"]
mod fuzz;
