//! Reads packet captures in place of the kernel.
//!
//! In goes a file (pcap or pcapng, plain or compressed), out comes a [`Report`] for each connection, with the names of the signal
//! catalogue, and one for the capture. Memory does not grow with the file: packets are read one after the other, and the connections that
//! are followed at once are bounded.
//!
//! The file is [opened](open) and cut into packets ([`capture`]), each is looked through down to its transport ([`link`], [`ip`],
//! [`segment`]), and [`Replay`] keeps a [`connection`] for each pair of ports: its handshake and end, and two [`sender`]s, one a
//! direction. A sender tells what passed once from what passed again ([`seq`]), why it was sent again ([`recovery`]), and how
//! long acknowledgements took ([`flight`]); what it carries is put in order for the readers of HTTP and DNS. All but the opening is pure.
#![forbid(unsafe_code)]

mod app;
pub mod capture;
pub mod connection;
mod dns;
pub mod flight;
pub mod ip;
pub mod link;
pub mod open;
pub mod recovery;
mod replay;
pub mod report;
pub mod rtt;
pub mod segment;
pub mod sender;
pub mod seq;
mod stream;
mod table;
mod udp;

pub use capture::Damage;
pub use open::Position;
pub use replay::{Replay, Settings};
pub use report::{CaptureReport, Report};

use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Between two calls that tell how far reading has come.
const PACKETS_A_CALL: u64 = 4096;

/// Why there is nothing to replay.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    #[error("cannot read {}: {source}", path.display())]
    Open { path: PathBuf, source: io::Error },
}

/// Replays one file (`-` is standard input): `sink` gets a report for each connection as soon as it is over, and the capture's at
/// last; a sink that breaks ends it early. `progress` is called now and then.
///
/// # Errors
/// If the file cannot be opened. A damaged one is no error: it is read up to the damage, and the last report says where that is.
pub fn replay_file(
    path: &Path,
    settings: &Settings,
    mut sink: impl FnMut(Report) -> ControlFlow<()>,
    mut progress: impl FnMut(&Position),
) -> Result<Option<Damage>, ReplayError> {
    let (bytes, position) = open::open(path)?;
    let mut flow = ControlFlow::Continue(());
    let mut replay = Replay::new(settings, |report| {
        if flow.is_continue() {
            flow = sink(report);
        }
        flow
    });
    let damage = capture::read(bytes, |packet| {
        if packet.number.is_multiple_of(PACKETS_A_CALL) {
            progress(&position);
        }
        replay.takes(packet)
    });
    let summary = CaptureReport { file: path.display().to_string(), damage: damage.clone(), ..replay.finish() };
    if flow.is_continue() {
        let _ends_here_anyway = sink(Report::Capture(Box::new(summary)));
    }
    Ok(damage)
}
