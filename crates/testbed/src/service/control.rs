//! What the testbed tells a service while it runs, over a Unix socket that no network fault reaches.

use super::Shared;
use super::client::Client;
use super::counters::Witness;
use crate::effect::Behaviour;
use serde::{Deserialize, Serialize};
use std::io::{self, BufRead, BufReader, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// One line of JSON; the answer is a line with the [`Witness`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Command {
    Counters,
    /// Behave so from now on.
    Behave(Behaviour),
    /// Ask nothing new, and close what is idle.
    Drain,
    /// Write the counters and be gone, without closing anything: what a crash does, but with its last words known.
    Die,
    /// Write the counters and end.
    Stop,
}

/// How long the testbed waits for a service's answer; services answer within milliseconds unless the machine stands still.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Sends a command to a service; blocks until its answer.
///
/// # Errors
/// When the service is gone or does not answer in time.
pub fn ask(socket: &Path, command: &Command) -> io::Result<Witness> {
    let mut stream = StdUnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    stream.set_write_timeout(Some(ANSWER_TIMEOUT))?;
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    serde_json::from_str(&answer).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, format!("{e}, in the answer {answer:?}")))
}

pub(crate) fn listen(socket: &Path) -> io::Result<UnixListener> {
    if socket.exists() {
        std::fs::remove_file(socket)?;
    }
    UnixListener::bind(socket)
}

/// Ends when standard input does.
pub(crate) fn lifeline() -> io::Result<impl Future<Output = ()>> {
    let stdin = io::stdin().as_fd().try_clone_to_owned()?;
    let mut pipe = tokio::net::unix::pipe::Receiver::from_owned_fd(stdin)?;
    Ok(async move {
        let mut byte = [0];
        // Nothing is ever written to it; an error means the same as the end.
        while matches!(pipe.read(&mut byte).await, Ok(1)) {}
    })
}

/// Obeys until told to stop.
pub(crate) async fn obey(listener: UnixListener, shared: Arc<Shared>, client: Arc<Client>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // A testbed that died while asking has nobody to be told.
        if let Ok(true) = answer(stream, &shared, &client).await {
            return;
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a crash is what was asked for: nothing is to be closed in order")]
fn crash() -> ! {
    std::process::exit(1)
}

/// Answers one command; true means stop.
async fn answer(stream: UnixStream, shared: &Shared, client: &Client) -> io::Result<bool> {
    let mut stream = tokio::io::BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line).await?;
    let command: Command = serde_json::from_str(&line)?;
    match &command {
        Command::Behave(behaviour) => shared.behave(behaviour.clone())?,
        Command::Drain => {
            shared.drain();
            client.close_idle();
        }
        Command::Die => shared.ledger.write_final()?,
        Command::Counters | Command::Stop => {}
    }
    let mut answer = serde_json::to_vec(&shared.ledger.snapshot())?;
    answer.push(b'\n');
    stream.write_all(&answer).await?;
    if matches!(command, Command::Die) {
        crash();
    }
    Ok(matches!(command, Command::Stop))
}
