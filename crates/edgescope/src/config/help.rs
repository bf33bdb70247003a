//! What each configuration key means, for `--help` and the reference in `docs/configuration.md`.

/// Key and meaning; a `*` stands for any one part of a key. A test holds it against the keys that there are.
const MEANINGS: &[(&str, &str)] = &[
    ("store.path", "Directory of the tables; made if missing"),
    ("store.retention_10s_s", "Seconds that ten-second rows are kept"),
    ("store.retention_1m_s", "Seconds that one-minute rows are kept; alerts and incidents as long"),
    ("store.max_bytes", "Most bytes of data files; over it the oldest rows go, with a notice; 0: no limit"),
    ("store.series_max", "Most edges of one environment that are active within a day; what exceeds them is summed under 'other'"),
    ("store.maintenance_interval_s", "Seconds between two runs of the background work (roll-up, compaction, expiry); 0: never"),
    ("store.query.timeout_s", "Seconds until a query is given up"),
    ("store.query.memory_mib", "MiB of memory that a query may hold"),
    ("store.query.rows_max", "Most rows that the SQL end point returns"),
    ("store.query.concurrent_max", "Most queries of the store at one time; others wait within their time-out"),
    ("server.listen", "Address of the user interface, the API and /metrics; beyond loopback it wants TLS and tokens"),
    ("server.tls.cert", "File with the certificate chain (PEM), for the intake too"),
    ("server.tls.key", "File with the certificate's key (PEM)"),
    (
        "server.tokens_file",
        "File of hashed bearer tokens, one a line, made by `edgescope config token`; a line that begins with agent=ID,ID: speaks for those agents \
         alone; without the file whoever reaches a loopback address may do all",
    ),
    ("server.insecure", "Listen beyond loopback without TLS and tokens; the user interface shows it"),
    ("server.hosts", "Names by which browsers may call a server without tokens, beside loopback's own; comma-separated"),
    ("server.connections_max", "Connections at once; further ones wait in the kernel's backlog"),
    ("server.queries_max", "Queries at once; further ones are answered 429"),
    ("server.request_timeout_s", "Seconds that one request may take"),
    ("intake.listen", "Address where agents connect; beyond loopback it wants TLS and tokens"),
    ("intake.batch_bytes_max", "Largest batch, in bytes after decompression"),
    ("intake.pending_bytes_max", "Bytes of batches that may wait for names or for the commit at once; above, agents are asked to come again"),
    ("intake.agents_max", "Agents known at once"),
    ("agent.server", "URL of the server's intake: http://HOST:PORT or https://HOST:PORT"),
    ("agent.id", "Names this agent; no two at once may have the same; empty: the node's name"),
    ("agent.interval", "Length of a window: 10s; at most 30s, since detectors judge the last two minutes"),
    ("agent.scope", "Whose sockets are looked at: all, netns:NAME,NAME*,… or cgroup:/PATH"),
    ("agent.token_file", "File with the token that the server asks for"),
    ("agent.ca_file", "PEM file of the authority to trust, where the server's certificate is not signed by a public one"),
    ("agent.state_dir", "Directory for what must survive a restart; the agent makes its own in it, by its id"),
    ("agent.node", "Name of the node; empty: the host's name"),
    ("agent.zone", "Zone of the node"),
    ("agent.region", "Region of the node"),
    ("agent.environment", "Environment of the node, such as production"),
    ("agent.pin", "Keep the programs in the kernel counting when the agent ends, and go on from there at the next start"),
    ("agent.rtt", "One raw round-trip sample a round trip; else the smoothed one, once a window"),
    ("agent.drops", "Count the packets that the kernel drops, by its reason; costs something for a dropped packet only"),
    ("agent.udp", "Count UDP, by its packets; costs a little for each packet of any protocol"),
    ("agent.dns", "Count questions and answers of DNS, at both ends; at the same place as UDP, counted without the names that are asked for"),
    (
        "agent.http",
        "Count requests and answers of HTTP/1 in clear text, by status class, with their times; at the same place, and nothing of their content",
    ),
    (
        "agent.http2",
        "Count requests and answers of HTTP/2 in clear text, and calls of gRPC by how they ended; the agent reads their heads for it, and keeps nothing of them",
    ),
    (
        "agent.names",
        "Learn names of far ends from the answers of DNS and the greetings of TLS that this node's clients get and send; where agent.dns and agent.http look",
    ),
    ("agent.nat", "Name the real ends of connections whose addresses this node translates, as its connection tracking tells"),
    (
        "agent.runtimes",
        "Who is asked about containers and tasks, on the node alone: auto (everybody that is there), off, or some of cri, docker, podman, containerd, nomad, ecs, \
         the first four perhaps with a socket (docker:/run/docker.sock); comma-separated",
    ),
    (
        "agent.cloud",
        "Whose metadata is asked for zone and region, where those are not given: auto (the cloud that the machine's firmware names), off, aws, gcp or azure",
    ),
    ("agent.metrics_listen", "Loopback address of a page with the agent's own numbers (/metrics); default: none"),
    ("agent.limits.flows_max", "Most flows with counters of their own"),
    ("agent.limits.datagrams_max", "Most UDP flows with counters of their own"),
    ("agent.limits.histograms_max", "Most flows with histograms of their own"),
    ("agent.limits.spool_bytes_max", "Most bytes of batches that wait for the server"),
    ("agent.limits.spool_windows_max", "Most windows that wait for the server"),
    ("agent.limits.idle_windows", "A flow without open sockets is forgotten after so many windows without a change"),
    (
        "identity.kubernetes.watch",
        "Whether the server reads names from the Kubernetes API: auto (with a kubeconfig, or in a pod that has a service account), always or never",
    ),
    ("identity.kubernetes.kubeconfig", "File that says where the Kubernetes API is and how to log in; without it, the pod's own service account"),
    ("identity.kubernetes.cluster", "Name of the cluster, as the environment of what runs in it; empty: what agents say"),
    ("identity.kubernetes.page_size", "Objects of one page of a list from the Kubernetes API"),
    (
        "identity.networks.files",
        "Files that tell whose addresses outside are: cloud providers' published lists, databases in MaxMind's format, lists of CIDR,label (docs/networks.md)",
    ),
    ("detectors.*.enabled", "Whether the detector runs"),
    ("detectors.*.floor", "Share that is too high whatever the past was"),
    ("detectors.*.events_min", "Fewest bad events"),
    ("detectors.*.z", "Standard deviations of the Wilson lower bound that must clear the threshold"),
    ("detectors.*.samples_min", "Fewest samples of a window"),
    ("detectors.*.past_min", "Fewest past windows"),
    ("detectors.*.deviations", "Deviations (MAD × 1.4826) of the series' own past that are too many"),
    ("detectors.*.share", "Share of the usual round trip that is too much more"),
    ("detectors.*.floor_s", "Seconds more than usual below which nothing is said"),
    ("detectors.*.bytes_per_s_min", "The usual must be at least this or connects_per_s_min to be watched"),
    ("detectors.*.connects_per_s_min", "The usual must be at least this or bytes_per_s_min to be watched"),
    ("detectors.traffic_drop.ratio", "Share of the usual that is too little"),
    ("detectors.traffic_drop.windows", "Windows that must all be below"),
    ("detectors.*.ratio", "Factor over the series' own past that is too high"),
    ("detectors.*.windows", "Windows looked at together"),
    ("detectors.*.life.for_s", "Seconds it must be bad before it fires"),
    ("detectors.*.life.keep_firing_for_s", "Seconds it fires on after it was last bad"),
    ("detectors.*.life.clear", "Share of the threshold below which it counts as well again"),
    ("detectors.*.life.no_data_s", "Seconds without data after which it ends; until then it stays as it is"),
    ("detectors.baseline_windows", "Past windows from which a series is judged by its own past alone; below, healthy peers stand beside it"),
    ("detectors.series_max", "Slices of edges whose past is kept"),
    ("export.interval_s", "Seconds of a slot of exported metrics; a multiple of 10"),
    ("export.wait_s", "Seconds that a slot waits for agents that are late; what comes later is not in it, and counted"),
    ("export.backlog_max_s", "Seconds that a slot is kept for a receiver that does not take it"),
    ("export.series_max", "Edges of one slot over OTLP, the largest first; what exceeds them is summed as (other)"),
    (
        "export.enable",
        "Metrics to turn on, heard after disable: names of docs/signals.md or tcp.all, udp.all, dns.all, http.all, kernel.all, otel.all, ebpf_net.all; comma-separated",
    ),
    ("export.disable", "Metrics to turn off, as in enable; none turns everything on, also what is off by default"),
    ("export.legacy_units", "Label of averages under legacy names: correct (s) or original (us, although the values are seconds)"),
    (
        "export.aggregations",
        "Levels of detail over OTLP: az_az, az_id, id_az, id_id; each has the full totals under its label aggregation; comma-separated",
    ),
    ("export.state_file", "File that says until when each receiver has everything; default: export.json in store.path"),
    ("export.otlp.endpoint", "URL of an OTLP receiver, such as http://collector:4317; over HTTP, /v1/metrics and /v1/logs are added; default: none"),
    ("export.otlp.protocol", "grpc or http (protocol buffers)"),
    ("export.otlp.compression", "gzip or none"),
    ("export.otlp.ca_file", "PEM file of the authority to trust, where the receiver's certificate is not signed by a public one"),
    ("export.otlp.timeout_s", "Seconds that one request may take"),
    ("export.prometheus.scrape", "Whether /metrics/edges answers; series are added up from the first scrape on"),
    ("export.prometheus.series_max", "Edges for Prometheus, the largest first; what exceeds them is summed as (other)"),
    ("export.prometheus.remote_write.url", "URL of a remote-write receiver, such as http://prometheus:9090/api/v1/write; default: none"),
    ("export.prometheus.remote_write.ca_file", "PEM file of the authority to trust, where the receiver's certificate is not signed by a public one"),
    ("export.prometheus.remote_write.timeout_s", "Seconds that one request may take"),
    ("export.flow_logs.otlp", "Send the edges of each ten-second window as OTLP logs to export.otlp.endpoint"),
    ("export.flow_logs.file", "Write the edges of each ten-second window as JSON lines to this file; - is standard output; default: none"),
    ("export.flow_logs.file_bytes_max", "Bytes at which the file is renamed to FILE.1, in place of the one before it"),
    ("export.flow_logs.edges_max", "Edges of one window, the largest first; what exceeds them is counted"),
    ("export.flow_logs.legacy_body", "Put the original collector's line into the body of OTLP records of TCP"),
    ("detectors.alerts_max", "Alerts open at once; what exceeds it is counted and not raised"),
];

/// What a key means; the first fitting row says it.
pub fn meaning(key: &str) -> Option<&'static str> {
    MEANINGS.iter().find(|(pattern, _)| fits(pattern, key)).map(|(_, meaning)| *meaning)
}

fn fits(pattern: &str, key: &str) -> bool {
    let (mut wanted, mut parts) = (pattern.split('.'), key.split('.'));
    loop {
        match (wanted.next(), parts.next()) {
            (None, None) => return true,
            (Some(wanted), Some(part)) if wanted == "*" || wanted == part => {}
            _ => return false,
        }
    }
}

#[cfg(all(test, feature = "server"))]
mod tests {
    use super::*;

    #[test]
    fn every_key_has_a_meaning_and_every_meaning_a_key() {
        let keys = crate::config::keys();
        for key in &keys {
            assert!(meaning(key).is_some(), "config/help.rs does not say what {key} means");
        }
        for (pattern, said) in MEANINGS {
            let used = keys.iter().any(|key| meaning(key) == Some(*said) && fits(pattern, key));
            assert!(used, "config/help.rs has a row for {pattern}, which no key needs");
        }
    }
}
