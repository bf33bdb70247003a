//! Whether one slice is bad in one window: rates by Wilson's bound, round trips by their own spread, traffic by its usual.

use crate::config::{DetectorsConfig, DropRule, Life, RateRule, ShiftRule};
use crate::series::{Part, Past, Window};
use edgescope_model::alert::Alert;

/// The built-in detectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Detector {
    Retransmissions,
    ConnectFailures,
    Stalled,
    RttShift,
    TrafficDrop,
    DnsFailures,
}

impl Detector {
    pub const ALL: [Self; 6] = [Self::Retransmissions, Self::ConnectFailures, Self::Stalled, Self::RttShift, Self::TrafficDrop, Self::DnsFailures];

    /// Name in alerts and in the config file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retransmissions => "retransmissions",
            Self::ConnectFailures => "connect_failures",
            Self::Stalled => "stalled",
            Self::RttShift => "rtt_shift",
            Self::TrafficDrop => "traffic_drop",
            Self::DnsFailures => "dns_failures",
        }
    }

    /// The measure that it looks at.
    pub const fn signal(self) -> &'static str {
        match self {
            Self::Retransmissions => "tcp.retrans_rate",
            Self::ConnectFailures => "tcp.connect_failure_rate",
            Self::Stalled => "tcp.stalled_share",
            Self::RttShift => "tcp.rtt.p20",
            Self::TrafficDrop => "tcp.bytes.sent.rate",
            Self::DnsFailures => "dns.failure_rate",
        }
    }

    /// The slices that it looks at. Round trips are compared along one path; a pod pair has too few connects for a rate, and too little traffic for a drop.
    pub fn looks_at(self, part: &Part) -> bool {
        match self {
            Self::RttShift => matches!(part, Part::Pods(..)),
            Self::TrafficDrop => matches!(part, Part::Whole),
            _ => !matches!(part, Part::Pods(..)),
        }
    }

    pub fn life(self, config: &DetectorsConfig) -> &Life {
        match self {
            Self::Retransmissions => &config.retransmissions.life,
            Self::ConnectFailures => &config.connect_failures.life,
            Self::Stalled => &config.stalled.life,
            Self::RttShift => &config.rtt_shift.life,
            Self::TrafficDrop => &config.traffic_drop.life,
            Self::DnsFailures => &config.dns_failures.life,
        }
    }
}

/// What a detector sees in a slice at a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    pub value: f64,
    pub threshold: f64,
    pub baseline: Option<f64>,
    /// Past windows behind the baseline.
    pub past: usize,
    /// Opportunities behind the value.
    pub samples: f64,
    pub bad: bool,
    /// Well again: below the clear level.
    pub clear: bool,
    /// How far beyond the threshold: to choose the worst slice.
    pub excess: f64,
}

/// What nearly all edges show in the same window.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Peers {
    pub rate: f64,
    pub shift_s: f64,
}

/// Where in time to look: the window judged, and the end of the past that is taken for normal (windows since trouble began are not).
#[derive(Debug, Clone, Copy)]
pub struct At {
    pub window: i64,
    pub normal_until: i64,
    pub window_s: f64,
}

/// The rate that is normal for a slice.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usual {
    /// Bad events ÷ opportunities.
    pub rate: f64,
    /// The same as the catalogue's measure counts them; unknown without opportunities.
    pub shown: Option<f64>,
    /// Past windows behind it.
    pub windows: usize,
}

/// What a rate detector counts in a window.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    bad: f64,
    all: f64,
    /// Bad events that the catalogue's measure counts.
    shown: f64,
}

/// Judges a slice; `None` without data. `held` is the rate that an open alert took for normal when it began: it stands where more of that past was
/// kept then than now.
pub fn read(detector: Detector, config: &DetectorsConfig, past: &Past, at: At, peers: Peers, held: Option<Usual>) -> Option<Reading> {
    match detector {
        Detector::RttShift => shift(&config.rtt_shift, config, past, at, peers),
        Detector::TrafficDrop => drop(&config.traffic_drop, past, at),
        _ => rate(detector, config, past, at, peers, held),
    }
}

/// The rule of a rate detector.
fn rate_rule(detector: Detector, config: &DetectorsConfig) -> Option<&RateRule> {
    match detector {
        Detector::Retransmissions => Some(&config.retransmissions),
        Detector::ConnectFailures => Some(&config.connect_failures),
        Detector::Stalled => Some(&config.stalled),
        Detector::DnsFailures => Some(&config.dns_failures),
        Detector::RttShift | Detector::TrafficDrop => None,
    }
}

fn counts(detector: Detector, w: &Window) -> Counts {
    match detector {
        Detector::Retransmissions => Counts { bad: w.lost, all: w.segments, shown: w.again },
        Detector::ConnectFailures => Counts { bad: w.failed.min(w.connects), all: w.connects, shown: w.failed.min(w.connects) },
        // A socket stalls for seconds on end: five of its seconds are one observation.
        Detector::Stalled => {
            let stalled = w.stalled_s.min(w.active_s) / 5.0;
            Counts { bad: stalled, all: w.active_s / 5.0, shown: stalled }
        }
        // A question counts as lost seconds after it was asked: there may be more of those than were asked.
        Detector::DnsFailures => Counts { bad: w.unresolved, all: w.questions.max(w.unresolved), shown: w.unresolved },
        Detector::RttShift | Detector::TrafficDrop => Counts::default(),
    }
}

/// Counts of a rate detector over windows, and how many those are.
fn sum(detector: Detector, past: &Past, from: i64, to: i64) -> (Counts, usize) {
    past.range(from, to).fold((Counts::default(), 0), |(sum, windows), w| {
        let c = counts(detector, w);
        (Counts { bad: sum.bad + c.bad, all: sum.all + c.all, shown: sum.shown + c.shown }, windows + 1)
    })
}

/// The rate of a slice up to `end`, as far as it is kept.
pub fn usual(detector: Detector, past: &Past, end: i64) -> Usual {
    let (all, windows) = sum(detector, past, i64::MIN, end);
    let known = all.all > 0.0;
    Usual { rate: if known { all.bad / all.all } else { 0.0 }, shown: known.then(|| all.shown / all.all), windows }
}

/// The rate that an alert took for normal, by its own words; only for rates.
pub fn usual_told(detector: Detector, config: &DetectorsConfig, alert: &Alert) -> Option<Usual> {
    let rule = rate_rule(detector, config)?;
    let windows = i64::from(alert.baseline_s) / crate::WINDOW_S;
    // What gives the same threshold again; at the floor that is more than it was, and makes no difference.
    Some(Usual { rate: alert.threshold / rule.ratio, shown: Some(alert.baseline?), windows: windows as usize })
}

/// Judges a round trip or traffic by an open alert's own baseline and threshold, where its healthy past is no longer kept: trouble that lasts does not
/// become normal. (Rates: `held` of [`read`].)
pub fn hold(detector: Detector, config: &DetectorsConfig, past: &Past, at: At, (baseline, threshold): (f64, f64)) -> Option<Reading> {
    let now = past.at(at.window)?;
    let (value, samples, above) = match detector {
        Detector::RttShift => (now.rtt_s, now.rtt_samples, true),
        Detector::TrafficDrop => (now.bytes / at.window_s, 1.0, false),
        _ => return None,
    };
    if samples <= 0.0 || value.is_nan() {
        return None;
    }
    // How far from the baseline, as a share of the way to the threshold.
    let excess = (value - baseline) / (threshold - baseline);
    let clear = detector.life(config).clear;
    // Traffic is well again once half of what is missing below the threshold is back as well.
    let clear = if above { clear } else { 1.0 - clear };
    Some(Reading { value, threshold, baseline: Some(baseline), past: 0, samples, bad: excess > 1.0, clear: excess < clear, excess })
}

/// Bad events and opportunities of a slice at a window, as peers are told them; none without opportunities.
pub fn plain_counts(detector: Detector, past: &Past, window: i64) -> Option<(f64, f64)> {
    let w = past.at(window)?;
    let (k, n) = match detector {
        Detector::Retransmissions => (w.lost, w.segments),
        Detector::ConnectFailures => (w.failed, w.connects),
        Detector::Stalled => (w.stalled_s, w.active_s),
        Detector::DnsFailures => (w.unresolved, w.questions),
        _ => return None,
    };
    (n > 0.0).then(|| (k.min(n), n))
}

/// By how much a slice's round trip is above its own past, as peers are told it.
pub fn plain_shift(past: &Past, at: At) -> Option<f64> {
    let now = past.at(at.window).filter(|w| w.rtt_samples > 0.0)?;
    let mut before: Vec<f64> = trips(past, at, 0.0).collect();
    Some(now.rtt_s - median(&mut before)?)
}

fn rate(detector: Detector, config: &DetectorsConfig, past: &Past, at: At, peers: Peers, held: Option<Usual>) -> Option<Reading> {
    let rule = rate_rule(detector, config).filter(|rule| rule.enabled)?;
    let start = at.window + 1 - rule.windows as i64;
    let (now, _) = sum(detector, past, start, at.window + 1);
    if now.all <= 0.0 {
        return None;
    }
    let kept = usual(detector, past, at.normal_until.min(start));
    let usual = held.filter(|held| held.windows > kept.windows).unwrap_or(kept);
    let beside = if usual.windows < config.baseline_windows { peers.rate } else { 0.0 };
    let threshold = rule.floor.max(rule.ratio * usual.rate).max(rule.ratio * beside).min(0.95);
    let lower = wilson_lower(now.bad, now.all, rule.z);
    Some(Reading {
        value: now.shown / now.all,
        threshold,
        baseline: usual.shown,
        past: usual.windows,
        samples: now.all,
        bad: now.bad >= rule.events_min && lower > threshold,
        clear: now.bad / now.all < rule.life.clear * threshold,
        excess: lower / threshold,
    })
}

fn shift(rule: &ShiftRule, config: &DetectorsConfig, past: &Past, at: At, peers: Peers) -> Option<Reading> {
    let now = past.at(at.window).filter(|w| rule.enabled && w.rtt_samples >= rule.samples_min)?;
    let mut before: Vec<f64> = trips(past, at, rule.samples_min).collect();
    let windows = before.len();
    if windows < rule.past_min {
        return None;
    }
    let usual = median(&mut before)?;
    let mut distances: Vec<f64> = before.iter().map(|v| (v - usual).abs()).collect();
    let noise = 1.4826 * median(&mut distances)?;
    // With little past its spread is not known: what all others shift by is common, not this edge's.
    let beside = if windows < config.baseline_windows { peers.shift_s.max(0.0) } else { 0.0 };
    let least = (rule.deviations * noise).max(rule.share * usual).max(rule.floor_s) + beside;
    let by = now.rtt_s - usual;
    Some(Reading {
        value: now.rtt_s,
        threshold: usual + least,
        baseline: Some(usual),
        past: windows,
        samples: now.rtt_samples,
        bad: by > least,
        clear: by < rule.life.clear * least,
        excess: by / least,
    })
}

/// Round trips of the past that is taken for normal.
fn trips(past: &Past, at: At, samples_min: f64) -> impl Iterator<Item = f64> {
    past.range(i64::MIN, at.normal_until.min(at.window)).filter(move |w| w.rtt_samples > samples_min).map(|w| w.rtt_s)
}

fn drop(rule: &DropRule, past: &Past, at: At) -> Option<Reading> {
    let start = at.window + 1 - rule.windows as i64;
    let whole = |from: i64, to: i64| past.range(from, to).filter(|w| !w.bytes.is_nan());
    let recent: Vec<&Window> = whole(start, at.window + 1).collect();
    let before: Vec<&Window> = whole(i64::MIN, at.normal_until.min(start)).collect();
    if !rule.enabled || recent.len() < rule.windows || before.len() < rule.past_min {
        return None;
    }
    let usual = |f: &dyn Fn(&Window) -> f64| median(&mut before.iter().map(|w| f(w)).collect::<Vec<_>>()).unwrap_or(0.0) / at.window_s;
    let (bytes, connects) = (usual(&|w| w.bytes), usual(&|w| w.connects));
    if bytes < rule.bytes_per_s_min && connects < rule.connects_per_s_min {
        return None;
    }
    let highest = recent.iter().map(|w| w.bytes / at.window_s).fold(0.0, f64::max);
    let mean = recent.iter().map(|w| w.bytes / at.window_s).sum::<f64>() / recent.len() as f64;
    let threshold = rule.ratio * bytes;
    Some(Reading {
        value: mean,
        threshold,
        baseline: Some(bytes),
        past: before.len(),
        samples: recent.len() as f64,
        bad: bytes > 0.0 && highest < threshold,
        // Well again once half of what was missing is back.
        clear: mean > threshold + rule.life.clear * (bytes - threshold),
        excess: (1.0 - mean / bytes.max(1e-9)) / (1.0 - rule.ratio).max(1e-9),
    })
}

/// Lower end of Wilson's interval for `k` of `n`, at `z` standard deviations.
pub fn wilson_lower(k: f64, n: f64, z: f64) -> f64 {
    if n <= 0.0 {
        return 0.0;
    }
    let (p, z2) = ((k / n).min(1.0), z * z);
    let centre = p + z2 / (2.0 * n);
    let half = z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    ((centre - half) / (1.0 + z2 / n)).max(0.0)
}

/// Median; sorts its argument.
fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => None,
        n if n % 2 == 1 => Some(values[n / 2]),
        n => Some((values[n / 2 - 1] + values[n / 2]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_the_textbook() {
        // 10 of 100 at 95 %: 5.5 % to 17.4 %.
        assert!((wilson_lower(10.0, 100.0, 1.96) - 0.0552).abs() < 0.001);
        assert_eq!(wilson_lower(0.0, 100.0, 1.96), 0.0);
        assert!(wilson_lower(5.0, 5.0, 2.58) > 0.4);
    }
}
