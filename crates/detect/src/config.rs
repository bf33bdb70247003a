//! What the built-in detectors look for. Every figure has a default that holds from the first minute; the config file may change any.

use serde::{Deserialize, Serialize};

/// Settings of all detectors. An unknown key is refused by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DetectorsConfig {
    /// Retransmitted ÷ sent data segments.
    pub retransmissions: RateRule,
    /// Connects that timed out, were refused, reset, unreachable or given up ÷ attempts.
    pub connect_failures: RateRule,
    /// Stalled ÷ open socket-seconds.
    pub stalled: RateRule,
    /// Questions of DNS without an answer or answered with an error ÷ questions.
    pub dns_failures: RateRule,
    pub rtt_shift: ShiftRule,
    pub traffic_drop: DropRule,
    /// Past windows from which a series is judged by its own past alone; below, its healthy peers of the same windows stand beside it.
    pub baseline_windows: usize,
    /// Slices of edges (a workload pair, and its parts by zone pair and by pod) whose past is kept.
    /// 20,000 × 90 windows × 96 B = 173 MB at worst.
    pub series_max: usize,
    /// Alerts open at once; what exceeds it is counted and not raised.
    pub alerts_max: usize,
}

/// A share of opportunities that is too high.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateRule {
    pub enabled: bool,
    /// Share that is too high whatever the past was.
    pub floor: f64,
    /// Factor over the series' own past that is too high.
    pub ratio: f64,
    /// Fewest bad events.
    pub events_min: f64,
    /// Windows looked at together.
    pub windows: usize,
    /// Standard deviations of the Wilson lower bound that must clear the threshold.
    pub z: f64,
    pub life: Life,
}

/// A round trip that got longer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShiftRule {
    pub enabled: bool,
    /// Deviations (MAD × 1.4826) of the series' own past.
    pub deviations: f64,
    /// Share of the usual round trip.
    pub share: f64,
    /// Seconds.
    pub floor_s: f64,
    /// Fewest samples of a window.
    pub samples_min: f64,
    /// Fewest past windows.
    pub past_min: usize,
    pub life: Life,
}

/// Traffic that fell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DropRule {
    pub enabled: bool,
    /// Share of the usual that is too little.
    pub ratio: f64,
    /// The usual must be at least one of these to be watched.
    pub bytes_per_s_min: f64,
    pub connects_per_s_min: f64,
    /// Windows that must all be below.
    pub windows: usize,
    /// Fewest past windows.
    pub past_min: usize,
    pub life: Life,
}

/// When an alert begins and ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Life {
    /// Seconds it must be bad before it fires.
    pub for_s: i64,
    /// Seconds it fires on after it was last bad.
    pub keep_firing_for_s: i64,
    /// Share of the threshold below which it counts as well again.
    pub clear: f64,
    /// Seconds without data after which it ends; until then it stays as it is.
    pub no_data_s: i64,
}

impl Default for Life {
    fn default() -> Self {
        Self { for_s: 10, keep_firing_for_s: 30, clear: 0.5, no_data_s: 300 }
    }
}

impl Default for RateRule {
    fn default() -> Self {
        Self { enabled: true, floor: 0.005, ratio: 3.0, events_min: 5.0, windows: 3, z: 2.58, life: Life::default() }
    }
}

impl Default for ShiftRule {
    fn default() -> Self {
        Self { enabled: true, deviations: 5.0, share: 0.2, floor_s: 0.001, samples_min: 10.0, past_min: 4, life: Life::default() }
    }
}

impl Default for DropRule {
    fn default() -> Self {
        Self {
            enabled: true,
            ratio: 0.5,
            bytes_per_s_min: 10_000.0,
            connects_per_s_min: 1.0,
            windows: 3,
            past_min: 6,
            life: Life { for_s: 0, ..Life::default() },
        }
    }
}

impl Default for DetectorsConfig {
    fn default() -> Self {
        Self {
            retransmissions: RateRule::default(),
            connect_failures: RateRule {
                floor: 0.05,
                events_min: 4.0,
                windows: 2,
                life: Life { for_s: 0, ..Life::default() },
                ..RateRule::default()
            },
            stalled: RateRule { floor: 0.1, events_min: 1.0, windows: 2, z: 1.0, ..RateRule::default() },
            dns_failures: RateRule { floor: 0.1, events_min: 4.0, windows: 2, life: Life { for_s: 0, ..Life::default() }, ..RateRule::default() },
            rtt_shift: ShiftRule::default(),
            traffic_drop: DropRule::default(),
            baseline_windows: 30,
            series_max: 20_000,
            alerts_max: 1_000,
        }
    }
}

/// A setting that cannot be.
#[derive(Debug, thiserror::Error, PartialEq)]
#[error("detectors.{key} is {value}: {remedy}")]
pub struct ConfigError {
    pub key: String,
    pub value: f64,
    pub remedy: &'static str,
}

impl DetectorsConfig {
    /// Checks ranges; names the first key that is out of its range.
    pub fn check(&self) -> Result<(), ConfigError> {
        let rates = [
            ("retransmissions", &self.retransmissions),
            ("connect_failures", &self.connect_failures),
            ("stalled", &self.stalled),
            ("dns_failures", &self.dns_failures),
        ];
        for (name, rule) in rates {
            share(&format!("{name}.floor"), rule.floor)?;
            at_least_one(&format!("{name}.ratio"), rule.ratio)?;
            at_least_one(&format!("{name}.windows"), rule.windows as f64)?;
            rule.life.check(name)?;
        }
        share("rtt_shift.share", self.rtt_shift.share)?;
        share("traffic_drop.ratio", self.traffic_drop.ratio)?;
        at_least_one("traffic_drop.windows", self.traffic_drop.windows as f64)?;
        self.rtt_shift.life.check("rtt_shift")?;
        self.traffic_drop.life.check("traffic_drop")
    }
}

impl Life {
    fn check(&self, name: &str) -> Result<(), ConfigError> {
        share(&format!("{name}.life.clear"), self.clear)?;
        let negative =
            [("for_s", self.for_s), ("keep_firing_for_s", self.keep_firing_for_s), ("no_data_s", self.no_data_s)].into_iter().find(|(_, v)| *v < 0);
        match negative {
            Some((key, value)) => {
                Err(ConfigError { key: format!("{name}.life.{key}"), value: value as f64, remedy: "write a number of seconds, 0 or more" })
            }
            None => Ok(()),
        }
    }
}

fn share(key: &str, value: f64) -> Result<(), ConfigError> {
    if value > 0.0 && value <= 1.0 { Ok(()) } else { Err(ConfigError { key: key.to_owned(), value, remedy: "write a share above 0 and at most 1" }) }
}

fn at_least_one(key: &str, value: f64) -> Result<(), ConfigError> {
    if value >= 1.0 { Ok(()) } else { Err(ConfigError { key: key.to_owned(), value, remedy: "write a number of at least 1" }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(DetectorsConfig::default().check(), Ok(()));
    }

    #[test]
    fn a_wrong_value_is_named() {
        let mut config = DetectorsConfig::default();
        config.connect_failures.floor = 5.0;
        assert_eq!(
            config.check().map_err(|e| e.to_string()),
            Err("detectors.connect_failures.floor is 5: write a share above 0 and at most 1".into())
        );
    }
}
