//! A demo's shop, asked for its own counters behind the product's back.

use edgescope_testbed::Witness;
use edgescope_testbed::run::RUNS_DIR;
use edgescope_testbed::service::control::{self, Command};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// Bytes written, by source and destination workload.
pub type Written = BTreeMap<(String, String), u64>;

/// The services of one run.
pub struct Shop {
    dir: PathBuf,
    /// Workload of each address.
    workloads: BTreeMap<IpAddr, String>,
    pods: Vec<String>,
}

impl Shop {
    /// Of the run with this id.
    ///
    /// # Errors
    /// While it is still being made.
    pub fn of_run(run: &str) -> Result<Shop, String> {
        let dir = Path::new(RUNS_DIR).join(run);
        let text = std::fs::read_to_string(dir.join("topology.json")).map_err(|e| e.to_string())?;
        let topology: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        let (mut workloads, mut pods) = (BTreeMap::new(), Vec::new());
        for pod in topology["nodes"].as_array().into_iter().flatten().filter_map(|n| n["pods"].as_array()).flatten() {
            pods.push(pod["name"].as_str().unwrap_or_default().to_owned());
            let ips = pod["ips"].as_array().into_iter().flatten().filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok());
            workloads.extend(ips.map(|ip| (ip, pod["workload"].as_str().unwrap_or_default().to_owned())));
        }
        Ok(Shop { dir, workloads, pods })
    }

    fn ask(&self, command: &Command) -> Result<Vec<Witness>, String> {
        let ask = |pod: &String| control::ask(&self.dir.join("control").join(pod), command).map_err(|e| format!("{pod}: {e}"));
        self.pods.iter().map(ask).collect()
    }

    /// What every workload wrote to every other up to now, as client and as server.
    ///
    /// # Errors
    /// If a service does not answer.
    pub fn written(&self) -> Result<Written, String> {
        Ok(self.sum(&self.ask(&Command::Counters)?))
    }

    fn sum(&self, witnesses: &[Witness]) -> Written {
        let mut written = Written::new();
        for witness in witnesses {
            for peer in &witness.peers {
                let dest = self.workloads.get(&peer.peer).cloned().unwrap_or_else(|| peer.peer.to_string());
                *written.entry((witness.workload.clone(), dest)).or_default() += peer.totals.bytes_written;
            }
        }
        written
    }

    /// Stops all traffic for good.
    ///
    /// # Errors
    /// While a connection is still open; ask again.
    pub fn drain(&self) -> Result<Written, String> {
        let witnesses = self.ask(&Command::Drain)?;
        let open: u64 = witnesses.iter().map(|w| w.open() + w.in_flight).sum();
        if open == 0 { self.written() } else { Err(format!("{open} connections or requests are open")) }
    }
}
