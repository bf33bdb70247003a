//! The form of a spool file: a magic word, a checksum, and one protobuf record with the batches of a window and the baseline that they lead to.

use crate::counters::{COUNT, Cumulative, NAMES, Totals};
use crate::delta::{Baseline, Told};
use crate::spool::Checkpoint;
use edgescope_identity::address;
use edgescope_model::histogram::Histogram;
use edgescope_model::wire::Batch;
use edgescope_probe::{Comm, FlowKey, Protocol, Role};
use prost::Message;
use std::collections::HashMap;
use xxhash_rust::xxh3::xxh3_64;

/// Names the file and its version.
const MAGIC: &[u8; 8] = b"ESSPOOL1";
const HEADER_BYTES: usize = 16;

/// A window's batches, and what has been told with them.
#[derive(Clone, PartialEq, Message)]
pub struct Record {
    #[prost(uint64, tag = "1")]
    epoch: u64,
    #[prost(int64, tag = "2")]
    window_end_us: i64,
    #[prost(int64, tag = "3")]
    clock_offset_us: i64,
    /// Ordinal of the first batch.
    #[prost(uint64, tag = "4")]
    first: u64,
    #[prost(bytes = "vec", repeated, tag = "5")]
    batches: Vec<Vec<u8>>,
    /// Names of the counters of `flows`, by position.
    #[prost(string, repeated, tag = "6")]
    counters: Vec<String>,
    #[prost(message, repeated, tag = "7")]
    flows: Vec<Flow>,
    #[prost(btree_map = "string, uint64", tag = "8")]
    losses: std::collections::BTreeMap<String, u64>,
    #[prost(btree_map = "string, uint64", tag = "9")]
    drops: std::collections::BTreeMap<String, u64>,
    /// A later file has the baseline.
    #[prost(bool, tag = "10")]
    without_baseline: bool,
}

/// A flow's key and what has been told of it.
#[derive(Clone, PartialEq, Message)]
struct Flow {
    #[prost(uint32, tag = "1")]
    netns: u32,
    #[prost(uint64, tag = "2")]
    cgroup: u64,
    #[prost(bytes = "vec", tag = "3")]
    comm: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    local: Vec<u8>,
    #[prost(bytes = "vec", tag = "5")]
    remote: Vec<u8>,
    #[prost(uint32, tag = "6")]
    service_port: u32,
    #[prost(uint32, tag = "7")]
    client_port: u32,
    #[prost(bool, tag = "8")]
    server: bool,
    #[prost(bool, tag = "9")]
    role_inferred: bool,
    #[prost(uint64, repeated, tag = "10")]
    totals: Vec<u64>,
    #[prost(bytes = "vec", tag = "11")]
    rtt: Vec<u8>,
    #[prost(bytes = "vec", tag = "12")]
    handshake: Vec<u8>,
    #[prost(uint32, tag = "13")]
    quiet: u32,
    #[prost(uint32, tag = "14")]
    born_ms: u32,
    #[prost(bool, tag = "15")]
    udp: bool,
    #[prost(bool, tag = "20")]
    masked: bool,
    #[prost(bool, tag = "21")]
    is_dns: bool,
    #[prost(bytes = "vec", tag = "16")]
    duration: Vec<u8>,
}

/// Only the batches of a record: the baseline is passed over.
#[derive(Clone, PartialEq, Message)]
struct BatchesOnly {
    #[prost(bytes = "vec", repeated, tag = "5")]
    batches: Vec<Vec<u8>>,
}

impl Record {
    pub fn of(checkpoint: &Checkpoint, first: u64, batches: &[Batch]) -> Self {
        let mut record = Self {
            epoch: checkpoint.epoch,
            window_end_us: checkpoint.window_end_us,
            clock_offset_us: checkpoint.clock_offset_us,
            first,
            batches: Vec::new(),
            counters: NAMES.iter().map(|&name| name.to_owned()).collect(),
            flows: checkpoint.baseline.flows.iter().map(|(key, told)| stored(key, told)).collect(),
            losses: checkpoint.losses.clone(),
            drops: checkpoint.drops.clone(),
            without_baseline: false,
        };
        record.set_batches(batches);
        record
    }

    pub fn set_batches(&mut self, batches: &[Batch]) {
        self.batches = batches.iter().map(Message::encode_to_vec).collect();
    }

    /// Ordinals of the first and the last batch; the last is one less than the first if there is none.
    pub fn ordinals(&self) -> (u64, u64) {
        (self.first, self.first + self.batches.len() as u64 - 1)
    }

    /// Only the batches: for a file that a later one has followed.
    pub fn without_baseline(self) -> Self {
        Self { first: self.first, batches: self.batches, without_baseline: true, ..Self::default() }
    }

    /// What has been told with these batches; `None` if a later file would say.
    pub fn checkpoint(self) -> Option<Checkpoint> {
        if self.without_baseline {
            return None;
        }
        let positions: Vec<Option<usize>> = self.counters.iter().map(|stored| NAMES.iter().position(|name| name == stored)).collect();
        let flows: HashMap<FlowKey, Told> = self.flows.into_iter().filter_map(|flow| restored(flow, &positions)).collect();
        Some(Checkpoint {
            epoch: self.epoch,
            baseline: Baseline { flows },
            window_end_us: self.window_end_us,
            clock_offset_us: self.clock_offset_us,
            losses: self.losses,
            drops: self.drops,
        })
    }
}

/// The content of a file.
pub fn framed(record: &Record) -> Vec<u8> {
    let mut content = Vec::with_capacity(HEADER_BYTES + record.encoded_len());
    content.extend_from_slice(MAGIC);
    content.extend_from_slice(&[0; 8]);
    record.encode_raw(&mut content);
    let sum = xxh3_64(&content[HEADER_BYTES..]);
    content[8..HEADER_BYTES].copy_from_slice(&sum.to_le_bytes());
    content
}

/// The record in a file's content; `None` if it is damaged or none of ours.
pub fn unframed(content: &[u8]) -> Option<Record> {
    let record = Record::decode(body(content)?).ok()?;
    (record.first > 0).then_some(record)
}

/// One batch in a file's content.
pub fn batch_of(content: &[u8], at: usize) -> Option<Batch> {
    let batches = BatchesOnly::decode(body(content)?).ok()?.batches;
    Batch::decode(batches.get(at)?.as_slice()).ok()
}

fn body(content: &[u8]) -> Option<&[u8]> {
    let (magic, rest) = content.split_first_chunk::<8>()?;
    let (sum, body) = rest.split_first_chunk::<8>()?;
    (magic == MAGIC && u64::from_le_bytes(*sum) == xxh3_64(body)).then_some(body)
}

fn stored(key: &FlowKey, told: &Told) -> Flow {
    Flow {
        netns: key.netns,
        cgroup: key.cgroup,
        comm: key.comm.0.to_vec(),
        local: address::to_bytes(key.local),
        remote: address::to_bytes(key.remote),
        service_port: key.service_port.into(),
        client_port: key.client_port.into(),
        server: key.role == Role::Server,
        role_inferred: key.role_inferred,
        totals: told.cumulative.totals.0.to_vec(),
        rtt: told.cumulative.rtt.to_bytes(),
        handshake: told.cumulative.handshake.to_bytes(),
        quiet: told.quiet,
        born_ms: told.born_ms,
        udp: key.protocol == Protocol::Udp,
        masked: key.masked,
        is_dns: key.is_dns,
        duration: told.cumulative.duration.to_bytes(),
    }
}

/// `positions` says where each stored counter is now.
fn restored(flow: Flow, positions: &[Option<usize>]) -> Option<(FlowKey, Told)> {
    let key = FlowKey {
        netns: flow.netns,
        cgroup: flow.cgroup,
        comm: Comm(flow.comm.try_into().ok()?),
        local: address::from_bytes(&flow.local)?,
        remote: address::from_bytes(&flow.remote)?,
        service_port: flow.service_port.try_into().ok()?,
        client_port: flow.client_port.try_into().ok()?,
        role: if flow.server { Role::Server } else { Role::Client },
        role_inferred: flow.role_inferred,
        masked: flow.masked,
        is_dns: flow.is_dns,
        protocol: if flow.udp { Protocol::Udp } else { Protocol::Tcp },
    };
    let mut totals = Totals([0; COUNT]);
    for (value, position) in flow.totals.iter().zip(positions) {
        if let Some(at) = position {
            totals.0[*at] = *value;
        }
    }
    let cumulative = Cumulative {
        totals,
        rtt: Histogram::from_bytes(&flow.rtt)?,
        handshake: Histogram::from_bytes(&flow.handshake)?,
        duration: Histogram::from_bytes(&flow.duration)?,
    };
    Some((key, Told { cumulative, born_ms: flow.born_ms, quiet: flow.quiet }))
}
