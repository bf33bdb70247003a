//! What the kernel's verifier says of each program, one by one: for tests, and for whoever wonders why a kernel refuses one.

use std::os::fd::{AsFd, AsRawFd};

use libbpf_rs::ObjectBuilder;

use crate::load::{self, OBJECT};
use crate::{ProbeError, messages};

/// One program of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedProgram {
    pub name: String,
    /// Instructions that the verifier looked at along all paths, of at most a million; else why the kernel refused.
    pub instructions: Result<u32, String>,
}

/// Loads every program alone, and attaches none.
///
/// # Errors
/// If the object cannot be opened, or the kernel says nothing of a program that it took.
pub fn verified_programs() -> Result<Vec<VerifiedProgram>, ProbeError> {
    messages::capture();
    let object = ObjectBuilder::default().open_memory(OBJECT).map_err(|error| ProbeError::Load(messages::reason(&error)))?;
    let names: Vec<String> = object.progs().map(|program| program.name().to_string_lossy().into_owned()).collect();
    names.into_iter().map(|name| verified(&name).map(|instructions| VerifiedProgram { name, instructions })).collect()
}

fn verified(name: &str) -> Result<Result<u32, String>, ProbeError> {
    let object = match load::open_alone(name)?.load() {
        Ok(object) => object,
        Err(error) => return Ok(Err(messages::reason(&error))),
    };
    let program = object.progs().find(|program| program.name() == name);
    let program = program.ok_or_else(|| ProbeError::Load(format!("the object has no program {name}")))?;
    // SAFETY: a struct of integers, for which all zeros is a value.
    let mut info: libbpf_sys::bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut size = size_of_val(&info) as u32;
    // SAFETY: a loaded program, and a struct as long as said.
    if unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_fd().as_raw_fd(), &raw mut info, &raw mut size) } != 0 {
        return Err(ProbeError::Load(format!("{name}: no word of it: {}", std::io::Error::last_os_error())));
    }
    Ok(Ok(info.verified_insns))
}
