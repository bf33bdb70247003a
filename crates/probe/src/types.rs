//! What callers give and get.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Which sockets are this probe's. Several probes with different scopes may share a kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    All,
    /// Inodes of network namespaces (`stat -Lc %i /proc/PID/ns/net`).
    Namespaces(Vec<u32>),
    /// A cgroup v2 directory and all below it.
    Cgroup(PathBuf),
}

/// How to make a [`crate::Probe`].
#[derive(Clone, Debug)]
pub struct ProbeConfig {
    /// Names the probe's directory of pinned maps; two running probes never share one.
    pub agent_id: String,
    pub scope: Scope,
    /// Keep maps and links when this process ends, and find them again at the next start.
    pub pin: bool,
    /// Most flows with counters of their own; what exceeds it is summed under the unspecified remote address. Pinned maps keep
    /// the size they were made with.
    pub flows_max: u32,
    /// Most flows with an RTT histogram (1.6 kB each when used), and as many with handshake times, and with times to an answer.
    pub rtts_max: u32,
    /// One raw RTT sample a round trip by TCP's callback; else the smoothed RTT, once a pass.
    pub sk_rtt: bool,
    /// Count UDP by its packets: a program sees each packet of every socket, and leaves what is no UDP at once.
    pub udp: bool,
    /// Most UDP flows with counters of their own.
    pub datagrams_max: u32,
    /// Count questions and answers of DNS, at the same place.
    pub dns: bool,
    /// Count requests and answers of HTTP/1 in clear text, at the same place.
    pub http: bool,
    /// Pass on what connections of HTTP/2 in clear text say, for [`crate::Probe::http2`].
    pub http2: bool,
    /// Pass answers of DNS on, and greetings of TLS, as clients hear and send them: where DNS and HTTP are counted. See [`crate::Probe::heard`].
    pub names: bool,
    /// Count the kernel's packet drops by reason, and tell a listener's overflow from whatever else it drops.
    pub drops: bool,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        ProbeConfig {
            agent_id: "default".into(),
            scope: Scope::All,
            pin: true,
            flows_max: 65_536,
            rtts_max: 16_384,
            sk_rtt: true,
            udp: false,
            datagrams_max: 16_384,
            dns: false,
            http: false,
            http2: false,
            names: false,
            drops: false,
        }
    }
}

/// A process name as the kernel keeps it: at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Comm(pub [u8; 16]);

impl Comm {
    /// Cuts `name` to 15 bytes.
    pub fn new(name: &str) -> Comm {
        let mut bytes = [0; 16];
        let kept = name.len().min(15);
        bytes[..kept].copy_from_slice(&name.as_bytes()[..kept]);
        Comm(bytes)
    }

    /// Empty when the owner is not known. Names are what processes call themselves: hostile input.
    pub fn to_str_lossy(&self) -> std::borrow::Cow<'_, str> {
        let end = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        String::from_utf8_lossy(&self.0[..end])
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_str_lossy())
    }
}

impl fmt::Debug for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.to_str_lossy())
    }
}

/// Which end opened the connection: this one (client) or the other (server).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    Client,
    Server,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

/// What a flow's counters belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FlowKey {
    pub netns: u32,
    /// Kernfs id (inode) of the socket's cgroup v2 directory; 0 if unknown.
    pub cgroup: u64,
    /// Of the process that connected or listens.
    pub comm: Comm,
    pub local: IpAddr,
    /// `::` where many remote ends share the flow: the flow map is full, or nobody has proved the address (repeated SYN-ACKs
    /// before the first handshake, drops of a listener).
    pub remote: IpAddr,
    pub service_port: u16,
    /// The client's port, where `remote` stands for several ends and it is not known which; else 0.
    pub client_port: u16,
    pub role: Role,
    /// The socket is older than the probe: its role follows from who listens.
    pub role_inferred: bool,
    /// `remote` is not the address that the socket talks to, and sees another than `local`: both were translated on the way.
    pub masked: bool,
    /// The socket talks to port 53, which is translated to `service_port`.
    pub is_dns: bool,
    pub protocol: Protocol,
}

/// Cumulative counters of one flow since it was made, as in `struct flow`. They only grow. Of UDP, segments are datagrams, bytes are their payload, and
/// what is neither of these, nor `active_ms` nor drops, stays 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Acknowledged by the other end; without SYN and FIN.
    pub bytes_sent: u64,
    /// In order, without FIN; read by the application or not.
    pub bytes_received: u64,
    pub retrans_bytes: u64,
    /// Segments with data, repeated ones included.
    pub segs_sent: u64,
    pub segs_received: u64,
    /// Repeated segments, SYNs of clients included, SYN-ACKs not.
    pub retrans_segs: u64,
    /// The part of `retrans_segs` that were SYNs.
    pub retrans_syn: u64,
    pub retrans_synack: u64,
    /// Retransmission time-outs; stays 0 before Linux 6.7.
    pub rto: u64,
    /// Repetitions that the other end reported as needless (DSACK).
    pub spurious: u64,
    pub out_of_order: u64,
    /// With something to send, blocked or not.
    pub busy_us: u64,
    /// Of which: the receiver's window was closed.
    pub blocked_rwnd_us: u64,
    /// Of which: the send buffer was full.
    pub blocked_sndbuf_us: u64,
    /// Sum over established sockets of their time.
    pub active_ms: u64,
    /// Sum over sockets with unacknowledged data of the time with nothing delivered, once that is 3 s or 2 time-outs.
    pub stalled_ms: u64,
    /// Smoothed RTT, once a pass for each socket that moved.
    pub srtt_us_sum: u64,
    pub srtt_samples: u64,
    /// At a server: from the last data received to the last data sent, summed over the answers looked at, which are the last of each pass and of each
    /// connection.
    pub response_us: u64,
    pub responses: u64,
    /// SYNs of new connections; those without an outcome yet are pending.
    pub connect_attempts: u64,
    pub connect_established: u64,
    pub connect_timeout: u64,
    /// Closed before the first SYN was repeated.
    pub connect_cancelled: u64,
    pub connect_refused: u64,
    pub connect_unreachable: u64,
    pub connect_reset: u64,
    /// Handshakes completed by the server, taken up by its process or not.
    pub accepts: u64,
    /// Established connections that ended.
    pub closes: u64,
    pub resets_sent: u64,
    pub resets_received: u64,
    /// Of `resets_sent`: those that the kernel gave a reason for; 0 before Linux 6.10.
    pub resets_explained: u64,
    /// Of which: nobody listened.
    pub resets_no_listener: u64,
    /// Of which: this end gave the connection up.
    pub resets_aborted: u64,
    /// SYNs and final ACKs that a listener dropped for want of room. Without the kernel's drops ([`ProbeConfig::drops`], Linux 6.11) segments are
    /// among them that it dropped for other reasons, resets of half-open connections above all.
    pub accept_overflow: u64,
    /// Datagrams that found their socket's queue full; they count among the received.
    pub receive_drops: u64,
    /// Packets of the local end's that this kernel dropped, as it has them (one may hold several segments), by why; `reasons.rs` sorts the
    /// kernel's reasons.
    pub sent_drops_other: u64,
    pub sent_drops_policy: u64,
    pub sent_drops_queue: u64,
    pub sent_drops_invalid: u64,
    /// Packets for the local end that this kernel dropped, once it knew the socket.
    pub received_drops_other: u64,
    pub received_drops_policy: u64,
    /// Of UDP none: they are `receive_drops`.
    pub received_drops_queue: u64,
    pub received_drops_invalid: u64,
    /// Of protocols that ask and answer (DNS, HTTP): a client's are sent, a server's received.
    pub requests: u64,
    /// Answers by outcome. DNS: NOERROR, NXDOMAIN, SERVFAIL, REFUSED, other codes. HTTP: 2xx, 3xx, 4xx, 5xx, other.
    pub answers_0: u64,
    pub answers_1: u64,
    pub answers_2: u64,
    pub answers_3: u64,
    pub answers_4: u64,
    /// Requests without an answer for 5 s, found at the next pass; of HTTP, until their connection or stream ended.
    pub unanswered: u64,
    /// Of gRPC, whose requests and answers count among HTTP's: calls, and those that ended with OK, UNAVAILABLE, DEADLINE_EXCEEDED, another status, none.
    pub grpc_requests: u64,
    pub grpc_ok: u64,
    pub grpc_unavailable: u64,
    pub grpc_deadline: u64,
    pub grpc_other: u64,
    pub grpc_unsaid: u64,
    /// CLOCK_MONOTONIC of the last change other than `active_ms`.
    pub last_change_ms: u64,
    /// Process id of the last socket that counted here.
    pub last_tgid: u32,
    /// When the flow was made (CLOCK_MONOTONIC, low 32 bits of the milliseconds): tells it from one of the same key that was forgotten. 0: not
    /// known, since it was just being made.
    pub born_ms: u32,
}

/// Times in µs, cumulative, in the buckets of `bpf/histogram.bpf.h` (8 an octave, 200 in all).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hist {
    /// (bucket, count) of the buckets that are not empty, by bucket.
    pub buckets: Vec<(u16, u64)>,
    /// Of the window that this pass ended; `None` if it had no sample. The least is that of the samples: the kernel's own minimum
    /// (`tcp_sock.rtt_min`) is of up to five minutes, and would hide that the path became slower.
    pub max_us: Option<u32>,
    pub min_us: Option<u32>,
}

#[derive(Clone, Debug)]
pub struct FlowReading {
    pub key: FlowKey,
    pub counters: Counters,
    pub rtt: Option<Hist>,
    /// Client's SYN to established.
    pub handshake: Option<Hist>,
    /// Request to answer: at a client with the way, at a server without it.
    pub duration: Option<Hist>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Listener {
    pub netns: u32,
    /// `None`: any address.
    pub addr: Option<IpAddr>,
    pub port: u16,
    pub comm: Comm,
    pub cgroup: u64,
    pub tgid: u32,
}

/// What was not counted, and why; cumulative. In the order of `enum loss`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// No memory for a socket's record: the socket goes unseen.
    pub storage: u64,
    /// Summed under the unspecified remote address instead of an own flow.
    pub flows_full: u64,
    /// No room there either: counters lost.
    pub others_full: u64,
    /// RTT samples lost.
    pub rtts_full: u64,
    /// Handshake times lost.
    pub handshakes_full: u64,
    /// Window extremes lost to other CPUs.
    pub extreme_contended: u64,
    /// Accepted from a listener that the probe has not seen: flow without process name.
    pub owner_unknown: u64,
    /// Drops not counted.
    pub drops_full: u64,
    /// UDP: summed under the unspecified remote address instead of an own flow.
    pub datagrams_full: u64,
    /// Questions that no time is taken of, nor whether they are answered.
    pub questions_full: u64,
    /// Times to an answer lost.
    pub durations_full: u64,
    /// Answers and greetings not passed on.
    pub names_full: u64,
    /// Connections of HTTP/2 of which nothing more is counted: they were there before the probe or its reader;
    pub http2_midway: u64,
    /// segments were missed or came out of order;
    pub http2_gapped: u64,
    /// the reader did not keep up;
    pub http2_ring_full: u64,
    /// they cannot be read, or are too many.
    pub http2_unreadable: u64,
}

/// What was said, of which a far end's name can be learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// A message of DNS (RFC 1035), as it reached who asked.
    Answer,
    /// The beginning of a TLS connection (RFC 8446), as its client sent it.
    Greeting,
}

/// What a client heard or said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The socket's own flow: the far end is whom it talks to, before any translation.
    pub flow: FlowKey,
    pub said: Said,
    /// The first bytes of it: up to 1 KiB of an answer, 2 KiB of a greeting.
    pub payload: Box<[u8]>,
}

/// Packets dropped by the kernel in one namespace for one reason, cumulative.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drops {
    /// 0 if not known.
    pub netns: u32,
    /// As `enum skb_drop_reason` of the running kernel names it, in lower case: `netfilter_drop`.
    pub reason: String,
    pub count: u64,
}

/// One reading of everything.
#[derive(Clone, Debug)]
pub struct Pass {
    pub flows: Vec<FlowReading>,
    pub losses: Losses,
    /// Events that no program saw, since the same program ran on that CPU already; cumulative, anew for every build of the programs. Absent if this process may not
    /// look that up.
    pub missed_runs: Option<u64>,
    /// Established sockets in scope that were seen.
    pub sockets: u64,
    pub took: Duration,
    pub listeners: Vec<Listener>,
    /// The RTTs are smoothed ones, sampled at each pass, since TCP's callback is off or refused.
    pub rtt_sampled: bool,
    /// What the pass before this one called its window, also when another process made it; `None` before the first.
    pub previous_window: Option<u32>,
    /// Packets dropped by the kernel, if asked for.
    pub drops: Vec<Drops>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookState {
    Attached,
    /// Still attached from an earlier process with this agent id.
    Adopted,
    /// Took over from another build of the programs, which counted until then: no event was missed.
    Replaced,
    /// Not in use, by configuration.
    Off,
    /// The kernel would not; what it gave goes without.
    Refused(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HookStatus {
    pub name: &'static str,
    pub state: HookState,
}

/// A bound that is not the one asked for: pinned maps keep the size that they were made with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptBound {
    /// Field of [`ProbeConfig`]: `flows_max`, `datagrams_max` or `rtts_max`.
    pub field: &'static str,
    pub wanted: u32,
    pub kept: u32,
}

/// What [`crate::Probe::mark_existing`] found that was not known before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MarkReport {
    pub namespaces: usize,
    pub listeners: u64,
    pub sockets: u64,
    /// Of which without the RTT callback, so without RTT samples (Linux before 6.12).
    pub without_rtt: u64,
    /// Namespaces that could not be entered, with the reason.
    pub failed: Vec<(u32, String)>,
}

/// What one BPF program has cost since it was loaded; zero unless `kernel.bpf_stats_enabled` is 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramCost {
    pub name: String,
    pub run_cnt: u64,
    pub run_time_ns: u64,
}
