//! Ranges of time as parameters.

use super::error::ApiError;
use chrono::Utc;
use edgescope_model::time::{Time, parse_time};
use serde::Deserialize;
use utoipa::IntoParams;

/// A range of time.
#[derive(Debug, Clone, Default, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, default)]
#[into_params(parameter_in = Query)]
pub struct RangeParams {
    /// Start, inclusive: RFC 3339, `now` or a distance from now such as `-15m`.
    #[param(example = "-15m")]
    pub from: Option<String>,
    /// End, exclusive; now if absent.
    #[param(example = "now")]
    pub to: Option<String>,
}

/// Reads a range; `default_from` stands for an absent start.
pub fn read(from: Option<&str>, to: Option<&str>, default_from: &str) -> Result<(Time, Time), ApiError> {
    read_at(from, to, default_from, Utc::now())
}

fn read_at(from: Option<&str>, to: Option<&str>, default_from: &str, now: Time) -> Result<(Time, Time), ApiError> {
    let one = |name, text: &str| parse_time(text, now).map_err(|e| ApiError::bad(name, e.to_string()));
    let (from, to) = (one("from", from.unwrap_or(default_from))?, one("to", to.unwrap_or("now"))?);
    if from >= to {
        return Err(ApiError::bad("to", format!("range is empty: from {from} is not before to {to}")));
    }
    Ok((from, to))
}

impl RangeParams {
    /// Reads it; `default_from` stands for an absent start.
    pub fn read(&self, default_from: &str) -> Result<(Time, Time), ApiError> {
        read(self.from.as_deref(), self.to.as_deref(), default_from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use edgescope_model::time::from_seconds;

    #[test]
    fn ranges_read_and_empty_ones_name_the_field() {
        let now = from_seconds(10_000);
        assert_eq!(read_at(None, None, "-15m", now).unwrap(), (from_seconds(9_100), now));
        assert_eq!(read_at(Some("-1h"), Some("-30m"), "-15m", now).unwrap(), (from_seconds(6_400), from_seconds(8_200)));
        assert_eq!(read_at(Some("soon"), None, "-15m", now).unwrap_err().body.field.as_deref(), Some("from"));
        assert_eq!(read_at(Some("now"), Some("-1m"), "-15m", now).unwrap_err().body.field.as_deref(), Some("to"));
    }
}
