//! Finds the product and guards its processes.

use edgescope_testbed::netns;
use rustix::process::{Pid, Signal};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Variables that steer tests and are no configuration of the product.
const STEERING: [&str; 2] = ["EDGESCOPE_BIN", "EDGESCOPE_LONG"];
/// Lines of a log that a failed test shows.
const LOG_LINES_SHOWN: usize = 60;
/// Between two looks whether a process has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// The `edgescope` program: `$EDGESCOPE_BIN`, else the one beside this test's own program.
pub fn edgescope() -> PathBuf {
    if let Some(given) = std::env::var_os("EDGESCOPE_BIN") {
        let path = PathBuf::from(given);
        assert!(
            path.is_file(),
            "EDGESCOPE_BIN names {}, which is not there: build it with `make build` and take the path that it prints",
            path.display()
        );
        return path;
    }
    let own = std::env::current_exe().expect("a running program has a path");
    let beside = own.ancestors().skip(1).take(2).map(|dir| dir.join("edgescope")).find(|path| path.is_file());
    beside.unwrap_or_else(|| {
        panic!("there is no edgescope program beside {}: build one with `make build` and set EDGESCOPE_BIN to the path that it prints", own.display())
    })
}

/// The product with arguments, without the variables that steer tests.
pub fn command<S: AsRef<OsStr>>(arguments: &[S]) -> Command {
    let mut command = Command::new(edgescope());
    command.args(arguments).stdin(Stdio::null());
    for name in STEERING {
        command.env_remove(name);
    }
    command
}

/// Runs the product to its end, which must come within `at_most`.
pub fn run<S: AsRef<OsStr>>(arguments: &[S], at_most: Duration) -> Output {
    finish(command(arguments), at_most)
}

/// The same; what it said, if it did not end in time.
pub fn try_run<S: AsRef<OsStr>>(arguments: &[S], at_most: Duration) -> Result<Output, String> {
    try_finish(command(arguments), at_most)
}

/// Runs a command to its end, which must come within `at_most`.
pub fn finish(command: Command, at_most: Duration) -> Output {
    try_finish(command, at_most).unwrap_or_else(|why| panic!("{why}"))
}

fn try_finish(mut command: Command, at_most: Duration) -> Result<Output, String> {
    let shown = format!("{command:?}");
    let started = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = started.unwrap_or_else(|e| panic!("cannot run {shown}: {e}"));
    // Read on threads of their own, so that a full pipe does not hold the program up.
    let stdout = read_all(child.stdout.take().expect("piped"));
    let stderr = read_all(child.stderr.take().expect("piped"));
    let ended = wait_for_end(&mut child, at_most);
    if ended.is_none() {
        kill(&mut child);
    }
    let all = |reader: JoinHandle<io::Result<Vec<u8>>>| reader.join().expect("reading does not panic").expect("a pipe can be read");
    let (stdout, stderr) = (all(stdout), all(stderr));
    match ended {
        Some(status) => Ok(Output { status, stdout, stderr }),
        None => Err(format!("{shown} did not end within {at_most:?}; it said: {}", String::from_utf8_lossy(&stderr))),
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<io::Result<Vec<u8>>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).map(|_| bytes)
    })
}

fn wait_for_end(child: &mut Child, at_most: Duration) -> Option<ExitStatus> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().expect("a child can be waited for") {
            return Some(status);
        }
        if began.elapsed() > at_most {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn kill(child: &mut Child) {
    // Either may fail only because it has ended already.
    let _ = child.kill();
    let _ = child.wait();
}

/// A process with a log. Dropping it kills it; in a failing test it also shows the end of its log.
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with its output appended to `log`; in the network namespace `netns`, if given.
    pub fn start(name: &str, mut command: Command, log: &Path, netns: Option<&Path>) -> Process {
        let file = File::options().create(true).append(true).open(log).expect("a log can be written");
        command.stdout(file.try_clone().expect("a file can be cloned")).stderr(file);
        let shown = format!("{command:?}");
        let child = match netns {
            Some(netns) => netns::spawn_in(netns, &mut command).map_err(|e| e.to_string()),
            None => command.spawn().map_err(|e| e.to_string()),
        };
        let child = child.unwrap_or_else(|e| panic!("cannot start {name} ({shown}): {e}"));
        Process { name: name.to_owned(), child, log: log.to_owned() }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// The log up to now.
    pub fn log(&self) -> String {
        fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id() as i32).expect("a child's process id is positive");
        rustix::process::kill_process(pid, signal).unwrap_or_else(|e| panic!("cannot signal {}: {e}", self.name));
    }

    /// `kill -9`, and waits for its end.
    pub fn kill(&mut self) {
        kill(&mut self.child);
    }

    /// Asks it to end and waits so long; whether it has ended.
    pub fn ask_to_end(&mut self, at_most: Duration) -> bool {
        if self.is_running() {
            self.signal(Signal::INT);
        }
        wait_for_end(&mut self.child, at_most).is_some()
    }

    /// Asks it to end, which must come within `at_most`.
    pub fn terminate(&mut self, at_most: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(at_most)
    }

    /// Waits for its end, which must come within `at_most`.
    pub fn wait(&mut self, at_most: Duration) -> ExitStatus {
        wait_for_end(&mut self.child, at_most).unwrap_or_else(|| panic!("{} did not end within {at_most:?}", self.name))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        kill(&mut self.child);
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let shown = &lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..];
            eprintln!("--- end of the log of {} ({} of {} lines)\n{}", self.name, shown.len(), lines.len(), shown.join("\n"));
        }
    }
}
