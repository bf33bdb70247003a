//! Settings that are a word, `off` among them: readers of YAML take a plain `off` for `false`.

use serde::{Deserialize, Deserializer};
use std::fmt::Display;
use std::str::FromStr;

#[derive(Deserialize)]
#[serde(untagged)]
enum Word {
    Switch(bool),
    Text(String),
}

/// Reads a word as its type does; `false` is `off`.
///
/// # Errors
/// As the type says, also of `true`, which is no such word.
pub fn read<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<T, D::Error> {
    let text = match Word::deserialize(deserializer)? {
        Word::Switch(false) => "off".to_owned(),
        Word::Switch(true) => "on".to_owned(),
        Word::Text(text) => text,
    };
    text.parse().map_err(serde::de::Error::custom)
}
