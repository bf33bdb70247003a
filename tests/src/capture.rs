//! A packet capture and what `tshark` and `tcptrace` make of it.

use crate::program::{self, Process};
use crate::wait::until;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(10);
const ANALYSIS: Duration = Duration::from_secs(60);

/// A running capture of one protocol on one interface of a namespace.
pub struct Capture {
    process: Process,
    file: PathBuf,
}

impl Capture {
    /// Starts it and waits until it listens. The file is `name` in `dir`; `protocol` is `tcp` or `udp`. Of packets the headers.
    pub fn start(netns: &Path, interface: &str, dir: &Path, name: &str, protocol: &str) -> Capture {
        Self::of_bytes(netns, interface, dir, name, protocol, "200")
    }

    /// The same of whole packets.
    pub fn whole(netns: &Path, interface: &str, dir: &Path, name: &str, protocol: &str) -> Capture {
        Self::of_bytes(netns, interface, dir, name, protocol, "65535")
    }

    fn of_bytes(netns: &Path, interface: &str, dir: &Path, name: &str, protocol: &str, bytes: &str) -> Capture {
        let file = dir.join(name);
        let mut command = Command::new("tcpdump");
        // Packets are taken and written as they come, so that nothing is lost at the end.
        command
            .args(["-n", "-p", "-U", "--immediate-mode", "-s", bytes, "-B", "65536", "-Z", "root", "-i", interface, "-w"])
            .arg(&file)
            .arg(protocol);
        let process = Process::start("tcpdump", command, &dir.join(format!("{name}.log")), Some(netns));
        until("the capture", START, || if process.log().contains("listening on") { Ok(()) } else { Err(process.log()) });
        Capture { process, file }
    }

    /// What is captured so far.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// Ends it; panics if it missed packets.
    pub fn stop(mut self) -> PathBuf {
        self.process.signal(Signal::INT);
        self.process.wait(END);
        let log = self.process.log();
        assert!(log.lines().any(|l| l.trim() == "0 packets dropped by kernel"), "the capture missed packets: {log}");
        self.file.clone()
    }
}

/// Round-trip times in seconds of data sent by `source`, sorted, as `tshark` finds them: one for each acknowledgement of data that
/// was sent once. Their mean is held against that of `tcptrace`.
pub fn round_trips_s(capture: &Path, source: &str) -> Vec<f64> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-e", "tcp.analysis.ack_rtt", "-r"]).arg(capture);
    command.arg(format!("tcp.analysis.ack_rtt && tcp.flags.syn == 0 && ip.dst == {source}"));
    let mut times: Vec<f64> = run(command).lines().filter_map(|line| line.trim().parse().ok()).collect();
    times.sort_by(f64::total_cmp);
    let mean = times.iter().sum::<f64>() / times.len() as f64;
    let other = mean_round_trip_s(capture, source);
    assert!((mean - other).abs() <= 0.1 * other, "tshark's mean round trip is {mean} s, tcptrace's {other} s: one of them is no witness");
    times
}

/// Datagrams and their payload from any of `sources`, to or from `port`, as `tshark` finds them.
pub fn datagrams(capture: &Path, sources: &[String], port: u16) -> (u64, u64) {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-e", "udp.length", "-r"]).arg(capture);
    let from = |source: &String| format!("{} == {source}", if source.contains(':') { "ipv6.src" } else { "ip.src" });
    command.arg(format!("udp.port == {port} && ({})", sources.iter().map(from).collect::<Vec<_>>().join(" || ")));
    // The header is eight bytes of it.
    let sizes: Vec<u64> = run(command).lines().filter_map(|line| line.trim().parse().ok()).collect();
    (sizes.len() as u64, sizes.iter().map(|size| size - 8).sum())
}

/// A number of each packet that passes a display filter of `tshark`.
pub fn fields(capture: &Path, filter: &str, field: &str) -> Vec<f64> {
    let number = |text: &String| text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok().map(f64::from));
    texts(capture, filter, field).iter().filter_map(number).collect()
}

/// A text of each packet that passes a display filter of `tshark`.
pub fn texts(capture: &Path, filter: &str, field: &str) -> Vec<String> {
    let mut command = Command::new("tshark");
    command.args(["-n", "-T", "fields", "-e", field, "-r"]).arg(capture).arg(filter);
    run(command).lines().map(|line| line.trim().to_owned()).collect()
}

fn run(command: Command) -> String {
    let output = program::finish(command, ANALYSIS);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Mean round-trip time of data sent by `source`, as `tcptrace` finds it.
fn mean_round_trip_s(capture: &Path, source: &str) -> f64 {
    let mut command = Command::new("tcptrace");
    command.args(["-n", "-l", "-r"]).arg(capture);
    let (mut count, mut sum_ms) = (0.0, 0.0);
    let mut hosts = Vec::new();
    let mut samples = Vec::new();
    for line in run(command).lines() {
        if let Some((_, address)) = line.trim().strip_prefix("host ").and_then(|rest| rest.split_once(':')) {
            // `host a:        10.99.0.1:46182`, then the same of the other end.
            if hosts.len() == 2 {
                hosts.clear();
            }
            hosts.push(address.trim().rsplit_once(':').map_or("", |(ip, _)| ip).to_owned());
        } else if line.contains("RTT samples:") {
            samples = both_sides(line);
        } else if line.contains("RTT avg:") {
            let averages = both_sides(line);
            for ((_, samples), average_ms) in hosts.iter().zip(&samples).zip(&averages).filter(|((host, _), _)| *host == source) {
                (count, sum_ms) = (count + samples, sum_ms + samples * average_ms);
            }
        }
    }
    sum_ms / count / 1e3
}

/// The numbers of `RTT avg: 10.3 ms  RTT avg: 0.1 ms`.
fn both_sides(line: &str) -> Vec<f64> {
    line.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The value below which `share` of the sorted values lie.
pub fn quantile(sorted: &[f64], share: f64) -> f64 {
    assert!(!sorted.is_empty(), "a quantile of no values");
    sorted[((sorted.len() - 1) as f64 * share).round() as usize]
}
