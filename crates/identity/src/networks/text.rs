//! Plain lists: `CIDR,label` or `CIDR,label,region` a line, or the same as YAML.

use super::table::{Builder, Table};
use super::{ENTRIES_MAX, Place, Wrong};
use serde::Deserialize;
use serde::de::{Deserializer, Error, SeqAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// What the first field of a head is called.
const HEADS: [&str; 5] = ["cidr", "network", "prefix", "range", "address"];

/// Reads a list. YAML is a list of maps, and so begins with a dash.
pub(super) fn read(text: &str) -> Result<Table, Wrong> {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    let is_yaml = first.starts_with("- ") || first == "-" || first == "---" || first.starts_with('[');
    if is_yaml { yaml(text) } else { csv(text) }
}

fn csv(text: &str) -> Result<Table, Wrong> {
    let mut list = Builder::default();
    let mut is_first = true;
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        let place = || Place::Line(at + 1);
        let fields = fields(line).ok_or_else(|| Wrong::Quote { at: place() })?;
        let is_head = std::mem::take(&mut is_first) && fields.first().is_some_and(|field| HEADS.contains(&field.trim().to_lowercase().as_str()));
        if is_head {
            continue;
        }
        if fields.len() > 3 {
            return Err(Wrong::Fields { at: place(), fields: fields.len() });
        }
        let field = |nth: usize| fields.get(nth).map(String::as_str).unwrap_or_default();
        list.add(field(0), field(1), field(2), 0, place)?;
    }
    Ok(list.build())
}

/// Fields between commas; those that begin with a quote end with one, and hold a doubled one for each of their own. `None` if one does not end.
fn fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut rest) = (Vec::new(), line);
    loop {
        let Some(quoted) = rest.trim_start().strip_prefix('"') else {
            match rest.split_once(',') {
                Some((field, after)) => {
                    fields.push(field.to_owned());
                    rest = after;
                    continue;
                }
                None => {
                    fields.push(rest.to_owned());
                    return Some(fields);
                }
            }
        };
        let (mut field, mut inside) = (String::new(), quoted);
        let after = loop {
            let (part, after) = inside.split_once('"')?;
            field += part;
            match after.strip_prefix('"') {
                Some(more) => {
                    field.push('"');
                    inside = more;
                }
                None => break after,
            }
        };
        fields.push(field);
        match after.split_once(',') {
            Some((_, after)) => rest = after,
            None => return Some(fields),
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    cidr: String,
    label: String,
    #[serde(default)]
    region: String,
}

fn yaml(text: &str) -> Result<Table, Wrong> {
    let entries: Bounded<Entry> = serde_saphyr::from_str(text).map_err(|error| Wrong::Yaml(first_line(&error)))?;
    let mut list = Builder::default();
    for (at, entry) in entries.0.iter().enumerate() {
        list.add(&entry.cidr, &entry.label, &entry.region, 0, || Place::Field(format!("[{at}]")))?;
    }
    Ok(list.build())
}

/// What the parser says, without its excerpt of the file.
fn first_line(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

/// A list of at most [`ENTRIES_MAX`]: more are refused before they take memory.
#[derive(Debug)]
pub(super) struct Bounded<T>(pub Vec<T>);

impl<T> Default for Bounded<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Bounded<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Bounded<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Bounded<T>, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = items.next_element()? {
                    if all.len() >= ENTRIES_MAX {
                        return Err(A::Error::custom(format_args!("more than {ENTRIES_MAX} entries")));
                    }
                    all.push(item);
                }
                Ok(Bounded(all))
            }
        }
        deserializer.deserialize_seq(Items(PhantomData))
    }
}
