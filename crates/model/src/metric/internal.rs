//! The collector's own 40 metrics (`ebpf_net.*`): what they have become. Those that still mean something leave under the same name, filled from Edgescope's
//! own state; the others are gone with the part that they measured.

use super::Instrument;

/// One of the collector's own metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Internal {
    pub name: &'static str,
    /// Whether the original sent it unless told otherwise.
    pub on: bool,
    pub fate: Fate,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Kept {
        instrument: Instrument,
        unit: &'static str,
        brief: &'static str,
    },
    /// Why it is gone, and what tells the like.
    Gone(&'static str),
}

impl Internal {
    pub const fn is_kept(&self) -> bool {
        matches!(self.fate, Fate::Kept { .. })
    }
}

/// Those that leave.
pub fn kept() -> impl Iterator<Item = &'static Internal> {
    INTERNAL.iter().filter(|internal| internal.is_kept())
}

const fn kept_as(name: &'static str, on: bool, instrument: Instrument, unit: &'static str, brief: &'static str) -> Internal {
    Internal { name, on, fate: Fate::Kept { instrument, unit, brief } }
}

const fn gone(name: &'static str, on: bool, why: &'static str) -> Internal {
    Internal { name, on, fate: Fate::Gone(why) }
}

const POOL: &str = "no pools of fixed size: memory is bounded by settings, and what exceeds one is counted with its reason";
const QUEUE: &str =
    "no queues between cores; `edgescope_server_pending_bytes` tells what waits, `edgescope_server_batches` who was asked to come again";
const TIMING: &str =
    "no timed code blocks; `edgescope_server_request_seconds`, `_ship_seconds`, `_commit_seconds`, `_detection_round_seconds` are histograms";
const SCRAPE: &str = "a scrape is one answer, never cut in parts; `edgescope_server_requests` counts answers by status";

use Instrument::{Gauge, Sum};

/// All of them, by name.
pub const INTERNAL: &[Internal] = &[
    kept_as("ebpf_net.agg_root_truncation", false, Sum, "1", "values of agents that were cut or left out"),
    gone("ebpf_net.bpf_log", true, "programs write no log; a hook that is refused says why in `/api/v1/agents` and `edgescope doctor`"),
    gone("ebpf_net.client_handle_pool", false, POOL),
    gone("ebpf_net.client_handle_pool_fraction", false, POOL),
    kept_as("ebpf_net.clock_offset_ns", false, Gauge, "ns", "the server's clock minus the agent's"),
    gone("ebpf_net.codetiming_avg_ns", false, TIMING),
    gone("ebpf_net.codetiming_count", false, TIMING),
    gone("ebpf_net.codetiming_max_ns", false, TIMING),
    gone("ebpf_net.codetiming_min_ns", false, TIMING),
    gone("ebpf_net.codetiming_sum_ns", false, TIMING),
    kept_as("ebpf_net.collector_health", true, Gauge, "1", "0: the agent ships; 1: it is silent"),
    gone("ebpf_net.collector_log_count", false, "agents keep their logs; what they lost is in `edgescope_server_agent_losses`, by reason"),
    kept_as("ebpf_net.connections", false, Sum, "1", "connections that agents opened"),
    gone(
        "ebpf_net.disconnects",
        false,
        "an end is no event of its own; `edgescope_server_connection_failures` counts those before their time, by reason",
    ),
    gone("ebpf_net.entrypoint_info", false, "no kernel headers are fetched: programs are compiled once and relocated at load"),
    kept_as("ebpf_net.message", false, Sum, "1", "batches that agents sent"),
    kept_as("ebpf_net.otlp_grpc.bytes_failed", true, Sum, "By", "bytes of requests that the OTLP receiver did not take"),
    kept_as("ebpf_net.otlp_grpc.bytes_sent", true, Sum, "By", "bytes of requests that the OTLP receiver took"),
    kept_as("ebpf_net.otlp_grpc.metrics_failed", true, Sum, "1", "points that the OTLP receiver did not take"),
    kept_as("ebpf_net.otlp_grpc.metrics_sent", true, Sum, "1", "points that the OTLP receiver took"),
    kept_as("ebpf_net.otlp_grpc.requests_failed", true, Sum, "1", "requests to the OTLP receiver that failed, those tried again included"),
    kept_as("ebpf_net.otlp_grpc.requests_sent", true, Sum, "1", "requests that the OTLP receiver took"),
    gone("ebpf_net.otlp_grpc.unknown_response_tags", true, "what an answer says beyond the protocol is ignored, as protocol buffers ask"),
    kept_as("ebpf_net.pipeline_agent_connections", false, Gauge, "1", "agents that ship"),
    gone("ebpf_net.pipeline_message_error", false, QUEUE),
    gone("ebpf_net.prometheus.big_items_dropped", false, SCRAPE),
    gone("ebpf_net.prometheus.bytes_discarded", false, SCRAPE),
    gone("ebpf_net.prometheus.bytes_ingested", false, SCRAPE),
    gone("ebpf_net.prometheus.bytes_written", false, SCRAPE),
    gone("ebpf_net.prometheus.failed_scrapes", false, SCRAPE),
    gone("ebpf_net.rpc_latency_ns", false, "`edgescope_server_ship_seconds` is the histogram of it"),
    gone("ebpf_net.rpc_queue_buf_utilization", false, QUEUE),
    gone("ebpf_net.rpc_queue_buf_utilization_fraction", false, QUEUE),
    gone("ebpf_net.rpc_queue_elem_utilization_fraction", false, QUEUE),
    gone("ebpf_net.rpc_write_stalls", false, QUEUE),
    gone("ebpf_net.span_utilization", false, POOL),
    gone("ebpf_net.span_utilization_fraction", false, POOL),
    gone("ebpf_net.span_utilization_max", false, POOL),
    kept_as("ebpf_net.time_since_last_message_ns", false, Gauge, "ns", "time since the agent was last heard of"),
    kept_as("ebpf_net.up", true, Gauge, "1", "1: the server runs"),
];
