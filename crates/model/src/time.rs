//! Time as windows and as people write it.

use chrono::{DateTime, Duration, TimeZone, Utc};

/// A moment, always UTC.
pub type Time = DateTime<Utc>;

/// Length of a stored row's window, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resolution {
    TenSeconds,
    Minute,
}

impl Resolution {
    /// Seconds of one window.
    pub const fn seconds(self) -> i64 {
        match self {
            Self::TenSeconds => 10,
            Self::Minute => 60,
        }
    }
}

/// Start of the window of `seconds` that holds `at`.
pub fn window_start(at: Time, seconds: i64) -> Time {
    let seconds = seconds.max(1);
    from_seconds(at.timestamp().div_euclid(seconds) * seconds)
}

/// A moment from whole seconds since the epoch.
pub fn from_seconds(seconds: i64) -> Time {
    Utc.timestamp_opt(seconds, 0).single().unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// A moment from microseconds since the epoch.
pub fn from_micros(us: i64) -> Time {
    Utc.timestamp_micros(us).single().unwrap_or(DateTime::<Utc>::MIN_UTC)
}

/// A time or duration that could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TimeError {
    #[error("cannot read time '{0}': write RFC 3339 (2026-01-31T14:02:30Z), 'now', or a distance from now such as -15m, -3h, -1d")]
    Time(String),
    #[error("cannot read duration '{0}': write a number and a unit, such as 500ms, 10s, 15m, 3h, 2d")]
    Duration(String),
}

/// Reads RFC 3339, `now`, or a distance from `now` (`-15m`).
pub fn parse_time(text: &str, now: Time) -> Result<Time, TimeError> {
    let text = text.trim();
    let wrong = || TimeError::Time(text.to_owned());
    if text == "now" {
        return Ok(now);
    }
    if let Some(distance) = text.strip_prefix('-') {
        let distance = parse_duration(distance).map_err(|_| wrong())?;
        return now.checked_sub_signed(distance).ok_or_else(wrong);
    }
    DateTime::parse_from_rfc3339(text).map(|t| t.with_timezone(&Utc)).map_err(|_| wrong())
}

/// Reads `500ms`, `10s`, `15m`, `3h`, `2d`.
pub fn parse_duration(text: &str) -> Result<Duration, TimeError> {
    let text = text.trim();
    let wrong = || TimeError::Duration(text.to_owned());
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(split);
    let number: i64 = number.parse().map_err(|_| wrong())?;
    let ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(ms).and_then(Duration::try_milliseconds).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let now = from_seconds(1_000_000);
        assert_eq!(parse_time("now", now), Ok(now));
        assert_eq!(parse_time("-15m", now), Ok(from_seconds(1_000_000 - 900)));
        assert_eq!(parse_time("1970-01-12T13:46:40Z", now), Ok(now));
        for bad in ["", "-", "15m", "-15y", "-99999999999999999d", "tomorrow"] {
            assert!(parse_time(bad, now).is_err(), "{bad}");
        }
    }

    #[test]
    fn windows_start_below_the_moment_also_before_the_epoch() {
        assert_eq!(window_start(from_seconds(1_234_567), 10), from_seconds(1_234_560));
        assert_eq!(window_start(from_seconds(-1), 10), from_seconds(-10));
    }
}
