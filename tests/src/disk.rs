//! A file system of the test's own, in memory, that can be filled.

use edgescope_testbed::netns::tool;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A tmpfs of a fixed size. Dropping it unmounts it; who has files open there must have ended by then.
pub struct Disk(PathBuf);

impl Disk {
    /// Mounts one of so many MiB on a new directory.
    pub fn mount(at: &Path, mebibytes: u32) -> Disk {
        fs::create_dir(at).expect("a directory can be made");
        let path = at.to_str().expect("a temporary path is text");
        tool("mount", &["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "edgescope-test", path], "").expect("a tmpfs can be mounted");
        Disk(at.to_owned())
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes until nothing more fits.
    pub fn fill(&self) {
        let mut file = File::create(self.0.join("filler")).expect("a file can be made");
        for size in [1 << 16, 1 << 12, 1] {
            let block = vec![0; size];
            while file.write(&block).is_ok_and(|n| n > 0) {}
        }
    }

    /// Takes what [`Disk::fill`] wrote away.
    pub fn empty(&self) {
        fs::remove_file(self.0.join("filler")).expect("the filler is there");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let path = self.0.to_string_lossy().into_owned();
        // Lazily: a process that is just ending must not keep it for ever.
        if let Err(error) = tool("umount", &["--lazy", &path], "") {
            eprintln!("{path} could not be unmounted: {error}");
        }
    }
}
