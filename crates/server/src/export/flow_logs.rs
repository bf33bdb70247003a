//! Flow logs: the edges of each ten-second window, as OTLP logs and as lines in a file.

use super::config::FlowLogsConfig;
use super::courier::{Courier, Delivery};
use super::feed::Feed;
use super::otlp::Receiver;
use crate::intake::own::without_own;
use edgescope_export::flow_log::{self, RECORDS_MAX};
use edgescope_export::otlp::Sender;
use edgescope_model::query::EdgeTable;
use prost::Message as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Writes flow logs until the server stops.
pub struct FlowLogs {
    pub feed: Feed,
    pub config: FlowLogsConfig,
    pub to: Destination,
}

/// Where records go.
pub enum Destination {
    Otlp { courier: Box<Courier>, receiver: Receiver, sender: Sender },
    Lines(Lines),
}

impl FlowLogs {
    pub async fn run(mut self) {
        while self.feed.ready().await {
            if self.window().await == Delivery::Stopped {
                return;
            }
            self.feed.done().await;
        }
    }

    async fn window(&mut self) -> Delivery {
        let (from, to) = self.feed.slot();
        let query = flow_log::query(from, to, Some(without_own(None)), self.config.edges_max);
        let Some(table) = self.feed.ask(&query).await else {
            return if self.feed.stopping() { Delivery::Stopped } else { Delivery::Over };
        };
        let counters = &self.feed.source().counters;
        if (table.from, table.to) != (from, to) {
            counters.dropped_slots(self.feed.sink, "not_kept", 1);
            return Delivery::Over;
        }
        counters.dropped(self.feed.sink, "edges_max", table.groups_total.saturating_sub(table.rows.len()) as u64);
        let deadline = self.feed.deadline();
        match &mut self.to {
            Destination::Otlp { courier, receiver, sender } => {
                for rows in table.rows.chunks(RECORDS_MAX) {
                    let request = flow_log::request(sender, &table, rows, self.config.legacy_body);
                    let receiver = &*receiver;
                    let send = || receiver.logs(&request);
                    if courier.deliver(deadline, rows.len() as u64, request.encoded_len() as u64, send).await == Delivery::Stopped {
                        return Delivery::Stopped;
                    }
                }
            }
            Destination::Lines(lines) => {
                let count = table.rows.len() as u64;
                match lines.write(table).await {
                    Ok(bytes) => {
                        counters.request(self.feed.sink, "taken", bytes);
                        counters.points(self.feed.sink, count);
                    }
                    Err(error) => {
                        counters.request(self.feed.sink, "failed", 0);
                        counters.dropped(self.feed.sink, "not_written", count);
                        tracing::warn!(%error, "flow logs of a window could not be written");
                    }
                }
            }
        }
        Delivery::Over
    }
}

/// A file of lines, or standard output.
pub struct Lines {
    /// `None`: standard output.
    path: Option<PathBuf>,
    bytes_max: u64,
}

impl Lines {
    pub fn new(path: &Path, bytes_max: u64) -> Self {
        Self { path: (path != Path::new("-")).then(|| path.to_owned()), bytes_max }
    }

    /// Appends the lines of a window; their bytes. All of them or, where the disk is full in between, the first of them.
    async fn write(&self, table: EdgeTable) -> io::Result<u64> {
        let (path, bytes_max) = (self.path.clone(), self.bytes_max);
        let write = move || {
            let text: String = table.rows.iter().map(|row| flow_log::json_line(&table, row) + "\n").collect();
            match path {
                Some(path) => appended(&path, bytes_max)?.write_all(text.as_bytes())?,
                None => io::stdout().lock().write_all(text.as_bytes())?,
            }
            Ok(text.len() as u64)
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

/// Opens the file for more lines; one that is full is moved aside first. Opened anew each time, so that whoever moves it away gets no more of it.
fn appended(path: &Path, bytes_max: u64) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|facts| facts.len() >= bytes_max) {
        let mut aside = path.as_os_str().to_owned();
        aside.push(".1");
        fs::rename(path, aside)?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_moved_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("flows.jsonl");
        for text in ["first\n", "second\n", "third\n"] {
            appended(&path, 6).unwrap().write_all(text.as_bytes()).unwrap();
        }
        assert_eq!(fs::read_to_string(&path).unwrap(), "third\n");
        assert_eq!(fs::read_to_string(dir.path().join("flows.jsonl.1")).unwrap(), "second\n");
    }
}
