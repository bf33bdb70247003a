//! Names proposed to OpenTelemetry's semantic conventions for what a kernel sees of TCP (`system.network.tcp.*`; semantic-conventions#3682,
//! opentelemetry-ebpf-instrumentation#1905, stability: development). Off unless enabled; a change of the proposal changes them.

use super::{Category, Formula, Instrument, Metric, Part, Set};

/// The role attribute: what the columns below count is counted at the client.
const CLIENT: (&str, &str) = ("network.tcp.handshake.role", "client");
const SUCCESS: &[(&str, &str)] = &[CLIENT];
/// Ends of an attempt that was not established. `cancelled` (given up without an answer) and `unreachable` (the kernel's word does not tell host from
/// network) are ours, as the convention for `error.type` allows.
const FAILURES: [(&[(&str, &str)], &[&str]); 5] = [
    (&[CLIENT, ("error.type", "timed_out")], &["tcp.connect_timeouts"]),
    (&[CLIENT, ("error.type", "refused")], &["tcp.connects_refused"]),
    (&[CLIENT, ("error.type", "reset")], &["tcp.connects_reset"]),
    (&[CLIENT, ("error.type", "unreachable")], &["tcp.connects_unreachable"]),
    (&[CLIENT, ("error.type", "cancelled")], &["tcp.connects_cancelled"]),
];

/// The metrics.
pub fn metrics() -> Vec<Metric> {
    let plain = |name, instrument, unit, formula| Metric::plain(name, Set::Otel, Category::Otel, instrument, unit, formula).off();
    let failures = FAILURES.into_iter().map(|(attributes, columns)| Part { attributes, formula: Formula::Sum(columns) }).collect();
    let client = |formula| vec![Part { attributes: SUCCESS, formula }];
    let (established, handshake) = (Formula::Sum(&["tcp.connects_established"]), Formula::Histogram("tcp.handshake"));
    vec![
        plain("system.network.tcp.rtt.duration", Instrument::Histogram, "s", Formula::Histogram("tcp.rtt"))
            .brief("round-trip time, one raw sample a round trip"),
        Metric {
            parts: failures,
            ..plain("system.network.tcp.connection.failures", Instrument::Sum, "{connection}", established)
                .brief("attempts that were not established, by error.type")
        },
        Metric {
            parts: client(established),
            ..plain("system.network.tcp.connection.successes", Instrument::Sum, "{connection}", established).brief("attempts that were established")
        },
        Metric {
            parts: client(handshake),
            ..plain("system.network.tcp.handshake.duration", Instrument::Histogram, "s", handshake)
                .brief("time from SYN to established, at the client")
        },
    ]
}
