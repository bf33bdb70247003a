//! Compiles `bpf/tcp.bpf.c` to the object that `src/load.rs` embeds.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use libbpf_cargo::SkeletonBuilder;

/// Set by `make vmlinux`: it writes a header that the programs need before they can be compiled.
const SKIP: &str = "EDGESCOPE_SKIP_BPF";

fn main() -> ExitCode {
    let sources = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../bpf");
    let object = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("tcp.bpf.o");
    // v3: compare-and-exchange, 32-bit arithmetic (Linux 5.12).
    let arguments = ["-mcpu=v3", "-Wall", "-Werror", "-Wno-unused-function"];
    println!("cargo:rerun-if-changed={}", sources.display());
    println!("cargo:rerun-if-env-changed={SKIP}");
    println!("cargo:rustc-env=EDGESCOPE_CLANG={}", clang());
    if env::var_os(SKIP).is_some() {
        std::fs::write(&object, []).expect("cargo's output directory can be written");
        return ExitCode::SUCCESS;
    }
    if let Err(error) = SkeletonBuilder::new().source(sources.join("tcp.bpf.c")).obj(&object).clang_args(arguments).build() {
        println!("cargo:error=cannot compile bpf/tcp.bpf.c: {error:#}");
        println!("cargo:error=is clang (14 or later) installed? on Debian: apt-get install clang");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Major version of the compiler, which decides how many instructions a program has; empty if it does not say.
fn clang() -> String {
    let said = Command::new("clang").arg("--version").output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let version = said.split("version ").nth(1).unwrap_or_default();
    version.chars().take_while(char::is_ascii_digit).collect()
}
