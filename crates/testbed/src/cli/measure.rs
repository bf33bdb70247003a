//! What the company costs, and what it does for that.

use edgescope_testbed::relay::RelayCounters;
use edgescope_testbed::{Options, PeerTotals, Role, Testbed, Witness};
use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

/// The kernel counts processor time in these (USER_HZ is 100 on every Linux).
const TICKS_PER_S: f64 = 100.0;

/// Until connections are established and caches are warm.
const WARM_UP: Duration = Duration::from_secs(3);

pub fn measure(options: &Result<Options, Box<dyn Error>>, seconds: f64) -> Result<(), Box<dyn Error>> {
    let options = options.as_ref().map_err(|e| e.to_string())?.clone();
    let began = std::time::Instant::now();
    let testbed = Testbed::start(options)?;
    println!("start             {:.1} s", began.elapsed().as_secs_f64());
    std::thread::sleep(WARM_UP);
    let before = Sample::take(&testbed)?;
    std::thread::sleep(Duration::from_secs_f64(seconds));
    let after = Sample::take(&testbed)?;
    report(&testbed, &before, &after);
    Ok(())
}

struct Sample {
    at: std::time::Instant,
    /// Processor seconds by process name.
    cpu_s: BTreeMap<String, f64>,
    /// Processor seconds of the machine's soft interrupts, in which packets travel.
    softirq_s: f64,
    client: PeerTotals,
    front: PeerTotals,
    relay: RelayCounters,
}

impl Sample {
    fn take(testbed: &Testbed) -> Result<Sample, Box<dyn Error>> {
        let witnesses = testbed.counters()?;
        let front: Vec<&Witness> =
            witnesses.iter().filter(|w| testbed.topology().spec.service(&w.workload).is_some_and(|s| s.is_load_generator())).collect();
        let cpu = |(name, pid): (String, u32)| cpu_s(pid).map(|s| (name, s));
        Ok(Sample {
            at: std::time::Instant::now(),
            cpu_s: testbed.processes().into_iter().filter_map(cpu).collect(),
            softirq_s: softirq_s(),
            client: totals(witnesses.iter()),
            front: totals(front.into_iter()),
            relay: testbed.relay_counters()?,
        })
    }
}

/// Sum over everything that these processes did as clients.
fn totals<'a>(witnesses: impl Iterator<Item = &'a Witness>) -> PeerTotals {
    let mut sum = PeerTotals::default();
    for peer in witnesses.flat_map(|w| &w.peers).filter(|p| p.role == Role::Client) {
        sum.merge(&peer.totals);
    }
    sum
}

/// User and system time of a process; none if it is gone.
fn cpu_s(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in brackets, may contain blanks; user and system time are the 12th and 13th field after it.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?;
    Some(ticks / TICKS_PER_S)
}

fn softirq_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks = stat.lines().next().and_then(|cpu| cpu.split_whitespace().nth(7)?.parse::<f64>().ok());
    ticks.unwrap_or(0.0) / TICKS_PER_S
}

fn report(testbed: &Testbed, before: &Sample, after: &Sample) {
    let seconds = (after.at - before.at).as_secs_f64();
    let rate = |f: fn(&PeerTotals) -> u64, a: &PeerTotals, b: &PeerTotals| (f(a) - f(b)) as f64 / seconds;
    let cpu = |keep: &dyn Fn(&str) -> bool| -> f64 {
        let spent = after.cpu_s.iter().filter(|(name, _)| keep(name)).map(|(name, s)| s - before.cpu_s.get(name).unwrap_or(&0.0));
        spent.sum::<f64>() / seconds
    };
    let front_requests = after.front.requests - before.front.requests;
    println!(
        "requests          {:.0}/s at the front, {:.1} % failed, mean {:.1} ms",
        front_requests as f64 / seconds,
        100.0 * (after.front.requests_failed - before.front.requests_failed) as f64 / front_requests.max(1) as f64,
        (after.front.latency_us - before.front.latency_us) as f64 / front_requests.max(1) as f64 / 1e3
    );
    println!(
        "calls             {:.0}/s in all, {:.0} connects/s, mean handshake {:.2} ms",
        rate(|t| t.requests, &after.client, &before.client),
        rate(|t| t.connects, &after.client, &before.client),
        (after.client.handshake_us - before.client.handshake_us) as f64 / (after.client.established - before.client.established).max(1) as f64 / 1e3
    );
    let packets = |s: &Sample| s.relay.groups.iter().map(|g| g.packets).sum::<u64>();
    println!(
        "relay             {:.0} packets/s, {:.2} cores, {} dropped (full {}, write {}), real time: {}",
        (packets(after) - packets(before)) as f64 / seconds,
        cpu(&|n| n == "relay"),
        after.relay.dropped_full + after.relay.dropped_write,
        after.relay.dropped_full,
        after.relay.dropped_write,
        testbed.relay_is_realtime()
    );
    let late = |s: &Sample| s.relay.groups.iter().fold((0, 0, 0), |(us, n, max), g| (us + g.late_us, n + g.late_500us, max.max(g.late_us_max)));
    let ((us1, n1, _), (us2, n2, max)) = (late(before), late(after));
    let passed = (packets(after) - packets(before)).max(1) as f64;
    println!(
        "relay lateness    mean {:.0} µs, {:.2} % above 0.5 ms, max {:.1} ms",
        (us2 - us1) as f64 / passed,
        100.0 * (n2 - n1) as f64 / passed,
        max as f64 / 1e3
    );
    println!("services          {:.2} cores", cpu(&|n| n != "relay"));
    println!(
        "company           {:.2} cores (soft interrupts of the whole machine besides: {:.2})",
        cpu(&|_| true),
        (after.softirq_s - before.softirq_s) / seconds
    );
}
