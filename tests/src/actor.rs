//! The traffic program as a guarded process in a namespace: does what the test says, counts what it did.

use crate::program::Process;
use crate::scene::Scene;
use crate::traffic::{Exchange, Order, Report};
use crate::wait::until;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// Longest that one order may take.
const ANSWER: Duration = Duration::from_secs(120);
const START: Duration = Duration::from_secs(10);

/// A process that makes traffic. Dropping it kills it.
pub struct Actor {
    name: String,
    process: Process,
    socket: PathBuf,
}

impl Actor {
    /// Starts one whose process name is `name` (at most 15 bytes), in a network namespace or, without one, in the test's own.
    /// `traffic` is the traffic program: `env!("CARGO_BIN_EXE_edgescope-traffic")`.
    pub fn start(scene: &Scene, traffic: &str, name: &str, netns: Option<&Path>) -> Actor {
        assert!(name.len() <= 15, "the kernel keeps 15 bytes of a process name, {name} has more");
        // The kernel takes a process's name from the path that it was started by.
        let program = scene.path(name);
        if !program.exists() {
            std::os::unix::fs::symlink(traffic, &program).expect("a link can be made");
        }
        let unique = format!("{name}-{:06x}", rand::random::<u32>() & 0xff_ffff);
        let socket = scene.path(&format!("{unique}.socket"));
        let mut command = Command::new(program);
        command.arg(&socket).stdin(Stdio::null());
        let process = Process::start(name, command, &scene.path(&format!("{unique}.log")), netns);
        until(&format!("the start of {name}"), START, || UnixStream::connect(&socket).map(drop).map_err(|e| e.to_string()));
        Actor { name: name.to_owned(), process, socket }
    }

    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Gives an order; panics if it fails.
    pub fn order(&self, order: &Order) -> Report {
        let report = self.try_order(order).unwrap_or_else(|e| panic!("{} does not answer to {order:?}: {e}", self.name));
        assert!(report.error.is_none(), "{} could not {order:?}: {}", self.name, report.error.unwrap_or_default());
        report
    }

    fn try_order(&self, order: &Order) -> std::io::Result<Report> {
        let mut stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer)?;
        Ok(serde_json::from_str(&answer)?)
    }

    pub fn listen(&self, on: SocketAddr) {
        self.order(&Order::Listen(on));
    }

    pub fn exchange(&self, exchange: &Exchange) -> Report {
        self.order(&Order::Exchange(exchange.clone()))
    }

    pub fn report(&self) -> Report {
        self.order(&Order::Report)
    }

    /// Waits until no connection is open, so that all is counted; then says what was.
    pub fn quiet(&self) -> Report {
        until(&format!("all connections of {} closed", self.name), Duration::from_secs(30), || {
            let report = self.report();
            if report.open == 0 { Ok(report) } else { Err(format!("{} open", report.open)) }
        })
    }
}
