//! The kernel side's user half: loads the programs of `bpf/`, tells them what is in scope, and reads their counters.
//!
//! What flows in: a [`ProbeConfig`] (who I am, which sockets are mine). What flows out: at each [`Probe::read`] a [`Pass`]
//! with every flow's **cumulative** counters and histograms, the listeners, and what was lost. A flow is (namespace, cgroup,
//! process name, local address, remote address, service port, role); the sums are made in the kernel, in maps that outlive this
//! process, so a probe that dies and returns continues where it was ([`Probe::epoch`] says whether it did). This crate knows the
//! kernel, not names: who an address is, and differences between two passes, are the agent's business.
//!
//! Parts: `layout` mirrors the structs of `bpf/edgescope.h`, `types` is what callers see, `load` opens, adopts and attaches,
//! `pins` is the directory in bpffs, `maps` reads maps in batches, `mark` finds sockets older than the probe, `reasons` names why packets were
//! dropped, `report` tells what this kernel can do, `translate` puts
//! translated connections into maps, `http2` hands out what connections of HTTP/2 say and takes back what was found in it, `foreign` reads tables that other programs have pinned, `verified` asks what the verifier
//! says of each program. All `unsafe` code of the project is here.

mod error;
mod foreign;
mod http2;
mod layout;
mod load;
mod maps;
mod mark;
mod messages;
mod pins;
mod probe;
mod reasons;
mod report;
mod scope;
mod translate;
mod types;
mod verified;

pub use error::ProbeError;
pub use foreign::ForeignMap;
pub use http2::{Http2Alarm, Http2Count, Http2Counter, Http2Event, Http2Reader, Http2Record};
pub use pins::RemoveReport;
pub use probe::Probe;
pub use report::{KernelReport, Tier, hook_report, kernel_report};
pub use translate::{RealEnd, SocketSide, Translator};
pub use types::{
    Comm, Counters, Drops, FlowKey, FlowReading, Heard, Hist, HookState, HookStatus, KeptBound, Listener, Losses, MarkReport, Pass, ProbeConfig,
    ProgramCost, Protocol, Role, Said, Scope,
};
pub use verified::{VerifiedProgram, verified_programs};
