//! `edgescope demo`, once to its verdict or running on.

use crate::program::{self, Process};
use crate::scene::{Scene, free_port};
use crate::wait::until;
use serde_json::Value;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A demo that is asked to end has removed everything by then.
const END: Duration = Duration::from_secs(30);
/// Longest that one run may take: calm, alert, verdict, and all that starts and ends.
const RUN: Duration = Duration::from_secs(420);
/// Shops at the same time: each takes most of a core.
const AT_ONCE: usize = 2;
/// Where live runs are registered.
const RUNS: &str = edgescope_testbed::run::RUNS_DIR;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    pub arguments: String,
    pub right: bool,
    pub took_s: f64,
    /// What `--json` printed; null if it printed none.
    pub json: Value,
    /// What it told while it ran.
    pub told: String,
}

/// Whether any verdict on the way, or the last one, says that it is the network; a run without an outcome has cleared nobody. `run` is what
/// the demo printed.
pub fn accuses_the_network(run: &Value) -> bool {
    let said = run["said"].as_array().is_some_and(|said| said.iter().any(|s| s["verdict"] == "network"));
    said || run["verdict"]["verdict"] == "network" || run["verdict"]["verdict"].is_null()
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let judgement = &self.json["judgement"];
        let (verdict, word) = (&self.json["verdict"], if self.right { "right" } else { "WRONG" });
        write!(
            f,
            "{word} in {:.0} s: {} · {} · alert after {} s, since off by {} s",
            self.took_s, self.arguments, verdict["summary"], judgement["alert_after_s"], judgement["since_error_s"]
        )?;
        if self.right {
            return Ok(());
        }
        write!(f, "\n   differs: {}\n   it told:\n{}", judgement["differences"], self.told)
    }
}

/// Runs `edgescope demo --once --json` with these arguments added, on a port of its own.
pub fn play(arguments: &[String]) -> Outcome {
    let listen = format!("127.0.0.1:{}", free_port());
    let fixed = ["demo", "--once", "--json", "--listen", &listen].map(str::to_owned);
    let all: Vec<String> = fixed.into_iter().chain(arguments.iter().cloned()).collect();
    let arguments = if arguments.is_empty() { "the default".to_owned() } else { arguments.join(" ") };
    let output = match program::try_run(&all, RUN) {
        Ok(output) => output,
        Err(why) => return Outcome { arguments, right: false, took_s: RUN.as_secs_f64(), json: Value::Null, told: why },
    };
    let json: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    let said_right = json["right"] == true;
    assert_eq!(output.status.success(), said_right, "exit code and `right` differ: {}, {json}", output.status);
    Outcome {
        arguments,
        right: said_right,
        took_s: json["took_s"].as_f64().unwrap_or_default(),
        told: String::from_utf8_lossy(&output.stderr).into_owned(),
        json,
    }
}

/// Plays all, some at once; outcomes in the order of the runs.
pub fn play_all(runs: &[Vec<String>]) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes: Vec<Mutex<Option<Outcome>>> = runs.iter().map(|_| Mutex::new(None)).collect();
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(runs.len()) {
            scope.spawn(|| {
                while let Some((run, outcome)) = Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((runs.get(i)?, outcomes.get(i)?))) {
                    *outcome.lock().unwrap_or_else(|e| e.into_inner()) = Some(play(run));
                }
            });
        }
    });
    outcomes.into_iter().filter_map(|o| o.into_inner().unwrap_or_else(|e| e.into_inner())).collect()
}

/// A demo that runs on. Dropping it ends it as Ctrl-C does, so that nothing of it stays in the kernel.
pub struct Demo {
    process: Process,
    url: String,
    keep: PathBuf,
}

impl Demo {
    /// Starts it with a fault soon, on this port.
    pub fn start(scene: &Scene, port: u16) -> Demo {
        Self::start_with(scene, port, &["--calm", "30"])
    }

    pub fn start_with(scene: &Scene, port: u16, arguments: &[&str]) -> Demo {
        let (listen, keep) = (format!("127.0.0.1:{port}"), scene.path(&format!("demo-{port}")));
        let mut command = program::command(&["demo", "--listen", &listen]);
        command.arg("--keep").arg(&keep).args(arguments);
        let process = Process::start("demo", command, &scene.path(&format!("demo-{port}.log")), None);
        Demo { process, url: format!("http://{listen}"), keep }
    }

    /// Waits until the shop is open and the URL was told.
    pub fn wait_until_open(&mut self, at_most: Duration) {
        until("the shop to open", at_most, || {
            assert!(self.process.is_running(), "the demo ended");
            let log = self.process.log();
            if log.contains("the shop is open") && log.contains(&self.url) { Ok(()) } else { Err(log) }
        });
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where it keeps data, configuration and logs.
    pub fn kept(&self) -> &Path {
        &self.keep
    }

    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// The id of its shop: the run whose processes are this demo's children.
    pub fn run(&self) -> String {
        let runs = std::fs::read_dir(RUNS).expect("a demo runs").flatten().map(|e| e.file_name().to_string_lossy().into_owned());
        let mine = |run: &String| {
            let spaces = edgescope_testbed::netns::list(&format!("es{run}-"));
            edgescope_testbed::netns::processes_in(&spaces).into_iter().any(|pid| parent_of(pid) == Some(self.process.id()))
        };
        runs.into_iter().find(mine).expect("one of the runs is this demo's")
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Else the process's own drop kills it.
        self.process.ask_to_end(END);
    }
}

fn parent_of(pid: i32) -> Option<u32> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|l| l.strip_prefix("PPid:"))?.trim().parse().ok()
}
