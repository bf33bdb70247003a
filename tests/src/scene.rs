//! One test's directory and names: unique on the machine, so that tests and whole runs work side by side.

use std::net::TcpListener;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// Outside of the kernel's ephemeral ports (32768–60999), so that a port once free stays so unless another test takes it.
const PORTS: RangeInclusive<u16> = 20_000..=31_999;

/// A directory that goes with the test, and an id that all its names carry.
pub struct Scene {
    id: String,
    dir: tempfile::TempDir,
}

impl Scene {
    /// `name` is the test's, for people who look at what is there.
    pub fn new(name: &str) -> Scene {
        let id = format!("{name}-{}-{:06x}", std::process::id(), rand::random::<u32>() & 0xff_ffff);
        let dir = tempfile::Builder::new().prefix(&format!("edgescope-{id}-")).tempdir().expect("a temporary directory can be made");
        Scene { id, dir }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Writes a file of this test; returns its path.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("a file can be written into the temporary directory");
        path
    }
}

/// A TCP port of loopback that nobody listens on.
pub fn free_port() -> u16 {
    let span = u32::from(PORTS.end() - PORTS.start());
    let tried = (0..1_000).map(|_| PORTS.start() + (rand::random::<u32>() % span) as u16);
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    tried.into_iter().find(free).expect("one of a thousand ports is free")
}
