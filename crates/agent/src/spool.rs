//! What is to be shipped, and what has been told, in one file a window.
//!
//! A file holds the batches of a window **and** the baseline that they lead to. It is written beside its place, synced, renamed into it, and the directory
//! synced; so at any moment the newest file says exactly what has been told so far, and an agent that is killed anywhere goes on
//! from there: what it had not written it reads again from the kernel's running counters, what it had written it sends again under the same sequence.
//! The baseline of a file that another has followed is taken out of it: it is many times larger than the batches.
//!
//! Batches are numbered by **ordinals** from 1 on; the sequence on the wire is the ordinal plus a base, which is the server's highest sequence at the first
//! contact. So an agent that has lost its state begins above what the server has. Acknowledged files go, but for the newest. Both
//! number and bytes of files are bounded; the oldest batches fall out first, and the batch that pushes them out says so.

use crate::baseline_file::{self as file, Record};
use crate::delta::Baseline;
use edgescope_model::wire::{Batch, SEQUENCE_MAX};
use prost::Message;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

const SUFFIX: &str = "spool";
const TEMPORARY: &str = "next.tmp";
const BASE: &str = "base";
const DAMAGED: &str = "damaged";
/// Most damaged files kept for whoever wants to look at them.
const DAMAGED_MAX: usize = 4;

/// Bounds of the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most files: 8,640 windows of 10 s are a day.
    pub files_max: usize,
    /// Most bytes of all files.
    pub bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { files_max: 8_640, bytes_max: 256 << 20 }
    }
}

/// What has been told, and up to when.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Checkpoint {
    /// Epoch of the probe's maps that the baseline belongs to.
    pub epoch: u64,
    pub baseline: Baseline,
    /// End of the last window told, server time.
    pub window_end_us: i64,
    /// Server clock less this node's wall clock, as last measured.
    pub clock_offset_us: i64,
    /// The kernel's cumulative counts of what it lost, as told.
    pub losses: BTreeMap<String, u64>,
    /// The kernel's cumulative counts of packets that it dropped, as told.
    pub drops: BTreeMap<String, u64>,
}

/// Why the spool cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("agent.state_dir {}: cannot {what}: {source}", path.display())]
    Io { path: PathBuf, what: &'static str, source: io::Error },
    #[error("agent.state_dir {}: in use by another agent: stop it, or give this one another agent.id or agent.state_dir", path.display())]
    InUse { path: PathBuf },
    #[error("agent.state_dir {}: base is not a number that an agent wrote: restore it, or remove the directory to begin anew", path.display())]
    Base { path: PathBuf },
    #[error("the server has sequence {0} of this agent, after which none can come: give it another agent.id")]
    Sequence(u64),
}

/// A step of writing, in order; tests stop the agent before any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Write,
    SyncFile,
    Rename,
    SyncDirectory,
    Remove,
}

/// Asked before every step.
pub type Failpoint = Box<dyn FnMut(Step) -> io::Result<()> + Send>;

#[derive(Debug, Clone)]
struct Entry {
    number: u64,
    /// Ordinals of its batches; empty if `last < first`.
    first: u64,
    last: u64,
    bytes: u64,
}

/// The files of one agent.
pub struct Spool {
    directory: PathBuf,
    limits: Limits,
    entries: VecDeque<Entry>,
    /// Highest ordinal given to a batch.
    last: u64,
    /// Highest ordinal that the server has.
    acknowledged: u64,
    /// Sequence less ordinal; unknown until the first contact.
    base: Option<u64>,
    corrupt: u64,
    failpoint: Failpoint,
    /// Locked while the spool is open; `None` once it is closed.
    lock: Option<File>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("directory", &self.directory).field("files", &self.entries.len()).finish_non_exhaustive()
    }
}

impl Spool {
    /// Opens or makes the directory, and returns where the last agent stopped. Files that cannot be read are set aside and counted.
    ///
    /// # Errors
    /// If the directory cannot be made, read or locked.
    pub fn open(directory: &Path, limits: Limits) -> Result<(Self, Option<Checkpoint>), SpoolError> {
        Self::open_with(directory, limits, Box::new(|_| Ok(())))
    }

    /// As [`Self::open`], with a failpoint asked before every step of writing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_with(directory: &Path, limits: Limits, failpoint: Failpoint) -> Result<(Self, Option<Checkpoint>), SpoolError> {
        let failed = |what, source| SpoolError::Io { path: directory.to_owned(), what, source };
        fs::create_dir_all(directory).map_err(|e| failed("make it", e))?;
        let lock = File::create(directory.join("lock")).map_err(|e| failed("write to it", e))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| SpoolError::InUse { path: directory.to_owned() })?;
        let mut spool = Self {
            directory: directory.to_owned(),
            limits,
            entries: VecDeque::new(),
            last: 0,
            acknowledged: 0,
            base: None,
            corrupt: 0,
            failpoint,
            lock: Some(lock),
        };
        spool.base = spool.read_base()?;
        let newest = spool.scan().map_err(|e| failed("read it", e))?;
        Ok((spool, newest.and_then(Record::checkpoint)))
    }

    /// Writes the batches of a window with the baseline that they lead to; returns once that is durable. If it fails nothing has changed: the caller keeps its old
    /// baseline, and the next window tells both.
    ///
    /// # Errors
    /// If a step of writing fails.
    pub fn append(&mut self, checkpoint: &Checkpoint, mut batches: Vec<Batch>) -> Result<(), SpoolError> {
        let mut record = Record::of(checkpoint, self.last + 1, &batches);
        let dropped = self.to_drop(record.encoded_len() as u64);
        if dropped.batches > 0
            && let Some(first) = batches.first_mut()
        {
            // What they would have said of losses is said in their place.
            for (reason, count) in self.losses_of_oldest(dropped.files) {
                *first.losses.entry(reason).or_default() += count;
            }
            *first.losses.entry("spool_dropped_batches".to_owned()).or_default() += dropped.batches;
            record.set_batches(&batches);
        }
        let number = self.entries.back().map_or(1, |entry| entry.number + 1);
        let bytes = self.write(&self.path_of(number), &file::framed(&record)).map_err(|e| self.failed("write to it", e))?;
        let (first, last) = (self.last + 1, self.last + batches.len() as u64);
        self.entries.push_back(Entry { number, first, last, bytes });
        self.last = last;
        for _ in 0..dropped.files {
            self.remove_oldest();
        }
        self.remove_acknowledged();
        if let Err(error) = self.slim_followed() {
            // It only stays larger than it need be.
            tracing::warn!(path = %self.directory.display(), %error, "cannot take a baseline that is not needed any more out of the spool");
        }
        Ok(())
    }

    /// Takes the baseline out of the file before the newest, if it still waits.
    fn slim_followed(&mut self) -> io::Result<()> {
        let Some(at) = self.entries.len().checked_sub(2) else { return Ok(()) };
        let path = self.path_of(self.entries[at].number);
        let Some(record) = file::unframed(&fs::read(&path)?) else { return Ok(()) };
        self.entries[at].bytes = self.write(&path, &file::framed(&record.without_baseline()))?;
        Ok(())
    }

    /// The oldest batch that the server has not acknowledged, with its sequence; `None` if there is none or the base is not known yet.
    ///
    /// # Errors
    /// If its file cannot be read.
    pub fn oldest(&mut self) -> Result<Option<Batch>, SpoolError> {
        let Some(base) = self.base.filter(|_| self.lock.is_some()) else { return Ok(None) };
        loop {
            let wanted = |entry: &&Entry| entry.last >= entry.first && entry.last > self.acknowledged;
            let Some(entry) = self.entries.iter().find(wanted).cloned() else { return Ok(None) };
            let ordinal = entry.first.max(self.acknowledged + 1);
            match self.read_batch(&entry, ordinal).map_err(|e| self.failed("read it", e))? {
                Some(mut batch) => {
                    batch.sequence = base + ordinal;
                    return Ok(Some(batch));
                }
                None => {
                    tracing::error!(file = entry.number, "a file of the spool cannot be read: its batches are lost");
                    self.corrupt += 1;
                    self.acknowledged = entry.last;
                }
            }
        }
    }

    /// What the server says that it has, at each first contact: the base follows from it, durably, before anything is sent.
    ///
    /// # Errors
    /// If the base cannot be written, or the number is none that an agent gave.
    pub fn contact(&mut self, committed: u64) -> Result<(), SpoolError> {
        if committed >= SEQUENCE_MAX {
            return Err(SpoolError::Sequence(committed));
        }
        let base = match self.base {
            None => committed,
            // The server has more than this state ever gave: it is an old copy. What it holds may all be there; go on above it.
            Some(base) if committed > base + self.last => {
                tracing::warn!(
                    committed,
                    last = base + self.last,
                    "the server knows batches that this state directory does not: going on above them"
                );
                committed - self.last
            }
            Some(base) => base,
        };
        if self.base != Some(base) {
            self.write(&self.directory.join(BASE), format!("{base}\n").as_bytes()).map_err(|e| self.failed("write its base", e))?;
            self.base = Some(base);
        }
        self.acknowledge(committed);
        Ok(())
    }

    /// The server has all batches up to this sequence.
    pub fn acknowledge(&mut self, committed: u64) {
        let Some(base) = self.base.filter(|_| self.lock.is_some()) else { return };
        self.acknowledged = self.acknowledged.max(committed.saturating_sub(base).min(self.last));
        self.remove_acknowledged();
    }

    /// Lets the directory go: whoever still holds this spool changes nothing in it any more.
    pub fn close(&mut self) {
        self.lock = None;
    }

    /// Highest sequence ever given; 0 if unknown.
    pub fn last_sequence(&self) -> u64 {
        self.base.map_or(0, |base| base + self.last)
    }

    /// Batches that wait for their acknowledgement.
    pub fn waiting(&self) -> u64 {
        let open = self.entries.iter().map(|entry| (entry.last + 1).saturating_sub(entry.first.max(self.acknowledged + 1)));
        open.sum()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    /// Files that could not be read.
    pub fn corrupt(&self) -> u64 {
        self.corrupt
    }

    /// The oldest files that must go to make room, and the unacknowledged batches in them.
    fn to_drop(&self, coming_bytes: u64) -> Dropped {
        let mut dropped = Dropped::default();
        let mut bytes = self.bytes() + coming_bytes;
        for entry in &self.entries {
            if bytes <= self.limits.bytes_max && self.entries.len() - dropped.files < self.limits.files_max {
                break;
            }
            bytes -= entry.bytes;
            dropped.files += 1;
            dropped.batches += (entry.last + 1).saturating_sub(entry.first.max(self.acknowledged + 1));
        }
        dropped
    }

    /// Sums of the losses that unacknowledged batches of the oldest files tell of.
    fn losses_of_oldest(&self, files: usize) -> BTreeMap<String, u64> {
        let mut losses = BTreeMap::new();
        for entry in self.entries.iter().take(files) {
            for ordinal in entry.first.max(self.acknowledged + 1)..=entry.last {
                match self.read_batch(entry, ordinal) {
                    Ok(Some(batch)) => batch.losses.into_iter().for_each(|(reason, count)| *losses.entry(reason).or_default() += count),
                    unread => tracing::warn!(file = entry.number, ?unread, "cannot read what a dropped batch says of losses"),
                }
            }
        }
        losses
    }

    fn remove_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.acknowledged = self.acknowledged.max(entry.last.min(self.last));
            self.remove(&entry);
        }
    }

    fn remove_acknowledged(&mut self) {
        while self.entries.len() > 1 && self.entries.front().is_some_and(|entry| entry.last <= self.acknowledged) {
            self.remove_oldest();
        }
    }

    /// A file that stays is sent again after a restart, and known to the server then.
    fn remove(&mut self, entry: &Entry) {
        let path = self.path_of(entry.number);
        if let Err(error) = (self.failpoint)(Step::Remove).and_then(|()| fs::remove_file(&path)) {
            tracing::warn!(path = %path.display(), %error, "cannot remove a file of the spool");
        }
    }

    /// Writes a file whole and durable, or not at all; returns its size.
    fn write(&mut self, path: &Path, content: &[u8]) -> io::Result<u64> {
        if self.lock.is_none() {
            return Err(io::Error::other("it is closed"));
        }
        let temporary = self.directory.join(TEMPORARY);
        let mut file = File::create(&temporary)?;
        if let Err(killed) = (self.failpoint)(Step::Write) {
            file.write_all(&content[..content.len() / 2])?;
            return Err(killed);
        }
        file.write_all(content)?;
        (self.failpoint)(Step::SyncFile)?;
        file.sync_all()?;
        (self.failpoint)(Step::Rename)?;
        fs::rename(&temporary, path)?;
        (self.failpoint)(Step::SyncDirectory)?;
        File::open(&self.directory)?.sync_all()?;
        Ok(content.len() as u64)
    }

    fn read_batch(&self, entry: &Entry, ordinal: u64) -> io::Result<Option<Batch>> {
        let content = match fs::read(self.path_of(entry.number)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            content => content?,
        };
        Ok(file::batch_of(&content, (ordinal - entry.first) as usize))
    }

    /// `None` before the first contact. One that cannot be read is an error: another base would tell what waits under other sequences, so twice.
    fn read_base(&self) -> Result<Option<u64>, SpoolError> {
        match fs::read_to_string(self.directory.join(BASE)) {
            Ok(text) => {
                let base = text.trim().parse().ok().filter(|base| *base <= SEQUENCE_MAX);
                base.map(Some).ok_or_else(|| SpoolError::Base { path: self.directory.clone() })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read its base", error)),
        }
    }

    /// Lists the files, oldest first, and returns the newest if it can be read.
    fn scan(&mut self) -> io::Result<Option<Record>> {
        let numbers = self.numbers(SUFFIX)?;
        let mut newest = None;
        for number in numbers {
            let content = fs::read(self.path_of(number))?;
            let Some(record) = file::unframed(&content) else {
                self.set_aside(number)?;
                // It may have been sent: an older baseline would tell its content twice. The next reading is the new baseline.
                newest = None;
                continue;
            };
            let (first, last) = record.ordinals();
            self.entries.push_back(Entry { number, first, last, bytes: content.len() as u64 });
            self.last = self.last.max(last);
            newest = Some(record);
        }
        // What is older than the oldest file is done with.
        self.acknowledged = self.entries.front().map_or(0, |entry| entry.first - 1);
        Ok(newest)
    }

    fn set_aside(&mut self, number: u64) -> io::Result<()> {
        let path = self.path_of(number);
        tracing::error!(path = %path.display(), "this file of the spool is damaged: set aside");
        self.corrupt += 1;
        fs::rename(&path, path.with_extension(DAMAGED))?;
        let damaged = self.numbers(DAMAGED)?;
        let surplus = damaged.len().saturating_sub(DAMAGED_MAX);
        damaged[..surplus].iter().try_for_each(|number| fs::remove_file(self.path_of(*number).with_extension(DAMAGED)))
    }

    /// Of the files with this ending, in their order.
    fn numbers(&self, ending: &str) -> io::Result<Vec<u64>> {
        let mut numbers: Vec<u64> = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
            numbers.extend(number.filter(|_| path.extension().is_some_and(|e| e == ending)));
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn path_of(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:020}.{SUFFIX}"))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> SpoolError {
        SpoolError::Io { path: self.directory.clone(), what, source }
    }
}

#[derive(Debug, Default)]
struct Dropped {
    files: usize,
    batches: u64,
}

#[cfg(test)]
#[path = "spool_tests.rs"]
mod tests;
