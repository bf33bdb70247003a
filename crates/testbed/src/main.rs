//! The testbed by hand, for development and tests: `edgescope-testbed start | counters | measure | faults | clean`.

mod cli;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = edgescope_testbed::child_main(&args) {
        return code;
    }
    cli::main()
}
