//! What the user supplies about the outside: files that say whose a block of addresses is.
//!
//! Three kinds, told apart by their content: the lists that cloud providers publish, databases in MaxMind's format (ASN, City, Country), and plain lists of
//! CIDR and label. They name the far ends that nothing else names, before a public address becomes its plain prefix. Of all lists the longest prefix wins,
//! of equal ones the file that the configuration names first; the databases come after the lists. In flow the bytes of files, out flow a name and a
//! region for an address. [`files`] reads the files; the rest is pure.

mod cloud;
mod database;
pub mod files;
mod table;
mod text;

use crate::{address, found_by};
use database::Database;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use table::Table;

/// Most files: every list is looked at for each far end without a name, and may take [`ENTRIES_MAX`] of memory.
pub const FILES_MAX: usize = 16;
/// Largest list, in bytes: the largest published one (Azure's service tags) has 5 MB.
pub const LIST_BYTES_MAX: u64 = 16 << 20;
/// Largest database, in bytes: the largest free one (cities) has 70 MB; it is held in memory as it is.
pub const DATABASE_BYTES_MAX: u64 = 256 << 20;
/// Most entries of a list. The largest published one has 100,000. An entry becomes two ranges of 48 bytes at most: 24 MB a file.
pub const ENTRIES_MAX: usize = 250_000;
/// What reading a file may hold of the heap, for each byte of it: `{}` and a comma become an entry of seven optional texts, in a list that doubles as it grows.
pub const HEAP_PER_BYTE_MAX: usize = 120;
/// What it may hold beside, however short the file is.
pub const HEAP_BYTES_MIN: usize = 64 << 10;

/// `identity.networks` in the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworksConfig {
    /// Files, the first of which wins where two lists have the same block.
    pub files: Vec<PathBuf>,
}

impl NetworksConfig {
    /// # Errors
    /// Names the key that cannot be used.
    pub fn check(&self) -> Result<(), NetworksError> {
        if self.files.len() > FILES_MAX { Err(NetworksError::TooMany(self.files.len())) } else { Ok(()) }
    }
}

/// A file that cannot be used, or too many.
#[derive(Debug, thiserror::Error)]
pub enum NetworksError {
    #[error("identity.networks.files has {0} files, at most {FILES_MAX}: join lists into one")]
    TooMany(usize),
    #[error("identity.networks.files: {}: {wrong}", .path.display())]
    File { path: PathBuf, wrong: Wrong },
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    #[error("cannot be read: {0}; check the path, and who may read it")]
    Unreadable(#[from] io::Error),
    #[error("has more than {0} bytes: is it the right file?")]
    TooLarge(u64),
    #[error("line {0}: not UTF-8 text, and no MaxMind database either: is it the right file?")]
    NotText(usize),
    #[error("has nothing: write a line CIDR,label")]
    Empty,
    #[error("more than {ENTRIES_MAX} entries")]
    TooManyEntries,
    #[error("{at}: '{value}' is no block of addresses: write 198.51.100.0/24 or 2001:db8::/32")]
    Cidr { at: Place, value: String },
    #[error("{at}: no label: write CIDR,label")]
    NoLabel { at: Place },
    #[error("{at}: the label has {bytes} bytes, at most {}", edgescope_model::dims::VALUE_BYTES_MAX)]
    LongLabel { at: Place, bytes: usize },
    #[error("{at}: {fields} fields, at most 3: CIDR,label,region")]
    Fields { at: Place, fields: usize },
    #[error("{at}: a quote is not closed")]
    Quote { at: Place },
    #[error("{at}: neither ip_prefix nor ipv6_prefix nor ipv4Prefix nor ipv6Prefix")]
    NoPrefix { at: Place },
    #[error("none of the published formats: AWS's ip-ranges.json, Google's cloud.json, Azure's ServiceTags")]
    UnknownJson,
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("{0}")]
    Yaml(String),
    #[error("no database in MaxMind's format that can be used: {0}")]
    Database(String),
}

/// Where in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// Counted from 1.
    Line(usize),
    /// `prefixes[3].ip_prefix`
    Field(String),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => write!(f, "line {line}"),
            Self::Field(path) => f.write_str(path),
        }
    }
}

/// What one file says.
#[derive(Debug)]
enum Content {
    /// With its `resolution_type`.
    List {
        table: Table,
        by: &'static str,
    },
    Database(Database),
}

/// A file that was read.
#[derive(Debug)]
pub struct Source {
    /// Its name without folders, for those who ask why.
    name: Arc<str>,
    content: Content,
}

impl Source {
    /// Reads the content of a file.
    ///
    /// # Errors
    /// Says what is wrong, with line or field.
    pub fn parse(name: &str, bytes: Vec<u8>) -> Result<Self, Wrong> {
        let content = if Database::is_one(&bytes) {
            Content::Database(Database::open(bytes)?)
        } else {
            if bytes.len() as u64 > LIST_BYTES_MAX {
                return Err(Wrong::TooLarge(LIST_BYTES_MAX));
            }
            list(&bytes)?
        };
        Ok(Self { name: name.into(), content })
    }

    /// Ranges of a list that were told apart; 0 of a database.
    pub fn ranges(&self) -> usize {
        match &self.content {
            Content::List { table, .. } => table.len(),
            Content::Database(_) => 0,
        }
    }

    /// What this file alone says of an address, and of how large a block of addresses.
    fn find(&self, address: IpAddr) -> Option<Hit> {
        let Content::List { table, by } = &self.content else { return None };
        let block = table.find(address)?;
        Some(Hit {
            by: *by,
            name: Arc::clone(&block.label.name),
            region: Arc::clone(&block.label.region),
            block: block.net,
            file: Arc::clone(&self.name),
        })
    }
}

/// Reads a list, of whatever format.
fn list(bytes: &[u8]) -> Result<Content, Wrong> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|error| Wrong::NotText(line_of(bytes, error.valid_up_to())))?;
    let is_json = text.trim_start().starts_with('{');
    let (table, by) = if is_json { cloud::read(text)? } else { (text::read(text)?, found_by::NETWORK) };
    if table.len() == 0 { Err(Wrong::Empty) } else { Ok(Content::List { table, by }) }
}

/// The line of a byte, counted from 1.
fn line_of(bytes: &[u8], at: usize) -> usize {
    1 + bytes[..at].iter().filter(|&&byte| byte == b'\n').count()
}

/// How an address outside is called, and by which file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// As `resolution_type` says it.
    pub by: &'static str,
    /// The workload: `aws s3 us-east-1`, `AS15169 google`, or the label.
    pub name: Arc<str>,
    /// Empty where the file does not tell.
    pub region: Arc<str>,
    /// The block that holds the address.
    pub block: IpNet,
    pub file: Arc<str>,
}

/// What all files say of an address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outside {
    pub named: Option<Hit>,
    /// The region, and the database that told it; where the file of the name tells none.
    pub region: Option<(String, Arc<str>)>,
}

/// All files. Fixed once it is made: a changed file makes another one.
#[derive(Debug, Default)]
pub struct Networks {
    sources: Vec<Arc<Source>>,
    counters: Arc<Counters>,
}

/// What went wrong with the files since the start, whatever was read meanwhile.
#[derive(Debug, Default)]
struct Counters {
    lookup_failures: AtomicU64,
    files_broken: AtomicU64,
}

impl Networks {
    /// In the order of the configuration.
    pub fn new(sources: Vec<Arc<Source>>) -> Self {
        Self { sources, counters: Arc::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// Files in use.
    pub fn files(&self) -> usize {
        self.sources.len()
    }

    /// Ranges of all lists.
    pub fn ranges(&self) -> usize {
        self.sources.iter().map(|source| source.ranges()).sum()
    }

    /// Look-ups that a damaged database could not answer.
    pub fn lookup_failures(&self) -> u64 {
        self.counters.lookup_failures.load(Ordering::Relaxed)
    }

    /// Times that a changed file could not be used.
    pub fn files_broken(&self) -> u64 {
        self.counters.files_broken.load(Ordering::Relaxed)
    }

    /// What is known of an address. Of addresses that are not routed on the Internet only the user's own lists tell anything, and of those that mean another
    /// thing on each node nothing does.
    pub fn find(&self, address: IpAddr) -> Outside {
        if self.sources.is_empty() || address::is_node_local(address) {
            return Outside::default();
        }
        let is_private = address::is_private(address);
        let listed = self.sources.iter().filter_map(|source| source.find(address)).filter(|hit| !is_private || hit.by == found_by::NETWORK);
        // The first of the longest: the configuration's order decides between equal ones.
        let listed = listed.reduce(|best, hit| if hit.block.prefix_len() > best.block.prefix_len() { hit } else { best });
        let mut outside = Outside { named: listed, region: None };
        if !is_private {
            self.ask_databases(address, &mut outside);
        }
        outside
    }

    /// Fills in what the lists do not tell.
    fn ask_databases(&self, address: IpAddr, outside: &mut Outside) {
        for source in &self.sources {
            let Content::Database(database) = &source.content else { continue };
            let wants_region = outside.region.is_none() && outside.named.as_ref().is_none_or(|hit| hit.region.is_empty());
            if outside.named.is_some() && !wants_region {
                return;
            }
            let Ok(record) = database.find(address) else {
                self.counters.lookup_failures.fetch_add(1, Ordering::Relaxed);
                continue;
            };
            if let (None, Some(name)) = (&outside.named, record.name) {
                let (name, region) = (name.into(), Arc::from(""));
                outside.named = Some(Hit { by: found_by::ASN, name, region, block: record.block, file: Arc::clone(&source.name) });
            }
            if wants_region {
                outside.region = record.region.map(|region| (region, Arc::clone(&source.name)));
            }
        }
    }
}
