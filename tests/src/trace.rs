//! System calls of a running process, by `strace`; also makes chosen ones fail.

use crate::program::Process;
use crate::wait::until;
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const START: Duration = Duration::from_secs(10);
const END: Duration = Duration::from_secs(10);

/// An `strace` of all threads of a process. Dropping it detaches.
pub struct Trace {
    process: Process,
    file: PathBuf,
}

/// One finished call: `fsync(12</var/lib/x>) = 0`.
#[derive(Clone, Debug)]
pub struct Call {
    pub name: String,
    /// Arguments and result as `strace` prints them, with the paths behind file descriptors.
    pub text: String,
    /// Seconds since the epoch.
    pub began_s: f64,
    pub ended_s: f64,
}

impl Trace {
    /// Attaches to process `id`; `calls` is a list as `-e trace=` takes it, `inject` one as `-e inject=` does.
    pub fn attach(id: u32, calls: &str, inject: Option<&str>, dir: &Path, name: &str) -> Trace {
        let file = dir.join(format!("{name}.strace"));
        let mut command = Command::new("strace");
        // -yy: paths and socket addresses behind descriptors.
        command.args(["-f", "-ttt", "-T", "-yy", "-s", "0", "-e", &format!("trace={calls}"), "-o"]).arg(&file);
        if let Some(inject) = inject {
            command.args(["-e", &format!("inject={inject}")]);
        }
        command.args(["-p", &id.to_string()]);
        let process = Process::start("strace", command, &dir.join(format!("{name}.strace.log")), None);
        until("strace to attach", START, || if process.log().contains("attached") { Ok(()) } else { Err(process.log()) });
        Trace { process, file }
    }

    /// Waits until enough was seen. A call is seen when it has ended; what it does, others see before.
    pub fn wait_for(&self, what: &str, is_enough: impl Fn(&[Call]) -> bool) {
        until(what, END, || match std::fs::read_to_string(&self.file) {
            Ok(text) if is_enough(&calls(&text)) => Ok(()),
            Ok(text) => Err(text),
            Err(error) => Err(error.to_string()),
        });
    }

    /// Detaches and gives what was seen.
    pub fn stop(mut self) -> Vec<Call> {
        self.process.signal(Signal::INT);
        self.process.wait(END);
        let text = std::fs::read_to_string(&self.file).expect("strace wrote its file");
        calls(&text)
    }
}

/// Calls of a trace; those that another thread's line cut in two are joined.
fn calls(text: &str) -> Vec<Call> {
    let mut open: Vec<(String, String)> = Vec::new();
    let mut found = Vec::new();
    for line in text.lines() {
        let Some((thread, rest)) = line.split_once(' ') else { continue };
        let rest = rest.trim_start();
        if let Some(began) = rest.strip_suffix(" <unfinished ...>") {
            open.push((thread.to_owned(), began.to_owned()));
        } else if let Some((_, end)) = rest.split_once(" resumed>") {
            let Some(at) = open.iter().rposition(|(t, _)| t == thread) else { continue };
            let (_, began) = open.swap_remove(at);
            found.extend(call(&format!("{began}{end}")));
        } else {
            found.extend(call(rest));
        }
    }
    found
}

/// `1764017000.123456 fsync(12</x>) = 0 <0.000123>`
fn call(line: &str) -> Option<Call> {
    let (began, rest) = line.split_once(' ')?;
    let began_s: f64 = began.parse().ok()?;
    let (name, _) = rest.split_once('(')?;
    let (text, took) = rest.rsplit_once(" <")?;
    let took_s: f64 = took.strip_suffix('>')?.parse().ok()?;
    Some(Call { name: name.to_owned(), text: text.to_owned(), began_s, ended_s: began_s + took_s })
}

#[cfg(test)]
mod tests {
    use super::calls;

    #[test]
    fn calls_cut_in_two_are_joined() {
        let text = "7 10.5 fsync(3</a> <unfinished ...>\n8 10.6 fsync(4</b>) = 0 <0.25>\n7 10.9 <... fsync resumed>) = 0 <0.5>\n7 11.0 +++ exited with 0 +++\n";
        let found = calls(text);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].text.as_str(), found[0].ended_s), ("fsync(4</b>) = 0", 10.85));
        assert_eq!((found[1].text.as_str(), found[1].began_s, found[1].ended_s), ("fsync(3</a>) = 0", 10.5, 11.0));
    }
}
