//! Headers whose values are secrets: they are read and sent, and never shown.

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fmt;

/// What stands in place of a secret.
const HIDDEN: &str = "(hidden)";

/// A text that is not printed, neither in logs nor by `edgescope config`.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
struct Secret(String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

/// Names and secret values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Headers(BTreeMap<String, Secret>);

impl Headers {
    /// As they are sent; values are marked as sensitive, so that no library prints them either. `None` if one is no header.
    pub fn map(&self) -> Option<HeaderMap> {
        let one = |(name, value): (&String, &Secret)| {
            let mut value = HeaderValue::from_str(&value.0).ok()?;
            value.set_sensitive(true);
            Some((HeaderName::try_from(name).ok()?, value))
        };
        self.0.iter().map(one).collect()
    }

    /// The first that is no header.
    pub(super) fn wrong(&self) -> Option<&str> {
        let good = |(name, value): &(&String, &Secret)| HeaderName::try_from(*name).is_ok() && HeaderValue::from_str(&value.0).is_ok();
        self.0.iter().find(|header| !good(header)).map(|(name, _)| name.as_str())
    }
}
