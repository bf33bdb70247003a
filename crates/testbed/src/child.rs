//! The testbed's own processes: services, relay, keeper. They are the same executable, started as hidden subcommands.

use crate::relay::{self, RelayConfig};
use crate::service::{self, ServiceConfig};
use crate::{netns, run};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};

/// First argument of each kind of child process.
pub const SERVICE: &str = "service";
pub const RELAY: &str = "relay";
pub const KEEPER: &str = "keeper";

/// A child prints this once it can be talked to.
const READY: &str = "ready";

/// Called by a child once it can be talked to.
pub(crate) fn say_ready() {
    println!("{READY}");
}

/// Runs the child process that `args` name (`service FILE`, `relay FILE`, `keeper ID`); None if they name none.
pub fn child_main(args: &[OsString]) -> Option<ExitCode> {
    let [kind, argument] = args else { return None };
    match kind.to_str()? {
        SERVICE => Some(service_main(argument)),
        RELAY => Some(relay_main(argument)),
        KEEPER => Some(keeper_main(argument)),
        _ => None,
    }
}

/// Runs a service by its config file.
pub fn service_main(config: &OsString) -> ExitCode {
    end(read::<ServiceConfig>(config).and_then(|c| service::run(c).map_err(|e| e.to_string())))
}

/// Runs the relay by its config file.
pub fn relay_main(config: &OsString) -> ExitCode {
    end(read::<RelayConfig>(config).and_then(|c| relay::run(c).map_err(|e| e.to_string())))
}

/// Cleans up after the run of that id once its owner is gone.
pub fn keeper_main(id: &OsString) -> ExitCode {
    say_ready();
    end(run::keep(&id.to_string_lossy()).map_err(|e| e.to_string()))
}

fn read<T: serde::de::DeserializeOwned>(path: &OsString) -> Result<T, String> {
    let shown = Path::new(path).display();
    let text = std::fs::read(path).map_err(|e| format!("cannot read {shown}: {e}"))?;
    serde_json::from_slice(&text).map_err(|e| format!("cannot read {shown}: {e}"))
}

fn end(result: Result<(), String>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A child process that ends when its standard input does, that is with its parent at the latest.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Closing it tells the child to end.
    lifeline: Option<ChildStdin>,
}

impl Process {
    /// Starts `command` (in `netns`, if given), with its errors going to `log`, and waits until it says that it is ready.
    pub fn start(command: &[OsString], netns: Option<&Path>, log: &Path) -> io::Result<Process> {
        let mut start = Command::new(&command[0]);
        start.args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(log)?);
        // Ctrl-C in the terminal is for the parent, which then ends its children in order.
        std::os::unix::process::CommandExt::process_group(&mut start, 0);
        let mut child = match netns {
            Some(netns) => netns::spawn_in(netns, &mut start).map_err(io::Error::other)?,
            None => start.spawn()?,
        };
        let lifeline = child.stdin.take();
        let mut process = Process { child, lifeline };
        let stdout = process.child.stdout.take().expect("standard output was piped");
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said)?;
        if said.trim_end() == READY {
            return Ok(process);
        }
        process.kill();
        let errors = std::fs::read_to_string(log).unwrap_or_default();
        Err(io::Error::other(format!("it ended at once: {}", errors.trim())))
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        // Either may fail only because it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits for its end without forcing it; closing its standard input tells it to.
    pub fn end(&mut self) {
        self.lifeline = None;
        let _ = self.child.wait();
    }

    pub fn wait(&mut self) {
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
