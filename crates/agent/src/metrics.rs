//! The agent's numbers about itself, for `/metrics`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

macro_rules! numbers {
    ($(#[$doc:meta])* $kind:ident { $($variant:ident = $name:literal, $help:literal;)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $kind { $(#[doc = $help] $variant),* }

        impl $kind {
            const ALL: &[(Self, &str, &str)] = &[$((Self::$variant, $name, $help)),*];
        }
    };
}

numbers! {
    /// What only grows.
    Total {
        Windows = "edgescope_agent_windows_total", "windows told to the spool";
        WindowsFailed = "edgescope_agent_windows_failed_total", "windows that could not be read or stored; the next one tells both";
        WindowsLate = "edgescope_agent_windows_late_total", "windows read more than a second after their end";
        Observations = "edgescope_agent_observations_total", "observations in batches";
        FlowsForgotten = "edgescope_agent_flows_forgotten_total", "idle flows dropped from the kernel's maps";
        FlowsProxied = "edgescope_agent_flows_proxied_total", "flows between a userland proxy and its container, left out since the proxy's other side is told as the container's";
        BatchesShipped = "edgescope_agent_batches_shipped_total", "batches that a server has acknowledged";
        BatchesRefused = "edgescope_agent_batches_refused_total", "batches that a server refused for good";
        ShipRetries = "edgescope_agent_ship_retries_total", "batches sent again";
        RuntimeQuestions = "edgescope_agent_runtime_questions_total", "questions about containers";
        RuntimeFailures = "edgescope_agent_runtime_failures_total", "questions about containers that a runtime did not answer";
        CloudFailures = "edgescope_agent_cloud_failures_total", "questions to the cloud's metadata that got no answer";
        Connections = "edgescope_agent_connections_total", "connections to a server";
        ConnectionsFailed = "edgescope_agent_connections_failed_total", "connections that failed or broke";
    }
}

numbers! {
    /// What goes up and down.
    Gauge {
        Flows = "edgescope_agent_flows", "flows in the kernel's maps";
        Sockets = "edgescope_agent_sockets", "established sockets in scope";
        Endpoints = "edgescope_agent_endpoints", "addresses and ports told to the server";
        Containers = "edgescope_agent_containers", "containers and tasks that have the names of their runtimes";
        Translations = "edgescope_agent_translations", "connections that the node translates, as far as known";
        Names = "edgescope_agent_names", "addresses and ports of which a name was heard";
        Proxies = "edgescope_agent_proxies", "userland proxies whose ports are told as their containers'";
        SpoolBatches = "edgescope_agent_spool_batches", "batches that wait for their acknowledgement";
        SpoolBytes = "edgescope_agent_spool_bytes", "bytes of the spool";
        ReadMicroseconds = "edgescope_agent_read_microseconds", "time that the last reading took";
        Connected = "edgescope_agent_connected", "1 while a server answers";
    }
}

/// Most reasons of loss, and of dropped packets: Linux 6.18 knows about 120.
const REASONS_MAX: usize = 160;

/// The numbers. Cheap to change from any thread.
#[derive(Debug, Default)]
pub struct Metrics {
    totals: [AtomicU64; Total::ALL.len()],
    gauges: [AtomicU64; Gauge::ALL.len()],
    clock_offset_us: std::sync::atomic::AtomicI64,
    lost: Mutex<BTreeMap<String, u64>>,
    /// The part of `lost` that no batch has told of yet.
    untold: Mutex<BTreeMap<String, u64>>,
    drops: Mutex<BTreeMap<String, u64>>,
}

impl Metrics {
    pub fn add(&self, total: Total, count: u64) {
        self.totals[total as usize].fetch_add(count, Ordering::Relaxed);
    }

    pub fn set(&self, gauge: Gauge, value: u64) {
        self.gauges[gauge as usize].store(value, Ordering::Relaxed);
    }

    pub fn total(&self, total: Total) -> u64 {
        self.totals[total as usize].load(Ordering::Relaxed)
    }

    pub fn gauge(&self, gauge: Gauge) -> u64 {
        self.gauges[gauge as usize].load(Ordering::Relaxed)
    }

    pub fn set_clock_offset_us(&self, offset_us: i64) {
        self.clock_offset_us.store(offset_us, Ordering::Relaxed);
    }

    /// Counts a loss by reason; the next batch tells of it.
    pub fn lost(&self, reason: &str, count: u64) {
        if count > 0 {
            add_bounded(&self.lost, reason, count);
            add_bounded(&self.untold, reason, count);
        }
    }

    /// Losses that no batch has told of yet.
    pub fn untold(&self) -> BTreeMap<String, u64> {
        lock(&self.untold).clone()
    }

    /// A batch that tells of these losses is durable.
    pub fn told(&self, losses: &BTreeMap<String, u64>) {
        let mut untold = lock(&self.untold);
        for (reason, count) in losses {
            if let Some(left) = untold.get_mut(reason) {
                *left = left.saturating_sub(*count);
            }
        }
        untold.retain(|_, left| *left > 0);
    }

    /// Counts packets that the kernel dropped, by its reason.
    pub fn dropped(&self, reason: &str, count: u64) {
        add_bounded(&self.drops, reason, count);
    }

    /// Prometheus text format, version 0.0.4.
    pub fn text(&self) -> String {
        let mut out = String::with_capacity(4_096);
        let mut put = |name: &str, help: &str, kind: &str, value: &dyn std::fmt::Display| {
            // Writing to a String cannot fail.
            let _ = write!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}\n");
        };
        for &(total, name, help) in Total::ALL {
            put(name, help, "counter", &self.total(total));
        }
        for &(gauge, name, help) in Gauge::ALL {
            put(name, help, "gauge", &self.gauge(gauge));
        }
        let offset_s = self.clock_offset_us.load(Ordering::Relaxed) as f64 / 1e6;
        put("edgescope_agent_clock_offset_seconds", "server clock less this node's wall clock", "gauge", &offset_s);
        for (name, help, reasons) in [
            ("edgescope_agent_lost_total", "what was not counted or not named, by reason", &self.lost),
            ("edgescope_agent_kernel_drops_total", "packets that the kernel dropped, by its reason", &self.drops),
        ] {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (reason, count) in lock(reasons).iter() {
                let _ = writeln!(out, "{name}{{reason=\"{reason}\"}} {count}");
            }
        }
        out
    }
}

/// What exceeds the bound is summed under `other`.
fn add_bounded(counts: &Mutex<BTreeMap<String, u64>>, reason: &str, count: u64) {
    let mut counts = lock(counts);
    let reason = if counts.len() < REASONS_MAX || counts.contains_key(reason) { reason } else { "other" };
    *counts.entry(reason.to_owned()).or_default() += count;
}

fn lock(counts: &Mutex<BTreeMap<String, u64>>) -> MutexGuard<'_, BTreeMap<String, u64>> {
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_in_the_text() {
        let metrics = Metrics::default();
        metrics.add(Total::Windows, 3);
        metrics.set(Gauge::Flows, 7);
        metrics.lost("kernel_flows_full", 2);
        metrics.dropped("netfilter_drop", 5);
        metrics.set_clock_offset_us(-1_500_000);
        let text = metrics.text();
        for line in [
            "edgescope_agent_windows_total 3",
            "edgescope_agent_flows 7",
            "edgescope_agent_lost_total{reason=\"kernel_flows_full\"} 2",
            "edgescope_agent_kernel_drops_total{reason=\"netfilter_drop\"} 5",
            "edgescope_agent_clock_offset_seconds -1.5",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} in {text}");
        }
    }

    #[test]
    fn losses_are_told_once() {
        let metrics = Metrics::default();
        metrics.lost("batches_refused", 2);
        let told = metrics.untold();
        // Of a batch that could not be stored nothing was told.
        assert_eq!(metrics.untold(), told);
        metrics.lost("batches_refused", 1);
        metrics.told(&told);
        assert_eq!(metrics.untold(), BTreeMap::from([("batches_refused".to_owned(), 1)]));
    }
}
