//! A cgroup v2 of the test's own.

use std::fs;
use std::path::{Path, PathBuf};

/// Where cgroup v2 is mounted: alone, or beside version 1.
const ROOTS: [&str; 2] = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];

/// A cgroup that is removed when this is dropped; its processes must have ended by then.
pub struct Cgroup(PathBuf);

impl Cgroup {
    /// Makes one whose name says whose it is.
    pub fn new(id: &str) -> Cgroup {
        let root = ROOTS.iter().map(Path::new).find(|root| root.join("cgroup.controllers").exists());
        let path = root.expect("cgroup v2 is mounted").join(format!("edgescope-test-{id}"));
        fs::create_dir(&path).unwrap_or_else(|e| panic!("cannot make {}: {e}", path.display()));
        Cgroup(path)
    }

    /// Its path below the root of the hierarchy.
    pub fn name(&self) -> String {
        format!("/{}", self.0.file_name().map(|n| n.to_string_lossy()).unwrap_or_default())
    }

    /// Moves a process inside.
    pub fn add(&self, process: u32) {
        fs::write(self.0.join("cgroup.procs"), process.to_string())
            .unwrap_or_else(|e| panic!("cannot move {process} into {}: {e}", self.0.display()));
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir(&self.0) {
            eprintln!("{} could not be removed: {error}", self.0.display());
        }
    }
}
