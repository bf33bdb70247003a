//! Blocks of addresses as sorted ranges that do not overlap, each with the longest prefix that holds it.

use super::{ENTRIES_MAX, Place, Wrong};
use edgescope_model::dims::VALUE_BYTES_MAX;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What a block is called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Label {
    pub name: Arc<str>,
    pub region: Arc<str>,
}

/// An entry of a list.
#[derive(Debug, Clone, Copy)]
struct Entry {
    net: IpNet,
    label: u32,
    /// Of two entries with the same block that with the greater one wins; of equals the first.
    rank: u8,
}

/// Entries on their way into a table.
#[derive(Debug, Default)]
pub(super) struct Builder {
    entries: Vec<Entry>,
    labels: Vec<Label>,
    numbers: HashMap<Label, u32>,
}

impl Builder {
    /// Adds a block: a CIDR or one address.
    pub fn add(&mut self, cidr: &str, name: &str, region: &str, rank: u8, at: impl Fn() -> Place) -> Result<(), Wrong> {
        let (cidr, name, region) = (cidr.trim(), name.trim(), region.trim());
        let net = cidr.parse::<IpNet>().or_else(|_| cidr.parse::<IpAddr>().map(IpNet::from));
        let Ok(net) = net else { return Err(Wrong::Cidr { at: at(), value: shown(cidr) }) };
        if name.is_empty() {
            return Err(Wrong::NoLabel { at: at() });
        }
        if let Some(long) = [name, region].into_iter().find(|text| text.len() > VALUE_BYTES_MAX) {
            return Err(Wrong::LongLabel { at: at(), bytes: long.len() });
        }
        if self.entries.len() >= ENTRIES_MAX {
            return Err(Wrong::TooManyEntries);
        }
        let label = Label { name: name.into(), region: region.into() };
        let next = self.labels.len() as u32;
        let number = *self.numbers.entry(label).or_insert_with_key(|label| {
            self.labels.push(label.clone());
            next
        });
        self.entries.push(Entry { net: net.trunc(), label: number, rank });
        Ok(())
    }

    pub fn build(mut self) -> Table {
        // Stable: of equal entries the first stays the first.
        self.entries.sort_by_key(|entry| (entry.net.network(), entry.net.prefix_len(), u8::MAX - entry.rank));
        self.entries.dedup_by_key(|entry| entry.net);
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for Entry { net, label, .. } in self.entries {
            match net {
                IpNet::V4(net) => v4.push(Range { first: net.network().to_bits(), last: net.broadcast().to_bits(), label, bits: net.prefix_len() }),
                IpNet::V6(net) => v6.push(Range { first: net.network().to_bits(), last: net.broadcast().to_bits(), label, bits: net.prefix_len() }),
            }
        }
        Table { v4: apart(v4), v6: apart(v6), labels: self.labels }
    }
}

/// As much of a wrong value as helps to find it.
fn shown(value: &str) -> String {
    value.chars().take(60).collect()
}

/// Addresses from the first to the last, both in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Range<A> {
    first: A,
    last: A,
    label: u32,
    /// Of the prefix that this is a part of.
    bits: u8,
}

/// A whole number that addresses are.
trait Address: Copy + Ord {
    fn next(self) -> Self;
    fn previous(self) -> Self;
}

impl Address for u32 {
    fn next(self) -> Self {
        self.saturating_add(1)
    }
    fn previous(self) -> Self {
        self.saturating_sub(1)
    }
}

impl Address for u128 {
    fn next(self) -> Self {
        self.saturating_add(1)
    }
    fn previous(self) -> Self {
        self.saturating_sub(1)
    }
}

/// Cuts prefixes, which are sorted and lie in or beside each other, into ranges that do not overlap: what a longer one takes is no more of the shorter.
fn apart<A: Address>(prefixes: Vec<Range<A>>) -> Vec<Range<A>> {
    let mut ranges = Vec::with_capacity(prefixes.len());
    let mut open: Vec<Range<A>> = Vec::new();
    for prefix in prefixes {
        close(&mut open, &mut ranges, Some(prefix.first));
        if let Some(around) = open.last_mut() {
            if around.first < prefix.first {
                ranges.push(Range { last: prefix.first.previous(), ..*around });
            }
            around.first = prefix.last.next();
        }
        open.push(prefix);
    }
    close(&mut open, &mut ranges, None);
    ranges.shrink_to_fit();
    ranges
}

/// Writes out what is left of the prefixes that end before `until`. Each keeps as its first what no longer one has taken yet.
fn close<A: Address>(open: &mut Vec<Range<A>>, ranges: &mut Vec<Range<A>>, until: Option<A>) {
    while let Some(ended) = open.pop_if(|range| until.is_none_or(|until| range.last < until)) {
        // Up to the end of all addresses there is none behind it.
        let is_left = ended.first <= ended.last && ranges.last().is_none_or(|last| last.last < ended.first);
        if is_left {
            ranges.push(ended);
        }
    }
}

/// A list that addresses are looked up in.
#[derive(Debug)]
pub(super) struct Table {
    v4: Vec<Range<u32>>,
    v6: Vec<Range<u128>>,
    labels: Vec<Label>,
}

/// The longest prefix that holds an address.
#[derive(Debug)]
pub(super) struct Block<'a> {
    pub net: IpNet,
    pub label: &'a Label,
}

impl Table {
    /// Ranges.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    pub fn find(&self, address: IpAddr) -> Option<Block<'_>> {
        let (net, label) = match address {
            IpAddr::V4(v4) => {
                let range = find(&self.v4, v4.to_bits())?;
                (Ipv4Net::new(v4, range.bits).ok()?.trunc().into(), range.label)
            }
            IpAddr::V6(v6) => {
                let range = find(&self.v6, v6.to_bits())?;
                (Ipv6Net::new(v6, range.bits).ok()?.trunc().into(), range.label)
            }
        };
        Some(Block { net, label: self.labels.get(label as usize)? })
    }
}

fn find<A: Address>(ranges: &[Range<A>], address: A) -> Option<&Range<A>> {
    let after = ranges.partition_point(|range| range.first <= address);
    ranges[..after].last().filter(|range| address <= range.last)
}
