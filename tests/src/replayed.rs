//! A capture as `edgescope replay` reads it, beside what `tcptrace` and `tshark` make of it.
//!
//! Each direction of each pair of ports is compared by itself. What differs must be explained by one of the [`CAUSES`], whose share is
//! counted and not guessed: a difference of one segment, byte or sample more than that fails the comparison.

use crate::program;
use edgescope_replay::report::{DirectionReport, TcpReport};
use edgescope_replay::{CaptureReport, Report, Settings, replay_file};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

const ANALYSIS: Duration = Duration::from_secs(120);
/// Round-trip times agree if their means do within this share.
const RTT_SHARE: f64 = 0.01;
/// tcptrace prints milliseconds with one digit behind the point.
const TCPTRACE_RTT_S: f64 = 0.000_051;

/// Source and destination.
type Direction = (SocketAddr, SocketAddr);

/// What one of the three says of a direction. A field that it does not know is `None`.
#[derive(Debug, Clone, Default)]
struct Said {
    unique_bytes: Option<u64>,
    sent_bytes: u64,
    data_packets: u64,
    /// Sent again, or out of order.
    disordered: u64,
    resets: u64,
    zero_windows: u64,
    rtt_samples: u64,
    rtt_sum_s: f64,
}

/// What explains differences, as `edgescope replay` counts it for a direction.
#[derive(Debug, Clone, Default)]
struct Causes {
    unseen_tail: u64,
    /// Round trips that tcptrace does not take, and their sum.
    crossed: (u64, f64),
    held_back: u64,
    ambiguous: u64,
    retrans: u64,
    resets_of_receiver: u64,
    /// SYNs and SYN-ACKs sent again in connections with a reset.
    syns_about_reset: u64,
    /// SYNs that passed after their answer.
    syns_missed: u64,
    /// Of tcptrace: data that it takes for probes of a closed window, in segments and bytes.
    probes: u64,
    probe_bytes: u64,
}

/// Why the three may differ. The names stand in the printed table; the decision about the witnesses has the reasons.
pub const CAUSES: [&str; 9] = ["tail", "probe", "karn", "crossed", "two-of-three", "reset-rtt", "reset-syn", "missed-syn", "coarse"];

/// One quantity of one capture, summed over its directions.
#[derive(Debug, Clone)]
pub struct Line {
    pub quantity: &'static str,
    pub ours: f64,
    pub tcptrace: Option<f64>,
    pub tshark: Option<f64>,
    /// Cause, and how much of the difference it explains.
    pub causes: BTreeMap<&'static str, u64>,
}

/// The whole comparison.
#[derive(Debug)]
pub struct Comparison {
    pub name: String,
    pub capture: CaptureReport,
    pub connections: Vec<TcpReport>,
    pub lines: Vec<Line>,
    /// What no cause explains; empty if all is well.
    pub unexplained: Vec<String>,
}

/// Compares a capture's TCP.
pub fn compare(name: &str, file: &Path) -> Comparison {
    let (capture, connections) = replayed(file);
    let mut ours: BTreeMap<Direction, (Said, Causes)> = BTreeMap::new();
    for report in &connections {
        let (client, server) = (report.client, report.server);
        let resets = report.client_to_server.resets + report.server_to_client.resets;
        for (direction, said, other) in [
            ((client, server), &report.client_to_server, &report.server_to_client),
            ((server, client), &report.server_to_client, &report.client_to_server),
        ] {
            let entry = ours.entry(direction).or_default();
            add_ours(entry, said, other.resets);
            entry.1.syns_about_reset += if resets > 0 { said.retrans_syn + said.retrans_synack } else { 0 };
        }
        ours.entry((client, server)).or_default().1.syns_missed += u64::from(report.syn_missed);
    }
    let (tcptrace, probes) = tcptrace(file);
    let tshark = tshark(file);
    let mut comparison = Comparison { name: name.to_owned(), capture, connections, lines: Vec::new(), unexplained: Vec::new() };
    let others = tcptrace.keys().chain(tshark.keys()).filter(|direction| !ours.contains_key(direction));
    comparison.unexplained.extend(others.map(|(from, to)| format!("{from} > {to} was not found")));
    let none = Said::default();
    let mut sums: BTreeMap<&'static str, Line> = BTreeMap::new();
    for (direction, (said, causes)) in &mut ours {
        (causes.probes, causes.probe_bytes) = probes.get(direction).copied().unwrap_or_default();
        let (trace, shark) = (tcptrace.get(direction).unwrap_or(&none), tshark.get(direction).unwrap_or(&none));
        let wrong = one_direction(said, causes, trace, shark, &mut sums);
        comparison.unexplained.extend(wrong.into_iter().map(|what| format!("{} > {}: {what}", direction.0, direction.1)));
    }
    comparison.lines = sums.into_values().collect();
    comparison
}

impl Comparison {
    /// The table as it is printed.
    pub fn table(&self) -> String {
        let shown = |value: Option<f64>| {
            value.map_or_else(|| "–".to_owned(), |value| if value.fract() == 0.0 { format!("{value}") } else { format!("{value:.6}") })
        };
        let mut out = format!("{}: {} packets, {} connections\n", self.name, self.capture.packets, self.connections.len());
        let _ = writeln!(out, "  {:<22} {:>14} {:>14} {:>14}  explained by", "", "replay", "tcptrace", "tshark");
        for line in &self.lines {
            let causes: Vec<String> = line.causes.iter().map(|(cause, count)| format!("{cause} {count}")).collect();
            let _ = writeln!(
                out,
                "  {:<22} {:>14} {:>14} {:>14}  {}",
                line.quantity,
                shown(Some(line.ours)),
                shown(line.tcptrace),
                shown(line.tshark),
                causes.join(", ")
            );
        }
        out
    }

    /// Prints the table; panics if something is not explained.
    pub fn check(&self) {
        println!("{}", self.table());
        assert!(self.unexplained.is_empty(), "{}: {:#?}", self.name, self.unexplained);
    }

    pub fn sum(&self, of: impl Fn(&DirectionReport) -> u64) -> u64 {
        self.connections.iter().flat_map(|report| [&report.client_to_server, &report.server_to_client]).map(of).sum()
    }
}

/// Compares one direction and adds it to the sums; returns what is not explained.
fn one_direction(said: &Said, causes: &Causes, trace: &Said, shark: &Said, sums: &mut BTreeMap<&'static str, Line>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut equal = |quantity, ours: u64, trace: Option<u64>, shark: Option<u64>, explained: [(&'static str, (u64, u64)); 2]| {
        let line = sums.entry(quantity).or_insert_with(|| Line { quantity, ours: 0.0, tcptrace: None, tshark: None, causes: BTreeMap::new() });
        line.add(ours as f64, trace.map(|v| v as f64), shark.map(|v| v as f64));
        let [of_trace, of_shark] = explained;
        for ((cause, share), witness) in [(of_trace, trace), (of_shark, shark)] {
            let Some(witness) = witness else { continue };
            let explained = ours.saturating_sub(witness).clamp(share.0, share.1);
            if explained > 0 {
                *line.causes.entry(cause).or_default() += explained;
            }
            if witness + explained != ours {
                wrong.push(format!("{quantity}: {ours}, the witness says {witness}, {cause} explains {} to {}", share.0, share.1));
            }
        }
    };
    // Cause, and the least and the most that it explains.
    let nothing = ("", (0, 0));
    equal("1 bytes, each once", said.unique_bytes.unwrap_or(0), trace.unique_bytes, None, [("probe", (0, causes.probe_bytes)), nothing]);
    equal("2 bytes sent", said.sent_bytes, Some(trace.sent_bytes), Some(shark.sent_bytes), [nothing, nothing]);
    equal("3 data packets", said.data_packets, Some(trace.data_packets), Some(shark.data_packets), [nothing, nothing]);
    equal("5 resets", said.resets, Some(trace.resets), Some(shark.resets), [nothing, nothing]);
    equal("6 zero windows", said.zero_windows, Some(trace.zero_windows), Some(shark.zero_windows), [nothing, nothing]);
    let tail = causes.unseen_tail + causes.probes;
    let of_trace = if tail == 0 { ("reset-syn", (0, causes.syns_about_reset)) } else { ("tail", (0, tail + causes.syns_about_reset)) };
    equal("4 again or late", said.disordered, Some(trace.disordered), Some(shark.disordered), [of_trace, nothing]);
    if let Err(what) = round_trips(said, causes, trace, shark, sums) {
        wrong.push(what);
    }
    wrong
}

/// tcptrace takes the same samples, but also of a reset that acknowledges; tshark also those that Karn's rule forbids.
fn round_trips(said: &Said, causes: &Causes, trace: &Said, shark: &Said, sums: &mut BTreeMap<&'static str, Line>) -> Result<(), String> {
    let line = |quantity| Line { quantity, ours: 0.0, tcptrace: None, tshark: None, causes: BTreeMap::new() };
    let samples = sums.entry("7 rtt samples").or_insert_with(|| line("7 rtt samples"));
    samples.add(said.rtt_samples as f64, Some(trace.rtt_samples as f64), Some(shark.rtt_samples as f64));
    let is_plain = said.rtt_samples == shark.rtt_samples
        && causes.held_back + causes.ambiguous + causes.retrans + causes.resets_of_receiver + causes.syns_missed == 0;
    let mut because = |cause, count: u64| {
        if count > 0 {
            *samples.causes.entry(cause).or_default() += count;
        }
    };
    because("karn", shark.rtt_samples.saturating_sub(said.rtt_samples));
    because("crossed", causes.crossed.0);
    // What tcptrace takes of the same.
    let taken = (said.rtt_samples - causes.crossed.0, said.rtt_sum_s - causes.crossed.1);
    // A sample that tcptrace takes and we do not has one of these causes, by turns.
    let mut more = trace.rtt_samples.checked_sub(taken.0);
    for (cause, share) in [("reset-rtt", causes.resets_of_receiver), ("missed-syn", causes.syns_missed), ("probe", causes.probes)] {
        let explained = more.unwrap_or(0).min(share);
        because(cause, explained);
        more = more.map(|more| more - explained);
    }
    if more != Some(0) {
        return Err(format!("tcptrace has {} round trips, replay {}, with {causes:?}", trace.rtt_samples, said.rtt_samples));
    }
    let of_resets = trace.rtt_samples - taken.0;
    let forbidden = causes.held_back + causes.ambiguous + causes.retrans + causes.resets_of_receiver + causes.syns_missed;
    let missing = said.rtt_samples.saturating_sub(shark.rtt_samples);
    because("two-of-three", missing);
    if (missing > 0 && trace.rtt_samples != said.rtt_samples) || shark.rtt_samples > said.rtt_samples + forbidden {
        return Err(format!("tshark has {} round trips, replay {} and {forbidden} that it may not take", shark.rtt_samples, said.rtt_samples));
    }
    if said.rtt_samples == 0 {
        return Ok(());
    }
    let mean = |said: &Said| said.rtt_sum_s / said.rtt_samples as f64;
    let sum = sums.entry("8 rtt sum, s").or_insert_with(|| line("8 rtt sum, s"));
    sum.add(said.rtt_sum_s, Some(trace.rtt_sum_s), is_plain.then_some(shark.rtt_sum_s));
    let mean_taken = taken.1 / taken.0.max(1) as f64;
    let is_near = (mean(trace) - mean_taken).abs() <= (mean_taken * RTT_SHARE).max(TCPTRACE_RTT_S);
    if of_resets == 0 && taken.0 > 0 && !is_near {
        return Err(format!("mean round trip of {mean_taken} s, tcptrace says {} s", mean(trace)));
    }
    if is_plain && (mean(shark) - mean(said)).abs() > mean(said) * RTT_SHARE {
        return Err(format!("mean round trip of {} s, tshark says {} s", mean(said), mean(shark)));
    }
    if taken.0 > 0 && (mean(trace) - mean_taken).abs() > mean_taken * RTT_SHARE {
        *sum.causes.entry("coarse").or_default() += 1;
    }
    Ok(())
}

impl Line {
    fn add(&mut self, ours: f64, tcptrace: Option<f64>, tshark: Option<f64>) {
        self.ours += ours;
        self.tcptrace = tcptrace.map(|value| self.tcptrace.unwrap_or(0.0) + value).or(self.tcptrace);
        self.tshark = tshark.map(|value| self.tshark.unwrap_or(0.0) + value).or(self.tshark);
    }
}

/// All that `edgescope replay` says of a capture's TCP.
pub fn replayed(file: &Path) -> (CaptureReport, Vec<TcpReport>) {
    let (mut capture, mut connections) = (CaptureReport::default(), Vec::new());
    let sink = |report| {
        match report {
            Report::Tcp(report) => connections.push(*report),
            Report::Udp(_) => {}
            Report::Capture(report) => capture = *report,
        }
        ControlFlow::Continue(())
    };
    replay_file(file, &Settings::default(), sink, |_| {}).expect("the capture can be read");
    (capture, connections)
}

fn add_ours((said, causes): &mut (Said, Causes), direction: &DirectionReport, resets_of_receiver: u64) {
    said.unique_bytes = Some(said.unique_bytes.unwrap_or(0) + direction.bytes_unique);
    said.sent_bytes += direction.bytes_sent;
    said.data_packets += direction.packets_with_payload;
    said.disordered += direction.retrans + direction.out_of_order;
    said.resets += direction.resets;
    // The witnesses count it for who says so, replay for whose data it holds up.
    said.zero_windows += direction.zero_windows;
    said.rtt_samples += direction.rtt.samples;
    said.rtt_sum_s += direction.rtt.avg.unwrap_or(0.0) * direction.rtt.samples as f64;
    causes.unseen_tail += direction.unseen_tail;
    causes.crossed.0 += direction.crossed.samples;
    causes.crossed.1 += direction.crossed.avg.unwrap_or(0.0) * direction.crossed.samples as f64;
    causes.held_back += direction.rtt_skipped_held_back;
    causes.ambiguous += direction.rtt_skipped_retransmitted;
    causes.retrans += direction.retrans;
    causes.resets_of_receiver += resets_of_receiver;
}

fn output(mut command: Command, file: &Path) -> String {
    command.arg(file);
    let output = program::finish(command, ANALYSIS);
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// tcptrace's sums of each direction, and the data that it takes for window probes.
fn tcptrace(file: &Path) -> (BTreeMap<Direction, Said>, BTreeMap<Direction, (u64, u64)>) {
    let mut command = Command::new("tcptrace");
    command.args(["-n", "-l", "-r", "--csv"]);
    let text = output(command, file);
    let mut lines = text.lines().map(|line| line.split(',').map(str::trim).collect::<Vec<_>>()).skip_while(|cells| cells[0] != "conn_#");
    let (mut said, mut probes) = (BTreeMap::<_, Said>::new(), BTreeMap::<_, (u64, u64)>::new());
    let Some(heads) = lines.next() else { return (said, probes) };
    for cells in lines.filter(|cells| cells.len() >= heads.len() - 1) {
        let cell = |name: &str| cells[heads.iter().position(|head| *head == name).unwrap_or_else(|| panic!("tcptrace prints no {name}"))];
        let end = |of: &str| {
            SocketAddr::new(cell(&format!("host_{of}")).parse::<IpAddr>().expect("an address"), cell(&format!("port_{of}")).parse().expect("a port"))
        };
        for (from, to, suffix, other) in [("a", "b", "a2b", "b2a"), ("b", "a", "b2a", "a2b")] {
            let number =
                |name: &str, suffix: &str| cell(&format!("{name}_{suffix}")).parse::<f64>().unwrap_or_else(|_| panic!("{name} of {cells:?}"));
            let count = |name: &str| number(name, suffix) as u64;
            let direction = (end(from), end(to));
            let said = said.entry(direction).or_default();
            said.unique_bytes = Some(said.unique_bytes.unwrap_or(0) + count("unique_bytes_sent"));
            said.sent_bytes += count("actual_data_bytes");
            said.data_packets += count("actual_data_pkts");
            said.disordered += count("rexmt_data_pkts") + count("outoforder_pkts");
            said.resets += count("resets_sent");
            said.zero_windows += number("zero_win_adv", other) as u64;
            said.rtt_samples += count("RTT_samples");
            said.rtt_sum_s += number("RTT_samples", suffix) * number("RTT_avg", suffix) * 1e-3;
            let probes = probes.entry(direction).or_default();
            (probes.0, probes.1) = (probes.0 + count("zwnd_probe_pkts"), probes.1 + count("zwnd_probe_bytes"));
        }
    }
    (said, probes)
}

/// tshark's marks of each packet, summed up for each direction.
fn tshark(file: &Path) -> BTreeMap<Direction, Said> {
    const FIELDS: [&str; 14] = [
        "ip.src",
        "ipv6.src",
        "tcp.srcport",
        "ip.dst",
        "ipv6.dst",
        "tcp.dstport",
        "tcp.len",
        "tcp.flags.reset",
        "tcp.analysis.retransmission",
        "tcp.analysis.fast_retransmission",
        "tcp.analysis.spurious_retransmission",
        "tcp.analysis.out_of_order",
        "tcp.analysis.zero_window",
        "tcp.analysis.ack_rtt",
    ];
    let mut command = Command::new("tshark");
    command.args(["-n", "-Y", "tcp && !icmp && !icmpv6", "-T", "fields", "-E", "occurrence=f"]);
    for field in FIELDS {
        command.args(["-e", field]);
    }
    command.arg("-r");
    let mut said = BTreeMap::<Direction, Said>::new();
    for line in output(command, file).lines() {
        let cells: Vec<&str> = line.split('\t').collect();
        let cell = |at: usize| cells.get(at).copied().unwrap_or_default();
        let end = |at: usize| -> Option<SocketAddr> {
            let ip = if cell(at).is_empty() { cell(at + 1) } else { cell(at) };
            Some(SocketAddr::new(ip.parse().ok()?, cell(at + 2).parse().ok()?))
        };
        let (Some(from), Some(to)) = (end(0), end(3)) else { continue };
        let one = said.entry((from, to)).or_default();
        let length: u64 = cell(6).parse().unwrap_or(0);
        one.sent_bytes += length;
        one.data_packets += u64::from(length > 0);
        one.resets += u64::from(matches!(cell(7), "1" | "True"));
        one.disordered += u64::from((8..=11).any(|at| !cell(at).is_empty()));
        let back = said.entry((to, from)).or_default();
        back.zero_windows += u64::from(!cell(12).is_empty());
        if let Ok(took_s) = cell(13).parse::<f64>() {
            back.rtt_samples += 1;
            back.rtt_sum_s += took_s;
        }
    }
    said
}
