//! Which metrics are on: the defaults, then what `disable` takes away, then what `enable` adds.

use super::{Category, Metric, all, internal, legacy};
use std::collections::BTreeSet;

/// A name in a list that means nothing.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ChoiceError {
    #[error("{list} has '{name}', which is no metric{}: docs/signals.md lists them; <category>.all stands for all of tcp, udp, dns, http, kernel, otel or ebpf_net", suggestion(.name))]
    Unknown { list: &'static str, name: String },
    #[error("{list} has 'none': it belongs into export.disable, where it turns everything on")]
    NoneEnabled { list: &'static str },
}

fn suggestion(name: &str) -> String {
    let near = |known: &&str| known.replace(['.', '_'], "") == name.replace(['.', '_', '-'], "").to_lowercase();
    names().find(near).map(|known| format!("; is it {known}?")).unwrap_or_default()
}

/// Every metric's name.
fn names() -> impl Iterator<Item = &'static str> {
    all().iter().map(|m| m.name).chain(internal::kept().map(|i| i.name))
}

/// The metrics that are on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    on: BTreeSet<&'static str>,
}

impl Choice {
    /// `disable` is heard first: `none` in it turns everything on, also what is off by default; then each other entry takes away. `enable` comes after
    /// and adds. An entry is a metric's name (or the name that the original's documents give it) or `<category>.all`.
    ///
    /// # Errors
    /// Names the entry that means nothing.
    pub fn new(enable: &[String], disable: &[String]) -> Result<Self, ChoiceError> {
        let mut on: BTreeSet<&'static str> = defaults().collect();
        if disable.iter().any(|entry| entry == "none") {
            on = names().collect();
        }
        for entry in disable.iter().filter(|entry| *entry != "none") {
            for name in named("export.disable", entry)? {
                on.remove(name);
            }
        }
        for entry in enable {
            if entry == "none" {
                return Err(ChoiceError::NoneEnabled { list: "export.enable" });
            }
            on.extend(named("export.enable", entry)?);
        }
        Ok(Self { on })
    }

    /// Whether a metric is on.
    pub fn has(&self, name: &str) -> bool {
        self.on.contains(name)
    }

    /// The metrics of edges that are on, in the order of the docs.
    pub fn metrics(&self) -> Vec<&'static Metric> {
        all().iter().filter(|metric| self.has(metric.name)).collect()
    }
}

fn defaults() -> impl Iterator<Item = &'static str> {
    all().iter().filter(|m| m.on).map(|m| m.name).chain(internal::kept().filter(|i| i.on).map(|i| i.name))
}

/// What an entry of a list stands for.
fn named(list: &'static str, entry: &str) -> Result<Vec<&'static str>, ChoiceError> {
    let unknown = || ChoiceError::Unknown { list, name: entry.to_owned() };
    if let Some(category) = entry.strip_suffix(".all") {
        let category = Category::ALL.into_iter().find(|c| c.as_str() == category).ok_or_else(unknown)?;
        let of_edges = all().iter().filter(|m| m.category == category).map(|m| m.name);
        let internal = internal::kept().filter(|_| category == Category::EbpfNet).map(|i| i.name);
        return Ok(of_edges.chain(internal).collect());
    }
    let emitted = legacy::ALIASES.iter().find(|(documented, _)| *documented == entry).map_or(entry, |(_, emitted)| emitted);
    // One that is gone on purpose is no mistake of whoever brings their lists along.
    if internal::INTERNAL.iter().any(|i| i.name == emitted && !i.is_kept()) {
        return Ok(Vec::new());
    }
    names().find(|name| *name == emitted).map(|name| vec![name]).ok_or_else(unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(enable: &[&str], disable: &[&str]) -> Choice {
        let own = |list: &[&str]| list.iter().map(|&entry| entry.to_owned()).collect::<Vec<_>>();
        Choice::new(&own(enable), &own(disable)).unwrap()
    }

    #[test]
    fn the_default_is_the_originals() {
        let choice = on(&[], &[]);
        let names: Vec<_> = choice.metrics().iter().map(|m| m.name).collect();
        assert_eq!(names.len(), 21);
        assert!(!choice.has("tcp.rtt.num_measurements") && !choice.has("tcp.rtt") && choice.has("ebpf_net.up"));
    }

    #[test]
    fn disable_is_heard_before_enable() {
        let both = on(&["tcp.bytes"], &["tcp.bytes", "udp.all"]);
        assert!(both.has("tcp.bytes") && !both.has("udp.bytes") && both.has("dns.responses"));
        assert!(on(&["tcp.all"], &["tcp.all"]).has("tcp.rtt.num_measurements"), "a category brings what is off by default");
        assert!(on(&["tcp.rtt.num_measurements"], &[]).has("tcp.rtt.num_measurements"));
    }

    #[test]
    fn none_turns_everything_on_and_the_lists_hold_after_it() {
        let all_on = on(&[], &["none"]);
        assert_eq!(all_on.metrics().len(), all().len());
        let but = on(&["udp.drops"], &["udp.all", "none"]);
        assert!(but.has("tcp.rtt") && !but.has("udp.bytes") && but.has("udp.drops"));
    }

    #[test]
    fn documented_names_are_understood_and_wrong_ones_told() {
        assert!(!on(&[], &["tcp.syn.timeouts"]).has("tcp.syn_timeouts"));
        assert!(!on(&[], &["http.client.duration_average"]).has("http.client.duration.average"));
        assert!(on(&["ebpf_net.codetiming_avg_ns"], &[]).has("tcp.bytes"), "gone on purpose, not an error");
        let said = Choice::new(&["tcp.synTimeouts".to_owned()], &[]).unwrap_err().to_string();
        assert!(said.contains("export.enable has 'tcp.synTimeouts'") && said.contains("is it tcp.syn_timeouts?"), "{said}");
        assert!(Choice::new(&[], &["smtp.all".to_owned()]).is_err());
        assert!(Choice::new(&["none".to_owned()], &[]).is_err());
    }
}
